// Some lines of fast_gradient_tuning.h's table, so that the files compile side by side.
#include "blocks/gpu/fast_gradient_launch.h"
#include "runtime/cuda/runner.h"

namespace melisma::gpu {

MELISMA_FAST_GRADIENT_INSTANTIATE(13, cuda::Runner)
MELISMA_FAST_GRADIENT_INSTANTIATE(14, cuda::Runner)
MELISMA_FAST_GRADIENT_INSTANTIATE(15, cuda::Runner)
MELISMA_FAST_GRADIENT_INSTANTIATE(16, cuda::Runner)
MELISMA_FAST_GRADIENT_INSTANTIATE(17, cuda::Runner)

}  // namespace melisma::gpu
