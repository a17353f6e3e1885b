#include "blocks/gpu/variant.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <unordered_map>

#include "blocks/gpu/fast_forward.h"
#include "blocks/gpu/fast_gradient.h"
#include "blocks/gpu/fast_inverse.h"
#include "melisma/error.h"
#include "melisma/runtime.h"
#include "runtime/tuning/forced_variant.h"
#include "runtime/options.h"
#include "runtime/tuning/tuned.h"

namespace melisma::gpu {
namespace {

enum Hop : std::uint8_t { kDivides, kEven, kOdd, kFractional };
enum Kernel : std::uint8_t { kForward, kInverse, kGradient };  // places in kTunedKernels
enum GradientOf : std::uint8_t { kOfPowers, kOfBands, kOfLogarithms };
enum SpectrumLayout : std::uint8_t { kOneRun, kFrameMajor, kFrequencyMajor, kApart };

std::uint8_t layout_of(const Grid& grid, std::int64_t rows) {
  if (grid.bin_stride == 1 || rows == 1) return grid.frame_stride == rows ? kOneRun : kFrameMajor;
  return grid.frame_stride == 1 ? kFrequencyMajor : kApart;
}

JobClass class_of(const Framing& framing, std::int64_t items, const Signal& samples, Device device) {
  constexpr std::int64_t kMostOverlap = 255;
  JobClass job;
  job.n_fft = static_cast<std::int32_t>(framing.n_fft);
  job.samples = static_cast<std::uint8_t>(samples.dtype);
  job.samples_strided = samples.stride == 1 ? 0 : 1;
  const bool fractional = framing.fractional_hop > 0;
  const std::int64_t hop =
      std::max<std::int64_t>(fractional ? static_cast<std::int64_t>(framing.fractional_hop) : framing.hop, 1);
  job.overlap = static_cast<std::uint8_t>(std::min((framing.n_fft + hop - 1) / hop, kMostOverlap));
  job.hop = fractional ? kFractional : framing.n_fft % hop == 0 ? kDivides : hop % 2 == 0 ? kEven : kOdd;
  const auto frames = static_cast<std::uint64_t>(std::max<std::int64_t>(items * framing.frames, 1));
  job.frames = static_cast<std::uint8_t>(std::bit_width(frames) - 1);
  job.device_type = device.type;
  job.device = static_cast<std::uint8_t>(device.index);
  return job;
}

std::uint64_t hash(const JobClass& job) {
  const auto words = std::bit_cast<std::array<std::uint64_t, 2>>(job);
  const std::uint64_t mixed = (words[0] ^ std::rotl(words[1], 29)) * 0x9E3779B97F4A7C15u;
  return mixed ^ mixed >> 32;
}
struct Hash {
  std::size_t operator()(const JobClass& job) const { return hash(job); }
};

// A thread's own last choices before those of all threads, so that the usual look-up takes no lock.
struct Remembered {
  JobClass job;
  std::uint32_t generation = 0;
  Variant variant;
};
constexpr std::size_t kRemembered = 64;
thread_local std::array<Remembered, kRemembered> last_variants;

struct Shared {
  std::mutex mutex;
  std::uint32_t generation = 0;
  std::unordered_map<JobClass, Variant, Hash> variants;
};
Shared& shared() {
  static auto* const kept = new Shared;
  return *kept;
}

// The version of the kernel's module, which tells drivers of one CUDA version apart.
std::string driver_text(const DeviceInfo& device) {
  static const std::string module = [] {
    std::string text;
    std::ifstream in("/sys/module/nvidia/version");
    std::getline(in, text);
    return text;
  }();
  if (device.driver_version == 0) return "";
  if (!module.empty()) return ", driver " + module;
  return ", driver for CUDA " + std::to_string(device.driver_version / 1000) + "." +
         std::to_string(device.driver_version % 1000 / 10);
}

std::string device_text(const DeviceInfo& device) {
  return device.name + driver_text(device) + ", melisma " + version();
}

std::string listed(const VariantTable& table, const std::vector<int>& lines) {
  std::string text;
  for (std::size_t place = 0; place < lines.size(); ++place) {
    text += (place == 0 ? "" : ", ") + std::to_string(place) + " '" + table.name(lines[place]) + "'";
  }
  return text;
}

// A forced variant's line; -1: none is forced, or one of another size.
int forced_line(const char* op, const VariantTable& table, const JobClass& job, const std::vector<int>& lines) {
  const ForcedVariant forced = forced_variant(table.kernel);
  if (forced.variant.empty()) return -1;
  for (const int line : lines) {
    if (table.name(line) == forced.variant) return line;
  }
  for (int line = 0; line < table.lines; ++line) {
    if (table.name(line) == forced.variant) return -1;
  }
  std::size_t place = 0;
  const char* const end = forced.variant.data() + forced.variant.size();
  const auto parsed = std::from_chars(forced.variant.data(), end, place);
  if (parsed.ec == std::errc() && parsed.ptr == end && place < lines.size()) return lines[place];
  throw Error(ErrorKind::kInvalidArgument, std::string(op) + ": " + forced.by + " for " + table.kernel +
                                               " of n_fft = " + std::to_string(job.n_fft) + " must be one of " +
                                               listed(table, lines) + ", got '" + forced.variant + "'");
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Times every line; kOnly where none of them runs. The default stays where nothing is clearly faster.
Variant tune(const std::vector<int>& lines, const Trial& trial) {
  constexpr int kRounds = 5;
  constexpr double kClearly = 0.99;
  std::vector<std::vector<double>> times(lines.size());
  for (const int line : lines) trial.time(line);   // loads the kernel and its tables
  for (int round = 0; round < kRounds; ++round) {  // in turn: the clock of a device changes as it warms up
    for (std::size_t i = 0; i < lines.size(); ++i) times[i].push_back(trial.time(lines[i]));
  }
  Variant best{lines[0], Variant::Source::kTuned, median(times[0])};
  double least = kClearly * best.microseconds;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const double time = median(times[i]);
    if (!(time < least)) continue;
    least = time;
    best = {lines[i], Variant::Source::kTuned, time};
  }
  return best;
}

}  // namespace

JobClass class_of(const ForwardJob& job, Device device) {
  JobClass result = class_of(job.framing, job.items, job.x, device);
  result.result = static_cast<std::uint8_t>(job.epilogue);
  result.layout = layout_of(job.out, job.epilogue == Epilogue::kBands ? job.power.bank.bands : job.bins);
  return result;
}

JobClass class_of(const InverseJob& job, Device device) {
  JobClass result = class_of(job.framing, job.items, job.out, device);
  if (job.x.data != nullptr) {
    result.kernel = kGradient;
    result.result = !job.bands ? kOfPowers : job.power.log.enabled ? kOfLogarithms : kOfBands;
    result.layout = layout_of(job.spec, job.bands ? job.power.bank.bands : job.bin_count);
    return result;
  }
  result.kernel = kInverse;
  result.result = job.envelope.enabled ? 1 : 0;
  result.layout = layout_of(job.spec, job.framing.n_fft / 2 + (job.bins == BinSet::kNoNyquist ? 0 : 1));
  return result;
}

std::string text_of(const JobClass& job) {
  static constexpr const char* kOfForward[] = {"spectrum", "power", "bands"};
  static constexpr const char* kOfInverse[] = {"stft adjoint", "istft"};
  static constexpr const char* kOfGradient[] = {"power backward", "bands backward", "log bands backward"};
  static constexpr const char* const* kResults[] = {kOfForward, kOfInverse, kOfGradient};
  static constexpr const char* kHops[] = {"", ", even", ", odd", ", fractional"};
  static constexpr const char* kLayouts[] = {"frame-major", "frame-major rows", "frequency-major", "bins apart"};
  return std::string(kResults[job.kernel][job.result]) + ", n_fft " + std::to_string(job.n_fft) +
         (job.hop == kDivides ? ", hop n_fft/" : ", hop above n_fft/") + std::to_string(job.overlap) + kHops[job.hop] +
         ", " + dtype_name(static_cast<DType>(job.samples)) + (job.samples_strided != 0 ? " strided, " : ", ") +
         kLayouts[job.layout] + ", 2^" + std::to_string(job.frames) + " frames";
}

const Variant* remembered_variant(const JobClass& job) {
  const std::uint32_t generation = tuning_generation.load(std::memory_order_acquire);
  Remembered& last = last_variants[hash(job) % kRemembered];
  if (last.generation == generation && last.job == job) return &last.variant;
  const std::lock_guard lock(shared().mutex);
  if (shared().generation != generation) return nullptr;
  const auto found = shared().variants.find(job);
  if (found == shared().variants.end()) return nullptr;
  last = {job, generation, found->second};
  return &last.variant;
}

void remember_variant(const JobClass& job, const Variant& variant, std::uint32_t generation) {
  if (!variant.lasting || generation != tuning_generation.load(std::memory_order_acquire)) return;
  const std::lock_guard lock(shared().mutex);
  if (shared().generation != generation) shared().variants.clear();
  shared().generation = generation;
  shared().variants.insert_or_assign(job, variant);
}

const VariantTable& table_of(const JobClass& job) {
  static constexpr VariantTable kTables[] = {
      {kTunedKernels[0], kFastForwardVariants, fast_forward_variant_name},
      {kTunedKernels[1], kFastInverseVariants, fast_inverse_variant_name},
      {kTunedKernels[2], kFastGradientVariants, fast_gradient_variant_name},
  };
  return kTables[job.kernel];
}

Variant choose_variant(const char* op, const JobClass& job, const std::vector<int>& lines, const DeviceInfo& device,
                       const Trial* trial) {
  using Source = Variant::Source;
  const VariantTable& table = table_of(job);
  if (const int line = forced_line(op, table, job, lines); line >= 0) return {line, Source::kForced};
  if (lines.size() == 1) return {lines[0], Source::kOnly};

  const std::string key = device_text(device), text = text_of(job);
  const auto tuned = [&]() -> Variant {
    const std::optional<TunedChoice> found = find_tuned(key, table.kernel, text);
    if (!found) return {};
    for (const int line : lines) {
      if (table.name(line) == found->variant) return {line, Source::kTuned, found->microseconds};
    }
    return {};
  };
  if (const Variant found = tuned(); found.line >= 0) return found;
  Variant chosen{lines[0], Source::kDefault};
  if (!autotune()) return chosen;

  // Not waited for: another thread's tuning disturbs this one's, and may itself wait for a lock that this thread holds.
  static std::mutex one_at_a_time;
  chosen.lasting = false;
  const std::unique_lock lock(one_at_a_time, std::try_to_lock);
  if (trial == nullptr || !lock.owns_lock() || trial->capturing()) return chosen;
  if (const Variant found = tuned(); found.line >= 0) return found;
  const Variant best = tune(lines, *trial);
  if (!std::isfinite(best.microseconds) || best.microseconds <= 0) return chosen;  // none ran, or nothing was to do
  store_tuned(key, table.kernel, text, {table.name(best.line), best.microseconds});
  return best;
}

std::string text_of(const Variant& variant, const JobClass& job, int variants) {
  const std::string of_all = std::to_string(variants) + " variants";
  switch (variant.source) {
    case Variant::Source::kOnly: return "the only variant";
    case Variant::Source::kDefault: return "the default of " + of_all;
    case Variant::Source::kForced: return std::string("forced by ") + forced_variant(table_of(job).kernel).by;
    case Variant::Source::kTuned: {
      char text[32];
      std::snprintf(text, sizeof(text), "tuned: %.4g us, ", variant.microseconds);
      return text + ("the fastest of " + of_all);
    }
  }
  return "";
}

}  // namespace melisma::gpu
