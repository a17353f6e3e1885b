// Which kernels take a call on a GPU.
#pragma once

#include <cstdint>

namespace melisma::gpu {

enum class Path : std::uint8_t {
  kAuto,     // the fast kernel of its size where it takes the call, else the generic one
  kFast,     // an error where it does not
  kGeneric,  // for tests and comparisons
};

}  // namespace melisma::gpu
