// Fast inverse transforms with overlap-add, in float32.
//
// A block owns a stretch of one item's hops and marches along it, kFrames frames at a time: each warp transforms its
// frames in shared memory, then the block's threads, each with its own places of a hop, add them up in order, write the
// finished hop and carry what later frames add to. The frames before the stretch that touch it are transformed again.
#pragma once

#include "blocks/gpu/fast_overlap_add-kernel.h"
#include "blocks/gpu/framing-kernel.h"
#include "blocks/gpu/inverse_transform-kernel.h"

namespace melisma::gpu {

// complex64 rows, as the kernel takes them.
struct FastSpectrumArgs {
  MEL_GLOBAL(const float) data;
  std::int64_t bin_stride, frame_stride;
  AxesArgs items;
  int bins;     // given; the others are zero
  int odd;      // data is 8 bytes beyond a multiple of 16
  int bulk;     // rows are contiguous and do not overlap
  int one_run;  // nothing lies between them
  float edge_bins;
};

template <class Plan, typename Wide>
struct FastInverse {
  struct Args {
    FastSpectrumArgs spectrum;
    OverlapAddArgs<Wide> sums;
    MEL_GLOBAL(const float) twiddles;  // [kTwiddleRows][C] complex
  };
  enum : int { N = Plan::N, kFrames = Plan::kFrames };
  static constexpr int kThreads = Plan::kThreads, kMinBlocks = Plan::kMinBlocks;
  using Sums = OverlapAdd<Plan, Wide>;

  // Shared memory, in this order, and what the overlap-add needs.
  enum : int {
    kTwiddlesAt = Plan::kFrames * Plan::kFrameFloats,
    kBarriersAt = kTwiddlesAt + Plan::kTwiddleFloats,
    kSumsAt = kBarriersAt + (2 * Plan::kFrames + 3) / 4 * 4,
  };

  // Rows of the spectrum that lie in one run, and what of them is loaded at once: up to one bin of the neighbouring
  // rows comes along, so that 16-byte units are whole; at the signal's ends one bin comes by itself.
  struct Run {
    MEL_GLOBAL(const float) data;
    int skew, bins, from, to;
  };
  MEL_FN static int skew_of(MEL_ARGS(FastSpectrumArgs) spectrum, std::int64_t item_at, int frame) {
    return (static_cast<int>(item_at & 1) + frame * static_cast<int>(spectrum.frame_stride & 1) + spectrum.odd) & 1;
  }
  MEL_FN static Run run_of(MEL_ARGS(FastSpectrumArgs) spectrum, std::int64_t item_at, int frame, int rows, int frames) {
    Run run;
    run.data = spectrum.data + 2 * (item_at + frame * spectrum.frame_stride);
    run.skew = skew_of(spectrum, item_at, frame);
    run.bins = rows * spectrum.bins;
    run.from = run.skew == 0 ? 0 : frame > 0 ? -1 : 1;
    run.to = (run.bins - run.from) % 2 == 0 ? run.bins : frame + rows < frames ? run.bins + 1 : run.bins - 1;
    return run;
  }
  // Of two warps that share a frame the first loads it.
  MEL_FN static int first_slot(MEL_THREAD_ARG t) {
    return Plan::kPaired ? t.warp() / 2 + t.warp() % 2 * Plan::kFrames : t.warp() * Plan::kGroups;
  }
  MEL_FN static MEL_SHARED(char) barrier_of(MEL_SHARED(float) memory, int slot) {
    return MEL_SHARED_CAST(char, memory + kBarriersAt + 2 * slot);
  }

  // Starts to load the spectra of the warp's frames, `first` being the block's.
  MEL_FN static void start_loads(MEL_THREAD_ARG t, MEL_ARGS(FastSpectrumArgs) spectrum, std::int64_t item_at, int first,
                                 int end, int frames, MEL_SHARED(float) memory) {
    const int runs = spectrum.one_run != 0 ? 1 : Plan::kGroups, rows = Plan::kGroups + 1 - runs;
    MEL_NO_UNROLL
    for (int i = 0; i < runs; ++i) {
      const int slot = first_slot(t) + i;
      if (slot >= Plan::kFrames || first + slot >= end) break;
      const Run run = run_of(spectrum, item_at, first + slot, mel_min(rows, end - first - slot), frames);
      MEL_SHARED(float) target = memory + slot * Plan::kFrameFloats + 2 * run.skew;
      t.bulk_load(MEL_SHARED_CAST(char, target + 2 * run.from), run.data + 2 * run.from, (run.to - run.from) * 8,
                  barrier_of(memory, slot));
      if (t.lane() < 2) {
        if (run.from == 1) target[t.lane()] = run.data[t.lane()];
        if (run.to == run.bins - 1) target[2 * run.to + t.lane()] = run.data[2 * run.to + t.lane()];
      }
    }
  }
  MEL_FN static void wait_for_loads(MEL_THREAD_ARG t, MEL_ARGS(FastSpectrumArgs) spectrum, int there,
                                    MEL_SHARED(float) memory, MEL_LOCAL int& phases) {
    const int runs = spectrum.one_run != 0 ? 1 : Plan::kGroups;
    MEL_NO_UNROLL
    for (int i = 0; i < runs && first_slot(t) + i < there; ++i) {
      t.bulk_load_wait(barrier_of(memory, first_slot(t) + i), (phases >> i) & 1);
      phases ^= 1 << i;
    }
  }
  // The rows of a step, to be loaded soon.
  MEL_FN static void start_prefetch(MEL_THREAD_ARG t, MEL_ARGS(FastSpectrumArgs) spectrum, std::int64_t item_at,
                                    int first, int end, int frames) {
    if (spectrum.one_run == 0 || t.warp() != 0 || first >= end) return;
    const Run run = run_of(spectrum, item_at, first, mel_min(int(Plan::kFrames), end - first), frames);
    t.bulk_prefetch(run.data + 2 * run.from, (run.to - run.from) * 8);
  }

  // The same by all threads of the block, for any strides.
  MEL_FN static void gather(MEL_THREAD_ARG t, MEL_ARGS(FastSpectrumArgs) spectrum, std::int64_t item_at, int first,
                            int count, MEL_SHARED(float) memory) {
    constexpr int kAtOnce = 8;  // values whose loads do not wait for each other
    const bool across = mel_abs(spectrum.frame_stride) < mel_abs(spectrum.bin_stride);
    const int bins = spectrum.bins, all = bins * Plan::kFrames;
    MEL_SHARED(Complex<float>) rows = MEL_SHARED_CAST(Complex<float>, memory);
    MEL_GLOBAL(const float) data = spectrum.data + 2 * (item_at + first * spectrum.frame_stride);
    MEL_NO_UNROLL
    for (int from = t.thread(); from < all; from += kAtOnce * kThreads) {
      Vec2<float> values[kAtOnce] = {};
      int to[kAtOnce];
      MEL_UNROLL
      for (int i = 0; i < kAtOnce; ++i) {
        const int at = from + i * kThreads;
        int f = at % Plan::kFrames, k = at / Plan::kFrames;
        if (!across) {
          f = at / bins;
          k = at % bins;
        }
        to[i] = at < all && f < count ? f * (Plan::kFrameFloats / 2) + k : -1;
        if (to[i] >= 0) values[i] = mel_load2(data + 2 * (f * spectrum.frame_stride + k * spectrum.bin_stride));
      }
      MEL_UNROLL
      for (int i = 0; i < kAtOnce; ++i) {
        if (to[i] >= 0) rows[to[i]] = Complex<float>{values[i].x, values[i].y};
      }
    }
  }

  // What a thread knows of a task while it lasts.
  struct Source {
    std::int64_t item_at;
    int end, frames;
  };
  MEL_FN static Source source_of(MEL_ARGS(Args) args, MEL_LOCAL const OverlapTask& task) {
    const int frames = static_cast<int>(args.sums.framing.frames);
    return Source{item_offset(args.spectrum.items, task.item), mel_min(task.end, frames), frames};
  }

  // One task, whose first step's loads have been started. phases: bit i is the parity that the warp's load i is waited
  // for with next.
  MEL_FN static void march(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_LOCAL const OverlapTask& task,
                           MEL_LOCAL const Source& source, MEL_SHARED(float) memory, MEL_LOCAL int& phases) {
    const bool bulk = args.spectrum.bulk != 0;
    // Lanes left over go along with the last frame.
    const int group = mel_min(t.lane() / Plan::kLanes, Plan::kGroups - 1);
    const int slot = Plan::kPaired ? t.warp() / 2 : t.warp() * Plan::kGroups + group;
    const int lane = Plan::kPaired ? t.thread() % 64 : t.lane() - group * Plan::kLanes;
    MEL_SHARED(float) samples = memory + slot * Plan::kFrameFloats;
    MEL_NO_UNROLL
    for (int first = task.first_frame; first < task.end; first += Plan::kFrames) {
      const int count = mel_min(int(Plan::kFrames), task.end - first);
      const int there = mel_max(0, mel_min(source.frames - first, count));
      MEL_SHARED(const float) spectrum = samples;
      if (bulk) {
        start_prefetch(t, args.spectrum, source.item_at, first + Plan::kFrames, source.end, source.frames);
        wait_for_loads(t, args.spectrum, there, memory, phases);
        InverseTransform<Plan>::sync(t);
        const int before = args.spectrum.one_run != 0 ? group : 0;  // rows of the slot's run
        spectrum = samples - before * Plan::kFrameFloats +
                   2 * (skew_of(args.spectrum, source.item_at, first + slot - before) + before * args.spectrum.bins);
      } else {
        gather(t, args.spectrum, source.item_at, first, there, memory);
        t.sync();
      }
      InverseFrame<Plan>::run(
          t,
          lane < Plan::kLanes &&
              slot<there, lane, MEL_SHARED_CAST(const Complex<float>, spectrum), samples, args.spectrum.bins> N / 2,
          args.spectrum.edge_bins, MEL_SHARED_CAST(const Complex<float>, memory + kTwiddlesAt));
      t.sync();
      Sums::add(t, args.sums, task, first, count, there, memory, memory + kSumsAt);
      t.sync_warp_bulk();  // the loads overwrite what this warp has written
      t.sync();
      if (bulk) {
        start_loads(t, args.spectrum, source.item_at, first + Plan::kFrames, source.end, source.frames, memory);
      }
    }
  }

  MEL_FN static void load_twiddles(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(float) twiddles) {
    MEL_UNROLL
    for (int i = 0; i < (Plan::kTwiddleFloats / 4 + kThreads - 1) / kThreads; ++i) {
      const int at = 4 * (i * kThreads + t.thread());
      if (at < Plan::kTwiddleFloats) mel_store4(twiddles + at, mel_load4(args.twiddles + at));
    }
  }

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    MEL_SHARED(float) memory = MEL_SHARED_CAST(float, shared);
    const bool bulk = args.spectrum.bulk != 0;
    const std::int64_t end = Sums::boundary(args.sums, t.block() + 1);
    std::int64_t at = Sums::boundary(args.sums, t.block());
    if (at >= end) return;  // the same for all threads
    if (bulk) {
      MEL_NO_UNROLL
      for (int i = 0; i < Plan::kGroups && first_slot(t) + i < Plan::kFrames; ++i) {
        t.bulk_load_init(barrier_of(memory, first_slot(t) + i));
      }
    }
    int phases = 0;
    bool prepared = false;
    MEL_NO_UNROLL
    while (at < end) {
      const OverlapTask task = Sums::next_task(args.sums, at, end);
      const Source source = source_of(args, task);
      if (bulk) start_loads(t, args.spectrum, source.item_at, task.first_frame, source.end, source.frames, memory);
      if (!prepared) {
        load_twiddles(t, args, memory + kTwiddlesAt);
        Sums::prepare(t, args.sums, memory + kSumsAt);
        t.sync();
        prepared = true;
      }
      march(t, args, task, source, memory, phases);
    }
  }
};

}  // namespace melisma::gpu
