// A GPU as the operators see it: a table of functions, from the CUDA kernels' shared object or from the tests'
// emulator. The table crosses a boundary between separately linked files, so it holds plain data, and no exception
// passes.
#pragma once

#include <cstdint>
#include <string>

#include "melisma/queue.h"
#include "melisma/tensor.h"
#include "runtime/gpu/path.h"

namespace melisma::gpu {

struct ForwardJob;
struct InverseJob;
struct WindowJob;
struct ConvForwardJob;
struct ConvBackwardJob;
struct ConvUpdateJob;

// What was asked for: by MELISMA_CUDA_PATH, and by blocks/gpu/variant.h.
struct Choice {
  Path path = Path::kAuto;
  int variant = -1;               // of a fast kernel: a line of its table; the default where that does not take the job
  std::int64_t shared_limit = 0;  // of the device
};

// What a job will run on.
struct Plan {
  bool describe = false;  // asked for: `kernel` is filled in
  bool fast = false;
  bool fallback = false;  // a fast kernel takes this size, but not this call
  int variant = -1;       // the fast kernel's line
  int variants = 0;       // lines that take the job
  char kernel[128] = {};
  char reason[256] = {};  // why not the fast one; "" where that is what runs
};

enum class Failure : std::int32_t {
  kNone,
  kWorkspace,    // the queue's callback threw or gave null
  kMemory,       // the device has none left
  kUnavailable,  // a GPU that the kernels do not run on, or a forced choice that does not take the job
  kArgument,     // a job that the device cannot run
  kDevice,       // anything else that a call of the driver answered
};
struct Status {
  Failure failure = Failure::kNone;
  char message[512] = {};
};

struct DeviceInfo {
  char name[256] = {};
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0;
  std::int32_t runtime_version = 0, driver_version = 0;  // as CUDA counts: 13000 is 13.0
  std::int64_t shared_limit = 0;                         // bytes that a block may have
};

// The library and the shared object must be of one build.
inline constexpr std::uint32_t kBackendInterface = 4;

struct Backend {
  std::uint32_t interface = 0;  // kBackendInterface
  const char* version = nullptr;
  const char* name = nullptr;  // of explain and the counters: a literal
  const char* generic_name = nullptr;

  void (*plan_forward)(const ForwardJob&, const Choice&, Plan*, Status*) = nullptr;
  void (*plan_inverse)(const InverseJob&, const Choice&, Plan*, Status*) = nullptr;
  void (*plan_window)(const WindowJob&, const Choice&, Plan*, Status*) = nullptr;
  // Launches what was planned on the queue's stream and returns. index: of the device.
  void (*forward)(const ForwardJob&, const Plan&, int index, const Queue&, Status*) = nullptr;
  void (*inverse)(const InverseJob&, const Plan&, int index, const Queue&, Status*) = nullptr;
  void (*window)(const WindowJob&, const Plan&, int index, const Queue&, Status*) = nullptr;
  // For the tuner: whether the queue's stream is being captured into a graph, and the microseconds of device time that
  // the launches of run(context) take on it. `time` waits for them; run must not throw.
  void (*capturing)(int index, const Queue&, bool* answer, Status*) = nullptr;
  void (*time)(int index, const Queue&, void (*run)(void* context), void* context, double* microseconds,
               Status*) = nullptr;
  void (*device_count)(int* count, Status*) = nullptr;
  void (*device_info)(int index, DeviceInfo*, Status*) = nullptr;
  // The causal convolution: as plan_forward and forward.
  void (*plan_conv_forward)(const ConvForwardJob&, const Choice&, Plan*, Status*) = nullptr;
  void (*plan_conv_backward)(const ConvBackwardJob&, const Choice&, Plan*, Status*) = nullptr;
  void (*plan_conv_update)(const ConvUpdateJob&, const Choice&, Plan*, Status*) = nullptr;
  void (*conv_forward)(const ConvForwardJob&, const Plan&, int index, const Queue&, Status*) = nullptr;
  void (*conv_backward)(const ConvBackwardJob&, const Plan&, int index, const Queue&, Status*) = nullptr;
  void (*conv_update)(const ConvUpdateJob&, const Plan&, int index, const Queue&, Status*) = nullptr;
};

// The backend of a GPU tensor's device, opened at first use; where it is not there, Error{kUnavailable} naming `op` and
// the reason.
const Backend& gpu_backend(const char* op, Device device);

// Whether CUDA calls can run here: opens the kernels and the driver. text: what the first device is, or why not.
bool cuda_available(std::string* text);

// What kEmulator tensors run on; for tests, at start.
void set_emulator_backend(const Backend* backend);

}  // namespace melisma::gpu
