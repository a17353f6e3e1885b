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
// warps, C columns and half rows.
template <int kC, int kR, int kL, int kWarps, int kResident>
struct InversePlan {
  enum : int {
    C = kC,
    R = kR,
    N = 2 * kC * kR,
    kLanes = kL,
    kThreads = 32 * kWarps,
    kMinBlocks = kResident,
    kPaired = kL == 64 ? 1 : 0,
    kGroups = kL == 64 ? 1 : 32 / kL,                    // frames of a warp, or of two
    kFrames = kL == 64 ? kWarps / 2 : 32 / kL * kWarps,  // of a block, at a time
    kColumns = (kC + kL - 1) / kL,                       // of a lane
    kRows = (kR + kL - 1) / kL,
    // Complex values from column to column in the exchange: neighbouring lanes, of one frame or of two, are to meet
    // different banks at columns, rows and the spectrum.
    kColumn = kL == 10 ? (kR + 14) / 16 * 16 + 1 : kR | 1,
    kBanks = kL >= 32   ? 4
             : kL >= 16 ? 16
                        : 2 * kL % 32,  // floats from frame to frame, of 32
    kStep = 4,                          // exp(2 pi i s u / n) is the product of two table entries: s = 4 a + b
    kTwiddleRows = kStep - 1 + (kR + kStep - 1) / kStep - 1,
    kTwiddles = kTwiddleRows * kC,                 // complex values
    kTwiddleFloats = (2 * kTwiddles + 3) / 4 * 4,  // of their table
    kRowFloats = 2 * (kC * kR + 2),                // a spectrum, at either alignment to 16 bytes
    kExchangeFloats = 2 * kC * kColumn,
    kLongest =
        kRowFloats > kExchangeFloats ? (kRowFloats > N ? kRowFloats : N) : (kExchangeFloats > N ? kExchangeFloats : N),
    kFrameFloats = kL >= 32 ? (kLongest + 3) / 4 * 4 : (kLongest + 31 - kBanks) / 32 * 32 + kBanks,
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
    const Complex<float> turned_odd{mel_fma(odd.re, -w.im, -(odd.im * w.re)), mel_fma(odd.re, w.re, -(odd.im * w.im))};
    v[k] = even + turned_odd;
    v[M - k] = conj(even - turned_odd);
  }
  if (M % 2 == 0) v[M / 2] = Complex<float>{2 * v[M / 2].re, -2 * v[M / 2].im};
}

template <class Plan>
struct InverseTransform {
  enum : int { C = Plan::C, R = Plan::R, L = Plan::kLanes };

  // Bins of column u, where those of r > (R - 1) / 2 are to be conjugated. Lane 0 gets bins 0, C .. (R - 1) C instead.
  MEL_FN static void load_column(MEL_SHARED(const Complex<float>) spectrum, int u, MEL_LOCAL Complex<float> (&v)[R]) {
    MEL_SHARED(const Complex<float>) direct = spectrum + u;
    MEL_SHARED(const Complex<float>) mirrored = spectrum + (2 * C - (u == 0 ? C : u));
    MEL_UNROLL
    for (int r = 0; r < R; ++r) v[r] = 2 * r < R ? direct[2 * C * r] : mirrored[2 * C * (R - 1 - r)];
  }

  // What lane 0 has loaded, to its transform's input, conjugated as load_column says.
  MEL_FN static void pack_edges(Complex<float> nyquist, float edge_bins, MEL_LOCAL Complex<float> (&v)[R]) {
    Complex<float> packed[R];
    MEL_UNROLL
    for (int j = 0; j < R; ++j) packed[j] = j % 2 == 0 ? v[j / 2] : v[R - (j + 1) / 2];
    const float first = packed[0].re * edge_bins, last = nyquist.re * edge_bins;
    pack_pairs<R>(packed);
    packed[0] = Complex<float>{first + last, first - last};
    MEL_UNROLL
    for (int r = 0; r < R; ++r) {
      v[r] = packed[r];
      if (2 * r >= R) v[r].im = -v[r].im;
    }
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

  // Lane l's columns to the exchange.
  MEL_FN static void run_columns(MEL_THREAD_ARG t, bool work, int l, MEL_SHARED(const Complex<float>) spectrum,
                                 MEL_SHARED(Complex<float>) exchange, bool has_nyquist, float edge_bins,
                                 MEL_SHARED(const Complex<float>) twiddles) {
    Complex<float> v[Plan::kColumns][R];
    MEL_UNROLL
    for (int i = 0; i < Plan::kColumns; ++i) load_column(spectrum, l + L * i, v[i]);
    if (l == 0) {
      Complex<float> nyquist = spectrum[C * R];
      if (!has_nyquist) nyquist.re = 0.0f;
      pack_edges(nyquist, edge_bins, v[0]);
    }
    sync(t);
    MEL_UNROLL
    for (int i = 0; i < Plan::kColumns; ++i) {
      const int u = l + L * i;
      transform_column(twiddles, u, v[i]);
      if (!work || (C % L != 0 && u >= C)) continue;
      MEL_SHARED(Complex<float>) column = exchange + u * Plan::kColumn;
      MEL_UNROLL
      for (int s = 0; s < R; ++s) column[s] = v[i][s];
    }
    sync(t);
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
      t.sync();
    } else {
      t.sync_warp();
    }
  }
};

// One frame a group of lanes: its spectrum, which may lie in the same memory, to its samples. Every lane calls, of the
// warp or, where two share a frame, of the block, and the spectra of all frames of that warp or block are read before
// anything is written; `work`: this lane's group has a frame, else it computes with what it finds and writes nothing
// (values that are set under a condition would hold their registers all along). has_nyquist: else that bin is 0.
template <class Plan, int kPaired = Plan::kPaired>
struct InverseFrame {
  MEL_FN static void run(MEL_THREAD_ARG t, bool work, int l, MEL_SHARED(const Complex<float>) spectrum,
                         MEL_SHARED(float) samples, bool has_nyquist, float edge_bins,
                         MEL_SHARED(const Complex<float>) twiddles) {
    InverseTransform<Plan>::run_columns(t, work, l, spectrum, MEL_SHARED_CAST(Complex<float>, samples), has_nyquist,
                                        edge_bins, twiddles);
    InverseTransform<Plan>::run_rows(t, work, l, samples);
  }
};
template <class Plan>
struct InverseFrame<Plan, 1> {
  MEL_FN static void run(MEL_THREAD_ARG t, bool work, int l, MEL_SHARED(const Complex<float>) spectrum,
                         MEL_SHARED(float) samples, bool has_nyquist, float edge_bins,
                         MEL_SHARED(const Complex<float>) twiddles) {
    InverseTransform<Plan>::run_columns(t, work, l, spectrum, MEL_SHARED_CAST(Complex<float>, samples), has_nyquist,
                                        edge_bins, twiddles);
    InverseTransform<Plan>::run_half_rows(t, work, l, samples);
  }
};

}  // namespace melisma::gpu
