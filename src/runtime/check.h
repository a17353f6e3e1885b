// Raising errors: one call that names operator, argument, limit and value.
#pragma once

#include "melisma/error.h"
#include "melisma/tensor.h"

namespace melisma {

// "op: " is put before the formatted message.
[[noreturn, gnu::format(printf, 2, 3)]] void fail_argument(const char* op, const char* format, ...);
[[noreturn, gnu::format(printf, 2, 3)]] void fail_type(const char* op, const char* format, ...);

// A tensor whose shape and dtype the call determines must have exactly these; `argument` is its name.
void check_result(const char* op, const Tensor& out, const Shape& shape, DType dtype, const char* argument = "out");

}  // namespace melisma
