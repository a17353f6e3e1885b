// Inverse jobs on the fast kernels: which of them a job takes, and the launch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "blocks/gpu/fast_inverse_tuning.h"
#include "blocks/gpu/job.h"

namespace melisma::gpu {

// One line of fast_inverse_tuning.h's table.
template <int kIndex>
struct FastInverseVariant;
#define MELISMA_FAST_VARIANT(index, c, r, lanes, warps, blocks, buffers)                                          \
  template <>                                                                                                     \
  struct FastInverseVariant<index> {                                                                              \
    static constexpr int kC = c, kR = r, kLanes = lanes, kWarps = warps, kMinBlocks = blocks, kBuffers = buffers; \
  };
MELISMA_FAST_INVERSE_VARIANTS(MELISMA_FAST_VARIANT)
#undef MELISMA_FAST_VARIANT

// No limit to a block's shared memory.
inline constexpr std::int64_t kAnySharedMemory = std::int64_t{1} << 60;

// A block's shared memory after what the transforms take, in floats: window, what later frames add to, the interior's
// reciprocals. frames: of a step.
struct SumsMemory {
  std::int64_t carry_at, period_at, floats;
};
SumsMemory sums_memory(std::int64_t n_fft, std::int64_t hop, bool with_envelope, std::int64_t frames);

// Of the table's lines those that can take the job within a block's shared memory, the default first.
std::vector<int> fast_inverse_indices(const InverseJob& job, std::int64_t shared_limit = kAnySharedMemory);
std::string fast_inverse_variant_name(int index);

// Empty where the fast overlap-add takes the job, else the reason.
std::string overlap_add_refuses(const InverseJob& job);
// Empty where the fast kernels take the job, else the reason.
std::string fast_inverse_refuses(const InverseJob& job, std::int64_t shared_limit = kAnySharedMemory);
// The variant, as melisma.explain names it.
std::string fast_inverse_kernel(const InverseJob& job);
// The names of the variants that the job can take, the default first.
std::vector<std::string> fast_inverse_variants(const InverseJob& job);

// Defined in fast_inverse_launch.h, whose MELISMA_FAST_INVERSE_INSTANTIATE a source file uses for some of the table's
// lines: their kernels are compiled there.
template <int kIndex, class Runner>
void launch_fast_inverse(const InverseJob& job, Runner& runner);

// line: one that takes the job.
template <class Runner>
void run_fast_inverse_line(const InverseJob& job, Runner& runner, int line) {
  switch (line) {
#define MELISMA_FAST_LAUNCH(index, ...) \
  case index: return launch_fast_inverse<index>(job, runner);
    MELISMA_FAST_INVERSE_VARIANTS(MELISMA_FAST_LAUNCH)
#undef MELISMA_FAST_LAUNCH
  }
}

// forced: a place in fast_inverse_variants(job).
template <class Runner>
void run_fast_inverse(const InverseJob& job, Runner& runner, int forced = 0) {
  run_fast_inverse_line(job, runner,
                        fast_inverse_indices(job, runner.shared_limit())[static_cast<std::size_t>(forced)]);
}

}  // namespace melisma::gpu
