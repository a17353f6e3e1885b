// Bulk copies of an emulated block.
#include <cstring>
#include <string>

#include "runtime/emulator/block.h"

namespace melisma::emulator {
namespace {

constexpr std::int64_t kUnit = 16;  // bytes that lengths and addresses are multiples of
constexpr std::int64_t kBarrierBytes = 8;
constexpr int kPoison = 0xFF, kBarrierMark = 0xB5;

std::string at(Site site) { return std::string(" at ") + site.file + ":" + std::to_string(site.line); }

}  // namespace

void Block::check_bulk(const char* call, const void* global, std::int64_t offset, std::int64_t bytes, Site site) const {
  const std::string name = call + at(site);
  if (bytes <= 0 || bytes % kUnit != 0) fail(name + " of " + std::to_string(bytes) + " bytes, not a multiple of 16");
  if (offset % kUnit != 0)
    fail(name + ": offset " + std::to_string(offset) + " of shared memory, not a multiple of 16");
  const std::uintptr_t beyond = reinterpret_cast<std::uintptr_t>(global) % kUnit;
  if (beyond != 0) fail(name + ": device memory " + std::to_string(beyond) + " bytes beyond a multiple of 16");
  if (offset < 0 || bytes > size_ - offset) refuse(call, offset, bytes);
}

void Block::bulk_store(int thread, void* to, Shared<const char> from, std::int64_t bytes, Site site) {
  check_bulk("bulk_store", to, from.offset(), bytes, site);
  Warp& warp = warps_[static_cast<std::size_t>(thread / kLanes)];
  const int lane = thread % kLanes;
  const auto number = static_cast<std::size_t>(warp.calls[lane]++);
  if (number == warp.stores.size()) warp.stores.push_back({to, from.offset(), bytes, site, {}});
  Store& store = warp.stores[number];
  if (store.to != to || store.from != from.offset() || store.bytes != bytes) {
    fail("bulk_store" + at(site) + " with other arguments than another lane's" + at(store.site));
  }
  if (lane != 0) return;
  if (!warp.staged) fail("bulk_store" + at(site) + " without sync_warp_bulk after the last bulk_wait");
  const char* source = data_ + store.from;
  store.source.assign(source, source + bytes);
}

void Block::bulk_wait(int thread, Site site) { meet(thread, Call::kBulkWait, site); }

void Block::finish_stores(int first) {
  Warp& warp = warps_[static_cast<std::size_t>(first / kLanes)];
  for (int& calls : warp.calls) {
    if (calls != static_cast<int>(warp.stores.size())) {
      fail("bulk_store" + at(warp.stores.back().site) + " was not called by all lanes");
    }
    calls = 0;
  }
  for (const Store& store : warp.stores) {
    for (std::int64_t i = 0; i < store.bytes; ++i) {
      if (data_[store.from + i] != store.source[static_cast<std::size_t>(i)]) {
        fail("shared memory at offset " + std::to_string(store.from + i) + " was written between bulk_store" +
             at(store.site) + " and bulk_wait");
      }
    }
    std::memcpy(store.to, store.source.data(), store.source.size());
  }
  warp.stores.clear();
  warp.staged = false;
}

void Block::bulk_load_init(int thread, Shared<char> barrier, Site site) {
  barrier.span(kBarrierBytes);
  if (barrier.offset() % kBarrierBytes != 0) refuse("misaligned barrier", barrier.offset(), kBarrierBytes);
  states_[static_cast<std::size_t>(thread)].barrier = barrier.offset();
  meet(thread, Call::kBulkLoadInit, site);
}

void Block::finish_load_init(int first) {
  const ThreadState* lanes = &states_[static_cast<std::size_t>(first)];
  const std::int64_t offset = lanes[0].barrier;
  for (int i = 1; i < kLanes; ++i) {
    if (lanes[i].barrier != offset) fail("bulk_load_init" + at(lanes[i].site) + " with other barriers in other lanes");
  }
  if (barriers_.count(offset) != 0) fail("bulk_load_init" + at(lanes[0].site) + " of a barrier that is in use");
  barriers_[offset].warp = first / kLanes;
  std::memset(data_ + offset, kBarrierMark, kBarrierBytes);
}

Block::Barrier& Block::barrier_of(int thread, const Shared<char>& barrier, const char* call, Site site) {
  const auto found = barriers_.find(barrier.offset());
  if (found == barriers_.end()) fail(call + at(site) + " on a barrier that bulk_load_init has not made");
  if (found->second.warp != thread / kLanes) fail(call + at(site) + " on another warp's barrier");
  for (std::int64_t i = 0; i < kBarrierBytes; ++i) {
    if (barrier[i] != static_cast<char>(kBarrierMark)) fail(call + at(site) + " on a barrier that was overwritten");
  }
  return found->second;
}

void Block::bulk_load(int thread, Shared<char> to, const void* from, std::int64_t bytes, Shared<char> barrier,
                      Site site) {
  check_bulk("bulk_load", from, to.offset(), bytes, site);
  Barrier& state = barrier_of(thread, barrier, "bulk_load", site);
  const int lane = thread % kLanes;
  const auto number = static_cast<std::size_t>(state.calls[lane]++);
  if (number == state.loads.size()) state.loads.push_back({to.offset(), from, bytes, site});
  const Load& load = state.loads[number];
  if (load.to != to.offset() || load.from != from || load.bytes != bytes) {
    fail("bulk_load" + at(site) + " with other arguments than another lane's" + at(load.site));
  }
  if (lane != 0) return;
  if (state.waits[0] != state.started) fail("bulk_load" + at(site) + " before bulk_load_wait for the one before");
  std::memset(data_ + to.offset(), kPoison, static_cast<std::size_t>(bytes));
  ++state.started;
  const int first = thread / kLanes * kLanes;
  for (int i = first; i < first + kLanes; ++i) {
    const ThreadState& other = states_[static_cast<std::size_t>(i)];
    if (other.progress == Progress::kWaiting && other.call == Call::kBulkLoadWait &&
        other.barrier == barrier.offset()) {
      release(i, 1);
    }
  }
}

void Block::bulk_load_wait(int thread, Shared<char> barrier, int parity, Site site) {
  Barrier& state = barrier_of(thread, barrier, "bulk_load_wait", site);
  const int lane = thread % kLanes;
  const int number = state.waits[lane]++;
  if (parity != number % 2) {
    fail("bulk_load_wait" + at(site) + " number " + std::to_string(number) + " on its barrier with parity " +
         std::to_string(parity));
  }
  if (state.calls[lane] <= number) fail("bulk_load_wait" + at(site) + " by a lane that has not called bulk_load");
  if (state.started <= number) {  // lane 0 has not come by yet
    ThreadState& self = states_[static_cast<std::size_t>(thread)];
    self.call = Call::kBulkLoadWait;
    self.site = site;
    self.barrier = barrier.offset();
    wait(thread);
  }
  // Two phases later the parity is the same again, and the hardware would wait on.
  if (state.started > number + 2) fail("bulk_load_wait" + at(site) + " after two further loads on its barrier");
  Load& load = state.loads[static_cast<std::size_t>(number)];
  if (load.copied) return;
  std::memcpy(data_ + load.to, load.from, static_cast<std::size_t>(load.bytes));
  load.copied = true;
}

}  // namespace melisma::emulator
