// Asking for memory that will be used soon. An address need not exist: it is never touched.
#pragma once

#include <cstddef>
#include <cstdint>

namespace melisma {

inline void prefetch_for_read(const void* base, std::ptrdiff_t bytes) {
  __builtin_prefetch(
      reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(base) + static_cast<std::uintptr_t>(bytes)), 0);
}
inline void prefetch_for_write(const void* base, std::ptrdiff_t bytes) {
  __builtin_prefetch(
      reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(base) + static_cast<std::uintptr_t>(bytes)), 1);
}

}  // namespace melisma
