// The causal convolution in melisma._core.
#pragma once

#include <nanobind/nanobind.h>

namespace melisma::python {

void bind_convolution(nanobind::module_& m);

}  // namespace melisma::python
