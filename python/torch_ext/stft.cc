// The dispatcher's stft, its adjoint and its window gradient on the CPU and on CUDA.
#include <torch/csrc/stable/library.h>

#include "tensors.h"

namespace melisma::torch_ext {
namespace {

StftParams stft_params(const char* op, DType dtype, std::int64_t n_fft, std::int64_t hop_length,
                       std::int64_t win_length, bool center, const std::string& pad, bool normalized, bool onesided,
                       bool align_to_window, bool frame_major) {
  StftParams params;
  params.frames.n_fft = n_fft;
  params.frames.hop_length = hop_length;
  params.frames.win_length = win_length;
  params.frames.center = center;
  params.frames.pad_mode = pad_mode(pad, op);
  params.frames.align_to_window = align_to_window;
  params.frames.input_scale = dtype == DType::kInt16 ? 1.0 / 32768 : 1.0;
  params.normalized = normalized;
  params.onesided = onesided;
  params.layout = layout(frame_major);
  return params;
}

StableTensor stft_op(StableTensor input, std::optional<StableTensor> window, std::int64_t n_fft,
                     std::int64_t hop_length, std::int64_t win_length, bool center, std::string pad, bool normalized,
                     bool onesided, bool align_to_window, bool frame_major) {
  constexpr const char* kOp = "stft";
  const Tensor x = view(input, kOp, "input");
  const OptionalView w(window, kOp, "window");
  const StftParams params = stft_params(kOp, x.dtype, n_fft, hop_length, win_length, center, pad, normalized, onesided,
                                        align_to_window, frame_major);
  NewTensor out = new_tensor(stft_shape(x, params), complex_of(x.dtype), !frame_major, x.device);
  stft(x, w.get(), params, out.view, CallQueue(x));
  return out.tensor;
}

StableTensor stft_adjoint_op(StableTensor grad, std::optional<StableTensor> window, std::int64_t samples,
                             bool complex_input, std::int64_t n_fft, std::int64_t hop_length, std::int64_t win_length,
                             bool center, std::string pad, bool normalized, bool onesided, bool align_to_window,
                             bool frame_major) {
  constexpr const char* kOp = "stft_adjoint";
  const Tensor g = view(grad, kOp, "grad");
  const OptionalView w(window, kOp, "window");
  const StftParams params = stft_params(kOp, g.dtype, n_fft, hop_length, win_length, center, pad, normalized, onesided,
                                        align_to_window, frame_major);
  Shape shape = g.shape;
  shape.ndim = g.ndim() - 1;
  if (shape.ndim < 1) throw Error(ErrorKind::kInvalidArgument, "stft_adjoint: grad must have at least 2 dimensions");
  shape[-1] = samples;
  NewTensor out = new_tensor(shape, complex_input ? complex_of(g.dtype) : real_of(g.dtype), false, g.device);
  stft_adjoint(g, w.get(), params, out.view, CallQueue(g));
  return out.tensor;
}

StableTensor stft_window_gradient_op(StableTensor input, StableTensor grad, std::int64_t n_fft, std::int64_t hop_length,
                                     std::int64_t win_length, bool center, std::string pad, bool normalized,
                                     bool onesided, bool align_to_window, bool frame_major) {
  constexpr const char* kOp = "stft_window_gradient";
  const Tensor x = view(input, kOp, "input"), g = view(grad, kOp, "grad");
  const StftParams params = stft_params(kOp, x.dtype, n_fft, hop_length, win_length, center, pad, normalized, onesided,
                                        align_to_window, frame_major);
  NewTensor out = new_tensor(Shape{win_length}, real_of(x.dtype), false, x.device);
  stft_window_gradient(x, g, params, out.view, CallQueue(x));
  return out.tensor;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(melisma, m) {
  m.def(
      "stft(Tensor input, Tensor? window, int n_fft, int hop_length, int win_length, bool center, str pad_mode, "
      "bool normalized, bool onesided, bool align_to_window, bool frame_major) -> Tensor");
  m.def(
      "stft_adjoint(Tensor grad, Tensor? window, SymInt samples, bool complex_input, int n_fft, int hop_length, "
      "int win_length, bool center, str pad_mode, bool normalized, bool onesided, bool align_to_window, "
      "bool frame_major) -> Tensor");
  m.def(
      "stft_window_gradient(Tensor input, Tensor grad, int n_fft, int hop_length, int win_length, bool center, "
      "str pad_mode, bool normalized, bool onesided, bool align_to_window, bool frame_major) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(melisma, CPU, m) {
  m.impl("stft", TORCH_BOX(&Kernel<&stft_op>::run));
  m.impl("stft_adjoint", TORCH_BOX(&Kernel<&stft_adjoint_op>::run));
  m.impl("stft_window_gradient", TORCH_BOX(&Kernel<&stft_window_gradient_op>::run));
}

STABLE_TORCH_LIBRARY_IMPL(melisma, CUDA, m) {
  m.impl("stft", TORCH_BOX(&Kernel<&stft_op>::run));
  m.impl("stft_adjoint", TORCH_BOX(&Kernel<&stft_adjoint_op>::run));
  m.impl("stft_window_gradient", TORCH_BOX(&Kernel<&stft_window_gradient_op>::run));
}

}  // namespace melisma::torch_ext
