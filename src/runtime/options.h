// Environment variables: every one that the library reads, in one table.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace melisma {

struct Options {
  std::optional<int> num_threads;  // MELISMA_NUM_THREADS: default number of threads, >= 1
  std::int64_t pool_mb = 64;       // MELISMA_POOL_MB: released results kept for reuse, 0 .. 1048576
  std::string simd;                // MELISMA_SIMD: name of a SIMD target, "" for the best
  bool strict = false;             // MELISMA_STRICT: 1 makes a fallback an error
};

// Read once, at the first call. A variable with a bad value keeps its default here, and check_options tells.
const Options& options();

// Throws Error naming the first variable whose value was refused, if any.
void check_options();

}  // namespace melisma
