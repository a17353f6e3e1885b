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
  std::string reason;  // why not, or what it is ("AVX3, 2 threads"; "NVIDIA H200, compute capability 9.0")
};
// The CUDA kernels are opened, and the driver with them, at the first call that asks for them: an operator on a CUDA
// tensor, or this. MELISMA_CUDA=0 turns them off.
std::vector<BackendInfo> backends();

// Which kernel a call would run on, and why that one.
struct Explanation {
  std::string backend;  // "cpu", "cuda"
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

// --- variants of GPU kernels -----------------------------------------------------------------------------------------
// Some kernels have several variants of one size, which differ in how they share out registers and shared memory; their
// results may differ in the last bit. A call takes the variant that set_variant or MELISMA_VARIANT forces; else the one
// that ran fastest when it was timed on such a device; else, where autotuning is on, it times them all now; else the
// table's default. explain tells which.

// kernel: "fast-forward" or "fast-inverse". variant: a name as explain gives it, or its place ("0" is the default);
// "" goes back to MELISMA_VARIANT. A name of another size leaves a call as it is; one that no size has, and a place
// that the call's list does not have, is an Error at the call which lists the names. Error here for another kernel.
void set_variant(const std::string& kernel, const std::string& variant);

// Whether calls time variants that have not been timed on this device: some ten runs of each, on the call's stream,
// which the host then waits for; never while that is being captured into a graph. The result is the chosen variant's.
// Default: MELISMA_AUTOTUNE.
bool autotune();
void set_autotune(bool on);
// Also on, for the whole process, as long as one of these lives.
class AutotuneScope {
 public:
  AutotuneScope();
  ~AutotuneScope();
  AutotuneScope(const AutotuneScope&) = delete;
  AutotuneScope& operator=(const AutotuneScope&) = delete;
};

// What has been timed is kept on disk, one JSON file for each device, driver and version of the library, in
// MELISMA_CACHE_DIR, else XDG_CACHE_HOME/melisma, else ~/.cache/melisma (macOS: ~/Library/Caches/melisma).
// MELISMA_CACHE=0: for the life of the process only.
struct TunedVariant {
  std::string device, kernel, job, variant;
  double microseconds;
  std::string file;  // "" where it is not on disk
};
std::vector<TunedVariant> tuning_cache();  // of every device
void clear_tuning_cache();                 // of every device, on disk too
std::string tuning_cache_directory();      // "" where there is none

// --- warnings --------------------------------------------------------------------------------------------------------
// What is told beside results, each text once. Called from any thread, with no lock of the library's held; must not
// throw. Default: a line on stderr. Null: nobody is told.
using WarningHandler = void (*)(const char* message);
void set_warning_handler(WarningHandler handler);

// --- SIMD targets ----------------------------------------------------------------------------------------------------
// Names of the SIMD targets that this machine can run, best first ("AVX3", "AVX2", "SSE4"), and the one in use.
std::vector<std::string> simd_targets();
std::string simd_target();
// Forces one of them ("" goes back to the best); for tests. Also the environment variable MELISMA_SIMD. Error if
// unknown.
void set_simd_target(const std::string& name);

const char* version();

}  // namespace melisma
