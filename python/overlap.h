// Whether results and arguments of a Python call share memory: for the bindings of every kind of array.
#pragma once

#include <initializer_list>
#include <string>
#include <utility>

#include "melisma/error.h"
#include "melisma/tensor.h"

namespace melisma {

// First and last byte of a tensor's memory.
inline std::pair<const char*, const char*> extent(const Tensor& t) {
  const std::int64_t size = static_cast<std::int64_t>(dtype_size(t.dtype));
  std::int64_t low = 0, high = 0;
  for (int axis = 0; axis < t.ndim(); ++axis) {
    const std::int64_t reach = (t.size(axis) - 1) * t.stride(axis);
    (reach < 0 ? low : high) += reach;
  }
  const char* data = static_cast<const char*>(t.data);
  return {data + low * size, data + (high + 1) * size};
}

// Whether two arrays share an address.
inline bool overlap(const Tensor& a, const Tensor& b) {
  for (const Tensor* t : {&a, &b}) {
    for (int axis = 0; axis < t->ndim(); ++axis) {
      if (t->size(axis) == 0) return false;
    }
  }
  const auto [a0, a1] = extent(a);
  const auto [b0, b1] = extent(b);
  return a0 < b1 && b0 < a1;
}

// Throws where a result shares memory with one of the arguments, null ones left out.
inline void refuse_overlap(const char* op, const char* name, const Tensor& out,
                           std::initializer_list<const Tensor*> inputs) {
  for (const Tensor* input : inputs) {
    if (input == nullptr || !overlap(out, *input)) continue;
    throw Error(ErrorKind::kInvalidArgument,
                std::string(op) + ": " + name + " must not overlap another argument's memory, got one that does");
  }
}

}  // namespace melisma
