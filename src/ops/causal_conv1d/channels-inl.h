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
  bool has_residual, stream;              // stream: every row of out is aligned to a vector, and goes past the caches
  E* out[N];
};

// Weights at these channels.
template <typename C>
struct ChannelWeights {
  const C* weight;  // of tap 0
  const C* bias;
  std::int64_t row, taps;
};

// Vectors that are computed together: of bfloat16 the even and the odd channels of two, otherwise one.
template <typename E>
inline constexpr int kTogether = std::is_same_v<E, BFloat16> ? 2 : 1;

// Vector p of the P that begin at x.
template <int P, class D, typename In>
HWY_INLINE hn::Vec<D> load_channels(D d, int p, const In* x) {
  if constexpr (P == 1) {
    return load_as(d, x);
  } else if constexpr (std::is_same_v<In, BFloat16>) {
    return p == 0 ? first_of_pairs(d, load_pairs(d, x)) : second_of_pairs(d, load_pairs(d, x));
  } else {
    hn::Vec<D> even, odd;
    hn::LoadInterleaved2(d, x, even, odd);
    return p == 0 ? even : odd;
  }
}

// Channels c .. of every step. kAnyNan: see bfloat16_in_upper.
template <int W, Silu kSilu, bool kMask, typename C, typename In, typename E, int N>
HWY_INLINE void convolve_channels(const ChannelSteps<C, In, E, N>& s, const ChannelWeights<C>& w, std::int64_t c) {
  const hn::ScalableTag<C> d;
  using V = hn::Vec<decltype(d)>;
  constexpr int P = kTogether<E>;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  V h[P][N];
  HWY_UNROLL(2)
  for (int p = 0; p < P; ++p) {
    const auto tap = [&](std::int64_t j) HWY_ATTR {
      V x = load_channels<P>(d, p, s.taps[j] + c);
      if constexpr (kMask) x = hn::Mul(x, hn::Set(d, s.mask[j]));
      return x;
    };
    const C *weight = w.weight + c + p * lanes, *bias = w.bias + c + p * lanes;
    for (int n = 0; n < N; ++n) h[p][n] = hn::LoadU(d, bias);
    if constexpr (W > 0) {
      V x[W - 1 + N], k_weight[W];
      for (int k = 0; k < W; ++k) k_weight[k] = hn::LoadU(d, weight + k * w.row);
      for (int j = 0; j < W - 1 + N; ++j) x[j] = tap(j);
      for (int n = 0; n < N; ++n) {
        for (int k = 0; k < W; ++k) h[p][n] = hn::MulAdd(k_weight[k], x[n + k], h[p][n]);
      }
    } else {
      for (std::int64_t k = 0; k < w.taps; ++k) {
        const V k_weight = hn::LoadU(d, weight + k * w.row);
        for (int n = 0; n < N; ++n) h[p][n] = hn::MulAdd(k_weight, tap(n + k), h[p][n]);
      }
    }
    apply_silu<kSilu>(d, h[p]);
    if (s.has_residual) {
      for (int n = 0; n < N; ++n) h[p][n] = hn::Add(h[p][n], load_channels<P>(d, p, s.residual[n] + c));
    }
  }
  for (int n = 0; n < N; ++n) {
    if constexpr (P == 1) {
      s.stream ? stream_as(d, h[0][n], s.out[n] + c) : store_as(d, h[0][n], s.out[n] + c);
    } else {
      // Masks and states may be any NaN.
      constexpr bool kAnyNan = kMask || !std::is_same_v<In, E>;
      const hn::Repartition<std::uint16_t, decltype(d)> d16;
      const auto pairs = pairs_of<kAnyNan>(d, h[0][n], h[1][n]);
      std::uint16_t* to = reinterpret_cast<std::uint16_t*>(s.out[n] + c);
      s.stream ? hn::Stream(pairs, d16, to) : hn::StoreU(pairs, d16, to);
    }
  }
}

template <int W, Silu kSilu, bool kMask, typename C, typename In, typename E, int N>
HWY_NOINLINE void channel_steps(const ChannelSteps<C, In, E, N>& s, const ChannelWeights<C>& w, std::int64_t channels) {
  constexpr std::int64_t kLanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<C>())) * kTogether<E>;
  std::int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) convolve_channels<W, kSilu, kMask>(s, w, c);
  if (c == channels) return;
  // Fewer than are computed together: by way of copies.
  const std::int64_t some = channels - c;
  In taps[N + kMostConvTaps - 1][kLanes] = {};
  E residual[N][kLanes] = {}, out[N][kLanes];
  ChannelSteps<C, In, E, N> copy = s;
  copy.stream = false;
  for (std::int64_t j = 0; j < N + w.taps - 1; ++j) {
    std::copy_n(s.taps[j] + c, some, taps[j]);
    copy.taps[j] = taps[j];
  }
  for (int n = 0; n < N; ++n) {
    if (s.has_residual) std::copy_n(s.residual[n] + c, some, residual[n]);
    copy.residual[n] = residual[n];
    copy.out[n] = out[n];
  }
  channel_steps<W, kSilu, kMask>(copy, {w.weight + c, w.bias + c, w.row, w.taps}, kLanes);
  for (int n = 0; n < N; ++n) std::copy_n(out[n], some, s.out[n] + c);
}

template <typename C, typename E>
class ChannelsForward {
 public:
  ChannelsForward(const ConvJob& job, const Tensor& out)
      : job_(job),
        out_(out),
        weights_(job.weight, job.inputs.bias, true, kTogether<E> == 2),
        stream_(past_caches(out) && fills_lines(out)),
        history_(job.call.taps - 1) {}

  template <int W, Silu kSilu, bool kMask>
  void run() const {
    using namespace causal_conv1d_tuning;
    const std::vector<StepTask> tasks = step_tasks(job_.call, kChannelTaskSteps);
    const std::int64_t blocks = (job_.call.channels + kChannelBlock - 1) / kChannelBlock;
    parallel_for(static_cast<std::int64_t>(tasks.size()) * blocks, [&](std::int64_t i) HWY_ATTR {
      const std::int64_t d = i % blocks * kChannelBlock;
      Block<kSilu, kMask>(*this, tasks[static_cast<std::size_t>(i / blocks)], d,
                          std::min(kChannelBlock, job_.call.channels - d))
          .template run<W>();
      if (stream_) hwy::FlushStream();
    });
  }

 private:
  static constexpr int kSteps = causal_conv1d_tuning::kChannelSteps;
  // Whether each store of a vector, or two of bfloat16, is a whole cache line: parts of lines, one row after the other,
  // would each be written on their own.
  static bool fills_lines(const Tensor& out) {
    constexpr std::size_t kStore = hn::MaxLanes(hn::ScalableTag<C>()) * kTogether<E> * sizeof(E);
    if (kStore != kCacheLine || reinterpret_cast<std::uintptr_t>(out.data) % kCacheLine != 0) return false;
    for (int axis = 0; axis < out.ndim(); ++axis) {
      if (axis != out.ndim() - 2 && out.stride(axis) * static_cast<std::int64_t>(sizeof(E)) % kStore != 0) return false;
    }
    return true;
  }
  static constexpr std::int64_t kMostSteps = causal_conv1d_tuning::kChannelTaskSteps + kMostConvTaps;

  // One task. Only whole steps know W: the rest is compiled once.
  template <Silu kSilu, bool kMask>
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

    template <int W>
    void run() {
      const std::int64_t count = task_.count + history_;
      if constexpr (kMask) sequence_.mask(task_.first - history_, count, mask_);
      if (sequence_.indexed()) sequence_.indices(task_.first - history_, count, idx_);
      const std::int64_t end = task_.first + task_.count;
      std::int64_t t = task_.first;
      if (t < history_) t = head(std::min(end, history_));
      for (; t + kSteps <= end;) {
        if (alike(t, kSteps)) {
          whole<W, kSteps>(t);
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

    template <int W, int N>
    void whole(std::int64_t t) {
      ChannelSteps<C, E, E, N> steps;
      for (std::int64_t j = 0; j < N + history_; ++j) steps.taps[j] = x(t - history_ + j);
      finish<W, N>(steps, t);
    }
    // kMasks: the taps are x's own.
    template <int W, int N, bool kMasks = kMask, typename In>
    void finish(ChannelSteps<C, In, E, N>& steps, std::int64_t t) {
      steps.mask = mask_ + (t - task_.first);
      steps.has_residual = all_.job_.params.residual;
      steps.stream = all_.stream_;
      for (int n = 0; n < N; ++n) {
        steps.residual[n] = x(t + n);
        steps.out[n] = out(t + n);
      }
      channel_steps<W, kSilu, kMasks>(steps, weights_, channels_);
    }

    // A step of which a tap may not count. Single steps are seldom: one kernel of the same arithmetic for all W.
    HWY_NOINLINE void single(std::int64_t t) {
      if (alike(t, 1)) return whole<0, 1>(t);
      if (idx(t) < 0) return std::fill(out(t), out(t) + channels_, E{});
      Scratch scratch(scratch_bytes<E>(static_cast<std::size_t>(channels_)));
      E* zeros = scratch.take<E>(static_cast<std::size_t>(channels_));
      std::fill(zeros, zeros + channels_, E{});
      ChannelSteps<C, E, E, 1> steps;
      for (std::int64_t j = 0; j <= history_; ++j) {
        const std::int64_t s = t - history_ + j;
        steps.taps[j] = idx(s) == idx(t) ? x(s) : zeros;
      }
      finish<0, 1>(steps, t);
    }

    // Steps with taps before the sequence's first, from the task's first to `end`: masked, in the computation's
    // precision.
    HWY_NOINLINE std::int64_t head(std::int64_t end) {
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
        finish<0, 1, false>(steps, t);
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
  const bool stream_;
  const std::int64_t history_;
};

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
