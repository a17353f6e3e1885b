#include "tensors.h"

#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#ifndef _WIN32
#include <dlfcn.h>
#endif

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
    case ScalarType::ComplexHalf: return "complex32";
    default: return torch::headeronly::toString(type);
  }
}

DType dtype_of(ScalarType type, const char* op, const char* argument) {
  switch (type) {
    case ScalarType::Short: return DType::kInt16;
    case ScalarType::Float: return DType::kFloat32;
    case ScalarType::Double: return DType::kFloat64;
    case ScalarType::Half: return DType::kFloat16;
    case ScalarType::BFloat16: return DType::kBFloat16;
    case ScalarType::ComplexFloat: return DType::kComplex64;
    case ScalarType::ComplexDouble: return DType::kComplex128;
    default:
      refuse(ErrorKind::kInvalidType, op,
             std::string(argument) + " must be int16, float32, float64, complex64 or complex128, got " + name_of(type));
  }
}

DType float_of(ScalarType type, const char* op, const char* argument) {
  switch (type) {
    case ScalarType::Float: return DType::kFloat32;
    case ScalarType::Double: return DType::kFloat64;
    case ScalarType::Half: return DType::kFloat16;
    case ScalarType::BFloat16: return DType::kBFloat16;
    default:
      refuse(ErrorKind::kInvalidType, op,
             std::string(argument) + " must be float16, bfloat16, float32 or float64, got " + name_of(type));
  }
}

std::int32_t code_of(DType type) {
  switch (type) {
    case DType::kInt16: return aoti_torch_dtype_int16();
    case DType::kFloat16: return aoti_torch_dtype_float16();
    case DType::kBFloat16: return aoti_torch_dtype_bfloat16();
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

Device device_of(const StableTensor& tensor, const char* op, const char* argument) {
  static const std::int32_t cpu = aoti_torch_device_type_cpu(), cuda = aoti_torch_device_type_cuda();
  std::int32_t type = 0, index = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(tensor.get(), &type));
  if (type == cpu) return {};
  if (type != cuda) {
    const bool meta = tensor.device().type() == torch::headeronly::DeviceType::Meta;
    refuse(ErrorKind::kInvalidType, op,
           std::string(argument) + " must be on the CPU or a CUDA device, got a tensor on " +
               (meta ? "meta" : "another device"));
  }
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_index(tensor.get(), &index));
  return {DeviceType::kCuda, index};
}

// Memory, device, shape and strides of a view.
template <class View>
void describe(const StableTensor& tensor, const char* op, const char* argument, View& result) {
  result.device = device_of(tensor, op, argument);
  const std::int64_t ndim = tensor.dim();
  if (ndim > kMaxDims) {
    refuse(ErrorKind::kInvalidArgument, op,
           std::string(argument) + " must have at most " + std::to_string(kMaxDims) + " dimensions, got " +
               std::to_string(ndim));
  }
  result.data = static_cast<decltype(result.data)>(tensor.data_ptr());
  result.shape.ndim = static_cast<int>(ndim);
  const auto sizes = tensor.sizes();
  const auto strides = tensor.strides();
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(ndim); ++axis) {
    result.shape.dims[axis] = sizes[axis];
    result.strides[axis] = strides[axis];
  }
  // PyTorch's derivatives may hand over a tensor of zeros that has no memory.
  if (result.data == nullptr && result.shape.numel() != 0) {
    refuse(ErrorKind::kInvalidArgument, op, std::string(argument) + " must have memory, got a tensor without");
  }
}

AtenTensorHandle empty_on_cuda(int ndim, const std::int64_t* sizes, const std::int64_t* strides, std::int32_t dtype,
                               std::size_t bytes, int index) {
  static const std::int32_t cuda = aoti_torch_device_type_cuda();
  AtenTensorHandle handle = nullptr;
  if (aoti_torch_empty_strided(ndim, sizes, strides, dtype, cuda, index, &handle) != TORCH_SUCCESS) {
    // The interface keeps PyTorch's own exception to itself; _library.py raises it again from these words.
    throw Error(ErrorKind::kOutOfMemory, "melisma: PyTorch's allocator has no " + std::to_string(bytes) +
                                             " bytes on cuda:" + std::to_string(index));
  }
  return handle;
}

// libtorch_cpu, to which this module is linked, lacks it in the CPU builds of PyTorch, and has it in libtorch_cuda in
// the others: looked for in what the process has loaded already.
using CurrentStream = AOTITorchError (*)(std::int32_t device_index, void** stream);
CurrentStream find_current_stream() {
#ifdef _WIN32
  return nullptr;
#else
  void* library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
  void* found = dlsym(library != nullptr ? library : RTLD_DEFAULT, "aoti_torch_get_current_cuda_stream");
  return reinterpret_cast<CurrentStream>(found);
#endif
}

void* current_stream(int index) {
  static const CurrentStream get = find_current_stream();
  if (get == nullptr) throw Error(ErrorKind::kUnavailable, "melisma: this PyTorch does not tell its CUDA streams");
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(get(index, &stream));
  return stream;
}

}  // namespace

Tensor view(const StableTensor& tensor, const char* op, const char* argument) {
  Tensor result;
  result.dtype = dtype_of(tensor.scalar_type(), op, argument);
  describe(tensor, op, argument, result);
  return result;
}

Tensor float_view(const StableTensor& tensor, const char* op, const char* argument) {
  Tensor result;
  result.dtype = float_of(tensor.scalar_type(), op, argument);
  describe(tensor, op, argument, result);
  return result;
}

IndexTensor index_view(const StableTensor& tensor, const char* op, const char* argument) {
  IndexTensor result;
  const ScalarType type = tensor.scalar_type();
  if (type != ScalarType::Int && type != ScalarType::Long) {
    refuse(ErrorKind::kInvalidType, op, std::string(argument) + " must be int32 or int64, got " + name_of(type));
  }
  result.is_int64 = type == ScalarType::Long;
  describe(tensor, op, argument, result);
  return result;
}

FlagTensor flag_view(const StableTensor& tensor, const char* op, const char* argument) {
  const ScalarType type = tensor.scalar_type();
  if (type != ScalarType::Bool && type != ScalarType::Byte) {
    refuse(ErrorKind::kInvalidType, op, std::string(argument) + " must be bool or uint8, got " + name_of(type));
  }
  FlagTensor result;
  describe(tensor, op, argument, result);
  return result;
}

NewTensor new_tensor(const Shape& shape, DType dtype, bool swapped, Device device) {
  Tensor tensor(nullptr, dtype, shape, device);
  if (swapped && shape.ndim >= 2) {
    const std::size_t last = static_cast<std::size_t>(shape.ndim) - 1;
    tensor.strides[last] = std::max<std::int64_t>(shape[-2], 1);
    tensor.strides[last - 1] = 1;
  }
  const std::size_t bytes = static_cast<std::size_t>(shape.numel()) * dtype_size(dtype);
  AtenTensorHandle handle = nullptr;
  if (device.type == DeviceType::kCuda) {
    handle = empty_on_cuda(shape.ndim, shape.dims.data(), tensor.strides.data(), code_of(dtype), bytes, device.index);
  } else if (bytes < kPooledResult) {
    TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(shape.ndim, shape.dims.data(), tensor.strides.data(),
                                                    code_of(dtype), aoti_torch_device_type_cpu(), -1, &handle));
  } else {
    tensor.data = allocate_result(bytes);
    TORCH_ERROR_CODE_CHECK(torch_from_blob(
        tensor.data, shape.ndim, shape.dims.data(), tensor.strides.data(), 0, code_of(dtype),
        aoti_torch_device_type_cpu(), -1, &handle, aoti_torch_layout_strided(), nullptr, 0,
        [](void* data, void*) { release_result(data); }, nullptr));
  }
  StableTensor result(handle);
  tensor.data = result.data_ptr();
  return {result, tensor};
}

CallQueue::CallQueue(const Tensor& tensor) : device_(tensor.device) {
  if (device_.type != DeviceType::kCuda) return;
  queue_.stream = current_stream(device_.index);
  queue_.context = this;
  queue_.workspace = [](void* context, std::size_t bytes) -> void* {
    CallQueue& self = *static_cast<CallQueue*>(context);
    const std::int64_t size = static_cast<std::int64_t>(bytes), one = 1;
    self.workspace_.emplace_back(empty_on_cuda(1, &size, &one, aoti_torch_dtype_uint8(), bytes, self.device_.index));
    return self.workspace_.back().data_ptr();
  };
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
