// Transforms of one frame across the lanes, for sizes that fill the vectors: n = L m with m >= L lanes.
//
// The first pass has radix L and ends in an L x L transpose in registers; from then on every vector holds L neighbours
// of the output index and the passes are plain Stockham passes with one twiddle a vector. Complex values are split: n
// real parts, and n imaginary parts `rows_stride(n)` values further on. Declared once per SIMD target; defined in
// rows_fft.cc.

// clang-format off
#if defined(MELISMA_BLOCKS_FFT_ROWS_FFT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MELISMA_BLOCKS_FFT_ROWS_FFT_INL_H_
#undef MELISMA_BLOCKS_FFT_ROWS_FFT_INL_H_
#else
#define MELISMA_BLOCKS_FFT_ROWS_FFT_INL_H_
#endif
// clang-format on

#include "blocks/fft/plan.h"
#include "runtime/cpu/highway.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// One value past the end is readable (rows_split wraps there); a cache line more keeps real and imaginary parts out of
// the same cache set.
constexpr std::int64_t rows_stride(std::int64_t n) { return (n + 1 + 31) / 16 * 16; }

// Whether n real samples can be transformed this way.
template <typename T>
constexpr bool rows_fit(std::int64_t n) {
  constexpr std::int64_t L = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  return n % 2 == 0 && (n / 2) % L == 0 && n / 2 >= L * L && is_smooth(n);
}

// Packed real input: value j is frame[2 j] * window[j] + i frame[2 j + 1] * window[n + j]. The result is in z; both z
// and work have 2 * rows_stride(n) values.
void rows_fft_real(const RowsPlan<float>& plan, const float* frame, const float* window, float* z, float* work);
void rows_fft_real(const RowsPlan<double>& plan, const double* frame, const double* window, double* z, double* work);

// From z to z or work: returns which.
const float* rows_fft(const RowsPlan<float>& plan, float* z, float* work);
const double* rows_fft(const RowsPlan<double>& plan, double* z, double* work);

// From the n + 1 bins of 2 n real samples (interleaved complex; imaginary parts of the first and last bin ignored) to
// the packed spectrum, real and imaginary parts swapped: rows_fft then gives 2 n times the samples, odd ones in the
// real parts, even ones in the imaginary parts. edge_bins: a factor on the first and last bin. next: from this spectrum
// to the one read after it.
void rows_merge(const RealTwiddles<float>& twiddles, std::int64_t n, const float* spectrum, float edge_bins, float* z,
                std::int64_t next);
void rows_merge(const RealTwiddles<double>& twiddles, std::int64_t n, const double* spectrum, double edge_bins,
                double* z, std::int64_t next);

// The bins of 2 n real samples from their packed transform (times two: the window carries the half). Calls
// sink.template full<false>(k, re, im) with bins k .. k + L - 1 and full<true>(k, re, im) with the same bins in reverse
// order, which together cover 0 .. n without n / 2 (some twice), and sink.one(n / 2, re, im).
template <class D, typename T, class Sink>
HWY_INLINE void rows_split(D d, const RealTwiddles<T>& twiddles, std::int64_t n, T* HWY_RESTRICT z, Sink& sink) {
  constexpr std::int64_t L = static_cast<std::int64_t>(hn::MaxLanes(D()));
  T* HWY_RESTRICT re = z;
  T* HWY_RESTRICT im = z + rows_stride(n);
  re[n] = re[0];
  im[n] = im[0];
  const T* HWY_RESTRICT wr = twiddles.re.data();
  const T* HWY_RESTRICT wi = twiddles.im.data();
  const std::int64_t half = n / 2;
  for (std::int64_t block = 0; block < half; block += L) {
    const std::int64_t k = HWY_MIN(block, half - L);
    const std::int64_t mirror = n - k - (L - 1);
    const auto ar = hn::LoadU(d, re + k), ai = hn::LoadU(d, im + k);
    const auto br = hn::Reverse(d, hn::LoadU(d, re + mirror)), bi = hn::Reverse(d, hn::LoadU(d, im + mirror));
    const auto even_r = hn::Add(ar, br), even_i = hn::Sub(ai, bi);
    const auto odd_r = hn::Sub(ar, br), odd_i = hn::Add(ai, bi);
    const auto cr = hn::LoadU(d, wr + k), ci = hn::LoadU(d, wi + k);
    // -i w (odd)
    const auto tr = hn::MulAdd(ci, odd_r, hn::Mul(cr, odd_i));
    const auto ti = hn::NegMulAdd(cr, odd_r, hn::Mul(ci, odd_i));
    sink.template full<false>(k, hn::Add(even_r, tr), hn::Add(even_i, ti));
    sink.template full<true>(mirror, hn::Sub(even_r, tr), hn::Sub(ti, even_i));
  }
  sink.one(half, 2 * re[half], -2 * im[half]);
}

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif
