// Arrays in and out of the C++ operators: NumPy's, and those on a device as DLPack capsules.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "../overlap.h"
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

// Device, shape and strides of a view (a Tensor or an IndexTensor) of the array. Errors name op and argument.
Device device_of(const nb::ndarray<nb::ro>& array, const char* op, const char* argument);
void check_dimensions(std::size_t ndim, const char* op, const char* argument);
template <class View>
void place_view(const nb::ndarray<nb::ro>& array, const char* op, const char* argument, View* to) {
  check_dimensions(array.ndim(), op, argument);
  to->device = device_of(array, op, argument);
  to->shape.ndim = static_cast<int>(array.ndim());
  for (std::size_t axis = 0; axis < array.ndim(); ++axis) {
    to->shape.dims[axis] = static_cast<std::int64_t>(array.shape(axis));
    to->strides[axis] = array.stride(axis);
  }
}

// A new array of the library's own memory, returned to its pool with the last reference. swapped: the last two axes lie
// in memory in the other order, as in the result of torch.stft.
struct NewArray {
  nb::object object;
  Tensor tensor;
};
NewArray new_array(const Shape& shape, DType dtype, bool swapped);

}  // namespace melisma::python
