// Forward jobs whose frames do not fit in shared memory.
#pragma once

#include <algorithm>
#include <cstdint>

#include "blocks/gpu/device_fft.h"
#include "blocks/gpu/forward_args.h"
#include "blocks/gpu/large_forward-kernel.h"
#include "blocks/gpu/limit_range.h"

namespace melisma::gpu {

// Device memory for frames on their way; one frame where that takes more.
inline constexpr std::int64_t kLargeWorkspace = 64 << 20;

template <class Kernel, class Args, class Runner>
void launch_over(std::int64_t tasks, std::int64_t bytes, const Args& args, Runner& runner) {
  runner.template launch<Kernel>(std::min(tasks, runner.template resident_blocks<Kernel>(bytes)), bytes, args);
}

template <typename T, class Runner>
void store_chunk(const ForwardJob& job, LargeForwardArgs<T>& args, Runner& runner) {
  args.tiles = (args.forward.bins + kLargeTile - 1) / kLargeTile;
  const std::int64_t tasks = args.count * args.tiles;
  switch (job.epilogue) {
    case Epilogue::kSpectrum: return launch_over<LargeBins<T, kForwardSpectrum>>(tasks, 0, args, runner);
    case Epilogue::kPower: return launch_over<LargeBins<T, kForwardPower>>(tasks, 0, args, runner);
    case Epilogue::kBands:
      launch_over<LargeBins<T, kForwardBands>>(tasks, 0, args, runner);
      launch_over<LargeBands<T>>(args.count, LargeBands<T>::kSharedBytes, args, runner);
  }
}

template <typename T, class Runner>
void run_large_forward(const ForwardJob& job, Runner& runner) {
  const std::int64_t n = transform_values(job.framing.n_fft, job.complex_input);
  const DeviceFft<T> fft = make_device_fft<T>(n, runner);
  LargeForwardArgs<T> args{};
  args.forward = forward_args<T>(job, runner);
  args.forward.transform = make_frame_tables<T>(job.window, job.framing.n_fft, job.complex_input, runner);
  args.forward.transform.fft = fft.bluestein;
  if (limits_range(job)) {
    args.forward.maxima =
        static_cast<T*>(runner.workspace(static_cast<std::size_t>(job.items * job.framing.frames) * sizeof(T)));
  }
  const std::int64_t frame_bytes = fft.transform * static_cast<std::int64_t>(sizeof(Complex<T>));
  const std::int64_t all = job.items * job.framing.frames;
  const std::int64_t together = std::clamp<std::int64_t>(kLargeWorkspace / (2 * frame_bytes), 1, all);
  const auto buffer = [&] {
    return static_cast<Complex<T>*>(runner.workspace(static_cast<std::size_t>(together * frame_bytes)));
  };
  Complex<T>* const a = buffer();
  Complex<T>* const b = buffer();
  for (args.first = 0; args.first < all; args.first += together) {
    args.count = std::min(together, all - args.first);
    args.values = a;
    args.tiles = (n + kLargeTile - 1) / kLargeTile;
    launch_over<LargeLoad<T>>(args.count * args.tiles, 0, args, runner);
    args.values = device_fft(fft, a, b, args.count, runner);
    args.powers = &(args.values == a ? b : a)->re;
    store_chunk(job, args, runner);
  }
  if (limits_range(job)) limit_range<T>(job, args.forward.maxima, job.framing.frames, runner);
}

}  // namespace melisma::gpu
