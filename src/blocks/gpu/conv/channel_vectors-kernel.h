// Neighbouring channels of one step in registers, and their weights.
#pragma once

#include "blocks/gpu/conv/conv-kernel.h"

namespace melisma::gpu {

// kWidth neighbouring channels of one step: 16 or 8 bytes, or one element.
template <int kType, int kWidth>
struct ChannelVector {
  using E = ConvElement<kType>;
  using Word = typename E::Word;
  static constexpr int kWords = kWidth / E::kPerWord;
  using Unit = Word;
  static constexpr int kUnits = kWords;
  Word word[kWords];

  MEL_FN float get(int i) const { return E::get(word[i / E::kPerWord], i % E::kPerWord); }
  MEL_FN void clear() {
    MEL_UNROLL
    for (int i = 0; i < kWords; ++i) word[i] = Word(0);
  }
  MEL_FN void load(MEL_GLOBAL(const typename E::Scalar) from) { take(MEL_GLOBAL_CAST(const Word, from)); }
  MEL_FN void load_shared(MEL_SHARED(const Unit) from) { take(from); }
  // Starts to bring one to shared memory.
  MEL_FN static void fetch(MEL_THREAD_ARG t, MEL_SHARED(Unit) to, MEL_GLOBAL(const typename E::Scalar) from) {
    if (kWords == 4) {
      t.async_load16(to, MEL_GLOBAL_CAST(const Word, from));
    } else {
      t.async_load8(to, MEL_GLOBAL_CAST(const Word, from));
    }
  }
  MEL_FN static void store(MEL_GLOBAL(typename E::Scalar) to, MEL_LOCAL const float (&values)[kWidth]) {
    Word packed[kWords];
    MEL_UNROLL
    for (int i = 0; i < kWords; ++i) {
      packed[i] = E::pack(values[i * E::kPerWord], values[i * E::kPerWord + E::kPerWord - 1]);
    }
    if (kWords == 4) {
      mel_put4(MEL_GLOBAL_CAST(Word, to), packed[0], packed[1], packed[kWords - 2], packed[kWords - 1]);
    } else {
      mel_put2(MEL_GLOBAL_CAST(Word, to), packed[0], packed[1]);
    }
  }

 private:
  template <typename Pointer>
  MEL_FN void take(Pointer from) {
    if (kWords == 4) {
      const Vec4<Word> v = mel_load4(from);
      word[0] = v.x;
      word[1] = v.y;
      word[kWords - 2] = v.z;
      word[kWords - 1] = v.w;
    } else {
      const Vec2<Word> v = mel_load2(from);
      word[0] = v.x;
      word[1] = v.y;
    }
  }
};
template <int kType>
struct ChannelVector<kType, 1> {
  using E = ConvElement<kType>;
  using Unit = typename E::Scalar;
  static constexpr int kUnits = 1;
  typename E::Scalar value;

  MEL_FN float get(int) const { return E::from(value); }
  MEL_FN void clear() { value = typename E::Scalar(0); }
  MEL_FN void load(MEL_GLOBAL(const typename E::Scalar) from) { value = *from; }
  MEL_FN void load_shared(MEL_SHARED(const Unit) from) { value = *from; }
  MEL_FN static void fetch(MEL_THREAD_ARG, MEL_SHARED(Unit) to, MEL_GLOBAL(const Unit) from) { *to = *from; }
  MEL_FN static void store(MEL_GLOBAL(typename E::Scalar) to, MEL_LOCAL const float (&values)[1]) {
    *to = E::to(values[0]);
  }
};

// Pairs of vectors that are on their way while others are used, one pair a step: in registers, or in shared memory of
// the thread's own where registers would keep threads from running.
template <class Vector, int kAhead>
struct RegisterPairs {
  static constexpr int kBytes = 0;
  Vector first[kAhead], second[kAhead];

  template <typename Scalar>
  MEL_FN void fetch(MEL_THREAD_ARG, bool there, int j, MEL_GLOBAL(const Scalar) a, MEL_GLOBAL(const Scalar) b) {
    if (!there) return;
    first[j].load(a);
    second[j].load(b);
  }
  MEL_FN void wait(MEL_THREAD_ARG) const {}
  MEL_FN void take(int j, MEL_LOCAL Vector& a, MEL_LOCAL Vector& b) const {
    a = first[j];
    b = second[j];
  }
  MEL_FN void start(MEL_THREAD_ARG, MEL_SHARED(char)) {}
};
template <class Vector, int kAhead, int kThreads>
struct SharedPairs {
  using Unit = typename Vector::Unit;
  static constexpr int kBytes = kThreads * kAhead * 2 * Vector::kUnits * int(sizeof(Unit));
  MEL_SHARED(Unit) own;

  MEL_FN void start(MEL_THREAD_ARG t, MEL_SHARED(char) shared) {
    own = MEL_SHARED_CAST(Unit, shared) + t.thread() * Vector::kUnits;
  }
  MEL_FN MEL_SHARED(Unit) slot(int j, int which) const { return own + (2 * j + which) * kThreads * Vector::kUnits; }
  // Every step has a group, so that wait() knows which one is the oldest.
  template <typename Scalar>
  MEL_FN void fetch(MEL_THREAD_ARG t, bool there, int j, MEL_GLOBAL(const Scalar) a, MEL_GLOBAL(const Scalar) b) {
    if (there) {
      Vector::fetch(t, slot(j, 0), a);
      Vector::fetch(t, slot(j, 1), b);
    }
    t.async_group();
  }
  // Until the pair that was fetched kAhead steps ago is there.
  MEL_FN void wait(MEL_THREAD_ARG t) const { t.template async_wait_but<kAhead - 1>(); }
  MEL_FN void take(int j, MEL_LOCAL Vector& a, MEL_LOCAL Vector& b) const {
    a.load_shared(slot(j, 0));
    b.load_shared(slot(j, 1));
  }
};

template <class Vector, int kAhead, int kThreads, bool kRegisters>
struct ConvPairsOf {
  using Type = SharedPairs<Vector, kAhead, kThreads>;
};
template <class Vector, int kAhead, int kThreads>
struct ConvPairsOf<Vector, kAhead, kThreads, true> {
  using Type = RegisterPairs<Vector, kAhead>;
};
template <class Vector, int kAhead, int kThreads, bool kRegisters>
using ConvPairs = typename ConvPairsOf<Vector, kAhead, kThreads, kRegisters>::Type;

// values[k][i] = weight of channel d + i, tap k: the switch over types stands outside the loops.
template <int kWeightType, int kTaps, int kWidth>
MEL_FN void load_weights_of(MEL_ARGS(ConvArgs) args, std::int64_t d, MEL_LOCAL float (&values)[kTaps][kWidth]) {
  MEL_UNROLL
  for (int i = 0; i < kWidth; ++i) {
    MEL_UNROLL
    for (int k = 0; k < kTaps; ++k) {
      values[k][i] = load_real<float>(args.weight, kWeightType, (d + i) * args.weight_channel + k * args.weight_tap);
    }
  }
}
// [D][W] as it comes, aligned to 16 bytes.
template <int kWeightType, int kTaps, int kWidth>
MEL_FN void load_weight_vectors(MEL_ARGS(ConvArgs) args, std::int64_t d, MEL_LOCAL float (&values)[kTaps][kWidth]) {
  using E = ConvElement<kWeightType>;
  MEL_GLOBAL(const typename E::Word)
  from = MEL_GLOBAL_CAST(const typename E::Word, MEL_GLOBAL_CAST(const typename E::Scalar, args.weight) + d * kTaps);
  MEL_UNROLL
  for (int v = 0; v < kTaps * kWidth / E::kPerVector; ++v) {
    const Vec4<typename E::Word> four = mel_load4(from + 4 * v);
    const typename E::Word words[4] = {four.x, four.y, four.z, four.w};
    MEL_UNROLL
    for (int i = 0; i < E::kPerVector; ++i) {
      const int at = v * E::kPerVector + i;
      values[at % kTaps][at / kTaps] = E::get(words[i / E::kPerWord], i % E::kPerWord);
    }
  }
}
// packed: load_weight_vectors' condition holds.
template <int kTaps, int kWidth>
MEL_FN void load_weights(MEL_ARGS(ConvArgs) args, int packed, std::int64_t d,
                         MEL_LOCAL float (&values)[kTaps][kWidth]) {
  if (kWidth * kTaps % 8 == 0 && packed != 0) {
    switch (args.weight_type) {
      case kSampleFloat16: return load_weight_vectors<kSampleFloat16, kTaps, kWidth>(args, d, values);
      case kSampleBFloat16: return load_weight_vectors<kSampleBFloat16, kTaps, kWidth>(args, d, values);
      default: return load_weight_vectors<kSampleFloat32, kTaps, kWidth>(args, d, values);
    }
  }
  switch (args.weight_type) {
    case kSampleFloat16: return load_weights_of<kSampleFloat16, kTaps, kWidth>(args, d, values);
    case kSampleBFloat16: return load_weights_of<kSampleBFloat16, kTaps, kWidth>(args, d, values);
    case kSampleFloat64: return load_weights_of<kSampleFloat64, kTaps, kWidth>(args, d, values);
    default: return load_weights_of<kSampleFloat32, kTaps, kWidth>(args, d, values);
  }
}

template <int kBiasType, int kWidth>
MEL_FN void load_bias_of(MEL_ARGS(ConvArgs) args, std::int64_t d, MEL_LOCAL float (&values)[kWidth]) {
  MEL_UNROLL
  for (int i = 0; i < kWidth; ++i) values[i] = load_real<float>(args.bias, kBiasType, (d + i) * args.bias_stride);
}
template <int kWidth>
MEL_FN void load_bias(MEL_ARGS(ConvArgs) args, std::int64_t d, MEL_LOCAL float (&values)[kWidth]) {
  MEL_UNROLL
  for (int i = 0; i < kWidth; ++i) values[i] = 0.0f;
  if (args.bias == nullptr) return;
  switch (args.bias_type) {
    case kSampleFloat16: return load_bias_of<kSampleFloat16, kWidth>(args, d, values);
    case kSampleBFloat16: return load_bias_of<kSampleBFloat16, kWidth>(args, d, values);
    case kSampleFloat64: return load_bias_of<kSampleFloat64, kWidth>(args, d, values);
    default: return load_bias_of<kSampleFloat32, kWidth>(args, d, values);
  }
}

// Both. packed: load_weight_vectors' condition holds; 2: the bias lies together, aligned to 16 bytes, and is of the
// weights' type. All are on their way before the first is converted: this is what a small call waits for.
template <int kWeightType, int kTaps, int kWidth>
MEL_FN void load_channels_of(MEL_ARGS(ConvArgs) args, std::int64_t d, MEL_LOCAL float (&weights)[kTaps][kWidth],
                             MEL_LOCAL float (&bias)[kWidth]) {
  constexpr int kTogether = kWidth % 4 == 0 ? 4 : 1;
  ChannelVector<kWeightType, kTogether> parts[kWidth / kTogether];
  MEL_UNROLL
  for (int i = 0; i < kWidth; i += kTogether) {
    parts[i / kTogether].load(MEL_GLOBAL_CAST(const typename ConvElement<kWeightType>::Scalar, args.bias) + d + i);
  }
  load_weight_vectors<kWeightType, kTaps, kWidth>(args, d, weights);
  MEL_UNROLL
  for (int i = 0; i < kWidth; ++i) bias[i] = parts[i / kTogether].get(i % kTogether);
}
template <int kTaps, int kWidth>
MEL_FN void load_channels(MEL_ARGS(ConvArgs) args, int packed, std::int64_t d,
                          MEL_LOCAL float (&weights)[kTaps][kWidth], MEL_LOCAL float (&bias)[kWidth]) {
  if (kWidth * kTaps % 8 == 0 && packed == 2) {
    switch (args.weight_type) {
      case kSampleFloat16: return load_channels_of<kSampleFloat16, kTaps, kWidth>(args, d, weights, bias);
      case kSampleBFloat16: return load_channels_of<kSampleBFloat16, kTaps, kWidth>(args, d, weights, bias);
      default: return load_channels_of<kSampleFloat32, kTaps, kWidth>(args, d, weights, bias);
    }
  }
  load_weights<kTaps, kWidth>(args, packed, d, weights);
  load_bias<kWidth>(args, d, bias);
}

// Sequence numbers of the steps from `base` on, of which `last` is the last one that is read.
template <int kCount>
MEL_FN void load_keys_of(MEL_ARGS(ConvArgs) args, std::int64_t item, int base, int last,
                         MEL_LOCAL std::int32_t (&keys)[kCount]) {
  MEL_GLOBAL(const std::int32_t)
  from = MEL_GLOBAL_CAST(const std::int32_t, args.seq_idx.data) + axes_at(args.seq_idx.items, item);
  MEL_UNROLL
  for (int j = 0; j < kCount; ++j) keys[j] = from[mel_min(base + j, last) * args.seq_idx.stride];
}

// The sequence number of the last step before a round, and how many steps up to there have it, at most kHistory.
template <int kHistory>
struct KeyRun {
  std::int32_t key;
  int length;

  MEL_FN void start(MEL_ARGS(ConvArgs) args, std::int64_t item, int first) {
    key = key_at(args, item, first - 1);
    length = 1;
    MEL_UNROLL
    for (int j = 2; j <= kHistory; ++j) {
      if (length == j - 1 && key_at(args, item, first - j) == key) length = j;
    }
  }
  // Whether all steps of the round and the kHistory before them are of one sequence; and on to the next round.
  template <int kCount>
  MEL_FN bool goes_on(MEL_LOCAL const std::int32_t (&keys)[kCount]) {
    bool same = key >= 0 && length == kHistory;
    MEL_UNROLL
    for (int j = 0; j < kCount; ++j) same = same && keys[j] == key;
    if (same) return true;
    key = keys[kCount - 1];
    length = 1;
    MEL_UNROLL
    for (int j = 2; j <= kHistory; ++j) {
      if (length == j - 1 && keys[kCount - j] == key) length = j;
    }
    return false;
  }
};

// rows[j][i] = place j of channel d + i, of the first kPlaces rows; zeros where there are no states.
template <int kPlaces, int kWidth, int kRows>
MEL_FN void load_state_vectors(MEL_ARGS(SeriesArgs) states, std::int64_t row, std::int64_t d,
                               MEL_LOCAL float (&rows)[kRows][kWidth]) {
  const bool there = states.data != nullptr && row >= 0;
  const std::int64_t at = there ? series_at(states, row, d) : 0;
  MEL_UNROLL
  for (int j = 0; j < kPlaces; ++j) {
    MEL_UNROLL
    for (int i = 0; i < kWidth; ++i) rows[j][i] = 0.0f;
    if (!there) continue;
    load_values<kWidth>(states.data, states.type, at + j * states.step_stride, states.channel_stride, 0, kWidth,
                        rows[j]);
  }
}

// One place of them, 0 where it is before the first.
template <int kWidth>
MEL_FN void load_state_vector(MEL_ARGS(SeriesArgs) states, std::int64_t row, std::int64_t place, std::int64_t d,
                              MEL_LOCAL float (&values)[kWidth]) {
  MEL_UNROLL
  for (int i = 0; i < kWidth; ++i) values[i] = 0.0f;
  if (states.data == nullptr || row < 0 || place < 0) return;
  load_values<kWidth>(states.data, states.type, series_at(states, row, d) + place * states.step_stride,
                      states.channel_stride, 0, kWidth, values);
}

}  // namespace melisma::gpu
