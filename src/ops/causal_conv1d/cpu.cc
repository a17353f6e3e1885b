#include "ops/causal_conv1d/cpu.h"

#include "runtime/registry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/causal_conv1d/cpu.cc"
// clang-format off
#include "runtime/cpu/targets.h"
#include "hwy/foreach_target.h"
#include "runtime/cpu/highway.h"
// clang-format on
#include "ops/causal_conv1d/channels-inl.h"
#include "ops/causal_conv1d/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace {

template <typename F>
void with_flag(bool flag, F f) {
  flag ? f(std::true_type()) : f(std::false_type());
}

template <typename C, typename E>
void forward(const ConvJob& job, const Tensor& out) {
  with_taps<C>(job.call.taps, [&](auto taps) {
    with_flag(job.params.activation == ConvActivation::kSilu, [&](auto silu) {
      constexpr int W = decltype(taps)::value;
      constexpr Silu kSilu = silu_for<E>(decltype(silu)::value);
      if (conv_channels_contiguous(job.x, out)) {
        const ChannelsForward<C, E> kernel(job, out);
        job.inputs.mask != nullptr ? kernel.template run<W, kSilu, true>() : kernel.template run<W, kSilu, false>();
      } else {
        const RowsForward<C, E> kernel(job, out);
        job.inputs.seq_idx != nullptr ? kernel.template run<W, kSilu, true>() : kernel.template run<W, kSilu, false>();
      }
    });
  });
}

// The last W - 1 taps of every sequence, as its next step sees them. `states` may be the initial ones: of a sequence
// that is shorter than they are, they move towards the first place.
template <typename C>
void final_states(const ConvJob& job, const Tensor& states) {
  const std::int64_t history = job.call.taps - 1, channels = job.call.channels;
  if (history == 0) return;
  const bool by_channel = job.x.stride(-1) == 1 && channels > 1;
  parallel_for(static_cast<std::int64_t>(job.call.sequences.size()), [&](std::int64_t i) HWY_ATTR {
    const Sequence<C> sequence(job, job.call.sequences[static_cast<std::size_t>(i)]);
    if (!sequence.keeps_state()) return;
    const std::int64_t first = sequence.length() - history, at = sequence.states_offset(states);
    C mask[kMostConvTaps];
    IndexOf<C> idx[kMostConvTaps];
    if (sequence.masked()) sequence.mask(first, history, mask);
    const bool indexed = sequence.indexed() && sequence.length() > 0;
    if (indexed) sequence.indices(first, history, idx);
    const auto counts = [&](std::int64_t j) { return !indexed || (idx[j] == idx[history - 1] && idx[j] >= 0); };
    if (by_channel) {
      C row[kMostConvTaps];
      for (std::int64_t d = 0; d < channels; ++d) {
        sequence.row(d, first, history, sequence.masked() ? mask : nullptr, row);
        for (std::int64_t j = 0; j < history; ++j) row[j] = counts(j) ? row[j] : C{0};
        scatter_to(row, states, at + d * states.stride(-2), states.stride(-1), history);
      }
      return;
    }
    Scratch scratch(scratch_bytes<C>(static_cast<std::size_t>(channels)));
    C* column = scratch.take<C>(static_cast<std::size_t>(channels));
    for (std::int64_t j = 0; j < history; ++j) {
      if (counts(j)) {
        sequence.column(first + j, 0, channels, sequence.masked() ? mask + j : nullptr, column);
      } else {
        std::fill(column, column + channels, C{0});
      }
      scatter_to(column, states, at + j * states.stride(-1), states.stride(-2), channels);
    }
  });
}

void Forward(const ConvJob& job, const Tensor& out) {
  switch (job.x.dtype) {
    case DType::kFloat64: return forward<double, double>(job, out);
    case DType::kFloat16: return forward<float, Float16>(job, out);
    case DType::kBFloat16: return forward<float, BFloat16>(job, out);
    default: return forward<float, float>(job, out);
  }
}

void FinalStates(const ConvJob& job, const Tensor& states) {
  job.x.dtype == DType::kFloat64 ? final_states<double>(job, states) : final_states<float>(job, states);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace melisma {
HWY_EXPORT(Forward);
HWY_EXPORT(FinalStates);

void causal_conv1d_cpu(const ConvJob& job, const Tensor& out, const Tensor* final_states) {
  count_call("causal_conv1d", "cpu");
  if (job.call.channels == 0) return;
  if (job.call.steps > 0) HWY_DYNAMIC_DISPATCH(Forward)(job, out);
  if (final_states != nullptr) HWY_DYNAMIC_DISPATCH(FinalStates)(job, *final_states);
}

}  // namespace melisma
#endif
