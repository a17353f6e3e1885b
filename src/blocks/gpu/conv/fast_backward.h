// The launches of the convolution's fast gradient kernels.
#pragma once

#include "blocks/gpu/conv/backward.h"
#include "blocks/gpu/conv/channels_gradient-kernel.h"
#include "blocks/gpu/conv/rows_gradient-kernel.h"

namespace melisma::gpu {

template <class Kernel>
void set_rows_gradient(const ConvBackwardJob& job, typename Kernel::Args& args) {
  constexpr std::int64_t kWarps = 16384;  // as many as rows of 8 items of 2048 channels: six rounds of an H200
  const std::int64_t size = static_cast<std::int64_t>(dtype_size(job.in.x.dtype)), per_vector = 16 / size;
  args.phase = static_cast<int>(misalignment(job.in.x.data, 16) / size);
  const bool aligned = args.phase == 0 && divides_all_strides(job.in.x, true, false, per_vector);
  const std::int64_t tiles = ceil_div(job.in.steps + (aligned ? 0 : per_vector - 1), Kernel::kTile);
  const std::int64_t wanted = std::clamp<std::int64_t>(kWarps / (job.in.items * job.in.channels), 1, tiles);
  const std::int64_t chunk_tiles = ceil_div(tiles, wanted);
  set_tasks(args.all, ceil_div(tiles, chunk_tiles), chunk_tiles * Kernel::kTile, 4 * kWarps / job.in.channels);
  args.by_channels = fast_division(job.in.channels);
  args.by_chunks = fast_division(args.all.chunks);
}
template <class Kernel>
void set_channels_gradient(const ConvBackwardJob& job, int width, typename Kernel::Args& args) {
  constexpr std::int64_t kThreads = std::int64_t{132} * Kernel::kMinBlocks * Kernel::kThreads;  // at once on an H200
  const std::int64_t vectors = ceil_div(job.in.channels, width);
  const std::int64_t chunks = walk_chunks(job.in.items * vectors, job.in.steps, 16, kThreads);
  const std::int64_t chunk = ceil_div(ceil_div(job.in.steps, chunks), Kernel::kAhead) * Kernel::kAhead;
  set_tasks(args.all, ceil_div(job.in.steps, chunk), chunk, 2 * kThreads / vectors);
  args.by_vectors = fast_division(vectors);
  args.by_chunks = fast_division(args.all.chunks);
  args.packed_weights = packed_weights(job.in.weight, job.in.taps) ? 1 : 0;
}

// threads: of the groups, a block's being Kernel::kThreads.
template <class Kernel, class Runner>
void launch_gradient(const ConvBackwardJob& job, typename Kernel::Args& args, std::int64_t threads, Runner& runner) {
  run_with_sums<float>(
      job, args.all.groups,
      [&](float* sums) {
        args.all.sums = sums;
        runner.template launch<Kernel>(args.all.state_blocks + ceil_div(threads, Kernel::kThreads), 0, args);
      },
      runner);
}
template <class Kernel, class Runner>
void launch_rows_gradient(const ConvBackwardJob& job, Runner& runner) {
  typename Kernel::Args args{};
  args.all = conv_gradient_args(job, Kernel::kThreads);
  set_rows_gradient<Kernel>(job, args);
  launch_gradient<Kernel>(job, args, args.all.groups * job.in.channels * 32, runner);
}
template <class Kernel, class Runner>
void launch_channels_gradient(const ConvBackwardJob& job, int width, Runner& runner) {
  typename Kernel::Args args{};
  args.all = conv_gradient_args(job, Kernel::kThreads);
  set_channels_gradient<Kernel>(job, width, args);
  launch_gradient<Kernel>(job, args, args.all.groups * ceil_div(job.in.channels, width), runner);
}

template <int kType, class Runner>
void run_rows_conv_gradient(const ConvBackwardJob& job, Runner& runner) {
  with_conv_taps(job.in.taps, [&](auto taps) {
    constexpr int kTaps = decltype(taps)::value;
    // A row that a vector or two of a warp hold goes in one round.
    const bool large = job.in.steps > 2 * 32 * ConvElement<kType>::kPerVector;
    if (!is_plain(job.in)) return launch_rows_gradient<RowsConvGradient<kType, kTaps, 1, 4, true>>(job, runner);
    if (large) return launch_rows_gradient<RowsConvGradient<kType, kTaps, 2, 5, false>>(job, runner);
    launch_rows_gradient<RowsConvGradient<kType, kTaps, 1, 4, false>>(job, runner);
  });
}

template <int kType, class Runner>
void run_channels_conv_gradient(const ConvBackwardJob& job, Runner& runner) {
  constexpr int kWidth = 4;
  const std::int64_t bytes = kWidth * static_cast<std::int64_t>(dtype_size(job.in.x.dtype));
  const bool vectors = job.in.channels % kWidth == 0 && aligned_channels(job.in.x, bytes) &&
                       aligned_channels(job.grad_out, bytes) &&
                       (job.x.data == nullptr || aligned_channels(job.x, bytes));
  const bool full = !is_plain(job.in);
  with_conv_taps(job.in.taps, [&](auto taps) {
    constexpr int kTaps = decltype(taps)::value;
    if (vectors && !full) {
      return launch_channels_gradient<ChannelsConvGradient<kType, kTaps, kWidth, false>>(job, kWidth, runner);
    }
    if (vectors) return launch_channels_gradient<ChannelsConvGradient<kType, kTaps, kWidth, true>>(job, kWidth, runner);
    launch_channels_gradient<ChannelsConvGradient<kType, kTaps, 1, true>>(job, 1, runner);
  });
}

template <int kType, class Runner>
void run_fast_conv_gradient(const ConvBackwardJob& job, ConvKernel kernel, Runner& runner) {
  if (kernel == ConvKernel::kRows) return run_rows_conv_gradient<kType>(job, runner);
  run_channels_conv_gradient<kType>(job, runner);
}

}  // namespace melisma::gpu
