#include <string>

#include "runtime/check.h"

namespace melisma {
namespace {

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (int axis = 0; axis < shape.ndim; ++axis) text += (axis > 0 ? ", " : "") + std::to_string(shape[axis]);
  return text + "]";
}

}  // namespace

void check_result(const char* op, const Tensor& out, const Shape& shape, DType dtype) {
  if (out.dtype != dtype) fail_type(op, "out must be %s, got %s", dtype_name(dtype), dtype_name(out.dtype));
  if (out.shape != shape) {
    fail_argument(op, "out must have the shape %s, got %s", to_string(shape).c_str(), to_string(out.shape).c_str());
  }
}

}  // namespace melisma
