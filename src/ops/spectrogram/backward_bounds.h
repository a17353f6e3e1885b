// How far the gradient of a spectrogram may be from the float64 reference, each part derived; for tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "melisma/spectrogram.h"
#include "ops/spectrogram/support.h"
#include "testing/array.h"
#include "testing/tolerances.h"

namespace melisma::testing {

// Gradients with respect to |X|^power and their errors, [items][frames][bins].
struct BinGradients {
  std::vector<double> value, error;
};

// The frames that one sample of the result is summed from, at most; edges that the padding repeats count each time.
inline std::int64_t most_terms(const Framing& framing) {
  std::vector<std::int64_t> terms(static_cast<std::size_t>(framing.length));
  for (std::int64_t t = 0; t < framing.frames; ++t) {
    for (std::int64_t i = 0; i < framing.n_fft; ++i) {
      const std::int64_t from = framing.source(framing.start(t) + i);
      if (from >= 0) ++terms[static_cast<std::size_t>(from)];
    }
  }
  return std::max<std::int64_t>(1, *std::max_element(terms.begin(), terms.end()));
}

// Error of |X|^(power - 2) X, given |X| = m with an error up to e. Its derivative is at most max(1, |power - 1|)
// |X|^(power - 2) in any direction; where e is not small beside m, the two values themselves bound their difference.
inline double direction_error(double m, double e, double power, double eps) {
  const double rounding = power_error(eps, m) * std::pow(m, power - 1);
  if (m > 2 * e) {
    const double steepest = std::max(std::pow(m - e, power - 2), std::pow(m + e, power - 2));
    return e * std::max(1.0, std::abs(power - 1)) * steepest + rounding;
  }
  if (power < 1) return std::numeric_limits<double>::infinity();
  return std::pow(m + e, power - 1) + std::pow(m, power - 1) + rounding;
}

// The l2 norm of an item's error, for each item. The adjoint of a transform has the norm sqrt(n_fft), and a sum of M
// overlapping vectors is at most sqrt(M) times as long as all of them together.
inline std::vector<double> backward_bounds(const Tensor& x, const Tensor* window, const SpectrogramParams& params,
                                           const BinGradients& grads) {
  SpectrogramParams exact = params;
  exact.power = 1.0;
  exact.nyquist = true;
  exact.layout = Layout::kFrameMajor;
  const Array magnitude(DType::kFloat64, spectrogram_shape(x, exact));
  spectrogram_reference(x, window, exact, magnitude);
  const Framing framing = make_framing(x.size(-1), params.frames, "test");
  const double eps = unit(x.dtype), n = static_cast<double>(framing.n_fft), p = params.power;
  const std::int64_t all = framing.n_fft / 2 + 1, bins = params.nyquist ? all : all - 1;
  double largest_weight = 0.0;
  for (const double w : spectrogram_window(window, params, "test"))
    largest_weight = std::max(largest_weight, std::abs(w));
  const std::int64_t terms = most_terms(framing);

  std::vector<double> bounds;
  for (std::int64_t item = 0; item < item_count(x.shape, 1); ++item) {
    double squares = 0.0;
    for (std::int64_t row = item * framing.frames; row < (item + 1) * framing.frames; ++row) {
      double energy = 0.0, error = 0.0, norm = 0.0;
      for (std::int64_t k = 0; k < all; ++k) energy += 2.0 * std::norm(magnitude.get(row * all + k));
      const double transform = std::sqrt(energy / n) * transform_error(framing.n_fft, eps);
      for (std::int64_t k = 0; k < bins; ++k) {
        const std::size_t at = static_cast<std::size_t>(row * bins + k);
        const double m = magnitude.get(row * all + k).real();
        if (m == 0.0 && transform == 0.0) continue;  // silence is exact
        const double g = std::abs(grads.value[at]), dg = grads.error[at];
        const double direction = std::pow(m, p - 1);
        const double off = direction_error(m, transform + peak_error(m, eps), p, eps);
        const double bin = p * (dg * direction + (g + dg) * off);
        error += bin * bin;
        norm += p * g * direction * p * g * direction;
      }
      const double inverse = 2.0 * transform_error(framing.n_fft, eps) + sum_error(terms, eps);
      const double frame = largest_weight * std::sqrt(n) * (std::sqrt(error) + inverse * std::sqrt(norm));
      squares += frame * frame;
    }
    bounds.push_back(std::sqrt(static_cast<double>(terms) * squares));
  }
  return bounds;
}

// got, [items..., samples], is within the bounds of want.
inline void expect_gradients(const Array& got, const Array& want, const std::vector<double>& bounds,
                             const std::string& what) {
  const std::int64_t samples = want.tensor().size(-1);
  ASSERT_EQ(want.numel(), samples * static_cast<std::int64_t>(bounds.size())) << what;
  for (std::size_t item = 0; item < bounds.size(); ++item) {
    double squares = 0.0, worst = 0.0;
    std::int64_t at = 0;
    for (std::int64_t n = 0; n < samples; ++n) {
      const std::int64_t i = static_cast<std::int64_t>(item) * samples + n;
      const double off = std::abs(got.get(i).real() - want.get(i).real());
      if (!(off <= worst)) worst = off, at = n;
      squares += off * off;
    }
    ASSERT_TRUE(std::isfinite(bounds[item])) << what;
    ASSERT_LE(std::sqrt(squares), bounds[item])
        << what << ", item " << item << ", the worst " << worst << " at sample " << at;
  }
}

inline double dot(const Array& a, const Array& b) {
  double sum = 0.0;
  for (std::int64_t i = 0; i < a.numel(); ++i) sum += a.get(i).real() * b.get(i).real();
  return sum;
}

// Derivative of <grad, f(x + h direction)> at h = 0 by differences of fourth order, and the scale of its error.
struct Slope {
  double value, scale;
};
template <typename F>
Slope directional_slope(const Array& x, const Array& direction, const Array& grad, F f) {
  constexpr double kStep = 1e-4;
  const auto moved = [&](double h) {
    Array at = copy_of(x, DType::kFloat64);
    for (std::int64_t i = 0; i < x.numel(); ++i) at.set(i, x.get(i) + h * direction.get(i));
    Array y(DType::kFloat64, grad.tensor().shape);
    f(at, y);
    return y;
  };
  const Array far_left = moved(-2 * kStep), left = moved(-kStep), right = moved(kStep), far_right = moved(2 * kStep);
  Slope slope{0.0, 0.0};
  double grads = 0.0, changes = 0.0;
  for (std::int64_t i = 0; i < grad.numel(); ++i) {
    const double change =
        (8.0 * (right.get(i).real() - left.get(i).real()) - (far_right.get(i).real() - far_left.get(i).real())) /
        (12.0 * kStep);
    const double g = grad.get(i).real();
    slope.value += g * change;
    grads += g * g;
    changes += change * change;
  }
  slope.scale = std::sqrt(grads * changes);
  return slope;
}

}  // namespace melisma::testing
