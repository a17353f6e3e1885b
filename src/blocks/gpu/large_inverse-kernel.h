// An inverse job around transforms in device memory (device_fft-kernel.h): spectra in, overlap-added samples out. A
// chunk is frames first .. first + count - 1 of the items' frames first_frame .. last_frame, one item after the other.
// Sums that a chunk leaves unfinished, at the end of its last item, are carried over to the next one.
#pragma once

#include "blocks/gpu/gradient_frames-kernel.h"
#include "blocks/gpu/overlap_edges-kernel.h"
#include "blocks/gpu/wide-kernel.h"

namespace melisma::gpu {

template <typename T>
struct LargeInverseArgs {
  FrameTransform<T> transform;  // without the passes of its fft
  SpectrumArgs<T> spectrum;
  GradientArgs<T> gradient;  // where spectra are computed again
  FramingArgs framing;
  HopBounds hop;
  Reciprocals<T> reciprocals;
  ResultArgs out;
  CopiesArgs<T> copies;
  SampleRange range;
  std::int64_t first_frame, last_frame;  // of an item, those that touch the range; none: the last one is the smaller
  std::int64_t first, count;
  MEL_GLOBAL(Complex<T>) values;       // [count][transform.fft.transform]
  MEL_GLOBAL(Complex<T>) other;        // likewise
  MEL_GLOBAL(T) powers;                // [count][bank.bins]
  MEL_GLOBAL(T) bands;                 // [count][bank.bands]
  MEL_GLOBAL(const T) carried;         // [n_fft] sums from the frame that the chunk begins with
  MEL_GLOBAL(T) carry;                 // [n_fft] sums from the frame that the next chunk begins with
  std::int64_t samples_from, samples;  // of each item
};

// Frame `row` of a chunk.
struct LargeFrame {
  std::int64_t item, frame;
};

template <typename T>
MEL_FN LargeFrame large_frame(MEL_ARGS(LargeInverseArgs<T>) args, std::int64_t row) {
  const std::int64_t frames = args.last_frame + 1 - args.first_frame, at = args.first + row;
  return LargeFrame{at / frames, args.first_frame + at % frames};
}

// Element of bin 0 of a frame of `grid`.
MEL_FN std::int64_t frame_offset(MEL_ARGS(GridArgs) grid, LargeFrame at) {
  return item_offset(grid.items, at.item) + at.frame * grid.frame_stride;
}

// The chunk's values by all threads of the launch: rows inside where `across`.
struct LargeSteps {
  std::int64_t at, step, total;
};

MEL_FN LargeSteps large_steps(MEL_THREAD_ARG t, std::int64_t total) {
  return LargeSteps{t.block() * t.threads() + t.thread(), t.blocks() * t.threads(), total};
}

// Step i over the pairs of bins of a chunk's frames: frames inside where they are contiguous in memory.
struct LargePair {
  int k;
  std::int64_t row;
};
MEL_FN LargePair large_pair(std::int64_t i, std::int64_t count, int pairs, bool across) {
  return across ? LargePair{static_cast<int>(i / count), i % count} : LargePair{static_cast<int>(i % pairs), i / pairs};
}

// Spectra to what the transform takes.
template <typename T>
struct LargeSpectra {
  using Args = LargeInverseArgs<T>;
  static constexpr int kThreads = 256;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    const int n = args.transform.n_fft, pairs = bin_pairs(args.transform);
    const bool across = frames_are_contiguous(args.spectrum.grid);
    const LargeSteps steps = large_steps(t, args.count * pairs);
    for (std::int64_t i = steps.at; i < steps.total; i += steps.step) {
      const LargePair pair = large_pair(i, args.count, pairs, across);
      const int k = pair.k;
      const std::int64_t row = pair.row;
      const std::int64_t at = frame_offset(args.spectrum.grid, large_frame(args, row));
      const Complex<T> low = spectrum_value(args.spectrum, n, at, k);
      Complex<T> high = low;
      if (is_packed(args.transform)) high = spectrum_value(args.spectrum, n, at, n / 2 - k);
      store_pair(args.transform, args.values + row * args.transform.fft.transform, k, low, high);
    }
  }
};

// A signal's frames to what the transform takes.
template <typename T>
struct LargeFrames {
  using Args = LargeInverseArgs<T>;
  static constexpr int kThreads = 256;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    const int n = args.transform.fft.n;
    const LargeSteps steps = large_steps(t, args.count * n);
    for (std::int64_t i = steps.at; i < steps.total; i += steps.step) {
      const std::int64_t row = i / n;
      const LargeFrame frame = large_frame(args, row);
      args.values[row * args.transform.fft.transform + i % n] =
          frame_value(args.gradient.x, args.framing, args.transform, args.reciprocals,
                      item_offset(args.gradient.x.items, frame.item), frame_start(args.framing, frame.frame),
                      static_cast<int>(i % n));
    }
  }
};

// |X|^power of the bank's bins.
template <typename T>
struct LargePowers {
  using Args = LargeInverseArgs<T>;
  static constexpr int kThreads = 256;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    const int bins = args.gradient.bank.bins;
    const LargeSteps steps = large_steps(t, args.count * bins);
    for (std::int64_t i = steps.at; i < steps.total; i += steps.step) {
      MEL_GLOBAL(const Complex<T>) frame = args.values + i / bins * args.transform.fft.transform;
      args.powers[i] =
          power_of<T>(args.gradient.power, spectrum_bin<T>(args.transform, frame, static_cast<int>(i % bins)));
    }
  }
};

// Gradients with respect to the bands before the logarithm, a band a warp.
template <typename T>
struct LargeBandGradients {
  using Args = LargeInverseArgs<T>;
  static constexpr int kThreads = 256;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    const int bands = args.gradient.bank.bands;
    const std::int64_t step = t.blocks() * (kThreads / 32);
    for (std::int64_t i = t.block() * (kThreads / 32) + t.warp(); i < args.count * bands; i += step) {
      const std::int64_t row = i / bands;
      const int band = static_cast<int>(i % bands);
      const std::int64_t at =
          frame_offset(args.gradient.grad, large_frame(args, row)) + band * args.gradient.grad.bin_stride;
      T value = args.gradient.gain * load_real<T>(args.gradient.grad.data, args.gradient.grad.type, at);
      if (args.gradient.log.enabled != 0)
        value =
            log_gradient(args.gradient.log, value,
                         warp_band_sum<T>(t, args.gradient.bank, args.powers + row * args.gradient.bank.bins, band));
      if (t.lane() == 0) args.bands[i] = value;
    }
  }
};

// Frames' transforms to what an inverse transform takes, in `other`.
template <typename T>
struct LargeGradients {
  using Args = LargeInverseArgs<T>;
  static constexpr int kThreads = 256;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    const int n = args.transform.n_fft, pairs = bin_pairs(args.transform);
    const bool across = frames_are_contiguous(args.gradient.grad);
    const LargeSteps steps = large_steps(t, args.count * pairs);
    for (std::int64_t i = steps.at; i < steps.total; i += steps.step) {
      const LargePair pair = large_pair(i, args.count, pairs, across);
      const int k = pair.k;
      const std::int64_t row = pair.row;
      const std::int64_t at = frame_offset(args.gradient.grad, large_frame(args, row));
      MEL_GLOBAL(const Complex<T>) frame = args.values + row * args.transform.fft.transform;
      MEL_GLOBAL(const T) bands = args.bands + row * args.gradient.bank.bands;
      const int mirrored = is_packed(args.transform) ? n / 2 - k : k;
      const Complex<T> low = spectrum_bin<T>(args.transform, frame, k);
      const Complex<T> high = spectrum_bin<T>(args.transform, frame, mirrored);
      store_pair(args.transform, args.other + row * args.transform.fft.transform, k,
                 bin_gradient<T>(args.gradient, n, at, bands, k, low),
                 bin_gradient<T>(args.gradient, n, at, bands, mirrored, high));
    }
  }
};

// Adds a chunk's frames. A sample is ((0 + frame t) + frame t + 1) + ..., whatever the chunks.
template <typename T, typename Value>
struct LargeAdd {
  using Args = LargeInverseArgs<T>;
  static constexpr int kThreads = 256;

  MEL_FN static void emit(MEL_ARGS(Args) args, std::int64_t item, std::int64_t sample, Value sum) {
    sum = sum * reciprocal_at(args.reciprocals, sample + args.framing.offset);
    sum = add_copies(args.framing, args.copies, item, sample, sum);
    const std::int64_t to = args.range.to + sample - args.range.begin;
    store_value(args.out, item_offset(args.out.items, item) + to * args.out.stride, sum);
  }

  // Frames from .. to of the item, which begin at `row` of the chunk.
  MEL_FN static void add(MEL_ARGS(Args) args, std::int64_t item, std::int64_t sample, std::int64_t from,
                         std::int64_t to, std::int64_t row) {
    const int n = args.transform.n_fft;
    const bool begins = from == args.first_frame, ends = to == args.last_frame;
    if (!begins && sample < frame_start(args.framing, from)) return;
    const std::int64_t next = frame_start(args.framing, to + 1);
    if (!ends && sample >= mel_max(frame_start(args.framing, to) + n, next)) return;
    Value sum{};
    if (!begins && sample < frame_start(args.framing, from - 1) + n) {
      sum = MEL_GLOBAL_CAST(const Value, args.carried)[sample - frame_start(args.framing, from)];
    }
    for (std::int64_t frame = mel_max(from, first_frame(args.framing, args.hop, sample)); frame <= to; ++frame) {
      const std::int64_t i = sample - frame_start(args.framing, frame);
      if (i < 0) break;
      MEL_GLOBAL(const Complex<T>) values = args.values + (row + frame - from) * args.transform.fft.transform;
      Value value;
      load_sample_of<T>(args.transform, MEL_GLOBAL_CAST(const T, values), static_cast<int>(i), value);
      sum = added_product(value, args.transform.window[i], sum);
    }
    if (!ends && sample >= next) {
      MEL_GLOBAL_CAST(Value, args.carry)[sample - next] = sum;
    } else {
      emit(args, item, sample, sum);
    }
  }

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    const std::int64_t frames = args.last_frame + 1 - args.first_frame;
    const std::int64_t first_item = frames > 0 ? args.first / frames : 0;
    const std::int64_t items = frames > 0 ? (args.first + args.count - 1) / frames + 1 - first_item : args.count;
    const LargeSteps steps = large_steps(t, items * args.samples);
    for (std::int64_t i = steps.at; i < steps.total; i += steps.step) {
      const std::int64_t item = first_item + i / args.samples, sample = args.samples_from + i % args.samples;
      if (frames <= 0) {
        emit(args, item, sample, Value{});
        continue;
      }
      const std::int64_t begin = mel_max(args.first, item * frames);
      const std::int64_t end = mel_min(args.first + args.count, (item + 1) * frames);
      add(args, item, sample, args.first_frame + begin - item * frames, args.first_frame + end - 1 - item * frames,
          begin - args.first);
    }
  }
};

// sums[i] += the products of sample i of a chunk's frames with the signal's.
template <typename T, typename Wide>
struct LargeWindowSums {
  using Part = typename WideParts<Wide>::Part;
  struct Args {
    LargeInverseArgs<T> chunk;
    SignalArgs x;
    MEL_GLOBAL(Wide) sums;  // [n_fft]
    int begins;             // the sums, with this chunk
  };
  static constexpr int kThreads = 256;

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char)) {
    const LargeSteps steps = large_steps(t, args.chunk.transform.n_fft);
    for (std::int64_t i = steps.at; i < steps.total; i += steps.step) {
      Wide sum{};
      if (args.begins == 0) sum = args.sums[i];
      for (std::int64_t row = 0; row < args.chunk.count; ++row) {
        const LargeFrame at = large_frame(args.chunk, row);
        MEL_GLOBAL(const T)
        frame = MEL_GLOBAL_CAST(const T, args.chunk.values + row * args.chunk.transform.fft.transform);
        const std::int64_t source = source_index(args.chunk.framing, frame_start(args.chunk.framing, at.frame) + i);
        sum = add_sample_product<Part>(args.chunk.transform, args.x, item_offset(args.x.items, at.item), source, frame,
                                       static_cast<int>(i), sum);
      }
      args.sums[i] = sum;
    }
  }
};

}  // namespace melisma::gpu
