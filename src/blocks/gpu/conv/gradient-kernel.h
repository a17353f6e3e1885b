// The gradients of the causal convolution, for any strides and types; and what their kernels have in common.
//
// Tasks are pieces of an item's steps; a group of tasks is gone through one after the other and leaves one sum for each
// weight and bias. Tasks and groups depend on the job alone, and so do the sums.
#pragma once

#include "blocks/gpu/conv/conv-kernel.h"
#include "blocks/gpu/wide-kernel.h"

namespace melisma::gpu {

struct ConvGradientArgs {
  ConvArgs conv;
  SeriesArgs grad_out, grad_final;  // grad_final.data null: zeros
  SeriesArgs x, initial;            // the gradients; data null: not wanted
  MEL_GLOBAL(void) sums;            // [groups][taps + 1][channels], of the computation's type; null: not wanted
  std::int64_t groups, tasks, chunks, chunk_steps;  // tasks: items * chunks
  std::int64_t state_blocks;  // the first ones of the launch, for the gradient of the initial states
};

// d loss / d h at step t; taps: h's.
template <typename T>
MEL_FN T gradient_at(MEL_ARGS(ConvGradientArgs) args, std::int64_t item, std::int64_t d, ConvSpan span, std::int64_t t,
                     MEL_LOCAL T (&taps)[kMostTaps]) {
  const T h = gather_taps<T>(args.conv, item, d, span, t, taps);
  if (is_padding(args.conv, item, t)) return T(0);
  const T above = load_real<T>(args.grad_out.data, args.grad_out.type,
                               series_at(args.grad_out, item, d) + t * args.grad_out.step_stride);
  return args.conv.silu != 0 ? above * Silu<T>::slope(h, args.conv.x.type) : above;
}

// What the final state's gradient adds to that of the tap at step s of a span.
template <typename T>
MEL_FN T final_gradient(MEL_ARGS(ConvGradientArgs) args, std::int64_t item, std::int64_t d, ConvSpan span,
                        std::int64_t s) {
  const std::int64_t place = s - (span.end - (args.conv.taps - 1));
  if (args.grad_final.data == nullptr || place < 0 || !in_final_state(args.conv, item, span, s)) return T(0);
  return load_real<T>(args.grad_final.data, args.grad_final.type,
                      series_at(args.grad_final, span.row, d) + place * args.grad_final.step_stride);
}

template <typename T>
MEL_FN void store_state_gradient(MEL_ARGS(ConvGradientArgs) args, std::int64_t row, std::int64_t d) {
  const int history = args.conv.taps - 1;
  const ConvSpan span = span_of_row(args.conv, row);
  const std::int64_t item = args.conv.cu_seqlens == nullptr ? row : 0;
  const int known = static_cast<int>(mel_min(span.end - span.begin, std::int64_t(history)));
  T g[kMostTaps], taps[kMostTaps];
  for (int t = 0; t < known; ++t) g[t] = gradient_at<T>(args, item, d, span, span.begin + t, taps);
  for (int j = 0; j < history; ++j) {
    T sum = T(0);
    for (int t = 0; t <= j && t < known; ++t) {
      if (!tap_counts(args.conv, item, span.begin + t, span.begin)) continue;
      sum = mel_fma(conv_weight<T>(args.conv, d, j - t), g[t], sum);
    }
    sum = sum + final_gradient<T>(args, item, d, span, span.begin - history + j);
    store_real(args.initial.data, args.initial.type, series_at(args.initial, row, d) + j * args.initial.step_stride,
               sum);
  }
}
template <typename T, int kThreads>
MEL_FN void store_state_gradients(MEL_THREAD_ARG t, MEL_ARGS(ConvGradientArgs) args) {
  const std::int64_t count = args.conv.sequences * args.conv.channels;
  for (std::int64_t i = t.block() * kThreads + t.thread(); i < count; i += args.state_blocks * kThreads) {
    store_state_gradient<T>(args, i / args.conv.channels, i % args.conv.channels);
  }
}

// A thread takes one channel of one group.
template <typename T>
struct GenericConvGradient {
  using Args = ConvGradientArgs;
  static constexpr int kThreads = 128;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    if (t.block() < args.state_blocks) return store_state_gradients<T, kThreads>(t, args);
    const std::int64_t index = (t.block() - args.state_blocks) * kThreads + t.thread();
    const std::int64_t group = index / args.conv.channels, d = index % args.conv.channels;
    if (group >= args.groups) return;
    T sums[kMostTaps + 1];
    for (int k = 0; k <= args.conv.taps; ++k) sums[k] = T(0);
    const std::int64_t end = (group + 1) * args.tasks / args.groups;
    for (std::int64_t task = group * args.tasks / args.groups; task < end; ++task) {
      go_through(args, task / args.chunks, task % args.chunks * args.chunk_steps, d, sums);
    }
    if (args.sums == nullptr) return;
    for (int k = 0; k <= args.conv.taps; ++k) {
      MEL_GLOBAL_CAST(T, args.sums)[(group * (args.conv.taps + 1) + k) * args.conv.channels + d] = sums[k];
    }
  }

 private:
  MEL_FN static void go_through(MEL_ARGS(Args) args, std::int64_t item, std::int64_t first, std::int64_t d,
                                MEL_LOCAL T (&sums)[kMostTaps + 1]) {
    const int taps_count = args.conv.taps, history = taps_count - 1;
    const std::int64_t end = mel_min(first + args.chunk_steps, args.conv.steps);
    T g[kMostTaps], taps[kMostTaps];  // g: of the last steps, at step % kMostTaps
    for (std::int64_t t = first; t < end + history; ++t) {
      T now = T(0);
      if (t < args.conv.steps) {
        now = gradient_at<T>(args, item, d, span_of_step(args.conv, item, t), t, taps);
        if (t < end) {
          for (int k = 0; k < taps_count; ++k) sums[k] = mel_fma(now, taps[k], sums[k]);
          sums[taps_count] = sums[taps_count] + now;
        }
      }
      g[t % kMostTaps] = now;
      if (t - history >= first && args.x.data != nullptr) store_x(args, item, t - history, d, g);
    }
  }
  MEL_FN static void store_x(MEL_ARGS(Args) args, std::int64_t item, std::int64_t s, std::int64_t d,
                             MEL_LOCAL const T (&g)[kMostTaps]) {
    const ConvSpan span = span_of_step(args.conv, item, s);
    T sum = T(0);
    for (int j = 0; j < args.conv.taps; ++j) {
      const bool counts = s + j < span.end && tap_counts(args.conv, item, s, s + j);
      sum = mel_fma(conv_weight<T>(args.conv, d, args.conv.taps - 1 - j), counts ? g[(s + j) % kMostTaps] : T(0), sum);
    }
    if (args.grad_final.data != nullptr) sum = sum + final_gradient<T>(args, item, d, span, s);
    if (args.conv.mask.data != nullptr) sum = sum * mask_at<T>(args.conv, item, s);
    if (args.conv.residual != 0 && !is_padding(args.conv, item, s)) {
      sum = sum + load_real<T>(args.grad_out.data, args.grad_out.type,
                               series_at(args.grad_out, item, d) + s * args.grad_out.step_stride);
    }
    store_real(args.x.data, args.x.type, series_at(args.x, item, d) + s * args.x.step_stride, sum);
  }
};

// The groups' sums become the gradients of weight and bias: added in their order, in slices of it.
struct ConvMatrixArgs {
  MEL_GLOBAL(void) data;
  std::int64_t channel_stride, tap_stride;
  int type;
};

MEL_FN FloatPair wide_added(FloatPair sum, float value) { return wide_plus(sum, value); }
#if !defined(__METAL_VERSION__) && !defined(MELISMA_METAL_SHIM)
MEL_FN double wide_added(double sum, double value) { return sum + value; }
#endif

template <typename T, typename Wide>
struct AddConvSums {
  using Part = typename WideParts<Wide>::Part;
  struct Args {
    MEL_GLOBAL(const T) sums;
    std::int64_t groups, channels;
    int taps;
    ConvMatrixArgs weight, bias;  // data null: not wanted
  };
  static constexpr int kThreads = 256;
  static constexpr int kSlices = kThreads / 32;  // of the groups; a warp takes 32 sums of one slice
  static constexpr int kSharedBytes = kThreads * int(sizeof(Wide));
  static constexpr int kAtOnce = 8;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    MEL_SHARED(Wide) slices = MEL_SHARED_CAST(Wide, shared);
    const std::int64_t column = t.block() * 32 + t.lane(), columns = (args.taps + 1) * args.channels;
    const std::int64_t slice = (args.groups + kSlices - 1) / kSlices, begin = t.warp() * slice;
    const std::int64_t end = mel_min(begin + slice, args.groups);
    Wide sum{};
    if (column < columns) {
      std::int64_t group = begin;
      for (; group + kAtOnce <= end; group += kAtOnce) {
        T values[kAtOnce];
        MEL_UNROLL
        for (int i = 0; i < kAtOnce; ++i) values[i] = args.sums[(group + i) * columns + column];
        MEL_UNROLL
        for (int i = 0; i < kAtOnce; ++i) sum = wide_added(sum, values[i]);
      }
      for (; group < end; ++group) sum = wide_added(sum, args.sums[group * columns + column]);
    }
    slices[t.thread()] = sum;
    t.sync();
    if (t.warp() != 0 || column >= columns) return;
    for (int s = 1; s < kSlices; ++s) sum = wide_sum(sum, slices[s * 32 + t.lane()]);
    const std::int64_t k = column / args.channels, d = column % args.channels;
    const Part value = wide_to<Part>(sum);
    if (k == args.taps) {
      if (args.bias.data != nullptr) store_real(args.bias.data, args.bias.type, d * args.bias.channel_stride, value);
    } else if (args.weight.data != nullptr) {
      store_real(args.weight.data, args.weight.type, d * args.weight.channel_stride + k * args.weight.tap_stride,
                 value);
    }
  }
};

}  // namespace melisma::gpu
