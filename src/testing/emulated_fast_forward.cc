// The fast forward kernels in the emulator, compiled once for every test.
#include "blocks/gpu/fast_forward_launch.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {

#define MELISMA_EMULATED(index, ...) MELISMA_FAST_FORWARD_INSTANTIATE(index, emulator::Runner)
MELISMA_FAST_FORWARD_VARIANTS(MELISMA_EMULATED)

}  // namespace melisma::gpu
