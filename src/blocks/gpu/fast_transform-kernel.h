// The transform inside the fast forward kernels: from the sample pairs of a lane's columns to its bins.
#pragma once

#include "blocks/gpu/fast_plan-kernel.h"
#include "blocks/gpu/register_fft-kernel.h"

namespace melisma::gpu {

// What a lane works on: frame `frame` of the warp's, lane `unit` of that frame's.
struct FastLane {
  int frame, unit;
  bool active;
};
// Eight lanes that follow each other take eight columns of one frame: their 16-byte reads of tables meet no bank twice.
// Where a frame's lanes are not a multiple of eight, the rest of every frame's comes behind.
template <class Plan>
MEL_FN FastLane fast_lane(MEL_THREAD_ARG t) {
  constexpr int kEights = Plan::kLanes / 8, kRest = Plan::kLanes % 8, kFirst = 8 * kEights * Plan::kFrames;
  const int lane = t.lane();
  if (kRest == 0 || kEights == 0) {
    const int frame = lane / Plan::kLanes;
    const bool active = Plan::kAllLanes || frame < Plan::kFrames;
    return FastLane{active ? frame : 0, lane % Plan::kLanes, active};
  }
  if (lane < kFirst) return FastLane{lane / 8 % Plan::kFrames, lane / 8 / Plan::kFrames * 8 + lane % 8, true};
  constexpr int kDivisor = kRest == 0 ? 1 : kRest;
  const int frame = (lane - kFirst) / kDivisor;
  const bool active = Plan::kAllLanes || frame < Plan::kFrames;
  return FastLane{active ? frame : 0, 8 * kEights + (lane - kFirst) % kDivisor, active};
}

// That of a frame's lane 0.
template <class Plan>
MEL_FN int first_lane(int frame) {
  return frame * (Plan::kLanes % 8 == 0 || Plan::kLanes < 8 ? int(Plan::kLanes) : 8);
}

// Values 2 i and 2 i + 1 of `table`, [i / 2][of_row] of two complex values.
template <int kCount>
MEL_FN void multiply_pairwise(MEL_LOCAL Complex<float> (&v)[kCount], MEL_SHARED(const float) table, int of_row) {
  MEL_UNROLL
  for (int i = 0; i < kCount; i += 2) {
    const Vec4<float> w = mel_load4(table + 2 * i * of_row);
    if (i > 0) v[i] = v[i] * Complex<float>{w.x, w.y};  // the first factor is 1
    v[i + 1] = v[i + 1] * Complex<float>{w.z, w.w};
  }
}
template <int kCount>
MEL_FN void window_pairwise(MEL_LOCAL Complex<float> (&v)[kCount], MEL_SHARED(const float) table, int of_row) {
  MEL_UNROLL
  for (int i = 0; i < kCount; i += 2) {
    const Vec4<float> w = mel_load4(table + 2 * i * of_row);
    v[i] = Complex<float>{v[i].re * w.x, v[i].im * w.y};
    v[i + 1] = Complex<float>{v[i + 1].re * w.z, v[i + 1].im * w.w};
  }
}

// v: column `column` of the frame, not yet windowed. The window stands in `tables` at `window_at`.
template <class Plan>
MEL_FN void transform_column(MEL_LOCAL Complex<float> (&v)[Plan::A], MEL_SHARED(const float) tables, int window_at,
                             int column) {
  window_pairwise(v, tables + (window_at + 4 * column), Plan::B);
  dft(v);
  multiply_pairwise(v, tables + (Plan::N + 4 * column), Plan::B);
}

template <class Plan>
MEL_FN void read_row(MEL_LOCAL Complex<float> (&v)[Plan::B], MEL_SHARED(const float) row) {
  MEL_UNROLL
  for (int i = 0; i + 1 < Plan::B; i += 2) {
    const Vec4<float> two = mel_load4(row + 2 * i);
    v[i] = Complex<float>{two.x, two.y};
    v[i + 1] = Complex<float>{two.z, two.w};
  }
  if (Plan::B % 2 == 1) {
    const Vec2<float> one = mel_load2(row + 2 * (Plan::B - 1));
    v[Plan::B - 1] = Complex<float>{one.x, one.y};
  }
}

// Bins k and M - k of the packed frame, as lane's slots have them, then those of the real one.
template <class Plan>
struct FastSlots {
  Complex<float> low[Plan::kSlots], high[Plan::kSlots];
  Complex<float> middle;  // bin M / 2, of lane 0
};

// Lane 0 has rows 0 and A / 2, each of which is its own partner.
template <class Plan>
MEL_FN void pair_rows(MEL_LOCAL Complex<float> (&a)[Plan::B], MEL_LOCAL Complex<float> (&b)[Plan::B], bool first,
                      MEL_LOCAL FastSlots<Plan>& slots) {
  MEL_UNROLL
  for (int s = 0; s < Plan::kSlots; ++s) {
    const int j = s - Plan::kHalf;
    slots.low[s] = s < Plan::kHalf || !first ? a[s] : b[j < 0 ? 0 : j];
    slots.high[s] = !first            ? b[Plan::B - 1 - s]
                    : s < Plan::kHalf ? a[(Plan::B - s) % Plan::B]
                                      : b[j < 0 ? 0 : Plan::B - 1 - j];
  }
  slots.middle = Plan::B % 2 == 0 ? a[Plan::B / 2] : b[Plan::B / 2];
}

// By rows: the partner's upper half. Lanes without a frame have themselves as partners.
template <class Plan>
MEL_FN void exchange_rows(MEL_THREAD_ARG t, FastLane lane, MEL_LOCAL Complex<float> (&a)[Plan::B],
                          MEL_LOCAL FastSlots<Plan>& slots) {
  const int partner =
      lane.active ? lane.frame * Plan::kLanes + (lane.unit == 0 ? 0 : Plan::kLanes - lane.unit) : t.lane();
  MEL_UNROLL
  for (int s = 0; s < Plan::kSlots; ++s) {
    const Complex<float> other{t.shuffle(a[Plan::B - 1 - s].re, partner), t.shuffle(a[Plan::B - 1 - s].im, partner)};
    slots.low[s] = a[s];
    slots.high[s] = lane.unit == 0 ? a[(Plan::B - s) % Plan::B] : other;
  }
  slots.middle = a[Plan::B / 2];
}

// Z[k], Z[M - k] and exp(-2 pi i k / N) to bins k and M - k of the real frame.
MEL_FN void split_bins(Complex<float> w, MEL_LOCAL Complex<float>& low, MEL_LOCAL Complex<float>& high) {
  const Complex<float> even{low.re + high.re, low.im - high.im}, odd{low.re - high.re, low.im + high.im};
  const Complex<float> turned{mel_fma(w.re, odd.im, w.im * odd.re), mel_fma(w.im, odd.im, -(w.re * odd.re))};
  low = even + turned;
  high = Complex<float>{even.re - turned.re, turned.im - even.im};
}

// The lane's rows in `exchange` to bins of the real frame; the window holds the factor 1/2.
template <class Plan>
MEL_FN void transform_rows(MEL_THREAD_ARG t, FastLane lane, MEL_SHARED(const float) exchange,
                           MEL_SHARED(const float) tables, MEL_LOCAL FastSlots<Plan>& slots) {
  Complex<float> a[Plan::B], b[Plan::B];
  read_row<Plan>(a, exchange + 2 * Plan::kRow * lane.unit);
  if (!Plan::kRows) read_row<Plan>(b, exchange + 2 * Plan::kRow * (lane.unit == 0 ? Plan::A / 2 : Plan::A - lane.unit));
  t.sync_warp();  // the rows' memory is free
  dft(a);
  if (Plan::kRows) {
    exchange_rows<Plan>(t, lane, a, slots);
  } else {
    dft(b);
    pair_rows<Plan>(a, b, lane.unit == 0, slots);
  }
  MEL_SHARED(const float) twiddles = tables + (Plan::N + Plan::kStepFloats + 4 * lane.unit);
  MEL_UNROLL
  for (int s = 0; s < Plan::kSlots; s += 2) {
    const Vec4<float> w = mel_load4(twiddles + 2 * s * Plan::kLanes);
    split_bins(Complex<float>{w.x, w.y}, slots.low[s], slots.high[s]);
    if (s + 1 < Plan::kSlots) split_bins(Complex<float>{w.z, w.w}, slots.low[s + 1], slots.high[s + 1]);
  }
  slots.middle = Complex<float>{2.0f * slots.middle.re, -2.0f * slots.middle.im};
}

}  // namespace melisma::gpu
