// The inverse STFT as its definition says it, in float64: overlap-add into the whole signal, divide, cut.
#include <algorithm>
#include <cinttypes>
#include <cmath>

#include "blocks/reference/reference.h"
#include "melisma/istft.h"
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

}  // namespace

void istft_reference(const Tensor& spec, const Tensor* window, const IstftParams& params, const Tensor& out) {
  const char* op = "istft_reference";
  const Shape shape = istft_shape(spec, params);
  const bool complex_result = is_complex(out.dtype);
  check_result(op, out, shape, complex_result ? DType::kComplex128 : DType::kFloat64);
  if (complex_result && params.onesided) fail_argument(op, "onesided must be false for a complex result, got true");
  const std::int64_t n_fft = checked_n_fft(params.n_fft, op), hop = checked_hop_length(params.hop_length, n_fft, op);
  const std::vector<double> w = padded_window(window, n_fft, params.win_length, 1.0, op);
  const double scale = params.normalized ? std::sqrt(static_cast<double>(n_fft)) : 1.0;

  const bool frame_major = params.layout == Layout::kFrameMajor;
  const int bin_axis = frame_major ? -1 : -2, frame_axis = frame_major ? -2 : -1;
  const std::int64_t frames = spec.size(frame_axis), bins = complex_result ? n_fft : n_fft / 2 + 1;
  const std::int64_t whole = n_fft + hop * (frames - 1), first = params.center ? n_fft / 2 : 0, samples = shape[-1];

  std::vector<double> envelope(static_cast<std::size_t>(whole));
  for (std::int64_t t = 0; t < frames; ++t) {
    for (std::int64_t i = 0; i < n_fft; ++i) {
      envelope[static_cast<std::size_t>(t * hop + i)] +=
          w[static_cast<std::size_t>(i)] * w[static_cast<std::size_t>(i)];
    }
  }
  for (std::int64_t i = first; i < std::min(whole, first + samples) && params.edge == EdgePolicy::kError; ++i) {
    const double e = envelope[static_cast<std::size_t>(i)];
    if (e < kLeastEnvelope) {
      fail_argument(op, "window must overlap to at least %g at every sample, got %g at sample %" PRId64, kLeastEnvelope,
                    e, i - first);
    }
  }

  for (std::int64_t item = 0; item < item_count(spec.shape, 2); ++item) {
    const std::int64_t base = item_offset(spec, 2, item);
    std::vector<Complex> sum(static_cast<std::size_t>(whole));
    for (std::int64_t t = 0; t < frames; ++t) {
      std::vector<Complex> column(static_cast<std::size_t>(bins));
      for (std::int64_t k = 0; k < bins; ++k) {
        column[static_cast<std::size_t>(k)] =
            reference::load(spec, base + k * spec.stride(bin_axis) + t * spec.stride(frame_axis));
      }
      const std::vector<Complex> frame = inverse_frame(std::move(column), n_fft, complex_result, scale);
      for (std::int64_t i = 0; i < n_fft; ++i) {
        sum[static_cast<std::size_t>(t * hop + i)] +=
            frame[static_cast<std::size_t>(i)] * w[static_cast<std::size_t>(i)];
      }
    }
    const std::int64_t out_base = item_offset(out, 1, item);
    for (std::int64_t n = 0; n < samples; ++n) {
      Complex y = 0.0;
      if (first + n < whole) {
        const double e = envelope[static_cast<std::size_t>(first + n)];
        const bool vanishes = e < kLeastEnvelope;
        if (!vanishes) y = sum[static_cast<std::size_t>(first + n)] / e;
        if (vanishes && params.edge == EdgePolicy::kClamp)
          y = sum[static_cast<std::size_t>(first + n)] / kLeastEnvelope;
      }
      reference::store(out, out_base + n * out.stride(-1), y);
    }
  }
}

}  // namespace melisma
