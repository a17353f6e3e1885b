#include "melisma/filter_bank.h"

#include <algorithm>
#include <bit>
#include <cinttypes>
#include <cmath>
#include <mutex>
#include <set>

#include "runtime/check.h"

namespace melisma {
namespace {

double hz_to_mel(double hz, MelScale scale) {
  if (scale == MelScale::kHtk) return 2595.0 * std::log10(1.0 + hz / 700.0);
  constexpr double kHzPerMel = 200.0 / 3.0, kLogStart = 1000.0;
  if (hz < kLogStart) return hz / kHzPerMel;
  return kLogStart / kHzPerMel + std::log(hz / kLogStart) / (std::log(6.4) / 27.0);
}

double mel_to_hz(double mel, MelScale scale) {
  if (scale == MelScale::kHtk) return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0);
  constexpr double kHzPerMel = 200.0 / 3.0, kLogStart = 1000.0, kLogStartMel = kLogStart / kHzPerMel;
  if (mel < kLogStartMel) return mel * kHzPerMel;
  return kLogStart * std::exp(std::log(6.4) / 27.0 * (mel - kLogStartMel));
}

void check_bins(const char* op, std::int64_t bins) {
  if (bins < 1 || bins > (std::int64_t{1} << 28)) fail_argument(op, "bins must be 1 to 2^28, got %" PRId64, bins);
}

void check_rate(const char* op, double rate) {
  if (!(rate > 0) || !std::isfinite(rate)) fail_argument(op, "sample_rate must be positive and finite, got %g", rate);
}

}  // namespace

struct FilterBank::LazyFingerprint {
  std::once_flag once;
  Fingerprint value;
};

FilterBank::FilterBank(std::int64_t bins) : bins_(bins), fingerprint_(std::make_shared<LazyFingerprint>()) {}

// FNV-1a over 64-bit words mixed before by the finalisers of splitmix64 and of MurmurHash3.
const FilterBank::Fingerprint& FilterBank::fingerprint() const {
  std::call_once(fingerprint_->once, [this] {
    std::uint64_t first = 0xCBF29CE484222325u, second = 0x9E3779B97F4A7C15u;
    const auto add = [&](std::uint64_t word) {
      std::uint64_t a = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9u, b = (word ^ (word >> 33)) * 0xFF51AFD7ED558CCDu;
      a = (a ^ (a >> 27)) * 0x94D049BB133111EBu;
      b = (b ^ (b >> 33)) * 0xC4CEB9FE1A85EC53u;
      first = (first ^ a ^ (a >> 31)) * 0x100000001B3u;
      second = (second + b + (second << 6) + (second >> 2)) * 0x100000001B3u;
    };
    add(static_cast<std::uint64_t>(bins_));
    for (const Band& band : band_) {
      add(static_cast<std::uint64_t>(band.first_bin));
      add(static_cast<std::uint64_t>(band.count));
    }
    for (const double weight : weights64_) add(std::bit_cast<std::uint64_t>(weight));
    fingerprint_->value = {first, second};
  });
  return fingerprint_->value;
}

void FilterBank::append(std::int64_t first_bin, const std::vector<double>& weights) {
  std::size_t begin = 0, end = weights.size();
  while (begin < end && weights[begin] == 0.0) ++begin;
  while (end > begin && weights[end - 1] == 0.0) --end;
  const bool empty = begin == end;
  band_.push_back({empty ? 0 : first_bin + static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end - begin),
                   static_cast<std::int64_t>(weights64_.size())});
  weights64_.insert(weights64_.end(), weights.data() + begin, weights.data() + end);
  weights32_.insert(weights32_.end(), weights.data() + begin, weights.data() + end);
}

FilterBank::FilterBank(const Tensor& weights) : FilterBank(std::int64_t{0}) {
  const char* op = "filter_bank";
  if (weights.ndim() != 2) fail_argument(op, "filterbank must be 2-D [bins, bands], got %d-D", weights.ndim());
  if (weights.dtype != DType::kFloat32 && weights.dtype != DType::kFloat64) {
    fail_type(op, "filterbank must be float32 or float64, got %s", dtype_name(weights.dtype));
  }
  check_on_cpu(op, weights, "filterbank");
  check_bins(op, weights.size(0));
  if (weights.size(1) < 1) fail_argument(op, "filterbank must have at least one band, got 0");
  bins_ = weights.size(0);
  std::vector<double> column(static_cast<std::size_t>(bins_));
  for (std::int64_t b = 0; b < weights.size(1); ++b) {
    for (std::int64_t k = 0; k < bins_; ++k) {
      const std::int64_t at = k * weights.stride(0) + b * weights.stride(1);
      const double w =
          weights.dtype == DType::kFloat32 ? static_cast<double>(weights.as<float>()[at]) : weights.as<double>()[at];
      if (!std::isfinite(w))
        fail_argument(op, "filterbank must be finite, got %g at bin %" PRId64 ", band %" PRId64, w, k, b);
      column[static_cast<std::size_t>(k)] = w;
    }
    append(0, column);
  }
}

FilterBank FilterBank::mel(std::int64_t bins, const MelParams& params) {
  const char* op = "mel_filter_bank";
  check_bins(op, bins);
  check_rate(op, params.sample_rate);
  if (params.n_mels < 1 || params.n_mels > (1 << 16))
    fail_argument(op, "n_mels must be 1 to 2^16, got %" PRId64, params.n_mels);
  const double nyquist = params.sample_rate / 2;
  const double f_max = params.f_max < 0 ? nyquist : params.f_max;
  if (!(params.f_min >= 0) || !std::isfinite(params.f_min))
    fail_argument(op, "f_min must be >= 0 Hz, got %g", params.f_min);
  if (!(f_max > params.f_min) || !std::isfinite(f_max)) {
    fail_argument(op, "f_max must be above f_min = %g Hz, got %g", params.f_min, f_max);
  }
  std::vector<double> edges(static_cast<std::size_t>(params.n_mels + 2));
  const double low = hz_to_mel(params.f_min, params.scale), high = hz_to_mel(f_max, params.scale);
  for (std::size_t i = 0; i < edges.size(); ++i) {
    edges[i] =
        mel_to_hz(low + (high - low) * static_cast<double>(i) / static_cast<double>(params.n_mels + 1), params.scale);
  }
  FilterBank bank(bins);
  bank.weights64_.reserve(static_cast<std::size_t>(2 * bins));  // a bin lies in two triangles at most
  bank.weights32_.reserve(static_cast<std::size_t>(2 * bins));
  std::vector<double> weights;
  const double step = bins > 1 ? nyquist / static_cast<double>(bins - 1) : 0.0;
  for (std::int64_t m = 0; m < params.n_mels; ++m) {
    const double left = edges[static_cast<std::size_t>(m)], center = edges[static_cast<std::size_t>(m + 1)],
                 right = edges[static_cast<std::size_t>(m + 2)];
    if (!(right > left) || !std::isfinite(2.0 / (right - left))) {
      fail_argument(op, "f_max must be further above f_min = %g Hz for %" PRId64 " bands, got %g", params.f_min,
                    params.n_mels, f_max);
    }
    const double height = params.norm == MelNorm::kSlaney ? 2.0 / (right - left) : 1.0;
    const std::int64_t first =
        step > 0 ? std::clamp<std::int64_t>(static_cast<std::int64_t>(left / step), 0, bins - 1) : 0;
    std::int64_t last = step > 0 ? static_cast<std::int64_t>(std::min(right / step + 1, double(bins - 1))) : bins - 1;
    while (last > first && static_cast<double>(last) * step > right) --last;
    weights.resize(static_cast<std::size_t>(last - first + 1));
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const double f = static_cast<double>(first + static_cast<std::int64_t>(i)) * step;
      const double slope = f < center ? (f - left) / (center - left) : (right - f) / (right - center);
      weights[i] = height * std::max(0.0, slope);
    }
    bank.append(first, weights);
  }
  return bank;
}

FilterBank FilterBank::logarithmic(std::int64_t bins, const LogBandParams& params) {
  const char* op = "log_filter_bank";
  check_bins(op, bins);
  check_rate(op, params.sample_rate);
  const std::int64_t per_octave = params.bands_per_octave;
  if (per_octave < 1 || per_octave > 4096)
    fail_argument(op, "bands_per_octave must be 1 to 4096, got %" PRId64, per_octave);
  if (!(params.f_min > 0)) fail_argument(op, "f_min must be > 0 Hz, got %g", params.f_min);
  if (!(params.f_max > params.f_min) || !std::isfinite(params.f_max)) {
    fail_argument(op, "f_max must be above f_min = %g Hz, got %g", params.f_min, params.f_max);
  }
  if (!(params.f_ref > 0) || !std::isfinite(params.f_ref))
    fail_argument(op, "f_ref must be > 0 Hz, got %g", params.f_ref);
  // Centers on the grid f_ref 2^(k / bands_per_octave), kept inside [f_min, f_max].
  const double n = static_cast<double>(per_octave);
  const std::int64_t k_first = static_cast<std::int64_t>(std::floor(std::log2(params.f_min / params.f_ref) * n));
  const std::int64_t k_last = static_cast<std::int64_t>(std::ceil(std::log2(params.f_max / params.f_ref) * n));
  const double step = params.sample_rate / (2.0 * static_cast<double>(bins));
  std::vector<std::int64_t> centers;
  for (std::int64_t k = k_first; k < k_last; ++k) {
    const double f = params.f_ref * std::pow(2.0, static_cast<double>(k) / n);
    if (f < params.f_min || f > params.f_max) continue;
    // The nearest bin; a tie goes to the upper one, as in madmom.
    std::int64_t bin = static_cast<std::int64_t>(f / step);
    bin = std::clamp<std::int64_t>(bin, 0, bins - 1);
    if (bin + 1 < bins && static_cast<double>(bin + 1) * step - f <= f - static_cast<double>(bin) * step) ++bin;
    if (params.unique_filters && !centers.empty() && centers.back() == bin) continue;
    centers.push_back(bin);
  }
  if (centers.size() < 3) {
    fail_argument(op, "bands must be at least 1, got 0: %zu centers between %g and %g Hz on %" PRId64 " bins",
                  centers.size(), params.f_min, params.f_max, bins);
  }
  // Triangles between neighbouring centers: rising without its end, falling from the center; float32, as madmom's are.
  FilterBank bank(bins);
  for (std::size_t i = 0; i + 2 < centers.size(); ++i) {
    std::int64_t start = centers[i], center = centers[i + 1], stop = centers[i + 2];
    if (stop - start < 2) {  // too narrow for a triangle: one bin
      center = start;
      stop = start + 1;
    }
    std::vector<double> weights;
    for (std::int64_t k = start; k < center; ++k) {
      weights.push_back(static_cast<double>(k - start) / static_cast<double>(center - start));
    }
    for (std::int64_t k = center; k < stop; ++k) {
      weights.push_back(1.0 - static_cast<double>(k - center) / static_cast<double>(stop - center));
    }
    double sum = 0;
    for (double& w : weights) sum += w = static_cast<double>(static_cast<float>(w));
    if (params.norm_filters) {
      for (double& w : weights) w = static_cast<double>(static_cast<float>(w / sum));
    }
    bank.append(start, weights);
  }
  return bank;
}

void FilterBank::to_dense(const Tensor& out) const {
  const char* op = "filter_bank";
  if (out.dtype != DType::kFloat32 && out.dtype != DType::kFloat64) {
    fail_type(op, "out must be float32 or float64, got %s", dtype_name(out.dtype));
  }
  check_result(op, out, Shape{bins(), bands()}, out.dtype);
  check_on_cpu(op, out, "out");
  for (std::int64_t b = 0; b < bands(); ++b) {
    const Band& band = band_[static_cast<std::size_t>(b)];
    for (std::int64_t k = 0; k < bins_; ++k) {
      const bool inside = k >= band.first_bin && k < band.first_bin + band.count;
      const double w = inside ? weights64_[static_cast<std::size_t>(band.offset + k - band.first_bin)] : 0.0;
      const std::int64_t at = k * out.stride(0) + b * out.stride(1);
      if (out.dtype == DType::kFloat32) {
        out.as<float>()[at] = static_cast<float>(w);
      } else {
        out.as<double>()[at] = w;
      }
    }
  }
}

FilterBankView::FilterBankView(const Tensor& weights, const FilterBank* host) : host_(host), weights_(weights) {
  const char* op = "filter_bank";
  if (weights.ndim() != 2) fail_argument(op, "filterbank must be 2-D [bins, bands], got %d-D", weights.ndim());
  if (weights.dtype != DType::kFloat32 && weights.dtype != DType::kFloat64) {
    fail_type(op, "filterbank must be float32 or float64, got %s", dtype_name(weights.dtype));
  }
  if (weights.size(1) < 1) fail_argument(op, "filterbank must have at least one band, got 0");
  if (host != nullptr) check_result(op, weights, Shape{host->bins(), host->bands()}, weights.dtype, "filterbank");
}

}  // namespace melisma
