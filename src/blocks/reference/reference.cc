#include "blocks/reference/reference.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "runtime/emulator/half.h"

namespace melisma::reference {

Complex unit_root(std::int64_t k, std::int64_t n, int sign) {
  k %= n;
  if (k < 0) k += n;
  const std::int64_t quarter = (4 * k + n / 2) / n;  // nearest quarter turn
  const std::int64_t rest = 4 * k - quarter * n;     // in 1 / (4 n) turns, |rest| <= n / 2
  const double angle = std::numbers::pi * static_cast<double>(rest) / (2.0 * static_cast<double>(n));
  const double c = std::cos(angle), s = std::sin(angle);
  const Complex turned[4] = {{c, s}, {-s, c}, {-c, -s}, {s, -c}};
  const Complex root = turned[quarter % 4];
  return sign < 0 ? std::conj(root) : root;
}

namespace {

std::int64_t smallest_prime_factor(std::int64_t n) {
  for (std::int64_t p = 2; p * p <= n; ++p) {
    if (n % p == 0) return p;
  }
  return n;
}

// Sum of y[i] roots[i step mod total] by halves, whose rounding grows with log(count) and not with count.
Complex dot(const Complex* y, const std::vector<Complex>& roots, std::int64_t first, std::int64_t count,
            std::int64_t step) {
  if (count == 1)
    return y[first] * roots[static_cast<std::size_t>(first * step % static_cast<std::int64_t>(roots.size()))];
  const std::int64_t half = count / 2;
  return dot(y, roots, first, half, step) + dot(y, roots, first + half, count - half, step);
}

// out[0..n) = DFT of x[0], x[stride], ...; roots[i] = exp(sign 2 pi i / total), total = n * stride.
void dft_recursive(const Complex* x, std::int64_t stride, std::int64_t n, const std::vector<Complex>& roots,
                   Complex* out) {
  if (n == 1) {
    out[0] = x[0];
    return;
  }
  const std::int64_t p = smallest_prime_factor(n), m = n / p;
  const std::int64_t total = static_cast<std::int64_t>(roots.size());
  for (std::int64_t i = 0; i < p; ++i) dft_recursive(x + i * stride, stride * p, m, roots, out + i * m);
  // X[k + q m] = sum_i exp(sign 2 pi i i (k + q m) / n) Y_i[k]
  std::vector<Complex> y(static_cast<std::size_t>(p)), sum(static_cast<std::size_t>(p));
  for (std::int64_t k = 0; k < m; ++k) {
    for (std::int64_t i = 0; i < p; ++i) {
      y[static_cast<std::size_t>(i)] = out[i * m + k] * roots[static_cast<std::size_t>(i * k * stride % total)];
    }
    for (std::int64_t q = 0; q < p; ++q) sum[static_cast<std::size_t>(q)] = dot(y.data(), roots, 0, p, q * (total / p));
    for (std::int64_t q = 0; q < p; ++q) out[k + q * m] = sum[static_cast<std::size_t>(q)];
  }
}

// Where the sample that stands at index i of a signal of `length` comes from; -1: it is a zero.
std::int64_t source(std::int64_t i, std::int64_t length, PadMode mode) {
  if (i >= 0 && i < length) return i;
  switch (mode) {
    case PadMode::kConstant: return -1;
    case PadMode::kReplicate: return i < 0 ? 0 : length - 1;
    case PadMode::kReflect: return i < 0 ? -i : 2 * (length - 1) - i;
    case PadMode::kCircular: return i < 0 ? i + length : i - length;
  }
  return -1;
}

}  // namespace

std::vector<Complex> dft(const std::vector<Complex>& x, int sign) {
  const std::int64_t n = static_cast<std::int64_t>(x.size());
  std::vector<Complex> roots(x.size()), out(x.size());
  for (std::int64_t i = 0; i < n; ++i) roots[static_cast<std::size_t>(i)] = unit_root(i, n, sign);
  dft_recursive(x.data(), 1, n, roots, out.data());
  return out;
}

Complex load(const Tensor& t, std::int64_t offset) {
  switch (t.dtype) {
    case DType::kInt16: return static_cast<double>(t.as<std::int16_t>()[offset]);
    case DType::kFloat32: return static_cast<double>(t.as<float>()[offset]);
    case DType::kFloat64: return t.as<double>()[offset];
    case DType::kComplex64: return std::complex<double>(t.as<std::complex<float>>()[offset]);
    case DType::kComplex128: return t.as<std::complex<double>>()[offset];
    case DType::kFloat16: return static_cast<double>(emulator::half_to_float(t.as<std::uint16_t>()[offset]));
    case DType::kBFloat16: return static_cast<double>(emulator::bfloat_to_float(t.as<std::uint16_t>()[offset]));
  }
  return 0.0;
}

void store(const Tensor& t, std::int64_t offset, Complex value) {
  switch (t.dtype) {
    case DType::kInt16: t.as<std::int16_t>()[offset] = static_cast<std::int16_t>(value.real()); break;
    case DType::kFloat32: t.as<float>()[offset] = static_cast<float>(value.real()); break;
    case DType::kFloat64: t.as<double>()[offset] = value.real(); break;
    case DType::kComplex64: t.as<std::complex<float>>()[offset] = std::complex<float>(value); break;
    case DType::kComplex128: t.as<std::complex<double>>()[offset] = value; break;
    case DType::kFloat16: {
      t.as<std::uint16_t>()[offset] = emulator::float_to_half(static_cast<float>(value.real()));
      break;
    }
    case DType::kBFloat16: {
      t.as<std::uint16_t>()[offset] = emulator::float_to_bfloat(static_cast<float>(value.real()));
      break;
    }
  }
}

std::vector<Complex> padded_signal(const Tensor& x, std::int64_t item, std::int64_t pad, std::int64_t center,
                                   PadMode mode) {
  const std::int64_t base = item_offset(x, 1, item), stride = x.stride(-1), length = x.size(-1);
  std::vector<Complex> zero_padded(static_cast<std::size_t>(length + 2 * pad));
  for (std::int64_t i = 0; i < length; ++i) zero_padded[static_cast<std::size_t>(pad + i)] = load(x, base + i * stride);
  const std::int64_t padded_length = length + 2 * pad;
  std::vector<Complex> result(static_cast<std::size_t>(padded_length + 2 * center));
  for (std::int64_t i = 0; i < padded_length + 2 * center; ++i) {
    const std::int64_t from = source(i - center, padded_length, mode);
    if (from >= 0) result[static_cast<std::size_t>(i)] = zero_padded[static_cast<std::size_t>(from)];
  }
  return result;
}

std::vector<std::vector<Complex>> spectra(const Tensor& x, std::int64_t item, const FrameParams& params,
                                          const Framing& framing, const std::vector<double>& window) {
  const std::int64_t n_fft = framing.n_fft;
  const std::vector<Complex> signal =
      padded_signal(x, item, params.pad, params.center ? n_fft / 2 : 0, params.pad_mode);
  std::vector<std::vector<Complex>> result;
  for (std::int64_t t = 0; t < framing.frames; ++t) {
    const double exact_start = params.fractional_hop > 0 ? static_cast<double>(t) * params.fractional_hop : 0.0;
    std::int64_t start = params.fractional_hop > 0 ? static_cast<std::int64_t>(exact_start) : t * framing.hop;
    if (params.align_to_window && params.win_length > 0) start -= (n_fft - params.win_length) / 2;
    std::vector<Complex> frame(static_cast<std::size_t>(n_fft));
    for (std::int64_t i = 0; i < n_fft; ++i) {
      // FrameTail::kCovers goes on past the end, and a frame that follows its window begins before the signal: zeros.
      const bool inside = start + i >= 0 && start + i < static_cast<std::int64_t>(signal.size());
      if (inside)
        frame[static_cast<std::size_t>(i)] =
            signal[static_cast<std::size_t>(start + i)] * window[static_cast<std::size_t>(i)];
    }
    result.push_back(dft(frame, -1));
  }
  return result;
}

}  // namespace melisma::reference
