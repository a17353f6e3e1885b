// Launches on a CUDA device: what gpu/runner.h asks for. Compiled by nvcc, into libmelisma_cuda only.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>

#include "melisma/queue.h"
#include "runtime/gpu/backend.h"
#include "runtime/gpu/device_error.h"
#include "runtime/gpu/dialect.h"
#include "runtime/gpu/runner.h"

namespace melisma::cuda {

inline constexpr int kMostDevices = 64;
// The oldest that the kernels are compiled for (as PTX).
inline constexpr int kLeastMajor = 7, kLeastMinor = 5;

// Throws gpu::DeviceError with the driver's text where a call failed; what: "to launch a kernel".
void check(cudaError_t error, const char* what);

struct DeviceState;

// What was found out about one kernel on each device, so that a launch asks the driver nothing.
struct KernelState {
  std::atomic<bool> prepared[kMostDevices] = {};
  std::atomic<std::uint64_t> resident[kMostDevices] = {};  // shared bytes << 32 | resident blocks + 1; 0: not asked yet
};

struct KernelEntry {
  const void* function;
  const char* name;
  int threads;
  KernelState& state;
};

template <class Kernel>
constexpr int min_blocks() {
  if constexpr (requires { Kernel::kMinBlocks; }) {
    return Kernel::kMinBlocks;
  } else {
    return 1;
  }
}

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, min_blocks<Kernel>())
    run_kernel(const __grid_constant__ typename Kernel::Args args) {
  extern __shared__ __align__(128) char shared[];
  Kernel::run(gpu::Thread{}, args, shared);
}

template <class Kernel>
KernelEntry entry_of() {
  static KernelState state;
  return {reinterpret_cast<const void*>(&run_kernel<Kernel>), __PRETTY_FUNCTION__, Kernel::kThreads, state};
}

// One operator's call: makes the tensors' device the thread's for as long as it lives.
class Runner {
 public:
  Runner(int index, const Queue& queue);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  template <class Kernel>
  void launch(std::int64_t blocks, std::int64_t shared_bytes, const typename Kernel::Args& args) {
    static_assert(std::is_trivially_copyable_v<typename Kernel::Args> && sizeof(typename Kernel::Args) <= 4096);
    static_assert(Kernel::kThreads % 32 == 0 && Kernel::kThreads > 0 && Kernel::kThreads <= 1024);
    void* arguments[] = {const_cast<typename Kernel::Args*>(&args)};
    launch(entry_of<Kernel>(), blocks, shared_bytes, arguments);
  }

  template <class Kernel>
  std::int64_t resident_blocks(std::int64_t shared_bytes) const {
    return resident_blocks(entry_of<Kernel>(), shared_bytes);
  }

  template <class Fill>
  const void* table(const gpu::TableKey& key, std::size_t bytes, const Fill& fill) {
    const void* found = find_table(key);
    return found != nullptr ? found : make_table(key, bytes, std::function<void(void*)>(std::cref(fill)));
  }

  void* workspace(std::size_t bytes);
  std::int64_t shared_limit() const;
  std::int64_t multiprocessors() const;
  bool capturing() const;
  double microseconds(const std::function<void()>& launches) const;
  static constexpr bool float64() { return true; }

 private:
  void launch(const KernelEntry& entry, std::int64_t blocks, std::int64_t shared_bytes, void** arguments);
  std::int64_t resident_blocks(const KernelEntry& entry, std::int64_t shared_bytes) const;
  void prepare(const KernelEntry& entry) const;
  const void* find_table(const gpu::TableKey& key) const;
  const void* make_table(const gpu::TableKey& key, std::size_t bytes, const std::function<void(void*)>& fill);

  static constexpr int kMostOwned = 16;

  DeviceState& device_;
  int index_;
  const Queue& queue_;
  cudaStream_t stream_;
  bool switched_ = false;
  void* previous_context_ = nullptr;
  void* owned_[kMostOwned];  // workspace that no callback gave, in stream order
  int owned_count_ = 0;
};

// The CUDA devices, for blocks/gpu/backend_table.h.
struct Devices {
  static constexpr const char* kName = "cuda";
  static constexpr const char* kGenericName = "cuda generic";
  static Runner open(int index, const Queue& queue) { return Runner(index, queue); }
  static int count();
  static gpu::DeviceInfo info(int index);
};

}  // namespace melisma::cuda
