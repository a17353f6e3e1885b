// The causal convolution of 2 to 4 taps in the case that most calls are: rows of whole vectors of 16 bytes, each at a
// multiple of 16 bytes, and nothing beside x, weight and bias. What other cases need costs a third of the instructions.
#pragma once

#include "blocks/gpu/conv/rows_conv-kernel.h"

namespace melisma::gpu {

struct AlignedRowsArgs {
  ConvArgs conv;
  SeriesArgs out;
  RowTiles tiles;  // phase is 0
  int like_x;      // see load_channel_like
};

template <int kType, int kTaps, int kVectors>
struct AlignedRowsConv {
  using E = ConvElement<kType>;
  using Word = typename E::Word;
  using Scalar = typename E::Scalar;
  using Vector = RowVector<kType>;
  using Args = AlignedRowsArgs;
  static constexpr int kThreads = 128;
  static constexpr int kSize = E::kPerVector;
  static constexpr int kHistory = kTaps - 1;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    const RowLane place = row_lane<kThreads>(t, args.tiles, t.block(), kVectors * kSize);
    const std::int64_t item = place.item, d = place.row;
    const int apart = place.lanes * kSize, p = place.start + place.lane * kSize;
    const int steps = place.there ? static_cast<int>(args.conv.steps) : 0;
    Lane c;
    c.left = steps - p;
    c.apart = apart;
    MEL_GLOBAL(const Scalar)
    x = MEL_GLOBAL_CAST(const Scalar, args.conv.x.data) + item * args.conv.x.items.stride[0] +
        d * args.conv.x.channel_stride + p;
    c.out = MEL_GLOBAL_CAST(Scalar, args.out.data) + item * args.out.items.stride[0] + d * args.out.channel_stride + p;
    const bool whole = place.lanes == 32 && place.start + kVectors * apart <= steps;  // the same in a whole warp
    MEL_UNROLL
    for (int u = 0; u < kVectors; ++u) {
      if (whole || u * apart < c.left) {
        c.v[u].load(MEL_GLOBAL_CAST(const Word, x + u * apart));
      } else {
        c.v[u].clear();
      }
    }
    c.before.clear();
    if (place.start > 0 && place.is_last()) c.before.load(MEL_GLOBAL_CAST(const Word, x - apart));
    c.bias = load_channel_like<kType, kTaps>(args.conv, args.like_x, d, c.w);
    if (args.conv.silu != 0) {
      if (whole) return finish<true, true>(t, place, c);
      return finish<true, false>(t, place, c);
    }
    if (whole) return finish<false, true>(t, place, c);
    finish<false, false>(t, place, c);
  }

 private:
  struct Lane {
    int left, apart;  // steps from the first one to the row's end; from vector to vector
    MEL_GLOBAL(Scalar) out;
    float w[kTaps], bias;
    Vector v[kVectors], before;  // before: the tile's, in its last lane
  };

  template <bool kSilu, bool kWhole>
  MEL_FN static void finish(MEL_THREAD_ARG t, MEL_LOCAL const RowLane& place, MEL_LOCAL const Lane& c) {
    MEL_UNROLL
    for (int u = 0; u < kVectors; ++u) {
      float taps[kHistory + kSize], y[kSize];
      taps_before<kType, kTaps>(t, c.v[u], u == 0 ? c.before : c.v[u == 0 ? 0 : u - 1], place.is_last(), place.beside,
                                taps);
      MEL_UNROLL
      for (int i = 0; i < kSize; ++i) taps[kHistory + i] = c.v[u].get(i);
      MEL_UNROLL
      for (int i = 0; i < kSize; ++i) {
        y[i] = c.bias;
        MEL_UNROLL
        for (int k = 0; k < kTaps; ++k) y[i] = mel_fma(c.w[k], taps[i + k], y[i]);
      }
      if (kSilu) silu_all<kType, kSize>(y);
      if (!kWhole && u * c.apart >= c.left) continue;
      Vector result;
      result.set(y);
      result.store(MEL_GLOBAL_CAST(Word, c.out + u * c.apart));
    }
  }
};

}  // namespace melisma::gpu
