// From rows of samples to bins: the start of every short-time operator, in its two forms.

// clang-format off
#if defined(MELISMA_BLOCKS_SPECTRUM_SPECTRUM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MELISMA_BLOCKS_SPECTRUM_SPECTRUM_INL_H_
#undef MELISMA_BLOCKS_SPECTRUM_SPECTRUM_INL_H_
#else
#define MELISMA_BLOCKS_SPECTRUM_SPECTRUM_INL_H_
#endif
// clang-format on

#include <algorithm>
#include <type_traits>
#include <vector>

#include "blocks/fft/lanes_fft-inl.h"
#include "blocks/fft/rows_fft-inl.h"
#include "runtime/aligned.h"
#include "runtime/cpu/highway.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// One frame per lane: any size, real or complex input.
//
// Real input of even size is packed two samples to a complex value; of odd size it is a complex transform with zero imaginary
// parts. Complex input looks to the loader like packed real input of twice the size with a doubled window.
template <typename C>
class LanesSpectrum {
 public:
  static constexpr std::int64_t kLanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<C>()));

  LanesSpectrum(std::int64_t n_fft, bool complex_input, const std::vector<double>& window)
      : n_fft_(n_fft), complex_input_(complex_input), packed_(!complex_input && n_fft % 2 == 0) {
    n_ = packed_ ? n_fft / 2 : n_fft;
    count_ = complex_input ? 2 * n_fft : n_fft;
    window_.resize(static_cast<std::size_t>(count_ + kLanes), C{0});
    const double scale = packed_ ? 0.5 : 1.0;  // the split into even and odd parts halves
    for (std::int64_t i = 0; i < count_; ++i) {
      window_[static_cast<std::size_t>(i)] = static_cast<C>(scale * window[static_cast<std::size_t>(complex_input ? i / 2 : i)]);
    }
    if (packed_) twiddles_ = real_twiddles<C>(n_fft);
    if (is_smooth(n_)) {
      fft_ = fft_plan<C>(n_, 0);
      position_ = fft_->position.data();
    } else if constexpr (std::is_same_v<C, double>) {
      bluestein_ = bluestein_plan<double>(n_);
      identity_.resize(static_cast<std::size_t>(n_));
      for (std::int64_t k = 0; k < n_; ++k) identity_[static_cast<std::size_t>(k)] = static_cast<std::int32_t>(k);
      position_ = identity_.data();
    }
  }

  // Values of C that transform() works in.
  std::int64_t values() const {
    return (n_ + (bluestein_ ? 2 * bluestein_->convolution->n : 0)) * 2 * kLanes;
  }
  std::int64_t row_values() const { return count_; }

  void transform(const C* const* rows, C* z) const {
    const std::int64_t step = packed_ || complex_input_ ? 1 : 2;
    lanes_load(rows, window_.data(), count_, step, z);
    if (step == 2) {
      for (std::int64_t j = 0; j < n_; ++j) std::fill_n(z + (2 * j + 1) * kLanes, kLanes, C{0});
    }
    if constexpr (std::is_same_v<C, double>) {
      if (bluestein_) return lanes_bluestein(*bluestein_, z, z + n_ * 2 * kLanes);
    }
    lanes_fft(*fft_, z);
  }

  // sink(k, re, im) for k = 0 .. n_fft / 2, or for all n_fft bins of complex input; not in order.
  template <class Sink>
  HWY_INLINE void bins(const C* HWY_RESTRICT z, Sink&& sink) const {
    const hn::ScalableTag<C> d;
    constexpr std::int64_t L = kLanes;
    const auto re_at = [z, this](std::int64_t k) { return z + position_[k] * 2 * L; };
    if (!packed_) {
      const std::int64_t last = complex_input_ ? n_ - 1 : n_fft_ / 2;
      for (std::int64_t k = 0; k <= last; ++k) {
        const C* p = re_at(k);
        sink(k, hn::Load(d, p), hn::Load(d, p + L));
      }
      return;
    }
    const C* zero = re_at(0);
    const auto zr = hn::Load(d, zero), zi = hn::Load(d, zero + L);
    const auto dc = hn::Add(zr, zi), nyquist = hn::Sub(zr, zi);
    sink(0, hn::Add(dc, dc), hn::Zero(d));
    sink(n_, hn::Add(nyquist, nyquist), hn::Zero(d));
    const C* HWY_RESTRICT wr = twiddles_->re.data();
    const C* HWY_RESTRICT wi = twiddles_->im.data();
    for (std::int64_t k = 1; 2 * k < n_; ++k) {
      const C* a = re_at(k);
      const C* b = re_at(n_ - k);
      const auto ar = hn::Load(d, a), ai = hn::Load(d, a + L), br = hn::Load(d, b), bi = hn::Load(d, b + L);
      const auto even_r = hn::Add(ar, br), even_i = hn::Sub(ai, bi);
      const auto odd_r = hn::Sub(ar, br), odd_i = hn::Add(ai, bi);
      const auto cr = hn::Set(d, wr[k]), ci = hn::Set(d, wi[k]);
      const auto tr = hn::MulAdd(ci, odd_r, hn::Mul(cr, odd_i));  // -i w (odd)
      const auto ti = hn::NegMulAdd(cr, odd_r, hn::Mul(ci, odd_i));
      sink(k, hn::Add(even_r, tr), hn::Add(even_i, ti));
      sink(n_ - k, hn::Sub(even_r, tr), hn::Sub(ti, even_i));
    }
    if (n_ % 2 == 0) {
      const C* half = re_at(n_ / 2);
      const auto r = hn::Load(d, half), i = hn::Load(d, half + L);
      sink(n_ / 2, hn::Add(r, r), hn::Neg(hn::Add(i, i)));
    }
  }

 private:
  std::int64_t n_fft_, n_ = 0, count_ = 0;
  bool complex_input_, packed_;
  std::shared_ptr<const FftPlan<C>> fft_;
  std::shared_ptr<const BluesteinPlan<double>> bluestein_;
  std::shared_ptr<const RealTwiddles<C>> twiddles_;
  const std::int32_t* position_ = nullptr;
  std::vector<std::int32_t> identity_;
  AlignedVector<C> window_;
};

// One frame across the lanes: real input whose size rows_fit.
template <typename C>
class RowsSpectrum {
 public:
  RowsSpectrum(std::int64_t n_fft, const std::vector<double>& window)
      : n_(n_fft / 2),
        plan_(rows_plan<C>(n_, static_cast<int>(hn::MaxLanes(hn::ScalableTag<C>())))),
        twiddles_(real_twiddles<C>(n_fft)),
        window_(static_cast<std::size_t>(n_fft)) {
    for (std::int64_t i = 0; i < n_fft; ++i) {
      window_[static_cast<std::size_t>(i % 2 * n_ + i / 2)] = static_cast<C>(0.5 * window[static_cast<std::size_t>(i)]);
    }
  }

  // Values of C in each of the two arrays that frame() works in.
  std::int64_t values() const { return 2 * rows_stride(n_); }

  // sink as in rows_split.
  template <class Sink>
  HWY_INLINE void frame(const C* samples, C* z, C* work, Sink& sink) const {
    const hn::ScalableTag<C> d;
    rows_fft_real(*plan_, samples, window_.data(), z, work);
    rows_split(d, *twiddles_, n_, z, sink);
  }

 private:
  std::int64_t n_;
  std::shared_ptr<const RowsPlan<C>> plan_;
  std::shared_ptr<const RealTwiddles<C>> twiddles_;
  AlignedVector<C> window_;
};

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif
