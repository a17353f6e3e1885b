// From a job's parts to those that kernels take.
#pragma once

#include <cmath>
#include <cstdint>

#include "blocks/gpu/framing-kernel.h"
#include "blocks/gpu/job.h"

namespace melisma::gpu {

inline int sample_type(DType dtype) {
  switch (dtype) {
    case DType::kInt16: return kSampleInt16;
    case DType::kFloat16: return kSampleFloat16;
    case DType::kBFloat16: return kSampleBFloat16;
    case DType::kFloat32: return kSampleFloat32;
    case DType::kFloat64: return kSampleFloat64;
    case DType::kComplex64: return kSampleComplex64;
    case DType::kComplex128: return kSampleComplex128;
  }
  return kSampleFloat32;
}

inline AxesArgs axes_args(const Axes& axes) {
  static_assert(kMaxAxes == kMaxDims);
  AxesArgs result{};
  result.count = axes.count;
  for (int i = 0; i < axes.count; ++i) {
    result.size[i] = axes.size[i];
    result.stride[i] = axes.stride[i];
  }
  return result;
}

inline SignalArgs signal_args(const Signal& signal) {
  return {signal.data, signal.stride, axes_args(signal.items), sample_type(signal.dtype)};
}

inline GridArgs grid_args(const Grid& grid) {
  return {grid.data, grid.bin_stride, grid.frame_stride, axes_args(grid.items), sample_type(grid.dtype)};
}

inline FramingArgs framing_args(const Framing& framing) {
  FramingArgs result{};
  result.length = framing.length;
  result.n_fft = framing.n_fft;
  result.frames = framing.frames;
  result.hop = framing.hop;
  result.offset = framing.offset;
  result.pad = framing.pad;
  switch (framing.pad_mode) {
    case PadMode::kConstant: result.pad_mode = kPadConstant; break;
    case PadMode::kReflect: result.pad_mode = kPadReflect; break;
    case PadMode::kReplicate: result.pad_mode = kPadReplicate; break;
    case PadMode::kCircular: result.pad_mode = kPadCircular; break;
  }
  if (framing.fractional_hop > 0) {
    int exponent = 0;  // fractional_hop = fraction * 2^exponent, 1 <= hop < 1e15, so that 3 <= hop_shift <= 52
    const double fraction = std::frexp(framing.fractional_hop, &exponent);
    result.hop_mantissa = static_cast<std::uint64_t>(std::ldexp(fraction, 53));
    result.hop_shift = 53 - exponent;
  }
  return result;
}

}  // namespace melisma::gpu
