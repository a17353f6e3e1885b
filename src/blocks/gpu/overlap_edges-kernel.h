// The adjoint of padding: sums beyond the signal's ends, where the padding has put copies of its samples, go to device
// memory in a launch of their own, and the launch that writes the samples adds them.
#pragma once

#include "blocks/gpu/framing-kernel.h"
#include "blocks/gpu/wide-kernel.h"

namespace melisma::gpu {

// The samples of a result, or those sums.
struct ResultArgs {
  MEL_GLOBAL(void) data;
  std::int64_t stride;
  AxesArgs items;
  int type;
};

// Sums that stand on copies that the padding made: [items][2][count], before the signal and after it. Replicated
// samples are summed up beforehand: [items][2][1].
template <typename T>
struct CopiesArgs {
  MEL_GLOBAL(const T) sums;  // null: there are none
  std::int64_t count;
};

// Samples begin .. end - 1, in stretches; sample begin is written as the result's sample `to`.
struct SampleRange {
  std::int64_t begin, end, to;
};

template <typename T>
MEL_FN void store_value(MEL_ARGS(ResultArgs) out, std::int64_t at, T value) {
  store_real(out.data, out.type, at, value);
}
template <typename T>
MEL_FN void store_value(MEL_ARGS(ResultArgs) out, std::int64_t at, Complex<T> value) {
  store_complex(out.data, out.type, at, value);
}
// The sum of a sample of the signal, with those that stand on copies of it: those before the signal first. Value: T or
// Complex<T>.
template <typename T, typename Value>
MEL_FN Value add_copies(MEL_ARGS(FramingArgs) framing, MEL_ARGS(CopiesArgs<T>) copies, std::int64_t item,
                        std::int64_t sample, Value sum) {
  if (copies.sums == nullptr) return sum;
  const std::int64_t p = sample + framing.pad, padded = framing.length + 2 * framing.pad, count = copies.count;
  MEL_GLOBAL(const Value) before = MEL_GLOBAL_CAST(const Value, copies.sums) + item * 2 * count;
  MEL_GLOBAL(const Value) after = before + count;
  switch (framing.pad_mode) {
    case kPadReflect: {
      const std::int64_t mirrored = padded - 2 - p;
      if (p >= 1 && p <= count) sum = sum + before[count - p];
      if (mirrored >= 0 && mirrored < count) sum = sum + after[mirrored];
      break;
    }
    case kPadCircular:
      if (p >= padded - count) sum = sum + before[p - (padded - count)];
      if (p < count) sum = sum + after[p];
      break;
    default:  // replicate
      if (p == 0) sum = sum + before[0];
      if (p == padded - 1) sum = sum + after[0];
      break;
  }
  return sum;
}

// sums[side] of a replicated sample's copies: one block for each item and side.
template <typename T, typename Wide>
struct SumReplicated {
  struct Args {
    MEL_GLOBAL(const T) copies;  // [sides][count][width]
    MEL_GLOBAL(T) sums;          // [sides][width]
    std::int64_t count;
    int width;
  };
  static constexpr int kThreads = 256;
  static constexpr int kSharedBytes = kThreads * int(sizeof(Wide));

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    MEL_SHARED(Wide) sums = MEL_SHARED_CAST(Wide, shared);
    for (int part = 0; part < args.width; ++part) {
      MEL_GLOBAL(const T) from = args.copies + t.block() * args.count * args.width + part;
      Wide sum{};
      for (std::int64_t i = t.thread(); i < args.count; i += kThreads) sum = wide_plus(sum, from[i * args.width]);
      sum = block_sum(t, sum, sums);
      if (t.thread() == 0) args.sums[t.block() * args.width + part] = wide_to<T>(sum);
    }
  }
};

}  // namespace melisma::gpu
