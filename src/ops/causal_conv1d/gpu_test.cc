// The causal convolution on emulated GPU tensors, through the public functions.
#include <deque>
#include <stdexcept>
#include <tuple>

#include "ops/causal_conv1d/conv_gradient_fixtures.h"
#include "ops/causal_conv1d/conv_pool_fixtures.h"
#include "ops/causal_conv1d/conv_update_fixtures.h"
#include "testing/emulator_backend.h"

namespace melisma {
namespace {

using namespace testing;

// A struct of pointers to tensors, which lie on the emulated device here.
template <class Given>
struct OnDevice {
  Given all;

  template <class... Views>
  explicit OnDevice(const Given& host, const Views* Given::*... members) : all(host) {
    (place(members), ...);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  template <class View>
  void place(const View* Given::*member) {
    if (all.*member == nullptr) return;
    auto& placed = std::get<std::deque<View>>(placed_);
    placed.push_back(*(all.*member));
    placed.back().device = kEmulated;
    all.*member = &placed.back();
  }
  std::tuple<std::deque<Tensor>, std::deque<IndexTensor>, std::deque<FlagTensor>> placed_;  // addresses that stay
};
OnDevice<CausalConv1dInputs> on_device(const CausalConv1dInputs& host) {
  using Given = CausalConv1dInputs;
  return OnDevice<Given>(host, &Given::bias, &Given::mask, &Given::initial_states, &Given::seq_idx, &Given::cu_seqlens,
                         &Given::state_indices, &Given::has_initial_state);
}
OnDevice<CausalConv1dUpdateInputs> on_device(const CausalConv1dUpdateInputs& host) {
  using Given = CausalConv1dUpdateInputs;
  return OnDevice<Given>(host, &Given::bias, &Given::cache_seqlens, &Given::conv_state_indices,
                         &Given::num_accepted_tokens);
}
OnDevice<CausalConv1dGradients> on_device(const CausalConv1dGradients& host) {
  using Given = CausalConv1dGradients;
  return OnDevice<Given>(host, &Given::x, &Given::weight, &Given::bias, &Given::initial_states);
}

void convolve(const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs, const CausalConv1dParams& params,
              const Tensor& out, const Tensor* states = nullptr) {
  const Tensor final_states = states == nullptr ? Tensor() : emulated(*states);
  causal_conv1d(emulated(x), emulated(weight), on_device(inputs).all, params, emulated(out),
                states == nullptr ? nullptr : &final_states);
}
void update(const UpdateTensors& t) {
  causal_conv1d_update(emulated(t.x), emulated(t.state), emulated(t.weight), on_device(t.inputs).all, t.params,
                       emulated(t.out));
}

// Forward, and backward from out and final states.
void check(const ConvCase& c) {
  const ConvTensors t(c);
  const Array out(c.dtype, t.x.tensor().shape, c.place_out),
      states(c.states, ConvTensors::states_shape(c), c.place_states);
  convolve(t.x, t.weight, t.inputs, t.params, out, &states.tensor());
  expect_forward(c, t, out, states);

  const ConvUpstream g(c);
  const ConvGradients got = ConvGradients::of(c);
  const Tensor above = emulated(g.states);
  causal_conv1d_backward(emulated(g.out), &above, emulated(t.x), emulated(t.weight), on_device(t.inputs).all, t.params,
                         on_device(got.all()).all);
  expect_gradients(c, t, g, true, got);
}

TEST(CausalConv1dGpu, EveryWidthDtypeAndLayout) {
  for (std::int64_t taps = 1; taps <= kMostConvTaps; ++taps) {
    for (const DType dtype : kFloats) {
      if (taps > 5 && taps % 4 != static_cast<std::int64_t>(dtype) % 4) continue;
      ConvCase c{.channels = 9, .steps = 70, .taps = taps, .dtype = dtype};
      c.weights = taps % 2 == 0 ? dtype : DType::kFloat32;
      c.states = taps % 3 == 0 ? DType::kFloat64 : dtype;
      c.initial = taps % 4 != 0;
      c.activation = taps % 5 == 0 ? ConvActivation::kNone : ConvActivation::kSilu;
      c.residual = taps % 3 == 1;
      for (const ConvCase& placed : in_every_layout(c)) {
        check(placed);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(CausalConv1dGpu, MasksSequencesAndLengths) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    for (const std::int64_t steps : {0, 1, 3, 90}) {
      for (int flags = 0; flags < 8; ++flags) {
        ConvCase c{.channels = 8, .steps = steps, .taps = 2 + flags % 3, .dtype = dtype};
        c.mask = (flags & 1) != 0;
        c.residual = (flags & 2) != 0;
        c.initial = (flags & 4) != 0;
        c.bias = flags % 3 != 0;
        if (steps > 1) c.seq_idx = mixed_seq_idx(c.items, c.steps);
        for (const ConvCase& placed : in_every_layout(c)) {
          check(placed);
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST(CausalConv1dGpu, PackedSequences) {
  for (const std::int64_t taps : {1, 2, 4, 9}) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat16}) {
      ConvCase c{.items = 1, .channels = 16, .steps = 120, .taps = taps, .dtype = dtype, .states = dtype};
      c.initial = taps != 4;
      c.mask = taps == 2;
      c.cu_seqlens = mixed_cu_seqlens();
      for (const ConvCase& placed : in_every_layout(c)) {
        check(placed);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(CausalConv1dGpu, Updates) {
  for (const DType dtype : kFloats) {
    for (const std::int64_t taps : {1, 2, 4, 7}) {
      for (const std::int64_t steps : {1, 2, 9}) {
        UpdateCase c{.channels = 12, .steps = steps, .taps = taps, .state = taps + steps, .rows = 6, .dtype = dtype};
        c.state_type = taps == 2 ? DType::kFloat32 : dtype;
        c.rank2 = steps == 1 && taps != 7;
        const auto checked = [](const UpdateCase& now) {
          const UpdateTensors t(now);
          update(t);
          expect_update(now, t);
        };
        checked(c);
        c.indices = {5, -1, 2};
        checked(c);
        c.accepted = {1, 2, 1};
        checked(c);
        c.accepted.clear();
        c.places = {0, 7, 1'000'003};
        c.residual = true;
        if (!c.rank2) c.place_x = c.place_state = channel_last();
        checked(c);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(CausalConv1dGpu, Pools) { expect_pools(convolve); }

TEST(CausalConv1dGpu, StepByStepEqualsTheWholeBitForBit) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    for (const std::int64_t taps : {2, 3, 4, 6}) {
      for (const bool last : {false, true}) {
        const std::int64_t channels = 20, steps = 30;
        const Placement placed = last ? channel_last() : Placement{};
        const Array x = Array(dtype, {2, channels, steps}, placed).randomize(4),
                    weight = Array(DType::kFloat32, {channels, taps}).randomize(5);
        const Array whole(dtype, {2, channels, steps}, placed), parts(dtype, {2, channels, steps}, placed);
        const CausalConv1dParams params{ConvActivation::kSilu, true};
        convolve(x, weight, {}, params, whole);
        Array state(dtype, {2, channels, taps - 1});
        for (std::int64_t i = 0; i < state.numel(); ++i) state.set(i, 0.0);
        std::int64_t first = 0;
        for (const std::int64_t count : {1, 1, 1, 3, 8, 1, 15}) {
          causal_conv1d_update(emulated(last_axis_slice(x, first, count)), emulated(state), emulated(weight), {},
                               params, emulated(last_axis_slice(parts, first, count)));
          first += count;
        }
        ASSERT_EQ(first, steps);
        EXPECT_TRUE(same_bits(parts, whole)) << dtype_name(dtype) << taps;
      }
    }
  }
}

// What no host reads may be anything: no more than values get wrong.
TEST(CausalConv1dGpu, WrongIndicesStayWithinTheTensors) {
  const std::vector<std::vector<std::int64_t>> bounds = {
      {0, 200, 90}, {-7, 3, 90}, {90, 0, 90}, {5, 5, 5}, {INT64_MIN, INT64_MAX, INT64_MIN}, {40, 30, 20, 10}};
  for (const bool last : {false, true}) {
    for (const std::vector<std::int64_t>& cu_seqlens : bounds) {
      ConvCase c{.items = 1, .channels = 8, .steps = 90};
      c.initial = true;
      c.cu_seqlens = cu_seqlens;
      if (last) c.place_x = c.place_out = channel_last();
      const ConvTensors t(c);
      const Array out(c.dtype, t.x.tensor().shape, c.place_out), states(c.states, ConvTensors::states_shape(c));
      convolve(t.x, t.weight, t.inputs, t.params, out, &states.tensor());
      out.expect_written_within(c.text());
      states.expect_written_within(c.text());
      const ConvUpstream g(c);
      const ConvGradients got = ConvGradients::of(c);
      const Tensor above = emulated(g.states);
      causal_conv1d_backward(emulated(g.out), &above, emulated(t.x), emulated(t.weight), on_device(t.inputs).all,
                             t.params, on_device(got.all()).all);
      for (const Array* part : {&got.x, &got.weight, &got.bias, &got.initial}) part->expect_written_within(c.text());
    }
  }
  ConvCase packed{.items = 1, .channels = 8, .steps = 90, .cu_seqlens = {0, 40, 41, 90}};
  const ConvTensors given(packed);
  const std::int32_t rows[] = {4, INT32_MIN, INT32_MAX};
  const IndexTensor index(rows, {3});
  CausalConv1dInputs inputs = given.inputs;
  const Array pool = Array(packed.dtype, {4, 8, 3}).randomize(3), kept = copy_of(pool, packed.dtype);
  const Array result(packed.dtype, given.x.tensor().shape);
  inputs.initial_states = &pool.tensor();
  inputs.state_indices = &index;
  convolve(given.x, given.weight, inputs, given.params, result, &pool.tensor());
  result.expect_written_exactly(packed.text());
  EXPECT_TRUE(same_bits(pool, kept));
  UpdateCase c{.channels = 8, .state = 5, .rows = 4};
  c.indices = {4, INT32_MIN, INT32_MAX};
  const UpdateTensors t(c), before(c);
  update(t);
  EXPECT_TRUE(same_bits(t.state, before.state));
  for (std::int64_t i = 0; i < t.out.numel(); ++i) EXPECT_EQ(t.out.get(i).real(), 0.0);
  for (const bool ring : {true, false}) {
    c.indices.clear();
    (ring ? c.places : c.accepted) = {INT32_MIN, -1, INT32_MAX};
    const UpdateTensors wrong(c);
    update(wrong);
    wrong.out.expect_written_exactly(c.text());
    c.places.clear();
  }
}

TEST(CausalConv1dGpu, TensorsLieOnTheDeviceOfX) {
  ConvCase c{.items = 1, .channels = 3, .steps = 10, .mask = true, .initial = true};
  c.cu_seqlens = {0, 10};
  const ConvTensors t(c);
  const Array out(c.dtype, t.x.tensor().shape), states(c.states, ConvTensors::states_shape(c));
  const auto refuses = [&](const char* argument, const Tensor& weight, const CausalConv1dInputs& inputs,
                           const Tensor& result, const Tensor* final_states = nullptr) {
    expect_error(ErrorKind::kInvalidType, "causal_conv1d", {argument, "x's device emulator:0", "got cpu"},
                 [&] { causal_conv1d(emulated(t.x), weight, inputs, t.params, result, final_states); });
    EXPECT_TRUE(out.untouched());
  };
  const Tensor weight = emulated(t.weight), result = emulated(out);
  refuses("weight", t.weight, {}, result);
  refuses("bias", weight, {.bias = &t.bias.tensor()}, result);
  refuses("mask", weight, {.mask = &t.mask.tensor()}, result);
  refuses("cu_seqlens", weight, {.cu_seqlens = t.inputs.cu_seqlens}, result);
  refuses("initial_states", weight, {.initial_states = &t.initial.tensor()}, result);
  const std::int32_t row = 0;
  const std::uint8_t flag = 1;
  const IndexTensor rows(&row, {1});
  const FlagTensor flags(&flag, {1});
  const Tensor initial = emulated(t.initial);
  refuses("state_indices", weight, {.initial_states = &initial, .state_indices = &rows}, result);
  refuses("has_initial_state", weight, {.initial_states = &initial, .has_initial_state = &flags}, result);
  refuses("out", weight, {}, out);
  refuses("final_states", weight, {}, result, &states.tensor());
  const IndexTensor seq_idx(static_cast<const std::int32_t*>(nullptr), {1, 10});
  refuses("seq_idx", weight, {.seq_idx = &seq_idx}, result);
  expect_error(ErrorKind::kInvalidType, "causal_conv1d_backward", {"grad_out", "emulator:0", "got cpu"},
               [&] { causal_conv1d_backward(t.x, nullptr, emulated(t.x), weight, {}, {}, {}); });
  expect_error(ErrorKind::kInvalidType, "causal_conv1d_backward", {"gradients.x", "emulator:0", "got cpu"},
               [&] { causal_conv1d_backward(result, nullptr, emulated(t.x), weight, {}, {}, {.x = &out.tensor()}); });
  const UpdateTensors u({.places = {0, 0, 0}});
  expect_error(ErrorKind::kInvalidType, "causal_conv1d_update", {"conv_state", "emulator:0", "got cpu"},
               [&] { causal_conv1d_update(emulated(u.x), u.state, emulated(u.weight), {}, {}, emulated(u.out)); });
  expect_error(ErrorKind::kInvalidType, "causal_conv1d_update", {"cache_seqlens", "emulator:0", "got cpu"}, [&] {
    causal_conv1d_update(emulated(u.x), emulated(u.state), emulated(u.weight), {.cache_seqlens = &u.places}, {},
                         emulated(u.out));
  });
  // What no device need be asked for is refused there too.
  const std::int64_t zero = 0;
  CausalConv1dInputs packed;
  const IndexTensor none(&zero, {1}, kEmulated);
  packed.cu_seqlens = &none;
  expect_error(ErrorKind::kInvalidArgument, "causal_conv1d", {"cu_seqlens", "2 offsets", "10 steps", "got 1"},
               [&] { causal_conv1d(emulated(t.x), weight, packed, {}, result); });
  EXPECT_TRUE(out.untouched());
}

TEST(CausalConv1dGpu, CountsAndExplains) {
  const auto kernel_of = [](const ConvCase& c) {
    const ConvTensors t(c);
    const Array out(c.dtype, t.x.tensor().shape, c.place_out);
    return explain_causal_conv1d(emulated(t.x), emulated(t.weight), {}, emulated(out));
  };
  ConvCase c{.channels = 16, .steps = 64};
  EXPECT_EQ(kernel_of(c).backend, "emulator");
  EXPECT_EQ(kernel_of(c).kernel, "conv-rows, 4 taps in registers, float32");
  c.place_out = channel_last();
  EXPECT_EQ(kernel_of(c).kernel, "conv-generic");
  EXPECT_EQ(kernel_of(c).reason, "neither steps nor channels of x and out are contiguous");

  const auto counted = [&](const ConvCase& now) {
    const ConvTensors t(now);
    const Array out(now.dtype, t.x.tensor().shape, now.place_out);
    reset_call_counts();
    convolve(t.x, t.weight, t.inputs, t.params, out);
    for (const CallCount& count : call_counts()) {
      if (count.op == "causal_conv1d" && count.calls == 1) return count.kernel + ": " + count.reason;
    }
    return std::string("none");
  };
  EXPECT_EQ(counted(c), "emulator generic: neither steps nor channels of x and out are contiguous");
  c.place_out = {};
  EXPECT_EQ(counted(c), "emulator: ");
  c.taps = 5;  // a width that no fast kernel has is no fallback
  EXPECT_EQ(counted(c), "emulator generic: ");
}

TEST(CausalConv1dGpu, WorkspaceIsTheCallers) {
  struct Memory {
    std::vector<char> block = std::vector<char>(std::size_t{1} << 20);
    int calls = 0;
    bool refuses = false;
  } memory;
  Queue queue;
  queue.context = &memory;
  queue.workspace = [](void* context, std::size_t bytes) -> void* {
    auto* const here = static_cast<Memory*>(context);
    if (here->refuses) throw std::range_error("no more");
    EXPECT_LE(bytes + 256, here->block.size());
    ++here->calls;
    char* const data = here->block.data();
    return data + (256 - reinterpret_cast<std::uintptr_t>(data) % 256) % 256;
  };
  ConvCase c{.channels = 8, .steps = 100};
  c.place_x = c.place_out = channel_last();  // sums in two launches
  const ConvTensors t(c);
  const ConvUpstream g(c);
  const ConvGradients got = ConvGradients::of(c);
  const auto call = [&] {
    causal_conv1d_backward(emulated(g.out), nullptr, emulated(t.x), emulated(t.weight), on_device(t.inputs).all,
                           t.params, on_device(got.all()).all, queue);
  };
  call();
  EXPECT_EQ(memory.calls, 1);
  expect_gradients(c, t, g, false, got);
  memory.refuses = true;
  EXPECT_THROW(call(), std::range_error);
}

}  // namespace
}  // namespace melisma
