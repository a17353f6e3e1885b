// The kernels for any strides and types.
#include "blocks/gpu/conv/backward.h"
#include "blocks/gpu/conv/forward.h"
#include "runtime/cuda/runner.h"

template void melisma::gpu::run_conv(const melisma::gpu::ConvForwardJob&, bool, melisma::cuda::Runner&);
template void melisma::gpu::run_conv(const melisma::gpu::ConvBackwardJob&, bool, melisma::cuda::Runner&);
