// Which taps of a lane's steps count, where steps lie together in memory: for masks, sequence numbers and packed
// sequences.
#pragma once

#include "blocks/gpu/conv/conv-kernel.h"

namespace melisma::gpu {

// Of kSize steps.
template <int kTaps, int kSize>
struct RowCuts {
  static constexpr int kHistory = kTaps - 1;
  float mask[kHistory + kSize];  // of the kHistory steps before too
  bool whole;                    // all taps count, and none is a state of a packed sequence
  bool states;                   // some are such states
  std::uint32_t counting;        // bit i kHistory + k: tap k of step i counts
  std::uint32_t padding;         // bit i: step i

  MEL_FN bool counts(int i, int k) const { return k == kHistory || ((counting >> (i * kHistory + k)) & 1u) != 0; }
  MEL_FN bool is_padding(int i) const { return ((padding >> i) & 1u) != 0; }

  // All taps count.
  MEL_FN void clear() {
    whole = true;
    states = false;
    counting = 0xFFFFFFFFu;
    padding = 0;
    MEL_UNROLL
    for (int i = 0; i < kHistory + kSize; ++i) mask[i] = 1.0f;
  }

  // The first one is p, which may lie before or behind what there is. kAfter: so many steps behind the last one are
  // to be told about too, and are part of what is whole.
  template <int kAfter>
  MEL_FN void find(MEL_ARGS(ConvArgs) args, std::int64_t item, int p) {
    const int steps = static_cast<int>(args.steps);
    clear();
    if (args.mask.data != nullptr) {
      float values[kHistory + kSize];  // Metal does not take a member as an array in registers
      MEL_UNROLL
      for (int i = 0; i < kHistory + kSize; ++i) values[i] = 1.0f;
      load_values<kHistory + kSize>(args.mask.data, args.mask.type,
                                    axes_at(args.mask.items, item) + (p - kHistory) * args.mask.stride,
                                    args.mask.stride, p - kHistory, steps, values);
      MEL_UNROLL
      for (int i = 0; i < kHistory + kSize; ++i) mask[i] = values[i];
    }
    if (args.seq_idx.data != nullptr) find_keys<kAfter>(args, item, p, steps);
    if (args.cu_seqlens != nullptr) find_spans<kAfter>(args, p, steps);
  }

 private:
  template <int kAfter>
  MEL_FN void find_keys(MEL_ARGS(ConvArgs) args, std::int64_t item, int p, int steps) {
    MEL_GLOBAL(const std::int32_t)
    keys = MEL_GLOBAL_CAST(const std::int32_t, args.seq_idx.data) + axes_at(args.seq_idx.items, item);
    std::int32_t key[kHistory + kSize + kAfter];
    MEL_UNROLL
    for (int i = 0; i < kHistory + kSize + kAfter; ++i) {
      const int step = p - kHistory + i;
      key[i] = keys[(step < 0 ? 0 : step < steps ? step : steps - 1) * args.seq_idx.stride];
    }
    whole = key[0] >= 0;
    MEL_UNROLL
    for (int i = 1; i < kHistory + kSize + kAfter; ++i) whole = whole && key[i] == key[0];
    if (whole) return;
    counting = 0;
    MEL_UNROLL
    for (int i = 0; i < kSize + kAfter; ++i) {
      if (i < kSize) padding |= key[kHistory + i] < 0 ? 1u << i : 0u;
      MEL_UNROLL
      for (int k = 0; k < kHistory; ++k) {
        const int bit = i * kHistory + k;
        if (bit < 32) counting |= key[i + k] == key[i + kHistory] ? 1u << bit : 0u;
      }
    }
  }

  template <int kAfter>
  MEL_FN void find_spans(MEL_ARGS(ConvArgs) args, int p, int steps) {
    if (p >= steps || p + kSize <= 0) return;
    ConvSpan span = span_of_step(args, 0, p < 0 ? 0 : p);
    whole = span.begin <= p - kHistory && span.end >= (kAfter > 0 ? p + kSize + kAfter : mel_min(p + kSize, steps));
    if (whole) return;
    counting = 0;
    MEL_NO_UNROLL
    for (int i = 0; i < kSize + kAfter; ++i) {
      const int t = p + i;
      if (t < 0 || t >= steps) continue;
      if (t >= span.end) span = span_after(args, span, t);
      MEL_UNROLL
      for (int k = 0; k < kHistory; ++k) {
        const int bit = i * kHistory + k;
        if (t - kHistory + k >= span.begin) {
          if (bit < 32) counting |= 1u << bit;
        } else if (i < kSize) {
          states = args.initial.data != nullptr;
        }
      }
    }
  }
};

}  // namespace melisma::gpu
