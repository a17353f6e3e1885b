#include "tensors.h"

#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include <algorithm>
#include <cinttypes>
#include <string>

#include "melisma/error.h"
#include "melisma/runtime.h"

namespace melisma::torch_ext {
namespace {

using torch::headeronly::ScalarType;

[[noreturn]] void refuse(ErrorKind kind, const char* op, const std::string& rest) {
  throw Error(kind, std::string(op) + ": " + rest);
}

const char* name_of(ScalarType type) {
  switch (type) {
    case ScalarType::Byte: return "uint8";
    case ScalarType::Char: return "int8";
    case ScalarType::Int: return "int32";
    case ScalarType::Long: return "int64";
    case ScalarType::Bool: return "bool";
    case ScalarType::Half: return "float16";
    case ScalarType::BFloat16: return "bfloat16";
    case ScalarType::ComplexHalf: return "complex32";
    default: return torch::headeronly::toString(type);
  }
}

DType dtype_of(ScalarType type, const char* op, const char* argument) {
  switch (type) {
    case ScalarType::Short: return DType::kInt16;
    case ScalarType::Float: return DType::kFloat32;
    case ScalarType::Double: return DType::kFloat64;
    case ScalarType::ComplexFloat: return DType::kComplex64;
    case ScalarType::ComplexDouble: return DType::kComplex128;
    default:
      refuse(ErrorKind::kInvalidType, op,
             std::string(argument) + " must be int16, float32, float64, complex64 or complex128, got " + name_of(type));
  }
}

std::int32_t code_of(DType type) {
  switch (type) {
    case DType::kInt16: return aoti_torch_dtype_int16();
    case DType::kFloat32: return aoti_torch_dtype_float32();
    case DType::kFloat64: return aoti_torch_dtype_float64();
    case DType::kComplex64: return aoti_torch_dtype_complex64();
    case DType::kComplex128: return aoti_torch_dtype_complex128();
  }
  return -1;
}

// From here on results come from the library's pool: a block that malloc shares with the rest of the program costs page
// faults again and again, or comes back cold. Smaller ones are PyTorch's allocator's.
constexpr std::size_t kPooledResult = std::size_t{1} << 20;

}  // namespace

Tensor view(const StableTensor& tensor, const char* op, const char* argument) {
  if (!tensor.is_cpu()) {
    const bool meta = tensor.device().type() == torch::headeronly::DeviceType::Meta;
    refuse(ErrorKind::kInvalidType, op,
           std::string(argument) + " must be on the CPU as the input is, got " +
               (meta ? "a meta tensor" : "a tensor of another device"));
  }
  const std::int64_t ndim = tensor.dim();
  if (ndim > kMaxDims) {
    refuse(ErrorKind::kInvalidArgument, op,
           std::string(argument) + " must have at most " + std::to_string(kMaxDims) + " dimensions, got " +
               std::to_string(ndim));
  }
  Tensor result;
  result.data = tensor.data_ptr();
  result.dtype = dtype_of(tensor.scalar_type(), op, argument);
  result.shape.ndim = static_cast<int>(ndim);
  const auto sizes = tensor.sizes();
  const auto strides = tensor.strides();
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(ndim); ++axis) {
    result.shape.dims[axis] = sizes[axis];
    result.strides[axis] = strides[axis];
  }
  return result;
}

NewTensor new_tensor(const Shape& shape, DType dtype, bool swapped) {
  Tensor tensor(nullptr, dtype, shape);
  if (swapped && shape.ndim >= 2) {
    const std::size_t last = static_cast<std::size_t>(shape.ndim) - 1;
    tensor.strides[last] = std::max<std::int64_t>(shape[-2], 1);
    tensor.strides[last - 1] = 1;
  }
  const std::size_t bytes = static_cast<std::size_t>(shape.numel()) * dtype_size(dtype);
  const std::int32_t cpu = aoti_torch_device_type_cpu();
  AtenTensorHandle handle = nullptr;
  if (bytes < kPooledResult) {
    TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(shape.ndim, shape.dims.data(), tensor.strides.data(),
                                                    code_of(dtype), cpu, -1, &handle));
  } else {
    tensor.data = allocate_result(bytes);
    TORCH_ERROR_CODE_CHECK(torch_from_blob(
        tensor.data, shape.ndim, shape.dims.data(), tensor.strides.data(), 0, code_of(dtype), cpu, -1, &handle,
        aoti_torch_layout_strided(), nullptr, 0, [](void* data, void*) { release_result(data); }, nullptr));
  }
  StableTensor result(handle);
  tensor.data = result.data_ptr();
  return {result, tensor};
}

DType real_of(DType dtype) {
  return dtype == DType::kFloat64 || dtype == DType::kComplex128 ? DType::kFloat64 : DType::kFloat32;
}

DType complex_of(DType dtype) { return real_of(dtype) == DType::kFloat64 ? DType::kComplex128 : DType::kComplex64; }

PadMode pad_mode(const std::string& name, const char* op) {
  if (name == "constant") return PadMode::kConstant;
  if (name == "reflect") return PadMode::kReflect;
  if (name == "replicate") return PadMode::kReplicate;
  if (name == "circular") return PadMode::kCircular;
  refuse(ErrorKind::kInvalidArgument, op,
         "pad_mode must be one of ['circular', 'constant', 'reflect', 'replicate'], got '" + name + "'");
}

}  // namespace melisma::torch_ext
