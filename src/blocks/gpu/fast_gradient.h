// Inverse jobs whose spectrum is computed again from a signal and a gradient, on the fast kernels: which of them a job
// takes, and the launch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "blocks/gpu/fast_gradient_tuning.h"
#include "blocks/gpu/fast_inverse.h"
#include "blocks/gpu/job.h"

namespace melisma::gpu {

// One line of fast_gradient_tuning.h's table.
template <int kIndex>
struct FastGradientVariant;
#define MELISMA_FAST_VARIANT(index, a, b, by_rows, c, r, lanes, warps, blocks)                                \
  template <>                                                                                                 \
  struct FastGradientVariant<index> {                                                                         \
    static constexpr int kA = a, kB = b, kC = c, kR = r, kLanes = lanes, kWarps = warps, kMinBlocks = blocks; \
    static constexpr bool kByRows = by_rows;                                                                  \
  };
MELISMA_FAST_GRADIENT_VARIANTS(MELISMA_FAST_VARIANT)
#undef MELISMA_FAST_VARIANT

// Of the table's lines those that can take the job within a block's shared memory, the default first.
std::vector<int> fast_gradient_indices(const InverseJob& job, std::int64_t shared_limit = kAnySharedMemory);
std::string fast_gradient_variant_name(int index);

// Empty where the fast kernels take the job, else the reason.
std::string fast_gradient_refuses(const InverseJob& job, std::int64_t shared_limit = kAnySharedMemory);
// The names of the variants that the job can take, the default first.
std::vector<std::string> fast_gradient_variants(const InverseJob& job);

// Defined in fast_gradient_launch.h, whose MELISMA_FAST_GRADIENT_INSTANTIATE a source file uses for some of the table's
// lines: their kernels are compiled there.
template <int kIndex, class Runner>
void launch_fast_gradient(const InverseJob& job, Runner& runner);

// line: one that takes the job.
template <class Runner>
void run_fast_gradient_line(const InverseJob& job, Runner& runner, int line) {
  switch (line) {
#define MELISMA_FAST_LAUNCH(index, ...) \
  case index: return launch_fast_gradient<index>(job, runner);
    MELISMA_FAST_GRADIENT_VARIANTS(MELISMA_FAST_LAUNCH)
#undef MELISMA_FAST_LAUNCH
  }
}

// forced: a place in fast_gradient_variants(job).
template <class Runner>
void run_fast_gradient(const InverseJob& job, Runner& runner, int forced = 0) {
  run_fast_gradient_line(job, runner,
                         fast_gradient_indices(job, runner.shared_limit())[static_cast<std::size_t>(forced)]);
}

}  // namespace melisma::gpu
