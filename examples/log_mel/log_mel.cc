// Reads an audio file, writes its log-mel spectrogram as a NumPy file.
//
//   log_mel INPUT OUTPUT.npy [N_MELS]
//
// The result is float32 [channels, n_mels, frames] in dB: 10 log10(max(power, 1e-10)), from frames of 2048 samples
// every 512, at the file's own sample rate. In Python the same is
//
//   melisma.log_mel(x, sample_rate=rate, n_fft=2048, hop_length=512, n_mels=n_mels)
#include <sndfile.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "melisma/melisma.h"

namespace {

struct Audio {
  std::vector<float> samples;  // interleaved: [frames][channels]
  std::int64_t frames = 0;
  std::int64_t channels = 0;
  int sample_rate = 0;  // Hz
};

Audio read_audio(const char* path) {
  SF_INFO info{};
  const std::unique_ptr<SNDFILE, int (*)(SNDFILE*)> file(sf_open(path, SFM_READ, &info), &sf_close);
  if (!file) throw std::runtime_error(std::string(path) + ": " + sf_strerror(nullptr));
  Audio audio{std::vector<float>(static_cast<std::size_t>(info.frames * info.channels)), info.frames, info.channels,
              info.samplerate};
  if (sf_readf_float(file.get(), audio.samples.data(), info.frames) != info.frames) {
    throw std::runtime_error(std::string(path) + ": ends before its header says");
  }
  return audio;
}

// NumPy's format 1.0: magic, header length, a Python dictionary padded to a multiple of 64 bytes, the values.
void write_npy(const char* path, const std::vector<float>& values, const melisma::Shape& shape) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
  for (int axis = 0; axis < shape.ndim; ++axis) header += std::to_string(shape[axis]) + ", ";
  header += "), }";
  constexpr std::size_t kPrefix = 10;
  header.append(63 - (kPrefix + header.size()) % 64, ' ');
  header += '\n';
  const auto length = static_cast<unsigned>(header.size());
  std::ofstream file(path, std::ios::binary);
  file.write("\x93NUMPY\x01\x00", 8);
  file.put(static_cast<char>(length & 0xff));
  file.put(static_cast<char>(length >> 8));
  file << header;
  file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
  file.close();
  if (!file) throw std::runtime_error(std::string(path) + ": cannot be written");
}

void run(const char* input, const char* output, std::int64_t n_mels) {
  using namespace melisma;
  Audio audio = read_audio(input);

  // A view of the interleaved samples as [channels, frames]: no copy.
  Tensor x(audio.samples.data(), DType::kFloat32, {audio.channels, audio.frames});
  x.strides = {1, audio.channels};

  FilteredSpectrogramParams params;
  params.spectrogram.frames.n_fft = 2048;
  params.spectrogram.frames.hop_length = 512;
  params.spectrogram.power = 2.0;
  params.log.enabled = true;
  params.log.scale = 10.0 / std::log(10.0);  // dB of a power
  params.log.floor = 1e-10;

  MelParams mel;
  mel.sample_rate = audio.sample_rate;
  mel.n_mels = n_mels;
  const FilterBank bank = FilterBank::mel(params.spectrogram.frames.n_fft / 2 + 1, mel);

  std::vector<double> window(2048);  // float64, as Python's: it is rounded once, with all scales in it
  const Tensor window_view(window.data(), DType::kFloat64, {2048});
  make_window("hann", true, 0.0, window_view);

  // The shape is [channels, n_mels, frames]. Contiguous here; any strides would do.
  const Shape shape = filtered_spectrogram_shape(x, bank, params);
  std::vector<float> result(static_cast<std::size_t>(shape.numel()));
  filtered_spectrogram(x, &window_view, bank, params, Tensor(result.data(), DType::kFloat32, shape));

  write_npy(output, result, shape);
  std::printf("%s: %lld channels, %lld mels, %lld frames\n", output, static_cast<long long>(shape[0]),
              static_cast<long long>(shape[1]), static_cast<long long>(shape[2]));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::fprintf(stderr, "usage: %s INPUT OUTPUT.npy [N_MELS]\n", argv[0]);
    return 2;
  }
  try {
    run(argv[1], argv[2], argc == 4 ? std::atoll(argv[3]) : 128);
  } catch (const std::exception& e) {  // melisma::Error, or one of ours
    std::fprintf(stderr, "log_mel: %s\n", e.what());
    return 1;
  }
  return 0;
}
