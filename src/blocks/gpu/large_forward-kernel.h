// A forward job around a transform in device memory (device_fft-kernel.h): frames in, bins or bands out. A chunk is
// frames first .. first + count - 1 of all items' frames, one item after the other.
#pragma once

#include "blocks/gpu/generic_forward-kernel.h"

namespace melisma::gpu {

template <typename T>
struct LargeForwardArgs {
  ForwardArgs<T> forward;
  MEL_GLOBAL(Complex<T>) values;     // [count][transform]
  MEL_GLOBAL(T) powers;              // of bands: [count][bins]
  std::int64_t first, count, tiles;  // tiles: of kTile values, a frame's
};

enum { kLargeTile = 1024 };

template <typename T>
struct LargeLoad {
  using Args = LargeForwardArgs<T>;
  static constexpr int kThreads = 256;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    const int n = args.forward.transform.fft.n;
    for (std::int64_t tile = t.block(); tile < args.count * args.tiles; tile += t.blocks()) {
      const std::int64_t row = tile / args.tiles, frame = args.first + row;
      const std::int64_t item = frame / args.forward.framing.frames;
      const std::int64_t start = frame_start(args.forward.framing, frame - item * args.forward.framing.frames);
      const std::int64_t item_at = item_offset(args.forward.x.items, item);
      const int begin = static_cast<int>(tile - row * args.tiles) * kLargeTile;
      for (int j = begin + t.thread(); j < begin + kLargeTile && j < n; j += kThreads) {
        args.values[row * args.forward.transform.fft.transform + j] = frame_value(
            args.forward.x, args.forward.framing, args.forward.transform, args.forward.reciprocals, item_at, start, j);
      }
    }
  }
};

// kForwardBands: powers to args.powers, the rest is LargeBands'.
template <typename T, int kEpilogue>
struct LargeBins {
  using Args = LargeForwardArgs<T>;
  static constexpr int kThreads = 256;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    const int bins = args.forward.bins;
    for (std::int64_t tile = t.block(); tile < args.count * args.tiles; tile += t.blocks()) {
      const std::int64_t row = tile / args.tiles, frame = args.first + row;
      const std::int64_t item = frame / args.forward.framing.frames;
      const std::int64_t at = item_offset(args.forward.out.items, item) +
                              (frame - item * args.forward.framing.frames) * args.forward.out.frame_stride;
      MEL_GLOBAL(const Complex<T>) z = args.values + row * args.forward.transform.fft.transform;
      const int begin = static_cast<int>(tile - row * args.tiles) * kLargeTile;
      for (int k = begin + t.thread(); k < begin + kLargeTile && k < bins; k += kThreads) {
        const Complex<T> value = result_bin<T>(args.forward.transform, args.forward.real_bins, z, k);
        const std::int64_t to = at + k * args.forward.out.bin_stride;
        if (kEpilogue == kForwardSpectrum) {
          store_complex(args.forward.out.data, args.forward.out.type, to, value);
        } else if (kEpilogue == kForwardPower) {
          store_real(args.forward.out.data, args.forward.out.type, to, power_of(args.forward.power, value));
        } else {
          args.powers[row * bins + k] = power_of(args.forward.power, value);
        }
      }
    }
  }
};

// A frame a block, a band a warp.
template <typename T>
struct LargeBands {
  using Args = LargeForwardArgs<T>;
  static constexpr int kThreads = 256;
  static constexpr int kWarps = kThreads / 32;
  static constexpr int kSharedBytes = kWarps * int(sizeof(T));

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    for (std::int64_t row = t.block(); row < args.count; row += t.blocks()) {
      const std::int64_t frame = args.first + row, item = frame / args.forward.framing.frames;
      const std::int64_t at = item_offset(args.forward.out.items, item) +
                              (frame - item * args.forward.framing.frames) * args.forward.out.frame_stride;
      MEL_GLOBAL(const T) powers = args.powers + row * args.forward.bins;
      T largest = args.forward.lowest;
      for (int band = t.warp(); band < args.forward.bank.bands; band += kWarps) {
        const T value = logarithm(args.forward.log, warp_band_sum<T>(t, args.forward.bank, powers, band));
        if (value > largest) largest = value;
        if (t.lane() == 0) {
          store_real(args.forward.out.data, args.forward.out.type, at + band * args.forward.out.bin_stride, value);
        }
      }
      if (args.forward.maxima != nullptr) {
        const T whole = block_maximum<kWarps>(t, largest, MEL_SHARED_CAST(T, shared));
        if (t.thread() == 0) args.forward.maxima[frame] = whole;
        t.sync();
      }
    }
  }
};

}  // namespace melisma::gpu
