#include "blocks/gpu/conv/fast_backward.h"
#include "runtime/cuda/runner.h"

template void melisma::gpu::run_fast_conv_gradient<melisma::gpu::kSampleFloat32>(const melisma::gpu::ConvBackwardJob&,
                                                                                 melisma::gpu::ConvKernel,
                                                                                 melisma::cuda::Runner&);
