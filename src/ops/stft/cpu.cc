#include "ops/stft/cpu.h"

#include "runtime/registry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/stft/cpu.cc"
// clang-format off
#include "runtime/cpu/targets.h"
#include "hwy/foreach_target.h"
#include "runtime/cpu/highway.h"
// clang-format on
#include "blocks/spectrum/transform-inl.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace {

void Run(const StftJob& job) {
  transform(job.spectrum,
            [&]<typename C>(C) { return [&](std::int64_t item) { return FrameRows<C>(job.x, item, job.framing); }; });
}

void Explain(std::int64_t n_fft, bool complex_input, bool double_result, Explanation* result) {
  *result = explain_spectrum(n_fft, complex_input, double_result, true);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace melisma {
HWY_EXPORT(Run);
HWY_EXPORT(Explain);

void stft_cpu(const StftJob& job) {
  count_call("stft", "cpu");
  HWY_DYNAMIC_DISPATCH(Run)(job);
}

Explanation stft_cpu_kernel(std::int64_t n_fft, bool complex_input, bool double_result) {
  Explanation result;
  HWY_DYNAMIC_DISPATCH(Explain)(n_fft, complex_input, double_result, &result);
  return result;
}

}  // namespace melisma
#endif
