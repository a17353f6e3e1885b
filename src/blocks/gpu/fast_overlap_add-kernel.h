// The overlap-add of the fast inverse: frames in shared memory, in order, to finished samples.
//
// A thread has a place in the hop, and with it the window's values there, for the whole march, and of a step's hops
// every groups-th: it adds up what the step's frames bring to them, writes those that are finished, and for the first
// ones also what this step brings to the hops after it, the carry. Every sample is ((0 + w y_t) + w y_t+1) + ..., each
// step a fused multiply-add, however frames are dealt to blocks.
#pragma once

#include "blocks/gpu/overlap_edges-kernel.h"
#include "blocks/gpu/window_tables-kernel.h"

namespace melisma::gpu {

// Frames over a sample, up to which a thread keeps its window in registers; from 5 on their number is no constant, and
// four places side by side would need too many.
enum { kMostInRegisters = 8 };
enum { kNoHop = 1 << 18 };  // the group of threads left over: beyond all hops of a step

template <typename Wide>
struct OverlapAddArgs {
  FramingArgs framing;
  WindowArgs window, envelope_window;
  Wide window_scale, envelope_scale, least;
  float vanished;  // the reciprocal where the envelope is not above `least`
  int with_envelope;
  int plain_window;  // it is float32 and contiguous
  int own_window;    // the envelope's window is this one, unscaled
  ResultArgs out;
  CopiesArgs<float> copies;
  // Samples that reflections have put beyond the ends are folded in this launch: range[0] is the signal with `fold`
  // samples on either side, and what folds into each other belongs to one block. 0: see `copies`.
  std::int64_t fold;
  SampleRange range[2];
  std::int64_t first_hop[2], hops[2];  // of the ranges, counted from frame 0's start
  // The hops of all items and ranges are one row of rows, `line` hops each, which blocks divide: `stretch` for each but
  // that none begins inside the first fold_first or the last fold_last hops of a line.
  std::int64_t items, line, stretch, fold_first, fold_last;
  int ranges;
  int overlaps;             // frames over a sample, at most
  int width;                // samples that a thread takes side by side, 1, 2 or 4, and stores together
  int vectors;              // whether they may be stored together
  int places, groups;       // threads of a hop, and hops at once
  int carry_at, period_at;  // floats from the window's start in shared memory
};

// Hops begin .. end - 1 of an item; hops are counted from the start of frame 0.
struct OverlapTask {
  int item, range;
  int begin, end, first_frame;
  int simple_begin, simple_end;  // hops that are written whole, at once, with the interior's reciprocals
  std::int64_t out_at;           // where the sample that frame 0 starts with would be
};

enum { kUsualHop400 = 160 };

// Hops at once. places: threads of a hop; after: hops that a frame reaches beyond its own.
MEL_HOST_FN constexpr int groups_of(int threads, int places, int frames, int after) {
  const int groups = threads / places, most = frames > after ? frames : after;
  return groups < 1 ? 1 : groups < most ? groups : most;
}

// A thread's place in the hop and the first hop of a step that it takes.
struct OverlapShare {
  int place, group;
};

template <int V>
struct Side {  // values side by side
  float at[V];
};
MEL_FN void load_side(MEL_SHARED(const float) p, MEL_LOCAL Side<1>& v) { v.at[0] = *p; }
MEL_FN void load_side(MEL_SHARED(const float) p, MEL_LOCAL Side<2>& v) {
  const Vec2<float> a = mel_load2(p);
  v.at[0] = a.x;
  v.at[1] = a.y;
}
MEL_FN void load_side(MEL_SHARED(const float) p, MEL_LOCAL Side<4>& v) {
  const Vec4<float> a = mel_load4(p);
  v.at[0] = a.x;
  v.at[1] = a.y;
  v.at[2] = a.z;
  v.at[3] = a.w;
}
MEL_FN void keep_side(MEL_SHARED(float) p, MEL_LOCAL const Side<1>& v) { *p = v.at[0]; }
MEL_FN void keep_side(MEL_SHARED(float) p, MEL_LOCAL const Side<2>& v) { mel_store2(p, Vec2<float>{v.at[0], v.at[1]}); }
MEL_FN void keep_side(MEL_SHARED(float) p, MEL_LOCAL const Side<4>& v) {
  mel_store4(p, Vec4<float>{v.at[0], v.at[1], v.at[2], v.at[3]});
}
MEL_FN void store_side(MEL_GLOBAL(float) p, MEL_LOCAL const Side<1>& v) { *p = v.at[0]; }
MEL_FN void store_side(MEL_GLOBAL(float) p, MEL_LOCAL const Side<2>& v) {
  mel_store2(p, Vec2<float>{v.at[0], v.at[1]});
}
MEL_FN void store_side(MEL_GLOBAL(float) p, MEL_LOCAL const Side<4>& v) {
  mel_store4(p, Vec4<float>{v.at[0], v.at[1], v.at[2], v.at[3]});
}

template <class Plan, typename Wide>
struct OverlapAdd {
  using Args = OverlapAddArgs<Wide>;
  using Part = typename WideParts<Wide>::Part;
  enum : int { N = Plan::N, kThreads = Plan::kThreads };

  // Where block `index` begins.
  MEL_FN static std::int64_t boundary(MEL_ARGS(Args) args, std::int64_t index) {
    const std::int64_t at = mel_min(index * args.stretch, args.items * args.ranges * args.line), hop = at % args.line;
    if (hop == 0 || (hop >= args.fold_first && hop <= args.line - args.fold_last)) return at;
    if (args.fold_first + args.fold_last > args.line) return at - hop;
    return at - hop + (hop < args.fold_first ? 0 : args.line);
  }

  // The part of hops at .. end - 1 of that row that lies in one item and range; `at` moves to where it ends.
  MEL_FN static OverlapTask next_task(MEL_ARGS(Args) args, MEL_LOCAL std::int64_t& at, std::int64_t end) {
    OverlapTask task;
    const std::int64_t hop = args.framing.hop, offset = args.framing.offset, line = at / args.line;
    const std::int64_t next = mel_min((line + 1) * args.line, end);
    task.range = static_cast<int>(line % args.ranges);
    task.item = static_cast<int>(line / args.ranges);
    const SampleRange range = args.range[task.range];
    const std::int64_t first = args.first_hop[task.range], hops = args.hops[task.range];
    task.begin = static_cast<int>(first + mel_min(at - line * args.line, hops));
    task.end = static_cast<int>(first + mel_min(next - line * args.line, hops));
    at = next;
    task.first_frame = mel_max(0, task.begin - (args.overlaps - 1));
    task.out_at = item_offset(args.out.items, task.item) + (range.to - range.begin - offset) * args.out.stride;
    std::int64_t lowest = range.begin, highest = range.end;
    if (args.fold > 0) {
      lowest = args.fold + 1;
      highest = args.framing.length;
    } else if (args.copies.sums != nullptr) {
      lowest = args.copies.count + 1;
      highest = args.framing.length - args.copies.count - 1;
    }
    task.simple_begin = mel_max(static_cast<int>((lowest + offset + hop - 1) / hop), task.begin);
    task.simple_end = static_cast<int>((mel_max(highest, -offset) + offset) / hop);
    if (args.with_envelope != 0) {
      task.simple_begin = mel_max(task.simple_begin, args.overlaps - 1);
      task.simple_end = hop <= N ? mel_min(task.simple_end, static_cast<int>(args.framing.frames)) : 0;
    }
    if (args.vectors == 0) task.simple_end = task.simple_begin;
    return task;
  }

  // index - first, at least 0 and at most count. (Do not ask whether it is `count`: of a minimum that is clamped at 0,
  // ptxas 13.0 takes the wrong predicate.)
  MEL_FN static int within(int index, int first, int count) { return mel_max(0, mel_min(index - first, count)); }
  MEL_FN static int within(std::int64_t index, std::int64_t first, int count) {
    return static_cast<int>(mel_max(std::int64_t(0), mel_min(index - first, std::int64_t(count))));
  }

  // The envelope's reciprocal from the sum of squares.
  MEL_FN static float reciprocal(MEL_ARGS(Args) args, Wide sum) {
    return wide_above(sum, args.least) ? wide_to<float>(wide_quotient(args.envelope_scale, sum)) : args.vanished;
  }
  MEL_FN static Part envelope_value(MEL_ARGS(Args) args, int i, MEL_SHARED(const float) memory) {
    return args.own_window != 0 ? Part(memory[i]) : window_value<Part>(args.envelope_window, i);
  }
  // The same for place `place` of hop `index`, from the frames that there are; 0 beyond the last one's end.
  MEL_FN static float reciprocal_of(MEL_ARGS(Args) args, int index, int place, MEL_SHARED(const float) memory) {
    const int hop = static_cast<int>(args.framing.hop);
    const int last = static_cast<int>(args.framing.frames) - 1, skipped = within(index, last, args.overlaps);
    if (index >= last && place + skipped * hop >= N) return 0.0f;
    Wide sum{};
    MEL_NO_UNROLL
    for (int c = args.overlaps - 1; c >= skipped; --c) {
      if (c > index || place + c * hop >= N) continue;
      const Part w = envelope_value(args, place + c * hop, memory);
      sum = wide_fma(w, w, sum);
    }
    return reciprocal(args, sum);
  }

  // memory: [N] window, then at carry_at and period_at what later frames add to and the interior's reciprocals.
  MEL_FN static void prepare(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(float) memory) {
    constexpr int kPer = (N + kThreads - 1) / kThreads;
    float values[kPer];  // all loads before the first use
    MEL_UNROLL
    for (int i = 0; i < kPer; ++i) {
      const int at = i * kThreads + t.thread(), from = at - static_cast<int>(args.window.first);
      values[i] = 0.0f;
      if (args.plain_window != 0) {
        if (from >= 0 && from < args.window.length) values[i] = MEL_GLOBAL_CAST(const float, args.window.data)[from];
      }
    }
    MEL_UNROLL
    for (int i = 0; i < kPer; ++i) {
      const int at = i * kThreads + t.thread();
      Part value = values[i];
      if (args.plain_window == 0) value = window_value<Part>(args.window, at);
      if (at < N) memory[at] = wide_to<float>(wide_product(args.window_scale, value));
    }
    if (args.with_envelope == 0 || args.framing.hop > N) return;
    t.sync();
    const int hop = static_cast<int>(args.framing.hop);
    for (int phase = t.thread(); phase < hop; phase += kThreads) {
      Wide sum{};
      for (int i = phase + (N - 1 - phase) / hop * hop; i >= 0; i -= hop) {
        const Part w = envelope_value(args, i, memory);
        sum = wide_fma(w, w, sum);
      }
      memory[args.period_at + phase] = reciprocal(args, sum);
    }
  }

  // A finished sum as it is written; sample: of the range's.
  MEL_FN static float finished(MEL_ARGS(Args) args, MEL_LOCAL const OverlapTask& task, int index, int place,
                               std::int64_t sample, float sum, MEL_SHARED(const float) memory) {
    if (args.with_envelope != 0) {
      const bool interior = index >= args.overlaps - 1 && index < args.framing.frames && args.framing.hop <= N;
      float inverse = 0.0f;
      if (interior) {
        inverse = memory[args.period_at + place];
      } else {
        inverse = reciprocal_of(args, index, place, memory);
      }
      sum = sum * inverse;
    }
    return args.fold > 0 ? sum : add_copies(args.framing, args.copies, task.item, sample, sum);
  }

  MEL_FN static OverlapShare share_of(MEL_THREAD_ARG t, MEL_ARGS(Args) args) {
    const int group = t.thread() / args.places;
    if (args.groups == 1) return OverlapShare{t.thread() * args.width, 0};
    return OverlapShare{t.thread() % args.places * args.width, group < args.groups ? group : int(kNoHop)};
  }

  template <int V>
  MEL_FN static void clear(MEL_LOCAL Side<V>& v) {
    MEL_UNROLL
    for (int i = 0; i < V; ++i) v.at[i] = 0.0f;
  }
  // sum + window y
  template <int V>
  MEL_FN static void add_product(MEL_SHARED(const float) y, MEL_LOCAL const Side<V>& window, MEL_LOCAL Side<V>& sum) {
    Side<V> value;
    load_side(y, value);
    MEL_UNROLL
    for (int i = 0; i < V; ++i) sum.at[i] = mel_fma(value.at[i], window.at[i], sum.at[i]);
  }
  template <int V>
  MEL_FN static void store_finished(MEL_GLOBAL(float) out, Side<V> done, MEL_LOCAL const Side<V>& inverse) {
    MEL_UNROLL
    for (int i = 0; i < V; ++i) done.at[i] = done.at[i] * inverse.at[i];
    store_side(out, done);
  }

  // Adds frames most .. least back from a hop to the sum at a place in it; that of c back has it at y[c * apart].
  // kOverlaps: values of the window in registers, 0 if they are read as they are needed. kSure: those less than so many
  // back are among them.
  template <int kOverlaps, int kSure, int V>
  MEL_FN static void add_frames(MEL_SHARED(const float) y, int apart, int most, int least,
                                MEL_LOCAL const Side<V> (&window)[kOverlaps > 0 ? kOverlaps : 1],
                                MEL_SHARED(const float) window_at, int hop, MEL_LOCAL Side<V>& sum) {
    if (kOverlaps > 0) {
      MEL_UNROLL
      for (int c = kOverlaps - 1; c >= 0; --c) {
        if (c < kSure || (c <= most && c >= least)) add_product(y + c * apart, window[kOverlaps > 0 ? c : 0], sum);
      }
    } else {
      int c = most;
      MEL_NO_UNROLL
      for (; c >= least + 3; c -= 4) {
        MEL_UNROLL
        for (int i = 0; i < 4; ++i) {
          Side<V> weights;
          load_side(window_at + (c - i) * hop, weights);
          add_product(y + (c - i) * apart, weights, sum);
        }
      }
      MEL_NO_UNROLL
      for (; c >= least; --c) {
        Side<V> weights;
        load_side(window_at + c * hop, weights);
        add_product(y + c * apart, weights, sum);
      }
    }
  }

  // Hops first .. first + count - 1, the first `there` of which have a frame in `frames`. Those that are not simple are
  // left where their frames began.
  // kHop: the hop where it is a constant, else 0.
  template <int kOverlaps, int V, int kHop>
  MEL_FN static void add_hops(MEL_ARGS(Args) args, MEL_LOCAL const OverlapShare& share,
                              MEL_LOCAL const OverlapTask& task, int first, int count, int there,
                              MEL_SHARED(float) frames, MEL_SHARED(float) memory) {
    enum : int { F = Plan::kFrames, kPitch = Plan::kFrameFloats, kWindows = kOverlaps > 0 ? kOverlaps : 1 };
    const int hop = kHop > 0 ? kHop : static_cast<int>(args.framing.hop);
    enum : int { kFixed = kOverlaps > 0 && kOverlaps < kMostInRegisters ? 1 : 0, kSure = kFixed ? kOverlaps - 1 : 4 };
    const int after = (kFixed ? kOverlaps : args.overlaps) - 1;  // kSure at least, if kOverlaps is not 0
    const int groups = kHop > 0 ? groups_of(kThreads, kHop / V, F, kOverlaps - 1) : args.groups;
    const int simple = mel_max(0, task.simple_begin - first), simple_end = mel_min(count, task.simple_end - first);
    const bool all_simple = simple == 0 && simple_end == F && there == F;
    const bool fresh = first == task.first_frame;
    // Where the carry goes farther than a step it has two halves, one read, one written.
    const int half = after > F ? after * hop : 0, round = (first - task.first_frame) / F % 2;
    MEL_SHARED(const float) carried = memory + args.carry_at + round * half;
    MEL_SHARED(float) carry = memory + args.carry_at + (half - round * half);
    const int apart = hop - kPitch, tested = all_simple ? after : mel_max(int(F), after);
    MEL_NO_UNROLL
    for (int place = share.place; place < hop; place += groups == 1 ? kThreads * V : hop) {
      const int most = place + after * hop < N ? after : after - 1;  // hops of a frame after which the place is in it
      MEL_SHARED(const float) window_at = memory + place;
      Side<V> window[kWindows], inverse;
      MEL_UNROLL
      for (int c = 0; c < kOverlaps; ++c) {
        clear(window[c]);
        if (c < kSure || c <= most) load_side(window_at + c * hop, window[c]);
      }
      MEL_UNROLL
      for (int i = 0; i < V; ++i) inverse.at[i] = 1.0f;
      if (args.with_envelope != 0 && hop <= N) load_side(memory + args.period_at + place, inverse);
      const std::int64_t out_at = task.out_at + std::int64_t(first + share.group) * hop + place;
      MEL_GLOBAL(float) out = MEL_GLOBAL_CAST(float, args.out.data) + out_at;
      const std::int64_t out_step = std::int64_t(groups) * hop;
      int h = share.group;
      MEL_NO_UNROLL
      for (; h < tested; h += groups) {
        MEL_SHARED(float) y = frames + (h * kPitch + place);
        Side<V> sum;
        if (h < count) {
          clear(sum);
          if (h < after && !fresh) load_side(carried + (h * hop + place), sum);
          add_frames<kOverlaps, 0>(y, apart, mel_min(most, h), mel_max(0, h - there + 1), window, window_at, hop, sum);
          if (h >= simple && h < simple_end) {
            store_finished(out, sum, inverse);
          } else if (place < N) {
            keep_side(y, sum);
          }
        }
        if (h < after) {  // hop h of the next step
          clear(sum);
          if (h + F < after && !fresh) load_side(carried + ((h + F) * hop + place), sum);
          add_frames<kOverlaps, 0>(y + F * kPitch, apart, mel_min(most, h + F), h + F - there + 1, window, window_at,
                                   hop, sum);
          keep_side(carry + (h * hop + place), sum);
        }
        out += out_step;
      }
      if (!all_simple) continue;
      MEL_SHARED(const float) y = frames + (h * kPitch + place);
      const int y_step = groups * kPitch;
      MEL_NO_UNROLL
      for (; h < F; h += groups) {
        Side<V> sum;
        clear(sum);
        add_frames<kOverlaps, kSure>(y, apart, most, 0, window, window_at, hop, sum);
        store_finished(out, sum, inverse);
        out += out_step;
        y += y_step;
      }
    }
  }

  // Writes hop `index`, whose sums lie in `sums`.
  MEL_FN static void write_hop(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_LOCAL const OverlapTask& task, int index,
                               MEL_SHARED(const float) sums, MEL_SHARED(const float) memory) {
    constexpr int kAtOnce = 4;  // values whose loads do not wait for each other
    const std::int64_t position = std::int64_t(index) * args.framing.hop, offset = args.framing.offset;
    const int begin = within(args.range[task.range].begin + offset, position, static_cast<int>(args.framing.hop));
    const int end = within(args.range[task.range].end + offset, position, static_cast<int>(args.framing.hop));
    MEL_NO_UNROLL
    for (int from = begin + t.thread(); from < end; from += kAtOnce * kThreads) {
      float values[kAtOnce];
      MEL_UNROLL
      for (int i = 0; i < kAtOnce; ++i) {
        values[i] = 0.0f;
        if (from - t.thread() + i * kThreads >= end) continue;  // for all threads: an envelope takes its time
        const int place = mel_min(from + i * kThreads, end - 1);
        const float sum = place < N ? sums[place] : 0.0f;
        values[i] = finished(args, task, index, place, position + place - offset, sum, memory);
      }
      MEL_UNROLL
      for (int i = 0; i < kAtOnce; ++i) {
        const int place = from + i * kThreads;
        if (place < end) store_value(args.out, task.out_at + (position + place) * args.out.stride, values[i]);
      }
    }
  }

  // The same where reflections are folded: sums before the signal wait in the result for the samples that they add to,
  // sums after it add to samples already there.
  MEL_FN static void fold_hop(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_LOCAL const OverlapTask& task, int index,
                              MEL_SHARED(const float) sums) {
    const int hop = static_cast<int>(args.framing.hop);
    const std::int64_t length = args.framing.length, first = std::int64_t(index) * hop - args.framing.offset;
    MEL_GLOBAL(float) out = MEL_GLOBAL_CAST(float, args.out.data) + (task.out_at + args.framing.offset);
    MEL_NO_UNROLL
    for (int part = 0; part < 3; ++part) {  // before, in and after the signal
      const int begin = part == 0 ? within(args.range[task.range].begin, first, hop)
                                  : within(part == 1 ? std::int64_t(0) : length, first, hop);
      const int end = part == 2 ? within(args.range[task.range].end, first, hop)
                                : within(part == 0 ? std::int64_t(0) : length, first, hop);
      if (begin == end) continue;  // the same for all threads
      t.sync();
      for (int place = begin + t.thread(); place < end; place += kThreads) {
        const std::int64_t sample = first + place;
        const float sum = place < N ? sums[place] : 0.0f;
        if (part == 0) {
          out[-sample] = sum;
        } else if (part == 1) {
          out[sample] = sample >= 1 && sample <= args.fold ? sum + out[sample] : sum;
        } else {
          out[2 * (length - 1) - sample] = out[2 * (length - 1) - sample] + sum;
        }
      }
    }
  }

  // Writes the hops that are not simple, from where their frames began.
  MEL_FN static void add_rest(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_LOCAL const OverlapTask& task, int first,
                              int count, MEL_SHARED(const float) frames, MEL_SHARED(const float) memory) {
    const int simple = mel_max(0, task.simple_begin - first), simple_end = mel_min(count, task.simple_end - first);
    const int begin = mel_max(0, task.begin - first);
    if (begin >= simple && task.simple_end - first >= count) return;
    t.sync();
    MEL_NO_UNROLL
    for (int f = begin; f < count; ++f) {
      if (f >= simple && f < simple_end) continue;
      if (args.fold > 0) {
        fold_hop(t, args, task, first + f, frames + f * Plan::kFrameFloats);
      } else {
        write_hop(t, args, task, first + f, frames + f * Plan::kFrameFloats, memory);
      }
    }
  }

  template <int kOverlaps>
  MEL_FN static void add_overlaps(MEL_ARGS(Args) args, MEL_LOCAL const OverlapShare& share,
                                  MEL_LOCAL const OverlapTask& task, int first, int count, int there,
                                  MEL_SHARED(float) frames, MEL_SHARED(float) memory) {
    enum : int { kWidest = kOverlaps < kMostInRegisters ? 4 : 2 };
    if (args.width == 1) {
      add_hops<kOverlaps, 1, 0>(args, share, task, first, count, there, frames, memory);
    } else if (args.width == 2) {
      add_hops<kOverlaps, 2, 0>(args, share, task, first, count, there, frames, memory);
    } else {
      add_hops<kOverlaps, kWidest, 0>(args, share, task, first, count, there, frames, memory);
    }
  }

  MEL_FN static void add(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_LOCAL const OverlapShare& share,
                         MEL_LOCAL const OverlapTask& task, int first, int count, int there, MEL_SHARED(float) frames,
                         MEL_SHARED(float) memory) {
    enum : int { kQuarter = N / 4, kQuarterWidth = kQuarter % 4 == 0 ? 4 : 2 };
    if (args.framing.hop == kQuarter && args.width == kQuarterWidth) {
      add_hops<4, kQuarterWidth, kQuarter>(args, share, task, first, count, there, frames, memory);
    } else if (N == 400 && args.framing.hop == kUsualHop400 && args.width == 4) {
      add_hops<3, 4, kUsualHop400>(args, share, task, first, count, there, frames, memory);
    } else if (args.overlaps == 2) {
      add_overlaps<2>(args, share, task, first, count, there, frames, memory);
    } else if (args.overlaps == 3) {
      add_overlaps<3>(args, share, task, first, count, there, frames, memory);
    } else if (args.overlaps == 4) {
      add_overlaps<4>(args, share, task, first, count, there, frames, memory);
    } else if (args.overlaps > 4 && args.overlaps <= kMostInRegisters && args.width < 4) {
      add_overlaps<kMostInRegisters>(args, share, task, first, count, there, frames, memory);
    } else {
      add_overlaps<0>(args, share, task, first, count, there, frames, memory);
    }
    add_rest(t, args, task, first, count, frames, memory);
  }
  MEL_FN static void add(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_LOCAL const OverlapTask& task, int first, int count,
                         int there, MEL_SHARED(float) frames, MEL_SHARED(float) memory) {
    add(t, args, share_of(t, args), task, first, count, there, frames, memory);
  }
};

}  // namespace melisma::gpu
