// What launch code asks of a device; implemented by the CUDA runtime and by the emulator. Launch code is a template
// over the runner:
//
//   runner.launch<Kernel>(blocks, shared_bytes, args)     on the call's stream; blocks >= 1
//   runner.resident_blocks<Kernel>(shared_bytes)          blocks that fit on the device at once, for persistent grids
//   runner.table(key, bytes, fill) -> const void*         in device memory for the life of the process: made by
//                                                         fill(void*) on the host at first use on this device, then
//                                                         kept
//   runner.workspace(bytes) -> void*                      uninitialised device memory until the stream has passed the
//                                                         call
//   runner.shared_limit()                                 bytes of shared memory that a block may have
//   runner.float64()                                      whether double kernels exist
//   runner.capturing()                                    whether the stream is being captured into a graph
//   runner.microseconds(f)                                device time of what f() launches on the stream; waits for it
#pragma once

#include <cstdint>

namespace melisma::gpu {

// One table: what it is, for which size and variant.
struct TableKey {
  const char* kind;  // a literal, one for each function that fills tables
  std::int64_t n, variant;
};

}  // namespace melisma::gpu
