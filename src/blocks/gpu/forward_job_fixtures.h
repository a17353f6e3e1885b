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
#include "ops/filtered_spectrogram/support.h"
#include "ops/istft/support.h"
#include "ops/stft/support.h"
#include "testing/array.h"

namespace melisma::testing {

// Whether a job is computed in float64.
inline bool is_double(DType x) { return x == DType::kFloat64 || x == DType::kComplex128; }

inline gpu::ForwardJob stft_job(const Tensor& x, const Tensor* window, const StftParams& params, const Tensor& out) {
  const StftCall call = check_stft(x, params, "test");
  gpu::ForwardJob job;
  job.x = gpu::make_signal(x);
  job.out = gpu::make_grid(out, params.layout);
  job.items = item_count(x.shape, 1);
  job.framing = call.framing;
  job.window =
      gpu::make_window(window, checked_win_length(params.frames.win_length, call.framing.n_fft, "test"), call.scale);
  job.complex_input = call.complex_input;
  job.float64 = call.double_result;
  job.bins = call.bins;
  job.real_bins = params.onesided ? RealBins::kHalf : RealBins::kBoth;
  return job;
}

inline gpu::ForwardJob spectrogram_job(const Tensor& x, const Tensor* window, const SpectrogramParams& params,
                                       const Tensor& out) {
  const SpectrogramCall call = check_spectrogram(x, params, "test");
  gpu::ForwardJob job;
  job.x = gpu::make_signal(x);
  job.out = gpu::make_grid(out, params.layout);
  job.items = item_count(x.shape, 1);
  job.framing = call.framing;
  job.window = gpu::make_window(window, checked_win_length(params.frames.win_length, call.framing.n_fft, "test"),
                                spectrogram_scale(params));
  job.window.unit_energy = params.norm == SpectrumNorm::kWindow;
  job.float64 = call.double_result;
  job.bins = call.bins;
  job.epilogue = gpu::Epilogue::kPower;
  job.power.power = params.power;
  return job;
}

// weights: the bank's dense matrix.
inline gpu::ForwardJob bands_job(const Tensor& x, const Tensor* window, const FilterBank& bank, const Tensor& weights,
                                 const FilteredSpectrogramParams& params, const Tensor& out) {
  gpu::ForwardJob job = spectrogram_job(x, window, params.spectrogram, out);
  job.float64 = job.float64 || params.float64;
  job.epilogue = gpu::Epilogue::kBands;
  job.bins = bank.bins();
  job.power.bank = {&bank,       weights.data, weights.dtype, weights.stride(0), weights.stride(1),
                    bank.bins(), bank.bands()};
  job.power.log = params.log;
  job.power.top_items = params.log.top_scope == TopScope::kPacked && x.ndim() >= 2 ? x.size(-2) : 1;
  return job;
}

inline gpu::ForwardJob istft_adjoint_job(const Tensor& grad, const Tensor* window, const IstftParams& params,
                                         const Tensor& out) {
  const IstftCall call = check_istft(out, params, "test", "out");
  gpu::ForwardJob job;
  job.x = gpu::make_signal(grad);
  job.out = gpu::make_grid(out, params.layout);
  job.items = item_count(out.shape, 2);
  job.framing = call.framing;
  job.complex_input = is_complex(grad.dtype);
  job.window = gpu::make_window(window, call.win_length, istft_adjoint_scale(job.complex_input));
  job.float64 = call.double_result;
  job.envelope = {true, params.edge, call.scale};
  job.envelope_window = gpu::make_window(window, call.win_length, 1.0);
  job.bins = call.bins;
  job.real_bins = RealBins::kAdjoint;
  return job;
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
