// The launch of a fast inverse kernel: what a .cu file (or the emulator) includes to compile some of the variants.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "blocks/fft/plan.h"
#include "blocks/gpu/fast_inverse-kernel.h"
#include "blocks/gpu/fast_inverse.h"
#include "blocks/gpu/overlap_edges.h"
#include "runtime/gpu/runner.h"

namespace melisma::gpu {
namespace fast_inverse {

// exp(2 pi i s u / n) for s = 1 .. kStep - 1, then for the multiples of kStep; exp(2 pi i j / 2R).
template <class Plan>
void fill_twiddles(float* table) {
  std::fill_n(table, static_cast<int>(Plan::kTwiddleFloats), 0.0f);
  for (int j = 0; j < Plan::R; ++j) {
    const Twiddle w = twiddle(j, 2 * Plan::R);
    table[2 * (Plan::kTwiddles + j)] = static_cast<float>(w.re);
    table[2 * (Plan::kTwiddles + j) + 1] = static_cast<float>(-w.im);
  }
  for (int row = 0; row < Plan::kTwiddleRows; ++row) {
    const int s = row < Plan::kStep - 1 ? row + 1 : Plan::kStep * (row - Plan::kStep + 2);
    for (int u = 0; u < Plan::C; ++u) {
      const Twiddle w = twiddle(static_cast<std::int64_t>(s) * u, Plan::N);
      table[2 * (row * Plan::C + u)] = static_cast<float>(w.re);
      table[2 * (row * Plan::C + u) + 1] = static_cast<float>(-w.im);
    }
  }
}

// Rows that bulk copies may take: those of neighbouring frames do not overlap.
inline FastSpectrumArgs spectrum_args(const InverseJob& job) {
  const std::int64_t bins = job.framing.n_fft / 2 + (job.bins == BinSet::kNoNyquist ? 0 : 1);
  FastSpectrumArgs args{};
  args.data = static_cast<const float*>(job.spec.data);
  args.bin_stride = job.spec.bin_stride;
  args.frame_stride = job.spec.frame_stride;
  args.items = axes_args(job.spec.items);
  args.bins = static_cast<int>(bins);
  args.odd = static_cast<int>(reinterpret_cast<std::uintptr_t>(job.spec.data) / 8 % 2);
  args.bulk = job.spec.bin_stride == 1 && job.spec.frame_stride >= bins ? 1 : 0;
  args.one_run = args.bulk != 0 && job.spec.frame_stride == bins ? 1 : 0;
  args.edge_bins = static_cast<float>(job.edge_bins);
  return args;
}

inline std::int64_t rounded_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

inline bool one_float_apart(const ResultArgs& out) { return out.type == kSampleFloat32 && out.stride == 1; }

// Whether all samples that start a hop are stored at a multiple of `width` elements.
template <typename Wide>
bool stores_align(const OverlapAddArgs<Wide>& args, std::int64_t width) {
  if (args.framing.hop % width != 0 || reinterpret_cast<std::uintptr_t>(args.out.data) / 4 % width != 0) return false;
  for (int i = 0; i < args.out.items.count; ++i) {
    if (args.out.items.stride[i] % width != 0) return false;
  }
  for (int i = 0; i < args.ranges; ++i) {
    if ((args.range[i].to - args.range[i].begin - args.framing.offset) % width != 0) return false;
  }
  return true;
}

// The widest that hop and result take; as many hops at once as there are threads for. frames: of a step.
template <typename Wide>
void choose_width(OverlapAddArgs<Wide>& args, int threads, int frames) {
  const std::int64_t hop = args.framing.hop;
  args.vectors = one_float_apart(args.out) ? 1 : 0;
  args.width = 4;
  while (hop % args.width != 0 || (args.vectors != 0 && !stores_align(args, args.width))) args.width /= 2;
  args.places = static_cast<int>(hop / args.width);
  args.groups = groups_of(threads, args.places, frames, args.overlaps - 1);
}

// How many hops a block takes: all that fit on the device at once share the work; of little work as much as a few steps
// of `frames`, for the frames before a stretch are transformed again. Returns the number of blocks.
template <typename Wide>
std::int64_t choose_stretch(OverlapAddArgs<Wide>& args, std::int64_t items, std::int64_t resident,
                            std::int64_t frames) {
  constexpr std::int64_t kSteps = 4;
  args.items = items;
  args.line = std::max(args.hops[0], args.ranges > 1 ? args.hops[1] : 0);
  const std::int64_t all = items * args.ranges * args.line, before = args.overlaps - 1;
  args.stretch = std::max<std::int64_t>((all + resident - 1) / resident, 1);
  for (std::int64_t steps = 1; steps <= kSteps; ++steps) {
    const std::int64_t whole = steps * frames - before;
    if (whole < args.stretch) continue;
    // Part of a step is done sooner than all of it.
    args.stretch = steps == 1 ? std::min(whole, std::max(args.stretch, before + 1)) : whole;
    break;
  }
  if (args.fold > 0) {
    const std::int64_t hop = args.framing.hop, offset = args.framing.offset;
    args.fold_first = (offset + args.fold) / hop + 1;
    args.fold_last = args.line - (args.framing.length - 1 - args.fold + offset) / hop;
  }
  return (all + args.stretch - 1) / args.stretch;
}

template <class Kernel, class Runner>
void launch_ranges(typename Kernel::Args args, std::int64_t items, Runner& runner) {
  auto& sums = args.sums;
  const std::int64_t hop = sums.framing.hop, offset = sums.framing.offset;
  for (int i = 0; i < sums.ranges; ++i) {
    sums.first_hop[i] = (sums.range[i].begin + offset) / hop;
    sums.hops[i] = (sums.range[i].end + offset + hop - 1) / hop - sums.first_hop[i];
  }
  choose_width(sums, Kernel::kThreads, Kernel::kFrames);
  const SumsMemory memory = sums_memory(Kernel::N, hop, sums.with_envelope != 0, Kernel::kFrames);
  sums.carry_at = static_cast<int>(memory.carry_at);
  sums.period_at = static_cast<int>(memory.period_at);
  const std::int64_t bytes = 4 * (Kernel::kSumsAt + memory.floats);
  const std::int64_t resident = runner.template resident_blocks<Kernel>(bytes);
  runner.template launch<Kernel>(choose_stretch(sums, items, resident, Kernel::kFrames), bytes, args);
}

template <typename Wide>
OverlapAddArgs<Wide> overlap_add_args(const InverseJob& job) {
  const Framing& framing = job.framing;
  OverlapAddArgs<Wide> args{};
  args.framing = framing_args(framing);
  args.window = window_args(job.window, framing.n_fft);
  args.plain_window =
      job.window.data != nullptr && job.window.dtype == DType::kFloat32 && job.window.stride == 1 ? 1 : 0;
  args.window_scale = make_wide<Wide>(job.window.scale);
  args.overlaps = static_cast<int>((framing.n_fft + framing.hop - 1) / framing.hop);
  if (job.envelope.enabled) {
    const double scale = job.envelope.scale / static_cast<double>(framing.n_fft);
    args.with_envelope = 1;
    args.envelope_window = window_args(job.envelope_window, framing.n_fft);
    args.envelope_scale = make_wide<Wide>(scale);
    args.least = make_wide<Wide>(kSmallestEnvelope);
    args.vanished = vanished_reciprocal<float>(job.envelope.edge, scale);
    args.own_window = job.window.data == job.envelope_window.data && job.window.scale == 1.0 &&
                              job.window.dtype == DType::kFloat32 && job.window.stride == job.envelope_window.stride &&
                              job.window.length == job.envelope_window.length
                          ? 1
                          : 0;
  }
  return args;
}

// The launches that write the job's result. args: all but the result and its ranges.
template <class Kernel, class Runner>
void launch_padded(typename Kernel::Args args, const InverseJob& job, Runner& runner) {
  auto& sums = args.sums;
  sums.out = result_args(job.out);
  sums.range[0] = {0, job.framing.length, 0};
  sums.ranges = 1;
  if (job.framing.pad_mode == PadMode::kReflect && job.framing.pad == 0 && one_float_apart(sums.out)) {
    const std::int64_t fold = sums.fold = copied_samples(job.framing);
    sums.range[0] = {-fold, job.framing.length + fold, -fold};
  } else {
    sums.copies =
        sum_copies<float, float>(job, runner, [&](const ResultArgs& out, SampleRange before, SampleRange after) {
          typename Kernel::Args edges = args;
          edges.sums.out = out;
          edges.sums.range[0] = before;
          edges.sums.range[1] = after;
          edges.sums.ranges = 2;
          launch_ranges<Kernel>(edges, job.items, runner);
        });
  }
  launch_ranges<Kernel>(args, job.items, runner);
}

}  // namespace fast_inverse

template <int kIndex, class Runner>
void launch_fast_inverse(const InverseJob& job, Runner& runner) {
  using V = FastInverseVariant<kIndex>;
  using Plan = InversePlan<V::kC, V::kR, V::kLanes, V::kWarps, V::kMinBlocks, V::kBuffers>;
  if (job.items == 0 || job.framing.length == 0) return;
  with_wide<float>(runner, [&]<typename Wide>(Wide) {
    using Kernel = FastInverse<Plan, Wide>;
    typename Kernel::Args args{};
    args.spectrum = fast_inverse::spectrum_args(job);
    args.sums = fast_inverse::overlap_add_args<Wide>(job);
    args.twiddles = static_cast<const float*>(
        runner.table(TableKey{"fast inverse twiddles", Plan::C, Plan::R}, Plan::kTwiddleFloats * sizeof(float),
                     [](void* to) { fast_inverse::fill_twiddles<Plan>(static_cast<float*>(to)); }));
    fast_inverse::launch_padded<Kernel>(args, job, runner);
  });
}

#define MELISMA_FAST_INVERSE_INSTANTIATE(index, Runner) \
  template void launch_fast_inverse<index, Runner>(const InverseJob&, Runner&);

}  // namespace melisma::gpu
