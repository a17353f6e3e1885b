#include "arrays.h"

#include <string>
#include <utility>

#include "melisma/error.h"
#include "melisma/runtime.h"

namespace melisma::python {
namespace {

DType dtype_of(nb::dlpack::dtype type, const char* op, const char* argument) {
  using Code = nb::dlpack::dtype_code;
  if (type.lanes == 1) {
    if (type.code == static_cast<std::uint8_t>(Code::Int) && type.bits == 16) return DType::kInt16;
    if (type.code == static_cast<std::uint8_t>(Code::Float) && type.bits == 32) return DType::kFloat32;
    if (type.code == static_cast<std::uint8_t>(Code::Float) && type.bits == 64) return DType::kFloat64;
    if (type.code == static_cast<std::uint8_t>(Code::Float) && type.bits == 16) return DType::kFloat16;
    if (type.code == static_cast<std::uint8_t>(Code::Bfloat) && type.bits == 16) return DType::kBFloat16;
    if (type.code == static_cast<std::uint8_t>(Code::Complex) && type.bits == 64) return DType::kComplex64;
    if (type.code == static_cast<std::uint8_t>(Code::Complex) && type.bits == 128) return DType::kComplex128;
  }
  const char* kind = type.code == static_cast<std::uint8_t>(Code::Int)       ? "int"
                     : type.code == static_cast<std::uint8_t>(Code::UInt)    ? "uint"
                     : type.code == static_cast<std::uint8_t>(Code::Float)   ? "float"
                     : type.code == static_cast<std::uint8_t>(Code::Complex) ? "complex"
                                                                             : "bool or other, bits ";
  throw Error(ErrorKind::kInvalidType, std::string(op) + ": " + argument +
                                           " must be int16, float32, float64, complex64 or complex128, got " + kind +
                                           std::to_string(type.bits));
}

nb::dlpack::dtype to_dlpack(DType type) {
  using Code = nb::dlpack::dtype_code;
  const Code code = type == DType::kInt16 ? Code::Int : is_complex(type) ? Code::Complex : Code::Float;
  return {static_cast<std::uint8_t>(code), static_cast<std::uint8_t>(8 * dtype_size(type)), 1};
}

ArrayView make_view(nb::ndarray<nb::ro> array, const char* op, const char* argument) {
  Tensor tensor;
  place_view(array, op, argument, &tensor);
  tensor.data = const_cast<void*>(array.data());
  tensor.dtype = dtype_of(array.dtype(), op, argument);
  return {std::move(array), tensor};
}

[[noreturn]] void refuse(nb::handle object, const char* op, const char* argument) {
  PyErr_Clear();  // a failed cast may leave its own
  std::string type = nb::str(object.type().attr("__name__")).c_str();
  if (nb::hasattr(object, "dtype")) type = std::string("dtype ") + nb::str(object.attr("dtype")).c_str();
  throw Error(ErrorKind::kInvalidType, std::string(op) + ": " + argument +
                                           " must be an array of native-endian int16, float32, float64, complex64 or "
                                           "complex128, got " +
                                           type);
}

}  // namespace

Device device_of(const nb::ndarray<nb::ro>& array, const char* op, const char* argument) {
  switch (array.device_type()) {
    case nb::device::cpu::value: return {};
    case nb::device::cuda::value:
    case nb::device::cuda_managed::value: return {DeviceType::kCuda, array.device_id()};
    default:
      throw Error(ErrorKind::kInvalidType, std::string(op) + ": " + argument +
                                               " must be on the CPU or a CUDA device, got DLPack's device type " +
                                               std::to_string(array.device_type()));
  }
}

void check_dimensions(std::size_t ndim, const char* op, const char* argument) {
  if (ndim <= static_cast<std::size_t>(kMaxDims)) return;
  throw Error(ErrorKind::kInvalidArgument, std::string(op) + ": " + argument + " must have at most " +
                                               std::to_string(kMaxDims) + " dimensions, got " + std::to_string(ndim));
}

ArrayView view(nb::handle object, const char* op, const char* argument) {
  nb::ndarray<nb::ro> array;
  if (!nb::try_cast(object, array, false)) refuse(object, op, argument);
  return make_view(std::move(array), op, argument);
}

ArrayView writable_view(nb::handle object, const char* op, const char* argument) {
  nb::ndarray<> array;
  if (!nb::try_cast(object, array, false)) {
    nb::ndarray<nb::ro> readable;
    if (nb::try_cast(object, readable, false)) {
      throw Error(ErrorKind::kInvalidArgument,
                  std::string(op) + ": " + argument + " must be writable, got a read-only array");
    }
    refuse(object, op, argument);
  }
  return make_view(nb::ndarray<nb::ro>(array), op, argument);
}

NewArray new_array(const Shape& shape, DType dtype, bool swapped) {
  const std::int64_t count = shape.numel();
  if (count > static_cast<std::int64_t>((std::uint64_t{1} << 62) / dtype_size(dtype))) {
    throw Error(ErrorKind::kOutOfMemory, "a result of " + std::to_string(count) + " elements does not fit in memory");
  }
  void* data = allocate_result(static_cast<std::size_t>(count) * dtype_size(dtype));
  nb::capsule owner(data, [](void* block) noexcept { release_result(block); });
  Tensor tensor(data, dtype, shape);
  if (swapped && shape.ndim >= 2) {
    const std::size_t last = static_cast<std::size_t>(shape.ndim) - 1;
    tensor.strides[last] = shape[-2];
    tensor.strides[last - 1] = 1;
  }
  std::size_t dims[kMaxDims];
  for (int axis = 0; axis < shape.ndim; ++axis) dims[axis] = static_cast<std::size_t>(shape[axis]);
  nb::ndarray<nb::numpy> array(data, static_cast<std::size_t>(shape.ndim), dims, owner, tensor.strides.data(),
                               to_dlpack(dtype));
  return {nb::cast(array, nb::rv_policy::reference), tensor};
}

}  // namespace melisma::python
