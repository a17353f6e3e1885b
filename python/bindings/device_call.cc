#include "device_call.h"

#include <cstdint>

namespace melisma::python {

DeviceCall::DeviceCall(nb::handle owner) : owner_(owner) {
  if (!on_device()) return;
  queue_.stream = reinterpret_cast<void*>(nb::cast<std::uintptr_t>(owner.attr("stream")));
  queue_.context = this;
  queue_.workspace = [](void* context, std::size_t bytes) -> void* {
    const nb::gil_scoped_acquire locked;
    const nb::object address = static_cast<DeviceCall*>(context)->owner_.attr("workspace")(bytes);
    return reinterpret_cast<void*>(nb::cast<std::uintptr_t>(address));
  };
}

nb::object DeviceCall::empty(const Shape& shape, DType dtype, bool swapped) const {
  nb::list sizes;
  for (int axis = 0; axis < shape.ndim; ++axis) sizes.append(shape[axis]);
  return owner_.attr("empty")(nb::tuple(sizes), dtype_name(dtype), swapped);
}

ArrayView DeviceCall::view(nb::handle array, const char* op, const char* argument) const {
  return python::view(owner_.attr("capsule")(array), op, argument);
}

}  // namespace melisma::python
