// Gradients of operators that start with a magnitude spectrogram: the frames' spectra are computed again, a step of the
// operator's turns them into the gradient with respect to the spectra, and that goes back through the inverse transform
// and overlap-add. A batch of frames, one per lane, stays in cache from the samples read to the samples written.

// clang-format off
#if defined(MELISMA_OPS_SPECTROGRAM_BACKWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MELISMA_OPS_SPECTROGRAM_BACKWARD_INL_H_
#undef MELISMA_OPS_SPECTROGRAM_BACKWARD_INL_H_
#else
#define MELISMA_OPS_SPECTROGRAM_BACKWARD_INL_H_
#endif
// clang-format on

#include <algorithm>
#include <type_traits>

#include "blocks/overlap_add/overlap_add-inl.h"
#include "blocks/spectrum/spectrum-inl.h"
#include "ops/spectrogram/cpu.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// For LanesSpectrum::bins(): spectra as [bins][2][L] and, where wanted, |X|^2 as [bins][L].
template <typename C, bool kSquares>
struct SpectrumSink {
  C* HWY_RESTRICT x;
  C* HWY_RESTRICT squares;
  template <class V>
  HWY_INLINE void operator()(std::int64_t k, V re, V im) const {
    const hn::ScalableTag<C> d;
    constexpr std::int64_t L = lanes<C>();
    hn::Store(re, d, x + k * 2 * L);
    hn::Store(im, d, x + k * 2 * L + L);
    if constexpr (kSquares) hn::Store(hn::MulAdd(re, re, hn::Mul(im, im)), d, squares + k * L);
  }
};

// Rows of a result's gradient, times a constant, as [rows][L] for a batch of frames.
template <typename C, typename Out>
class GradBatch {
 public:
  GradBatch(const SpectrogramBackwardJob& job, double gain)
      : job_(job), gain_(static_cast<std::size_t>(job.rows + lanes<C>()), static_cast<C>(gain)) {}

  void load(std::int64_t item, std::int64_t first, std::int64_t count, C* HWY_RESTRICT v) const {
    constexpr std::int64_t L = lanes<C>();
    const Out* from =
        static_cast<const Out*>(job_.grad.data) + item_offset(job_.grad, 2, item) + first * job_.frame_stride;
    if constexpr (std::is_same_v<C, Out>) {
      if (job_.row_stride == 1) {
        const C* frames[L];
        for (std::int64_t r = 0; r < L; ++r) frames[r] = from + std::min(r, count - 1) * job_.frame_stride;
        return lanes_load(frames, gain_.data(), job_.rows, 1, v, Ahead{nullptr, 0});
      }
      if (job_.frame_stride == 1 && count == L) {
        const hn::ScalableTag<C> d;
        const auto gain = hn::Load(d, gain_.data());
        for (std::int64_t k = 0; k < job_.rows; ++k)
          hn::Store(hn::Mul(gain, hn::LoadU(d, from + k * job_.row_stride)), d, v + k * L);
        return;
      }
    }
    const C gain = gain_[0];
    for (std::int64_t k = 0; k < job_.rows; ++k) {
      const Out* row = from + k * job_.row_stride;
      for (std::int64_t r = 0; r < count; ++r) v[k * L + r] = gain * static_cast<C>(row[r * job_.frame_stride]);
      for (std::int64_t r = count; r < L; ++r) v[k * L + r] = C{0};
    }
  }

 private:
  const SpectrogramBackwardJob& job_;
  AlignedVector<C> gain_;
};

// Bin x times a vector.
template <class D, class V, typename C>
HWY_INLINE void scale_bin(D d, V factor, C* HWY_RESTRICT x) {
  constexpr std::int64_t L = lanes<C>();
  hn::Store(hn::Mul(factor, hn::Load(d, x)), d, x);
  hn::Store(hn::Mul(factor, hn::Load(d, x + L)), d, x + L);
}

// Bins that the operator leaves out have no gradient.
template <typename C>
HWY_INLINE void clear_bins(C* x, std::int64_t first, std::int64_t last) {
  std::fill(x + first * 2 * lanes<C>(), x + last * 2 * lanes<C>(), C{0});
}

// step(grad, squares, extra, x): from spectra x, as [bins][2][L] with all n_fft / 2 + 1 bins, to the gradient with
// respect to them; grad holds gain times the batch's rows, extra step.values() values; all may be overwritten.
template <typename C, typename Out, bool kSquares, class Step>
void run_backward(const SpectrogramBackwardJob& job, double gain, const Step& step) {
  constexpr std::int64_t L = lanes<C>();
  const std::int64_t n_fft = job.framing.n_fft, bins = n_fft / 2 + 1;
  const LanesSpectrum<C> spectrum(n_fft, false, job.window);
  const LanesInverse<C> inverse(n_fft, false, 2.0);
  const GradBatch<C, Out> grads(job, gain);
  std::vector<double> half_window = job.window;  // for twice the adjoint
  for (double& w : half_window) w *= 0.5;
  const OverlapAddJob<C> result{job.framing, 1, half_window, job.out, nullptr};

  // A frame's samples, those read and then those of the result: a cache line apart from a multiple of the cache's
  // period, which n_fft often is (2048: 1.1x slower in all).
  const std::int64_t row = n_fft + 64 / static_cast<std::int64_t>(sizeof(C));
  const std::size_t work = static_cast<std::size_t>(std::max(spectrum.values(), inverse.lanes_values())),
                    spectra = static_cast<std::size_t>(bins * 2 * L), staged = static_cast<std::size_t>(row * L),
                    squares = kSquares ? static_cast<std::size_t>(bins * L) : 0,
                    rows = static_cast<std::size_t>(job.rows * L), extra = static_cast<std::size_t>(step.values());
  const std::size_t bytes = scratch_bytes<C>(work) + scratch_bytes<C>(spectra) + scratch_bytes<C>(staged) +
                            scratch_bytes<C>(squares) + scratch_bytes<C>(rows) + scratch_bytes<C>(extra);
  overlap_add<C, Out>(
      result, bytes,
      [&](std::int64_t item, std::int64_t t0, std::int64_t t1, Scratch& scratch, OverlapAdd<C, Out>& sum) HWY_ATTR {
        C* z = scratch.take<C>(work);
        C* x = scratch.take<C>(spectra);
        C* copies = scratch.take<C>(staged);
        C* v = scratch.take<C>(squares);
        C* grad = scratch.take<C>(rows);
        C* more = scratch.take<C>(extra);
        const FrameRows<C> source(job.x, item, job.framing);
        for (std::int64_t first = t0; first <= t1; first += L) {
          const std::int64_t count = std::min(L, t1 + 1 - first);
          const C* frames[L];
          for (std::int64_t r = 0; r < count; ++r) frames[r] = source.row(first + r, copies + r * row);
          std::fill(frames + count, frames + L, frames[0]);  // lanes without a frame repeat one
          spectrum.transform(frames, z, source.ahead(first + L, L));
          spectrum.bins(z, SpectrumSink<C, kSquares>{x, v});
          grads.load(item, first, count, grad);
          step(grad, v, more, x);
          C* results[L];
          for (std::int64_t r = 0; r < L; ++r) results[r] = copies + r * row;
          inverse.run_lanes(x, z, results, count);
          for (std::int64_t r = 0; r < count; ++r) sum.add(first + r, results[r]);
        }
      });
}

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif
