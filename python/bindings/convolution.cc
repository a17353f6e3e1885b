#include "convolution.h"

#include <optional>
#include <string>
#include <utility>

#include "arrays.h"
#include "melisma/causal_conv1d.h"
#include "melisma/error.h"

namespace melisma::python {
namespace {

using namespace nb::literals;

// NumPy has no bfloat16: python/melisma hands its bits over as uint16.
Tensor float_tensor(const nb::ndarray<nb::ro>& array, const char* op, const char* argument) {
  using Code = nb::dlpack::dtype_code;
  const nb::dlpack::dtype type = array.dtype();
  Tensor tensor;
  const auto is = [&](Code code, int bits) {
    return type.lanes == 1 && type.code == static_cast<std::uint8_t>(code) && type.bits == bits;
  };
  if (is(Code::Float, 32)) {
    tensor.dtype = DType::kFloat32;
  } else if (is(Code::Float, 64)) {
    tensor.dtype = DType::kFloat64;
  } else if (is(Code::Float, 16)) {
    tensor.dtype = DType::kFloat16;
  } else if (is(Code::UInt, 16)) {
    tensor.dtype = DType::kBFloat16;
  } else {
    throw Error(ErrorKind::kInvalidType,
                std::string(op) + ": " + argument + " must be float16, bfloat16, float32 or float64");
  }
  if (array.ndim() > static_cast<std::size_t>(kMaxDims)) {
    throw Error(ErrorKind::kInvalidArgument, std::string(op) + ": " + argument + " must have at most " +
                                                 std::to_string(kMaxDims) + " dimensions, got " +
                                                 std::to_string(array.ndim()));
  }
  tensor.data = const_cast<void*>(array.data());
  tensor.shape.ndim = static_cast<int>(array.ndim());
  for (std::size_t axis = 0; axis < array.ndim(); ++axis) {
    tensor.shape.dims[axis] = static_cast<std::int64_t>(array.shape(axis));
    tensor.strides[axis] = array.stride(axis);
  }
  return tensor;
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
    tensor_ = float_tensor(array_, op, argument);
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
    if (array_.ndim() > static_cast<std::size_t>(kMaxDims)) {
      throw Error(ErrorKind::kInvalidArgument, std::string(op) + ": " + argument + " has too many dimensions");
    }
    IndexTensor& index = index_.emplace();
    index.data = array_.data();
    index.is_int64 = type.bits == 64;
    index.shape.ndim = static_cast<int>(array_.ndim());
    for (std::size_t axis = 0; axis < array_.ndim(); ++axis) {
      index.shape.dims[axis] = static_cast<std::int64_t>(array_.shape(axis));
      index.strides[axis] = array_.stride(axis);
    }
  }
  const IndexTensor* get() const { return index_ ? &*index_ : nullptr; }

 private:
  nb::ndarray<nb::ro> array_;
  std::optional<IndexTensor> index_;
};

void check_apart(const char* op, const char* name, const Tensor& out, std::initializer_list<const Tensor*> inputs) {
  for (const Tensor* input : inputs) {
    if (input == nullptr || !overlap(out, *input)) continue;
    throw Error(ErrorKind::kInvalidArgument,
                std::string(op) + ": " + name + " must not overlap another argument's memory, got one that does");
  }
}

CausalConv1dParams parameters(bool silu, bool residual) {
  return {silu ? ConvActivation::kSilu : ConvActivation::kNone, residual};
}

// x's shape, dtype and order of the last two axes in memory.
NewArray new_like(const Tensor& x) {
  const bool channel_last = x.ndim() >= 2 && x.stride(-2) == 1 && x.stride(-1) != 1;
  return new_array(x.shape, x.dtype, channel_last);
}

nb::object call_causal_conv1d(const char* op, nb::handle x, nb::handle weight, nb::handle bias, nb::handle mask,
                              nb::handle seq_idx, nb::handle cu_seqlens, nb::handle initial_states, bool silu,
                              bool residual, nb::handle out, nb::handle final_states) {
  const Argument input(x, op, "x"), w(weight, op, "weight"), b(bias, op, "bias"), m(mask, op, "mask"),
      initial(initial_states, op, "initial_states"), to(out, op, "out", true),
      states(final_states, op, "final_states", true);
  const Indices seq(seq_idx, op, "seq_idx"), cu(cu_seqlens, op, "cu_seqlens");
  const CausalConv1dInputs inputs{b.get(), m.get(), seq.get(), cu.get(), initial.get()};
  NewArray made;
  if (to.get() == nullptr) made = new_like(*input);
  const Tensor& result = to.get() == nullptr ? made.tensor : *to;
  if (to.get() != nullptr)
    check_apart(op, "out", result, {&*input, &*w, b.get(), m.get(), initial.get(), states.get()});
  if (states.get() != nullptr)
    check_apart(op, "final_states", *states, {&*input, &*w, b.get(), m.get(), initial.get()});
  {
    nb::gil_scoped_release unlocked;
    causal_conv1d(*input, *w, inputs, parameters(silu, residual), result, states.get());
  }
  return to.get() == nullptr ? made.object : nb::borrow(out);
}

nb::object call_update(const char* op, nb::handle x, nb::handle conv_state, nb::handle weight, nb::handle bias,
                       nb::handle cache_seqlens, nb::handle conv_state_indices, nb::handle num_accepted_tokens,
                       std::int64_t pad_slot, bool silu, bool residual, nb::handle out) {
  const Argument input(x, op, "x"), state(conv_state, op, "conv_state", true), w(weight, op, "weight"),
      b(bias, op, "bias"), to(out, op, "out", true);
  const Indices seqlens(cache_seqlens, op, "cache_seqlens"), rows(conv_state_indices, op, "conv_state_indices"),
      accepted(num_accepted_tokens, op, "num_accepted_tokens");
  const CausalConv1dUpdateInputs inputs{b.get(), seqlens.get(), rows.get(), pad_slot, accepted.get()};
  NewArray made;
  if (to.get() == nullptr) made = new_like(*input);
  const Tensor& result = to.get() == nullptr ? made.tensor : *to;
  if (to.get() != nullptr) check_apart(op, "out", result, {&*input, &*state, &*w, b.get()});
  check_apart(op, "conv_state", *state, {&*input, &*w, b.get()});
  {
    nb::gil_scoped_release unlocked;
    causal_conv1d_update(*input, *state, *w, inputs, parameters(silu, residual), result);
  }
  return to.get() == nullptr ? made.object : nb::borrow(out);
}

nb::tuple call_backward(nb::handle grad_out, nb::handle grad_final_states, nb::handle x, nb::handle weight,
                        nb::handle bias, nb::handle mask, nb::handle seq_idx, nb::handle cu_seqlens,
                        nb::handle initial_states, bool silu, bool residual) {
  const char* op = "causal_conv1d_backward";
  const Argument above(grad_out, op, "grad_out"), states(grad_final_states, op, "grad_final_states"), input(x, op, "x"),
      w(weight, op, "weight"), b(bias, op, "bias"), m(mask, op, "mask"), initial(initial_states, op, "initial_states");
  const Indices seq(seq_idx, op, "seq_idx"), cu(cu_seqlens, op, "cu_seqlens");
  const CausalConv1dInputs inputs{b.get(), m.get(), seq.get(), cu.get(), initial.get()};
  const NewArray dx = new_like(*input), dw = new_array((*w).shape, (*w).dtype, false);
  NewArray db, ds;
  if (b.get() != nullptr) db = new_array((*b).shape, (*b).dtype, false);
  if (initial.get() != nullptr) ds = new_array((*initial).shape, (*initial).dtype, false);
  const CausalConv1dGradients gradients{&dx.tensor, &dw.tensor, b.get() != nullptr ? &db.tensor : nullptr,
                                        initial.get() != nullptr ? &ds.tensor : nullptr};
  {
    nb::gil_scoped_release unlocked;
    causal_conv1d_backward(*above, states.get(), *input, *w, inputs, parameters(silu, residual), gradients);
  }
  const auto or_none = [](const NewArray& array) { return array.object.is_valid() ? array.object : nb::none(); };
  return nb::make_tuple(dx.object, dw.object, or_none(db), or_none(ds));
}

}  // namespace

void bind_convolution(nb::module_& m) {
  m.def("causal_conv1d", &call_causal_conv1d, "op"_a, "x"_a, "weight"_a, "bias"_a.none(), "mask"_a.none(),
        "seq_idx"_a.none(), "cu_seqlens"_a.none(), "initial_states"_a.none(), "silu"_a, "residual"_a, "out"_a.none(),
        "final_states"_a.none());
  m.def("causal_conv1d_update", &call_update, "op"_a, "x"_a, "conv_state"_a, "weight"_a, "bias"_a.none(),
        "cache_seqlens"_a.none(), "conv_state_indices"_a.none(), "num_accepted_tokens"_a.none(), "pad_slot"_a, "silu"_a,
        "residual"_a, "out"_a.none());
  m.def("causal_conv1d_backward", &call_backward, "grad_out"_a, "grad_final_states"_a.none(), "x"_a, "weight"_a,
        "bias"_a.none(), "mask"_a.none(), "seq_idx"_a.none(), "cu_seqlens"_a.none(), "initial_states"_a.none(),
        "silu"_a, "residual"_a);
}

}  // namespace melisma::python
