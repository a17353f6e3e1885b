// The launches of the convolution's fast gradient kernels.
#pragma once

#include "blocks/gpu/conv/aligned_gradient-kernel.h"
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

template <class Kernel, class Runner>
void launch_rows_gradient(const ConvBackwardJob& job, Runner& runner) {
  typename Kernel::Args args{};
  args.all = conv_gradient_args(job, Kernel::kThreads);
  set_rows_gradient<Kernel>(job, args);
  run_with_sums<float>(
      job, args.all.groups,
      [&](float* sums) {
        args.all.sums = sums;
        const std::int64_t blocks = ceil_div(args.all.groups * job.in.channels * 32, Kernel::kThreads);
        runner.template launch<Kernel>(args.all.state_blocks + blocks, 0, args);
      },
      runner);
}

template <class Kernel, class Runner>
void launch_channels_gradient(const ConvBackwardJob& job, int width, Runner& runner) {
  constexpr std::int64_t kThreads = std::int64_t{132} * Kernel::kMinBlocks * Kernel::kThreads;  // at once on an H200
  typename Kernel::Args args{};
  args.all = conv_gradient_args(job, Kernel::kThreads);
  const std::int64_t vectors = ceil_div(job.in.channels, width);
  const std::int64_t chunks = walk_chunks(job.in.items * vectors, job.in.steps, 16, kThreads);
  const std::int64_t chunk = ceil_div(ceil_div(job.in.steps, chunks), Kernel::kAhead) * Kernel::kAhead;
  set_tasks(args.all, ceil_div(job.in.steps, chunk), chunk, 2 * kThreads / vectors);
  const ChannelBlocks blocks = channel_blocks(job.in.channels, width, 0);
  args.by_columns = fast_division(blocks.columns);
  args.by_chunks = fast_division(args.all.chunks);
  args.vectors = blocks.vectors;
  args.vector_bits = blocks.vector_bits;
  args.packed = packed_channels(job.in);
  const std::int64_t lines = ceil_div(args.all.groups, Kernel::kThreads >> blocks.vector_bits);
  run_with_sums<float>(
      job, lines,
      [&](float* sums) {
        args.all.sums = sums;
        runner.template launch<Kernel>(args.all.state_blocks + lines * blocks.columns, Kernel::kSharedBytes, args);
      },
      runner);
}

// Whether the kernel for the case that most calls are takes the job.
inline bool takes_aligned_rows(const ConvBackwardJob& job) {
  const std::int64_t steps = job.in.steps;
  return is_plain(job.in) && job.in.initial_states.data == nullptr && job.grad_final_states.data == nullptr &&
         !job.in.residual && aligned_rows(job.in.x, steps) && aligned_rows(job.grad_out, steps) &&
         (job.x.data == nullptr || aligned_rows(job.x, steps));
}
// rounds: of a block, at most, lanes taking a task each; fewer where blocks would not fill a device. Where a channel
// has no more than that, its sums are the gradients, and no launch has to add them up.
template <class Kernel, class Runner>
void launch_aligned_gradient(const ConvBackwardJob& job, int vectors, std::int64_t rounds, Runner& runner) {
  typename Kernel::Args args{};
  args.conv = conv_args(job.in);
  args.grad_out = series_args(job.grad_out);
  args.x = series_args(job.x);
  args.weight = conv_matrix_args(job.weight);
  args.bias = conv_matrix_args(job.bias);
  const RowTiles tiles = row_tiles(job.in.items, 1, job.in.steps, std::int64_t{vectors} * Kernel::kSize);
  args.by_tiles = tiles.by_tiles;
  args.by_channels = fast_division(job.in.channels);
  args.lane_bits = tiles.lane_bits;
  args.like_x = weights_like_x(job.in) ? 1 : 0;
  args.tasks = tiles.tasks;
  const std::int64_t at_once = Kernel::kThreads >> tiles.lane_bits, all = ceil_div(tiles.tasks, at_once);
  if (all > rounds) {
    const std::int64_t blocks = std::int64_t{3} * 132 * Kernel::kMinBlocks;  // three times what an H200 runs at once
    const std::int64_t fewest = ceil_div(all * job.in.channels * (job.in.taps + 1), kMostConvSums);
    rounds = std::max(std::clamp<std::int64_t>(all * job.in.channels / blocks, 1, rounds), fewest);
  }
  args.group_tasks = static_cast<std::uint32_t>(rounds * at_once);
  const std::int64_t groups = ceil_div(tiles.tasks, args.group_tasks);
  const auto launch = [&](float* sums) {
    args.sums = sums;
    runner.template launch<Kernel>(groups * job.in.channels, Kernel::kSharedBytes, args);
  };
  if (groups == 1) {
    launch(nullptr);
  } else {
    run_with_sums<float>(job, groups, launch, runner);
  }
  // That of states that were not given: seldom asked for, and no reason for sums in another order.
  using States = GenericConvGradient<float>;
  const ConvGradientArgs states = conv_gradient_args(job, States::kThreads);
  if (states.state_blocks > 0) runner.template launch<States>(states.state_blocks, 0, states);
}

template <int kType, int kTaps, class Runner>
void run_aligned_gradient(const ConvBackwardJob& job, Runner& runner) {
  constexpr int kVectors = kType == kSampleFloat32 ? 4 : 8, kBlocks = kType == kSampleFloat32 ? 5 : 4;
  using Large = AlignedConvGradient<kType, kTaps, kVectors, kBlocks>;
  using Small = AlignedConvGradient<kType, kTaps, 2, 6>;
  const std::int64_t vectors = job.in.items * job.in.channels * job.in.steps / Small::kSize;
  if (vectors >= kManyVectors) return launch_aligned_gradient<Large>(job, kVectors, 16 / kVectors, runner);
  launch_aligned_gradient<Small>(job, 2, 4, runner);
}

template <int kType, class Runner>
void run_rows_conv_gradient(const ConvBackwardJob& job, Runner& runner) {
  with_conv_taps(job.in.taps, [&](auto taps) {
    constexpr int kTaps = decltype(taps)::value;
    if (takes_aligned_rows(job)) return run_aligned_gradient<kType, kTaps>(job, runner);
    if (!is_plain(job.in)) return launch_rows_gradient<RowsConvGradient<kType, kTaps, 1, 4, true>>(job, runner);
    launch_rows_gradient<RowsConvGradient<kType, kTaps, 2, 5, false>>(job, runner);
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
