#include "blocks/overlap_add/inverse.h"

#include <optional>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blocks/overlap_add/inverse.cc"
// clang-format off
#include "runtime/cpu/targets.h"
#include "hwy/foreach_target.h"
#include "runtime/cpu/highway.h"
// clang-format on
#include "blocks/overlap_add/inverse-inl.h"
#include "blocks/overlap_add/overlap_add-inl.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace {

template <typename C>
std::optional<Envelope<C>> make_envelope(const InverseJob& job, std::int64_t frames_end) {
  if (!job.envelope) return std::nullopt;
  const Framing& f = job.framing;
  const std::int64_t last = std::min(f.offset + f.length, f.offset + frames_end);
  return Envelope<C>(job.window, f.hop, f.frames, f.offset, last, job.envelope->edge,
                     job.envelope->scale / static_cast<double>(f.n_fft), job.envelope->op);
}

template <class Inverse>
void run(const InverseJob& job, const Inverse& inverse) {
  using C = typename Inverse::Value;
  using Out = typename Inverse::Stored;
  OverlapAddJob<C> sums{job.framing, inverse.width(), job.window, job.out, nullptr};
  const std::optional<Envelope<C>> envelope = make_envelope<C>(job, sums.frames_end());
  if (envelope) sums.envelope = &*envelope;
  overlap_add<C, Out>(sums, inverse.bytes(),
                      [&](std::int64_t item, std::int64_t t0, std::int64_t t1, Scratch& scratch,
                          OverlapAdd<C, Out>& sum) HWY_ATTR { inverse.run(item, t0, t1, scratch, sum); });
}

void Run(const InverseJob& job) {
  with_inverse(job, [&](const auto& inverse) HWY_ATTR { run(job, inverse); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace melisma {
HWY_EXPORT(Run);

void inverse_overlap_add(const InverseJob& job) { HWY_DYNAMIC_DISPATCH(Run)(job); }

}  // namespace melisma
#endif
