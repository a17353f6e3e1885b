// Which kernels a ConvBackwardJob takes, and its run.
#pragma once

#include <string>
#include <type_traits>

#include "blocks/gpu/conv/forward.h"
#include "blocks/gpu/conv/gradient-kernel.h"
#include "blocks/gpu/window_tables.h"

namespace melisma::gpu {

// Why neither fast kernel takes the job, or "" and which does.
inline std::string choose_conv_gradient(const ConvBackwardJob& job, ConvKernel* kernel) {
  const ConvInputsJob& in = job.in;
  *kernel = ConvKernel::kGeneric;
  if (const std::string refused = conv_inputs_refuse(in); !refused.empty()) return refused;
  const ConvSeries& x_gradient = job.x.data != nullptr ? job.x : job.grad_out;
  if (in.x.dtype != job.grad_out.dtype || in.x.dtype != x_gradient.dtype) return "dtypes of x and its gradients differ";
  if (in.items * in.channels * ceil_div(in.steps + 8, 16) > kMostFastSteps) return "more rows than 2^30";
  const auto all = [&](auto stride) {
    return stride(in.x) == 1 && stride(job.grad_out) == 1 && stride(x_gradient) == 1;
  };
  const bool by_channels = all([](const ConvSeries& s) { return s.channel_stride; });
  if (all([](const ConvSeries& s) { return s.step_stride; }) && (in.channels == 1 || !by_channels)) {
    if (!same_phase(in.x, job.grad_out) || !same_phase(in.x, x_gradient)) {
      return "rows of x and its gradients are not equally far from multiples of 16 bytes";
    }
    *kernel = ConvKernel::kRows;
    return "";
  }
  if (!by_channels) return "neither steps nor channels of x and its gradients are contiguous";
  if (!has_short_steps(in.x) || !has_short_steps(job.grad_out) || !has_short_steps(x_gradient)) {
    return "steps are 2^31 elements apart or more";
  }
  *kernel = ConvKernel::kChannels;
  return "";
}

inline ConvGradientArgs conv_gradient_args(const ConvBackwardJob& job, int threads) {
  ConvGradientArgs args{};
  args.conv = conv_args(job.in);
  args.grad_out = series_args(job.grad_out);
  args.grad_final = series_args(job.grad_final_states);
  args.x = series_args(job.x);
  args.initial = series_args(job.initial_states);
  if (job.initial_states.data != nullptr && job.in.taps > 1) {
    args.state_blocks = std::min<std::int64_t>(ceil_div(job.in.sequences * job.in.channels, threads), 1024);
  }
  return args;
}

// Tasks of so many steps, in groups of which there are at most so many.
inline void set_tasks(ConvGradientArgs& args, std::int64_t chunks, std::int64_t chunk_steps, std::int64_t most_groups) {
  args.chunks = chunks;
  args.chunk_steps = chunk_steps;
  args.tasks = args.conv.items * chunks;
  args.groups = std::min(args.tasks, std::max<std::int64_t>(most_groups, 1));
}

// Sums that all groups leave at most: 2^22 of float32 are 16 MiB. More where there are more channels than that.
inline constexpr std::int64_t kMostConvSums = 1 << 22;

inline ConvMatrixArgs conv_matrix_args(const ConvMatrix& matrix) {
  return {matrix.data, matrix.channel_stride, matrix.tap_stride, sample_type(matrix.dtype)};
}

// launch(sums): the kernel that leaves args.groups sums of type T.
template <typename T, class Launch, class Runner>
void run_with_sums(const ConvBackwardJob& job, std::int64_t groups, const Launch& launch, Runner& runner) {
  const bool wanted = job.weight.data != nullptr || job.bias.data != nullptr;
  const std::int64_t columns = (job.in.taps + 1) * job.in.channels;
  T* sums = nullptr;
  if (wanted && groups * columns > 0) {
    sums = static_cast<T*>(runner.workspace(static_cast<std::size_t>(groups * columns) * sizeof(T)));
  }
  launch(sums);
  if (!wanted || columns == 0) return;
  with_wide<T>(runner, [&]<typename Wide>(Wide) {
    using Kernel = AddConvSums<T, Wide>;
    const typename Kernel::Args args{
        sums, groups, job.in.channels, job.in.taps, conv_matrix_args(job.weight), conv_matrix_args(job.bias)};
    runner.template launch<Kernel>(ceil_div(columns, 32), Kernel::kSharedBytes, args);
  });
}

template <typename T, class Runner>
void run_generic_conv_gradient(const ConvBackwardJob& job, Runner& runner) {
  using Kernel = GenericConvGradient<T>;
  constexpr std::int64_t kThreads = 65536;
  ConvGradientArgs args = conv_gradient_args(job, Kernel::kThreads);
  if (args.conv.items * args.conv.channels * args.conv.steps > 0) {
    const std::int64_t most = kThreads / job.in.channels;
    std::int64_t chunk = 256;
    while (chunk > 32 && job.in.items * ceil_div(job.in.steps, chunk) < most) chunk /= 2;
    set_tasks(args, ceil_div(job.in.steps, chunk), chunk,
              std::min(2 * most, kMostConvSums / ((job.in.taps + 1) * job.in.channels)));
  }
  const std::int64_t blocks = args.state_blocks + ceil_div(args.groups * job.in.channels, Kernel::kThreads);
  run_with_sums<T>(
      job, args.groups,
      [&](T* sums) {
        args.sums = sums;
        if (blocks > 0) runner.template launch<Kernel>(blocks, 0, args);
      },
      runner);
}

inline void plan_conv(const ConvBackwardJob& job, const Choice& choice, Plan* plan) {
  ConvKernel kernel;
  const std::string refused = choose_conv_gradient(job, &kernel);
  const char* what = kernel == ConvKernel::kRows ? "conv-rows-gradient" : "conv-channels-gradient";
  plan_conv_kernel(refused, conv_inputs_refuse(job.in).empty(), conv_kernel_name(what, job.in.taps, job.in.x.dtype),
                   choice, plan);
}

// Defined in fast_backward.h, as run_fast_conv.
template <int kType, class Runner>
void run_fast_conv_gradient(const ConvBackwardJob& job, ConvKernel kernel, Runner& runner);

// generic: asked for.
template <class Runner>
void run_conv(const ConvBackwardJob& job, bool generic, Runner& runner) {
  ConvKernel kernel = ConvKernel::kGeneric;
  const bool empty = job.in.items == 0 || job.in.channels == 0 || job.in.steps == 0;
  if (!generic && !empty) choose_conv_gradient(job, &kernel);
  if (kernel != ConvKernel::kGeneric) {
    return with_conv_type(job.in.x.dtype,
                          [&](auto type) { run_fast_conv_gradient<decltype(type)::value>(job, kernel, runner); });
  }
  if (job.in.x.dtype == DType::kFloat64) return run_generic_conv_gradient<double>(job, runner);
  run_generic_conv_gradient<float>(job, runner);
}

}  // namespace melisma::gpu
