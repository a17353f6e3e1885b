#include <algorithm>

#include "blocks/overlap_add/envelope.h"
#include "ops/istft/cpu.h"
#include "runtime/registry.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/istft/adjoint_cpu.cc"
// clang-format off
#include "runtime/cpu/targets.h"
#include "hwy/foreach_target.h"
#include "runtime/cpu/highway.h"
// clang-format on
#include "blocks/spectrum/transform-inl.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace {

// Frames of the gradient times the envelope's reciprocal, zero outside the samples that there are.
template <typename C>
class NormalisedRows {
 public:
  // covered: samples of the result that frames reach.
  NormalisedRows(const IstftAdjointJob& job, std::int64_t item, const Envelope<C>& envelope, std::int64_t covered)
      : framing_(job.framing),
        rows_(job.grad, item, job.framing),
        envelope_(envelope),
        covered_(covered),
        width_(job.spectrum.complex_input ? 2 : 1) {}

  Ahead ahead(std::int64_t first, std::int64_t count) const { return rows_.ahead(first, count); }

  const C* row(std::int64_t frame, C* scratch) const {
    const std::int64_t start = framing_.start(frame), n_fft = framing_.n_fft;
    const C* from = rows_.row(frame, scratch);
    std::int64_t i = std::clamp<std::int64_t>(-start, 0, n_fft);
    const std::int64_t last = std::clamp<std::int64_t>(covered_ - start, i, n_fft);
    std::fill(scratch, scratch + i * width_, C{0});
    while (i < last) {
      std::int64_t count;
      const C* inverse = envelope_.at(start + i + framing_.offset, &count);
      count = std::min(count, last - i);
      multiply(from + i * width_, inverse, count, scratch + i * width_);
      i += count;
    }
    std::fill(scratch + i * width_, scratch + n_fft * width_, C{0});
    return scratch;
  }

 private:
  void multiply(const C* from, const C* inverse, std::int64_t count, C* to) const {  // from may be to
    const hn::ScalableTag<C> d;
    const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
    std::int64_t i = 0;
    if (width_ == 1) {
      for (; i + lanes <= count; i += lanes)
        hn::StoreU(hn::Mul(hn::LoadU(d, from + i), hn::LoadU(d, inverse + i)), d, to + i);
    }
    for (; i < count; ++i) {
      for (std::int64_t w = 0; w < width_; ++w) to[i * width_ + w] = from[i * width_ + w] * inverse[i];
    }
  }

  const Framing& framing_;
  FrameRows<C> rows_;
  const Envelope<C>& envelope_;
  std::int64_t covered_, width_;
};

void Run(const IstftAdjointJob& job) {
  const Framing& f = job.framing;
  const std::int64_t covered = std::min(f.length, f.start(f.frames - 1) + f.n_fft);
  transform(job.spectrum, [&]<typename C>(C) {
    const Envelope<C> envelope(job.window, f.hop, f.frames, f.offset, f.offset + covered, job.envelope.edge,
                               job.envelope.scale / static_cast<double>(f.n_fft), job.envelope.op);
    return [&job, covered, envelope](std::int64_t item) { return NormalisedRows<C>(job, item, envelope, covered); };
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace melisma {
HWY_EXPORT(Run);

void istft_adjoint_cpu(const IstftAdjointJob& job) {
  count_call("istft_adjoint", "cpu");
  HWY_DYNAMIC_DISPATCH(Run)(job);
}

}  // namespace melisma
#endif
