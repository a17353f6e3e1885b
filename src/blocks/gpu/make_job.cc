#include "blocks/gpu/make_job.h"

#include <algorithm>

#include "runtime/check.h"

namespace melisma::gpu {

Axes leading_axes(const Tensor& tensor, int trailing) {
  Axes axes;
  for (int axis = 0; axis < tensor.ndim() - trailing; ++axis) {
    const std::int64_t size = tensor.size(axis), stride = tensor.stride(axis);
    if (size == 1) continue;
    if (axes.count > 0 && axes.stride[axes.count - 1] == size * stride) {
      axes.size[axes.count - 1] *= size;
      axes.stride[axes.count - 1] = stride;
      continue;
    }
    axes.size[axes.count] = size;
    axes.stride[axes.count] = stride;
    ++axes.count;
  }
  return axes;
}

Signal make_signal(const Tensor& samples) {
  return {samples.data, samples.dtype, samples.stride(-1), leading_axes(samples, 1)};
}

Grid make_grid(const Tensor& spectrum, Layout layout) {
  const bool frame_major = layout == Layout::kFrameMajor;
  return {spectrum.data, spectrum.dtype, spectrum.stride(frame_major ? -1 : -2), spectrum.stride(frame_major ? -2 : -1),
          leading_axes(spectrum, 2)};
}

Grid make_grid(DType dtype, const Shape& shape, Layout layout) {
  Tensor result(nullptr, dtype, shape);
  if (layout == Layout::kFrequencyMajor) {  // frame-major memory, as every allocator of results here gives it
    const std::size_t last = static_cast<std::size_t>(shape.ndim) - 1;
    result.strides[last] = std::max<std::int64_t>(shape[-2], 1);
    result.strides[last - 1] = 1;
  }
  return make_grid(result, layout);
}

Window make_window(const Tensor* window, std::int64_t win_length, double scale) {
  Window result;
  result.length = win_length;
  result.scale = scale;
  if (window == nullptr) return result;
  result.data = window->data;
  result.dtype = window->dtype;
  result.stride = window->stride(0);
  return result;
}

Bank make_bank(const FilterBankView& bank, Device device, const char* op) {
  const Tensor* weights = bank.weights();
  if (weights == nullptr) {
    fail_type(op, "filterbank must be a matrix in the memory of %s, as the input is, got one on the host",
              to_string(device).c_str());
  }
  return {bank.host(),        weights->data,
          weights->dtype,     weights->stride(0),
          weights->stride(1), bank.bins(),
          bank.bands(),       bank.host() != nullptr ? bank.host()->fingerprint() : FilterBank::Fingerprint{}};
}

}  // namespace melisma::gpu
