// The public operators on emulated GPU kernels: tensors whose device is kEmulator run there, their memory being the
// host's.
#pragma once

#include "melisma/tensor.h"
#include "runtime/emulator/runner.h"

namespace melisma::testing {

inline constexpr Device kEmulated{DeviceType::kEmulator, 0};

inline Tensor emulated(Tensor tensor) {
  tensor.device = kEmulated;
  return tensor;
}

// How the emulator runs what comes next.
emulator::Options& emulator_options();

}  // namespace melisma::testing
