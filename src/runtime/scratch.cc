#include "runtime/scratch.h"

#include <new>

#include "runtime/aligned.h"

namespace melisma {
namespace {

constexpr std::size_t kLargestKept = std::size_t{8} << 20;

char* allocate(std::size_t bytes) { return static_cast<char*>(::operator new(bytes, std::align_val_t(kCacheLine))); }
void release(char* block) noexcept { ::operator delete(block, std::align_val_t(kCacheLine)); }

struct KeptBlock {
  char* data = nullptr;
  std::size_t size = 0;
  bool lent = false;
  ~KeptBlock() { release(data); }
};

thread_local KeptBlock kept;

}  // namespace

Scratch::Scratch(std::size_t bytes) : borrowed_(!kept.lent && bytes <= kLargestKept) {
  if (borrowed_) {
    if (bytes > kept.size) {
      release(kept.data);
      kept.data = nullptr;  // in case the allocation throws
      kept.size = 0;
      kept.data = allocate(bytes);
      kept.size = bytes;
    }
    kept.lent = true;
    block_ = kept.data;
  } else {
    block_ = allocate(bytes);
  }
  next_ = block_;
}

Scratch::~Scratch() {
  if (borrowed_) {
    kept.lent = false;
  } else {
    release(block_);
  }
}

}  // namespace melisma
