#include "blocks/gpu/generic_window.h"
#include "runtime/cuda/runner.h"

template void melisma::gpu::run_generic_window(const melisma::gpu::WindowJob&, melisma::cuda::Runner&);
