#include "melisma/stft.h"

#include <cmath>
#include <limits>

#include "testing/array.h"
#include "testing/fixtures.h"
#include "testing/tolerances.h"

namespace melisma {
namespace {

using namespace testing;

std::string describe(const Tensor& x, const StftParams& p) {
  const FrameParams& f = p.frames;
  return std::string(dtype_name(x.dtype)) + " length " + std::to_string(x.size(-1)) + " n_fft " +
         std::to_string(f.n_fft) + " hop " + std::to_string(f.hop_length) + " win " + std::to_string(f.win_length) +
         " center " + std::to_string(f.center) + " mode " + std::to_string(static_cast<int>(f.pad_mode)) + " pad " +
         std::to_string(f.pad) + " tail " + std::to_string(static_cast<int>(f.tail)) + " fractional " +
         std::to_string(f.fractional_hop) + " normalized " + std::to_string(p.normalized) + " onesided " +
         std::to_string(p.onesided) + " nyquist " + std::to_string(p.nyquist) + " layout " +
         std::to_string(static_cast<int>(p.layout)) + " on " + simd_target();
}

// Every element of out against the two-sided reference, each frame within the error that its own norm allows: a silent
// frame beside a loud one must be silent.
void expect_matches_reference(const Tensor& x, const Tensor* window, const StftParams& params, const Array& out) {
  StftParams full = params;
  full.onesided = false;
  full.nyquist = true;
  full.layout = Layout::kFrameMajor;
  const Array want(DType::kComplex128, stft_shape(x, full));
  stft_reference(x, window, full, want);
  const std::int64_t n_fft = params.frames.n_fft, frames = want.tensor().size(-2);
  const bool frame_major = params.layout == Layout::kFrameMajor;
  const std::int64_t bins = out.tensor().size(frame_major ? -1 : -2);
  ASSERT_EQ(out.tensor().size(frame_major ? -2 : -1), frames);
  const std::int64_t rows = want.numel() / n_fft;
  for (std::int64_t row = 0; row < rows; ++row) {
    double energy = 0.0;
    for (std::int64_t k = 0; k < n_fft; ++k) energy += std::norm(want.get(row * n_fft + k));
    const double norm = std::sqrt(energy / static_cast<double>(n_fft)), eps = unit(x.dtype);
    for (std::int64_t k = 0; k < bins; ++k) {
      const std::int64_t item = row / frames, t = row % frames;
      const std::int64_t at = frame_major ? row * bins + k : (item * bins + k) * frames + t;
      const std::complex<double> exact = want.get(row * n_fft + k);
      ASSERT_LE(std::abs(out.get(at) - exact), norm * transform_error(n_fft, eps) + peak_error(std::abs(exact), eps))
          << describe(x, params) << ", row " << row << " bin " << k << ", norm " << norm;
    }
  }
}

void run_and_check(const Tensor& x, const Tensor* window, const StftParams& params, const Placement& placement = {}) {
  const Array out(complex_of(x.dtype), stft_shape(x, params), placement);
  stft(x, window, params, out);
  out.expect_written_exactly(describe(x, params));
  expect_matches_reference(x, window, params, out);
}

// The placement of torch's result: frequency-major shape, frame-major memory.
Placement native(const StftParams& params, int ndim) {
  if (params.layout == Layout::kFrameMajor) return {};
  Placement placement;
  for (int axis = 0; axis < ndim - 2; ++axis) placement.order.push_back(axis);
  placement.order.push_back(ndim - 1);
  placement.order.push_back(ndim - 2);
  return placement;
}

class StftTest : public SimdTest {};
MELISMA_ON_EVERY_SIMD_TARGET(StftTest);

TEST_P(StftTest, EveryPromisedSize) {
  for (const std::int64_t n_fft : promised_sizes()) {
    StftParams params;
    params.frames.n_fft = n_fft;
    params.frames.hop_length = std::max<std::int64_t>(1, n_fft / 4);
    const Window window("hann", n_fft);
    for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kInt16, DType::kComplex64, DType::kComplex128}) {
      const std::int64_t length = std::max<std::int64_t>(n_fft + n_fft / 2, 5);
      const Array x = Array(dtype, {length}).randomize(static_cast<std::uint64_t>(n_fft));
      for (const bool onesided : {true, false}) {
        if (onesided && is_complex(dtype)) continue;
        if (!onesided && !is_complex(dtype) && n_fft > 2048) continue;
        params.onesided = onesided;
        run_and_check(x, window.get(), params, native(params, 2));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(StftTest, EveryModeAndLayout) {
  for (const std::int64_t n_fft : {1, 2, 3, 4, 5, 8, 15, 16, 20, 31, 64, 100, 400, 512}) {
    const std::int64_t length = n_fft + 37;
    for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kComplex64, DType::kInt16}) {
      const Array x = Array(dtype, {2, length}).randomize(7);
      for (int mode = -1; mode < 4; ++mode) {  // -1: center is false
        for (const bool normalized : {false, true}) {
          for (int sides = 0; sides < 3; ++sides) {  // one, one without Nyquist, two
            if ((sides < 2 && is_complex(dtype)) || (sides == 1 && n_fft % 2 != 0)) continue;
            for (const Layout layout : {Layout::kFrequencyMajor, Layout::kFrameMajor}) {
              StftParams params{
                  {.n_fft = n_fft, .hop_length = n_fft / 3 + 1}, normalized, sides < 2, sides != 1, layout};
              params.frames.center = mode >= 0;
              if (mode >= 0) params.frames.pad_mode = static_cast<PadMode>(mode);
              params.frames.win_length = n_fft - n_fft / 3;
              const Window window("hamming", params.frames.win_length);
              run_and_check(x, window.get(), params, mode % 2 == 0 ? native(params, 3) : Placement{});
              if (HasFatalFailure()) return;
            }
          }
        }
      }
    }
  }
}

TEST_P(StftTest, FrameTailsPadsAndScales) {
  for (const std::int64_t n_fft : {2, 7, 16, 64, 400, 512}) {
    for (const std::int64_t length : {1, 2, 5, 63, 64, 65, 500, 1500}) {
      for (const bool center : {true, false}) {
        for (const double fractional : {0.0, 1.0, 44.1, 441.0, 1000.3}) {
          const Array x = Array(DType::kInt16, {length}).randomize(3);
          StftParams params;
          params.frames = {.n_fft = n_fft,
                           .hop_length = 37,
                           .center = center,
                           .pad_mode = PadMode::kConstant,
                           .tail = FrameTail::kCovers,
                           .fractional_hop = fractional,
                           .input_scale = 1.0 / 32768};
          run_and_check(x, Window("hann", n_fft).get(), params, native(params, 2));
          if (HasFatalFailure()) return;
        }
      }
      for (const std::int64_t pad : {1, 3, 100}) {
        for (int mode = 0; mode < 4; ++mode) {
          if (length + 2 * pad <= n_fft / 2) continue;
          const Array x = Array(DType::kFloat32, {length}).randomize(4);
          StftParams params;
          params.frames = {
              .n_fft = n_fft, .hop_length = 11, .pad_mode = static_cast<PadMode>(mode), .pad = pad, .input_scale = 3.0};
          run_and_check(x, nullptr, params, native(params, 2));
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(StftTest, HopsFromOneToBeyondTheFrame) {
  for (const std::int64_t n_fft : {1, 5, 16, 20, 64, 480, 512, 1024}) {
    for (const std::int64_t hop :
         {std::int64_t{1}, std::int64_t{2}, std::int64_t{3}, n_fft, n_fft + 1, 3 * n_fft + 2}) {
      StftParams params{.frames = {.n_fft = n_fft, .hop_length = hop, .center = false}};
      const Array x = Array(DType::kFloat32, {n_fft + 20 * std::min<std::int64_t>(hop, n_fft + 5)}).randomize(5);
      run_and_check(x, Window("blackman", n_fft).get(), params, native(params, 2));
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(StftTest, EachFrameHasTheSameBitsInAnyCompany) {
  for (const std::int64_t n_fft : {1, 7, 16, 17, 20, 64, 400, 480, 512, 1024, 1103, 2048}) {
    const std::int64_t hop = n_fft / 3 + 1;
    const StftParams params{.frames = {.n_fft = n_fft, .hop_length = hop, .center = false},
                            .layout = Layout::kFrameMajor};
    const Window window("hann", n_fft);
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      const Array x = Array(dtype, {n_fft + 32 * hop}).randomize(11);
      const Array whole(complex_of(dtype), stft_shape(x, params));
      stft(x, window.get(), params, whole);
      for (const std::int64_t count : kFrameCounts) {
        for (const std::int64_t first : {std::int64_t{0}, 33 - count}) {
          const Tensor part = last_axis_slice(x, first * hop, n_fft + (count - 1) * hop);
          const Array got(complex_of(dtype), stft_shape(part, params));
          stft(part, window.get(), params, got);
          got.expect_written_exactly("frames");
          for (std::int64_t i = 0; i < got.numel(); ++i) {
            ASSERT_EQ(got.bytes_of(i), whole.bytes_of(first * whole.tensor().size(-1) + i))
                << "n_fft " << n_fft << ", " << count << " frames from " << first << ", value " << i;
          }
        }
      }
    }
  }
}

TEST_P(StftTest, BatchAndThreadsDoNotChangeBits) {
  for (const std::int64_t n_fft : {20, 64, 400, 512, 1103}) {
    const StftParams params{.frames = {.n_fft = n_fft, .hop_length = n_fft / 4}};
    const Window window("hann", n_fft);
    const Array x = Array(DType::kFloat32, {2, 3, 70 * n_fft}).randomize(13);  // more frames than a task takes
    const Array one(DType::kComplex64, stft_shape(x, params), native(params, 4));
    {
      const Threads threads(1);
      stft(x, window.get(), params, one);
    }
    one.expect_written_exactly("one thread");
    for (const int n : {2, 3}) {
      const Threads threads(n);
      const Array many(DType::kComplex64, stft_shape(x, params), native(params, 4));
      stft(x, window.get(), params, many);
      EXPECT_TRUE(same_bits(one, many)) << n << " threads, n_fft " << n_fft;
    }
    for (std::int64_t item = 0; item < 6; ++item) {
      const Tensor single = item_view(item_view(x, item / 3), item % 3);
      const Array got(DType::kComplex64, stft_shape(single, params));
      stft(single, window.get(), params, got);
      for (std::int64_t i = 0; i < got.numel(); ++i)
        ASSERT_EQ(got.bytes_of(i), one.bytes_of(item * got.numel() + i)) << n_fft;
    }
  }
}

TEST_P(StftTest, StridesOfInputAndResult) {
  for (const std::int64_t n_fft : {9, 16, 64, 400, 512, 1024}) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kInt16, DType::kComplex64}) {
      const Array x = Array(dtype, {2, 3, n_fft + 100}).randomize(17);
      StftParams params{.frames = {.n_fft = n_fft, .hop_length = n_fft / 5 + 1}, .onesided = !is_complex(dtype)};
      const Window window("hann", n_fft);
      const Array want(complex_of(dtype), stft_shape(x, params), native(params, 4));
      stft(x, window.get(), params, want);
      for (const Placement& in : {Placement{{}, 3, 0, {}}, Placement{{2, 1, 0}, 1, 0, {}}, Placement{{}, 1, 5, {2}},
                                  Placement{{1, 0, 2}, 2, 1, {0, 1, 2}}}) {
        const Array strided = copy_of(x, dtype, in);
        const Array got(complex_of(dtype), stft_shape(strided, params));
        stft(strided, window.get(), params, got);
        EXPECT_TRUE(same_bits(got, want)) << describe(x, params);
      }
      for (const Placement& place : {Placement{}, Placement{{0, 1, 3, 2}, 1, 3, {}}, Placement{{0, 1, 3, 2}, 2, 0, {}},
                                     Placement{{3, 2, 1, 0}, 1, 0, {}}, Placement{{1, 0, 3, 2}, 1, 0, {3}},
                                     Placement{{0, 1, 3, 2}, 1, 0, {2}}, Placement{{2, 3, 0, 1}, 3, 2, {0, 1, 2, 3}}}) {
        const Array got(complex_of(dtype), stft_shape(x, params), place);
        stft(x, window.get(), params, got);
        got.expect_written_exactly(describe(x, params));
        EXPECT_TRUE(same_bits(got, want)) << describe(x, params);
      }
    }
  }
}

TEST_P(StftTest, BroadcastInput) {
  const Array x = Array(DType::kFloat32, {600}).randomize(19);
  const StftParams params{.frames = {.n_fft = 128, .hop_length = 32}};
  const Array single(DType::kComplex64, stft_shape(x, params));
  stft(x, nullptr, params, single);
  Tensor repeated(x.tensor().data, DType::kFloat32, {3, 600});
  repeated.strides[0] = 0;
  const Array three(DType::kComplex64, stft_shape(repeated, params));
  stft(repeated, nullptr, params, three);
  for (std::int64_t i = 0; i < three.numel(); ++i) ASSERT_EQ(three.bytes_of(i), single.bytes_of(i % single.numel()));

  Tensor constant(x.tensor().data, DType::kFloat32, {600});  // one sample, 600 times
  constant.strides[0] = 0;
  run_and_check(constant, nullptr, params);
}

TEST_P(StftTest, FramesDoNotLeakIntoEachOther) {
  for (const std::int64_t n_fft : {16, 20, 64, 400, 1024, 1103}) {
    const StftParams params{.frames = {.n_fft = n_fft, .hop_length = n_fft, .center = false},
                            .layout = Layout::kFrameMajor};
    Array x(DType::kFloat32, {20 * n_fft});
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      const std::int64_t frame = i / n_fft;
      x.set(i, frame == 3 ? std::numeric_limits<double>::quiet_NaN() : frame % 4 == 1 ? 1e30 : 0.0);
    }
    const Array out(DType::kComplex64, stft_shape(x, params));
    stft(x, Window("hann", n_fft).get(), params, out);
    const std::int64_t bins = out.tensor().size(-1);
    for (std::int64_t i = 0; i < out.numel(); ++i) {
      const std::int64_t frame = i / bins;
      if (frame == 3) {
        ASSERT_TRUE(std::isnan(out.get(i).real())) << n_fft << " bin " << i % bins;
      } else if (frame % 4 != 1) {
        ASSERT_EQ(out.get(i), std::complex<double>(0.0)) << n_fft << " frame " << frame;
      }
    }
  }
}

TEST(StftShape, IsTorchs) {
  const Array x(DType::kFloat32, {2, 1000});
  StftParams params{.frames = {.n_fft = 400, .hop_length = 160}};
  EXPECT_EQ(stft_shape(x, params), (Shape{2, 201, 7}));
  params.layout = Layout::kFrameMajor;
  params.onesided = false;
  EXPECT_EQ(stft_shape(x, params), (Shape{2, 7, 400}));
  params.frames.center = false;
  params.frames.hop_length = 0;  // n_fft / 4
  EXPECT_EQ(stft_shape(x, params), (Shape{2, 7, 400}));
  const Array none(DType::kFloat32, {0, 1000});
  EXPECT_EQ(stft_shape(none, params), (Shape{0, 7, 400}));
  const Array out(DType::kComplex64, {0, 7, 400});
  stft(none, nullptr, params, out);
  EXPECT_TRUE(out.untouched());
}

TEST(StftErrors, NameOperatorArgumentAndValue) {
  const Array x = Array(DType::kFloat32, {1000}).randomize();
  const Window window("hann", 400);
  const StftParams good{.frames = {.n_fft = 400, .hop_length = 160}};
  const Array out(DType::kComplex64, stft_shape(x, good));
  const auto bad = [&](ErrorKind kind, const std::vector<std::string>& parts, auto change) {
    StftParams params = good;
    change(params);
    expect_error(kind, "stft", parts, [&] { stft(x, window.get(), params, out); });
  };
  constexpr ErrorKind kArgument = ErrorKind::kInvalidArgument;
  bad(kArgument, {"n_fft", "0"}, [](StftParams& p) { p.frames.n_fft = 0; });
  bad(kArgument, {"n_fft", "-4"}, [](StftParams& p) { p.frames.n_fft = -4; });
  bad(kArgument, {"n_fft"}, [](StftParams& p) { p.frames.n_fft = std::numeric_limits<std::int64_t>::max(); });
  bad(kArgument, {"hop_length", "-1"}, [](StftParams& p) { p.frames.hop_length = -1; });
  bad(kArgument, {"hop_length"}, [](StftParams& p) { p.frames = {.n_fft = 3}; });  // the default n_fft / 4 is 0
  bad(kArgument, {"win_length", "401", "400"}, [](StftParams& p) { p.frames.win_length = 401; });
  bad(kArgument, {"win_length", "-2"}, [](StftParams& p) { p.frames.win_length = -2; });
  bad(kArgument, {"window", "399", "400"}, [](StftParams& p) { p.frames.win_length = 399; });
  bad(kArgument, {"pad", "-1"}, [](StftParams& p) { p.frames.pad = -1; });
  bad(kArgument, {"fractional_hop", "nan"}, [](StftParams& p) { p.frames.fractional_hop = std::nan(""); });
  bad(kArgument, {"fractional_hop"}, [](StftParams& p) { p.frames.fractional_hop = 441.0; });
  bad(kArgument, {"input_scale", "nan"}, [](StftParams& p) { p.frames.input_scale = std::nan(""); });
  bad(kArgument, {"out", "[201, 7]"}, [](StftParams& p) { p.frames.hop_length = 100; });
  bad(kArgument, {"reflect", "1000"}, [](StftParams& p) { p.frames = {.n_fft = 2000, .hop_length = 1}; });
  bad(kArgument, {"circular", "1000"},
      [](StftParams& p) { p.frames = {.n_fft = 2002, .hop_length = 1, .pad_mode = PadMode::kCircular}; });
  bad(kArgument, {"n_fft", "1001", "1000"},
      [](StftParams& p) { p.frames = {.n_fft = 1001, .hop_length = 1, .center = false}; });
  bad(kArgument, {"nyquist"}, [](StftParams& p) { p.nyquist = p.onesided = false; });

  expect_error(kArgument, "stft", {"input"},
               [&] { stft(Tensor(x.tensor().data, DType::kFloat32, {}), nullptr, good, out); });
  expect_error(kArgument, "stft", {"input"}, [&] { stft(Tensor(nullptr, DType::kFloat32, {0}), nullptr, good, out); });
  expect_error(kArgument, "stft", {"onesided"}, [&] { stft_shape(Tensor(nullptr, DType::kComplex64, {1000}), good); });
  const Array complex_window(DType::kComplex64, {400}), two_d(DType::kFloat32, {1, 400}),
      wrong(DType::kComplex128, {201, 7});
  const auto with_window = [&](const Array& w) { return [&] { stft(x, &w.tensor(), good, out); }; };
  expect_error(ErrorKind::kInvalidType, "stft", {"window", "complex64"}, with_window(complex_window));
  expect_error(kArgument, "stft", {"window", "2-D"}, with_window(two_d));
  expect_error(ErrorKind::kInvalidType, "stft", {"out", "complex64", "complex128"},
               [&] { stft(x, nullptr, good, wrong); });
  EXPECT_TRUE(out.untouched());
}

TEST(StftErrors, SizesBeyondInt64) {
  const StftParams params{.frames = {.n_fft = 400, .hop_length = 1}};
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  for (const Shape& shape : {Shape{most / 4, 1000}, Shape{most}, Shape{1 << 30, 1 << 30, 1 << 20}}) {
    EXPECT_THROW(stft_shape(Tensor(nullptr, DType::kFloat32, shape), params), Error);
  }
  StftParams padded = params;
  padded.frames.pad = most;
  EXPECT_THROW(stft_shape(Tensor(nullptr, DType::kFloat32, {1000}), padded), Error);
}

TEST(StftLarge, OffsetsBeyond32Bits) {
  // 2^32 samples of one value through a stride of 0: the count of frames and the last frame's position need 64 bits.
  float value = 1.0f;
  Tensor x(&value, DType::kFloat32, {(std::int64_t{1} << 32) + 5});
  x.strides[0] = 0;
  const StftParams params{.frames = {.n_fft = 64, .hop_length = std::int64_t{1} << 28, .center = false},
                          .layout = Layout::kFrameMajor};
  const Array out(DType::kComplex64, stft_shape(x, params));
  ASSERT_EQ(out.tensor().size(0), 16);
  stft(x, nullptr, params, out);
  for (std::int64_t t = 0; t < 16; ++t) EXPECT_FLOAT_EQ(static_cast<float>(out.get(t * 33).real()), 64.0f);
}

TEST(StftExplain, NamesTheKernel) {
  const Array x(DType::kFloat32, {100000});
  for (const std::int64_t n_fft : {7, 400, 1024, 1103}) {
    const Explanation e = explain_stft(x, {.frames = {.n_fft = n_fft, .hop_length = 10}});
    EXPECT_EQ(e.backend, "cpu");
    EXPECT_FALSE(e.kernel.empty());
    EXPECT_NE(e.reason.find(std::to_string(n_fft)), std::string::npos) << e.reason;
  }
}

}  // namespace
}  // namespace melisma
