// The gradients of the causal convolution of 2 to 4 taps where steps lie together in memory: x and grad_out are read
// once. A warp goes through the steps of a channel from the last to the first, a tile at a time, so that the
// derivatives by h that a tile needs from behind it are at hand; those of weight and bias are summed on the way.
#pragma once

#include "blocks/gpu/conv/gradient-kernel.h"
#include "blocks/gpu/conv/rows_conv-kernel.h"
#include "blocks/gpu/conv/rows_cuts-kernel.h"

namespace melisma::gpu {

// kBlocks: of a multiprocessor, which limits registers. kFull: with a mask, sequence numbers or packed sequences.
template <int kType, int kTaps, int kVectors, int kBlocks, bool kFull>
struct RowsConvGradient {
  using E = ConvElement<kType>;
  using Word = typename E::Word;
  using Scalar = typename E::Scalar;
  using Vector = RowVector<kType>;
  using Cuts = RowCuts<kTaps, E::kPerVector>;
  struct Args {
    ConvGradientArgs all;  // chunks: of whole tiles, which begin at multiples of 16 bytes
    FastDivision by_channels, by_chunks;
    int phase;  // elements from x's data down to a multiple of 16 bytes; grad_out and x's gradient likewise
  };
  static constexpr int kThreads = 128;
  static constexpr int kMinBlocks = kBlocks;
  static constexpr int kSize = E::kPerVector;
  static constexpr int kTile = 32 * kVectors * kSize;
  static constexpr int kHistory = kTaps - 1;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    if (t.block() < args.all.state_blocks) return store_state_gradients<float, kThreads>(t, args.all);
    const std::uint32_t warp = static_cast<std::uint32_t>(t.block() - args.all.state_blocks) * (kThreads / 32) +
                               static_cast<std::uint32_t>(t.warp());
    const std::uint32_t group = divided(warp, args.by_channels);
    if (group >= args.all.groups) return;
    Channel c;
    c.d = warp - group * args.by_channels.divisor;
    c.bias = load_channel<kTaps>(args.all.conv, c.d, c.w);
    MEL_UNROLL
    for (int k = 0; k <= kTaps; ++k) c.sums[k] = 0.0f;
    const std::int64_t end = (group + std::int64_t(1)) * args.all.tasks / args.all.groups;
    for (std::int64_t task = group * args.all.tasks / args.all.groups; task < end; ++task) {
      const std::uint32_t item = divided(static_cast<std::uint32_t>(task), args.by_chunks);
      go_through(t, args, item, static_cast<int>(task - item * args.all.chunks), c);
    }
    if (args.all.sums == nullptr) return;
    MEL_UNROLL
    for (int k = 0; k <= kTaps; ++k) {
      float sum = c.sums[k];
      MEL_UNROLL
      for (int mask = 16; mask > 0; mask /= 2) sum = sum + t.shuffle_xor(sum, mask);
      const std::int64_t at = (group * std::int64_t(kTaps + 1) + k) * args.all.conv.channels + c.d;
      if (t.lane() == 0) MEL_GLOBAL_CAST(float, args.all.sums)[at] = sum;
    }
  }

 private:
  struct Channel {
    std::int64_t d;
    float w[kTaps], bias;
    float sums[kTaps + 1];
    float behind[kHistory];  // d loss / d h of the steps behind those that come next: in lane 0
  };
  struct Row {
    std::int64_t item;
    MEL_GLOBAL(const Scalar) x;
    MEL_GLOBAL(const Scalar) above;
    MEL_GLOBAL(Scalar) to;
    int steps;
    float final[kHistory];  // gradient of the final state
  };

  // What is on its way of the present tile and, where that has been used, of the next.
  struct Tile {
    Vector x[kVectors], above[kVectors];
    Vector before;  // in lane 31, of the next tile from the time on when that of this one is taken
  };

  MEL_FN static void go_through(MEL_THREAD_ARG t, MEL_ARGS(Args) args, std::int64_t item, int chunk,
                                MEL_LOCAL Channel& c) {
    const std::int64_t x_at = series_at(args.all.conv.x, item, c.d);
    Row row;
    row.item = item;
    row.x = MEL_GLOBAL_CAST(const Scalar, args.all.conv.x.data) + x_at;
    row.above = MEL_GLOBAL_CAST(const Scalar, args.all.grad_out.data) + series_at(args.all.grad_out, item, c.d);
    row.to = MEL_GLOBAL_CAST(Scalar, args.all.x.data);
    if (args.all.x.data != nullptr) row.to = row.to + series_at(args.all.x, item, c.d);
    row.steps = static_cast<int>(args.all.conv.steps);
    load_states<kHistory>(args.all.grad_final, item, c.d, row.final);
    const int chunk_steps = static_cast<int>(args.all.chunk_steps);
    const int first = chunk * chunk_steps - static_cast<int>((args.phase + x_at) & (kSize - 1));
    int start = first + chunk_steps - kTile;
    while (start >= row.steps && start > first) start -= kTile;
    Tile now;
    load(row.x, start, t.lane(), row.steps, now.x);
    load(row.above, start, t.lane(), row.steps, now.above);
    load_before(row, start, t.lane(), now);
    behind_chunk(t, args.all, row, start + kTile, c);
    const bool quick = !kFull && args.all.conv.silu != 0 && args.all.x.data != nullptr && args.all.conv.residual == 0;
    const int initial = args.all.conv.initial.data != nullptr ? 1 : 0;  // the first step that needs no state
    const int quick_end = args.all.grad_final.data != nullptr ? row.steps - kHistory : row.steps;
    MEL_NO_UNROLL
    for (; start >= first; start -= kTile) {
      const bool more = start - kTile >= first;
      // What most tiles are is without branches.
      if (quick && start >= (more ? kTile : initial) && start + kTile <= quick_end) {
        tile<false>(t, args.all, row, start, more, now, c);
      } else {
        tile<true>(t, args.all, row, start, more, now, c);
      }
    }
  }

  // Those of the first steps behind a chunk, which another warp computes too.
  MEL_FN static void behind_chunk(MEL_THREAD_ARG t, MEL_ARGS(ConvGradientArgs) args, MEL_LOCAL const Row& row, int end,
                                  MEL_LOCAL Channel& c) {
    float own = 0.0f;
    if (t.lane() < kHistory && end + t.lane() < row.steps) {
      float taps[kMostTaps];
      const int step = end + t.lane();
      own = gradient_at<float>(args, row.item, c.d, span_of_step(args.conv, row.item, step), step, taps);
    }
    MEL_UNROLL
    for (int i = 0; i < kHistory; ++i) c.behind[i] = t.shuffle(own, i);
  }

  MEL_FN static void load_one(MEL_GLOBAL(const Scalar) from, int p, int steps, MEL_LOCAL Vector& v) {
    if (p >= 0 && p + kSize <= steps) {
      v.load(MEL_GLOBAL_CAST(const Word, from + p));
    } else {
      v.load_some(from, p, steps);
    }
  }

  MEL_FN static void load(MEL_GLOBAL(const Scalar) from, int start, int lane, int steps,
                          MEL_LOCAL Vector (&v)[kVectors]) {
    if (start >= 0 && start + kTile <= steps) {
      MEL_UNROLL
      for (int u = 0; u < kVectors; ++u) v[u].load(MEL_GLOBAL_CAST(const Word, from + start + (u * 32 + lane) * kSize));
      return;
    }
    MEL_UNROLL
    for (int u = 0; u < kVectors; ++u) load_one(from, start + (u * 32 + lane) * kSize, steps, v[u]);
  }

  MEL_FN static void load_before(MEL_LOCAL const Row& row, int start, int lane, MEL_LOCAL Tile& now) {
    now.before.clear();
    if (start > 0 && start < row.steps && lane == 31) {
      now.before.load(MEL_GLOBAL_CAST(const Word, row.x + (start - kSize)));
    }
  }

  // more: whether there is another tile of the chunk before this one. kEdge: some steps may not be there, or something
  // else is not as in most calls.
  template <bool kEdge>
  MEL_FN static void tile(MEL_THREAD_ARG t, MEL_ARGS(ConvGradientArgs) args, MEL_LOCAL const Row& row, int start,
                          bool more, MEL_LOCAL Tile& now, MEL_LOCAL Channel& c) {
    const int lane = t.lane();
    const Vector before = now.before;
    if (more) load_before(row, start - kTile, lane, now);
    MEL_UNROLL
    for (int u = kVectors - 1; u >= 0; --u) {
      const int p = start + (u * 32 + lane) * kSize;
      float taps[kHistory + kSize], g[kSize + kHistory];
      taps_before<kType, kTaps>(t, now.x[u], u == 0 ? before : now.x[u == 0 ? 0 : u - 1], lane == 31, (lane + 31) & 31,
                                taps);
      MEL_UNROLL
      for (int i = 0; i < kSize; ++i) taps[kHistory + i] = now.x[u].get(i);
      const Vector above = now.above[u];
      if (more && kEdge) {
        load_one(row.x, p - kTile, row.steps, now.x[u]);
        load_one(row.above, p - kTile, row.steps, now.above[u]);
      } else if (more) {
        now.x[u].load(MEL_GLOBAL_CAST(const Word, row.x + (p - kTile)));
        now.above[u].load(MEL_GLOBAL_CAST(const Word, row.above + (p - kTile)));
      }
      Cuts cuts;
      cuts.clear();
      if (kFull) {
        cuts.template find<kHistory>(args.conv, row.item, p);
        MEL_UNROLL
        for (int i = 0; i < kHistory + kSize; ++i) taps[i] = taps[i] * cuts.mask[i];
      }
      if (kEdge && u == 0 && p < kHistory && !(kFull && args.conv.cu_seqlens != nullptr)) {  // steps before the first
        float states[kHistory];
        load_states<kHistory>(args.conv.initial, row.item, c.d, states);
        MEL_UNROLL
        for (int i = 0; i < kHistory + kSize; ++i) {
          if (p + i < kHistory) taps[i] = state_value<kHistory>(states, p + i);
        }
      }
      if (kFull && !cuts.whole) {
        cut_derivatives(args, row, p, cuts, taps, above, c, g);
      } else {
        derivatives<kEdge>(args, c, taps, above, g);
        if (kEdge && (p < 0 || p + kSize > row.steps)) {
          MEL_UNROLL
          for (int i = 0; i < kSize; ++i) g[i] = p + i >= 0 && p + i < row.steps ? g[i] : 0.0f;
        }
        MEL_UNROLL
        for (int i = 0; i < kSize; ++i) {
          MEL_UNROLL
          for (int k = 0; k < kTaps; ++k) c.sums[k] = mel_fma(g[i], taps[i + k], c.sums[k]);
          c.sums[kTaps] = c.sums[kTaps] + g[i];
        }
      }
      MEL_UNROLL
      for (int i = 0; i < kHistory; ++i) {
        g[kSize + i] = t.shuffle(lane == 0 ? c.behind[i] : g[i], (lane + 1) & 31);
        c.behind[i] = g[i];
      }
      if (!kEdge) {
        store_whole(row, p, c, g);
      } else if (args.x.data != nullptr && p + kSize > 0 && p < row.steps) {
        store(args, row, p, c, cuts, g, above);
      }
    }
  }

  MEL_FN static void store_whole(MEL_LOCAL const Row& row, int p, MEL_LOCAL const Channel& c,
                                 MEL_LOCAL const float (&g)[kSize + kHistory]) {
    float y[kSize];
    MEL_UNROLL
    for (int i = 0; i < kSize; ++i) {
      y[i] = 0.0f;
      MEL_UNROLL
      for (int j = 0; j < kTaps; ++j) y[i] = mel_fma(c.w[kTaps - 1 - j], g[i + j], y[i]);
    }
    Vector result;
    result.set(y);
    result.store(MEL_GLOBAL_CAST(Word, row.to + p));
  }

  template <bool kEdge>
  MEL_FN static void derivatives(MEL_ARGS(ConvGradientArgs) args, MEL_LOCAL const Channel& c,
                                 MEL_LOCAL const float (&taps)[kHistory + kSize], MEL_LOCAL const Vector& above,
                                 MEL_LOCAL float (&g)[kSize + kHistory]) {
    MEL_UNROLL
    for (int i = 0; i < kSize; ++i) g[i] = above.get(i);
    if (kEdge && args.conv.silu == 0) return;
    MEL_UNROLL
    for (int i = 0; i < kSize; ++i) {
      float h = c.bias;
      MEL_UNROLL
      for (int k = 0; k < kTaps; ++k) h = mel_fma(c.w[k], taps[i + k], h);
      g[i] = g[i] * silu_slope<kType>(h);
    }
  }

  // Those of steps of which some taps may not count, and the sums.
  MEL_FN static void cut_derivatives(MEL_ARGS(ConvGradientArgs) args, MEL_LOCAL const Row& row, int p,
                                     MEL_LOCAL const Cuts& cuts, MEL_LOCAL const float (&taps)[kHistory + kSize],
                                     MEL_LOCAL const Vector& above, MEL_LOCAL Channel& c,
                                     MEL_LOCAL float (&g)[kSize + kHistory]) {
    if (cuts.states) return state_derivatives(args, row, p, c, g);
    MEL_UNROLL
    for (int i = 0; i < kSize; ++i) {
      float own[kTaps], h = c.bias;
      MEL_UNROLL
      for (int k = 0; k < kTaps; ++k) {
        own[k] = cuts.counts(i, k) ? taps[i + k] : 0.0f;
        h = mel_fma(c.w[k], own[k], h);
      }
      const bool there = p + i >= 0 && p + i < row.steps && !cuts.is_padding(i);
      const float slope = args.conv.silu != 0 ? silu_slope<kType>(h) : 1.0f;
      g[i] = there ? above.get(i) * slope : 0.0f;
      MEL_UNROLL
      for (int k = 0; k < kTaps; ++k) c.sums[k] = mel_fma(g[i], own[k], c.sums[k]);
      c.sums[kTaps] = c.sums[kTaps] + g[i];
    }
  }
  // The same where a packed sequence begins with a state of its own.
  MEL_FN static void state_derivatives(MEL_ARGS(ConvGradientArgs) args, MEL_LOCAL const Row& row, int p,
                                       MEL_LOCAL Channel& c, MEL_LOCAL float (&g)[kSize + kHistory]) {
    MEL_UNROLL
    for (int i = 0; i < kSize; ++i) g[i] = 0.0f;
    MEL_NO_UNROLL
    for (int i = 0; i < kSize; ++i) {
      const int step = p + i;
      if (step < 0 || step >= row.steps) continue;
      float taps[kMostTaps];
      const float now = gradient_at<float>(args, row.item, c.d, span_of_step(args.conv, row.item, step), step, taps);
      MEL_UNROLL
      for (int q = 0; q < kSize; ++q) g[q] = q == i ? now : g[q];
      MEL_UNROLL
      for (int k = 0; k < kTaps; ++k) c.sums[k] = mel_fma(now, taps[k], c.sums[k]);
      c.sums[kTaps] = c.sums[kTaps] + now;
    }
  }

  // What final states add to the gradients of taps near the ends of sequences.
  MEL_FN static void add_final_gradients(MEL_ARGS(ConvGradientArgs) args, MEL_LOCAL const Row& row, int p,
                                         MEL_LOCAL const Channel& c, MEL_LOCAL float (&y)[kSize]) {
    MEL_NO_UNROLL
    for (int i = 0; i < kSize; ++i) {
      const int step = p + i;
      if (step < 0 || step >= row.steps) continue;
      const float final = final_gradient<float>(args, row.item, c.d, span_of_step(args.conv, row.item, step), step);
      MEL_UNROLL
      for (int q = 0; q < kSize; ++q) y[q] = q == i ? y[q] + final : y[q];
    }
  }

  MEL_FN static void store(MEL_ARGS(ConvGradientArgs) args, MEL_LOCAL const Row& row, int p, MEL_LOCAL const Channel& c,
                           MEL_LOCAL const Cuts& cuts, MEL_LOCAL const float (&g)[kSize + kHistory],
                           MEL_LOCAL const Vector& above) {
    float y[kSize];
    MEL_UNROLL
    for (int i = 0; i < kSize; ++i) {
      y[i] = 0.0f;
      MEL_UNROLL
      for (int j = 0; j < kTaps; ++j) {
        const bool counts = !kFull || cuts.whole || cuts.counts(i + j, kHistory - j);
        y[i] = mel_fma(c.w[kTaps - 1 - j], counts ? g[i + j] : 0.0f, y[i]);
      }
    }
    if (kFull && args.grad_final.data != nullptr && (!cuts.whole || p + kSize > row.steps - kHistory)) {
      add_final_gradients(args, row, p, c, y);
    } else if (args.grad_final.data != nullptr && p + kSize > row.steps - kHistory) {
      MEL_UNROLL
      for (int i = 0; i < kSize; ++i) {
        const int place = p + i - (row.steps - kHistory);
        if (place >= 0) y[i] = y[i] + state_value<kHistory>(row.final, place);
      }
    }
    if (kFull) {
      MEL_UNROLL
      for (int i = 0; i < kSize; ++i) y[i] = y[i] * cuts.mask[kHistory + i];
    }
    if (args.conv.residual != 0) {
      MEL_UNROLL
      for (int i = 0; i < kSize; ++i) y[i] = kFull && cuts.is_padding(i) ? y[i] : y[i] + above.get(i);
    }
    Vector result;
    result.set(y);
    if (p >= 0 && p + kSize <= row.steps) {
      result.store(MEL_GLOBAL_CAST(Word, row.to + p));
    } else {
      result.store_some(row.to, p, row.steps);
    }
  }
};

}  // namespace melisma::gpu
