// Some lines of fast_inverse_tuning.h's table, so that the files compile side by side.
#include "blocks/gpu/fast_inverse_launch.h"
#include "runtime/cuda/runner.h"

namespace melisma::gpu {

MELISMA_FAST_INVERSE_INSTANTIATE(8, cuda::Runner)
MELISMA_FAST_INVERSE_INSTANTIATE(9, cuda::Runner)
MELISMA_FAST_INVERSE_INSTANTIATE(10, cuda::Runner)
MELISMA_FAST_INVERSE_INSTANTIATE(11, cuda::Runner)

}  // namespace melisma::gpu
