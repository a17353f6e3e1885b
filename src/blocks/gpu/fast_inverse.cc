#include "blocks/gpu/fast_inverse.h"

#include <algorithm>

#include "blocks/gpu/fast_inverse-kernel.h"

namespace melisma::gpu {
namespace {

struct Line {
  int c, r, lanes, warps, blocks, buffers;
  int frames;
  int floats;  // of shared memory, before the window and what follows it
};
template <int kC, int kR, int kLanes, int kWarps, int kBlocks, int kBuffers>
constexpr Line line_of() {
  using Plan = InversePlan<kC, kR, kLanes, kWarps, kBlocks, kBuffers>;
  return {kC, kR, kLanes, kWarps, kBlocks, kBuffers, Plan::kFrames, FastInverse<Plan, double>::kSumsAt};
}
constexpr Line kLines[] = {
#define MELISMA_FAST_LINE(index, ...) line_of<__VA_ARGS__>(),
    MELISMA_FAST_INVERSE_VARIANTS(MELISMA_FAST_LINE)
#undef MELISMA_FAST_LINE
};
static_assert(sizeof(kLines) / sizeof(kLines[0]) == kFastInverseVariants);

// A block takes a hop after the other.
constexpr std::int64_t kMostHop = std::int64_t{1} << 20;
constexpr std::int64_t kMostItems = std::int64_t{1} << 29;
constexpr std::int64_t kMostHops = std::int64_t{1} << 30;  // of an item; they are counted in 32 bits

std::int64_t shared_bytes(const Line& line, const InverseJob& job) {
  const std::int64_t hop = std::max<std::int64_t>(job.framing.hop, 1);
  return 4 * (line.floats + sums_memory(job.framing.n_fft, hop, job.envelope.enabled, line.frames).floats);
}

}  // namespace

SumsMemory sums_memory(std::int64_t n_fft, std::int64_t hop, bool with_envelope, std::int64_t frames) {
  const auto whole = [](std::int64_t floats) { return (floats + 3) / 4 * 4; };
  const std::int64_t after = (n_fft + hop - 1) / hop - 1;  // hops that a frame reaches beyond its own
  const std::int64_t carried = after * hop * (after > frames ? 2 : 1);
  const std::int64_t period = with_envelope && hop <= n_fft ? hop : 0;
  const std::int64_t period_at = n_fft + whole(carried);
  return {n_fft, period_at, period_at + whole(period)};
}

std::vector<int> fast_inverse_indices(const InverseJob& job, std::int64_t shared_limit) {
  std::vector<int> result, last;
  for (int i = 0; i < kFastInverseVariants; ++i) {
    const Line& line = kLines[i];
    if (2 * line.c * line.r != job.framing.n_fft || shared_bytes(line, job) > shared_limit) continue;
    // Two warps a frame win where rows come whole, and lose where they are gathered: half the rows are in flight.
    const bool gathered = line.lanes > 32 && job.spec.bin_stride != 1;
    (gathered ? last : result).push_back(i);
  }
  result.insert(result.end(), last.begin(), last.end());
  return result;
}

std::string fast_inverse_variant_name(int index) {
  const Line& line = kLines[index];
  const int frames = 32 / line.lanes;
  const std::string share = frames == 0   ? "a frame for two warps, "
                            : frames == 1 ? "1 frame a warp, "
                                          : std::to_string(frames) + " frames a warp, ";
  return "warp-ifft " + std::to_string(line.c) + "x" + std::to_string(line.r) + ", " + share +
         std::to_string(line.blocks) + " blocks of " + std::to_string(line.warps) + " warps" +
         (line.buffers > 1 ? ", spectra apart" : "");
}

std::vector<std::string> fast_inverse_variants(const InverseJob& job) {
  std::vector<std::string> result;
  for (const int index : fast_inverse_indices(job)) result.push_back(fast_inverse_variant_name(index));
  return result;
}

std::string overlap_add_refuses(const InverseJob& job) {
  if (job.out.dtype == DType::kFloat64) return std::string("result of ") + dtype_name(job.out.dtype);
  if (job.framing.fractional_hop > 0) return "fractional hop";
  if (job.framing.hop > kMostHop) return "hop_length = " + std::to_string(job.framing.hop);
  const std::int64_t hops = (job.framing.length + 2 * job.framing.offset) / job.framing.hop;
  if (std::max(hops, job.framing.frames) > kMostHops) return std::to_string(hops) + " hops";
  if (job.items > kMostItems) return std::to_string(job.items) + " items";
  return "";
}

std::string fast_inverse_refuses(const InverseJob& job, std::int64_t shared_limit) {
  if (job.float64) return "computed in float64";
  if (job.x.data != nullptr) return "spectrum computed again";
  if (job.bins == BinSet::kAll) return "complex result";
  if (job.bins == BinSet::kFolded) return "two-sided spectrum";
  if (fast_inverse_indices(job).empty()) return "no plan for n_fft = " + std::to_string(job.framing.n_fft);
  if (job.framing.hop <= kMostHop && fast_inverse_indices(job, shared_limit).empty()) {
    return "a block has " + std::to_string(shared_limit) + " bytes of shared memory";
  }
  if (job.spec.dtype != DType::kComplex64) return std::string("spectrum of ") + dtype_name(job.spec.dtype);
  if (job.window.unit_energy) return "window scaled to unit energy";
  return overlap_add_refuses(job);
}

std::string fast_inverse_kernel(const InverseJob& job) {
  return fast_inverse_variant_name(fast_inverse_indices(job)[0]);
}

}  // namespace melisma::gpu
