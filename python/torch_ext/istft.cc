// The dispatcher's istft and its adjoint on the CPU and on CUDA.
#include <torch/csrc/stable/library.h>

#include "tensors.h"

namespace melisma::torch_ext {
namespace {

EdgePolicy edge_policy(const std::string& name, const char* op) {
  if (name == "error") return EdgePolicy::kError;
  if (name == "zero") return EdgePolicy::kZero;
  if (name == "clamp") return EdgePolicy::kClamp;
  throw Error(ErrorKind::kInvalidArgument,
              std::string(op) + ": edge must be one of ['clamp', 'error', 'zero'], got '" + name + "'");
}

IstftParams istft_params(const char* op, std::int64_t n_fft, std::int64_t hop_length, std::int64_t win_length,
                         bool center, bool normalized, bool onesided, std::int64_t length, const std::string& edge,
                         bool frame_major) {
  IstftParams params;
  params.n_fft = n_fft;
  params.hop_length = hop_length;
  params.win_length = win_length;
  params.center = center;
  params.normalized = normalized;
  params.onesided = onesided;
  params.length = length;
  params.edge = edge_policy(edge, op);
  params.layout = layout(frame_major);
  return params;
}

StableTensor istft_op(StableTensor input, std::optional<StableTensor> window, std::int64_t n_fft,
                      std::int64_t hop_length, std::int64_t win_length, bool center, bool normalized, bool onesided,
                      std::optional<std::int64_t> length, bool return_complex, std::string edge, bool frame_major) {
  constexpr const char* kOp = "istft";
  const Tensor spec = view(input, kOp, "input");
  const OptionalView w(window, kOp, "window");
  if (length && *length < 0) {
    throw Error(ErrorKind::kInvalidArgument, "istft: length must be >= 0, got " + std::to_string(*length));
  }
  const IstftParams params = istft_params(kOp, n_fft, hop_length, win_length, center, normalized, onesided,
                                          length.value_or(-1), edge, frame_major);
  NewTensor out = new_tensor(istft_shape(spec, params), return_complex ? complex_of(spec.dtype) : real_of(spec.dtype),
                             false, spec.device);
  istft(spec, w.get(), params, out.view, CallQueue(spec));
  return out.tensor;
}

StableTensor istft_adjoint_op(StableTensor grad, std::optional<StableTensor> window, std::int64_t frames,
                              std::int64_t n_fft, std::int64_t hop_length, std::int64_t win_length, bool center,
                              bool normalized, bool onesided, std::string edge, bool frame_major) {
  constexpr const char* kOp = "istft_adjoint";
  const Tensor g = view(grad, kOp, "grad");
  const OptionalView w(window, kOp, "window");
  if (g.ndim() < 1 || g.ndim() >= kMaxDims) {
    throw Error(ErrorKind::kInvalidArgument,
                "istft_adjoint: grad must have 1 to 7 dimensions, got " + std::to_string(g.ndim()));
  }
  const IstftParams params =
      istft_params(kOp, n_fft, hop_length, win_length, center, normalized, onesided, g.size(-1), edge, frame_major);
  Shape shape = g.shape;
  shape.ndim = g.ndim() + 1;
  const std::int64_t bins = onesided ? n_fft / 2 + 1 : n_fft;
  shape[-2] = frame_major ? frames : bins;
  shape[-1] = frame_major ? bins : frames;
  NewTensor out = new_tensor(shape, complex_of(g.dtype), !frame_major, g.device);
  istft_adjoint(g, w.get(), params, out.view, CallQueue(g));
  return out.tensor;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(melisma, m) {
  m.def(
      "istft(Tensor input, Tensor? window, int n_fft, int hop_length, int win_length, bool center, bool normalized, "
      "bool onesided, SymInt? length, bool return_complex, str edge, bool frame_major) -> Tensor");
  m.def(
      "istft_adjoint(Tensor grad, Tensor? window, SymInt frames, int n_fft, int hop_length, int win_length, "
      "bool center, bool normalized, bool onesided, str edge, bool frame_major) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(melisma, CPU, m) {
  m.impl("istft", TORCH_BOX(&Kernel<&istft_op>::run));
  m.impl("istft_adjoint", TORCH_BOX(&Kernel<&istft_adjoint_op>::run));
}

STABLE_TORCH_LIBRARY_IMPL(melisma, CUDA, m) {
  m.impl("istft", TORCH_BOX(&Kernel<&istft_op>::run));
  m.impl("istft_adjoint", TORCH_BOX(&Kernel<&istft_adjoint_op>::run));
}

}  // namespace melisma::torch_ext
