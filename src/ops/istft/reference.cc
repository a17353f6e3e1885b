// The inverse STFT as its definition says it, in float64: overlap-add into the whole signal, divide, cut.
#include <algorithm>
#include <cinttypes>

#include "blocks/reference/reference.h"
#include "melisma/istft.h"
#include "ops/istft/support.h"
#include "runtime/check.h"

namespace melisma {
namespace {

using reference::Complex;

constexpr double kLeastEnvelope = 1e-11;  // torch.istft's

// The samples of one frame before the window.
std::vector<Complex> inverse_frame(std::vector<Complex> bins, std::int64_t n_fft, bool complex_result, double scale) {
  const std::size_t n = static_cast<std::size_t>(n_fft);
  if (!complex_result) {  // the other half by Hermitian symmetry; what is its own mirror has no imaginary part
    bins.resize(n);
    for (std::size_t k = n / 2 + 1; k < n; ++k) bins[k] = std::conj(bins[n - k]);
    bins[0] = bins[0].real();
    if (n % 2 == 0) bins[n / 2] = bins[n / 2].real();
  }
  std::vector<Complex> samples = reference::dft(bins, +1);
  for (Complex& y : samples) y *= scale / static_cast<double>(n_fft);
  return samples;
}

// What the samples of the result are multiplied by: the reciprocal of the overlap-added squared window, as the policy
// says where that vanishes, and 0 where no frame reaches.
std::vector<double> reciprocals(const std::vector<double>& w, const IstftCall& call, EdgePolicy edge, const char* op) {
  std::vector<double> result(static_cast<std::size_t>(call.samples));
  for (std::int64_t t = 0; t < call.frames; ++t) {
    for (std::int64_t i = 0; i < call.n_fft; ++i) {
      const std::int64_t n = t * call.hop + i - call.first;
      if (n < 0 || n >= call.samples) continue;
      result[static_cast<std::size_t>(n)] += w[static_cast<std::size_t>(i)] * w[static_cast<std::size_t>(i)];
    }
  }
  const std::int64_t end = call.n_fft + call.hop * (call.frames - 1) - call.first;  // of the frames
  for (std::int64_t n = 0; n < std::min(call.samples, end); ++n) {
    double& value = result[static_cast<std::size_t>(n)];
    const bool vanishes = value < kLeastEnvelope;
    if (vanishes && edge == EdgePolicy::kError) {
      fail_argument(op, "window must overlap to at least %g at every sample, got %g at sample %" PRId64, kLeastEnvelope,
                    value, n);
    }
    value = !vanishes ? 1.0 / value : edge == EdgePolicy::kClamp ? 1.0 / kLeastEnvelope : 0.0;
  }
  return result;
}

}  // namespace

void istft_reference(const Tensor& spec, const Tensor* window, const IstftParams& params, const Tensor& out) {
  const char* op = "istft_reference";
  const IstftCall call = check_istft(spec, params, op, "input");
  const bool complex_result = is_complex(out.dtype);
  check_result(op, out, call.shape, complex_result ? DType::kComplex128 : DType::kFloat64);
  if (complex_result && params.onesided) fail_argument(op, "onesided must be false for a complex result, got true");
  const std::vector<double> w = padded_window(window, call.n_fft, call.win_length, 1.0, op);
  const std::vector<double> inverse = reciprocals(w, call, params.edge, op);
  const bool frame_major = params.layout == Layout::kFrameMajor;
  const int bin_axis = frame_major ? -1 : -2, frame_axis = frame_major ? -2 : -1;
  const std::int64_t bins = complex_result ? call.n_fft : call.n_fft / 2 + 1;
  for (std::int64_t item = 0; item < item_count(spec.shape, 2); ++item) {
    const std::int64_t base = item_offset(spec, 2, item);
    std::vector<Complex> sum(static_cast<std::size_t>(call.samples));
    for (std::int64_t t = 0; t < call.frames; ++t) {
      std::vector<Complex> column(static_cast<std::size_t>(bins));
      for (std::int64_t k = 0; k < bins; ++k) {
        column[static_cast<std::size_t>(k)] =
            reference::load(spec, base + k * spec.stride(bin_axis) + t * spec.stride(frame_axis));
      }
      const std::vector<Complex> frame = inverse_frame(std::move(column), call.n_fft, complex_result, call.scale);
      for (std::int64_t i = 0; i < call.n_fft; ++i) {
        const std::int64_t n = t * call.hop + i - call.first;
        if (n < 0 || n >= call.samples) continue;
        sum[static_cast<std::size_t>(n)] += frame[static_cast<std::size_t>(i)] * w[static_cast<std::size_t>(i)];
      }
    }
    const std::int64_t out_base = item_offset(out, 1, item);
    for (std::int64_t n = 0; n < call.samples; ++n) {
      reference::store(out, out_base + n * out.stride(-1),
                       sum[static_cast<std::size_t>(n)] * inverse[static_cast<std::size_t>(n)]);
    }
  }
}

void istft_adjoint_reference(const Tensor& grad, const Tensor* window, const IstftParams& params, const Tensor& out) {
  const char* op = "istft_adjoint_reference";
  const IstftCall call = check_istft(out, params, op, "out");
  const bool complex_result = is_complex(grad.dtype);
  check_result(op, out, out.shape, DType::kComplex128);
  check_result(op, grad, call.shape, grad.dtype, "grad");
  if (complex_result && params.onesided) fail_argument(op, "onesided must be false for a complex gradient, got true");
  const std::vector<double> w = padded_window(window, call.n_fft, call.win_length, 1.0, op);
  const std::vector<double> inverse = reciprocals(w, call, params.edge, op);
  const bool frame_major = params.layout == Layout::kFrameMajor;
  const int bin_axis = frame_major ? -1 : -2, frame_axis = frame_major ? -2 : -1;
  for (std::int64_t item = 0; item < item_count(grad.shape, 1); ++item) {
    const std::int64_t base = item_offset(grad, 1, item), out_base = item_offset(out, 2, item);
    for (std::int64_t t = 0; t < call.frames; ++t) {
      std::vector<Complex> frame(static_cast<std::size_t>(call.n_fft));
      for (std::int64_t i = 0; i < call.n_fft; ++i) {
        const std::int64_t n = t * call.hop + i - call.first;
        if (n < 0 || n >= call.samples) continue;
        frame[static_cast<std::size_t>(i)] = reference::load(grad, base + n * grad.stride(-1)) *
                                             inverse[static_cast<std::size_t>(n)] * w[static_cast<std::size_t>(i)] *
                                             call.scale / static_cast<double>(call.n_fft);
      }
      const std::vector<Complex> spectrum = reference::dft(frame, -1);
      for (std::int64_t k = 0; k < call.bins; ++k) {
        Complex value = spectrum[static_cast<std::size_t>(k)];
        if (!complex_result) {  // bins between the edges stand for their mirror image too; those above are not read
          const bool edge = k == 0 || 2 * k == call.n_fft;
          value = edge ? Complex(value.real()) : 2 * k < call.n_fft ? 2.0 * value : 0.0;
        }
        reference::store(out, out_base + k * out.stride(bin_axis) + t * out.stride(frame_axis), value);
      }
    }
  }
}

}  // namespace melisma
