// Inverse and window jobs whose frames do not fit in shared memory.
#pragma once

#include <algorithm>
#include <cstdint>

#include "blocks/gpu/device_fft.h"
#include "blocks/gpu/inverse_args.h"
#include "blocks/gpu/job.h"
#include "blocks/gpu/large_forward.h"
#include "blocks/gpu/large_inverse-kernel.h"
#include "blocks/gpu/overlap_edges.h"
#include "blocks/gpu/window_tables.h"

namespace melisma::gpu {

// The first of the framing's frames that `touches`, which none before does and all after do; framing.frames: none.
template <class Touches>
std::int64_t first_frame_that(const Framing& framing, const Touches& touches) {
  std::int64_t low = 0, high = framing.frames;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (touches(framing.start(middle))) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

template <class Kernel, class Args, class Runner>
void launch_steps(std::int64_t steps, const Args& args, Runner& runner) {
  launch_over<Kernel>((steps + Kernel::kThreads - 1) / Kernel::kThreads, 0, args, runner);
}

// The buffers and the transform of a job's chunks.
template <typename T>
struct LargeFramesPlan {
  DeviceFft<T> fft;
  Complex<T>* a = nullptr;
  Complex<T>* b = nullptr;
  std::int64_t together = 1;  // frames
};

template <typename T, class Runner>
T* large_buffer(std::int64_t values, Runner& runner) {
  return values > 0 ? static_cast<T*>(runner.workspace(static_cast<std::size_t>(values) * sizeof(T))) : nullptr;
}

// Everything but window, reciprocals, result and frames.
template <typename T, class Runner>
LargeFramesPlan<T> plan_large_frames(const InverseJob& job, LargeInverseArgs<T>& args, std::int64_t workspace,
                                     Runner& runner) {
  LargeFramesPlan<T> plan;
  plan.fft = make_device_fft<T>(transform_values(job.framing.n_fft, complex_frames(job)), runner);
  set_source(job, args, runner);
  args.transform.fft = plan.fft.bluestein;
  args.framing = framing_args(job.framing);
  args.hop = hop_bounds(job.framing);
  const std::int64_t bank_values = gradient_values(args.gradient, std::int64_t{1});
  const std::int64_t bytes = 2 * plan.fft.transform * static_cast<std::int64_t>(sizeof(Complex<T>)) +
                             bank_values * static_cast<std::int64_t>(sizeof(T));
  plan.together =
      std::clamp<std::int64_t>(workspace / bytes, 1, std::max<std::int64_t>(job.items * job.framing.frames, 1));
  plan.a = large_buffer<Complex<T>>(plan.together * plan.fft.transform, runner);
  plan.b = large_buffer<Complex<T>>(plan.together * plan.fft.transform, runner);
  args.bands = large_buffer<T>(plan.together * args.gradient.bank.bands, runner);
  if (args.gradient.log.enabled != 0) args.powers = large_buffer<T>(plan.together * args.gradient.bank.bins, runner);
  return plan;
}

// The frames of a chunk, inverse-transformed, at args.values.
template <typename T, class Runner>
void make_chunk(const InverseJob& job, const LargeFramesPlan<T>& plan, LargeInverseArgs<T>& args, Runner& runner) {
  const std::int64_t pairs = args.count * bin_pairs(args.transform);
  args.values = plan.a;
  if (computes_again(job)) {
    launch_steps<LargeFrames<T>>(args.count * args.transform.fft.n, args, runner);
    args.values = device_fft(plan.fft, plan.a, plan.b, args.count, runner);
    args.other = args.values == plan.a ? plan.b : plan.a;
    const std::int64_t bins = args.gradient.bank.bins, bands = args.gradient.bank.bands;
    if (args.gradient.log.enabled != 0) launch_steps<LargePowers<T>>(args.count * bins, args, runner);
    if (bands > 0) launch_steps<LargeBandGradients<T>>(args.count * bands * kWarp, args, runner);
    launch_steps<LargeGradients<T>>(pairs, args, runner);
    std::swap(args.values, args.other);
  } else {
    launch_steps<LargeSpectra<T>>(pairs, args, runner);
  }
  args.values = device_fft(plan.fft, args.values, args.values == plan.a ? plan.b : plan.a, args.count, runner);
}

// Sums and writes a range of samples of every item.
template <typename T, typename Value, class Runner>
void add_range(const InverseJob& job, const LargeFramesPlan<T>& plan, LargeInverseArgs<T> args, T* (&carries)[2],
               Runner& runner) {
  const Framing& framing = job.framing;
  const SampleRange range = args.range;
  args.first_frame = first_frame_that(framing, [&](std::int64_t start) { return start + framing.n_fft > range.begin; });
  args.last_frame = first_frame_that(framing, [&](std::int64_t start) { return start >= range.end; }) - 1;
  const std::int64_t frames = args.last_frame + 1 - args.first_frame;
  args.samples_from = range.begin;
  args.samples = range.end - range.begin;
  if (frames <= 0) {
    args.count = job.items;
    return launch_steps<LargeAdd<T, Value>>(job.items * args.samples, args, runner);
  }
  for (args.first = 0; args.first < job.items * frames; args.first += args.count) {
    args.count = std::min(plan.together, job.items * frames - args.first);
    make_chunk(job, plan, args, runner);
    const std::int64_t item = args.first / frames, last = (args.first + args.count - 1) / frames;
    args.samples_from = range.begin;
    std::int64_t end = range.end;
    if (item == last) {  // only what its frames reach
      const std::int64_t from = args.first_frame + args.first % frames, to = from + args.count - 1;
      if (from > args.first_frame) args.samples_from = std::max(range.begin, framing.start(from));
      if (to < args.last_frame)
        end = std::min(range.end, std::max(framing.start(to) + framing.n_fft, framing.start(to + 1)));
    }
    args.samples = std::max<std::int64_t>(end - args.samples_from, 0);
    args.carried = carries[0];
    args.carry = carries[1];
    if (args.samples > 0) {
      launch_steps<LargeAdd<T, Value>>((last + 1 - item) * args.samples, args, runner);
    }
    std::swap(carries[0], carries[1]);
  }
}

template <typename T, typename Value, class Runner>
void run_large_inverse(const InverseJob& job, Runner& runner, std::int64_t workspace = kLargeWorkspace) {
  LargeInverseArgs<T> args{};
  args.transform = make_inverse_tables<T>(job, runner);
  const LargeFramesPlan<T> plan = plan_large_frames(job, args, workspace, runner);
  const std::int64_t carried = job.framing.n_fft * static_cast<std::int64_t>(sizeof(Value) / sizeof(T));
  T* carries[2] = {large_buffer<T>(carried, runner), large_buffer<T>(carried, runner)};
  args.copies = sum_copies<T, Value>(job, runner, [&](const ResultArgs& out, SampleRange before, SampleRange after) {
    LargeInverseArgs<T> edges = args;
    edges.out = out;
    for (const SampleRange& range : {before, after}) {
      edges.range = range;
      add_range<T, Value>(job, plan, edges, carries, runner);
    }
  });
  args.reciprocals = make_reciprocals<T>(job.envelope, job.envelope_window, job.framing, runner);
  args.out = result_args(job.out);
  args.range = {0, job.framing.length, 0};
  add_range<T, Value>(job, plan, args, carries, runner);
}

// sums: [n_fft]
template <typename T, typename Wide, class Runner>
void sum_large_window(const WindowJob& job, Wide* sums, Runner& runner, std::int64_t workspace = kLargeWorkspace) {
  const InverseJob& gradient = job.gradient;
  typename LargeWindowSums<T, Wide>::Args args{};
  args.chunk.transform = make_unwindowed_tables<T>(gradient, runner);
  const LargeFramesPlan<T> plan = plan_large_frames(gradient, args.chunk, workspace, runner);
  args.chunk.last_frame = gradient.framing.frames - 1;
  args.x = signal_args(job.x);
  args.sums = sums;
  const std::int64_t all = gradient.items * gradient.framing.frames;
  for (std::int64_t first = 0; first < all; first += plan.together) {
    args.chunk.first = first;
    args.chunk.count = std::min(plan.together, all - first);
    args.begins = first == 0 ? 1 : 0;
    make_chunk(gradient, plan, args.chunk, runner);
    launch_steps<LargeWindowSums<T, Wide>>(gradient.framing.n_fft, args, runner);
  }
}

}  // namespace melisma::gpu
