// The gradient with respect to the window: a spectrum's frames, inverse-transformed, times the signal's, summed over
// frames and items. Groups of frames that depend on the job alone are summed by a block each, then the groups' sums.
#pragma once

#include "blocks/gpu/inverse_frames-kernel.h"
#include "blocks/gpu/wide-kernel.h"

namespace melisma::gpu {

template <typename T, typename Wide>
struct WindowSums {
  using Part = typename WideParts<Wide>::Part;
  struct Args {
    FrameTransform<T> transform;
    SpectrumArgs<T> spectrum;
    SignalArgs x;
    FramingArgs framing;
    MEL_GLOBAL(Wide) sums;                    // [groups][n_fft]
    std::int64_t frames, group_frames, more;  // frames: of all items; the first `more` groups have one more
    int frames_per_step;
  };
  static constexpr int kThreads = 256;

  // sums += the products of frames first .. first + count - 1 of the item whose signal begins at element signal_at.
  MEL_FN static void add_products(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(const T) frames, int count,
                                  std::int64_t signal_at, std::int64_t first, MEL_SHARED(Wide) sums) {
    const int n = args.transform.n_fft, stride = 2 * args.transform.fft.size;
    for (int f = 0; f < count; ++f) {
      MEL_SHARED(const T) frame = frames + f * stride;
      const std::int64_t start = frame_start(args.framing, first + f);
      for (int i = t.thread(); i < n; i += kThreads) {
        const std::int64_t source = source_index(args.framing, start + i);
        sums[i] = add_sample_product<Part>(args.transform, args.x, signal_at, source, frame, i, Wide(sums[i]));
      }
    }
  }

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    const int n = args.transform.n_fft;
    MEL_SHARED(Complex<T>) a = MEL_SHARED_CAST(Complex<T>, shared);
    MEL_SHARED(Complex<T>) b = a + args.frames_per_step * args.transform.fft.size;
    MEL_SHARED(Wide) sums = MEL_SHARED_CAST(Wide, b + args.frames_per_step * args.transform.fft.size);
    for (int i = t.thread(); i < n; i += kThreads) sums[i] = Wide{};
    std::int64_t at = t.block() * args.group_frames + mel_min(t.block(), args.more);
    const std::int64_t end = at + args.group_frames + (t.block() < args.more ? 1 : 0);
    while (at < end) {
      const std::int64_t item = at / args.framing.frames, first = at % args.framing.frames;
      const int count =
          static_cast<int>(mel_min(std::int64_t(args.frames_per_step), mel_min(end - at, args.framing.frames - first)));
      t.sync();  // the step before is through with its frames
      load_spectra<T>(t, args.transform, args.spectrum, item_offset(args.spectrum.grid.items, item), first, count, a);
      MEL_SHARED(Complex<T>) frames = block_fft<T>(t, args.transform.fft, a, b, count);
      add_products(t, args, MEL_SHARED_CAST(const T, frames), count, item_offset(args.x.items, item), first, sums);
      at += count;
    }
    for (int i = t.thread(); i < n; i += kThreads) args.sums[t.block() * n + i] = sums[i];
  }
};

// out[i] = scale * sum over groups of sums[group][first + i].
template <typename Wide>
struct AddWindowSums {
  using Part = typename WideParts<Wide>::Part;
  struct Args {
    MEL_GLOBAL(const Wide) sums;  // [groups][n_fft]
    std::int64_t groups, n_fft, first, length;
    Wide scale;
    MEL_GLOBAL(void) out;
    std::int64_t stride;
    int type;
  };
  static constexpr int kThreads = 256;
  static constexpr int kSlices = kThreads / 32;  // of the groups; a warp takes 32 samples of one slice
  static constexpr int kSharedBytes = kThreads * int(sizeof(Wide));

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    MEL_SHARED(Wide) slices = MEL_SHARED_CAST(Wide, shared);
    const std::int64_t i = t.block() * 32 + t.lane();
    const std::int64_t slice = (args.groups + kSlices - 1) / kSlices, begin = t.warp() * slice;
    const std::int64_t end = mel_min(begin + slice, args.groups);
    Wide sum{};
    if (i < args.length) {
      for (std::int64_t group = begin; group < end; ++group) {
        sum = wide_sum(sum, args.sums[group * args.n_fft + args.first + i]);
      }
    }
    slices[t.thread()] = sum;
    t.sync();
    if (t.warp() != 0 || i >= args.length) return;
    for (int s = 1; s < kSlices; ++s) sum = wide_sum(sum, slices[s * 32 + t.lane()]);
    store_real(args.out, args.type, i * args.stride, wide_to<Part>(wide_product(sum, args.scale)));
  }
};

}  // namespace melisma::gpu
