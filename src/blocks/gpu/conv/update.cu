#include "blocks/gpu/conv/update.h"
#include "runtime/cuda/runner.h"

template void melisma::gpu::run_conv(const melisma::gpu::ConvUpdateJob&, bool, melisma::cuda::Runner&);
