// Inverse transforms, overlap-added: any size that fits in shared memory, any hop, any strides.
//
// A block owns a stretch of one item's samples and marches over the frames that touch it, a few at a time, in order.
// The sums that later frames add to lie in a ring in shared memory; a sample is ((0 + frame t) + frame t + 1) + ...
// whichever block owns it and however many frames a step takes. Frames that touch two stretches are transformed by both
// owners.
#pragma once

#include "blocks/gpu/gradient_frames-kernel.h"
#include "blocks/gpu/inverse_frames-kernel.h"
#include "blocks/gpu/overlap_edges-kernel.h"
#include "blocks/gpu/window_tables-kernel.h"

namespace melisma::gpu {

// Value: T for real results, Complex<T> for complex ones. kAgain: the spectra are computed again from a signal.
template <typename T, typename Value, bool kAgain>
struct GenericInverse {
  using Real = T;
  static constexpr bool kGradients = kAgain;
  struct Args {
    FrameTransform<T> transform;
    SpectrumArgs<T> spectrum;
    GradientArgs<T> gradient;  // of kAgain, in place of the spectrum
    FramingArgs framing;
    Reciprocals<T> reciprocals;
    ResultArgs out;
    CopiesArgs<T> copies;
    SampleRange range[2];
    int ranges;
    std::int64_t items, stretch, stretches;  // stretches of one range
    HopBounds hop;
    int frames_per_step, ring;  // ring: values
    int window_in_shared;
  };
  static constexpr int kThreads = 256;
  static constexpr int kMinBlocks = sizeof(T) == 4 ? 3 : 1;
  static constexpr int kWidth = int(sizeof(Value) / sizeof(T));

  // A block's shared memory, in this order; inverse_shared_bytes in all.
  struct Memory {
    MEL_SHARED(Complex<T>) a;
    MEL_SHARED(Complex<T>) b;
    MEL_SHARED(Value) ring;
    MEL_SHARED(T) window;
    MEL_SHARED(T) gradient;
    MEL_SHARED(int) starts;  // of the step's frames, from the first one's
  };

  // One item's stretch.
  struct Task {
    std::int64_t item, begin, end, to;  // sample begin is written at element `to`
    std::int64_t spectrum_at, signal_at;
  };

  MEL_FN static void emit(MEL_ARGS(Args) args, MEL_LOCAL const Task& task, std::int64_t sample, Value sum) {
    sum = sum * reciprocal_at(args.reciprocals, sample + args.framing.offset);
    sum = add_copies(args.framing, args.copies, task.item, sample, sum);
    store_value(args.out, task.to + (sample - task.begin) * args.out.stride, sum);
  }

  // Adds the step's frames to the sums, and writes those that no later frame adds to: samples base .. next - 1. `held`
  // sums lie in the ring from `ring_at` on.
  MEL_FN static void add_frames(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_LOCAL const Task& task,
                                MEL_LOCAL const Memory& memory, MEL_SHARED(const T) frames, int count,
                                std::int64_t base, std::int64_t next, int held, int ring_at) {
    const int n = args.transform.n_fft, span = memory.starts[count - 1] + n, stride = 2 * args.transform.fft.size;
    const int most = static_cast<int>(mel_min(args.hop.ceil, std::int64_t(1) << 30));
    const int least = static_cast<int>(mel_min(args.hop.floor, std::int64_t(span) + 1));
    const std::int64_t skipped = mel_max(task.begin - base, std::int64_t(0));
    for (std::int64_t from = skipped + t.thread(); from < span; from += kThreads) {
      const int offset = static_cast<int>(from);
      int cell = ring_at + offset;
      if (cell >= args.ring) cell -= args.ring;
      Value sum{};
      if (offset < held) sum = memory.ring[cell];
      const int last = mel_min(offset / least, count - 1);
      for (int f = offset < n ? 0 : (offset - n) / most; f <= last; ++f) {
        const int i = offset - memory.starts[f];
        if (i < 0 || i >= n) continue;
        Value value;
        load_sample_of<T>(args.transform, frames + f * stride, i, value);
        sum = added_product(value, args.window_in_shared != 0 ? memory.window[i] : args.transform.window[i], sum);
      }
      const std::int64_t sample = base + from;
      if (sample >= next) {
        memory.ring[cell] = sum;
      } else if (sample < task.end) {
        emit(args, task, sample, sum);
      }
    }
    zeros(t, args, task, base + span, next);
  }

  // Samples first .. last - 1 of the stretch, which no frame reaches.
  MEL_FN static void zeros(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_LOCAL const Task& task, std::int64_t first,
                           std::int64_t last) {
    const std::int64_t end = mel_min(last, task.end);
    for (std::int64_t sample = mel_max(first, task.begin) + t.thread(); sample < end; sample += kThreads) {
      emit(args, task, sample, Value{});
    }
  }

  MEL_FN static void march(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_LOCAL const Task& task,
                           MEL_LOCAL const Memory& memory) {
    const std::int64_t first = first_frame(args.framing, args.hop, task.begin);
    const std::int64_t last = last_frame(args.framing, args.hop, task.end);
    if (first > last) {
      zeros(t, args, task, task.begin, task.end);
      return;
    }
    std::int64_t base = frame_start(args.framing, first);
    zeros(t, args, task, task.begin, base);
    int held = 0, ring_at = 0;
    for (std::int64_t frame = first; frame <= last; frame += args.frames_per_step) {
      const int count = static_cast<int>(mel_min(std::int64_t(args.frames_per_step), last + 1 - frame));
      t.sync();  // the step before is through with frames and starts
      if (t.thread() < count) {
        memory.starts[t.thread()] = static_cast<int>(frame_start(args.framing, frame + t.thread()) - base);
      }
      MEL_SHARED(Complex<T>) frames = memory.a;
      if (kAgain) {
        load_frames<T>(t, args.gradient.x, args.framing, args.transform, args.reciprocals, task.signal_at, frame, count,
                       frames);
      } else {
        load_spectra<T>(t, args.transform, args.spectrum, task.spectrum_at, frame, count, frames);
      }
      for (int inverse = kAgain ? 0 : 1; inverse <= 1; ++inverse) {
        frames = block_fft<T>(t, args.transform.fft, frames, frames == memory.a ? memory.b : memory.a, count);
        if (inverse != 0) break;
        spectra_to_gradients<T>(t, args.transform, args.gradient, task.spectrum_at, frame, count, frames,
                                memory.gradient);
      }
      const std::int64_t next = frame + count <= last ? frame_start(args.framing, frame + count) : task.end;
      add_frames(t, args, task, memory, MEL_SHARED_CAST(const T, frames), count, base, next, held, ring_at);
      const std::int64_t left = memory.starts[count - 1] + args.transform.n_fft - (next - base);
      held = left > 0 ? static_cast<int>(left) : 0;
      ring_at = held > 0 ? static_cast<int>((ring_at + (next - base)) % args.ring) : 0;
      base = next;
    }
  }

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    const int n = args.transform.n_fft, step = args.frames_per_step;
    Memory memory;
    memory.a = MEL_SHARED_CAST(Complex<T>, shared);
    memory.b = memory.a + step * args.transform.fft.size;
    memory.ring = MEL_SHARED_CAST(Value, memory.b + step * args.transform.fft.size);
    memory.window = MEL_SHARED_CAST(T, memory.ring + args.ring);
    memory.gradient = memory.window + (args.window_in_shared != 0 ? n : 0);
    memory.starts = MEL_SHARED_CAST(int, memory.gradient + (kAgain ? gradient_values(args.gradient, step) : 0));
    if (args.window_in_shared != 0) {
      for (int i = t.thread(); i < n; i += kThreads) memory.window[i] = args.transform.window[i];
    }
    const std::int64_t per_item = args.ranges * args.stretches;
    for (std::int64_t i = t.block(); i < args.items * per_item; i += t.blocks()) {
      Task task;
      task.item = i / per_item;
      const int range = static_cast<int>(i % per_item / args.stretches);
      task.begin = args.range[range].begin + i % args.stretches * args.stretch;
      task.end = mel_min(task.begin + args.stretch, args.range[range].end);
      if (task.begin >= task.end) continue;  // the same for all threads
      task.to = item_offset(args.out.items, task.item) +
                (args.range[range].to + task.begin - args.range[range].begin) * args.out.stride;
      task.spectrum_at = item_offset((kAgain ? args.gradient.grad : args.spectrum.grid).items, task.item);
      task.signal_at = kAgain ? item_offset(args.gradient.x.items, task.item) : 0;
      march(t, args, task, memory);
    }
  }
};

}  // namespace melisma::gpu
