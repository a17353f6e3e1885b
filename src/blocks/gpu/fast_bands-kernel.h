// The table of fast_bands.h from a filter bank that only the device knows: bands in their order.
#pragma once

#include "blocks/gpu/forward_epilogue-kernel.h"

namespace melisma::gpu {

// A block makes a group of 32 bands.
struct BuildBands {
  struct Args {
    BankArgs bank;  // with ranges
    int squares;    // values of a frame, zeros included
    int together;   // fours of weights read in a turn
    int groups;
    MEL_GLOBAL(float) table;
  };
  static constexpr int kThreads = 256;
  static constexpr int kSharedBytes = 0;

  MEL_FN static BandRange range_of(MEL_ARGS(Args) args, int band) {
    if (band >= args.bank.bands) return BandRange{0, 0};
    return args.bank.ranges[band];
  }
  MEL_FN static int fours_of_group(MEL_THREAD_ARG t, MEL_ARGS(Args) args, int group) {
    const BandRange range = range_of(args, 32 * group + t.lane());
    int fours = range.count == 0 ? 0 : (range.count + (range.first & 1) + 3) / 4;
    for (int mask = 16; mask > 0; mask /= 2) fours = mel_max(fours, t.shuffle_xor(fours, mask));
    return (fours + args.together - 1) / args.together * args.together;
  }

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    const int group = static_cast<int>(t.block()), band = 32 * group + t.lane();
    std::int64_t at = 128 * args.groups;  // of the group's weights
    for (int i = 0; i < group; ++i) at += 128 * fours_of_group(t, args, i);
    const int fours = fours_of_group(t, args, group);
    const BandRange range = range_of(args, band);
    const int first = mel_min(range.first, args.squares - 4 * fours) & ~1;
    if (t.warp() == 0) {
      mel_store4(MEL_GLOBAL_CAST(std::int32_t, args.table) + 4 * band,
                 Vec4<std::int32_t>{first, fours, band < args.bank.bands ? band : -1, 0});
    }
    for (int i = t.warp(); i < fours; i += kThreads / 32) {
      float weights[4];
      MEL_UNROLL
      for (int j = 0; j < 4; ++j) {
        const int bin = first + 4 * i + j;
        weights[j] = 0.0f;
        if (bin >= range.first && bin < range.first + range.count) {
          weights[j] = bank_weight<float>(args.bank, bin, band);
        }
      }
      mel_store4(args.table + (at + 128 * i + 4 * t.lane()),
                 Vec4<float>{weights[0], weights[1], weights[2], weights[3]});
    }
  }
};

}  // namespace melisma::gpu
