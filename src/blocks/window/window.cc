#include "melisma/window.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "blocks/fft/unit_circle.h"
#include "runtime/check.h"

namespace melisma {
namespace {

constexpr const char* kOp = "get_window";
constexpr double kMostBeta = 700.0;  // beyond, I0 leaves float64

// Modified Bessel function of the first kind and order 0, by its power series, all of whose terms are positive.
double bessel_i0(double x) {
  const double quarter_square = x * x / 4.0;
  double term = 1.0, sum = 1.0;
  for (int k = 1; term > 1e-17 * sum; ++k) {
    term *= quarter_square / (static_cast<double>(k) * k);
    sum += term;
  }
  return sum;
}

// The window at position x of [0, 1], symmetric around 1/2; cosine: of 2 pi x.
using Curve = double (*)(double x, double cosine, double parameter);

struct NamedCurve {
  std::string_view name;
  Curve curve;
};

constexpr NamedCurve kCurves[] = {
    {"hann", [](double, double c, double) { return 0.5 - 0.5 * c; }},
    {"hamming", [](double, double c, double) { return 0.54 - 0.46 * c; }},
    {"blackman", [](double, double c, double) { return 0.42 - 0.5 * c + 0.08 * (2.0 * c * c - 1.0); }},
    {"bartlett", [](double x, double, double) { return 2.0 * x; }},  // x <= 1/2, the rest being mirrored
    {"kaiser",
     [](double x, double, double beta) {
       const double r = 2.0 * x - 1.0;
       return bessel_i0(beta * std::sqrt(std::fmax(0.0, 1.0 - r * r))) / bessel_i0(beta);
     }},
    {"rectangular", [](double, double, double) { return 1.0; }},
};

Curve curve_named(std::string_view name) {
  std::string all;
  for (const NamedCurve& c : kCurves) {
    if (c.name == name) return c.curve;
    all += (all.empty() ? "'" : ", '") + std::string(c.name) + "'";
  }
  fail_argument(kOp, "name must be one of %s, got '%.*s'", all.c_str(),
                static_cast<int>(std::min<std::size_t>(name.size(), 64)), name.data());
}

template <typename T>
void fill(Curve curve, bool periodic, double parameter, const Tensor& out) {
  const std::int64_t length = out.size(0), stride = out.stride(0);
  T* w = out.as<T>();
  if (length == 1) {
    w[0] = T(1);
    return;
  }
  const std::int64_t period = periodic ? length : length - 1;  // w[i] == w[period - i], exactly
  const UnitCircle circle(period, false);
  for (std::int64_t i = 0; i <= period / 2; ++i) {
    w[i * stride] =
        static_cast<T>(curve(static_cast<double>(i) / static_cast<double>(period), circle(i).re, parameter));
  }
  for (std::int64_t i = period / 2 + 1; i < length; ++i) w[i * stride] = w[(period - i) * stride];
}

}  // namespace

void make_window(std::string_view name, bool periodic, double parameter, const Tensor& out) {
  const Curve curve = curve_named(name);
  if (out.ndim() != 1 || out.size(0) < 1) {
    fail_argument(kOp, "out must have one dimension of at least 1, got %d dimensions of %lld elements", out.ndim(),
                  static_cast<long long>(out.shape.numel()));
  }
  if (name == "kaiser" && !(std::fabs(parameter) <= kMostBeta)) {
    fail_argument(kOp, "beta must be -%g to %g, got %g", kMostBeta, kMostBeta, parameter);
  }
  switch (out.dtype) {
    case DType::kFloat32: return fill<float>(curve, periodic, parameter, out);
    case DType::kFloat64: return fill<double>(curve, periodic, parameter, out);
    default: fail_type(kOp, "out must be float32 or float64, got %s", dtype_name(out.dtype));
  }
}

}  // namespace melisma
