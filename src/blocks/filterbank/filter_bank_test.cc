#include "melisma/filter_bank.h"

#include <cmath>
#include <limits>

#include "blocks/filterbank/bank_by_bin.h"
#include "testing/array.h"
#include "testing/fixtures.h"

namespace melisma {
namespace {

using namespace testing;

Array dense(const FilterBank& bank, DType dtype = DType::kFloat64) {
  Array out(dtype, {bank.bins(), bank.bands()}, {{1, 0}, 1, 3, {}});
  bank.to_dense(out);
  out.expect_written_exactly("to_dense");
  return out;
}

TEST(FilterBank, DenseAndBandedAreTheSame) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    Array weights = Array(dtype, {20, 7}, {{1, 0}, 2, 0, {0}}).randomize(3);
    for (std::int64_t k = 0; k < 20; ++k) {
      for (std::int64_t b = 0; b < 7; ++b) {
        if (k < b || k > b + 4 || b == 3) weights.set(k * 7 + b, 0.0);  // band 3 is empty
      }
    }
    const FilterBank bank(weights);
    EXPECT_EQ(bank.bins(), 20);
    ASSERT_EQ(bank.bands(), 7);
    EXPECT_EQ(bank.band()[2].first_bin, 2);
    EXPECT_EQ(bank.band()[2].count, 5);
    EXPECT_EQ(bank.band()[3].count, 0);
    const Array back = dense(bank);
    for (std::int64_t i = 0; i < weights.numel(); ++i) EXPECT_EQ(back.get(i), weights.get(i)) << i;
  }
}

TEST(FilterBank, ByBinIsTheTranspose) {
  Array weights = Array(DType::kFloat64, {20, 7}).randomize(5);
  for (std::int64_t i = 0; i < weights.numel(); ++i) {
    if (i % 4 == 0 || i % 7 == 3) weights.set(i, 0.0);
  }
  const FilterBank bank(weights);
  const BankByBin<double> by_bin(bank);
  ASSERT_EQ(by_bin.first.size(), 21u);
  std::size_t at = 0;
  for (std::int64_t i = 0; i < weights.numel(); ++i) {
    if (i % 7 == 0) {
      EXPECT_EQ(by_bin.first[static_cast<std::size_t>(i / 7)], static_cast<std::int64_t>(at));
    }
    if (weights.get(i) == 0.0) continue;
    ASSERT_LT(at, by_bin.entries.size());
    EXPECT_EQ(by_bin.entries[at].band, i % 7);
    EXPECT_EQ(by_bin.entries[at++].weight, weights.get(i).real());
  }
  EXPECT_EQ(by_bin.first[20], static_cast<std::int64_t>(at));
  EXPECT_EQ(by_bin.entries.size(), at);
}

TEST(FilterBank, MelTriangles) {
  for (const MelScale scale : {MelScale::kHtk, MelScale::kSlaney}) {
    for (const MelNorm norm : {MelNorm::kNone, MelNorm::kSlaney}) {
      MelParams params{.sample_rate = 16000.0, .n_mels = 40, .f_min = 20.0, .f_max = 7600.0};
      params.scale = scale;
      params.norm = norm;
      const FilterBank bank = FilterBank::mel(1025, params);
      ASSERT_EQ(bank.bands(), 40);
      const Array w = dense(bank);
      std::int64_t last_peak = -1;
      for (std::int64_t b = 0; b < 40; ++b) {
        double most = 0.0, area = 0.0;
        std::int64_t peak = 0;
        for (std::int64_t k = 0; k < 1025; ++k) {
          const double weight = w.get(k * 40 + b).real();
          EXPECT_GE(weight, 0.0);
          area += weight * 16000.0 / 2048.0;
          if (weight > most) {
            most = weight;
            peak = k;
          }
        }
        EXPECT_GT(peak, last_peak) << b;
        last_peak = peak;
        if (norm == MelNorm::kNone) {
          EXPECT_LE(most, 1.0);
          EXPECT_GT(most, 0.7) << b;
        } else {
          EXPECT_NEAR(area, 1.0, 0.05) << b;  // the triangles' areas, sampled at the bins
        }
      }
      // Outside f_min and f_max, and in the bins' own edges, nothing.
      for (std::int64_t b = 0; b < 40; ++b) {
        EXPECT_EQ(w.get(2 * 40 + b).real(), 0.0);     // 15.6 Hz
        EXPECT_EQ(w.get(1000 * 40 + b).real(), 0.0);  // 7812 Hz
      }
    }
  }
}

TEST(FilterBank, MelFormulaAtAPoint) {
  // Band 0 of 1 over 0..8000 Hz with HTK's scale: edges at 0, m/2 and m.
  const double mel = 2595.0 * std::log10(1.0 + 8000.0 / 700.0);
  const double center = 700.0 * (std::pow(10.0, mel / 2 / 2595.0) - 1.0);
  const Array w = dense(FilterBank::mel(9, {.sample_rate = 16000.0, .n_mels = 1}));
  for (std::int64_t k = 0; k < 9; ++k) {
    const double f = 1000.0 * static_cast<double>(k);
    const double want = f <= center ? f / center : (8000.0 - f) / (8000.0 - center);
    EXPECT_NEAR(w.get(k).real(), want, 1e-12) << k;
  }
}

TEST(FilterBank, MadmomsLogarithmicBank) {
  const FilterBank bank = FilterBank::logarithmic(1024, {.sample_rate = 44100.0});
  EXPECT_EQ(bank.bands(), 81);
  const Array w = dense(bank);
  for (std::int64_t b = 0; b < 81; ++b) {
    double sum = 0.0;
    for (std::int64_t k = 0; k < 1024; ++k) sum += w.get(k * 81 + b).real();
    EXPECT_NEAR(sum, 1.0, 1e-6) << b;
  }
  LogBandParams all{.sample_rate = 44100.0};
  all.unique_filters = false;
  EXPECT_GT(FilterBank::logarithmic(1024, all).bands(), 81);
}

TEST(FilterBank, Errors) {
  const double nan = std::nan("");
  const auto mel = [](std::int64_t bins, MelParams params, const char* part) {
    expect_error(ErrorKind::kInvalidArgument, "mel_filter_bank", {part}, [&] { FilterBank::mel(bins, params); });
  };
  mel(0, {.sample_rate = 16000.0}, "bins");
  mel(std::int64_t{1} << 40, {.sample_rate = 16000.0}, "bins");
  mel(201, {.sample_rate = 0.0}, "sample_rate");
  mel(201, {.sample_rate = nan}, "sample_rate");
  mel(201, {.sample_rate = 16000.0, .n_mels = 0}, "n_mels");
  mel(201, {.sample_rate = 16000.0, .n_mels = std::numeric_limits<std::int64_t>::max()}, "n_mels");
  mel(201, {.sample_rate = 16000.0, .f_min = nan}, "f_min");
  mel(201, {.sample_rate = 16000.0, .f_min = 9000.0}, "f_max");
  mel(201, {.sample_rate = 16000.0, .f_max = nan}, "f_max");
  const auto bands = [](std::int64_t bins, LogBandParams params, const char* part) {
    expect_error(ErrorKind::kInvalidArgument, "log_filter_bank", {part},
                 [&] { FilterBank::logarithmic(bins, params); });
  };
  bands(-3, {.sample_rate = 44100.0}, "bins");
  bands(1024, {.sample_rate = 44100.0, .bands_per_octave = 0}, "bands_per_octave");
  bands(1024, {.sample_rate = 44100.0, .f_min = 0.0}, "f_min");
  bands(1024, {.sample_rate = 44100.0, .f_max = nan}, "f_max");
  bands(1024, {.sample_rate = 44100.0, .f_ref = -1.0}, "f_ref");
  bands(2, {.sample_rate = 44100.0}, "bands");
  const Array vector(DType::kFloat32, {5}), integers(DType::kInt16, {5, 2}), empty(DType::kFloat32, {5, 0});
  expect_error(ErrorKind::kInvalidArgument, "filter_bank", {"2-D"}, [&] { FilterBank{vector.tensor()}; });
  expect_error(ErrorKind::kInvalidType, "filter_bank", {"int16"}, [&] { FilterBank{integers.tensor()}; });
  expect_error(ErrorKind::kInvalidArgument, "filter_bank", {"band"}, [&] { FilterBank{empty.tensor()}; });
  Array infinite = Array(DType::kFloat32, {5, 2}).randomize();
  infinite.set(7, std::numeric_limits<double>::infinity());
  expect_error(ErrorKind::kInvalidArgument, "filter_bank", {"inf", "bin 3", "band 1"},
               [&] { FilterBank{infinite.tensor()}; });
}

}  // namespace
}  // namespace melisma
