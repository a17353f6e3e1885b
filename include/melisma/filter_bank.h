// A matrix of filters over the bins of a spectrum, stored as one band of non-zero weights per filter.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "melisma/tensor.h"

namespace melisma {

enum class MelScale : std::uint8_t {
  kHtk,     // 2595 log10(1 + f / 700)
  kSlaney,  // linear below 1 kHz (200/3 Hz a mel), logarithmic above (Slaney, Auditory Toolbox)
};
enum class MelNorm : std::uint8_t { kNone, kSlaney };  // kSlaney: each triangle times 2 / (its width in Hz)

struct MelParams {
  double sample_rate = 0.0;  // Hz
  std::int64_t n_mels = 128;
  double f_min = 0.0;   // Hz
  double f_max = -1.0;  // Hz; negative: sample_rate / 2
  MelScale scale = MelScale::kHtk;
  MelNorm norm = MelNorm::kNone;
};

struct LogBandParams {       // madmom's LogarithmicFilterbank
  double sample_rate = 0.0;  // Hz
  std::int64_t bands_per_octave = 12;
  double f_min = 30.0;       // Hz
  double f_max = 17000.0;    // Hz
  double f_ref = 440.0;      // Hz, one center lies exactly here
  bool norm_filters = true;  // each filter is divided by its sum
  bool unique_filters = true;
};

class FilterBank {
 public:
  struct Band {
    std::int64_t first_bin;  // of the non-zero weights
    std::int64_t count;
    std::int64_t offset;  // of the first weight in weights()
  };

  // weights: [bins, bands] float32 or float64, any strides (torchaudio's and madmom's orientation).
  explicit FilterBank(const Tensor& weights);
  static FilterBank mel(std::int64_t bins, const MelParams& params);
  // bins without Nyquist, bin k at k * sample_rate / (2 * bins)
  static FilterBank logarithmic(std::int64_t bins, const LogBandParams& params);

  std::int64_t bins() const { return bins_; }
  std::int64_t bands() const { return static_cast<std::int64_t>(band_.size()); }
  const std::vector<Band>& band() const { return band_; }
  const std::vector<double>& weights() const { return weights64_; }
  const std::vector<float>& weights_f32() const { return weights32_; }
  void to_dense(const Tensor& out) const;  // [bins, bands] float32 or float64

  // Two hashes of bins, bands and float64 weights, computed when they are first asked for.
  struct Fingerprint {
    std::uint64_t first = 0, second = 0;
  };
  const Fingerprint& fingerprint() const;

 private:
  struct LazyFingerprint;

  explicit FilterBank(std::int64_t bins);
  void append(std::int64_t first_bin, const std::vector<double>& weights);

  std::int64_t bins_ = 0;
  std::vector<Band> band_;
  std::vector<double> weights64_;
  std::vector<float> weights32_;
  std::shared_ptr<LazyFingerprint> fingerprint_;  // of all copies: a bank does not change
};

// A filter bank as an operator takes it. On the CPU: a FilterBank. On a GPU: its dense matrix in device memory and,
// where the host knows the weights without waiting for the device (a trainable bank's it does not), the FilterBank
// beside it: only with that can kernels skip the zeros. What it is made from must outlive it.
class FilterBankView {
 public:
  FilterBankView(const FilterBank& bank) : host_(&bank) {}  // NOLINT: a FilterBank is one
  // weights: [bins, bands] float32 or float64, any strides; host: the same values, or null.
  explicit FilterBankView(const Tensor& weights, const FilterBank* host = nullptr);

  std::int64_t bins() const { return weights_ ? weights_->size(0) : host_->bins(); }
  std::int64_t bands() const { return weights_ ? weights_->size(1) : host_->bands(); }
  const FilterBank* host() const { return host_; }
  const Tensor* weights() const { return weights_ ? &*weights_ : nullptr; }

 private:
  const FilterBank* host_ = nullptr;
  std::optional<Tensor> weights_;
};

}  // namespace melisma
