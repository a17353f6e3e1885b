// Raising errors: one call that names operator, argument, limit and value.
#pragma once

#include "melisma/error.h"
#include "melisma/tensor.h"

namespace melisma {

// "op: " is put before the formatted message.
[[noreturn, gnu::format(printf, 2, 3)]] void fail_argument(const char* op, const char* format, ...);
[[noreturn, gnu::format(printf, 2, 3)]] void fail_type(const char* op, const char* format, ...);

// A result tensor must have exactly this shape and dtype.
void check_result(const char* op, const Tensor& out, const Shape& shape, DType dtype);

}  // namespace melisma
