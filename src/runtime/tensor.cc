#include "melisma/tensor.h"

#include <optional>
#include <string>

#include "runtime/check.h"

namespace melisma {

Shape::Shape(std::initializer_list<std::int64_t> extents) {
  if (extents.size() > static_cast<std::size_t>(kMaxDims)) {
    fail_argument("tensor", "rank must be at most %d, got %zu", kMaxDims, extents.size());
  }
  for (std::int64_t extent : extents) dims[static_cast<std::size_t>(ndim++)] = extent;
}

std::int64_t Shape::numel() const {
  // An extent of zero makes the product zero however large the others are.
  for (int i = 0; i < ndim; ++i) {
    if ((*this)[i] == 0) return 0;
  }
  std::int64_t product = 1;
  for (int i = 0; i < ndim; ++i) {
    if (__builtin_mul_overflow(product, (*this)[i], &product)) {
      fail_argument("tensor", "number of elements must be below 2^63, got %lld x %lld and more",
                    static_cast<long long>(product), static_cast<long long>((*this)[i]));
    }
  }
  return product;
}

Tensor::Tensor(void* data_, DType dtype_, const Shape& shape_, Device device_)
    : data(data_), dtype(dtype_), shape(shape_), device(device_) {
  std::uint64_t step = 1;  // unsigned: a shape too large to exist may wrap; its numel() says so
  for (int i = shape.ndim - 1; i >= 0; --i) {
    strides[static_cast<std::size_t>(i)] = static_cast<std::int64_t>(step);
    step *= shape[i] > 0 ? static_cast<std::uint64_t>(shape[i]) : 1;
  }
}

namespace {

// DLPack's codes, which are part of its ABI.
constexpr int kDeviceCpu = 1;
constexpr int kDeviceCuda = 2;
constexpr int kDeviceCudaHost = 3;  // pinned host memory
constexpr int kDeviceCudaManaged = 13;
enum TypeCode : std::uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBfloat = 4, kComplex = 5, kBool = 6 };

std::optional<DType> to_dtype(const ForeignTensor& t) {
  if (t.type_lanes != 1) return std::nullopt;
  if (t.type_code == kInt && t.type_bits == 16) return DType::kInt16;
  if (t.type_code == kFloat && t.type_bits == 16) return DType::kFloat16;
  if (t.type_code == kBfloat && t.type_bits == 16) return DType::kBFloat16;
  if (t.type_code == kFloat && t.type_bits == 32) return DType::kFloat32;
  if (t.type_code == kFloat && t.type_bits == 64) return DType::kFloat64;
  if (t.type_code == kComplex && t.type_bits == 64) return DType::kComplex64;
  if (t.type_code == kComplex && t.type_bits == 128) return DType::kComplex128;
  return std::nullopt;
}

std::string name_of_type(const ForeignTensor& t) {
  const std::string bits = std::to_string(t.type_bits);
  const std::string lanes = t.type_lanes == 1 ? "" : "x" + std::to_string(t.type_lanes);
  switch (t.type_code) {
    case kInt: return "int" + bits + lanes;
    case kUInt: return "uint" + bits + lanes;
    case kFloat: return "float" + bits + lanes;
    case kBfloat: return "bfloat" + bits + lanes;
    case kComplex: return "complex" + bits + lanes;
    case kBool: return "bool" + lanes;
    default: return "DLPack type code " + std::to_string(t.type_code) + " of " + bits + " bits" + lanes;
  }
}

Device to_device(const ForeignTensor& t, const char* op, const char* argument) {
  switch (t.device_type) {
    case kDeviceCpu:
    case kDeviceCudaHost: return {};
    case kDeviceCuda:
    case kDeviceCudaManaged: return {DeviceType::kCuda, t.device_index};
    default:
      fail_type(op, "%s must be on the CPU or a CUDA device, got DLPack device type %d", argument, t.device_type);
  }
}

}  // namespace

Tensor from_foreign(const ForeignTensor& tensor, const char* op, const char* argument) {
  const Device device = to_device(tensor, op, argument);
  const std::optional<DType> dtype = to_dtype(tensor);
  if (!dtype) {
    fail_type(op, "%s must be int16, float32, float64, complex64, complex128 or, on a GPU, float16 or bfloat16, got %s",
              argument, name_of_type(tensor).c_str());
  }
  if (tensor.ndim < 0 || tensor.ndim > kMaxDims) {
    fail_argument(op, "%s must have at most %d dimensions, got %d", argument, kMaxDims, tensor.ndim);
  }
  Shape shape;
  shape.ndim = tensor.ndim;
  for (int i = 0; i < tensor.ndim; ++i) {
    if (tensor.shape[i] < 0) {
      fail_argument(op, "%s must have extents >= 0, got %lld in dimension %d", argument,
                    static_cast<long long>(tensor.shape[i]), i);
    }
    shape[i] = tensor.shape[i];
  }
  Tensor view(tensor.data, *dtype, shape, device);
  if (tensor.strides != nullptr) {
    for (int i = 0; i < tensor.ndim; ++i) view.strides[static_cast<std::size_t>(i)] = tensor.strides[i];
  }
  const std::size_t alignment = is_complex(*dtype) ? dtype_size(*dtype) / 2 : dtype_size(*dtype);
  const std::size_t beyond = reinterpret_cast<std::uintptr_t>(tensor.data) % alignment;
  if (beyond != 0) {
    fail_argument(op, "%s must be aligned to %zu bytes, got an address %zu bytes beyond that", argument, alignment,
                  beyond);
  }
  return view;
}

}  // namespace melisma
