// Some lines of fast_gradient_tuning.h's table, so that the files compile side by side.
#include "blocks/gpu/fast_gradient_launch.h"
#include "runtime/cuda/runner.h"

namespace melisma::gpu {

MELISMA_FAST_GRADIENT_INSTANTIATE(9, cuda::Runner)
MELISMA_FAST_GRADIENT_INSTANTIATE(10, cuda::Runner)
MELISMA_FAST_GRADIENT_INSTANTIATE(11, cuda::Runner)
MELISMA_FAST_GRADIENT_INSTANTIATE(12, cuda::Runner)

}  // namespace melisma::gpu
