// From the convolution's jobs to what kernels take, and what launches of several kernels have in common.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string>

#include "blocks/gpu/conv/conv-kernel.h"
#include "blocks/gpu/conv/job.h"
#include "blocks/gpu/dispatch.h"
#include "blocks/gpu/framing_args.h"

namespace melisma::gpu {

inline SeriesArgs series_args(const ConvSeries& series) {
  return {series.data, series.channel_stride, series.step_stride, axes_args(series.items), sample_type(series.dtype)};
}
inline StepsArgs steps_args(const ConvSteps& steps) {
  return {steps.data, steps.stride, axes_args(steps.items), sample_type(steps.dtype)};
}

inline IndexArgs index_args(const ConvIndices& indices) {
  return {static_cast<const std::int32_t*>(indices.data), indices.stride};
}

inline ConvArgs conv_args(const ConvInputsJob& job) {
  static_assert(kMostTaps == kMostConvTaps);
  ConvArgs args{};
  args.x = series_args(job.x);
  args.mask = steps_args(job.mask);
  args.weight = job.weight.data;
  args.weight_channel = job.weight.channel_stride;
  args.weight_tap = job.weight.tap_stride;
  args.weight_type = sample_type(job.weight.dtype);
  args.bias = job.bias.data;
  args.bias_stride = job.bias.channel_stride;
  args.bias_type = sample_type(job.bias.dtype);
  args.seq_idx = steps_args(job.seq_idx);
  args.cu_seqlens = job.cu_seqlens.data;
  args.cu_stride = job.cu_seqlens.stride;
  args.cu_wide = job.cu_seqlens.is_int64 ? 1 : 0;
  args.initial = series_args(job.initial_states);
  args.pool = {index_args(job.state_indices), job.pad_slot, job.state_rows};
  args.has_initial = job.has_initial_state;
  args.has_initial_stride = job.has_initial_stride;
  args.items = job.items;
  args.channels = job.channels;
  args.steps = job.steps;
  args.sequences = job.sequences;
  args.taps = job.taps;
  args.silu = job.silu ? 1 : 0;
  args.residual = job.residual ? 1 : 0;
  return args;
}

// By 1 <= divisor < 2^31: (n multiplier) >> shift, the multiplier being 2^shift / divisor rounded up.
inline FastDivision fast_division(std::int64_t divisor) {
  const int bits = std::bit_width(static_cast<std::uint64_t>(divisor - 1)), shift = 31 + bits;
  const std::uint64_t power = std::uint64_t{1} << shift, by = static_cast<std::uint64_t>(divisor);
  return {static_cast<std::uint32_t>((power + by - 1) / by), static_cast<std::uint32_t>(divisor), shift};
}

// Threads of one vector each from which on they take as many as suit them: enough to fill the largest device with
// those.
inline constexpr std::int64_t kManyVectors = 132 * 2048 * 2;
// And up to which a thread takes one.
inline constexpr std::int64_t kFewVectors = 132 * 128;

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Of rows of `length` steps in tiles of `per_lane` steps for each lane.
inline RowTiles row_tiles(std::int64_t items, std::int64_t channels, std::int64_t length, std::int64_t per_lane) {
  RowTiles result{};
  result.lane_bits = 2;
  while (result.lane_bits < 5 && (per_lane << result.lane_bits) < length) ++result.lane_bits;
  const std::int64_t tiles = ceil_div(length, per_lane << result.lane_bits);
  result.by_tiles = fast_division(tiles);
  result.by_channels = fast_division(channels);
  result.tasks = static_cast<std::uint32_t>(items * channels * tiles);
  return result;
}

// Into how many chunks a row of steps is cut where `rows` of them are gone through by a thread each, `most` at once:
// few steps are loaded twice, and the last round of threads is nearly full.
inline std::int64_t walk_chunks(std::int64_t rows, std::int64_t steps, std::int64_t fewest_steps, std::int64_t most) {
  constexpr std::int64_t kMostChunks = 64;
  constexpr std::int64_t kEnds = 18;  // what both ends of a chunk cost, as steps
  std::int64_t best = 1;
  double least = 0.0;
  for (std::int64_t chunks = 1; chunks <= std::max<std::int64_t>(ceil_div(steps, fewest_steps), 1); ++chunks) {
    const std::int64_t threads = rows * chunks;
    if (chunks > kMostChunks && threads > 2 * most) break;
    const double rounds = static_cast<double>(ceil_div(threads, most));
    const double cost = rounds * static_cast<double>(ceil_div(steps, chunks) + kEnds);
    if (chunks > 1 && cost >= least) continue;
    best = chunks;
    least = cost;
  }
  return best;
}

// Where channels lie together in memory a block takes 2^vector_bits vectors of them, at most 32 and at least
// 2^fewest_bits, and its other threads go on along the steps.
struct ChannelBlocks {
  int vectors, vector_bits;
  std::int64_t columns;  // blocks along the channels
};
inline ChannelBlocks channel_blocks(std::int64_t channels, int width, int fewest_bits) {
  ChannelBlocks result{static_cast<int>(ceil_div(channels, width)), 5, 0};
  while (result.vector_bits > fewest_bits && 1 << (result.vector_bits - 1) >= result.vectors) --result.vector_bits;
  result.columns = ceil_div(result.vectors, std::int64_t{1} << result.vector_bits);
  return result;
}

// Neither mask nor sequences.
inline bool is_plain(const ConvInputsJob& job) {
  return job.mask.data == nullptr && job.seq_idx.data == nullptr && job.cu_seqlens.data == nullptr;
}

// Blocks that store the final states.
inline StateBlocks state_blocks(const ConvForwardJob& job, int threads) {
  constexpr std::int64_t kMost = 1024;  // of a few microseconds together
  StateBlocks result{series_args(job.final_states), 0};
  if (job.final_states.data == nullptr || job.in.taps < 2) return result;
  result.blocks = std::min(ceil_div(job.in.sequences * job.in.channels, threads), kMost);
  return result;
}

inline bool divides_all_strides(const ConvSeries& series, bool channels, bool steps, std::int64_t by) {
  bool all = (!channels || series.channel_stride % by == 0) && (!steps || series.step_stride % by == 0);
  for (int axis = 0; axis < series.items.count; ++axis) all = all && series.items.stride[axis] % by == 0;
  return all;
}
inline std::int64_t misalignment(const void* data, std::int64_t bytes) {
  return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(data) % static_cast<std::uintptr_t>(bytes));
}
inline bool has_short_steps(const ConvSeries& series) {
  return series.step_stride == static_cast<std::int32_t>(series.step_stride);
}
// Whether vectors of so many bytes along the channels are aligned at every step.
inline bool aligned_channels(const ConvSeries& series, std::int64_t bytes) {
  const std::int64_t size = static_cast<std::int64_t>(dtype_size(series.dtype));
  return misalignment(series.data, bytes) == 0 && divides_all_strides(series, false, true, bytes / size);
}
// Whether rows of a and b are equally far from multiples of 16 bytes.
inline bool same_phase(const ConvSeries& a, const ConvSeries& b) {
  const std::int64_t size = static_cast<std::int64_t>(dtype_size(a.dtype)), per_vector = 16 / size;
  if (a.dtype != b.dtype || misalignment(a.data, 16) != misalignment(b.data, 16)) return false;
  if ((a.channel_stride - b.channel_stride) % per_vector != 0) return false;
  if (divides_all_strides(a, false, false, per_vector) && divides_all_strides(b, false, false, per_vector)) return true;
  if (a.items.count != b.items.count) return false;
  for (int axis = 0; axis < a.items.count; ++axis) {
    if (a.items.size[axis] != b.items.size[axis]) return false;
    if ((a.items.stride[axis] - b.items.stride[axis]) % per_vector != 0) return false;
  }
  return true;
}

// Whether all rows begin at multiples of 16 bytes and consist of whole vectors of them, items being evenly apart.
inline bool aligned_rows(const ConvSeries& series, std::int64_t steps) {
  const std::int64_t per_vector = 16 / static_cast<std::int64_t>(dtype_size(series.dtype));
  return misalignment(series.data, 16) == 0 && series.items.count <= 1 && steps % per_vector == 0 &&
         divides_all_strides(series, true, false, per_vector);
}

// Whether the weights of every vector of channels can be read as vectors.
inline bool packed_weights(const ConvMatrix& weight, int taps) {
  return weight.dtype != DType::kFloat64 && weight.tap_stride == 1 && weight.channel_stride == taps &&
         misalignment(weight.data, 16) == 0;
}

inline bool packed_bias(const ConvMatrix& bias) { return bias.channel_stride == 1 && misalignment(bias.data, 16) == 0; }

// 1 where the weights are, 2 where the bias is too and of the same type, for load_channels.
template <class Job>
int packed_channels(const Job& job) {
  if (!packed_weights(job.weight, job.taps)) return 0;
  return job.bias.data != nullptr && job.bias.dtype == job.weight.dtype && packed_bias(job.bias) ? 2 : 1;
}

// Whether weight and bias are of x's type, and the weights packed.
template <class Job>
bool weights_like_x(const Job& job) {
  return packed_weights(job.weight, job.taps) && job.bias.data != nullptr && job.weight.dtype == job.x.dtype &&
         job.bias.dtype == job.x.dtype;
}

// refused: why no fast kernel takes the job, or "", and then its name. elsewhere: one takes it in another memory
// layout.
inline void plan_conv_kernel(const std::string& refused, bool elsewhere, const std::string& name, const Choice& choice,
                             Plan* plan) {
  const std::string reason = choice.path == Path::kGeneric ? "MELISMA_CUDA_PATH=generic asks for it" : refused;
  plan->fast = reason.empty();
  if (!plan->fast && choice.path == Path::kFast) {
    throw DeviceError(Failure::kUnavailable,
                      "MELISMA_CUDA_PATH=fast, and the fast kernels do not take the call: " + reason);
  }
  plan->fallback = !plan->fast && choice.path == Path::kAuto && elsewhere;
  copy_text(plan->reason, reason);
  if (plan->describe) copy_text(plan->kernel, plan->fast ? name : "conv-generic");
}

// f with a float type as a compile-time constant, none of which is float64.
template <class F>
void with_conv_type(DType dtype, const F& f) {
  switch (dtype) {
    case DType::kFloat16: return f(std::integral_constant<int, kSampleFloat16>());
    case DType::kBFloat16: return f(std::integral_constant<int, kSampleBFloat16>());
    default: return f(std::integral_constant<int, kSampleFloat32>());
  }
}
template <class F>
void with_conv_taps(int taps, const F& f) {
  switch (taps) {
    case 2: return f(std::integral_constant<int, 2>());
    case 3: return f(std::integral_constant<int, 3>());
    default: return f(std::integral_constant<int, 4>());
  }
}

}  // namespace melisma::gpu
