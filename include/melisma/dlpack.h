// Tensor views of DLPack tensors. The only header that needs dlpack/dlpack.h.
#pragma once

#include <dlpack/dlpack.h>

#include "melisma/tensor.h"

namespace melisma {

// As from_foreign: op and argument name the tensor in the text of an Error.
inline Tensor from_dlpack(const DLTensor& t, const char* op, const char* argument) {
  char* data = t.data == nullptr ? nullptr : static_cast<char*>(t.data) + t.byte_offset;
  return from_foreign({data, static_cast<int>(t.device.device_type), t.dtype.code, t.dtype.bits, t.dtype.lanes, t.ndim,
                       t.shape, t.strides, t.device.device_id},
                      op, argument);
}

}  // namespace melisma
