// From an inverse job to the arguments of its kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "blocks/gpu/forward_args.h"
#include "blocks/gpu/gradient_frames-kernel.h"
#include "blocks/gpu/job.h"

namespace melisma::gpu {

inline bool computes_again(const InverseJob& job) { return job.x.data != nullptr; }
inline bool complex_frames(const InverseJob& job) { return !computes_again(job) && job.bins == BinSet::kAll; }

// As generic_forward's: Bluestein's convolutions in float64 where the device can.
template <class Runner>
bool inverse_in_float64(const InverseJob& job, const Runner& runner) {
  return job.float64 || (runner.float64() && !is_smooth(transform_values(job.framing.n_fft, complex_frames(job))));
}

inline int spectrum_bins(BinSet bins) {
  switch (bins) {
    case BinSet::kHalf: return kSpectrumHalf;
    case BinSet::kNoNyquist: return kSpectrumNoNyquist;
    case BinSet::kFolded: return kSpectrumFolded;
    case BinSet::kAll: return kSpectrumAll;
  }
  return kSpectrumHalf;
}

inline HopBounds hop_bounds(const Framing& framing) {
  if (framing.fractional_hop <= 0) return {framing.hop, framing.hop};
  return {static_cast<std::int64_t>(std::floor(framing.fractional_hop)),
          static_cast<std::int64_t>(std::ceil(framing.fractional_hop))};
}

// The bands that each bin lies in, those between two such bands included.
template <class Runner>
const BandRange* bands_of_bin(const Bank& bank, Runner& runner) {
  const auto fill = [&](void* to) {
    BandRange* const ranges = static_cast<BandRange*>(to);
    std::fill_n(ranges, bank.bins, BandRange{static_cast<std::int32_t>(bank.bands), 0});
    std::int32_t b = 0;
    for (const FilterBank::Band& band : bank.host->band()) {
      for (std::int64_t k = band.first_bin; k < band.first_bin + band.count; ++k) {
        BandRange& range = ranges[k];
        if (range.count == 0) range.first = b;
        range.count = b + 1 - range.first;
      }
      ++b;
    }
  };
  return static_cast<const BandRange*>(
      runner.table(bank_key("bands_of_bin", bank), static_cast<std::size_t>(bank.bins) * sizeof(BandRange), fill));
}

// weights: of a bank that the host does not know, bin by bin.
template <typename T, class Runner>
GradientArgs<T> gradient_args(const InverseJob& job, Runner& runner, ScannedBank<T>* weights = nullptr) {
  GradientArgs<T> args{};
  const double power = job.power.power, exponent = power / 2 - 1;
  const bool packed = job.framing.n_fft % 2 == 0;  // the window is halved then, which stands for the gain's half
  double gain = packed ? power : power / 2;
  args.x = signal_args(job.x);
  args.grad = grid_args(job.spec);
  args.power = power_args<T>(power);
  args.slope.exponent = static_cast<T>(exponent);
  args.slope.exponent_low = static_cast<T>(exponent - static_cast<double>(args.slope.exponent));
  args.slope.least = std::numeric_limits<T>::min();
  args.bins = static_cast<int>(job.bin_count);
  if (job.bands) {
    const LogParams& log = job.power.log;
    gain *= log.post_mul;
    args.with_bands = 1;
    args.bins = static_cast<int>(job.power.bank.bins);
    args.bank = matrix_args(job.power.bank);
    if (job.power.bank.host != nullptr) {
      args.bank.ranges = band_ranges(job.power.bank, runner);
      args.bands_of_bin = bands_of_bin(job.power.bank, runner);
    } else {
      const ScannedBank<T> scanned = scan_bank<T>(job.power.bank, weights != nullptr, runner);
      args.bank.ranges = scanned.bins_of_band;
      args.bands_of_bin = scanned.bands_of_bin;
      if (weights != nullptr) *weights = scanned;
    }
    args.log = {log.enabled ? 1 : 0, static_cast<T>(log.scale * log.mul), static_cast<T>(log.mul),
                static_cast<T>(log.add), static_cast<T>(log.floor)};
  }
  args.gain = static_cast<T>(gain);
  return args;
}

// Spectrum or gradient.
template <class Args, class Runner>
void set_source(const InverseJob& job, Args& args, Runner& runner) {
  using T = decltype(args.gradient.gain);
  if (computes_again(job)) {
    args.gradient = gradient_args<T>(job, runner);
  } else {
    args.spectrum = {grid_args(job.spec), static_cast<T>(job.edge_bins), spectrum_bins(job.bins)};
  }
}

// What is not the transform's own: the twiddles of packed frames.
template <typename T, class Runner>
FrameTransform<T> make_unwindowed_tables(const InverseJob& job, Runner& runner) {
  FrameTransform<T> result{};
  result.n_fft = static_cast<int>(job.framing.n_fft);
  result.complex_input = complex_frames(job) ? 1 : 0;
  if (!complex_frames(job) && job.framing.n_fft % 2 == 0) {
    result.real_twiddles = make_real_twiddles<T>(job.framing.n_fft, runner);
  }
  return result;
}
template <typename T, class Runner>
FrameTransform<T> make_inverse_tables(const InverseJob& job, Runner& runner) {
  if (computes_again(job)) return make_frame_tables<T>(job.window, job.framing.n_fft, false, runner);
  FrameTransform<T> result = make_unwindowed_tables<T>(job, runner);
  result.window = padded_window<T>(job.window, job.framing.n_fft, 1.0, runner);
  return result;
}

inline std::string transform_name(const InverseJob& job) {
  const std::int64_t values = transform_values(job.framing.n_fft, complex_frames(job));
  std::string name = "block-fft " + std::to_string(values);
  if (!is_smooth(values)) name += " by Bluestein in " + std::to_string(block_transform(values));
  return name;
}

}  // namespace melisma::gpu
