// Where a filter bank that the host does not know has weights.
#pragma once

#include "blocks/gpu/forward_epilogue-kernel.h"

namespace melisma::gpu {

// By each warp one bin's bands, from the first to the last that has a weight there, or one band's bins. Where there are
// none the first is as many as there are.
template <typename T>
struct ScanBank {
  struct Args {
    BankArgs bank;
    MEL_GLOBAL(BandRange) bands_of_bin;
    MEL_GLOBAL(BandRange) bins_of_band;
    // The bin's bands' weights too, `pairs` rows of two a bin, zeros behind them, or null: row i's at 2 k + i * pitch.
    MEL_GLOBAL(T) weights;
    int pairs, pitch;
  };
  static constexpr int kThreads = 256;
  static constexpr int kSharedBytes = 0;

  MEL_FN static T weight(MEL_ARGS(BankArgs) bank, bool of_bin, int index, int i) {
    return bank_weight<T>(bank, of_bin ? index : i, of_bin ? i : index);
  }
  MEL_FN static BandRange range_of(MEL_THREAD_ARG t, MEL_ARGS(BankArgs) bank, bool of_bin, int index) {
    const int count = of_bin ? bank.bands : bank.bins;
    int first = count, end = 0;
    for (int i = t.lane(); i < count; i += 32) {
      if (weight(bank, of_bin, index, i) == T(0)) continue;
      first = mel_min(first, i);
      end = i + 1;
    }
    for (int mask = 16; mask > 0; mask /= 2) {
      first = mel_min(first, t.shuffle_xor(first, mask));
      end = mel_max(end, t.shuffle_xor(end, mask));
    }
    return BandRange{first, end == 0 ? 0 : end - first};
  }

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    const int bins = args.bank.bins;
    const int at = static_cast<int>(t.block()) * (kThreads / 32) + t.warp();
    if (at >= bins + args.bank.bands) return;
    const bool of_bin = at < bins;
    const int index = of_bin ? at : at - bins;
    const BandRange range = range_of(t, args.bank, of_bin, index);
    if (t.lane() == 0) {
      if (of_bin) {
        args.bands_of_bin[index] = range;
      } else {
        args.bins_of_band[index] = range;
      }
    }
    if (!of_bin || args.weights == nullptr) return;
    for (int i = t.lane(); i < 2 * args.pairs; i += 32) {
      T value = T(0);
      if (i < range.count) value = weight(args.bank, true, index, range.first + i);
      args.weights[2 * index + i / 2 * args.pitch + i % 2] = value;
    }
  }
};

}  // namespace melisma::gpu
