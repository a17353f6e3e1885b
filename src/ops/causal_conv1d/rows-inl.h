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

template <typename C, typename E, int W, bool kSilu, bool kSeq>
HWY_INLINE void convolve_strip(const RowStrip<C>& s, std::int64_t count, E* HWY_RESTRICT out) {
  const hn::ScalableTag<C> d;
  const hn::RebindToSigned<decltype(d)> di;
  using V = hn::Vec<decltype(d)>;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d)), taps = W > 0 ? W : s.any_taps;
  V w[W > 0 ? W : 1];
  for (int k = 0; k < W; ++k) w[k] = hn::Set(d, s.weight[k]);
  const V bias = hn::Set(d, s.bias);
  const auto output = [&](const C* x, const IndexOf<C>* idx, const C* residual) HWY_ATTR {
    V y = convolve<W, kSeq>(d, x, idx, w, s.weight, taps, bias);
    if constexpr (kSilu) y = silu(d, y);
    if (residual != nullptr) y = hn::Add(y, hn::LoadU(d, residual));
    if constexpr (kSeq) {
      y = hn::IfThenZeroElse(hn::RebindMask(d, hn::Lt(hn::LoadU(di, idx + taps - 1), hn::Zero(di))), y);
    }
    return y;
  };
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const V y = output(s.taps + i, kSeq ? s.idx + i : nullptr, s.residual != nullptr ? s.residual + i : nullptr);
    store_as(d, y, out + i);
  }
  if (i == count) return;
  // The last vector's lanes beyond the strip get zeros, and no lane sees another.
  constexpr std::size_t kRoom = hn::MaxLanes(d) + kMostConvTaps;
  C x[kRoom] = {}, residual[hn::MaxLanes(d)] = {};
  IndexOf<C> idx[kRoom] = {};
  const std::int64_t rest = count - i;
  std::copy_n(s.taps + i, rest + taps - 1, x);
  if constexpr (kSeq) std::copy_n(s.idx + i, rest + taps - 1, idx);
  if (s.residual != nullptr) std::copy_n(s.residual + i, rest, residual);
  store_some(d, output(x, idx, s.residual != nullptr ? residual : nullptr), out + i, rest);
}

// bfloat16 without a copy: as 32 bits, two neighbours are a float32 in the upper half and, shifted, another. So a
// vector of even steps and one of odd steps come out of loads that are 2 elements apart, and go back without a shuffle.
// x: at the first output, with W values before it. Gives the number of outputs, whole vectors of two.
template <int W, bool kSilu>
HWY_INLINE std::int64_t convolve_pairs(const RowStrip<float>& s, const BFloat16* HWY_RESTRICT x, bool residual,
                                       std::int64_t count, BFloat16* HWY_RESTRICT out) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const hn::Repartition<std::uint16_t, decltype(d)> d16;
  using V = hn::Vec<decltype(d)>;
  const std::int64_t step = static_cast<std::int64_t>(hn::Lanes(d16)), taps = W > 0 ? W : s.any_taps;
  const auto upper = hn::Set(du, 0xFFFF0000u);
  // Steps t + 2 j - back, and the ones after these, of even `back`.
  const auto first = [&](std::int64_t t, std::int64_t back) HWY_ATTR {
    return hn::BitCast(du, hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(x + t - back)));
  };
  const auto lower_of = [&](auto pairs) HWY_ATTR { return hn::BitCast(d, hn::ShiftLeft<16>(pairs)); };
  const auto upper_of = [&](auto pairs) HWY_ATTR { return hn::BitCast(d, hn::And(pairs, upper)); };
  const auto rounded = [&](V y) HWY_ATTR {
    const auto bits = hn::BitCast(du, y);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
    const auto sum = hn::Add(hn::Add(bits, hn::Set(du, 0x7FFF)), odd);
    return hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(y)), hn::Or(bits, hn::Set(du, 0x400000)), sum);
  };
  std::int64_t t = 0;
  for (; t + step <= count; t += step) {
    V even = hn::Set(d, s.bias), odd = even;
    for (std::int64_t k = 0; k < taps; ++k) {
      const std::int64_t back = taps - 1 - k;
      const V weight = hn::Set(d, s.weight[k]);
      if (back % 2 == 0) {
        const auto pairs = first(t, back);
        even = hn::MulAdd(weight, lower_of(pairs), even);
        odd = hn::MulAdd(weight, upper_of(pairs), odd);
      } else {
        even = hn::MulAdd(weight, upper_of(first(t, back + 1)), even);
        odd = hn::MulAdd(weight, lower_of(first(t, back - 1)), odd);
      }
    }
    if constexpr (kSilu) {
      even = silu(d, even);
      odd = silu(d, odd);
    }
    if (residual) {
      const auto pairs = first(t, 0);
      even = hn::Add(even, lower_of(pairs));
      odd = hn::Add(odd, upper_of(pairs));
    }
    const auto bits = hn::Or(hn::ShiftRight<16>(rounded(even)), hn::And(rounded(odd), upper));
    std::uint16_t* to = reinterpret_cast<std::uint16_t*>(out + t);
    hn::StoreU(hn::BitCast(d16, bits), d16, to);
  }
  return t;
}

template <typename C, typename E>
class RowsForward {
 public:
  RowsForward(const ConvJob& job, const Tensor& out)
      : job_(job),
        out_(out),
        weights_(job.weight, job.inputs.bias, false),
        direct_((std::is_same_v<C, E> || kPairs) && job.x.stride(-1) == 1 && out.stride(-1) == 1 &&
                job.inputs.mask == nullptr),
        taps_(job.call.taps) {}

  template <int W, bool kSilu, bool kSeq>
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
      // One row after the other, unless something is shared by the same steps of all: mask, indices, cache lines.
      const std::int64_t together = gathers || kSeq || job_.inputs.mask != nullptr ? block : 1;
      Rows<W, kSilu, kSeq> rows(*this, tasks[static_cast<std::size_t>(i / blocks)]);
      for (std::int64_t c = d; c < last; c += together) rows.run(c, std::min(together, last - c));
    });
  }

 private:
  static constexpr bool kPairs = std::is_same_v<E, BFloat16>;
  static constexpr std::size_t kRoom = causal_conv1d_tuning::kRowStrip + kMostConvTaps;

  // A task: the same steps of some channels.
  template <int W, bool kSilu, bool kSeq>
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
          staged_(scratch_.take<E>(kRoom)) {}

    // Channels d .. d + channels - 1, strip by strip so that mask and indices are read once.
    void run(std::int64_t d0, std::int64_t channels) {
      const std::int64_t last = task_.first + task_.count;
      // What has taps before the first step is staged, in whole vectors (of pairs).
      const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<C>())) * (kPairs ? 2 : 1);
      const std::int64_t head = (all_.taps_ + lanes - 1) / lanes * lanes;
      const bool direct = all_.direct_ && !(kPairs && kSeq);
      for (std::int64_t first = task_.first, count; first < last; first += count) {
        const bool in_place = direct && first > history_;
        // Without a mask and indices there is no reason to stop.
        const std::int64_t most = !direct || kSeq ? causal_conv1d_tuning::kRowStrip : in_place ? last - first : head;
        count = std::min(most, last - first);
        if (sequence_.masked()) sequence_.mask(first - history_, count + history_, mask_);
        if constexpr (kSeq) sequence_.indices(first - history_, count + history_, idx_);
        for (std::int64_t d = d0; d < d0 + channels; ++d) strip(d, first, count, in_place);
      }
    }

   private:
    void strip(std::int64_t d, std::int64_t first, std::int64_t count, bool in_place) {
      const Tensor& x = job_.x;
      RowStrip<C> s{taps_,      idx_,
                    nullptr,    all_.weights_.of_channel(d),
                    all_.taps_, all_.weights_.bias[static_cast<std::size_t>(d)]};
      const E* from = element<const E>(x, x_at_ + d * x.stride(-2) + first * x.stride(-1));
      E* to = element<E>(all_.out_, out_at_ + d * all_.out_.stride(-2) + first * out_stride_);
      if constexpr (kPairs && !kSeq) {
        if (in_place) return pairs(s, from, count, to);
      }
      if constexpr (std::is_same_v<C, E>) {
        if (in_place) s.taps = from - history_;
      }
      if (!in_place) {
        sequence_.row(d, first - history_, count + history_, sequence_.masked() ? mask_ : nullptr, taps_);
      }
      if (job_.params.residual) {
        s.residual = s.taps + history_;
        if (sequence_.masked()) {
          gather(from, x.stride(-1), count, residual_);
          s.residual = residual_;
        }
      }
      convolve_strip<C, E, W, kSilu, kSeq>(s, count, out_stride_ == 1 ? to : staged_);
      if (out_stride_ == 1) return;
      for (std::int64_t i = 0; i < count; ++i) to[i * out_stride_] = staged_[i];
    }

    // What is left of the pairs is staged.
    void pairs(RowStrip<C>& s, const E* from, std::int64_t count, E* to) {
      const std::int64_t done = convolve_pairs<W, kSilu>(s, from, job_.params.residual, count, to);
      if (done == count) return;
      gather(from + done - history_, 1, count - done + history_, taps_);
      if (job_.params.residual) s.residual = taps_ + history_;
      convolve_strip<C, E, W, kSilu, kSeq>(s, count - done, to + done);
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
  const bool direct_;
  const std::int64_t taps_;
};

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
