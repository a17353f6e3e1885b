// Makes the tables of window_tables-kernel.h in the call's workspace.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "blocks/gpu/framing_args.h"
#include "blocks/gpu/job.h"
#include "blocks/gpu/window_tables-kernel.h"
#include "blocks/overlap_add/envelope.h"

namespace melisma::gpu {

template <typename Wide>
Wide make_wide(double value) {
  if constexpr (std::is_same_v<Wide, double>) {
    return value;
  } else {
    const float high = static_cast<float>(value);
    return {high, std::isfinite(high) ? static_cast<float>(value - static_cast<double>(high)) : 0.0f};
  }
}

// f(Wide()) with the type of sums that the device has for kernels computing in T.
template <typename T, class Runner, class F>
void with_wide([[maybe_unused]] Runner& runner, const F& f) {
  if constexpr (std::is_same_v<T, double>) {
    f(double());
  } else if constexpr (requires { typename std::bool_constant<Runner::float64()>; }) {  // one of the two is compiled
    f(std::conditional_t<Runner::float64(), double, FloatPair>());
  } else if (runner.float64()) {
    f(double());
  } else {
    f(FloatPair());
  }
}

inline WindowArgs window_args(const Window& window, std::int64_t n_fft) {
  return {window.data, window.stride, (n_fft - window.length) / 2, window.length, n_fft, sample_type(window.dtype)};
}

// Blocks of a kernel whose threads take an entry of a table each.
inline std::int64_t table_blocks(std::int64_t entries, std::int64_t threads) {
  return std::clamp<std::int64_t>((entries + threads - 1) / threads, 1, 1024);
}

// [n_fft]: the window times its scale and `factor`, rounded once.
template <typename T, class Runner>
const T* padded_window(const Window& window, std::int64_t n_fft, double factor, Runner& runner) {
  T* const table = static_cast<T*>(runner.workspace(static_cast<std::size_t>(n_fft) * sizeof(T)));
  with_wide<T>(runner, [&]<typename Wide>(Wide) {
    using Kernel = PaddedWindow<T, Wide>;
    const typename Kernel::Args args{window_args(window, n_fft), make_wide<Wide>(window.scale * factor),
                                     window.unit_energy, table};
    runner.template launch<Kernel>(table_blocks(n_fft, Kernel::kThreads), Kernel::kSharedBytes, args);
  });
  return table;
}

// What a sample whose envelope vanishes is multiplied by; scale: of the reciprocals.
template <typename T>
T vanished_reciprocal(EdgePolicy edge, double scale) {
  switch (edge) {
    case EdgePolicy::kError: return std::numeric_limits<T>::quiet_NaN();
    case EdgePolicy::kZero: return T(0);
    case EdgePolicy::kClamp: return static_cast<T>(scale / kSmallestEnvelope);
  }
  return T(0);
}

// The reciprocals with the envelope's scale and the 1 / n_fft of the inverse transform in them; all ones where the
// envelope is not enabled.
template <typename T, class Runner>
Reciprocals<T> make_reciprocals(const EnvelopeJob& envelope, const Window& window, const Framing& framing,
                                Runner& runner) {
  const std::int64_t n = framing.n_fft, hop = framing.hop;
  Reciprocals<T> layout{nullptr, T(0), n, hop, framing.frames, 0, 0, n + hop * (framing.frames - 1)};
  if (!envelope.enabled) return layout;
  const double scale = envelope.scale / static_cast<double>(n);
  layout.vanished = vanished_reciprocal<T>(envelope.edge, scale);
  layout.tail_begin = layout.end;
  if (hop < n) {
    layout.head_end = std::min((n + hop - 1) / hop * hop, layout.end);
    layout.tail_begin = std::min(std::max(layout.head_end, framing.frames * hop), layout.end);
  }
  const std::int64_t count = layout.head_end + std::min(hop, n) + (layout.end - layout.tail_begin);
  T* const table = static_cast<T*>(runner.workspace(static_cast<std::size_t>(count) * sizeof(T)));
  with_wide<T>(runner, [&]<typename Wide>(Wide) {
    using Kernel = ReciprocalTable<T, Wide>;
    const typename Kernel::Args args{
        window_args(window, n), layout, table, count, make_wide<Wide>(scale), make_wide<Wide>(kSmallestEnvelope)};
    runner.template launch<Kernel>(table_blocks(count, Kernel::kThreads), 0, args);
  });
  layout.table = table;
  return layout;
}

}  // namespace melisma::gpu
