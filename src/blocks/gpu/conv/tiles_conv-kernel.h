// The causal convolution of 2 to 4 taps where channels lie together in memory. A thread takes a few steps of a vector
// of channels, all of which are loaded before the first is used; those before its own are its neighbours', so that they
// are in the cache.
#pragma once

#include "blocks/gpu/conv/channel_vectors-kernel.h"

namespace melisma::gpu {

// kFull: with a mask, sequence numbers or packed sequences. kBlocks: of a multiprocessor, which limits registers.
template <int kType, int kTaps, int kWidth, int kSteps, bool kFull, int kBlocks>
struct TilesConv {
  using E = ConvElement<kType>;
  using Scalar = typename E::Scalar;
  using Vector = ChannelVector<kType, kWidth>;
  struct Args {
    ConvArgs conv;
    SeriesArgs out;
    StateBlocks final;
    FastDivision by_columns, by_bands;  // of a block's vectors, and of its tiles, in an item
    int vectors, vector_bits;           // vectors of a step; the block's: 2^vector_bits
    int packed_weights;
  };
  static constexpr int kThreads = 128;
  static constexpr int kMinBlocks = kBlocks;
  static constexpr int kHistory = kTaps - 1;
  static constexpr int kFewestBits = kFull ? 5 : 0;  // of vector_bits: a warp looks for cuts together

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    if (t.block() < args.final.blocks) return store_final_states<float, kThreads>(t, args.conv, args.final);
    const std::uint32_t block = static_cast<std::uint32_t>(t.block() - args.final.blocks);
    const std::uint32_t line = divided(block, args.by_columns), column = block - line * args.by_columns.divisor;
    const std::uint32_t item = divided(line, args.by_bands), band = line - item * args.by_bands.divisor;
    const int bits = args.vector_bits, vector = (static_cast<int>(column) << bits) + (t.thread() & ((1 << bits) - 1));
    const int steps = static_cast<int>(args.conv.steps);
    const bool there = vector < args.vectors;
    Tile c;
    c.item = item;
    c.d = std::int64_t(there ? vector : args.vectors - 1) * kWidth;
    c.first = (static_cast<int>(band) * (kThreads >> bits) + (t.thread() >> bits)) * kSteps;
    c.count = mel_min(steps - c.first, int(kSteps));
    if (c.count <= 0 || (!kFull && !there)) return;
    const std::int64_t stride = args.conv.x.step_stride;
    MEL_GLOBAL(const Scalar)
    x = MEL_GLOBAL_CAST(const Scalar, args.conv.x.data) + series_at(args.conv.x, item, c.d) + c.first * stride;
    Beside beside;
    if (kFull) beside = load_beside(t, args.conv, c);
    MEL_UNROLL
    for (int j = 0; j < kHistory + kSteps; ++j) {
      if ((j >= kHistory || c.first > 0) && (j <= kHistory || c.count == kSteps || j - kHistory < c.count)) {
        c.v[j].load(x + (j - kHistory) * stride);
      } else {
        c.v[j].clear();
      }
    }
    load_channels<kTaps, kWidth>(args.conv, args.packed_weights, c.d, c.w, c.bias);
    c.out = MEL_GLOBAL_CAST(Scalar, args.out.data) + series_at(args.out, item, c.d) + c.first * args.out.step_stride;
    MEL_UNROLL
    for (int k = 0; k < kHistory; ++k) {
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) c.before[k][i] = c.v[k].get(i);
    }
    if (c.first == 0 && args.conv.initial.data != nullptr && !(kFull && args.conv.cu_seqlens != nullptr)) {
      load_state_vectors<kHistory, kWidth>(args.conv.initial, initial_row(args.conv, item), c.d, c.before);
    }
    if (kFull) {
      const Cuts cuts = find_cuts(t, args.conv, beside);
      if (!t.all(cuts.none)) return cut_steps(t, args, x, cuts, there, c);
      if (args.conv.mask.data != nullptr) return known_steps<true>(t, args, cuts.mask, there, c);
    }
    known_steps<false>(t, args, 1.0f, there, c);
  }

 private:
  struct Tile {
    std::int64_t item, d;
    int first, count;
    MEL_GLOBAL(Scalar) out;
    float w[kTaps][kWidth], bias[kWidth];
    Vector v[kHistory + kSteps];     // x, the taps before the tile's first step too
    float before[kHistory][kWidth];  // those taps, which may be states
  };
  enum Flag { kOff, kOn, kAsked };  // what is known where the kernel is compiled

  // A warp has one tile, and each of its lanes one of the tile's steps, the taps before them being the first lanes'.
  struct Beside {
    int own, step;  // step: the nearest one that there is
    float mask;     // of its x
    std::int32_t key;
  };
  struct Cuts {
    bool none;  // of the first one's sequence
    float mask;
    int counting;             // bit k: tap k of it counts; bit kTaps: it is padding
    std::int32_t begin, row;  // of its packed sequence: the first step, and which one it is
  };

  // Before the steps themselves are loaded: all that follows waits for this.
  MEL_FN static Beside load_beside(MEL_THREAD_ARG t, MEL_ARGS(ConvArgs) args, MEL_LOCAL const Tile& c) {
    static_assert(!kFull || kHistory + kSteps <= 32, "a lane has a step");
    const int own = c.first - kHistory + t.lane(), end = c.first + c.count;
    Beside result{own, own < 0 ? 0 : own < end ? own : end - 1, 1.0f, 0};
    if (args.mask.data != nullptr && own >= 0) result.mask = mask_at<float>(args, c.item, result.step);
    if (args.seq_idx.data != nullptr) result.key = key_at(args, c.item, result.step);
    return result;
  }
  MEL_FN static Cuts find_cuts(MEL_THREAD_ARG t, MEL_ARGS(ConvArgs) args, MEL_LOCAL const Beside& beside) {
    Cuts result{true, beside.mask, (1 << kTaps) - 1, 0, -1};
    if (args.seq_idx.data != nullptr) {
      const std::int32_t first = t.shuffle(beside.key, 0);
      result.none = beside.key >= 0 && beside.key == first;
      result.counting = 1 << kHistory | (beside.key < 0 ? 1 << kTaps : 0);
      MEL_UNROLL
      for (int k = 0; k < kHistory; ++k) {
        const int before = t.lane() - kHistory + k;
        if (t.shuffle(beside.key, before < 0 ? 0 : before) == beside.key) result.counting |= 1 << k;
      }
    }
    if (args.cu_seqlens != nullptr) {
      const ConvSpan span = span_of_step(args, 0, beside.step);
      const std::int32_t begin = static_cast<std::int32_t>(span.begin), first = t.shuffle(begin, 0);
      result.none = beside.own >= 0 && begin == first;
      result.begin = begin;
      result.row = static_cast<std::int32_t>(span.row);
      MEL_UNROLL
      for (int k = 0; k < kHistory; ++k) {
        if (beside.own - kHistory + k < begin) result.counting &= ~(1 << k);
      }
    }
    return result;
  }

  // What most calls are is without branches.
  template <bool kMasked>
  MEL_FN static void known_steps(MEL_THREAD_ARG t, MEL_ARGS(Args) args, float mask, bool there,
                                 MEL_LOCAL const Tile& c) {
    if (args.conv.silu == 0) {
      all_steps<false, kAsked, kMasked>(t, args, mask, there, c);
    } else if (args.conv.residual != 0) {
      all_steps<true, kOn, kMasked>(t, args, mask, there, c);
    } else {
      all_steps<true, kOff, kMasked>(t, args, mask, there, c);
    }
  }

  // mask: of the lane's step; there: the lane's channels.
  template <bool kSilu, Flag kResidual, bool kMasked>
  MEL_FN static void all_steps(MEL_THREAD_ARG t, MEL_ARGS(Args) args, float mask, bool there, MEL_LOCAL const Tile& c) {
    float taps[kTaps][kWidth];
    MEL_UNROLL
    for (int k = 0; k < kHistory; ++k) {
      const float factor = kMasked ? t.shuffle(mask, k) : 1.0f;
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) taps[k][i] = kMasked ? c.before[k][i] * factor : c.before[k][i];
    }
    MEL_UNROLL
    for (int j = 0; j < kSteps; ++j) {
      if (j >= c.count) return;
      const float factor = kMasked ? t.shuffle(mask, kHistory + j) : 1.0f;
      float y[kWidth];
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        const float x = c.v[kHistory + j].get(i);
        taps[kHistory][i] = kMasked ? x * factor : x;
        y[i] = c.bias[i];
        MEL_UNROLL
        for (int k = 0; k < kTaps; ++k) y[i] = mel_fma(c.w[k][i], taps[k][i], y[i]);
      }
      if (kSilu) silu_all<kType, kWidth>(y);
      if (kResidual == kOn || (kResidual == kAsked && args.conv.residual != 0)) {
        MEL_UNROLL
        for (int i = 0; i < kWidth; ++i) y[i] = y[i] + c.v[kHistory + j].get(i);
      }
      if (!kFull || there) Vector::store(c.out + j * args.out.step_stride, y);
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        MEL_UNROLL
        for (int k = 0; k < kHistory; ++k) taps[k][i] = taps[k + 1][i];
      }
    }
  }

  // The same of steps of which some taps may not count. Few tiles are cut, so that the code is not in the instruction
  // cache: a loop of little of it, which loads the steps again.
  MEL_FN static void cut_steps(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_GLOBAL(const Scalar) x,
                               MEL_LOCAL const Cuts& cuts, bool there, MEL_LOCAL const Tile& c) {
    const bool states = args.conv.cu_seqlens != nullptr && args.conv.initial.data != nullptr;
    float taps[kTaps][kWidth];
    MEL_UNROLL
    for (int k = 0; k < kHistory; ++k) {
      const float mask = t.shuffle(cuts.mask, k);
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) taps[k][i] = c.before[k][i] * mask;
    }
    MEL_NO_UNROLL
    for (int j = 0; j < c.count; ++j) {
      const int counting = t.shuffle(cuts.counting, kHistory + j);
      const float mask = t.shuffle(cuts.mask, kHistory + j);
      Vector own;
      own.load(x);
      float y[kWidth], first[kHistory][kWidth];  // first: the taps before the step's own, as far as they count
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        taps[kHistory][i] = own.get(i) * mask;
        y[i] = c.bias[i];
        MEL_UNROLL
        for (int k = 0; k < kHistory; ++k) first[k][i] = (counting >> k & 1) != 0 ? taps[k][i] : 0.0f;
      }
      if (states) {
        const std::int32_t begin = t.shuffle(cuts.begin, kHistory + j), row = t.shuffle(cuts.row, kHistory + j);
        load_packed_states(args.conv, c.first + j - begin, row, c, first);
      }
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        MEL_UNROLL
        for (int k = 0; k < kHistory; ++k) y[i] = mel_fma(c.w[k][i], first[k][i], y[i]);
        y[i] = mel_fma(c.w[kHistory][i], taps[kHistory][i], y[i]);
      }
      if (args.conv.silu != 0) silu_all<kType, kWidth>(y);
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        if (args.conv.residual != 0) y[i] = y[i] + own.get(i);
        if ((counting >> kTaps & 1) != 0) y[i] = 0.0f;
        MEL_UNROLL
        for (int k = 0; k < kHistory; ++k) taps[k][i] = taps[k + 1][i];
      }
      if (there) Vector::store(c.out + j * args.out.step_stride, y);
      x = x + args.conv.x.step_stride;
    }
  }

  // In place of taps before a packed sequence, of which this is step `step`.
  MEL_FN static void load_packed_states(MEL_ARGS(ConvArgs) args, int step, std::int32_t sequence,
                                        MEL_LOCAL const Tile& c, MEL_LOCAL float (&taps)[kHistory][kWidth]) {
    if (step >= kHistory) return;
    const std::int64_t row = initial_row(args, sequence);
    MEL_UNROLL
    for (int k = 0; k < kHistory; ++k) {
      if (step - kHistory + k < 0) load_state_vector<kWidth>(args.initial, row, step + k, c.d, taps[k]);
    }
  }
};

}  // namespace melisma::gpu
