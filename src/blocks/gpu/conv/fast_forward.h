// The launches of the convolution's fast kernels.
#pragma once

#include "blocks/gpu/conv/aligned_rows-kernel.h"
#include "blocks/gpu/conv/forward.h"
#include "blocks/gpu/conv/rows_cut_conv-kernel.h"
#include "blocks/gpu/conv/tiles_conv-kernel.h"

namespace melisma::gpu {

// Threads of the fewest steps up to which they take those: half a round of them on the largest device.
inline constexpr std::int64_t kFewTiles = 132 * 512;

// A task has so many vectors of each of so many rows.
template <class Kernel, class Runner>
void launch_rows(const ConvForwardJob& job, int vectors, int rows, Runner& runner) {
  RowsConvArgs args{};
  args.conv = conv_args(job.in);
  args.out = series_args(job.out);
  args.final = state_blocks(job, Kernel::kThreads);
  const std::int64_t size = static_cast<std::int64_t>(dtype_size(job.in.x.dtype)), per_vector = 16 / size;
  const int phase = static_cast<int>(misalignment(job.in.x.data, 16) / size);
  const bool aligned = phase == 0 && divides_all_strides(job.in.x, true, false, per_vector);
  const std::int64_t length = job.in.steps + (aligned ? 0 : per_vector - 1);
  args.tiles = row_tiles(job.in.items, ceil_div(job.in.channels, rows), length, per_vector * vectors);
  args.tiles.phase = phase;
  const std::int64_t blocks = ceil_div(args.tiles.tasks, Kernel::kThreads >> args.tiles.lane_bits);
  runner.template launch<Kernel>(args.final.blocks + blocks, 0, args);
}

// Whether the kernel for the case that most calls are takes the job.
inline bool takes_aligned_rows(const ConvForwardJob& job) {
  return is_plain(job.in) && job.in.initial_states.data == nullptr && job.final_states.data == nullptr &&
         !job.in.residual && aligned_rows(job.in.x, job.in.steps) && aligned_rows(job.out, job.in.steps);
}
template <int kType, int kTaps, int kVectors, class Runner>
void launch_aligned_rows(const ConvForwardJob& job, Runner& runner) {
  using Kernel = AlignedRowsConv<kType, kTaps, kVectors>;
  AlignedRowsArgs args{};
  args.conv = conv_args(job.in);
  args.out = series_args(job.out);
  args.tiles = row_tiles(job.in.items, job.in.channels, job.in.steps, Kernel::kSize * kVectors);
  args.like_x = weights_like_x(job.in) ? 1 : 0;
  runner.template launch<Kernel>(ceil_div(args.tiles.tasks, Kernel::kThreads >> args.tiles.lane_bits), 0, args);
}

template <int kType, class Runner>
void run_rows_conv(const ConvForwardJob& job, Runner& runner) {
  const std::int64_t vectors = job.in.items * job.in.channels *
                               ceil_div(job.in.steps * static_cast<std::int64_t>(dtype_size(job.in.x.dtype)), 16);
  const bool many = vectors >= kManyVectors, even = job.in.x.channel_stride % ConvElement<kType>::kPerVector == 0;
  with_conv_taps(job.in.taps, [&](auto taps) {
    constexpr int kTaps = decltype(taps)::value;
    if (!is_plain(job.in)) {
      if (many && even) return launch_rows<RowsCutConv<kType, kTaps, 4>>(job, 1, 4, runner);
      return launch_rows<RowsCutConv<kType, kTaps, 1>>(job, 1, 1, runner);
    }
    if (takes_aligned_rows(job)) {
      if (many && kType == kSampleFloat32) return launch_aligned_rows<kType, kTaps, 4>(job, runner);
      if (vectors > kFewVectors) return launch_aligned_rows<kType, kTaps, 2>(job, runner);
      return launch_aligned_rows<kType, kTaps, 1>(job, runner);
    }
    if (many) return launch_rows<RowsConv<kType, kTaps, 4>>(job, 4, 1, runner);
    launch_rows<RowsConv<kType, kTaps, 1>>(job, 1, 1, runner);
  });
}

template <class Kernel, class Runner>
void launch_tiles(const ConvForwardJob& job, Runner& runner) {
  typename Kernel::Args args{};
  args.conv = conv_args(job.in);
  args.out = series_args(job.out);
  args.final = state_blocks(job, Kernel::kThreads);
  args.packed = packed_channels(job.in);
  const ChannelBlocks blocks = channel_blocks(job.in.channels, Kernel::kChannels, Kernel::kFewestBits);
  const std::int64_t length = std::int64_t{Kernel::kLength} * (Kernel::kThreads >> blocks.vector_bits);
  const std::int64_t bands = ceil_div(job.in.steps, length);
  args.vectors = blocks.vectors;
  args.vector_bits = blocks.vector_bits;
  args.by_columns = fast_division(blocks.columns);
  args.by_bands = fast_division(bands);
  runner.template launch<Kernel>(args.final.blocks + job.in.items * bands * blocks.columns, 0, args);
}

inline ConvBeside beside_of(const ConvInputsJob& job) {
  const bool mask = job.mask.data != nullptr, keys = job.seq_idx.data != nullptr,
             offsets = job.cu_seqlens.data != nullptr;
  if (int{mask} + int{keys} + int{offsets} > 1) return kBesideAnything;
  return mask ? kBesideMask : keys ? kBesideKeys : offsets ? kBesideOffsets : kBesideNothing;
}

// Four channels a thread and as many steps as measured fastest: fewer have more to do beside their steps, of more
// registers are spilled, and a vector that is spilled is waited for.
constexpr int many_steps(int type, int beside) { return type == kSampleFloat32 || beside == kBesideAnything ? 8 : 12; }
template <int kType, int kTaps, int kBeside>
using ManyTiles = TilesConv<kType, kTaps, 4, many_steps(kType, kBeside), kBeside,
                            kBeside == kBesideAnything ? 4
                            : kType == kSampleFloat32  ? 5
                                                       : 6>;
// Few steps, where threads of more would leave most of a device idle or the steps be no two tiles.
template <int kType, int kTaps, int kBeside>
using FewTiles = TilesConv<kType, kTaps, 4, 4,
                           kBeside == kBesideNothing || kBeside == kBesideMask ? kBeside : int(kBesideAnything), 5>;
// Channels that do not come in vectors.
template <int kType, int kTaps>
using NarrowTiles = TilesConv<kType, kTaps, 1, 8, kBesideAnything, 5>;

template <int kType, int kTaps, int kBeside, class Runner>
void run_tiles(const ConvForwardJob& job, Runner& runner) {
  using Many = ManyTiles<kType, kTaps, kBeside>;
  using Few = FewTiles<kType, kTaps, kBeside>;
  const std::int64_t threads =
      job.in.items * ceil_div(job.in.channels, Few::kChannels) * ceil_div(job.in.steps, Few::kLength);
  if (threads > kFewTiles && job.in.steps >= 2 * Many::kLength) return launch_tiles<Many>(job, runner);
  launch_tiles<Few>(job, runner);
}

template <int kType, class Runner>
void run_channels_conv(const ConvForwardJob& job, Runner& runner) {
  const ConvInputsJob& in = job.in;
  const std::int64_t bytes = 4 * static_cast<std::int64_t>(dtype_size(in.x.dtype));
  const bool vectors = in.channels % 4 == 0 && aligned_channels(in.x, bytes) && aligned_channels(job.out, bytes);
  with_conv_taps(in.taps, [&](auto taps) {
    constexpr int kTaps = decltype(taps)::value;
    if (!vectors) return launch_tiles<NarrowTiles<kType, kTaps>>(job, runner);
    switch (beside_of(in)) {
      case kBesideNothing: return run_tiles<kType, kTaps, kBesideNothing>(job, runner);
      case kBesideMask: return run_tiles<kType, kTaps, kBesideMask>(job, runner);
      case kBesideKeys: return run_tiles<kType, kTaps, kBesideKeys>(job, runner);
      case kBesideOffsets: return run_tiles<kType, kTaps, kBesideOffsets>(job, runner);
      default: return run_tiles<kType, kTaps, kBesideAnything>(job, runner);
    }
  });
}

template <int kType, class Runner>
void run_fast_conv(const ConvForwardJob& job, ConvKernel kernel, Runner& runner) {
  if (kernel == ConvKernel::kRows) return run_rows_conv<kType>(job, runner);
  run_channels_conv<kType>(job, runner);
}

}  // namespace melisma::gpu
