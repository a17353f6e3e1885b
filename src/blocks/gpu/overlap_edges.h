// The launches around overlap_edges-kernel.h.
#pragma once

#include <cstdint>

#include "blocks/gpu/framing_args.h"
#include "blocks/gpu/job.h"
#include "blocks/gpu/overlap_edges-kernel.h"
#include "blocks/gpu/window_tables.h"

namespace melisma::gpu {

inline ResultArgs result_args(const Signal& out) {
  return {out.data, out.stride, axes_args(out.items), sample_type(out.dtype)};
}

// Samples on each side of the signal and its zero padding that are copies of samples.
inline std::int64_t copied_samples(const Framing& framing) {
  if (framing.pad_mode == PadMode::kConstant) return 0;
  if (framing.pad_mode == PadMode::kReplicate && framing.pad > 0) return 0;  // of zeros
  return framing.offset - framing.pad;
}

// launch(out, before, after) must write the sums of those two ranges of samples, no copies added, as `out` and the
// ranges say. What it gives is for the launch that writes the samples. Value: T or Complex<T>.
template <typename T, typename Value, class Runner, class Launch>
CopiesArgs<T> sum_copies(const InverseJob& job, Runner& runner, const Launch& launch) {
  constexpr int kWidth = static_cast<int>(sizeof(Value) / sizeof(T));
  const std::int64_t count = copied_samples(job.framing), pad = job.framing.pad;
  if (count == 0) return {nullptr, 0};
  const auto workspace = [&](std::int64_t values) {
    return static_cast<T*>(runner.workspace(static_cast<std::size_t>(values) * sizeof(T)));
  };
  T* const sums = workspace(job.items * 2 * count * kWidth);
  const DType real = sizeof(T) == 4 ? DType::kFloat32 : DType::kFloat64;
  const DType complex = sizeof(T) == 4 ? DType::kComplex64 : DType::kComplex128;
  const Signal out{sums, kWidth == 2 ? complex : real, 1, Axes{1, {job.items}, {2 * count}}};
  launch(result_args(out), SampleRange{-pad - count, -pad, 0},
         SampleRange{job.framing.length + pad, job.framing.length + pad + count, count});
  if (job.framing.pad_mode != PadMode::kReplicate) return {sums, count};
  T* const replicated = workspace(job.items * 2 * kWidth);
  with_wide<T>(runner, [&]<typename Wide>(Wide) {
    using Kernel = SumReplicated<T, Wide>;
    const typename Kernel::Args args{sums, replicated, count, kWidth};
    runner.template launch<Kernel>(2 * job.items, Kernel::kSharedBytes, args);
  });
  return {replicated, 1};
}

}  // namespace melisma::gpu
