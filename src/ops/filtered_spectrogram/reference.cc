// Filter bank and logarithm over the reference spectrogram, in float64; out is float64 whatever x is.
#include <algorithm>
#include <cmath>
#include <limits>

#include "blocks/reference/reference.h"
#include "melisma/filtered_spectrogram.h"
#include "runtime/check.h"

namespace melisma {
namespace {

double log_value(double v, const LogParams& log) {
  if (!log.enabled) return v;
  return log.scale * std::log(std::max(log.mul * v + log.add, log.floor)) + log.offset;
}

// What is below its group's maximum by more than `top` is raised to that. values: C-contiguous.
void limit_range(std::vector<double>& values, std::size_t group, double top) {
  for (std::size_t first = 0; first < values.size(); first += group) {
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(first),
               end = begin + static_cast<std::ptrdiff_t>(group);
    const double least = *std::max_element(begin, end) - top;
    for (auto v = begin; v != end; ++v) *v = std::max(*v, least);
  }
}

// The bands before the logarithm, [items][frames][bands].
std::vector<double> band_values(const Tensor& x, const Tensor* window, const FilterBank& bank,
                                const FilteredSpectrogramParams& params) {
  SpectrogramParams spectrogram_params = params.spectrogram;
  spectrogram_params.layout = Layout::kFrameMajor;
  const Shape shape = spectrogram_shape(x, spectrogram_params);
  std::vector<double> power(static_cast<std::size_t>(shape.numel()));
  spectrogram_reference(x, window, spectrogram_params, Tensor(power.data(), DType::kFloat64, shape));

  const std::int64_t bins = bank.bins(), bands = bank.bands(), rows = shape.numel() / bins;
  std::vector<double> values(static_cast<std::size_t>(rows * bands));
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t b = 0; b < bands; ++b) {
      const FilterBank::Band& band = bank.band()[static_cast<std::size_t>(b)];
      double& sum = values[static_cast<std::size_t>(row * bands + b)];
      for (std::int64_t i = 0; i < band.count; ++i) {
        sum += bank.weights()[static_cast<std::size_t>(band.offset + i)] *
               power[static_cast<std::size_t>(row * bins + band.first_bin + i)];
      }
    }
  }
  return values;
}

}  // namespace

void filtered_spectrogram_reference(const Tensor& x, const Tensor* window, const FilterBank& bank,
                                    const FilteredSpectrogramParams& params, const Tensor& out) {
  const char* op = "filtered_spectrogram_reference";
  const Shape shape = filtered_spectrogram_shape(x, bank, params);
  check_result(op, out, shape, DType::kFloat64);

  const std::int64_t bands = bank.bands(), items = item_count(x.shape, 1);
  std::vector<double> values = band_values(x, window, bank, params);
  for (double& v : values) v = log_value(v, params.log);
  const bool frame_major = params.spectrogram.layout == Layout::kFrameMajor;
  const std::int64_t frames = shape[frame_major ? -2 : -1];
  if (std::isfinite(params.log.top) && !values.empty()) {
    const bool packed = params.log.top_scope == TopScope::kPacked && shape.ndim > 2;
    const std::int64_t items_together = packed ? shape[-3] : 1;
    limit_range(values, static_cast<std::size_t>(items_together * frames * bands), params.log.top);
  }

  for (std::int64_t item = 0; item < items; ++item) {
    const std::int64_t base = item_offset(out, 2, item);
    for (std::int64_t t = 0; t < frames; ++t) {
      for (std::int64_t b = 0; b < bands; ++b) {
        const double y = values[static_cast<std::size_t>((item * frames + t) * bands + b)];
        reference::store(out, base + t * out.stride(frame_major ? -2 : -1) + b * out.stride(frame_major ? -1 : -2),
                         params.log.post_mul * y + params.log.post_add);
      }
    }
  }
}

void filtered_spectrogram_backward_reference(const Tensor& x, const Tensor& grad, const Tensor* window,
                                             const FilterBank& bank, const FilteredSpectrogramParams& params,
                                             const Tensor& out) {
  const char* op = "filtered_spectrogram_backward_reference";
  check_result(op, grad, filtered_spectrogram_shape(x, bank, params), DType::kFloat64, "grad");
  if (std::isfinite(params.log.top)) fail_argument(op, "top_db must be infinite, got %g", params.log.top);
  const LogParams& log = params.log;
  const bool frame_major = params.spectrogram.layout == Layout::kFrameMajor;
  const std::int64_t bands = bank.bands(), bins = bank.bins(), items = item_count(x.shape, 1);
  const std::vector<double> values = band_values(x, window, bank, params);

  SpectrogramParams spectrogram_params = params.spectrogram;
  spectrogram_params.layout = Layout::kFrameMajor;
  const Shape shape = spectrogram_shape(x, spectrogram_params);
  const std::int64_t frames = shape[-2];
  std::vector<double> bin_grads(static_cast<std::size_t>(shape.numel()));  // [items][frames][bins]
  for (std::int64_t row = 0; row < items * frames; ++row) {
    for (std::int64_t b = 0; b < bands; ++b) {
      const std::int64_t at = item_offset(grad, 2, row / frames) + row % frames * grad.stride(frame_major ? -2 : -1) +
                              b * grad.stride(frame_major ? -1 : -2);
      double slope = log.post_mul;
      if (log.enabled) {
        const double argument = log.mul * values[static_cast<std::size_t>(row * bands + b)] + log.add;
        slope *= argument > log.floor ? log.scale * log.mul / argument : 0.0;
      }
      const FilterBank::Band& band = bank.band()[static_cast<std::size_t>(b)];
      for (std::int64_t i = 0; i < band.count; ++i) {
        bin_grads[static_cast<std::size_t>(row * bins + band.first_bin + i)] +=
            bank.weights()[static_cast<std::size_t>(band.offset + i)] * slope * reference::load(grad, at).real();
      }
    }
  }
  spectrogram_backward_reference(x, Tensor(bin_grads.data(), DType::kFloat64, shape), window, spectrogram_params, out);
}

}  // namespace melisma
