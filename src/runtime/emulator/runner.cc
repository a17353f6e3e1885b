#include "runtime/emulator/runner.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <tuple>

#include "melisma/runtime.h"
#include "runtime/parallel.h"

namespace melisma::emulator {
namespace {

constexpr std::size_t kDeviceAlignment = 256;  // of cudaMalloc
constexpr std::int64_t kMostBlocks = 0x7FFFFFFF;

void* allocate(std::size_t bytes) { return ::operator new(bytes, std::align_val_t(kDeviceAlignment)); }

std::string name_of(const std::type_info& kernel) {
  int status = 0;
  char* text = abi::__cxa_demangle(kernel.name(), nullptr, nullptr, &status);
  std::string name = text != nullptr ? text : kernel.name();
  std::free(text);
  return name;
}

struct Table {
  std::size_t bytes;
  void* data;  // kept for the life of the process
};
using Tables = std::map<std::tuple<std::string, std::int64_t, std::int64_t>, Table>;

thread_local double clock_microseconds = 0.0;

}  // namespace

void Runner::Free::operator()(void* p) const { ::operator delete(p, std::align_val_t(kDeviceAlignment)); }

Runner::Runner(Options options, Workspace workspace) : options_(options), workspace_(std::move(workspace)) {}

void Runner::run(const std::type_info& kernel, int threads, std::int64_t blocks, std::int64_t shared_bytes,
                 Block::Body body, void* context) const {
  const std::string name = name_of(kernel);
  if (blocks < 1 || blocks > kMostBlocks) {
    throw std::logic_error("emulator: " + name + ": launch of " + std::to_string(blocks) + " blocks");
  }
  if (shared_bytes < 0 || shared_bytes > shared_limit()) {
    throw std::logic_error("emulator: " + name + ": launch with " + std::to_string(shared_bytes) +
                           " bytes of shared memory, the limit is " + std::to_string(shared_limit()));
  }
  if (options_.cost) clock_microseconds += options_.cost(kernel, threads, blocks);
  const std::int64_t parts = std::min<std::int64_t>(blocks, 4 * num_threads());
  parallel_for(parts, [&](std::int64_t part) {
    const std::int64_t begin = blocks * part / parts, end = blocks * (part + 1) / parts;
    Block block(name, threads, shared_bytes, blocks, options_.order, options_.seed + static_cast<std::uint64_t>(part));
    for (std::int64_t i = begin; i < end; ++i) {
      block.run(options_.order == Order::kReverse ? blocks - 1 - i : i, body, context);
    }
  });
}

const void* Runner::table(const gpu::TableKey& key, std::size_t bytes, const std::function<void(void*)>& fill) {
  static std::mutex mutex;
  static auto& tables = *new Tables();
  const std::lock_guard lock(mutex);
  const auto [entry, fresh] = tables.try_emplace({key.kind, key.n, key.variant}, Table{bytes, nullptr});
  if (fresh) {
    entry->second.data = allocate(bytes);
    fill(entry->second.data);
  }
  if (entry->second.bytes != bytes) {
    throw std::logic_error("emulator: table " + std::string(key.kind) + " of " + std::to_string(key.n) +
                           " asked for with " + std::to_string(bytes) + " bytes, made with " +
                           std::to_string(entry->second.bytes));
  }
  return entry->second.data;
}

void* Runner::workspace(std::size_t bytes) {
  void* p = workspace_ ? workspace_(bytes) : allocate(bytes);
  if (!workspace_) owned_.emplace_back(p);
  std::memset(p, 0xFF, bytes);
  return p;
}

double Runner::microseconds(const std::function<void()>& launches) {
  const double start = clock_microseconds;
  launches();
  return clock_microseconds - start;
}

std::vector<Options> every_order(Options options) {
  std::vector<Options> all;
  for (const Order order : {Order::kForward, Order::kReverse, Order::kRandom}) {
    options.order = order;
    all.push_back(options);
  }
  return all;
}

}  // namespace melisma::emulator
