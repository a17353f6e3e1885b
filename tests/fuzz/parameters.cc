#include "parameters.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "melisma/melisma.h"

namespace melisma::fuzz {
namespace {

constexpr std::int64_t kMaxResult = std::int64_t{1} << 18;  // elements; larger results are asked for and not computed
constexpr std::size_t kGuard = 64;                          // bytes on both sides of a result
constexpr unsigned char kGuardByte = 0xA5;

// Takes values off the front of the bytes; zeros after their end.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

  template <typename T>
  T raw() {
    T value{};
    const std::size_t n = std::min(sizeof(T), size_);
    std::memcpy(&value, data_, n);
    data_ += n;
    size_ -= n;
    return value;
  }
  std::int64_t below(std::int64_t n) { return raw<std::uint16_t>() % n; }
  bool flag() { return below(2) == 1; }
  template <typename T>
  T pick(std::initializer_list<T> values) {
    return *(values.begin() + below(static_cast<std::int64_t>(values.size())));
  }
  // A size: mostly one that may be accepted, sometimes one that must be refused.
  std::int64_t size(std::int64_t limit) {
    switch (below(16)) {
      case 0: return raw<std::int64_t>();
      case 1:
        return pick<std::int64_t>(
            {0, -1, std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()});
      default: return 1 + below(limit);
    }
  }
  double number(double usual) {
    switch (below(8)) {
      case 0: return raw<double>();
      case 1:
        return pick({0.0, -1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()});
      default: return usual;
    }
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
};

// Memory of a tensor of small extents, with strides that may be stepped, reversed or 0 (never for a result).
struct Input {
  std::vector<unsigned char> memory;
  Tensor tensor;
};

Input make_input(Bytes& bytes, std::initializer_list<DType> dtypes, int max_ndim, std::int64_t longest) {
  Input input;
  const DType dtype = bytes.pick(dtypes);
  Shape shape;
  shape.ndim = static_cast<int>(bytes.below(max_ndim + 1));
  for (int axis = 0; axis < shape.ndim; ++axis) {
    shape[axis] = axis + 2 >= shape.ndim ? bytes.below(longest) : bytes.below(3);
  }
  input.tensor.dtype = dtype;
  input.tensor.shape = shape;
  std::int64_t span = 1, offset = 0;
  for (int axis = shape.ndim - 1; axis >= 0; --axis) {
    const std::int64_t extent = std::max<std::int64_t>(shape[axis], 1);
    const std::int64_t step = bytes.pick<std::int64_t>({1, 1, 1, 2, 0, -1});
    input.tensor.strides[static_cast<std::size_t>(axis)] = step * span;
    if (step < 0) offset += span * (extent - 1);
    if (step != 0) span *= extent * std::abs(step);
  }
  input.memory.resize(static_cast<std::size_t>(span) * dtype_size(dtype));
  const unsigned seed = bytes.raw<unsigned>();
  for (std::size_t i = 0; i < input.memory.size(); ++i) {
    // Exponent bytes stay small, so that values are finite whatever the dtype.
    input.memory[i] = static_cast<unsigned char>(((i * 2654435761u + seed) >> 13) & 0x3f);
  }
  input.tensor.data = input.memory.data() + static_cast<std::size_t>(offset) * dtype_size(dtype);
  return input;
}

[[noreturn]] void report(const char* what) {
  std::fprintf(stderr, "fuzz: %s\n", what);
  std::abort();
}

// A result with guard bytes around it.
class Result {
 public:
  Result(DType dtype, const Shape& shape)
      : memory_(static_cast<std::size_t>(shape.numel()) * dtype_size(dtype) + 2 * kGuard, kGuardByte),
        tensor_(memory_.data() + kGuard, dtype, shape) {}
  const Tensor& tensor() const { return tensor_; }
  void check() const {
    for (std::size_t i = 0; i < kGuard; ++i) {
      if (memory_[i] != kGuardByte || memory_[memory_.size() - 1 - i] != kGuardByte)
        report("written outside the result");
    }
  }

 private:
  std::vector<unsigned char> memory_;
  Tensor tensor_;
};

FrameParams make_frames(Bytes& bytes) {
  FrameParams p;
  p.n_fft = bytes.size(300);
  p.hop_length = bytes.flag() ? 0 : bytes.size(100);
  p.win_length = bytes.flag() ? 0 : bytes.size(300);
  p.center = bytes.flag();
  p.pad_mode = bytes.pick({PadMode::kConstant, PadMode::kReflect, PadMode::kReplicate, PadMode::kCircular});
  p.pad = bytes.flag() ? 0 : bytes.size(50);
  p.tail = bytes.pick({FrameTail::kWhole, FrameTail::kWhole, FrameTail::kCovers});
  p.fractional_hop = bytes.flag() ? 0.0 : bytes.number(44.1);
  p.input_scale = bytes.number(1.0);
  return p;
}

SpectrogramParams make_spectrogram(Bytes& bytes) {
  SpectrogramParams p;
  p.frames = make_frames(bytes);
  p.power = bytes.number(bytes.pick({1.0, 2.0, 0.5, 3.0}));
  p.norm = bytes.pick({SpectrumNorm::kNone, SpectrumNorm::kFrameLength, SpectrumNorm::kWindow});
  p.nyquist = bytes.flag();
  p.layout = bytes.pick({Layout::kFrequencyMajor, Layout::kFrameMajor});
  return p;
}

Input make_window_input(Bytes& bytes, std::int64_t wanted) {
  Input window = make_input(bytes, {DType::kFloat32, DType::kFloat64, DType::kComplex64}, 0, 1);
  const std::int64_t length = bytes.below(8) == 0 ? bytes.below(300) : std::clamp<std::int64_t>(wanted, 0, 4096);
  window.memory.assign(static_cast<std::size_t>(length) * dtype_size(window.tensor.dtype), 0x3c);
  window.tensor = Tensor(window.memory.data(), window.tensor.dtype, {length});
  return window;
}

DType real_result(DType x) {
  return x == DType::kFloat64 || x == DType::kComplex128 ? DType::kFloat64 : DType::kFloat32;
}
DType complex_result(DType x) { return real_result(x) == DType::kFloat64 ? DType::kComplex128 : DType::kComplex64; }

// A contiguous gradient of small finite values.
class Gradient {
 public:
  Gradient(Bytes& bytes, DType dtype, const Shape& shape)
      : memory_(static_cast<std::size_t>(shape.numel()) * dtype_size(dtype), bytes.raw<std::uint8_t>() & 0x3f),
        tensor_(memory_.data(), dtype, shape) {}
  const Tensor& tensor() const { return tensor_; }

 private:
  std::vector<unsigned char> memory_;
  Tensor tensor_;
};

bool run_stft(Bytes& bytes) {
  const Input x = make_input(
      bytes, {DType::kInt16, DType::kFloat32, DType::kFloat64, DType::kComplex64, DType::kComplex128}, 3, 600);
  StftParams p;
  p.frames = make_frames(bytes);
  p.normalized = bytes.flag();
  p.onesided = bytes.flag();
  p.nyquist = bytes.flag();
  p.layout = bytes.pick({Layout::kFrequencyMajor, Layout::kFrameMajor});
  const Input window = make_window_input(bytes, p.frames.win_length > 0 ? p.frames.win_length : p.frames.n_fft);
  const bool with_window = bytes.flag();
  const Shape shape = stft_shape(x.tensor, p);
  if (shape.numel() > kMaxResult) return false;
  if (const std::int64_t which = bytes.below(4); which < 2) {
    const Gradient grad(bytes, complex_result(x.tensor.dtype), shape);
    if (which == 0) {
      const Result result(x.tensor.dtype, x.tensor.shape);
      stft_adjoint(grad.tensor(), with_window ? &window.tensor : nullptr, p, result.tensor());
      result.check();
    } else {
      const std::int64_t length = p.frames.win_length > 0 ? p.frames.win_length : p.frames.n_fft;
      const Result result(bytes.pick({DType::kFloat32, DType::kFloat64}), {std::clamp<std::int64_t>(length, 0, 4096)});
      stft_window_gradient(x.tensor, grad.tensor(), p, result.tensor());
      result.check();
    }
    return true;
  }
  const Result result(complex_result(x.tensor.dtype), shape);
  stft(x.tensor, with_window ? &window.tensor : nullptr, p, result.tensor());
  result.check();
  return true;
}

bool run_istft(Bytes& bytes) {
  const Input spec = make_input(bytes, {DType::kComplex64, DType::kComplex128, DType::kFloat32}, 4, 130);
  IstftParams p;
  p.n_fft = bytes.flag() ? bytes.size(300) : (spec.tensor.ndim() >= 2 ? 2 * (spec.tensor.size(-2) - 1) : 0);
  p.hop_length = bytes.flag() ? 0 : bytes.size(100);
  p.win_length = bytes.flag() ? 0 : bytes.size(300);
  p.center = bytes.flag();
  p.normalized = bytes.flag();
  p.onesided = bytes.flag();
  p.length = bytes.flag() ? -1 : bytes.size(2000);
  p.edge = bytes.pick({EdgePolicy::kError, EdgePolicy::kZero, EdgePolicy::kClamp});
  p.layout = bytes.pick({Layout::kFrequencyMajor, Layout::kFrameMajor});
  const Input window = make_window_input(bytes, p.win_length > 0 ? p.win_length : p.n_fft);
  const bool with_window = bytes.flag();
  const bool to_complex = !p.onesided && bytes.flag();
  const Shape shape = istft_shape(spec.tensor, p);
  if (shape.numel() > kMaxResult) return false;
  if (bytes.flag()) {
    const Gradient grad(bytes, to_complex ? complex_result(spec.tensor.dtype) : real_result(spec.tensor.dtype), shape);
    const Result result(spec.tensor.dtype, spec.tensor.shape);
    istft_adjoint(grad.tensor(), with_window ? &window.tensor : nullptr, p, result.tensor());
    result.check();
    return true;
  }
  const Result result(to_complex ? complex_result(spec.tensor.dtype) : real_result(spec.tensor.dtype), shape);
  istft(spec.tensor, with_window ? &window.tensor : nullptr, p, result.tensor());
  result.check();
  return true;
}

bool run_spectrogram(Bytes& bytes) {
  const Input x = make_input(bytes, {DType::kInt16, DType::kFloat32, DType::kFloat64, DType::kComplex64}, 3, 600);
  const SpectrogramParams p = make_spectrogram(bytes);
  const Input window = make_window_input(bytes, p.frames.win_length > 0 ? p.frames.win_length : p.frames.n_fft);
  const bool with_window = bytes.flag();
  const Shape shape = spectrogram_shape(x.tensor, p);
  if (shape.numel() > kMaxResult) return false;
  if (bytes.flag()) {
    const Gradient grad(bytes, real_result(x.tensor.dtype), shape);
    const Result result(x.tensor.dtype, x.tensor.shape);
    spectrogram_backward(x.tensor, grad.tensor(), with_window ? &window.tensor : nullptr, p, result.tensor());
    result.check();
    return true;
  }
  const Result result(real_result(x.tensor.dtype), shape);
  spectrogram(x.tensor, with_window ? &window.tensor : nullptr, p, result.tensor());
  result.check();
  return true;
}

FilterBank make_bank(Bytes& bytes, std::int64_t bins) {
  switch (bytes.below(3)) {
    case 0: {
      MelParams p;
      p.sample_rate = bytes.number(16000);
      p.n_mels = bytes.size(80);
      p.f_min = bytes.number(20);
      p.f_max = bytes.number(-1);
      p.scale = bytes.pick({MelScale::kHtk, MelScale::kSlaney});
      p.norm = bytes.pick({MelNorm::kNone, MelNorm::kSlaney});
      return FilterBank::mel(bins, p);
    }
    case 1: {
      LogBandParams p;
      p.sample_rate = bytes.number(44100);
      p.bands_per_octave = bytes.size(24);
      p.f_min = bytes.number(30);
      p.f_max = bytes.number(17000);
      p.f_ref = bytes.number(440);
      p.norm_filters = bytes.flag();
      p.unique_filters = bytes.flag();
      return FilterBank::logarithmic(bins, p);
    }
    default: return FilterBank(make_input(bytes, {DType::kFloat32, DType::kFloat64, DType::kInt16}, 3, 152).tensor);
  }
}

bool run_filtered(Bytes& bytes) {
  const Input x = make_input(bytes, {DType::kInt16, DType::kFloat32, DType::kFloat64}, 3, 600);
  FilteredSpectrogramParams p;
  p.spectrogram = make_spectrogram(bytes);
  p.log.enabled = bytes.flag();
  p.log.scale = bytes.number(1.0);
  p.log.mul = bytes.number(1.0);
  p.log.add = bytes.number(1.0);
  p.log.floor = bytes.number(1e-10);
  p.log.offset = bytes.number(0.0);
  p.log.top = bytes.number(80.0);
  p.log.top_scope = bytes.pick({TopScope::kItem, TopScope::kPacked});
  p.log.post_mul = bytes.number(1.0);
  p.log.post_add = bytes.number(0.0);
  const std::int64_t n_fft = std::clamp<std::int64_t>(p.spectrogram.frames.n_fft, 0, 4096);
  const FilterBank bank =
      make_bank(bytes, bytes.below(8) == 0 ? bytes.size(200) : n_fft / 2 + (p.spectrogram.nyquist ? 1 : 0));
  const Input window =
      make_window_input(bytes, p.spectrogram.frames.win_length > 0 ? p.spectrogram.frames.win_length : n_fft);
  const bool with_window = bytes.flag();
  const Shape shape = filtered_spectrogram_shape(x.tensor, bank, p);
  if (shape.numel() > kMaxResult) return false;
  if (bytes.flag()) {
    if (bytes.flag()) p.log.top = std::numeric_limits<double>::infinity();  // what a gradient asks for
    const Gradient grad(bytes, real_result(x.tensor.dtype), shape);
    const Result result(x.tensor.dtype, x.tensor.shape);
    filtered_spectrogram_backward(x.tensor, grad.tensor(), with_window ? &window.tensor : nullptr, bank, p,
                                  result.tensor());
    result.check();
    return true;
  }
  const Result result(real_result(x.tensor.dtype), shape);
  filtered_spectrogram(x.tensor, with_window ? &window.tensor : nullptr, bank, p, result.tensor());
  result.check();
  return true;
}

}  // namespace

bool call_with_parameters(const std::uint8_t* data, std::size_t size) {
  Bytes bytes(data, size);
  try {
    switch (bytes.below(4)) {
      case 0: return run_stft(bytes);
      case 1: return run_istft(bytes);
      case 2: return run_spectrogram(bytes);
      default: return run_filtered(bytes);
    }
  } catch (const Error& e) {
    // "op: argument must be ..., got ...": one line, no more.
    if (std::string(e.what()).find(": ") == std::string::npos) report("an error that names no operator");
    return false;
  }
}

}  // namespace melisma::fuzz
