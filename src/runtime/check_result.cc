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

void check_result(const char* op, const Tensor& out, const Shape& shape, DType dtype, const char* argument) {
  if (out.dtype != dtype) fail_type(op, "%s must be %s, got %s", argument, dtype_name(dtype), dtype_name(out.dtype));
  if (out.shape != shape) {
    fail_argument(op, "%s must have the shape %s, got %s", argument, to_string(shape).c_str(),
                  to_string(out.shape).c_str());
  }
}

}  // namespace melisma
