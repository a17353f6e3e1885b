#include "runtime/gpu/backend.h"

#include <dlfcn.h>

#include <atomic>
#include <string>

#include "melisma/error.h"
#include "melisma/runtime.h"
#include "runtime/check.h"
#include "runtime/options.h"

namespace melisma::gpu {
namespace {

constexpr const char* kLibrary = "libmelisma_cuda.so";
constexpr const char* kEntry = "melisma_cuda_backend";

struct Opened {
  const Backend* backend = nullptr;
  std::string text;  // why there is none, or the first device
};

std::string folder_of_this_library() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&folder_of_this_library), &info) == 0 || info.dli_fname == nullptr)
    return "";
  const std::string path = info.dli_fname;
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

std::string describe(const DeviceInfo& info, int count) {
  std::string text =
      std::string(info.name) + ", compute capability " + std::to_string(info.major) + "." + std::to_string(info.minor);
  if (count > 1) text += ", " + std::to_string(count) + " devices";
  return text;
}

// Opens the shared object and the driver; whatever fails is a reason, never an exception.
Opened open_cuda() {
  if (!options().cuda) return {nullptr, "MELISMA_CUDA=0 turns it off"};
  const std::string beside = folder_of_this_library() + kLibrary;
  void* library = dlopen(beside.c_str(), RTLD_NOW | RTLD_LOCAL);
  std::string failed = library == nullptr ? dlerror() : "";
  // A program that links libmelisma statically may have the kernels where the loader looks for libraries.
  if (library == nullptr) library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return {nullptr, "the CUDA kernels could not be opened: " + failed};

  using Entry = const Backend* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(library, kEntry));
  if (entry == nullptr) return {nullptr, std::string(kLibrary) + " has no " + kEntry + ": it is of another version"};
  const Backend* backend = entry();
  if (backend->interface != kBackendInterface || std::string(backend->version) != version()) {
    return {nullptr, std::string(kLibrary) + " is of another version than the library's " + version()};
  }
  Status status;
  int count = 0;
  backend->device_count(&count, &status);
  if (status.failure != Failure::kNone) return {nullptr, status.message};
  DeviceInfo info;
  backend->device_info(0, &info, &status);
  if (status.failure != Failure::kNone) return {nullptr, status.message};
  return {backend, describe(info, count)};
}

const Opened& cuda() {
  static const Opened once = open_cuda();
  return once;
}

std::atomic<const Backend*> emulator{nullptr};

}  // namespace

bool cuda_available(std::string* text) {
  *text = cuda().text;
  return cuda().backend != nullptr;
}

void set_emulator_backend(const Backend* backend) { emulator.store(backend); }

const Backend& gpu_backend(const char* op, Device device) {
  const Backend* backend = nullptr;
  std::string reason;
  if (device.type == DeviceType::kCuda) {
    backend = cuda().backend;
    if (backend == nullptr) reason = cuda().text;
  } else {
    backend = emulator.load();
    reason = "no emulator is registered";
  }
  if (backend == nullptr) {
    throw Error(ErrorKind::kUnavailable,
                std::string(op) + ": input is on " + to_string(device) + ", which cannot compute here: " + reason);
  }
  return *backend;
}

}  // namespace melisma::gpu
