// Working memory of one thread, kept between calls.
#pragma once

#include <cstddef>

namespace melisma {

// 64-byte aligned, uninitialised. The outermost Scratch of a thread borrows that thread's kept block (which grows to
// the largest size asked for, up to 8 MB; larger ones are freed after use); a nested one allocates its own.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // The next `count` elements, 64-byte aligned. The caller sums up what it takes with scratch_bytes<T>(count).
  template <typename T>
  T* take(std::size_t count) {
    char* p = next_;
    next_ += round_up(count * sizeof(T));
    return reinterpret_cast<T*>(p);
  }
  static constexpr std::size_t round_up(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

 private:
  char* block_;
  char* next_;
  bool borrowed_;
};

template <typename T>
constexpr std::size_t scratch_bytes(std::size_t count) {
  return Scratch::round_up(count * sizeof(T));
}

}  // namespace melisma
