#include "ops/stft/cpu.h"

#include <algorithm>

#include "blocks/framing/frame_blocks.h"
#include "ops/stft/tuning.h"
#include "runtime/prefetch.h"
#include "runtime/registry.h"
#include "runtime/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/stft/cpu.cc"
// clang-format off
#include "runtime/cpu/targets.h"
#include "hwy/foreach_target.h"
#include "runtime/cpu/highway.h"
// clang-format on
#include "blocks/fft/interleave-inl.h"
#include "blocks/spectrum/spectrum-inl.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace {

using stft_tuning::kFramesPerTask;
using stft_tuning::kPrefetchFrames;
using stft_tuning::kScatterFrames;

template <typename Out>
Out* out_item(const StftJob& job, std::int64_t item) {
  return static_cast<Out*>(job.out.data) + 2 * item_offset(job.out, 2, item);
}

// rows[r] (interleaved complex, C) to frame first + r of the result, whatever its strides.
template <typename C, typename Out>
void scatter(const StftJob& job, Out* out, std::int64_t first, const C* const* rows, std::int64_t count) {
  for (std::int64_t k = 0; k < job.bins; ++k) {
    for (std::int64_t r = 0; r < count; ++r) {
      Out* to = out + 2 * (k * job.bin_stride + (first + r) * job.frame_stride);
      to[0] = static_cast<Out>(rows[r][2 * k]);
      to[1] = static_cast<Out>(rows[r][2 * k + 1]);
    }
  }
}

// --- one frame per lane ----------------------------------------------------------------------------------------------

// Collects bins in order, as [bins][2][L].
template <typename C>
struct LanesSink {
  C* HWY_RESTRICT v;
  std::int64_t bins, mirror;  // mirror: n_fft for a two-sided spectrum of real input, else 0
  template <class V>
  HWY_INLINE void operator()(std::int64_t k, V re, V im) const {
    const hn::ScalableTag<C> d;
    constexpr std::int64_t L = LanesSpectrum<C>::kLanes;
    if (k < bins) {
      hn::Store(re, d, v + k * 2 * L);
      hn::Store(im, d, v + k * 2 * L + L);
    }
    if (mirror > 0 && k > 0) {
      hn::Store(re, d, v + (mirror - k) * 2 * L);
      hn::Store(hn::Neg(im), d, v + (mirror - k) * 2 * L + L);
    }
  }
};

template <typename C, typename Out>
void run_lanes(const StftJob& job) {
  constexpr std::int64_t L = LanesSpectrum<C>::kLanes;
  const bool complex_input = is_complex(job.x.dtype);
  const LanesSpectrum<C> spectrum(job.framing.n_fft, complex_input, job.window);
  const std::int64_t row = spectrum.row_values(), spec = job.bins * 2 * L;
  const bool in_place = std::is_same_v<C, Out> && (job.bin_stride == 1 || job.bins == 1);
  for_frame_blocks(item_count(job.x.shape, 1), job.framing.frames, kFramesPerTask, [&](FrameBlock block) HWY_ATTR {
    const FrameRows<C> source(job.x, block.item, job.framing);
    Scratch scratch(scratch_bytes<C>(static_cast<std::size_t>(spectrum.values())) +
                    scratch_bytes<C>(static_cast<std::size_t>(spec)) +
                    scratch_bytes<C>(static_cast<std::size_t>(std::max(row, 2 * job.bins) * L)));
    C* z = scratch.take<C>(static_cast<std::size_t>(spectrum.values()));
    C* v = scratch.take<C>(static_cast<std::size_t>(spec));
    C* copies = scratch.take<C>(static_cast<std::size_t>(std::max(row, 2 * job.bins) * L));
    Out* out = out_item<Out>(job, block.item);
    const LanesSink<C> sink{v, job.bins, !complex_input && !job.onesided ? job.framing.n_fft : 0};
    for (std::int64_t first = block.first; first < block.first + block.count; first += L) {
      const std::int64_t count = std::min(L, block.first + block.count - first);
      const C* rows[L];
      for (std::int64_t r = 0; r < count; ++r) rows[r] = source.row(first + r, copies + r * row);
      std::fill(rows + count, rows + L, rows[0]);  // lanes without a frame repeat one
      spectrum.transform(rows, z, source.ahead(first + L, L));
      spectrum.bins(z, sink);
      C* results[L];
      for (std::int64_t r = 0; r < L; ++r) results[r] = copies + r * 2 * job.bins;
      if constexpr (std::is_same_v<C, Out>) {
        if (in_place) {
          for (std::int64_t r = 0; r < count; ++r) results[r] = out + 2 * (first + r) * job.frame_stride;
        }
      }
      lanes_store(v, 2 * job.bins, results, count, in_place ? 2 * L * job.frame_stride : 0);
      if (!in_place) scatter(job, out, first, results, count);
    }
  });
}

// --- one frame across the lanes --------------------------------------------------------------------------------------

template <typename C>
struct RowSink {
  C* HWY_RESTRICT row;  // [bins] interleaved
  std::int64_t bins;
  std::int64_t next;  // from this row to the one written next, which is asked for meanwhile
  template <bool kReversed, class V>
  HWY_INLINE void full(std::int64_t k, V re, V im) const {
    const std::int64_t ahead = (next + 2 * k) * static_cast<std::int64_t>(sizeof(C));
    prefetch_for_write(row, ahead);
    prefetch_for_write(row, ahead + 64);
    store_interleaved<kReversed>(hn::ScalableTag<C>(), re, im, row + 2 * k);
  }
  HWY_INLINE void one(std::int64_t k, C re, C im) const {
    row[2 * k] = re;
    row[2 * k + 1] = im;
  }
};

template <typename C>
void run_rows(const StftJob& job) {
  const std::int64_t n_fft = job.framing.n_fft, half_bins = n_fft / 2 + 1;
  const RowsSpectrum<C> spectrum(n_fft, job.window);
  const bool in_place = job.bin_stride == 1 && job.bins == half_bins;
  const std::int64_t row_values = 2 * std::max(half_bins, job.bins);
  for_frame_blocks(item_count(job.x.shape, 1), job.framing.frames, kFramesPerTask, [&](FrameBlock block) HWY_ATTR {
    const FrameRows<C> source(job.x, block.item, job.framing);
    const std::size_t half = static_cast<std::size_t>(spectrum.values()), n = static_cast<std::size_t>(n_fft);
    const std::size_t staged = in_place ? 0 : static_cast<std::size_t>(kScatterFrames * row_values);
    Scratch scratch(2 * scratch_bytes<C>(half) + scratch_bytes<C>(n) + scratch_bytes<C>(staged));
    C* z = scratch.take<C>(half);
    C* work = scratch.take<C>(half);
    C* copy = scratch.take<C>(n);
    C* stage = scratch.take<C>(staged);
    C* out = out_item<C>(job, block.item);
    const std::int64_t group = in_place ? 1 : kScatterFrames;
    for (std::int64_t first = block.first; first < block.first + block.count; first += group) {
      const std::int64_t count = std::min(group, block.first + block.count - first);
      const C* rows[kScatterFrames];
      for (std::int64_t r = 0; r < count; ++r) {
        C* row = in_place ? out + 2 * (first + r) * job.frame_stride : stage + r * row_values;
        RowSink<C> sink{row, half_bins, in_place && first + 1 < job.framing.frames ? 2 * job.frame_stride : 0};
        source.ahead(first + r + kPrefetchFrames, 1).prefetch();
        spectrum.frame(source.row(first + r, copy), z, work, sink);
        for (std::int64_t k = half_bins; k < job.bins; ++k) {  // two-sided
          row[2 * k] = row[2 * (n_fft - k)];
          row[2 * k + 1] = -row[2 * (n_fft - k) + 1];
        }
        rows[r] = row;
      }
      if (!in_place) scatter(job, out, first, rows, count);
    }
  });
}

bool uses_rows(std::int64_t n_fft, bool complex_input, bool double_result) {
  if (complex_input) return false;
  return double_result ? rows_fit<double>(n_fft) : rows_fit<float>(n_fft) && !computes_in_float64(n_fft, false);
}

void Run(const StftJob& job) {
  const bool complex_input = is_complex(job.x.dtype);
  const bool double_result = job.out.dtype == DType::kComplex128;
  if (uses_rows(job.framing.n_fft, complex_input, double_result)) {
    return double_result ? run_rows<double>(job) : run_rows<float>(job);
  }
  if (double_result) return run_lanes<double, double>(job);
  if (computes_in_float64(job.framing.n_fft, complex_input)) return run_lanes<double, float>(job);
  run_lanes<float, float>(job);
}

void Explain(std::int64_t n_fft, bool complex_input, bool double_result, Explanation* result) {
  *result = explain_spectrum(n_fft, complex_input, double_result, true);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace melisma {
HWY_EXPORT(Run);
HWY_EXPORT(Explain);

void stft_cpu(const StftJob& job) {
  count_call("stft", "cpu");
  HWY_DYNAMIC_DISPATCH(Run)(job);
}

Explanation stft_cpu_kernel(std::int64_t n_fft, bool complex_input, bool double_result) {
  Explanation result;
  HWY_DYNAMIC_DISPATCH(Explain)(n_fft, complex_input, double_result, &result);
  return result;
}

}  // namespace melisma
#endif
