// The fast gradient kernels in the emulator, compiled once for every test.
#include "blocks/gpu/fast_gradient_launch.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {

#define MELISMA_EMULATED(index, ...) MELISMA_FAST_GRADIENT_INSTANTIATE(index, emulator::Runner)
MELISMA_FAST_GRADIENT_VARIANTS(MELISMA_EMULATED)

}  // namespace melisma::gpu
