#include "ops/causal_conv1d/cpu.h"
#include "runtime/registry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/causal_conv1d/update_cpu.cc"
// clang-format off
#include "runtime/cpu/targets.h"
#include "hwy/foreach_target.h"
#include "runtime/cpu/highway.h"
// clang-format on
#include "ops/causal_conv1d/channels-inl.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// rows[j][c] = from[c * S + j] and back: what a state of S steps a channel looks like in memory.
template <int S, typename T>
HWY_INLINE void deinterleave(const T* from, std::int64_t channels, T* const* rows) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t c = 0;
  for (; c + lanes <= channels; c += lanes) {
    V v0, v1, v2, v3;
    if constexpr (S == 2) hn::LoadInterleaved2(d, from + c * S, v0, v1);
    if constexpr (S == 3) hn::LoadInterleaved3(d, from + c * S, v0, v1, v2);
    if constexpr (S == 4) hn::LoadInterleaved4(d, from + c * S, v0, v1, v2, v3);
    hn::StoreU(v0, d, rows[0] + c);
    hn::StoreU(v1, d, rows[1] + c);
    if constexpr (S > 2) hn::StoreU(v2, d, rows[2] + c);
    if constexpr (S > 3) hn::StoreU(v3, d, rows[3] + c);
  }
  for (; c < channels; ++c) {
    for (int j = 0; j < S; ++j) rows[j][c] = from[c * S + j];
  }
}
template <int S, typename T>
HWY_INLINE void interleave(const T* const* rows, std::int64_t channels, T* to) {
  const hn::ScalableTag<T> d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t c = 0;
  for (; c + lanes <= channels; c += lanes) {
    const auto v0 = hn::LoadU(d, rows[0] + c), v1 = hn::LoadU(d, rows[1] + c);
    if constexpr (S == 2) {
      hn::StoreInterleaved2(v0, v1, d, to + c * S);
    } else {
      const auto v2 = hn::LoadU(d, rows[2] + c);
      if constexpr (S == 3) hn::StoreInterleaved3(v0, v1, v2, d, to + c * S);
      if constexpr (S == 4) hn::StoreInterleaved4(v0, v1, v2, hn::LoadU(d, rows[3] + c), d, to + c * S);
    }
  }
  for (; c < channels; ++c) {
    for (int j = 0; j < S; ++j) to[c * S + j] = rows[j][c];
  }
}

// Values move as they are, whatever their type.
template <typename Bits>
void move_places(const Tensor& state, std::int64_t at, std::int64_t channels, std::int64_t from, std::int64_t count) {
  Bits* data = static_cast<Bits*>(state.data) + at;
  const std::int64_t stride = state.stride(1), place = state.stride(2);
  for (std::int64_t j = 0; j < count; ++j) {
    for (std::int64_t c = 0; c < channels; ++c) data[c * stride + j * place] = data[c * stride + (from + j) * place];
  }
}

template <typename C>
class Update {
 public:
  explicit Update(const ConvUpdateJob& job)
      : job_(job),
        weights_(job.weight, job.inputs.bias, true),
        history_(job.call.taps - 1),
        x_step_(job.x.ndim() == 3 ? job.x.stride(2) : 0),
        out_step_(job.x.ndim() == 3 ? job.out.stride(2) : 0) {}

  template <int W, Silu kSilu>
  void run() const {
    using causal_conv1d_tuning::kUpdateBlock;
    const std::int64_t channels = job_.call.channels, blocks = (channels + kUpdateBlock - 1) / kUpdateBlock;
    // A task is about as much work as one of the forward's.
    const std::int64_t together = std::max<std::int64_t>(1, 64 / std::max<std::int64_t>(1, job_.call.steps));
    const std::int64_t count = job_.call.items * blocks;
    parallel_for((count + together - 1) / together, [&](std::int64_t task) HWY_ATTR {
      for (std::int64_t i = task * together; i < std::min(count, (task + 1) * together); ++i) {
        const std::int64_t d = i % blocks * kUpdateBlock;
        block<W, kSilu>(i / blocks, d, std::min(kUpdateBlock, channels - d));
      }
    });
  }

 private:
  static constexpr std::int64_t kRow = causal_conv1d_tuning::kUpdateBlock;

  // The state's values that are taps of the first step: at first, first + 1, ..., in a ring modulo S.
  std::int64_t first_tap(std::int64_t b) const {
    const CausalConv1dUpdateInputs& inputs = job_.inputs;
    if (inputs.cache_seqlens != nullptr) {
      const std::int64_t next = inputs.cache_seqlens->at(b * inputs.cache_seqlens->stride(0)) % job_.call.state;
      return (next - history_ + job_.call.state) % job_.call.state;  // S >= W - 1
    }
    if (inputs.num_accepted_tokens == nullptr) return job_.call.state - history_;
    return inputs.num_accepted_tokens->at(b * inputs.num_accepted_tokens->stride(0)) - 1;
  }

  // Item b, channels d .. d + channels - 1.
  template <int W, Silu kSilu>
  void block(std::int64_t b, std::int64_t d, std::int64_t channels) const {
    const ConvUpdateCall& call = job_.call;
    const std::int64_t out_at = b * job_.out.stride(0) + d * job_.out.stride(1);
    const std::int64_t row = call.rows[static_cast<std::size_t>(b)];
    const std::int64_t kept = std::max(history_, call.state <= 4 ? call.state : 0);
    Scratch scratch(scratch_bytes<C>(static_cast<std::size_t>((kept + 2 * call.steps) * kRow)));
    // Rows of kRow: what is kept of the state, oldest first; then the new steps; then the results.
    C* state = scratch.take<C>(static_cast<std::size_t>((kept + 2 * call.steps) * kRow));
    C* x = state + kept * kRow;
    C* y = x + call.steps * kRow;
    if (row < 0) {
      std::fill(y, y + call.steps * kRow, C{0});
    } else {
      const std::int64_t x_at = b * job_.x.stride(0) + d * job_.x.stride(1);
      for (std::int64_t t = 0; t < call.steps; ++t) {
        gather_from(job_.x, x_at + t * x_step_, job_.x.stride(1), channels, x + t * kRow);
      }
      const std::int64_t at = row * job_.conv_state.stride(0) + d * job_.conv_state.stride(1);
      if (!small_state(at, b, channels, state)) {
        read_taps(at, b, channels, x - history_ * kRow);
        write_state(at, b, channels, x);
      }
      compute<W, kSilu>(x - history_ * kRow, x, y, d, channels);
    }
    for (std::int64_t t = 0; t < call.steps; ++t) {
      scatter_to(y + t * kRow, job_.out, out_at + t * out_step_, job_.out.stride(1), channels);
    }
  }

  // One step into a contiguous state of 2 to 4 steps. state: S rows, behind which x's stands.
  bool small_state(std::int64_t at, std::int64_t b, std::int64_t channels, C* state) const {
    if constexpr (std::is_same_v<C, float>) {
      const Tensor& s = job_.conv_state;
      const std::int64_t S = job_.call.state;
      if (job_.call.steps != 1 || S < 2 || S > 4 || s.stride(2) != 1 || s.stride(1) != S ||
          job_.inputs.num_accepted_tokens != nullptr) {
        return false;
      }
      const auto with_state = [&]<typename E>(E) HWY_ATTR {
        if (S == 2) take_and_put<2, E>(at, b, channels, state);
        if (S == 3) take_and_put<3, E>(at, b, channels, state);
        if (S == 4) take_and_put<4, E>(at, b, channels, state);
      };
      if (s.dtype == DType::kFloat32) return with_state(float{}), true;
      if (s.dtype == DType::kFloat16) return with_state(Float16{}), true;
      if (s.dtype == DType::kBFloat16) return with_state(BFloat16{}), true;
    }
    return false;
  }

  // Of each place of the memory: the row that it goes to, taps oldest first in the last ones before x's, which is row
  // S; and the row that it gets.
  template <int S>
  void places(std::int64_t b, int (&taken)[S], int (&put)[S]) const {
    const int history = static_cast<int>(history_), first = static_cast<int>(first_tap(b));
    if (job_.inputs.cache_seqlens == nullptr) {
      for (int place = 0; place < S; ++place) {
        taken[place] = place;
        put[place] = place + 1;
      }
      return;
    }
    for (int place = 0; place < S; ++place) {
      const int age = (place - first + S) % S;
      taken[place] = put[place] = age < history ? S - history + age : age - history;
    }
    put[(first + history) % S] = S;
  }

  template <int S, typename E>
  void take_and_put(std::int64_t at, std::int64_t b, std::int64_t channels, C* state) const {
    // What is kept moves as bits.
    using Bits = std::conditional_t<sizeof(E) == 2, std::uint16_t, float>;
    Bits* memory = reinterpret_cast<Bits*>(element<E>(job_.conv_state, at));
    int taken[S], put[S];
    places<S>(b, taken, put);
    Bits *from[S], *to[S];
    const auto point = [&](Bits* rows) {
      for (int place = 0; place < S; ++place) {
        from[place] = rows + taken[place] * kRow;
        to[place] = rows + put[place] * kRow;
      }
    };
    if constexpr (std::is_same_v<C, E>) {
      point(state);
      deinterleave<S>(memory, channels, from);
      interleave<S>(to, channels, memory);
    } else {
      Bits values[(S + 1) * kRow];
      point(values);
      deinterleave<S>(memory, channels, from);
      for (int j = 0; j < S; ++j) gather(reinterpret_cast<const E*>(values + j * kRow), 1, channels, state + j * kRow);
      scatter(state + S * kRow, channels, reinterpret_cast<E*>(values + S * kRow), 1);
      interleave<S>(to, channels, memory);
    }
  }

  void read_taps(std::int64_t at, std::int64_t b, std::int64_t channels, C* taps) const {
    const Tensor& s = job_.conv_state;
    std::int64_t place = first_tap(b);
    for (std::int64_t k = 0; k < history_; ++k, ++place) {
      if (place == job_.call.state) place = 0;
      gather_from(s, at + place * s.stride(2), s.stride(1), channels, taps + k * kRow);
    }
  }

  // x: the new steps, behind the taps before them.
  void write_state(std::int64_t at, std::int64_t b, std::int64_t channels, const C* x) const {
    const Tensor& s = job_.conv_state;
    const std::int64_t T = job_.call.steps, S = job_.call.state;
    const auto put = [&](std::int64_t place, const C* row) {
      scatter_to(row, s, at + place * s.stride(2), s.stride(1), channels);
    };
    if (job_.inputs.cache_seqlens != nullptr) {
      const std::int64_t next = job_.inputs.cache_seqlens->at(b * job_.inputs.cache_seqlens->stride(0));
      for (std::int64_t t = std::max<std::int64_t>(0, T - S); t < T; ++t) put((next + t) % S, x + t * kRow);
    } else if (job_.inputs.num_accepted_tokens != nullptr) {
      for (std::int64_t j = 0; j < history_ + T - 1; ++j) put(j, x + (j + 1 - history_) * kRow);
    } else {
      const std::int64_t moved = std::max<std::int64_t>(0, S - T);
      switch (dtype_size(s.dtype)) {
        case 2: move_places<std::uint16_t>(s, at, channels, T, moved); break;
        case 4: move_places<std::uint32_t>(s, at, channels, T, moved); break;
        default: move_places<std::uint64_t>(s, at, channels, T, moved); break;
      }
      for (std::int64_t j = moved; j < S; ++j) put(j, x + (j - S + T) * kRow);
    }
  }

  template <int W, Silu kSilu>
  void compute(const C* taps, const C* x, C* y, std::int64_t d, std::int64_t channels) const {
    constexpr int kSteps = causal_conv1d_tuning::kChannelSteps;
    const ChannelWeights<C> weights{weights_.of_tap(0) + d, weights_.bias.data() + d, weights_.row, job_.call.taps};
    const auto steps = [&]<int N>(std::integral_constant<int, N>, std::int64_t t) HWY_ATTR {
      ChannelSteps<C, C, C, N> s;
      for (std::int64_t j = 0; j < N + history_; ++j) s.taps[j] = taps + (t + j) * kRow;
      s.mask = nullptr;
      s.has_residual = job_.params.residual;
      s.stream = false;
      for (int n = 0; n < N; ++n) {
        s.residual[n] = x + (t + n) * kRow;
        s.out[n] = y + (t + n) * kRow;
      }
      channel_steps<W, kSilu, false>(s, weights, channels);
    };
    std::int64_t t = 0;
    for (; t + kSteps <= job_.call.steps; t += kSteps) steps(std::integral_constant<int, kSteps>(), t);
    for (; t < job_.call.steps; ++t) steps(std::integral_constant<int, 1>(), t);
  }

  const ConvUpdateJob& job_;
  const ConvWeights<C> weights_;
  const std::int64_t history_, x_step_, out_step_;
};

template <typename C>
void update(const ConvUpdateJob& job) {
  with_taps<C>(job.call.taps, [&](auto taps) {
    constexpr int W = decltype(taps)::value;
    const Update<C> kernel(job);
    if (job.params.activation != ConvActivation::kSilu) return kernel.template run<W, Silu::kNone>();
    if constexpr (std::is_same_v<C, float>) {
      if (is_half(job.out.dtype)) return kernel.template run<W, silu_for<Float16>(true)>();
    }
    kernel.template run<W, silu_for<C>(true)>();
  });
}

void UpdateState(const ConvUpdateJob& job) {
  job.x.dtype == DType::kFloat64 ? update<double>(job) : update<float>(job);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace melisma {
HWY_EXPORT(UpdateState);

void causal_conv1d_update_cpu(const ConvUpdateJob& job) {
  count_call("causal_conv1d_update", "cpu");
  if (job.call.channels > 0 && job.call.steps > 0) HWY_DYNAMIC_DISPATCH(UpdateState)(job);
}

}  // namespace melisma
#endif
