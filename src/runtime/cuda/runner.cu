#include "runtime/cuda/runner.h"

#include <algorithm>
#include <memory>
#include <type_traits>
#include <vector>

#include "runtime/cuda/state.h"

namespace melisma::cuda {

using gpu::DeviceError;
using gpu::Failure;

namespace {

// Holds the stream while the host queues what is timed, so that the time has no gaps of the host's in it.
__global__ void hold_stream(long long cycles) {
  const long long start = clock64();
  while (clock64() - start < cycles) {
  }
}

using Event = std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, decltype(&cudaEventDestroy)>;

Event make_event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreate(&event), "to make an event");
  return {event, &cudaEventDestroy};
}

}  // namespace

Runner::Runner(int index, const Queue& queue)
    : device_(device_state(index)), index_(index), queue_(queue), stream_(static_cast<cudaStream_t>(queue.stream)) {
  void* const context = current_context();
  if (context == device_.context) return;
  previous_context_ = context;
  check(cudaSetDevice(index), "to change to the tensors' device");
  switched_ = true;
}

Runner::~Runner() {
  for (int i = 0; i < owned_count_; ++i) cudaFreeAsync(owned_[i], stream_);
  if (switched_) {
    try {
      set_current_context(previous_context_);
    } catch (const DeviceError&) {  // the thread stays on the tensors' device
    }
  }
}

std::int64_t Runner::shared_limit() const { return device_.info.shared_limit; }

std::int64_t Runner::multiprocessors() const { return device_.info.multiprocessors; }

void* Runner::workspace(std::size_t bytes) {
  bytes = std::max<std::size_t>(bytes, 1);  // no memory is no address
  if (queue_.workspace != nullptr) {
    void* const given = queue_.workspace(queue_.context, bytes);
    if (given == nullptr) {
      throw DeviceError(Failure::kWorkspace,
                        "the queue's workspace gave no memory for " + std::to_string(bytes) + " bytes");
    }
    return given;
  }
  if (owned_count_ == kMostOwned)
    throw DeviceError(Failure::kDevice, "a call asked for more pieces of workspace than foreseen");
  void* memory = nullptr;
  check(cudaMallocAsync(&memory, bytes, stream_), "memory for the workspace");
  owned_[owned_count_++] = memory;
  return memory;
}

bool Runner::capturing() const {
  cudaStreamCaptureStatus status{};
  check(cudaStreamIsCapturing(stream_, &status), "to tell whether the stream is being captured");
  return status != cudaStreamCaptureStatusNone;
}

double Runner::microseconds(const std::function<void()>& launches) const {
  constexpr long long kHeld = 200'000;  // cycles, about 0.1 ms: some twenty launches
  const BesideCapture beside;
  const Event start = make_event(), end = make_event();
  hold_stream<<<1, 1, 0, stream_>>>(kHeld);
  check(cudaGetLastError(), "to hold the stream");
  check(cudaEventRecord(start.get(), stream_), "to record an event");
  launches();
  check(cudaEventRecord(end.get(), stream_), "to record an event");
  check(cudaEventSynchronize(end.get()), "to wait for an event");
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, start.get(), end.get()), "to tell the time between events");
  return 1e3 * static_cast<double>(milliseconds);
}

// Loads the kernel and lets it have all the shared memory of a block. Once, for both may happen in a capture.
void Runner::prepare(const KernelEntry& entry) const {
  std::atomic<bool>& prepared = entry.state.prepared[index_];
  if (prepared.load(std::memory_order_acquire)) return;
  const BesideCapture beside;
  cudaFuncAttributes attributes;
  check(cudaFuncGetAttributes(&attributes, entry.function), "to load a kernel");
  check(
      cudaFuncSetAttribute(entry.function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           static_cast<int>(device_.info.shared_limit) - static_cast<int>(attributes.sharedSizeBytes)),
      "a kernel its shared memory");
  prepared.store(true, std::memory_order_release);
}

void Runner::launch(const KernelEntry& entry, std::int64_t blocks, std::int64_t shared_bytes, void** arguments) {
  constexpr std::int64_t kMostBlocks = 0x7FFFFFFF;
  if (blocks < 1 || blocks > kMostBlocks) {
    throw DeviceError(Failure::kArgument, "a grid must have 1 to " + std::to_string(kMostBlocks) + " blocks, got " +
                                              std::to_string(blocks));
  }
  if (shared_bytes > shared_limit()) {
    throw DeviceError(Failure::kUnavailable,
                      std::string(device_.info.name) + " gives a block " + std::to_string(shared_limit()) +
                          " bytes of shared memory, the kernel needs " + std::to_string(shared_bytes));
  }
  prepare(entry);
  check(
      cudaLaunchKernel(entry.function, dim3(static_cast<unsigned>(blocks)), dim3(static_cast<unsigned>(entry.threads)),
                       arguments, static_cast<std::size_t>(shared_bytes), stream_),
      "to launch a kernel");
}

std::int64_t Runner::resident_blocks(const KernelEntry& entry, std::int64_t shared_bytes) const {
  std::atomic<std::uint64_t>& known = entry.state.resident[index_];
  const std::uint64_t bytes = static_cast<std::uint64_t>(shared_bytes) << 32,
                      last = known.load(std::memory_order_relaxed);
  if (last != 0 && last >> 32 == static_cast<std::uint64_t>(shared_bytes))
    return static_cast<std::int64_t>(last & 0xFFFFFFFF) - 1;
  prepare(entry);
  int each = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, entry.function, entry.threads,
                                                      static_cast<std::size_t>(shared_bytes)),
        "to tell a kernel's occupancy");
  const std::int64_t blocks = static_cast<std::int64_t>(each) * device_.info.multiprocessors;
  known.store(bytes | static_cast<std::uint64_t>(blocks + 1), std::memory_order_relaxed);
  return blocks;
}

const void* Runner::find_table(const gpu::TableKey& key) const {
  const std::lock_guard lock(device_.tables_mutex);
  const auto found = device_.tables.find({key.kind, key.n, key.variant});
  return found == device_.tables.end() ? nullptr : found->second;
}

// The first call of a size waits for its own upload, on a stream that nothing else is in; never for the caller's.
const void* Runner::make_table(const gpu::TableKey& key, std::size_t bytes, const std::function<void(void*)>& fill) {
  std::vector<char> host(bytes);
  fill(host.data());
  const std::lock_guard lock(device_.tables_mutex);
  const auto found = device_.tables.find({key.kind, key.n, key.variant});
  if (found != device_.tables.end()) return found->second;  // another thread was first
  const BesideCapture beside;
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes), "memory for a table");
  cudaError_t error = cudaMemcpyAsync(memory, host.data(), bytes, cudaMemcpyHostToDevice, device_.upload);
  if (error == cudaSuccess) error = cudaStreamSynchronize(device_.upload);
  if (error != cudaSuccess) cudaFree(memory);
  check(error, "to fill a table");
  device_.tables[{key.kind, key.n, key.variant}] = memory;
  return memory;
}

}  // namespace melisma::cuda
