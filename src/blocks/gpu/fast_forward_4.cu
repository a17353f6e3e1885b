// Some lines of fast_forward_tuning.h's table, so that the files compile side by side.
#include "blocks/gpu/fast_forward_launch.h"
#include "runtime/cuda/runner.h"

namespace melisma::gpu {

MELISMA_FAST_FORWARD_INSTANTIATE(18, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(19, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(20, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(21, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(22, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(23, cuda::Runner)

}  // namespace melisma::gpu
