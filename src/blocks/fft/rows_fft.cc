#include <type_traits>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blocks/fft/rows_fft.cc"
// clang-format off
#include "runtime/cpu/targets.h"
#include "hwy/foreach_target.h"
#include "runtime/cpu/highway.h"
// clang-format on
#include "blocks/fft/butterfly-inl.h"
#include "blocks/fft/interleave-inl.h"
#include "blocks/fft/rows_fft-inl.h"
#include "blocks/fft/transpose-inl.h"
#include "runtime/prefetch.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace {

// Where the first pass gets L values from: pairs of windowed samples, or split arrays.
template <typename T>
struct Samples {
  const T* HWY_RESTRICT frame;
  const T* HWY_RESTRICT window;  // [2][n]: for even samples, for odd samples
  std::int64_t n;
  // Sum and difference of values j and k. The window goes into the fused multiply-adds: one rounding and a
  // multiplication less.
  template <class D, class V>
  HWY_INLINE void load_pair(D d, std::int64_t j, std::int64_t k, V& ar, V& ai, V& br, V& bi) const {
    V xr, xi, yr, yi;
    load_interleaved<false>(d, frame + 2 * j, xr, xi);
    load_interleaved<false>(d, frame + 2 * k, yr, yi);
    const V wr = hn::LoadU(d, window + k), wi = hn::LoadU(d, window + n + k);
    xr = hn::Mul(xr, hn::LoadU(d, window + j));
    xi = hn::Mul(xi, hn::LoadU(d, window + n + j));
    ar = hn::MulAdd(yr, wr, xr);
    ai = hn::MulAdd(yi, wi, xi);
    br = hn::NegMulAdd(yr, wr, xr);
    bi = hn::NegMulAdd(yi, wi, xi);
  }
};
template <typename T>
struct Split {
  const T* HWY_RESTRICT re;
  const T* HWY_RESTRICT im;
  template <class D, class V>
  HWY_INLINE void load_pair(D d, std::int64_t j, std::int64_t k, V& ar, V& ai, V& br, V& bi) const {
    ar = hn::LoadU(d, re + j);
    ai = hn::LoadU(d, im + j);
    br = hn::LoadU(d, re + k);
    bi = hn::LoadU(d, im + k);
    butterfly2(d, ar, ai, br, bi);
  }
};

// Radix L over values m apart, twiddles, transpose: y[L p + k] for L neighbouring p at a time. N: the size where it is
// known at compile time, else 0. Constant strides are worth a quarter of the time at 512: they need no address
// registers.
template <std::int64_t N, class D, typename T, class Source>
HWY_NOINLINE void first_pass(D d, const RowsPlan<T>& plan, const Source source, T* HWY_RESTRICT y) {
  using V = hn::Vec<D>;
  constexpr int L = static_cast<int>(hn::MaxLanes(D()));
  const std::int64_t n = N > 0 ? N : plan.fft.n, m = n / L, stride = rows_stride(n);
  const T* HWY_RESTRICT t = plan.first_twiddles.data();
  for (std::int64_t block = 0; block < m; block += L, t += 2 * L * (L - 1)) {
    const std::int64_t p = HWY_MIN(block, m - L);  // the last block overlaps the one before; it writes the same values
    V re[L], im[L];
#pragma GCC unroll 16
    for (int i = 0; i < L / 2; ++i) {
      source.load_pair(d, i * m + p, (i + L / 2) * m + p, re[i], im[i], re[i + L / 2], im[i + L / 2]);
    }
    butterfly<L, true>(d, re, im);
#pragma GCC unroll 16
    for (int k = 1; k < L; ++k) {
      multiply(re[k], im[k], hn::Load(d, t + (k - 1) * 2 * L), hn::Load(d, t + (k - 1) * 2 * L + L));
    }
    transpose(d, re);
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) hn::Store(re[i], d, y + (p + i) * L);
    transpose(d, im);
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) hn::Store(im[i], d, y + stride + (p + i) * L);
  }
}

template <int R, bool kTwiddle, class D, typename T>
HWY_INLINE void rows_butterfly(D d, const T* HWY_RESTRICT x, std::int64_t x_step, T* HWY_RESTRICT y,
                               std::int64_t y_step, std::int64_t stride, const T* HWY_RESTRICT t) {
  using V = hn::Vec<D>;
  V re[R], im[R];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
    re[i] = hn::Load(d, x + i * x_step);
    im[i] = hn::Load(d, x + i * x_step + stride);
  }
  butterfly<R>(d, re, im);
  if constexpr (kTwiddle) {
#pragma GCC unroll 16
    for (int k = 1; k < R; ++k) multiply(re[k], im[k], hn::Set(d, t[2 * k - 2]), hn::Set(d, t[2 * k - 1]));
  }
#pragma GCC unroll 16
  for (int k = 0; k < R; ++k) {
    hn::Store(re[k], d, y + k * y_step);
    hn::Store(im[k], d, y + k * y_step + stride);
  }
}

// One Stockham pass: y[q + s (R p + k)] from x[q + s (p + i m)], q < s, vectors along q.
template <int R, class D, typename T>
HWY_INLINE void rows_pass_over(D d, std::int64_t m, const T* HWY_RESTRICT t, std::int64_t s, const T* HWY_RESTRICT x,
                               T* HWY_RESTRICT y, std::int64_t stride) {
  constexpr std::int64_t L = static_cast<std::int64_t>(hn::MaxLanes(D()));
  for (std::int64_t q = 0; q < s; q += L) rows_butterfly<R, false>(d, x + q, s * m, y + q, s, stride, t);
  for (std::int64_t p = 1; p < m; ++p) {
    t += 2 * (R - 1);
    for (std::int64_t q = 0; q < s; q += L) {
      rows_butterfly<R, true>(d, x + q + s * p, s * m, y + q + s * R * p, s, stride, t);
    }
  }
}

template <int R, class D, typename T>
HWY_NOINLINE void rows_pass(D d, const FftPass<T>& pass, std::int64_t s, const T* x, T* y, std::int64_t stride) {
  rows_pass_over<R>(d, pass.sub_block, pass.twiddles, s, x, y, stride);
}

template <class D, typename T>
void rows_pass_any(D d, const FftPass<T>& pass, std::int64_t s, const T* x, T* y, std::int64_t stride) {
  switch (pass.radix) {
    case 2: return rows_pass<2>(d, pass, s, x, y, stride);
    case 3: return rows_pass<3>(d, pass, s, x, y, stride);
    case 4: return rows_pass<4>(d, pass, s, x, y, stride);
    case 5: return rows_pass<5>(d, pass, s, x, y, stride);
    case 7: return rows_pass<7>(d, pass, s, x, y, stride);
    case 8: return rows_pass<8>(d, pass, s, x, y, stride);
    case 11: return rows_pass<11>(d, pass, s, x, y, stride);
    default: return rows_pass<13>(d, pass, s, x, y, stride);
  }
}

// The passes after the first, which has written to `from`; the result ends in `from` where their number is even.
template <class D, typename T>
HWY_NOINLINE void later_passes(D d, const RowsPlan<T>& plan, T* from, T* to) {
  const FftPlan<T>& fft = plan.fft;
  std::int64_t s = fft.passes[0].radix;
  for (std::size_t l = 1; l < fft.passes.size(); ++l) {
    rows_pass_any(d, fft.passes[l], s, from, to, rows_stride(fft.n));
    s *= fft.passes[l].radix;
    std::swap(from, to);
  }
}

// The same with sizes known at compile time: pass Level of the transform of N, s = N / Rest.
template <std::int64_t N, std::int64_t Rest, int Level, class D, typename T>
HWY_INLINE void fixed_passes(D d, const FftPlan<T>& fft, T* from, T* to) {
  if constexpr (Rest > 1) {
    constexpr int R = next_radix(Rest);
    rows_pass_over<R>(d, Rest / R, fft.passes[Level].twiddles, N / Rest, from, to, rows_stride(N));
    fixed_passes<N, Rest / R, Level + 1>(d, fft, to, from);
  }
}
template <std::int64_t N, class D, typename T>
HWY_NOINLINE void fixed_later_passes(D d, const RowsPlan<T>& plan, T* from, T* to) {
  fixed_passes<N, N / static_cast<std::int64_t>(hn::MaxLanes(D())), 1>(d, plan.fft, from, to);
}

template <std::int64_t N, class D, typename T, class Source>
HWY_INLINE void run_passes(D d, const RowsPlan<T>& plan, const Source& source, T* first, T* second) {
  first_pass<N>(d, plan, source, first);
  if constexpr (N > 0) {
    fixed_later_passes<N>(d, plan, first, second);
  } else {
    later_passes(d, plan, first, second);
  }
}

// first: the array that the first pass writes; see later_passes for where the result is.
template <class D, typename T, class Source>
HWY_INLINE void run_passes_any(D d, const RowsPlan<T>& plan, const Source& source, T* first, T* second) {
  constexpr std::int64_t kSquare = static_cast<std::int64_t>(hn::MaxLanes(D()) * hn::MaxLanes(D()));
  if constexpr (std::is_same_v<T, float>) {
    // n_fft 512 to 4096. A vector's square is the smallest size.
    switch (plan.fft.n) {
      case 256:
        if constexpr (kSquare <= 256) return run_passes<256>(d, plan, source, first, second);
        break;
      case 512: return run_passes<512>(d, plan, source, first, second);
      case 1024: return run_passes<1024>(d, plan, source, first, second);
      case 2048: return run_passes<2048>(d, plan, source, first, second);
      default: break;
    }
  }
  run_passes<0>(d, plan, source, first, second);
}

template <typename T>
void fft_real(const RowsPlan<T>& plan, const T* frame, const T* window, T* z, T* work) {
  const hn::ScalableTag<T> d;
  const bool even = (plan.fft.passes.size() - 1) % 2 == 0;
  run_passes_any(d, plan, Samples<T>{frame, window, plan.fft.n}, even ? z : work, even ? work : z);
}

template <typename T>
const T* fft_split(const RowsPlan<T>& plan, T* z, T* work) {
  const std::int64_t n = plan.fft.n;
  run_passes_any(hn::ScalableTag<T>(), plan, Split<T>{z, z + rows_stride(n)}, work, z);
  return (plan.fft.passes.size() - 1) % 2 == 0 ? work : z;
}

template <typename T>
void merge(const RealTwiddles<T>& twiddles, std::int64_t n, const T* HWY_RESTRICT spectrum, T edge_bins,
           T* HWY_RESTRICT z, std::int64_t next) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  constexpr std::int64_t L = static_cast<std::int64_t>(hn::MaxLanes(d));
  T* HWY_RESTRICT re = z + rows_stride(n);  // swapped
  T* HWY_RESTRICT im = z;
  const T* HWY_RESTRICT wr = twiddles.re.data();
  const T* HWY_RESTRICT wi = twiddles.im.data();
  const std::int64_t half = n / 2;
  const auto first_lane = hn::FirstN(d, 1);
  for (std::int64_t block = 0; block < half; block += L) {
    const std::int64_t k = HWY_MIN(block, half - L);
    const std::int64_t mirror = n - k - (L - 1);
    for (std::int64_t at : {2 * k, 2 * mirror}) {
      const std::int64_t ahead = (next + at) * static_cast<std::int64_t>(sizeof(T));
      prefetch_for_read(spectrum, ahead);
      prefetch_for_read(spectrum, ahead + 64);
    }
    V ar, ai, br, bi;
    load_interleaved<false>(d, spectrum + 2 * k, ar, ai);
    load_interleaved<true>(d, spectrum + 2 * mirror, br, bi);
    if (k == 0) {  // a real signal has none, whatever the caller left there
      ai = hn::IfThenZeroElse(first_lane, ai);
      bi = hn::IfThenZeroElse(first_lane, bi);
    }
    const V even_r = hn::Add(ar, br), even_i = hn::Sub(ai, bi);
    const V odd_r = hn::Sub(ar, br), odd_i = hn::Add(ai, bi);
    const V cr = hn::LoadU(d, wr + k), ci = hn::LoadU(d, wi + k);
    // i conj(w) (odd)
    const V tr = hn::NegMulAdd(cr, odd_i, hn::Mul(ci, odd_r));
    const V ti = hn::MulAdd(ci, odd_i, hn::Mul(cr, odd_r));
    hn::StoreU(hn::Add(even_r, tr), d, re + k);
    hn::StoreU(hn::Add(even_i, ti), d, im + k);
    // Value n of the mirrored block (k = 0) is the first of the next period; its slot is spare.
    hn::StoreU(hn::Reverse(d, hn::Sub(even_r, tr)), d, re + mirror);
    hn::StoreU(hn::Reverse(d, hn::Sub(ti, even_i)), d, im + mirror);
  }
  if (edge_bins != T{1}) {  // values k = 0 again, whose twiddle is one
    re[0] = edge_bins * (spectrum[0] + spectrum[2 * n]);
    im[0] = edge_bins * (spectrum[0] - spectrum[2 * n]);
  }
  re[half] = 2 * spectrum[2 * half];
  im[half] = -2 * spectrum[2 * half + 1];
}

}  // namespace

void rows_fft_real(const RowsPlan<float>& plan, const float* frame, const float* window, float* z, float* work) {
  fft_real(plan, frame, window, z, work);
}
void rows_fft_real(const RowsPlan<double>& plan, const double* frame, const double* window, double* z, double* work) {
  fft_real(plan, frame, window, z, work);
}
const float* rows_fft(const RowsPlan<float>& plan, float* z, float* work) { return fft_split(plan, z, work); }
const double* rows_fft(const RowsPlan<double>& plan, double* z, double* work) { return fft_split(plan, z, work); }
void rows_merge(const RealTwiddles<float>& twiddles, std::int64_t n, const float* spectrum, float edge_bins, float* z,
                std::int64_t next) {
  merge(twiddles, n, spectrum, edge_bins, z, next);
}
void rows_merge(const RealTwiddles<double>& twiddles, std::int64_t n, const double* spectrum, double edge_bins,
                double* z, std::int64_t next) {
  merge(twiddles, n, spectrum, edge_bins, z, next);
}

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();
