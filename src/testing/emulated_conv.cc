// The convolution's fast kernels in the emulator, compiled once for every test.
#include "blocks/gpu/conv/fast_backward.h"
#include "blocks/gpu/conv/fast_forward.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {

template void run_fast_conv<kSampleFloat32>(const ConvForwardJob&, ConvKernel, emulator::Runner&);
template void run_fast_conv<kSampleFloat16>(const ConvForwardJob&, ConvKernel, emulator::Runner&);
template void run_fast_conv<kSampleBFloat16>(const ConvForwardJob&, ConvKernel, emulator::Runner&);
template void run_fast_conv_gradient<kSampleFloat32>(const ConvBackwardJob&, ConvKernel, emulator::Runner&);
template void run_fast_conv_gradient<kSampleFloat16>(const ConvBackwardJob&, ConvKernel, emulator::Runner&);
template void run_fast_conv_gradient<kSampleBFloat16>(const ConvBackwardJob&, ConvKernel, emulator::Runner&);

}  // namespace melisma::gpu
