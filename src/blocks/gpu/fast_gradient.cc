#include "blocks/gpu/fast_gradient.h"

#include "blocks/gpu/fast_gradient-kernel.h"

namespace melisma::gpu {
namespace {

struct Line {
  int n_fft, a, b, c, r, frames, warps, blocks;
  bool by_rows;
  int floats;  // of shared memory, before the overlap-add's
  int bands;   // whose gradients a frame's memory holds
};
template <int kA, int kB, bool kByRows, int kC, int kR, int kLanes, int kWarps, int kBlocks>
constexpr Line line_of() {
  using Plan = GradientPlan<FastPlan<kA, kB, kByRows>, InversePlan<kC, kR, kLanes, kWarps, kBlocks>>;
  return {Plan::N,
          kA,
          kB,
          kC,
          kR,
          Plan::kGroups,
          kWarps,
          kBlocks,
          kByRows,
          FastGradient<Plan, double>::kSumsAt,
          Plan::kFrameFloats - Plan::kBandsAt - 1};
}
constexpr Line kLines[] = {
#define MELISMA_FAST_LINE(index, ...) line_of<__VA_ARGS__>(),
    MELISMA_FAST_GRADIENT_VARIANTS(MELISMA_FAST_LINE)
#undef MELISMA_FAST_LINE
};
static_assert(sizeof(kLines) / sizeof(kLines[0]) == kFastGradientVariants);

std::string number(std::int64_t value) { return std::to_string(value); }

// What the gradient's bins and bands say against every line.
std::string refuses_rows(const InverseJob& job) {
  const std::int64_t half = job.framing.n_fft / 2, bins = job.bands ? job.power.bank.bins : job.bin_count;
  if (bins != half && bins != half + 1) return number(bins) + " bins";
  return "";
}

bool holds_bands(const Line& line, const InverseJob& job) { return !job.bands || job.power.bank.bands <= line.bands; }

}  // namespace

std::vector<int> fast_gradient_indices(const InverseJob& job, std::int64_t shared_limit) {
  std::vector<int> result;
  for (int i = 0; i < kFastGradientVariants; ++i) {
    const Line& line = kLines[i];
    if (line.n_fft != job.framing.n_fft || !holds_bands(line, job)) continue;
    const std::int64_t hop = job.framing.hop > 0 ? job.framing.hop : 1;
    if (4 * (line.floats + sums_memory(line.n_fft, hop, false, line.frames * line.warps).floats) <= shared_limit)
      result.push_back(i);
  }
  return result;
}

std::string fast_gradient_variant_name(int index) {
  const Line& line = kLines[index];
  std::string name = "warp-fft " + number(line.a) + "x" + number(line.b) + (line.by_rows ? " by rows" : "") +
                     ", back " + number(line.c) + "x" + number(line.r) + ", " + number(line.frames);
  name += line.frames == 1 ? " frame a warp, " : " frames a warp, ";
  return name + number(line.blocks) + (line.blocks == 1 ? " block of " : " blocks of ") + number(line.warps) + " warps";
}

std::vector<std::string> fast_gradient_variants(const InverseJob& job) {
  std::vector<std::string> result;
  for (const int index : fast_gradient_indices(job)) result.push_back(fast_gradient_variant_name(index));
  return result;
}

std::string fast_gradient_refuses(const InverseJob& job, std::int64_t shared_limit) {
  if (job.float64) return "computed in float64";
  for (const Line& line : kLines) {
    if (line.n_fft != job.framing.n_fft) continue;
    if (std::string reason = refuses_rows(job); !reason.empty()) return reason;
    if (std::string reason = overlap_add_refuses(job); !reason.empty()) return reason;
    if (!holds_bands(line, job)) return number(job.power.bank.bands) + " bands";
    if (fast_gradient_indices(job, shared_limit).empty()) {
      return "a block has " + number(shared_limit) + " bytes of shared memory";
    }
    for (const DType dtype : {job.x.dtype, job.spec.dtype}) {
      if (dtype == DType::kFloat64 || is_complex(dtype)) return std::string("tensor of ") + dtype_name(dtype);
    }
    return "";
  }
  return "no plan for n_fft = " + number(job.framing.n_fft);
}

}  // namespace melisma::gpu
