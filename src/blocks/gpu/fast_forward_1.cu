// Some lines of fast_forward_tuning.h's table, so that the files compile side by side.
#include "blocks/gpu/fast_forward_launch.h"
#include "runtime/cuda/runner.h"

namespace melisma::gpu {

MELISMA_FAST_FORWARD_INSTANTIATE(0, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(1, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(2, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(3, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(4, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(5, cuda::Runner)

}  // namespace melisma::gpu
