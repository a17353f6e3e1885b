// Signals, spectrograms and framing as kernels see them. Counterparts of job.h's structs; framing_args.h makes
// them on the host.
#pragma once

#include "runtime/gpu/dialect.h"

namespace melisma::gpu {

enum { kMaxAxes = 8 };

// What lies in memory; computed in is the kernel's own type.
enum SampleType {
  kSampleInt16,
  kSampleFloat16,
  kSampleBFloat16,
  kSampleFloat32,
  kSampleFloat64,
  kSampleComplex64,
  kSampleComplex128
};

enum PaddingMode { kPadConstant, kPadReflect, kPadReplicate, kPadCircular };

struct AxesArgs {
  std::int64_t size[kMaxAxes], stride[kMaxAxes];
  int count;
};

struct SignalArgs {
  MEL_GLOBAL(const void) data;
  std::int64_t stride;
  AxesArgs items;
  int type;
};

// A spectrogram, read or written.
struct GridArgs {
  MEL_GLOBAL(void) data;
  std::int64_t bin_stride, frame_stride;
  AxesArgs items;
  int type;
};

// hop_mantissa * 2^-hop_shift is the fractional hop, a float64; hop_mantissa 0: the hop is `hop`.
struct FramingArgs {
  std::int64_t length, n_fft, frames, hop, offset, pad;
  std::uint64_t hop_mantissa;
  int hop_shift;
  int pad_mode;
};

// Elements from a tensor's data to item `item`.
MEL_FN std::int64_t item_offset(MEL_ARGS(AxesArgs) axes, std::int64_t item) {
  std::int64_t offset = 0;
  for (int axis = axes.count - 1; axis > 0; --axis) {
    offset += item % axes.size[axis] * axes.stride[axis];
    item /= axes.size[axis];
  }
  return axes.count > 0 ? offset + item * axes.stride[0] : 0;
}

// --- where samples stand --------------------------------------------------------------------------------------------

// floor of float64(frame * hop), in integers: the product of the mantissa has up to 112 bits, is rounded to 53
// (nearest, ties to even) as float64 does it, and cut. Devices without float64 so give the same frames.
MEL_FN std::int64_t fractional_start(MEL_ARGS(FramingArgs) framing, std::int64_t frame) {
  const std::uint64_t mask = 0xFFFFFFFFu;
  const std::uint64_t a = static_cast<std::uint64_t>(frame), b = framing.hop_mantissa;
  const std::uint64_t low_product = (a & mask) * (b & mask);
  const std::uint64_t cross = (a >> 32) * (b & mask) + (low_product >> 32);
  const std::uint64_t middle = (a & mask) * (b >> 32) + (cross & mask);
  std::uint64_t high = (a >> 32) * (b >> 32) + (cross >> 32) + (middle >> 32);
  std::uint64_t low = (middle << 32) | (low_product & mask);
  int dropped = 0;
  bool rest = false, last = false;  // of the bits shifted out: any but the last one, the last one
  while (high != 0 || (low >> 53) != 0) {
    rest = rest || last;
    last = (low & 1) != 0;
    low = (low >> 1) | (high << 63);
    high >>= 1;
    ++dropped;
  }
  if (last && (rest || (low & 1) != 0)) ++low;
  const int shift = framing.hop_shift - dropped;
  return static_cast<std::int64_t>(shift >= 64 ? 0 : shift >= 0 ? low >> shift : low << -shift);
}

// The signal's index of the first sample of a frame.
MEL_FN std::int64_t frame_start(MEL_ARGS(FramingArgs) framing, std::int64_t frame) {
  return (framing.hop_mantissa != 0 ? fractional_start(framing, frame) : frame * framing.hop) - framing.offset;
}

// The sample that stands at index j, j < 0 and j >= length included; -1: a zero.
MEL_FN std::int64_t source_index(MEL_ARGS(FramingArgs) framing, std::int64_t j) {
  if (j >= 0 && j < framing.length) return j;
  const std::int64_t padded = framing.length + 2 * framing.pad;
  std::int64_t p = j + framing.pad;
  if (p < 0 || p >= padded) {
    switch (framing.pad_mode) {
      case kPadConstant: return -1;
      case kPadReflect: p = p < 0 ? -p : 2 * (padded - 1) - p; break;
      case kPadReplicate: p = p < 0 ? 0 : padded - 1; break;
      default: p = p < 0 ? p + padded : p - padded; break;
    }
  }
  p -= framing.pad;
  return p >= 0 && p < framing.length ? p : -1;
}

// --- values of any dtype --------------------------------------------------------------------------------------------

#if defined(__METAL_VERSION__) || defined(MELISMA_METAL_SHIM)  // the host refuses float64 tensors there
template <typename T>
MEL_FN T load_float64(MEL_GLOBAL(const void), std::int64_t) {
  return T(0);
}
template <typename T>
MEL_FN void store_float64(MEL_GLOBAL(void), std::int64_t, T) {}
#else
template <typename T>
MEL_FN T load_float64(MEL_GLOBAL(const void) data, std::int64_t at) {
  return static_cast<T>(MEL_GLOBAL_CAST(const double, data)[at]);
}
template <typename T>
MEL_FN void store_float64(MEL_GLOBAL(void) data, std::int64_t at, T value) {
  MEL_GLOBAL_CAST(double, data)[at] = static_cast<double>(value);
}
#endif

// The real number at element `at`.
template <typename T>
MEL_FN T load_real(MEL_GLOBAL(const void) data, int type, std::int64_t at) {
  switch (type) {
    case kSampleInt16: return static_cast<T>(MEL_GLOBAL_CAST(const std::int16_t, data)[at]);
    case kSampleFloat16: return static_cast<T>(mel_half_bits_to_float(MEL_GLOBAL_CAST(const std::uint16_t, data)[at]));
    case kSampleBFloat16:
      return static_cast<T>(mel_bfloat_bits_to_float(MEL_GLOBAL_CAST(const std::uint16_t, data)[at]));
    case kSampleFloat64: return load_float64<T>(data, at);
    default: return static_cast<T>(MEL_GLOBAL_CAST(const float, data)[at]);
  }
}

// The complex number at element `at`; real dtypes have no imaginary part.
template <typename T>
MEL_FN Complex<T> load_complex(MEL_GLOBAL(const void) data, int type, std::int64_t at) {
  if (type == kSampleComplex64) {
    const Vec2<float> v = mel_load2(MEL_GLOBAL_CAST(const float, data) + 2 * at);
    return Complex<T>{static_cast<T>(v.x), static_cast<T>(v.y)};
  }
  if (type == kSampleComplex128) return Complex<T>{load_float64<T>(data, 2 * at), load_float64<T>(data, 2 * at + 1)};
  return Complex<T>{load_real<T>(data, type, at), T(0)};
}

template <typename T>
MEL_FN void store_real(MEL_GLOBAL(void) data, int type, std::int64_t at, T value) {
  switch (type) {
    case kSampleFloat16:
      MEL_GLOBAL_CAST(std::uint16_t, data)[at] = mel_float_to_half_bits(static_cast<float>(value));
      break;
    case kSampleBFloat16:
      MEL_GLOBAL_CAST(std::uint16_t, data)[at] = mel_float_to_bfloat_bits(static_cast<float>(value));
      break;
    case kSampleFloat64: store_float64(data, at, value); break;
    default: MEL_GLOBAL_CAST(float, data)[at] = static_cast<float>(value); break;
  }
}

// type: complex64 or complex128.
template <typename T>
MEL_FN void store_complex(MEL_GLOBAL(void) data, int type, std::int64_t at, Complex<T> value) {
  if (type == kSampleComplex128) {
    store_float64(data, 2 * at, value.re);
    store_float64(data, 2 * at + 1, value.im);
  } else {
    mel_store2(MEL_GLOBAL_CAST(float, data) + 2 * at,
               Vec2<float>{static_cast<float>(value.re), static_cast<float>(value.im)});
  }
}

// --- samples --------------------------------------------------------------------------------------------------------

// The sample at `index`, 0 <= index < length, of the item that begins at `item_at`; 0 where index is -1.
template <typename T>
MEL_FN T load_sample(MEL_ARGS(SignalArgs) signal, std::int64_t item_at, std::int64_t index) {
  return index < 0 ? T(0) : load_real<T>(signal.data, signal.type, item_at + index * signal.stride);
}
template <typename T>
MEL_FN Complex<T> load_complex_sample(MEL_ARGS(SignalArgs) signal, std::int64_t item_at, std::int64_t index) {
  if (index < 0) return Complex<T>{T(0), T(0)};
  return load_complex<T>(signal.data, signal.type, item_at + index * signal.stride);
}

}  // namespace melisma::gpu
