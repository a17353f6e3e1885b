// The gradients of the causal convolution of 2 to 4 taps where channels lie together in memory: x and grad_out are read
// once. A thread goes through the steps of a vector of channels; what it will use a few steps later is on its way.
#pragma once

#include "blocks/gpu/conv/channel_vectors-kernel.h"
#include "blocks/gpu/conv/gradient-kernel.h"

namespace melisma::gpu {

// kFull: with a mask, sequence numbers or packed sequences.
template <int kType, int kTaps, int kWidth, bool kFull>
struct ChannelsConvGradient {
  using E = ConvElement<kType>;
  using Scalar = typename E::Scalar;
  using Vector = ChannelVector<kType, kWidth>;
  struct Args {
    ConvGradientArgs all;
    FastDivision by_columns, by_chunks;  // blocks along the channels; chunks of an item
    int vectors, vector_bits;            // vectors of channels; a block's: 2^vector_bits, of a few groups
    int packed;
  };
  static constexpr int kThreads = 128;
  static constexpr int kHistory = kTaps - 1;
  static constexpr int kMinBlocks = kType == kSampleFloat32 || kFull ? 3 : 4;
  static constexpr int kAhead = 4;  // steps that are loaded before they are used
  using Pairs = ConvPairs<Vector, kAhead, kThreads, kType == kSampleFloat32>;
  static constexpr int kSumsBytes = kThreads * (kTaps + 1) * kWidth * int(sizeof(float));
  static constexpr int kSharedBytes = Pairs::kBytes > kSumsBytes ? Pairs::kBytes : kSumsBytes;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    if (t.block() < args.all.state_blocks) return store_state_gradients<float, kThreads>(t, args.all);
    const std::uint32_t block = static_cast<std::uint32_t>(t.block() - args.all.state_blocks);
    const std::uint32_t line = divided(block, args.by_columns), column = block - line * args.by_columns.divisor;
    const int bits = args.vector_bits, vector = (static_cast<int>(column) << bits) + (t.thread() & ((1 << bits) - 1));
    const std::int64_t group = std::int64_t(line) * (kThreads >> bits) + (t.thread() >> bits);
    Channels c;
    c.pairs.start(t, shared);
    c.d = std::int64_t(vector) * kWidth;
    MEL_UNROLL
    for (int k = 0; k <= kTaps; ++k) {
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) c.sums[k][i] = 0.0f;
    }
    if (vector < args.vectors && group < args.all.groups) {
      load_channels<kTaps, kWidth>(args.all.conv, args.packed, c.d, c.w, c.bias);
      const std::int64_t end = (group + 1) * args.all.tasks / args.all.groups;
      for (std::int64_t task = group * args.all.tasks / args.all.groups; task < end; ++task) {
        const std::uint32_t item = divided(static_cast<std::uint32_t>(task), args.by_chunks);
        go_through(t, args.all, item, static_cast<int>((task - item * args.all.chunks) * args.all.chunk_steps), c);
      }
    }
    if (args.all.sums != nullptr) add_sums(t, args, line, column, c, MEL_SHARED_CAST(float, shared));
  }

 private:
  struct Channels {
    std::int64_t d;
    float w[kTaps][kWidth], bias[kWidth];
    float sums[kTaps + 1][kWidth];
    // of the item, at the first step of those that are loaded or stored next
    MEL_GLOBAL(const Scalar) x;
    MEL_GLOBAL(const Scalar) above;
    MEL_GLOBAL(Scalar) to;
    std::int64_t item;
    ConvSpan span;                                // of the present steps
    Pairs pairs;                                  // of x and above
    float taps[kTaps][kWidth], g[kTaps][kWidth];  // oldest first, the last ones of the present step
    std::int32_t keys[kAhead];                    // sequence numbers of the round's steps, or of the next one's
    KeyRun<kHistory> run;                         // before the round
  };
  // Steps of a task: those whose gradients are its own, and those behind them of which d loss / d h is needed.
  struct Range {
    int first, end, known;
  };

  // A block's threads leave one sum for each channel: fewer to be added by the launch that follows.
  MEL_FN static void add_sums(MEL_THREAD_ARG t, MEL_ARGS(Args) args, std::uint32_t line, std::uint32_t column,
                              MEL_LOCAL const Channels& c, MEL_SHARED(float) shared) {
    const int vectors = 1 << args.vector_bits, channels = vectors * kWidth, groups = kThreads >> args.vector_bits;
    const int own = (t.thread() & (vectors - 1)) * kWidth, group = t.thread() >> args.vector_bits;
    t.sync();  // all pairs have been taken
    MEL_UNROLL
    for (int k = 0; k <= kTaps; ++k) {
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) shared[(group * (kTaps + 1) + k) * channels + own + i] = c.sums[k][i];
    }
    t.sync();
    const std::int64_t first = std::int64_t(column) * channels;
    for (int at = t.thread(); at < (kTaps + 1) * channels; at += kThreads) {
      const int k = at / channels;
      const std::int64_t d = first + (at - k * channels);
      if (d >= args.all.conv.channels) continue;
      float sum = 0.0f;
      for (int g = 0; g < groups; ++g) sum = sum + shared[g * (kTaps + 1) * channels + at];
      MEL_GLOBAL_CAST(float, args.all.sums)[(line * std::int64_t(kTaps + 1) + k) * args.all.conv.channels + d] = sum;
    }
  }

  MEL_FN static void fetch(MEL_THREAD_ARG t, MEL_ARGS(ConvGradientArgs) args, bool there, int j,
                           MEL_LOCAL Channels& c) {
    c.pairs.fetch(t, there, j, c.x + short_steps(args.conv.x, j), c.above + short_steps(args.grad_out, j));
  }
  MEL_FN static void go_on(MEL_ARGS(ConvGradientArgs) args, MEL_LOCAL Channels& c) {
    c.x = c.x + short_steps(args.conv.x, kAhead);
    c.above = c.above + short_steps(args.grad_out, kAhead);
  }

  MEL_FN static void go_through(MEL_THREAD_ARG t, MEL_ARGS(ConvGradientArgs) args, std::int64_t item, int first,
                                MEL_LOCAL Channels& c) {
    const int steps = static_cast<int>(args.conv.steps);
    Range range;
    range.first = first;
    range.end = mel_min(first + static_cast<int>(args.chunk_steps), steps);
    range.known = mel_min(range.end + kHistory, steps);
    const std::int64_t x_stride = args.conv.x.step_stride;
    c.x = MEL_GLOBAL_CAST(const Scalar, args.conv.x.data) + series_at(args.conv.x, item, c.d) + first * x_stride;
    c.above = MEL_GLOBAL_CAST(const Scalar, args.grad_out.data) + series_at(args.grad_out, item, c.d) +
              first * args.grad_out.step_stride;
    c.to = MEL_GLOBAL_CAST(Scalar, args.x.data);
    if (args.x.data != nullptr) c.to = c.to + series_at(args.x, item, c.d) + (first - kHistory) * args.x.step_stride;
    c.item = item;
    c.span = ConvSpan{0, args.conv.steps, item};
    if (kFull) c.span = span_of_step(args.conv, item, first);
    Vector before[kHistory];
    MEL_UNROLL
    for (int j = 0; j < kHistory; ++j) {
      before[j].clear();
      if (first > 0) before[j].load(c.x + (j - kHistory) * x_stride);
    }
    MEL_UNROLL
    for (int j = 0; j < kAhead; ++j) fetch(t, args, first + j < range.known, j, c);
    go_on(args, c);
    MEL_UNROLL
    for (int j = 0; j < kHistory; ++j) {
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        if (first > 0) c.taps[j][i] = before[j].get(i);
        c.g[j][i] = 0.0f;
      }
      if (kFull && first > 0) times_mask(args, first + j - kHistory, c, c.taps[j]);
    }
    if (first == 0) load_state_vectors<kHistory, kWidth>(args.conv.initial, item, c.d, c.taps);
    // What most calls are is without branches.
    const bool quick = args.conv.silu != 0 && args.x.data != nullptr && args.conv.residual == 0;
    if (kFull) {
      load_keys(args.conv, first, c);
      if (args.conv.seq_idx.data != nullptr) c.run.start(args.conv, item, first);
    }
    MEL_NO_UNROLL
    for (int base = first; base < range.end + kHistory; base += kAhead) {
      const bool whole = !kFull || alike(args, base, c);
      if (kFull) load_keys(args.conv, base + kAhead, c);
      if (quick && whole && base > first && base + kAhead <= range.end && base + 2 * kAhead <= range.known) {
        MEL_UNROLL
        for (int j = 0; j < kAhead; ++j) step<false>(t, args, base + j, j, range, c);
      } else {
        MEL_UNROLL
        for (int j = 0; j < kAhead; ++j) step<true>(t, args, base + j, j, range, c);
      }
      go_on(args, c);
      c.to = c.to + short_steps(args.x, kAhead);
    }
  }

  // Whether the steps from kHistory before `base` to those of its round are of one sequence, and not its end.
  MEL_FN static bool alike(MEL_ARGS(ConvGradientArgs) args, int base, MEL_LOCAL Channels& c) {
    if (args.conv.cu_seqlens != nullptr) {
      if (base >= c.span.end) c.span = span_after(args.conv, c.span, base);
      return c.span.begin <= base - kHistory && c.span.end >= base + kAhead;
    }
    return args.conv.seq_idx.data == nullptr || c.run.template goes_on<kAhead>(c.keys);
  }

  MEL_FN static void load_keys(MEL_ARGS(ConvArgs) args, int base, MEL_LOCAL Channels& c) {
    if (args.seq_idx.data == nullptr) return;
    load_keys_of<kAhead>(args, c.item, base, static_cast<int>(args.steps) - 1, c.keys);
  }

  MEL_FN static void times_mask(MEL_ARGS(ConvGradientArgs) args, int step, MEL_LOCAL const Channels& c,
                                MEL_LOCAL float (&values)[kWidth]) {
    if (args.conv.mask.data == nullptr) return;
    const float mask = mask_at<float>(args.conv, c.item, step);
    MEL_UNROLL
    for (int i = 0; i < kWidth; ++i) values[i] = values[i] * mask;
  }

  // Step t, the j-th of its round: its derivative in place of the one above, what it adds to the sums, and the gradient
  // of the step W - 1 before. kEdge: one of these may not be there, or something else is not as in most calls.
  template <bool kEdge>
  MEL_FN static void step(MEL_THREAD_ARG self, MEL_ARGS(ConvGradientArgs) args, int t, int j,
                          MEL_LOCAL const Range& range, MEL_LOCAL Channels& c) {
    c.pairs.wait(self);
    const bool there = !kEdge || t < range.known;
    Vector x, above;
    if (kEdge) {
      x.clear();
      above.clear();
    }
    if (there) c.pairs.take(j, x, above);
    MEL_UNROLL
    for (int i = 0; i < kWidth; ++i) {
      c.taps[kHistory][i] = x.get(i);
      c.g[kHistory][i] = above.get(i);
    }
    if (kFull && there) times_mask(args, t, c, c.taps[kHistory]);
    fetch(self, args, !kEdge || t + kAhead < range.known, j, c);
    if (kFull && kEdge) {
      if (t < range.known) cut_derivatives(args, t, range, c);
    } else if (!kEdge || args.conv.silu != 0) {
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        float h = c.bias[i];
        MEL_UNROLL
        for (int k = 0; k < kTaps; ++k) h = mel_fma(c.w[k][i], c.taps[k][i], h);
        c.g[kHistory][i] = c.g[kHistory][i] * silu_slope<kType>(h);
      }
    }
    if (kEdge && t >= range.known) {
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) c.g[kHistory][i] = 0.0f;
    }
    if (!kEdge || (!kFull && t < range.end)) {
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        MEL_UNROLL
        for (int k = 0; k < kTaps; ++k) c.sums[k][i] = mel_fma(c.g[kHistory][i], c.taps[k][i], c.sums[k][i]);
        c.sums[kTaps][i] = c.sums[kTaps][i] + c.g[kHistory][i];
      }
    }
    const int s = t - kHistory;
    if (!kEdge || (s >= range.first && s < range.end && args.x.data != nullptr)) store<kEdge>(args, s, j, c);
    MEL_UNROLL
    for (int k = 0; k < kHistory; ++k) {
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        c.taps[k][i] = c.taps[k + 1][i];
        c.g[k][i] = c.g[k + 1][i];
      }
    }
  }

  // The derivative at step t and the sums, of taps that may not count.
  MEL_FN static void cut_derivatives(MEL_ARGS(ConvGradientArgs) args, int t, MEL_LOCAL const Range& range,
                                     MEL_LOCAL Channels& c) {
    if (args.conv.cu_seqlens != nullptr && t >= c.span.end) c.span = span_after(args.conv, c.span, t);
    float taps[kTaps][kWidth];
    MEL_UNROLL
    for (int k = 0; k < kTaps; ++k) {
      const int s = t - kHistory + k;
      const bool counts = k == kHistory || tap_counts(args.conv, c.item, s, t);
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) taps[k][i] = counts ? c.taps[k][i] : 0.0f;
      const std::int64_t before = c.span.begin - s;  // what lies before an item's first step is in c.taps
      if (args.conv.cu_seqlens != nullptr && before > 0) {
        load_state_vector<kWidth>(args.conv.initial, c.span.row, kHistory - before, c.d, taps[k]);
      }
    }
    const bool padding = is_padding(args.conv, c.item, t);
    MEL_UNROLL
    for (int i = 0; i < kWidth; ++i) {
      float h = c.bias[i];
      MEL_UNROLL
      for (int k = 0; k < kTaps; ++k) h = mel_fma(c.w[k][i], taps[k][i], h);
      float g = c.g[kHistory][i];
      if (args.conv.silu != 0) g = g * silu_slope<kType>(h);
      c.g[kHistory][i] = padding ? 0.0f : g;
    }
    if (t >= range.end) return;
    MEL_UNROLL
    for (int i = 0; i < kWidth; ++i) {
      MEL_UNROLL
      for (int k = 0; k < kTaps; ++k) c.sums[k][i] = mel_fma(c.g[kHistory][i], taps[k][i], c.sums[k][i]);
      c.sums[kTaps][i] = c.sums[kTaps][i] + c.g[kHistory][i];
    }
  }

  // The gradient of the tap at step s, where others of its steps may not be of its sequence.
  MEL_FN static void cut_tap_gradient(MEL_ARGS(ConvGradientArgs) args, int s, MEL_LOCAL const Channels& c,
                                      MEL_LOCAL float (&y)[kWidth]) {
    const ConvSpan span = span_of_step(args.conv, c.item, s);
    MEL_UNROLL
    for (int j = 0; j < kTaps; ++j) {
      const bool counts = j == 0 || (s + j < span.end && tap_counts(args.conv, c.item, s, s + j));
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) y[i] = mel_fma(c.w[kTaps - 1 - j][i], counts ? c.g[j][i] : 0.0f, y[i]);
    }
    const std::int64_t place = s - (span.end - kHistory);
    if (args.grad_final.data == nullptr || place < 0 || !in_final_state(args.conv, c.item, span, s)) return;
    float final[kWidth];
    load_values<kWidth>(args.grad_final.data, args.grad_final.type,
                        series_at(args.grad_final, span.row, c.d) + place * args.grad_final.step_stride,
                        args.grad_final.channel_stride, 0, kWidth, final);
    MEL_UNROLL
    for (int i = 0; i < kWidth; ++i) y[i] = y[i] + final[i];
  }

  template <bool kEdge>
  MEL_FN static void store(MEL_ARGS(ConvGradientArgs) args, int s, int j, MEL_LOCAL const Channels& c) {
    float y[kWidth];
    MEL_UNROLL
    for (int i = 0; i < kWidth; ++i) y[i] = 0.0f;
    if (kFull && kEdge) {
      cut_tap_gradient(args, s, c, y);
    } else {
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        MEL_UNROLL
        for (int k = 0; k < kTaps; ++k) y[i] = mel_fma(c.w[kTaps - 1 - k][i], c.g[k][i], y[i]);
      }
      const std::int64_t place = s - (args.conv.steps - kHistory);
      if (kEdge && args.grad_final.data != nullptr && place >= 0) {
        float final[kWidth];
        load_state_vector<kWidth>(args.grad_final, c.span.row, place, c.d, final);
        MEL_UNROLL
        for (int i = 0; i < kWidth; ++i) y[i] = y[i] + final[i];
      }
    }
    if (kFull) times_mask(args, s, c, y);
    if (kEdge && args.conv.residual != 0 && !(kFull && is_padding(args.conv, c.item, s))) {
      Vector above;
      above.load(c.above + short_steps(args.grad_out, j - kAhead - kHistory));
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) y[i] = y[i] + above.get(i);
    }
    Vector::store(c.to + short_steps(args.x, j), y);
  }
};

}  // namespace melisma::gpu
