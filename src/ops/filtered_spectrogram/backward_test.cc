#include <cmath>
#include <limits>

#include "melisma/filtered_spectrogram.h"
#include "ops/spectrogram/backward_bounds.h"
#include "testing/array.h"
#include "testing/fixtures.h"
#include "testing/intervals.h"

namespace melisma {
namespace {

using namespace testing;

std::string describe(const Tensor& x, const FilterBank& bank, const FilteredSpectrogramParams& p) {
  return std::string(dtype_name(x.dtype)) + " n_fft " + std::to_string(p.spectrogram.frames.n_fft) + " power " +
         std::to_string(p.spectrogram.power) + " nyquist " + std::to_string(p.spectrogram.nyquist) + " bands " +
         std::to_string(bank.bands()) + " log " + std::to_string(p.log.enabled) + " floor " +
         std::to_string(p.log.floor) + " add " + std::to_string(p.log.add) + " layout " +
         std::to_string(static_cast<int>(p.spectrogram.layout)) + " on " + simd_target();
}

FilterBank mel_bank(std::int64_t n_fft, std::int64_t n_mels) {
  return FilterBank::mel(n_fft / 2 + 1, {.sample_rate = 16000.0, .n_mels = n_mels});
}

FilterBank random_bank(std::int64_t bins, std::int64_t bands, bool sparse) {
  Array weights = Array(DType::kFloat32, {bins, bands}).randomize(47);
  for (std::int64_t i = 0; i < weights.numel(); ++i) {
    const std::int64_t k = i / bands, b = i % bands;
    weights.set(i, sparse && (k + b) % 3 != 0 ? 0.0 : std::abs(weights.get(i)));
  }
  return FilterBank(weights);
}

Array gradient(const Tensor& x, const FilterBank& bank, const FilteredSpectrogramParams& params,
               const Placement& placement = {}) {
  return Array(x.dtype, filtered_spectrogram_shape(x, bank, params), placement).randomize(71);
}

// The gradients with respect to the bins: each band's value lies in its interval, and so does the logarithm's slope.
BinGradients bin_gradients(const Tensor& x, const Array& grad, const Tensor* window, const FilterBank& bank,
                           const FilteredSpectrogramParams& params) {
  FilteredSpectrogramParams linear = params;
  linear.log = {};
  linear.spectrogram.layout = Layout::kFrameMajor;
  const std::vector<Interval> intervals = filtered_intervals(x, window, bank, linear);
  const Array exact(DType::kFloat64, filtered_spectrogram_shape(x, bank, linear));
  filtered_spectrogram_reference(x, window, bank, linear, exact);
  const LogParams& log = params.log;
  const bool frame_major = params.spectrogram.layout == Layout::kFrameMajor;
  const std::int64_t bands = bank.bands(), bins = bank.bins(), rows = exact.numel() / bands,
                     frames = exact.tensor().size(-2);
  const double eps = unit(x.dtype);
  BinGradients result{std::vector<double>(static_cast<std::size_t>(rows * bins)),
                      std::vector<double>(static_cast<std::size_t>(rows * bins))};
  for (std::int64_t i = 0; i < rows * bands; ++i) {
    const std::int64_t b = i % bands, t = i / bands % frames, item = i / bands / frames;
    const double y = log.post_mul * grad.get(frame_major ? i : (item * bands + b) * frames + t).real();
    double value = y, error = eps * std::abs(y);
    if (log.enabled) {
      const double argument = log.mul * exact.get(i).real() + log.add, slope = y * log.scale * log.mul;
      const Interval v = intervals[static_cast<std::size_t>(i)];
      const double off = std::abs(log.mul) * (v.high - v.low) + eps * (std::abs(argument) + 2 * std::abs(log.add));
      value = argument > log.floor ? slope / argument : 0.0;
      // A band's reciprocal at either end of its interval; at the floor the slope may or may not be taken for 0.
      const double least = std::max(argument - off, std::max(log.floor, std::numeric_limits<double>::min()));
      error =
          argument + off <= log.floor ? 0.0 : std::abs(slope) / least - (argument > log.floor ? std::abs(value) : 0);
      if (std::abs(argument - log.floor) <= off) error = std::abs(slope) / least;
      error += elementwise_error(eps) * std::abs(value);
    }
    const FilterBank::Band& band = bank.band()[static_cast<std::size_t>(b)];
    for (std::int64_t j = 0; j < band.count; ++j) {
      const double w = bank.weights()[static_cast<std::size_t>(band.offset + j)];
      const std::size_t at = static_cast<std::size_t>((item * frames + t) * bins + band.first_bin + j);
      result.value[at] += w * value;
      result.error[at] += std::abs(w) * (error + (sum_error(bands, eps) + eps) * std::abs(value));
    }
  }
  return result;
}

void run_and_check(const Tensor& x, const Tensor* window, const FilterBank& bank,
                   const FilteredSpectrogramParams& params, const Placement& placement = {},
                   const Placement& grad_placement = {}) {
  const Array grad = gradient(x, bank, params, grad_placement);
  const Array out(x.dtype, x.shape, placement), want(DType::kFloat64, x.shape);
  filtered_spectrogram_backward(x, grad, window, bank, params, out);
  out.expect_written_exactly(describe(x, bank, params));
  filtered_spectrogram_backward_reference(x, copy_of(grad, DType::kFloat64), window, bank, params, want);
  const BinGradients grads = bin_gradients(x, grad, window, bank, params);
  expect_gradients(out, want, backward_bounds(x, window, params.spectrogram, grads), describe(x, bank, params));
}

std::vector<LogParams> logarithms() {
  return {{},
          {.enabled = true, .scale = 10.0 / std::log(10.0), .floor = 1e-10},
          {.enabled = true, .scale = 10.0 / std::log(10.0), .floor = 0.7, .offset = -7.5},
          {.enabled = true, .scale = 1.0 / std::log(10.0), .mul = 5.0, .add = 1.0},
          {.enabled = true, .add = 1e-6, .post_mul = 0.25, .post_add = 1.0},
          {.enabled = false, .post_mul = -2.0, .post_add = 3.0}};
}

class FilteredSpectrogramBackwardTest : public SimdTest {};
MELISMA_ON_EVERY_SIMD_TARGET(FilteredSpectrogramBackwardTest);

TEST_P(FilteredSpectrogramBackwardTest, EveryPromisedSize) {
  for (const std::int64_t n_fft : promised_sizes()) {
    FilteredSpectrogramParams params;
    params.spectrogram.frames.n_fft = n_fft;
    params.spectrogram.frames.hop_length = std::max<std::int64_t>(1, n_fft / 4);
    params.log = logarithms()[1];
    const FilterBank bank = mel_bank(n_fft, std::min<std::int64_t>(80, n_fft));
    const Window window("hann", n_fft);
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      const Array x = Array(dtype, {std::max<std::int64_t>(n_fft + n_fft / 2, 5)}).randomize(53);
      run_and_check(x, window.get(), bank, params);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(FilteredSpectrogramBackwardTest, BanksPowersLogarithmsAndLayouts) {
  for (const std::int64_t n_fft : {1, 2, 9, 16, 67, 400}) {
    for (const bool nyquist : {true, false}) {
      if (!nyquist && n_fft % 2 != 0) continue;
      const std::int64_t bins = n_fft / 2 + (nyquist ? 1 : 0);
      std::vector<FilterBank> banks;
      banks.push_back(FilterBank::mel(bins, {.sample_rate = 16000.0, .n_mels = 40, .f_max = 7000.0}));
      banks.push_back(random_bank(bins, 1, false));
      banks.push_back(random_bank(bins, 17, true));
      for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
        const Array x = Array(dtype, {2, n_fft + 50}).randomize(59);
        for (const FilterBank& bank : banks) {
          for (const double power : {1.0, 2.0, 1.5}) {
            for (const LogParams& log : logarithms()) {
              for (const Layout layout : {Layout::kFrequencyMajor, Layout::kFrameMajor}) {
                FilteredSpectrogramParams params;
                params.spectrogram.frames = {.n_fft = n_fft, .hop_length = n_fft / 2 + 1};
                params.spectrogram.power = power;
                params.spectrogram.nyquist = nyquist;
                params.spectrogram.norm = nyquist ? SpectrumNorm::kNone : SpectrumNorm::kWindow;
                params.spectrogram.layout = layout;
                params.log = log;
                params.float64 = power == 1.0;
                run_and_check(x, Window("hann", n_fft).get(), bank, params,
                              power == 2.0 ? Placement{} : Placement{{1, 0}, 1, 1, {}},
                              power == 2.0 ? Placement{} : Placement{{0, 2, 1}, 1, 1, {}});
                if (HasFatalFailure()) return;
              }
            }
          }
        }
      }
    }
  }
}

TEST_P(FilteredSpectrogramBackwardTest, MadmomsFront) {
  const Array x = Array(DType::kFloat32, {22050}).randomize(61);
  FilteredSpectrogramParams params;
  params.spectrogram.frames = {
      .n_fft = 2048, .pad_mode = PadMode::kConstant, .tail = FrameTail::kCovers, .fractional_hop = 441.0};
  params.spectrogram.power = 1.0;
  params.spectrogram.nyquist = false;
  params.spectrogram.layout = Layout::kFrameMajor;
  params.log = {.enabled = true, .scale = 1.0 / std::log(10.0), .add = 1.0};
  const FilterBank bank = FilterBank::logarithmic(1024, {.sample_rate = 44100.0});
  for (const bool float64 : {false, true}) {
    params.float64 = float64;
    run_and_check(x, Window("hann", 2048).get(), bank, params);
  }
}

TEST(FilteredSpectrogramBackwardReference, IsTheSlope) {
  for (const std::int64_t n_fft : {2, 5, 16, 31, 64}) {
    const Array x = Array(DType::kFloat64, {2, n_fft + 40}).randomize(79);
    const Array direction = Array(DType::kFloat64, {2, n_fft + 40}).randomize(83);
    const FilterBank bank = random_bank(n_fft / 2 + 1, 7, n_fft > 5);
    for (const double power : {1.0, 1.5, 2.0}) {
      for (const LogParams& log : logarithms()) {
        for (const Layout layout : {Layout::kFrequencyMajor, Layout::kFrameMajor}) {
          FilteredSpectrogramParams params;
          params.spectrogram.frames = {.n_fft = n_fft, .hop_length = n_fft / 3 + 1};
          params.spectrogram.power = power;
          params.spectrogram.layout = layout;
          params.log = log;
          const Window window("hamming", n_fft);
          Array grad = gradient(x, bank, params), y(DType::kFloat64, grad.tensor().shape);
          FilteredSpectrogramParams linear = params;
          linear.log = {};
          filtered_spectrogram_reference(x, window.get(), bank, linear, y);
          for (std::int64_t i = 0; i < y.numel(); ++i) {  // differences do not see the kink at the floor
            if (std::abs(log.mul * y.get(i).real() + log.add - log.floor) < 0.02) grad.set(i, 0.0);
          }
          const Array out(DType::kFloat64, x.tensor().shape);
          filtered_spectrogram_backward_reference(x, grad, window.get(), bank, params, out);
          const Slope slope = directional_slope(x, direction, grad, [&](const Array& at, const Array& to) {
            filtered_spectrogram_reference(at, window.get(), bank, params, to);
          });
          EXPECT_NEAR(dot(out, direction), slope.value, 1e-7 * slope.scale) << describe(x, bank, params);
        }
      }
    }
  }
}

TEST_P(FilteredSpectrogramBackwardTest, BatchThreadsAndStridesDoNotChangeBits) {
  for (const std::int64_t n_fft : {7, 64, 400, 1103}) {
    for (const double power : {1.0, 2.0}) {
      FilteredSpectrogramParams params;
      params.spectrogram.frames = {.n_fft = n_fft, .hop_length = n_fft / 4 + 1};
      params.spectrogram.power = power;
      params.log = {.enabled = true, .floor = 1e-10};
      const FilterBank bank = mel_bank(n_fft, 23);
      const Window window("hann", n_fft);
      const Array x = Array(DType::kFloat32, {2, 300 * params.spectrogram.frames.hop_length}).randomize(67);
      const Array grad = gradient(x, bank, params, {{0, 2, 1}, 1, 0, {}}), want(DType::kFloat32, x.tensor().shape);
      {
        const Threads threads(1);
        filtered_spectrogram_backward(x, grad, window.get(), bank, params, want);
      }
      for (const int n : {2, 3}) {
        const Threads threads(n);
        for (const Placement& place :
             {Placement{}, Placement{{2, 0, 1}, 1, 0, {}}, Placement{{0, 2, 1}, 2, 1, {0, 1}}}) {
          const Array strided = copy_of(grad, DType::kFloat32, place),
                      got(DType::kFloat32, x.tensor().shape, {{1, 0}, 1, 2, {1}});
          filtered_spectrogram_backward(x, strided, window.get(), bank, params, got);
          got.expect_written_exactly(describe(x, bank, params));
          EXPECT_TRUE(same_bits(got, want)) << n << " threads, " << describe(x, bank, params);
        }
      }
      for (std::int64_t item = 0; item < 2; ++item) {
        const Array got(DType::kFloat32, {x.tensor().size(-1)});
        filtered_spectrogram_backward(item_view(x, item), item_view(grad, item), window.get(), bank, params, got);
        for (std::int64_t i = 0; i < got.numel(); ++i)
          ASSERT_EQ(got.bytes_of(i), want.bytes_of(item * got.numel() + i)) << n_fft;
      }
    }
  }
}

TEST_P(FilteredSpectrogramBackwardTest, SilenceGivesZero) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    Array x(dtype, {1000});
    for (std::int64_t i = 0; i < x.numel(); ++i) x.set(i, 0.0);
    const FilterBank bank = mel_bank(400, 80);
    for (const double power : {0.5, 1.0, 2.0}) {
      for (const LogParams& log : logarithms()) {
        FilteredSpectrogramParams params;
        params.spectrogram.frames = {.n_fft = 400, .hop_length = 160};
        params.spectrogram.power = power;
        params.log = log;
        const Array grad = gradient(x, bank, params), out(dtype, {1000});
        filtered_spectrogram_backward(x, grad, nullptr, bank, params, out);
        for (std::int64_t i = 0; i < out.numel(); ++i) ASSERT_EQ(out.get(i).real(), 0.0) << describe(x, bank, params);
      }
    }
  }
}

TEST(FilteredSpectrogramBackward, NoItems) {
  const Array x(DType::kFloat32, {0, 500}), grad(DType::kFloat32, {0, 5, 32}), out(DType::kFloat32, {0, 500});
  FilteredSpectrogramParams params;
  params.spectrogram.frames = {.n_fft = 64, .hop_length = 16};
  filtered_spectrogram_backward(x, grad, nullptr, mel_bank(64, 5), params, out);
  EXPECT_TRUE(out.untouched());
}

TEST(FilteredSpectrogramBackwardErrors, NameOperatorArgumentAndValue) {
  const char* op = "filtered_spectrogram_backward";
  const Array x = Array(DType::kFloat32, {1000}).randomize();
  FilteredSpectrogramParams good;
  good.spectrogram.frames = {.n_fft = 400, .hop_length = 160};
  good.log = {.enabled = true, .floor = 1e-10};
  const FilterBank bank = mel_bank(400, 80);
  const Array grad = gradient(x, bank, good), out(DType::kFloat32, {1000});
  const auto bad = [&](const std::vector<std::string>& parts, auto change) {
    FilteredSpectrogramParams params = good;
    change(params);
    expect_error(ErrorKind::kInvalidArgument, op, parts,
                 [&] { filtered_spectrogram_backward(x, grad, nullptr, bank, params, out); });
  };
  bad({"top_db", "80"}, [](FilteredSpectrogramParams& p) { p.log.top = 80.0; });
  bad({"top_db", "nan"}, [](FilteredSpectrogramParams& p) { p.log.top = std::nan(""); });
  bad({"filterbank", "200", "201"}, [](FilteredSpectrogramParams& p) { p.spectrogram.nyquist = false; });
  bad({"amin", "0"}, [](FilteredSpectrogramParams& p) { p.log.floor = 0.0; });
  bad({"nan"}, [](FilteredSpectrogramParams& p) { p.log.mul = std::nan(""); });
  bad({"power", "-1"}, [](FilteredSpectrogramParams& p) { p.spectrogram.power = -1.0; });
  bad({"grad", "[7, 80]", "[80, 7]"}, [](FilteredSpectrogramParams& p) { p.spectrogram.layout = Layout::kFrameMajor; });
  const auto with = [&](const Array& input, const Array& g, const Array& result) {
    return [&] { filtered_spectrogram_backward(input, g, nullptr, bank, good, result); };
  };
  const Array pcm(DType::kInt16, {1000}), wide_grad(DType::kFloat64, {80, 7}), shorter(DType::kFloat32, {999});
  expect_error(ErrorKind::kInvalidType, op, {"input", "int16"}, with(pcm, grad, out));
  expect_error(ErrorKind::kInvalidType, op, {"grad", "float32", "float64"}, with(x, wide_grad, out));
  expect_error(ErrorKind::kInvalidArgument, op, {"out", "[1000]", "[999]"}, with(x, grad, shorter));
  EXPECT_TRUE(out.untouched());
}

}  // namespace
}  // namespace melisma
