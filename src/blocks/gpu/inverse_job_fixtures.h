// Inverse jobs of every operator, for tests of inverse kernels.
#pragma once

#include <complex>

#include "blocks/gpu/forward_job_fixtures.h"
#include "blocks/gpu/job.h"
#include "blocks/gpu/make_job.h"
#include "melisma/spectrogram.h"
#include "ops/spectrogram/gpu.h"
#include "testing/array.h"

namespace melisma::testing {

inline gpu::InverseJob stft_adjoint_job(const Tensor& grad, const Tensor* window, const StftParams& params,
                                        const Tensor& out) {
  gpu::InverseJob job = stft_adjoint_gpu_job(grad, window, params, check_stft(out, params, "test"), "test");
  job.out = gpu::make_signal(out);
  return job;
}

inline gpu::WindowJob window_gradient_job(const Tensor& x, const Tensor& grad, const StftParams& params,
                                          const Tensor& out) {
  return {gpu::make_signal(x), gpu::make_signal(out), stft_adjoint_job(grad, nullptr, params, x)};
}

inline gpu::InverseJob istft_job(const Tensor& spec, const Tensor* window, const IstftParams& params,
                                 const Tensor& out) {
  return istft_gpu_job(spec, window, params, check_istft(spec, params, "test", "input"), out);
}

inline gpu::InverseJob spectrogram_backward_job(const Tensor& x, const Tensor& grad, const Tensor* window,
                                                const SpectrogramParams& params, const Tensor& out) {
  return spectrogram_backward_gpu_job(x, grad, window, params, check_spectrogram(x, params, "test"), out, "test");
}

// weights: the bank's dense matrix; known: whether the kernel may know where it is zero.
inline gpu::InverseJob bands_backward_job(const Tensor& x, const Tensor& grad, const Tensor* window,
                                          const FilterBank& bank, const Tensor& weights, bool known,
                                          const FilteredSpectrogramParams& params, const Tensor& out) {
  const SpectrogramCall call = check_spectrogram(x, params.spectrogram, "test");
  const FilterBankView view(weights, known ? &bank : nullptr);
  return filtered_spectrogram_backward_gpu_job(x, grad, window, view, params, call, out, "test");
}

// The root mean square of the error over that of the reference.
inline double relative_rms_error(const Array& result, const Array& reference) {
  double error = 0, energy = 0;
  for (std::int64_t i = 0; i < reference.numel(); ++i) {
    error += std::norm(result.get(i) - reference.get(i));
    energy += std::norm(reference.get(i));
  }
  return energy == 0 ? std::sqrt(error) : std::sqrt(error / energy);
}

}  // namespace melisma::testing
