// Environment variables: every one that the library reads, in one table.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "runtime/gpu/path.h"

namespace melisma {

// The kernels that have several variants of a size.
inline constexpr const char* kTunedKernels[] = {"fast-forward", "fast-inverse", "fast-gradient"};

struct Options {
  std::optional<int> num_threads;          // MELISMA_NUM_THREADS: default number of threads, >= 1
  std::int64_t pool_mb = 64;               // MELISMA_POOL_MB: released results kept for reuse, 0 .. 1048576
  std::string simd;                        // MELISMA_SIMD: name of a SIMD target, "" for the best
  bool strict = false;                     // MELISMA_STRICT: 1 makes a fallback an error
  bool cuda = true;                        // MELISMA_CUDA: 0 leaves the CUDA kernels and the driver unopened
  gpu::Path cuda_path = gpu::Path::kAuto;  // MELISMA_CUDA_PATH: "auto", "fast" or "generic"
  bool autotune = false;                   // MELISMA_AUTOTUNE: 1 times the variants of a kernel at its first call
  // MELISMA_CACHE: 0 neither reads nor writes the tuning cache on disk, which lies in MELISMA_CACHE_DIR
  // (tuning/cache.h)
  bool cache = true;
  // MELISMA_VARIANT: "fast-forward=NAME;fast-inverse=2", a variant's name or its place in a call's list, by kernel
  std::map<std::string, std::string> variants;
};

// Read once, at the first call. A variable with a bad value keeps its default here, and check_options tells.
const Options& options();

// Throws Error naming the first variable whose value was refused, if any.
void check_options();

}  // namespace melisma
