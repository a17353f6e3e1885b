// Some lines of fast_gradient_tuning.h's table, so that the files compile side by side.
#include "blocks/gpu/fast_gradient_launch.h"
#include "runtime/cuda/runner.h"

namespace melisma::gpu {

MELISMA_FAST_GRADIENT_INSTANTIATE(4, cuda::Runner)
MELISMA_FAST_GRADIENT_INSTANTIATE(5, cuda::Runner)
MELISMA_FAST_GRADIENT_INSTANTIATE(6, cuda::Runner)
MELISMA_FAST_GRADIENT_INSTANTIATE(7, cuda::Runner)
MELISMA_FAST_GRADIENT_INSTANTIATE(8, cuda::Runner)

}  // namespace melisma::gpu
