// The dispatcher's spectrogram and filtered spectrogram (mel and log-mel among them) and their gradients on the CPU and
// on CUDA.
#include <torch/csrc/stable/library.h>

#include <cmath>
#include <limits>
#include <vector>

#include "banks.h"
#include "tensors.h"

namespace melisma::torch_ext {
namespace {

SpectrumNorm spectrum_norm(const std::string& name, const char* op) {
  if (name == "none") return SpectrumNorm::kNone;
  if (name == "window") return SpectrumNorm::kWindow;
  if (name == "frame_length") return SpectrumNorm::kFrameLength;
  throw Error(ErrorKind::kInvalidArgument,
              std::string(op) + ": norm must be one of ['frame_length', 'none', 'window'], got '" + name + "'");
}

SpectrogramParams spectrogram_params(const char* op, DType dtype, std::int64_t n_fft, std::int64_t hop_length,
                                     std::int64_t win_length, double power, const std::string& norm, bool center,
                                     const std::string& pad_name, std::int64_t pad, double pcm_scale,
                                     bool frame_major) {
  SpectrogramParams params;
  params.frames.n_fft = n_fft;
  params.frames.hop_length = hop_length;
  params.frames.win_length = win_length;
  params.frames.center = center;
  params.frames.pad_mode = pad_mode(pad_name, op);
  params.frames.pad = pad;
  params.frames.input_scale = dtype == DType::kInt16 ? pcm_scale : 1.0;
  params.power = power;
  params.norm = spectrum_norm(norm, op);
  params.layout = layout(frame_major);
  return params;
}

// log: empty for none, else scale, mul, add, floor, offset.
LogParams log_params(const std::vector<double>& log, double top, bool packed, const char* op) {
  LogParams params;
  if (log.empty()) return params;
  if (log.size() != 5) {
    throw Error(ErrorKind::kInvalidArgument, std::string(op) +
                                                 ": log must be empty or [scale, mul, add, floor, offset], got " +
                                                 std::to_string(log.size()) + " values");
  }
  params.enabled = true;
  params.scale = log[0];
  params.mul = log[1];
  params.add = log[2];
  params.floor = log[3];
  params.offset = log[4];
  params.top = top;
  params.top_scope = packed ? TopScope::kPacked : TopScope::kItem;
  return params;
}

StableTensor spectrogram_op(StableTensor input, std::optional<StableTensor> window, std::int64_t n_fft,
                            std::int64_t hop_length, std::int64_t win_length, double power, std::string norm,
                            bool center, std::string pad_name, std::int64_t pad, double pcm_scale, bool frame_major) {
  constexpr const char* kOp = "spectrogram";
  const Tensor x = view(input, kOp, "input");
  const OptionalView w(window, kOp, "window");
  const SpectrogramParams params = spectrogram_params(kOp, x.dtype, n_fft, hop_length, win_length, power, norm, center,
                                                      pad_name, pad, pcm_scale, frame_major);
  NewTensor out = new_tensor(spectrogram_shape(x, params), real_of(x.dtype), !frame_major, x.device);
  spectrogram(x, w.get(), params, out.view, CallQueue(x));
  return out.tensor;
}

StableTensor spectrogram_backward_op(StableTensor grad, StableTensor input, std::optional<StableTensor> window,
                                     std::int64_t n_fft, std::int64_t hop_length, std::int64_t win_length, double power,
                                     std::string norm, bool center, std::string pad_name, std::int64_t pad,
                                     bool frame_major) {
  constexpr const char* kOp = "spectrogram_backward";
  const Tensor g = view(grad, kOp, "grad"), x = view(input, kOp, "input");
  const OptionalView w(window, kOp, "window");
  const SpectrogramParams params = spectrogram_params(kOp, x.dtype, n_fft, hop_length, win_length, power, norm, center,
                                                      pad_name, pad, 1.0, frame_major);
  NewTensor out = new_tensor(x.shape, x.dtype, false, x.device);
  spectrogram_backward(x, g, w.get(), params, out.view, CallQueue(x));
  return out.tensor;
}

FilteredSpectrogramParams filtered_params(const char* op, const SpectrogramParams& spectrogram, const Tensor& bank,
                                          const LogParams& log, bool float64) {
  FilteredSpectrogramParams params;
  params.spectrogram = spectrogram;
  params.log = log;
  params.float64 = float64;
  if (bank.ndim() != 2) {
    throw Error(ErrorKind::kInvalidArgument,
                std::string(op) + ": filterbank must be 2-D [bins, bands], got " + std::to_string(bank.ndim()) + "-D");
  }
  const std::int64_t n_fft = spectrogram.frames.n_fft;
  params.spectrogram.nyquist = n_fft % 2 != 0 || bank.size(0) != n_fft / 2;
  return params;
}

StableTensor filtered_spectrogram_op(StableTensor input, std::optional<StableTensor> window, StableTensor filterbank,
                                     std::int64_t n_fft, std::int64_t hop_length, std::int64_t win_length, double power,
                                     std::string norm, bool center, std::string pad_name, std::int64_t pad,
                                     double pcm_scale, std::vector<double> log, double top_db, bool packed,
                                     bool float64, bool frame_major, std::int64_t bank_key) {
  constexpr const char* kOp = "filtered_spectrogram";
  const Tensor x = view(input, kOp, "input"), dense = view(filterbank, kOp, "filterbank");
  const OptionalView w(window, kOp, "window");
  const FilteredSpectrogramParams params =
      filtered_params(kOp,
                      spectrogram_params(kOp, x.dtype, n_fft, hop_length, win_length, power, norm, center, pad_name,
                                         pad, pcm_scale, frame_major),
                      dense, log_params(log, top_db, packed, kOp), float64);
  const Bank bank(dense, bank_key, x, kOp);
  NewTensor out =
      new_tensor(filtered_spectrogram_shape(x, bank.view(), params), real_of(x.dtype), !frame_major, x.device);
  filtered_spectrogram(x, w.get(), bank.view(), params, out.view, CallQueue(x));
  return out.tensor;
}

StableTensor filtered_spectrogram_backward_op(StableTensor grad, StableTensor input, std::optional<StableTensor> window,
                                              StableTensor filterbank, std::int64_t n_fft, std::int64_t hop_length,
                                              std::int64_t win_length, double power, std::string norm, bool center,
                                              std::string pad_name, std::int64_t pad, std::vector<double> log,
                                              bool float64, bool frame_major, std::int64_t bank_key) {
  constexpr const char* kOp = "filtered_spectrogram_backward";
  const Tensor g = view(grad, kOp, "grad"), x = view(input, kOp, "input"), dense = view(filterbank, kOp, "filterbank");
  const OptionalView w(window, kOp, "window");
  const FilteredSpectrogramParams params =
      filtered_params(kOp,
                      spectrogram_params(kOp, x.dtype, n_fft, hop_length, win_length, power, norm, center, pad_name,
                                         pad, 1.0, frame_major),
                      dense, log_params(log, std::numeric_limits<double>::infinity(), false, kOp), float64);
  const Bank bank(dense, bank_key, x, kOp);
  NewTensor out = new_tensor(x.shape, x.dtype, false, x.device);
  filtered_spectrogram_backward(x, g, w.get(), bank.view(), params, out.view, CallQueue(x));
  return out.tensor;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(melisma, m) {
  m.def(
      "spectrogram(Tensor input, Tensor? window, int n_fft, int hop_length, int win_length, float power, str norm, "
      "bool center, str pad_mode, int pad, float pcm_scale, bool frame_major) -> Tensor");
  m.def(
      "spectrogram_backward(Tensor grad, Tensor input, Tensor? window, int n_fft, int hop_length, int win_length, "
      "float power, str norm, bool center, str pad_mode, int pad, bool frame_major) -> Tensor");
  m.def(
      "filtered_spectrogram(Tensor input, Tensor? window, Tensor filterbank, int n_fft, int hop_length, "
      "int win_length, float power, str norm, bool center, str pad_mode, int pad, float pcm_scale, float[] log, "
      "float top_db, bool packed, bool float64, bool frame_major, int bank_key=0) -> Tensor");
  m.def(
      "filtered_spectrogram_backward(Tensor grad, Tensor input, Tensor? window, Tensor filterbank, int n_fft, "
      "int hop_length, int win_length, float power, str norm, bool center, str pad_mode, int pad, float[] log, "
      "bool float64, bool frame_major, int bank_key=0) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(melisma, CPU, m) {
  m.impl("spectrogram", TORCH_BOX(&Kernel<&spectrogram_op>::run));
  m.impl("spectrogram_backward", TORCH_BOX(&Kernel<&spectrogram_backward_op>::run));
  m.impl("filtered_spectrogram", TORCH_BOX(&Kernel<&filtered_spectrogram_op>::run));
  m.impl("filtered_spectrogram_backward", TORCH_BOX(&Kernel<&filtered_spectrogram_backward_op>::run));
}

STABLE_TORCH_LIBRARY_IMPL(melisma, CUDA, m) {
  m.impl("spectrogram", TORCH_BOX(&Kernel<&spectrogram_op>::run));
  m.impl("spectrogram_backward", TORCH_BOX(&Kernel<&spectrogram_backward_op>::run));
  m.impl("filtered_spectrogram", TORCH_BOX(&Kernel<&filtered_spectrogram_op>::run));
  m.impl("filtered_spectrogram_backward", TORCH_BOX(&Kernel<&filtered_spectrogram_backward_op>::run));
}

}  // namespace melisma::torch_ext
