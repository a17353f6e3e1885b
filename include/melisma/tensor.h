// Non-owning tensor views, the argument type of every operator.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace melisma {

// kFloat16 and kBFloat16: the spectral operators take them on GPUs, the convolution on the CPU.
enum class DType : std::uint8_t { kInt16, kFloat32, kFloat64, kComplex64, kComplex128, kFloat16, kBFloat16 };

constexpr std::size_t dtype_size(DType t) {
  switch (t) {
    case DType::kInt16:
    case DType::kFloat16:
    case DType::kBFloat16: return 2;
    case DType::kFloat32: return 4;
    case DType::kFloat64:
    case DType::kComplex64: return 8;
    case DType::kComplex128: return 16;
  }
  return 0;
}

constexpr bool is_complex(DType t) { return t == DType::kComplex64 || t == DType::kComplex128; }
constexpr bool is_half(DType t) { return t == DType::kFloat16 || t == DType::kBFloat16; }

// "float32", as NumPy spells it.
constexpr const char* dtype_name(DType t) {
  switch (t) {
    case DType::kInt16: return "int16";
    case DType::kFloat32: return "float32";
    case DType::kFloat64: return "float64";
    case DType::kComplex64: return "complex64";
    case DType::kComplex128: return "complex128";
    case DType::kFloat16: return "float16";
    case DType::kBFloat16: return "bfloat16";
  }
  return "unknown";
}

enum class DeviceType : std::uint8_t {
  kCpu,
  kCuda,
  kEmulator,  // GPU kernels run on the host, for this library's own tests
};

struct Device {
  DeviceType type = DeviceType::kCpu;
  int index = 0;  // among those of its type
  bool operator==(const Device&) const = default;
};

inline constexpr int kMaxDims = 8;

// A small shape: rank and extents, no heap.
struct Shape {
  int ndim = 0;
  std::array<std::int64_t, kMaxDims> dims{};

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents);
  std::int64_t operator[](int axis) const { return dims[static_cast<std::size_t>(axis < 0 ? axis + ndim : axis)]; }
  std::int64_t& operator[](int axis) { return dims[static_cast<std::size_t>(axis < 0 ? axis + ndim : axis)]; }
  std::int64_t numel() const;  // product of extents; 1 for rank 0. Throws Error where it exceeds int64.
  bool operator==(const Shape& other) const {
    return ndim == other.ndim && std::equal(dims.begin(), dims.begin() + ndim, other.dims.begin());
  }
};

// A view of somebody else's memory. Strides count elements and may be zero or negative.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  Shape shape;
  std::array<std::int64_t, kMaxDims> strides{};
  Device device;  // all tensors of a call lie on one

  Tensor() = default;
  Tensor(void* data, DType dtype, const Shape& shape, Device device = {});  // C-contiguous strides
  int ndim() const { return shape.ndim; }
  std::int64_t size(int axis) const { return shape[axis]; }
  std::int64_t stride(int axis) const { return strides[static_cast<std::size_t>(axis < 0 ? axis + ndim() : axis)]; }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

// What another library says about its tensor, in DLPack's codes (melisma/dlpack.h fills this from a DLTensor).
struct ForeignTensor {
  void* data = nullptr;        // of the first element
  int device_type = 1;         // kDLCPU; kDLCUDA and pinned or managed memory are taken too
  std::uint8_t type_code = 2;  // kDLFloat
  std::uint8_t type_bits = 32;
  std::uint16_t type_lanes = 1;
  int ndim = 0;
  const std::int64_t* shape = nullptr;
  const std::int64_t* strides = nullptr;  // in elements; null: C-contiguous
  int device_index = 0;
};

// Throws Error where the tensor is on a device that DeviceType does not list, has more than kMaxDims dimensions, a
// dtype not listed above, or data that is not aligned to its element's size.
Tensor from_foreign(const ForeignTensor& tensor, const char* op, const char* argument);

}  // namespace melisma
