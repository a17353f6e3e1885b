// Short-time Fourier transform.  X[f, t] = sum_n x[t * hop + n - pad] w[n] exp(-2 pi i f n / n_fft)
#pragma once

#include "melisma/frames.h"
#include "melisma/queue.h"
#include "melisma/runtime.h"
#include "melisma/tensor.h"

namespace melisma {

struct StftParams {
  FrameParams frames;
  bool normalized = false;  // times 1 / sqrt(n_fft)
  bool onesided = true;     // bins 0 .. n_fft/2 only; must be false for complex input
  bool nyquist = true;      // false leaves bin n_fft/2 out of a one-sided result (madmom); needs an even n_fft
  Layout layout = Layout::kFrequencyMajor;
};

// x:      [..., samples] int16, float32, float64, complex64 or complex128, on a GPU float16 or bfloat16 too, any
// strides window: [win_length] float32 or float64 (complex is refused), or null for ones out:    stft_shape(x, params),
// complex64 or, from float64 and complex128, complex128, any strides, no overlap with x Computed in float32 unless x is
// float64 or complex128. All tensors on one device: here and in every operator.
Shape stft_shape(const Tensor& x, const StftParams& params);
void stft(const Tensor& x, const Tensor* window, const StftParams& params, const Tensor& out, const Queue& queue = {});
Explanation explain_stft(const Tensor& x, const StftParams& params);

// The gradient of a real function of stft(x, window, params) with respect to x, from its gradient with respect to the
// spectrum: the adjoint of stft under <G, X> = Re sum conj(G) X. A complex gradient is dL/dRe + i dL/dIm, as PyTorch's.
// grad:   stft_shape(out, params), complex64 or complex128, any strides
// window: as above
// out:    x's shape [..., samples], float32 or float64 of grad's precision, or complex64 or complex128 where x was
//         complex (needs onesided = false), on a GPU float16 or bfloat16 in place of float32; any strides, no overlap
//         with grad. Samples that no frame reaches become 0.
void stft_adjoint(const Tensor& grad, const Tensor* window, const StftParams& params, const Tensor& out,
                  const Queue& queue = {});

// The gradient with respect to the window, summed over frames and items in float64 and in an order that does not depend
// on the number of threads.
// x:    as above
// grad: stft_shape(x, params), of the dtype that stft(x) gives, any strides
// out:  [win_length] float32 or float64
void stft_window_gradient(const Tensor& x, const Tensor& grad, const StftParams& params, const Tensor& out,
                          const Queue& queue = {});

// The same in plain float64 arithmetic whatever x is; out is complex128. For tests, benchmarks and documentation.
void stft_reference(const Tensor& x, const Tensor* window, const StftParams& params, const Tensor& out);
void stft_adjoint_reference(const Tensor& grad, const Tensor* window, const StftParams& params, const Tensor& out);
void stft_window_gradient_reference(const Tensor& x, const Tensor& grad, const StftParams& params, const Tensor& out);

}  // namespace melisma
