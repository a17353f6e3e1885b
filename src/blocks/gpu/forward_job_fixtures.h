// Forward jobs of every operator and their float64 references, for tests of forward kernels.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <string>

#include "blocks/gpu/job.h"
#include "blocks/gpu/make_job.h"
#include "melisma/filtered_spectrogram.h"
#include "melisma/istft.h"
#include "melisma/stft.h"
#include "ops/filtered_spectrogram/gpu.h"
#include "ops/filtered_spectrogram/support.h"
#include "ops/istft/gpu.h"
#include "ops/spectrogram/gpu.h"
#include "ops/stft/gpu.h"
#include "testing/array.h"

namespace melisma::testing {

// Whether a job is computed in float64.
inline bool is_double(DType x) { return x == DType::kFloat64 || x == DType::kComplex128; }

inline gpu::ForwardJob stft_job(const Tensor& x, const Tensor* window, const StftParams& params, const Tensor& out) {
  return stft_gpu_job(x, window, params, check_stft(x, params, "test"), gpu::make_grid(out, params.layout), "test");
}

inline gpu::ForwardJob spectrogram_job(const Tensor& x, const Tensor* window, const SpectrogramParams& params,
                                       const Tensor& out) {
  const SpectrogramCall call = check_spectrogram(x, params, "test");
  return spectrogram_gpu_job(x, window, params, call, gpu::make_grid(out, params.layout), "test");
}

// weights: the bank's dense matrix.
inline gpu::ForwardJob bands_job(const Tensor& x, const Tensor* window, const FilterBank& bank, const Tensor& weights,
                                 const FilteredSpectrogramParams& params, const Tensor& out) {
  const SpectrogramCall call = check_spectrogram(x, params.spectrogram, "test");
  const gpu::Grid grid = gpu::make_grid(out, params.spectrogram.layout);
  return filtered_spectrogram_gpu_job(x, window, FilterBankView(weights, &bank), params, call, grid, "test");
}

inline gpu::ForwardJob istft_adjoint_job(const Tensor& grad, const Tensor* window, const IstftParams& params,
                                         const Tensor& out) {
  return istft_adjoint_gpu_job(grad, window, params, check_istft(out, params, "test", "out"), out);
}

// The largest error over the reference's rms.
inline double relative_error(const Array& result, const Array& reference) {
  double worst = 0, energy = 0;
  for (std::int64_t i = 0; i < reference.numel(); ++i) {
    const std::complex<double> expected = reference.get(i);
    const double error = std::abs(result.get(i) - expected);
    worst = error <= worst ? worst : error;  // NaN stays
    energy += std::norm(expected);
  }
  return worst / std::sqrt(energy / static_cast<double>(reference.numel()));
}

inline double allowed_error(DType x) { return is_double(x) ? 1e-13 : 2e-6; }

}  // namespace melisma::testing
