// The dispatcher's causal convolution, its gradients and its step for decoding, on the CPU and on CUDA.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "../overlap.h"
#include "melisma/causal_conv1d.h"
#include "tensors.h"

namespace melisma::torch_ext {
namespace {

using Optional = std::optional<StableTensor>;

// Time is the last axis of every view; the dispatcher's tensors with channels_last have it before the last.
Tensor time_last(Tensor tensor, bool channels_last) {
  if (!channels_last) return tensor;
  const std::size_t last = static_cast<std::size_t>(tensor.ndim()) - 1;
  std::swap(tensor.shape.dims[last], tensor.shape.dims[last - 1]);
  std::swap(tensor.strides[last], tensor.strides[last - 1]);
  return tensor;
}

class Float {
 public:
  Float(const Optional& tensor, const char* op, const char* argument) {
    if (tensor) view_ = float_view(*tensor, op, argument);
  }
  const Tensor* get() const { return view_ ? &*view_ : nullptr; }

 private:
  std::optional<Tensor> view_;
};

class Index {
 public:
  Index(const Optional& tensor, const char* op, const char* argument) {
    if (tensor) view_ = index_view(*tensor, op, argument);
  }
  const IndexTensor* get() const { return view_ ? &*view_ : nullptr; }

 private:
  std::optional<IndexTensor> view_;
};

class Flags {
 public:
  Flags(const Optional& tensor, const char* op, const char* argument) {
    if (tensor) view_ = flag_view(*tensor, op, argument);
  }
  const FlagTensor* get() const { return view_ ? &*view_ : nullptr; }

 private:
  std::optional<FlagTensor> view_;
};

// A call's arguments but for what differs between forward and backward.
class Call {
 public:
  Call(const char* op, const StableTensor& x_tensor, const StableTensor& weight_tensor, const Optional& bias,
       const Optional& mask, const Optional& seq_idx, const Optional& cu_seqlens, const Optional& initial_states,
       bool channels_last, bool silu, bool residual)
      : given(float_view(x_tensor, op, "x")),
        x(time_last(checked(op, given), channels_last)),
        weight(float_view(weight_tensor, op, "weight")),
        params{silu ? ConvActivation::kSilu : ConvActivation::kNone, residual},
        bias_(bias, op, "bias"),
        mask_(mask, op, "mask"),
        initial_(initial_states, op, "initial_states"),
        seq_idx_(seq_idx, op, "seq_idx"),
        cu_seqlens_(cu_seqlens, op, "cu_seqlens") {}

  const Tensor given;  // x as the caller has it
  const Tensor x;      // [..., D, T]
  const Tensor weight;
  const CausalConv1dParams params;

  CausalConv1dInputs inputs() const {
    return {bias_.get(), mask_.get(), seq_idx_.get(), cu_seqlens_.get(), initial_.get()};
  }
  // Of final states; of a call that the operator refuses, whatever.
  Shape states() const {
    if (weight.ndim() != 2 || weight.size(1) < 1) return {0};
    Shape shape = x.shape;
    if (const IndexTensor* cu = cu_seqlens_.get()) {
      if (cu->ndim() != 1 || cu->size(0) < 1) return {0};
      shape = {cu->size(0) - 1, x.size(-2), 0};
    }
    shape[-1] = weight.size(1) - 1;
    return shape;
  }

 private:
  static const Tensor& checked(const char* op, const Tensor& x) {
    if (x.ndim() >= 2) return x;
    throw Error(ErrorKind::kInvalidArgument,
                std::string(op) + ": x must have at least 2 dimensions [D, T], got " + std::to_string(x.ndim()));
  }

  const Float bias_, mask_, initial_;
  const Index seq_idx_, cu_seqlens_;
};

// x's shape, dtype and order of the last two axes in memory.
NewTensor new_like(const Tensor& x) {
  return new_tensor(x.shape, x.dtype, x.stride(-1) != 1 && x.stride(-2) == 1, x.device);
}

std::tuple<StableTensor, StableTensor> causal_conv1d_op(StableTensor x, StableTensor weight, Optional bias,
                                                        Optional mask, Optional seq_idx, Optional cu_seqlens,
                                                        Optional initial_states, bool channels_last, bool silu,
                                                        bool residual, bool return_final_states) {
  constexpr const char* kOp = "causal_conv1d";
  const Call call(kOp, x, weight, bias, mask, seq_idx, cu_seqlens, initial_states, channels_last, silu, residual);
  NewTensor out = new_like(call.given);
  std::optional<NewTensor> states;
  if (return_final_states) states = new_tensor(call.states(), call.x.dtype, false, call.x.device);
  causal_conv1d(call.x, call.weight, call.inputs(), call.params, time_last(out.view, channels_last),
                states ? &states->view : nullptr, CallQueue(call.x));
  return {out.tensor, states ? states->tensor : StableTensor()};
}

// in_place: final_states are the initial ones, too, so that a pool of states is one argument.
void causal_conv1d_out_op(StableTensor x, StableTensor weight, Optional bias, Optional mask, Optional seq_idx,
                          Optional cu_seqlens, Optional initial_states, bool channels_last, bool silu, bool residual,
                          StableTensor out, Optional final_states, Optional state_indices, Optional has_initial_state,
                          std::int64_t pad_slot_id, bool in_place) {
  constexpr const char* kOp = "causal_conv1d";
  const Call call(kOp, x, weight, bias, mask, seq_idx, cu_seqlens, initial_states, channels_last, silu, residual);
  Tensor result = float_view(out, kOp, "out");
  if (result.ndim() == call.x.ndim()) result = time_last(result, channels_last);  // otherwise refused below
  const Float states(final_states, kOp, "final_states_out");
  const Index rows(state_indices, kOp, "state_indices");
  const Flags has_initial(has_initial_state, kOp, "has_initial_state");
  CausalConv1dInputs inputs = call.inputs();
  inputs.state_indices = rows.get();
  inputs.has_initial_state = has_initial.get();
  inputs.pad_slot = pad_slot_id;
  refuse_overlap(kOp, "out", result,
                 {&call.x, &call.weight, inputs.bias, inputs.mask, inputs.initial_states, states.get()});
  if (states.get() != nullptr) {
    refuse_overlap(kOp, "final_states_out", *states.get(),
                   {&call.x, &call.weight, inputs.bias, inputs.mask, inputs.initial_states});
  }
  if (in_place) inputs.initial_states = states.get();
  causal_conv1d(call.x, call.weight, inputs, call.params, result, states.get(), CallQueue(call.x));
}

// Bits of `wanted`: which gradients are computed. The others come as undefined tensors, None in Python.
constexpr std::int64_t kOfX = 1, kOfWeight = 2, kOfBias = 4, kOfInitialStates = 8;

std::tuple<StableTensor, StableTensor, StableTensor, StableTensor> causal_conv1d_backward_op(
    StableTensor grad_out, Optional grad_final_states, StableTensor x, StableTensor weight, Optional bias,
    Optional mask, Optional seq_idx, Optional cu_seqlens, Optional initial_states, bool channels_last, bool silu,
    bool residual, std::int64_t wanted) {
  constexpr const char* kOp = "causal_conv1d_backward";
  const Call call(kOp, x, weight, bias, mask, seq_idx, cu_seqlens, initial_states, channels_last, silu, residual);
  const CausalConv1dInputs inputs = call.inputs();
  const Tensor above = float_view(grad_out, kOp, "grad_out");
  if (!(above.shape == call.given.shape))
    throw Error(ErrorKind::kInvalidArgument, std::string(kOp) + ": grad_out must have the shape of x");
  const Float above_states(grad_final_states, kOp, "grad_final_states");
  std::optional<NewTensor> dx, dw, db, ds;
  if ((wanted & kOfX) != 0) dx = new_like(call.given);
  const auto parameter = [&](const Tensor& of) { return new_tensor(of.shape, of.dtype, false, of.device); };
  if ((wanted & kOfWeight) != 0) dw = parameter(call.weight);
  if ((wanted & kOfBias) != 0 && inputs.bias != nullptr) db = parameter(*inputs.bias);
  if ((wanted & kOfInitialStates) != 0 && inputs.initial_states != nullptr) ds = parameter(*inputs.initial_states);
  if (dx) dx->view = time_last(dx->view, channels_last);
  const auto view = [](const std::optional<NewTensor>& made) { return made ? &made->view : nullptr; };
  causal_conv1d_backward(time_last(above, channels_last), above_states.get(), call.x, call.weight, inputs, call.params,
                         {view(dx), view(dw), view(db), view(ds)}, CallQueue(call.x));
  const auto tensor = [](const std::optional<NewTensor>& made) { return made ? made->tensor : StableTensor(); };
  return {tensor(dx), tensor(dw), tensor(db), tensor(ds)};
}

class Update {
 public:
  Update(const StableTensor& x_tensor, const StableTensor& conv_state, const StableTensor& weight_tensor,
         const Optional& bias, const Optional& cache_seqlens, const Optional& conv_state_indices,
         const Optional& num_accepted_tokens, std::int64_t pad_slot_id, bool silu, bool residual)
      : x(float_view(x_tensor, kOp, "x")),
        state_(float_view(conv_state, kOp, "conv_state")),
        weight_(float_view(weight_tensor, kOp, "weight")),
        bias_(bias, kOp, "bias"),
        seqlens_(cache_seqlens, kOp, "cache_seqlens"),
        rows_(conv_state_indices, kOp, "conv_state_indices"),
        accepted_(num_accepted_tokens, kOp, "num_accepted_tokens"),
        pad_slot_(pad_slot_id),
        params_{silu ? ConvActivation::kSilu : ConvActivation::kNone, residual} {
    refuse_overlap(kOp, "conv_state", state_, {&x, &weight_, bias_.get()});
  }

  static constexpr const char* kOp = "causal_conv1d_update";
  const Tensor x;

  void run(const Tensor& out) const {
    const CausalConv1dUpdateInputs inputs{bias_.get(), seqlens_.get(), rows_.get(), pad_slot_, accepted_.get()};
    causal_conv1d_update(x, state_, weight_, inputs, params_, out, CallQueue(x));
  }
  void run_apart(const Tensor& out) const {
    refuse_overlap(kOp, "out", out, {&x, &state_, &weight_, bias_.get()});
    run(out);
  }

 private:
  const Tensor state_, weight_;
  const Float bias_;
  const Index seqlens_, rows_, accepted_;
  const std::int64_t pad_slot_;
  const CausalConv1dParams params_;
};

StableTensor causal_conv1d_update_op(StableTensor x, StableTensor conv_state, StableTensor weight, Optional bias,
                                     Optional cache_seqlens, Optional conv_state_indices, Optional num_accepted_tokens,
                                     std::int64_t pad_slot_id, bool silu, bool residual) {
  const Update call(x, conv_state, weight, bias, cache_seqlens, conv_state_indices, num_accepted_tokens, pad_slot_id,
                    silu, residual);
  const bool swapped = call.x.ndim() == 3 && call.x.stride(-1) != 1 && call.x.stride(-2) == 1;
  NewTensor out = new_tensor(call.x.shape, call.x.dtype, swapped, call.x.device);
  call.run(out.view);
  return out.tensor;
}

void causal_conv1d_update_out_op(StableTensor x, StableTensor conv_state, StableTensor weight, Optional bias,
                                 Optional cache_seqlens, Optional conv_state_indices, Optional num_accepted_tokens,
                                 std::int64_t pad_slot_id, bool silu, bool residual, StableTensor out) {
  const Update call(x, conv_state, weight, bias, cache_seqlens, conv_state_indices, num_accepted_tokens, pad_slot_id,
                    silu, residual);
  call.run_apart(float_view(out, Update::kOp, "out"));
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(melisma, m) {
  m.def(
      "causal_conv1d(Tensor x, Tensor weight, Tensor? bias, Tensor? mask, Tensor? seq_idx, Tensor? cu_seqlens, "
      "Tensor? initial_states, bool channels_last, bool silu, bool residual, bool return_final_states) "
      "-> (Tensor, Tensor)");
  m.def(
      "causal_conv1d_out(Tensor x, Tensor weight, Tensor? bias, Tensor? mask, Tensor? seq_idx, Tensor? cu_seqlens, "
      "Tensor? initial_states, bool channels_last, bool silu, bool residual, Tensor(a!) out, "
      "Tensor(b!)? final_states, Tensor? state_indices, Tensor? has_initial_state, int pad_slot_id, bool in_place) "
      "-> ()");
  m.def(
      "causal_conv1d_backward(Tensor grad_out, Tensor? grad_final_states, Tensor x, Tensor weight, Tensor? bias, "
      "Tensor? mask, Tensor? seq_idx, Tensor? cu_seqlens, Tensor? initial_states, bool channels_last, bool silu, "
      "bool residual, int wanted) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "causal_conv1d_update(Tensor x, Tensor(a!) conv_state, Tensor weight, Tensor? bias, Tensor? cache_seqlens, "
      "Tensor? conv_state_indices, Tensor? num_accepted_tokens, int pad_slot_id, bool silu, bool residual) -> Tensor");
  m.def(
      "causal_conv1d_update_out(Tensor x, Tensor(a!) conv_state, Tensor weight, Tensor? bias, Tensor? cache_seqlens, "
      "Tensor? conv_state_indices, Tensor? num_accepted_tokens, int pad_slot_id, bool silu, bool residual, "
      "Tensor(b!) out) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(melisma, CPU, m) {
  m.impl("causal_conv1d", TORCH_BOX(&Kernel<&causal_conv1d_op>::run));
  m.impl("causal_conv1d_out", TORCH_BOX(&Kernel<&causal_conv1d_out_op>::run));
  m.impl("causal_conv1d_backward", TORCH_BOX(&Kernel<&causal_conv1d_backward_op>::run));
  m.impl("causal_conv1d_update", TORCH_BOX(&Kernel<&causal_conv1d_update_op>::run));
  m.impl("causal_conv1d_update_out", TORCH_BOX(&Kernel<&causal_conv1d_update_out_op>::run));
}

STABLE_TORCH_LIBRARY_IMPL(melisma, CUDA, m) {
  m.impl("causal_conv1d", TORCH_BOX(&Kernel<&causal_conv1d_op>::run));
  m.impl("causal_conv1d_out", TORCH_BOX(&Kernel<&causal_conv1d_out_op>::run));
  m.impl("causal_conv1d_backward", TORCH_BOX(&Kernel<&causal_conv1d_backward_op>::run));
  m.impl("causal_conv1d_update", TORCH_BOX(&Kernel<&causal_conv1d_update_op>::run));
  m.impl("causal_conv1d_update_out", TORCH_BOX(&Kernel<&causal_conv1d_update_out_op>::run));
}

}  // namespace melisma::torch_ext
