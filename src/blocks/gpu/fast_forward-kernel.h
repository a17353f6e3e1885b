// Forward transforms of float32 real frames of the sizes that FastPlan has: spectrum, power, bands. A warp works on
// kFrames frames at a time and marches along an item; warps do not wait for each other.
#pragma once

#include "blocks/gpu/fast_load-kernel.h"

namespace melisma::gpu {

// y = scale * ln(max(mul * v + add, floor)) + offset, times post_mul, plus post_add.
struct FastLog {
  float scale, mul, add, floor, offset, post_mul, post_add;
  int enabled;  // 0: y = v; 1: the whole; 2: without the logarithm
};

struct FastForwardArgs {
  FastSamples samples;
  GridArgs out;
  std::int64_t items, chunks_of_item;  // a chunk: frames written together, a warp's or a block's
  MEL_GLOBAL(const float) twiddles;    // step and split twiddles as FastPlan says
  int output;
  int tables_bytes;
  // Frames that begin at inside_from .. inside_to have all their samples in the signal, and the interior's reciprocals.
  std::int64_t inside_from, inside_to;
  std::int64_t next_samples;  // from a frame's first sample to the first one of those that the warp's next frame adds
  int bins;                   // of the spectrum
  int row;                    // values of a result's row: bins, or bands
  int row_pitch;              // from row to row in shared memory
  int misaligned;             // of out.data: in values, from a multiple of 16 bytes
  int warp_bytes;             // of shared memory, beside the block's tables
  int rows_at;                // bytes from a warp's memory to the rows to be written
  float edge;                 // factor on bins 0 and M
  // of power
  int power;
  float half_power;
  // of bands: FastBank's table, which stands in shared memory at bank_at floats, or, where that is 0, is read as it is
  MEL_GLOBAL(const float) bank;
  int bank_at, bank_floats, bank_weights;  // bank_weights: floats from the table to its weights
  int groups;                              // of bands; 0: no bands asked for
  FastLog log;
  // of a logarithm whose range is limited, [chunks][warps of a chunk]: each warp's largest value; null: not asked for
  MEL_GLOBAL(float) maxima;
  float lowest;  // -infinity
};

// --- out -------------------------------------------------------------------------------------------------------------

// A result's value: Complex<float> or float.
template <typename Value>
struct FastValues;
template <>
struct FastValues<Complex<float>> {
  enum : int { kFloats = 2, kAligned = 2 };  // values to 16 bytes
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
  enum : int { kFloats = 1, kAligned = 4 };
  MEL_FN static void put(MEL_SHARED(float) row, int k, Complex<float> x) { row[k] = mel_fma(x.re, x.re, x.im * x.im); }
  MEL_FN static void put_out(MEL_GLOBAL(float) to, std::int64_t at, MEL_SHARED(const float) from, int k) {
    to[at] = from[k];
  }
  MEL_FN static void copy(MEL_ARGS(GridArgs) to, std::int64_t at, MEL_SHARED(const float) from, int k) {
    store_real(to.data, to.type, at, from[k]);
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

// `count` values to `at` of out; the row stands as far from a multiple of 16 bytes as they will.
template <typename Value>
MEL_FN void store_run(MEL_THREAD_ARG t, MEL_GLOBAL(float) out, std::int64_t at, MEL_SHARED(const float) row, int count,
                      int shift) {
  using Values = FastValues<Value>;
  const int missing = (Values::kAligned - shift) % Values::kAligned;
  const int head = missing < count ? missing : count, body = (count - head) / Values::kAligned * Values::kAligned;
  if (t.lane() < head) Values::put_out(out, at + t.lane(), row, t.lane());
  if (t.lane() < count - head - body) Values::put_out(out, at + head + body + t.lane(), row, head + body + t.lane());
  if (body > 0) {
    t.bulk_store(MEL_GLOBAL_CAST(char, out + (at + head) * Values::kFloats),
                 MEL_SHARED_CAST(const char, row + head * Values::kFloats), body * Values::kFloats * 4);
  }
}

// Values of a row that the one in front of them in memory puts between it and a multiple of 16 bytes.
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

// A frame's squares to the power asked for, by its lanes.
template <class Plan>
MEL_FN void raise_squares(MEL_ARGS(FastForwardArgs) args, int unit, MEL_SHARED(float) squares) {
  constexpr int kTogether = 4;
  if (args.power == kPowerRoot) {
    MEL_NO_UNROLL
    for (int k = unit; k < args.bins; k += kTogether * Plan::kLanes) {
      float roots[kTogether];
      MEL_UNROLL
      for (int i = 0; i < kTogether; ++i) {
        const int at = k + i * Plan::kLanes;
        roots[i] = squares[at < args.bins ? at : k];
      }
      MEL_UNROLL
      for (int i = 0; i < kTogether; ++i) roots[i] = mel_sqrt(roots[i]);
      MEL_UNROLL
      for (int i = 0; i < kTogether; ++i) {
        const int at = k + i * Plan::kLanes;
        if (at < args.bins) squares[at] = roots[i];
      }
    }
    return;
  }
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

// The largest of `largest` and the lane's bands. Ints, Floats: pointers to the bank's table, in shared or device
// memory.
template <class Plan, typename Ints, typename Floats>
MEL_FN float sum_bands(MEL_ARGS(FastForwardArgs) args, FastLane lane, Ints ranges, Floats weights,
                       MEL_SHARED(const float) squares, MEL_SHARED(float) row, float largest) {
  weights = weights + 4 * lane.unit;
  for (int band = lane.unit; band < args.groups * Plan::kLanes; band += Plan::kLanes) {
    const Vec2<std::int32_t> range = mel_load2(ranges + 2 * band);
    MEL_SHARED(const float) value = squares + range.x;
    float even = 0.0f, odd = 0.0f;
    MEL_NO_UNROLL
    for (int i = 0; i < range.y; ++i) {
      const Vec4<float> w = mel_load4(weights);
      const Vec2<float> low = mel_load2(value), high = mel_load2(value + 2);
      even = mel_fma(w.x, low.x, even);
      odd = mel_fma(w.y, low.y, odd);
      even = mel_fma(w.z, high.x, even);
      odd = mel_fma(w.w, high.y, odd);
      weights = weights + 4 * Plan::kLanes;
      value = value + 4;
    }
    if (band < args.row) {
      const float sum = even + odd, result = args.log.enabled == 0 ? sum : fast_logarithm(args.log, sum);
      row[band] = result;
      if (result > largest) largest = result;
    }
  }
  return largest;
}

// What happens to a warp's squares between transform and store. The largest of `largest` and the lane's bands.
template <class Plan>
MEL_FN float finish_rows(MEL_THREAD_ARG t, MEL_ARGS(FastForwardArgs) args, FastLane lane,
                         MEL_SHARED(const float) tables, MEL_SHARED(float) squares, MEL_SHARED(float) row,
                         float largest) {
  if (args.power != kPowerSquare) {
    t.sync_warp();
    if (lane.active) raise_squares<Plan>(args, lane.unit, squares);
  }
  if (args.groups == 0) return largest;
  if (lane.active && lane.unit == 0) {
    for (int k = args.bins; k < Plan::M + 4; ++k) squares[k] = 0.0f;
  }
  t.sync_warp();
  if (lane.active) {
    if (args.bank_at > 0) {
      MEL_SHARED(const float) bank = tables + args.bank_at;
      largest = sum_bands<Plan>(args, lane, MEL_SHARED_CAST(const std::int32_t, bank), bank + args.bank_weights,
                                squares, row, largest);
    } else {
      largest = sum_bands<Plan>(args, lane, MEL_GLOBAL_CAST(const std::int32_t, args.bank),
                                args.bank + args.bank_weights, squares, row, largest);
    }
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
  enum : int { kFloats = FastValues<Value>::kFloats };
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kMinBlocks = kMinBlocks_;

  // Frames `frame` and following of the item that begins at item_at, to `row`, this lane's frame's. Its largest band.
  MEL_FN static float transform(MEL_THREAD_ARG t, MEL_ARGS(Args) args, FastLane lane, std::int64_t item_at,
                                std::int64_t frame, MEL_SHARED(const float) tables, MEL_SHARED(float) area,
                                MEL_SHARED(float) row) {
    MEL_SHARED(float) exchange = area + 2 * Plan::kFrame * lane.frame;
    MEL_ARGS(FramingArgs) framing = args.samples.framing;
    const std::int64_t left = framing.frames - frame;
    const int last = left < Plan::kFrames ? static_cast<int>(left) - 1 : Plan::kFrames - 1;
    const std::int64_t first_start = frame_start(framing, frame), last_start = frame_start(framing, frame + last);
    // lanes without a frame repeat the last one
    const std::int64_t start = frame_start(framing, frame + (lane.frame < last ? lane.frame : last));
    const bool inside = first_start >= args.inside_from && last_start <= args.inside_to;
    int input = args.samples.input;
    if (!inside || input == kInputAny) {
      input = kInputAny;
      t.bulk_wait();
      gather<Plan>(t, args.samples, lane, item_at, start, inside, exchange);
    }
    MEL_GLOBAL(const char) first = MEL_GLOBAL_CAST(const char, args.samples.x.data);
    if (input != kInputAny) first += (item_at + start) * args.samples.sample_bytes;
    const int window_at = inside ? args.samples.inside_window : 0;
    MEL_NO_UNROLL
    for (int i = 0; i < Plan::kColumns; ++i) {
      const int column = lane.unit + i * Plan::kLanes;
      const bool there = Plan::kAllColumns || column < Plan::B;
      const int safe = there ? column : 0;
      Complex<float> v[Plan::A];
      load_column<Plan>(first, input, args.samples.x.type, exchange, safe, v);
      if (i == 0) {
        prefetch_samples(t, args.samples, item_at, last_start + args.next_samples, args.samples.new_samples);
      }
      transform_column<Plan>(v, tables, window_at, safe);
      if (i == 0) t.bulk_wait();
      if (lane.active && there) {
        MEL_UNROLL
        for (int k = 0; k < Plan::A; ++k) {
          mel_store2(exchange + 2 * (Plan::kRow * k + column), Vec2<float>{v[k].re, v[k].im});
        }
      }
    }
    t.sync_warp();
    FastSlots<Plan> slots;
    transform_rows<Plan>(t, lane, exchange, tables, slots);
    MEL_SHARED(float) bins = args.groups > 0 ? area + Plan::kSquares * lane.frame : row;
    if (lane.active) put_bins<Plan, Value>(lane, slots, args.bins, args.edge, bins);
    return kFloats == 1 ? finish_rows<Plan>(t, args, lane, tables, bins, row, args.lowest) : args.lowest;
  }

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    MEL_SHARED(float) tables = MEL_SHARED_CAST(float, shared);
    load_tables<Plan, kThreads>(t, args.samples, args.twiddles, tables);
    if (kFloats == 1 && args.bank_at > 0) {
      for (int i = 4 * t.thread(); i < args.bank_floats; i += 4 * kThreads) {
        mel_store4(tables + (args.bank_at + i), mel_load4(args.bank + i));
      }
    }
    t.sync();
    const FastLane lane = fast_lane<Plan>(t);
    MEL_SHARED(char) memory = shared + (args.tables_bytes + t.warp() * args.warp_bytes);
    MEL_SHARED(float) area = MEL_SHARED_CAST(float, memory);
    MEL_SHARED(float) rows = MEL_SHARED_CAST(float, memory + args.rows_at);
    // A block's warps take chunks that follow each other, so that most of their samples are the same, or one together.
    const bool together = args.output == kOutputValues;
    const int warp = together ? t.warp() : 0, warps = together ? kWarps : 1, of_chunk = warps * Plan::kFrames;
    const std::int64_t chunks = args.items * args.chunks_of_item, last = chunks * (t.block() + 1) / t.blocks();
    std::int64_t chunk = chunks * t.block() / t.blocks() + (together ? 0 : t.warp());
    std::int64_t item = chunk / args.chunks_of_item, of_item = chunk - item * args.chunks_of_item;
    std::int64_t item_at = 0, out_at = 0;
    bool entered = true;
    for (; chunk < last; chunk += together ? 1 : kWarps) {
      if (entered) {
        item_at = item_offset(args.samples.x.items, item);
        out_at = item_offset(args.out.items, item);
      }
      const std::int64_t first = of_item * of_chunk, left = args.samples.framing.frames - first;
      const int count = left < of_chunk ? static_cast<int>(left) : of_chunk;
      float largest = args.lowest;
      if (warp * Plan::kFrames < count) {
        int at = lane.frame * args.row_pitch;
        if (args.output == kOutputOneRun) {
          at += row_shift<Value>(args, out_at + first * args.row);
        } else {
          at += row_shift<Value>(args, out_at + (first + lane.frame) * args.out.frame_stride);
        }
        largest = transform(t, args, lane, item_at, first + warp * Plan::kFrames, tables, area, rows + at * kFloats);
      }
      if (together) {
        store_values<Value, Plan::kFrames>(t, args, out_at, first, count,
                                           MEL_SHARED_CAST(const float, shared + (args.tables_bytes + args.rows_at)));
      } else {
        store_rows<Value>(t, args, out_at, first, count, rows);
      }
      if (kFloats == 1 && args.maxima != nullptr) {
        largest = warp_maximum(t, largest);
        if (t.lane() == 0) args.maxima[chunk * warps + warp] = largest;
      }
      of_item += together ? 1 : kWarps;
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
