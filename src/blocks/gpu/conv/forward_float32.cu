#include "blocks/gpu/conv/fast_forward.h"
#include "runtime/cuda/runner.h"

template void melisma::gpu::run_fast_conv<melisma::gpu::kSampleFloat32>(const melisma::gpu::ConvForwardJob&,
                                                                        melisma::gpu::ConvKernel,
                                                                        melisma::cuda::Runner&);
