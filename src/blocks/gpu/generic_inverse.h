// Runs an InverseJob of any kind: on chip where a frame's transform fits in shared memory, through device memory
// beyond.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "blocks/gpu/generic_inverse-kernel.h"
#include "blocks/gpu/inverse_args.h"
#include "blocks/gpu/job.h"
#include "blocks/gpu/large_inverse.h"
#include "blocks/gpu/overlap_edges.h"

namespace melisma::gpu {

// Shared memory of one block with several frames: four blocks should fit on a multiprocessor.
inline constexpr std::int64_t kInverseSharedBytes = 48 << 10;
// Complex values that a step transforms where frames are short: one butterfly of 16 for each thread.
inline constexpr std::int64_t kInverseStepValues = 4096;
inline constexpr std::int64_t kInverseMostFrames = 128;
// A block's samples in frames, at most and where there are too few of them to fill the device: the frames that touch
// two stretches are transformed twice.
inline constexpr std::int64_t kLongStretch = 16, kShortStretch = 2;
inline constexpr std::int64_t kShortestStretch = 1024;

template <class Kernel>
std::int64_t inverse_shared_bytes(const typename Kernel::Args& args) {
  using T = typename Kernel::Real;
  const std::int64_t step = args.frames_per_step;
  std::int64_t values = args.ring * std::int64_t{Kernel::kWidth};
  if (args.window_in_shared != 0) values += args.transform.n_fft;
  if (Kernel::kGradients) values += gradient_values(args.gradient, step);
  return 2 * step * args.transform.fft.size * static_cast<std::int64_t>(sizeof(Complex<T>)) +
         values * static_cast<std::int64_t>(sizeof(T)) + step * static_cast<std::int64_t>(sizeof(int));
}

template <class Kernel>
void set_frames_per_step(typename Kernel::Args& args, std::int64_t frames) {
  args.frames_per_step = static_cast<int>(frames);
  args.ring = static_cast<int>((frames - 1) * args.hop.ceil + args.transform.n_fft);
}

// How many frames a step takes; false where not even one fits in shared memory.
template <class Kernel, class Runner>
bool choose_step(typename Kernel::Args& args, const Runner& runner) {
  set_frames_per_step<Kernel>(args, 1);
  args.window_in_shared = 1;
  if (inverse_shared_bytes<Kernel>(args) > runner.shared_limit()) args.window_in_shared = 0;
  if (inverse_shared_bytes<Kernel>(args) > runner.shared_limit()) return false;
  const std::int64_t limit = std::min<std::int64_t>(kInverseSharedBytes, runner.shared_limit());
  const std::int64_t most =
      std::min({kInverseMostFrames, kInverseStepValues / args.transform.fft.n, args.framing.frames});
  for (std::int64_t frames = 2; frames <= most; frames *= 2) {
    const typename Kernel::Args before = args;
    if (args.hop.ceil > limit) break;  // no overflow below
    set_frames_per_step<Kernel>(args, frames);
    if (inverse_shared_bytes<Kernel>(args) > limit) {
      args = before;
      break;
    }
  }
  return true;
}

template <class Kernel, class Runner>
void launch_inverse(typename Kernel::Args args, Runner& runner) {
  const std::int64_t bytes = inverse_shared_bytes<Kernel>(args), n = args.transform.n_fft;
  const std::int64_t enough = 2 * runner.template resident_blocks<Kernel>(bytes);
  const std::int64_t samples = std::max(args.range[0].end - args.range[0].begin, std::int64_t{1});
  const auto stretches = [&](std::int64_t stretch) { return (samples + stretch - 1) / stretch; };
  std::int64_t frames = kLongStretch;
  while (frames > kShortStretch && args.items * args.ranges * stretches(frames * n) < enough) frames /= 2;
  args.stretch = std::max(frames * n, kShortestStretch);
  args.stretches = stretches(args.stretch);
  constexpr std::int64_t kMostBlocks = 1 << 20;
  runner.template launch<Kernel>(std::min(args.items * args.ranges * args.stretches, kMostBlocks), bytes, args);
}

template <typename T, typename Value, bool kAgain, class Runner>
void run_inverse_as(const InverseJob& job, Runner& runner) {
  using Kernel = GenericInverse<T, Value, kAgain>;
  const Framing& framing = job.framing;
  typename Kernel::Args args{};
  args.transform.n_fft = static_cast<int>(framing.n_fft);
  const std::int64_t values = transform_values(framing.n_fft, complex_frames(job));
  args.transform.fft.n = static_cast<int>(values);
  args.transform.fft.size = static_cast<int>(block_fft_size<T>(values));
  set_source(job, args, runner);
  args.framing = framing_args(framing);
  args.hop = hop_bounds(framing);
  args.items = job.items;
  if (!choose_step<Kernel>(args, runner)) return run_large_inverse<T, Value>(job, runner);
  args.transform = make_inverse_tables<T>(job, runner);
  args.transform.fft = make_block_fft<T>(values, runner);
  args.copies = sum_copies<T, Value>(job, runner, [&](const ResultArgs& out, SampleRange before, SampleRange after) {
    typename Kernel::Args edges = args;
    edges.out = out;
    edges.range[0] = before;
    edges.range[1] = after;
    edges.ranges = 2;
    launch_inverse<Kernel>(edges, runner);
  });
  args.reciprocals = make_reciprocals<T>(job.envelope, job.envelope_window, framing, runner);
  args.out = result_args(job.out);
  args.range[0] = {0, framing.length, 0};
  args.ranges = 1;
  launch_inverse<Kernel>(args, runner);
}

template <typename T, class Runner>
void run_inverse_in(const InverseJob& job, Runner& runner) {
  if (computes_again(job)) {
    run_inverse_as<T, T, true>(job, runner);
  } else if (complex_frames(job)) {
    run_inverse_as<T, Complex<T>, false>(job, runner);
  } else {
    run_inverse_as<T, T, false>(job, runner);
  }
}

inline std::string generic_inverse_kernel(const InverseJob& job) { return transform_name(job); }

template <class Runner>
void run_generic_inverse(const InverseJob& job, Runner& runner) {
  if (job.items == 0 || job.framing.length == 0) return;
  if (inverse_in_float64(job, runner)) {
    run_inverse_in<double>(job, runner);
  } else {
    run_inverse_in<float>(job, runner);
  }
}

}  // namespace melisma::gpu
