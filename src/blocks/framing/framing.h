// Frames of a signal: where they start, what stands beyond its ends, and a frame's samples as a contiguous row.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "melisma/frames.h"
#include "melisma/tensor.h"

namespace melisma {

inline constexpr std::int64_t kMaxFftSize = std::int64_t{1} << 28;  // int32 positions, and plans that still fit memory

struct Framing {
  std::int64_t length;  // of the signal
  std::int64_t n_fft;
  std::int64_t frames;
  std::int64_t hop;
  double fractional_hop;  // 0: hop is exact
  std::int64_t offset;    // frame i starts at sample i * hop - offset
  std::int64_t pad;       // zeros on both sides before pad_mode applies
  PadMode pad_mode;

  std::int64_t start(std::int64_t frame) const {
    return (fractional_hop > 0 ? static_cast<std::int64_t>(static_cast<double>(frame) * fractional_hop) : frame * hop) -
           offset;
  }
  // The sample that stands at index j, j < 0 and j >= length included; -1: a zero.
  std::int64_t source(std::int64_t j) const;
};

inline std::int64_t Framing::source(std::int64_t j) const {
  const std::int64_t padded = length + 2 * pad;
  std::int64_t p = j + pad;
  if (p < 0 || p >= padded) {
    switch (pad_mode) {
      case PadMode::kConstant: return -1;
      case PadMode::kReflect: p = p < 0 ? -p : 2 * (padded - 1) - p; break;
      case PadMode::kReplicate: p = p < 0 ? 0 : padded - 1; break;
      case PadMode::kCircular: p = p < 0 ? p + padded : p - padded; break;
    }
  }
  p -= pad;
  return p >= 0 && p < length ? p : -1;
}

// Checks every parameter; errors name `op`.
Framing make_framing(std::int64_t length, const FrameParams& params, const char* op);

// params.win_length and hop_length with their defaults filled in and checked.
std::int64_t checked_n_fft(std::int64_t n_fft, const char* op);
std::int64_t checked_hop_length(std::int64_t hop_length, std::int64_t n_fft, const char* op);
std::int64_t checked_win_length(std::int64_t win_length, std::int64_t n_fft, const char* op);

// Rank, length and dtype of a window that is given.
void check_window(const Tensor* window, std::int64_t win_length, const char* op);

// The window centred in n_fft values and multiplied by scale; null: ones. Checks it.
std::vector<double> padded_window(const Tensor* window, std::int64_t n_fft, std::int64_t win_length, double scale,
                                  const char* op);

// Elements from data to item `item` of the leading axes, that is of all but the last `trailing` ones.
std::int64_t item_offset(const Tensor& tensor, int trailing, std::int64_t item);
std::int64_t item_count(const Shape& shape, int trailing);

// Memory that will be read soon. The hardware's prefetchers do not follow frames.
struct Ahead {
  const char* first;
  std::int64_t bytes;
  void prefetch() const {
    for (std::int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(first + at);
  }
};

// Rows of one item, converted to C; complex samples are pairs of C.
template <typename C>
class FrameRows {
 public:
  FrameRows(const Tensor& x, std::int64_t item, const Framing& framing);

  // The memory of the samples that frames first .. first + count - 1 have and frame first - 1 has not.
  Ahead ahead(std::int64_t first, std::int64_t count) const {
    if (stride_ != 1 || first >= framing_.frames) return {nullptr, 0};
    const std::int64_t size = static_cast<std::int64_t>(dtype_size(dtype_));
    const std::int64_t last = std::min(first + count, framing_.frames) - 1;
    const std::int64_t from = std::max<std::int64_t>(framing_.start(first - 1) + framing_.n_fft, 0);
    const std::int64_t to = std::min(framing_.start(last) + framing_.n_fft, framing_.length);
    return {data_ + from * size, std::max<std::int64_t>(0, to - from) * size};
  }

  // The n_fft samples of a frame: the signal's own memory where it will do, otherwise a copy in scratch.
  const C* row(std::int64_t frame, C* scratch) const {
    const std::int64_t start = framing_.start(frame);
    if (direct_ && start >= 0 && start + framing_.n_fft <= framing_.length) {
      return reinterpret_cast<const C*>(data_) + start * width_;
    }
    fill(start, scratch);
    return scratch;
  }

 private:
  void fill(std::int64_t start, C* out) const;
  template <typename In>
  void fill_from(std::int64_t start, C* out) const;

  const char* data_;  // of the item
  DType dtype_;
  std::int64_t stride_, width_;
  bool direct_;
  Framing framing_;
};

}  // namespace melisma
