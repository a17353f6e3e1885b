// The inputs of a causal convolution as the kernels read them: weights in the precision of the computation, and taps
// gathered into a row or a block where memory does not hold them as they are needed.

// clang-format off
#if defined(MELISMA_OPS_CAUSAL_CONV1D_TAPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MELISMA_OPS_CAUSAL_CONV1D_TAPS_INL_H_
#undef MELISMA_OPS_CAUSAL_CONV1D_TAPS_INL_H_
#else
#define MELISMA_OPS_CAUSAL_CONV1D_TAPS_INL_H_
#endif
// clang-format on

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "blocks/elementwise/convert-inl.h"
#include "blocks/framing/framing.h"
#include "ops/causal_conv1d/cpu.h"
#include "ops/causal_conv1d/tuning.h"
#include "runtime/aligned.h"
#include "runtime/cpu/highway.h"
#include "runtime/prefetch.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// As wide as C, so that masks of indices are masks of values.
template <typename C>
using IndexOf = std::conditional_t<sizeof(C) == 8, std::int64_t, std::int32_t>;

template <typename E>
HWY_INLINE E* element(const Tensor& t, std::int64_t offset) {
  return static_cast<E*>(t.data) + offset;
}

// Whether a result is so large that it is not in the caches when it is read: then lines are written without being read.
inline bool past_caches(const Tensor& out) {
  return out.shape.numel() * static_cast<std::int64_t>(dtype_size(out.dtype)) >= causal_conv1d_tuning::kLeastStreamed;
}

// Values of any float tensor, `offset` elements from its first, `stride` apart. Not inlined: every kernel calls them,
// and the compiler would take minutes.
template <typename C>
HWY_NOINLINE void gather_from(const Tensor& t, std::int64_t offset, std::int64_t stride, std::int64_t count, C* to) {
  with_element(t.dtype, [&]<typename E>(E) HWY_ATTR { gather(element<const E>(t, offset), stride, count, to); });
}
template <typename C>
HWY_NOINLINE void scatter_to(const C* from, const Tensor& t, std::int64_t offset, std::int64_t stride,
                             std::int64_t count) {
  with_element(t.dtype, [&]<typename E>(E) HWY_ATTR { scatter(from, count, element<E>(t, offset), stride); });
}

template <typename E>
constexpr std::int64_t bytes_of() {
  return static_cast<std::int64_t>(sizeof(E));
}

// Four vectors of four float32 become their columns.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void transpose_four(D d, V (&v)[4]) {
  const hn::Repartition<double, D> wide;
  const auto low = [&](V a, V b) HWY_ATTR { return hn::BitCast(wide, hn::InterleaveLower(d, a, b)); };
  const auto high = [&](V a, V b) HWY_ATTR { return hn::BitCast(wide, hn::InterleaveUpper(d, a, b)); };
  const auto l01 = low(v[0], v[1]), l23 = low(v[2], v[3]), h01 = high(v[0], v[1]), h23 = high(v[2], v[3]);
  v[0] = hn::BitCast(d, hn::InterleaveLower(wide, l01, l23));
  v[1] = hn::BitCast(d, hn::InterleaveUpper(wide, l01, l23));
  v[2] = hn::BitCast(d, hn::InterleaveLower(wide, h01, h23));
  v[3] = hn::BitCast(d, hn::InterleaveUpper(wide, h01, h23));
}

// f(s, c) of the 4 x 4 tiles of steps and channels, then g(s, c) of what is left.
template <typename F, typename G>
HWY_INLINE void for_tiles(bool tiled, std::int64_t steps, std::int64_t channels, F f, G g) {
  const std::int64_t whole_steps = tiled ? steps / 4 * 4 : 0, whole_channels = channels / 4 * 4;
  for (std::int64_t s = 0; s < whole_steps; s += 4) {
    for (std::int64_t c = 0; c < whole_channels; c += 4) f(s, c);
  }
  for (std::int64_t s = 0; s < steps; ++s) {
    for (std::int64_t c = s < whole_steps ? whole_channels : 0; c < channels; ++c) g(s, c);
  }
}

// Consecutive channels' steps as rows that are `row` apart, from and to memory of any strides. Where channels lie
// together, a step's are read at once: the cache lines of many steps need not stay.
template <typename C>
inline void gather_rows(const Tensor& t, std::int64_t offset, std::int64_t channels, std::int64_t steps, C* to,
                        std::int64_t row) {
  with_element(t.dtype, [&]<typename E>(E) HWY_ATTR {
    const E* from = element<const E>(t, offset);
    const std::int64_t step = t.stride(-1);
    if (t.stride(-2) != 1 || step == 1) {
      for (std::int64_t c = 0; c < channels; ++c) gather(from + c * t.stride(-2), step, steps, to + c * row);
      return;
    }
    constexpr bool kTiles = kConvertsInVectors<C, E> && sizeof(C) == 4;
    for_tiles(
        kTiles, steps, channels,
        [&]([[maybe_unused]] std::int64_t s, [[maybe_unused]] std::int64_t c) HWY_ATTR {
          if constexpr (kTiles) {
            const hn::FixedTag<C, 4> d;
            hn::Vec<decltype(d)> v[4];
            if (c == 0) {
              for (int i = 0; i < 4; ++i)
                prefetch_for_read(from, (s + i + causal_conv1d_tuning::kGatherAhead) * step * bytes_of<E>());
            }
            for (int i = 0; i < 4; ++i) v[i] = load_as(d, from + (s + i) * step + c);
            transpose_four(d, v);
            for (int i = 0; i < 4; ++i) hn::StoreU(v[i], d, to + (c + i) * row + s);
          }
        },
        [&](std::int64_t s, std::int64_t c) HWY_ATTR { to[c * row + s] = to_scalar<C>(from[s * step + c]); });
  });
}
template <typename C>
inline void scatter_rows(const C* from, std::int64_t row, const Tensor& t, std::int64_t offset, std::int64_t channels,
                         std::int64_t steps) {
  with_element(t.dtype, [&]<typename E>(E) HWY_ATTR {
    E* to = element<E>(t, offset);
    const std::int64_t step = t.stride(-1);
    if (t.stride(-2) != 1 || step == 1) {
      for (std::int64_t c = 0; c < channels; ++c) scatter(from + c * row, steps, to + c * t.stride(-2), step);
      return;
    }
    constexpr bool kTiles = kConvertsInVectors<C, E> && sizeof(C) == 4;
    for_tiles(
        kTiles, steps, channels,
        [&]([[maybe_unused]] std::int64_t s, [[maybe_unused]] std::int64_t c) HWY_ATTR {
          if constexpr (kTiles) {
            const hn::FixedTag<C, 4> d;
            hn::Vec<decltype(d)> v[4];
            if (c == 0) {
              for (int i = 0; i < 4; ++i)
                prefetch_for_write(to, (s + i + causal_conv1d_tuning::kGatherAhead) * step * bytes_of<E>());
            }
            for (int i = 0; i < 4; ++i) v[i] = hn::LoadU(d, from + (c + i) * row + s);
            transpose_four(d, v);
            for (int i = 0; i < 4; ++i) store_as(d, v[i], to + (s + i) * step + c);
          }
        },
        [&](std::int64_t s, std::int64_t c) HWY_ATTR { to[s * step + c] = from_scalar<E>(from[c * row + s]); });
  });
}

// Weights and bias, once a call. by_tap: [W][row], each row of channels padded to whole vectors; else [D][W].
template <typename C>
struct ConvWeights {
  AlignedVector<C> weight, bias;
  std::int64_t taps, row;
  bool by_tap;

  // pairs: for bfloat16, of which two vectors are computed together, the even channels or steps and the odd ones. A NaN
  // becomes the usual one (see bfloat16_in_upper), and in rows of channels the odd ones of two vectors stand behind the
  // even ones.
  ConvWeights(const Tensor& w, const Tensor* b, bool tap_major, bool pairs = false)
      : taps(w.size(1)), by_tap(tap_major) {
    const std::int64_t channels = w.size(0);
    row = (channels + 63) / 64 * 64;
    weight.resize(static_cast<std::size_t>(by_tap ? row * taps : channels * taps));
    bias.resize(static_cast<std::size_t>(row));
    if (channels == 0) return;
    if (by_tap) {
      for (std::int64_t k = 0; k < taps; ++k) {
        gather_from(w, k * w.stride(1), w.stride(0), channels, weight.data() + k * row);
      }
    } else if (w.stride(1) == 1 && w.stride(0) == taps) {
      gather_from(w, 0, 1, channels * taps, weight.data());
    } else {
      for (std::int64_t d = 0; d < channels; ++d) {
        gather_from(w, d * w.stride(0), w.stride(1), taps, weight.data() + d * taps);
      }
    }
    if (b != nullptr) gather_from(*b, 0, b->stride(0), channels, bias.data());
    if (!pairs) return;
    for (AlignedVector<C>* values : {&weight, &bias}) {
      for (C& value : *values) value = value == value ? value : std::numeric_limits<C>::quiet_NaN();
      if (by_tap) split_pairs(*values);
    }
  }
  const C* of_channel(std::int64_t d) const { return weight.data() + d * taps; }
  const C* of_tap(std::int64_t k) const { return weight.data() + k * row; }

 private:
  static void split_pairs(AlignedVector<C>& values) {
    const hn::ScalableTag<C> d;
    const std::size_t lanes = hn::Lanes(d);
    for (std::size_t i = 0; i < values.size(); i += 2 * lanes) {
      hn::Vec<decltype(d)> even, odd;
      hn::LoadInterleaved2(d, values.data() + i, even, odd);
      hn::StoreU(even, d, values.data() + i);
      hn::StoreU(odd, d, values.data() + i + lanes);
    }
  }
};

// One sequence of a call: where its values are, and what its taps are.
template <typename C>
class Sequence {
 public:
  Sequence(const ConvJob& job, const ConvSequence& sequence)
      : job_(job),
        sequence_(sequence),
        x_offset_(offset(job.x)),
        history_(job.call.taps - 1),
        mask_offset_(job.inputs.mask == nullptr ? 0 : step_offset(*job.inputs.mask)),
        idx_offset_(job.inputs.seq_idx == nullptr ? 0 : step_offset(*job.inputs.seq_idx)),
        state_offset_(sequence.initial ? states_offset(*job.inputs.initial_states) : 0) {}

  std::int64_t length() const { return sequence_.length; }
  bool keeps_state() const { return sequence_.state >= 0; }
  bool masked() const { return job_.inputs.mask != nullptr; }
  bool indexed() const { return job_.inputs.seq_idx != nullptr; }

  // Elements from the data of a tensor of x's shape to the sequence's first step, channel 0.
  std::int64_t offset(const Tensor& t) const {
    return item_offset(t, 2, sequence_.item) + sequence_.start * t.stride(-1);
  }
  std::int64_t x_offset() const { return x_offset_; }
  // Of a tensor of states, likewise.
  std::int64_t states_offset(const Tensor& t) const { return item_offset(t, 2, sequence_.state); }

  // Steps first .. first + count - 1, of which those before 0 get 1: initial states are masked already.
  void mask(std::int64_t first, std::int64_t count, C* to) const {
    const std::int64_t before = std::clamp<std::int64_t>(-first, 0, count);
    std::fill(to, to + before, C{1});
    if (before == count) return;
    const Tensor& m = *job_.inputs.mask;
    gather_from(m, mask_offset_ + (first + before) * m.stride(-1), m.stride(-1), count - before, to + before);
  }
  // Those before 0 get step 0's.
  void indices(std::int64_t first, std::int64_t count, IndexOf<C>* to) const {
    const IndexTensor& idx = *job_.inputs.seq_idx;
    const std::int32_t* from = static_cast<const std::int32_t*>(idx.data) + idx_offset_;
    for (std::int64_t i = 0; i < count; ++i) to[i] = from[std::max<std::int64_t>(first + i, 0) * idx.stride(-1)];
  }

  // Taps of one channel, from step `first` on, of which up to W - 1 may lie before 0; mask: of the same steps, or null.
  void row(std::int64_t d, std::int64_t first, std::int64_t count, const C* mask, C* to) const {
    const std::int64_t before = std::clamp<std::int64_t>(-first, 0, count);
    if (before > 0) state(d, history_ + first, before, to);
    const Tensor& x = job_.x;
    gather_from(x, x_offset_ + d * x.stride(-2) + (first + before) * x.stride(-1), x.stride(-1), count - before,
                to + before);
    if (mask == nullptr) return;
    for (std::int64_t i = before; i < count; ++i) to[i] *= mask[i];
  }
  // The same of channels d .. d + channels - 1, `row` apart.
  void rows(std::int64_t d, std::int64_t channels, std::int64_t first, std::int64_t count, const C* mask, C* to,
            std::int64_t row) const {
    const std::int64_t before = std::clamp<std::int64_t>(-first, 0, count);
    if (before > 0) {
      for (std::int64_t c = 0; c < channels; ++c) state(d + c, history_ + first, before, to + c * row);
    }
    const Tensor& x = job_.x;
    gather_rows(x, x_offset_ + d * x.stride(-2) + (first + before) * x.stride(-1), channels, count - before,
                to + before, row);
    if (mask == nullptr) return;
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t i = before; i < count; ++i) to[c * row + i] *= mask[i];
    }
  }
  // Of one step and channels d .. d + count - 1.
  void column(std::int64_t step, std::int64_t d, std::int64_t count, const C* mask, C* to) const {
    if (step < 0) {
      if (!sequence_.initial) return std::fill(to, to + count, C{0});
      const Tensor& s = *job_.inputs.initial_states;
      return gather_from(s, state_offset_ + d * s.stride(-2) + (history_ + step) * s.stride(-1), s.stride(-2), count,
                         to);
    }
    const Tensor& x = job_.x;
    gather_from(x, x_offset_ + d * x.stride(-2) + step * x.stride(-1), x.stride(-2), count, to);
    if (mask == nullptr) return;
    for (std::int64_t i = 0; i < count; ++i) to[i] *= *mask;
  }

 private:
  std::int64_t step_offset(const Tensor& t) const {
    return item_offset(t, 1, sequence_.item) + sequence_.start * t.stride(-1);
  }
  std::int64_t step_offset(const IndexTensor& t) const {
    Tensor view;
    view.shape = t.shape;
    view.strides = t.strides;
    return step_offset(view);
  }
  void state(std::int64_t d, std::int64_t first, std::int64_t count, C* to) const {
    if (!sequence_.initial) return std::fill(to, to + count, C{0});
    const Tensor& s = *job_.inputs.initial_states;
    gather_from(s, state_offset_ + d * s.stride(-2) + first * s.stride(-1), s.stride(-1), count, to);
  }

  const ConvJob& job_;
  const ConvSequence& sequence_;
  std::int64_t x_offset_, history_, mask_offset_, idx_offset_, state_offset_;
};

// f(W), W as a compile-time constant for 2, 3 and 4, and 0 for any other; float64 is not worth three more kernels.
template <typename C, typename F>
HWY_INLINE void with_taps([[maybe_unused]] std::int64_t taps, F f) {
  if constexpr (std::is_same_v<C, double>) {
    f(std::integral_constant<int, 0>());
  } else {
    switch (taps) {
      case 2: return f(std::integral_constant<int, 2>());
      case 3: return f(std::integral_constant<int, 3>());
      case 4: return f(std::integral_constant<int, 4>());
      default: return f(std::integral_constant<int, 0>());
    }
  }
}

// Tasks of consecutive steps: [first, first + count) of a sequence.
struct StepTask {
  const ConvSequence* sequence;
  std::int64_t first, count;
};
inline std::vector<StepTask> step_tasks(const ConvCall& call, std::int64_t steps) {
  std::vector<StepTask> tasks;
  for (const ConvSequence& sequence : call.sequences) {
    for (std::int64_t first = 0; first < sequence.length; first += steps) {
      tasks.push_back({&sequence, first, std::min(steps, sequence.length - first)});
    }
  }
  return tasks;
}

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
