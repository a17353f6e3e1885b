#include "ops/spectrogram/cpu.h"

#include <algorithm>
#include <string>

#include "blocks/elementwise/elementwise.h"
#include "blocks/framing/frame_blocks.h"
#include "ops/spectrogram/tuning.h"
#include "runtime/registry.h"
#include "runtime/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/spectrogram/cpu.cc"
// clang-format off
#include "runtime/cpu/targets.h"
#include "hwy/foreach_target.h"
#include "runtime/cpu/highway.h"
// clang-format on
#include "blocks/spectrum/spectrum-inl.h"
#include "blocks/spectrum/store-inl.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace {

using spectrogram_tuning::kFramesPerTask;
using spectrogram_tuning::kPrefetchFrames;

template <typename Out>
Out* out_frame(const SpectrogramJob& job, std::int64_t item, std::int64_t frame) {
  return static_cast<Out*>(job.out.data) + item_offset(job.out, 2, item) + frame * job.frame_stride;
}

template <typename C, typename Out>
void run_lanes(const SpectrogramJob& job) {
  constexpr std::int64_t L = LanesSpectrum<C>::kLanes;
  const LanesSpectrum<C> spectrum(job.framing.n_fft, false, job.window);
  const std::int64_t row = spectrum.row_values(), all_bins = job.framing.n_fft / 2 + 1;
  for_frame_blocks(item_count(job.x.shape, 1), job.framing.frames, kFramesPerTask, [&](FrameBlock block) HWY_ATTR {
    const FrameRows<C> source(job.x, block.item, job.framing);
    const std::size_t work = static_cast<std::size_t>(spectrum.values()),
                      squares = static_cast<std::size_t>(all_bins * L), staged = static_cast<std::size_t>(row * L);
    Scratch scratch(scratch_bytes<C>(work) + scratch_bytes<C>(squares) + scratch_bytes<C>(staged));
    C* z = scratch.take<C>(work);
    C* v = scratch.take<C>(squares);
    C* copies = scratch.take<C>(staged);
    for (std::int64_t first = block.first; first < block.first + block.count; first += L) {
      const std::int64_t count = std::min(L, block.first + block.count - first);
      const C* rows[L];
      for (std::int64_t r = 0; r < count; ++r) rows[r] = source.row(first + r, copies + r * row);
      std::fill(rows + count, rows + L, rows[0]);  // lanes without a frame repeat one
      spectrum.transform(rows, z, source.ahead(first + L, L));
      spectrum.bins(z, SquareSink<C>{v});
      power_of_squares(v, job.bins * L, job.power);
      store_batch(v, job.bins, count, out_frame<Out>(job, block.item, first), job.bin_stride, job.frame_stride);
    }
  });
}

template <typename C>
void run_rows(const SpectrogramJob& job) {
  const RowsSpectrum<C> spectrum(job.framing.n_fft, job.window);
  const std::int64_t all_bins = job.framing.n_fft / 2 + 1;
  const bool in_place = job.bin_stride == 1 && job.bins == all_bins;
  for_frame_blocks(item_count(job.x.shape, 1), job.framing.frames, kFramesPerTask, [&](FrameBlock block) HWY_ATTR {
    const FrameRows<C> source(job.x, block.item, job.framing);
    const std::size_t half = static_cast<std::size_t>(spectrum.values()),
                      n = static_cast<std::size_t>(job.framing.n_fft);
    Scratch scratch(2 * scratch_bytes<C>(half) + scratch_bytes<C>(n) +
                    scratch_bytes<C>(static_cast<std::size_t>(all_bins)));
    C* z = scratch.take<C>(half);
    C* work = scratch.take<C>(half);
    C* copy = scratch.take<C>(n);
    C* stage = scratch.take<C>(static_cast<std::size_t>(all_bins));
    for (std::int64_t t = block.first; t < block.first + block.count; ++t) {
      C* out = out_frame<C>(job, block.item, t);
      SquareRowSink<C> sink{in_place ? out : stage};
      source.ahead(t + kPrefetchFrames, 1).prefetch();
      spectrum.frame(source.row(t, copy), z, work, sink);
      power_of_squares(sink.row, job.bins, job.power);
      if (in_place) continue;
      for (std::int64_t k = 0; k < job.bins; ++k) out[k * job.bin_stride] = stage[k];
    }
  });
}

void Run(const SpectrogramJob& job) {
  const bool double_result = job.out.dtype == DType::kFloat64;
  const std::int64_t n_fft = job.framing.n_fft;
  if (double_result) return rows_fit<double>(n_fft) ? run_rows<double>(job) : run_lanes<double, double>(job);
  if (computes_in_float64(n_fft, false)) return run_lanes<double, float>(job);
  if (rows_fit<float>(n_fft)) return run_rows<float>(job);
  run_lanes<float, float>(job);
}

void Explain(std::int64_t n_fft, bool double_result, Explanation* result) {
  *result = explain_spectrum(n_fft, false, double_result, true);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace melisma {
HWY_EXPORT(Run);
HWY_EXPORT(Explain);

void spectrogram_cpu(const SpectrogramJob& job) {
  count_call("spectrogram", "cpu");
  HWY_DYNAMIC_DISPATCH(Run)(job);
}

Explanation spectrogram_cpu_kernel(std::int64_t n_fft, bool double_result) {
  Explanation result;
  HWY_DYNAMIC_DISPATCH(Explain)(n_fft, double_result, &result);
  return result;
}

}  // namespace melisma
#endif
