#include "testing/emulator_backend.h"

#include <cstdio>

#include "blocks/gpu/backend_table.h"
#include "melisma/runtime.h"

namespace melisma::testing {
namespace {

struct EmulatedDevices {
  static constexpr const char* kName = "emulator";
  static constexpr const char* kGenericName = "emulator generic";
  static emulator::Runner open(int /*index*/, const Queue& queue) {
    if (queue.workspace == nullptr) return emulator::Runner(emulator_options());
    return emulator::Runner(emulator_options(), [&queue](std::size_t bytes) {
      void* const memory = queue.workspace(queue.context, bytes);
      if (memory == nullptr) throw gpu::DeviceError(gpu::Failure::kWorkspace, "the queue's workspace gave no memory");
      return memory;
    });
  }
  static int count() { return 1; }
  static gpu::DeviceInfo info(int /*index*/) {
    gpu::DeviceInfo info;
    std::snprintf(info.name, sizeof(info.name), "emulator");
    info.shared_limit = emulator_options().shared_limit;
    return info;
  }
};

[[maybe_unused]] const bool registered = [] {
  static const gpu::Backend backend = gpu::BackendTable<EmulatedDevices>::make(version());
  gpu::set_emulator_backend(&backend);
  return true;
}();

}  // namespace

emulator::Options& emulator_options() {
  static emulator::Options options;
  return options;
}

}  // namespace melisma::testing
