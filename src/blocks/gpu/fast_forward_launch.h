// The launch of a fast forward kernel: what a .cu file (or the emulator) includes to compile some of the variants.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <type_traits>

#include "blocks/fft/plan.h"
#include "blocks/gpu/fast_forward-kernel.h"
#include "blocks/gpu/fast_forward.h"
#include "blocks/gpu/fast_bands-kernel.h"
#include "blocks/gpu/fast_bands.h"
#include "blocks/gpu/forward_args.h"
#include "blocks/gpu/framing_args.h"
#include "blocks/gpu/limit_range.h"
#include "blocks/gpu/window_tables.h"
#include "runtime/gpu/runner.h"

namespace melisma::gpu {
namespace fast_forward {

inline void put_twiddle(float* at, std::int64_t numerator, std::int64_t denominator) {
  const Twiddle w = twiddle(numerator, denominator);
  at[0] = static_cast<float>(w.re);
  at[1] = static_cast<float>(w.im);
}

// Step and split twiddles in the order that FastPlan says.
template <class Plan>
void fill_twiddles(ComplexForm, float* table) {
  constexpr int A = Plan::A, B = Plan::B, M = Plan::M;
  for (int k = 0; k < A; ++k) {
    for (int column = 0; column < B; ++column) {
      put_twiddle(table + 4 * (k / 2 * B + column) + 2 * (k % 2), static_cast<std::int64_t>(k) * column, M);
    }
  }
  float* const split = table + Plan::kStepFloats;
  std::fill_n(split, static_cast<std::size_t>(Plan::kSplitFloats), 0.0f);
  for (int s = 0; s < Plan::kSlots; ++s) {
    for (int unit = 0; unit < Plan::kLanes; ++unit) {
      const int bin = s < Plan::kHalf || unit > 0 ? unit + A * s : A / 2 + A * (s - Plan::kHalf);
      put_twiddle(split + 4 * (s / 2 * Plan::kLanes + unit) + 2 * (s % 2), bin, 2 * M);
    }
  }
}
template <class Plan>
void fill_twiddles(RealForm, float* table) {
  constexpr int A = Plan::A, B = Plan::B, C = Plan::C;
  for (int k = 0; k < A / 2; ++k) {
    for (int column = 0; column < C; ++column) {
      const int at =
          Plan::kSingles ? 4 * (k / 2 * C + column) + 2 * (k % 2) : 4 * (k * B + column / 2) + 2 * (column % 2);
      put_twiddle(table + at, static_cast<std::int64_t>(k) * column, Plan::N);
    }
  }
  float* const split = table + Plan::kStepFloats;
  std::fill_n(split, static_cast<std::size_t>(Plan::kSplitFloats), 0.0f);
  for (int k = 0; k < B; ++k) put_twiddle(split + 2 * k, k, 2 * C);
}
template <class Plan>
void fill_twiddles(float* table) {
  fill_twiddles<Plan>(typename Plan::Form{}, table);
}

inline bool even_strides(const Axes& axes) {
  for (int i = 0; i < axes.count; ++i) {
    if (axes.stride[i] % 2 != 0) return false;
  }
  return true;
}

// Whether every frame of every item begins at an even sample.
inline bool even_starts(const ForwardJob& job) {
  return even_strides(job.x.items) && job.framing.fractional_hop == 0 && job.framing.hop % 2 == 0 &&
         job.framing.offset % 2 == 0;
}

inline int input_of(const ForwardJob& job) {
  if (job.x.stride != 1) return kInputAny;
  const bool floats = job.x.dtype == DType::kFloat32;
  const bool pairs = reinterpret_cast<std::uintptr_t>(job.x.data) % (floats ? 8 : 4) == 0 && even_starts(job);
  if (floats) return pairs ? kInputPairs : kInputSamples;
  return pairs ? kInputHalfPairs : kInputAny;
}

// The window is read as it is where its product with the scale needs one rounding and no sum.
template <class Runner>
FastWindow fast_window(const ForwardJob& job, double factor, Runner& runner) {
  const Window& window = job.window;
  const int n_fft = static_cast<int>(job.framing.n_fft);
  if (window.unit_energy || (window.data != nullptr && window.dtype != DType::kFloat32)) {
    return {padded_window<float>(window, n_fft, factor, runner), 1, 0, n_fft, 1.0f, 0.0f};
  }
  const double scale = window.scale * factor;
  const float high = static_cast<float>(scale);
  const int length = static_cast<int>(window.length);
  return {static_cast<const float*>(window.data),
          window.stride,
          (n_fft - length) / 2,
          length,
          high,
          static_cast<float>(scale - static_cast<double>(high))};
}

// From a frame to the next one, at most.
inline std::int64_t frame_step(const Framing& framing) {
  return framing.fractional_hop > 0 ? static_cast<std::int64_t>(framing.fractional_hop) + 1 : framing.hop;
}

template <class Plan, class Runner>
FastSamples samples_args(const ForwardJob& job, Runner& runner) {
  const Framing& framing = job.framing;
  FastSamples samples{};
  samples.x = signal_args(job.x);
  samples.framing = framing_args(framing);
  const std::int64_t length = framing.length, pad = framing.pad, padded = length + 2 * pad;
  samples.fold_low = samples.fold_high = -1;
  switch (framing.pad_mode) {
    case PadMode::kConstant: break;
    case PadMode::kReflect:
      samples.fold_step = -1;
      samples.fold_low = -2 * pad;
      samples.fold_high = 2 * (length + pad - 1);
      break;
    case PadMode::kReplicate:
      if (pad == 0) {
        samples.fold_low = 0;
        samples.fold_high = length - 1;
      }
      break;
    case PadMode::kCircular:
      samples.fold_step = 1;
      samples.fold_low = padded;
      samples.fold_high = -padded;
      break;
  }
  samples.input = input_of(job);
  samples.sample_bytes = job.x.dtype == DType::kFloat32 ? 4 : 2;
  samples.line_samples = 128 / samples.sample_bytes;
  samples.window = fast_window(job, std::is_same_v<typename Plan::Form, RealForm> ? 1.0 : 0.5, runner);
  samples.reciprocals = make_reciprocals<float>(job.envelope, job.envelope_window, framing, runner);
  samples.inside_window = job.envelope.enabled ? Plan::kTableFloats : 0;
  if (job.x.stride == 1) {
    const std::int64_t step = std::min<std::int64_t>(frame_step(framing), Plan::N);
    samples.new_samples = static_cast<int>(step * Plan::kFrames);
  }
  return samples;
}

template <class Plan, class Runner>
void set_bank(const ForwardJob& job, const FastLayout& layout, Runner& runner, FastForwardArgs& args) {
  constexpr int kSquares = Plan::M + 4 * Plan::kFours;  // of a frame, zeros included
  if (job.power.bank.host == nullptr) {
    BuildBands::Args build{bank_args<float>(job.power.bank, runner), kSquares, Plan::kFours, 0, nullptr};
    build.groups = (build.bank.bands + kBandsOfGroup - 1) / kBandsOfGroup;
    const std::int64_t weights = std::int64_t{build.groups} * kBandsOfGroup * 4;  // floats from the table to them
    build.table = static_cast<float*>(runner.workspace(
        static_cast<std::size_t>(weights + std::int64_t{build.groups} * kBandsOfGroup * (kSquares + 4)) *
        sizeof(float)));
    runner.template launch<BuildBands>(build.groups, BuildBands::kSharedBytes, build);
    args.bank = build.table;
    args.bank_weights = static_cast<int>(weights);
    args.groups = build.groups;
    return;
  }
  const FilterBank& bank = *job.power.bank.host;
  const FastBands shape = fast_bands_of(job.power.bank, Plan::kFours);
  args.bank = static_cast<const float*>(
      runner.table(bank_key("fast forward bands", job.power.bank, 2 * std::int64_t{Plan::M} + Plan::kFours - 1),
                   static_cast<std::size_t>(shape.bytes()),
                   [&](void* to) { fill_fast_bands(bank, shape, Plan::kFours, kSquares, to); }));
  args.bank_at = layout.bank_at / 4;
  args.bank_floats = static_cast<int>(shape.bytes() / 4);
  args.bank_weights = static_cast<int>(shape.weights_at);
  args.groups = shape.groups;
}

// limited: post_mul and post_add are left to limit_range.
inline FastLog fast_log_args(const LogParams& log, bool limited) {
  const float post_mul = limited ? 1.0f : static_cast<float>(log.post_mul);
  const float post_add = limited ? 0.0f : static_cast<float>(log.post_add);
  return {static_cast<float>(log.scale),
          static_cast<float>(log.mul),
          static_cast<float>(log.add),
          static_cast<float>(log.floor),
          static_cast<float>(log.offset),
          post_mul,
          post_add,
          log.enabled                      ? 1
          : post_mul == 1 && post_add == 0 ? 0
                                           : 2};
}

template <class Kernel, class Runner>
void launch(const ForwardJob& job, int index, Runner& runner) {
  using Plan = typename Kernel::Plan;
  constexpr int kWarps = Kernel::kThreads / 32;
  const bool spectrum = job.epilogue == Epilogue::kSpectrum, bands = job.epilogue == Epilogue::kBands;
  FastForwardArgs args{};
  args.samples = samples_args<Plan>(job, runner);
  args.out = grid_args(job.out);
  args.frames = static_cast<int>(job.framing.frames);
  args.bins = static_cast<int>(job.bins);
  args.row = static_cast<int>(bands ? job.power.bank.bands : job.bins);
  const FastLayout layout = fast_layout(job, index);
  args.output = layout.output;
  args.row_pitch = layout.row_pitch;
  args.rows_at = layout.rows_at;
  args.packed_at = layout.packed_at;
  args.warp_bytes = layout.warp_bytes;
  args.tables_bytes = layout.tables_bytes;
  const std::uintptr_t value = spectrum ? 8 : 4, aligned = Kernel::kAligned;
  args.misaligned = static_cast<int>(reinterpret_cast<std::uintptr_t>(job.out.data) / value % aligned);
  args.edge = spectrum && job.real_bins == RealBins::kAdjoint ? 0.5f : 1.0f;
  args.twiddles = static_cast<const float*>(
      runner.table(TableKey{Plan::kFormNumber < 2 ? "fast forward twiddles" : "fast forward real twiddles", Plan::A,
                            Plan::B * 2 + Plan::kFormNumber % 2},
                   (Plan::kStepFloats + Plan::kSplitFloats) * sizeof(float),
                   [](void* to) { fill_twiddles<Plan>(static_cast<float*>(to)); }));
  args.inside_to = job.framing.length - Plan::N;
  if (job.envelope.enabled) {
    const Reciprocals<float>& reciprocals = args.samples.reciprocals;
    args.inside_from = std::max<std::int64_t>(0, reciprocals.head_end - job.framing.offset);
    args.inside_to = std::min(args.inside_to, reciprocals.tail_begin - job.framing.offset - Plan::N);
  }
  if (!spectrum) {
    args.power = job.power.power == 2 ? kPowerSquare : job.power.power == 1 ? kPowerRoot : kPowerGeneral;
    args.half_power = static_cast<float>(job.power.power / 2);
  }
  if (bands) {
    set_bank<Plan>(job, layout, runner, args);
    args.log = fast_log_args(job.power.log, limits_range(job));
  }
  const bool together = layout.output == kOutputValues;
  const std::int64_t chunk_warps = together ? kWarps : 1, of_chunk = chunk_warps * Plan::kFrames;
  args.chunks_of_item = static_cast<int>((job.framing.frames + of_chunk - 1) / of_chunk);
  const std::int64_t chunks = args.chunks_of_item * job.items;
  if (args.samples.new_samples > 0) {
    const std::int64_t step = std::min<std::int64_t>(frame_step(job.framing), 2 * Plan::N);
    args.first_samples = static_cast<int>(step * (Plan::kFrames - 1) + Plan::N);
  }
  args.next_samples = frame_step(job.framing) * kWarps * Plan::kFrames + Plan::N - args.samples.new_samples;
  args.lowest = -std::numeric_limits<float>::infinity();
  const std::int64_t warps_of_item = args.chunks_of_item * chunk_warps;
  if (limits_range(job)) {
    args.maxima =
        static_cast<float*>(runner.workspace(static_cast<std::size_t>(job.items * warps_of_item) * sizeof(float)));
  }
  const std::int64_t blocks =
      std::clamp<std::int64_t>(chunks, 1, runner.template resident_blocks<Kernel>(layout.block_bytes));
  args.chunks_of_block = chunks / blocks;
  args.more_blocks = chunks % blocks;
  runner.template launch<Kernel>(blocks, layout.block_bytes, args);
  if (limits_range(job)) limit_range<float>(job, args.maxima, warps_of_item, runner);
}

}  // namespace fast_forward

template <int kIndex, class Runner>
void launch_fast_forward(const ForwardJob& job, Runner& runner) {
  using V = FastVariant<kIndex>;
  using Plan = typename V::Plan;
  if (job.epilogue == Epilogue::kSpectrum) {
    fast_forward::launch<FastForward<Plan, Complex<float>, V::kWarps, V::kMinBlocks>>(job, kIndex, runner);
  } else {
    fast_forward::launch<FastForward<Plan, float, V::kWarps, V::kMinBlocks>>(job, kIndex, runner);
  }
}

#define MELISMA_FAST_FORWARD_INSTANTIATE(index, Runner) \
  template void launch_fast_forward<index, Runner>(const ForwardJob&, Runner&);

}  // namespace melisma::gpu
