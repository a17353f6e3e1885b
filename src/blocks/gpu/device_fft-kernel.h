// Complex transforms that do not fit in shared memory: Stockham passes between two buffers in device memory whose
// radices are themselves transforms of a block (block_fft-kernel.h).
#pragma once

#include "blocks/gpu/block_fft-kernel.h"

namespace melisma::gpu {

// One pass over `frames` transforms of n values: those of every n / radix-th value, `done` being the product of the
// radices before.
template <typename T>
struct DeviceFftPass {
  struct Args {
    BlockFft<T> fft;  // of the radix
    MEL_GLOBAL(const Complex<T>) from;
    MEL_GLOBAL(Complex<T>) to;
    // exp(-2 pi i e / n) = coarse[e >> shift] fine[e mod 2^shift]: two small tables and one more rounding.
    MEL_GLOBAL(const Complex<T>) coarse;
    MEL_GLOBAL(const Complex<T>) fine;
    std::int64_t n, frames, groups;  // groups: of columns, a frame's
    int done, columns, shift;        // columns: a block's
  };
  static constexpr int kThreads = 256;

  MEL_FN static Complex<T> twiddle(MEL_ARGS(Args) args, std::int64_t exponent) {
    const std::int64_t mask = (std::int64_t(1) << args.shift) - 1;
    return args.coarse[exponent >> args.shift] * args.fine[exponent & mask];
  }

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    const int radix = args.fft.n, done = args.done, size = args.fft.size;
    const int m = static_cast<int>(args.n / radix);
    const std::int64_t step = m / done;  // of exponents
    MEL_SHARED(Complex<T>) a = MEL_SHARED_CAST(Complex<T>, shared);
    MEL_SHARED(Complex<T>) b = a + args.columns * size;
    for (std::int64_t group = t.block(); group < args.frames * args.groups; group += t.blocks()) {
      const std::int64_t frame = group / args.groups;
      const int first = static_cast<int>(group - frame * args.groups) * args.columns;
      const int count = mel_min(args.columns, m - first);
      MEL_GLOBAL(const Complex<T>) from = args.from + frame * args.n;
      for (int i = t.thread(); i < count * radix; i += t.threads()) {
        const int q = i / count, column = i - q * count, k = (first + column) % done;
        Complex<T> value = from[first + column + static_cast<std::int64_t>(q) * m];
        if (done > 1) value = value * twiddle(args, static_cast<std::int64_t>(q) * k * step);
        a[column * size + q] = value;
      }
      MEL_SHARED(Complex<T>) z = block_fft(t, args.fft, a, b, count);
      MEL_GLOBAL(Complex<T>) to = args.to + frame * args.n;
      for (int i = t.thread(); i < count * radix; i += t.threads()) {
        // Neighbours in memory: the outputs of a column in the first pass, the columns later.
        const int q = done == 1 ? i % radix : i / count, column = done == 1 ? i / radix : i - q * count;
        const int block = (first + column) / done, k = first + column - block * done;
        to[static_cast<std::int64_t>(block) * done * radix + k + static_cast<std::int64_t>(q) * done] =
            z[column * size + q];
      }
      t.sync();
    }
  }
};

// Bluestein's products in device memory, bluestein_value's stages.
template <typename T>
struct DeviceBluestein {
  struct Args {
    BlockFft<T> fft;  // of no passes
    MEL_GLOBAL(Complex<T>) values;
    std::int64_t frames, tiles;  // tiles: a frame's
    int stage;
  };
  static constexpr int kThreads = 256;
  enum { kTile = 1024 };

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    for (std::int64_t tile = t.block(); tile < args.frames * args.tiles; tile += t.blocks()) {
      const std::int64_t frame = tile / args.tiles, first = (tile - frame * args.tiles) * kTile;
      MEL_GLOBAL(Complex<T>) values = args.values + frame * args.fft.transform;
      for (std::int64_t j = first + t.thread(); j < first + kTile && j < args.fft.transform; j += kThreads) {
        if (args.stage == kConvolve || j < args.fft.n) {
          values[j] = bluestein_value(args.fft, args.stage, static_cast<int>(j), values[j]);
        } else if (args.stage == kChirp) {
          values[j] = Complex<T>{T(0), T(0)};
        }
      }
    }
  }
};

}  // namespace melisma::gpu
