// Some lines of fast_forward_tuning.h's table, so that the files compile side by side.
#include "blocks/gpu/fast_forward_launch.h"
#include "runtime/cuda/runner.h"

namespace melisma::gpu {

MELISMA_FAST_FORWARD_INSTANTIATE(12, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(13, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(14, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(15, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(16, cuda::Runner)
MELISMA_FAST_FORWARD_INSTANTIATE(17, cuda::Runner)

}  // namespace melisma::gpu
