// The gradients of the causal convolution of 2 to 4 taps in the case that most calls are: see aligned_rows-kernel.h.
// A block takes tasks of one channel: tiles of its rows, each by a few lanes (a warp where rows are long).
#pragma once

#include "blocks/gpu/conv/aligned_rows-kernel.h"
#include "blocks/gpu/conv/gradient-kernel.h"

namespace melisma::gpu {

// kBlocks: of a multiprocessor, which limits registers.
template <int kType, int kTaps, int kVectors, int kBlocks>
struct AlignedConvGradient {
  using E = ConvElement<kType>;
  using Word = typename E::Word;
  using Scalar = typename E::Scalar;
  using Vector = RowVector<kType>;
  struct Args {
    ConvArgs conv;
    SeriesArgs grad_out, x;       // x: the gradient; data null: not wanted
    ConvMatrixArgs weight, bias;  // of one group: the gradients; data null: not wanted
    MEL_GLOBAL(float) sums;       // of several: [groups][taps + 1][channels]; null: not wanted
    FastDivision by_channels, by_tiles;
    std::uint32_t tasks, group_tasks;  // items * tiles; of a block
    int lane_bits;                     // lanes of a task: 4 to 32
    int like_x;                        // see load_channel_like
  };
  static constexpr int kThreads = 128;
  static constexpr int kWarps = kThreads / 32;
  static constexpr int kMinBlocks = kBlocks;
  static constexpr int kSize = E::kPerVector;
  static constexpr int kHistory = kTaps - 1;
  static constexpr int kSharedBytes = kWarps * (kTaps + 1) * int(sizeof(float));

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    const std::uint32_t block = static_cast<std::uint32_t>(t.block()), group = divided(block, args.by_channels);
    Channel c;
    c.d = block - group * args.by_channels.divisor;
    c.bias = load_channel_like<kType, kTaps>(args.conv, args.like_x, c.d, c.w);
    MEL_UNROLL
    for (int k = 0; k < kTaps; ++k) c.sums[k] = 0.0f;
    c.bias_sums[0] = c.bias_sums[1] = 0.0f;
    const std::uint32_t first = group * args.group_tasks, end = mel_min(first + args.group_tasks, args.tasks);
    const std::uint32_t at_once = static_cast<std::uint32_t>(kThreads >> args.lane_bits);
    const std::uint32_t own = static_cast<std::uint32_t>(t.thread()) >> args.lane_bits;
    MEL_NO_UNROLL
    for (std::uint32_t task = first; task < end; task += at_once) {
      // Lanes without a task go along for the shuffles.
      tile(t, args, mel_min(task + own, end - 1), task + own < end, c);
    }
    finish(t, args, group, c, MEL_SHARED_CAST(float, shared));
  }

 private:
  struct Channel {
    std::uint32_t d;
    float w[kTaps], bias;
    float sums[kTaps], bias_sums[2];  // of even and of odd steps: fewer roundings one upon the other
  };

  MEL_FN static void tile(MEL_THREAD_ARG t, MEL_ARGS(Args) args, std::uint32_t task, bool there, MEL_LOCAL Channel& c) {
    const std::uint32_t item = divided(task, args.by_tiles), tile = task - item * args.by_tiles.divisor;
    const int bits = args.lane_bits, lanes = 1 << bits, lane = t.lane() & (lanes - 1), apart = lanes * kSize;
    const int start = static_cast<int>(tile) * (kVectors * kSize << bits), p = start + lane * kSize;
    const int tile_end = start + (kVectors * kSize << bits);
    const int steps = there ? static_cast<int>(args.conv.steps) : 0;
    const std::int64_t channel = c.d;
    MEL_GLOBAL(const Scalar)
    x = MEL_GLOBAL_CAST(const Scalar, args.conv.x.data) + item * args.conv.x.items.stride[0] +
        channel * args.conv.x.channel_stride;
    MEL_GLOBAL(const Scalar)
    above = MEL_GLOBAL_CAST(const Scalar, args.grad_out.data) + item * args.grad_out.items.stride[0] +
            channel * args.grad_out.channel_stride;
    MEL_GLOBAL(Scalar) to = MEL_GLOBAL_CAST(Scalar, args.x.data);
    if (args.x.data != nullptr) to = to + item * args.x.items.stride[0] + channel * args.x.channel_stride + p;
    const bool whole = tile_end <= steps;
    Vector xs[kVectors], aboves[kVectors], before;
    MEL_UNROLL
    for (int u = 0; u < kVectors; ++u) {
      const int at = p + u * apart;
      if (whole || at < steps) {
        xs[u].load(MEL_GLOBAL_CAST(const Word, x + at));
        aboves[u].load(MEL_GLOBAL_CAST(const Word, above + at));
      } else {
        xs[u].clear();
        aboves[u].clear();
      }
    }
    before.clear();
    if (start > 0 && lane == lanes - 1) before.load(MEL_GLOBAL_CAST(const Word, x + (start - kSize)));
    float behind[kHistory];
    gradients_behind(t, args, x, above, tile_end, steps, t.lane() - lane, c, behind);
    const int left = args.x.data == nullptr ? 0 : whole ? kVectors * apart : steps - p;
    if (args.conv.silu != 0) {
      vectors<true>(t, xs, before, aboves, behind, lane, left, apart, to, c);
    } else {
      vectors<false>(t, xs, before, aboves, behind, lane, left, apart, to, c);
    }
  }

  // Those by h of the first steps behind a tile, which other lanes compute too.
  MEL_FN static void gradients_behind(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_GLOBAL(const Scalar) x,
                                      MEL_GLOBAL(const Scalar) above, int tile_end, int steps, int base,
                                      MEL_LOCAL const Channel& c, MEL_LOCAL float (&behind)[kHistory]) {
    const int i = t.lane() - base, step = tile_end + i;
    float own = 0.0f;
    if (i < kHistory && step < steps) {
      float h = c.bias;
      MEL_UNROLL
      for (int k = 0; k < kTaps; ++k) h = mel_fma(c.w[k], E::from(x[step - kHistory + k]), h);
      own = E::from(above[step]);
      if (args.conv.silu != 0) own = own * silu_slope<kType>(h);
    }
    MEL_UNROLL
    for (int k = 0; k < kHistory; ++k) behind[k] = t.shuffle(own, base + k);
  }

  // left: from the lane's first step to the row's end; 0: x's gradient is not wanted.
  template <bool kSilu>
  MEL_FN static void vectors(MEL_THREAD_ARG t, MEL_LOCAL const Vector (&xs)[kVectors], MEL_LOCAL const Vector& before,
                             MEL_LOCAL const Vector (&aboves)[kVectors], MEL_LOCAL float (&behind)[kHistory], int lane,
                             int left, int apart, MEL_GLOBAL(Scalar) to, MEL_LOCAL Channel& c) {
    const int last = apart / kSize - 1, base = t.lane() - lane;
    const int next = base + ((lane + 1) & last), previous = base + ((lane - 1) & last);
    MEL_UNROLL
    for (int u = kVectors - 1; u >= 0; --u) {
      float taps[kHistory + kSize], g[kSize + kHistory], y[kSize];
      taps_before<kType, kTaps>(t, xs[u], u == 0 ? before : xs[u == 0 ? 0 : u - 1], lane == last, previous, taps);
      MEL_UNROLL
      for (int i = 0; i < kSize; ++i) taps[kHistory + i] = xs[u].get(i);
      MEL_UNROLL
      for (int i = 0; i < kSize; ++i) {
        g[i] = aboves[u].get(i);
        if (!kSilu) continue;
        float h = c.bias;
        MEL_UNROLL
        for (int k = 0; k < kTaps; ++k) h = mel_fma(c.w[k], taps[i + k], h);
        g[i] = g[i] * silu_slope<kType>(h);
      }
      MEL_UNROLL
      for (int i = 0; i < kHistory; ++i) {
        g[kSize + i] = t.shuffle(lane == 0 ? behind[i] : g[i], next);
        behind[i] = g[i];
      }
      MEL_UNROLL
      for (int i = 0; i < kSize; ++i) {
        y[i] = 0.0f;
        c.bias_sums[i % 2] = c.bias_sums[i % 2] + g[i];
        MEL_UNROLL
        for (int k = 0; k < kTaps; ++k) {
          c.sums[k] = mel_fma(g[i], taps[i + k], c.sums[k]);
          y[i] = mel_fma(c.w[kTaps - 1 - k], g[i + k], y[i]);
        }
      }
      if (u * apart >= left) continue;
      Vector result;
      result.set(y);
      result.store(MEL_GLOBAL_CAST(Word, to + u * apart));
    }
  }

  MEL_FN static void finish(MEL_THREAD_ARG t, MEL_ARGS(Args) args, std::uint32_t group, MEL_LOCAL const Channel& c,
                            MEL_SHARED(float) shared) {
    MEL_UNROLL
    for (int k = 0; k <= kTaps; ++k) {
      float sum = k < kTaps ? c.sums[k < kTaps ? k : 0] : c.bias_sums[0] + c.bias_sums[1];
      MEL_UNROLL
      for (int mask = 16; mask > 0; mask /= 2) sum = sum + t.shuffle_xor(sum, mask);
      if (t.lane() == 0) shared[t.warp() * (kTaps + 1) + k] = sum;
    }
    t.sync();
    const int k = t.thread();
    if (k > kTaps) return;
    float sum = shared[k];
    for (int warp = 1; warp < kWarps; ++warp) sum = sum + shared[warp * (kTaps + 1) + k];
    const std::int64_t d = c.d;
    if (args.sums != nullptr) {
      args.sums[(group * std::int64_t(kTaps + 1) + k) * args.conv.channels + d] = sum;
    } else if (k == kTaps) {
      if (args.bias.data != nullptr) store_real(args.bias.data, args.bias.type, d * args.bias.channel_stride, sum);
    } else if (args.weight.data != nullptr) {
      store_real(args.weight.data, args.weight.type, d * args.weight.channel_stride + k * args.weight.tap_stride, sum);
    }
  }
};

}  // namespace melisma::gpu
