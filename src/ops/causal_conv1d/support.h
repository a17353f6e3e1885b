// A checked call of the causal convolution: what forward, backward and update have in common.
#pragma once

#include <vector>

#include "melisma/causal_conv1d.h"

namespace melisma {

// One run of steps that share their taps: an item, or one of the sequences that are packed in it.
struct ConvSequence {
  std::int64_t item;   // of the leading extents
  std::int64_t start;  // its first step
  std::int64_t length;
  std::int64_t state;  // its row of the states; -1: none
  bool initial;        // whether the taps before its first step are there, else 0
};

struct ConvCall {
  std::int64_t channels, steps, taps;   // D, T, W
  std::vector<ConvSequence> sequences;  // on the CPU
  Shape states;                         // of initial and final ones
};

// Everything about the call that can be wrong, but for results. final_states: null, or what says how many rows a pool
// has whose states are written only.
ConvCall check_causal_conv1d(const char* op, const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs,
                             const Tensor* final_states = nullptr);

// A float tensor of this shape on x's device.
void check_conv_input(const char* op, const Tensor& x, const Tensor& tensor, const Shape& shape, const char* argument);
// One that is written to: no two elements in one place as far as strides of 0 tell.
void check_conv_output(const char* op, const Tensor& x, DType dtype, const Shape& shape, const Tensor& tensor,
                       const char* argument);

// A checked update.
struct ConvUpdateCall {
  std::int64_t items, channels, steps, taps, state;  // B, D, T, W, S
  std::vector<std::int64_t> rows;                    // of conv_state, on the CPU; -1: padding
};
ConvUpdateCall check_causal_conv1d_update(const Tensor& x, const Tensor& conv_state, const Tensor& weight,
                                          const CausalConv1dUpdateInputs& inputs, const Tensor& out, DType out_dtype);

// Whether time or channels lie together in memory decides the kernel: one decision for dispatch and explain.
bool conv_channels_contiguous(const Tensor& x, const Tensor& out);

}  // namespace melisma
