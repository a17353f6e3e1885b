#include "blocks/gpu/generic_forward.h"
#include "runtime/cuda/runner.h"

template void melisma::gpu::run_generic_forward(const melisma::gpu::ForwardJob&, melisma::cuda::Runner&);
