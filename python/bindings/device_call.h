// Calls on arrays of a device, whose library gives stream, results and working memory.
#pragma once

#include "arrays.h"
#include "melisma/queue.h"

namespace melisma::python {

// `owner` is one of melisma._device's, made for this call: `stream`, `empty(shape, dtype, swapped)`, `capsule(array)`,
// `workspace(bytes)`. With None the call is the CPU's and none of this is asked for.
class DeviceCall {
 public:
  explicit DeviceCall(nb::handle owner);
  DeviceCall(const DeviceCall&) = delete;
  DeviceCall& operator=(const DeviceCall&) = delete;

  bool on_device() const { return !owner_.is_none(); }
  nb::object empty(const Shape& shape, DType dtype, bool swapped) const;
  ArrayView view(nb::handle array, const char* op, const char* argument) const;
  const Queue& queue() const { return queue_; }

 private:
  nb::handle owner_;
  Queue queue_;
};

}  // namespace melisma::python
