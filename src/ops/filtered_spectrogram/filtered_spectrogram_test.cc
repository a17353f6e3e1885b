#include "melisma/filtered_spectrogram.h"

#include <cmath>
#include <limits>

#include "testing/array.h"
#include "testing/fixtures.h"
#include "testing/intervals.h"

namespace melisma {
namespace {

using namespace testing;

std::string describe(const Tensor& x, const FilterBank& bank, const FilteredSpectrogramParams& p) {
  return std::string(dtype_name(x.dtype)) + " n_fft " + std::to_string(p.spectrogram.frames.n_fft) + " power " +
         std::to_string(p.spectrogram.power) + " bands " + std::to_string(bank.bands()) + " log " +
         std::to_string(p.log.enabled) + " floor " + std::to_string(p.log.floor) + " top " + std::to_string(p.log.top) +
         " layout " + std::to_string(static_cast<int>(p.spectrogram.layout)) + " on " + simd_target();
}

void run_and_check(const Tensor& x, const Tensor* window, const FilterBank& bank,
                   const FilteredSpectrogramParams& params, const Placement& placement = {}) {
  const Array out(real_of(x.dtype), filtered_spectrogram_shape(x, bank, params), placement);
  filtered_spectrogram(x, window, bank, params, out);
  out.expect_written_exactly(describe(x, bank, params));
  expect_inside(out, params.spectrogram.layout, filtered_intervals(x, window, bank, params), describe(x, bank, params));
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

LogParams decibels(double power, double floor, double top) {
  LogParams log{.enabled = true, .scale = (power == 1.0 ? 20.0 : 10.0) / std::log(10.0), .floor = floor};
  log.top = top;
  return log;
}

class FilteredSpectrogramTest : public SimdTest {};
MELISMA_ON_EVERY_SIMD_TARGET(FilteredSpectrogramTest);

TEST_P(FilteredSpectrogramTest, EveryPromisedSize) {
  for (const std::int64_t n_fft : promised_sizes()) {
    FilteredSpectrogramParams params;
    params.spectrogram.frames.n_fft = n_fft;
    params.spectrogram.frames.hop_length = std::max<std::int64_t>(1, n_fft / 4);
    params.log = decibels(2.0, 1e-10, 80.0);
    const FilterBank bank = mel_bank(n_fft, std::min<std::int64_t>(80, n_fft));
    const Window window("hann", n_fft);
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      const Array x = Array(dtype, {std::max<std::int64_t>(n_fft + n_fft / 2, 5)}).randomize(53);
      run_and_check(x, window.get(), bank, params);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(FilteredSpectrogramTest, BanksPowersLogarithmsAndLayouts) {
  const double infinity = std::numeric_limits<double>::infinity();
  std::vector<LogParams> logs = {{}, decibels(2.0, 1e-10, infinity), decibels(2.0, 1e-3, 40.0)};
  logs.push_back({.enabled = true, .scale = 1.0 / std::log(10.0), .mul = 5.0, .add = 1.0});  // log10(5 v + 1)
  logs.push_back({.enabled = true, .add = 1e-6, .post_mul = 0.25, .post_add = 1.0});         // ln(v + 1e-6)
  logs.push_back(
      {.enabled = true, .scale = 1.0 / std::log(10.0), .floor = 1e-10, .top = 8.0, .post_mul = 0.25, .post_add = 1.0});
  logs.push_back({.enabled = false, .top = 3.0, .post_mul = -2.0});
  logs[2].top_scope = TopScope::kPacked;
  logs[2].offset = -7.5;
  for (const std::int64_t n_fft : {1, 2, 9, 16, 64, 67, 400}) {
    const std::int64_t bins = n_fft / 2 + 1;
    std::vector<FilterBank> banks;
    banks.push_back(mel_bank(n_fft, 40));
    banks.push_back(random_bank(bins, 1, false));
    banks.push_back(random_bank(bins, 17, true));
    for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kInt16}) {
      const Array x = Array(dtype, {2, 3, n_fft + 150}).randomize(59);
      for (const FilterBank& bank : banks) {
        for (const double power : {1.0, 2.0, 1.5}) {
          for (const LogParams& log : logs) {
            for (const Layout layout : {Layout::kFrequencyMajor, Layout::kFrameMajor}) {
              FilteredSpectrogramParams params;
              params.spectrogram.frames = {.n_fft = n_fft, .hop_length = n_fft / 2 + 1};
              params.spectrogram.frames.input_scale = dtype == DType::kInt16 ? 1.0 / 32768 : 1.0;
              params.spectrogram.power = power;
              params.spectrogram.layout = layout;
              params.log = log;
              run_and_check(x, Window("hann", n_fft).get(), bank, params,
                            power == 2.0 ? Placement{} : Placement{{0, 1, 3, 2}, 1, 1, {}});
              if (HasFatalFailure()) return;
            }
          }
        }
      }
    }
  }
}

TEST_P(FilteredSpectrogramTest, MadmomsFront) {
  const Array x = Array(DType::kInt16, {44100}).randomize(61);
  FilteredSpectrogramParams params;
  params.spectrogram.frames = {.n_fft = 2048,
                               .pad_mode = PadMode::kConstant,
                               .tail = FrameTail::kCovers,
                               .fractional_hop = 441.0,
                               .input_scale = 1.0 / 32767};
  params.spectrogram.power = 1.0;
  params.spectrogram.nyquist = false;
  params.spectrogram.layout = Layout::kFrameMajor;
  params.log = {.enabled = true, .scale = 1.0 / std::log(10.0), .add = 1.0};
  const FilterBank bank = FilterBank::logarithmic(1024, {.sample_rate = 44100.0});
  EXPECT_EQ(bank.bands(), 81);
  EXPECT_EQ(filtered_spectrogram_shape(x, bank, params), (Shape{100, 81}));
  run_and_check(x, Window("hann", 2048).get(), bank, params);
}

TEST_P(FilteredSpectrogramTest, FrameCountsBatchThreadsAndStridesDoNotChangeBits) {
  for (const std::int64_t n_fft : {7, 64, 400, 1103}) {
    FilteredSpectrogramParams params;
    params.spectrogram.frames = {.n_fft = n_fft, .hop_length = n_fft / 4 + 1, .center = false};
    params.spectrogram.layout = Layout::kFrameMajor;
    params.log = {.enabled = true, .floor = 1e-10};
    const FilterBank bank = mel_bank(n_fft, 23);
    const std::int64_t hop = params.spectrogram.frames.hop_length, frames = 300, bands = 23;
    const Window window("hann", n_fft);
    const Array x = Array(DType::kFloat32, {2, n_fft + (frames - 1) * hop}).randomize(67);
    for (const double top : {std::numeric_limits<double>::infinity(), 6.0}) {
      params.log.top = top;
      const Array want(DType::kFloat32, filtered_spectrogram_shape(x, bank, params));
      {
        const Threads threads(1);
        filtered_spectrogram(x, window.get(), bank, params, want);
      }
      for (const int n : {2, 3}) {
        const Threads threads(n);
        for (const Placement& place :
             {Placement{}, Placement{{2, 0, 1}, 1, 0, {}}, Placement{{1, 0, 2}, 2, 1, {0, 1, 2}}}) {
          const Array got(DType::kFloat32, filtered_spectrogram_shape(x, bank, params), place);
          filtered_spectrogram(x, window.get(), bank, params, got);
          got.expect_written_exactly(describe(x, bank, params));
          EXPECT_TRUE(same_bits(got, want)) << n << " threads, " << describe(x, bank, params);
        }
      }
      for (std::int64_t item = 0; item < 2; ++item) {
        const Tensor single = item_view(x, item);
        const Array got(DType::kFloat32, filtered_spectrogram_shape(single, bank, params));
        filtered_spectrogram(single, window.get(), bank, params, got);
        for (std::int64_t i = 0; i < got.numel(); ++i)
          ASSERT_EQ(got.bytes_of(i), want.bytes_of(item * got.numel() + i)) << n_fft;
      }
      if (std::isfinite(top)) continue;
      for (const std::int64_t count : kFrameCounts) {
        const Tensor part = last_axis_slice(item_view(x, 0), 5 * hop, n_fft + (count - 1) * hop);
        const Array got(DType::kFloat32, filtered_spectrogram_shape(part, bank, params));
        filtered_spectrogram(part, window.get(), bank, params, got);
        for (std::int64_t i = 0; i < got.numel(); ++i)
          ASSERT_EQ(got.bytes_of(i), want.bytes_of(5 * bands + i)) << n_fft;
      }
    }
  }
}

TEST_P(FilteredSpectrogramTest, SilenceIsTheFloor) {
  const Array x(DType::kFloat32, {1000});
  std::fill_n(x.tensor().as<float>(), 1000, 0.0f);
  FilteredSpectrogramParams params;
  params.spectrogram.frames = {.n_fft = 400, .hop_length = 160};
  params.log = decibels(2.0, 1e-10, 80.0);
  const FilterBank bank = mel_bank(400, 80);
  const Array out(DType::kFloat32, filtered_spectrogram_shape(x, bank, params));
  filtered_spectrogram(x, nullptr, bank, params, out);
  for (std::int64_t i = 0; i < out.numel(); ++i) ASSERT_NEAR(out.get(i).real(), -100.0, 1e-4);
}

TEST(FilteredSpectrogramErrors, NameOperatorArgumentAndValue) {
  const Array x = Array(DType::kFloat32, {1000}).randomize();
  FilteredSpectrogramParams good;
  good.spectrogram.frames = {.n_fft = 400, .hop_length = 160};
  good.log = decibels(2.0, 1e-10, 80.0);
  const FilterBank bank = mel_bank(400, 80);
  const Array out(DType::kFloat32, filtered_spectrogram_shape(x, bank, good));
  const auto bad = [&](const std::vector<std::string>& parts, auto change) {
    FilteredSpectrogramParams params = good;
    change(params);
    expect_error(ErrorKind::kInvalidArgument, "filtered_spectrogram", parts,
                 [&] { filtered_spectrogram(x, nullptr, bank, params, out); });
  };
  bad({"filterbank", "200", "201"}, [](FilteredSpectrogramParams& p) { p.spectrogram.nyquist = false; });
  bad({"power", "-1"}, [](FilteredSpectrogramParams& p) { p.spectrogram.power = -1.0; });
  bad({"amin", "0"}, [](FilteredSpectrogramParams& p) { p.log.floor = 0.0; });
  bad({"amin", "-1"}, [](FilteredSpectrogramParams& p) { p.log.floor = -1.0; });
  bad({"top_db", "-3"}, [](FilteredSpectrogramParams& p) { p.log.top = -3.0; });
  bad({"top_db", "nan"}, [](FilteredSpectrogramParams& p) { p.log.top = std::nan(""); });
  bad({"nan"}, [](FilteredSpectrogramParams& p) { p.log.mul = std::nan(""); });
  bad({"nan"}, [](FilteredSpectrogramParams& p) { p.log.post_add = std::nan(""); });
  bad({"hop_length", "-1"}, [](FilteredSpectrogramParams& p) { p.spectrogram.frames.hop_length = -1; });
  bad({"out"}, [](FilteredSpectrogramParams& p) { p.spectrogram.layout = Layout::kFrameMajor; });
  EXPECT_TRUE(out.untouched());
}

}  // namespace
}  // namespace melisma
