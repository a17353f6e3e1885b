// The overlap-added squared window, inverted: what an inverse STFT multiplies its samples by.
//
// It depends on window, hop and number of frames only. Away from the ends it repeats with the hop, so it takes the
// memory of a few frames however long the signal is.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "melisma/istft.h"

namespace melisma {

inline constexpr double kSmallestEnvelope = 1e-11;  // torch.istft's limit

template <typename C>
class Envelope {
 public:
  // window: [n_fft]. Samples first .. last - 1 are the ones that will be asked for; an envelope at or below
  // kSmallestEnvelope there is an Error naming `op` unless the policy says otherwise. The reciprocals are times
  // `scale`.
  Envelope(const std::vector<double>& window, std::int64_t hop, std::int64_t frames, std::int64_t first,
           std::int64_t last, EdgePolicy policy, double scale, const char* op);

  // The reciprocals for samples n, n + 1, ... and how many of them stand there in one piece; n < n_fft + hop (frames -
  // 1).
  const C* at(std::int64_t n, std::int64_t* count) const {
    if (n < head_end_) {
      *count = head_end_ - n;
      return head_.data() + n;
    }
    if (n < tail_begin_) {
      const std::int64_t phase = n % static_cast<std::int64_t>(period_.size());
      *count = std::min(static_cast<std::int64_t>(period_.size()) - phase, tail_begin_ - n);
      return period_.data() + phase;
    }
    *count = end_ - n;
    return tail_.data() + (n - tail_begin_);
  }

 private:
  std::int64_t head_end_, tail_begin_, end_;
  std::vector<C> head_, period_, tail_;
};

}  // namespace melisma
