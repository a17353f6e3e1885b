// Causal depthwise convolution along time, with everything that stands beside it in a model: mask, bias, SiLU,
// residual, states, packed sequences; its gradients; and the step by step form for decoding.
//
//   h[d, t]   = bias[d] + sum_k weight[d, k] tap[d, t - (W - 1) + k]           k = 0 .. W - 1, oldest to newest
//   out[d, t] = activation(h[d, t]) (+ x[d, t] with residual)
//
// tap[d, s] is mask[s] x[d, s]; before a sequence's first step it is the initial state, or 0 where there is none; and
// it is 0 where seq_idx[s] is not seq_idx[t]. A tap that is 0 is multiplied all the same: an infinite weight makes it
// NaN.
#pragma once

#include "melisma/index_tensor.h"
#include "melisma/queue.h"
#include "melisma/runtime.h"
#include "melisma/tensor.h"

namespace melisma {

inline constexpr std::int64_t kMostConvTaps = 32;

enum class ConvActivation : std::uint8_t { kNone, kSilu };  // silu(h) = h / (1 + exp(-h))

struct CausalConv1dParams {
  ConvActivation activation = ConvActivation::kNone;
  bool residual = false;  // adds x, as it is before the mask, after the activation
};

// What may be left out; null: not given. "Float" is float16, bfloat16, float32 or float64, each its own.
struct CausalConv1dInputs {
  const Tensor* bias = nullptr;             // [D] float
  const Tensor* mask = nullptr;             // [..., T] float: multiplies x, in float32, wherever a tap reads it
  const IndexTensor* seq_idx = nullptr;     // [..., T] int32; where it is negative (padding), out is exactly 0
  const IndexTensor* cu_seqlens = nullptr;  // [N + 1] int32 or int64, 0 = first <= ... <= last = T: sequence i of N
                                            // lies at steps cu_seqlens[i] .. cu_seqlens[i + 1] - 1. Excludes seq_idx,
                                            // and x must hold one item.
  const Tensor* initial_states = nullptr;   // [..., D, W - 1] float, with cu_seqlens [N, D, W - 1]: the taps before the
                                            // first step. With seq_idx they belong to the sequence of step 0.

  // For serving, and not in the backward: prefill, chunks of it and decoding (sequences of one step) in one call, with
  // states in a pool. N sequences, or items where cu_seqlens is null.
  const IndexTensor* state_indices = nullptr;     // [N] int32: each sequence's row of initial_states and final_states,
                                                  // which then have the shape [rows, D, W - 1] and may be one tensor:
                                                  // the states change in place. No row twice; pad_slot: the sequence
                                                  // has none, begins with zeros and leaves nothing.
  const FlagTensor* has_initial_state = nullptr;  // [N]: where 0, the taps before are 0, whatever initial_states holds
  std::int64_t pad_slot = -1;
};

// x:      [..., D, T] float16, bfloat16, float32 or float64. Channel-last data is a view with its strides.
// weight: [D, W] float, W 1 to 32
// out:    x's shape and dtype, no overlap with any input
// final_states: null, or what goes into the next call as initial_states: the last W - 1 taps of each sequence, those of
//         shorter ones preceded by the initial state's; [..., D, W - 1], with cu_seqlens [N, D, W - 1], float. With
//         seq_idx the taps of another sequence than the last step's are 0. No overlap with any input, but see
//         state_indices.
// Every tensor may have any strides, zero and negative ones too, but results may not have zero ones. T, D and any
// leading extent may be 0.
//
// Computed in float64 where x is float64, otherwise in float32: bias first, then one fused multiply-add (where the SIMD
// target has it) a tap, oldest to newest; SiLU within 2 ulp of float32, or to a relative 2^-16 where x is float16 or
// bfloat16; one rounding to x's dtype at the end. So the bits of an output depend on its own taps only: not on batch,
// layout, threads, or where a sequence was cut into calls.
// Indices are checked before anything is written, but on a GPU, where they are not read by the host: there offsets that
// are wrong give wrong values, a row that is not there counts as pad_slot, and nothing outside the tensors is read or
// written.
void causal_conv1d(const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs,
                   const CausalConv1dParams& params, const Tensor& out, const Tensor* final_states = nullptr,
                   const Queue& queue = {});

// Where the gradients go, each float in any strides but zero ones; null: not wanted.
struct CausalConv1dGradients {
  const Tensor* x = nullptr;               // x's shape; the residual's part is in it
  const Tensor* weight = nullptr;          // [D, W]
  const Tensor* bias = nullptr;            // [D]
  const Tensor* initial_states = nullptr;  // as inputs.initial_states, which may be null all the same
};

// The gradients of a function of causal_conv1d's out and final_states, from those with respect to out (grad_out: x's
// shape, float) and to final_states (null: 0; its shape, float). h is computed again. Sums over time and items are
// taken in float32 (float64 for float64) over pieces whose size depends on neither threads nor, on the CPU, layout, and
// over the pieces in float64 (on a GPU in pairs of floats) in their order: deterministic in every bit.
void causal_conv1d_backward(const Tensor& grad_out, const Tensor* grad_final_states, const Tensor& x,
                            const Tensor& weight, const CausalConv1dInputs& inputs, const CausalConv1dParams& params,
                            const CausalConv1dGradients& gradients, const Queue& queue = {});

// What one step may be given; null: not given.
struct CausalConv1dUpdateInputs {
  const Tensor* bias = nullptr;                     // [D] float
  const IndexTensor* cache_seqlens = nullptr;       // [B] int32, >= 0: the state is a ring, whose next place this is
  const IndexTensor* conv_state_indices = nullptr;  // [B] int32: the row of conv_state of each item, none twice;
                                                    // pad_slot: no row, and out is 0. Null: row b for item b.
  std::int64_t pad_slot = -1;
  const IndexTensor* num_accepted_tokens = nullptr;  // [B] int32, 1 .. S - W + 2: see below. Excludes cache_seqlens.
};

// New steps of sequences whose last taps are kept in a state, which is changed in place.
// x:          [B, D] (one step) or [B, D, T] float
// conv_state: [rows, D, S] float, S >= W - 1, rows >= B without conv_state_indices. Keeping float32 or x's dtype makes
//             a step the same in every bit as the step of causal_conv1d.
// out:        x's shape and dtype, no overlap with anything
// Indices are checked as causal_conv1d's are; on a GPU a row that is not there counts as padding.
//
// By default the state's last W - 1 values are the taps before the first new step; afterwards it holds the last S of
// state followed by x. With cache_seqlens c the taps are state[(c - (W - 1) + k) % S], k < W - 1, and x[t] goes to
// state[(c + t) % S].
//
// num_accepted_tokens is for speculative decoding, where each call has T steps (the last sure one and T - 1 drafts) and
// only the first a of the call before stand: the taps before the new steps are state[a - 1 .. a + W - 3], and
// afterwards state[0 .. W + T - 3] is the last W - 2 of these followed by x; needs S >= W + T - 2. The rest of the
// state stays.
void causal_conv1d_update(const Tensor& x, const Tensor& conv_state, const Tensor& weight,
                          const CausalConv1dUpdateInputs& inputs, const CausalConv1dParams& params, const Tensor& out,
                          const Queue& queue = {});

Explanation explain_causal_conv1d(const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs,
                                  const Tensor& out);

// The same in plain float64 arithmetic; every result is float64. For tests, benchmarks and documentation.
void causal_conv1d_reference(const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs,
                             const CausalConv1dParams& params, const Tensor& out, const Tensor* final_states = nullptr);
void causal_conv1d_backward_reference(const Tensor& grad_out, const Tensor* grad_final_states, const Tensor& x,
                                      const Tensor& weight, const CausalConv1dInputs& inputs,
                                      const CausalConv1dParams& params, const CausalConv1dGradients& gradients);
void causal_conv1d_update_reference(const Tensor& x, const Tensor& conv_state, const Tensor& weight,
                                    const CausalConv1dUpdateInputs& inputs, const CausalConv1dParams& params,
                                    const Tensor& out);

}  // namespace melisma
