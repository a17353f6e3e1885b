#include "ops/causal_conv1d/support.h"

#include <algorithm>
#include <cinttypes>
#include <numeric>
#include <string>

#include "blocks/elementwise/scalar_types.h"
#include "blocks/framing/framing.h"
#include "runtime/check.h"

namespace melisma {
namespace {

// What indices hold is read on the CPU only: on a device that would wait for it.
bool reads_indices(const Tensor& x) { return x.device.type == DeviceType::kCpu; }

// The operator's own check_devices: half precision is at home here on every device.
void check_device(const char* op, const Tensor& x, Device device, const char* argument) {
  if (device == x.device) return;
  fail_type(op, "%s must be on x's device %s, got %s", argument, to_string(x.device).c_str(),
            to_string(device).c_str());
}

void check_float(const char* op, const Tensor& tensor, const char* argument) {
  if (is_float(tensor.dtype)) return;
  fail_type(op, "%s must be float16, bfloat16, float32 or float64, got %s", argument, dtype_name(tensor.dtype));
}

void check_shape(const char* op, const Shape& got, const Shape& want, const char* argument) {
  if (got == want) return;
  fail_argument(op, "%s must have the shape %s, got %s", argument, to_string(want).c_str(), to_string(got).c_str());
}

Shape without_axis(Shape shape, int axis) {
  const int last = shape.ndim - 1;
  for (int i = axis < 0 ? axis + shape.ndim : axis; i < last; ++i) shape[i] = shape[i + 1];
  shape[last] = 0;
  shape.ndim = last;
  return shape;
}

void check_index(const char* op, const Tensor& x, const IndexTensor& index, bool int64_too, const char* argument) {
  check_device(op, x, index.device, argument);
  if (index.is_int64 && !int64_too) fail_type(op, "%s must be int32, got int64", argument);
}

// [B] int32; on the CPU its values are read, and must be `least` to `most`.
void check_index_row(const char* op, const Tensor& x, const IndexTensor& index, std::int64_t count, std::int64_t least,
                     std::int64_t most, const char* argument) {
  check_index(op, x, index, false, argument);
  check_shape(op, index.shape, Shape{count}, argument);
  if (!reads_indices(x)) return;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t value = index.at(i * index.stride(0));
    if (value >= least && value <= most) continue;
    fail_argument(op, "%s must be %" PRId64 " to %" PRId64 ", got %" PRId64 " at %" PRId64, argument, least, most,
                  value, i);
  }
}

// Of x, weight and bias; D and T are checked against them.
std::int64_t check_weight(const char* op, const Tensor& x, std::int64_t channels, const Tensor& weight,
                          const Tensor* bias) {
  check_float(op, x, "x");
  check_device(op, x, weight.device, "weight");
  check_float(op, weight, "weight");
  if (weight.ndim() != 2 || weight.size(0) != channels) {
    fail_argument(op, "weight must have the shape [%" PRId64 ", W], got %s", channels, to_string(weight.shape).c_str());
  }
  const std::int64_t taps = weight.size(1);
  if (taps < 1 || taps > kMostConvTaps) {
    fail_argument(op, "weight must have 1 to %" PRId64 " taps, got %" PRId64, kMostConvTaps, taps);
  }
  if (bias != nullptr) check_conv_input(op, x, *bias, Shape{channels}, "bias");
  return taps;
}

constexpr const char* kUpdate = "causal_conv1d_update";

// The row of `rows` that each value names, no row twice; -1: pad_slot.
std::vector<std::int64_t> named_rows(const char* op, const IndexTensor& index, std::int64_t rows, std::int64_t pad_slot,
                                     const char* argument) {
  std::vector<std::int64_t> result(static_cast<std::size_t>(index.size(0)));
  for (std::int64_t i = 0; i < index.size(0); ++i) {
    const std::int64_t row = index.at(i * index.stride(0));
    if (row != pad_slot && (row < 0 || row >= rows)) {
      fail_argument(op, "%s must be below %" PRId64 " or the padding's %" PRId64 ", got %" PRId64 " at %" PRId64,
                    argument, rows, pad_slot, row, i);
    }
    result[static_cast<std::size_t>(i)] = row == pad_slot ? -1 : row;
  }
  std::vector<std::int64_t> sorted = result;
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i] < 0 || sorted[i] != sorted[i - 1]) continue;
    fail_argument(op, "%s must name a row once only, got %" PRId64 " twice", argument, sorted[i]);
  }
  return result;
}

std::vector<ConvSequence> packed_sequences(const char* op, const Tensor& x, const IndexTensor& cu) {
  check_index(op, x, cu, true, "cu_seqlens");
  const std::int64_t steps = x.size(-1);
  if (cu.ndim() != 1 || cu.size(0) < 1) {
    fail_argument(op, "cu_seqlens must have the shape [N + 1], got %s", to_string(cu.shape).c_str());
  }
  if (item_count(x.shape, 2) != 1) {
    fail_argument(op, "x must hold 1 item where cu_seqlens is given, got %" PRId64, item_count(x.shape, 2));
  }
  if (cu.size(0) == 1 && steps > 0) {
    fail_argument(op, "cu_seqlens must have 2 offsets or more for the %" PRId64 " steps of x, got 1", steps);
  }
  std::vector<ConvSequence> sequences;
  if (!reads_indices(x)) return sequences;
  sequences.reserve(static_cast<std::size_t>(cu.size(0)) - 1);
  std::int64_t before = cu.at(0);
  if (before != 0) fail_argument(op, "cu_seqlens must start with 0, got %" PRId64, before);
  for (std::int64_t i = 1; i < cu.size(0); ++i) {
    const std::int64_t end = cu.at(i * cu.stride(0));
    if (end < before) {
      fail_argument(op, "cu_seqlens must not descend, got %" PRId64 " after %" PRId64 " at %" PRId64, end, before, i);
    }
    sequences.push_back({0, before, end - before, i - 1, true});
    before = end;
  }
  if (before != steps) {
    fail_argument(op, "cu_seqlens must end with the %" PRId64 " steps of x, got %" PRId64, steps, before);
  }
  return sequences;
}

// Where in a row of the state an update reads and writes.
void check_places(const Tensor& x, const CausalConv1dUpdateInputs& inputs, const ConvUpdateCall& call) {
  if (inputs.cache_seqlens != nullptr) {
    check_index_row(kUpdate, x, *inputs.cache_seqlens, call.items, 0, INT32_MAX, "cache_seqlens");
    if (call.state == 0) {
      fail_argument(kUpdate, "conv_state must have at least 1 place where cache_seqlens is given, got 0");
    }
  }
  if (inputs.num_accepted_tokens == nullptr) return;
  if (inputs.cache_seqlens != nullptr) {
    fail_argument(kUpdate, "num_accepted_tokens must not be given together with cache_seqlens");
  }
  const std::int64_t needed = call.taps + call.steps - 2;
  if (call.state < needed) {
    fail_argument(kUpdate,
                  "conv_state must keep at least W + T - 2 = %" PRId64
                  " steps where num_accepted_tokens is given, got %" PRId64,
                  needed, call.state);
  }
  check_index_row(kUpdate, x, *inputs.num_accepted_tokens, call.items, 1, call.state - call.taps + 2,
                  "num_accepted_tokens");
}

// The row of conv_state of each item; -1: padding. On a device: none.
std::vector<std::int64_t> state_rows(const Tensor& x, const Tensor& conv_state, const IndexTensor* index,
                                     std::int64_t pad_slot) {
  const std::int64_t rows = conv_state.size(0), items = x.size(0);
  if (index != nullptr) {
    check_index(kUpdate, x, *index, false, "conv_state_indices");
    check_shape(kUpdate, index->shape, Shape{items}, "conv_state_indices");
  } else if (rows < items) {
    fail_argument(kUpdate, "conv_state must have at least the %" PRId64 " rows of x, got %" PRId64, items, rows);
  }
  if (!reads_indices(x)) return {};
  if (index != nullptr) return named_rows(kUpdate, *index, rows, pad_slot, "conv_state_indices");
  std::vector<std::int64_t> result(static_cast<std::size_t>(items));
  std::iota(result.begin(), result.end(), std::int64_t{0});
  return result;
}

// What state_indices and has_initial_state make of a call with states in rows of their own.
void check_pool(const char* op, const Tensor& x, const CausalConv1dInputs& inputs, const Tensor* final_states,
                ConvCall* call) {
  const std::int64_t count = item_count(call->states, 2);
  std::vector<std::int64_t> rows;
  if (inputs.state_indices != nullptr) {
    const Tensor* pool = inputs.initial_states != nullptr ? inputs.initial_states : final_states;
    if (pool == nullptr) fail_argument(op, "state_indices must come with initial_states or final_states, got neither");
    check_index(op, x, *inputs.state_indices, false, "state_indices");
    check_shape(op, inputs.state_indices->shape, Shape{count}, "state_indices");
    if (pool->ndim() != 3) {
      fail_argument(op, "%s must have the shape [rows, %" PRId64 ", %" PRId64 "] where state_indices is given, got %s",
                    pool == final_states ? "final_states" : "initial_states", call->channels, call->taps - 1,
                    to_string(pool->shape).c_str());
    }
    call->states = Shape{pool->size(0), call->channels, call->taps - 1};
    if (reads_indices(x)) {
      rows = named_rows(op, *inputs.state_indices, call->states[0], inputs.pad_slot, "state_indices");
    }
  }
  if (inputs.has_initial_state != nullptr) {
    check_device(op, x, inputs.has_initial_state->device, "has_initial_state");
    check_shape(op, inputs.has_initial_state->shape, Shape{count}, "has_initial_state");
  }
  for (std::size_t i = 0; i < call->sequences.size(); ++i) {
    ConvSequence& sequence = call->sequences[i];
    if (!rows.empty()) sequence.state = rows[i];
    sequence.initial = inputs.initial_states != nullptr && sequence.state >= 0;
    if (inputs.has_initial_state == nullptr || !sequence.initial) continue;
    const FlagTensor& flags = *inputs.has_initial_state;
    sequence.initial = flags.data[static_cast<std::int64_t>(i) * flags.stride(0)] != 0;
  }
}

}  // namespace

void check_conv_input(const char* op, const Tensor& x, const Tensor& tensor, const Shape& shape, const char* argument) {
  check_device(op, x, tensor.device, argument);
  check_float(op, tensor, argument);
  check_shape(op, tensor.shape, shape, argument);
}

void check_conv_output(const char* op, const Tensor& x, DType dtype, const Shape& shape, const Tensor& tensor,
                       const char* argument) {
  check_conv_input(op, x, tensor, shape, argument);
  if (tensor.dtype != dtype) {
    fail_type(op, "%s must be %s, got %s", argument, dtype_name(dtype), dtype_name(tensor.dtype));
  }
  if (shape.numel() == 0) return;
  for (int axis = 0; axis < shape.ndim; ++axis) {
    if (shape[axis] <= 1 || tensor.stride(axis) != 0) continue;
    fail_argument(op, "%s must not be expanded, got stride 0 in dimension %d of %" PRId64, argument, axis, shape[axis]);
  }
}

ConvCall check_causal_conv1d(const char* op, const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs,
                             const Tensor* final_states) {
  if (x.ndim() < 2) {
    fail_argument(op, "x must have the shape [..., D, T], got %s", to_string(x.shape).c_str());
  }
  ConvCall call;
  call.channels = x.size(-2);
  call.steps = x.size(-1);
  call.taps = check_weight(op, x, call.channels, weight, inputs.bias);
  const Shape of_steps = without_axis(x.shape, -2);
  call.states = x.shape;
  call.states[-1] = call.taps - 1;
  if (inputs.mask != nullptr) check_conv_input(op, x, *inputs.mask, of_steps, "mask");
  if (inputs.seq_idx != nullptr) {
    check_index(op, x, *inputs.seq_idx, false, "seq_idx");
    check_shape(op, inputs.seq_idx->shape, of_steps, "seq_idx");
  }
  if (inputs.cu_seqlens != nullptr) {
    if (inputs.seq_idx != nullptr) fail_argument(op, "cu_seqlens must not be given together with seq_idx");
    call.sequences = packed_sequences(op, x, *inputs.cu_seqlens);
    call.states = Shape{inputs.cu_seqlens->size(0) - 1, call.channels, call.taps - 1};
  } else if (reads_indices(x)) {
    const std::int64_t items = item_count(x.shape, 2);
    for (std::int64_t item = 0; item < items; ++item) call.sequences.push_back({item, 0, call.steps, item, true});
  }
  check_pool(op, x, inputs, final_states, &call);
  if (inputs.initial_states != nullptr) {
    check_conv_input(op, x, *inputs.initial_states, call.states, "initial_states");
  }
  return call;
}

ConvUpdateCall check_causal_conv1d_update(const Tensor& x, const Tensor& conv_state, const Tensor& weight,
                                          const CausalConv1dUpdateInputs& inputs, const Tensor& out, DType out_dtype) {
  const char* op = kUpdate;
  if (x.ndim() != 2 && x.ndim() != 3) {
    fail_argument(op, "x must have the shape [B, D] or [B, D, T], got %s", to_string(x.shape).c_str());
  }
  ConvUpdateCall call{x.size(0), x.size(1), x.ndim() == 3 ? x.size(2) : 1, 0, 0, {}};
  call.taps = check_weight(op, x, call.channels, weight, inputs.bias);
  if (conv_state.ndim() != 3 || conv_state.size(1) != call.channels) {
    fail_argument(op, "conv_state must have the shape [rows, %" PRId64 ", S], got %s", call.channels,
                  to_string(conv_state.shape).c_str());
  }
  call.state = conv_state.size(2);
  if (call.state < call.taps - 1) {
    fail_argument(op, "conv_state must keep at least the %" PRId64 " taps before a step, got %" PRId64, call.taps - 1,
                  call.state);
  }
  check_conv_output(op, x, conv_state.dtype, conv_state.shape, conv_state, "conv_state");
  check_conv_output(op, x, out_dtype, x.shape, out, "out");
  check_places(x, inputs, call);
  call.rows = state_rows(x, conv_state, inputs.conv_state_indices, inputs.pad_slot);
  return call;
}

bool conv_channels_contiguous(const Tensor& x, const Tensor& out) {
  if (x.size(-2) == 1 || x.stride(-2) != 1 || out.stride(-2) != 1) return false;
  return x.size(-1) == 1 || x.stride(-1) != 1;
}

}  // namespace melisma
