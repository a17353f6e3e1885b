// New steps of sequences whose last taps are kept in a state, which changes in place.
#pragma once

#include "blocks/gpu/conv/channel_vectors-kernel.h"

namespace melisma::gpu {

struct UpdateArgs {
  ConvArgs conv;             // x, weight, bias, pool, items, channels, steps, taps, silu, residual
  SeriesArgs out, state;     // state: [rows][channels][places]
  IndexArgs ring, accepted;  // cache_seqlens, num_accepted_tokens
  std::int64_t places;
  // Of the kernel for one step:
  FastDivision by_vectors;
  int packed, like_x;  // like_x: weight and bias are packed, and of x's type
};

MEL_FN void move_element(MEL_GLOBAL(void) data, int type, std::int64_t to, std::int64_t from) {
  switch (type) {
    case kSampleFloat16:
    case kSampleBFloat16: MEL_GLOBAL_CAST(std::uint16_t, data)[to] = MEL_GLOBAL_CAST(std::uint16_t, data)[from]; break;
    case kSampleFloat64: MEL_GLOBAL_CAST(std::uint64_t, data)[to] = MEL_GLOBAL_CAST(std::uint64_t, data)[from]; break;
    default: MEL_GLOBAL_CAST(std::uint32_t, data)[to] = MEL_GLOBAL_CAST(std::uint32_t, data)[from]; break;
  }
}

// Any strides, types and states; a thread takes a channel of an item. kTaps: 0 for any number.
template <typename T, int kTaps>
struct UpdateConv {
  using Args = UpdateArgs;
  static constexpr int kThreads = 128;
  static constexpr int kRoom = kTaps > 0 ? kTaps : kMostTaps;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    const std::int64_t count = args.conv.items * args.conv.channels;
    for (std::int64_t i = t.block() * kThreads + t.thread(); i < count; i += t.blocks() * kThreads) {
      const std::int64_t item = i / args.conv.channels;
      channel(args, item, i - item * args.conv.channels);
    }
  }

 private:
  MEL_FN static void channel(MEL_ARGS(Args) args, std::int64_t item, std::int64_t d) {
    const int taps_count = kTaps > 0 ? kTaps : args.conv.taps, history = taps_count - 1;
    const std::int64_t row = pool_row(args.conv.pool, item), out_at = series_at(args.out, item, d);
    if (row < 0) {
      for (std::int64_t t = 0; t < args.conv.steps; ++t) {
        store_real(args.out.data, args.out.type, out_at + t * args.out.step_stride, T(0));
      }
      return;
    }
    const std::int64_t x_at = series_at(args.conv.x, item, d), at = series_at(args.state, row, d);
    const std::int64_t places = args.places, stride = args.state.step_stride;
    std::int64_t next = 0, place = places - history;  // of a ring: where x goes; the oldest tap
    if (args.ring.data != nullptr) {
      next = mel_max(index_at(args.ring, item), std::int64_t(0)) % places;
      place = (next - history + places) % places;
    } else if (args.accepted.data != nullptr) {
      place = mel_min(mel_max(index_at(args.accepted, item) - 1, std::int64_t(0)), place);
    }
    T taps[kRoom], w[kRoom];
    for (int k = 0; k < history; ++k) {
      const std::int64_t from = place + k >= places ? place + k - places : place + k;
      taps[k] = load_real<T>(args.state.data, args.state.type, at + from * stride);
    }
    for (int k = 0; k < taps_count; ++k) w[k] = conv_weight<T>(args.conv, d, k);
    const T bias = conv_bias<T>(args.conv, d);
    make_room(args, at, place, history);
    for (std::int64_t t = 0; t < args.conv.steps; ++t) {
      const T x = load_real<T>(args.conv.x.data, args.conv.x.type, x_at + t * args.conv.x.step_stride);
      taps[history] = x;
      T y = bias;
      for (int k = 0; k < taps_count; ++k) y = mel_fma(w[k], taps[k], y);
      for (int k = 0; k < history; ++k) taps[k] = taps[k + 1];
      if (args.conv.silu != 0) y = Silu<T>::value(y, args.conv.x.type);
      if (args.conv.residual != 0) y = y + x;
      store_real(args.out.data, args.out.type, out_at + t * args.out.step_stride, y);
      std::int64_t to = places - args.conv.steps + t;
      if (args.accepted.data != nullptr) to = history - 1 + t;
      if (args.ring.data != nullptr) {
        to = next;
        next = next + 1 == places ? 0 : next + 1;
      }
      if (to >= 0) store_real(args.state.data, args.state.type, at + to * stride, x);
    }
  }

  // What stays of the state goes where it belongs; the taps have been read.
  MEL_FN static void make_room(MEL_ARGS(Args) args, std::int64_t at, std::int64_t place, int history) {
    if (args.ring.data != nullptr) return;
    const bool accepted = args.accepted.data != nullptr;
    const std::int64_t by = accepted ? place + 1 : args.conv.steps;
    const std::int64_t stay = accepted ? std::int64_t(history - 1) : args.places - by;
    for (std::int64_t j = 0; j < stay; ++j) {
      move_element(args.state.data, args.state.type, at + j * args.state.step_stride,
                   at + (j + by) * args.state.step_stride);
    }
  }
};

// One new step, states of W - 1 or W places one channel after the other, everything of one type: a thread takes eight
// bytes of x.
template <int kType, int kTaps, int kPlaces>
struct StepConv {
  using Args = UpdateArgs;
  using E = ConvElement<kType>;
  using Scalar = typename E::Scalar;
  static constexpr int kThreads = 128;
  static constexpr int kWidth = E::kPerVector / 2;
  using Vector = ChannelVector<kType, kWidth>;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    const std::uint32_t index =
        static_cast<std::uint32_t>(t.block()) * kThreads + static_cast<std::uint32_t>(t.thread());
    const std::uint32_t item = divided(index, args.by_vectors);
    if (item >= args.conv.items) return;
    const std::int64_t d = static_cast<std::int64_t>(index - item * args.by_vectors.divisor) * kWidth;
    const std::int64_t row = pool_row(args.conv.pool, item);
    Vector x, old[kPlaces];
    x.load(MEL_GLOBAL_CAST(const Scalar, args.conv.x.data) + series_at(args.conv.x, item, d));
    MEL_GLOBAL(Scalar) state = MEL_GLOBAL_CAST(Scalar, args.state.data) + series_at(args.state, row < 0 ? 0 : row, d);
    MEL_UNROLL
    for (int v = 0; v < kPlaces; ++v) old[v].load(state + v * kWidth);
    float w[kTaps][kWidth], y[kWidth];
    if (args.like_x != 0) {
      load_weight_vectors<kType, kTaps, kWidth>(args.conv, d, w);
      Vector own;
      own.load(MEL_GLOBAL_CAST(const Scalar, args.conv.bias) + d);
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) y[i] = own.get(i);
    } else {
      load_channels<kTaps, kWidth>(args.conv, args.packed, d, w, y);
    }
    float rows[kWidth][kPlaces + 1], fresh[kPlaces][kWidth];  // a channel's state and its x
    MEL_UNROLL
    for (int i = 0; i < kWidth; ++i) {
      MEL_UNROLL
      for (int j = 0; j < kPlaces; ++j) rows[i][j] = old[(i * kPlaces + j) / kWidth].get((i * kPlaces + j) % kWidth);
      rows[i][kPlaces] = x.get(i);
    }
    MEL_UNROLL
    for (int i = 0; i < kWidth; ++i) {
      MEL_UNROLL
      for (int k = 0; k < kTaps; ++k) y[i] = mel_fma(w[k][i], rows[i][kPlaces + 1 - kTaps + k], y[i]);
      MEL_UNROLL
      for (int j = 0; j < kPlaces; ++j) fresh[(i * kPlaces + j) / kWidth][(i * kPlaces + j) % kWidth] = rows[i][j + 1];
    }
    if (args.conv.silu != 0) silu_all<kType, kWidth>(y);
    if (args.conv.residual != 0) {
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) y[i] = y[i] + rows[i][kPlaces];
    }
    if (row < 0) {
      MEL_UNROLL
      for (int i = 0; i < kWidth; ++i) y[i] = 0.0f;
    } else {
      MEL_UNROLL
      for (int v = 0; v < kPlaces; ++v) Vector::store(state + v * kWidth, fresh[v]);
    }
    Vector::store(MEL_GLOBAL_CAST(Scalar, args.out.data) + series_at(args.out, item, d), y);
  }
};

}  // namespace melisma::gpu
