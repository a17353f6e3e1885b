#include "runtime/emulator/block.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>

namespace melisma::emulator {
namespace {

constexpr std::size_t kSharedAlignment = 128;
constexpr int kPoison = 0xFF;  // NaN in every floating type

// Unwinds the threads that still wait when another one has failed.
struct Abandoned {};

const char* name_of(Call call) {
  switch (call) {
    case Call::kSync: return "sync";
    case Call::kSyncWarp: return "sync_warp";
    case Call::kShuffle: return "shuffle";
    case Call::kSyncWarpBulk: return "sync_warp_bulk";
    case Call::kBulkWait: return "bulk_wait";
    case Call::kBulkLoadInit: return "bulk_load_init";
    case Call::kBulkLoadWait: return "bulk_load_wait";
  }
  return "";
}

}  // namespace

bool Site::operator==(const Site& other) const {
  return line == other.line && (file == other.file || std::strcmp(file, other.file) == 0);
}

void refuse_null_shared() { throw std::logic_error("emulator: access through a null pointer to shared memory"); }

void refuse_misaligned(const volatile void* p, std::size_t bytes) {
  throw std::logic_error("emulator: vector access of device memory at an address that is " +
                         std::to_string(reinterpret_cast<std::uintptr_t>(p) % bytes) + " beyond a multiple of " +
                         std::to_string(bytes));
}

Block::Block(std::string kernel, int threads, std::int64_t shared_bytes, std::int64_t blocks, Order order,
             std::uint64_t seed)
    : kernel_(std::move(kernel)),
      blocks_(blocks),
      order_(order),
      random_(seed),
      states_(static_cast<std::size_t>(threads)),
      warps_(static_cast<std::size_t>(threads / kLanes)),
      warp_order_(static_cast<std::size_t>(threads / kLanes)),
      lane_order_(kLanes) {
  // Exactly as large as asked, so that AddressSanitizer sees its end too.
  size_ = shared_bytes;
  data_ =
      static_cast<char*>(::operator new(static_cast<std::size_t>(shared_bytes), std::align_val_t(kSharedAlignment)));
  std::iota(warp_order_.begin(), warp_order_.end(), 0);
  std::iota(lane_order_.begin(), lane_order_.end(), 0);
  if (order_ == Order::kReverse) {
    std::reverse(warp_order_.begin(), warp_order_.end());
    std::reverse(lane_order_.begin(), lane_order_.end());
  }
}

Block::~Block() { ::operator delete(data_, std::align_val_t(kSharedAlignment)); }

void Block::run(std::int64_t index, Body body, void* context) {
  index_ = index;
  body_ = body;
  context_ = context;
  std::memset(data_, kPoison, static_cast<std::size_t>(size_));
  std::fill(states_.begin(), states_.end(), ThreadState{});
  std::fill(warps_.begin(), warps_.end(), Warp{});
  barriers_.clear();
  arrived_ = returned_ = 0;
  error_ = nullptr;
  abandoned_ = false;
  fibers_ = &Fibers::of_this_thread();
  fibers_->prepare(threads(), &Block::enter, this);

  while (returned_ < threads() && !error_) {
    if (order_ == Order::kRandom) shuffle_order();
    bool moved = false;
    for (const int warp : warp_order_) {
      while (!error_ && run_warp(warp)) {
        moved = true;
        if (order_ == Order::kRandom) break;
      }
    }
    if (!moved && !error_) {
      try {
        diverged(0, threads());
      } catch (...) {
        error_ = std::current_exception();
      }
    }
  }
  if (error_) {
    abandon();
    std::rethrow_exception(error_);
  }
}

void Block::enter(void* context, int thread) {
  auto& block = *static_cast<Block*>(context);
  try {
    block.body_(block.context_, block, thread);
    const Warp& warp = block.warps_[static_cast<std::size_t>(thread / kLanes)];
    if (!warp.stores.empty()) {
      block.fail("returns without bulk_wait after bulk_store at " + std::string(warp.stores.front().site.file) + ":" +
                 std::to_string(warp.stores.front().site.line) + ", which still reads shared memory");
    }
  } catch (const Abandoned&) {
  } catch (...) {
    if (!block.error_) block.error_ = std::current_exception();
  }
  block.states_[static_cast<std::size_t>(thread)].progress = Progress::kReturned;
  ++block.returned_;
}

void Block::run_thread(int thread) {
  running_ = thread;
  states_[static_cast<std::size_t>(thread)].started = true;
  fibers_->resume(thread);
  running_ = -1;
}

// Each thread of the warp that can, up to its next meeting; whether there was one.
bool Block::run_warp(int warp) {
  bool moved = false;
  for (const int lane : lane_order_) {
    const int thread = warp * kLanes + lane;
    if (error_ || states_[static_cast<std::size_t>(thread)].progress != Progress::kReady) continue;
    moved = true;
    run_thread(thread);
  }
  return moved;
}

void Block::shuffle_order() {
  const auto next = [this](std::size_t below) {  // splitmix64
    std::uint64_t z = random_ += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return static_cast<std::size_t>((z ^ (z >> 31)) % below);
  };
  for (std::vector<int>* order : {&warp_order_, &lane_order_}) {
    for (std::size_t i = order->size(); i > 1; --i) std::swap((*order)[i - 1], (*order)[next(i)]);
  }
}

void Block::abandon() {
  abandoned_ = true;
  for (int thread = 0; thread < threads(); ++thread) {
    const ThreadState& state = states_[static_cast<std::size_t>(thread)];
    if (state.started && state.progress != Progress::kReturned) run_thread(thread);
  }
}

// Suspends the thread until the others release it.
void Block::wait(int thread) {
  states_[static_cast<std::size_t>(thread)].progress = Progress::kWaiting;
  fibers_->suspend();
  if (abandoned_) throw Abandoned();
}

void Block::release(int first, int count) {
  for (int i = first; i < first + count; ++i) states_[static_cast<std::size_t>(i)].progress = Progress::kReady;
}

// All `count` threads have arrived: do they call the same?
void Block::complete(int first, int count) {
  const ThreadState& one = states_[static_cast<std::size_t>(first)];
  for (int i = first + 1; i < first + count; ++i) {
    const ThreadState& other = states_[static_cast<std::size_t>(i)];
    if (other.call != one.call || !(other.site == one.site)) diverged(first, count);
  }
  Warp& warp = warps_[static_cast<std::size_t>(first / kLanes)];
  if (one.call == Call::kShuffle) finish_shuffle(first);
  if (one.call == Call::kSyncWarpBulk) warp.staged = true;
  if (one.call == Call::kBulkWait) finish_stores(first);
  if (one.call == Call::kBulkLoadInit) finish_load_init(first);
  release(first, count);
}

void Block::meet(int thread, Call call, Site site) {
  ThreadState& state = states_[static_cast<std::size_t>(thread)];
  state.call = call;
  state.site = site;
  state.progress = Progress::kWaiting;
  const bool whole = call == Call::kSync;
  int& arrived = whole ? arrived_ : warps_[static_cast<std::size_t>(thread / kLanes)].arrived;
  const int count = whole ? threads() : kLanes;
  // The last one waits too, so that the order is the scheduler's.
  if (++arrived == count) {
    arrived = 0;
    complete(whole ? 0 : thread / kLanes * kLanes, count);
    fibers_->suspend();
    if (abandoned_) throw Abandoned();
    return;
  }
  wait(thread);
}

std::uint64_t Block::exchange(int thread, std::uint64_t bits, int lane, Site site) {
  if (lane < 0 || lane >= kLanes) {
    fail("shuffle at " + std::string(site.file) + ":" + std::to_string(site.line) + " asks for lane " +
         std::to_string(lane));
  }
  ThreadState& state = states_[static_cast<std::size_t>(thread)];
  state.bits = bits;
  state.lane = lane;
  meet(thread, Call::kShuffle, site);
  return state.bits;
}

void Block::finish_shuffle(int first) {
  ThreadState* lanes = &states_[static_cast<std::size_t>(first)];
  std::uint64_t brought[kLanes];
  for (int i = 0; i < kLanes; ++i) brought[i] = lanes[i].bits;
  for (int i = 0; i < kLanes; ++i) lanes[i].bits = brought[lanes[i].lane];
}

std::string Block::place() const {
  std::string text = "emulator: " + kernel_ + ": block " + std::to_string(index_);
  if (running_ >= 0) text += ", thread " + std::to_string(running_);
  return text;
}

void Block::fail(const std::string& message) const { throw std::logic_error(place() + ": " + message); }

void Arena::refuse(const char* what, std::int64_t offset, std::int64_t bytes) const {
  static_cast<const Block*>(this)->fail(std::string(what) + " of " + std::to_string(bytes) + " bytes at offset " +
                                        std::to_string(offset) + " of " + std::to_string(size_) +
                                        " bytes of shared memory");
}

void Block::diverged(int first, int count) const {
  const auto describe = [](const ThreadState& state) -> std::string {
    if (state.progress == Progress::kReturned) return "returned";
    if (state.progress == Progress::kReady) return "still run";
    return "in " + std::string(name_of(state.call)) + "() at " + state.site.file + ":" +
           std::to_string(state.site.line);
  };
  std::string text;
  for (int i = first; i < first + count;) {
    const std::string where = describe(states_[static_cast<std::size_t>(i)]);
    int end = i + 1;
    while (end < first + count && describe(states_[static_cast<std::size_t>(end)]) == where) ++end;
    text += (text.empty() ? " thread " : ", thread ") + std::to_string(i);
    if (end - i > 1) text += " to " + std::to_string(end - 1);
    text += " " + where;
    i = end;
  }
  throw std::logic_error("emulator: " + kernel_ + ": block " + std::to_string(index_) +
                         ": threads do not meet:" + text);
}

}  // namespace melisma::emulator
