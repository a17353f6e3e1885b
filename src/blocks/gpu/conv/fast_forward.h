// The launches of the convolution's fast kernels.
#pragma once

#include "blocks/gpu/conv/channels_conv-kernel.h"
#include "blocks/gpu/conv/forward.h"
#include "blocks/gpu/conv/rows_cut_conv-kernel.h"

namespace melisma::gpu {

// Threads of one vector each from which on they take four: enough to fill the largest device with those.
inline constexpr std::int64_t kManyVectors = 132 * 2048 * 2;

// A task has so many vectors of each of so many rows.
template <class Kernel, class Runner>
void launch_rows(const ConvForwardJob& job, int vectors, int rows, Runner& runner) {
  RowsConvArgs args{};
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
  const std::int64_t groups = ceil_div(job.in.channels, rows);
  args.tiles.by_channels = fast_division(groups);
  args.tiles.tasks = static_cast<std::uint32_t>(job.in.items * groups * tiles);
  const std::int64_t blocks = ceil_div(args.tiles.tasks, Kernel::kThreads >> args.tiles.lane_bits);
  runner.template launch<Kernel>(args.final.blocks + blocks, 0, args);
}

template <int kType, class Runner>
void run_rows_conv(const ConvForwardJob& job, Runner& runner) {
  const std::int64_t vectors = job.in.items * job.in.channels *
                               ceil_div(job.in.steps * static_cast<std::int64_t>(dtype_size(job.in.x.dtype)), 16);
  constexpr std::int64_t kPerVector = ConvElement<kType>::kPerVector;
  const bool many = vectors >= kManyVectors, even = job.in.x.channel_stride % kPerVector == 0;
  // Rows that leave few of the lanes of 8 vectors without steps.
  const std::int64_t tile = 8 * 32 * kPerVector;
  const bool eights = ceil_div(job.in.steps, tile) * tile <= job.in.steps + job.in.steps / 16;
  with_conv_taps(job.in.taps, [&](auto taps) {
    constexpr int kTaps = decltype(taps)::value;
    if (!is_plain(job.in)) {
      if (many && even) return launch_rows<RowsCutConv<kType, kTaps, 4>>(job, 1, 4, runner);
      return launch_rows<RowsCutConv<kType, kTaps, 1>>(job, 1, 1, runner);
    }
    if (many && eights) return launch_rows<RowsConv<kType, kTaps, 8>>(job, 8, 1, runner);
    if (many) return launch_rows<RowsConv<kType, kTaps, 4>>(job, 4, 1, runner);
    launch_rows<RowsConv<kType, kTaps, 1>>(job, 1, 1, runner);
  });
}

// walk: steps of a thread; 0: as many as suit the device.
template <class Kernel, class Runner>
void launch_channels(const ConvForwardJob& job, int width, std::int64_t walk, Runner& runner) {
  typename Kernel::Args args{};
  args.conv = conv_args(job.in);
  args.out = series_args(job.out);
  args.final = state_blocks(job, Kernel::kThreads);
  args.packed_weights = packed_weights(job.in.weight, job.in.taps) ? 1 : 0;
  const std::int64_t vectors = ceil_div(job.in.channels, width);
  if (walk == 0) {
    const std::int64_t most = runner.multiprocessors() * Kernel::kMinBlocks * Kernel::kThreads;
    const std::int64_t chunks = walk_chunks(job.in.items * vectors, job.in.steps, Kernel::kRound, most);
    walk = ceil_div(ceil_div(job.in.steps, chunks), Kernel::kRound) * Kernel::kRound;
  }
  const std::int64_t walks = ceil_div(job.in.steps, walk), tasks = job.in.items * walks * vectors;
  args.walk = static_cast<int>(walk);
  args.by_vectors = fast_division(vectors);
  args.by_walks = fast_division(walks);
  args.tasks = static_cast<std::uint32_t>(tasks);
  runner.template launch<Kernel>(args.final.blocks + ceil_div(tasks, Kernel::kThreads), 0, args);
}

// What is loaded ahead of its use and how many blocks a multiprocessor has, for each element type.
template <int kType, int kTaps, int kWidth, int kMode>
using ChannelsConvOf = ChannelsConv<kType, kTaps, kWidth, kMode, kType == kSampleFloat32 || kMode == kConvPlain ? 4 : 8,
                                    kMode != kConvPlain       ? 4
                                    : kType == kSampleFloat32 ? 6
                                                              : 8>;

template <int kType, class Runner>
void run_channels_conv(const ConvForwardJob& job, Runner& runner) {
  const ConvInputsJob& in = job.in;
  const bool masked = in.mask.data != nullptr, plain = is_plain(in);
  constexpr int kWidth = 4;
  const std::int64_t bytes = kWidth * static_cast<std::int64_t>(dtype_size(in.x.dtype));
  const bool vectors = in.channels % kWidth == 0 && aligned_channels(in.x, bytes) && aligned_channels(job.out, bytes);
  with_conv_taps(in.taps, [&](auto taps) {
    constexpr int kTaps = decltype(taps)::value;
    if (vectors && plain) {
      return launch_channels<ChannelsConvOf<kType, kTaps, kWidth, kConvPlain>>(job, kWidth, 0, runner);
    }
    if (vectors && !masked) {
      return launch_channels<ChannelsConvOf<kType, kTaps, kWidth, kConvSequences>>(job, kWidth, 0, runner);
    }
    if (vectors) return launch_channels<ChannelsConvOf<kType, kTaps, kWidth, kConvMasked>>(job, kWidth, 0, runner);
    if (!masked) return launch_channels<ChannelsConvOf<kType, kTaps, 1, kConvSequences>>(job, 1, 0, runner);
    launch_channels<ChannelsConvOf<kType, kTaps, 1, kConvMasked>>(job, 1, 0, runner);
  });
}

template <int kType, class Runner>
void run_fast_conv(const ConvForwardJob& job, ConvKernel kernel, Runner& runner) {
  if (kernel == ConvKernel::kRows) return run_rows_conv<kType>(job, runner);
  run_channels_conv<kType>(job, runner);
}

}  // namespace melisma::gpu
