// Which kernel a ConvForwardJob takes, and its run.
#pragma once

#include <string>

#include "blocks/gpu/conv/conv_args.h"
#include "blocks/gpu/conv/generic_conv-kernel.h"

namespace melisma::gpu {

enum class ConvKernel : std::uint8_t { kGeneric, kRows, kChannels };

inline constexpr std::int64_t kMostFastSteps = 1 << 30;  // steps and blocks are 32-bit numbers in the fast kernels

inline std::string conv_inputs_refuse(const ConvInputsJob& job) {
  if (job.x.dtype == DType::kFloat64) return "x is float64";
  if (job.taps < 2 || job.taps > 4) return "the fast kernels have 2 to 4 taps";
  if (job.steps > kMostFastSteps) return "more steps than 2^30";
  return "";
}

// Why neither fast kernel takes the job, or "" and which does.
inline std::string choose_conv(const ConvForwardJob& job, ConvKernel* kernel) {
  const ConvInputsJob& in = job.in;
  *kernel = ConvKernel::kGeneric;
  if (const std::string refused = conv_inputs_refuse(in); !refused.empty()) return refused;
  const bool by_channels = in.x.channel_stride == 1 && job.out.channel_stride == 1;
  if (in.x.step_stride == 1 && job.out.step_stride == 1 && (in.channels == 1 || !by_channels)) {
    if (!same_phase(in.x, job.out)) return "rows of x and out are not equally far from multiples of 16 bytes";
    if (in.items * in.channels * ceil_div(in.steps + 8, 16) > kMostFastSteps) return "more rows than 2^30";
    *kernel = ConvKernel::kRows;
    return "";
  }
  if (!by_channels) return "neither steps nor channels of x and out are contiguous";
  if (!has_short_steps(in.x) || !has_short_steps(job.out)) return "steps are 2^31 elements apart or more";
  if (in.items * ceil_div(in.steps, 4) * in.channels > kMostFastSteps) return "more than 2^32 outputs";
  *kernel = ConvKernel::kChannels;
  return "";
}

template <typename T, class Runner>
void run_generic_conv(const ConvForwardJob& job, Runner& runner) {
  using Kernel = GenericConv<T>;
  constexpr std::int64_t kMostBlocks = 1 << 20;
  typename Kernel::Args args{};
  args.conv = conv_args(job.in);
  args.out = series_args(job.out);
  args.final = state_blocks(job, Kernel::kThreads);
  const auto far = [](std::int64_t stride) { return stride < 0 ? -stride : stride; };
  args.steps_inner = far(job.out.step_stride) <= far(job.out.channel_stride) ? 1 : 0;
  const std::int64_t outputs = job.in.items * job.in.channels * job.in.steps;
  const std::int64_t blocks = args.final.blocks + std::min(ceil_div(outputs, Kernel::kThreads), kMostBlocks);
  if (blocks > 0) runner.template launch<Kernel>(blocks, 0, args);
}

// "conv-rows, 4 taps in registers, bfloat16"
inline std::string conv_kernel_name(const char* what, int taps, DType dtype) {
  return std::string(what) + ", " + std::to_string(taps) + " taps in registers, " + dtype_name(dtype);
}
inline void plan_conv(const ConvForwardJob& job, const Choice& choice, Plan* plan) {
  ConvKernel kernel;
  const std::string refused = choose_conv(job, &kernel);
  const char* what = kernel == ConvKernel::kRows ? "conv-rows" : "conv-channels";
  plan_conv_kernel(refused, conv_inputs_refuse(job.in).empty(), conv_kernel_name(what, job.in.taps, job.in.x.dtype),
                   choice, plan);
}

// Defined in fast_forward.h, which a source file includes that instantiates it for a type and a runner. kernel: not the
// generic one.
template <int kType, class Runner>
void run_fast_conv(const ConvForwardJob& job, ConvKernel kernel, Runner& runner);

// The final states alone.
template <typename T, class Runner>
void run_final_states(const ConvForwardJob& job, Runner& runner) {
  using Kernel = GenericConv<T>;
  typename Kernel::Args args{};
  args.conv = conv_args(job.in);
  args.final = state_blocks(job, Kernel::kThreads);
  if (args.final.blocks > 0) runner.template launch<Kernel>(args.final.blocks, 0, args);
}

// generic: asked for.
template <class Runner>
void run_conv(const ConvForwardJob& job, bool generic, Runner& runner) {
  if (job.final_states.data != nullptr && job.final_states.data == job.in.initial_states.data) {
    // A pool that changes in place is first read by all outputs.
    ConvForwardJob outputs = job;
    outputs.final_states = {};
    run_conv(outputs, generic, runner);
    if (job.in.x.dtype == DType::kFloat64) return run_final_states<double>(job, runner);
    return run_final_states<float>(job, runner);
  }
  ConvKernel kernel = ConvKernel::kGeneric;
  const bool empty = job.in.items == 0 || job.in.channels == 0 || job.in.steps == 0;
  if (!generic && !empty) choose_conv(job, &kernel);
  if (kernel != ConvKernel::kGeneric) {
    return with_conv_type(job.in.x.dtype,
                          [&](auto type) { run_fast_conv<decltype(type)::value>(job, kernel, runner); });
  }
  if (job.in.x.dtype == DType::kFloat64) return run_generic_conv<double>(job, runner);
  run_generic_conv<float>(job, runner);
}

}  // namespace melisma::gpu
