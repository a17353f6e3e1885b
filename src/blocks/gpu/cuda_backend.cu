// The entry of libmelisma_cuda.so. Each kernel family is compiled in its own file, beside this one.
#include "blocks/gpu/backend_table.h"
#include "runtime/cuda/runner.h"

namespace melisma::gpu {

extern template void run_generic_forward(const ForwardJob&, cuda::Runner&);
extern template void run_generic_inverse(const InverseJob&, cuda::Runner&);
extern template void run_generic_window(const WindowJob&, cuda::Runner&);
extern template void run_conv(const ConvForwardJob&, bool, cuda::Runner&);
extern template void run_conv(const ConvBackwardJob&, bool, cuda::Runner&);
extern template void run_conv(const ConvUpdateJob&, bool, cuda::Runner&);

}  // namespace melisma::gpu

extern "C" __attribute__((visibility("default"))) const melisma::gpu::Backend* melisma_cuda_backend() {
  static const melisma::gpu::Backend backend =
      melisma::gpu::BackendTable<melisma::cuda::Devices>::make(MELISMA_VERSION);
  return &backend;
}
