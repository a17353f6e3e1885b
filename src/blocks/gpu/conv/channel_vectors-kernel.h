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
  Word word[kWords];

  MEL_FN float get(int i) const { return E::get(word[i / E::kPerWord], i % E::kPerWord); }
  MEL_FN void clear() {
    MEL_UNROLL
    for (int i = 0; i < kWords; ++i) word[i] = Word(0);
  }
  MEL_FN void load(MEL_GLOBAL(const typename E::Scalar) from) {
    if (kWords == 4) {
      const Vec4<Word> v = mel_load4(MEL_GLOBAL_CAST(const Word, from));
      word[0] = v.x;
      word[1] = v.y;
      word[kWords - 2] = v.z;
      word[kWords - 1] = v.w;
    } else {
      const Vec2<Word> v = mel_load2(MEL_GLOBAL_CAST(const Word, from));
      word[0] = v.x;
      word[1] = v.y;
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
};
template <int kType>
struct ChannelVector<kType, 1> {
  using E = ConvElement<kType>;
  typename E::Scalar value;

  MEL_FN float get(int) const { return E::from(value); }
  MEL_FN void clear() { value = typename E::Scalar(0); }
  MEL_FN void load(MEL_GLOBAL(const typename E::Scalar) from) { value = *from; }
  MEL_FN static void store(MEL_GLOBAL(typename E::Scalar) to, MEL_LOCAL const float (&values)[1]) {
    *to = E::to(values[0]);
  }
};

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

// rows[j][i] = place j of channel d + i, of the first kPlaces rows; zeros where there are no states.
template <int kPlaces, int kWidth, int kRows>
MEL_FN void load_state_vectors(MEL_ARGS(SeriesArgs) states, std::int64_t row, std::int64_t d,
                               MEL_LOCAL float (&rows)[kRows][kWidth]) {
  const std::int64_t at = states.data == nullptr ? 0 : series_at(states, row, d);
  MEL_UNROLL
  for (int j = 0; j < kPlaces; ++j) {
    MEL_UNROLL
    for (int i = 0; i < kWidth; ++i) rows[j][i] = 0.0f;
    if (states.data == nullptr) continue;
    load_values<kWidth>(states.data, states.type, at + j * states.step_stride, states.channel_stride, 0, kWidth,
                        rows[j]);
  }
}

}  // namespace melisma::gpu
