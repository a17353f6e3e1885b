// Fast inverse transforms with overlap-add, in float32.
//
// A block owns a stretch of one item's hops and marches along it, kFrames frames at a time: each warp transforms its
// frames in shared memory, then the block's threads add them up in order, write the finished hops and carry what later
// frames add to. The frames before the stretch that touch it are transformed again.
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

  // Shared memory, in this order, and what the overlap-add needs. Spectra that bulk copies do not take lie closer
  // together where they have room: neighbouring frames in different banks.
  enum : int {
    kSamplesAt = Plan::kApart ? Plan::kFrames * Plan::kRowPitch : 0,
    kTwiddlesAt = kSamplesAt + Plan::kFrames * Plan::kFrameFloats,
    kBarriersAt = kTwiddlesAt + Plan::kTwiddleFloats,
    kSumsAt = kBarriersAt + (2 * Plan::kFrames + 3) / 4 * 4,
    kTilePitch = Plan::kApart ? 2 * (Plan::C * Plan::R + 1) : int(Plan::kFrameFloats),
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
      MEL_SHARED(float) target = memory + slot * Plan::kRowPitch + 2 * run.skew;
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
    if (spectrum.one_run != 0 || Plan::kGroups == 1) {
      if (first_slot(t) >= there) return;
      t.bulk_load_wait(barrier_of(memory, first_slot(t)), phases & 1);
      phases ^= 1;
      return;
    }
    MEL_NO_UNROLL
    for (int i = 0; i < Plan::kGroups && first_slot(t) + i < there; ++i) {
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

  // Bins begin, begin + kStep ... of a row.
  template <int kStep>
  MEL_FN static void gather_row(MEL_THREAD_ARG t, MEL_ARGS(FastSpectrumArgs) spectrum, std::int64_t at, int begin,
                                MEL_SHARED(float) row) {
    constexpr int kAtOnce = 8;
    const std::int64_t stride = 2 * kStep * spectrum.bin_stride;
    MEL_GLOBAL(const float) from = spectrum.data + 2 * (at + begin * spectrum.bin_stride);
    MEL_SHARED(float) to = row + 2 * begin;
    int k = begin;
    MEL_NO_UNROLL
    for (; k + (kAtOnce - 1) * kStep < spectrum.bins; k += kAtOnce * kStep) {
      MEL_UNROLL
      for (int i = 0; i < kAtOnce; ++i) {
        t.async_load8(to + 2 * kStep * i, from);
        from += stride;
      }
      to += 2 * kStep * kAtOnce;
    }
    MEL_NO_UNROLL
    for (; k < spectrum.bins; k += kStep) {
      t.async_load8(to, from);
      from += stride;
      to += 2 * kStep;
    }
  }
  // The same for any strides, by all threads of the block.
  MEL_FN static void start_gather(MEL_THREAD_ARG t, MEL_ARGS(FastSpectrumArgs) spectrum, std::int64_t item_at,
                                  int first, int end, MEL_SHARED(float) memory) {
    constexpr int kAcross = kThreads / Plan::kFrames;
    const int count = mel_min(int(Plan::kFrames), end - first);
    if (mel_abs(spectrum.frame_stride) < mel_abs(spectrum.bin_stride)) {  // neighbouring lanes, neighbouring frames
      const int f = t.thread() % Plan::kFrames, begin = t.thread() / Plan::kFrames;
      if (f < count && begin < kAcross) {
        gather_row<kAcross>(t, spectrum, item_at + (first + f) * spectrum.frame_stride, begin, memory + f * kTilePitch);
      }
    } else {
      MEL_NO_UNROLL
      for (int f = t.warp(); f < count; f += kThreads / kWarp) {
        gather_row<kWarp>(t, spectrum, item_at + (first + f) * spectrum.frame_stride, t.lane(),
                          memory + f * kTilePitch);
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

  // Loads of the step whose first frame is `first`.
  MEL_FN static void start_step(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_LOCAL const Source& source, int first,
                                MEL_SHARED(float) memory) {
    if (args.spectrum.bulk != 0) {
      start_loads(t, args.spectrum, source.item_at, first, source.end, source.frames, memory);
    } else {
      start_gather(t, args.spectrum, source.item_at, first, source.end, memory);
    }
  }

  MEL_FN static MEL_SHARED(float) row_of(MEL_ARGS(FastSpectrumArgs) spectrum, MEL_LOCAL const Source& source, int first,
                                         int slot, int group, MEL_SHARED(float) memory) {
    const int before = spectrum.one_run != 0 ? group : 0;  // rows of the slot's run
    return memory + ((slot - before) * Plan::kRowPitch +
                     2 * (skew_of(spectrum, source.item_at, first + slot - before) + before * spectrum.bins));
  }

  // The same for a step after another: between an item's first and last rows a run needs no tests.
  MEL_FN static void start_next(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_LOCAL const Source& source, int next,
                                MEL_SHARED(float) memory) {
    MEL_ARGS(FastSpectrumArgs) spectrum = args.spectrum;
    const int slot = first_slot(t), frame = next + slot, after = frame + Plan::kGroups;
    if (spectrum.one_run != 0 && slot < Plan::kFrames && after <= source.end && after < source.frames) {
      const int skew = skew_of(spectrum, source.item_at, frame);
      t.bulk_load(MEL_SHARED_CAST(char, memory + slot * Plan::kRowPitch),
                  spectrum.data + 2 * (source.item_at + frame * spectrum.frame_stride - skew),
                  (skew + Plan::kGroups * spectrum.bins + 1) / 2 * 16, barrier_of(memory, slot));
    } else {
      start_step(t, args, source, next, memory);
    }
  }

  // One task, whose first step's loads have been started. phases: bit i is the parity that the warp's load i is waited
  // for with next.
  MEL_FN static void march(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_LOCAL const OverlapShare& share,
                           MEL_LOCAL const OverlapTask& task, MEL_LOCAL const Source& source, MEL_SHARED(float) memory,
                           MEL_LOCAL int& phases) {
    using Transform = InverseTransform<Plan>;
    const bool bulk = args.spectrum.bulk != 0;
    // Lanes left over go along with the last frame.
    const int group = mel_min(t.lane() / Plan::kLanes, Plan::kGroups - 1);
    const int slot = Plan::kPaired ? t.warp() / 2 : t.warp() * Plan::kGroups + group;
    const int lane = Plan::kPaired ? t.thread() % 64 : t.lane() - group * Plan::kLanes;
    const bool has_nyquist = args.spectrum.bins > N / 2;
    MEL_SHARED(const Complex<float>) twiddles = MEL_SHARED_CAST(const Complex<float>, memory + kTwiddlesAt);
    MEL_SHARED(float) frames = memory + kSamplesAt;
    MEL_SHARED(float) samples = frames + slot * Plan::kFrameFloats;
    MEL_SHARED(float) row = memory + slot * kTilePitch;
    if (bulk) row = row_of(args.spectrum, source, task.first_frame, slot, group, memory);
    MEL_NO_UNROLL
    for (int first = task.first_frame; first < task.end; first += Plan::kFrames) {
      const int count = mel_min(int(Plan::kFrames), task.end - first), next = first + Plan::kFrames;
      const int there = mel_max(0, mel_min(source.frames - first, count));
      const bool active = Plan::kPaired || first_slot(t) < there, work = lane < Plan::kLanes && slot < there;
      if (bulk) {
        if (!Plan::kApart) {
          start_prefetch(t, args.spectrum, source.item_at, next, source.end, source.frames);
        }
        wait_for_loads(t, args.spectrum, there, memory, phases);
        Transform::sync(t);
        if (Plan::kFrames % 2 != 0) row = row_of(args.spectrum, source, first, slot, group, memory);
      } else {
        t.async_wait();
        t.sync();
      }
      MEL_SHARED(Complex<float>) spectrum = MEL_SHARED_CAST(Complex<float>, row);
      if (Plan::kApart) {
        MEL_SHARED(Complex<float>) exchange = MEL_SHARED_CAST(Complex<float>, samples);
        if (active) {
          Transform::pack_edges(t, work, lane, spectrum, has_nyquist, args.spectrum.edge_bins,
                                twiddles + int(Plan::kTwiddles));
        }
        // Waits until the samples of the last step have been added up, if the block has not met yet.
        Transform::run_columns_apart(t, bulk && !Plan::kPaired, active, work, lane, spectrum, exchange, twiddles);
        t.sync_warp_bulk();  // the loads overwrite what this warp has read
        if (Plan::kPaired || !bulk) t.sync();
        start_next(t, args, source, next, memory);
        if (active) InverseFrame<Plan>::finish(t, work, lane, samples);
        t.sync();
        Sums::add(t, args.sums, share, task, first, count, there, frames, memory + kSumsAt);
      } else {
        if (active) {
          InverseFrame<Plan>::run(t, work, lane, spectrum, samples, has_nyquist, args.spectrum.edge_bins, twiddles);
        }
        t.sync();
        Sums::add(t, args.sums, share, task, first, count, there, frames, memory + kSumsAt);
        t.sync_warp_bulk();  // the loads overwrite what this warp has written
        t.sync();
        start_next(t, args, source, next, memory);
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
    const OverlapShare share = Sums::share_of(t, args.sums);
    int phases = 0;
    bool prepared = false;
    MEL_NO_UNROLL
    while (at < end) {
      const OverlapTask task = Sums::next_task(args.sums, at, end);
      const Source source = source_of(args, task);
      start_step(t, args, source, task.first_frame, memory);
      if (!prepared) {
        load_twiddles(t, args, memory + kTwiddlesAt);
        Sums::prepare(t, args.sums, memory + kSumsAt);
        t.sync();
        prepared = true;
      }
      march(t, args, share, task, source, memory, phases);
    }
  }
};

}  // namespace melisma::gpu
