// What a window's kernels read instead of the window: its n_fft values with scale and zeros, and the reciprocals of its
// overlap-added square.
#pragma once

#include "blocks/gpu/framing-kernel.h"
#include "blocks/gpu/wide-kernel.h"

namespace melisma::gpu {

// A window in device memory: values first .. first + length - 1 of n_fft, zeros around.
struct WindowArgs {
  MEL_GLOBAL(const void) data;  // null: ones
  std::int64_t stride, first, length, n_fft;
  int type;
};

template <typename T>
MEL_FN T window_value(MEL_ARGS(WindowArgs) window, std::int64_t i) {
  const std::int64_t at = i - window.first;
  if (at < 0 || at >= window.length) return T(0);
  return window.data == nullptr ? T(1) : load_real<T>(window.data, window.type, at * window.stride);
}

// table[i] = T(window[i] * scale), rounded once; unit_energy: divided by sqrt(sum w^2) too.
template <typename T, typename Wide>
struct PaddedWindow {
  using Part = typename WideParts<Wide>::Part;
  struct Args {
    WindowArgs window;
    Wide scale;
    bool unit_energy;
    MEL_GLOBAL(T) table;
  };
  static constexpr int kThreads = 256;
  static constexpr int kSharedBytes = kThreads * int(sizeof(Wide));

  // Every block computes it, in one order.
  MEL_FN static Wide energy(MEL_THREAD_ARG t, MEL_ARGS(WindowArgs) window, MEL_SHARED(Wide) sums) {
    Wide sum{};
    for (std::int64_t i = t.thread(); i < window.length; i += kThreads) {
      const Part w = window_value<Part>(window, window.first + i);
      sum = wide_fma(w, w, sum);
    }
    return block_sum(t, sum, sums);
  }

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    Wide scale = args.scale;
    if (args.unit_energy) {
      scale = wide_quotient(scale, wide_sqrt(energy(t, args.window, MEL_SHARED_CAST(Wide, shared))));
    }
    for (std::int64_t i = t.block() * kThreads + t.thread(); i < args.window.n_fft; i += t.blocks() * kThreads) {
      args.table[i] = wide_to<T>(wide_product(scale, window_value<Part>(args.window, i)));
    }
  }
};

// The reciprocals of the overlap-added squared window, times a scale. A sample's position q is counted from the start
// of frame 0. Where frames overlap the table is head [0, head_end), one hop of the interior, and tail [tail_begin,
// end); where they do not, the interior alone, n_fft values of each hop.
template <typename T>
struct Reciprocals {
  MEL_GLOBAL(const T) table;  // null: all ones
  T vanished;                 // between frames that do not touch
  std::int64_t n_fft, hop, frames, head_end, tail_begin, end;
};

// 0 beyond the frames' end.
template <typename T>
MEL_FN T reciprocal_at(MEL_ARGS(Reciprocals<T>) r, std::int64_t q) {
  if (r.table == nullptr) return T(1);
  if (q < r.head_end) return r.table[q];
  if (q >= r.end) return T(0);
  const std::int64_t period = r.hop < r.n_fft ? r.hop : r.n_fft;
  if (q >= r.tail_begin) return r.table[r.head_end + period + (q - r.tail_begin)];
  const std::int64_t phase = q % r.hop;
  return phase < period ? r.table[r.head_end + phase] : r.vanished;
}

template <typename T, typename Wide>
struct ReciprocalTable {
  using Part = typename WideParts<Wide>::Part;
  struct Args {
    WindowArgs window;
    Reciprocals<T> layout;
    MEL_GLOBAL(T) table;
    std::int64_t count;
    Wide scale, least;
  };
  static constexpr int kThreads = 256;

  // Frames first .. last, the first one's sample `at` being the one asked for.
  MEL_FN static Wide envelope(MEL_ARGS(Args) args, std::int64_t at, std::int64_t first, std::int64_t last) {
    Wide sum{};
    for (std::int64_t frame = first; frame <= last; ++frame, at -= args.layout.hop) {
      const Part w = window_value<Part>(args.window, at);
      sum = wide_fma(w, w, sum);
    }
    return sum;
  }

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    const std::int64_t n = args.layout.n_fft, hop = args.layout.hop, period = hop < n ? hop : n;
    for (std::int64_t i = t.block() * kThreads + t.thread(); i < args.count; i += t.blocks() * kThreads) {
      const std::int64_t phase = i - args.layout.head_end;
      Wide sum{};
      if (phase >= 0 && phase < period) {
        const std::int64_t overlapping = (n - 1 - phase) / hop;
        sum = envelope(args, phase + overlapping * hop, 0, overlapping);
      } else {
        const std::int64_t q = phase < 0 ? i : args.layout.tail_begin + phase - period;
        const std::int64_t first = q < n ? 0 : (q - n) / hop + 1;
        const std::int64_t last = mel_min(q / hop, args.layout.frames - 1);
        sum = envelope(args, q - first * hop, first, last);
      }
      args.table[i] = wide_above(sum, args.least) ? wide_to<T>(wide_quotient(args.scale, sum)) : args.layout.vanished;
    }
  }
};

}  // namespace melisma::gpu
