// The causal convolution of 2 to 4 taps where channels lie together in memory. A thread takes a vector of channels and
// a few steps, loads them and the steps before them all before it uses the first, and computes one step after another.
// The warps of a block take steps that follow each other, so that what is loaded twice comes from the cache.
#pragma once

#include "blocks/gpu/conv/channel_vectors-kernel.h"

namespace melisma::gpu {

// What a step's taps are beside x's values. kConvMasked has sequences too.
enum ConvMode { kConvPlain, kConvSequences, kConvMasked };

template <int kType, int kTaps, int kWidth, int kMode>
struct ChannelsConv {
  using E = ConvElement<kType>;
  using Vector = ChannelVector<kType, kWidth>;
  struct Args {
    ConvArgs conv;
    SeriesArgs out;
    StateBlocks final;
    FastDivision by_channel_blocks, by_step_blocks;
    int lane_bits;  // threads side by side along the channels
    int packed_weights;
  };
  static constexpr int kThreads = 256;
  static constexpr int kMinBlocks = 2;
  static constexpr int kSteps = 8;
  static constexpr int kHistory = kTaps - 1;
  static constexpr int kAll = kHistory + kSteps;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    if (t.block() < args.final.blocks) return store_final_states<float, kThreads>(t, args.conv, args.final);
    const std::uint32_t block = static_cast<std::uint32_t>(t.block() - args.final.blocks);
    const std::uint32_t line = divided(block, args.by_channel_blocks);
    const std::uint32_t item = divided(line, args.by_step_blocks);
    const int lanes = 1 << args.lane_bits;
    const std::int64_t d = (static_cast<std::int64_t>(block - line * args.by_channel_blocks.divisor) * lanes +
                            (t.thread() & (lanes - 1))) *
                           kWidth;
    const int first = (static_cast<int>(line - item * args.by_step_blocks.divisor) * (kThreads >> args.lane_bits) +
                       (t.thread() >> args.lane_bits)) *
                      kSteps;
    const int steps = static_cast<int>(args.conv.steps);
    if (d >= args.conv.channels || first >= steps) return;
    Tile tile;
    tile.count = mel_min(kSteps + 0, steps - first);
    tile.out = MEL_GLOBAL_CAST(typename E::Scalar, args.out.data) + series_at(args.out, item, d) +
               first * args.out.step_stride;

    const std::int64_t stride = args.conv.x.step_stride;
    MEL_GLOBAL(const typename E::Scalar)
    x = MEL_GLOBAL_CAST(const typename E::Scalar, args.conv.x.data) + series_at(args.conv.x, item, d) + first * stride;
    Vector before[kHistory];
    if (first > 0) {
      MEL_UNROLL
      for (int j = 0; j < kHistory; ++j) before[j].load(x + (j - kHistory) * stride);
    }
    if (tile.count == kSteps) {
      MEL_UNROLL
      for (int s = 0; s < kSteps; ++s) tile.v[s].load(x + s * stride);
    } else {
      MEL_UNROLL
      for (int s = 0; s < kSteps; ++s) {
        tile.v[s].clear();
        if (s < tile.count) tile.v[s].load(x + s * stride);
      }
    }
    float mask[kAll];
    MEL_UNROLL
    for (int j = 0; j < kAll; ++j) mask[j] = 1.0f;
    if (kMode == kConvMasked) {
      load_values<kAll>(args.conv.mask.data, args.conv.mask.type,
                        axes_at(args.conv.mask.items, item) + (first - kHistory) * args.conv.mask.stride,
                        args.conv.mask.stride, first - kHistory, steps, mask);
    }
    MEL_UNROLL
    for (int s = 0; s < kSteps; ++s) tile.mask[s] = mask[kHistory + s];
    load_weights<kTaps, kWidth>(args.conv, args.packed_weights, d, tile.w);
    load_bias<kWidth>(args.conv, d, tile.bias);
    if (first > 0) {
      MEL_UNROLL
      for (int j = 0; j < kHistory; ++j) {
        MEL_UNROLL
        for (int i = 0; i < kWidth; ++i) {
          tile.before[j][i] = kMode == kConvMasked ? before[j].get(i) * mask[j] : before[j].get(i);
        }
      }
    } else {
      load_state_vectors<kHistory, kWidth>(args.conv.initial, item, d, tile.before);
    }
    if (kMode == kConvPlain) return store<false>(args, tile);
    find_sequences(args.conv, item, first, tile);
    if (tile.starts == 0 && tile.alike) return store<false>(args, tile);
    if (args.conv.cu_seqlens == nullptr || args.conv.initial.data == nullptr) return store<true>(args, tile);
    // A sequence begins here with a state of its own.
    MEL_NO_UNROLL
    for (int i = 0; i < tile.count * kWidth; ++i) {
      const int s = i / kWidth, c = i - s * kWidth;
      tile.out[s * args.out.step_stride + c] = E::to(conv_output<float>(args.conv, item, d + c, first + s));
    }
  }

 private:
  struct Tile {
    MEL_GLOBAL(typename E::Scalar) out;
    Vector v[kSteps];
    float before[kHistory][kWidth], mask[kSteps], w[kTaps][kWidth], bias[kWidth];
    int count;
    // Of the steps from kHistory before the tile on: which are the first of a packed sequence (a bit each), their
    // sequence numbers, and whether all of these are one.
    std::uint32_t starts;
    bool alike;
    std::int32_t key[kAll];
  };

  MEL_FN static void find_sequences(MEL_ARGS(ConvArgs) args, std::int64_t item, int first, MEL_LOCAL Tile& tile) {
    tile.starts = 0;
    tile.alike = true;
    MEL_UNROLL
    for (int j = 0; j < kAll; ++j) tile.key[j] = 0;
    if (args.cu_seqlens != nullptr) {
      // Bit 0 stands for no step: its taps are before the tile's.
      const std::int64_t row = span_of_step(args, item, first).row, begin = first - kHistory;
      for (std::int64_t i = row; i >= 0; --i) {
        const std::int64_t start = cu_at(args, i) - begin;
        if (start <= 0 || start >= kAll) break;
        tile.starts |= 1u << start;
      }
      for (std::int64_t i = row + 1; i < args.sequences; ++i) {
        const std::int64_t start = cu_at(args, i) - begin;
        if (start <= 0 || start >= kAll) break;
        tile.starts |= 1u << start;
      }
    }
    if (args.seq_idx.data != nullptr) {
      const std::int64_t at = axes_at(args.seq_idx.items, item);
      MEL_GLOBAL(const std::int32_t) keys = MEL_GLOBAL_CAST(const std::int32_t, args.seq_idx.data) + at;
      MEL_UNROLL
      for (int j = 0; j < kAll; ++j) {
        const int step = first + mel_min(j - kHistory, tile.count - 1);
        tile.key[j] = keys[mel_max(step, 0) * args.seq_idx.stride];
      }
      MEL_UNROLL
      for (int j = 0; j < kAll; ++j) tile.alike = tile.alike && tile.key[j] == tile.key[0];
      tile.alike = tile.alike && tile.key[0] >= 0;
    }
  }

  // kCut: taps may not count.
  template <bool kCut>
  MEL_FN static void store(MEL_ARGS(Args) args, MEL_LOCAL const Tile& tile) {
    float taps[kAll][kWidth];
    MEL_UNROLL
    for (int j = 0; j < kHistory; ++j) {
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) taps[j][i] = tile.before[j][i];
    }
    MEL_UNROLL
    for (int s = 0; s < kSteps; ++s) {
      if (s >= tile.count) return;
      float y[kWidth];
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        const float x = tile.v[s].get(i);
        taps[kHistory + s][i] = kMode == kConvMasked ? x * tile.mask[s] : x;
        y[i] = tile.bias[i];
      }
      MEL_UNROLL
      for (int k = 0; k < kTaps; ++k) {
        const bool counts = !kCut || (tile.key[s + k] == tile.key[s + kHistory] &&
                                      ((tile.starts >> (s + k + 1)) & ((1u << (kHistory - k)) - 1u)) == 0);
        MEL_UNROLL
        for (int i = 0; i < kWidth; ++i) y[i] = mel_fma(tile.w[k][i], counts ? taps[s + k][i] : 0.0f, y[i]);
      }
      if (args.conv.silu != 0) silu_all<kType, kWidth>(y);
      if (args.conv.residual != 0) {
        MEL_UNROLL
        for (int i = 0; i < kWidth; ++i) y[i] = y[i] + tile.v[s].get(i);
      }
      if (kCut && tile.key[s + kHistory] < 0) {
        MEL_UNROLL
        for (int i = 0; i < kWidth; ++i) y[i] = 0.0f;
      }
      Vector::store(tile.out + s * args.out.step_stride, y);
    }
  }
};

}  // namespace melisma::gpu
