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

// scale: of the window, adjoint_scale(call).
inline gpu::InverseJob stft_adjoint_job(const Tensor& grad, const Tensor* window, const StftParams& params,
                                        const Tensor& out) {
  const StftCall call = check_stft(out, params, "test");
  gpu::InverseJob job;
  job.out = gpu::make_signal(out);
  job.items = item_count(out.shape, 1);
  job.framing = call.framing;
  job.window = gpu::make_window(window, checked_win_length(params.frames.win_length, call.framing.n_fft, "test"),
                                adjoint_scale(call));
  job.float64 = call.double_result;
  job.spec = gpu::make_grid(grad, params.layout);
  job.bins = adjoint_bins(call, params);
  job.edge_bins = kAdjointEdgeBins;
  return job;
}

inline gpu::WindowJob window_gradient_job(const Tensor& x, const Tensor& grad, const StftParams& params,
                                          const Tensor& out) {
  return {gpu::make_signal(x), gpu::make_signal(out), stft_adjoint_job(grad, nullptr, params, x)};
}

inline gpu::InverseJob istft_job(const Tensor& spec, const Tensor* window, const IstftParams& params,
                                 const Tensor& out) {
  const IstftCall call = check_istft(spec, params, "test", "input");
  gpu::InverseJob job;
  job.out = gpu::make_signal(out);
  job.items = item_count(spec.shape, 2);
  job.framing = call.framing;
  job.window = job.envelope_window = gpu::make_window(window, call.win_length, 1.0);
  job.float64 = call.double_result;
  job.spec = gpu::make_grid(spec, params.layout);
  job.bins = is_complex(out.dtype) ? BinSet::kAll : BinSet::kHalf;
  job.envelope = {true, params.edge, call.scale};
  return job;
}

inline gpu::InverseJob spectrogram_backward_job(const Tensor& x, const Tensor& grad, const Tensor* window,
                                                const SpectrogramParams& params, const Tensor& out) {
  return spectrogram_backward_gpu_job(x, grad, window, params, check_spectrogram(x, params, "test"), out, "test");
}

// weights: the bank's dense matrix; known: whether the kernel may know where it is zero.
inline gpu::InverseJob bands_backward_job(const Tensor& x, const Tensor& grad, const Tensor* window,
                                          const FilterBank& bank, const Tensor& weights, bool known,
                                          const FilteredSpectrogramParams& params, const Tensor& out) {
  gpu::InverseJob job = spectrogram_backward_job(x, grad, window, params.spectrogram, out);
  job.float64 = job.float64 || params.float64;
  job.bands = true;
  job.power.bank = {known ? &bank : nullptr, weights.data, weights.dtype, weights.stride(0),
                    weights.stride(1),       bank.bins(),  bank.bands()};
  job.power.log = params.log;
  return job;
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
