// The launches of the convolution's fast kernels.
#pragma once

#include "blocks/gpu/conv/channels_conv-kernel.h"
#include "blocks/gpu/conv/forward.h"
#include "blocks/gpu/conv/rows_conv-kernel.h"

namespace melisma::gpu {

// Threads of one vector each from which on they take four: enough to fill the largest device with those.
inline constexpr std::int64_t kManyVectors = 132 * 2048 * 2;

template <class Kernel, class Runner>
void launch_rows(const ConvForwardJob& job, int vectors, Runner& runner) {
  typename Kernel::Args args{};
  args.conv = conv_args(job.in);
  args.out = series_args(job.out);
  args.final = state_blocks(job, Kernel::kThreads);
  const std::int64_t size = static_cast<std::int64_t>(dtype_size(job.in.x.dtype)), per_vector = 16 / size;
  args.tiles.phase = static_cast<int>(misalignment(job.in.x.data, 16) / size);
  const bool aligned = args.tiles.phase == 0 && divides_all_strides(job.in.x, true, false, per_vector);
  const std::int64_t length = job.in.steps + (aligned ? 0 : per_vector - 1);
  args.tiles.lane_bits = 2;
  while (args.tiles.lane_bits < 5 && (per_vector * vectors << args.tiles.lane_bits) < length) ++args.tiles.lane_bits;
  const std::int64_t tiles = ceil_div(length, per_vector * vectors << args.tiles.lane_bits);
  args.tiles.by_tiles = fast_division(tiles);
  args.tiles.by_channels = fast_division(job.in.channels);
  args.tiles.tasks = static_cast<std::uint32_t>(job.in.items * job.in.channels * tiles);
  const std::int64_t blocks = ceil_div(args.tiles.tasks, Kernel::kThreads >> args.tiles.lane_bits);
  runner.template launch<Kernel>(args.final.blocks + blocks, 0, args);
}

template <int kType, class Runner>
void run_rows_conv(const ConvForwardJob& job, Runner& runner) {
  const std::int64_t vectors = job.in.items * job.in.channels *
                               ceil_div(job.in.steps * static_cast<std::int64_t>(dtype_size(job.in.x.dtype)), 16);
  with_conv_taps(job.in.taps, [&](auto taps) {
    constexpr int kTaps = decltype(taps)::value;
    if (vectors >= kManyVectors) return launch_rows<RowsConv<kType, kTaps, 4>>(job, 4, runner);
    launch_rows<RowsConv<kType, kTaps, 1>>(job, 1, runner);
  });
}

template <class Kernel, class Runner>
void launch_channels(const ConvForwardJob& job, int width, Runner& runner) {
  typename Kernel::Args args{};
  args.conv = conv_args(job.in);
  args.out = series_args(job.out);
  args.final = state_blocks(job, Kernel::kThreads);
  args.packed_weights = packed_weights(job.in.weight, job.in.taps) ? 1 : 0;
  const std::int64_t vectors = ceil_div(job.in.channels, width);
  while (args.lane_bits < 5 && (std::int64_t{1} << args.lane_bits) < vectors) ++args.lane_bits;
  const std::int64_t channel_blocks = ceil_div(vectors, std::int64_t{1} << args.lane_bits);
  const std::int64_t step_blocks = ceil_div(job.in.steps, Kernel::kSteps * (Kernel::kThreads >> args.lane_bits));
  args.by_channel_blocks = fast_division(channel_blocks);
  args.by_step_blocks = fast_division(step_blocks);
  runner.template launch<Kernel>(args.final.blocks + job.in.items * channel_blocks * step_blocks, 0, args);
}

template <int kType, class Runner>
void run_channels_conv(const ConvForwardJob& job, Runner& runner) {
  const ConvInputsJob& in = job.in;
  const bool masked = in.mask.data != nullptr,
             plain = !masked && in.seq_idx.data == nullptr && in.cu_seqlens.data == nullptr;
  constexpr int kWidth = ConvElement<kType>::kPerVector;
  const bool vectors = in.channels % kWidth == 0 && aligned_channels(in.x, 16) && aligned_channels(job.out, 16);
  with_conv_taps(in.taps, [&](auto taps) {
    constexpr int kTaps = decltype(taps)::value;
    if (vectors && plain) return launch_channels<ChannelsConv<kType, kTaps, kWidth, kConvPlain>>(job, kWidth, runner);
    if (vectors && !masked) {
      return launch_channels<ChannelsConv<kType, kTaps, kWidth, kConvSequences>>(job, kWidth, runner);
    }
    if (vectors) return launch_channels<ChannelsConv<kType, kTaps, kWidth, kConvMasked>>(job, kWidth, runner);
    if (!masked) return launch_channels<ChannelsConv<kType, kTaps, 1, kConvSequences>>(job, 1, runner);
    launch_channels<ChannelsConv<kType, kTaps, 1, kConvMasked>>(job, 1, runner);
  });
}

template <int kType, class Runner>
void run_fast_conv(const ConvForwardJob& job, ConvKernel kernel, Runner& runner) {
  if (kernel == ConvKernel::kRows) return run_rows_conv<kType>(job, runner);
  run_channels_conv<kType>(job, runner);
}

}  // namespace melisma::gpu
