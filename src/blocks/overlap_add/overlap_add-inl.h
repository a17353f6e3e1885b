// Overlap-add: frames of a signal, in order, to its samples, for memory of any strides and any number of threads.

// clang-format off
#if defined(MELISMA_BLOCKS_OVERLAP_ADD_OVERLAP_ADD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MELISMA_BLOCKS_OVERLAP_ADD_OVERLAP_ADD_INL_H_
#undef MELISMA_BLOCKS_OVERLAP_ADD_OVERLAP_ADD_INL_H_
#else
#define MELISMA_BLOCKS_OVERLAP_ADD_OVERLAP_ADD_INL_H_
#endif
// clang-format on

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "blocks/fft/interleave-inl.h"
#include "blocks/framing/framing.h"
#include "blocks/overlap_add/envelope.h"
#include "blocks/overlap_add/tuning.h"
#include "melisma/runtime.h"
#include "runtime/aligned.h"
#include "runtime/cpu/highway.h"
#include "runtime/parallel.h"
#include "runtime/scratch.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// What is overlap-added, the same for all items: sample j of the result is the sum over t of
// window[j - framing.start(t)] times frame t's value there.
//
// Parts of frames beyond the signal are dropped where they stand on zeros; where the padding has copied samples there,
// they are added to those samples (the adjoint of the padding).
template <typename C>
struct OverlapAddJob {
  const Framing& framing;
  std::int64_t width;                 // values a sample: 2 for complex ones
  const std::vector<double>& window;  // [n_fft]
  const Tensor& out;                  // [..., framing.length], real or complex as width says
  const Envelope<C>* envelope;        // what the sums are multiplied by, counted from frame 0; null: by nothing

  std::int64_t step() const {  // samples between frames, at most
    return framing.fractional_hop > 0 ? static_cast<std::int64_t>(std::ceil(framing.fractional_hop)) : framing.hop;
  }
  std::int64_t frames_end() const { return framing.start(framing.frames - 1) + framing.n_fft; }
  // Samples on each side of the signal, with its zero padding, that are copies of others.
  std::int64_t copied() const { return framing.pad_mode == PadMode::kConstant ? 0 : framing.offset - framing.pad; }
};

// Adds frames in order and hands finished samples on. Every sample is ((0 + frame t) + frame t+1) + ..., whichever task
// computes it.
template <typename C, typename Out>
class OverlapAdd {
 public:
  // Samples [begin, end) of one item, those before 0 and after the signal included. buffer has capacity() * width
  // values; out points at the item; edges: [2][copied()] samples of width, zeros before.
  OverlapAdd(const OverlapAddJob<C>& job, const C* window, C* buffer, Out* out, C* edges, std::int64_t begin,
             std::int64_t end, std::int64_t first_frame)
      : job_(job),
        window_(window),
        width_(job.width),
        buffer_(buffer),
        out_(out),
        out_stride_(job.out.stride(-1)),
        edges_(edges),
        capacity_(capacity(job)),
        frames_end_(job.frames_end()),
        next_(begin),
        end_(end),
        base_(job.framing.start(first_frame)) {
    std::fill_n(buffer_, static_cast<std::size_t>(capacity_ * width_), C{0});
  }

  static std::int64_t capacity(const OverlapAddJob<C>& job) {
    return job.framing.n_fft + overlap_add_tuning::kFramesPerMove * std::min(job.step(), job.framing.n_fft);
  }

  // A frame of n_fft / 2 even and as many odd samples, a multiple of the lanes.
  void add(std::int64_t t, const C* HWY_RESTRICT even, const C* HWY_RESTRICT odd) {
    const hn::ScalableTag<C> d;
    const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
    C* HWY_RESTRICT to = place(t);
    const C* HWY_RESTRICT window = window_;  // a copy: vector stores may alias members
    const std::int64_t half = job_.framing.n_fft / 2;
    for (std::int64_t j = 0; j < half; j += lanes) {
      hn::Vec<decltype(d)> low, high;
      interleave<false>(d, hn::Load(d, even + j), hn::Load(d, odd + j), low, high);
      const std::int64_t i = 2 * j;
      hn::StoreU(hn::MulAdd(low, hn::LoadU(d, window + i), hn::LoadU(d, to + i)), d, to + i);
      hn::StoreU(hn::MulAdd(high, hn::LoadU(d, window + i + lanes), hn::LoadU(d, to + i + lanes)), d, to + i + lanes);
    }
  }

  // A frame of n_fft samples of width values.
  void add(std::int64_t t, const C* HWY_RESTRICT frame) {
    const hn::ScalableTag<C> d;
    const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
    C* HWY_RESTRICT to = place(t);
    const C* HWY_RESTRICT window = window_;
    const std::int64_t count = job_.framing.n_fft * width_;
    std::int64_t i = 0;
    for (; i + lanes <= count; i += lanes) {
      hn::StoreU(hn::MulAdd(hn::LoadU(d, frame + i), hn::LoadU(d, window + i), hn::LoadU(d, to + i)), d, to + i);
    }
    if (i == count) return;
    // The last values by the same fused multiply-add, through a padded copy.
    HWY_ALIGN C tail[3 * hn::MaxLanes(d)] = {};
    const std::size_t bytes = static_cast<std::size_t>(count - i) * sizeof(C);
    std::memcpy(tail, frame + i, bytes);
    std::memcpy(tail + lanes, window + i, bytes);
    std::memcpy(tail + 2 * lanes, to + i, bytes);
    hn::Store(hn::MulAdd(hn::Load(d, tail), hn::Load(d, tail + lanes), hn::Load(d, tail + 2 * lanes)), d, tail);
    std::memcpy(to + i, tail, bytes);
  }

  void finish() {
    emit(std::min(end_, base_ + capacity_));
    zeros(end_);
  }

 private:
  // Where frame t is added.
  C* place(std::int64_t t) {
    const std::int64_t start = job_.framing.start(t);
    if (start + job_.framing.n_fft > base_ + capacity_) move_to(start);
    return buffer_ + (start - base_) * width_;
  }

  // Samples before `sample` are finished: write them, and let the buffer start there.
  void move_to(std::int64_t sample) {
    const std::int64_t held = base_ + capacity_;
    emit(std::min({sample, held, end_}));
    zeros(std::min(sample, end_));
    const std::int64_t keep = std::max<std::int64_t>(0, held - sample);
    if (keep > 0)
      std::memmove(buffer_, buffer_ + (sample - base_) * width_, static_cast<std::size_t>(keep * width_) * sizeof(C));
    std::fill(buffer_ + keep * width_, buffer_ + capacity_ * width_, C{0});
    base_ = sample;
  }

  void zeros(std::int64_t until) {  // between frames that do not touch, and after the last frame
    for (std::int64_t n = std::max<std::int64_t>(next_, 0); n < std::min(until, job_.framing.length); ++n) {
      for (std::int64_t w = 0; w < width_; ++w) out_at(n)[w] = Out{0};
    }
    next_ = std::max(next_, until);
  }

  Out* out_at(std::int64_t n) const { return out_ + n * out_stride_ * width_; }

  void emit(std::int64_t until) {
    zeros(std::min({base_, end_, until}));  // a task may begin between two frames that do not touch
    until = std::min(until, frames_end_);
    keep(std::min<std::int64_t>(until, 0));
    while (next_ < std::min(until, job_.framing.length)) {
      std::int64_t count = std::min(until, job_.framing.length) - next_;
      if (job_.envelope == nullptr) {
        write(count);
      } else {
        std::int64_t reciprocals;
        const C* inverse = job_.envelope->at(next_ + job_.framing.offset, &reciprocals);
        count = std::min(count, reciprocals);
        write_times(count, inverse);
      }
      next_ += count;
    }
    keep(until);
  }

  void write(std::int64_t count) const {
    const C* HWY_RESTRICT from = buffer_ + (next_ - base_) * width_;
    Out* HWY_RESTRICT to = out_at(next_);
    if constexpr (std::is_same_v<C, Out>) {
      if (out_stride_ == 1) {
        std::memcpy(to, from, static_cast<std::size_t>(count * width_) * sizeof(C));
        return;
      }
    }
    for (std::int64_t i = 0; i < count; ++i) {
      for (std::int64_t w = 0; w < width_; ++w)
        to[i * out_stride_ * width_ + w] = static_cast<Out>(from[i * width_ + w]);
    }
  }

  void write_times(std::int64_t count, const C* HWY_RESTRICT inverse) const {
    const hn::ScalableTag<C> d;
    const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
    const C* HWY_RESTRICT from = buffer_ + (next_ - base_) * width_;
    Out* HWY_RESTRICT to = out_at(next_);
    std::int64_t i = 0;
    if constexpr (std::is_same_v<C, Out>) {
      if (width_ == 1 && out_stride_ == 1) {
        for (; i + lanes <= count; i += lanes)
          hn::StoreU(hn::Mul(hn::LoadU(d, from + i), hn::LoadU(d, inverse + i)), d, to + i);
      }
    }
    for (; i < count; ++i) {
      for (std::int64_t w = 0; w < width_; ++w) {
        to[i * out_stride_ * width_ + w] = static_cast<Out>(from[i * width_ + w] * inverse[i]);
      }
    }
  }

  // Sums beyond the signal: kept where they stand on copies, dropped where on zeros.
  void keep(std::int64_t until) {
    if (until <= next_) return;
    const std::int64_t copied = job_.copied(), pad = job_.framing.pad, length = job_.framing.length;
    keep_part(-pad - copied, -pad, edges_, until);
    keep_part(length + pad, length + pad + copied, edges_ + copied * width_, until);
    next_ = until;
  }
  void keep_part(std::int64_t first, std::int64_t last, C* to, std::int64_t until) const {
    const std::int64_t from = std::max(next_, first);
    until = std::min(until, last);
    if (from >= until) return;
    std::memcpy(to + (from - first) * width_, buffer_ + (from - base_) * width_,
                static_cast<std::size_t>((until - from) * width_) * sizeof(C));
  }

  const OverlapAddJob<C>& job_;
  const C* window_;
  std::int64_t width_;
  C* buffer_;
  Out* out_;
  std::int64_t out_stride_;
  C* edges_;
  std::int64_t capacity_, frames_end_;
  std::int64_t next_, end_;  // samples still to be written
  std::int64_t base_;        // the sample at the buffer's start
};

// Adds what stands on copies to the samples that they are copies of, in order. A row of copies of one sample is summed
// in float64 first.
template <typename C, typename Out>
void fold_edges(const OverlapAddJob<C>& job, const C* edges, Out* out) {
  const std::int64_t copied = job.copied(), pad = job.framing.pad;
  for (std::int64_t w = 0; w < job.width; ++w) {
    std::int64_t sample = -1;
    double sum = 0;
    const auto flush = [&] {
      if (sample < 0) return;
      Out& to = out[sample * job.out.stride(-1) * job.width + w];
      to = static_cast<Out>(static_cast<double>(to) + sum);
    };
    for (std::int64_t i = 0; i < 2 * copied; ++i) {
      const std::int64_t j = i < copied ? i - copied - pad : job.framing.length + pad + (i - copied);
      const std::int64_t source = job.framing.source(j);
      if (source != sample) {
        flush();
        sample = source;
        sum = 0;
      }
      sum += static_cast<double>(edges[i * job.width + w]);
    }
    flush();
  }
}

// Splits the result into tasks. body(item, t0, t1, scratch, sum) adds frames t0 .. t1 (none where t1 < t0) to `sum`,
// in order, each by sum.add(t, ...); it may take body_bytes of scratch.
template <typename C, typename Out, class Body>
void overlap_add(const OverlapAddJob<C>& job, std::size_t body_bytes, const Body& body) {
  const Framing& framing = job.framing;
  const std::int64_t n_fft = framing.n_fft, width = job.width, copied = job.copied();
  AlignedVector<C> window(static_cast<std::size_t>(n_fft * width));
  for (std::size_t i = 0; i < window.size(); ++i)
    window[i] = static_cast<C>(job.window[i / static_cast<std::size_t>(width)]);

  const std::int64_t items = item_count(job.out.shape, 1), step = job.step();
  const std::int64_t frames_per_task = num_threads() == 1 ? framing.frames : overlap_add_tuning::kFramesPerTask;
  const std::int64_t per_task = std::max<std::int64_t>(frames_per_task * std::min(step, n_fft), 1);
  const std::int64_t per_item = (framing.length + per_task - 1) / per_task;
  const std::int64_t begin_all = copied > 0 ? -framing.pad - copied : 0;
  const std::int64_t end_all =
      copied > 0 ? std::max(framing.length, std::min(job.frames_end(), framing.length + framing.pad + copied))
                 : framing.length;
  AlignedVector<C> edges(static_cast<std::size_t>(items * 2 * copied * width));
  const auto item_edges = [&](std::int64_t item) { return edges.data() + item * 2 * copied * width; };
  const auto item_out = [&](std::int64_t item) {
    return static_cast<Out*>(job.out.data) + width * item_offset(job.out, 1, item);
  };

  // Frames that have sample `begin` or later ones, and those that start before `end`.
  const auto first_frame = [&](std::int64_t begin) {
    const std::int64_t at = begin + framing.offset;
    if (at < n_fft) return std::int64_t{0};
    if (framing.fractional_hop <= 0) return std::min((at - n_fft) / framing.hop + 1, framing.frames);
    std::int64_t t = static_cast<std::int64_t>(static_cast<double>(at - n_fft) / framing.fractional_hop);
    for (t = std::max<std::int64_t>(t - 1, 0); t < framing.frames && framing.start(t) + n_fft <= begin;) ++t;
    return std::min(t, framing.frames);
  };
  const auto last_frame = [&](std::int64_t end) {
    const std::int64_t at = end - 1 + framing.offset;
    if (framing.fractional_hop <= 0) return std::min(at / framing.hop, framing.frames - 1);
    std::int64_t t = static_cast<std::int64_t>(static_cast<double>(at) / framing.fractional_hop) + 2;
    for (t = std::min(t, framing.frames - 1); t > 0 && framing.start(t) >= end;) --t;
    return t;
  };

  const std::size_t buffer_values = static_cast<std::size_t>(OverlapAdd<C, Out>::capacity(job) * width);
  parallel_for(items * per_item, [&](std::int64_t task) HWY_ATTR {
    const std::int64_t item = task / per_item, part = task % per_item;
    const std::int64_t begin = part == 0 ? begin_all : part * per_task;
    const std::int64_t end = part + 1 == per_item ? end_all : (part + 1) * per_task;
    const std::int64_t t0 = first_frame(begin), t1 = last_frame(end);
    Scratch scratch(body_bytes + scratch_bytes<C>(buffer_values));
    OverlapAdd<C, Out> sum(job, window.data(), scratch.take<C>(buffer_values), item_out(item), item_edges(item), begin,
                           end, t0);
    body(item, t0, t1, scratch, sum);
    sum.finish();
  });
  if (copied > 0)
    parallel_for(items, [&](std::int64_t item) { fold_edges<C, Out>(job, item_edges(item), item_out(item)); });
}

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif
