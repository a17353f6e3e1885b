// What lies more than a given range below the maximum of its items is raised to that, and the affine step behind it:
// the second half of a logarithm with a finite `top`. A maximum is exact, so its order is free.
#pragma once

#include "blocks/gpu/framing-kernel.h"

namespace melisma::gpu {

// The block's largest value in thread 0; NaN is passed over. scratch: [kWarps], free after the next t.sync().
template <int kWarps, typename T>
MEL_FN T block_maximum(MEL_THREAD_ARG t, T value, MEL_SHARED(T) scratch) {
  for (int mask = 16; mask > 0; mask /= 2) {
    const T other = t.shuffle_xor(value, mask);
    if (other > value) value = other;
  }
  if (t.lane() == 0) scratch[t.warp()] = value;
  t.sync();
  for (int warp = 0; warp < kWarps; ++warp) {
    const T other = scratch[warp];
    if (other > value) value = other;
  }
  return value;
}

// thresholds[g] = (largest of maxima[g * count ...]) - top, a group a block.
template <typename T>
struct RangeThresholds {
  struct Args {
    MEL_GLOBAL(const T) maxima;
    MEL_GLOBAL(T) thresholds;
    std::int64_t count;
    T top, lowest;  // lowest: -infinity
  };
  static constexpr int kThreads = 256;
  static constexpr int kSharedBytes = kThreads / 32 * int(sizeof(T));

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    T largest = args.lowest;
    for (std::int64_t i = t.thread(); i < args.count; i += kThreads) {
      const T value = args.maxima[t.block() * args.count + i];
      if (value > largest) largest = value;
    }
    largest = block_maximum<kThreads / 32>(t, largest, MEL_SHARED_CAST(T, shared));
    if (t.thread() == 0) args.thresholds[t.block()] = largest - args.top;
  }
};

// A warp takes a line along the axis whose neighbours are nearest.
template <typename T>
struct LimitRange {
  struct Args {
    GridArgs out;
    MEL_GLOBAL(const T) thresholds;
    std::int64_t items, rows, frames, items_together;
    T mul, add;
    int frames_inner;
  };
  static constexpr int kThreads = 256;
  static constexpr int kLines = kThreads / 32;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    const bool frames_inner = args.frames_inner != 0;
    const std::int64_t outer = frames_inner ? args.rows : args.frames, inner = frames_inner ? args.frames : args.rows;
    const std::int64_t outer_stride = frames_inner ? args.out.bin_stride : args.out.frame_stride;
    const std::int64_t inner_stride = frames_inner ? args.out.frame_stride : args.out.bin_stride;
    for (std::int64_t line = t.block() * kLines + t.warp(); line < args.items * outer; line += t.blocks() * kLines) {
      const std::int64_t item = line / outer;
      const std::int64_t at = item_offset(args.out.items, item) + (line - item * outer) * outer_stride;
      const T threshold = args.thresholds[item / args.items_together];
      for (std::int64_t i = t.lane(); i < inner; i += 32) {
        const T value = load_real<T>(args.out.data, args.out.type, at + i * inner_stride);
        const T limited = value < threshold ? threshold : value;
        store_real(args.out.data, args.out.type, at + i * inner_stride, mel_fma(args.mul, limited, args.add));
      }
    }
  }
};

}  // namespace melisma::gpu
