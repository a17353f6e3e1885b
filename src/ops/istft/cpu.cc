#include "ops/istft/cpu.h"

#include "runtime/registry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/istft/cpu.cc"
// clang-format off
#include "runtime/cpu/targets.h"
#include "hwy/foreach_target.h"
#include "runtime/cpu/highway.h"
// clang-format on
#include "blocks/spectrum/spectrum-inl.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace {

void Explain(std::int64_t n_fft, bool complex_result, bool double_result, Explanation* result) {
  *result = explain_spectrum(n_fft, complex_result, double_result, true);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace melisma {
HWY_EXPORT(Explain);

void istft_cpu(const InverseJob& job) {
  count_call("istft", "cpu");
  inverse_overlap_add(job);
}

Explanation istft_cpu_kernel(std::int64_t n_fft, bool complex_result, bool double_result) {
  Explanation result;
  HWY_DYNAMIC_DISPATCH(Explain)(n_fft, complex_result, double_result, &result);
  return result;
}

}  // namespace melisma
#endif
