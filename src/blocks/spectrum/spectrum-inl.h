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
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "blocks/fft/lanes_fft-inl.h"
#include "blocks/fft/rows_fft-inl.h"
#include "melisma/runtime.h"
#include "runtime/aligned.h"
#include "runtime/cpu/highway.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// One frame per lane: any size, real or complex input.
//
// Real input of even size is packed two samples to a complex value; of odd size it is a complex transform with zero
// imaginary parts. Complex input looks to the loader like packed real input of twice the size with a doubled window.
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
      window_[static_cast<std::size_t>(i)] =
          static_cast<C>(scale * window[static_cast<std::size_t>(complex_input ? i / 2 : i)]);
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
  std::int64_t values() const { return (n_ + (bluestein_ ? 2 * bluestein_->convolution->n : 0)) * 2 * kLanes; }
  std::int64_t row_values() const { return count_; }

  void transform(const C* const* rows, C* z, Ahead ahead) const {
    const std::int64_t step = packed_ || complex_input_ ? 1 : 2;
    lanes_load(rows, window_.data(), count_, step, z, ahead);
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

// The inverse of LanesSpectrum without window: from spectra to frames times n_fft. edge_bins is a factor on what is its
// own mirror in a real signal's spectrum, DC and (even n_fft) Nyquist: with 2 the frames are twice the adjoint of the
// one-sided transform, in which every bin counts once.
template <typename C>
class LanesInverse {
 public:
  static constexpr std::int64_t kLanes = LanesSpectrum<C>::kLanes;

  LanesInverse(std::int64_t n_fft, bool complex_result, double edge_bins = 1.0)
      : n_fft_(n_fft),
        complex_result_(complex_result),
        packed_(!complex_result && n_fft % 2 == 0),
        edge_bins_(static_cast<C>(edge_bins)) {
    n_ = packed_ ? n_fft / 2 : n_fft;
    if (packed_) twiddles_ = real_twiddles<C>(n_fft);
    ones_.resize(static_cast<std::size_t>(2 * n_fft + 2 + kLanes), C{1});
    if (is_smooth(n_)) {
      fft_ = fft_plan<C>(n_, 0);
    } else if constexpr (std::is_same_v<C, double>) {
      bluestein_ = bluestein_plan<double>(n_);
    }
  }

  std::int64_t bins() const { return complex_result_ ? n_fft_ : n_fft_ / 2 + 1; }
  std::int64_t width() const { return complex_result_ ? 2 : 1; }

  // Values of C that run_lanes() works in, and run().
  std::int64_t lanes_values() const {
    return (n_ + (bluestein_ ? 2 * bluestein_->convolution->n : 0)) * 2 * kLanes + n_fft_ * width() * kLanes;
  }
  std::int64_t values() const { return bins() * 2 * kLanes + lanes_values(); }

  // spectra: L rows of bins() interleaved complex values; frames: `count` rows of n_fft (complex: pairs).
  void run(const C* const* spectra, C* scratch, C* const* frames, std::int64_t count, Ahead ahead) const {
    lanes_load(spectra, ones_.data(), 2 * bins(), 1, scratch, ahead);
    run_lanes(scratch, scratch + bins() * 2 * kLanes, frames, count);
  }

  // From spectra x one to a lane, [bins()][2][L].
  void run_lanes(const C* x, C* scratch, C* const* frames, std::int64_t count) const {
    const hn::ScalableTag<C> d;
    constexpr std::int64_t L = kLanes;
    C* z = scratch;
    C* time = z + (n_ + (bluestein_ ? 2 * bluestein_->convolution->n : 0)) * 2 * L;
    merge(x, z);
    const std::int32_t* position = nullptr;
    if constexpr (std::is_same_v<C, double>) {
      if (bluestein_) lanes_bluestein(*bluestein_, z, z + n_ * 2 * L);
    }
    if (!bluestein_) {
      lanes_fft(*fft_, z);
      position = fft_->position.data();
    }
    for (std::int64_t j = 0; j < n_; ++j) {
      const C* from = z + (position != nullptr ? position[j] : j) * 2 * L;
      const auto re = hn::Load(d, from + L), im = hn::Load(d, from);  // swapped back
      if (packed_ || complex_result_) {
        hn::Store(re, d, time + 2 * j * L);
        hn::Store(im, d, time + (2 * j + 1) * L);
      } else {
        hn::Store(re, d, time + j * L);
      }
    }
    lanes_store(time, n_fft_ * width(), frames, count, 0);
  }

 private:
  // Spectra [bins][2][L] to the transform's input, real and imaginary parts swapped.
  HWY_INLINE void merge(const C* HWY_RESTRICT x, C* HWY_RESTRICT z) const {
    const hn::ScalableTag<C> d;
    using V = hn::Vec<decltype(d)>;
    constexpr std::int64_t L = kLanes;
    const auto put = [z, d](std::int64_t k, V re, V im) HWY_ATTR {
      hn::Store(im, d, z + k * 2 * L);
      hn::Store(re, d, z + k * 2 * L + L);
    };
    if (complex_result_) {
      for (std::int64_t k = 0; k < n_; ++k) put(k, hn::Load(d, x + k * 2 * L), hn::Load(d, x + k * 2 * L + L));
      return;
    }
    const V edge = hn::Set(d, edge_bins_);
    const V dc = hn::Mul(edge, hn::Load(d, x));  // imaginary parts of DC and Nyquist are ignored
    if (!packed_) {
      put(0, dc, hn::Zero(d));
      for (std::int64_t k = 1; k <= n_ / 2; ++k) {
        const V re = hn::Load(d, x + k * 2 * L), im = hn::Load(d, x + k * 2 * L + L);
        put(k, re, im);
        put(n_ - k, re, hn::Neg(im));
      }
      return;
    }
    const V nyquist = hn::Mul(edge, hn::Load(d, x + n_ * 2 * L));
    put(0, hn::Add(dc, nyquist), hn::Sub(dc, nyquist));
    for (std::int64_t k = 1; 2 * k <= n_; ++k) {
      const C* a = x + k * 2 * L;
      const C* b = x + (n_ - k) * 2 * L;
      const V ar = hn::Load(d, a), ai = hn::Load(d, a + L), br = hn::Load(d, b), bi = hn::Load(d, b + L);
      const V even_r = hn::Add(ar, br), even_i = hn::Sub(ai, bi);
      const V odd_r = hn::Sub(ar, br), odd_i = hn::Add(ai, bi);
      const V cr = hn::Set(d, twiddles_->re[static_cast<std::size_t>(k)]);
      const V ci = hn::Set(d, twiddles_->im[static_cast<std::size_t>(k)]);
      const V tr = hn::NegMulAdd(cr, odd_i, hn::Mul(ci, odd_r));  // i conj(w) (odd)
      const V ti = hn::MulAdd(ci, odd_i, hn::Mul(cr, odd_r));
      put(k, hn::Add(even_r, tr), hn::Add(even_i, ti));
      put(n_ - k, hn::Sub(even_r, tr), hn::Sub(ti, even_i));
    }
  }

  std::int64_t n_fft_, n_ = 0;
  bool complex_result_, packed_;
  C edge_bins_;
  std::shared_ptr<const FftPlan<C>> fft_;
  std::shared_ptr<const BluesteinPlan<double>> bluestein_;
  std::shared_ptr<const RealTwiddles<C>> twiddles_;
  AlignedVector<C> ones_;
};

// The inverse of RowsSpectrum without window. edge_bins as in LanesInverse.
template <typename C>
class RowsInverse {
 public:
  explicit RowsInverse(std::int64_t n_fft, double edge_bins = 1.0)
      : n_(n_fft / 2),
        edge_bins_(static_cast<C>(edge_bins)),
        plan_(rows_plan<C>(n_, static_cast<int>(hn::MaxLanes(hn::ScalableTag<C>())))),
        twiddles_(real_twiddles<C>(n_fft)) {}

  std::int64_t values() const { return 2 * rows_stride(n_); }

  // From n_fft / 2 + 1 interleaved bins to n_fft times the samples: the odd ones at the pointer returned, the even ones
  // even() further on.
  // next: from this spectrum to the one read after it, asked for meanwhile.
  const C* frame(const C* spectrum, C* z, C* work, std::int64_t next) const {
    rows_merge(*twiddles_, n_, spectrum, edge_bins_, z, next);
    return rows_fft(*plan_, z, work);
  }
  std::int64_t even() const { return rows_stride(n_); }

 private:
  std::int64_t n_;
  C edge_bins_;
  std::shared_ptr<const RowsPlan<C>> plan_;
  std::shared_ptr<const RealTwiddles<C>> twiddles_;
};

// For bins(): |X|^2 as [bins][L].
template <typename C>
struct SquareSink {
  C* HWY_RESTRICT v;
  template <class V>
  HWY_INLINE void operator()(std::int64_t k, V re, V im) const {
    const hn::ScalableTag<C> d;
    hn::Store(hn::MulAdd(re, re, hn::Mul(im, im)), d, v + k * LanesSpectrum<C>::kLanes);
  }
};

// For RowsSpectrum: |X|^2 of one frame, in order.
template <typename C>
struct SquareRowSink {
  C* HWY_RESTRICT row;
  template <bool kReversed, class V>
  HWY_INLINE void full(std::int64_t k, V re, V im) const {
    const hn::ScalableTag<C> d;
    V square = hn::MulAdd(re, re, hn::Mul(im, im));
    if constexpr (kReversed) square = hn::Reverse(d, square);
    hn::StoreU(square, d, row + k);
  }
  HWY_INLINE void one(std::int64_t k, C re, C im) const { row[k] = re * re + im * im; }
};

// Which of the forms a transform takes; `rows`: whether the operator has the frame-across-lanes form.
inline Explanation explain_spectrum(std::int64_t n_fft, bool complex_input, bool double_result, bool rows) {
  const bool wide = double_result || computes_in_float64(n_fft, complex_input);
  const std::string count = std::to_string(wide ? LanesSpectrum<double>::kLanes : LanesSpectrum<float>::kLanes);
  const std::string size = "n_fft " + std::to_string(n_fft);
  const bool fits = wide ? rows_fit<double>(n_fft) && double_result : rows_fit<float>(n_fft);
  if (rows && fits && !complex_input)
    return {"cpu", "frame-across-lanes", size + " fills " + count + " x " + count + " lanes"};
  const std::string precision = wide && !double_result ? ", in float64 for accuracy" : "";
  if (!is_smooth(!complex_input && n_fft % 2 == 0 ? n_fft / 2 : n_fft)) {
    return {"cpu", "frame-per-lane-bluestein", size + " has a prime factor above 13" + precision};
  }
  const std::string why = complex_input ? "complex values"
                          : rows        ? size + " does not fill " + count + " x " + count + " lanes"
                                        : count + " frames at a time: sums over bins need no shuffle";
  return {"cpu", "frame-per-lane", why + precision};
}

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif
