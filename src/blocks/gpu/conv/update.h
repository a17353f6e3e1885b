// Runs a ConvUpdateJob.
#pragma once

#include <string>
#include <type_traits>

#include "blocks/gpu/conv/conv_args.h"
#include "blocks/gpu/conv/forward.h"
#include "blocks/gpu/conv/update-kernel.h"

namespace melisma::gpu {

// Why the kernel for one step of contiguous channels does not take the job, or "".
inline std::string step_conv_refuses(const ConvUpdateJob& job) {
  constexpr std::int64_t kWidth = 4;
  const DType dtype = job.x.dtype;
  const std::int64_t bytes = kWidth * static_cast<std::int64_t>(dtype_size(dtype));
  if (dtype == DType::kFloat64) return "x is float64";
  if (job.taps < 2 || job.taps > 4) return "the fast kernel has 2 to 4 taps";
  if (job.steps != 1) return "more than one new step";
  if (job.cache_seqlens.data != nullptr || job.num_accepted_tokens.data != nullptr) {
    return "the state is a ring or holds tokens that may not stand";
  }
  if (job.state.dtype != dtype || job.out.dtype != dtype) return "dtypes of x, out and conv_state differ";
  if (job.places != job.taps - 1 && job.places != job.taps) return "the state has not W - 1 or W places";
  if (job.places > 1 && job.state.step_stride != 1) return "the state's places are not contiguous";
  if (job.state.channel_stride != job.places || job.x.channel_stride != 1 || job.out.channel_stride != 1) {
    return "channels are not contiguous";
  }
  if (job.channels % kWidth != 0) return "the number of channels is not a multiple of 4";
  if (job.rows == 0) return "the state has no rows";
  if (job.items * job.channels > kMostFastSteps) return "more channels than 2^30";
  const auto aligned = [&](const ConvSeries& series) {
    return misalignment(series.data, bytes) == 0 && divides_all_strides(series, false, false, kWidth);
  };
  if (!aligned(job.x) || !aligned(job.out) || !aligned(job.state)) return "rows are not aligned to four channels";
  return "";
}

// Rings and several steps are at home on the other kernel: no fallback.
inline void plan_conv(const ConvUpdateJob& job, const Choice& choice, Plan* plan) {
  const std::string refused = step_conv_refuses(job);
  plan_conv_kernel(refused, false, conv_kernel_name("conv-step", job.taps, job.x.dtype), choice, plan);
}

inline UpdateArgs update_args(const ConvUpdateJob& job) {
  UpdateArgs args{};
  args.conv.x = series_args(job.x);
  args.conv.weight = job.weight.data;
  args.conv.weight_channel = job.weight.channel_stride;
  args.conv.weight_tap = job.weight.tap_stride;
  args.conv.weight_type = sample_type(job.weight.dtype);
  args.conv.bias = job.bias.data;
  args.conv.bias_stride = job.bias.channel_stride;
  args.conv.bias_type = sample_type(job.bias.dtype);
  args.conv.items = job.items;
  args.conv.channels = job.channels;
  args.conv.steps = job.steps;
  args.conv.taps = job.taps;
  args.conv.silu = job.silu ? 1 : 0;
  args.conv.residual = job.residual ? 1 : 0;
  args.out = series_args(job.out);
  args.state = series_args(job.state);
  args.ring = index_args(job.cache_seqlens);
  args.conv.pool = {index_args(job.conv_state_indices), job.pad_slot, job.rows};
  args.accepted = index_args(job.num_accepted_tokens);
  args.places = job.places;
  return args;
}

template <class Kernel, class Runner>
void launch_step_conv(const ConvUpdateJob& job, Runner& runner) {
  UpdateArgs args = update_args(job);
  const std::int64_t vectors = job.channels / Kernel::kWidth;
  args.by_vectors = fast_division(vectors);
  args.packed = packed_channels(job);
  args.like_x = weights_like_x(job) && job.taps != 3 && packed_bias(job.bias) ? 1 : 0;
  runner.template launch<Kernel>(ceil_div(job.items * vectors, Kernel::kThreads), 0, args);
}

template <class Runner>
void run_step_conv(const ConvUpdateJob& job, Runner& runner) {
  with_conv_type(job.x.dtype, [&](auto type) {
    with_conv_taps(job.taps, [&](auto taps) {
      constexpr int kType = decltype(type)::value, kTaps = decltype(taps)::value;
      if (job.places == kTaps) return launch_step_conv<StepConv<kType, kTaps, kTaps>>(job, runner);
      launch_step_conv<StepConv<kType, kTaps, kTaps - 1>>(job, runner);
    });
  });
}

template <class Kernel, class Runner>
void launch_update(const ConvUpdateJob& job, Runner& runner) {
  constexpr std::int64_t kMostBlocks = 1 << 20;
  const std::int64_t blocks = ceil_div(job.items * job.channels, Kernel::kThreads);
  runner.template launch<Kernel>(std::min(blocks, kMostBlocks), 0, update_args(job));
}

// generic: asked for.
template <class Runner>
void run_conv(const ConvUpdateJob& job, bool generic, Runner& runner) {
  if (job.items == 0 || job.channels == 0 || job.steps == 0) return;
  if (!generic && step_conv_refuses(job).empty()) return run_step_conv(job, runner);
  if (job.x.dtype == DType::kFloat64) return launch_update<UpdateConv<double, 0>>(job, runner);
  if (job.taps < 2 || job.taps > 4 || generic) return launch_update<UpdateConv<float, 0>>(job, runner);
  with_conv_taps(job.taps, [&](auto taps) { launch_update<UpdateConv<float, decltype(taps)::value>>(job, runner); });
}

}  // namespace melisma::gpu
