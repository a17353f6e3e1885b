#include "melisma/causal_conv1d.h"

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "ops/causal_conv1d/conv_fixtures.h"

namespace melisma {
namespace {

using namespace testing;

// Runs the call into poisoned memory and holds every value against the reference.
void run_and_check(const ConvCase& c) {
  const ConvTensors t(c);
  const Array out(c.dtype, t.x.tensor().shape, c.place_out),
      states(c.states, ConvTensors::states_shape(c), c.place_states);
  causal_conv1d(t.x, t.weight, t.inputs, t.params, out, &states.tensor());
  expect_forward(c, t, out, states);
}

class CausalConv1dTest : public SimdTest {};
MELISMA_ON_EVERY_SIMD_TARGET(CausalConv1dTest);

TEST_P(CausalConv1dTest, EveryWidthAndDtype) {
  for (std::int64_t taps = 1; taps <= kMostConvTaps; ++taps) {
    for (const DType dtype : kFloats) {
      ConvCase c{.channels = 19, .steps = 70, .taps = taps, .dtype = dtype};
      c.weights = taps % 2 == 0 ? dtype : DType::kFloat32;
      c.states = taps % 3 == 0 ? DType::kFloat64 : dtype;
      c.initial = taps % 4 != 0;
      c.activation = taps % 5 == 0 ? ConvActivation::kNone : ConvActivation::kSilu;
      for (const ConvCase& placed : in_every_layout(c)) {
        run_and_check(placed);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(CausalConv1dTest, EveryLengthAndNumberOfChannels) {
  for (const std::int64_t taps : {1, 2, 3, 4, 7, 32}) {
    for (const std::int64_t steps : {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 30, 31, 32, 33, 34, 63, 64, 65, 97, 600}) {
      for (const std::int64_t channels : {0, 1, 2, 15, 16, 17, 33}) {
        ConvCase c{.channels = channels, .steps = steps, .taps = taps};
        c.initial = steps % 2 == 0;
        c.place_x = c.place_out = channels % 2 == 0 ? channel_last() : Placement{};
        run_and_check(c);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(CausalConv1dTest, MoreChannelsThan16BitsCount) {
  ConvCase c{.items = 1, .channels = 70'001, .steps = 3};
  run_and_check(c);
  c.place_x = c.place_out = channel_last();
  run_and_check(c);
}

TEST_P(CausalConv1dTest, MaskResidualAndIndices) {
  for (const std::int64_t taps : {1, 2, 3, 4, 6}) {
    for (const DType dtype : kFloats) {
      for (int flags = 0; flags < 32; ++flags) {
        ConvCase c{.channels = 18, .steps = 90, .taps = taps, .dtype = dtype};
        c.mask = (flags & 1) != 0;
        c.residual = (flags & 2) != 0;
        c.initial = (flags & 4) != 0;
        c.activation = (flags & 8) != 0 ? ConvActivation::kSilu : ConvActivation::kNone;
        c.bias = flags % 3 != 0;
        if ((flags & 16) != 0) c.seq_idx = mixed_seq_idx(c.items, c.steps);
        for (const ConvCase& placed : in_every_layout(c)) {
          run_and_check(placed);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(CausalConv1dTest, PackedSequences) {
  for (const std::int64_t taps : {1, 2, 4, 9}) {
    for (const bool initial : {false, true}) {
      for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
        ConvCase c{.items = 1, .channels = 21, .steps = 120, .taps = taps, .dtype = dtype, .states = dtype};
        c.initial = initial;
        c.cu_seqlens = mixed_cu_seqlens();
        c.mask = initial;
        for (const ConvCase& placed : in_every_layout(c)) {
          run_and_check(placed);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(CausalConv1dTest, PackedEqualsSeparateBitForBit) {
  for (const bool last : {false, true}) {
    ConvCase c{.items = 1, .channels = 40, .steps = 200, .dtype = DType::kBFloat16, .states = DType::kBFloat16};
    c.initial = true;
    c.cu_seqlens = {0, 1, 1, 4, 30, 33, 130, 200};
    if (last) c.place_x = c.place_out = channel_last();
    const ConvTensors t(c);
    const Array out(c.dtype, t.x.tensor().shape, c.place_out), states(c.states, ConvTensors::states_shape(c));
    causal_conv1d(t.x, t.weight, t.inputs, t.params, out, &states.tensor());
    for (std::size_t i = 0; i + 1 < c.cu_seqlens.size(); ++i) {
      const std::int64_t first = c.cu_seqlens[i], count = c.cu_seqlens[i + 1] - first;
      const Tensor x = last_axis_slice(item_view(t.x, 0), first, count);
      const Tensor initial = item_view(t.initial, static_cast<std::int64_t>(i));
      CausalConv1dInputs inputs = t.inputs;
      inputs.cu_seqlens = nullptr;
      inputs.initial_states = &initial;
      const Array alone(c.dtype, {c.channels, count}), final_state(c.states, {c.channels, c.taps - 1});
      causal_conv1d(x, t.weight, inputs, t.params, alone, &final_state.tensor());
      for (std::int64_t d = 0; d < c.channels; ++d) {
        for (std::int64_t s = 0; s < count; ++s) {
          ASSERT_EQ(alone.bytes_of(d * count + s), out.bytes_of(d * c.steps + first + s)) << c.text() << i;
        }
      }
      for (std::int64_t j = 0; j < final_state.numel(); ++j) {
        ASSERT_EQ(final_state.bytes_of(j), states.bytes_of(static_cast<std::int64_t>(i) * final_state.numel() + j));
      }
    }
  }
}

TEST_P(CausalConv1dTest, SequencesByIndexEqualPackedOnesBitForBit) {
  for (const std::int64_t taps : {2, 4, 5}) {
    ConvCase c{.items = 1, .channels = 35, .steps = 150, .taps = taps};
    c.cu_seqlens = {0, 2, 3, 40, 41, 90, 150};
    ConvCase by_index = c;
    by_index.cu_seqlens.clear();
    for (std::int32_t i = 0; i + 1 < static_cast<std::int32_t>(c.cu_seqlens.size()); ++i) {
      by_index.seq_idx.insert(by_index.seq_idx.end(),
                              static_cast<std::size_t>(c.cu_seqlens[static_cast<std::size_t>(i) + 1] -
                                                       c.cu_seqlens[static_cast<std::size_t>(i)]),
                              i);
    }
    const ConvTensors t(c), u(by_index);
    const Array want(c.dtype, t.x.tensor().shape), got(c.dtype, t.x.tensor().shape),
        last(c.dtype, t.x.tensor().shape, channel_last());
    causal_conv1d(t.x, t.weight, t.inputs, t.params, want);
    causal_conv1d(u.x, u.weight, u.inputs, u.params, got);
    EXPECT_TRUE(same_bits(got, want)) << by_index.text();
    const Array x = copy_of(t.x, c.dtype, channel_last());
    causal_conv1d(x, u.weight, u.inputs, u.params, last);
    EXPECT_TRUE(same_bits(last, want)) << by_index.text();
  }
}

TEST_P(CausalConv1dTest, ChunksWithStatesEqualTheWholeBitForBit) {
  for (const std::int64_t taps : {1, 2, 3, 4, 8}) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat16}) {
      for (const bool last : {false, true}) {
        ConvCase c{.items = 2, .channels = 33, .steps = 160, .taps = taps, .dtype = dtype};
        if (last) c.place_x = c.place_out = channel_last();
        c.residual = true;
        const ConvTensors t(c);
        const Array whole(dtype, t.x.tensor().shape);
        causal_conv1d(t.x, t.weight, t.inputs, t.params, whole);
        const Array parts(dtype, t.x.tensor().shape, c.place_out);
        Array state(dtype, ConvTensors::states_shape(c));
        for (std::int64_t i = 0; i < state.numel(); ++i) state.set(i, 0.0);
        std::int64_t first = 0;
        for (const std::int64_t count : {1, 1, 0, 2, 5, 40, 3, 17, 91}) {
          const Array next(dtype, ConvTensors::states_shape(c));
          CausalConv1dInputs inputs = t.inputs;
          inputs.initial_states = &state.tensor();
          causal_conv1d(last_axis_slice(t.x, first, count), t.weight, inputs, t.params,
                        last_axis_slice(parts, first, count), &next.tensor());
          state = copy_of(next, dtype);
          first += count;
        }
        ASSERT_EQ(first, c.steps);
        EXPECT_TRUE(same_bits(parts, whole)) << c.text();
      }
    }
  }
}

TEST_P(CausalConv1dTest, BatchThreadsAndLayoutDoNotChangeBits) {
  for (const std::int64_t taps : {2, 3, 4, 6}) {
    ConvCase c{.items = 3, .channels = 130, .steps = 700, .taps = taps};
    c.mask = taps == 3;
    const ConvTensors t(c);
    const Array want(c.dtype, t.x.tensor().shape);
    {
      const Threads threads(1);
      causal_conv1d(t.x, t.weight, t.inputs, t.params, want);
    }
    for (const int n : {2, 5}) {
      const Threads threads(n);
      for (const Placement& place : {Placement{}, channel_last(), Placement{{2, 0, 1}, 1, 0, {1}}}) {
        const Array x = copy_of(t.x, c.dtype, place), got(c.dtype, t.x.tensor().shape, place);
        causal_conv1d(x, t.weight, t.inputs, t.params, got);
        EXPECT_TRUE(same_bits(got, want)) << c.text() << n;
      }
    }
    for (std::int64_t item = 0; item < c.items; ++item) {
      CausalConv1dInputs inputs = t.inputs;
      const Tensor mask = item_view(t.mask, item);
      if (inputs.mask != nullptr) inputs.mask = &mask;
      const Array got(c.dtype, {c.channels, c.steps});
      causal_conv1d(item_view(t.x, item), t.weight, inputs, t.params, got);
      for (std::int64_t i = 0; i < got.numel(); ++i) ASSERT_EQ(got.bytes_of(i), want.bytes_of(item * got.numel() + i));
    }
  }
}

TEST_P(CausalConv1dTest, ThreadsShareOneLongRow) {
  ConvCase c{.items = 1, .channels = 1, .steps = 50'000};
  const ConvTensors t(c);
  const Array one(c.dtype, t.x.tensor().shape), many(c.dtype, t.x.tensor().shape);
  {
    const Threads threads(1);
    causal_conv1d(t.x, t.weight, t.inputs, t.params, one);
  }
  const Threads threads(4);
  causal_conv1d(t.x, t.weight, t.inputs, t.params, many);
  EXPECT_TRUE(same_bits(one, many));
  run_and_check(c);
}

TEST_P(CausalConv1dTest, ExpandedInputs) {
  for (const bool last : {false, true}) {
    ConvCase c{.items = 4, .channels = 20, .steps = 50};
    c.initial = true;
    const ConvTensors t(c);
    Tensor x = t.x, weight = t.weight, bias = t.bias, initial = t.initial;
    x.strides[0] = 0;
    (last ? x.strides[2] : x.strides[1]) = 0;
    if (last) x.strides[1] = 1;
    weight.strides[0] = 0;
    bias.strides[0] = 0;
    initial.strides[2] = 0;
    CausalConv1dInputs inputs;
    inputs.bias = &bias;
    inputs.initial_states = &initial;
    const Array out(c.dtype, x.shape, last ? channel_last() : Placement{}), want(DType::kFloat64, x.shape);
    causal_conv1d(x, weight, inputs, t.params, out);
    causal_conv1d_reference(x, weight, inputs, t.params, want);
    out.expect_written_exactly(c.text());
    expect_near(
        out, want, [](std::int64_t) { return 40 * 0x1p-24; }, c.text());
  }
}

TEST_P(CausalConv1dTest, SequencesDoNotSeeEachOthersNaN) {
  for (const bool last : {false, true}) {
    ConvCase c{.items = 1, .channels = 20, .steps = 40};
    if (last) c.place_x = c.place_out = channel_last();
    for (std::int64_t i = 0; i < c.steps; ++i) c.seq_idx.push_back(i < 13 ? 0 : i < 20 ? -1 : 1);
    ConvTensors t(c);
    for (std::int64_t d = 0; d < c.channels; ++d) {
      for (std::int64_t s = 0; s < 20; ++s) t.x.set(d * c.steps + s, std::nan(""));
    }
    const Array out(c.dtype, t.x.tensor().shape, c.place_out);
    causal_conv1d(t.x, t.weight, t.inputs, t.params, out);
    for (std::int64_t i = 0; i < out.numel(); ++i) {
      const std::int64_t s = i % c.steps;
      if (s < 13) {
        ASSERT_TRUE(std::isnan(out.get(i).real()));
      } else if (s < 20) {
        ASSERT_EQ(out.bytes_of(i), std::string(4, '\0'));
      } else {
        ASSERT_TRUE(std::isfinite(out.get(i).real()));
      }
    }
  }
}

// silu of every kind of float32: a convolution of one tap of weight 1.
TEST_P(CausalConv1dTest, SiluIsGoodToTwoUlp) {
  std::vector<float> x, y;
  for (std::uint64_t bits = 0; bits < 0x7F800000; bits += 1511) {
    const float value = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    x.push_back(value);
    x.push_back(-value);
  }
  for (float v = -110; v < 110; v += 0.0009F) x.push_back(v);
  y.resize(x.size());
  float one = 1;
  const Shape shape{1, static_cast<std::int64_t>(x.size())};
  CausalConv1dParams params;
  params.activation = ConvActivation::kSilu;
  causal_conv1d(Tensor(x.data(), DType::kFloat32, shape), Tensor(&one, DType::kFloat32, {1, 1}), {}, params,
                Tensor(y.data(), DType::kFloat32, shape));
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double h = static_cast<double>(x[i]), want = h / (1 + std::exp(-h));
    const float nearest = std::abs(static_cast<float>(want));
    const double ulp = static_cast<double>(std::nextafter(nearest, std::numeric_limits<float>::infinity())) -
                       static_cast<double>(nearest);
    if (!std::isfinite(nearest)) continue;
    const double error = std::abs(static_cast<double>(y[i]) - want) / ulp;
    ASSERT_LE(error, 2.0) << x[i] << " gives " << y[i] << ", not " << want;
    worst = std::max(worst, error);
  }
  RecordProperty("worst_ulp", std::to_string(worst));
  if (std::getenv("MELISMA_TEST_PRINT") != nullptr) std::printf("silu: %.3f ulp on %s\n", worst, simd_target().c_str());
  const float inf = std::numeric_limits<float>::infinity();
  float special[] = {inf, -inf, std::nanf(""), 0.0F, -0.0F}, result[5];
  causal_conv1d(Tensor(special, DType::kFloat32, {1, 5}), Tensor(&one, DType::kFloat32, {1, 1}), {}, params,
                Tensor(result, DType::kFloat32, {1, 5}));
  EXPECT_EQ(result[0], inf);
  EXPECT_EQ(result[1], 0.0F);
  EXPECT_TRUE(std::isnan(result[2]));
  EXPECT_EQ(result[3], 0.0F);
  EXPECT_EQ(result[4], 0.0F);
}

// Every float16 and bfloat16 passes a convolution of one tap of weight 1 unchanged, and float32 rounds to nearest even.
TEST_P(CausalConv1dTest, HalfPrecisionRoundsToNearestEven) {
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
    std::vector<std::uint16_t> x(65536), y(65536, 0);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<std::uint16_t>(i);
    const Shape shape{1, 65536};
    std::vector<float> weight{1.0F, 0.999F};
    for (float& w : weight) {
      causal_conv1d(Tensor(x.data(), dtype, shape), Tensor(&w, DType::kFloat32, {1, 1}), {}, {},
                    Tensor(y.data(), dtype, shape));
      for (std::size_t i = 0; i < x.size(); ++i) {
        const bool half = dtype == DType::kFloat16;
        const float value = half ? emulator::half_to_float(x[i]) : emulator::bfloat_to_float(x[i]);
        // From a bias of +0.
        const float product = simd_target() == "SSE4" ? value * w + 0.0F : std::fma(w, value, 0.0F);
        const std::uint16_t want = half ? emulator::float_to_half(product) : emulator::float_to_bfloat(product);
        if (std::isnan(value)) {
          ASSERT_TRUE(std::isnan(half ? emulator::half_to_float(y[i]) : emulator::bfloat_to_float(y[i]))) << i;
        } else {
          ASSERT_EQ(y[i], want) << i << " times " << w << " on " << simd_target();
        }
      }
    }
  }
}

TEST(CausalConv1dErrorTest, Refuses) {
  const ConvCase base{.items = 1, .channels = 3, .steps = 10, .states = DType::kFloat32};
  const ConvTensors t(base);
  const Array out(DType::kFloat32, {1, 3, 10}), states(DType::kFloat32, {1, 3, 3});
  const auto refuses = [&](ErrorKind kind, const std::vector<std::string>& parts, const Tensor& x, const Tensor& weight,
                           const CausalConv1dInputs& inputs, const Tensor& to, const Tensor* final_states) {
    expect_error(kind, "causal_conv1d", parts, [&] { causal_conv1d(x, weight, inputs, {}, to, final_states); });
    EXPECT_TRUE(out.untouched());
    EXPECT_TRUE(states.untouched());
  };
  constexpr ErrorKind kArgument = ErrorKind::kInvalidArgument, kType = ErrorKind::kInvalidType;
  const CausalConv1dInputs none;
  refuses(kArgument, {"x", "[..., D, T]", "[10]"}, Tensor(nullptr, DType::kFloat32, {10}), t.weight, none, out,
          nullptr);
  refuses(kType, {"x", "float16", "int16"}, Array(DType::kInt16, {1, 3, 10}), t.weight, none, out, nullptr);
  refuses(kType, {"weight", "complex64"}, t.x, Array(DType::kComplex64, {3, 4}), none, out, nullptr);
  refuses(kArgument, {"weight", "[3, W]", "[2, 4]"}, t.x, Array(DType::kFloat32, {2, 4}), none, out, nullptr);
  refuses(kArgument, {"weight", "1 to 32", "33"}, t.x, Array(DType::kFloat32, {3, 33}), none, out, nullptr);
  refuses(kArgument, {"weight", "1 to 32", "0"}, t.x, Array(DType::kFloat32, {3, 0}), none, out, nullptr);
  refuses(kArgument, {"out", "[1, 3, 10]", "[1, 3, 9]"}, t.x, t.weight, none, Array(DType::kFloat32, {1, 3, 9}),
          nullptr);
  refuses(kType, {"out", "float32", "float64"}, t.x, t.weight, none, Array(DType::kFloat64, {1, 3, 10}), nullptr);
  Tensor expanded = out;
  expanded.strides[1] = 0;
  refuses(kArgument, {"out", "expanded"}, t.x, t.weight, none, expanded, nullptr);
  const Array wrong(DType::kFloat32, {1, 3, 4});
  refuses(kArgument, {"final_states", "[1, 3, 3]"}, t.x, t.weight, none, out, &wrong.tensor());
  CausalConv1dInputs inputs;
  inputs.initial_states = &wrong.tensor();
  refuses(kArgument, {"initial_states", "[1, 3, 3]", "[1, 3, 4]"}, t.x, t.weight, inputs, out, &states.tensor());
  inputs = {};
  inputs.bias = &wrong.tensor();
  refuses(kArgument, {"bias", "[3]"}, t.x, t.weight, inputs, out, nullptr);
  inputs = {};
  inputs.mask = &wrong.tensor();
  refuses(kArgument, {"mask", "[1, 10]"}, t.x, t.weight, inputs, out, nullptr);
  Tensor far = out;
  far.device = {DeviceType::kCuda, 0};
  refuses(kType, {"out", "cpu", "cuda:0"}, t.x, t.weight, none, far, nullptr);

  const std::int64_t long_idx[10] = {};
  const std::int32_t idx[10] = {};
  const IndexTensor wide(long_idx, {1, 10}), short_idx(idx, {1, 9}), good(idx, {1, 10});
  inputs = {};
  inputs.seq_idx = &wide;
  refuses(kType, {"seq_idx", "int32", "int64"}, t.x, t.weight, inputs, out, nullptr);
  inputs.seq_idx = &short_idx;
  refuses(kArgument, {"seq_idx", "[1, 10]", "[1, 9]"}, t.x, t.weight, inputs, out, nullptr);
  inputs = {};
  const auto refuses_cu = [&](const std::vector<std::int64_t>& values, const std::vector<std::string>& parts) {
    const IndexTensor cu(values.data(), {static_cast<std::int64_t>(values.size())});
    inputs.cu_seqlens = &cu;
    refuses(kArgument, parts, t.x, t.weight, inputs, out, nullptr);
    inputs.cu_seqlens = nullptr;
  };
  refuses_cu({}, {"cu_seqlens", "[N + 1]", "[0]"});
  refuses_cu({1, 10}, {"cu_seqlens", "start with 0", "got 1"});
  refuses_cu({0, 11}, {"cu_seqlens", "10", "got 11"});
  refuses_cu({0, 9}, {"cu_seqlens", "10", "got 9"});
  refuses_cu({0, 7, 5, 10}, {"cu_seqlens", "descend", "5 after 7"});
  inputs.seq_idx = &good;
  refuses_cu({0, 10}, {"cu_seqlens", "seq_idx"});
  inputs = {};
  const std::int64_t two[] = {0, 10};
  const IndexTensor cu(two, {2});
  inputs.cu_seqlens = &cu;
  const Array batch(DType::kFloat32, {2, 3, 10});
  refuses(kArgument, {"x", "1 item", "got 2"}, batch, t.weight, inputs, batch, nullptr);
}

TEST(CausalConv1dExplainTest, WhichLanes) {
  const ConvTensors t({});
  const Array rows(DType::kFloat32, t.x.tensor().shape), last(DType::kFloat32, t.x.tensor().shape, channel_last());
  EXPECT_EQ(explain_causal_conv1d(t.x, t.weight, {}, rows).kernel, "steps-across-lanes");
  EXPECT_EQ(explain_causal_conv1d(last, t.weight, {}, last).kernel, "channels-across-lanes");
}

}  // namespace
}  // namespace melisma
