// The causal convolution of rows_conv-kernel.h with masks, sequence numbers or packed sequences. A few lanes take the
// same steps of a few channels, for which they find out once which taps count.
#pragma once

#include "blocks/gpu/conv/rows_conv-kernel.h"
#include "blocks/gpu/conv/rows_cuts-kernel.h"

namespace melisma::gpu {

// kRows: channels of a task, whose rows are equally far from a multiple of 16 bytes.
template <int kType, int kTaps, int kRows>
struct RowsCutConv {
  using E = ConvElement<kType>;
  using Word = typename E::Word;
  using Scalar = typename E::Scalar;
  using Vector = RowVector<kType>;
  using Args = RowsConvArgs;  // by_channels: by the number of kRows channels
  static constexpr int kThreads = 128;
  static constexpr int kMinBlocks = 5;
  static constexpr int kSize = E::kPerVector;
  static constexpr int kHistory = kTaps - 1;
  using Cuts = RowCuts<kTaps, kSize>;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    if (t.block() < args.final.blocks) return store_final_states<float, kThreads>(t, args.conv, args.final);
    const RowLane place = row_lane<kThreads>(t, args.tiles, t.block() - args.final.blocks, kSize);
    const std::int64_t item = place.item;
    Lane c;
    c.item = item;
    c.d = std::int64_t(place.row) * kRows;
    const std::int64_t x_at = series_at(args.conv.x, item, c.d), out_at = series_at(args.out, item, c.d);
    MEL_GLOBAL(const Scalar) x = MEL_GLOBAL_CAST(const Scalar, args.conv.x.data) + x_at;
    c.out = MEL_GLOBAL_CAST(Scalar, args.out.data) + out_at;
    const int steps = static_cast<int>(args.conv.steps);
    const int start = place.start - static_cast<int>((args.tiles.phase + x_at) & (kSize - 1));
    c.p = start + place.lane * kSize;
    c.end = place.there ? steps : 0;
    c.channels = static_cast<int>(mel_min(args.conv.channels - c.d, std::int64_t(kRows)));

    Vector v[kRows], before[kRows];
    MEL_UNROLL
    for (int u = 0; u < kRows; ++u) {
      MEL_GLOBAL(const Scalar) row = x + (u < c.channels ? u : 0) * args.conv.x.channel_stride;
      if (c.p >= 0 && c.p + kSize <= steps) {
        v[u].load(MEL_GLOBAL_CAST(const Word, row + c.p));
      } else {
        v[u].load_some(row, c.p, steps);
      }
      before[u].clear();
      if (start > 0 && start < steps && place.is_last()) {
        before[u].load(MEL_GLOBAL_CAST(const Word, row + (start - kSize)));
      }
    }
    c.cuts.template find<0>(args.conv, item, c.p);

    MEL_UNROLL
    for (int u = 0; u < kRows; ++u) {
      float taps[kHistory + kSize];
      taps_before<kType, kTaps>(t, v[u], before[u], place.is_last(), place.beside, taps);
      MEL_UNROLL
      for (int i = 0; i < kSize; ++i) taps[kHistory + i] = v[u].get(i);
      if (u < c.channels && c.p + kSize > 0 && c.p < c.end && !c.cuts.states) store(args, u, v[u], taps, c);
    }
    if (!c.cuts.states) return;
    // A packed sequence begins here with a state of its own.
    MEL_NO_UNROLL
    for (int i = 0; i < c.channels * kSize; ++i) {
      const int u = i / kSize, step = c.p + i - u * kSize;
      if (step < 0 || step >= c.end) continue;
      c.out[u * args.out.channel_stride + step] = E::to(conv_output<float>(args.conv, c.item, c.d + u, step));
    }
  }

 private:
  struct Lane {
    std::int64_t item, d;  // the first channel
    int channels;
    int p, end;  // the first step; what is stored lies before end
    MEL_GLOBAL(Scalar) out;
    Cuts cuts;
  };

  MEL_FN static void store(MEL_ARGS(Args) args, int u, MEL_LOCAL const Vector& x,
                           MEL_LOCAL float (&taps)[kHistory + kSize], MEL_LOCAL const Lane& c) {
    const std::int64_t d = c.d + u;
    float w[kTaps], y[kSize];
    const float bias = load_channel<kTaps>(args.conv, d, w);
    if (args.conv.mask.data != nullptr) {
      MEL_UNROLL
      for (int i = 0; i < kHistory + kSize; ++i) taps[i] = taps[i] * c.cuts.mask[i];
    }
    if (c.p < kHistory && args.conv.cu_seqlens == nullptr) {  // steps before the first
      float states[kHistory];
      load_states<kHistory>(args.conv.initial, initial_row(args.conv, c.item), d, states);
      MEL_UNROLL
      for (int i = 0; i < kHistory + kSize; ++i) {
        if (c.p + i < kHistory) taps[i] = state_value<kHistory>(states, c.p + i);
      }
    }
    MEL_UNROLL
    for (int i = 0; i < kSize; ++i) y[i] = bias;
    if (c.cuts.whole) {
      MEL_UNROLL
      for (int i = 0; i < kSize; ++i) {
        MEL_UNROLL
        for (int k = 0; k < kTaps; ++k) y[i] = mel_fma(w[k], taps[i + k], y[i]);
      }
    } else {
      MEL_UNROLL
      for (int i = 0; i < kSize; ++i) {
        MEL_UNROLL
        for (int k = 0; k < kTaps; ++k) y[i] = mel_fma(w[k], c.cuts.counts(i, k) ? taps[i + k] : 0.0f, y[i]);
      }
    }
    if (args.conv.silu != 0) silu_all<kType, kSize>(y);
    if (args.conv.residual != 0) {
      MEL_UNROLL
      for (int i = 0; i < kSize; ++i) y[i] = y[i] + x.get(i);
    }
    if (c.cuts.padding != 0) {
      MEL_UNROLL
      for (int i = 0; i < kSize; ++i) y[i] = c.cuts.is_padding(i) ? 0.0f : y[i];
    }
    Vector result;
    result.set(y);
    MEL_GLOBAL(Scalar) out = c.out + u * args.out.channel_stride;
    if (c.p >= 0 && c.p + kSize <= c.end) {
      result.store(MEL_GLOBAL_CAST(Word, out + c.p));
    } else {
      result.store_some(out, c.p, c.end);
    }
  }
};

}  // namespace melisma::gpu
