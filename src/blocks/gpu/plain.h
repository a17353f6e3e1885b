// The same job on tensors of the plainest kind. A fast kernel that takes this but not the job itself was refused for
// the call's memory layout or dtype: what a user could change, and so a fallback that is counted.
#pragma once

#include <cstdint>

#include "blocks/gpu/job.h"

namespace melisma::gpu {

inline Axes plain_items(std::int64_t items, std::int64_t stride) {
  Axes axes;
  axes.count = 1;
  axes.size[0] = items;
  axes.stride[0] = stride;
  return axes;
}

inline Signal plain(const Signal& x, const Framing& framing, std::int64_t items, bool float64) {
  const DType real = float64 ? DType::kFloat64 : DType::kFloat32;
  return {x.data == nullptr ? nullptr : reinterpret_cast<void*>(std::uintptr_t{256}),
          is_complex(x.dtype) ? x.dtype : real, 1, plain_items(items, framing.length)};
}

inline Grid plain(const Grid& grid, std::int64_t rows, const Framing& framing, std::int64_t items, bool float64) {
  const DType real = float64 ? DType::kFloat64 : DType::kFloat32;
  return {grid.data == nullptr ? nullptr : reinterpret_cast<void*>(std::uintptr_t{256}),
          is_complex(grid.dtype) ? grid.dtype : real, 1, rows, plain_items(items, rows * framing.frames)};
}

inline ForwardJob plain(ForwardJob job) {
  const std::int64_t rows = job.epilogue == Epilogue::kBands ? job.power.bank.bands : job.bins;
  job.x = plain(job.x, job.framing, job.items, job.float64);
  job.out = plain(job.out, rows, job.framing, job.items, job.float64);
  return job;
}

inline InverseJob plain(InverseJob job) {
  const bool all = job.bins == BinSet::kAll || job.bins == BinSet::kFolded;
  std::int64_t rows = all ? job.framing.n_fft : job.framing.n_fft / 2 + (job.bins == BinSet::kNoNyquist ? 0 : 1);
  if (job.x.data != nullptr) rows = job.bands ? job.power.bank.bands : job.bin_count;
  job.x = plain(job.x, job.framing, job.items, job.float64);
  job.out = plain(job.out, job.framing, job.items, job.float64);
  job.spec = plain(job.spec, rows, job.framing, job.items, job.float64);
  return job;
}

}  // namespace melisma::gpu
