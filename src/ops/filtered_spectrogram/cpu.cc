#include "ops/filtered_spectrogram/cpu.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "blocks/elementwise/elementwise.h"
#include "blocks/framing/frame_blocks.h"
#include "ops/filtered_spectrogram/tuning.h"
#include "runtime/registry.h"
#include "runtime/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/filtered_spectrogram/cpu.cc"
// clang-format off
#include "runtime/cpu/targets.h"
#include "hwy/foreach_target.h"
#include "runtime/cpu/highway.h"
// clang-format on
#include "blocks/filterbank/filter_bank-inl.h"
#include "blocks/spectrum/spectrum-inl.h"
#include "blocks/spectrum/store-inl.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace {

using filtered_spectrogram_tuning::kFramesPerTask;

template <typename Out>
Out* out_frame(const FilteredSpectrogramJob& job, std::int64_t item, std::int64_t frame) {
  return static_cast<Out*>(job.out.data) + item_offset(job.out, 2, item) + frame * job.frame_stride;
}

// The largest value of the batch's first `frames` lanes; NaN is passed over.
template <typename C>
double batch_maximum(const C* v, std::int64_t bands, std::int64_t frames) {
  C largest = -std::numeric_limits<C>::infinity();
  for (std::int64_t b = 0; b < bands; ++b) {
    for (std::int64_t r = 0; r < frames; ++r) largest = std::max(largest, v[b * LanesSpectrum<C>::kLanes + r]);
  }
  return static_cast<double>(largest);
}

template <typename C, typename Out>
void run(const FilteredSpectrogramJob& job, std::vector<double>* maxima) {
  constexpr std::int64_t L = LanesSpectrum<C>::kLanes;
  const LanesSpectrum<C> spectrum(job.framing.n_fft, false, job.window);
  const std::int64_t row = spectrum.row_values(), all_bins = job.framing.n_fft / 2 + 1, bands = job.bank.bands();
  for_frame_blocks(item_count(job.x.shape, 1), job.framing.frames, kFramesPerTask, [&](FrameBlock block) HWY_ATTR {
    const FrameRows<C> source(job.x, block.item, job.framing);
    const std::size_t work = static_cast<std::size_t>(spectrum.values()),
                      squares = static_cast<std::size_t>(all_bins * L), staged = static_cast<std::size_t>(row * L),
                      sums = static_cast<std::size_t>(bands * L);
    Scratch scratch(scratch_bytes<C>(work) + scratch_bytes<C>(squares) + scratch_bytes<C>(staged) +
                    scratch_bytes<C>(sums));
    C* z = scratch.take<C>(work);
    C* v = scratch.take<C>(squares);
    C* copies = scratch.take<C>(staged);
    C* result = scratch.take<C>(sums);
    double maximum = -std::numeric_limits<double>::infinity();
    for (std::int64_t first = block.first; first < block.first + block.count; first += L) {
      const std::int64_t count = std::min(L, block.first + block.count - first);
      const C* rows[L];
      for (std::int64_t r = 0; r < count; ++r) rows[r] = source.row(first + r, copies + r * row);
      std::fill(rows + count, rows + L, rows[0]);  // lanes without a frame repeat one
      spectrum.transform(rows, z, source.ahead(first + L, L));
      spectrum.bins(z, SquareSink<C>{v});
      power_of_squares(v, job.bank.bins() * L, job.power);
      apply_bank(job.bank, v, result);
      if (job.log.enabled) logarithm(result, bands * L, job.log);
      if (maxima != nullptr) maximum = std::max(maximum, batch_maximum(result, bands, count));
      store_batch(result, bands, count, out_frame<Out>(job, block.item, first), job.band_stride, job.frame_stride);
    }
    if (maxima != nullptr) (*maxima)[static_cast<std::size_t>(block.task)] = maximum;
  });
}

// apply_bank for one frame: bins along the lanes.
template <typename C>
HWY_INLINE void apply_bank_to_row(const FilterBank& bank, const C* HWY_RESTRICT v, C* HWY_RESTRICT result) {
  const hn::ScalableTag<C> d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const C* HWY_RESTRICT all = bank_weights<C>(bank);
  for (const FilterBank::Band& band : bank.band()) {
    const C* HWY_RESTRICT w = all + band.offset;
    const C* HWY_RESTRICT p = v + band.first_bin;
    auto sum = hn::Zero(d);
    std::int64_t k = 0;
    for (; k + lanes <= band.count; k += lanes) sum = hn::MulAdd(hn::LoadU(d, w + k), hn::LoadU(d, p + k), sum);
    C total = hn::GetLane(hn::SumOfLanes(d, sum));
    for (; k < band.count; ++k) total += w[k] * p[k];
    *result++ = total;
  }
}

bool uses_rows(std::int64_t n_fft, bool double_result) {
  return n_fft >= filtered_spectrogram_tuning::kSingleFrameSize &&
         (double_result ? rows_fit<double>(n_fft) : rows_fit<float>(n_fft));
}

template <typename C>
void run_rows(const FilteredSpectrogramJob& job, std::vector<double>* maxima) {
  const RowsSpectrum<C> spectrum(job.framing.n_fft, job.window);
  const std::int64_t all_bins = job.framing.n_fft / 2 + 1, bands = job.bank.bands();
  for_frame_blocks(item_count(job.x.shape, 1), job.framing.frames, kFramesPerTask, [&](FrameBlock block) HWY_ATTR {
    const FrameRows<C> source(job.x, block.item, job.framing);
    const std::size_t half = static_cast<std::size_t>(spectrum.values()),
                      n = static_cast<std::size_t>(job.framing.n_fft), squares = static_cast<std::size_t>(all_bins),
                      sums = static_cast<std::size_t>(bands);
    Scratch scratch(2 * scratch_bytes<C>(half) + scratch_bytes<C>(n) + scratch_bytes<C>(squares) +
                    scratch_bytes<C>(sums));
    C* z = scratch.take<C>(half);
    C* work = scratch.take<C>(half);
    C* copy = scratch.take<C>(n);
    SquareRowSink<C> sink{scratch.take<C>(squares)};
    C* result = scratch.take<C>(sums);
    double maximum = -std::numeric_limits<double>::infinity();
    for (std::int64_t t = block.first; t < block.first + block.count; ++t) {
      spectrum.frame(source.row(t, copy), z, work, sink);
      power_of_squares(sink.row, job.bank.bins(), job.power);
      apply_bank_to_row(job.bank, sink.row, result);
      if (job.log.enabled) logarithm(result, bands, job.log);
      C* out = out_frame<C>(job, block.item, t);
      for (std::int64_t b = 0; b < bands; ++b) {
        if (static_cast<double>(result[b]) > maximum) maximum = static_cast<double>(result[b]);  // NaN is passed over
        out[b * job.band_stride] = result[b];
      }
    }
    if (maxima != nullptr) (*maxima)[static_cast<std::size_t>(block.task)] = maximum;
  });
}

// y = max(y, maximum - top) over each group of items, then the affine step.
template <typename Out>
void finish(const FilteredSpectrogramJob& job, const std::vector<double>& maxima) {
  const std::int64_t items = item_count(job.x.shape, 1), frames = job.framing.frames, bands = job.bank.bands();
  const std::int64_t per_item = blocks_per_item(frames, kFramesPerTask);
  const bool clip = !maxima.empty();
  const std::int64_t group = job.log.top_scope == TopScope::kPacked && job.x.ndim() >= 2 ? job.x.size(-2) : 1;
  std::vector<Out> threshold(static_cast<std::size_t>(items / group), -std::numeric_limits<Out>::infinity());
  for (std::size_t task = 0; task < maxima.size(); ++task) {
    Out& t = threshold[task / static_cast<std::size_t>(per_item * group)];
    t = std::max(t, static_cast<Out>(maxima[task]));
  }
  for (Out& t : threshold) t -= static_cast<Out>(job.log.top);
  const Out mul = static_cast<Out>(job.log.post_mul), add = static_cast<Out>(job.log.post_add);
  for_frame_blocks(items, frames, kFramesPerTask, [&](FrameBlock block) {
    const Out low = threshold[static_cast<std::size_t>(block.item / group)];
    Out* out = out_frame<Out>(job, block.item, block.first);
    const bool frames_inside = std::abs(job.frame_stride) < std::abs(job.band_stride);
    const std::int64_t outer = frames_inside ? bands : block.count, inner = frames_inside ? block.count : bands;
    const std::int64_t outer_stride = frames_inside ? job.band_stride : job.frame_stride;
    const std::int64_t inner_stride = frames_inside ? job.frame_stride : job.band_stride;
    for (std::int64_t i = 0; i < outer; ++i) {
      for (std::int64_t j = 0; j < inner; ++j) {
        Out& y = out[i * outer_stride + j * inner_stride];
        const Out clipped = clip && y < low ? low : y;
        y = mul * clipped + add;
      }
    }
  });
}

void Run(const FilteredSpectrogramJob& job) {
  const std::int64_t n_fft = job.framing.n_fft;
  const bool clip = std::isfinite(job.log.top);
  const bool affine = job.log.post_mul != 1 || job.log.post_add != 0;
  std::vector<double> maxima;
  if (clip) {
    maxima.resize(
        static_cast<std::size_t>(item_count(job.x.shape, 1) * blocks_per_item(job.framing.frames, kFramesPerTask)));
  }
  std::vector<double>* const at = clip ? &maxima : nullptr;
  if (job.out.dtype == DType::kFloat64) {
    if (uses_rows(n_fft, true)) {
      run_rows<double>(job, at);
    } else {
      run<double, double>(job, at);
    }
    if (clip || affine) finish<double>(job, maxima);
    return;
  }
  if (job.float64 || computes_in_float64(n_fft, false)) {
    run<double, float>(job, at);
  } else if (uses_rows(n_fft, false)) {
    run_rows<float>(job, at);
  } else {
    run<float, float>(job, at);
  }
  if (clip || affine) finish<float>(job, maxima);
}

void Explain(std::int64_t n_fft, bool double_result, Explanation* result) {
  *result = explain_spectrum(n_fft, false, double_result, uses_rows(n_fft, double_result));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace melisma {
HWY_EXPORT(Run);
HWY_EXPORT(Explain);

void filtered_spectrogram_cpu(const FilteredSpectrogramJob& job) {
  count_call("filtered_spectrogram", "cpu");
  HWY_DYNAMIC_DISPATCH(Run)(job);
}

Explanation filtered_spectrogram_cpu_kernel(std::int64_t n_fft, bool double_result) {
  Explanation result;
  HWY_DYNAMIC_DISPATCH(Explain)(n_fft, double_result, &result);
  return result;
}

}  // namespace melisma
#endif
