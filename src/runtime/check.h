// Raising errors: one call that names operator, argument, limit and value.
#pragma once

#include <initializer_list>
#include <string>

#include "melisma/error.h"
#include "melisma/tensor.h"

namespace melisma {

// "op: " is put before the formatted message.
[[noreturn, gnu::format(printf, 2, 3)]] void fail_argument(const char* op, const char* format, ...);
[[noreturn, gnu::format(printf, 2, 3)]] void fail_type(const char* op, const char* format, ...);

// A tensor whose shape and dtype the call determines must have exactly these; `argument` is its name.
void check_result(const char* op, const Tensor& out, const Shape& shape, DType dtype, const char* argument = "out");

// A float32 or float64 result that on a GPU may also be float16 or bfloat16 in place of float32.
void check_real_result(const char* op, const Tensor& out, const Shape& shape, DType dtype,
                       const char* argument = "out");

std::string to_string(Device device);       // "cpu", "cuda:0"
std::string to_string(const Shape& shape);  // "[2, 3]"

struct Argument {
  const char* name;
  const Tensor* tensor;  // null: not given
};
void check_on_cpu(const char* op, const Tensor& tensor, const char* argument);
// All tensors must be on the device of the first; on the CPU none may be float16 or bfloat16.
Device check_devices(const char* op, std::initializer_list<Argument> arguments);

}  // namespace melisma
