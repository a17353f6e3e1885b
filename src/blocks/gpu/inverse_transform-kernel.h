// Half spectra to real frames, lanes of a warp to a frame, in registers and one exchange through shared memory.
//
// A frame has n = 2 C R samples; sample j = s + R q, bin k = u + 2 C r:
//   y[s + R q] = sum_u exp(2 pi i q u / 2C) [ exp(2 pi i s u / n) sum_r X[u + 2 C r] exp(2 pi i s r / R) ]
// Step 1: column u of C + 1 is a complex transform of R bins, half of them the conjugates of bins n - k; the columns
// above C are the conjugates of those below. Columns 0 and C hold the bins that are multiples of C: the spectrum of 2 R
// real values, one complex transform of size R too, which lane 0 takes. Step 2: row s is the spectrum of 2 C real
// values, a complex transform of size C. So the spectrum is read once, and the constants of both splits are immediates.
#pragma once

#include "blocks/gpu/register_fft-kernel.h"
#include "blocks/gpu/roots-kernel.h"

namespace melisma::gpu {

// kL lanes share a frame, kWarps warps make a block, kResident blocks are to fit on a multiprocessor. 64 lanes: two
// warps, C columns and half rows. kBuffers: 2 if spectra lie in memory of their own, so that those of the next frames
// come while these become samples, 1 if samples take their place.
template <int kC, int kR, int kL, int kWarps, int kResident, int kBuffers = 1>
struct InversePlan {
  enum : int {
    C = kC,
    R = kR,
    N = 2 * kC * kR,
    kLanes = kL,
    kThreads = 32 * kWarps,
    kMinBlocks = kResident,
    kApart = kBuffers - 1,
    kPaired = kL == 64 ? 1 : 0,
    kGroups = kL == 64 ? 1 : 32 / kL,                    // frames of a warp, or of two
    kFrames = kL == 64 ? kWarps / 2 : 32 / kL * kWarps,  // of a block, at a time
    kColumns = (kC + kL - 1) / kL,                       // of a lane
    kRows = (kR + kL - 1) / kL,
    // Complex values from column to column in the exchange: neighbouring lanes, of one frame or of two, are to meet
    // different banks at columns, rows and the spectrum.
    kColumn = kL == 10 && kC == 20 ? (kR + 14) / 16 * 16 + 1 : kR | 1,
    kBanks = kL >= 32   ? 4
             : kL >= 16 ? 16
                        : 2 * kL % 32,  // floats from frame to frame, of 32
    // exp(2 pi i s u / n) is the product of two table entries, s = kStep a + b.
    kStep = 4,
    kTwiddleRows = kStep - 1 + (kR + kStep - 1) / kStep - 1,
    kTwiddles = kTwiddleRows * kC,                        // complex values
    kTwiddleFloats = (2 * (kTwiddles + kR) + 3) / 4 * 4,  // of their table, with exp(2 pi i j / 2R) for the edges
    kRowFloats = 2 * (kC * kR + 2),                       // a spectrum, at either alignment to 16 bytes
    kExchangeFloats = 2 * kC * kColumn,
    kLonger = kExchangeFloats > N ? kExchangeFloats : N,
    kLongest = kBuffers == 1 && kRowFloats > kLonger ? kRowFloats : kLonger,
    kFrameFloats = kL >= 32 ? (kLongest + 3) / 4 * 4 : (kLongest + 31 - kBanks) / 32 * 32 + kBanks,
    kRowPitch = kBuffers == 1 ? kFrameFloats : (kRowFloats + 3) / 4 * 4,
  };
  static_assert(kL <= 32 || (kL == 64 && kC == 64 && kR == 32 && kWarps % 2 == 0),
                "two warps: a column and half a row a lane");
};

// Z[k] = (X[k] + conj X[M - k]) + i exp(2 pi i k / 2M) (X[k] - conj X[M - k]), 0 < k < M: the spectrum of 2 M real
// values as that of M complex ones.
template <int M>
MEL_FN void pack_pairs(MEL_LOCAL Complex<float> (&v)[M]) {
  MEL_UNROLL
  for (int k = 1; 2 * k < M; ++k) {
    const Complex<float> w = root<2 * M>(k);
    const Complex<float> even = v[k] + conj(v[M - k]), odd = v[k] - conj(v[M - k]);
    // i w odd is a factor, the larger of the two, times d.
    float factor = w.re;
    Complex<float> d{mel_fma(odd.re, -w.im / w.re, -odd.im), mel_fma(odd.im, -w.im / w.re, odd.re)};
    if (4 * k > M) {
      factor = w.im;
      d = Complex<float>{mel_fma(odd.im, -w.re / w.im, -odd.re), mel_fma(odd.re, w.re / w.im, -odd.im)};
    }
    v[k] = Complex<float>{mel_fma(d.re, factor, even.re), mel_fma(d.im, factor, even.im)};
    v[M - k] = Complex<float>{mel_fma(d.re, -factor, even.re), mel_fma(d.im, factor, -even.im)};
  }
  if (M % 2 == 0) v[M / 2] = Complex<float>{2 * v[M / 2].re, -2 * v[M / 2].im};
}

template <class Plan>
struct InverseTransform {
  enum : int { C = Plan::C, R = Plan::R, L = Plan::kLanes };

  // Bins of column u, where those of r > (R - 1) / 2 are to be conjugated; of column 0 what pack_edges has put there.
  MEL_FN static void load_column(MEL_SHARED(const Complex<float>) spectrum, int u, MEL_LOCAL Complex<float> (&v)[R]) {
    MEL_SHARED(const Complex<float>) direct = spectrum + u;
    MEL_SHARED(const Complex<float>) mirrored = spectrum + (2 * C - mel_max(u, C - C * u));  // of column 0: C
    MEL_UNROLL
    for (int r = 0; r < R; ++r) v[r] = 2 * r < R ? direct[2 * C * r] : mirrored[2 * C * (R - 1 - r)];
  }

  // Columns 0 and C, R + 1 bins, become one column's, a value a lane; only the lane that has column 0 reads them again.
  MEL_FN static void pack_edges(MEL_THREAD_ARG t, bool work, int l, MEL_SHARED(Complex<float>) spectrum,
                                bool has_nyquist, float edge_bins, MEL_SHARED(const Complex<float>) roots) {
    enum : int { kEach = (R + L - 1) / L };
    if (Plan::kPaired && l >= R) return;  // the second warp
    Complex<float> packed[kEach];
    MEL_UNROLL
    for (int i = 0; i < kEach; ++i) {
      const int r = mel_min(l + L * i, R - 1);
      Complex<float> a = spectrum[C * r], b = spectrum[C * (R - r)];
      if (r == 0) {
        if (!has_nyquist) b.re = 0.0f;
        a = Complex<float>{a.re * edge_bins, 0.0f};
        b = Complex<float>{b.re * edge_bins, 0.0f};
      }
      const Complex<float> even = a + conj(b), odd = (a - conj(b)) * roots[r];
      packed[i] = Complex<float>{even.re - odd.im, even.im + odd.re};
      if (2 * r >= R) packed[i].im = -packed[i].im;
    }
    t.sync_warp();
    MEL_UNROLL
    for (int i = 0; i < kEach; ++i) {
      const int r = l + L * i;
      if (work && r < R) spectrum[2 * r < R ? 2 * C * r : C + 2 * C * (R - 1 - r)] = packed[i];
    }
    t.sync_warp();
  }

  // twiddles: [kTwiddleRows][C]
  MEL_FN static void transform_column(MEL_SHARED(const Complex<float>) twiddles, int u,
                                      MEL_LOCAL Complex<float> (&v)[R]) {
    MEL_UNROLL
    for (int r = 0; r < R; ++r) {
      if (2 * r >= R) v[r] = conj(v[r]);
    }
    inverse_dft<R>(v);
    Complex<float> fine[Plan::kStep];
    MEL_UNROLL
    for (int b = 1; b < Plan::kStep; ++b) fine[b] = twiddles[(b - 1) * C + u];
    MEL_UNROLL
    for (int a = 0; Plan::kStep * a < R; ++a) {
      Complex<float> coarse{1.0f, 0.0f};
      if (a > 0) coarse = twiddles[(Plan::kStep - 2 + a) * C + u];
      MEL_UNROLL
      for (int b = 0; b < Plan::kStep; ++b) {
        const int s = Plan::kStep * a + b;
        if (s == 0 || s >= R) continue;
        Complex<float> twiddle = coarse;
        if (a == 0) twiddle = fine[b];
        if (a > 0 && b > 0) twiddle = coarse * fine[b];
        v[s] = v[s] * twiddle;
      }
    }
  }

  MEL_FN static void store_column(bool work, int u, MEL_SHARED(Complex<float>) exchange,
                                  MEL_LOCAL const Complex<float> (&v)[R]) {
    if (!work || (C % L != 0 && u >= C)) return;
    MEL_SHARED(Complex<float>) column = exchange + u * Plan::kColumn;
    MEL_UNROLL
    for (int s = 0; s < R; ++s) column[s] = v[s];
  }

  // Lane l's columns to the exchange, which takes the spectrum's place.
  MEL_FN static void run_columns(MEL_THREAD_ARG t, bool work, int l, MEL_SHARED(const Complex<float>) spectrum,
                                 MEL_SHARED(Complex<float>) exchange, MEL_SHARED(const Complex<float>) twiddles) {
    Complex<float> v[Plan::kColumns][R];
    MEL_UNROLL
    for (int i = 0; i < Plan::kColumns; ++i) load_column(spectrum, l + L * i, v[i]);
    sync(t);
    MEL_UNROLL
    for (int i = 0; i < Plan::kColumns; ++i) {
      transform_column(twiddles, l + L * i, v[i]);
      store_column(work, l + L * i, exchange, v[i]);
    }
    sync(t);
  }

  // The same to memory of its own, before whose first use the block meets. active: the warp has a frame.
  MEL_FN static void run_columns_apart(MEL_THREAD_ARG t, bool meet, bool active, bool work, int l,
                                       MEL_SHARED(const Complex<float>) spectrum, MEL_SHARED(Complex<float>) exchange,
                                       MEL_SHARED(const Complex<float>) twiddles) {
    MEL_NO_UNROLL
    for (int i = 0; i < Plan::kColumns; ++i) {
      Complex<float> v[R];
      if (active) {
        load_column(spectrum, l + L * i, v);
        transform_column(twiddles, l + L * i, v);
      }
      if (meet && i == 0) t.sync();
      if (active) store_column(work, l + L * i, exchange, v);
    }
  }

  // Lane l's rows of the exchange to samples, in their place.
  MEL_FN static void run_rows(MEL_THREAD_ARG t, bool work, int l, MEL_SHARED(float) memory) {
    MEL_SHARED(const Complex<float>) exchange = MEL_SHARED_CAST(const Complex<float>, memory);
    Complex<float> z[Plan::kRows][C];
    MEL_UNROLL
    for (int i = 0; i < Plan::kRows; ++i) {
      const int s = l + L * i;
      z[i][0] = Complex<float>{memory[s], memory[s + R]};
      MEL_UNROLL
      for (int u = 1; u < C; ++u) z[i][u] = exchange[u * Plan::kColumn + s];
    }
    sync(t);
    MEL_UNROLL
    for (int i = 0; i < Plan::kRows; ++i) {
      const int s = l + L * i;
      pack_pairs<C>(z[i]);
      inverse_dft<C>(z[i]);
      if (!work || (R % L != 0 && s >= R)) continue;
      MEL_SHARED(float) samples = memory + s;
      MEL_UNROLL
      for (int p = 0; p < C; ++p) {
        samples[2 * R * p] = z[i][p].re;
        samples[R * (2 * p + 1)] = z[i][p].im;
      }
    }
  }

  // The same by two warps: lane l < R takes the samples of row l with even q, lane l + R those with odd q. Their
  // spectra are V[u] + conj V[C - u] and exp(2 pi i u / 2C) (V[u] - conj V[C - u]), u = 0 .. C / 2.
  MEL_FN static void run_half_rows(MEL_THREAD_ARG t, bool work, int l, MEL_SHARED(float) memory) {
    constexpr int H = C / 2;
    const int s = l % R;
    MEL_SHARED(const Complex<float>) row = MEL_SHARED_CAST(const Complex<float>, memory) + s;
    Complex<float> z[H];
    const Complex<float> middle = row[H * Plan::kColumn];
    float first, last;
    if (l < R) {  // the same for all lanes of a warp
      first = memory[s];
      last = 2.0f * middle.re;
      MEL_UNROLL
      for (int u = 1; u < H; ++u) z[u] = row[u * Plan::kColumn] + conj(row[(C - u) * Plan::kColumn]);
    } else {
      first = memory[s + R];
      last = -2.0f * middle.im;
      MEL_UNROLL
      for (int u = 1; u < H; ++u) {
        z[u] = (row[u * Plan::kColumn] - conj(row[(C - u) * Plan::kColumn])) * root<2 * C>(u);
      }
    }
    sync(t);
    pack_pairs<H>(z);
    z[0] = Complex<float>{first + last, first - last};
    inverse_dft<H>(z);
    if (!work) return;
    MEL_SHARED(float) samples = memory + l;
    MEL_UNROLL
    for (int p = 0; p < H; ++p) {
      samples[4 * R * p] = z[p].re;
      samples[2 * R * (2 * p + 1)] = z[p].im;
    }
  }

  MEL_FN static void sync(MEL_THREAD_ARG t) {
    if (Plan::kPaired) {
      t.sync_pair();
    } else {
      t.sync_warp();
    }
  }
};

// One frame a group of lanes: its spectrum, which may lie in the same memory, to its samples. Every lane calls, of the
// warp or, where two share a frame, of the block, and the spectra of all frames of a warp or pair are read before
// anything is written; `work`: this lane's group has a frame, else it computes with what it finds and writes nothing
// (values that are set under a condition would hold their registers all along). has_nyquist: else that bin is 0.
// twiddles: the table, all of it. Some of the spectrum's bins are overwritten.
template <class Plan, int kPaired = Plan::kPaired>
struct InverseFrame {
  MEL_FN static void run(MEL_THREAD_ARG t, bool work, int l, MEL_SHARED(Complex<float>) spectrum,
                         MEL_SHARED(float) samples, bool has_nyquist, float edge_bins,
                         MEL_SHARED(const Complex<float>) twiddles) {
    using Transform = InverseTransform<Plan>;
    Transform::pack_edges(t, work, l, spectrum, has_nyquist, edge_bins, twiddles + int(Plan::kTwiddles));
    Transform::run_columns(t, work, l, spectrum, MEL_SHARED_CAST(Complex<float>, samples), twiddles);
    finish(t, work, l, samples);
  }
  // From the exchange.
  MEL_FN static void finish(MEL_THREAD_ARG t, bool work, int l, MEL_SHARED(float) samples) {
    InverseTransform<Plan>::run_rows(t, work, l, samples);
  }
};
template <class Plan>
struct InverseFrame<Plan, 1> {
  MEL_FN static void run(MEL_THREAD_ARG t, bool work, int l, MEL_SHARED(Complex<float>) spectrum,
                         MEL_SHARED(float) samples, bool has_nyquist, float edge_bins,
                         MEL_SHARED(const Complex<float>) twiddles) {
    using Transform = InverseTransform<Plan>;
    Transform::pack_edges(t, work, l, spectrum, has_nyquist, edge_bins, twiddles + int(Plan::kTwiddles));
    Transform::run_columns(t, work, l, spectrum, MEL_SHARED_CAST(Complex<float>, samples), twiddles);
    finish(t, work, l, samples);
  }
  MEL_FN static void finish(MEL_THREAD_ARG t, bool work, int l, MEL_SHARED(float) samples) {
    InverseTransform<Plan>::run_half_rows(t, work, l, samples);
  }
};

}  // namespace melisma::gpu
