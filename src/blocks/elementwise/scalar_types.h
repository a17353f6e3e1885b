// The element types of float tensors, and their values as float or double.
#pragma once

#include <cstdint>
#include <type_traits>

#include "melisma/tensor.h"
#include "runtime/emulator/half.h"

namespace melisma {

// Bits, with no arithmetic of their own.
struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

constexpr bool is_float(DType t) { return t == DType::kFloat32 || t == DType::kFloat64 || is_half(t); }

template <typename C, typename E>
inline C to_scalar(E value) {
  if constexpr (std::is_same_v<E, Float16>) {
    return static_cast<C>(emulator::half_to_float(value.bits));
  } else if constexpr (std::is_same_v<E, BFloat16>) {
    return static_cast<C>(emulator::bfloat_to_float(value.bits));
  } else {
    return static_cast<C>(value);
  }
}

// A float64 value goes to the narrow types through float32.
template <typename E, typename C>
inline E from_scalar(C value) {
  if constexpr (std::is_same_v<E, Float16>) {
    return {emulator::float_to_half(static_cast<float>(value))};
  } else if constexpr (std::is_same_v<E, BFloat16>) {
    return {emulator::float_to_bfloat(static_cast<float>(value))};
  } else {
    return static_cast<E>(value);
  }
}

// f(E{}) with the element type of a float dtype.
template <typename F>
inline void with_element(DType dtype, F f) {
  switch (dtype) {
    case DType::kFloat32: return f(float{});
    case DType::kFloat64: return f(double{});
    case DType::kFloat16: return f(Float16{});
    case DType::kBFloat16: return f(BFloat16{});
    default: return;  // refused before
  }
}

}  // namespace melisma
