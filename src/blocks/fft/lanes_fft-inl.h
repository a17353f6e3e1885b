// Transforms of many frames at once, one frame in each lane: any size, no shuffles.
//
// A batch of complex values is an array [n][2][L]: real parts of value j in all L frames, then imaginary parts.
// Declared once per SIMD target; defined in lanes_fft.cc.

// clang-format off
#if defined(MELISMA_BLOCKS_FFT_LANES_FFT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MELISMA_BLOCKS_FFT_LANES_FFT_INL_H_
#undef MELISMA_BLOCKS_FFT_LANES_FFT_INL_H_
#else
#define MELISMA_BLOCKS_FFT_LANES_FFT_INL_H_
#endif
// clang-format on

#include "blocks/fft/plan.h"
#include "blocks/framing/framing.h"
#include "runtime/cpu/highway.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <typename T>
constexpr std::int64_t lanes() {
  return static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
}

// In place; output k is left at value plan.position[k].
void lanes_fft(const FftPlan<float>& plan, float* z);
void lanes_fft(const FftPlan<double>& plan, double* z);

// In place, outputs in order. work: two arrays of plan.convolution->n complex values.
void lanes_bluestein(const BluesteinPlan<double>& plan, double* z, double* work);

// z[s * step] = rows[.][s] * window[s] for s < count: L rows of `count` values each to one vector per value.
// window has `count` values followed by at least L - 1 readable ones. `ahead` is prefetched meanwhile.
void lanes_load(const float* const* rows, const float* window, std::int64_t count, std::int64_t step, float* z,
                Ahead ahead);
void lanes_load(const double* const* rows, const double* window, std::int64_t count, std::int64_t step, double* z,
                Ahead ahead);

// The reverse for the results: rows[r][k] = v[k] of frame r, for r < frames, k < count.
// `next`: from each row to the one written after it, whose lines are asked for meanwhile; 0 for none.
void lanes_store(const float* v, std::int64_t count, float* const* rows, std::int64_t frames, std::int64_t next);
void lanes_store(const double* v, std::int64_t count, double* const* rows, std::int64_t frames, std::int64_t next);

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif
