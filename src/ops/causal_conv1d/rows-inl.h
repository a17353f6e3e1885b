// The forward convolution where time is contiguous, or nothing is: a vector is consecutive steps of one channel, and
// its taps are W loads that are one element apart.

// clang-format off
#if defined(MELISMA_OPS_CAUSAL_CONV1D_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MELISMA_OPS_CAUSAL_CONV1D_ROWS_INL_H_
#undef MELISMA_OPS_CAUSAL_CONV1D_ROWS_INL_H_
#else
#define MELISMA_OPS_CAUSAL_CONV1D_ROWS_INL_H_
#endif
// clang-format on

#include "blocks/elementwise/silu-inl.h"
#include "ops/causal_conv1d/taps-inl.h"
#include "ops/causal_conv1d/tuning.h"
#include "runtime/parallel.h"
#include "runtime/scratch.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// For lambdas that are called from two places of a loop.
#define MELISMA_INLINED __attribute__((always_inline))

// h of one vector. taps, idx: of its oldest tap; idx is read where kSeq.
template <int W, bool kSeq, class D, class V, typename C = hn::TFromD<D>>
HWY_INLINE V convolve(D d, const C* taps, const IndexOf<C>* idx, const V* w, const C* any_w, std::int64_t any_taps,
                      V bias) {
  const hn::RebindToSigned<D> di;
  const std::int64_t count = W > 0 ? W : any_taps;
  [[maybe_unused]] const auto now = kSeq ? hn::LoadU(di, idx + count - 1) : hn::Zero(di);
  V sum = bias;
  const auto add = [&](std::int64_t k, V weight) HWY_ATTR {
    V tap = hn::LoadU(d, taps + k);
    if constexpr (kSeq) tap = hn::IfThenElseZero(hn::RebindMask(d, hn::Eq(hn::LoadU(di, idx + k), now)), tap);
    sum = hn::MulAdd(weight, tap, sum);
  };
  if constexpr (W > 0) {
    for (int k = 0; k < W; ++k) add(k, w[k]);
  } else {
    for (std::int64_t k = 0; k < count; ++k) add(k, hn::Set(d, any_w[k]));
  }
  return sum;
}

// What a strip of one row's outputs is computed from.
template <typename C>
struct RowStrip {
  const C* taps;          // W - 1 before the first output
  const IndexOf<C>* idx;  // likewise
  const C* residual;      // null: none
  const C* weight;
  std::int64_t any_taps;
  C bias;
};

// Steps of `step` outputs from t on that cover `count` >= step of them, the last ones twice where they are not whole
// steps: begin(t, y) starts N vectors of them and finish(t, past, y) ends them, each while the next ones are begun, so
// that one's arithmetic fills the other's waiting. past: the results go past the caches, which they do from the first
// aligned one on if `stream`.
template <class V, int N, typename Begin, typename Finish>
HWY_INLINE void for_steps(std::int64_t count, std::int64_t step, bool stream, std::int64_t aligned, Begin begin,
                          Finish finish) {
  bool past = stream && aligned == 0;
  V y[N], ahead[N];
  std::int64_t t = 0, next = stream && aligned > 0 ? aligned : step;
  begin(t, ahead);
  for (;;) {
    for (int n = 0; n < N; ++n) y[n] = ahead[n];
    const std::int64_t from = std::min(next, count - step);
    begin(from, ahead);  // at the end in vain, but in one line with the rest
    finish(t, past, y);
    if (t + step == count) return;
    past = stream && next + step <= count;
    t = from;
    next += step;
  }
}

// Where the first `count` of a row's outputs find their taps: copies stand behind what is before the first step. Null:
// with those of the others.
template <typename E>
struct RowEdge {
  const E* x = nullptr;  // at the first output, as the row's own
  std::int64_t count = 0;
};

// N vectors at a time; count is at least as many.
template <int N, int W, Silu kSilu, bool kSeq, typename C, typename E>
HWY_INLINE void convolve_vectors(const RowStrip<C>& s, const RowEdge<C>& edge, std::int64_t count, bool stream,
                                 E* HWY_RESTRICT out) {
  const hn::ScalableTag<C> d;
  const hn::RebindToSigned<decltype(d)> di;
  using V = hn::Vec<decltype(d)>;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d)), taps = W > 0 ? W : s.any_taps;
  V w[W > 0 ? W : 1];
  for (int k = 0; k < W; ++k) w[k] = hn::Set(d, s.weight[k]);
  const V bias = hn::Set(d, s.bias);
  const auto begin = [&](std::int64_t t, V(&y)[N]) HWY_ATTR MELISMA_INLINED {
    const C* x = t < edge.count ? edge.x - (taps - 1) : s.taps;
    for (int n = 0; n < N; ++n) {
      const std::int64_t i = t + n * lanes;
      y[n] = convolve<W, kSeq>(d, x + i, kSeq ? s.idx + i : nullptr, w, s.weight, taps, bias);
    }
  };
  const auto finish = [&](std::int64_t t, bool past, V(&y)[N]) HWY_ATTR MELISMA_INLINED {
    apply_silu<kSilu>(d, y);
    for (int n = 0; n < N; ++n) {
      const std::int64_t i = t + n * lanes;
      if (s.residual != nullptr) y[n] = hn::Add(y[n], hn::LoadU(d, s.residual + i));
      if constexpr (kSeq) {
        const auto now = hn::LoadU(di, s.idx + i + taps - 1);
        y[n] = hn::IfThenZeroElse(hn::RebindMask(d, hn::Lt(now, hn::Zero(di))), y[n]);
      }
      past ? stream_as(d, y[n], out + i) : store_as(d, y[n], out + i);
    }
  };
  for_steps<V, N>(count, N * lanes, stream, elements_to_alignment(d, out), begin, finish);
}

template <int W, Silu kSilu, bool kSeq, typename C, typename E>
HWY_INLINE void convolve_strip(RowStrip<C> s, std::int64_t count, E* out) {
  constexpr std::int64_t kLanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<C>()));
  if (count >= 2 * kLanes) return convolve_vectors<2, W, kSilu, kSeq>(s, {}, count, false, out);
  // Where not even one vector is full, its lanes beyond the strip get zeros, and no lane sees another.
  constexpr std::size_t kRoom = kLanes + kMostConvTaps;
  C x[kRoom] = {}, residual[kLanes] = {};
  IndexOf<C> idx[kRoom] = {};
  E y[kLanes];
  const bool some = count < kLanes;
  if (some) {
    s.taps = std::copy_n(s.taps, count + s.any_taps - 1, x) - (count + s.any_taps - 1);
    if constexpr (kSeq) s.idx = std::copy_n(s.idx, count + s.any_taps - 1, idx) - (count + s.any_taps - 1);
    if (s.residual != nullptr) s.residual = std::copy_n(s.residual, count, residual) - count;
  }
  convolve_vectors<1, W, kSilu, kSeq>(s, {}, some ? kLanes : count, false, some ? y : out);
  if (some) std::copy_n(y, count, out);
}

// bfloat16 without a copy: a vector of even steps and one of odd steps come out of loads that are 2 elements apart, and
// go back without a shuffle. row: at the first output, with W values before it; count >= 2 vectors.
template <int W, Silu kSilu>
HWY_INLINE void convolve_pairs(const RowStrip<float>& s, const BFloat16* row, const RowEdge<BFloat16>& edge,
                               bool residual, std::int64_t count, bool stream, BFloat16* HWY_RESTRICT out) {
  const hn::ScalableTag<float> d;
  const hn::Repartition<std::uint16_t, decltype(d)> d16;
  using V = hn::Vec<decltype(d)>;
  const std::int64_t step = static_cast<std::int64_t>(hn::Lanes(d16)), taps = W > 0 ? W : s.any_taps;
  V w[W > 0 ? W : 1];
  for (int k = 0; k < W; ++k) w[k] = hn::Set(d, s.weight[k]);
  const V bias = hn::Set(d, s.bias);
  const auto begin = [&](std::int64_t t, V(&y)[2]) HWY_ATTR MELISMA_INLINED {
    const BFloat16* x = t < edge.count ? edge.x : row;
    y[0] = y[1] = bias;
    const auto tap = [&](std::int64_t back, V weight) HWY_ATTR MELISMA_INLINED {
      if (back % 2 == 0) {
        const auto pairs = load_pairs(d, x + t - back);
        y[0] = hn::MulAdd(weight, first_of_pairs(d, pairs), y[0]);
        y[1] = hn::MulAdd(weight, second_of_pairs(d, pairs), y[1]);
      } else {
        y[0] = hn::MulAdd(weight, second_of_pairs(d, load_pairs(d, x + t - back - 1)), y[0]);
        y[1] = hn::MulAdd(weight, first_of_pairs(d, load_pairs(d, x + t - back + 1)), y[1]);
      }
    };
    if constexpr (W > 0) {
      for (int k = 0; k < W; ++k) tap(W - 1 - k, w[k]);
    } else {
      for (std::int64_t k = 0; k < taps; ++k) tap(taps - 1 - k, hn::Set(d, s.weight[k]));
    }
  };
  const auto finish = [&](std::int64_t t, bool past, V(&y)[2]) HWY_ATTR MELISMA_INLINED {
    apply_silu<kSilu>(d, y);
    if (residual) {
      const auto pairs = load_pairs(d, row + t);
      y[0] = hn::Add(y[0], first_of_pairs(d, pairs));
      y[1] = hn::Add(y[1], second_of_pairs(d, pairs));
    }
    const auto bits = pairs_of<false>(d, y[0], y[1]);
    std::uint16_t* to = reinterpret_cast<std::uint16_t*>(out + t);
    past ? hn::Stream(bits, d16, to) : hn::StoreU(bits, d16, to);
  };
  for_steps<V, 2>(count, step, stream, elements_to_alignment(d16, out), begin, finish);
}

template <typename C, typename E>
class RowsForward {
 public:
  RowsForward(const ConvJob& job, const Tensor& out)
      : job_(job),
        out_(out),
        weights_(job.weight, job.inputs.bias, false, kPairs),
        direct_((std::is_same_v<C, E> || (kPairs && job.inputs.initial_states == nullptr)) && job.x.stride(-1) == 1 &&
                out.stride(-1) == 1 && job.inputs.mask == nullptr),
        stream_(direct_ && past_caches(out)),
        taps_(job.call.taps) {}

  template <int W, Silu kSilu, bool kSeq>
  void run() const {
    using causal_conv1d_tuning::kRowTask;
    const ConvCall& call = job_.call;
    // Channels that lie side by side are gathered while their cache lines are there: 16 values of 4 bytes to a line.
    const bool gathers = job_.x.stride(-1) != 1 || out_.stride(-1) != 1;
    const std::vector<StepTask> tasks = step_tasks(call, gathers ? kRowTask / 16 : kRowTask);
    // Whole short rows go together; which ones does not matter to their bits.
    std::int64_t longest = 1;
    for (const StepTask& task : tasks) longest = std::max(longest, task.count);
    const std::int64_t block = std::min(call.channels, std::max<std::int64_t>(1, kRowTask / longest));
    const std::int64_t blocks = (call.channels + block - 1) / block;
    parallel_for(static_cast<std::int64_t>(tasks.size()) * blocks, [&](std::int64_t i) HWY_ATTR {
      const std::int64_t d = i % blocks * block, last = std::min(d + block, call.channels);
      Rows<W, kSilu, kSeq> rows(*this, tasks[static_cast<std::size_t>(i / blocks)]);
      if (direct_ && !kSeq && rows.long_enough()) {
        for (std::int64_t c = d; c < last; ++c) rows.direct(c);
        if (stream_) hwy::FlushStream();
      } else {
        rows.staged(d, last - d);
      }
    });
  }

 private:
  static constexpr bool kPairs = std::is_same_v<E, BFloat16>;
  static constexpr std::size_t kRoom = causal_conv1d_tuning::kRowStrip + kMostConvTaps;

  // A task: the same steps of some channels.
  template <int W, Silu kSilu, bool kSeq>
  class Rows {
   public:
    Rows(const RowsForward& all, const StepTask& task)
        : all_(all),
          job_(all.job_),
          task_(task),
          sequence_(all.job_, *task.sequence),
          history_(all.taps_ - 1),
          x_at_(sequence_.x_offset()),
          out_at_(sequence_.offset(all.out_)),
          out_stride_(all.out_.stride(-1)),
          scratch_(3 * scratch_bytes<C>(kRoom) + scratch_bytes<IndexOf<C>>(kRoom) + scratch_bytes<E>(kRoom)),
          taps_(scratch_.take<C>(kRoom)),
          mask_(scratch_.take<C>(kRoom)),
          residual_(scratch_.take<C>(kRoom)),
          idx_(scratch_.take<IndexOf<C>>(kRoom)),
          staged_(scratch_.take<E>(kRoom)) {
      if (all.direct_) std::fill(staged_, staged_ + kMostConvTaps, E{});
    }

    bool long_enough() const { return task_.count >= kEdge + kStep; }

    // Channel d with its taps where they are, but for those of the sequence's first steps.
    void direct(std::int64_t d) {
      const Tensor& x = job_.x;
      RowStrip<C> s = row_strip(d);
      const E* from = element<const E>(x, x_at_ + d * x.stride(-2) + task_.first);
      E* to = element<E>(all_.out_, out_at_ + d * all_.out_.stride(-2) + task_.first);
      RowEdge<E> edge;
      if (task_.first == 0) {
        E* first = staged_ + kMostConvTaps;
        if constexpr (std::is_same_v<C, E>) {
          if (job_.inputs.initial_states != nullptr) sequence_.row(d, -history_, history_, nullptr, first - history_);
        }
        std::copy_n(from, kEdge + kStep, first);
        edge = {first, kEdge};
      }
      if constexpr (kPairs) {
        convolve_pairs<W, kSilu>(s, from, edge, job_.params.residual, task_.count, all_.stream_, to);
      } else if constexpr (std::is_same_v<C, E>) {
        s.taps = from - history_;
        if (job_.params.residual) s.residual = from;
        convolve_vectors<2, W, kSilu, kSeq>(s, edge, task_.count, all_.stream_, to);
      }
    }

    // Channels d .. d + channels - 1, strip by strip so that mask and indices are read once.
    void staged(std::int64_t d0, std::int64_t channels) {
      const std::int64_t last = task_.first + task_.count;
      for (std::int64_t first = task_.first, count; first < last; first += count) {
        count = std::min(causal_conv1d_tuning::kRowStrip, last - first);
        if (sequence_.masked()) sequence_.mask(first - history_, count + history_, mask_);
        if constexpr (kSeq) sequence_.indices(first - history_, count + history_, idx_);
        for (std::int64_t d = d0; d < d0 + channels; ++d) strip(d, first, count);
      }
    }

   private:
    // Outputs of two vectors; and at least the W first ones, whose taps are staged.
    static constexpr std::int64_t kStep = 2 * static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<C>()));
    static constexpr std::int64_t kEdge = std::max<std::int64_t>(kStep, W > 0 ? W : kMostConvTaps);
    static_assert(kMostConvTaps + kEdge + kStep <= static_cast<std::int64_t>(kRoom));

    RowStrip<C> row_strip(std::int64_t d) const {
      return {taps_,      idx_,
              nullptr,    all_.weights_.of_channel(d),
              all_.taps_, all_.weights_.bias[static_cast<std::size_t>(d)]};
    }

    void strip(std::int64_t d, std::int64_t first, std::int64_t count) {
      const Tensor& x = job_.x;
      RowStrip<C> s = row_strip(d);
      const std::int64_t at = x_at_ + d * x.stride(-2) + first * x.stride(-1);
      sequence_.row(d, first - history_, count + history_, sequence_.masked() ? mask_ : nullptr, taps_);
      if (job_.params.residual) {
        s.residual = s.taps + history_;
        if (sequence_.masked()) {
          gather(element<const E>(x, at), x.stride(-1), count, residual_);
          s.residual = residual_;
        }
      }
      E* to = element<E>(all_.out_, out_at_ + d * all_.out_.stride(-2) + first * out_stride_);
      convolve_strip<W, kSilu, kSeq>(s, count, out_stride_ == 1 ? to : staged_);
      if (out_stride_ == 1) return;
      for (std::int64_t i = 0; i < count; ++i) to[i * out_stride_] = staged_[i];
    }

    const RowsForward& all_;
    const ConvJob& job_;
    const StepTask& task_;
    const Sequence<C> sequence_;
    const std::int64_t history_, x_at_, out_at_, out_stride_;
    Scratch scratch_;
    C *taps_, *mask_, *residual_;
    IndexOf<C>* idx_;
    E* staged_;
  };

  const ConvJob& job_;
  const Tensor& out_;
  const ConvWeights<C> weights_;
  const bool direct_, stream_;
  const std::int64_t taps_;
};

#undef MELISMA_INLINED

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
