// The causal convolution of 2 to 4 taps where channels lie together in memory. A thread takes a few steps of a vector
// of channels, all of which are loaded before the first is used; those before its own are its neighbours', so that they
// are in the cache.
#pragma once

#include "blocks/gpu/conv/channel_vectors-kernel.h"

namespace melisma::gpu {

// What a call has beside its steps, as far as that is known where a kernel is compiled.
enum ConvBeside { kBesideNothing, kBesideMask, kBesideKeys, kBesideOffsets, kBesideAnything };

// kBlocks: of a multiprocessor, which limits registers.
template <int kType, int kTaps, int kWidth, int kSteps, int kBeside, int kBlocks>
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
    int packed;                         // whether weights come in vectors: 1, the bias too: 2
  };
  static constexpr int kThreads = 128;
  static constexpr int kMinBlocks = kBlocks;
  static constexpr int kHistory = kTaps - 1;
  static constexpr int kChannels = kWidth, kLength = kSteps;
  static constexpr bool kLanes = kBeside != kBesideNothing;  // a warp looks for cuts together
  static constexpr int kFewestBits = kLanes ? 5 : 0;         // of vector_bits

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    if (t.block() < args.final.blocks) return store_final_states<float, kThreads>(t, args.conv, args.final);
    const std::uint32_t block = static_cast<std::uint32_t>(t.block() - args.final.blocks);
    const std::uint32_t line = divided(block, args.by_columns), column = block - line * args.by_columns.divisor;
    const std::uint32_t item = divided(line, args.by_bands), band = line - item * args.by_bands.divisor;
    const int bits = args.vector_bits, vector = (static_cast<int>(column) << bits) + (t.thread() & ((1 << bits) - 1));
    const int steps = static_cast<int>(args.conv.steps);
    Tile c;
    c.there = vector < args.vectors;
    c.item = static_cast<int>(item);
    c.d = (c.there ? vector : args.vectors - 1) * kWidth;
    c.first = (static_cast<int>(band) * (kThreads >> bits) + (t.thread() >> bits)) * kSteps;
    if (c.first >= steps || (!kLanes && !c.there)) return;
    if (steps >= kSteps) c.first = mel_min(c.first, steps - kSteps);  // some of the last tile's steps twice, the same
    c.count = mel_min(steps, int(kSteps));
    const bool whole = c.count == kSteps;
    Beside beside;
    if (kLanes) beside = load_beside(t, args.conv, c);
    MEL_GLOBAL(const Scalar) x = x_of(args.conv, c);
    MEL_UNROLL
    for (int k = 0; k < kHistory; ++k) {
      if (c.first + k >= kHistory) {
        c.v[k].load(x + short_steps(args.conv.x, k - kHistory));
      } else {
        c.v[k].clear();
      }
    }
    if (whole) {
      MEL_UNROLL
      for (int j = 0; j < kSteps; ++j) c.v[kHistory + j].load(x + short_steps(args.conv.x, j));
    }
    load_channels<kTaps, kWidth>(args.conv, args.packed, c.d, c.w, c.bias);
    c.out =
        MEL_GLOBAL_CAST(Scalar, args.out.data) + axes_at(args.out.items, item) + c.d + short_steps(args.out, c.first);
    const bool cut = is_cut(t, args.conv, beside, c);
    if (whole && has_mask(args.conv)) {
      known_steps<true>(t, args, beside.mask, c);
    } else if (whole) {
      known_steps<false>(t, args, 1.0f, c);
    }
    if (!whole || cut || has_states(args.conv, c)) some_steps(t, args, whole, c);
  }

 private:
  struct Tile {
    int item, d, first, count;
    MEL_GLOBAL(Scalar) out;  // its first step
    bool there;              // whether its channels are
    float w[kTaps][kWidth], bias[kWidth];
    Vector v[kHistory + kSteps];  // x, the taps before the tile's first step too
  };
  enum Flag { kOff, kOn, kAsked };  // what is known where the kernel is compiled

  MEL_FN static bool has_mask(MEL_ARGS(ConvArgs) args) {
    return kBeside == kBesideMask || (kBeside == kBesideAnything && args.mask.data != nullptr);
  }
  MEL_FN static bool has_keys(MEL_ARGS(ConvArgs) args) {
    return kBeside == kBesideKeys || (kBeside == kBesideAnything && args.seq_idx.data != nullptr);
  }
  MEL_FN static bool has_offsets(MEL_ARGS(ConvArgs) args) {
    return kBeside == kBesideOffsets || (kBeside == kBesideAnything && args.cu_seqlens != nullptr);
  }

  MEL_FN static MEL_GLOBAL(const Scalar) x_of(MEL_ARGS(ConvArgs) args, MEL_LOCAL const Tile& c) {
    return MEL_GLOBAL_CAST(const Scalar, args.x.data) + axes_at(args.x.items, c.item) + c.d +
           short_steps(args.x, c.first);
  }

  // Whether some of the taps before the tile are states of its item.
  MEL_FN static bool has_states(MEL_ARGS(ConvArgs) args, MEL_LOCAL const Tile& c) {
    return c.first < kHistory && args.initial.data != nullptr && !has_offsets(args);
  }

  // A warp has one tile, and each of its lanes one of the tile's steps, the taps before them being the first lanes'.
  struct Beside {
    float mask;  // of its x
    std::int32_t key;
    std::int32_t offset[2];  // of the sequences whose numbers are the lane's and 32 more, times far_apart
  };
  struct Cuts {
    float mask;
    int counting;             // bit k: tap k of it counts; bit kTaps: it is padding
    std::int32_t begin, row;  // of its packed sequence: the first step, and which one it is
  };

  MEL_FN static int step_of_lane(MEL_THREAD_ARG t, MEL_LOCAL const Tile& c) { return c.first - kHistory + t.lane(); }
  // The nearest one that there is.
  MEL_FN static int near_step_of_lane(MEL_THREAD_ARG t, MEL_LOCAL const Tile& c) {
    return mel_min(mel_max(step_of_lane(t, c), 0), c.first + c.count - 1);
  }

  // Before the steps themselves are loaded: all that follows waits for this.
  MEL_FN static Beside load_beside(MEL_THREAD_ARG t, MEL_ARGS(ConvArgs) args, MEL_LOCAL const Tile& c) {
    static_assert(!kLanes || kHistory + kSteps <= 32, "a lane has a step");
    Beside result{1.0f, 0, {0, 0}};
    const int step = near_step_of_lane(t, c);
    if (has_mask(args) && step_of_lane(t, c) >= 0) result.mask = mask_at<float>(args, c.item, step);
    if (has_keys(args)) result.key = key_at(args, c.item, step);
    if (has_offsets(args)) {
      const int last = static_cast<int>(args.sequences), apart = far_apart(args);
      MEL_UNROLL
      for (int i = 0; i < 2; ++i) {
        result.offset[i] = offset_at<std::int32_t>(args, mel_min((t.lane() + 32 * i) * apart, last));
      }
    }
    return result;
  }
  // So that 64 offsets, or fewer than that, span all sequences.
  MEL_FN static int far_apart(MEL_ARGS(ConvArgs) args) { return (static_cast<int>(args.sequences) + 63) / 64; }
  // Whether not all steps of the tile and the taps before them are of one sequence, or some are padding.
  MEL_FN static bool is_cut(MEL_THREAD_ARG t, MEL_ARGS(ConvArgs) args, MEL_LOCAL const Beside& beside,
                            MEL_LOCAL const Tile& c) {
    bool cut = false;
    if (has_keys(args)) {
      const std::int32_t first = t.shuffle(beside.key, 0);
      cut = !t.all(beside.key >= 0 && beside.key == first);
    }
    if (has_offsets(args)) {
      const ShortSpan span = span_of_tile(t, args, beside, c);
      cut = cut || span.begin > c.first - kHistory || span.end < c.first + kSteps;
    }
    return cut;
  }
  // sequence_span of the tile's first step by the lanes' offsets, and by those between two of them where there are
  // more.
  MEL_FN static ShortSpan span_of_tile(MEL_THREAD_ARG t, MEL_ARGS(ConvArgs) args, MEL_LOCAL const Beside& beside,
                                       MEL_LOCAL const Tile& c) {
    const int sequences = static_cast<int>(args.sequences), apart = far_apart(args);
    if (apart >= 32) return sequence_span<std::int32_t>(args, c.first);
    int before = 0;  // offsets at or before the step
    MEL_UNROLL
    for (int i = 0; i < 2; ++i) {
      before += t.count((t.lane() + 32 * i) * apart < sequences && beside.offset[i] <= c.first);
    }
    const int place = before > 0 ? before - 1 : 0, row = place * apart;
    if (sequences < 64) return ShortSpan{offset_of(t, beside, place), offset_of(t, beside, place + 1), place};
    const std::int32_t between = offset_at<std::int32_t>(args, mel_min(row + t.lane(), sequences));
    before = t.count(t.lane() < apart && row + t.lane() < sequences && between <= c.first);
    const int further = before > 0 ? before - 1 : 0;
    return ShortSpan{t.shuffle(between, further), t.shuffle(between, further + 1), row + further};
  }
  MEL_FN static std::int32_t offset_of(MEL_THREAD_ARG t, MEL_LOCAL const Beside& beside, int row) {
    const std::int32_t low = t.shuffle(beside.offset[0], row & 31), high = t.shuffle(beside.offset[1], row & 31);
    return row < 32 ? low : high;
  }
  MEL_FN static Cuts find_cuts(MEL_THREAD_ARG t, MEL_ARGS(ConvArgs) args, MEL_LOCAL const Beside& beside,
                               MEL_LOCAL const Tile& c) {
    Cuts result{kLanes ? beside.mask : 1.0f, (1 << kTaps) - 1, 0, -1};
    if (has_keys(args)) {
      result.counting = 1 << kHistory | (beside.key < 0 ? 1 << kTaps : 0);
      MEL_UNROLL
      for (int k = 0; k < kHistory; ++k) {
        const int before = t.lane() - kHistory + k;
        if (t.shuffle(beside.key, before < 0 ? 0 : before) == beside.key) result.counting |= 1 << k;
      }
    }
    if (has_offsets(args)) {
      const ShortSpan span = sequence_span<std::int32_t>(args, near_step_of_lane(t, c));
      result.begin = span.begin;
      result.row = span.row;
      MEL_UNROLL
      for (int k = 0; k < kHistory; ++k) {
        if (step_of_lane(t, c) - kHistory + k < span.begin) result.counting &= ~(1 << k);
      }
    }
    return result;
  }

  // What most calls are is without branches.
  template <bool kMasked>
  MEL_FN static void known_steps(MEL_THREAD_ARG t, MEL_ARGS(Args) args, float mask, MEL_LOCAL const Tile& c) {
    if (args.conv.silu == 0) {
      all_steps<false, kAsked, kMasked>(t, args, mask, c);
    } else if (args.conv.residual != 0) {
      all_steps<true, kOn, kMasked>(t, args, mask, c);
    } else {
      all_steps<true, kOff, kMasked>(t, args, mask, c);
    }
  }

  // mask: of the lane's step.
  template <bool kSilu, Flag kResidual, bool kMasked>
  MEL_FN static void all_steps(MEL_THREAD_ARG t, MEL_ARGS(Args) args, float mask, MEL_LOCAL const Tile& c) {
    float taps[kTaps][kWidth];
    MEL_UNROLL
    for (int k = 0; k < kHistory; ++k) {
      const float factor = kMasked ? t.shuffle(mask, k) : 1.0f;
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) taps[k][i] = kMasked ? c.v[k].get(i) * factor : c.v[k].get(i);
    }
    MEL_UNROLL
    for (int j = 0; j < kSteps; ++j) {
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
      if (!kLanes || c.there) Vector::store(c.out + short_steps(args.out, j), y);
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        MEL_UNROLL
        for (int k = 0; k < kHistory; ++k) taps[k][i] = taps[k + 1][i];
      }
    }
  }

  // Of a whole tile those steps once more of which some taps do not count or are states; of another all. They are few,
  // so that the code is not in the instruction cache: a loop of little of it, which loads the steps again.
  MEL_FN static void some_steps(MEL_THREAD_ARG t, MEL_ARGS(Args) args, bool whole, MEL_LOCAL const Tile& c) {
    Beside beside{1.0f, 0, {0, 0}};
    if (kLanes) beside = load_beside(t, args.conv, c);
    const Cuts cuts = find_cuts(t, args.conv, beside, c);
    MEL_GLOBAL(const Scalar) x = x_of(args.conv, c);
    const int all = (1 << kTaps) - 1;
    const bool offsets = has_offsets(args.conv), initial = args.conv.initial.data != nullptr;
    MEL_NO_UNROLL
    for (int j = 0; j < c.count; ++j) {
      const int counting = kLanes ? t.shuffle(cuts.counting, kHistory + j) : all;
      const std::int32_t begin = offsets ? t.shuffle(cuts.begin, kHistory + j) : 0;
      const std::int32_t row = offsets ? t.shuffle(cuts.row, kHistory + j) : c.item;
      const int step = c.first + j - begin;  // of the sequence
      const bool states = initial && step < kHistory;
      if (whole && counting == all && !states) continue;
      Vector v[kTaps];
      float taps[kTaps][kWidth], y[kWidth];
      MEL_UNROLL
      for (int k = 0; k < kTaps; ++k) {
        v[k].clear();
        if (c.first + j - kHistory + k >= 0) v[k].load(x + short_steps(args.conv.x, j - kHistory + k));
      }
      MEL_UNROLL
      for (int k = 0; k < kTaps; ++k) {
        const float mask = kLanes ? t.shuffle(cuts.mask, j + k) : 1.0f;
        MEL_UNROLL
        for (int i = 0; i < kWidth; ++i) taps[k][i] = (counting >> k & 1) != 0 ? v[k].get(i) * mask : 0.0f;
      }
      if (states) load_taps(args.conv, step, row, offsets ? all : counting, c, taps);
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        y[i] = c.bias[i];
        MEL_UNROLL
        for (int k = 0; k < kTaps; ++k) y[i] = mel_fma(c.w[k][i], taps[k][i], y[i]);
      }
      if (args.conv.silu != 0) silu_all<kType, kWidth>(y);
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        if (args.conv.residual != 0) y[i] = y[i] + v[kHistory].get(i);
        if ((counting >> kTaps & 1) != 0) y[i] = 0.0f;
      }
      if (c.there) Vector::store(c.out + short_steps(args.out, j), y);
    }
  }

  // In place of the wanted taps before a sequence, of which this is step `step`.
  MEL_FN static void load_taps(MEL_ARGS(ConvArgs) args, int step, std::int32_t sequence, int wanted,
                               MEL_LOCAL const Tile& c, MEL_LOCAL float (&taps)[kTaps][kWidth]) {
    const std::int64_t row = initial_row(args, sequence);
    MEL_UNROLL
    for (int k = 0; k < kHistory; ++k) {
      if (step - kHistory + k < 0 && (wanted >> k & 1) != 0) {
        load_state_vector<kWidth>(args.initial, row, step + k, c.d, taps[k]);
      }
    }
  }
};

}  // namespace melisma::gpu
