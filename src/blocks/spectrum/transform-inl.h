// From frames of samples, wherever they come from, to a spectrogram of any strides.

// clang-format off
#if defined(MELISMA_BLOCKS_SPECTRUM_TRANSFORM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MELISMA_BLOCKS_SPECTRUM_TRANSFORM_INL_H_
#undef MELISMA_BLOCKS_SPECTRUM_TRANSFORM_INL_H_
#else
#define MELISMA_BLOCKS_SPECTRUM_TRANSFORM_INL_H_
#endif
// clang-format on

#include <algorithm>
#include <type_traits>

#include "blocks/fft/interleave-inl.h"
#include "blocks/framing/frame_blocks.h"
#include "blocks/spectrum/spectrum-inl.h"
#include "blocks/spectrum/transform.h"
#include "blocks/spectrum/tuning.h"
#include "runtime/cpu/highway.h"
#include "runtime/prefetch.h"
#include "runtime/scratch.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <typename Out>
Out* out_item(const TransformJob& job, std::int64_t item) {
  return static_cast<Out*>(job.out.data) + 2 * item_offset(job.out, 2, item);
}

// rows[r] (interleaved complex, C) to frame first + r of the result, whatever its strides.
template <typename C, typename Out>
void scatter(const TransformJob& job, Out* out, std::int64_t first, const C* const* rows, std::int64_t count) {
  for (std::int64_t k = 0; k < job.bins; ++k) {
    for (std::int64_t r = 0; r < count; ++r) {
      Out* to = out + 2 * (k * job.bin_stride + (first + r) * job.frame_stride);
      to[0] = static_cast<Out>(rows[r][2 * k]);
      to[1] = static_cast<Out>(rows[r][2 * k + 1]);
    }
  }
}

// DC and Nyquist of RealBins::kAdjoint, in spectra of which `lanes` stand side by side.
template <typename C>
void halve_edges(const TransformJob& job, C* v, std::int64_t lanes) {
  for (std::int64_t k : {std::int64_t{0}, job.n_fft / 2}) {
    if (2 * k % job.n_fft != 0) continue;  // an odd n_fft has no Nyquist
    for (std::int64_t r = 0; r < lanes; ++r) {
      v[2 * k * lanes + r] *= C{0.5};
      v[(2 * k + 1) * lanes + r] = C{0};
    }
    if (job.n_fft == 1) return;
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

// source_of(item): that item's frames, an object with row(frame, scratch) and ahead(first, count) as FrameRows<C> has.
template <typename C, typename Out, class Source>
void transform_lanes(const TransformJob& job, const Source& source_of) {
  using transform_tuning::kFramesPerTask;
  constexpr std::int64_t L = LanesSpectrum<C>::kLanes;
  const LanesSpectrum<C> spectrum(job.n_fft, job.complex_input, job.window);
  const std::int64_t row = spectrum.row_values(), spec = job.bins * 2 * L;
  const bool in_place = std::is_same_v<C, Out> && (job.bin_stride == 1 || job.bins == 1);
  const std::int64_t items = item_count(job.out.shape, 2);
  for_frame_blocks(items, job.frames, kFramesPerTask, [&](FrameBlock block) HWY_ATTR {
    const auto source = source_of(block.item);
    Scratch scratch(scratch_bytes<C>(static_cast<std::size_t>(spectrum.values())) +
                    scratch_bytes<C>(static_cast<std::size_t>(spec)) +
                    scratch_bytes<C>(static_cast<std::size_t>(std::max(row, 2 * job.bins) * L)));
    C* z = scratch.take<C>(static_cast<std::size_t>(spectrum.values()));
    C* v = scratch.take<C>(static_cast<std::size_t>(spec));
    C* copies = scratch.take<C>(static_cast<std::size_t>(std::max(row, 2 * job.bins) * L));
    Out* out = out_item<Out>(job, block.item);
    const bool adjoint = job.real_bins == RealBins::kAdjoint && !job.complex_input;
    const LanesSink<C> sink{v, job.bins, !job.complex_input && job.real_bins == RealBins::kBoth ? job.n_fft : 0};
    if (adjoint) std::fill_n(v, static_cast<std::size_t>(spec), C{0});
    for (std::int64_t first = block.first; first < block.first + block.count; first += L) {
      const std::int64_t count = std::min(L, block.first + block.count - first);
      const C* rows[L];
      for (std::int64_t r = 0; r < count; ++r) rows[r] = source.row(first + r, copies + r * row);
      std::fill(rows + count, rows + L, rows[0]);  // lanes without a frame repeat one
      spectrum.transform(rows, z, source.ahead(first + L, L));
      spectrum.bins(z, sink);
      if (adjoint) halve_edges(job, v, L);
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

template <typename C, class Source>
void transform_rows(const TransformJob& job, const Source& source_of) {
  using transform_tuning::kFramesPerTask, transform_tuning::kScatterFrames;
  const std::int64_t n_fft = job.n_fft, half_bins = n_fft / 2 + 1;
  const RowsSpectrum<C> spectrum(n_fft, job.window);
  const bool in_place = job.bin_stride == 1 && job.bins == half_bins;
  const std::int64_t row_values = 2 * std::max(half_bins, job.bins);
  const std::int64_t items = item_count(job.out.shape, 2);
  for_frame_blocks(items, job.frames, kFramesPerTask, [&](FrameBlock block) HWY_ATTR {
    const auto source = source_of(block.item);
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
        RowSink<C> sink{row, half_bins, in_place && first + 1 < job.frames ? 2 * job.frame_stride : 0};
        source.ahead(first + r + transform_tuning::kPrefetchFrames, 1).prefetch();
        spectrum.frame(source.row(first + r, copy), z, work, sink);
        if (job.real_bins == RealBins::kAdjoint) {
          halve_edges(job, row, 1);
          std::fill(row + 2 * half_bins, row + 2 * std::max(half_bins, job.bins), C{0});
        } else {
          for (std::int64_t k = half_bins; k < job.bins; ++k) {  // two-sided
            row[2 * k] = row[2 * (n_fft - k)];
            row[2 * k + 1] = -row[2 * (n_fft - k) + 1];
          }
        }
        rows[r] = row;
      }
      if (!in_place) scatter(job, out, first, rows, count);
    }
  });
}

// The spectrogram of real or complex frames, in the form and the precision that the job takes. make_source(C{}) is
// source_of for a computation in C.
template <class MakeSource>
void transform(const TransformJob& job, const MakeSource& make_source) {
  const bool rows = !job.complex_input;
  if (job.out.dtype == DType::kComplex128) {
    if (rows && rows_fit<double>(job.n_fft)) return transform_rows<double>(job, make_source(double{}));
    return transform_lanes<double, double>(job, make_source(double{}));
  }
  if (computes_in_float64(job.n_fft, job.complex_input))
    return transform_lanes<double, float>(job, make_source(double{}));
  if (rows && rows_fit<float>(job.n_fft)) return transform_rows<float>(job, make_source(float{}));
  transform_lanes<float, float>(job, make_source(float{}));
}

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif
