// The gradients of the causal convolution, a piece of one channel's steps at a time, gathered into rows: from memory of
// any strides.

// clang-format off
#if defined(MELISMA_OPS_CAUSAL_CONV1D_BACKWARD_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MELISMA_OPS_CAUSAL_CONV1D_BACKWARD_ROWS_INL_H_
#undef MELISMA_OPS_CAUSAL_CONV1D_BACKWARD_ROWS_INL_H_
#else
#define MELISMA_OPS_CAUSAL_CONV1D_BACKWARD_ROWS_INL_H_
#endif
// clang-format on

#include "ops/causal_conv1d/gradient_pieces-inl.h"
#include "ops/causal_conv1d/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// One piece of one channel. Positions count from the piece's first step; taps from W - 1 before it.
template <typename C>
struct RowPiece {
  std::int64_t own, known;  // steps whose gradients are computed, and those of which g is needed: up to W - 1 more
  const C* taps;
  const IndexOf<C>* idx;  // as taps; read where kSeq
  const C* weight;
  std::int64_t any_taps;
  C bias;
};

// g = grad * activation'(h), in place of grad; zeros behind `known`, up to whole vectors and W - 1 more.
template <typename C, int W, bool kSilu, bool kSeq>
HWY_INLINE void gradient_of_h(const RowPiece<C>& p, C* HWY_RESTRICT grad) {
  const hn::ScalableTag<C> d;
  const hn::RebindToSigned<decltype(d)> di;
  using V = hn::Vec<decltype(d)>;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d)), taps = W > 0 ? W : p.any_taps;
  V w[W > 0 ? W : 1];
  for (int k = 0; k < W; ++k) w[k] = hn::Set(d, p.weight[k]);
  for (std::int64_t t = 0; t < p.known; t += lanes) {
    V g = hn::LoadU(d, grad + t);
    if constexpr (kSilu) {
      const IndexOf<C>* idx = kSeq ? p.idx + t : nullptr;
      g = hn::Mul(g, silu_slope(d, convolve<W, kSeq>(d, p.taps + t, idx, w, p.weight, taps, hn::Set(d, p.bias))));
    }
    if constexpr (kSeq) {
      g = hn::IfThenZeroElse(hn::RebindMask(d, hn::Lt(hn::LoadU(di, p.idx + t + taps - 1), hn::Zero(di))), g);
    }
    hn::StoreU(g, d, grad + t);
  }
  std::fill(grad + p.known, grad + p.known + lanes + kMostConvTaps, C{0});
}

// sums[k] += over the own steps, g tap k; sums[W] += g. A sum is a vector whose lanes are added at the end of all
// pieces.
template <typename C, int W, bool kSeq>
HWY_INLINE void add_weight_gradient(const RowPiece<C>& p, const C* HWY_RESTRICT g, C* HWY_RESTRICT sums) {
  const hn::ScalableTag<C> d;
  const hn::RebindToSigned<decltype(d)> di;
  using V = hn::Vec<decltype(d)>;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d)), taps = W > 0 ? W : p.any_taps;
  const auto gradient = [&](std::int64_t t) HWY_ATTR {
    const V v = hn::LoadU(d, g + t);
    const std::int64_t rest = p.own - t;
    return rest >= lanes ? v : hn::IfThenElseZero(hn::FirstN(d, static_cast<std::size_t>(rest)), v);
  };
  const auto product = [&](V v, std::int64_t t, std::int64_t k, V sum) HWY_ATTR {
    V tap = hn::LoadU(d, p.taps + t + k);
    if constexpr (kSeq) {
      const auto same = hn::Eq(hn::LoadU(di, p.idx + t + k), hn::LoadU(di, p.idx + t + taps - 1));
      tap = hn::IfThenElseZero(hn::RebindMask(d, same), tap);
    }
    return hn::MulAdd(v, tap, sum);
  };
  V all = hn::LoadU(d, sums + taps * lanes);
  if constexpr (W > 0) {
    V sum[W];
    for (int k = 0; k < W; ++k) sum[k] = hn::LoadU(d, sums + k * lanes);
    for (std::int64_t t = 0; t < p.own; t += lanes) {
      const V v = gradient(t);
      all = hn::Add(all, v);
      for (int k = 0; k < W; ++k) sum[k] = product(v, t, k, sum[k]);
    }
    for (int k = 0; k < W; ++k) hn::StoreU(sum[k], d, sums + k * lanes);
  } else {
    for (std::int64_t t = 0; t < p.own; t += lanes) all = hn::Add(all, gradient(t));
    for (std::int64_t k = 0; k < taps; ++k) {
      V sum = hn::LoadU(d, sums + k * lanes);
      for (std::int64_t t = 0; t < p.own; t += lanes) sum = product(gradient(t), t, k, sum);
      hn::StoreU(sum, d, sums + k * lanes);
    }
  }
  hn::StoreU(all, d, sums + taps * lanes);
}

// The gradients of the own steps' taps: w[W - 1] g[t] + w[W - 2] g[t + 1] + ..., oldest first.
template <typename C, int W, bool kSeq>
HWY_INLINE void gradient_of_taps(const RowPiece<C>& p, const C* HWY_RESTRICT g, C* HWY_RESTRICT result) {
  const hn::ScalableTag<C> d;
  const hn::RebindToSigned<decltype(d)> di;
  using V = hn::Vec<decltype(d)>;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d)), taps = W > 0 ? W : p.any_taps;
  V w[W > 0 ? W : 1];
  for (int k = 0; k < W; ++k) w[k] = hn::Set(d, p.weight[k]);
  for (std::int64_t t = 0; t < p.own; t += lanes) {
    V sum = hn::Zero(d);
    for (std::int64_t j = 0; j < taps; ++j) {
      V v = hn::LoadU(d, g + t + j);
      if constexpr (kSeq) {
        const auto same = hn::Eq(hn::LoadU(di, p.idx + t + taps - 1), hn::LoadU(di, p.idx + t + taps - 1 + j));
        v = hn::IfThenElseZero(hn::RebindMask(d, same), v);
      }
      sum = hn::MulAdd(W > 0 ? w[W - 1 - j] : hn::Set(d, p.weight[taps - 1 - j]), v, sum);
    }
    hn::StoreU(sum, d, result + t);
  }
}

template <typename C>
class RowsBackward {
 public:
  explicit RowsBackward(const GradientJob& job) : job_(job), weights_(job.conv.weight, job.conv.inputs.bias, false) {}

  template <int W, bool kSilu, bool kSeq>
  void run() const {
    const std::vector<GradientGroup> groups = gradient_groups(job_.conv.call);
    PartialSums<C> sums(job_.conv.call, static_cast<std::int64_t>(groups.size()), job_.sums_wanted());
    const std::int64_t channels = job_.conv.call.channels, together = is_half(job_.conv.x.dtype) ? kBlock : kBlock / 2;
    const std::int64_t blocks = (channels + together - 1) / together;
    parallel_for(static_cast<std::int64_t>(groups.size()) * blocks, [&](std::int64_t i) HWY_ATTR {
      const std::int64_t d = i % blocks * together;
      Block<W, kSilu, kSeq> block(*this, d, std::min(together, channels - d));
      block.run(groups[static_cast<std::size_t>(i / blocks)], sums.wanted() ? sums.at(i / blocks, d) : nullptr);
    });
    sums.store(job_.gradients);
  }

 private:
  // Channels of a task, at most: float32 has half as many as half precision.
  static constexpr std::int64_t kBlock = causal_conv1d_tuning::kGradientLine / 2;
  // A piece with its history and what is read behind it. Not a multiple of a page: a block's rows share no cache set.
  static constexpr std::int64_t kRow = causal_conv1d_tuning::kGradientPiece + 4 * kMostConvTaps + 16;

  template <int W, bool kSilu, bool kSeq>
  class Block {
   public:
    Block(const RowsBackward& all, std::int64_t d, std::int64_t channels)
        : all_(all),
          job_(all.job_),
          d_(d),
          channels_(channels),
          history_(job_.conv.call.taps - 1),
          scratch_((3 * kBlock + 1) * scratch_bytes<C>(kRow) + scratch_bytes<IndexOf<C>>(kRow) +
                   scratch_bytes<C>(kBlock * kSums)),
          taps_(scratch_.take<C>(kBlock * kRow)),
          grad_(scratch_.take<C>(kBlock * kRow)),
          result_(scratch_.take<C>(kBlock * kRow)),
          mask_(scratch_.take<C>(kRow)),
          idx_(scratch_.take<IndexOf<C>>(kRow)),
          vectors_(scratch_.take<C>(kBlock * kSums)) {}

    // sums: W + 1 values a channel, or null.
    void run(const GradientGroup& group, C* sums) {
      const hn::ScalableTag<C> tag;
      const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(tag)), count = history_ + 2;
      std::fill(vectors_, vectors_ + kBlock * kSums, C{0});
      for (const StepTask& task : group) piece(task, sums != nullptr);
      if (sums == nullptr) return;
      for (std::int64_t i = 0; i < channels_ * count; ++i) {
        const C* vector = vectors_ + i / count * kSums + i % count * lanes;
        sums[i] = hn::GetLane(hn::SumOfLanes(tag, hn::Load(tag, vector)));
      }
    }

   private:
    static constexpr std::int64_t kSums =
        (kMostConvTaps + 1) * static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<C>()));

    void piece(const StepTask& task, bool sums) {
      const Sequence<C> sequence(job_.conv, *task.sequence);
      const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<C>()));
      const std::int64_t known = std::min(task.count + history_, sequence.length() - task.first);
      const std::int64_t count = history_ + known;
      if (sequence.masked()) sequence.mask(task.first - history_, count, mask_);
      if constexpr (kSeq) {
        sequence.indices(task.first - history_, count, idx_);
        std::fill(idx_ + count, idx_ + count + lanes + kMostConvTaps, IndexOf<C>{-1});
      }
      sequence.rows(d_, channels_, task.first - history_, count, sequence.masked() ? mask_ : nullptr, taps_, kRow);
      gather_rows(job_.grad_out, at(job_.grad_out, sequence, task), channels_, known, grad_, kRow);
      for (std::int64_t c = 0; c < channels_; ++c) {
        C *taps = taps_ + c * kRow, *grad = grad_ + c * kRow, *result = result_ + c * kRow;
        std::fill(taps + count, taps + count + lanes, C{0});
        std::fill(grad + known, grad + known + lanes, C{0});
        const RowPiece<C> p{task.count,
                            known,
                            taps,
                            idx_,
                            all_.weights_.of_channel(d_ + c),
                            history_ + 1,
                            all_.weights_.bias[static_cast<std::size_t>(d_ + c)]};
        if (job_.conv.params.residual) std::copy_n(grad, task.count, result);
        gradient_of_h<C, W, kSilu, kSeq>(p, grad);
        if (sums) add_weight_gradient<C, W, kSeq>(p, grad, vectors_ + c * kSums);
        if (task.first == 0 && job_.gradients.initial_states != nullptr) state_gradient(sequence, p, grad, d_ + c);
        // The taps have been read: their row takes the gradient.
        if (job_.gradients.x != nullptr) x_gradient(sequence, task, p, grad, d_ + c, taps, result);
      }
      if (job_.gradients.x != nullptr) {
        scatter_rows(result_, kRow, *job_.gradients.x, at(*job_.gradients.x, sequence, task), channels_, task.count);
      }
    }
    std::int64_t at(const Tensor& t, const Sequence<C>& sequence, const StepTask& task) const {
      return sequence.offset(t) + d_ * t.stride(-2) + task.first * t.stride(-1);
    }

    // Whether the tap at `from` (from the sequence's first step) is in the final state.
    bool in_final_state(const Sequence<C>& sequence, std::int64_t from) const {
      if (!kSeq || sequence.length() == 0) return true;
      IndexOf<C> at, last;
      sequence.indices(from, 1, &at);
      sequence.indices(sequence.length() - 1, 1, &last);
      return at == last && last >= 0;
    }
    // Gradient of the final state's value j.
    C final_gradient(const Sequence<C>& sequence, std::int64_t d, std::int64_t j) const {
      const std::int64_t from = sequence.length() - history_ + j;
      if (job_.grad_final_states == nullptr || !in_final_state(sequence, from)) return C{0};
      const Tensor& t = *job_.grad_final_states;
      C value = 0;
      gather_from(t, sequence.states_offset(t) + d * t.stride(-2) + j * t.stride(-1), 1, 1, &value);
      return value;
    }

    // result: the residual's part, to which the taps' is added by way of work.
    void x_gradient(const Sequence<C>& sequence, const StepTask& task, const RowPiece<C>& p, const C* grad,
                    std::int64_t d, C* work, C* result) const {
      gradient_of_taps<C, W, kSeq>(p, grad, work);
      if (job_.grad_final_states != nullptr) {
        for (std::int64_t j = 0; j < history_; ++j) {
          const std::int64_t t = sequence.length() - history_ + j - task.first;
          if (t >= 0 && t < p.own) work[t] += final_gradient(sequence, d, j);
        }
      }
      if (sequence.masked()) {
        for (std::int64_t t = 0; t < p.own; ++t) work[t] *= mask_[t + history_];
      }
      if (!job_.conv.params.residual) {
        std::copy_n(work, p.own, result);
      } else {
        for (std::int64_t t = 0; t < p.own; ++t) {
          result[t] = !kSeq || idx_[t + history_] >= 0 ? work[t] + result[t] : work[t];
        }
      }
    }

    void state_gradient(const Sequence<C>& sequence, const RowPiece<C>& p, const C* grad, std::int64_t d) const {
      C result[kMostConvTaps];
      for (std::int64_t j = 0; j < history_; ++j) {
        C sum = 0;
        for (std::int64_t t = 0; t <= std::min(j, p.known - 1); ++t) {
          if (!kSeq || idx_[t + history_] == idx_[history_]) sum += p.weight[j - t] * grad[t];
        }
        if (j >= sequence.length()) sum += final_gradient(sequence, d, j - sequence.length());
        result[j] = sum;
      }
      const Tensor& to = *job_.gradients.initial_states;
      scatter_to(result, to, sequence.states_offset(to) + d * to.stride(-2), to.stride(-1), history_);
    }

    const RowsBackward& all_;
    const GradientJob& job_;
    const std::int64_t d_, channels_, history_;
    Scratch scratch_;
    C *taps_, *grad_, *result_, *mask_;
    IndexOf<C>* idx_;
    C* vectors_;
  };

  const GradientJob& job_;
  const ConvWeights<C> weights_;
};

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
