// Forward jobs on the fast kernels: which of them a job takes, and the launch.
#pragma once

#include <string>
#include <vector>

#include "blocks/gpu/fast_bands.h"
#include "blocks/gpu/fast_forward_tuning.h"
#include "blocks/gpu/fast_plan-kernel.h"
#include "blocks/gpu/job.h"

namespace melisma::gpu {

// Forms of a plan, as fast_forward_tuning.h's table has them.
enum class FastForm {
  kPairs,     // FastPlan, pairs
  kRows,      // FastPlan, rows
  kReal,      // FastRealPlan, two columns side by side
  kRealHeld,  // ... their window in registers
  kSingle,    // FastRealPlan, one column
};
template <int kA, int kB, FastForm kForm>
struct FastPlanOf {
  using Plan = FastRealPlan<kA, kB, kForm == FastForm::kSingle, kForm == FastForm::kRealHeld>;
};
template <int kA, int kB>
struct FastPlanOf<kA, kB, FastForm::kPairs> {
  using Plan = FastPlan<kA, kB, false>;
};
template <int kA, int kB>
struct FastPlanOf<kA, kB, FastForm::kRows> {
  using Plan = FastPlan<kA, kB, true>;
};

// One line of fast_forward_tuning.h's table.
template <int kIndex_>
struct FastVariant;
#define MELISMA_FAST_VARIANT(index, a, b, form, warps, blocks)    \
  template <>                                                     \
  struct FastVariant<index> {                                     \
    using Plan = typename FastPlanOf<a, b, FastForm::form>::Plan; \
    static constexpr int kWarps = warps, kMinBlocks = blocks;     \
  };
MELISMA_FAST_FORWARD_VARIANTS(MELISMA_FAST_VARIANT)
#undef MELISMA_FAST_VARIANT

// Bytes of shared memory that the kernels count on where nobody says how many there are.
inline constexpr std::int64_t kFastForwardShared = std::int64_t{227} << 10;

// A block's shared memory: its tables, then each warp's.
struct FastLayout {
  int output = 0, row_pitch = 0;
  int tables_bytes = 0, rows_at = 0, warp_bytes = 0;
  int packed_at = 0;  // floats
  int bank_at = 0;    // bytes from the tables to the bank; 0: it is not in shared memory
  std::int64_t block_bytes = 0;
};
FastLayout fast_layout(const ForwardJob& job, int index);
// The shape of a bank's table, of a bank that the host knows.
FastBands fast_bands_of(const Bank& bank, std::int64_t together);

// Of the table's lines those that can take the job, the default first.
std::vector<int> fast_forward_indices(const ForwardJob& job, std::int64_t shared_limit = kFastForwardShared);
std::string fast_forward_variant_name(int index);

// Empty where the fast kernels take the job, else the reason.
std::string fast_forward_refuses(const ForwardJob& job, std::int64_t shared_limit = kFastForwardShared);
// The variant, as melisma.explain names it.
std::string fast_forward_kernel(const ForwardJob& job);
// The names of the variants that the job can take, the default first.
std::vector<std::string> fast_forward_variants(const ForwardJob& job);

// Defined in fast_forward_launch.h, whose MELISMA_FAST_FORWARD_INSTANTIATE a source file uses for some of the table's
// lines: their kernels are compiled there.
template <int kIndex, class Runner>
void launch_fast_forward(const ForwardJob& job, Runner& runner);

// line: one that takes the job.
template <class Runner>
void run_fast_forward_line(const ForwardJob& job, Runner& runner, int line) {
  switch (line) {
#define MELISMA_FAST_LAUNCH(index, ...) \
  case index: return launch_fast_forward<index>(job, runner);
    MELISMA_FAST_FORWARD_VARIANTS(MELISMA_FAST_LAUNCH)
#undef MELISMA_FAST_LAUNCH
  }
}

// forced: a place in fast_forward_variants(job).
template <class Runner>
void run_fast_forward(const ForwardJob& job, Runner& runner, int forced = 0) {
  run_fast_forward_line(job, runner,
                        fast_forward_indices(job, runner.shared_limit())[static_cast<std::size_t>(forced)]);
}

}  // namespace melisma::gpu
