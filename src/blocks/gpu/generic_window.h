// Runs a WindowJob.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "blocks/gpu/generic_inverse.h"
#include "blocks/gpu/generic_window-kernel.h"
#include "blocks/gpu/job.h"

namespace melisma::gpu {

// Frames of one sum at least, sums of all at most, and their memory at most (kFewestWindowSums whatever it takes).
inline constexpr std::int64_t kWindowSumFrames = 8;
inline constexpr std::int64_t kMostWindowSums = 1024, kFewestWindowSums = 64;
inline constexpr std::int64_t kWindowSumValues = 1 << 21;

// Of the job alone, so that the result does not depend on the device.
inline std::int64_t window_groups(const WindowJob& job) {
  const std::int64_t frames = job.gradient.items * job.gradient.framing.frames;
  if (frames == 0) return 0;
  const std::int64_t most =
      std::clamp(kWindowSumValues / job.gradient.framing.n_fft, kFewestWindowSums, kMostWindowSums);
  return std::clamp<std::int64_t>(frames / kWindowSumFrames, 1, most);
}

template <typename T, typename Wide>
std::int64_t window_shared_bytes(const typename WindowSums<T, Wide>::Args& args) {
  return args.transform.n_fft * static_cast<std::int64_t>(sizeof(Wide)) +
         2 * args.frames_per_step * args.transform.fft.size * static_cast<std::int64_t>(sizeof(Complex<T>));
}

template <typename T, typename Wide>
bool window_fits(const WindowJob& job, std::int64_t shared_limit) {
  typename WindowSums<T, Wide>::Args args{};
  const std::int64_t values = transform_values(job.gradient.framing.n_fft, complex_frames(job.gradient));
  args.transform.n_fft = static_cast<int>(job.gradient.framing.n_fft);
  args.transform.fft.size = static_cast<int>(block_fft_size<T>(values));
  args.frames_per_step = 1;
  return window_shared_bytes<T, Wide>(args) <= shared_limit;
}

// sums: [groups][n_fft]
template <typename T, typename Wide, class Runner>
void sum_window_groups(const WindowJob& job, std::int64_t groups, Wide* sums, Runner& runner) {
  using Kernel = WindowSums<T, Wide>;
  const InverseJob& gradient = job.gradient;
  const std::int64_t values = transform_values(gradient.framing.n_fft, complex_frames(gradient));
  typename Kernel::Args args{};
  args.spectrum = {grid_args(gradient.spec), static_cast<T>(gradient.edge_bins), spectrum_bins(gradient.bins)};
  args.x = signal_args(job.x);
  args.framing = framing_args(gradient.framing);
  args.sums = sums;
  args.frames = gradient.items * gradient.framing.frames;
  args.group_frames = args.frames / groups;
  args.more = args.frames % groups;
  args.transform = make_unwindowed_tables<T>(gradient, runner);
  args.transform.fft = make_block_fft<T>(values, runner);
  args.frames_per_step = 1;
  const std::int64_t limit = std::min<std::int64_t>(kInverseSharedBytes, runner.shared_limit());
  const std::int64_t most = std::min({kInverseMostFrames, kInverseStepValues / values, args.group_frames});
  while (2 * args.frames_per_step <= most) {
    args.frames_per_step *= 2;
    if (window_shared_bytes<T, Wide>(args) <= limit) continue;
    args.frames_per_step /= 2;
    break;
  }
  runner.template launch<Kernel>(groups, window_shared_bytes<T, Wide>(args), args);
}

template <typename T, class Runner>
void run_window_in(const WindowJob& job, Runner& runner) {
  const Window& window = job.gradient.window;
  const std::int64_t n = job.gradient.framing.n_fft, groups = window_groups(job);
  with_wide<T>(runner, [&]<typename Wide>(Wide) {
    std::int64_t rows = groups;
    Wide* sums = nullptr;
    if (groups > 0 && window_fits<T, Wide>(job, runner.shared_limit())) {
      sums = large_buffer<Wide>(groups * n, runner);
      sum_window_groups<T>(job, groups, sums, runner);
    } else if (groups > 0) {
      rows = 1;
      sums = large_buffer<Wide>(n, runner);
      sum_large_window<T>(job, sums, runner);
    }
    using Kernel = AddWindowSums<Wide>;
    const typename Kernel::Args args{sums,
                                     rows,
                                     n,
                                     (n - window.length) / 2,
                                     window.length,
                                     make_wide<Wide>(window.scale),
                                     job.out.data,
                                     job.out.stride,
                                     sample_type(job.out.dtype)};
    runner.template launch<Kernel>((window.length + 31) / 32, Kernel::kSharedBytes, args);
  });
}

inline std::string generic_window_kernel(const WindowJob& job) { return transform_name(job.gradient); }

template <class Runner>
void run_generic_window(const WindowJob& job, Runner& runner) {
  if (inverse_in_float64(job.gradient, runner)) {
    run_window_in<double>(job, runner);
  } else {
    run_window_in<float>(job, runner);
  }
}

}  // namespace melisma::gpu
