// Pointers of emulated kernels: into a block's shared memory, where every access is checked, and checks of those into
// device memory. A fault throws std::logic_error, which comes out of the launch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace melisma::emulator {

// A block's shared memory; a part of a Block, and of nothing else.
class Arena {
 public:
  char* data() const { return data_; }
  std::int64_t size() const { return size_; }
  // `what` and the range, behind the kernel, block and thread that are running.
  [[noreturn]] void refuse(const char* what, std::int64_t offset, std::int64_t bytes) const;

 protected:
  Arena() = default;
  ~Arena() = default;
  char* data_ = nullptr;
  std::int64_t size_ = 0;
};

template <typename T>
class Shared {
 public:
  Shared() = default;
  Shared(const Arena* arena, std::int64_t offset) : arena_(arena), offset_(offset) {}
  template <typename U>
  requires(std::is_same_v<T, const U>) Shared(Shared<U> other)
      : arena_(other.arena()), offset_(other.offset()) {}  // NOLINT: as pointers convert

  T& operator*() const { return *span(1); }
  T* operator->() const { return span(1); }
  T& operator[](std::ptrdiff_t i) const { return *(*this + i).span(1); }

  // The address of n elements, all of which are there.
  T* span(std::ptrdiff_t n) const {
    const std::int64_t bytes = static_cast<std::int64_t>(n * sizeof(T));
    if (arena_ == nullptr || offset_ < 0 || bytes < 0 || bytes > arena_->size() - offset_) refuse("access", bytes);
    return reinterpret_cast<T*>(arena_->data() + offset_);
  }
  template <typename U>
  Shared<U> as() const {
    static_assert(std::is_const_v<U> || !std::is_const_v<T>, "the cast takes const away");
    if (offset_ % static_cast<std::int64_t>(alignof(U)) != 0) refuse("misaligned cast", sizeof(U));
    return Shared<U>(arena_, offset_);
  }

  Shared operator+(std::ptrdiff_t n) const { return Shared(arena_, offset_ + n * kSize); }
  Shared operator-(std::ptrdiff_t n) const { return Shared(arena_, offset_ - n * kSize); }
  Shared& operator+=(std::ptrdiff_t n) { return *this = *this + n; }
  Shared& operator-=(std::ptrdiff_t n) { return *this = *this - n; }
  Shared& operator++() { return *this += 1; }
  std::ptrdiff_t operator-(Shared other) const { return (offset_ - other.offset_) / kSize; }
  bool operator==(Shared other) const { return offset_ == other.offset_; }
  bool operator<(Shared other) const { return offset_ < other.offset_; }

  const Arena* arena() const { return arena_; }
  std::int64_t offset() const { return offset_; }

 private:
  static constexpr std::int64_t kSize = sizeof(T);
  [[noreturn]] void refuse(const char* what, std::int64_t bytes) const;

  const Arena* arena_ = nullptr;
  std::int64_t offset_ = 0;
};

[[noreturn]] void refuse_null_shared();
[[noreturn]] void refuse_misaligned(const volatile void* p, std::size_t bytes);

template <typename T>
void Shared<T>::refuse(const char* what, std::int64_t bytes) const {
  if (arena_ == nullptr) refuse_null_shared();
  arena_->refuse(what, offset_, bytes);
}

// p, which must be a multiple of `bytes`.
template <typename T>
T* aligned(T* p, std::size_t bytes) {
  if (reinterpret_cast<std::uintptr_t>(p) % bytes != 0) refuse_misaligned(p, bytes);
  return p;
}

}  // namespace melisma::emulator
