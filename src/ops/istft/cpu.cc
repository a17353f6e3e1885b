#include "ops/istft/cpu.h"

#include <algorithm>
#include <cstring>

#include "blocks/framing/framing.h"
#include "blocks/overlap_add/envelope.h"
#include "ops/istft/tuning.h"
#include "runtime/parallel.h"
#include "runtime/registry.h"
#include "runtime/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/istft/cpu.cc"
// clang-format off
#include "runtime/cpu/targets.h"
#include "hwy/foreach_target.h"
#include "runtime/cpu/highway.h"
// clang-format on
#include "blocks/fft/interleave-inl.h"
#include "blocks/spectrum/spectrum-inl.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace {

using istft_tuning::kFramesPerMove;
using istft_tuning::kFramesPerTask;
using istft_tuning::kGatherFrames;

// Rows of interleaved bins from a spectrum of any strides and of In (float or double) parts.
template <typename C, typename In>
class SpectrumRows {
 public:
  SpectrumRows(const IstftJob& job, std::int64_t item)
      : job_(job), data_(static_cast<const In*>(job.spec.data) + 2 * item_offset(job.spec, 2, item)) {}

  static bool direct(const IstftJob& job) { return std::is_same_v<C, In> && (job.bin_stride == 1 || job.bins == 1); }

  // The memory of frames first .. first + count - 1, where they follow each other.
  Ahead ahead(std::int64_t first, std::int64_t count) const {
    if (count < 1 || !direct(job_) || job_.frame_stride != job_.bins) return {nullptr, 0};
    return {reinterpret_cast<const char*>(data_ + 2 * first * job_.frame_stride),
            count * job_.bins * 2 * static_cast<std::int64_t>(sizeof(In))};
  }

  // rows[r] for frames first .. first + count - 1; copies has room for count rows where they are not direct.
  void get(std::int64_t first, std::int64_t count, C* copies, const C** rows) const {
    if constexpr (std::is_same_v<C, In>) {
      if (direct(job_)) {
        for (std::int64_t r = 0; r < count; ++r) rows[r] = data_ + 2 * (first + r) * job_.frame_stride;
        return;
      }
    }
    for (std::int64_t k = 0; k < job_.bins; ++k) {  // bins outside: neighbouring frames share cache lines
      for (std::int64_t r = 0; r < count; ++r) {
        const In* from = data_ + 2 * (k * job_.bin_stride + (first + r) * job_.frame_stride);
        copies[(r * job_.bins + k) * 2] = static_cast<C>(from[0]);
        copies[(r * job_.bins + k) * 2 + 1] = static_cast<C>(from[1]);
      }
    }
    for (std::int64_t r = 0; r < count; ++r) rows[r] = copies + r * job_.bins * 2;
  }

 private:
  const IstftJob& job_;
  const In* data_;
};

// Overlap-adds frames in order and hands finished samples on. Every sample is ((0 + frame t) + frame t+1) + ...,
// whichever task computes it.
template <typename C, typename Out>
class OverlapAdd {
 public:
  // Samples [begin, end) of one item, counted from the first frame's start; width 2: complex. buffer has
  // buffer_values().
  OverlapAdd(const IstftJob& job, const Envelope<C>& envelope, const C* window, std::int64_t width, C* buffer, Out* out,
             std::int64_t out_stride, std::int64_t begin, std::int64_t end, std::int64_t first_frame)
      : job_(job),
        envelope_(envelope),
        window_(window),
        width_(width),
        buffer_(buffer),
        out_(out),
        out_stride_(out_stride),
        next_(begin),
        end_(end),
        base_(first_frame * job.hop) {
    std::fill_n(buffer_, static_cast<std::size_t>(capacity(job) * width_), C{0});
  }

  static std::int64_t capacity(const IstftJob& job) {
    return job.n_fft + kFramesPerMove * std::min(job.hop, job.n_fft);
  }

  // A frame of n_fft / 2 even and as many odd samples, a multiple of the lanes.
  void add(std::int64_t t, const C* HWY_RESTRICT even, const C* HWY_RESTRICT odd) {
    const hn::ScalableTag<C> d;
    const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
    C* HWY_RESTRICT to = place(t);
    for (std::int64_t j = 0; j < job_.n_fft / 2; j += lanes) {
      hn::Vec<decltype(d)> low, high;
      interleave<false>(d, hn::Load(d, even + j), hn::Load(d, odd + j), low, high);
      const std::int64_t i = 2 * j;
      hn::StoreU(hn::MulAdd(low, hn::LoadU(d, window_ + i), hn::LoadU(d, to + i)), d, to + i);
      hn::StoreU(hn::MulAdd(high, hn::LoadU(d, window_ + i + lanes), hn::LoadU(d, to + i + lanes)), d, to + i + lanes);
    }
  }

  void add(std::int64_t t, const C* HWY_RESTRICT frame) {
    const hn::ScalableTag<C> d;
    const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
    C* HWY_RESTRICT to = place(t);
    const std::int64_t count = job_.n_fft * width_;
    std::int64_t i = 0;
    for (; i + lanes <= count; i += lanes) {
      hn::StoreU(hn::MulAdd(hn::LoadU(d, frame + i), hn::LoadU(d, window_ + i), hn::LoadU(d, to + i)), d, to + i);
    }
    if (i == count) return;
    // The last values by the same fused multiply-add, through a padded copy.
    HWY_ALIGN C tail[3 * hn::MaxLanes(d)] = {};
    const std::size_t bytes = static_cast<std::size_t>(count - i) * sizeof(C);
    std::memcpy(tail, frame + i, bytes);
    std::memcpy(tail + lanes, window_ + i, bytes);
    std::memcpy(tail + 2 * lanes, to + i, bytes);
    hn::Store(hn::MulAdd(hn::Load(d, tail), hn::Load(d, tail + lanes), hn::Load(d, tail + 2 * lanes)), d, tail);
    std::memcpy(to + i, tail, bytes);
  }

  void finish() {
    emit(std::min(end_, base_ + capacity(job_)));
    zeros(end_);
  }

 private:
  // Where frame t is added.
  C* place(std::int64_t t) {
    const std::int64_t start = t * job_.hop;
    if (start + job_.n_fft > base_ + capacity(job_)) move_to(start);
    return buffer_ + (start - base_) * width_;
  }

  // Samples before `sample` are finished: write them, and let the buffer start there.
  void move_to(std::int64_t sample) {
    const std::int64_t held = base_ + capacity(job_);
    emit(std::min({sample, held, end_}));
    zeros(std::min(sample, end_));
    const std::int64_t keep = std::max<std::int64_t>(0, held - sample);
    if (keep > 0)
      std::memmove(buffer_, buffer_ + (sample - base_) * width_, static_cast<std::size_t>(keep * width_) * sizeof(C));
    std::fill(buffer_ + keep * width_, buffer_ + capacity(job_) * width_, C{0});
    base_ = sample;
  }

  void zeros(std::int64_t until) {  // between frames that do not touch, and after the last frame
    for (; next_ < until; ++next_) {
      for (std::int64_t w = 0; w < width_; ++w) out_at(next_)[w] = Out{0};
    }
  }

  Out* out_at(std::int64_t n) const { return out_ + (n - job_.first) * out_stride_ * width_; }

  void emit(std::int64_t until) {
    const hn::ScalableTag<C> d;
    const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
    zeros(std::min({base_, end_, until}));  // a task may begin between two frames that do not touch
    until = std::min(until, job_.n_fft + job_.hop * (job_.frames - 1));
    while (next_ < until) {
      std::int64_t count;
      const C* HWY_RESTRICT inverse = envelope_.at(next_, &count);
      count = std::min(count, until - next_);
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
      next_ += count;
    }
  }

  const IstftJob& job_;
  const Envelope<C>& envelope_;
  const C* window_;
  std::int64_t width_;
  C* buffer_;
  Out* out_;
  std::int64_t out_stride_;
  std::int64_t next_, end_;  // samples still to be written
  std::int64_t base_;        // the sample at the buffer's start
};

template <typename C>
AlignedVector<C> widened_window(const IstftJob& job, std::int64_t width) {
  AlignedVector<C> window(static_cast<std::size_t>(job.n_fft * width));
  for (std::size_t i = 0; i < window.size(); ++i)
    window[i] = static_cast<C>(job.window[i / static_cast<std::size_t>(width)]);
  return window;
}

// Splits the result into tasks; body(task) computes samples [begin, end) of an item.
template <typename C, typename Out, class Body>
void run_tasks(const IstftJob& job, std::int64_t width, std::size_t body_bytes, const Body& body) {
  const std::int64_t full = job.n_fft + job.hop * (job.frames - 1);
  const std::int64_t last = std::min(job.first + job.samples, full);
  const Envelope<C> envelope(job.window, job.hop, job.frames, job.first, last, job.edge,
                             job.scale / static_cast<double>(job.n_fft), "istft");
  const AlignedVector<C> window = widened_window<C>(job, width);
  const std::int64_t items = item_count(job.spec.shape, 2);
  const std::int64_t frames_per_task = num_threads() == 1 ? job.frames : kFramesPerTask;
  const std::int64_t per_task = std::max<std::int64_t>(frames_per_task * std::min(job.hop, job.n_fft), 1);
  const std::int64_t per_item = (job.samples + per_task - 1) / per_task;
  const std::size_t buffer_values = static_cast<std::size_t>(OverlapAdd<C, Out>::capacity(job) * width);
  parallel_for(items * per_item, [&](std::int64_t task) HWY_ATTR {
    const std::int64_t item = task / per_item, begin = job.first + task % per_item * per_task;
    const std::int64_t end = std::min(begin + per_task, job.first + job.samples);
    Scratch scratch(body_bytes + scratch_bytes<C>(buffer_values));
    const std::int64_t first_frame = begin < job.n_fft ? 0 : std::min((begin - job.n_fft) / job.hop + 1, job.frames);
    const std::int64_t last_frame = std::min((end - 1) / job.hop, job.frames - 1);
    Out* out = static_cast<Out*>(job.out.data) + width * item_offset(job.out, 1, item);
    OverlapAdd<C, Out> sum(job, envelope, window.data(), width, scratch.take<C>(buffer_values), out, job.out.stride(-1),
                           begin, end, first_frame);
    body(item, first_frame, last_frame, scratch, sum);
    sum.finish();
  });
}

template <typename C, typename Out>
void run_lanes(const IstftJob& job) {
  constexpr std::int64_t L = LanesInverse<C>::kLanes;
  const bool complex_result = is_complex(job.out.dtype);
  const LanesInverse<C> inverse(job.n_fft, complex_result);
  const std::int64_t width = inverse.width();
  const std::size_t values = static_cast<std::size_t>(inverse.values()),
                    copies = static_cast<std::size_t>(L * job.bins * 2),
                    frames = static_cast<std::size_t>(L * job.n_fft * width);
  run_tasks<C, Out>(job, width, scratch_bytes<C>(values) + scratch_bytes<C>(copies) + scratch_bytes<C>(frames),
                    [&](std::int64_t item, std::int64_t t0, std::int64_t t1, Scratch& scratch, OverlapAdd<C, Out>& sum)
                        HWY_ATTR {
                          C* work = scratch.take<C>(values);
                          C* copy = scratch.take<C>(copies);
                          C* frame = scratch.take<C>(frames);
                          C* results[L];
                          for (std::int64_t r = 0; r < L; ++r) results[r] = frame + r * job.n_fft * width;
                          const SpectrumRows<C, Out> source(job, item);
                          for (std::int64_t t = t0; t <= t1; t += L) {
                            const std::int64_t count = std::min(L, t1 + 1 - t);
                            const C* rows[L];
                            source.get(t, count, copy, rows);
                            std::fill(rows + count, rows + L, rows[0]);  // lanes without a frame repeat one
                            inverse.run(rows, work, results, count, source.ahead(t + L, std::min(L, t1 + 1 - t - L)));
                            for (std::int64_t r = 0; r < count; ++r) sum.add(t + r, results[r]);
                          }
                        });
}

template <typename C>
void run_rows(const IstftJob& job) {
  const RowsInverse<C> inverse(job.n_fft);
  const std::size_t values = static_cast<std::size_t>(inverse.values()),
                    copies =
                        SpectrumRows<C, C>::direct(job) ? 0 : static_cast<std::size_t>(kGatherFrames * job.bins * 2);
  const bool direct = copies == 0;
  run_tasks<C, C>(job, 1, 2 * scratch_bytes<C>(values) + scratch_bytes<C>(copies),
                  [&](std::int64_t item, std::int64_t t0, std::int64_t t1, Scratch& scratch, OverlapAdd<C, C>& sum)
                      HWY_ATTR {
                        C* z = scratch.take<C>(values);
                        C* work = scratch.take<C>(values);
                        C* copy = scratch.take<C>(copies);
                        const SpectrumRows<C, C> source(job, item);
                        for (std::int64_t t = t0; t <= t1; t += kGatherFrames) {
                          const std::int64_t count = std::min(kGatherFrames, t1 + 1 - t);
                          const C* rows[kGatherFrames];
                          source.get(t, count, copy, rows);
                          for (std::int64_t r = 0; r < count; ++r) {
                            const C* odd = inverse.frame(rows[r], z, work, direct ? 2 * job.frame_stride : 0);
                            sum.add(t + r, odd + inverse.even(), odd);
                          }
                        }
                      });
}

void Run(const IstftJob& job) {
  const bool complex_result = is_complex(job.out.dtype);
  const bool double_result = job.spec.dtype == DType::kComplex128;
  if (double_result)
    return !complex_result && rows_fit<double>(job.n_fft) ? run_rows<double>(job) : run_lanes<double, double>(job);
  if (computes_in_float64(job.n_fft, complex_result)) return run_lanes<double, float>(job);
  if (!complex_result && rows_fit<float>(job.n_fft)) return run_rows<float>(job);
  run_lanes<float, float>(job);
}

void Explain(std::int64_t n_fft, bool complex_result, bool double_result, Explanation* result) {
  *result = explain_spectrum(n_fft, complex_result, double_result, true);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace melisma {
HWY_EXPORT(Run);
HWY_EXPORT(Explain);

void istft_cpu(const IstftJob& job) {
  count_call("istft", "cpu");
  HWY_DYNAMIC_DISPATCH(Run)(job);
}

Explanation istft_cpu_kernel(std::int64_t n_fft, bool complex_result, bool double_result) {
  Explanation result;
  HWY_DYNAMIC_DISPATCH(Explain)(n_fft, complex_result, double_result, &result);
  return result;
}

}  // namespace melisma
#endif
