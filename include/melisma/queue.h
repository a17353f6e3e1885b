// Where a GPU runs a call: the last argument of every operator. The CPU does not read it.
#pragma once

#include <cstddef>

namespace melisma {

// No operator waits for the device: the call returns when its kernels are in the stream, and every call can be captured
// in a CUDA graph.
struct Queue {
  void* stream = nullptr;  // a cudaStream_t of the tensors' device; null: its default stream
  // Gives uninitialised device memory, aligned to 256 bytes, which must stay the call's until the stream has passed it.
  // Called on the calling thread, seldom: most calls need no memory beside their tensors. What it throws comes out of
  // the operator. Null: the memory is taken from the device's own pool, in stream order.
  void* (*workspace)(void* context, std::size_t bytes) = nullptr;
  void* context = nullptr;
};

}  // namespace melisma
