// The launches of limit_range-kernel.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "blocks/gpu/framing_args.h"
#include "blocks/gpu/job.h"
#include "blocks/gpu/limit_range-kernel.h"

namespace melisma::gpu {

inline bool limits_range(const ForwardJob& job) {
  return job.epilogue == Epilogue::kBands && std::isfinite(job.power.log.top);
}

// The axis along which a warp writes neighbouring elements.
inline bool frames_inner(const Grid& grid) { return std::abs(grid.frame_stride) < std::abs(grid.bin_stride); }

// maxima: [items][count] of the result before post_mul and post_add.
template <typename T, class Runner>
void limit_range(const ForwardJob& job, const T* maxima, std::int64_t count, Runner& runner) {
  const LogParams& log = job.power.log;
  const std::int64_t together = job.power.top_items, groups = job.items / together;
  T* const thresholds = static_cast<T*>(runner.workspace(static_cast<std::size_t>(groups) * sizeof(T)));
  using Thresholds = RangeThresholds<T>;
  runner.template launch<Thresholds>(
      groups, Thresholds::kSharedBytes,
      {maxima, thresholds, together * count, static_cast<T>(log.top), -std::numeric_limits<T>::infinity()});
  typename LimitRange<T>::Args args{};
  args.out = grid_args(job.out);
  args.thresholds = thresholds;
  args.items = job.items;
  args.rows = job.power.bank.bands;
  args.frames = job.framing.frames;
  args.items_together = together;
  args.mul = static_cast<T>(log.post_mul);
  args.add = static_cast<T>(log.post_add);
  args.frames_inner = frames_inner(job.out) ? 1 : 0;
  const std::int64_t lines = job.items * (frames_inner(job.out) ? args.rows : args.frames);
  const std::int64_t blocks = (lines + LimitRange<T>::kLines - 1) / LimitRange<T>::kLines;
  runner.template launch<LimitRange<T>>(std::min(blocks, runner.template resident_blocks<LimitRange<T>>(0)), 0, args);
}

}  // namespace melisma::gpu
