// The causal convolution of 2 to 4 taps where channels lie together in memory. A thread walks along the steps of a
// vector of channels; what it will use a few steps later is on its way.
#pragma once

#include "blocks/gpu/conv/channel_vectors-kernel.h"

namespace melisma::gpu {

// What a step's taps are beside x's values. kConvMasked has sequences too.
enum ConvMode { kConvPlain, kConvSequences, kConvMasked };

// kAhead: steps that are loaded before they are used. kBlocks: of a multiprocessor, which limits registers.
template <int kType, int kTaps, int kWidth, int kMode, int kAhead, int kBlocks>
struct ChannelsConv {
  using E = ConvElement<kType>;
  using Scalar = typename E::Scalar;
  using Vector = ChannelVector<kType, kWidth>;
  struct Args {
    ConvArgs conv;
    SeriesArgs out;
    StateBlocks final;
    FastDivision by_vectors, by_walks;  // vectors of channels; walks of an item
    std::uint32_t tasks;                // items * walks * vectors, below 2^31
    int walk;                           // steps of a thread
    int packed_weights;
  };
  static constexpr int kThreads = 128;
  static constexpr int kMinBlocks = kBlocks;
  static constexpr int kRound = kAhead;
  static constexpr int kHistory = kTaps - 1;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    if (t.block() < args.final.blocks) return store_final_states<float, kThreads>(t, args.conv, args.final);
    const std::uint32_t index =
        static_cast<std::uint32_t>(t.block() - args.final.blocks) * kThreads + static_cast<std::uint32_t>(t.thread());
    if (index >= args.tasks) return;
    const std::uint32_t line = divided(index, args.by_vectors), item = divided(line, args.by_walks);
    const int first = static_cast<int>(line - item * args.by_walks.divisor) * args.walk;
    Walk c;
    c.d = static_cast<std::int64_t>(index - line * args.by_vectors.divisor) * kWidth;
    c.item = item;
    c.end = mel_min(first + args.walk, static_cast<int>(args.conv.steps));
    const std::int64_t stride = args.conv.x.step_stride;
    c.x = MEL_GLOBAL_CAST(const Scalar, args.conv.x.data) + series_at(args.conv.x, item, c.d) + first * stride;
    c.out = MEL_GLOBAL_CAST(Scalar, args.out.data) + series_at(args.out, item, c.d) + first * args.out.step_stride;
    Vector before[kHistory];
    MEL_UNROLL
    for (int j = 0; j < kHistory; ++j) {
      before[j].clear();
      if (first > 0) before[j].load(c.x + (j - kHistory) * stride);
    }
    MEL_UNROLL
    for (int j = 0; j < kAhead; ++j) {
      c.v[j].clear();
      if (first + j < c.end) c.v[j].load(c.x);
      c.x = c.x + stride;
    }
    load_channels<kTaps, kWidth>(args.conv, args.packed_weights, c.d, c.w, c.bias);
    load_beside(args.conv, first, c);
    c.span = ConvSpan{0, args.conv.steps, item};
    if (kMode != kConvPlain) start_sequences(args.conv, first, c);
    if (first > 0) {
      MEL_UNROLL
      for (int j = 0; j < kHistory; ++j) {
        const float mask = kMode == kConvMasked && args.conv.mask.data != nullptr
                               ? mask_at<float>(args.conv, item, first + j - kHistory)
                               : 1.0f;
        MEL_UNROLL
        for (int i = 0; i < kWidth; ++i)
          c.taps[j][i] = kMode == kConvMasked ? before[j].get(i) * mask : before[j].get(i);
      }
    } else {
      load_state_vectors<kHistory, kWidth>(args.conv.initial, initial_row(args.conv, c.span.row), c.d,
                                           c.taps);  // also of the first sequence
    }
    MEL_NO_UNROLL
    for (int base = first; base < c.end; base += kAhead) {
      const bool whole = kMode == kConvPlain || one_sequence(args.conv, base, c);
      float mask[kAhead];
      MEL_UNROLL
      for (int j = 0; j < kAhead; ++j) mask[j] = kMode == kConvMasked ? c.mask[j] : 1.0f;
      if (kMode != kConvPlain && base + kAhead < c.end) load_beside(args.conv, base + kAhead, c);
      // What most rounds are is without branches.
      if (kMode != kConvPlain && !whole) {
        cut_round(args, base, mask, c);
      } else if (base + 2 * kAhead <= c.end) {
        MEL_UNROLL
        for (int j = 0; j < kAhead; ++j) step<false>(args, base + j, j, mask, c);
      } else {
        MEL_UNROLL
        for (int j = 0; j < kAhead; ++j) {
          if (base + j < c.end) step<true>(args, base + j, j, mask, c);
        }
      }
    }
  }

 private:
  struct Walk {
    std::int64_t d, item;
    int end;
    MEL_GLOBAL(const Scalar) x;  // at the step that is loaded next
    MEL_GLOBAL(Scalar) out;      // at the step that is stored next
    Vector v[kAhead];
    float w[kTaps][kWidth], bias[kWidth];
    float taps[kTaps][kWidth];  // oldest first, the last one of the present step
    // Of the present round's steps, and of the next one's once it is loaded:
    float mask[kAhead];
    std::int32_t keys[kAhead];
    KeyRun<kHistory> run;  // before the round
    ConvSpan span;         // of a packed sequence
  };

  MEL_FN static void load_beside(MEL_ARGS(ConvArgs) args, int base, MEL_LOCAL Walk& c) {
    if (kMode == kConvMasked) {
      MEL_UNROLL
      for (int j = 0; j < kAhead; ++j) c.mask[j] = 1.0f;
      if (args.mask.data != nullptr) {
        load_values<kAhead>(args.mask.data, args.mask.type, axes_at(args.mask.items, c.item) + base * args.mask.stride,
                            args.mask.stride, base, c.end, c.mask);
      }
    }
    if (kMode != kConvPlain && args.seq_idx.data != nullptr) {
      load_keys_of<kAhead>(args, c.item, base, c.end - 1, c.keys);
    }
  }

  MEL_FN static void start_sequences(MEL_ARGS(ConvArgs) args, int first, MEL_LOCAL Walk& c) {
    if (args.cu_seqlens != nullptr) c.span = span_of_step(args, c.item, first);
    if (args.seq_idx.data == nullptr) return;
    c.run.start(args, c.item, first);
  }

  // Whether the steps from kHistory before `base` to those of its round are of one sequence.
  MEL_FN static bool one_sequence(MEL_ARGS(ConvArgs) args, int base, MEL_LOCAL Walk& c) {
    if (args.cu_seqlens != nullptr) {
      if (base >= c.span.end) c.span = span_after(args, c.span, base);
      return (c.span.begin <= base - kHistory || c.span.begin == 0) && c.span.end >= mel_min(base + kAhead, c.end);
    }
    return args.seq_idx.data == nullptr || c.run.template goes_on<kAhead>(c.keys);
  }

  // kEdge: not all steps of the next round may be there.
  template <bool kEdge>
  MEL_FN static void step(MEL_ARGS(Args) args, int t, int j, MEL_LOCAL const float (&mask)[kAhead], MEL_LOCAL Walk& c) {
    float x[kWidth], y[kWidth];
    MEL_UNROLL
    for (int i = 0; i < kWidth; ++i) {
      x[i] = c.v[j].get(i);
      c.taps[kHistory][i] = kMode == kConvMasked ? x[i] * mask[j] : x[i];
      y[i] = c.bias[i];
    }
    if (!kEdge || t + kAhead < c.end) c.v[j].load(c.x);
    c.x = c.x + args.conv.x.step_stride;
    MEL_UNROLL
    for (int k = 0; k < kTaps; ++k) {
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) y[i] = mel_fma(c.w[k][i], c.taps[k][i], y[i]);
    }
    finish(args, x, false, y, c);
  }

  // From h at a step to what is stored, and on to the next step.
  MEL_FN static void finish(MEL_ARGS(Args) args, MEL_LOCAL const float (&x)[kWidth], bool padding,
                            MEL_LOCAL float (&y)[kWidth], MEL_LOCAL Walk& c) {
    if (args.conv.silu != 0) silu_all<kType, kWidth>(y);
    if (args.conv.residual != 0) {
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) y[i] = y[i] + x[i];
    }
    if (padding) {
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) y[i] = 0.0f;
    }
    Vector::store(c.out, y);
    c.out = c.out + args.out.step_stride;
    MEL_UNROLL
    for (int k = 0; k < kHistory; ++k) {
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) c.taps[k][i] = c.taps[k + 1][i];
    }
  }

  // Steps of which some taps may not count: not unrolled, for they are few and their code is long.
  MEL_FN static void cut_round(MEL_ARGS(Args) args, int base, MEL_LOCAL const float (&mask)[kAhead],
                               MEL_LOCAL Walk& c) {
    const int count = mel_min(kAhead + 0, c.end - base);
    MEL_NO_UNROLL
    for (int j = 0; j < count; ++j) {
      Vector v = c.v[0];
      float factor = mask[0];
      MEL_UNROLL
      for (int q = 1; q < kAhead; ++q) {
        if (j == q) v = c.v[q];
        if (kMode == kConvMasked && j == q) factor = mask[q];
      }
      float x[kWidth], y[kWidth];
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) {
        x[i] = v.get(i);
        c.taps[kHistory][i] = kMode == kConvMasked ? x[i] * factor : x[i];
        y[i] = c.bias[i];
      }
      add_cut_taps(args.conv, base + j, c, y);
      finish(args, x, is_padding(args.conv, c.item, base + j), y, c);
    }
    MEL_UNROLL
    for (int j = 0; j < kAhead; ++j) {
      if (base + kAhead + j < c.end) c.v[j].load(c.x);
      c.x = c.x + args.conv.x.step_stride;
    }
  }

  MEL_FN static void add_cut_taps(MEL_ARGS(ConvArgs) args, int t, MEL_LOCAL Walk& c, MEL_LOCAL float (&y)[kWidth]) {
    if (args.cu_seqlens != nullptr && t >= c.span.end) c.span = span_after(args, c.span, t);
    MEL_UNROLL
    for (int k = 0; k < kTaps; ++k) {
      const int s = t - kHistory + k;
      const bool counts = k == kHistory || tap_counts(args, c.item, s, t);
      float tap[kWidth];
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) tap[i] = counts ? c.taps[k][i] : 0.0f;
      const std::int64_t before = c.span.begin - s;
      if (args.cu_seqlens != nullptr && before > 0) {
        load_state_vector<kWidth>(args.initial, initial_row(args, c.span.row), kHistory - before, c.d, tap);
      }
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) y[i] = mel_fma(c.w[k][i], tap[i], y[i]);
    }
  }
};

}  // namespace melisma::gpu
