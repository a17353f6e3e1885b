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

}  // namespace

void filtered_spectrogram_reference(const Tensor& x, const Tensor* window, const FilterBank& bank,
                                    const FilteredSpectrogramParams& params, const Tensor& out) {
  const char* op = "filtered_spectrogram_reference";
  const Shape shape = filtered_spectrogram_shape(x, bank, params);
  check_result(op, out, shape, DType::kFloat64);

  SpectrogramParams spectrogram_params = params.spectrogram;
  spectrogram_params.layout = Layout::kFrameMajor;
  const Shape spectrogram_shape_ = spectrogram_shape(x, spectrogram_params);
  std::vector<double> power(static_cast<std::size_t>(spectrogram_shape_.numel()));
  spectrogram_reference(x, window, spectrogram_params, Tensor(power.data(), DType::kFloat64, spectrogram_shape_));

  const std::int64_t bins = bank.bins(), bands = bank.bands(), frames = spectrogram_shape_[-2];
  const std::int64_t items = item_count(x.shape, 1);
  std::vector<double> values(static_cast<std::size_t>(items * frames * bands));  // [items][frames][bands]
  for (std::int64_t row = 0; row < items * frames; ++row) {
    for (std::int64_t b = 0; b < bands; ++b) {
      const FilterBank::Band& band = bank.band()[static_cast<std::size_t>(b)];
      double sum = 0.0;
      for (std::int64_t i = 0; i < band.count; ++i) {
        sum += bank.weights()[static_cast<std::size_t>(band.offset + i)] *
               power[static_cast<std::size_t>(row * bins + band.first_bin + i)];
      }
      values[static_cast<std::size_t>(row * bands + b)] = log_value(sum, params.log);
    }
  }
  if (std::isfinite(params.log.top) && !values.empty()) {
    const bool packed = params.log.top_scope == TopScope::kPacked && shape.ndim > 2;
    const std::int64_t items_together = packed ? shape[-3] : 1;
    limit_range(values, static_cast<std::size_t>(items_together * frames * bands), params.log.top);
  }

  const bool frame_major = params.spectrogram.layout == Layout::kFrameMajor;
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

}  // namespace melisma
