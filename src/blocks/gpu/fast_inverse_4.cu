// Some lines of fast_inverse_tuning.h's table, so that the files compile side by side.
#include "blocks/gpu/fast_inverse_launch.h"
#include "runtime/cuda/runner.h"

namespace melisma::gpu {

MELISMA_FAST_INVERSE_INSTANTIATE(12, cuda::Runner)
MELISMA_FAST_INVERSE_INSTANTIATE(13, cuda::Runner)
MELISMA_FAST_INVERSE_INSTANTIATE(14, cuda::Runner)
MELISMA_FAST_INVERSE_INSTANTIATE(15, cuda::Runner)
MELISMA_FAST_INVERSE_INSTANTIATE(16, cuda::Runner)

}  // namespace melisma::gpu
