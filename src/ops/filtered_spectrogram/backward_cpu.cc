#include <algorithm>

#include "blocks/elementwise/elementwise.h"
#include "ops/filtered_spectrogram/cpu.h"
#include "runtime/registry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/filtered_spectrogram/backward_cpu.cc"
// clang-format off
#include "runtime/cpu/targets.h"
#include "hwy/foreach_target.h"
#include "runtime/cpu/highway.h"
// clang-format on
#include "blocks/filterbank/filter_bank-inl.h"
#include "ops/spectrogram/backward-inl.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace {

// x[k] *= factor of bin k, times slopes[k] unless the power is 2.
template <typename C, bool kSlopes>
struct ScaleSink {
  C* HWY_RESTRICT x;
  const C* HWY_RESTRICT slopes;
  template <class V>
  HWY_INLINE void operator()(std::int64_t k, V factor) const {
    const hn::ScalableTag<C> d;
    constexpr std::int64_t L = lanes<C>();
    if constexpr (kSlopes) factor = hn::Mul(factor, hn::Load(d, slopes + k * L));
    scale_bin(d, factor, x + k * 2 * L);
  }
};

// Back through logarithm, bank and power. The bands are computed again where the logarithm's derivative needs them.
template <typename C, bool kLog, bool kSlopes>
struct BankStep {
  const FilteredSpectrogramBackwardJob& job;
  const BankByBin<C>& by_bin;
  std::int64_t bins() const { return job.bank.bins() * lanes<C>(); }
  std::int64_t bands() const { return job.bank.bands() * lanes<C>(); }

  std::int64_t values() const { return (kLog ? bands() : 0) + (kLog && kSlopes ? bins() : 0); }
  HWY_INLINE void operator()(C* HWY_RESTRICT grad, C* HWY_RESTRICT squares, C* HWY_RESTRICT extra,
                             C* HWY_RESTRICT x) const {
    const double power = job.spectrogram.power;
    if constexpr (kLog) {
      C* magnitudes = squares;
      if constexpr (kSlopes) {
        magnitudes = extra + bands();
        std::copy_n(squares, bins(), magnitudes);
        power_of_squares(magnitudes, bins(), power);
      }
      apply_bank(job.bank, magnitudes, extra);
      logarithm_backward(extra, grad, bands(), job.log);
    }
    if constexpr (kSlopes) power_slopes(squares, bins(), power);
    apply_bank_adjoint(by_bin, grad, ScaleSink<C, kSlopes>{x, squares});
    clear_bins(x, job.bank.bins(), job.spectrogram.framing.n_fft / 2 + 1);
  }
};

template <typename C, typename Out>
void run(const FilteredSpectrogramBackwardJob& job) {
  const BankByBin<C> by_bin(job.bank);
  const double power = job.spectrogram.power, gain = power * job.log.post_mul;
  if (job.log.enabled && power != 2) {
    run_backward<C, Out, true>(job.spectrogram, gain, BankStep<C, true, true>{job, by_bin});
  } else if (job.log.enabled) {
    run_backward<C, Out, true>(job.spectrogram, gain, BankStep<C, true, false>{job, by_bin});
  } else if (power != 2) {
    run_backward<C, Out, true>(job.spectrogram, gain, BankStep<C, false, true>{job, by_bin});
  } else {
    run_backward<C, Out, false>(job.spectrogram, gain, BankStep<C, false, false>{job, by_bin});
  }
}

void Run(const FilteredSpectrogramBackwardJob& job) {
  const SpectrogramBackwardJob& inner = job.spectrogram;
  if (inner.x.dtype == DType::kFloat64) return run<double, double>(job);
  if (job.float64 || computes_in_float64(inner.framing.n_fft, false)) return run<double, float>(job);
  run<float, float>(job);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace melisma {
HWY_EXPORT(Run);

void filtered_spectrogram_backward_cpu(const FilteredSpectrogramBackwardJob& job) {
  count_call("filtered_spectrogram_backward", "cpu");
  HWY_DYNAMIC_DISPATCH(Run)(job);
}

}  // namespace melisma
#endif
