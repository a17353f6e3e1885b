// The causal convolution's call as kernels see it, and its pieces for any strides and types: taps, keys, sequences.
#pragma once

#include "blocks/gpu/conv/numbers-kernel.h"

namespace melisma::gpu {

enum { kMostTaps = 32 };

// [items][channels][steps]; of states, steps are the W - 1 places.
struct SeriesArgs {
  MEL_GLOBAL(void) data;
  std::int64_t channel_stride, step_stride;
  AxesArgs items;
  int type;
};
// [items][steps]
struct StepsArgs {
  MEL_GLOBAL(const void) data;
  std::int64_t stride;
  AxesArgs items;
  int type;
};

// One int32 an item; data null: not given.
struct IndexArgs {
  MEL_GLOBAL(const std::int32_t) data;
  std::int64_t stride;
};
MEL_FN std::int64_t index_at(MEL_ARGS(IndexArgs) index, std::int64_t item) { return index.data[item * index.stride]; }

// States in rows that an index names, or each item's in its own.
struct PoolArgs {
  IndexArgs row_of;
  std::int64_t pad_slot, rows;
};
// -1: none. What is neither a row nor the padding is taken as none.
MEL_FN std::int64_t pool_row(MEL_ARGS(PoolArgs) pool, std::int64_t item) {
  if (pool.row_of.data == nullptr) return item;
  const std::int64_t row = index_at(pool.row_of, item);
  return row == pool.pad_slot || row < 0 || row >= pool.rows ? -1 : row;
}

struct ConvArgs {
  SeriesArgs x;
  StepsArgs mask;  // data null: none; likewise what follows
  MEL_GLOBAL(const void) weight;
  std::int64_t weight_channel, weight_tap;
  MEL_GLOBAL(const void) bias;
  std::int64_t bias_stride;
  StepsArgs seq_idx;
  MEL_GLOBAL(const void) cu_seqlens;
  std::int64_t cu_stride;
  SeriesArgs initial;
  PoolArgs pool;                               // of initial and final states
  MEL_GLOBAL(const std::uint8_t) has_initial;  // of each sequence; null: all have
  std::int64_t has_initial_stride;
  std::int64_t items, channels, steps, sequences;
  int weight_type, bias_type, cu_wide, taps, silu, residual;
};

// The exact quotient of 0 <= n < 2^31 by a number that the host has prepared.
struct FastDivision {
  std::uint32_t multiplier, divisor;
  int shift;
};
MEL_FN std::uint32_t divided(std::uint32_t n, MEL_ARGS(FastDivision) by) {
  return static_cast<std::uint32_t>((static_cast<std::uint64_t>(n) * by.multiplier) >> by.shift);
}

// Where the lanes of a group are in their row.
struct RowTiles {
  FastDivision by_tiles, by_channels;
  std::uint32_t tasks;  // rows * tiles, below 2^31
  int lane_bits;        // lanes of a group: 4 to 32
  int phase;            // elements from x's data down to a multiple of 16 bytes
};

template <typename T>
MEL_FN T conv_bias(MEL_ARGS(ConvArgs) args, std::int64_t d) {
  return args.bias == nullptr ? T(0) : load_real<T>(args.bias, args.bias_type, d * args.bias_stride);
}
template <typename T>
MEL_FN T conv_weight(MEL_ARGS(ConvArgs) args, std::int64_t d, int k) {
  return load_real<T>(args.weight, args.weight_type, d * args.weight_channel + k * args.weight_tap);
}

// item_offset with a short way for items that are evenly apart.
MEL_FN std::int64_t axes_at(MEL_ARGS(AxesArgs) axes, std::int64_t item) {
  if (axes.count <= 1) return item * axes.stride[0];
  std::int64_t offset = 0;
  MEL_NO_UNROLL
  for (int axis = axes.count - 1; axis > 0; --axis) {
    const std::int64_t above = item / axes.size[axis];
    offset += (item - above * axes.size[axis]) * axes.stride[axis];
    item = above;
  }
  return offset + item * axes.stride[0];
}
MEL_FN std::int64_t series_at(MEL_ARGS(SeriesArgs) series, std::int64_t item, std::int64_t d) {
  return axes_at(series.items, item) + d * series.channel_stride;
}

// `steps` steps in elements, where one is less than 2^31: a product of 32 bits and its sum with a pointer are one
// instruction.
MEL_FN std::int64_t short_steps(MEL_ARGS(SeriesArgs) series, int steps) {
  return static_cast<std::int64_t>(static_cast<std::int32_t>(series.step_stride)) * steps;
}

// values[i] = element at + i stride, for those that are 0 <= first + i < end: the switch over types stands outside the
// loop.
template <int kValueType, int kCount>
MEL_FN void load_values_of(MEL_GLOBAL(const void) data, std::int64_t at, std::int64_t stride, int first, int end,
                           MEL_LOCAL float (&values)[kCount]) {
  MEL_UNROLL
  for (int i = 0; i < kCount; ++i) {
    if (first + i >= 0 && first + i < end) values[i] = load_real<float>(data, kValueType, at + i * stride);
  }
}
template <int kCount>
MEL_FN void load_values(MEL_GLOBAL(const void) data, int type, std::int64_t at, std::int64_t stride, int first, int end,
                        MEL_LOCAL float (&values)[kCount]) {
  switch (type) {
    case kSampleFloat16: return load_values_of<kSampleFloat16, kCount>(data, at, stride, first, end, values);
    case kSampleBFloat16: return load_values_of<kSampleBFloat16, kCount>(data, at, stride, first, end, values);
    case kSampleFloat64: return load_values_of<kSampleFloat64, kCount>(data, at, stride, first, end, values);
    default: return load_values_of<kSampleFloat32, kCount>(data, at, stride, first, end, values);
  }
}

// The weights and the bias of one channel. Of one type all are on their way before the first is converted: this is what
// a small call waits for.
template <int kWeightType, int kTaps>
MEL_FN float load_channel_of(MEL_ARGS(ConvArgs) args, std::int64_t d, MEL_LOCAL float (&weights)[kTaps]) {
  load_values_of<kWeightType, kTaps>(args.weight, d * args.weight_channel, args.weight_tap, 0, kTaps, weights);
  return load_real<float>(args.bias, kWeightType, d * args.bias_stride);
}
template <int kTaps>
MEL_FN float load_channel(MEL_ARGS(ConvArgs) args, std::int64_t d, MEL_LOCAL float (&weights)[kTaps]) {
  if (args.bias != nullptr && args.bias_type == args.weight_type) {
    switch (args.weight_type) {
      case kSampleFloat16: return load_channel_of<kSampleFloat16, kTaps>(args, d, weights);
      case kSampleBFloat16: return load_channel_of<kSampleBFloat16, kTaps>(args, d, weights);
      case kSampleFloat32: return load_channel_of<kSampleFloat32, kTaps>(args, d, weights);
      default: break;
    }
  }
  load_values<kTaps>(args.weight, args.weight_type, d * args.weight_channel, args.weight_tap, 0, kTaps, weights);
  return conv_bias<float>(args, d);
}

// like_x: both are of type kType, and weights lie one channel after the other, a channel's together.
template <int kType, int kTaps>
MEL_FN float load_channel_like(MEL_ARGS(ConvArgs) args, int like_x, std::int64_t d, MEL_LOCAL float (&weights)[kTaps]) {
  if (like_x == 0) return load_channel<kTaps>(args, d, weights);
  using E = ConvElement<kType>;
  using Word = typename E::Word;
  constexpr int kWords = kTaps / E::kPerWord;
  MEL_GLOBAL(const typename E::Scalar) from = MEL_GLOBAL_CAST(const typename E::Scalar, args.weight) + d * kTaps;
  const float bias = E::from(MEL_GLOBAL_CAST(const typename E::Scalar, args.bias)[d * args.bias_stride]);
  if (kTaps == 3) {
    MEL_UNROLL
    for (int k = 0; k < kTaps; ++k) weights[k] = E::from(from[k]);
  } else if (kWords == 4) {
    const Vec4<Word> four = mel_load4(MEL_GLOBAL_CAST(const Word, from));
    const Word words[4] = {four.x, four.y, four.z, four.w};
    MEL_UNROLL
    for (int k = 0; k < kTaps; ++k) weights[k] = E::get(words[k / E::kPerWord], k % E::kPerWord);
  } else if (kWords == 2) {
    const Vec2<Word> two = mel_load2(MEL_GLOBAL_CAST(const Word, from));
    MEL_UNROLL
    for (int k = 0; k < kTaps; ++k) weights[k] = E::get(k / E::kPerWord == 0 ? two.x : two.y, k % E::kPerWord);
  } else {
    const Word word = *MEL_GLOBAL_CAST(const Word, from);
    MEL_UNROLL
    for (int k = 0; k < kTaps; ++k) weights[k] = E::get(word, k % E::kPerWord);
  }
  return bias;
}

// The row of the initial states of a sequence; -1: zeros.
MEL_FN std::int64_t initial_row(MEL_ARGS(ConvArgs) args, std::int64_t sequence) {
  if (args.initial.data == nullptr) return -1;
  if (args.has_initial != nullptr && args.has_initial[sequence * args.has_initial_stride] == 0) return -1;
  return pool_row(args.pool, sequence);
}

// The places of one channel of states; zeros where there are none.
template <int kHistory>
MEL_FN void load_states(MEL_ARGS(SeriesArgs) states, std::int64_t row, std::int64_t d,
                        MEL_LOCAL float (&values)[kHistory]) {
  MEL_UNROLL
  for (int i = 0; i < kHistory; ++i) values[i] = 0.0f;
  if (states.data == nullptr || row < 0) return;
  load_values<kHistory>(states.data, states.type, series_at(states, row, d), states.step_stride, 0, kHistory, values);
}
// The value of place `place`, 0 where that is before the first.
template <int kHistory>
MEL_FN float state_value(MEL_LOCAL const float (&values)[kHistory], int place) {
  float value = 0.0f;
  MEL_UNROLL
  for (int i = 0; i < kHistory; ++i) value = place == i ? values[i] : value;
  return value;
}

MEL_FN std::int32_t key_at(MEL_ARGS(ConvArgs) args, std::int64_t item, std::int64_t step) {
  const std::int64_t s = step < 0 ? 0 : step;
  return MEL_GLOBAL_CAST(const std::int32_t,
                         args.seq_idx.data)[axes_at(args.seq_idx.items, item) + s * args.seq_idx.stride];
}
template <typename T>
MEL_FN T mask_at(MEL_ARGS(ConvArgs) args, std::int64_t item, std::int64_t step) {
  return load_real<T>(args.mask.data, args.mask.type, axes_at(args.mask.items, item) + step * args.mask.stride);
}

// Steps begin .. end - 1 share their taps; before them there is row `row` of the states.
template <typename Int>
struct SpanOf {
  Int begin, end, row;
};
using ConvSpan = SpanOf<std::int64_t>;
using ShortSpan = SpanOf<std::int32_t>;  // of fewer than 2^31 steps
// Offset i of the sequences, as near as Int comes to one that is not within x.
template <typename Int>
MEL_FN Int offset_at(MEL_ARGS(ConvArgs) args, Int i) {
  const std::int64_t at = i * args.cu_stride;
  if (args.cu_wide == 0) return MEL_GLOBAL_CAST(const std::int32_t, args.cu_seqlens)[at];
  const std::int64_t offset = MEL_GLOBAL_CAST(const std::int64_t, args.cu_seqlens)[at];
  return static_cast<Int>(mel_min(mel_max(offset, std::int64_t(0)), args.steps));
}
MEL_FN ConvSpan span_of_row(MEL_ARGS(ConvArgs) args, std::int64_t row) {
  if (args.cu_seqlens == nullptr) return ConvSpan{0, args.steps, row};
  // Whatever the offsets are, nothing outside x is read.
  const std::int64_t end = mel_min(mel_max(offset_at<std::int64_t>(args, row + 1), std::int64_t(0)), args.steps);
  return ConvSpan{mel_min(mel_max(offset_at<std::int64_t>(args, row), std::int64_t(0)), end), end, row};
}
// Of the last sequence that begins at or before the step, by bisection: an offset that was compared is not read again.
template <typename Int>
MEL_FN SpanOf<Int> sequence_span(MEL_ARGS(ConvArgs) args, Int step) {
  Int low = 0, high = static_cast<Int>(args.sequences), begin = 0, end = 0;
  bool known = false, last = false;
  while (high - low > 1) {
    const Int middle = low + (high - low) / 2, offset = offset_at<Int>(args, middle);
    if (offset <= step) {
      low = middle;
      begin = offset;
      known = true;
    } else {
      high = middle;
      end = offset;
      last = true;
    }
  }
  if (!known) begin = offset_at<Int>(args, low);
  if (!last) end = offset_at<Int>(args, low + 1);
  end = mel_min(mel_max(end, Int(0)), static_cast<Int>(args.steps));
  return SpanOf<Int>{mel_min(mel_max(begin, Int(0)), end), end, low};
}
MEL_FN ConvSpan span_of_step(MEL_ARGS(ConvArgs) args, std::int64_t item, std::int64_t step) {
  if (args.cu_seqlens == nullptr) return ConvSpan{0, args.steps, item};
  return sequence_span<std::int64_t>(args, step);
}

// The span of a step that lies behind `span`, of which there are usually few to go by.
MEL_FN ConvSpan span_after(MEL_ARGS(ConvArgs) args, ConvSpan span, std::int64_t step) {
  MEL_NO_UNROLL
  while (span.end <= step && span.row + 1 < args.sequences) span = span_of_row(args, span.row + 1);
  return span;
}

// A value of the initial state, `before` steps before the sequence's first, 1 <= before.
template <typename T>
MEL_FN T state_tap(MEL_ARGS(ConvArgs) args, std::int64_t sequence, std::int64_t d, std::int64_t before) {
  const std::int64_t row = initial_row(args, sequence);
  if (row < 0 || before >= args.taps) return T(0);
  return load_real<T>(args.initial.data, args.initial.type,
                      series_at(args.initial, row, d) + (args.taps - 1 - before) * args.initial.step_stride);
}

// The tap of a span at step s, which may lie before it.
template <typename T>
MEL_FN T tap_at(MEL_ARGS(ConvArgs) args, std::int64_t item, std::int64_t d, ConvSpan span, std::int64_t s) {
  if (s < span.begin) return state_tap<T>(args, span.row, d, span.begin - s);
  const T value = load_real<T>(args.x.data, args.x.type, series_at(args.x, item, d) + s * args.x.step_stride);
  return args.mask.data == nullptr ? value : value * mask_at<T>(args, item, s);
}

// Whether the tap at s counts in the output at t, both of one span (or s before it).
MEL_FN bool tap_counts(MEL_ARGS(ConvArgs) args, std::int64_t item, std::int64_t s, std::int64_t t) {
  return args.seq_idx.data == nullptr || key_at(args, item, s) == key_at(args, item, t);
}
MEL_FN bool is_padding(MEL_ARGS(ConvArgs) args, std::int64_t item, std::int64_t t) {
  return args.seq_idx.data != nullptr && key_at(args, item, t) < 0;
}
// Whether the tap at s is in the final state of its span.
MEL_FN bool in_final_state(MEL_ARGS(ConvArgs) args, std::int64_t item, ConvSpan span, std::int64_t s) {
  if (s >= span.end) return false;  // offsets that end too early
  if (args.seq_idx.data == nullptr || span.end <= span.begin) return true;
  return tap_counts(args, item, s, span.end - 1) && !is_padding(args, item, span.end - 1);
}

// The taps of output t, and what they sum to: bias first, then oldest to newest.
template <typename T>
MEL_FN T gather_taps(MEL_ARGS(ConvArgs) args, std::int64_t item, std::int64_t d, ConvSpan span, std::int64_t t,
                     MEL_LOCAL T (&taps)[kMostTaps]) {
  T h = conv_bias<T>(args, d);
  for (int k = 0; k < args.taps; ++k) {
    const std::int64_t s = t - (args.taps - 1) + k;
    taps[k] = tap_counts(args, item, s, t) ? tap_at<T>(args, item, d, span, s) : T(0);
    h = mel_fma(conv_weight<T>(args, d, k), taps[k], h);
  }
  return h;
}

// One output.
template <typename T>
MEL_FN T conv_output(MEL_ARGS(ConvArgs) args, std::int64_t item, std::int64_t d, std::int64_t step) {
  if (is_padding(args, item, step)) return T(0);
  T taps[kMostTaps];
  T y = gather_taps<T>(args, item, d, span_of_step(args, item, step), step, taps);
  if (args.silu != 0) y = Silu<T>::value(y, args.x.type);
  if (args.residual == 0) return y;
  return y + load_real<T>(args.x.data, args.x.type, series_at(args.x, item, d) + step * args.x.step_stride);
}

// The final state of one channel of a sequence. `states` may be the initial ones: places are read before they are
// written.
template <typename T>
MEL_FN void store_final_state(MEL_ARGS(ConvArgs) args, MEL_ARGS(SeriesArgs) states, std::int64_t sequence,
                              std::int64_t d) {
  const std::int64_t row = pool_row(args.pool, sequence);
  if (row < 0) return;
  const ConvSpan span = span_of_row(args, sequence);
  const std::int64_t item = args.cu_seqlens == nullptr ? sequence : 0;
  for (int j = 0; j < args.taps - 1; ++j) {
    const std::int64_t s = span.end - (args.taps - 1) + j;
    const T value = in_final_state(args, item, span, s) ? tap_at<T>(args, item, d, span, s) : T(0);
    store_real(states.data, states.type, series_at(states, row, d) + j * states.step_stride, value);
  }
}

// What is done beside the outputs in the first blocks of a launch, so that it needs none of its own.
struct StateBlocks {
  SeriesArgs states;
  std::int64_t blocks;
};
template <typename T, int kThreads>
MEL_FN void store_final_states(MEL_THREAD_ARG t, MEL_ARGS(ConvArgs) args, MEL_ARGS(StateBlocks) final) {
  const std::int64_t count = args.sequences * args.channels;
  for (std::int64_t i = t.block() * kThreads + t.thread(); i < count; i += final.blocks * kThreads) {
    store_final_state<T>(args, final.states, i / args.channels, i % args.channels);
  }
}

}  // namespace melisma::gpu
