// What is kept of each device for the life of the process.
#pragma once

#include <cuda_runtime.h>

#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "runtime/gpu/backend.h"
#include "runtime/gpu/runner.h"

namespace melisma::cuda {

struct DeviceState {
  gpu::DeviceInfo info;
  void* context = nullptr;  // the primary one

  std::mutex tables_mutex;
  std::map<std::tuple<std::string_view, std::int64_t, std::int64_t>, void*> tables;
  cudaStream_t upload = nullptr;  // a stream of our own: the caller's is never waited for
};

// Opens it at first use; throws gpu::DeviceError for an index that does not exist or a GPU that is too old.
DeviceState& device_state(int index);

// The driver's current context of this thread; null: none yet.
void* current_context();
void set_current_context(void* context);

// Between construction and destruction this thread may allocate and load kernels though some stream is being captured
// into a graph: none of it touches a captured stream.
class BesideCapture {
 public:
  BesideCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~BesideCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  BesideCapture(const BesideCapture&) = delete;
  BesideCapture& operator=(const BesideCapture&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

}  // namespace melisma::cuda
