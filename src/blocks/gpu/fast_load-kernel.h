// Samples on their way into the fast forward kernels: tables, frames inside the signal, frames gathered at its ends.
#pragma once

#include "blocks/gpu/fast_transform-kernel.h"
#include "blocks/gpu/framing-kernel.h"
#include "blocks/gpu/window_tables-kernel.h"

namespace melisma::gpu {

// Values first .. first + length - 1 of n_fft, zeros around, times scale + scale_low: one rounding of the product.
struct FastWindow {
  MEL_GLOBAL(const float) data;  // null: ones
  std::int64_t stride;
  int first, length;
  float scale, scale_low;
};

// The sample that stands at j is that at fold_step * j + fold_low where j lies before the padded signal, at
// fold_step * j + fold_high where it lies behind it; a zero where that is not in the signal.
struct FastSamples {
  SignalArgs x;
  FramingArgs framing;
  std::int64_t fold_low, fold_high;
  int fold_step;
  int input;
  int sample_bytes, line_samples;  // of 128 bytes
  int new_samples;                 // that a warp's frames have and those before them do not, to be prefetched; 0: none
  FastWindow window;
  Reciprocals<float> reciprocals;
  int inside_window;  // where in the tables frames inside find their window: 0, or that times the interior's
                      // reciprocals
};

// Where the window of sample pair B row + column stands.
template <class Plan>
MEL_FN int window_at(int row, int column) {
  if (!Plan::kSingles) return 4 * (row / 2 * Plan::B + column) + 2 * (row % 2);
  return 4 * (row / 4 * 2 * Plan::B + 2 * column) + row % 4;
}
MEL_FN void put_two(MEL_SHARED(float) to, int apart, float first, float second) {
  if (apart == 1) {
    mel_store2(to, Vec2<float>{first, second});
  } else {
    to[0] = first;
    to[apart] = second;
  }
}

// What of the tables does not depend on the signal, and the window.
template <class Plan, int kThreads>
MEL_FN void load_tables(MEL_THREAD_ARG t, MEL_ARGS(FastSamples) samples, MEL_GLOBAL(const float) twiddles,
                        MEL_SHARED(float) tables) {
  enum : int {
    kFours = (Plan::kStepFloats + Plan::kSplitFloats) / 4,
    kFourTurns = (kFours + kThreads - 1) / kThreads,
    kPairTurns = (Plan::M + kThreads - 1) / kThreads,
  };
  MEL_GLOBAL(const float) data = samples.window.data;
  const std::int64_t stride = samples.window.stride;
  Vec4<float> fours[kFourTurns];
  float values[2 * kPairTurns];
  MEL_UNROLL
  for (int turn = 0; turn < kFourTurns; ++turn) {
    const int i = turn * kThreads + t.thread();
    fours[turn] = mel_load4(twiddles + 4 * (i < kFours ? i : 0));
  }
  MEL_UNROLL
  for (int turn = 0; turn < 2 * kPairTurns; ++turn) {
    const int at = 2 * (turn / 2 * kThreads + t.thread()) + turn % 2 - samples.window.first;
    const bool there = at >= 0 && at < samples.window.length;
    values[turn] = there ? 1.0f : 0.0f;
    if (there && data != nullptr) values[turn] = data[at * stride];
  }
  MEL_UNROLL
  for (int turn = 0; turn < kFourTurns; ++turn) {
    const int i = turn * kThreads + t.thread();
    if (i < kFours) mel_store4(tables + (Plan::N + 4 * i), fours[turn]);
  }
  MEL_UNROLL
  for (int turn = 0; turn < kPairTurns; ++turn) {
    const int i = turn * kThreads + t.thread(), row = i / Plan::B, column = i - row * Plan::B;
    if (i >= Plan::M) continue;
    const int at = window_at<Plan>(row, column), apart = Plan::kSingles ? 4 : 1;
    float two[2];
    MEL_UNROLL
    for (int j = 0; j < 2; ++j) {
      const float w = values[2 * turn + j];
      two[j] = mel_fma(w, samples.window.scale, w * samples.window.scale_low);
    }
    put_two(tables + at, apart, two[0], two[1]);
    if (samples.inside_window == 0) continue;
    MEL_GLOBAL(const float) interior = samples.reciprocals.table + samples.reciprocals.head_end;
    const int period = static_cast<int>(mel_min(samples.reciprocals.hop, samples.reciprocals.n_fft));
    put_two(tables + (samples.inside_window + at), apart, two[0] * interior[2 * i % period],
            two[1] * interior[(2 * i + 1) % period]);
  }
}

// Samples first .. last - 1 of an item will be read.
MEL_FN void prefetch_samples(MEL_THREAD_ARG t, MEL_ARGS(FastSamples) samples, std::int64_t item_at, std::int64_t first,
                             int count) {
  for (int i = t.lane() * samples.line_samples; i < count; i += 32 * samples.line_samples) {
    const std::int64_t at = first + i;
    if (at < 0 || at >= samples.framing.length) continue;
    t.prefetch(MEL_GLOBAL_CAST(const char, samples.x.data) + (item_at + at) * samples.sample_bytes);
  }
}

// The same, of the item that begins at `signal`.
MEL_FN void prefetch_of_item(MEL_THREAD_ARG t, MEL_ARGS(FastSamples) samples, MEL_GLOBAL(const char) signal,
                             std::int64_t first, int count) {
  const std::uint64_t length = static_cast<std::uint64_t>(samples.framing.length);
  const int line = samples.line_samples;
  std::int64_t at = first + t.lane() * line;
  if (t.lane() * line < count && static_cast<std::uint64_t>(at) < length) {
    t.prefetch(signal + at * samples.sample_bytes);
  }
  MEL_NO_UNROLL
  for (int i = (t.lane() + 32) * line; i < count; i += 32 * line) {
    at = first + i;
    if (static_cast<std::uint64_t>(at) < length) t.prefetch(signal + at * samples.sample_bytes);
  }
}

// --- frames inside ---------------------------------------------------------------------------------------------------

template <int kCount>
MEL_FN void convert_halves(int type, MEL_LOCAL std::uint16_t (&words)[kCount], MEL_LOCAL float (&values)[kCount]) {
  if (type == kSampleInt16) {
    MEL_UNROLL
    for (int i = 0; i < kCount; ++i) values[i] = static_cast<float>(static_cast<std::int16_t>(words[i]));
  } else if (type == kSampleFloat16) {
    MEL_UNROLL
    for (int i = 0; i < kCount; ++i) values[i] = mel_half_bits_to_float(words[i]);
  } else {
    MEL_UNROLL
    for (int i = 0; i < kCount; ++i) values[i] = mel_bfloat_bits_to_float(words[i]);
  }
}

// Where a gathered frame's pair of samples, or single one, of a row and column stands: where its column's transform
// will.
template <class Plan>
MEL_FN int gathered_place(ComplexForm, int row, int column) {
  return 2 * (Plan::kRow * row + column);
}
template <class Plan>
MEL_FN int gathered_place(RealForm, int row, int column) {
  if (Plan::kSingles) return 2 * (Plan::kRow * (row / 2) + column) + row % 2;
  return 2 * (Plan::kRow * (row / 2) + 2 * column + row % 2);
}
// Sample e.
template <class Plan>
MEL_FN int gathered_at(ComplexForm, int e) {
  return e + e / (2 * Plan::B) * (2 * (Plan::kRow - Plan::B));
}
template <class Plan>
MEL_FN int gathered_at(RealForm form, int e) {
  const int row = e / (2 * Plan::B), of_row = e - row * (2 * Plan::B);
  if (Plan::kSingles) return gathered_place<Plan>(form, row, of_row);
  return gathered_place<Plan>(form, row, of_row / 2) + of_row % 2;
}
template <class Plan>
MEL_FN int gathered_at(int e) {
  return gathered_at<Plan>(typename Plan::Form{}, e);
}

// Column `column` of the frame whose samples begin at `first`, or stand in `exchange`.
template <class Plan>
MEL_FN void load_column(MEL_GLOBAL(const char) first, int input, int type, MEL_SHARED(const float) exchange, int column,
                        MEL_LOCAL Complex<float> (&v)[Plan::A]) {
  if (input == kInputPairs) {
    MEL_GLOBAL(const float) from = MEL_GLOBAL_CAST(const float, first) + 2 * column;
    MEL_UNROLL
    for (int i = 0; i < Plan::A; ++i) {
      const Vec2<float> pair = mel_load2(from + 2 * Plan::B * i);
      v[i] = Complex<float>{pair.x, pair.y};
    }
  } else if (input == kInputSamples) {
    MEL_GLOBAL(const float) from = MEL_GLOBAL_CAST(const float, first) + 2 * column;
    MEL_UNROLL
    for (int i = 0; i < Plan::A; ++i) v[i] = Complex<float>{from[2 * Plan::B * i], from[2 * Plan::B * i + 1]};
  } else if (input == kInputHalfPairs) {
    MEL_GLOBAL(const std::uint32_t) from = MEL_GLOBAL_CAST(const std::uint32_t, first) + column;
    std::uint16_t words[2 * Plan::A];
    float values[2 * Plan::A];
    MEL_UNROLL
    for (int i = 0; i < Plan::A; ++i) {
      const std::uint32_t pair = from[Plan::B * i];
      words[2 * i] = static_cast<std::uint16_t>(pair & 0xFFFFu);
      words[2 * i + 1] = static_cast<std::uint16_t>(pair >> 16);
    }
    convert_halves(type, words, values);
    MEL_UNROLL
    for (int i = 0; i < Plan::A; ++i) v[i] = Complex<float>{values[2 * i], values[2 * i + 1]};
  } else {
    MEL_UNROLL
    for (int i = 0; i < Plan::A; ++i) {
      const Vec2<float> pair = mel_load2(exchange + gathered_place<Plan>(typename Plan::Form{}, i, column));
      v[i] = Complex<float>{pair.x, pair.y};
    }
  }
}

// A single column of real values.
template <class Plan>
MEL_FN void load_single(MEL_GLOBAL(const char) first, int input, int type, MEL_SHARED(const float) exchange, int column,
                        MEL_LOCAL float (&x)[Plan::A]) {
  if (input == kInputPairs || input == kInputSamples) {
    MEL_GLOBAL(const float) from = MEL_GLOBAL_CAST(const float, first) + column;
    MEL_UNROLL
    for (int i = 0; i < Plan::A; ++i) x[i] = from[2 * Plan::B * i];
  } else if (input == kInputHalfPairs) {
    MEL_GLOBAL(const std::uint16_t) from = MEL_GLOBAL_CAST(const std::uint16_t, first) + column;
    std::uint16_t words[Plan::A];
    MEL_UNROLL
    for (int i = 0; i < Plan::A; ++i) words[i] = from[2 * Plan::B * i];
    convert_halves(type, words, x);
  } else {
    MEL_UNROLL
    for (int i = 0; i < Plan::A; ++i) x[i] = exchange[gathered_place<Plan>(typename Plan::Form{}, i, column)];
  }
}

// --- frames gathered -------------------------------------------------------------------------------------------------

MEL_FN int clamped(std::int64_t value, int last) {
  return value < 0 ? 0 : value > last ? last : static_cast<int>(value);
}

inline constexpr int kGatherLoads = 16;  // under way together

MEL_FN void convert_words(int, MEL_LOCAL float (&words)[kGatherLoads], MEL_LOCAL float (&values)[kGatherLoads]) {
  MEL_UNROLL
  for (int i = 0; i < kGatherLoads; ++i) values[i] = words[i];
}
MEL_FN void convert_words(int type, MEL_LOCAL std::uint16_t (&words)[kGatherLoads],
                          MEL_LOCAL float (&values)[kGatherLoads]) {
  convert_halves(type, words, values);
}

// A frame's samples as the padding has them; inside: all of them are the signal's. All lanes' loads are under way
// before the first is waited for: the few frames at a signal's ends are what a small call waits for.
template <class Plan, typename Word>
MEL_FN void gather_frame(MEL_ARGS(FastSamples) samples, std::int64_t item_at, std::int64_t start, bool inside, int unit,
                         MEL_SHARED(float) exchange) {
  MEL_GLOBAL(const Word) x = MEL_GLOBAL_CAST(const Word, samples.x.data) + item_at;
  const std::int64_t length = samples.framing.length, pad = samples.framing.pad;
  // Before sample `low` and from `high` on there are copies.
  const int low = inside ? 0 : clamped(-pad - start, Plan::N),
            high = inside ? int(Plan::N) : clamped(length + pad - start, Plan::N);
  const std::int64_t folded = samples.fold_step * start;
  MEL_NO_UNROLL
  for (int e = unit; e < Plan::N; e += kGatherLoads * Plan::kLanes) {
    Word words[kGatherLoads];
    MEL_UNROLL
    for (int i = 0; i < kGatherLoads; ++i) {
      const int at = e + i * Plan::kLanes;
      std::int64_t from = start + at;
      if (at < low) from = folded + samples.fold_step * at + samples.fold_low;
      if (at >= high) from = folded + samples.fold_step * at + samples.fold_high;
      words[i] = Word(0);
      if (at < Plan::N && static_cast<std::uint64_t>(from) < static_cast<std::uint64_t>(length)) {
        words[i] = x[from * samples.x.stride];
      }
    }
    float values[kGatherLoads];
    convert_words(samples.x.type, words, values);
    MEL_UNROLL
    for (int i = 0; i < kGatherLoads; ++i) {
      const int at = e + i * Plan::kLanes;
      if (at < Plan::N) exchange[gathered_at<Plan>(at)] = values[i];
    }
  }
}

// The frame's samples, which begin at `start`, times their reciprocals; beyond the signal's ends times 0, whatever the
// envelope is there.
template <class Plan>
MEL_FN void multiply_reciprocals(MEL_ARGS(Reciprocals<float>) r, MEL_ARGS(FramingArgs) framing, std::int64_t start,
                                 int unit, MEL_SHARED(float) exchange) {
  const std::int64_t q = start + framing.offset;  // counted from frame 0's first sample
  const int begin = clamped(-start, Plan::N);
  const int head = clamped(r.head_end - q, Plan::N), tail = clamped(r.tail_begin - q, Plan::N);
  const int end = clamped(mel_min(r.end, framing.offset + framing.length) - q, Plan::N);
  const int period = static_cast<int>(mel_min(r.hop, r.n_fft));
  MEL_NO_UNROLL
  for (int e = unit; e < Plan::N; e += 4 * Plan::kLanes) {
    float factors[4];
    MEL_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int at = e + i * Plan::kLanes;
      std::int64_t entry = r.head_end + at % period;
      if (at < head) entry = q + at;
      if (at >= tail) entry = r.head_end + period + (q + at - r.tail_begin);
      factors[i] = at >= begin && at < end ? r.table[entry] : 0.0f;
    }
    MEL_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int at = e + i * Plan::kLanes;
      if (at < Plan::N) exchange[gathered_at<Plan>(at)] = exchange[gathered_at<Plan>(at)] * factors[i];
    }
  }
}

// A frame's samples through shared memory. inside: all of them are the signal's, and the reciprocals in the window.
template <class Plan>
MEL_FN void gather(MEL_THREAD_ARG t, MEL_ARGS(FastSamples) samples, FastLane lane, std::int64_t item_at,
                   std::int64_t start, bool inside, MEL_SHARED(float) exchange) {
  if (lane.active) {
    if (samples.sample_bytes == 4) {
      gather_frame<Plan, float>(samples, item_at, start, inside, lane.unit, exchange);
    } else {
      gather_frame<Plan, std::uint16_t>(samples, item_at, start, inside, lane.unit, exchange);
    }
  }
  t.sync_warp();
  if (inside || samples.reciprocals.table == nullptr) return;
  if (lane.active) {
    multiply_reciprocals<Plan>(samples.reciprocals, samples.framing, start, lane.unit, exchange);
  }
  t.sync_warp();
}

}  // namespace melisma::gpu
