// The causal convolution of 2 to 4 taps where steps lie together in memory. A few lanes (a warp where rows are long)
// take a tile of one channel: each loads vectors of 16 bytes, all before the first is used, and gets the taps before
// its own from the lane beside it. Rows may begin anywhere, if x's and out's are equally far from a multiple of 16
// bytes.
#pragma once

#include "blocks/gpu/conv/conv-kernel.h"

namespace melisma::gpu {

// The vector of elements of type kType at step p (from the row's first), of which [0, steps) are there.
template <int kType>
struct RowVector {
  using E = ConvElement<kType>;
  using Word = typename E::Word;
  static constexpr int kSize = E::kPerVector;
  Word word[4];

  MEL_FN float get(int i) const { return E::get(word[i / E::kPerWord], i % E::kPerWord); }

  MEL_FN void clear() {
    MEL_UNROLL
    for (int i = 0; i < 4; ++i) word[i] = Word(0);
  }
  MEL_FN void load(MEL_GLOBAL(const Word) from) {
    const Vec4<Word> v = mel_load4(from);
    word[0] = v.x;
    word[1] = v.y;
    word[2] = v.z;
    word[3] = v.w;
  }
  // row: the element of step 0.
  MEL_FN void load_some(MEL_GLOBAL(const typename E::Scalar) row, int p, int steps) {
    clear();
    MEL_UNROLL
    for (int i = 0; i < kSize; ++i) {
      if (p + i >= 0 && p + i < steps)
        word[i / E::kPerWord] = E::put(word[i / E::kPerWord], i % E::kPerWord, row[p + i]);
    }
  }
  MEL_FN void set(MEL_LOCAL const float (&values)[kSize]) {
    MEL_UNROLL
    for (int i = 0; i < 4; ++i) word[i] = E::pack(values[i * E::kPerWord], values[i * E::kPerWord + E::kPerWord - 1]);
  }
  MEL_FN void store(MEL_GLOBAL(Word) to) const { mel_put4(to, word[0], word[1], word[2], word[3]); }
  MEL_FN void store_some(MEL_GLOBAL(typename E::Scalar) row, int p, int steps) const {
    MEL_UNROLL
    for (int i = 0; i < kSize; ++i) {
      if (p + i >= 0 && p + i < steps) row[p + i] = E::to(get(i));
    }
  }
};

// taps[0] to [kTaps - 2]: those before a lane's vector, from the lane beside it. last: the vector before the first
// lane's, which the last lane has.
template <int kType, int kTaps, int kCount>
MEL_FN void taps_before(MEL_THREAD_ARG t, MEL_LOCAL const RowVector<kType>& own, MEL_LOCAL const RowVector<kType>& last,
                        bool is_last, int beside, MEL_LOCAL float (&taps)[kCount]) {
  using E = ConvElement<kType>;
  constexpr int kHistory = kTaps - 1, kWords = (kHistory + E::kPerWord - 1) / E::kPerWord;
  MEL_UNROLL
  for (int i = 0; i < kWords; ++i) {
    const int word = 4 - kWords + i;
    const typename E::Word got = t.shuffle(is_last ? last.word[word] : own.word[word], beside);
    MEL_UNROLL
    for (int j = 0; j < E::kPerWord; ++j) {
      const int at = kHistory - kWords * E::kPerWord + i * E::kPerWord + j;
      if (at >= 0) taps[at] = E::get(got, j);
    }
  }
}

// What a lane of rows' kernels takes: a few lanes share a tile.
struct RowLane {
  bool there;  // lanes without a task go along for the shuffles, with the last one
  std::uint32_t item, row;
  int start, lane, lanes;  // the tile's first step
  int beside;              // the lane of the warp whose vector is before this lane's

  MEL_FN bool is_last() const { return lane == lanes - 1; }
};
// block: of kThreads threads; per_lane: steps of a tile.
template <int kThreads>
MEL_FN RowLane row_lane(MEL_THREAD_ARG t, MEL_ARGS(RowTiles) tiles, std::int64_t block, int per_lane) {
  const int bits = tiles.lane_bits;
  RowLane result;
  result.lanes = 1 << bits;
  result.lane = t.lane() & (result.lanes - 1);
  result.beside = (t.lane() & ~(result.lanes - 1)) | ((result.lane - 1) & (result.lanes - 1));
  const std::uint32_t group =
      static_cast<std::uint32_t>(block) * (kThreads >> bits) + (static_cast<std::uint32_t>(t.thread()) >> bits);
  result.there = group < tiles.tasks;
  const std::uint32_t task = result.there ? group : tiles.tasks - 1;
  const std::uint32_t rows = divided(task, tiles.by_tiles), tile = task - rows * tiles.by_tiles.divisor;
  result.item = divided(rows, tiles.by_channels);
  result.row = rows - result.item * tiles.by_channels.divisor;
  result.start = static_cast<int>(tile) * (per_lane << bits);
  return result;
}

struct RowsConvArgs {
  ConvArgs conv;
  SeriesArgs out;
  StateBlocks final;
  RowTiles tiles;
};

template <int kType, int kTaps, int kVectors>
struct RowsConv {
  using E = ConvElement<kType>;
  using Word = typename E::Word;
  using Vector = RowVector<kType>;
  using Args = RowsConvArgs;
  static constexpr int kThreads = 128;
  static constexpr int kSize = E::kPerVector;
  static constexpr int kHistory = kTaps - 1;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    if (t.block() < args.final.blocks) return store_final_states<float, kThreads>(t, args.conv, args.final);
    const RowLane place = row_lane<kThreads>(t, args.tiles, t.block() - args.final.blocks, kVectors * kSize);
    const std::int64_t item = place.item, d = place.row;
    const std::int64_t x_at = series_at(args.conv.x, item, d), out_at = series_at(args.out, item, d);
    MEL_GLOBAL(const typename E::Scalar) x = MEL_GLOBAL_CAST(const typename E::Scalar, args.conv.x.data) + x_at;
    const int steps = static_cast<int>(args.conv.steps), lanes = place.lanes, lane = place.lane;
    const int start = place.start - static_cast<int>((args.tiles.phase + x_at) & (kSize - 1));
    const int end = place.there ? steps : 0;  // what is stored lies before

    Vector v[kVectors];
    if (start >= 0 && start + kVectors * kSize * lanes <= steps) {
      MEL_UNROLL
      for (int u = 0; u < kVectors; ++u) v[u].load(MEL_GLOBAL_CAST(const Word, x + start + (u * lanes + lane) * kSize));
    } else {
      MEL_UNROLL
      for (int u = 0; u < kVectors; ++u) {
        const int p = start + (u * lanes + lane) * kSize;
        if (p >= 0 && p + kSize <= steps) {
          v[u].load(MEL_GLOBAL_CAST(const Word, x + p));
        } else {
          v[u].load_some(x, p, steps);
        }
      }
    }
    Vector before;
    before.clear();
    if (start > 0 && start < steps && place.is_last()) before.load(MEL_GLOBAL_CAST(const Word, x + (start - kSize)));
    float w[kTaps];
    const float bias = load_channel<kTaps>(args.conv, d, w);

    MEL_UNROLL
    for (int u = 0; u < kVectors; ++u) {
      const int p = start + (u * lanes + lane) * kSize;
      float taps[kHistory + kSize];
      taps_before<kType, kTaps>(t, v[u], u == 0 ? before : v[u == 0 ? 0 : u - 1], place.is_last(), place.beside, taps);
      MEL_UNROLL
      for (int i = 0; i < kSize; ++i) taps[kHistory + i] = v[u].get(i);
      if (u == 0 && p < kHistory) {  // steps before the first
        float states[kHistory];
        load_states<kHistory>(args.conv.initial, initial_row(args.conv, item), d, states);
        MEL_UNROLL
        for (int i = 0; i < kHistory + kSize; ++i) {
          if (p + i < kHistory) taps[i] = state_value<kHistory>(states, p + i);
        }
      }
      if (p + kSize <= 0 || p >= end) continue;
      float y[kSize];
      MEL_UNROLL
      for (int i = 0; i < kSize; ++i) {
        y[i] = bias;
        MEL_UNROLL
        for (int k = 0; k < kTaps; ++k) y[i] = mel_fma(w[k], taps[i + k], y[i]);
      }
      if (args.conv.silu != 0) silu_all<kType, kSize>(y);
      if (args.conv.residual != 0) {
        MEL_UNROLL
        for (int i = 0; i < kSize; ++i) y[i] = y[i] + taps[kHistory + i];
      }
      Vector result;
      result.set(y);
      MEL_GLOBAL(typename E::Scalar) out = MEL_GLOBAL_CAST(typename E::Scalar, args.out.data) + out_at;
      if (p >= 0 && p + kSize <= end) {
        result.store(MEL_GLOBAL_CAST(Word, out + p));
      } else {
        result.store_some(out, p, end);
      }
    }
  }
};

}  // namespace melisma::gpu
