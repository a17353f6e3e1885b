// Runs launches on the host: what gpu/runner.h asks of a device. Device memory is host memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>
#include <typeinfo>
#include <vector>

#include "runtime/emulator/block.h"
#include "runtime/gpu/dialect.h"
#include "runtime/gpu/runner.h"

namespace melisma::emulator {

struct Options {
  std::int64_t shared_limit = 227 << 10;  // of an H100's block
  bool float64 = true;
  std::int64_t multiprocessors = 3;
  std::int64_t resident_blocks = 5;  // odd, so that persistent kernels have an uneven last round
  Order order = Order::kForward;     // also of the blocks
  std::uint64_t seed = 1;            // of kRandom
  bool capturing = false;            // what Runner::capturing() says
  // The fake clock: microseconds of a launch.
  std::function<double(const std::type_info& kernel, int threads, std::int64_t blocks)> cost;

  // What Metal's kernels are launched with.
  static Options metal() {
    Options options;
    options.shared_limit = 32 << 10;
    options.float64 = false;
    return options;
  }
};

class Runner {
 public:
  using Workspace = std::function<void*(std::size_t bytes)>;

  // Without `workspace` the runner owns that memory until it goes.
  explicit Runner(Options options = {}, Workspace workspace = {});

  template <typename Kernel>
  void launch(std::int64_t blocks, std::int64_t shared_bytes, const typename Kernel::Args& args) {
    static_assert(std::is_trivially_copyable_v<typename Kernel::Args> && sizeof(typename Kernel::Args) <= 4096,
                  "arguments are plain data of at most 4096 bytes");
    static_assert(Kernel::kThreads % 32 == 0 && Kernel::kThreads > 0 && Kernel::kThreads <= 1024);
    struct Context {
      const typename Kernel::Args& args;
    } context{args};
    run(
        typeid(Kernel), Kernel::kThreads, blocks, shared_bytes,
        [](void* p, Block& block, int thread) {
          Kernel::run(gpu::Thread(block, thread), static_cast<Context*>(p)->args, Shared<char>(&block, 0));
        },
        &context);
  }

  template <typename Kernel>
  std::int64_t resident_blocks(std::int64_t /*shared_bytes*/) const {
    return options_.resident_blocks;
  }

  const void* table(const gpu::TableKey& key, std::size_t bytes, const std::function<void(void*)>& fill);
  void* workspace(std::size_t bytes);
  std::int64_t multiprocessors() const { return options_.multiprocessors; }
  std::int64_t shared_limit() const { return options_.shared_limit; }
  bool float64() const { return options_.float64; }
  bool capturing() const { return options_.capturing; }
  // The cost of what is launched from this thread, by this runner or another.
  static double microseconds(const std::function<void()>& launches);

 private:
  void run(const std::type_info& kernel, int threads, std::int64_t blocks, std::int64_t shared_bytes, Block::Body body,
           void* context) const;

  struct Free {
    void operator()(void* p) const;
  };
  Options options_;
  Workspace workspace_;
  std::vector<std::unique_ptr<void, Free>> owned_;
};

// The orders that every kernel's results must be the same in.
std::vector<Options> every_order(Options options = {});

}  // namespace melisma::emulator
