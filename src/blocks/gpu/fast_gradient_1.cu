// Some lines of fast_gradient_tuning.h's table, so that the files compile side by side.
#include "blocks/gpu/fast_gradient_launch.h"
#include "runtime/cuda/runner.h"

namespace melisma::gpu {

MELISMA_FAST_GRADIENT_INSTANTIATE(0, cuda::Runner)
MELISMA_FAST_GRADIENT_INSTANTIATE(1, cuda::Runner)
MELISMA_FAST_GRADIENT_INSTANTIATE(2, cuda::Runner)
MELISMA_FAST_GRADIENT_INSTANTIATE(3, cuda::Runner)

}  // namespace melisma::gpu
