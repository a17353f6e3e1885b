// Frames of a signal to spectrum, powers or bands: every size whose transform fits in shared memory, every dtype,
// stride and padding. A block computes some frames of one item at a time.
#pragma once

#include "blocks/gpu/forward_epilogue-kernel.h"
#include "blocks/gpu/limit_range-kernel.h"

namespace melisma::gpu {

enum ForwardEpilogue { kForwardSpectrum, kForwardPower, kForwardBands };

template <typename T>
struct ForwardArgs {
  SignalArgs x;
  GridArgs out;
  FramingArgs framing;
  FrameTransform<T> transform;
  Reciprocals<T> reciprocals;
  std::int64_t items, groups;  // groups: of frames, an item's
  int group_frames;
  int buffer;  // complex values of each of the two halves of shared memory
  int bins;    // rows of the result, or of the filter bank
  int real_bins;
  int frames_inner;  // neighbouring frames are nearer to each other than neighbouring rows
  PowerArgs<T> power;
  BankArgs bank;
  LogArgs<T> log;
  MEL_GLOBAL(T) maxima;  // [items][groups], null where there is no limit to the range
  T lowest;              // -infinity
};

template <typename T, int kEpilogue>
struct GenericForward {
  using Args = ForwardArgs<T>;
  static constexpr int kThreads = 256;
  enum { kWarps = kThreads / 32 };

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    MEL_SHARED(Complex<T>) a = MEL_SHARED_CAST(Complex<T>, shared);
    MEL_SHARED(Complex<T>) b = a + args.buffer;
    for (std::int64_t group = t.block(); group < args.items * args.groups; group += t.blocks()) {
      const std::int64_t item = group / args.groups, first = (group - item * args.groups) * args.group_frames;
      const std::int64_t left = args.framing.frames - first;
      const int count = left < args.group_frames ? static_cast<int>(left) : args.group_frames;
      load_frames(t, args.x, args.framing, args.transform, args.reciprocals, item_offset(args.x.items, item), first,
                  count, a);
      MEL_SHARED(Complex<T>) z = block_fft(t, args.transform.fft, a, b, count);
      const std::int64_t at = item_offset(args.out.items, item) + first * args.out.frame_stride;
      if (kEpilogue == kForwardBands) {
        store_bands(t, args, z, z == a ? b : a, at, count, group);
      } else {
        store_bins(t, args, z, at, count);
      }
      t.sync();
    }
  }

 private:
  MEL_FN static void store_bins(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(Complex<T>) z, std::int64_t at,
                                int count) {
    for (int i = t.thread(); i < count * args.bins; i += t.threads()) {
      const int k = args.frames_inner != 0 ? i / count : i % args.bins;
      const int f = args.frames_inner != 0 ? i - k * count : i / args.bins;
      const Complex<T> value = result_bin<T>(args.transform, args.real_bins, z + f * args.transform.fft.size, k);
      const std::int64_t to = at + k * args.out.bin_stride + f * args.out.frame_stride;
      if (kEpilogue == kForwardSpectrum) {
        store_complex(args.out.data, args.out.type, to, value);
      } else {
        store_real(args.out.data, args.out.type, to, power_of(args.power, value));
      }
    }
  }

  // Powers go to `powers` as [bins][pitch], the bands' values where the spectra were; frames run fastest, and an odd
  // pitch keeps both ways of reading free of bank conflicts.
  MEL_FN static void store_bands(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(Complex<T>) z,
                                 MEL_SHARED(Complex<T>) free, std::int64_t at, int count, std::int64_t group) {
    MEL_SHARED(T) powers = MEL_SHARED_CAST(T, free);
    MEL_SHARED(T) values = MEL_SHARED_CAST(T, z);
    const int pitch = args.group_frames | 1;
    for (int i = t.thread(); i < count * args.bins; i += t.threads()) {
      const int f = i / args.bins, k = i - f * args.bins;
      powers[k * pitch + f] = power_of(args.power, spectrum_bin<T>(args.transform, z + f * args.transform.fft.size, k));
    }
    t.sync();
    T largest = args.lowest;
    const int chunk = mel_min(args.bank.bands, 2 * args.buffer / pitch);
    for (int first_band = 0; first_band < args.bank.bands; first_band += chunk) {
      const int bands = mel_min(chunk, args.bank.bands - first_band);
      for (int i = t.thread(); i < count * bands; i += t.threads()) {
        const int band = i / count, f = i - band * count;
        const T value = logarithm(args.log, band_sum(args, powers + f, pitch, first_band + band));
        values[band * pitch + f] = value;
        if (value > largest) largest = value;
      }
      t.sync();
      for (int i = t.thread(); i < count * bands; i += t.threads()) {
        const int band = args.frames_inner != 0 ? i / count : i % bands;
        const int f = args.frames_inner != 0 ? i - band * count : i / bands;
        store_real(args.out.data, args.out.type,
                   at + (first_band + band) * args.out.bin_stride + f * args.out.frame_stride,
                   values[band * pitch + f]);
      }
      t.sync();
    }
    if (args.maxima != nullptr) {
      const T whole = block_maximum<kWarps>(t, largest, values);
      if (t.thread() == 0) args.maxima[group] = whole;
    }
  }

  MEL_FN static T band_sum(MEL_ARGS(Args) args, MEL_SHARED(const T) powers, int pitch, int band) {
    const bool known = args.bank.ranges != nullptr;
    const int first = known ? args.bank.ranges[band].first : 0;
    const int last = known ? first + args.bank.ranges[band].count : args.bank.bins;
    T sum = T(0);
    for (int k = first; k < last; ++k) {
      const T weight = bank_weight<T>(args.bank, k, band);
      if (weight != T(0)) sum = mel_fma(weight, powers[k * pitch], sum);
    }
    return sum;
  }
};

}  // namespace melisma::gpu
