// One block of an emulated launch: its threads as fibers that meet at barriers and shuffles, its shared memory, and
// what is wrong with a kernel: threads that do not meet, accesses outside, staging overwritten under a bulk copy. Any
// of these throws std::logic_error that names kernel, block, threads and the lines of the calls.
#pragma once

#include <cstdint>
#include <exception>
#include <map>
#include <string>
#include <vector>

#include "runtime/emulator/fibers.h"
#include "runtime/emulator/shared.h"

namespace melisma::emulator {

// Where a kernel calls; as a default argument, the line of the call.
struct Site {
  const char* file = "";
  int line = 0;
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
  bool operator==(const Site& other) const;
};

enum class Call : std::uint8_t { kSync, kSyncWarp, kShuffle, kSyncWarpBulk, kBulkWait, kBulkLoadInit, kBulkLoadWait };

// In which order the threads that can run do so: a warp as far as it comes, then the next one.
enum class Order : std::uint8_t { kForward, kReverse, kRandom };

class Block : public Arena {
 public:
  using Body = void (*)(void* context, Block& block, int thread);

  Block(std::string kernel, int threads, std::int64_t shared_bytes, std::int64_t blocks, Order order,
        std::uint64_t seed);
  ~Block();

  // Runs block `index` to its end; throws what a thread of it threw.
  void run(std::int64_t index, Body body, void* context);

  int threads() const { return static_cast<int>(states_.size()); }
  std::int64_t index() const { return index_; }
  std::int64_t blocks() const { return blocks_; }

  // What follows is called by threads.

  // kSync: with all threads of the block; kSyncWarp, kSyncWarpBulk: with those of the warp.
  void meet(int thread, Call call, Site site);
  // The bits that `lane` of the thread's warp brings.
  std::uint64_t exchange(int thread, std::uint64_t bits, int lane, Site site);

  // A store copies at bulk_wait, and finds then whether its source has changed; a load copies when the first lane has
  // waited, and spoils what was there when lane 0 starts it.
  void bulk_store(int thread, void* to, Shared<const char> from, std::int64_t bytes, Site site);
  void bulk_wait(int thread, Site site);
  void bulk_load_init(int thread, Shared<char> barrier, Site site);
  void bulk_load(int thread, Shared<char> to, const void* from, std::int64_t bytes, Shared<char> barrier, Site site);
  void bulk_load_wait(int thread, Shared<char> barrier, int parity, Site site);

 private:
  friend class Arena;
  static constexpr int kLanes = 32;
  enum class Progress : std::uint8_t { kReady, kWaiting, kReturned };

  struct ThreadState {
    Progress progress = Progress::kReady;
    bool started = false;
    Call call = Call::kSync;
    Site site;
    std::uint64_t bits = 0;  // of a shuffle: brought, then taken
    int lane = 0;
    std::int64_t barrier = 0;  // of bulk loads
  };
  struct Store {
    void* to;
    std::int64_t from, bytes;
    Site site;
    std::vector<char> source;  // as it was when lane 0 called
  };
  struct Warp {
    int arrived = 0;
    bool staged = false;  // sync_warp_bulk has passed since the last bulk_wait
    std::vector<Store> stores;
    int calls[kLanes] = {};
  };
  struct Load {
    std::int64_t to;
    const void* from;
    std::int64_t bytes;
    Site site;
    bool copied = false;
  };
  struct Barrier {
    int warp;
    std::vector<Load> loads;
    int started = 0;  // by lane 0
    int calls[kLanes] = {}, waits[kLanes] = {};
  };

  static void enter(void* context, int thread);
  void run_thread(int thread);
  bool run_warp(int warp);
  void shuffle_order();
  void abandon();
  void wait(int thread);
  void release(int first, int count);
  void complete(int first, int count);
  void finish_shuffle(int first);
  void finish_stores(int first);
  void finish_load_init(int first);
  Barrier& barrier_of(int thread, const Shared<char>& barrier, const char* call, Site site);
  void check_bulk(const char* call, const void* global, std::int64_t offset, std::int64_t bytes, Site site) const;

  std::string place() const;
  [[noreturn]] void fail(const std::string& message) const;
  [[noreturn]] void diverged(int first, int count) const;

  std::string kernel_;
  std::int64_t index_ = 0, blocks_;
  Order order_;
  std::uint64_t random_;
  std::vector<ThreadState> states_;
  std::vector<Warp> warps_;
  std::vector<int> warp_order_, lane_order_;
  std::map<std::int64_t, Barrier> barriers_;  // by offset
  int arrived_ = 0;                           // at sync()
  int running_ = -1, returned_ = 0;
  Body body_ = nullptr;
  void* context_ = nullptr;
  Fibers* fibers_ = nullptr;
  std::exception_ptr error_;
  bool abandoned_ = false;
};

}  // namespace melisma::emulator
