#include "blocks/framing/framing.h"

#include <cmath>
#include <limits>

#include "blocks/reference/reference.h"
#include "testing/array.h"
#include "testing/fixtures.h"

namespace melisma {
namespace {

using namespace testing;

TEST(Framing, SourceIsThePaddedSignal) {
  for (const std::int64_t length : {1, 2, 3, 10, 33}) {
    const Array x = Array(DType::kFloat64, {length}).randomize(3);
    for (const std::int64_t pad : {0, 1, 5}) {
      for (const std::int64_t n_fft : {1, 2, 3, 8, 15, 20}) {
        for (int mode = 0; mode < 4; ++mode) {
          const FrameParams params{.n_fft = n_fft, .hop_length = 1, .pad_mode = static_cast<PadMode>(mode), .pad = pad};
          const std::int64_t center = n_fft / 2, padded = length + 2 * pad;
          if ((mode == 1 && center >= padded) || (mode == 3 && center > padded)) {
            EXPECT_THROW(make_framing(length, params, "test"), Error);
            continue;
          }
          const Framing framing = make_framing(length, params, "test");
          const auto want = reference::padded_signal(x, 0, pad, center, params.pad_mode);
          for (std::int64_t i = 0; i < padded + 2 * center; ++i) {
            const std::int64_t from = framing.source(i - center - pad);
            const double got = from < 0 ? 0.0 : x.get(from).real();
            ASSERT_EQ(got, want[static_cast<std::size_t>(i)].real())
                << "length " << length << " pad " << pad << " mode " << mode;
          }
          EXPECT_EQ(framing.frames, padded + 2 * center - n_fft + 1);
        }
      }
    }
  }
}

TEST(Framing, CountsOfFrames) {
  const auto count = [](std::int64_t length, FrameParams params) { return frame_count(length, params, "test"); };
  EXPECT_EQ(count(16000, {.n_fft = 400, .hop_length = 160}), 101);
  EXPECT_EQ(count(16000, {.n_fft = 400, .hop_length = 160, .center = false}), 98);
  EXPECT_EQ(count(400, {.n_fft = 400, .hop_length = 1000, .center = false}), 1);
  EXPECT_EQ(count(16000, {.n_fft = 400}), 161);  // hop 100
  EXPECT_EQ(count(16000, {.n_fft = 401, .hop_length = 1}), 16000);
  FrameParams covers{
      .n_fft = 2048, .pad_mode = PadMode::kConstant, .tail = FrameTail::kCovers, .fractional_hop = 441.0};
  EXPECT_EQ(count(44100, covers), 100);
  EXPECT_EQ(count(44101, covers), 101);
  EXPECT_EQ(count(1, covers), 1);
  covers.fractional_hop = 0.0;
  covers.hop_length = 441;
  EXPECT_EQ(count(44100, covers), 100);
  EXPECT_EQ(count(44101, covers), 101);
  covers.fractional_hop = 44100.0 / 30.3;
  EXPECT_EQ(count(44100 * 10, covers), 303);
}

TEST(Framing, RefusesWhatItCannotCut) {
  const auto refused = [](std::int64_t length, FrameParams params, const char* part) {
    expect_error(ErrorKind::kInvalidArgument, "test", {part}, [&] { frame_count(length, params, "test"); });
  };
  refused(0, {.n_fft = 4}, "input");
  refused(-1, {.n_fft = 4}, "input");
  refused(std::numeric_limits<std::int64_t>::max(), {.n_fft = 4}, "input");
  refused(3, {.n_fft = 4, .center = false}, "n_fft");
  refused(2, {.n_fft = 4}, "reflect");
  refused(100, {.n_fft = 4, .tail = FrameTail::kCovers}, "pad_mode");
  refused(100, {.n_fft = 4, .pad_mode = PadMode::kConstant, .tail = FrameTail::kCovers, .fractional_hop = 0.5},
          "fractional_hop");
  refused(100, {.n_fft = 4, .pad_mode = PadMode::kConstant, .tail = FrameTail::kCovers, .fractional_hop = INFINITY},
          "fractional_hop");
  refused(100, {.n_fft = 4, .input_scale = INFINITY}, "input_scale");
}

TEST(Framing, FramesAreTheSameFromAnyMemory) {
  const FrameParams params{.n_fft = 16, .hop_length = 5};
  for (const DType dtype : {DType::kInt16, DType::kFloat32, DType::kFloat64, DType::kComplex64, DType::kComplex128}) {
    const Array x = Array(dtype, {2, 40}).randomize(5), strided = copy_of(x, dtype, {{1, 0}, 2, 3, {0, 1}});
    const Framing framing = make_framing(40, params, "test");
    const std::int64_t width = is_complex(dtype) ? 2 : 1;
    for (std::int64_t item = 0; item < 2; ++item) {
      const auto want = reference::padded_signal(x, item, 0, 8, params.pad_mode);
      for (const Array* source : {&x, &strided}) {
        const FrameRows<double> rows(*source, item, framing);
        for (std::int64_t t = 0; t < framing.frames; ++t) {
          double copy[32];
          const double* row = rows.row(t, copy);
          for (std::int64_t i = 0; i < 16; ++i) {
            const std::complex<double> exact = want[static_cast<std::size_t>(5 * t + i)];
            ASSERT_EQ(row[i * width], exact.real());
            if (width == 2) {
              ASSERT_EQ(row[2 * i + 1], exact.imag());
            }
          }
        }
      }
    }
  }
}

TEST(Framing, WindowsAreCentred) {
  const Window window("hamming", 5);
  EXPECT_EQ(padded_window(nullptr, 4, 0, 2.0, "test"), (std::vector<double>{2, 2, 2, 2}));
  EXPECT_EQ(padded_window(nullptr, 8, 5, 1.0, "test"), (std::vector<double>{0, 1, 1, 1, 1, 1, 0, 0}));
  const std::vector<double> placed = padded_window(window.get(), 8, 5, 0.5, "test");
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(placed[i + 1], 0.5 * static_cast<double>(window.values[i]));
  Tensor reversed = window.tensor;
  reversed.data = reversed.as<float>() + 4;
  reversed.strides[0] = -1;
  EXPECT_EQ(padded_window(&reversed, 5, 0, 1.0, "test")[0], static_cast<double>(window.values[4]));
}

}  // namespace
}  // namespace melisma
