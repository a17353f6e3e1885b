// Owned tensors of any strides inside a poisoned block, so that a test sees what a kernel wrote and where.
#pragma once

#include <gtest/gtest.h>

#include <complex>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "melisma/tensor.h"
#include "runtime/emulator/half.h"

namespace melisma::testing {

// How an Array lies in memory.
struct Placement {
  std::vector<int> order;    // axes from the outermost to the innermost in memory; empty: C order
  std::int64_t step = 1;     // elements from one value to the next along the innermost axis
  std::int64_t gap = 0;      // elements added to each row of the innermost axis
  std::vector<int> reverse;  // axes with negative strides
};

class Array {
 public:
  static constexpr std::int64_t kGuard = 64;  // elements before and after

  Array(DType dtype, const Shape& shape, const Placement& placement = {}) : tensor_(nullptr, dtype, shape) {
    std::vector<int> order = placement.order;
    for (int axis = 0; order.size() < static_cast<std::size_t>(shape.ndim); ++axis) order.push_back(axis);
    std::int64_t extent = placement.step, first = 0;
    for (std::size_t i = order.size(); i-- > 0;) {
      const std::size_t axis = static_cast<std::size_t>(order[i]);
      tensor_.strides[axis] = extent;
      extent *= shape.dims[axis];
      if (i + 1 == order.size()) extent += placement.gap;
    }
    for (const int axis : placement.reverse) {
      std::int64_t& stride = tensor_.strides[static_cast<std::size_t>(axis)];
      first += (shape[axis] - 1) * stride;
      stride = -stride;
    }
    bytes_.assign((static_cast<std::size_t>(extent) + 2 * kGuard) * dtype_size(dtype), kPoison);
    tensor_.data = bytes_.data() + static_cast<std::size_t>(first + kGuard) * dtype_size(dtype);
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  Array(Array&&) = default;  // the vector's memory does not move
  Array& operator=(Array&&) = default;

  const Tensor& tensor() const { return tensor_; }
  operator const Tensor&() const { return tensor_; }
  std::int64_t numel() const { return tensor_.shape.numel(); }

  // Element offset of the i-th element in C order.
  std::int64_t offset(std::int64_t i) const {
    std::int64_t result = 0;
    for (int axis = tensor_.ndim() - 1; axis >= 0; --axis) {
      result += i % tensor_.size(axis) * tensor_.stride(axis);
      i /= tensor_.size(axis);
    }
    return result;
  }
  std::complex<double> get(std::int64_t i) const { return get_at(offset(i)); }
  std::complex<double> get_at(std::int64_t at) const {
    switch (tensor_.dtype) {
      case DType::kInt16: return static_cast<double>(tensor_.as<std::int16_t>()[at]);
      case DType::kFloat32: return static_cast<double>(tensor_.as<float>()[at]);
      case DType::kFloat64: return tensor_.as<double>()[at];
      case DType::kComplex64: return std::complex<double>(tensor_.as<std::complex<float>>()[at]);
      case DType::kComplex128: return tensor_.as<std::complex<double>>()[at];
      case DType::kFloat16: return static_cast<double>(emulator::half_to_float(tensor_.as<std::uint16_t>()[at]));
      case DType::kBFloat16: return static_cast<double>(emulator::bfloat_to_float(tensor_.as<std::uint16_t>()[at]));
    }
    return 0.0;
  }
  void set(std::int64_t i, std::complex<double> value) {
    const std::int64_t at = offset(i);
    switch (tensor_.dtype) {
      case DType::kInt16: tensor_.as<std::int16_t>()[at] = static_cast<std::int16_t>(value.real()); break;
      case DType::kFloat32: tensor_.as<float>()[at] = static_cast<float>(value.real()); break;
      case DType::kFloat64: tensor_.as<double>()[at] = value.real(); break;
      case DType::kComplex64: tensor_.as<std::complex<float>>()[at] = std::complex<float>(value); break;
      case DType::kComplex128: tensor_.as<std::complex<double>>()[at] = value; break;
      case DType::kFloat16: tensor_.as<std::uint16_t>()[at] = emulator::float_to_half(narrow(value)); break;
      case DType::kBFloat16: tensor_.as<std::uint16_t>()[at] = emulator::float_to_bfloat(narrow(value)); break;
    }
  }
  std::string bytes_of(std::int64_t i) const {
    const std::size_t size = dtype_size(tensor_.dtype);
    return {static_cast<const char*>(tensor_.data) + offset(i) * static_cast<std::int64_t>(size), size};
  }

  // Uniform in [-1, 1); for int16 over its whole range.
  Array&& randomize(std::uint64_t seed = 1) && { return std::move(randomize_in_place(seed)); }
  Array& randomize_in_place(std::uint64_t seed = 1) {
    std::mt19937_64 bits(seed);
    const auto next = [&] { return static_cast<double>(bits() >> 11) * 0x1p-52 - 1.0; };
    const double scale = tensor_.dtype == DType::kInt16 ? 32768.0 : 1.0;
    for (std::int64_t i = 0; i < numel(); ++i) {
      const double re = next() * scale;
      set(i, {re, next() * scale});
    }
    return *this;
  }

  // Every element was written, and nothing else in the block.
  void expect_written_exactly(const std::string& what) const {
    std::int64_t unwritten = 0;
    for (std::int64_t i = 0; i < numel(); ++i) {
      unwritten += bytes_of(i) == std::string(dtype_size(tensor_.dtype), kPoison) ? 1 : 0;
    }
    EXPECT_EQ(unwritten, 0) << what << ": elements never written";
    expect_written_within(what);
  }
  // Nothing else in the block was written.
  void expect_written_within(const std::string& what) const {
    std::vector<bool> inside(bytes_.size(), false);
    const std::size_t size = dtype_size(tensor_.dtype);
    const std::ptrdiff_t first = static_cast<const char*>(tensor_.data) - bytes_.data();
    for (std::int64_t i = 0; i < numel(); ++i) {
      const std::size_t at = static_cast<std::size_t>(first + offset(i) * static_cast<std::int64_t>(size));
      for (std::size_t b = 0; b < size; ++b) inside[at + b] = true;
    }
    std::int64_t outside = 0;
    for (std::size_t b = 0; b < bytes_.size(); ++b) outside += !inside[b] && bytes_[b] != kPoison ? 1 : 0;
    EXPECT_EQ(outside, 0) << what << ": bytes written outside the result";
  }
  bool untouched() const {
    for (const char b : bytes_) {
      if (b != kPoison) return false;
    }
    return true;
  }

 private:
  static float narrow(std::complex<double> value) { return static_cast<float>(value.real()); }
  static constexpr char kPoison = '\xff';  // a NaN in every float type, and one that no arithmetic makes

  Tensor tensor_;
  std::vector<char> bytes_;
};

// The same elements, bit for bit, whatever the strides.
inline bool same_bits(const Array& a, const Array& b) {
  if (a.tensor().shape != b.tensor().shape || a.tensor().dtype != b.tensor().dtype) return false;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    if (a.bytes_of(i) != b.bytes_of(i)) return false;
  }
  return true;
}

// A copy of the values with another dtype or placement.
inline Array copy_of(const Array& a, DType dtype, const Placement& placement = {}) {
  Array result(dtype, a.tensor().shape, placement);
  for (std::int64_t i = 0; i < a.numel(); ++i) result.set(i, a.get(i));
  return result;
}

// A view of item `i` of the first axis, or of [first, first + count) of the last one.
inline Tensor item_view(const Tensor& t, std::int64_t i) {
  Tensor view = t;
  view.data = static_cast<char*>(t.data) + i * t.stride(0) * static_cast<std::int64_t>(dtype_size(t.dtype));
  view.shape.ndim = t.ndim() - 1;
  for (int axis = 0; axis < view.ndim(); ++axis) {
    view.shape[axis] = t.size(axis + 1);
    view.strides[static_cast<std::size_t>(axis)] = t.stride(axis + 1);
  }
  return view;
}
inline Tensor last_axis_slice(const Tensor& t, std::int64_t first, std::int64_t count) {
  Tensor view = t;
  view.data = static_cast<char*>(t.data) + first * t.stride(-1) * static_cast<std::int64_t>(dtype_size(t.dtype));
  view.shape[-1] = count;
  return view;
}

inline DType complex_of(DType x) {
  return x == DType::kFloat64 || x == DType::kComplex128 ? DType::kComplex128 : DType::kComplex64;
}
inline DType real_of(DType x) {
  return x == DType::kFloat64 || x == DType::kComplex128 ? DType::kFloat64 : DType::kFloat32;
}

}  // namespace melisma::testing
