// From a forward job to the arguments of its kernels.
#pragma once

#include <cstdint>
#include <limits>

#include "blocks/gpu/bank_ranges.h"
#include "blocks/gpu/frame_transform.h"
#include "blocks/gpu/generic_forward-kernel.h"
#include "blocks/gpu/job.h"
#include "blocks/gpu/limit_range.h"

namespace melisma::gpu {

template <typename T>
PowerArgs<T> power_args(double power) {
  return {static_cast<T>(power / 2), power == 1 ? 1 : power == 2 ? 2 : 0};
}

// limited: post_mul and post_add are left to limit_range.
template <typename T>
LogArgs<T> log_args(const LogParams& log, bool limited) {
  return {static_cast<T>(log.scale),
          static_cast<T>(log.mul),
          static_cast<T>(log.add),
          static_cast<T>(log.floor),
          static_cast<T>(log.offset),
          static_cast<T>(limited ? 1.0 : log.post_mul),
          static_cast<T>(limited ? 0.0 : log.post_add),
          log.enabled ? 1 : 0};
}

// The key of a table made from a bank: banks come and go, their content names it.
inline TableKey bank_key(const char* kind, const Bank& bank, std::int64_t variant = 0) {
  return {kind, static_cast<std::int64_t>(bank.fingerprint.first),
          static_cast<std::int64_t>(bank.fingerprint.second) ^ variant};
}

template <class Runner>
const BandRange* band_ranges(const Bank& bank, Runner& runner) {
  return static_cast<const BandRange*>(runner.table(
      bank_key("band_ranges", bank), static_cast<std::size_t>(bank.bands) * sizeof(BandRange), [&](void* to) {
        BandRange* next = static_cast<BandRange*>(to);
        for (const FilterBank::Band& band : bank.host->band()) {
          *next++ = {static_cast<std::int32_t>(band.first_bin), static_cast<std::int32_t>(band.count)};
        }
      }));
}

template <typename T, class Runner>
BankArgs bank_args(const Bank& bank, Runner& runner) {
  BankArgs args = matrix_args(bank);
  args.ranges = bank.host != nullptr ? band_ranges(bank, runner) : scan_bank<T>(bank, false, runner).bins_of_band;
  return args;
}

inline int real_bins_mode(RealBins bins) {
  switch (bins) {
    case RealBins::kHalf: return kRealHalf;
    case RealBins::kBoth: return kRealBoth;
    case RealBins::kAdjoint: return kRealAdjoint;
  }
  return kRealHalf;
}

// All but the transform, the shape of blocks and the maxima.
template <typename T, class Runner>
ForwardArgs<T> forward_args(const ForwardJob& job, Runner& runner) {
  ForwardArgs<T> args{};
  args.x = signal_args(job.x);
  args.out = grid_args(job.out);
  args.framing = framing_args(job.framing);
  args.reciprocals = make_reciprocals<T>(job.envelope, job.envelope_window, job.framing, runner);
  args.items = job.items;
  args.bins = static_cast<int>(job.epilogue == Epilogue::kBands ? job.power.bank.bins : job.bins);
  args.real_bins = real_bins_mode(job.real_bins);
  args.frames_inner = frames_inner(job.out) ? 1 : 0;
  args.power = power_args<T>(job.power.power);
  if (job.epilogue == Epilogue::kBands) {
    args.bank = bank_args<T>(job.power.bank, runner);
    args.log = log_args<T>(job.power.log, limits_range(job));
  }
  args.lowest = -std::numeric_limits<T>::infinity();
  return args;
}

}  // namespace melisma::gpu
