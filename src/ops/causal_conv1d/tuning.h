// Constants of the causal convolution on the CPU, each with its reason.
#pragma once

#include <cstdint>

namespace melisma::causal_conv1d_tuning {

// Bytes of a result from which on it is written past the caches: more than most last-level caches keep of it beside x.
// 4 x 2048 x 2048 float32 took 1.3 instead of 1.65 times as long as its copy.
inline constexpr std::int64_t kLeastStreamed = std::int64_t{32} << 20;

// --- rows: time is contiguous ----------------------------------------------------------------------------------------
// Outputs between two looks at what has to be staged: with the taps, 4 KB that stay in L1.
inline constexpr std::int64_t kRowStrip = 512;
// Outputs of a row that are one task, so that one long row still spreads over threads; shorter rows share a task of as
// many outputs, 64 KB of float32.
inline constexpr std::int64_t kRowTask = 16384;

// --- channels: channels are contiguous -------------------------------------------------------------------------------
// Steps that are computed together: their taps are read once, and eight results and eleven taps fit into 32 registers.
inline constexpr std::int64_t kChannelSteps = 8;
// Channels and steps of a task: rows of 4 KB are what the prefetchers follow, and 64 of them are 256 KB.
inline constexpr std::int64_t kChannelBlock = 1024;
inline constexpr std::int64_t kChannelTaskSteps = 64;

// --- gradients -------------------------------------------------------------------------------------------------------
// Outputs whose products are added to one partial sum of a weight's gradient. A property of the result: the order of
// the additions, so of its bits.
inline constexpr std::int64_t kGradientPiece = 1024;

// Bytes of a step's channels that are gathered together where memory holds them side by side: a cache line. With half
// of one, bfloat16 took 1.7 times as long; with two, 1.1 to 1.9 times.
inline constexpr std::int64_t kGradientLine = 64;

// Steps that are asked for ahead of a gather by columns, which the hardware's prefetchers do not follow over pages: 43
// instead of 55 ms for the gradients of 4 x 2048 x 2048 float32, channel-last.
inline constexpr std::int64_t kGatherAhead = 24;

// --- update ----------------------------------------------------------------------------------------------------------
// Channels whose taps are staged together: with 4 taps 4 KB.
inline constexpr std::int64_t kUpdateBlock = 256;

}  // namespace melisma::causal_conv1d_tuning
