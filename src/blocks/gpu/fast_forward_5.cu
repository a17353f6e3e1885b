// Some lines of fast_forward_tuning.h's table, so that the files compile side by side.
#include "blocks/gpu/fast_forward_launch.h"
#include "runtime/cuda/runner.h"

namespace melisma::gpu {

MELISMA_FAST_FORWARD_INSTANTIATE(24, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(25, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(26, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(27, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(28, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(29, cuda::Runner)

}  // namespace melisma::gpu
