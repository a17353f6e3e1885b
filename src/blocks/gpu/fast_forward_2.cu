// Some lines of fast_forward_tuning.h's table, so that the files compile side by side.
#include "blocks/gpu/fast_forward_launch.h"
#include "runtime/cuda/runner.h"

namespace melisma::gpu {

MELISMA_FAST_FORWARD_INSTANTIATE(6, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(7, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(8, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(9, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(10, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(11, cuda::Runner)

}  // namespace melisma::gpu
