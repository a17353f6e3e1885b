#include "blocks/gpu/fast_forward.h"

#include <algorithm>

#include "blocks/gpu/fast_plan-kernel.h"
#include "blocks/gpu/of_last_bank.h"

namespace melisma::gpu {
namespace {

struct Line {
  int a, b;
  FastForm form;
  int warps, blocks;
  std::int64_t frames, values, squares, exchange, packed, fours, table_bytes;  // of the plan
};
template <class Plan>
constexpr Line line_of(FastForm form, int warps, int blocks) {
  return {Plan::A,
          Plan::B,
          form,
          warps,
          blocks,
          Plan::kFrames,
          Plan::M,
          Plan::kSquares,
          Plan::kExchange,
          Plan::kPackedFloats,
          Plan::kFours,
          4 * std::int64_t{Plan::kTableFloats}};
}
constexpr Line kLines[] = {
#define MELISMA_FAST_LINE(index, a, b, form, warps, blocks) \
  line_of<FastVariant<index>::Plan>(FastForm::form, warps, blocks),
    MELISMA_FAST_FORWARD_VARIANTS(MELISMA_FAST_LINE)
#undef MELISMA_FAST_LINE
};
static_assert(sizeof(kLines) / sizeof(kLines[0]) == kFastForwardVariants);

constexpr std::int64_t kMostFastFrames = std::int64_t{1} << 30;  // of an item, counted in 32 bits

std::int64_t rounded_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

FastBands fast_bands_of(const Bank& bank, std::int64_t together) {
  thread_local OfLastBank<FastBands> last[2];
  return last[together % 2].get(bank.fingerprint, [&] { return fast_bands_shape(*bank.host, together); });
}

FastLayout fast_layout(const ForwardJob& job, int index) {
  const Line& line = kLines[index];
  const bool bands = job.epilogue == Epilogue::kBands;
  const std::int64_t row = bands ? job.power.bank.bands : job.bins;
  const std::int64_t value = job.epilogue == Epilogue::kSpectrum ? 8 : 4, aligned = 32 / value;
  const std::int64_t exchange = rounded_up(8 * line.exchange, 16);
  const std::int64_t squares = bands ? rounded_up(4 * line.squares * line.frames, 32) : 0;
  FastLayout layout;
  std::int64_t pitch = rounded_up(row + aligned - 1, aligned), past = 0;
  if (job.out.bin_stride == 1 || row == 1) {
    const bool one_run = job.out.frame_stride == row;
    layout.output = is_half(job.out.dtype) ? kOutputHalves : one_run ? kOutputOneRun : kOutputRows;
    if (one_run) pitch = row;
  } else {
    // so that threads that read a bin of all the block's frames and the bins next to it meet no bank twice
    layout.output = kOutputValues;
    const std::int64_t banks = 128 / value, frames = line.frames * line.warps,
                       from_frame = std::max<std::int64_t>(1, banks / frames);
    pitch = rounded_up(row - from_frame, banks) + from_frame;
    past = rounded_up(value * line.frames * from_frame, 16);
  }
  layout.row_pitch = static_cast<int>(pitch);
  layout.tables_bytes =
      static_cast<int>(rounded_up(line.table_bytes + (job.envelope.enabled ? 8 * line.values : 0), 32));
  layout.rows_at = static_cast<int>(squares);
  const std::int64_t rows = layout.rows_at + value * (pitch * line.frames + aligned - 1);
  const std::int64_t packed_at = rounded_up(std::max(exchange, rows), 16), packed = 4 * line.packed * line.frames;
  layout.packed_at = static_cast<int>(packed_at / 4);
  layout.warp_bytes =
      static_cast<int>(rounded_up((packed > 0 ? packed_at : std::max(exchange, rows)) + packed - past, 128) + past);
  if (bands && job.power.bank.host != nullptr) {
    const std::int64_t bytes = fast_bands_of(job.power.bank, line.fours).bytes();
    const std::int64_t all = layout.tables_bytes + bytes + std::int64_t{line.warps} * layout.warp_bytes;
    if (bytes <= kSharedBankBytes && all <= kFastForwardShared) {
      layout.bank_at = layout.tables_bytes;
      layout.tables_bytes += static_cast<int>(bytes);
    }
  }
  layout.block_bytes = layout.tables_bytes + static_cast<std::int64_t>(line.warps) * layout.warp_bytes;
  return layout;
}

std::vector<int> fast_forward_indices(const ForwardJob& job, std::int64_t shared_limit) {
  struct Ranked {
    int rank, index;
  };
  std::vector<Ranked> found;
  for (int i = 0; i < kFastForwardVariants; ++i) {
    const Line& line = kLines[i];
    if (2 * line.values != job.framing.n_fft) continue;
    const FastLayout layout = fast_layout(job, i);
    if (layout.block_bytes > shared_limit) continue;
    // First those that write enough frames together, and of these, for bands, those of many warps: there is more to
    // wait for and less to write.
    const bool narrow = layout.output == kOutputValues && line.frames * line.warps < kFramesTogether;
    const bool for_bands = job.epilogue == Epilogue::kBands && line.warps >= 16;
    found.push_back({2 * narrow + (for_bands ? 0 : 1), i});
  }
  std::stable_sort(found.begin(), found.end(), [](Ranked a, Ranked b) { return a.rank < b.rank; });
  std::vector<int> result;
  for (const Ranked& line : found) result.push_back(line.index);
  return result;
}

std::string fast_forward_variant_name(int index) {
  const Line& line = kLines[index];
  std::string name = "warp-fft " + std::to_string(line.a) + "x" + std::to_string(line.b) + ", " +
                     std::to_string(line.frames) + (line.frames == 1 ? " frame a warp, " : " frames a warp, ") +
                     std::to_string(line.blocks) + " blocks of " + std::to_string(line.warps) + " warps";
  if (line.form == FastForm::kRows) name += ", a row a lane";
  if (line.form == FastForm::kReal || line.form == FastForm::kRealHeld) name += ", real columns";
  if (line.form == FastForm::kSingle) name += ", a real column a lane";
  if (line.form == FastForm::kRealHeld) name += ", window held";
  return name;
}

std::vector<std::string> fast_forward_variants(const ForwardJob& job) {
  std::vector<std::string> result;
  for (const int index : fast_forward_indices(job)) result.push_back(fast_forward_variant_name(index));
  return result;
}

std::string fast_forward_refuses(const ForwardJob& job, std::int64_t shared_limit) {
  if (job.float64) return "computed in float64";
  if (job.complex_input) return "complex input";
  if (job.framing.length == 0) return "signal without samples";
  if (job.framing.frames > kMostFastFrames) return std::to_string(job.framing.frames) + " frames";
  if (job.epilogue == Epilogue::kSpectrum) {
    if (job.real_bins == RealBins::kBoth) return "two-sided result";
    if (job.out.dtype != DType::kComplex64) return std::string("result of ") + dtype_name(job.out.dtype);
  } else if (job.out.dtype != DType::kFloat32 && !is_half(job.out.dtype)) {
    return std::string("result of ") + dtype_name(job.out.dtype);
  }
  const std::int64_t half = job.framing.n_fft / 2;
  if (job.bins != half && job.bins != half + 1) return std::to_string(job.bins) + " bins";
  for (const Line& line : kLines) {
    if (2 * line.values != job.framing.n_fft) continue;
    return fast_forward_indices(job, shared_limit).empty() ? "too little shared memory" : "";
  }
  return "no plan for n_fft = " + std::to_string(job.framing.n_fft);
}

std::string fast_forward_kernel(const ForwardJob& job) {
  return fast_forward_variant_name(fast_forward_indices(job)[0]);
}

}  // namespace melisma::gpu
