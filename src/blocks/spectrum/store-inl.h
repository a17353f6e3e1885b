// Real results of a batch of frames, one frame per lane, to memory of any strides.

// clang-format off
#if defined(MELISMA_BLOCKS_SPECTRUM_STORE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MELISMA_BLOCKS_SPECTRUM_STORE_INL_H_
#undef MELISMA_BLOCKS_SPECTRUM_STORE_INL_H_
#else
#define MELISMA_BLOCKS_SPECTRUM_STORE_INL_H_
#endif
// clang-format on

#include <cstring>
#include <type_traits>

#include "blocks/fft/lanes_fft-inl.h"
#include "runtime/cpu/highway.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// v: [bins][L]; out points at bin 0 of the batch's first frame.
template <typename C, typename Out>
HWY_INLINE void store_batch(const C* HWY_RESTRICT v, std::int64_t bins, std::int64_t frames, Out* out,
                            std::int64_t bin_stride, std::int64_t frame_stride) {
  constexpr std::int64_t L = lanes<C>();
  if constexpr (std::is_same_v<C, Out>) {
    if (bin_stride == 1) {
      Out* rows[L];
      for (std::int64_t r = 0; r < frames; ++r) rows[r] = out + r * frame_stride;
      return lanes_store(v, bins, rows, frames, L * frame_stride);
    }
    if (frame_stride == 1) {
      for (std::int64_t k = 0; k < bins; ++k) {
        std::memcpy(out + k * bin_stride, v + k * L, static_cast<std::size_t>(frames) * sizeof(Out));
      }
      return;
    }
  }
  for (std::int64_t r = 0; r < frames; ++r) {
    for (std::int64_t k = 0; k < bins; ++k) out[k * bin_stride + r * frame_stride] = static_cast<Out>(v[k * L + r]);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif
