// Devices: which there are, what they can, and which one a thread is on.
#include <mutex>
#include <string>

#include "runtime/cuda/runner.h"
#include "runtime/cuda/state.h"

namespace melisma::cuda {
namespace {

using gpu::DeviceError;
using gpu::Failure;

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

template <class Function>
Function* driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  check(cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found),
        "to find the driver's functions");
  if (found != cudaDriverEntryPointSuccess)
    throw DeviceError(Failure::kUnavailable, std::string("the driver has no ") + name);
  return reinterpret_cast<Function*>(function);
}

int attribute(cudaDeviceAttr which, int index) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, index), "to ask for the device's attributes");
  return value;
}

gpu::DeviceInfo read_info(int index) {
  gpu::DeviceInfo info;
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, index), "to ask for the device's properties");
  std::snprintf(info.name, sizeof(info.name), "%s", properties.name);
  info.major = properties.major;
  info.minor = properties.minor;
  info.multiprocessors = properties.multiProcessorCount;
  info.shared_limit = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, index);
  check(cudaRuntimeGetVersion(&info.runtime_version), "to ask for the runtime's version");
  check(cudaDriverGetVersion(&info.driver_version), "to ask for the driver's version");
  if (info.major < kLeastMajor || (info.major == kLeastMajor && info.minor < kLeastMinor)) {
    throw DeviceError(Failure::kUnavailable, std::string(info.name) + " has compute capability " +
                                                 std::to_string(info.major) + "." + std::to_string(info.minor) +
                                                 ", the kernels need " + std::to_string(kLeastMajor) + "." +
                                                 std::to_string(kLeastMinor) + " or later");
  }
  return info;
}

void open(int index, DeviceState& state) {
  const BesideCapture beside;
  state.info = read_info(index);
  void* const before = current_context();
  check(cudaSetDevice(index), "to open the device");
  check(cudaFree(nullptr), "to open the device");  // makes the primary context where none is
  state.context = current_context();
  const cudaError_t made = cudaStreamCreateWithFlags(&state.upload, cudaStreamNonBlocking);
  set_current_context(before);
  check(made, "to make a stream");
}

}  // namespace

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // an error that is not sticky must not come out of the caller's next call
  throw DeviceError(
      error == cudaErrorMemoryAllocation ? Failure::kMemory : Failure::kDevice,
      std::string("CUDA refused ") + what + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")");
}

void* current_context() {
  static auto* const get = driver_function<int(void**)>("cuCtxGetCurrent");
  void* context = nullptr;
  if (get(&context) != 0) throw DeviceError(Failure::kDevice, "the driver does not tell the thread's context");
  return context;
}

void set_current_context(void* context) {
  static auto* const set = driver_function<int(void*)>("cuCtxSetCurrent");
  if (set(context) != 0) throw DeviceError(Failure::kDevice, "the driver does not take the thread's context");
}

DeviceState& device_state(int index) {
  static DeviceState* const states = new DeviceState[kMostDevices];  // never destroyed: tensors may outlive statics
  static std::once_flag opened[kMostDevices];
  if (index < 0 || index >= kMostDevices) {
    throw DeviceError(Failure::kArgument, "device index must be 0 to " + std::to_string(kMostDevices - 1) + ", got " +
                                              std::to_string(index));
  }
  std::call_once(opened[index], [index] { open(index, states[index]); });  // one that throws is tried again
  return states[index];
}

int Devices::count() {
  int driver = 0, runtime = 0, count = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  if (driver == 0) throw DeviceError(Failure::kUnavailable, "no NVIDIA driver is installed");
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorInsufficientDriver) {
    cudaGetLastError();
    throw DeviceError(Failure::kUnavailable, "the NVIDIA driver is too old: it knows CUDA " + version_text(driver) +
                                                 ", the kernels need CUDA " + version_text(runtime));
  }
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
    cudaGetLastError();
    throw DeviceError(Failure::kUnavailable, "no NVIDIA GPU is visible");
  }
  check(error, "to count the devices");
  return count;
}

gpu::DeviceInfo Devices::info(int index) { return read_info(index); }

}  // namespace melisma::cuda
