// Forward transforms of float32 real frames of the sizes that FastPlan has: spectrum, power, bands. A warp works on
// kFrames frames at a time and marches along an item; warps do not wait for each other.
#pragma once

#include "blocks/gpu/fast_real-kernel.h"

namespace melisma::gpu {

// y = scale * ln(max(mul * v + add, floor)) + offset, times post_mul, plus post_add.
struct FastLog {
  float scale, mul, add, floor, offset, post_mul, post_add;
  int enabled;  // 0: y = v; 1: the whole; 2: without the logarithm
};

struct FastForwardArgs {
  FastSamples samples;
  GridArgs out;
  int frames, chunks_of_item;                 // a chunk: frames written together, a warp's or a block's
  std::int64_t chunks_of_block, more_blocks;  // the first more_blocks blocks have one more
  MEL_GLOBAL(const float) twiddles;           // step and split twiddles as FastPlan says
  int output;
  int tables_bytes;
  // Frames that begin at inside_from .. inside_to have all their samples in the signal, and the interior's reciprocals.
  std::int64_t inside_from, inside_to;
  int first_samples;          // of a warp's first frames, to be prefetched; 0: none
  std::int64_t next_samples;  // from a frame's first sample to the first one of those that the warp's next frame adds
  int bins;                   // of the spectrum
  int row;                    // values of a result's row: bins, or bands
  int row_pitch;              // from row to row in shared memory
  int misaligned;             // of out.data: in values, from a multiple of 32 bytes
  int warp_bytes;             // of shared memory, beside the block's tables
  int rows_at;                // bytes from a warp's memory to the rows to be written
  int packed_at;              // floats from a warp's memory to the packed rows' bins
  float edge;                 // factor on bins 0 and M
  // of power
  int power;
  float half_power;
  // of bands: FastBands' table, which stands in shared memory at bank_at floats, or, where that is 0, is read as it is
  MEL_GLOBAL(const float) bank;
  int bank_at, bank_floats, bank_weights;  // bank_weights: floats from the table to its weights
  int groups;                              // of 32 bands; 0: no bands asked for
  FastLog log;
  // of a logarithm whose range is limited, [chunks][warps of a chunk]: each warp's largest value; null: not asked for
  MEL_GLOBAL(float) maxima;
  float lowest;  // -infinity
};

// --- out -------------------------------------------------------------------------------------------------------------

// A result's value: Complex<float> or float. kAligned: values to 32 bytes; a bulk copy that begins elsewhere, in shared
// or in device memory, takes 1.3 times as long, for memory is written in sectors of that size.
template <typename Value>
struct FastValues;
template <>
struct FastValues<Complex<float>> {
  enum : int { kFloats = 2, kAligned = 4 };
  MEL_FN static void put(MEL_SHARED(float) row, int k, Complex<float> x) {
    mel_store2(row + 2 * k, Vec2<float>{x.re, x.im});
  }
  MEL_FN static void put_out(MEL_GLOBAL(float) to, std::int64_t at, MEL_SHARED(const float) from, int k) {
    mel_store2(to + 2 * at, mel_load2(from + 2 * k));
  }
  MEL_FN static void copy(MEL_ARGS(GridArgs) to, std::int64_t at, MEL_SHARED(const float) from, int k) {
    put_out(MEL_GLOBAL_CAST(float, to.data), at, from, k);
  }
};
template <>
struct FastValues<float> {
  enum : int { kFloats = 1, kAligned = 8 };
  MEL_FN static void put(MEL_SHARED(float) row, int k, Complex<float> x) { row[k] = mel_fma(x.re, x.re, x.im * x.im); }
  MEL_FN static void put_out(MEL_GLOBAL(float) to, std::int64_t at, MEL_SHARED(const float) from, int k) {
    to[at] = from[k];
  }
  MEL_FN static void copy(MEL_ARGS(GridArgs) to, std::int64_t at, MEL_SHARED(const float) from, int k) {
    store_real(to.data, to.type, at, from[k]);
  }
};

// A value that is no result: the magnitude.
struct FastMagnitude {};
template <>
struct FastValues<FastMagnitude> {
  MEL_FN static void put(MEL_SHARED(float) row, int k, Complex<float> x) {
    row[k] = mel_fast_sqrt(mel_fma(x.re, x.re, x.im * x.im));
  }
};

// All bins of the lane's slots.
template <class Plan, typename Value>
MEL_FN void put_bins(FastLane lane, MEL_LOCAL FastSlots<Plan>& slots, int bins, float edge, MEL_SHARED(float) row) {
  const int first = lane.unit, second = lane.unit > 0 ? lane.unit : Plan::A / 2 - Plan::A * Plan::kHalf;
  if (lane.unit == 0) {
    slots.low[0] = slots.low[0] * edge;
    slots.high[0] = slots.high[0] * edge;
    FastValues<Value>::put(row, Plan::M / 2, slots.middle);
  }
  MEL_UNROLL
  for (int s = 0; s < Plan::kSlots; ++s) {
    const int k = Plan::A * s + (s < Plan::kHalf ? first : second);
    FastValues<Value>::put(row, k, slots.low[s]);
    if (s > 0 || Plan::M - k < bins) FastValues<Value>::put(row, Plan::M - k, slots.high[s]);
  }
}

// The same of a row of the real columns' transform: bins unit + A k and, conjugated, (A - unit) + A k. Lane 0's are
// those of the packed row, which all lanes then split.
template <class Plan, typename Value>
MEL_FN void put_real_bins(MEL_THREAD_ARG t, FastLane lane, MEL_LOCAL Complex<float> (&v)[Plan::C],
                          MEL_SHARED(const float) tables, int bins, float edge, MEL_SHARED(float) packed,
                          MEL_SHARED(float) row) {
  if (lane.active && lane.unit > 0) {
    MEL_UNROLL
    for (int k = 0; k < Plan::B; ++k) FastValues<Value>::put(row, lane.unit + Plan::A * k, v[k]);
    MEL_UNROLL
    for (int k = Plan::B; k < Plan::C; ++k) {
      FastValues<Value>::put(row, Plan::A * (Plan::C - k) - lane.unit, conj(v[k]));
    }
  }
  if (lane.active && lane.unit == 0) {
    MEL_UNROLL
    for (int k = 0; k < Plan::C; k += 2) {
      mel_store4(packed + 2 * k, Vec4<float>{v[k].re, v[k].im, v[k + 1].re, v[k + 1].im});
    }
    FastValues<Value>::put(row, Plan::M / 2, conj(v[Plan::B]));
  }
  t.sync_warp();
  if (!lane.active) return;
  MEL_NO_UNROLL
  for (int k = lane.unit; k < Plan::B; k += Plan::kLanes) {
    const Vec2<float> a = mel_load2(packed + 2 * k), b = mel_load2(packed + 2 * (k == 0 ? 0 : Plan::C - k)),
                      w = mel_load2(tables + (Plan::N + Plan::kStepFloats + 2 * k));
    Complex<float> low{a.x, a.y}, high{b.x, b.y};
    split_bins(Complex<float>{w.x, w.y}, low, high);
    const float factor = k == 0 ? 0.5f * edge : 0.5f;
    FastValues<Value>::put(row, Plan::A / 2 * k, low * factor);
    if (k > 0 || Plan::M < bins) FastValues<Value>::put(row, Plan::M - Plan::A / 2 * k, high * factor);
  }
}

// `count` values to `at` of out; the row stands as far from a multiple of 32 bytes as they will.
template <typename Value>
MEL_FN void store_run(MEL_THREAD_ARG t, MEL_GLOBAL(float) out, std::int64_t at, MEL_SHARED(const float) row, int count,
                      int shift) {
  using Values = FastValues<Value>;
  const int missing = (Values::kAligned - shift) % Values::kAligned;
  const int head = missing < count ? missing : count, body = (count - head) / Values::kAligned * Values::kAligned;
  if (t.lane() < count - body) {  // what stands before and behind
    const int k = t.lane() < head ? t.lane() : body + t.lane();
    Values::put_out(out, at + k, row, k);
  }
  if (body > 0) {
    t.bulk_store(MEL_GLOBAL_CAST(char, out + (at + head) * Values::kFloats),
                 MEL_SHARED_CAST(const char, row + head * Values::kFloats), body * Values::kFloats * 4);
  }
}

// Values between a multiple of 32 bytes and a row's beginning in memory.
template <typename Value>
MEL_FN int row_shift(MEL_ARGS(FastForwardArgs) args, std::int64_t at) {
  if (args.output > kOutputRows) return 0;
  return static_cast<int>((args.misaligned + at) & (FastValues<Value>::kAligned - 1));
}

// A warp's frames `frame` .. `frame` + count - 1 of the item whose result begins at out_at, each contiguous.
template <typename Value>
MEL_FN void store_rows(MEL_THREAD_ARG t, MEL_ARGS(FastForwardArgs) args, std::int64_t out_at, std::int64_t frame,
                       int count, MEL_SHARED(const float) rows) {
  using Values = FastValues<Value>;
  MEL_GLOBAL(float) out = MEL_GLOBAL_CAST(float, args.out.data);
  t.sync_warp_bulk();
  if (args.output == kOutputOneRun) {
    const std::int64_t at = out_at + frame * args.row;
    const int shift = row_shift<Value>(args, at);
    store_run<Value>(t, out, at, rows + shift * Values::kFloats, count * args.row, shift);
  } else if (args.output == kOutputRows) {
    for (int j = 0; j < count; ++j) {
      const std::int64_t at = out_at + (frame + j) * args.out.frame_stride;
      const int shift = row_shift<Value>(args, at);
      store_run<Value>(t, out, at, rows + (j * args.row_pitch + shift) * Values::kFloats, args.row, shift);
    }
  } else {
    for (int j = 0; j < count; ++j) {
      const std::int64_t at = out_at + (frame + j) * args.out.frame_stride;
      for (int k = t.lane(); k < args.row; k += 32) {
        store_real(args.out.data, args.out.type, at + k, rows[j * args.row_pitch + k]);
      }
    }
    t.sync_warp();
  }
}

// The same of a block's frames, kFrames a warp, whose values are far apart: neighbouring threads take neighbouring
// frames. rows: warp 0's.
template <typename Value, int kFrames>
MEL_FN void store_values(MEL_THREAD_ARG t, MEL_ARGS(FastForwardArgs) args, std::int64_t out_at, std::int64_t frame,
                         int count, MEL_SHARED(const float) rows) {
  using Values = FastValues<Value>;
  const int together = t.threads() / count, j = t.thread() % count, first = t.thread() / count;
  t.sync();
  if (first < together) {
    MEL_SHARED(const float)
    row = rows + (j / kFrames * (args.warp_bytes / 4) + j % kFrames * args.row_pitch * Values::kFloats);
    std::int64_t at = out_at + (frame + j) * args.out.frame_stride + first * args.out.bin_stride;
    for (int k = first; k < args.row; k += together) {
      Values::copy(args.out, at, row, k);
      at += together * args.out.bin_stride;
    }
  }
  t.sync();
}

// --- power and bands -------------------------------------------------------------------------------------------------

// A frame's squares to a power that is neither 1 nor 2, by its lanes.
template <class Plan>
MEL_FN void raise_squares(MEL_ARGS(FastForwardArgs) args, int unit, MEL_SHARED(float) squares) {
  MEL_NO_UNROLL
  for (int k = unit; k < args.bins; k += Plan::kLanes) {
    const float square = squares[k];
    if (square != 0.0f) squares[k] = mel_pow(square, args.half_power);
  }
}

MEL_FN float fast_logarithm(MEL_ARGS(FastLog) log, float v) {
  if (log.enabled == 1) {
    const float argument = mel_fma(log.mul, v, log.add);
    v = mel_fma(log.scale, mel_log(argument < log.floor ? log.floor : argument), log.offset);
  }
  return mel_fma(log.post_mul, v, log.post_add);
}

// Bands by all lanes of the warp, each a band of every frame. Ints, Floats: pointers to the bank's table, in shared or
// device memory. row_at: each frame's row in `rows`. The largest of `largest` and the lane's bands.
template <class Plan, typename Ints, typename Floats>
MEL_FN float sum_bands(MEL_THREAD_ARG t, MEL_ARGS(FastForwardArgs) args, Ints ranges, Floats weights,
                       MEL_SHARED(const float) squares, MEL_SHARED(float) rows, MEL_LOCAL int (&row_at)[Plan::kFrames],
                       float largest) {
  weights = weights + 4 * t.lane();
  ranges = ranges + 4 * t.lane();
  MEL_NO_UNROLL
  for (int group = 0; group < args.groups; ++group) {
    const Vec4<std::int32_t> range = mel_load4(ranges);
    MEL_SHARED(const float) value = squares + range.x;
    float even[Plan::kFrames], odd[Plan::kFrames];
    MEL_UNROLL
    for (int j = 0; j < Plan::kFrames; ++j) even[j] = odd[j] = 0.0f;
    MEL_NO_UNROLL
    for (int i = 0; i < range.y; i += Plan::kFours) {
      MEL_UNROLL
      for (int k = 0; k < Plan::kFours; ++k) {
        const Vec4<float> w = mel_load4(weights + 128 * k);
        MEL_UNROLL
        for (int j = 0; j < Plan::kFrames; ++j) {
          MEL_SHARED(const float) bins = value + (Plan::kSquares * j + 4 * k);
          const Vec2<float> low = mel_load2(bins), high = mel_load2(bins + 2);
          even[j] = mel_fma(w.x, low.x, even[j]);
          odd[j] = mel_fma(w.y, low.y, odd[j]);
          even[j] = mel_fma(w.z, high.x, even[j]);
          odd[j] = mel_fma(w.w, high.y, odd[j]);
        }
      }
      weights = weights + 128 * Plan::kFours;
      value = value + 4 * Plan::kFours;
    }
    if (range.z >= 0) {
      float sums[Plan::kFrames];
      MEL_UNROLL
      for (int j = 0; j < Plan::kFrames; ++j) sums[j] = even[j] + odd[j];
      if (args.log.enabled != 0) {
        MEL_UNROLL
        for (int j = 0; j < Plan::kFrames; ++j) sums[j] = fast_logarithm(args.log, sums[j]);
      }
      MEL_UNROLL
      for (int j = 0; j < Plan::kFrames; ++j) rows[row_at[j] + range.z] = sums[j];
      if (args.maxima != nullptr) {
        MEL_UNROLL
        for (int j = 0; j < Plan::kFrames; ++j) largest = sums[j] > largest ? sums[j] : largest;
      }
    }
    ranges = ranges + 128;
  }
  return largest;
}

// What happens to a warp's squares between transform and store; `squares` is this lane's frame's, row_at says where in
// `rows` its row is. The largest of `largest` and the lane's bands.
template <class Plan>
MEL_FN float finish_rows(MEL_THREAD_ARG t, MEL_ARGS(FastForwardArgs) args, FastLane lane,
                         MEL_SHARED(const float) tables, MEL_SHARED(float) area, MEL_SHARED(float) squares,
                         MEL_SHARED(float) rows, int row_at, float largest) {
  if (args.power == kPowerGeneral) {
    t.sync_warp();
    if (lane.active) raise_squares<Plan>(args, lane.unit, squares);
  }
  if (args.groups == 0) return largest;
  static_assert(Plan::kLanes >= 4 * Plan::kFours, "a zero a lane");
  const int behind = args.bins + lane.unit;
  if (lane.active && behind < Plan::M + 4 * Plan::kFours) squares[behind] = 0.0f;
  t.sync_warp();
  int places[Plan::kFrames];
  MEL_UNROLL
  for (int j = 0; j < Plan::kFrames; ++j) {
    places[j] = Plan::kFrames == 1 ? row_at : t.shuffle(row_at, first_lane<Plan>(j));
  }
  if (args.bank_at > 0) {
    MEL_SHARED(const float) bank = tables + args.bank_at;
    largest = sum_bands<Plan>(t, args, MEL_SHARED_CAST(const std::int32_t, bank), bank + args.bank_weights, area, rows,
                              places, largest);
  } else {
    largest = sum_bands<Plan>(t, args, MEL_GLOBAL_CAST(const std::int32_t, args.bank), args.bank + args.bank_weights,
                              area, rows, places, largest);
  }
  t.sync_warp();  // the squares' memory is free
  return largest;
}

MEL_FN float warp_maximum(MEL_THREAD_ARG t, float value) {
  for (int mask = 16; mask > 0; mask /= 2) {
    const float other = t.shuffle_xor(value, mask);
    if (other > value) value = other;
  }
  return value;
}

// --- the kernel ------------------------------------------------------------------------------------------------------

template <class Plan_, typename Value_, int kWarps, int kMinBlocks_>
struct FastForward {
  using Args = FastForwardArgs;
  using Plan = Plan_;
  using Value = Value_;
  enum : int { kFloats = FastValues<Value>::kFloats, kAligned = FastValues<Value>::kAligned };
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kMinBlocks = kMinBlocks_;

  // Where a warp's frames are.
  struct Place {
    MEL_GLOBAL(const char) signal;  // the item's
    MEL_GLOBAL(const char) first;   // this lane's frame's
    std::int64_t next;              // where samples begin that the warp's next frames add
    int input, window_at;
  };

  // The lane's columns to `exchange`.
  MEL_FN static void put_columns(ComplexForm, MEL_THREAD_ARG t, MEL_ARGS(Args) args, FastLane lane,
                                 MEL_LOCAL const Place& place, MEL_SHARED(const float) tables,
                                 MEL_LOCAL HeldWindow<Plan>&, MEL_SHARED(float) exchange) {
    MEL_NO_UNROLL
    for (int i = 0; i < Plan::kColumns; ++i) {
      const int column = lane.unit + i * Plan::kLanes;
      const bool there = Plan::kAllColumns || column < Plan::B;
      const int safe = there ? column : 0;
      Complex<float> v[Plan::A];
      load_column<Plan>(place.first, place.input, args.samples.x.type, exchange, safe, v);
      if (i == 0) prefetch_of_item(t, args.samples, place.signal, place.next, args.samples.new_samples);
      transform_column<Plan>(v, tables, place.window_at, safe);
      if (i == 0) t.bulk_wait();
      if (lane.active && there) {
        MEL_UNROLL
        for (int k = 0; k < Plan::A; ++k) {
          mel_store2(exchange + 2 * (Plan::kRow * k + column), Vec2<float>{v[k].re, v[k].im});
        }
      }
    }
  }
  MEL_FN static void put_columns(RealForm, MEL_THREAD_ARG t, MEL_ARGS(Args) args, FastLane lane,
                                 MEL_LOCAL const Place& place, MEL_SHARED(const float) tables,
                                 MEL_LOCAL HeldWindow<Plan>& held, MEL_SHARED(float) exchange) {
    MEL_NO_UNROLL
    for (int i = 0; i < Plan::kColumns; ++i) {
      const int column = lane.unit + i * Plan::kLanes;
      const bool there = Plan::kAllColumns || column < Plan::kTurns;
      put_turn(RealTurn<Plan::kSingles>{}, t, args, place, tables, held, there ? column : 0, lane.active && there,
               i == 0, exchange);
    }
  }
  template <int kSingles>
  struct RealTurn {};
  MEL_FN static void put_turn(RealTurn<0>, MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_LOCAL const Place& place,
                              MEL_SHARED(const float) tables, MEL_LOCAL HeldWindow<Plan>& held, int column, bool store,
                              bool first, MEL_SHARED(float) exchange) {
    Complex<float> v[Plan::A];
    load_column<Plan>(place.first, place.input, args.samples.x.type, exchange, column, v);
    if (first) prefetch_of_item(t, args.samples, place.signal, place.next, args.samples.new_samples);
    window_columns<Plan>(v, tables + (place.window_at + 4 * column), held,
                         place.window_at == args.samples.inside_window);
    if (first) t.bulk_wait();
    transform_columns<Plan>(v, tables + Plan::N, column, store, exchange);
  }
  MEL_FN static void put_turn(RealTurn<1>, MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_LOCAL const Place& place,
                              MEL_SHARED(const float) tables, MEL_LOCAL HeldWindow<Plan>& held, int column, bool store,
                              bool first, MEL_SHARED(float) exchange) {
    float x[Plan::A];
    load_single<Plan>(place.first, place.input, args.samples.x.type, exchange, column, x);
    if (first) prefetch_of_item(t, args.samples, place.signal, place.next, args.samples.new_samples);
    window_column<Plan>(x, tables + (place.window_at + 4 * column), held,
                        place.window_at == args.samples.inside_window);
    if (first) t.bulk_wait();
    transform_single<Plan>(x, tables + Plan::N, column, store, exchange);
  }

  // The lane's rows of `exchange` to `bins`.
  MEL_FN static void put_rows(ComplexForm, MEL_THREAD_ARG t, MEL_ARGS(Args) args, FastLane lane,
                              MEL_SHARED(const float) tables, MEL_SHARED(float), MEL_SHARED(const float) exchange,
                              MEL_SHARED(float) bins) {
    FastSlots<Plan> slots;
    transform_rows<Plan>(t, lane, exchange, tables, slots);
    if (!lane.active) return;
    if (kFloats == 1 && args.power == kPowerRoot) {
      put_bins<Plan, FastMagnitude>(lane, slots, args.bins, args.edge, bins);
    } else {
      put_bins<Plan, Value>(lane, slots, args.bins, args.edge, bins);
    }
  }
  MEL_FN static void put_rows(RealForm, MEL_THREAD_ARG t, MEL_ARGS(Args) args, FastLane lane,
                              MEL_SHARED(const float) tables, MEL_SHARED(float) area, MEL_SHARED(const float) exchange,
                              MEL_SHARED(float) bins) {
    MEL_SHARED(float) packed = area + (args.packed_at + Plan::kPackedFloats * lane.frame);
    Complex<float> v[Plan::C];
    transform_row<Plan>(t, lane, exchange, v);
    if (kFloats == 1 && args.power == kPowerRoot) {
      put_real_bins<Plan, FastMagnitude>(t, lane, v, tables, args.bins, args.edge, packed, bins);
    } else {
      put_real_bins<Plan, Value>(t, lane, v, tables, args.bins, args.edge, packed, bins);
    }
  }

  // `count` frames from `frame` on of the item that begins at `signal`, item_at values from the first one, to `rows`,
  // this lane's frame's to row_at. Its largest band.
  MEL_FN static float transform(MEL_THREAD_ARG t, MEL_ARGS(Args) args, FastLane lane, MEL_GLOBAL(const char) signal,
                                std::int64_t item_at, int frame, int count, MEL_SHARED(const float) tables,
                                MEL_LOCAL HeldWindow<Plan>& held, MEL_SHARED(float) area, MEL_SHARED(float) rows,
                                int row_at) {
    MEL_SHARED(float) exchange = area + 2 * Plan::kFrame * lane.frame;
    MEL_ARGS(FramingArgs) framing = args.samples.framing;
    const std::int64_t first_start = frame_start(framing, frame);
    std::int64_t start = first_start + lane.frame * framing.hop;
    std::int64_t last_start = first_start + (Plan::kFrames - 1) * framing.hop;
    if (Plan::kFrames > 1 && (count < Plan::kFrames || framing.hop_mantissa != 0)) {
      const int last = mel_min(count, int(Plan::kFrames)) - 1;  // lanes without a frame repeat the last one
      start = frame_start(framing, frame + mel_min(lane.frame, last));
      last_start = frame_start(framing, frame + last);
    }
    const bool inside = first_start >= args.inside_from && last_start <= args.inside_to;
    Place place;
    place.input = args.samples.input;
    place.signal = signal;
    place.first = signal;
    place.next = last_start + args.next_samples;
    place.window_at = inside ? args.samples.inside_window : 0;
    if (!inside || place.input == kInputAny) {
      place.input = kInputAny;
      t.bulk_wait();
      gather<Plan>(t, args.samples, lane, item_at, start, inside, exchange);
    } else {
      place.first += start * args.samples.sample_bytes;
    }
    put_columns(typename Plan::Form{}, t, args, lane, place, tables, held, exchange);
    t.sync_warp();
    MEL_SHARED(float) bins = args.groups > 0 ? area + Plan::kSquares * lane.frame : rows + row_at * kFloats;
    put_rows(typename Plan::Form{}, t, args, lane, tables, area, exchange, bins);
    if (kFloats == 2) return args.lowest;
    return finish_rows<Plan>(t, args, lane, tables, area, bins, rows, row_at, args.lowest);
  }

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    MEL_SHARED(float) tables = MEL_SHARED_CAST(float, shared);
    MEL_GLOBAL(const char) data = MEL_GLOBAL_CAST(const char, args.samples.x.data);
    // A block's warps take chunks that follow each other, so that most of their samples are the same, or one together.
    const bool together = args.output == kOutputValues;
    const int warp = together ? t.warp() : 0, warps = together ? kWarps : 1, of_chunk = warps * Plan::kFrames;
    const int step = together ? 1 : kWarps;
    const std::int64_t chunk =
        t.block() * args.chunks_of_block + mel_min(t.block(), args.more_blocks) + (together ? 0 : t.warp());
    int left = static_cast<int>(args.chunks_of_block) + (t.block() < args.more_blocks ? 1 : 0) -
               (together ? 0 : t.warp());  // of the block's chunks, from this warp's on
    std::int64_t item = 0;
    if (chunk >= args.chunks_of_item) item = chunk / args.chunks_of_item;
    int of_item = static_cast<int>(chunk - item * args.chunks_of_item);
    if (left > 0) {
      prefetch_of_item(t, args.samples, data + item_offset(args.samples.x.items, item) * args.samples.sample_bytes,
                       frame_start(args.samples.framing, of_item * of_chunk + warp * Plan::kFrames),
                       args.first_samples);
    }
    load_tables<Plan, kThreads>(t, args.samples, args.twiddles, tables);
    if (kFloats == 1 && args.bank_at > 0) {
      for (int i = 4 * t.thread(); i < args.bank_floats; i += 4 * kThreads) {
        mel_store4(tables + (args.bank_at + i), mel_load4(args.bank + i));
      }
    }
    t.sync();
    const FastLane lane = fast_lane<Plan>(t);
    HeldWindow<Plan> held;
    if (Plan::kHeld > 0) hold_window<Plan>(tables, args.samples.inside_window, lane, held);
    MEL_SHARED(char) memory = shared + (args.tables_bytes + t.warp() * args.warp_bytes);
    MEL_SHARED(float) area = MEL_SHARED_CAST(float, memory);
    MEL_SHARED(float) rows = MEL_SHARED_CAST(float, memory + args.rows_at);
    std::int64_t item_at = 0, out_at = 0;
    MEL_GLOBAL(const char) signal = data;
    bool entered = true;
    for (; left > 0; left -= step) {
      if (entered) {
        item_at = item_offset(args.samples.x.items, item);
        out_at = item_offset(args.out.items, item);
        signal = data + item_at * args.samples.sample_bytes;
      }
      const int first = of_item * of_chunk, count = mel_min(args.frames - first, of_chunk);
      float largest = args.lowest;
      if (warp * Plan::kFrames < count) {
        int at = lane.frame * args.row_pitch;
        if (args.output == kOutputOneRun) {
          at += row_shift<Value>(args, out_at + static_cast<std::int64_t>(first) * args.row);
        } else {
          at += row_shift<Value>(args, out_at + (first + lane.frame) * args.out.frame_stride);
        }
        largest = transform(t, args, lane, signal, item_at, first + warp * Plan::kFrames, count - warp * Plan::kFrames,
                            tables, held, area, rows, at);
      }
      if (together) {
        store_values<Value, Plan::kFrames>(t, args, out_at, first, count,
                                           MEL_SHARED_CAST(const float, shared + (args.tables_bytes + args.rows_at)));
      } else {
        store_rows<Value>(t, args, out_at, first, count, rows);
      }
      if (kFloats == 1 && args.maxima != nullptr) {
        largest = warp_maximum(t, largest);
        if (t.lane() == 0) args.maxima[(item * args.chunks_of_item + of_item) * warps + warp] = largest;
      }
      of_item += step;
      entered = false;
      while (of_item >= args.chunks_of_item) {
        of_item -= args.chunks_of_item;
        ++item;
        entered = true;
      }
    }
    t.bulk_wait();
  }
};

}  // namespace melisma::gpu
