#include "runtime/registry.h"

#include <atomic>
#include <map>
#include <mutex>
#include <tuple>

#include "melisma/error.h"
#include "melisma/runtime.h"
#include "runtime/cpu/simd_targets.h"
#include "runtime/gpu/backend.h"
#include "runtime/options.h"

namespace melisma {
namespace {

// Open addressing over the addresses of the literals, so that counting is a hash, a compare and an add. Slots are never
// removed; the same text at two addresses (two translation units) is joined when the counts are read.
struct Slot {
  std::atomic<const char*> op{nullptr};  // written last
  const char* kernel = nullptr;
  const char* reason = nullptr;
  std::atomic<std::uint64_t> calls{0};
};

constexpr std::size_t kSlots = 1024;  // a power of two, far more than there are kernels
Slot slots[kSlots];
std::mutex insert_mutex;
std::atomic<int> strict_mode{-1};  // -1: as MELISMA_STRICT says

std::size_t hash(const char* op, const char* kernel, const char* reason) {
  const std::uint64_t mixed = reinterpret_cast<std::uintptr_t>(op) * 0x9E3779B97F4A7C15u ^
                              reinterpret_cast<std::uintptr_t>(kernel) * 0xC2B2AE3D27D4EB4Fu ^
                              reinterpret_cast<std::uintptr_t>(reason) * 0x165667B19E3779F9u;
  return static_cast<std::size_t>(mixed >> 40) % kSlots;
}

bool matches(const Slot& slot, const char* op, const char* kernel, const char* reason) {
  return slot.op.load(std::memory_order_acquire) == op && slot.kernel == kernel && slot.reason == reason;
}

Slot* find_or_insert(const char* op, const char* kernel, const char* reason) {
  const std::size_t start = hash(op, kernel, reason);
  const std::lock_guard lock(insert_mutex);
  for (std::size_t probe = 0; probe < kSlots; ++probe) {
    Slot& slot = slots[(start + probe) % kSlots];
    if (slot.op.load(std::memory_order_relaxed) == nullptr) {
      slot.kernel = kernel;
      slot.reason = reason;
      slot.op.store(op, std::memory_order_release);
      return &slot;
    }
    if (matches(slot, op, kernel, reason)) return &slot;
  }
  throw Error(ErrorKind::kUnavailable, std::string(op) + ": the table of call counters is full");
}

// MELISMA_SIMD must act before the first dispatch, which does not pass through this library's code.
[[maybe_unused]] const bool simd_applied = (apply_simd_option(), true);

}  // namespace

void count_call(const char* op, const char* kernel, const char* reason) {
  if (*reason != '\0' && strict()) {
    throw Error(ErrorKind::kUnavailable, std::string(op) + ": strict mode refuses the fallback to kernel '" + kernel +
                                             "', which would run because " + reason);
  }
  const std::size_t start = hash(op, kernel, reason);
  for (std::size_t probe = 0; probe < kSlots; ++probe) {
    Slot& slot = slots[(start + probe) % kSlots];
    if (matches(slot, op, kernel, reason)) {
      slot.calls.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    if (slot.op.load(std::memory_order_acquire) == nullptr) break;
  }
  check_options();  // so that a mistyped variable is told at the first call, and at each
  find_or_insert(op, kernel, reason)->calls.fetch_add(1, std::memory_order_relaxed);
}

std::vector<CallCount> call_counts() {
  std::map<std::tuple<std::string, std::string, std::string>, std::uint64_t> joined;
  for (const Slot& slot : slots) {
    const char* op = slot.op.load(std::memory_order_acquire);
    const std::uint64_t calls = slot.calls.load(std::memory_order_relaxed);
    if (op != nullptr && calls > 0) joined[{op, slot.kernel, slot.reason}] += calls;
  }
  std::vector<CallCount> counts;
  counts.reserve(joined.size());
  for (const auto& [key, calls] : joined) {
    counts.push_back({std::get<0>(key), std::get<1>(key), std::get<2>(key), calls});
  }
  return counts;
}

void reset_call_counts() {
  for (Slot& slot : slots) slot.calls.store(0, std::memory_order_relaxed);
}

bool strict() {
  const int mode = strict_mode.load(std::memory_order_relaxed);
  return mode < 0 ? options().strict : mode == 1;
}

void set_strict(bool on) { strict_mode.store(on ? 1 : 0, std::memory_order_relaxed); }

std::vector<BackendInfo> backends() {
  const int threads = num_threads();
  std::string cuda;
  const bool has_cuda = gpu::cuda_available(&cuda);
  return {
      {"cpu", true, simd_target() + ", " + std::to_string(threads) + (threads == 1 ? " thread" : " threads")},
      {"cuda", has_cuda, cuda},
      {"metal", false, "this build has no Metal kernels"},
  };
}

}  // namespace melisma
