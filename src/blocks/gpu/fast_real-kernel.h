// The transform of FastRealPlan: from a lane's real columns to its bins.
#pragma once

#include "blocks/gpu/fast_load-kernel.h"
#include "blocks/gpu/real_fft-kernel.h"

namespace melisma::gpu {

// The window of the lane's columns, where it is kept in registers.
template <class Plan>
struct HeldWindow {
  float values[Plan::kHeld == 0 ? 1 : Plan::kHeld];
};
// The window that stands in `tables` at window_at.
template <class Plan>
MEL_FN void hold_window(MEL_SHARED(const float) tables, int window_at, FastLane lane,
                        MEL_LOCAL HeldWindow<Plan>& held) {
  const int column = Plan::kAllColumns || lane.unit < Plan::kTurns ? lane.unit : 0;
  MEL_UNROLL
  for (int i = 0; i < Plan::kHeld / 4; ++i) {
    const Vec4<float> w = mel_load4(tables + (window_at + 4 * (Plan::kTurns * i + column)));
    held.values[4 * i] = w.x;
    held.values[4 * i + 1] = w.y;
    held.values[4 * i + 2] = w.z;
    held.values[4 * i + 3] = w.w;
  }
}

// Two columns side by side: v, of whose values the windows are four to a vector, two rows of the two.
template <class Plan>
MEL_FN void window_columns(MEL_LOCAL Complex<float> (&v)[Plan::A], MEL_SHARED(const float) window,
                           MEL_LOCAL HeldWindow<Plan>& held, bool from_held) {
  if (Plan::kHeld > 0 && from_held) {
    MEL_UNROLL
    for (int i = 0; i < Plan::A; ++i) {
      const int at = Plan::kHeld > 0 ? 2 * i : 0;
      v[i] = Complex<float>{v[i].re * held.values[at], v[i].im * held.values[at + (Plan::kHeld > 0 ? 1 : 0)]};
    }
  } else {
    window_pairwise(v, window, Plan::B);
  }
}
// One column: four rows to a vector.
template <class Plan>
MEL_FN void window_column(MEL_LOCAL float (&x)[Plan::A], MEL_SHARED(const float) window,
                          MEL_LOCAL HeldWindow<Plan>& held, bool from_held) {
  if (Plan::kHeld > 0 && from_held) {
    MEL_UNROLL
    for (int i = 0; i < Plan::A; ++i) x[i] = x[i] * held.values[Plan::kHeld > 0 ? i : 0];
  } else {
    MEL_UNROLL
    for (int i = 0; i < Plan::A; i += 4) {
      const Vec4<float> w = mel_load4(window + i * Plan::C);
      x[i] = x[i] * w.x;
      x[i + 1] = x[i + 1] * w.y;
      x[i + 2] = x[i + 2] * w.z;
      x[i + 3] = x[i + 3] * w.w;
    }
  }
}

// v: columns 2 column and 2 column + 1, windowed, to their places in `exchange`.
template <class Plan>
MEL_FN void transform_columns(MEL_LOCAL Complex<float> (&v)[Plan::A], MEL_SHARED(const float) steps, int column,
                              bool store, MEL_SHARED(float) exchange) {
  constexpr int H = Plan::A / 2;
  float x[Plan::A];
  Complex<float> even[H], odd[H];
  MEL_UNROLL
  for (int i = 0; i < Plan::A; ++i) x[i] = v[i].re;
  real_dft<Plan::A>(x, even);
  MEL_UNROLL
  for (int i = 0; i < Plan::A; ++i) x[i] = v[i].im;
  real_dft<Plan::A>(x, odd);
  if (!store) return;
  MEL_SHARED(float) packed = exchange + 2 * (Plan::kPacked + column);
  mel_store2(packed, Vec2<float>{even[0].re, odd[0].re});
  mel_store2(packed + Plan::C, Vec2<float>{even[0].im, odd[0].im});
  MEL_UNROLL
  for (int k = 1; k < H; ++k) {
    const Vec4<float> w = mel_load4(steps + 4 * (Plan::B * k + column));
    const Complex<float> a = even[k] * Complex<float>{w.x, w.y}, b = odd[k] * Complex<float>{w.z, w.w};
    mel_store4(exchange + (2 * Plan::kRow * k + 4 * column), Vec4<float>{a.re, a.im, b.re, b.im});
  }
}
// x: column `column`.
template <class Plan>
MEL_FN void transform_single(MEL_LOCAL float (&x)[Plan::A], MEL_SHARED(const float) steps, int column, bool store,
                             MEL_SHARED(float) exchange) {
  constexpr int H = Plan::A / 2;
  Complex<float> v[H];
  real_dft<Plan::A>(x, v);
  if (!store) return;
  exchange[2 * Plan::kPacked + column] = v[0].re;
  exchange[2 * Plan::kPacked + Plan::C + column] = v[0].im;
  MEL_UNROLL
  for (int k = 0; k < H; k += 2) {
    const Vec4<float> w = mel_load4(steps + 2 * (Plan::C * k + 2 * column));
    if (k > 0) {
      const Complex<float> a = v[k] * Complex<float>{w.x, w.y};
      mel_store2(exchange + 2 * (Plan::kRow * k + column), Vec2<float>{a.re, a.im});
    }
    const Complex<float> b = v[k + 1] * Complex<float>{w.z, w.w};
    mel_store2(exchange + 2 * (Plan::kRow * (k + 1) + column), Vec2<float>{b.re, b.im});
  }
}

// The lane's row.
template <class Plan>
MEL_FN void transform_row(MEL_THREAD_ARG t, FastLane lane, MEL_SHARED(const float) exchange,
                          MEL_LOCAL Complex<float> (&v)[Plan::C]) {
  MEL_SHARED(const float) row = exchange + 2 * (lane.unit == 0 ? int(Plan::kPacked) : Plan::kRow * lane.unit);
  MEL_UNROLL
  for (int i = 0; i < Plan::C; i += 2) {
    const Vec4<float> two = mel_load4(row + 2 * i);
    v[i] = Complex<float>{two.x, two.y};
    v[i + 1] = Complex<float>{two.z, two.w};
  }
  t.sync_warp();  // the rows' memory is free
  dft(v);
}

}  // namespace melisma::gpu
