// Result memory. Sizes come in classes (at most an eighth is wasted), so that a released block fits the next result of
// about that size; a small vector of released blocks is the whole pool.
#include <pthread.h>
#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <mutex>
#include <string>

#include "melisma/error.h"
#include "melisma/runtime.h"
#include "runtime/aligned.h"
#include "runtime/options.h"

namespace melisma {
namespace {

constexpr std::size_t kMegabyte = std::size_t{1} << 20;
constexpr std::size_t kHugePage = 2 * kMegabyte;
// From here on the page faults of a fresh block cost more than a mapping of its own with huge pages: 83 MB took 32-41
// ms from malloc and 3.9 ms so. Below, a block of the pool is faster than either.
constexpr std::size_t kLeastMapped = 32 * kMegabyte;
// Below, malloc recycles as fast as the pool would.
constexpr std::size_t kLeastPooled = 16 * 1024;
constexpr std::size_t kMostPooledBlocks = 64;  // the pool is searched from one end to the other

// Stands right before the block. A mapped block starts on a huge page, so its header has a small page to itself.
struct alignas(kCacheLine) Header {
  std::size_t capacity;  // of the block, without header
  std::size_t mapped;    // bytes of the mapping from `base` on; 0: from malloc
  void* base;            // what malloc or mmap gave
};
static_assert(sizeof(Header) == kCacheLine);

Header* header_of(void* block) { return static_cast<Header*>(block) - 1; }

std::size_t size_class(std::size_t bytes) {
  if (bytes >= kLeastMapped) return (bytes + kHugePage - 1) / kHugePage * kHugePage;
  if (bytes < kLeastPooled) return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
  const std::size_t step = std::bit_floor(bytes) / 8;
  return (bytes + step - 1) / step * step;
}

void free_block(void* block) noexcept {
  const Header header = *header_of(block);
  if (header.mapped > 0) {
    munmap(header.base, header.mapped);
  } else {
    std::free(header.base);
  }
}

void* map_block(std::size_t capacity) noexcept {
  constexpr std::size_t kHeaderRoom = 16384;  // the largest of the small pages: 4 KB on x86, 16 KB on Apple silicon
  const std::size_t size = capacity + kHugePage + kHeaderRoom;
  void* base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  const auto address = reinterpret_cast<std::uintptr_t>(base);
  const std::uintptr_t start = (address + kHeaderRoom + kHugePage - 1) / kHugePage * kHugePage;
#ifdef MADV_HUGEPAGE
  madvise(reinterpret_cast<void*>(start), capacity, MADV_HUGEPAGE);  // advice: nothing to do where it is refused
#endif
  void* block = reinterpret_cast<void*>(start);
  *header_of(block) = {capacity, size, base};
  return block;
}

void* new_block(std::size_t capacity) noexcept {
  if (capacity >= kLeastMapped) return map_block(capacity);
  void* base = nullptr;
  if (posix_memalign(&base, kCacheLine, capacity + sizeof(Header)) != 0) return nullptr;
  void* block = static_cast<Header*>(base) + 1;
  *header_of(block) = {capacity, 0, base};
  return block;
}

class Pool {
 public:
  Pool() {
    // A thread of the parent may hold the lock while another one forks.
    pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                   [] { instance().mutex_.unlock(); });
  }

  static Pool& instance() {
    static Pool* pool = new Pool;  // never destroyed: results may outlive every static object
    return *pool;
  }

  void* take(std::size_t capacity) noexcept {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = count_; i-- > 0;) {  // newest first: it is the likeliest to be in cache
      if (header_of(blocks_[i])->capacity != capacity) continue;
      void* block = blocks_[i];
      remove(i);
      return block;
    }
    return nullptr;
  }

  // Keeps the block, giving back the oldest ones where it would be too much; false where it can't.
  bool keep(void* block, std::size_t limit) noexcept {
    const std::size_t capacity = header_of(block)->capacity;
    if (capacity > limit) return false;
    void* evicted[kMostPooledBlocks];
    std::size_t evictions = 0;
    {
      const std::lock_guard lock(mutex_);
      while (count_ == kMostPooledBlocks || bytes_ + capacity > limit) {
        evicted[evictions++] = blocks_[0];
        remove(0);
      }
      blocks_[count_++] = block;
      bytes_ += capacity;
    }
    for (std::size_t i = 0; i < evictions; ++i) free_block(evicted[i]);
    return true;
  }

  void trim() noexcept {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < count_; ++i) free_block(blocks_[i]);
    count_ = 0;
    bytes_ = 0;
  }

  std::size_t bytes() noexcept {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }

 private:
  void remove(std::size_t index) noexcept {
    bytes_ -= header_of(blocks_[index])->capacity;
    for (std::size_t i = index + 1; i < count_; ++i) blocks_[i - 1] = blocks_[i];
    --count_;
  }

  std::mutex mutex_;
  void* blocks_[kMostPooledBlocks];  // oldest first
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace

void* allocate_result(std::size_t bytes) {
  constexpr std::size_t kMost = ~std::size_t{0} / 2;
  void* block = nullptr;
  if (bytes <= kMost) {
    const std::size_t capacity = size_class(bytes == 0 ? 1 : bytes);
    if (capacity >= kLeastPooled) block = Pool::instance().take(capacity);
    if (block == nullptr) block = new_block(capacity);
    if (block == nullptr) {
      trim_pool();
      block = new_block(capacity);
    }
  }
  if (block == nullptr) {
    throw Error(ErrorKind::kOutOfMemory,
                "allocate_result: no memory for a result of " + std::to_string(bytes) + " bytes");
  }
  return block;
}

void release_result(void* block) noexcept {
  if (block == nullptr) return;
  const auto limit = static_cast<std::size_t>(options().pool_mb) * kMegabyte;
  if (header_of(block)->capacity < kLeastPooled || !Pool::instance().keep(block, limit)) free_block(block);
}

void trim_pool() noexcept { Pool::instance().trim(); }

std::size_t pooled_bytes() noexcept { return Pool::instance().bytes(); }

}  // namespace melisma
