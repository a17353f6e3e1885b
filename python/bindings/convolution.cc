#include "convolution.h"

#include <optional>
#include <string>
#include <utility>

#include "arrays.h"
#include "device_call.h"
#include "melisma/causal_conv1d.h"
#include "melisma/error.h"

namespace melisma::python {
namespace {

using namespace nb::literals;

// NumPy has no bfloat16: python/melisma hands its bits over as uint16.
DType float_type(nb::dlpack::dtype type, const char* op, const char* argument) {
  using Code = nb::dlpack::dtype_code;
  const auto is = [&](Code code, int bits) {
    return type.lanes == 1 && type.code == static_cast<std::uint8_t>(code) && type.bits == bits;
  };
  if (is(Code::Float, 32)) return DType::kFloat32;
  if (is(Code::Float, 64)) return DType::kFloat64;
  if (is(Code::Float, 16)) return DType::kFloat16;
  if (is(Code::UInt, 16) || is(Code::Bfloat, 16)) return DType::kBFloat16;
  throw Error(ErrorKind::kInvalidType,
              std::string(op) + ": " + argument + " must be float16, bfloat16, float32 or float64");
}

// An argument that may be None, and the array that keeps it alive.
class Argument {
 public:
  Argument(nb::handle object, const char* op, const char* argument, bool writable = false) {
    if (object.is_none()) return;
    if (writable) {
      nb::ndarray<> array;
      if (!nb::try_cast(object, array, false)) {
        PyErr_Clear();
        throw Error(ErrorKind::kInvalidArgument, std::string(op) + ": " + argument + " must be a writable array");
      }
      array_ = nb::ndarray<nb::ro>(array);
    } else if (!nb::try_cast(object, array_, false)) {
      PyErr_Clear();
      throw Error(ErrorKind::kInvalidType, std::string(op) + ": " + argument + " must be an array");
    }
    Tensor& tensor = tensor_.emplace();
    place_view(array_, op, argument, &tensor);
    tensor.data = const_cast<void*>(array_.data());
    tensor.dtype = float_type(array_.dtype(), op, argument);
  }
  const Tensor* get() const { return tensor_ ? &*tensor_ : nullptr; }
  const Tensor& operator*() const { return *tensor_; }

 private:
  nb::ndarray<nb::ro> array_;
  std::optional<Tensor> tensor_;
};

class Indices {
 public:
  Indices(nb::handle object, const char* op, const char* argument) {
    if (object.is_none()) return;
    if (!nb::try_cast(object, array_, false)) {
      PyErr_Clear();
      throw Error(ErrorKind::kInvalidType, std::string(op) + ": " + argument + " must be an int32 or int64 array");
    }
    const nb::dlpack::dtype type = array_.dtype();
    if (type.code != static_cast<std::uint8_t>(nb::dlpack::dtype_code::Int) || (type.bits != 32 && type.bits != 64)) {
      throw Error(ErrorKind::kInvalidType, std::string(op) + ": " + argument + " must be int32 or int64");
    }
    IndexTensor& index = index_.emplace();
    place_view(array_, op, argument, &index);
    index.data = array_.data();
    index.is_int64 = type.bits == 64;
  }
  const IndexTensor* get() const { return index_ ? &*index_ : nullptr; }

 private:
  nb::ndarray<nb::ro> array_;
  std::optional<IndexTensor> index_;
};

class Flags {
 public:
  Flags(nb::handle object, const char* op, const char* argument) {
    if (object.is_none()) return;
    using Code = nb::dlpack::dtype_code;
    const auto is = [&](Code code) {
      return array_.dtype().code == static_cast<std::uint8_t>(code) && array_.dtype().bits == 8;
    };
    if (!nb::try_cast(object, array_, false) || (!is(Code::Bool) && !is(Code::UInt))) {
      PyErr_Clear();
      throw Error(ErrorKind::kInvalidType, std::string(op) + ": " + argument + " must be an array of bool or uint8");
    }
    FlagTensor& flags = flags_.emplace();
    place_view(array_, op, argument, &flags);
    flags.data = static_cast<const std::uint8_t*>(array_.data());
  }
  const FlagTensor* get() const { return flags_ ? &*flags_ : nullptr; }

 private:
  nb::ndarray<nb::ro> array_;
  std::optional<FlagTensor> flags_;
};

bool same_view(const Tensor& a, const Tensor& b) {
  return a.data == b.data && a.dtype == b.dtype && a.shape == b.shape && a.strides == b.strides;
}

// A result: what the caller gave, or a new array of the library that owns the call's arrays.
class Result {
 public:
  // With x's shape, dtype and order of the last two axes in memory.
  static Result like(const Tensor& x, const DeviceCall& device, const char* op, const char* argument) {
    const bool channel_last = x.ndim() >= 2 && x.stride(-2) == 1 && x.stride(-1) != 1;
    return {x.shape, x.dtype, channel_last, device, op, argument};
  }
  Result(const Shape& shape, DType dtype, bool swapped, const DeviceCall& device, const char* op,
         const char* argument) {
    if (device.on_device()) {
      object_ = device.empty(shape, dtype, swapped);
      view_ = device.view(object_, op, argument);
    } else {
      NewArray made = new_array(shape, dtype, swapped);
      object_ = std::move(made.object);
      view_.tensor = made.tensor;
    }
  }
  const Tensor& tensor() const { return view_.tensor; }
  const nb::object& object() const { return object_; }

 private:
  nb::object object_;
  ArrayView view_;
};

CausalConv1dParams parameters(bool silu, bool residual) {
  return {silu ? ConvActivation::kSilu : ConvActivation::kNone, residual};
}

nb::object call_causal_conv1d(const char* op, nb::handle x, nb::handle weight, nb::handle bias, nb::handle mask,
                              nb::handle seq_idx, nb::handle cu_seqlens, nb::handle initial_states, bool silu,
                              bool residual, nb::handle out, nb::handle final_states, nb::handle owner,
                              nb::handle state_indices, nb::handle has_initial_state, std::int64_t pad_slot) {
  const Argument input(x, op, "x"), w(weight, op, "weight"), b(bias, op, "bias"), m(mask, op, "mask"),
      initial(initial_states, op, "initial_states"), to(out, op, "out", true),
      states(final_states, op, "final_states", true);
  const Indices seq(seq_idx, op, "seq_idx"), cu(cu_seqlens, op, "cu_seqlens"), rows(state_indices, op, "state_indices");
  const Flags has_initial(has_initial_state, op, "has_initial_state");
  const CausalConv1dInputs inputs{b.get(),       m.get(),    seq.get(),         cu.get(),
                                  initial.get(), rows.get(), has_initial.get(), pad_slot};
  const DeviceCall device(owner);
  std::optional<Result> made;
  if (to.get() == nullptr) {
    made = Result::like(*input, device, op, "out");
  } else {
    refuse_overlap(op, "out", *to, {&*input, &*w, b.get(), m.get(), initial.get(), states.get()});
  }
  if (states.get() != nullptr) {
    const bool in_place = rows.get() != nullptr && initial.get() != nullptr && same_view(*initial, *states);
    refuse_overlap(op, "final_states", *states, {&*input, &*w, b.get(), m.get(), in_place ? nullptr : initial.get()});
  }
  {
    nb::gil_scoped_release unlocked;
    causal_conv1d(*input, *w, inputs, parameters(silu, residual), made ? made->tensor() : *to, states.get(),
                  device.queue());
  }
  return made ? made->object() : nb::borrow(out);
}

nb::object call_update(const char* op, nb::handle x, nb::handle conv_state, nb::handle weight, nb::handle bias,
                       nb::handle cache_seqlens, nb::handle conv_state_indices, nb::handle num_accepted_tokens,
                       std::int64_t pad_slot, bool silu, bool residual, nb::handle out, nb::handle owner) {
  const Argument input(x, op, "x"), state(conv_state, op, "conv_state", true), w(weight, op, "weight"),
      b(bias, op, "bias"), to(out, op, "out", true);
  const Indices seqlens(cache_seqlens, op, "cache_seqlens"), rows(conv_state_indices, op, "conv_state_indices"),
      accepted(num_accepted_tokens, op, "num_accepted_tokens");
  const CausalConv1dUpdateInputs inputs{b.get(), seqlens.get(), rows.get(), pad_slot, accepted.get()};
  const DeviceCall device(owner);
  std::optional<Result> made;
  if (to.get() == nullptr) {
    made = Result::like(*input, device, op, "out");
  } else {
    refuse_overlap(op, "out", *to, {&*input, &*state, &*w, b.get()});
  }
  refuse_overlap(op, "conv_state", *state, {&*input, &*w, b.get()});
  {
    nb::gil_scoped_release unlocked;
    causal_conv1d_update(*input, *state, *w, inputs, parameters(silu, residual), made ? made->tensor() : *to,
                         device.queue());
  }
  return made ? made->object() : nb::borrow(out);
}

nb::tuple call_backward(nb::handle grad_out, nb::handle grad_final_states, nb::handle x, nb::handle weight,
                        nb::handle bias, nb::handle mask, nb::handle seq_idx, nb::handle cu_seqlens,
                        nb::handle initial_states, bool silu, bool residual, nb::handle owner) {
  const char* op = "causal_conv1d_backward";
  const Argument above(grad_out, op, "grad_out"), states(grad_final_states, op, "grad_final_states"), input(x, op, "x"),
      w(weight, op, "weight"), b(bias, op, "bias"), m(mask, op, "mask"), initial(initial_states, op, "initial_states");
  const Indices seq(seq_idx, op, "seq_idx"), cu(cu_seqlens, op, "cu_seqlens");
  const CausalConv1dInputs inputs{b.get(), m.get(), seq.get(), cu.get(), initial.get()};
  const DeviceCall device(owner);
  const auto like = [&](const Tensor& t, const char* name) {
    return Result(t.shape, t.dtype, false, device, op, name);
  };
  const Result dx = Result::like(*input, device, op, "gradients.x"), dw = like(*w, "gradients.weight");
  std::optional<Result> db, ds;
  if (b.get() != nullptr) db = like(*b, "gradients.bias");
  if (initial.get() != nullptr) ds = like(*initial, "gradients.initial_states");
  const CausalConv1dGradients gradients{&dx.tensor(), &dw.tensor(), db ? &db->tensor() : nullptr,
                                        ds ? &ds->tensor() : nullptr};
  {
    nb::gil_scoped_release unlocked;
    causal_conv1d_backward(*above, states.get(), *input, *w, inputs, parameters(silu, residual), gradients,
                           device.queue());
  }
  const auto or_none = [](const std::optional<Result>& result) { return result ? result->object() : nb::none(); };
  return nb::make_tuple(dx.object(), dw.object(), or_none(db), or_none(ds));
}

}  // namespace

void bind_convolution(nb::module_& m) {
  m.def("causal_conv1d", &call_causal_conv1d, "op"_a, "x"_a, "weight"_a, "bias"_a.none(), "mask"_a.none(),
        "seq_idx"_a.none(), "cu_seqlens"_a.none(), "initial_states"_a.none(), "silu"_a, "residual"_a, "out"_a.none(),
        "final_states"_a.none(), "owner"_a = nb::none(), "state_indices"_a = nb::none(),
        "has_initial_state"_a = nb::none(), "pad_slot"_a = -1);
  m.def("causal_conv1d_update", &call_update, "op"_a, "x"_a, "conv_state"_a, "weight"_a, "bias"_a.none(),
        "cache_seqlens"_a.none(), "conv_state_indices"_a.none(), "num_accepted_tokens"_a.none(), "pad_slot"_a, "silu"_a,
        "residual"_a, "out"_a.none(), "owner"_a = nb::none());
  m.def("causal_conv1d_backward", &call_backward, "grad_out"_a, "grad_final_states"_a.none(), "x"_a, "weight"_a,
        "bias"_a.none(), "mask"_a.none(), "seq_idx"_a.none(), "cu_seqlens"_a.none(), "initial_states"_a.none(),
        "silu"_a, "residual"_a, "owner"_a = nb::none());
}

}  // namespace melisma::python
