// The STFT as its definition says it, in float64.
#include <cmath>
#include <numeric>

#include "blocks/reference/reference.h"
#include "melisma/stft.h"
#include "ops/stft/support.h"
#include "runtime/check.h"

namespace melisma {
namespace {

using reference::Complex;

// Which sample of the signal stands at sample i of frame t.
struct Positions {
  const FrameParams& params;
  std::int64_t n_fft, hop, win;
  std::vector<std::int64_t> source;  // of each sample of the padded signal; -1: a zero

  Positions(std::int64_t length, const FrameParams& p, const Framing& framing)
      : params(p), n_fft(framing.n_fft), hop(framing.hop), win(p.win_length == 0 ? framing.n_fft : p.win_length) {
    // The padding is applied to the signal 1, 2, 3, ...
    std::vector<double> numbers(static_cast<std::size_t>(length));
    std::iota(numbers.begin(), numbers.end(), 1.0);
    const Tensor counted(numbers.data(), DType::kFloat64, {length});
    for (const Complex& n : reference::padded_signal(counted, 0, p.pad, p.center ? n_fft / 2 : 0, p.pad_mode)) {
      source.push_back(static_cast<std::int64_t>(n.real()) - 1);
    }
  }

  std::int64_t at(std::int64_t t, std::int64_t i) const {
    std::int64_t start = t * hop;
    if (params.fractional_hop > 0) start = static_cast<std::int64_t>(static_cast<double>(t) * params.fractional_hop);
    if (params.align_to_window) start -= (n_fft - win) / 2;
    const std::int64_t n = start + i;
    return n >= 0 && n < static_cast<std::int64_t>(source.size()) ? source[static_cast<std::size_t>(n)] : -1;
  }
};

// y_n = sum_k G_k exp(2 pi i k n / n_fft) over the bins that frame t of an item has.
std::vector<Complex> adjoint_frame(const Tensor& grad, const StftParams& params, std::int64_t item, std::int64_t t) {
  const bool frame_major = params.layout == Layout::kFrameMajor;
  const int bin_axis = frame_major ? -1 : -2, frame_axis = frame_major ? -2 : -1;
  const std::int64_t base = item_offset(grad, 2, item) + t * grad.stride(frame_axis);
  std::vector<Complex> bins(static_cast<std::size_t>(params.frames.n_fft));
  for (std::int64_t k = 0; k < grad.size(bin_axis); ++k) {
    bins[static_cast<std::size_t>(k)] = reference::load(grad, base + k * grad.stride(bin_axis));
  }
  return reference::dft(bins, +1);
}

}  // namespace

void stft_reference(const Tensor& x, const Tensor* window, const StftParams& params, const Tensor& out) {
  const char* op = "stft_reference";
  const Shape shape = stft_shape(x, params);
  check_result(op, out, shape, DType::kComplex128);
  const Framing framing = make_framing(x.size(-1), params.frames, op);
  const double norm = params.normalized ? 1.0 / std::sqrt(static_cast<double>(framing.n_fft)) : 1.0;
  const std::vector<double> w =
      padded_window(window, framing.n_fft, params.frames.win_length, norm * params.frames.input_scale, op);
  const bool frame_major = params.layout == Layout::kFrameMajor;
  const std::int64_t bin_stride = out.stride(frame_major ? -1 : -2), frame_stride = out.stride(frame_major ? -2 : -1);
  const std::int64_t bins = shape[frame_major ? -1 : -2];
  for (std::int64_t item = 0; item < item_count(x.shape, 1); ++item) {
    const auto frames = reference::spectra(x, item, params.frames, framing, w);
    const std::int64_t base = item_offset(out, 2, item);
    for (std::int64_t t = 0; t < framing.frames; ++t) {
      for (std::int64_t k = 0; k < bins; ++k) {
        reference::store(out, base + k * bin_stride + t * frame_stride,
                         frames[static_cast<std::size_t>(t)][static_cast<std::size_t>(k)]);
      }
    }
  }
}

void stft_adjoint_reference(const Tensor& grad, const Tensor* window, const StftParams& params, const Tensor& out) {
  const char* op = "stft_adjoint_reference";
  check_result(op, out, out.shape, is_complex(out.dtype) ? DType::kComplex128 : DType::kFloat64);
  const StftCall call = check_stft(out, params, op);
  check_result(op, grad, call.shape, grad.dtype, "grad");
  const std::int64_t n_fft = call.framing.n_fft, length = out.size(-1);
  const std::vector<double> w = padded_window(window, n_fft, params.frames.win_length, call.scale, op);
  const Positions positions(length, params.frames, call.framing);
  for (std::int64_t item = 0; item < item_count(out.shape, 1); ++item) {
    std::vector<Complex> sum(static_cast<std::size_t>(length));
    for (std::int64_t t = 0; t < call.framing.frames; ++t) {
      const std::vector<Complex> frame = adjoint_frame(grad, params, item, t);
      for (std::int64_t i = 0; i < n_fft; ++i) {
        const std::int64_t to = positions.at(t, i);
        if (to < 0) continue;
        sum[static_cast<std::size_t>(to)] += w[static_cast<std::size_t>(i)] * frame[static_cast<std::size_t>(i)];
      }
    }
    for (std::int64_t n = 0; n < length; ++n) {
      reference::store(out, item_offset(out, 1, item) + n * out.stride(-1), sum[static_cast<std::size_t>(n)]);
    }
  }
}

void stft_window_gradient_reference(const Tensor& x, const Tensor& grad, const StftParams& params, const Tensor& out) {
  const char* op = "stft_window_gradient_reference";
  const StftCall call = check_stft(x, params, op);
  check_result(op, grad, call.shape, grad.dtype, "grad");
  const std::int64_t n_fft = call.framing.n_fft, win = checked_win_length(params.frames.win_length, n_fft, op);
  check_result(op, out, Shape{win}, DType::kFloat64);
  const Positions positions(x.size(-1), params.frames, call.framing);
  std::vector<double> sum(static_cast<std::size_t>(n_fft));
  for (std::int64_t item = 0; item < item_count(x.shape, 1); ++item) {
    const std::int64_t base = item_offset(x, 1, item);
    for (std::int64_t t = 0; t < call.framing.frames; ++t) {
      const std::vector<Complex> frame = adjoint_frame(grad, params, item, t);
      for (std::int64_t i = 0; i < n_fft; ++i) {
        const std::int64_t from = positions.at(t, i);
        if (from < 0) continue;
        const Complex sample = reference::load(x, base + from * x.stride(-1));
        sum[static_cast<std::size_t>(i)] += (std::conj(frame[static_cast<std::size_t>(i)]) * sample).real();
      }
    }
  }
  for (std::int64_t i = 0; i < win; ++i) {
    reference::store(out, i * out.stride(0), call.scale * sum[static_cast<std::size_t>((n_fft - win) / 2 + i)]);
  }
}

}  // namespace melisma
