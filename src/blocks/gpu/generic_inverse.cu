#include "blocks/gpu/generic_inverse.h"
#include "runtime/cuda/runner.h"

template void melisma::gpu::run_generic_inverse(const melisma::gpu::InverseJob&, melisma::cuda::Runner&);
