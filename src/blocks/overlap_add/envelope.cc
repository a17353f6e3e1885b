#include "blocks/overlap_add/envelope.h"

#include <algorithm>
#include <cinttypes>

#include "runtime/check.h"

namespace melisma {
namespace {

// Long enough for whole SIMD vectors where the hop is short.
constexpr std::int64_t kShortestPeriod = 512;

}  // namespace

template <typename C>
Envelope<C>::Envelope(const std::vector<double>& window, std::int64_t hop, std::int64_t frames, std::int64_t first,
                      std::int64_t last, EdgePolicy policy, double scale, const char* op) {
  const std::int64_t n_fft = static_cast<std::int64_t>(window.size());
  end_ = n_fft + hop * (frames - 1);
  head_end_ = std::min((n_fft + hop - 1) / hop * hop, end_);
  tail_begin_ = std::max(head_end_, frames * hop);
  if (tail_begin_ >= end_) tail_begin_ = end_;
  bool repeats = tail_begin_ > head_end_;
  if (!repeats && frames * hop < head_end_) head_end_ = tail_begin_ = end_;  // few frames: the head is everything

  // All that is asked for lies in the head: it ends there, so that an enormous hop costs no memory.
  if (last <= head_end_) {
    head_end_ = tail_begin_ = end_ = std::clamp<std::int64_t>(last, 0, end_);
    repeats = false;
  }

  const auto square = [&](std::int64_t i) {
    return i < n_fft ? window[static_cast<std::size_t>(i)] * window[static_cast<std::size_t>(i)] : 0.0;
  };
  const auto invert = [&](double envelope, std::int64_t n) {
    if (!(envelope > kSmallestEnvelope)) {
      if (policy == EdgePolicy::kError && n >= first && n < last) {
        fail_argument(op,
                      "window overlap-add must be above %g everywhere, got %g at sample %" PRId64
                      " (edge='zero' or 'clamp' accepts such samples)",
                      kSmallestEnvelope, envelope, n - first);
      }
      return policy == EdgePolicy::kClamp ? static_cast<C>(scale / kSmallestEnvelope) : C{0};
    }
    return static_cast<C>(scale / envelope);
  };

  head_.resize(static_cast<std::size_t>(head_end_));
  std::vector<double> last_hop(static_cast<std::size_t>(std::min(hop, head_end_)));   // sums of the hop before n
  for (std::int64_t n = 0, r = 0; n < head_end_; ++n, r = r + 1 < hop ? r + 1 : 0) {  // frames 0 .. frames - 1 over n
    double& sum = last_hop[static_cast<std::size_t>(r)];
    const std::int64_t latest = std::min(n / hop, frames - 1), earliest = n < n_fft ? 0 : (n - n_fft) / hop + 1;
    if (latest * hop + hop > n && n >= hop && n < n_fft) {
      sum += square(n);  // one frame more than a hop earlier
    } else {
      sum = 0;
      for (std::int64_t t = earliest; t <= latest; ++t) sum += square(n - t * hop);
    }
    head_[static_cast<std::size_t>(n)] = invert(sum, n);
  }

  if (repeats) {
    const std::int64_t times = (kShortestPeriod + hop - 1) / hop;
    period_.resize(static_cast<std::size_t>(hop * times));
    for (std::int64_t r = 0; r < hop; ++r) {
      double sum = 0;
      for (std::int64_t i = r; i < n_fft; i += hop) sum += square(i);
      const C inverse = invert(sum, head_end_ + r);
      for (std::size_t i = static_cast<std::size_t>(r); i < period_.size(); i += static_cast<std::size_t>(hop))
        period_[i] = inverse;
    }
  }

  tail_.resize(static_cast<std::size_t>(end_ - tail_begin_));
  for (std::int64_t n = tail_begin_; n < end_; ++n) {
    double sum = 0;
    for (std::int64_t t = frames - 1; t >= 0 && n - t * hop < n_fft; --t) sum += square(n - t * hop);
    tail_[static_cast<std::size_t>(n - tail_begin_)] = invert(sum, n);
  }
}

template class Envelope<float>;
template class Envelope<double>;

}  // namespace melisma
