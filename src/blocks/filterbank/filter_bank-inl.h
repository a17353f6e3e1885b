// A filter bank over a batch of frames, one frame per lane, and its adjoint.

// clang-format off
#if defined(MELISMA_BLOCKS_FILTERBANK_FILTER_BANK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MELISMA_BLOCKS_FILTERBANK_FILTER_BANK_INL_H_
#undef MELISMA_BLOCKS_FILTERBANK_FILTER_BANK_INL_H_
#else
#define MELISMA_BLOCKS_FILTERBANK_FILTER_BANK_INL_H_
#endif
// clang-format on

#include <type_traits>

#include "blocks/fft/lanes_fft-inl.h"
#include "blocks/filterbank/bank_by_bin.h"
#include "melisma/filter_bank.h"
#include "runtime/cpu/highway.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <typename C>
const C* bank_weights(const FilterBank& bank) {
  if constexpr (std::is_same_v<C, float>) {
    return bank.weights_f32().data();
  } else {
    return bank.weights().data();
  }
}

// result[b] = sum_k weight[b][k] v[k] over vectors [bins][L]. Two partial sums hide the latency of the additions.
template <typename C>
HWY_INLINE void apply_bank(const FilterBank& bank, const C* HWY_RESTRICT v, C* HWY_RESTRICT result) {
  const hn::ScalableTag<C> d;
  constexpr std::int64_t L = lanes<C>();
  const C* HWY_RESTRICT all = bank_weights<C>(bank);
  for (const FilterBank::Band& band : bank.band()) {
    const C* HWY_RESTRICT w = all + band.offset;
    const C* HWY_RESTRICT p = v + band.first_bin * L;
    auto even = hn::Zero(d), odd = hn::Zero(d);
    std::int64_t k = 0;
    for (; k + 2 <= band.count; k += 2) {
      even = hn::MulAdd(hn::Set(d, w[k]), hn::Load(d, p + k * L), even);
      odd = hn::MulAdd(hn::Set(d, w[k + 1]), hn::Load(d, p + (k + 1) * L), odd);
    }
    if (k < band.count) even = hn::MulAdd(hn::Set(d, w[k]), hn::Load(d, p + k * L), even);
    hn::Store(hn::Add(even, odd), d, result);
    result += L;
  }
}

// sink(k, sum_b weight[b][k] v[b]) for every bin of the bank; v: [bands][L].
template <typename C, class Sink>
HWY_INLINE void apply_bank_adjoint(const BankByBin<C>& bank, const C* HWY_RESTRICT v, const Sink& sink) {
  const hn::ScalableTag<C> d;
  constexpr std::int64_t L = lanes<C>();
  const std::int64_t bins = static_cast<std::int64_t>(bank.first.size()) - 1;
  const typename BankByBin<C>::Entry* entry = bank.entries.data();
  for (std::int64_t k = 0; k < bins; ++k) {
    auto sum = hn::Zero(d);
    const typename BankByBin<C>::Entry* const end = bank.entries.data() + bank.first[static_cast<std::size_t>(k + 1)];
    for (; entry != end; ++entry) sum = hn::MulAdd(hn::Set(d, entry->weight), hn::Load(d, v + entry->band * L), sum);
    sink(k, sum);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif
