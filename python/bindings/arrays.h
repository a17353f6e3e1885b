// Arrays in and out of the C++ operators: NumPy's, and those on a device as DLPack capsules.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "melisma/tensor.h"

namespace melisma::python {

namespace nb = nanobind;

// A view of a NumPy array or of what a capsule holds; `array` keeps it alive. Errors name op and argument.
struct ArrayView {
  nb::ndarray<nb::ro> array;
  Tensor tensor;
};
ArrayView view(nb::handle object, const char* op, const char* argument);
ArrayView writable_view(nb::handle object, const char* op, const char* argument);

// A new array of the library's own memory, returned to its pool with the last reference. swapped: the last two axes lie
// in memory in the other order, as in the result of torch.stft.
struct NewArray {
  nb::object object;
  Tensor tensor;
};
NewArray new_array(const Shape& shape, DType dtype, bool swapped);

// Whether two arrays share an address.
bool overlap(const Tensor& a, const Tensor& b);

}  // namespace melisma::python
