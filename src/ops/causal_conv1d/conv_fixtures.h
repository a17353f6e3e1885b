// What the tests of the causal convolution share: calls with their tensors, and how far a result may be from the
// float64 reference.
#pragma once

#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "melisma/causal_conv1d.h"
#include "testing/array.h"
#include "testing/fixtures.h"

namespace melisma::testing {

inline constexpr DType kFloats[] = {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16};

// Half a unit in the last place of a value near 1, and the smallest denormal.
inline double rounding(DType t) {
  switch (t) {
    case DType::kFloat16: return 0x1p-11;
    case DType::kBFloat16: return 0x1p-8;
    case DType::kFloat64: return 0x1p-53;
    default: return 0x1p-24;
  }
}
inline double smallest(DType t) {
  switch (t) {
    case DType::kFloat16: return 0x1p-24;
    case DType::kBFloat16: return 0x1p-133;
    case DType::kFloat64: return 0x1p-1074;
    default: return 0x1p-149;
  }
}
inline double computation_unit(DType x) { return 2 * rounding(x == DType::kFloat64 ? x : DType::kFloat32); }

inline Array absolute(const Array& a) {
  Array result(DType::kFloat64, a.tensor().shape);
  for (std::int64_t i = 0; i < a.numel(); ++i) result.set(i, std::abs(a.get(i)));
  return result;
}

// A call: what it is made of first, then its tensors.
struct ConvCase {
  std::int64_t items = 2, channels = 5, steps = 40, taps = 4;
  DType dtype = DType::kFloat32, weights = DType::kFloat32, states = DType::kFloat32;
  bool bias = true, mask = false, initial = false;
  std::vector<std::int32_t> seq_idx = {};     // [items * steps]; empty: none
  std::vector<std::int64_t> cu_seqlens = {};  // empty: none; needs items = 1
  ConvActivation activation = ConvActivation::kSilu;
  bool residual = false;
  Placement place_x = {}, place_out = {}, place_weight = {}, place_states = {};
  std::uint64_t seed = 1;

  std::string text() const {
    std::string s = std::to_string(items) + " x " + std::to_string(channels) + " x " + std::to_string(steps) + ", " +
                    std::to_string(taps) + " taps, " + dtype_name(dtype) + ", weights " + dtype_name(weights);
    s += activation == ConvActivation::kSilu ? ", silu" : "";
    for (const auto& [flag, name] : {std::pair{bias, "bias"},
                                     {mask, "mask"},
                                     {initial, "initial"},
                                     {residual, "residual"},
                                     {!seq_idx.empty(), "seq_idx"},
                                     {!cu_seqlens.empty(), "cu_seqlens"}}) {
      if (flag) s += std::string(", ") + name;
    }
    return s + ", on " + simd_target();
  }
};

class ConvTensors {
 public:
  explicit ConvTensors(const ConvCase& c)
      : x(Array(c.dtype, {c.items, c.channels, c.steps}, c.place_x).randomize(c.seed)),
        weight(Array(c.weights, {c.channels, c.taps}, c.place_weight).randomize(c.seed + 1)),
        bias(Array(c.weights, {c.channels}).randomize(c.seed + 2)),
        mask(Array(DType::kFloat32, {c.items, c.steps}).randomize(c.seed + 3)),
        initial(Array(c.states, states_shape(c), c.place_states).randomize(c.seed + 4)),
        cu_(c.cu_seqlens.data(), Shape{static_cast<std::int64_t>(c.cu_seqlens.size())}),
        seq_(c.seq_idx.data(), Shape{c.items, c.steps}) {
    params.activation = c.activation;
    params.residual = c.residual;
    if (c.bias) inputs.bias = &bias.tensor();
    if (c.mask) inputs.mask = &mask.tensor();
    if (c.initial) inputs.initial_states = &initial.tensor();
    if (!c.cu_seqlens.empty()) inputs.cu_seqlens = &cu_;
    if (!c.seq_idx.empty()) inputs.seq_idx = &seq_;
  }
  ConvTensors(const ConvTensors&) = delete;
  ConvTensors& operator=(const ConvTensors&) = delete;

  static Shape states_shape(const ConvCase& c) {
    const std::int64_t rows = c.cu_seqlens.empty() ? c.items : static_cast<std::int64_t>(c.cu_seqlens.size()) - 1;
    return {rows, c.channels, c.taps - 1};
  }

  Array x, weight, bias, mask, initial;
  CausalConv1dInputs inputs;
  CausalConv1dParams params;

 private:
  IndexTensor cu_, seq_;
};

// |bias| + sum |weight tap| of every output: what the roundings of h are relative to.
inline Array magnitudes(const ConvTensors& t) {
  const Array x = absolute(t.x), weight = absolute(t.weight), bias = absolute(t.bias), mask = absolute(t.mask),
              initial = absolute(t.initial);
  CausalConv1dInputs inputs = t.inputs;
  if (inputs.bias != nullptr) inputs.bias = &bias.tensor();
  if (inputs.mask != nullptr) inputs.mask = &mask.tensor();
  if (inputs.initial_states != nullptr) inputs.initial_states = &initial.tensor();
  Array result(DType::kFloat64, t.x.tensor().shape);
  causal_conv1d_reference(x, weight, inputs, {}, result);
  return result;
}

// Values within bound[i] + one rounding to the dtype of got.
template <typename Bound>
void expect_near(const Array& got, const Array& want, Bound bound, const std::string& what) {
  const DType dtype = got.tensor().dtype;
  ASSERT_EQ(got.numel(), want.numel()) << what;
  for (std::int64_t i = 0; i < got.numel(); ++i) {
    const double g = got.get(i).real(), w = want.get(i).real();
    const double limit = bound(i) + rounding(dtype) * (std::abs(w) + bound(i)) + smallest(dtype);
    ASSERT_LE(std::abs(g - w), limit) << what << ": element " << i << " is " << g << ", not " << w;
  }
}

// Of SiLU and its slope, relative, beyond 2 ulp of the computation's precision.
inline double silu_error(DType x) { return is_half(x) ? 0x1p-16 : 0.0; }

// Everything that a forward call has written against the reference.
inline void expect_forward(const ConvCase& c, const ConvTensors& t, const Array& out, const Array& states) {
  out.expect_written_exactly(c.text());
  states.expect_written_exactly(c.text() + ", final states");
  const Array want(DType::kFloat64, t.x.tensor().shape), want_states(DType::kFloat64, ConvTensors::states_shape(c));
  causal_conv1d_reference(t.x, t.weight, t.inputs, t.params, want, &want_states.tensor());
  const Array size = magnitudes(t);
  const double unit = computation_unit(c.dtype), taps = static_cast<double>(c.taps);
  // A rounding for the product with the mask and for each addition; silu's slope is below 1.1, and it is good to 2 ulp.
  const auto bound = [&](std::int64_t i) {
    const double value = std::abs(want.get(i).real());
    return unit * (1.1 * (taps + 2) * size.get(i).real() + 2 * value + (c.residual ? 2 : 0)) +
           silu_error(c.dtype) * value;
  };
  expect_near(out, want, bound, c.text());
  const auto state_bound = [&](std::int64_t i) { return unit * std::abs(want_states.get(i)); };
  expect_near(states, want_states, state_bound, c.text() + ", final states");
}

// --- cases that backends share ---------------------------------------------------------------------------------------

inline Placement channel_last() { return {{0, 2, 1}, 1, 0, {}}; }

// In no order that a kernel likes.
inline ConvCase in_odd_strides(ConvCase c) {
  c.place_x = {{2, 0, 1}, 2, 1, {2}};
  c.place_out = {{1, 2, 0}, 3, 2, {0}};
  c.place_weight = {{1, 0}, 2, 1, {0, 1}};
  c.place_states = {{2, 1, 0}, 2, 1, {1}};
  return c;
}

// The placements that the kernels tell apart.
inline std::vector<ConvCase> in_every_layout(ConvCase c) {
  std::vector<ConvCase> cases{c, in_odd_strides(c)};
  c.place_x = c.place_out = channel_last();
  cases.push_back(c);
  c.place_x = {{0, 2, 1}, 1, 3, {1}};  // reversed channels: gathered
  cases.push_back(c);
  c.place_x = {};
  cases.push_back(c);
  return cases;
}

// [items * steps]: runs of growing length, paddings, and an index that comes again.
inline std::vector<std::int32_t> mixed_seq_idx(std::int64_t items, std::int64_t steps) {
  std::vector<std::int32_t> result;
  for (std::int64_t i = 0; i < items * steps; ++i) {
    const std::int64_t t = i % steps, item = i / steps;
    const bool padding = t % 11 == 5 + item || t >= steps - 2 * item;
    result.push_back(padding ? -1 : t < 20 ? static_cast<std::int32_t>(t / 2) : t < 50 ? 3 : 4);
  }
  return result;
}

// 120 steps in sequences of 0, 1, 2, 0, 3, 4, 50, 0, 59, 1 and 0.
inline std::vector<std::int64_t> mixed_cu_seqlens() { return {0, 0, 1, 3, 3, 6, 10, 60, 60, 119, 120, 120}; }

}  // namespace melisma::testing
