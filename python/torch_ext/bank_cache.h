// Dense filter banks as tensors, in the library's banded form.
#pragma once

#include <memory>

#include "melisma/filter_bank.h"
#include "melisma/tensor.h"

namespace melisma::torch_ext {

// The bank of a dense [bins, bands] tensor. The last few are kept and recognised by their values, never by address or
// version: comparing costs less than a tenth of the transform, and no change of a buffer can go unnoticed.
std::shared_ptr<const FilterBank> cached_bank(const Tensor& dense);

}  // namespace melisma::torch_ext
