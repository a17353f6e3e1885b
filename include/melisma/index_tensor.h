// Non-owning views of integers that say where something is: sequence numbers, offsets, rows of a cache.
#pragma once

#include <array>
#include <cstdint>

#include "melisma/tensor.h"

namespace melisma {

// int32 or int64 values. Strides count elements and may be zero or negative.
struct IndexTensor {
  const void* data = nullptr;
  bool is_int64 = false;
  Shape shape;
  std::array<std::int64_t, kMaxDims> strides{};
  Device device;

  IndexTensor() = default;
  IndexTensor(const std::int32_t* values, const Shape& extents, Device where = {})
      : IndexTensor(values, false, extents, where) {}
  IndexTensor(const std::int64_t* values, const Shape& extents, Device where = {})
      : IndexTensor(values, true, extents, where) {}
  int ndim() const { return shape.ndim; }
  std::int64_t size(int axis) const { return shape[axis]; }
  std::int64_t stride(int axis) const { return strides[static_cast<std::size_t>(axis < 0 ? axis + ndim() : axis)]; }

  // The value `offset` elements from data.
  std::int64_t at(std::int64_t offset) const {
    return is_int64 ? static_cast<const std::int64_t*>(data)[offset] : static_cast<const std::int32_t*>(data)[offset];
  }

 private:
  IndexTensor(const void* values, bool wide, const Shape& extents, Device where)  // C-contiguous
      : data(values),
        is_int64(wide),
        shape(extents),
        strides(Tensor(nullptr, DType::kInt16, extents).strides),
        device(where) {}
};

// Bytes that are 0 or not: bool, uint8.
struct FlagTensor {
  const std::uint8_t* data = nullptr;
  Shape shape;
  std::array<std::int64_t, kMaxDims> strides{};
  Device device;

  FlagTensor() = default;
  FlagTensor(const std::uint8_t* values, const Shape& extents, Device where = {})  // C-contiguous
      : data(values), shape(extents), strides(Tensor(nullptr, DType::kInt16, extents).strides), device(where) {}
  std::int64_t stride(int axis) const { return strides[static_cast<std::size_t>(axis)]; }
};

}  // namespace melisma
