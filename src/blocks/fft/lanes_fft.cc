#include <algorithm>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blocks/fft/lanes_fft.cc"
// clang-format off
#include "runtime/cpu/targets.h"
#include "hwy/foreach_target.h"
#include "runtime/cpu/highway.h"
// clang-format on
#include "blocks/fft/butterfly-inl.h"
#include "blocks/fft/lanes_fft-inl.h"
#include "blocks/fft/transpose-inl.h"
#include "runtime/prefetch.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace {

// One butterfly: inputs `stride` apart, twiddles t (null: all one).
template <int R, class D, typename T>
HWY_INLINE void lanes_butterfly(D d, T* HWY_RESTRICT z, std::int64_t stride, const T* HWY_RESTRICT t) {
  using V = hn::Vec<D>;
  constexpr std::int64_t L = static_cast<std::int64_t>(hn::MaxLanes(D()));
  V re[R], im[R];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
    re[i] = hn::Load(d, z + i * stride);
    im[i] = hn::Load(d, z + i * stride + L);
  }
  butterfly<R>(d, re, im);
  if (t != nullptr) {
#pragma GCC unroll 16
    for (int k = 1; k < R; ++k) multiply(re[k], im[k], hn::Set(d, t[2 * k - 2]), hn::Set(d, t[2 * k - 1]));
  }
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
    hn::Store(re[i], d, z + i * stride);
    hn::Store(im[i], d, z + i * stride + L);
  }
}

// One pass over `count` values, a whole number of blocks.
template <int R, class D, typename T>
HWY_NOINLINE void lanes_pass(D d, const FftPass<T>& pass, T* z, std::int64_t count) {
  constexpr std::int64_t L = static_cast<std::int64_t>(hn::MaxLanes(D()));
  const std::int64_t m = pass.sub_block;
  for (T* block = z; block < z + count * 2 * L; block += pass.block * 2 * L) {
    lanes_butterfly<R>(d, block, m * 2 * L, static_cast<const T*>(nullptr));
    for (std::int64_t j = 1; j < m; ++j) {
      lanes_butterfly<R>(d, block + j * 2 * L, m * 2 * L, pass.twiddles + j * (R - 1) * 2);
    }
  }
}

template <class D, typename T>
void lanes_pass_any(D d, const FftPass<T>& pass, T* z, std::int64_t count) {
  switch (pass.radix) {
    case 2: return lanes_pass<2>(d, pass, z, count);
    case 3: return lanes_pass<3>(d, pass, z, count);
    case 4: return lanes_pass<4>(d, pass, z, count);
    case 5: return lanes_pass<5>(d, pass, z, count);
    case 7: return lanes_pass<7>(d, pass, z, count);
    case 8: return lanes_pass<8>(d, pass, z, count);
    case 11: return lanes_pass<11>(d, pass, z, count);
    case 13: return lanes_pass<13>(d, pass, z, count);
    default: return lanes_pass<16>(d, pass, z, count);
  }
}

// Depth first until a block fits the first-level cache, then pass by pass.
template <class D, typename T>
void lanes_fft_from(D d, const FftPlan<T>& plan, std::size_t level, T* z) {
  constexpr std::int64_t L = static_cast<std::int64_t>(hn::MaxLanes(D()));
  constexpr std::int64_t kCachedValues = 32768 / (2 * L * static_cast<std::int64_t>(sizeof(T)));
  if (level == plan.passes.size()) return;
  const FftPass<T>& pass = plan.passes[level];
  if (pass.block <= kCachedValues) {
    for (std::size_t l = level; l < plan.passes.size(); ++l) lanes_pass_any(d, plan.passes[l], z, pass.block);
    return;
  }
  lanes_pass_any(d, pass, z, pass.block);
  for (int k = 0; k < pass.radix; ++k) lanes_fft_from(d, plan, level + 1, z + k * pass.sub_block * 2 * L);
}

// Prefetches `ahead` along the way: all at once, its lines would queue up before the rows' own.
template <typename T>
void load(const T* const* rows, const T* HWY_RESTRICT window, std::int64_t count, std::int64_t step, T* HWY_RESTRICT z,
          Ahead ahead) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  constexpr std::int64_t L = lanes<T>();
  V v[L];
  std::int64_t s = 0;
  const std::int64_t share = (ahead.bytes / std::max<std::int64_t>(count / L, 1) + 63) / 64 * 64;
  for (; s + L <= count; s += L) {
    for (std::int64_t at = s / L * share; at < std::min((s / L + 1) * share, ahead.bytes); at += 64) {
      __builtin_prefetch(ahead.first + at);
    }
    const V w = hn::LoadU(d, window + s);
#pragma GCC unroll 16
    for (int r = 0; r < L; ++r) v[r] = hn::Mul(hn::LoadU(d, rows[r] + s), w);
    transpose(d, v);
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) hn::Store(v[i], d, z + (s + i) * step * L);
  }
  if (s == count) return;
  HWY_ALIGN T tail[L * L] = {};  // rows may end right after their last value
  for (int r = 0; r < L; ++r) std::memcpy(tail + r * L, rows[r] + s, static_cast<std::size_t>(count - s) * sizeof(T));
  const V w = hn::LoadU(d, window + s);
#pragma GCC unroll 16
  for (int r = 0; r < L; ++r) v[r] = hn::Mul(hn::Load(d, tail + r * L), w);
  transpose(d, v);
#pragma GCC unroll 16
  for (int i = 0; i < L; ++i) hn::Store(v[i], d, tail + i * L);
  for (int i = 0; s + i < count; ++i) hn::Store(hn::Load(d, tail + i * L), d, z + (s + i) * step * L);
}

template <typename T>
void store(const T* HWY_RESTRICT v, std::int64_t count, T* const* rows, std::int64_t frames, std::int64_t next) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  constexpr std::int64_t L = lanes<T>();
  V t[L];
  std::int64_t k = 0;
  for (; k + L <= count; k += L) {
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i) t[i] = hn::Load(d, v + (k + i) * L);
    transpose(d, t);
    if (frames == L) {
#pragma GCC unroll 16
      for (int r = 0; r < L; ++r) {
        prefetch_for_write(rows[r], (next + k) * static_cast<std::int64_t>(sizeof(T)));
        hn::StoreU(t[r], d, rows[r] + k);
      }
    } else {
      HWY_ALIGN T tile[L * L];
#pragma GCC unroll 16
      for (int r = 0; r < L; ++r) hn::Store(t[r], d, tile + r * L);
      for (std::int64_t r = 0; r < frames; ++r) std::memcpy(rows[r] + k, tile + r * L, L * sizeof(T));
    }
  }
  for (; k < count; ++k) {
    for (std::int64_t r = 0; r < frames; ++r) rows[r][k] = v[k * L + r];
  }
}

}  // namespace

void lanes_fft(const FftPlan<float>& plan, float* z) { lanes_fft_from(hn::ScalableTag<float>(), plan, 0, z); }
void lanes_fft(const FftPlan<double>& plan, double* z) { lanes_fft_from(hn::ScalableTag<double>(), plan, 0, z); }

void lanes_bluestein(const BluesteinPlan<double>& plan, double* z, double* work) {
  const hn::ScalableTag<double> d;
  using V = hn::Vec<decltype(d)>;
  constexpr std::int64_t L = lanes<double>();
  const FftPlan<double>& convolution = *plan.convolution;
  const std::int64_t n = plan.n, m = convolution.n;
  double* second = work + m * 2 * L;
  const auto chirp = [&plan, d](std::int64_t j, V& re, V& im) HWY_ATTR {
    multiply(re, im, hn::Set(d, plan.chirp_re[static_cast<std::size_t>(j)]),
             hn::Set(d, plan.chirp_im[static_cast<std::size_t>(j)]));
  };
  for (std::int64_t j = 0; j < n; ++j) {
    V re = hn::Load(d, z + j * 2 * L), im = hn::Load(d, z + j * 2 * L + L);
    chirp(j, re, im);
    hn::Store(re, d, work + j * 2 * L);
    hn::Store(im, d, work + j * 2 * L + L);
  }
  std::fill(work + n * 2 * L, second, 0.0);
  lanes_fft(convolution, work);
  for (std::int64_t k = 0; k < m; ++k) {
    const double* from = work + convolution.position[static_cast<std::size_t>(k)] * 2 * L;
    V re = hn::Load(d, from), im = hn::Load(d, from + L);
    multiply(re, im, hn::Set(d, plan.filter_re[static_cast<std::size_t>(k)]),
             hn::Set(d, plan.filter_im[static_cast<std::size_t>(k)]));
    hn::Store(im, d, second + k * 2 * L);  // real and imaginary parts swapped before and after: the inverse transform
    hn::Store(re, d, second + k * 2 * L + L);
  }
  lanes_fft(convolution, second);
  for (std::int64_t k = 0; k < n; ++k) {
    const double* from = second + convolution.position[static_cast<std::size_t>(k)] * 2 * L;
    V re = hn::Load(d, from + L), im = hn::Load(d, from);
    chirp(k, re, im);
    hn::Store(re, d, z + k * 2 * L);
    hn::Store(im, d, z + k * 2 * L + L);
  }
}

void lanes_load(const float* const* rows, const float* window, std::int64_t count, std::int64_t step, float* z,
                Ahead ahead) {
  load(rows, window, count, step, z, ahead);
}
void lanes_load(const double* const* rows, const double* window, std::int64_t count, std::int64_t step, double* z,
                Ahead ahead) {
  load(rows, window, count, step, z, ahead);
}
void lanes_store(const float* v, std::int64_t count, float* const* rows, std::int64_t frames, std::int64_t next) {
  store(v, count, rows, frames, next);
}
void lanes_store(const double* v, std::int64_t count, double* const* rows, std::int64_t frames, std::int64_t next) {
  store(v, count, rows, frames, next);
}

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();
