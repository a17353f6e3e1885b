#include "blocks/elementwise/elementwise.h"
#include "ops/spectrogram/cpu.h"
#include "runtime/registry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/spectrogram/backward_cpu.cc"
// clang-format off
#include "runtime/cpu/targets.h"
#include "hwy/foreach_target.h"
#include "runtime/cpu/highway.h"
// clang-format on
#include "ops/spectrogram/backward-inl.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace {

// x *= grad |X|^(power - 2), the power itself being in grad's gain.
template <typename C, bool kSquares>
struct PowerStep {
  std::int64_t bins, all_bins;
  double power;
  static std::int64_t values() { return 0; }
  HWY_INLINE void operator()(const C* HWY_RESTRICT grad, C* HWY_RESTRICT squares, C*, C* HWY_RESTRICT x) const {
    const hn::ScalableTag<C> d;
    constexpr std::int64_t L = lanes<C>();
    if constexpr (kSquares) power_slopes(squares, bins * L, power);
    for (std::int64_t k = 0; k < bins; ++k) {
      auto g = hn::Load(d, grad + k * L);
      if constexpr (kSquares) g = hn::Mul(g, hn::Load(d, squares + k * L));
      scale_bin(d, g, x + k * 2 * L);
    }
    clear_bins(x, bins, all_bins);
  }
};

template <typename C, typename Out>
void run(const SpectrogramBackwardJob& job) {
  const std::int64_t all_bins = job.framing.n_fft / 2 + 1;
  if (job.power == 2) {
    run_backward<C, Out, false>(job, job.power, PowerStep<C, false>{job.rows, all_bins, job.power});
  } else {
    run_backward<C, Out, true>(job, job.power, PowerStep<C, true>{job.rows, all_bins, job.power});
  }
}

void Run(const SpectrogramBackwardJob& job) {
  if (job.x.dtype == DType::kFloat64) return run<double, double>(job);
  if (computes_in_float64(job.framing.n_fft, false)) return run<double, float>(job);
  run<float, float>(job);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace melisma {
HWY_EXPORT(Run);

void spectrogram_backward_cpu(const SpectrogramBackwardJob& job) {
  count_call("spectrogram_backward", "cpu");
  HWY_DYNAMIC_DISPATCH(Run)(job);
}

}  // namespace melisma
#endif
