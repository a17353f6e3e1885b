// The CPU's ways to one result: in place, staged, by channels, past the caches, one step after the other. An output's
// bits are the same on all of them. And what SiLU is good to where results are float16 or bfloat16.
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "melisma/causal_conv1d.h"
#include "ops/causal_conv1d/conv_fixtures.h"

namespace melisma {
namespace {

using namespace testing;

class ConvPathsTest : public SimdTest {};
MELISMA_ON_EVERY_SIMD_TARGET(ConvPathsTest);

constexpr ConvActivation kActivations[] = {ConvActivation::kNone, ConvActivation::kSilu};

Array laid_out(const Array& values, const Placement& place) {
  Array result(values.tensor().dtype, values.tensor().shape, place);
  for (std::int64_t i = 0; i < values.numel(); ++i) result.set(i, values.get(i));
  return result;
}

// Every length around the boundaries of vectors, of pairs of them and of the first steps, whose taps are staged.
TEST_P(ConvPathsTest, LayoutsAgreeAtEveryLength) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kFloat16}) {
    for (const std::int64_t taps : {1, 2, 3, 4, 5, 32}) {
      for (std::int64_t steps = 1; steps<140; steps += steps> 70 ? 7 : 1) {
        ConvCase c{.items = 1, .channels = 37, .steps = steps, .taps = taps, .dtype = dtype};
        c.residual = steps % 2 == 0;
        c.initial = steps % 3 == 0;
        c.activation = kActivations[steps % 5 != 0];
        const ConvTensors t(c);
        const Array rows(dtype, t.x.tensor().shape);
        causal_conv1d(t.x, t.weight, t.inputs, t.params, rows);
        rows.expect_written_exactly(c.text());
        for (const Placement& place : {channel_last(), Placement{{}, 1, 3, {2}}}) {
          const Array x = laid_out(t.x, place), out(dtype, t.x.tensor().shape, place);
          causal_conv1d(x, t.weight, t.inputs, t.params, out);
          out.expect_written_exactly(c.text());
          for (std::int64_t i = 0; i < out.numel(); ++i) ASSERT_EQ(out.bytes_of(i), rows.bytes_of(i)) << c.text() << i;
        }
      }
    }
  }
}

// Steps of a state that is kept as float32, against the whole.
TEST_P(ConvPathsTest, UpdatesAgree) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kFloat16}) {
    const ConvCase c{.items = 1, .channels = 37, .steps = 70, .dtype = dtype};
    const ConvTensors t(c);
    const Array whole(dtype, t.x.tensor().shape), out(dtype, t.x.tensor().shape);
    causal_conv1d(t.x, t.weight, t.inputs, t.params, whole);
    std::vector<float> state(37 * 3, 0.0F);
    CausalConv1dUpdateInputs inputs;
    inputs.bias = t.inputs.bias;
    for (std::int64_t first = 0; first < 70;) {
      const std::int64_t count = first < 40 ? 1 : 15;  // alone, and eight at a time
      const auto part = [&](const Array& a) {
        Tensor view = a;
        view.shape[2] = count;
        view.data = static_cast<char*>(view.data) + static_cast<std::size_t>(first) * dtype_size(dtype);
        return view;
      };
      causal_conv1d_update(part(t.x), Tensor(state.data(), DType::kFloat32, {1, 37, 3}), t.weight, inputs, t.params,
                           part(out));
      first += count;
    }
    for (std::int64_t i = 0; i < out.numel(); ++i) ASSERT_EQ(out.bytes_of(i), whole.bytes_of(i)) << c.text() << i;
  }
}

// Results above 32 MB: rows whose first vectors are aligned and rows whose are not, and channels, against small calls.
TEST_P(ConvPathsTest, LargeResultsAgree) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    const std::size_t size = dtype_size(dtype);
    for (const bool last : {false, true}) {
      // Rows of an odd length begin at every alignment; channel-last, each step is whole lines.
      const std::int64_t channels = last ? 4096 : 63,
                         steps = (std::int64_t{32} << 20) / static_cast<std::int64_t>(size) / channels + 67;
      const Shape shape{1, channels, steps};
      const std::size_t bytes = static_cast<std::size_t>(shape.numel()) * size;
      const auto block = [&](int fill) {
        std::vector<char> memory(bytes + 64);
        std::memset(memory.data(), fill, memory.size());
        return memory;
      };
      std::vector<char> x_memory = block(0), out_memory = block(0xff);
      const auto view = [&](std::vector<char>& memory) {
        const auto at = reinterpret_cast<std::uintptr_t>(memory.data());
        Tensor t(memory.data() + (64 - at % 64) % 64, dtype, shape);
        if (last) {
          t.strides[1] = 1;
          t.strides[2] = channels;
        }
        return t;
      };
      const Tensor x = view(x_memory), out = view(out_memory);
      for (std::int64_t i = 0; i < shape.numel(); ++i) {
        // Between 0.5 and 2, of either sign.
        const std::uint32_t bits = static_cast<std::uint32_t>(i) * 2654435761U;
        const std::uint32_t value = (bits & 0x80FFFFFFU) | 0x3F000000U;
        const std::uint16_t upper = static_cast<std::uint16_t>(value >> 16);
        size == 4 ? std::memcpy(x.as<std::uint32_t>() + i, &value, 4)
                  : std::memcpy(x.as<std::uint16_t>() + i, &upper, 2);
      }
      const Array weight = Array(DType::kFloat32, {channels, 4}).randomize(3);
      CausalConv1dParams params;
      params.activation = ConvActivation::kSilu;
      causal_conv1d(x, weight, {}, params, out);
      // A channel's first and last steps, and those across a task's end.
      for (const std::int64_t d : {std::int64_t{0}, std::int64_t{1}, channels / 2, channels - 1}) {
        for (const std::int64_t first : {std::int64_t{0}, steps / 2, steps - 200}) {
          const std::int64_t before = first == 0 ? 0 : 3;
          const Array small_x(dtype, {1, 1, 200 + before}), small_out(dtype, {1, 1, 200 + before});
          const auto from = [&](const Tensor& t, std::int64_t step) {
            return static_cast<const char*>(t.data) +
                   static_cast<std::size_t>(d * t.stride(1) + step * t.stride(2)) * size;
          };
          const std::int64_t count = std::min(200 + before, steps - first + before);
          for (std::int64_t i = 0; i < count; ++i) {
            std::memcpy(static_cast<char*>(small_x.tensor().data) + static_cast<std::size_t>(i) * size,
                        from(x, first - before + i), size);
          }
          Tensor taps = weight;
          taps.shape[0] = 1;
          taps.data = weight.tensor().as<float>() + d * 4;
          causal_conv1d(small_x, taps, {}, params, small_out);
          for (std::int64_t i = before; i < count; ++i) {
            ASSERT_EQ(small_out.bytes_of(i), std::string(from(out, first - before + i), size))
                << dtype_name(dtype) << (last ? " last " : " rows ") << d << " " << first << " " << i;
          }
        }
      }
      // Nothing was left out anywhere: these values never give a NaN.
      for (std::int64_t i = 0; i < shape.numel(); ++i) {
        if (size == 4) {
          ASSERT_FALSE(std::isnan(out.as<float>()[i])) << i;
        } else {
          ASSERT_NE(out.as<std::uint16_t>()[i], 0xFFFF) << i;
        }
      }
    }
  }
}

// silu of every float16 and bfloat16: a convolution of one tap of weight 1.
TEST_P(ConvPathsTest, SiluOfEveryHalfPrecisionNumber) {
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
    const Array x(dtype, {1, 1, 65536}), y(dtype, {1, 1, 65536});
    for (std::size_t i = 0; i < 65536; ++i) x.tensor().as<std::uint16_t>()[i] = static_cast<std::uint16_t>(i);
    float one = 1;
    CausalConv1dParams params;
    params.activation = ConvActivation::kSilu;
    causal_conv1d(x, Tensor(&one, DType::kFloat32, {1, 1}), {}, params, y);
    for (std::int64_t i = 0; i < 65536; ++i) {
      const double h = x.get(i).real(), got = y.get(i).real();
      if (std::isnan(h)) {
        ASSERT_TRUE(std::isnan(got)) << i;
      } else if (std::isinf(h)) {
        ASSERT_EQ(got, h > 0 ? h : 0.0) << i;
      } else {
        const double want = h / (1 + std::exp(-h)), exact = std::abs(want);
        ASSERT_LE(std::abs(got - want), exact * (rounding(dtype) + 0x1p-16) + smallest(dtype) / 2 * 1.001)
            << h << " gives " << got << ", not " << want << " on " << simd_target();
      }
    }
    // The same by channels, eight steps at a time.
    const Array last(dtype, {1, 8192, 8}, channel_last()), out(dtype, {1, 8192, 8}, channel_last());
    std::memcpy(last.tensor().data, x.tensor().data, 131072);
    const std::vector<float> ones(8192, 1.0F);
    causal_conv1d(last, Tensor(const_cast<float*>(ones.data()), DType::kFloat32, {8192, 1}), {}, params, out);
    EXPECT_EQ(std::memcmp(out.tensor().data, y.tensor().data, 131072), 0);
  }
}

// What is far from 0 is told apart for several vectors at once, among which a NaN hides nothing.
TEST_P(ConvPathsTest, SiluBesideNan) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> values = {nan, 100.0, nan, -20.0, 1.0, -90.0, nan, 2.0};
  const std::vector<float> ones(64, 1.0F);
  CausalConv1dParams params;
  params.activation = ConvActivation::kSilu;
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kFloat16}) {
    for (std::int64_t turn = 0; turn < 8; ++turn) {
      for (const Placement& place : {Placement{}, channel_last()}) {
        Array x(dtype, {1, 64, 64}, place), out(dtype, {1, 64, 64}, place);
        const auto value = [&](std::int64_t i) {
          return values[static_cast<std::size_t>((i % 64 / 16 + i / 64 + turn) % 8)];
        };
        for (std::int64_t i = 0; i < x.numel(); ++i) {
          // By channels a lane's next vector is the next step, by rows the next but a vector.
          x.set(i, place.order.empty() ? value(i) : values[static_cast<std::size_t>((i % 64 + turn) % 8)]);
        }
        causal_conv1d(x, Tensor(const_cast<float*>(ones.data()), DType::kFloat32, {64, 1}), {}, params, out);
        for (std::int64_t i = 0; i < x.numel(); ++i) {
          const double h = x.get(i).real(), want = h / (1 + std::exp(-h)), got = out.get(i).real();
          if (std::isnan(h)) {
            ASSERT_TRUE(std::isnan(got)) << i;
          } else {
            ASSERT_NEAR(got, want, std::abs(want) * 2 * rounding(dtype) + smallest(dtype)) << i << " of " << h;
          }
        }
      }
    }
  }
}

// A NaN stays one, whatever its bits are: of bfloat16, no carry of a rounding may leave the NaNs.
TEST_P(ConvPathsTest, EveryNanStays) {
  const std::uint32_t patterns[] = {0x7FFFFFFFU, 0xFFFFFFFFU, 0x7F800001U, 0xFFFF8000U};
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kFloat16}) {
    for (const ConvActivation activation : kActivations) {
      for (const std::uint32_t bits : patterns) {
        float nan;
        std::memcpy(&nan, &bits, 4);
        for (const Placement& place : {Placement{}, channel_last()}) {
          for (int where = 0; where < 4; ++where) {
            ConvCase c{.items = 1, .channels = 32, .steps = 100, .dtype = dtype};
            c.activation = activation;
            c.place_x = c.place_out = place;
            c.mask = where == 2;
            c.initial = where == 3;
            const ConvTensors t(c);
            float* poisoned = static_cast<float*>((where == 0   ? t.weight
                                                   : where == 1 ? t.bias
                                                   : where == 2 ? t.mask
                                                                : t.initial)
                                                      .tensor()
                                                      .data);
            poisoned[0] = nan;
            const Array out(dtype, t.x.tensor().shape, c.place_out);
            causal_conv1d(t.x, t.weight, t.inputs, t.params, out);
            for (std::int64_t i = 0; i < 3200; ++i) {
              const std::int64_t d = i / 100, step = i % 100;
              // Weight and bias: channel 0; the mask's first step: the first 4 of all; the oldest state: one output.
              const bool want = where < 2 ? d == 0 : where == 2 ? step < 4 : i == 0;
              ASSERT_EQ(std::isnan(out.get(i).real()), want)
                  << c.text() << ", " << where << ", " << bits << " at " << i;
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace melisma
