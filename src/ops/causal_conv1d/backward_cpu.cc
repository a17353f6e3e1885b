#include "ops/causal_conv1d/cpu.h"
#include "runtime/registry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/causal_conv1d/backward_cpu.cc"
// clang-format off
#include "runtime/cpu/targets.h"
#include "hwy/foreach_target.h"
#include "runtime/cpu/highway.h"
// clang-format on
#include "ops/causal_conv1d/backward_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace {

template <typename C>
void backward(const GradientJob& job) {
  const bool seq = job.conv.inputs.seq_idx != nullptr;
  with_taps<C>(job.conv.call.taps, [&](auto taps) {
    constexpr int W = decltype(taps)::value;
    const RowsBackward<C> kernel(job);
    if (job.conv.params.activation == ConvActivation::kSilu) {
      seq ? kernel.template run<W, true, true>() : kernel.template run<W, true, false>();
    } else {
      seq ? kernel.template run<W, false, true>() : kernel.template run<W, false, false>();
    }
  });
}

void Backward(const ConvJob& conv, const Tensor& grad_out, const Tensor* grad_final_states,
              const CausalConv1dGradients& gradients) {
  const GradientJob job{conv, grad_out, grad_final_states, gradients};
  conv.x.dtype == DType::kFloat64 ? backward<double>(job) : backward<float>(job);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace melisma {
HWY_EXPORT(Backward);

void causal_conv1d_backward_cpu(const ConvJob& job, const Tensor& grad_out, const Tensor* grad_final_states,
                                const CausalConv1dGradients& gradients) {
  count_call("causal_conv1d_backward", "cpu");
  if (job.call.channels > 0) HWY_DYNAMIC_DISPATCH(Backward)(job, grad_out, grad_final_states, gradients);
}

}  // namespace melisma
#endif
