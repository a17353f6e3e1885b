// Inverse short-time Fourier transform by overlap-add:
//   y[n] = sum_t w[n - t hop] irfft(X[:, t])[n - t hop] / sum_t w[n - t hop]^2      (Griffin & Lim 1984, eq. 6)
#pragma once

#include "melisma/frames.h"
#include "melisma/queue.h"
#include "melisma/runtime.h"
#include "melisma/tensor.h"

namespace melisma {

// What happens where the overlap-added squared window is below 1e-11 inside the samples asked for.
enum class EdgePolicy : std::uint8_t {
  kError,  // Error, as torch.istft; on a GPU, whose window is not read on the host, NaN: see check_istft_envelope
  kZero,   // such samples are 0
  kClamp,  // the envelope is taken as 1e-11 there
};

struct IstftParams {
  std::int64_t n_fft = 0;
  std::int64_t hop_length = 0;  // 0 means n_fft / 4
  std::int64_t win_length = 0;  // 0 means n_fft
  bool center = true;           // the first n_fft / 2 samples are cut off
  bool normalized = false;      // spectrum is times sqrt(n_fft) before the inverse transform
  bool onesided = true;         // false: the spectrum has n_fft bins; for a real result the first n_fft/2+1 are used
  std::int64_t length = -1;     // samples of the result; -1: as many as the frames give. Beyond the frames' end: zeros.
  EdgePolicy edge = EdgePolicy::kError;
  Layout layout = Layout::kFrequencyMajor;
};

// spec:   [..., bins, frames] (or [..., frames, bins]) complex64 or complex128, any strides. Imaginary parts of DC and
//         (even n_fft) Nyquist are ignored where the result is real.
// window: [win_length] float32 or float64, or null for ones
// out:    istft_shape(spec, params): [..., samples] float32 / float64, or complex64 / complex128 for a complex result
//         (needs onesided = false); on a GPU float16 or bfloat16 in place of float32
Shape istft_shape(const Tensor& spec, const IstftParams& params);
void istft(const Tensor& spec, const Tensor* window, const IstftParams& params, const Tensor& out,
           const Queue& queue = {});
Explanation explain_istft(const Tensor& spec, const IstftParams& params);

// The Error of EdgePolicy::kError for a spectrum of `frames` frames, whatever params.edge says: for callers on a GPU
// that know the window's values without waiting for the device. window: [win_length] on the CPU, or null for ones.
void check_istft_envelope(const Tensor* window, const IstftParams& params, std::int64_t frames);

// The gradient of a real function of istft(spec, window, params) with respect to spec, from its gradient with respect
// to the samples: the adjoint of istft under <G, X> = Re sum conj(G) X.
// grad: istft_shape(out, params): [..., samples] float32 or float64, or complex64 or complex128 where the result was
//       complex (needs onesided = false), on a GPU float16 or bfloat16 in place of float32; any strides
// out:  spec's shape [..., bins, frames] (or [..., frames, bins]), complex of grad's precision, any strides, no overlap
//       with grad. Where the result was real, the imaginary parts of DC and (even n_fft) Nyquist and every bin above
//       n_fft / 2 are 0, for istft does not read them.
void istft_adjoint(const Tensor& grad, const Tensor* window, const IstftParams& params, const Tensor& out,
                   const Queue& queue = {});

void istft_reference(const Tensor& spec, const Tensor* window, const IstftParams& params, const Tensor& out);
void istft_adjoint_reference(const Tensor& grad, const Tensor* window, const IstftParams& params, const Tensor& out);

}  // namespace melisma
