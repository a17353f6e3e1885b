// Some lines of fast_inverse_tuning.h's table, so that the files compile side by side.
#include "blocks/gpu/fast_inverse_launch.h"
#include "runtime/cuda/runner.h"

namespace melisma::gpu {

MELISMA_FAST_INVERSE_INSTANTIATE(0, cuda::Runner)
MELISMA_FAST_INVERSE_INSTANTIATE(1, cuda::Runner)
MELISMA_FAST_INVERSE_INSTANTIATE(2, cuda::Runner)
MELISMA_FAST_INVERSE_INSTANTIATE(3, cuda::Runner)

}  // namespace melisma::gpu
