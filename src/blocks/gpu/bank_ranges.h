// The launch around bank_ranges-kernel.h.
#pragma once

#include <cstdint>

#include "blocks/gpu/bank_ranges-kernel.h"
#include "blocks/gpu/framing_args.h"
#include "blocks/gpu/job.h"

namespace melisma::gpu {

// Without ranges.
inline BankArgs matrix_args(const Bank& bank) {
  return {bank.data,
          nullptr,
          bank.bin_stride,
          bank.band_stride,
          static_cast<int>(bank.bins),
          static_cast<int>(bank.bands),
          sample_type(bank.dtype)};
}

template <typename T>
struct ScannedBank {
  const BandRange *bins_of_band, *bands_of_bin;
  const T* weights;  // [pairs][pitch / 2] of two, bin by bin; null: not asked for
  int pairs, pitch;
};

// Of a bank that the host does not know, in workspace.
template <typename T, class Runner>
ScannedBank<T> scan_bank(const Bank& bank, bool with_weights, Runner& runner) {
  const auto workspace = [&](std::int64_t bytes) { return runner.workspace(static_cast<std::size_t>(bytes)); };
  using Kernel = ScanBank<T>;
  typename Kernel::Args args{};
  args.bank = matrix_args(bank);
  args.bins_of_band = static_cast<BandRange*>(workspace(bank.bands * static_cast<std::int64_t>(sizeof(BandRange))));
  args.bands_of_bin = static_cast<BandRange*>(workspace(bank.bins * static_cast<std::int64_t>(sizeof(BandRange))));
  args.pairs = static_cast<int>((bank.bands + 1) / 2);
  args.pitch = static_cast<int>((bank.bins + 1) / 2 * 4);
  if (with_weights) {
    args.weights =
        static_cast<T*>(workspace(std::int64_t{args.pairs} * args.pitch * static_cast<std::int64_t>(sizeof(T))));
  }
  constexpr std::int64_t kWarps = Kernel::kThreads / 32;
  runner.template launch<Kernel>((bank.bins + bank.bands + kWarps - 1) / kWarps, Kernel::kSharedBytes, args);
  return {args.bins_of_band, args.bands_of_bin, args.weights, args.pairs, args.pitch};
}

}  // namespace melisma::gpu
