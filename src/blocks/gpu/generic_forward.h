// Runs a ForwardJob of any kind: on chip where a frame's transform fits in shared memory, through device memory beyond.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "blocks/gpu/forward_args.h"
#include "blocks/gpu/frame_transform.h"
#include "blocks/gpu/generic_forward-kernel.h"
#include "blocks/gpu/job.h"
#include "blocks/gpu/large_forward.h"
#include "blocks/gpu/limit_range.h"

namespace melisma::gpu {

// Bluestein's two convolutions lose accuracy that float64 has to spare, so they are computed in it where the device
// can, as on the CPU.
template <class Runner>
bool forward_in_float64(const ForwardJob& job, const Runner& runner) {
  return job.float64 || (runner.float64() && !is_smooth(transform_values(job.framing.n_fft, job.complex_input)));
}

// Shared memory of one block with several frames: more of them keep its threads busy and give whole sectors to results
// whose frames are neighbours, but four blocks should fit on a multiprocessor.
inline constexpr std::int64_t kForwardSharedBytes = 48 << 10;
inline constexpr std::int64_t kForwardFrames = 32;

struct ForwardShape {
  std::int64_t frames;  // a block's
  std::int64_t buffer;  // complex values of each half of shared memory
};

template <typename T>
ForwardShape forward_shape(const ForwardJob& job, std::int64_t frames) {
  const std::int64_t size = block_fft_size<T>(transform_values(job.framing.n_fft, job.complex_input));
  const std::int64_t powers = job.epilogue == Epilogue::kBands ? (job.framing.n_fft / 2 + 1) * (frames | 1) : 0;
  constexpr std::int64_t kAlign = 128 / static_cast<std::int64_t>(sizeof(Complex<T>));
  const std::int64_t values = std::max(frames * size, (powers + 1) / 2);
  return {frames, (values + kAlign - 1) / kAlign * kAlign};
}

template <typename T>
std::int64_t shared_bytes(const ForwardShape& shape) {
  return 2 * shape.buffer * static_cast<std::int64_t>(sizeof(Complex<T>));
}

template <typename T>
bool forward_fits(const ForwardJob& job, std::int64_t shared_limit) {
  return shared_bytes<T>(forward_shape<T>(job, 1)) <= shared_limit;
}

template <typename T>
ForwardShape choose_forward_shape(const ForwardJob& job, std::int64_t shared_limit) {
  ForwardShape shape = forward_shape<T>(job, 1);
  for (std::int64_t frames = 2; frames <= std::min(kForwardFrames, job.framing.frames); ++frames) {
    const ForwardShape larger = forward_shape<T>(job, frames);
    if (shared_bytes<T>(larger) > std::min(kForwardSharedBytes, shared_limit)) break;
    if (frames < 8 || frames % 8 == 0) shape = larger;  // whole sectors
  }
  return shape;
}

template <typename T, int kEpilogue, class Runner>
void launch_forward(const ForwardArgs<T>& args, std::int64_t bytes, Runner& runner) {
  using Kernel = GenericForward<T, kEpilogue>;
  runner.template launch<Kernel>(std::min(args.items * args.groups, runner.template resident_blocks<Kernel>(bytes)),
                                 bytes, args);
}

template <typename T, class Runner>
void run_block_forward(const ForwardJob& job, Runner& runner) {
  const ForwardShape shape = choose_forward_shape<T>(job, runner.shared_limit());
  ForwardArgs<T> args = forward_args<T>(job, runner);
  args.transform = make_frame_transform<T>(job.window, job.framing.n_fft, job.complex_input, runner);
  args.groups = (job.framing.frames + shape.frames - 1) / shape.frames;
  args.group_frames = static_cast<int>(shape.frames);
  args.buffer = static_cast<int>(shape.buffer);
  if (limits_range(job)) {
    args.maxima = static_cast<T*>(runner.workspace(static_cast<std::size_t>(job.items * args.groups) * sizeof(T)));
  }
  const std::int64_t bytes = shared_bytes<T>(shape);
  switch (job.epilogue) {
    case Epilogue::kSpectrum: launch_forward<T, kForwardSpectrum>(args, bytes, runner); break;
    case Epilogue::kPower: launch_forward<T, kForwardPower>(args, bytes, runner); break;
    case Epilogue::kBands: launch_forward<T, kForwardBands>(args, bytes, runner); break;
  }
  if (limits_range(job)) limit_range<T>(job, args.maxima, args.groups, runner);
}

template <typename T, class Runner>
void run_forward_in(const ForwardJob& job, Runner& runner) {
  if (forward_fits<T>(job, runner.shared_limit())) {
    run_block_forward<T>(job, runner);
  } else {
    run_large_forward<T>(job, runner);
  }
}

// The variant, for melisma.explain.
inline std::string generic_forward_kernel(const ForwardJob& job) {
  const std::int64_t n = transform_values(job.framing.n_fft, job.complex_input);
  return std::string("block-fft ") + std::to_string(n) +
         (is_smooth(n) ? "" : " by Bluestein in " + std::to_string(block_transform(n)));
}

template <class Runner>
void run_generic_forward(const ForwardJob& job, Runner& runner) {
  if (job.items == 0 || job.framing.frames == 0) return;
  if (forward_in_float64(job, runner)) {
    run_forward_in<double>(job, runner);
  } else {
    run_forward_in<float>(job, runner);
  }
}

}  // namespace melisma::gpu
