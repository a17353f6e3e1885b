// The fast inverse kernels in the emulator, compiled once for every test.
#include "blocks/gpu/fast_inverse_launch.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {

#define MELISMA_EMULATED(index, ...) MELISMA_FAST_INVERSE_INSTANTIATE(index, emulator::Runner)
MELISMA_FAST_INVERSE_VARIANTS(MELISMA_EMULATED)

}  // namespace melisma::gpu
