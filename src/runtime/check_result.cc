#include <string>

#include "runtime/check.h"

namespace melisma {

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (int axis = 0; axis < shape.ndim; ++axis) text += (axis > 0 ? ", " : "") + std::to_string(shape[axis]);
  return text + "]";
}

void check_result(const char* op, const Tensor& out, const Shape& shape, DType dtype, const char* argument) {
  if (out.dtype != dtype) fail_type(op, "%s must be %s, got %s", argument, dtype_name(dtype), dtype_name(out.dtype));
  if (out.shape != shape) {
    fail_argument(op, "%s must have the shape %s, got %s", argument, to_string(shape).c_str(),
                  to_string(out.shape).c_str());
  }
}

void check_real_result(const char* op, const Tensor& out, const Shape& shape, DType dtype, const char* argument) {
  const bool narrow = out.device.type != DeviceType::kCpu && dtype == DType::kFloat32 && is_half(out.dtype);
  check_result(op, out, shape, narrow ? out.dtype : dtype, argument);
}

std::string to_string(Device device) {
  switch (device.type) {
    case DeviceType::kCpu: return "cpu";
    case DeviceType::kCuda: return "cuda:" + std::to_string(device.index);
    case DeviceType::kEmulator: return "emulator:" + std::to_string(device.index);
  }
  return "unknown";
}

void check_on_cpu(const char* op, const Tensor& tensor, const char* argument) {
  if (tensor.device.type == DeviceType::kCpu) return;
  fail_type(op, "%s must be on the CPU, got %s", argument, to_string(tensor.device).c_str());
}

Device check_devices(const char* op, std::initializer_list<Argument> arguments) {
  const Argument& first = *arguments.begin();
  for (const Argument& argument : arguments) {
    if (argument.tensor == nullptr) continue;
    if (argument.tensor->device != first.tensor->device) {
      fail_type(op, "%s must be on the %s's device %s, got %s", argument.name, first.name,
                to_string(first.tensor->device).c_str(), to_string(argument.tensor->device).c_str());
    }
    if (first.tensor->device.type == DeviceType::kCpu && is_half(argument.tensor->dtype)) {
      fail_type(op, "%s must be float32 or wider on the CPU, got %s", argument.name,
                dtype_name(argument.tensor->dtype));
    }
  }
  return first.tensor->device;
}

}  // namespace melisma
