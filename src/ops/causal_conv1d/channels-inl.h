// The forward convolution where channels are contiguous: a vector is one step of consecutive channels, and its taps are
// the same channels of W rows.

// clang-format off
#if defined(MELISMA_OPS_CAUSAL_CONV1D_CHANNELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MELISMA_OPS_CAUSAL_CONV1D_CHANNELS_INL_H_
#undef MELISMA_OPS_CAUSAL_CONV1D_CHANNELS_INL_H_
#else
#define MELISMA_OPS_CAUSAL_CONV1D_CHANNELS_INL_H_
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

// N consecutive steps of consecutive channels; every pointer is to the first of these.
template <typename C, typename In, typename E, int N>
struct ChannelSteps {
  const In* taps[N + kMostConvTaps - 1];  // rows, oldest first
  const C* mask;                          // of each row; read where kMask
  const E* residual[N];                   // read where has_residual
  bool has_residual;
  E* out[N];
};

// Weights at these channels.
template <typename C>
struct ChannelWeights {
  const C* weight;  // of tap 0
  const C* bias;
  std::int64_t row, taps;
};

// kWhole: all lanes, else the first `some`.
template <bool kWhole, class D, typename E>
HWY_INLINE hn::Vec<D> load_lanes(D d, const E* p, std::int64_t some) {
  if constexpr (kWhole) return load_as(d, p);
  return load_some(d, p, some);
}
template <bool kWhole, class D, typename E>
HWY_INLINE void store_lanes(D d, hn::Vec<D> v, E* p, std::int64_t some) {
  if constexpr (kWhole) return store_as(d, v, p);
  store_some(d, v, p, some);
}

template <int W, bool kMask, bool kWhole, typename C, typename In, typename E, int N, class D, class V = hn::Vec<D>>
HWY_INLINE void convolve_channels(D d, const ChannelSteps<C, In, E, N>& s, const ChannelWeights<C>& w, std::int64_t c,
                                  std::int64_t some, V* h) {
  const auto tap = [&](std::int64_t j) HWY_ATTR {
    V x = load_lanes<kWhole>(d, s.taps[j] + c, some);
    if constexpr (kMask) x = hn::Mul(x, hn::Set(d, s.mask[j]));
    return x;
  };
  const V bias = hn::LoadU(d, w.bias + c);
  if constexpr (W > 0) {
    V x[W - 1 + N], weight[W];
    for (int k = 0; k < W; ++k) weight[k] = hn::LoadU(d, w.weight + k * w.row + c);
    for (int j = 0; j < W - 1 + N; ++j) x[j] = tap(j);
    for (int n = 0; n < N; ++n) {
      h[n] = bias;
      for (int k = 0; k < W; ++k) h[n] = hn::MulAdd(weight[k], x[n + k], h[n]);
    }
  } else {
    for (int n = 0; n < N; ++n) h[n] = bias;
    for (std::int64_t k = 0; k < w.taps; ++k) {
      const V weight = hn::LoadU(d, w.weight + k * w.row + c);
      for (int n = 0; n < N; ++n) h[n] = hn::MulAdd(weight, tap(n + k), h[n]);
    }
  }
}

template <int W, bool kSilu, bool kMask, typename C, typename In, typename E, int N>
HWY_NOINLINE void channel_steps(const ChannelSteps<C, In, E, N>& s, const ChannelWeights<C>& w, std::int64_t channels) {
  const hn::ScalableTag<C> d;
  using V = hn::Vec<decltype(d)>;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto vectors = [&]<bool kWhole>(std::bool_constant<kWhole>, std::int64_t c, std::int64_t some) HWY_ATTR {
    V h[N];
    convolve_channels<W, kMask, kWhole>(d, s, w, c, some, h);
    for (int n = 0; n < N; ++n) {
      if constexpr (kSilu) h[n] = silu(d, h[n]);
      if (s.has_residual) h[n] = hn::Add(h[n], load_lanes<kWhole>(d, s.residual[n] + c, some));
      store_lanes<kWhole>(d, h[n], s.out[n] + c, some);
    }
  };
  std::int64_t c = 0;
  for (; c + lanes <= channels; c += lanes) vectors(std::true_type(), c, lanes);
  if (c < channels) vectors(std::false_type(), c, channels - c);
}

template <typename C, typename E>
class ChannelsForward {
 public:
  ChannelsForward(const ConvJob& job, const Tensor& out)
      : job_(job), out_(out), weights_(job.weight, job.inputs.bias, true), history_(job.call.taps - 1) {}

  template <int W, bool kSilu, bool kMask>
  void run() const {
    using namespace causal_conv1d_tuning;
    const std::vector<StepTask> tasks = step_tasks(job_.call, kChannelTaskSteps);
    const std::int64_t blocks = (job_.call.channels + kChannelBlock - 1) / kChannelBlock;
    parallel_for(static_cast<std::int64_t>(tasks.size()) * blocks, [&](std::int64_t i) HWY_ATTR {
      const std::int64_t d = i % blocks * kChannelBlock;
      Block<W, kSilu, kMask>(*this, tasks[static_cast<std::size_t>(i / blocks)], d,
                             std::min(kChannelBlock, job_.call.channels - d))
          .run();
    });
  }

 private:
  static constexpr int kSteps = causal_conv1d_tuning::kChannelSteps;
  static constexpr std::int64_t kMostSteps = causal_conv1d_tuning::kChannelTaskSteps + kMostConvTaps;

  // One task.
  template <int W, bool kSilu, bool kMask>
  class Block {
   public:
    Block(const ChannelsForward& all, const StepTask& task, std::int64_t d, std::int64_t channels)
        : all_(all),
          task_(task),
          sequence_(all.job_, *task.sequence),
          history_(all.history_),
          d_(d),
          channels_(channels),
          x_(element<const E>(all.job_.x, sequence_.x_offset() + d)),
          out_(element<E>(all.out_, sequence_.offset(all.out_) + d)),
          weights_{all.weights_.of_tap(0) + d, all.weights_.bias.data() + d, all.weights_.row, all.job_.call.taps} {}

    void run() {
      const std::int64_t count = task_.count + history_;
      if constexpr (kMask) sequence_.mask(task_.first - history_, count, mask_);
      if (sequence_.indexed()) sequence_.indices(task_.first - history_, count, idx_);
      const std::int64_t end = task_.first + task_.count;
      std::int64_t t = task_.first;
      if (t < history_) t = head(std::min(end, history_));
      for (; t + kSteps <= end;) {
        if (alike(t, kSteps)) {
          whole<kSteps>(t);
          t += kSteps;
        } else {
          single(t++);
        }
      }
      for (; t < end; ++t) single(t);
    }

   private:
    const E* x(std::int64_t t) const { return x_ + t * all_.job_.x.stride(-1); }
    E* out(std::int64_t t) const { return out_ + t * all_.out_.stride(-1); }
    // Index of step t, or of one of the W - 1 before the task.
    IndexOf<C> idx(std::int64_t t) const { return idx_[t - task_.first + history_]; }

    // Whether every tap of steps t .. t + count - 1 counts.
    bool alike(std::int64_t t, std::int64_t count) const {
      if (!sequence_.indexed()) return true;
      if (idx(t) < 0) return false;
      for (std::int64_t s = t - history_; s < t + count; ++s) {
        if (idx(s) != idx(t)) return false;
      }
      return true;
    }

    template <int N>
    void whole(std::int64_t t) {
      ChannelSteps<C, E, E, N> steps;
      for (std::int64_t j = 0; j < N + history_; ++j) steps.taps[j] = x(t - history_ + j);
      finish<N>(steps, t);
    }
    // kMasks: the taps are x's own.
    template <int N, bool kMasks = kMask, typename In>
    void finish(ChannelSteps<C, In, E, N>& steps, std::int64_t t) {
      steps.mask = mask_ + (t - task_.first);
      steps.has_residual = all_.job_.params.residual;
      for (int n = 0; n < N; ++n) {
        steps.residual[n] = x(t + n);
        steps.out[n] = out(t + n);
      }
      // Single steps are seldom: one kernel of the same arithmetic for all W.
      channel_steps<N == 1 ? 0 : W, kSilu, kMasks>(steps, weights_, channels_);
    }

    // A step of which a tap may not count.
    void single(std::int64_t t) {
      if (alike(t, 1)) return whole<1>(t);
      if (idx(t) < 0) return std::fill(out(t), out(t) + channels_, E{});
      Scratch scratch(scratch_bytes<E>(static_cast<std::size_t>(channels_)));
      E* zeros = scratch.take<E>(static_cast<std::size_t>(channels_));
      std::fill(zeros, zeros + channels_, E{});
      ChannelSteps<C, E, E, 1> steps;
      for (std::int64_t j = 0; j <= history_; ++j) {
        const std::int64_t s = t - history_ + j;
        steps.taps[j] = idx(s) == idx(t) ? x(s) : zeros;
      }
      finish<1>(steps, t);
    }

    // Steps with taps before the sequence's first, from the task's first to `end`: masked, in the computation's
    // precision.
    std::int64_t head(std::int64_t end) {
      const std::size_t row = static_cast<std::size_t>(channels_ + 15) / 16 * 16;
      const std::int64_t rows = end - task_.first + history_;
      Scratch scratch(scratch_bytes<C>(row * static_cast<std::size_t>(rows + 1)));
      C* taps = scratch.take<C>(row * static_cast<std::size_t>(rows));
      C* zeros = scratch.take<C>(row);
      std::fill(zeros, zeros + row, C{0});
      for (std::int64_t j = 0; j < rows; ++j) {
        sequence_.column(task_.first - history_ + j, d_, channels_, kMask ? mask_ + j : nullptr,
                         taps + j * static_cast<std::int64_t>(row));
      }
      for (std::int64_t t = task_.first; t < end; ++t) {
        if (sequence_.indexed() && idx(t) < 0) {
          std::fill(out(t), out(t) + channels_, E{});
          continue;
        }
        ChannelSteps<C, C, E, 1> steps;
        for (std::int64_t j = 0; j <= history_; ++j) {
          const bool counts = !sequence_.indexed() || idx(t - history_ + j) == idx(t);
          steps.taps[j] = counts ? taps + (t - task_.first + j) * static_cast<std::int64_t>(row) : zeros;
        }
        finish<1, false>(steps, t);
      }
      return end;
    }

    const ChannelsForward& all_;
    const StepTask& task_;
    const Sequence<C> sequence_;
    const std::int64_t history_, d_, channels_;
    const E* x_;  // of the sequence's step 0, channel d
    E* out_;
    const ChannelWeights<C> weights_;
    C mask_[kMostSteps];
    IndexOf<C> idx_[kMostSteps];
  };

  const ConvJob& job_;
  const Tensor& out_;
  const ConvWeights<C> weights_;
  const std::int64_t history_;
};

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
