#include "blocks/fft/plan.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <map>
#include <mutex>
#include <numbers>
#include <utility>

#include "blocks/fft/unit_circle.h"

namespace melisma {
namespace {

// Plans are few (one a size) and small next to the signals, so they are kept.
template <typename Key, typename Plan, typename Make>
std::shared_ptr<const Plan> cached(const Key& key, Make make) {
  static std::mutex mutex;
  static std::map<Key, std::shared_ptr<const Plan>>& plans = *new std::map<Key, std::shared_ptr<const Plan>>;
  {
    std::lock_guard lock(mutex);
    if (auto it = plans.find(key); it != plans.end()) return it->second;
  }
  std::shared_ptr<const Plan> plan = make();  // outside the lock: planning a large size must not hold up other threads
  std::lock_guard lock(mutex);
  return plans.emplace(key, std::move(plan)).first->second;
}

template <typename T>
UnitCircle unit_circle(std::int64_t n) {
  return {n, sizeof(T) == sizeof(double)};
}

void output_positions(const std::vector<int>& radices, std::size_t level, std::int64_t n, std::int64_t base,
                      std::int64_t first, std::int64_t step, std::vector<std::int32_t>& position) {
  if (level == radices.size()) {
    position[static_cast<std::size_t>(first)] = static_cast<std::int32_t>(base);
    return;
  }
  const std::int64_t m = n / radices[level];
  for (int k = 0; k < radices[level]; ++k) {
    output_positions(radices, level + 1, m, base + k * m, first + k * step, step * radices[level], position);
  }
}

// The passes over n values from `level` on, out of the circle of n.
template <typename T>
void append_passes(FftPlan<T>& plan, const std::vector<int>& radices, std::size_t level, const UnitCircle& circle) {
  std::int64_t first_block = plan.n;
  for (std::size_t l = 0; l < level; ++l) first_block /= radices[l];
  std::size_t total = 0;
  std::int64_t block = first_block;
  for (std::size_t l = level; l < radices.size(); block /= radices[l++]) {
    total += static_cast<std::size_t>(block / radices[l] * (radices[l] - 1) * 2);
  }
  plan.storage.resize(total);
  T* next = plan.storage.data();
  block = first_block;
  for (std::size_t l = level; l < radices.size(); ++l) {
    const int r = radices[l];
    const std::int64_t m = block / r, step = plan.n / block;
    plan.passes.push_back({r, block, m, next});
    for (std::int64_t j = 0; j < m; ++j) {
      for (int k = 1; k < r; ++k) {
        const Twiddle t = circle(j * k * step);
        *next++ = static_cast<T>(t.re);
        *next++ = static_cast<T>(t.im);
      }
    }
    block = m;
  }
}

template <typename T>
std::shared_ptr<const FftPlan<T>> make_fft_plan(std::int64_t n, int first) {
  const std::vector<int> radices = factorise(n, first);
  auto plan = std::make_shared<FftPlan<T>>();
  plan->n = n;
  append_passes(*plan, radices, 0, unit_circle<T>(n));
  plan->position.resize(static_cast<std::size_t>(n));
  output_positions(radices, 0, n, 0, 0, 1, plan->position);
  return plan;
}

// A plain float64 transform, for the filters of Bluestein plans only.
void plain_fft(const FftPlan<double>& plan, std::vector<std::complex<double>>& x) {
  std::vector<std::complex<double>> y(16), block(x.size());
  for (const FftPass<double>& pass : plan.passes) {
    const int r = pass.radix;
    std::vector<std::complex<double>> roots(static_cast<std::size_t>(r));
    for (int k = 0; k < r; ++k) roots[static_cast<std::size_t>(k)] = {twiddle(k, r).re, twiddle(k, r).im};
    for (std::int64_t base = 0; base < plan.n; base += pass.block) {
      for (std::int64_t j = 0; j < pass.sub_block; ++j) {
        for (int k = 0; k < r; ++k) {
          std::complex<double> sum = 0;
          for (int i = 0; i < r; ++i) {
            sum +=
                x[static_cast<std::size_t>(base + j + i * pass.sub_block)] * roots[static_cast<std::size_t>(i * k % r)];
          }
          const double* t = pass.twiddles + (j * (r - 1) + k - 1) * 2;
          y[static_cast<std::size_t>(k)] = k == 0 ? sum : sum * std::complex<double>(t[0], t[1]);
        }
        for (int k = 0; k < r; ++k)
          x[static_cast<std::size_t>(base + j + k * pass.sub_block)] = y[static_cast<std::size_t>(k)];
      }
    }
  }
  for (std::int64_t k = 0; k < plan.n; ++k) {
    block[static_cast<std::size_t>(k)] = x[static_cast<std::size_t>(plan.position[static_cast<std::size_t>(k)])];
  }
  x.swap(block);
}

}  // namespace

Twiddle twiddle(std::int64_t numerator, std::int64_t denominator) {
  // Reduced to an angle of at most an eighth of a turn, where sin and cos lose nothing.
  std::int64_t k = numerator % denominator;
  if (k < 0) k += denominator;
  const std::int64_t eighths = 8 * k / denominator;  // 0..7
  const bool odd = eighths % 2 != 0;
  // Distance to the nearest quarter turn, in 4 * denominator-ths of a turn.
  const std::int64_t quarter = (eighths + (odd ? 1 : 0)) / 2;
  const std::int64_t rest = 4 * k - quarter * denominator;  // angle = (pi/2) rest / denominator
  const double angle = std::numbers::pi / 2 * static_cast<double>(rest) / static_cast<double>(denominator);
  const double c = std::cos(angle), s = std::sin(angle);
  switch (quarter % 4) {  // exp(-i (angle + quarter pi/2))
    case 0: return {c, -s};
    case 1: return {-s, -c};
    case 2: return {-c, s};
    default: return {s, c};
  }
}

bool is_smooth(std::int64_t n) {
  for (std::int64_t p : {2, 3, 5, 7, 11, 13}) {
    while (n % p == 0) n /= p;
  }
  return n == 1;
}

bool computes_in_float64(std::int64_t n_fft, bool complex_input) {
  return n_fft <= kLargestSmallSize || !is_smooth(!complex_input && n_fft % 2 == 0 ? n_fft / 2 : n_fft);
}

std::vector<int> factorise(std::int64_t n, int first) {
  std::vector<int> radices;
  if (first > 0) {
    radices.push_back(first);
    n /= first;
  }
  for (; n > 1; n /= radices.back()) radices.push_back(next_radix(n));
  return radices;
}

std::int64_t convolution_size(std::int64_t n) {
  std::int64_t best = 1;
  while (best < n) best *= 2;
  for (std::int64_t odd : {3, 5, 9, 15}) {
    std::int64_t size = odd;
    while (size < n) size *= 2;
    if (size < best) best = size;
  }
  return best;
}

template <typename T>
std::shared_ptr<const FftPlan<T>> fft_plan(std::int64_t n, int first) {
  return cached<std::pair<std::int64_t, int>, FftPlan<T>>({n, first}, [&] { return make_fft_plan<T>(n, first); });
}

template <typename T>
std::shared_ptr<const RowsPlan<T>> rows_plan(std::int64_t n, int lanes) {
  return cached<std::pair<std::int64_t, int>, RowsPlan<T>>({n, lanes}, [&] {
    auto plan = std::make_shared<RowsPlan<T>>();
    const UnitCircle circle = unit_circle<T>(n);
    const std::int64_t m = n / lanes;
    plan->fft.n = n;
    plan->fft.passes.push_back({lanes, n, m, nullptr});
    append_passes(plan->fft, factorise(n, lanes), 1, circle);
    const std::size_t rows = static_cast<std::size_t>(lanes - 1) * 2, width = static_cast<std::size_t>(lanes);
    plan->first_twiddles.resize(static_cast<std::size_t>((m + lanes - 1) / lanes) * rows * width);
    T* next = plan->first_twiddles.data();
    for (std::int64_t block = 0; block < m; block += lanes) {
      const std::int64_t p = std::min<std::int64_t>(block, m - lanes);
      for (int k = 1; k < lanes; ++k, next += 2 * width) {
        for (int lane = 0; lane < lanes; ++lane) {
          const Twiddle t = circle((p + lane) * k);
          next[lane] = static_cast<T>(t.re);
          next[lane + lanes] = static_cast<T>(t.im);
        }
      }
    }
    return plan;
  });
}

template <typename T>
std::shared_ptr<const RealTwiddles<T>> real_twiddles(std::int64_t n) {
  return cached<std::int64_t, RealTwiddles<T>>(n, [&] {
    auto result = std::make_shared<RealTwiddles<T>>();
    const std::size_t count = static_cast<std::size_t>(n / 4 + 1);
    result->re.resize(count);
    result->im.resize(count);
    const UnitCircle circle = unit_circle<T>(n);
    for (std::size_t k = 0; k < count; ++k) {
      const Twiddle w = circle(static_cast<std::int64_t>(k));
      result->re[k] = static_cast<T>(w.re);
      result->im[k] = static_cast<T>(w.im);
    }
    return result;
  });
}

template <typename T>
std::shared_ptr<const BluesteinPlan<T>> bluestein_plan(std::int64_t n) {
  return cached<std::int64_t, BluesteinPlan<T>>(n, [&] {
    auto plan = std::make_shared<BluesteinPlan<T>>();
    plan->n = n;
    const std::int64_t m = convolution_size(2 * n - 1);
    plan->convolution = fft_plan<T>(m, 0);
    const std::size_t count = static_cast<std::size_t>(n), padded = static_cast<std::size_t>(m);
    plan->chirp_re.resize(count);
    plan->chirp_im.resize(count);
    std::vector<std::complex<double>> filter(padded);
    for (std::int64_t j = 0; j < n; ++j) {
      const Twiddle c = twiddle(j * j % (2 * n), 2 * n);  // j^2 wraps exactly; n is far below 2^31
      plan->chirp_re[static_cast<std::size_t>(j)] = static_cast<T>(c.re);
      plan->chirp_im[static_cast<std::size_t>(j)] = static_cast<T>(c.im);
      filter[static_cast<std::size_t>(j)] = {c.re, -c.im};
      if (j > 0) filter[static_cast<std::size_t>(m - j)] = {c.re, -c.im};
    }
    plain_fft(*fft_plan<double>(m, 0), filter);
    plan->filter_re.resize(padded);
    plan->filter_im.resize(padded);
    for (std::size_t k = 0; k < padded; ++k) {
      plan->filter_re[k] = static_cast<T>(filter[k].real() / static_cast<double>(m));
      plan->filter_im[k] = static_cast<T>(filter[k].imag() / static_cast<double>(m));
    }
    return plan;
  });
}

template std::shared_ptr<const FftPlan<float>> fft_plan<float>(std::int64_t, int);
template std::shared_ptr<const FftPlan<double>> fft_plan<double>(std::int64_t, int);
template std::shared_ptr<const RowsPlan<float>> rows_plan<float>(std::int64_t, int);
template std::shared_ptr<const RowsPlan<double>> rows_plan<double>(std::int64_t, int);
template std::shared_ptr<const RealTwiddles<float>> real_twiddles<float>(std::int64_t);
template std::shared_ptr<const RealTwiddles<double>> real_twiddles<double>(std::int64_t);
template std::shared_ptr<const BluesteinPlan<double>> bluestein_plan<double>(std::int64_t);

}  // namespace melisma
