// Complex transforms of any size by all threads of a block, in shared memory: Stockham passes between two buffers, and
// Bluestein's convolution on chip where the size has a prime factor above 13.
//
// Between passes value i lies at i + i / 16 (float32; i / 8 float64), so that a pass's strided stores meet every bank.
#pragma once

#include "blocks/gpu/butterfly-kernel.h"

namespace melisma::gpu {

enum { kMaxPasses = 20 };  // 3^20 > 2^28

// Made by block_fft.h.
template <typename T>
struct BlockFft {
  int n;
  int size;       // complex values that a frame needs in each of the two buffers; odd
  int transform;  // of the passes: n, or Bluestein's convolution
  int passes;
  int bluestein;
  int radix[kMaxPasses];
  std::uint32_t inverse_count[kMaxPasses];  // 2^32 / (transform / radix) rounded up, 0 for a divisor of 1
  std::uint32_t inverse_done[kMaxPasses];   // of the product of the radices before
  // Of the pass with `done` values transformed so far, radix r, from done - 1 on: exp(-2 pi i q k / (done r)) for q = 1
  // .. r - 1, k = 0 .. done - 1.
  MEL_GLOBAL(const Complex<T>) twiddles;
  MEL_GLOBAL(const Complex<T>) chirp;   // [n]: exp(-pi i j^2 / n)
  MEL_GLOBAL(const Complex<T>) filter;  // [transform]: that of the conjugate chirp, divided by `transform`
};

// a / b where inverse is 2^32 / b rounded up; a b < 2^32.
MEL_FN int quotient(int a, std::uint32_t inverse) {
  if (inverse == 0) return a;
  return static_cast<int>((static_cast<std::uint64_t>(static_cast<std::uint32_t>(a)) * inverse) >> 32);
}

template <typename T>
struct BankShift {
  enum { kValue = sizeof(T) == 4 ? 4 : 3, kNone = 31 };
};

template <int R, typename T>
MEL_FN void fft_pass(MEL_THREAD_ARG t, MEL_ARGS(BlockFft<T>) fft, int pass, int done, MEL_SHARED(Complex<T>) from,
                     MEL_SHARED(Complex<T>) to, int count) {
  const int m = fft.transform / R;
  const std::uint32_t inverse_count = fft.inverse_count[pass], inverse_done = fft.inverse_done[pass];
  const int shift_in = pass == 0 ? BankShift<T>::kNone : BankShift<T>::kValue;
  const int shift_out = pass == fft.passes - 1 ? BankShift<T>::kNone : BankShift<T>::kValue;
  for (int task = t.thread(); task < count * m; task += t.threads()) {
    const int frame = quotient(task, inverse_count), i = task - frame * m;
    const int block = quotient(i, inverse_done), k = i - block * done;
    const int base = frame * fft.size;
    Complex<T> v[R];
    MEL_UNROLL
    for (int q = 0; q < R; ++q) {
      const int at = i + q * m;
      v[q] = from[base + at + (at >> shift_in)];
    }
    if (done > 1) {
      MEL_UNROLL
      for (int q = 1; q < R; ++q) v[q] = v[q] * fft.twiddles[q * done - 1 + k];
    }
    butterfly(v);
    const int first = block * done * R + k;
    MEL_UNROLL
    for (int q = 0; q < R; ++q) {
      const int at = first + q * done;
      to[base + at + (at >> shift_out)] = v[q];
    }
  }
}

// Bluestein's products: before the first of two transforms, between them and behind the second one.
enum BluesteinStage { kChirp, kConvolve, kUnchirp };

// Conjugated in between, so that the second transform is an inverse one.
template <typename T>
MEL_FN Complex<T> bluestein_value(MEL_ARGS(BlockFft<T>) fft, int stage, int j, Complex<T> value) {
  switch (stage) {
    case kChirp: return value * fft.chirp[j];
    case kConvolve: return conj(value * fft.filter[j]);
    default: return conj(value) * fft.chirp[j];
  }
}

template <typename T>
MEL_FN void bluestein_product(MEL_THREAD_ARG t, MEL_ARGS(BlockFft<T>) fft, int stage, MEL_SHARED(Complex<T>) values,
                              int count) {
  for (int frame = 0; frame < count; ++frame) {
    MEL_SHARED(Complex<T>) v = values + frame * fft.size;
    for (int j = t.thread(); j < fft.transform; j += t.threads()) {
      if (stage == kConvolve || j < fft.n) {
        v[j] = bluestein_value(fft, stage, j, v[j]);
      } else if (stage == kChirp) {
        v[j] = Complex<T>{T(0), T(0)};
      }
    }
  }
  t.sync();
}

// Transforms `count` frames; frame f's values are a[f * fft.size ...] in natural order. Returns a or b, where the
// results lie likewise. Begins and ends with t.sync().
template <typename T>
MEL_FN MEL_SHARED(Complex<T>) block_fft(MEL_THREAD_ARG t, MEL_ARGS(BlockFft<T>) fft, MEL_SHARED(Complex<T>) a,
                                        MEL_SHARED(Complex<T>) b, int count) {
  t.sync();
  const int rounds = fft.bluestein != 0 ? 2 : 1;
  for (int round = 0; round < rounds; ++round) {
    if (fft.bluestein != 0) bluestein_product(t, fft, round == 0 ? kChirp : kConvolve, a, count);
    int done = 1;
    for (int pass = 0; pass < fft.passes; ++pass) {
      const int radix = fft.radix[pass];
      switch (radix) {
        case 2: fft_pass<2, T>(t, fft, pass, done, a, b, count); break;
        case 3: fft_pass<3, T>(t, fft, pass, done, a, b, count); break;
        case 4: fft_pass<4, T>(t, fft, pass, done, a, b, count); break;
        case 5: fft_pass<5, T>(t, fft, pass, done, a, b, count); break;
        case 7: fft_pass<7, T>(t, fft, pass, done, a, b, count); break;
        case 8: fft_pass<8, T>(t, fft, pass, done, a, b, count); break;
        case 11: fft_pass<11, T>(t, fft, pass, done, a, b, count); break;
        case 13: fft_pass<13, T>(t, fft, pass, done, a, b, count); break;
        default: fft_pass<16, T>(t, fft, pass, done, a, b, count); break;
      }
      done *= radix;
      t.sync();
      MEL_SHARED(Complex<T>) other = a;
      a = b;
      b = other;
    }
  }
  if (fft.bluestein != 0) bluestein_product(t, fft, kUnchirp, a, count);
  return a;
}

}  // namespace melisma::gpu
