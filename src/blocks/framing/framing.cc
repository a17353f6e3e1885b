#include "blocks/framing/framing.h"

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <limits>
#include <type_traits>

#include "runtime/check.h"

namespace melisma {

std::int64_t checked_n_fft(std::int64_t n_fft, const char* op) {
  if (n_fft < 1 || n_fft > kMaxFftSize) {
    fail_argument(op, "n_fft must be 1 to %" PRId64 ", got %" PRId64, kMaxFftSize, n_fft);
  }
  return n_fft;
}

std::int64_t checked_hop_length(std::int64_t hop_length, std::int64_t n_fft, const char* op) {
  const std::int64_t hop = hop_length == 0 ? n_fft / 4 : hop_length;
  if (hop < 1) {
    fail_argument(op, "hop_length must be >= 1, got %" PRId64 "%s", hop,
                  hop_length == 0 ? " (the default n_fft / 4; give hop_length)" : "");
  }
  return hop;
}

std::int64_t checked_win_length(std::int64_t win_length, std::int64_t n_fft, const char* op) {
  const std::int64_t win = win_length == 0 ? n_fft : win_length;
  if (win < 1 || win > n_fft) {
    fail_argument(op, "win_length must be 1 to n_fft = %" PRId64 ", got %" PRId64, n_fft, win);
  }
  return win;
}

Framing make_framing(std::int64_t length, const FrameParams& params, const char* op) {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max() / 16;
  const std::int64_t n_fft = checked_n_fft(params.n_fft, op);
  const bool fractional = params.fractional_hop != 0.0;
  const std::int64_t hop = fractional ? 1 : checked_hop_length(params.hop_length, n_fft, op);
  checked_win_length(params.win_length, n_fft, op);
  if (params.pad < 0 || params.pad > kMax) fail_argument(op, "pad must be >= 0, got %" PRId64, params.pad);
  if (!std::isfinite(params.input_scale)) fail_argument(op, "input_scale must be finite, got %g", params.input_scale);
  if (fractional && !(params.fractional_hop >= 1.0 && params.fractional_hop < 1e15)) {
    fail_argument(op, "fractional_hop must be at least 1 sample, got %g", params.fractional_hop);
  }
  if (fractional && params.tail != FrameTail::kCovers)
    fail_argument(op, "fractional_hop needs the frame tail 'covers'");
  if (params.tail == FrameTail::kCovers && params.pad_mode != PadMode::kConstant) {
    fail_argument(op, "pad_mode must be 'constant' with the frame tail 'covers'");
  }
  if (length < 1) fail_argument(op, "input must have at least one sample, got %" PRId64, length);
  if (length > kMax) fail_argument(op, "input must have at most %" PRId64 " samples, got %" PRId64, kMax, length);

  Framing f{length, n_fft, 0, hop, params.fractional_hop, 0, params.pad, params.pad_mode};
  const std::int64_t padded = length + 2 * params.pad;
  const std::int64_t center = params.center ? n_fft / 2 : 0;
  f.offset = center + params.pad;
  if (params.tail == FrameTail::kCovers) {
    const double step = fractional ? params.fractional_hop : static_cast<double>(hop);
    f.frames =
        fractional ? static_cast<std::int64_t>(std::ceil(static_cast<double>(padded) / step)) : (padded - 1) / hop + 1;
    return f;
  }
  if (params.center && params.pad_mode == PadMode::kReflect && center >= padded) {
    fail_argument(op,
                  "reflect padding of n_fft / 2 = %" PRId64 " samples needs a longer input, got %" PRId64 " samples",
                  center, padded);
  }
  if (params.center && params.pad_mode == PadMode::kCircular && center > padded) {
    fail_argument(op,
                  "circular padding of n_fft / 2 = %" PRId64 " samples needs as long an input, got %" PRId64 " samples",
                  center, padded);
  }
  if (params.align_to_window) {
    const std::int64_t win = params.win_length == 0 ? n_fft : params.win_length;
    if (params.center) fail_argument(op, "align_to_window must be left out where center is true");
    if (padded < n_fft) {
      fail_argument(op, "n_fft = %" PRId64 " must be at most the input's %" PRId64 " samples where center is false",
                    n_fft, padded);
    }
    f.offset += (n_fft - win) / 2;
    f.frames = 1 + (padded - win) / hop;
    f.pad_mode = PadMode::kConstant;  // the window is zero there
    return f;
  }
  const std::int64_t total = padded + 2 * center;
  if (total < n_fft) {
    fail_argument(op, "n_fft = %" PRId64 " must be at most the input's %" PRId64 " samples where center is false",
                  n_fft, padded);
  }
  f.frames = 1 + (total - n_fft) / hop;
  return f;
}

std::int64_t frame_count(std::int64_t length, const FrameParams& params, const char* op) {
  return make_framing(length, params, op).frames;
}

void check_window(const Tensor* window, std::int64_t win_length, const char* op) {
  if (window == nullptr) return;
  if (window->dtype != DType::kFloat32 && window->dtype != DType::kFloat64) {
    fail_type(op, "window must be float32 or float64, got %s", dtype_name(window->dtype));
  }
  if (window->ndim() != 1 || window->size(0) != win_length) {
    fail_argument(op, "window must be 1-D with win_length = %" PRId64 " values, got %d-D with %" PRId64, win_length,
                  window->ndim(), window->ndim() > 0 ? window->size(-1) : 1);
  }
}

std::vector<double> padded_window(const Tensor* window, std::int64_t n_fft, std::int64_t win_length, double scale,
                                  const char* op) {
  const std::int64_t win = checked_win_length(win_length, n_fft, op);
  check_window(window, win, op);
  std::vector<double> result(static_cast<std::size_t>(n_fft), 0.0);
  double* out = result.data() + (n_fft - win) / 2;
  if (window == nullptr) {
    std::fill(out, out + win, scale);
    return result;
  }
  for (std::int64_t i = 0; i < win; ++i) {
    const std::int64_t at = i * window->stride(0);
    out[i] = scale * (window->dtype == DType::kFloat32 ? static_cast<double>(window->as<float>()[at])
                                                       : window->as<double>()[at]);
  }
  return result;
}

std::int64_t item_count(const Shape& shape, int trailing) {
  std::int64_t count = 1;
  for (int axis = 0; axis < shape.ndim - trailing; ++axis) count *= shape[axis];
  return count;
}

std::int64_t item_offset(const Tensor& tensor, int trailing, std::int64_t item) {
  std::int64_t offset = 0;
  for (int axis = tensor.ndim() - trailing - 1; axis >= 0; --axis) {
    offset += item % tensor.size(axis) * tensor.stride(axis);
    item /= tensor.size(axis);
  }
  return offset;
}

template <typename C>
FrameRows<C>::FrameRows(const Tensor& x, std::int64_t item, const Framing& framing)
    : data_(static_cast<const char*>(x.data) +
            item_offset(x, 1, item) * static_cast<std::int64_t>(dtype_size(x.dtype))),
      dtype_(x.dtype),
      stride_(x.stride(-1)),
      width_(is_complex(x.dtype) ? 2 : 1),
      framing_(framing) {
  const bool same = dtype_size(x.dtype) == sizeof(C) * static_cast<std::size_t>(width_) && x.dtype != DType::kInt16;
  direct_ = same && (stride_ == 1 || x.size(-1) == 1);
}

template <typename C>
void FrameRows<C>::fill(std::int64_t start, C* out) const {
  switch (dtype_) {
    case DType::kInt16: return fill_from<std::int16_t>(start, out);
    case DType::kFloat32:
    case DType::kComplex64: return fill_from<float>(start, out);
    default: return fill_from<double>(start, out);
  }
}

template <typename C>
template <typename In>
void FrameRows<C>::fill_from(std::int64_t start, C* out) const {
  const In* data = reinterpret_cast<const In*>(data_);
  const std::int64_t n = framing_.n_fft;
  const std::int64_t inside_first = std::clamp<std::int64_t>(-start, 0, n);
  const std::int64_t inside_last = std::clamp<std::int64_t>(framing_.length - start, inside_first, n);
  const auto edge = [&](std::int64_t i) {
    const std::int64_t j = framing_.source(start + i);
    for (std::int64_t w = 0; w < width_; ++w) {
      out[i * width_ + w] = j < 0 ? C{0} : static_cast<C>(data[j * stride_ * width_ + w]);
    }
  };
  for (std::int64_t i = 0; i < inside_first; ++i) edge(i);
  if (stride_ == 1) {
    for (std::int64_t i = inside_first * width_; i < inside_last * width_; ++i)
      out[i] = static_cast<C>(data[start * width_ + i]);
  } else {
    for (std::int64_t i = inside_first; i < inside_last; ++i) {
      for (std::int64_t w = 0; w < width_; ++w) {
        out[i * width_ + w] = static_cast<C>(data[(start + i) * stride_ * width_ + w]);
      }
    }
  }
  for (std::int64_t i = inside_last; i < n; ++i) edge(i);
}

template class FrameRows<float>;
template class FrameRows<double>;

}  // namespace melisma
