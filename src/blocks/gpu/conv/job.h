// The causal convolution's work for a GPU (or the emulator): plain data, as blocks/gpu/job.h is.
#pragma once

#include <cstdint>

#include "blocks/gpu/job.h"
#include "melisma/causal_conv1d.h"

namespace melisma::gpu {

// [items][channels][steps]; of states: [sequences][channels][W - 1]. data null: not given.
struct ConvSeries {
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  std::int64_t channel_stride = 0, step_stride = 1;  // in elements
  Axes items;
};

// [items][steps], in device memory and not read on the host.
struct ConvSteps {
  const void* data = nullptr;
  DType dtype = DType::kFloat32;  // of a mask; sequence numbers are int32
  std::int64_t stride = 1;
  Axes items;
};

// [channels][taps]; of a bias: taps 1.
struct ConvMatrix {
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  std::int64_t channel_stride = 0, tap_stride = 0;
};

struct ConvIndices {
  const void* data = nullptr;
  bool is_int64 = false;
  std::int64_t stride = 1;
};

// What forward and backward read.
struct ConvInputsJob {
  ConvSeries x, initial_states;
  ConvMatrix weight, bias;
  ConvSteps mask, seq_idx;
  ConvIndices cu_seqlens;
  ConvIndices state_indices;  // [sequences] int32
  const std::uint8_t* has_initial_state = nullptr;
  std::int64_t has_initial_stride = 1, pad_slot = -1;
  std::int64_t items = 0, channels = 0, steps = 0;
  std::int64_t sequences = 0;   // items, or what cu_seqlens cuts
  std::int64_t state_rows = 0;  // of the states; sequences where state_indices is not given
  int taps = 1;
  bool silu = false, residual = false;
};

struct ConvForwardJob {
  ConvInputsJob in;
  ConvSeries out, final_states;
};

struct ConvBackwardJob {
  ConvInputsJob in;
  ConvSeries grad_out, grad_final_states;
  ConvSeries x, initial_states;  // the gradients that are wanted
  ConvMatrix weight, bias;
};

struct ConvUpdateJob {
  ConvSeries x, out;  // [B][D][T]
  ConvSeries state;   // [rows][D][S]
  ConvMatrix weight, bias;
  ConvIndices cache_seqlens, conv_state_indices, num_accepted_tokens;  // [B] int32
  std::int64_t pad_slot = -1;
  std::int64_t items = 0, channels = 0, steps = 0, places = 0, rows = 0;
  int taps = 1;
  bool silu = false, residual = false;
};

}  // namespace melisma::gpu
