#include <algorithm>

#include "ops/stft/cpu.h"
#include "ops/stft/tuning.h"
#include "runtime/parallel.h"
#include "runtime/scratch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/stft/window_gradient_cpu.cc"
// clang-format off
#include "runtime/cpu/targets.h"
#include "hwy/foreach_target.h"
#include "runtime/cpu/highway.h"
// clang-format on
#include "blocks/fft/interleave-inl.h"
#include "blocks/overlap_add/inverse-inl.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace {

HWY_INLINE auto load_wide(const float* from) {
  const hn::ScalableTag<double> d;
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<float, decltype(d)>(), from));
}
HWY_INLINE auto load_wide(const double* from) { return hn::LoadU(hn::ScalableTag<double>(), from); }

// sums[i] += y[i] x[i] in float64.
template <typename C>
HWY_INLINE void add_products(const C* HWY_RESTRICT y, const C* HWY_RESTRICT x, std::int64_t count,
                             double* HWY_RESTRICT sums) {
  const hn::ScalableTag<double> d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    hn::StoreU(hn::MulAdd(load_wide(y + i), load_wide(x + i), hn::LoadU(d, sums + i)), d, sums + i);
  }
  for (; i < count; ++i) sums[i] += static_cast<double>(y[i]) * static_cast<double>(x[i]);
}

// Takes the place of an overlap-add: multiplies frames with the signal's. Complex values count as two real ones, for
// that is the real part of conj(y) x.
template <typename C>
struct ProductSum {
  const FrameRows<C> source;
  std::int64_t values;  // of a frame
  C* copy;              // [values]
  C* frame;             // [values]
  double* sums;         // [values]

  void add(std::int64_t t, const C* y) { add_products(y, source.row(t, copy), values, sums); }
  void add(std::int64_t t, const C* even, const C* odd) {
    const hn::ScalableTag<C> d;
    const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
    for (std::int64_t j = 0; j < values / 2; j += lanes) {
      store_interleaved<false>(d, hn::Load(d, even + j), hn::Load(d, odd + j), frame + 2 * j);
    }
    add(t, frame);
  }
};

template <class Inverse>
void run(const Tensor& x, const InverseJob& job, const Inverse& inverse, std::vector<double>& sums) {
  using C = typename Inverse::Value;
  using stft_tuning::kFramesPerSum;
  const std::int64_t frames = job.framing.frames, values = job.framing.n_fft * inverse.width();
  const std::int64_t per_item = (frames + kFramesPerSum - 1) / kFramesPerSum;
  const std::int64_t blocks = item_count(x.shape, 1) * per_item;
  const std::int64_t parts = std::min(blocks, stft_tuning::kMostSums);
  const std::size_t row = static_cast<std::size_t>(values);
  std::vector<double> partial(static_cast<std::size_t>(parts) * row);
  parallel_for(parts, [&](std::int64_t part) HWY_ATTR {
    double* sum = partial.data() + part * values;
    const std::int64_t each = blocks / parts, more = blocks % parts;  // the first `more` parts take a block more
    const std::int64_t first_block = part * each + std::min(part, more), count = each + (part < more ? 1 : 0);
    for (std::int64_t block = first_block; block < first_block + count; ++block) {
      const std::int64_t item = block / per_item, first = block % per_item * kFramesPerSum;
      Scratch scratch(inverse.bytes() + 2 * scratch_bytes<C>(row));
      C* copy = scratch.take<C>(row);
      C* frame = scratch.take<C>(row);
      ProductSum<C> products{FrameRows<C>(x, item, job.framing), values, copy, frame, sum};
      inverse.run(item, first, std::min(first + kFramesPerSum, frames) - 1, scratch, products);
    }
  });
  for (std::int64_t part = 0; part < parts; ++part) {
    for (std::int64_t i = 0; i < values; ++i) {
      sums[static_cast<std::size_t>(i / inverse.width())] += partial[static_cast<std::size_t>(part * values + i)];
    }
  }
}

void Run(const Tensor& x, const InverseJob& job, std::vector<double>& sums) {
  with_inverse(job, [&](const auto& inverse) HWY_ATTR { run(x, job, inverse, sums); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace melisma {
HWY_EXPORT(Run);

void stft_window_gradient_cpu(const Tensor& x, const InverseJob& job, std::vector<double>& sums) {
  HWY_DYNAMIC_DISPATCH(Run)(x, job, sums);
}

}  // namespace melisma
#endif
