// Kernels that the launch code takes only for large calls, or with other sizes of walks and tiles than it takes for
// small ones: the same bits as the generic kernels, which the other tests compare with the reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <type_traits>
#include <utility>

#include "blocks/gpu/conv/fast_backward.h"
#include "blocks/gpu/conv/fast_forward.h"
#include "ops/causal_conv1d/conv_fixtures.h"
#include "ops/causal_conv1d/gpu.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {
namespace {

using namespace testing;

constexpr DType kTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

// launch(job, runner): the kernel in question.
template <class Launch>
void expect_as_generic(const ConvCase& c, const Launch& launch) {
  const ConvTensors t(c);
  const ConvCall call = check_causal_conv1d("conv", t.x, t.weight, t.inputs);
  const Array out(c.dtype, t.x.tensor().shape, c.place_out), want(c.dtype, t.x.tensor().shape, c.place_out);
  const Array states(c.states, ConvTensors::states_shape(c)), want_states(c.states, ConvTensors::states_shape(c));
  emulator::Runner runner;
  launch(conv_gpu_job(t.x, t.weight, t.inputs, t.params, call, out, &states.tensor()), runner);
  run_conv(conv_gpu_job(t.x, t.weight, t.inputs, t.params, call, want, &want_states.tensor()), true, runner);
  out.expect_written_exactly(c.text());
  EXPECT_TRUE(same_bits(out, want)) << c.text();
  EXPECT_TRUE(same_bits(states, want_states)) << c.text();
}

// Sequences of `length` steps, every fourth one padding.
std::vector<std::int32_t> numbers(const ConvCase& c, std::int64_t length) {
  std::vector<std::int32_t> result;
  for (std::int64_t i = 0; i < c.items * c.steps; ++i) {
    const std::int64_t sequence = (i % c.steps + i / c.steps) / length;
    result.push_back(sequence % 4 == 3 ? -1 : static_cast<std::int32_t>(sequence));
  }
  return result;
}
// Packed sequences of `length` steps, with empty ones between.
std::vector<std::int64_t> offsets(std::int64_t steps, std::int64_t length) {
  std::vector<std::int64_t> result = {0};
  for (std::int64_t at = 0; at < steps; at += length) {
    if (at / length % 2 == 0) result.push_back(at);
    result.push_back(std::min(at + length, steps));
  }
  return result;
}

template <class T>
struct OfKernel {
  using Kernel = T;
};

// In tiles of every size that calls take, of four channels a thread and of one.
template <int kBeside>
void check_tiles_of(const ConvCase& c) {
  with_conv_type(c.dtype, [&](auto type) {
    with_conv_taps(static_cast<int>(c.taps), [&](auto taps) {
      constexpr int kType = decltype(type)::value, kTaps = decltype(taps)::value;
      const auto check = [&](auto kernel) {
        expect_as_generic(c, [](const ConvForwardJob& job, emulator::Runner& runner) {
          launch_tiles<typename decltype(kernel)::Kernel>(job, runner);
        });
      };
      check(OfKernel<ManyTiles<kType, kTaps, kBeside>>());
      check(OfKernel<FewTiles<kType, kTaps, kBeside>>());
      check(OfKernel<NarrowTiles<kType, kTaps>>());
    });
  });
}
void check_tiles(const ConvCase& c) {
  const int beside = (c.mask ? 1 : 0) + (c.seq_idx.empty() ? 0 : 1) + (c.cu_seqlens.empty() ? 0 : 1);
  if (beside == 0) return check_tiles_of<kBesideNothing>(c);
  check_tiles_of<kBesideAnything>(c);
  if (beside > 1) return;
  if (c.mask) return check_tiles_of<kBesideMask>(c);
  c.cu_seqlens.empty() ? check_tiles_of<kBesideKeys>(c) : check_tiles_of<kBesideOffsets>(c);
}

TEST(ConvVariants, TilesOfEveryLength) {
  for (const DType dtype : kTypes) {
    for (const std::int64_t steps : {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 24, 33, 75}) {
      ConvCase c{.channels = 12, .steps = steps, .taps = 2 + steps % 3, .dtype = dtype};
      c.initial = steps % 2 == 1;
      c.residual = steps % 4 == 0;
      c.place_x = c.place_out = channel_last();
      check_tiles(c);
      c.mask = true;
      check_tiles(c);
      if (HasFailure()) return;
    }
  }
}

TEST(ConvVariants, SequencesThatEndWhereTilesDo) {
  for (const DType dtype : kTypes) {
    for (const std::int64_t length : {1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 40}) {
      ConvCase c{.items = 1, .channels = 12, .steps = 83, .taps = 2 + length % 3, .dtype = dtype};
      c.place_x = c.place_out = channel_last();
      c.residual = length % 2 == 0;
      c.mask = length % 3 == 0;
      c.initial = length % 4 != 0;
      c.cu_seqlens = offsets(c.steps, length);
      check_tiles(c);
      c.cu_seqlens.clear();
      c.items = 2;
      c.seq_idx = numbers(c, length);
      check_tiles(c);
      c.mask = false;
      check_tiles(c);
      if (HasFailure()) return;
    }
  }
}

// More sequences than a warp looks at in one go, than in two, and most of them empty.
TEST(ConvVariants, ManySequences) {
  for (const std::int64_t sequences : {1, 2, 63, 64, 65, 127, 129, 640, 1984, 1985, 2500}) {
    ConvCase c{.items = 1, .channels = 12, .steps = 150, .dtype = DType::kBFloat16};
    c.place_x = c.place_out = channel_last();
    c.initial = sequences % 2 == 1;
    for (std::int64_t i = 0; i <= sequences; ++i) {
      const std::int64_t even = c.steps * i / sequences;
      c.cu_seqlens.push_back(i % 3 == 1 && i < sequences ? even - even % 7 : even);
    }
    std::sort(c.cu_seqlens.begin(), c.cu_seqlens.end());
    check_tiles(c);
    if (HasFailure()) return;
  }
}

TEST(ConvVariants, RowsOfFourVectors) {
  for (const DType dtype : kTypes) {
    for (const std::int64_t steps : {1, 100, 1024, 2048, 4097}) {
      ConvCase c{.channels = 3, .steps = steps, .taps = 2 + steps % 3, .dtype = dtype};
      c.initial = steps % 2 == 1;
      c.residual = steps == 1024;
      c.place_x.gap = c.place_out.gap = steps % 5;
      expect_as_generic(c, [&](const ConvForwardJob& job, emulator::Runner& runner) {
        with_conv_type(c.dtype, [&](auto type) {
          with_conv_taps(static_cast<int>(c.taps), [&](auto taps) {
            launch_rows<RowsConv<decltype(type)::value, decltype(taps)::value, 4>>(job, 4, 1, runner);
          });
        });
      });
      if (HasFailure()) return;
    }
  }
}

// Of whole vectors, `gap` steps between the rows.
ConvCase aligned_case(DType dtype, std::int64_t steps, std::int64_t gap) {
  ConvCase c{.items = 3, .channels = 5, .steps = steps, .taps = 2 + steps / 8 % 3, .dtype = dtype};
  c.weights = steps % 16 == 0 ? dtype : DType::kFloat32;
  c.activation = gap > 0 ? ConvActivation::kNone : ConvActivation::kSilu;
  c.place_x.gap = c.place_out.gap = gap;
  return c;
}

TEST(ConvVariants, AlignedRows) {
  for (const DType dtype : kTypes) {
    for (const std::int64_t steps : {8, 24, 136, 512, 1024, 1032, 2304}) {
      for (const std::int64_t gap : {0, 8}) {
        const ConvCase c = aligned_case(dtype, steps, gap);
        with_conv_type(c.dtype, [&](auto type) {
          with_conv_taps(static_cast<int>(c.taps), [&](auto taps) {
            constexpr int kType = decltype(type)::value, kTaps = decltype(taps)::value;
            const auto check = [&]<int kVectors>(std::integral_constant<int, kVectors>) {
              expect_as_generic(c, [](ConvForwardJob job, emulator::Runner& runner) {
                const ConvSeries states = std::exchange(job.final_states, {});
                ASSERT_TRUE(takes_aligned_rows(job));
                launch_aligned_rows<kType, kTaps, kVectors>(job, runner);
                job.final_states = states;
                run_final_states<float>(job, runner);
              });
            };
            check(std::integral_constant<int, 1>());
            check(std::integral_constant<int, 2>());
            check(std::integral_constant<int, 4>());
          });
        });
        if (HasFailure()) return;
      }
    }
  }
}

TEST(ConvVariants, FourRowsAtOnceWithSequences) {
  for (const DType dtype : kTypes) {
    for (const std::int64_t length : {1, 3, 7, 8, 9, 64, 300}) {
      for (const std::int64_t gap : {0, 8}) {
        ConvCase c{.items = 1, .channels = 6, .steps = 320 - gap, .taps = 2 + length % 3, .dtype = dtype};
        c.residual = length % 2 == 0;
        c.mask = length % 3 == 0;
        c.initial = length != 8;
        c.place_x.gap = c.place_out.gap = gap;
        const auto four = [&](const ConvForwardJob& job, emulator::Runner& runner) {
          with_conv_type(c.dtype, [&](auto type) {
            with_conv_taps(static_cast<int>(c.taps), [&](auto taps) {
              launch_rows<RowsCutConv<decltype(type)::value, decltype(taps)::value, 4>>(job, 1, 4, runner);
            });
          });
        };
        c.cu_seqlens = offsets(c.steps, length);
        expect_as_generic(c, four);
        c.cu_seqlens.clear();
        c.items = 2;
        c.seq_idx = numbers(c, length);
        expect_as_generic(c, four);
        if (HasFailure()) return;
      }
    }
  }
}

// The gradient of x bit for bit; of weight and bias within what sums in another order may differ by.
template <class Launch>
void expect_gradient_as_generic(const ConvCase& c, const Launch& launch, bool final_states = true) {
  const ConvTensors t(c);
  const ConvCall call = check_causal_conv1d("conv", t.x, t.weight, t.inputs);
  const Array above = Array(c.dtype, t.x.tensor().shape, c.place_out).randomize(c.seed + 11);
  const Array above_states = Array(c.states, ConvTensors::states_shape(c)).randomize(c.seed + 12);
  const Array x[2] = {{c.dtype, t.x.tensor().shape, c.place_x}, {c.dtype, t.x.tensor().shape, c.place_x}};
  const Array weight[2] = {{DType::kFloat32, {c.channels, c.taps}}, {DType::kFloat32, {c.channels, c.taps}}};
  const Array bias[2] = {{DType::kFloat32, {c.channels}}, {DType::kFloat32, {c.channels}}};
  const auto job = [&](int i) {
    return conv_backward_gpu_job(above, final_states ? &above_states.tensor() : nullptr, t.x, t.weight, t.inputs,
                                 t.params, call, {&x[i].tensor(), &weight[i].tensor(), &bias[i].tensor()});
  };
  emulator::Runner runner;
  launch(job(0), runner);
  run_conv(job(1), true, runner);
  x[0].expect_written_exactly(c.text());
  EXPECT_TRUE(same_bits(x[0], x[1])) << c.text();
  const auto bound = [&](std::int64_t) { return 1e-6 * static_cast<double>(c.items * c.steps + 100); };
  expect_near(weight[0], copy_of(weight[1], DType::kFloat64), bound, c.text());
  expect_near(bias[0], copy_of(bias[1], DType::kFloat64), bound, c.text());
}

TEST(ConvVariants, GradientTilesOfSeveralVectors) {
  for (const DType dtype : kTypes) {
    for (const std::int64_t steps : {33, 256, 1000, 1024, 2055, 3000}) {
      ConvCase c{.channels = 2, .steps = steps, .taps = 2 + steps % 3, .dtype = dtype};
      c.initial = steps % 2 == 1;
      c.residual = steps % 3 == 0;
      c.place_x.gap = c.place_out.gap = steps % 5;
      with_conv_type(c.dtype, [&](auto type) {
        with_conv_taps(static_cast<int>(c.taps), [&](auto taps) {
          constexpr int kType = decltype(type)::value, kTaps = decltype(taps)::value;
          expect_gradient_as_generic(c, [](const ConvBackwardJob& job, emulator::Runner& runner) {
            launch_rows_gradient<RowsConvGradient<kType, kTaps, 1, 4, false>>(job, runner);
          });
          expect_gradient_as_generic(c, [](const ConvBackwardJob& job, emulator::Runner& runner) {
            launch_rows_gradient<RowsConvGradient<kType, kTaps, 4, 3, false>>(job, runner);
          });
        });
      });
      if (HasFailure()) return;
    }
  }
}

TEST(ConvVariants, AlignedGradients) {
  for (const DType dtype : kTypes) {
    for (const std::int64_t steps : {8, 24, 136, 512, 1032, 2304}) {
      for (const std::int64_t gap : {0, 8}) {
        const ConvCase c = aligned_case(dtype, steps, gap);
        with_conv_type(c.dtype, [&](auto type) {
          with_conv_taps(static_cast<int>(c.taps), [&](auto taps) {
            constexpr int kType = decltype(type)::value, kTaps = decltype(taps)::value;
            for (const std::int64_t rounds : {1, 2, 100}) {
              const auto check = [&]<int kVectors>(std::integral_constant<int, kVectors>) {
                const auto launch = [&](const ConvBackwardJob& job, emulator::Runner& runner) {
                  ASSERT_TRUE(takes_aligned_rows(job));
                  launch_aligned_gradient<AlignedConvGradient<kType, kTaps, kVectors, 4>>(job, kVectors, rounds,
                                                                                          runner);
                };
                expect_gradient_as_generic(c, launch, false);
              };
              check(std::integral_constant<int, 1>());
              check(std::integral_constant<int, 4>());
            }
          });
        });
        if (HasFailure()) return;
      }
    }
  }
}

TEST(ConvVariants, GradientsOfPackedRowsOfEveryLength) {
  for (const DType dtype : kTypes) {
    for (const std::int64_t length : {1, 2, 3, 7, 8, 9, 16, 64, 255, 257}) {
      ConvCase c{.items = 1, .channels = 3, .steps = 530, .taps = 2 + length % 3, .dtype = dtype};
      c.residual = length % 2 == 0;
      c.mask = length % 3 == 0;
      c.initial = length != 8;
      c.activation = length == 16 ? ConvActivation::kNone : ConvActivation::kSilu;
      const auto chosen = [](const ConvBackwardJob& job, emulator::Runner& runner) { run_conv(job, false, runner); };
      c.cu_seqlens = offsets(c.steps, length);
      expect_gradient_as_generic(c, chosen);
      c.place_x = c.place_out = channel_last();
      expect_gradient_as_generic(c, chosen);
      c.cu_seqlens.clear();
      c.items = 2;
      c.seq_idx = numbers(c, length);
      expect_gradient_as_generic(c, chosen);
      c.place_x = c.place_out = {};
      expect_gradient_as_generic(c, chosen);
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace melisma::gpu
