// How the gradients are cut into pieces, and how the pieces' sums become the gradients of weight and bias.

// clang-format off
#if defined(MELISMA_OPS_CAUSAL_CONV1D_GRADIENT_PIECES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MELISMA_OPS_CAUSAL_CONV1D_GRADIENT_PIECES_INL_H_
#undef MELISMA_OPS_CAUSAL_CONV1D_GRADIENT_PIECES_INL_H_
#else
#define MELISMA_OPS_CAUSAL_CONV1D_GRADIENT_PIECES_INL_H_
#endif
// clang-format on

#include <vector>

#include "ops/causal_conv1d/taps-inl.h"
#include "ops/causal_conv1d/tuning.h"
#include "runtime/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

struct GradientJob {
  const ConvJob& conv;
  const Tensor& grad_out;
  const Tensor* grad_final_states;
  const CausalConv1dGradients& gradients;
  bool sums_wanted() const { return gradients.weight != nullptr || gradients.bias != nullptr; }
};

// Pieces whose products are added up one after the other. A long sequence has many groups, and many short ones share
// one.
using GradientGroup = std::vector<StepTask>;

inline std::vector<GradientGroup> gradient_groups(const ConvCall& call) {
  constexpr std::int64_t kPiece = causal_conv1d_tuning::kGradientPiece;
  std::vector<GradientGroup> groups;
  std::int64_t in_last = kPiece;
  const auto add = [&](const StepTask& task) {
    if (in_last >= kPiece) {
      groups.emplace_back();
      in_last = 0;
    }
    groups.back().push_back(task);
    in_last += std::max<std::int64_t>(task.count, 1);  // an empty one has the gradient of its state
  };
  for (const ConvSequence& sequence : call.sequences) {
    std::int64_t first = 0;
    do {
      const std::int64_t count = std::min(kPiece, sequence.length - first);
      add({&sequence, first, count});
      first += count;
    } while (first < sequence.length);
  }
  return groups;
}

// W + 1 sums of each group and channel: of the weight's gradient, and of the bias's.
template <typename C>
class PartialSums {
 public:
  PartialSums(const ConvCall& call, std::int64_t groups, bool wanted)
      : channels_(call.channels), taps_(call.taps), groups_(groups), wanted_(wanted) {
    if (wanted) values_.resize(static_cast<std::size_t>(groups * channels_ * (taps_ + 1)));
  }
  bool wanted() const { return wanted_; }
  C* at(std::int64_t group, std::int64_t d) { return values_.data() + (group * channels_ + d) * (taps_ + 1); }

  // Adds the groups in their order, in float64.
  void store(const CausalConv1dGradients& gradients) {
    if (!wanted_) return;
    constexpr std::int64_t kBlock = 256;
    parallel_for((channels_ + kBlock - 1) / kBlock, [&](std::int64_t block) HWY_ATTR {
      const std::int64_t d0 = block * kBlock, channels = std::min(kBlock, channels_ - d0), row = taps_ + 1;
      std::vector<double> total(static_cast<std::size_t>(channels * row));
      for (std::int64_t group = 0; group < groups_; ++group) {
        const C* from = at(group, d0);
        for (std::int64_t i = 0; i < channels * row; ++i)
          total[static_cast<std::size_t>(i)] += static_cast<double>(from[i]);
      }
      for (std::int64_t c = 0; c < channels; ++c) {
        const double* sums = total.data() + c * row;
        if (gradients.weight != nullptr) {
          const Tensor& to = *gradients.weight;
          scatter_to(sums, to, (d0 + c) * to.stride(0), to.stride(1), taps_);
        }
        if (gradients.bias != nullptr)
          scatter_to(sums + taps_, *gradients.bias, (d0 + c) * gradients.bias->stride(0), 1, 1);
      }
    });
  }

 private:
  std::int64_t channels_, taps_, groups_;
  bool wanted_;
  std::vector<C> values_;
};

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
