// Threads, large-output memory, backends and options: what is the same for every operator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace melisma {

// --- threads ---------------------------------------------------------------------------------------------------------
// Default: MELISMA_NUM_THREADS, else the CPUs this process may run on; 1 in a process forked after the library was
// used. Results never depend on it.
void set_num_threads(int n);  // >= 1, else Error
int num_threads();

// --- memory for results ----------------------------------------------------------------------------------------------
// 64-byte aligned; from 32 MB on 2 MB-aligned with huge pages advised before the first touch (a page fault a 4 KB page
// costs more than the STFT that fills it). Released blocks go to a pool of at most MELISMA_POOL_MB (default 64).
void* allocate_result(std::size_t bytes);  // throws Error{kOutOfMemory}; bytes may be 0
void release_result(void* block) noexcept;
void trim_pool() noexcept;  // gives every pooled block back to the system
std::size_t pooled_bytes() noexcept;

// --- backends --------------------------------------------------------------------------------------------------------
struct BackendInfo {
  std::string name;  // "cpu", "cuda", "metal"
  bool available;
  std::string reason;  // why not, or what it is ("AVX3, 2 threads")
};
std::vector<BackendInfo> backends();

// Which kernel a call would run on, and why that one.
struct Explanation {
  std::string backend;  // "cpu"
  std::string kernel;   // "fft-across-lanes"
  std::string reason;   // "n_fft 1024 = 2 x 16 x 8 x 4, one frame across 16 lanes"
};

// How often each operator ran on which kernel, and each fallback with its reason.
struct CallCount {
  std::string op, kernel, reason;  // reason is empty for the preferred kernel
  std::uint64_t calls;
};
std::vector<CallCount> call_counts();
void reset_call_counts();
// In strict mode a fallback (a count with a reason) is an Error before anything is computed. Default: MELISMA_STRICT=1.
bool strict();
void set_strict(bool on);

// --- SIMD targets ----------------------------------------------------------------------------------------------------
// Names of the SIMD targets that this machine can run, best first ("AVX3", "AVX2", "SSE4"), and the one in use.
std::vector<std::string> simd_targets();
std::string simd_target();
// Forces one of them ("" goes back to the best); for tests. Also the environment variable MELISMA_SIMD. Error if
// unknown.
void set_simd_target(const std::string& name);

const char* version();

}  // namespace melisma
