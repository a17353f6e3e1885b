// The launches of the convolution's fast gradient kernels.
#pragma once

#include <type_traits>

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
// Into how many chunks a row of steps is cut where `rows` of them are gone through by a thread each, `most` at once:
// few steps are computed twice, and the last round of threads is nearly full.
inline std::int64_t gradient_chunks(std::int64_t rows, std::int64_t steps, std::int64_t most, std::int64_t history) {
  constexpr std::int64_t kFewestSteps = 16, kMostChunks = 64;
  constexpr std::int64_t kEnds = 16;  // what the guarded rounds at both ends and the sums of a chunk cost, as steps
  std::int64_t best = 1;
  double least = 0.0;
  for (std::int64_t chunks = 1; chunks <= std::max<std::int64_t>(ceil_div(steps, kFewestSteps), 1); ++chunks) {
    const std::int64_t threads = rows * chunks;
    if (chunks > kMostChunks && threads > 2 * most) break;
    const double rounds = static_cast<double>(ceil_div(threads, most));
    const double cost = rounds * static_cast<double>(ceil_div(steps, chunks) + history + kEnds);
    if (chunks > 1 && cost >= least) continue;
    best = chunks;
    least = cost;
  }
  return best;
}

template <class Kernel>
void set_channels_gradient(const ConvBackwardJob& job, int width, typename Kernel::Args& args) {
  constexpr std::int64_t kThreads = std::int64_t{132} * Kernel::kMinBlocks * Kernel::kThreads;  // at once on an H200
  const std::int64_t vectors = ceil_div(job.in.channels, width);
  const std::int64_t chunks = gradient_chunks(job.in.items * vectors, job.in.steps, kThreads, job.in.taps - 1);
  const std::int64_t chunk = ceil_div(ceil_div(job.in.steps, chunks), 4) * 4;
  set_tasks(args.all, ceil_div(job.in.steps, chunk), chunk, 2 * kThreads / vectors);
  args.by_vectors = fast_division(vectors);
  args.by_chunks = fast_division(args.all.chunks);
  args.packed_weights = packed_weights(job.in.weight, job.in.taps) ? 1 : 0;
}

template <int kType, class Runner>
void run_rows_conv_gradient(const ConvBackwardJob& job, Runner& runner) {
  with_conv_taps(job.in.taps, [&](auto taps) {
    constexpr int kTaps = decltype(taps)::value;
    const auto run = [&]<class Kernel>(std::type_identity<Kernel>) {
      typename Kernel::Args args{};
      args.all = conv_gradient_args(job, Kernel::kThreads);
      set_rows_gradient<Kernel>(job, args);
      const std::int64_t warps = args.all.groups * job.in.channels;
      run_with_sums<float>(
          job, args.all.groups,
          [&](float* sums) {
            args.all.sums = sums;
            runner.template launch<Kernel>(args.all.state_blocks + ceil_div(warps, Kernel::kThreads / 32), 0, args);
          },
          runner);
    };
    // A row that a few vectors of a warp hold goes in one round.
    const std::int64_t most = 2 * 32 * ConvElement<kType>::kPerVector;
    if (job.in.steps > most) return run(std::type_identity<RowsConvGradient<kType, kTaps, 4>>());
    run(std::type_identity<RowsConvGradient<kType, kTaps, 1>>());
  });
}

template <int kType, class Runner>
void run_channels_conv_gradient(const ConvBackwardJob& job, Runner& runner) {
  with_conv_taps(job.in.taps, [&](auto taps) {
    constexpr int kTaps = decltype(taps)::value, kWidth = 4;
    const auto run = [&]<class Kernel>(std::type_identity<Kernel>, int width) {
      typename Kernel::Args args{};
      args.all = conv_gradient_args(job, Kernel::kThreads);
      set_channels_gradient<Kernel>(job, width, args);
      const std::int64_t threads = args.all.groups * ceil_div(job.in.channels, width);
      run_with_sums<float>(
          job, args.all.groups,
          [&](float* sums) {
            args.all.sums = sums;
            runner.template launch<Kernel>(args.all.state_blocks + ceil_div(threads, Kernel::kThreads), 0, args);
          },
          runner);
    };
    const std::int64_t bytes = kWidth * static_cast<std::int64_t>(dtype_size(job.in.x.dtype));
    const bool vectors = job.in.channels % kWidth == 0 && aligned_channels(job.in.x, bytes) &&
                         aligned_channels(job.grad_out, bytes) &&
                         (job.x.data == nullptr || aligned_channels(job.x, bytes));
    const bool full =
        job.in.mask.data != nullptr || job.in.seq_idx.data != nullptr || job.in.cu_seqlens.data != nullptr;
    if (vectors && !full) return run(std::type_identity<ChannelsConvGradient<kType, kTaps, kWidth, false>>(), kWidth);
    if (vectors) return run(std::type_identity<ChannelsConvGradient<kType, kTaps, kWidth, true>>(), kWidth);
    run(std::type_identity<ChannelsConvGradient<kType, kTaps, 1, true>>(), 1);
  });
}

template <int kType, class Runner>
void run_fast_conv_gradient(const ConvBackwardJob& job, ConvKernel kernel, Runner& runner) {
  if (kernel == ConvKernel::kRows) return run_rows_conv_gradient<kType>(job, runner);
  run_channels_conv_gradient<kType>(job, runner);
}

}  // namespace melisma::gpu
