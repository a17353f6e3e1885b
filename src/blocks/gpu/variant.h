// Which variant of a fast kernel a call runs on: a line of the kernel's tuning table. Forced, else tuned, else timed
// now where autotuning is on, else the default.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "blocks/gpu/job.h"
#include "runtime/gpu/backend.h"

namespace melisma::gpu {

// Jobs of which one variant is the fastest: what a choice is kept for. Plain, and looked up at each call.
struct JobClass {
  std::int32_t n_fft = 0;
  std::uint8_t kernel = 0;   // of kTunedKernels
  std::uint8_t result = 0;   // forward: an Epilogue; inverse: whether divided by the envelope; gradient: GradientOf
  std::uint8_t samples = 0;  // DType
  std::uint8_t samples_strided = 0;  // not next to each other
  std::uint8_t layout = 0;           // of the spectrum
  std::uint8_t hop = 0;
  std::uint8_t overlap = 0;  // n_fft / hop, rounded up, at most 255
  std::uint8_t frames = 0;   // of all items, as a power of two
  DeviceType device_type = DeviceType::kCpu;
  std::uint8_t device = 0;
  std::uint16_t unused = 0;  // the struct is hashed as its bytes

  bool operator==(const JobClass&) const = default;
};
static_assert(sizeof(JobClass) == 16);

JobClass class_of(const ForwardJob& job, Device device);
JobClass class_of(const InverseJob& job, Device device);
// "spectrum, n_fft 1024, hop n_fft/4, float32, frame-major, 2^15 frames": the cache's key of it on one device.
std::string text_of(const JobClass& job);

struct Variant {
  enum class Source : std::uint8_t { kOnly, kDefault, kTuned, kForced };
  int line = -1;
  Source source = Source::kDefault;
  double microseconds = 0.0;  // of kTuned
  bool lasting = true;        // until tuning_generation is another
};

// What was chosen for the class before; nullptr where that is not known. Valid until the thread's next call.
const Variant* remembered_variant(const JobClass& job);
// generation: tuning_generation before the choice was made.
void remember_variant(const JobClass& job, const Variant& variant, std::uint32_t generation);

// A kernel's table.
struct VariantTable {
  const char* kernel;  // of kTunedKernels
  int lines;
  std::string (*name)(int line);
};
const VariantTable& table_of(const JobClass& job);

// What the tuner asks of a call; null where it may not run it.
struct Trial {
  std::function<bool()> capturing;
  // Device microseconds of one run; infinity where the line does not run.
  std::function<double(int line)> time;
};

// lines: those that take the job, the default first. Throws Error for a forced variant that does not exist.
Variant choose_variant(const char* op, const JobClass& job, const std::vector<int>& lines, const DeviceInfo& device,
                       const Trial* trial);

// "the default of 4 variants", for explain.
std::string text_of(const Variant& variant, const JobClass& job, int variants);

}  // namespace melisma::gpu
