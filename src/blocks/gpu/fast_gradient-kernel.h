// Gradients of a signal, in float32, from those of |X|^power or of the bands of a filter bank over it.
//
// Blocks march along an item as the fast inverse's do. A warp transforms its frames of the signal again as the fast
// forward does, multiplies each bin X_k by half of dL/d|X_k|^power times power |X_k|^(power - 2), and transforms what
// this gives back; the block adds up.
#pragma once

#include "blocks/gpu/fast_forward-kernel.h"
#include "blocks/gpu/fast_overlap_add-kernel.h"
#include "blocks/gpu/gradient_frames-kernel.h"
#include "blocks/gpu/inverse_transform-kernel.h"

namespace melisma::gpu {

inline constexpr int kGradientBands = 129;  // whose gradients a frame's memory holds, at least, and a zero

// Forward: a FastPlan, Inverse: an InversePlan of the same size, with as many frames a warp. A frame's memory takes in
// turn the warp's share of the exchange; |X|^power, with zeros behind; the spectrum; what the inverse transform needs.
// Its bands' gradients stand behind the spectrum.
template <class Forward_, class Inverse_>
struct GradientPlan : Inverse_ {
  using Forward = Forward_;
  enum : int {
    kBandsAt = 2 * int(Forward::M) + 4,
    kOfExchange = (2 * int(Forward::kExchange) + int(Inverse_::kGroups) - 1) / int(Inverse_::kGroups),
    kWithBands = kBandsAt + kGradientBands,
    kLeast = kOfExchange > kWithBands ? kOfExchange : kWithBands,
    kMore = kLeast > int(Inverse_::kFrameFloats) ? kLeast - int(Inverse_::kFrameFloats) : 0,
    kFrameFloats =
        int(Inverse_::kFrameFloats) + (Inverse_::kLanes >= 32 ? (kMore + 3) / 4 * 4 : (kMore + 31) / 32 * 32),
  };
  static_assert(int(Forward::N) == int(Inverse_::N) && int(Forward::kFrames) == int(Inverse_::kGroups), "one warp's");
};

// The weights of a bin k's bands, of GradientArgs::bands_of_bin: two at weights + 2 k, the next two `pitch` floats on.
// Weights of 0 say nothing about a band.
struct BinBandsArgs {
  MEL_GLOBAL(const float) weights;
  int pairs, pitch;  // pairs: of every bin, zeros where it has fewer; 0: as many as the bin has bands
};

// BandBins' table; null: the bank's matrix is read.
struct BandBinsArgs {
  MEL_GLOBAL(const float) table;
  int weights;  // floats to the weights
};

template <class Plan, typename Wide>
struct FastGradient {
  using Forward = typename Plan::Forward;
  struct Args {
    FastSamples samples;
    std::int64_t inside_to, next_samples;  // as FastForwardArgs'
    MEL_GLOBAL(const float) forward_twiddles;
    GradientArgs<float> gradient;
    BinBandsArgs bands_of_bin;
    BandBinsArgs bins_of_band;  // of a logarithm
    OverlapAddArgs<Wide> sums;
    MEL_GLOBAL(const float) twiddles;  // as FastInverse's
  };
  enum : int { N = Plan::N, M = Forward::M, kFrames = Plan::kFrames, kGroups = Plan::kGroups };
  static constexpr int kThreads = Plan::kThreads, kMinBlocks = Plan::kMinBlocks;
  using BackPlan = Plan;
  using WideSum = Wide;
  using Sums = OverlapAdd<Plan, Wide>;

  // Shared memory, in this order, and what the overlap-add needs.
  enum : int {
    kTwiddlesAt = Plan::kFrames * int(Plan::kFrameFloats),
    kTablesAt = kTwiddlesAt + int(Plan::kTwiddleFloats),
    kSumsAt = kTablesAt + int(Forward::kTableFloats),
  };

  // What a thread knows of a task while it lasts.
  struct Source {
    std::int64_t signal_at, grad_at;
    int frames;
  };

  // The spectra of the warp's frames `frame` .. `frame` + count - 1.
  MEL_FN static void transform(MEL_THREAD_ARG t, MEL_ARGS(Args) args, FastLane lane, std::int64_t item_at,
                               std::int64_t frame, int count, MEL_SHARED(const float) tables, MEL_SHARED(float) area,
                               MEL_LOCAL FastSlots<Forward>& slots) {
    MEL_SHARED(float) exchange = area + 2 * Forward::kFrame * lane.frame;
    MEL_ARGS(FramingArgs) framing = args.samples.framing;
    const std::int64_t first_start = frame_start(framing, frame), last_start = frame_start(framing, frame + count - 1);
    // lanes without a frame repeat the last one
    const std::int64_t start = frame_start(framing, frame + mel_min(lane.frame, count - 1));
    const bool inside = first_start >= 0 && last_start <= args.inside_to;
    int input = args.samples.input;
    if (!inside || input == kInputAny) {
      input = kInputAny;
      gather<Forward>(t, args.samples, lane, item_at, start, inside, exchange);
    }
    MEL_GLOBAL(const char) first = MEL_GLOBAL_CAST(const char, args.samples.x.data);
    if (input != kInputAny) first += (item_at + start) * args.samples.sample_bytes;
    MEL_NO_UNROLL
    for (int i = 0; i < Forward::kColumns; ++i) {
      const int column = lane.unit + i * Forward::kLanes;
      const bool there = Forward::kAllColumns || column < Forward::B;
      const int safe = there ? column : mel_min(lane.unit, int(Forward::B) - 1);
      Complex<float> v[Forward::A];
      load_column<Forward>(first, input, args.samples.x.type, exchange, safe, v);
      // Lanes and columns left over have read what others are about to write.
      if ((!Forward::kAllLanes || !Forward::kAllColumns) && input == kInputAny) t.sync_warp();
      if (i == 0) {
        prefetch_samples(t, args.samples, item_at, last_start + args.next_samples, args.samples.new_samples);
      }
      transform_column<Forward>(v, tables, 0, safe);
      if (lane.active && there) {
        MEL_UNROLL
        for (int k = 0; k < Forward::A; ++k) {
          mel_store2(exchange + 2 * (Forward::kRow * k + column), Vec2<float>{v[k].re, v[k].im});
        }
      }
    }
    t.sync_warp();
    transform_rows<Forward>(t, lane, exchange, tables, slots);
  }

  // Elements at, at + step ... of the gradient.
  template <int kCount>
  MEL_FN static void load_gradients(MEL_ARGS(GridArgs) grad, std::int64_t at, std::int64_t step, int last,
                                    MEL_LOCAL float (&values)[kCount]) {
    if (grad.type == kSampleFloat32) {
      MEL_GLOBAL(const float) from = MEL_GLOBAL_CAST(const float, grad.data) + at;
      MEL_UNROLL
      for (int i = 0; i < kCount; ++i) values[i] = from[mel_min(i, last) * step];
    } else {
      MEL_GLOBAL(const std::uint16_t) from = MEL_GLOBAL_CAST(const std::uint16_t, grad.data) + at;
      std::uint16_t words[kCount];
      MEL_UNROLL
      for (int i = 0; i < kCount; ++i) words[i] = from[mel_min(i, last) * step];
      convert_halves(grad.type, words, values);
    }
  }

  // Frames first .. first + kFrames - 1 of the gradient will be read.
  MEL_FN static void prefetch_gradients(MEL_THREAD_ARG t, MEL_ARGS(GradientArgs<float>) gradient,
                                        MEL_LOCAL const Source& source, int first) {
    const int count = mel_min(source.frames - first, int(kFrames));
    if (count <= 0) return;
    MEL_ARGS(GridArgs) grad = gradient.grad;
    const int bytes = grad.type == kSampleFloat32 ? 4 : 2;
    const int rows = gradient.with_bands != 0 ? gradient.bank.bands : gradient.bins;
    const bool across = frames_are_contiguous(grad);
    MEL_GLOBAL(const char) data = MEL_GLOBAL_CAST(const char, grad.data);
    data += (source.grad_at + first * grad.frame_stride) * bytes;
    const int sector = 32 / bytes;
    if (across) {
      for (int row = t.thread(); row < rows; row += kThreads) {
        for (int f = count - 1; f >= 0; f -= sector) {
          t.prefetch(data + (row * grad.bin_stride + f * grad.frame_stride) * bytes);
        }
      }
      return;
    }
    for (int f = t.warp(); f < count; f += kThreads / 32) {
      for (int row = t.lane() * sector; row < rows; row += 32 * sector) {
        t.prefetch(data + (row * grad.bin_stride + f * grad.frame_stride) * bytes);
      }
    }
  }

  // The frame's |X|^power from its squares, zeros behind them.
  MEL_FN static void raise(MEL_ARGS(Args) args, int unit, MEL_SHARED(float) squares) {
    if (unit == 0) {
      for (int k = args.gradient.bins; k < M + 4; ++k) squares[k] = 0.0f;
    }
    if (args.gradient.power.kind == 2) return;
    MEL_NO_UNROLL
    for (int k = unit; k < args.gradient.bins; k += Forward::kLanes) {
      const float square = squares[k];
      if (args.gradient.power.kind == 1) {
        squares[k] = mel_fast_sqrt(square);
      } else if (square != 0.0f) {
        squares[k] = mel_pow(square, args.gradient.power.half);
      }
    }
  }

  // A band's sum; range: its first bin and how many fours of weights it has.
  MEL_FN static float band_sum(Vec2<std::int32_t> range, MEL_GLOBAL(const float) weights,
                               MEL_SHARED(const float) powers) {
    MEL_SHARED(const float) power = powers + range.x;
    float even = 0.0f, odd = 0.0f;
    MEL_NO_UNROLL
    for (int j = 0; j < range.y; ++j) {
      const Vec4<float> w = mel_load4(weights);
      const Vec2<float> low = mel_load2(power), high = mel_load2(power + 2);
      even = mel_fma(w.x, low.x, even);
      odd = mel_fma(w.y, low.y, odd);
      even = mel_fma(w.z, high.x, even);
      odd = mel_fma(w.w, high.y, odd);
      weights += 4 * Forward::kLanes;
      power += 4;
    }
    return even + odd;
  }

  // The gradients with respect to the frame's bands before the logarithm, a zero behind them; at: elements to that of
  // its first band.
  MEL_FN static void store_bands(MEL_ARGS(Args) args, int unit, std::int64_t at, MEL_SHARED(const float) powers,
                                 MEL_SHARED(float) bands) {
    enum : int { L = Forward::kLanes, kTogether = L < 16 ? 8 : 4 };
    MEL_ARGS(GridArgs) grad = args.gradient.grad;
    const int count = args.gradient.bank.bands;
    MEL_NO_UNROLL
    for (int first = unit; first < count; first += kTogether * L) {
      float values[kTogether];
      load_gradients(grad, at + first * grad.bin_stride, L * grad.bin_stride, (count - 1 - first) / L, values);
      MEL_UNROLL
      for (int i = 0; i < kTogether; ++i) {
        if (first + i * L < count) bands[first + i * L] = args.gradient.gain * values[i];
      }
    }
    if (unit == 0) bands[count] = 0.0f;
    if (args.gradient.log.enabled == 0) return;
    if (args.bins_of_band.table == nullptr) {
      MEL_NO_UNROLL
      for (int band = unit; band < count; band += L) {
        const float sum = band_value<float>(args.gradient.bank, band, powers);
        bands[band] = log_gradient(args.gradient.log, bands[band], sum);
      }
      return;
    }
    MEL_GLOBAL(const std::int32_t) ranges = MEL_GLOBAL_CAST(const std::int32_t, args.bins_of_band.table);
    MEL_GLOBAL(const float) weights = args.bins_of_band.table + (args.bins_of_band.weights + 4 * unit);
    MEL_NO_UNROLL
    for (int band = unit; band < count; band += L) {
      const Vec2<std::int32_t> range = mel_load2(ranges + 2 * band);
      const float sum = band_sum(range, weights, powers);
      weights += range.y * (4 * L);
      bands[band] = log_gradient(args.gradient.log, bands[band], sum);
    }
  }

  // The parts of the bands' gradients of bins k, k + L ...
  template <int kCount>
  MEL_FN static void band_parts(MEL_ARGS(BinBandsArgs) of, MEL_GLOBAL(const BandRange) ranges, int k,
                                MEL_SHARED(const float) bands, MEL_LOCAL float (&parts)[kCount]) {
    enum : int { L = Forward::kLanes };
    MEL_SHARED(const float) from[kCount];
    int pairs = of.pairs;
    MEL_UNROLL
    for (int i = 0; i < kCount; ++i) from[i] = bands + ranges[k + i * L].first;
    if (pairs == 0) {
      MEL_UNROLL
      for (int i = 0; i < kCount; ++i) pairs = mel_max(pairs, (ranges[k + i * L].count + 1) / 2);
    }
    MEL_GLOBAL(const float) weights = of.weights + 2 * k;
    Vec2<float> w[kCount];
    MEL_UNROLL
    for (int i = 0; i < kCount; ++i) w[i] = mel_load2(weights + 2 * i * L);
    MEL_UNROLL
    for (int i = 0; i < kCount; ++i) {
      parts[i] = w[i].x * from[i][0];
      if (w[i].y != 0.0f) parts[i] = mel_fma(w[i].y, from[i][1], parts[i]);
    }
    MEL_NO_UNROLL
    for (int pair = 1; pair < pairs; ++pair) {
      weights += of.pitch;
      MEL_UNROLL
      for (int i = 0; i < kCount; ++i) {
        const Vec2<float> more = mel_load2(weights + 2 * i * L);
        if (more.x != 0.0f) parts[i] = mel_fma(more.x, from[i][2 * pair], parts[i]);
        if (more.y != 0.0f) parts[i] = mel_fma(more.y, from[i][2 * pair + 1], parts[i]);
      }
    }
  }

  // Bins k, k + L ... of the spectrum to the gradient with respect to them.
  template <int kCount>
  MEL_FN static void scale_bins(MEL_ARGS(Args) args, int k, std::int64_t at, MEL_SHARED(float) spectrum,
                                MEL_SHARED(const float) bands) {
    MEL_ARGS(GradientArgs<float>) gradient = args.gradient;
    float factors[kCount];
    if (gradient.with_bands == 0) {
      load_gradients(gradient.grad, at + k * gradient.grad.bin_stride, Forward::kLanes * gradient.grad.bin_stride,
                     kCount, factors);
      MEL_UNROLL
      for (int i = 0; i < kCount; ++i) factors[i] = gradient.gain * factors[i];
    } else {
      band_parts(args.bands_of_bin, gradient.bands_of_bin, k, bands, factors);
    }
    MEL_SHARED(float) bins = spectrum + 2 * k;
    if (gradient.power.kind == 1) {
      MEL_UNROLL
      for (int i = 0; i < kCount; ++i) {
        const Vec2<float> x = mel_load2(bins + 2 * i * Forward::kLanes);
        const float square = mel_fma(x.x, x.x, x.y * x.y);
        factors[i] = square < gradient.slope.least ? 0.0f : factors[i] * mel_rsqrt(square);
      }
    }
    MEL_UNROLL
    for (int i = 0; i < kCount; ++i) {
      MEL_SHARED(float) bin = bins + 2 * i * Forward::kLanes;
      const Vec2<float> x = mel_load2(bin);
      mel_store2(bin, Vec2<float>{factors[i] * x.x, factors[i] * x.y});
    }
  }

  // The frame's bins times |X|^(power - 2), of powers other than 1 and 2.
  MEL_FN static void slope_bins(MEL_ARGS(Args) args, int unit, MEL_SHARED(float) spectrum) {
    MEL_NO_UNROLL
    for (int k = unit; k <= M; k += Forward::kLanes) {
      const Vec2<float> x = mel_load2(spectrum + 2 * k);
      const float slope = power_slope(args.gradient, Complex<float>{x.x, x.y});
      mel_store2(spectrum + 2 * k, Vec2<float>{slope * x.x, slope * x.y});
    }
  }

  // Half of the gradient with respect to the frame's spectrum, into the frame's memory.
  MEL_FN static void store_gradient(MEL_THREAD_ARG t, MEL_ARGS(Args) args, FastLane lane, std::int64_t at,
                                    MEL_LOCAL FastSlots<Forward>& slots, MEL_SHARED(float) frame) {
    enum : int {
      kBins = int(M) / int(Forward::kLanes),  // of a lane, beside the last one
      kTogether = kBins % 16 == 0   ? 16
                  : kBins % 20 == 0 ? 20
                                    : 15,
    };
    static_assert(int(kBins) % int(kTogether) == 0, "whole batches");
    MEL_SHARED(float) bands = frame + Plan::kBandsAt;
    if (args.gradient.with_bands != 0) {
      if (args.gradient.log.enabled != 0) {
        if (lane.active) put_bins<Forward, float>(lane, slots, M + 1, 1.0f, frame);
        t.sync_warp();
        if (lane.active) raise(args, lane.unit, frame);
        t.sync_warp();
      }
      if (lane.active) store_bands(args, lane.unit, at, frame, bands);
      t.sync_warp();
    }
    if (lane.active) put_bins<Forward, Complex<float>>(lane, slots, M + 1, 1.0f, frame);
    t.sync_warp();
    if (args.gradient.power.kind == 0) {
      if (lane.active) slope_bins(args, lane.unit, frame);
      t.sync_warp();
    }
    if (lane.active) {
      MEL_NO_UNROLL
      for (int i = 0; i < kBins; i += kTogether) {
        scale_bins<kTogether>(args, lane.unit + i * Forward::kLanes, at, frame, bands);
      }
      if (lane.unit == 0 && args.gradient.bins > M) scale_bins<1>(args, M, at, frame, bands);
    }
    t.sync_warp();
  }

  MEL_FN static void march(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_LOCAL const OverlapShare& share,
                           MEL_LOCAL const OverlapTask& task, MEL_LOCAL const Source& source,
                           MEL_SHARED(float) memory) {
    MEL_SHARED(float) area = memory + t.warp() * kGroups * Plan::kFrameFloats;
    const FastLane lane = fast_lane<Forward>(t);
    // Of the way back: lanes left over go along with the last frame.
    const int group = mel_min(t.lane() / Plan::kLanes, kGroups - 1), back = t.lane() - group * Plan::kLanes;
    MEL_NO_UNROLL
    for (int first = task.first_frame; first < task.end; first += kFrames) {
      const int count = mel_min(int(kFrames), task.end - first);
      const int there = mel_max(0, mel_min(source.frames - first, count));
      const int frame = first + t.warp() * kGroups, mine = mel_min(there - t.warp() * kGroups, int(kGroups));
      prefetch_gradients(t, args.gradient, source, first + kFrames);
      if (mine > 0) {  // the same for all lanes of the warp
        FastSlots<Forward> slots;
        transform(t, args, lane, source.signal_at, frame, mine, memory + kTablesAt, area, slots);
        const std::int64_t at =
            source.grad_at + (frame + mel_min(lane.frame, mine - 1)) * args.gradient.grad.frame_stride;
        store_gradient(t, args, lane, at, slots, area + lane.frame * Plan::kFrameFloats);
        MEL_SHARED(float) samples = area + group * Plan::kFrameFloats;
        InverseFrame<Plan>::run(
            t,
            back < Plan::kLanes &&
                group<mine, back, MEL_SHARED_CAST(Complex<float>, samples), samples, args.gradient.bins> M,
            2.0f, MEL_SHARED_CAST(const Complex<float>, memory + kTwiddlesAt));
      }
      t.sync();
      Sums::add(t, args.sums, share, task, first, count, there, memory, memory + kSumsAt);
      t.sync();
    }
  }

  MEL_FN static void load_twiddles(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(float) twiddles) {
    for (int i = 4 * t.thread(); i < Plan::kTwiddleFloats; i += 4 * kThreads) {
      mel_store4(twiddles + i, mel_load4(args.twiddles + i));
    }
  }

  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    MEL_SHARED(float) memory = MEL_SHARED_CAST(float, shared);
    const std::int64_t end = Sums::boundary(args.sums, t.block() + 1);
    std::int64_t at = Sums::boundary(args.sums, t.block());
    if (at >= end) return;  // the same for all threads
    load_tables<Forward, kThreads>(t, args.samples, args.forward_twiddles, memory + kTablesAt);
    load_twiddles(t, args, memory + kTwiddlesAt);
    Sums::prepare(t, args.sums, memory + kSumsAt);
    t.sync();
    const OverlapShare share = Sums::share_of(t, args.sums);
    MEL_NO_UNROLL
    while (at < end) {
      const OverlapTask task = Sums::next_task(args.sums, at, end);
      const Source source{item_offset(args.samples.x.items, task.item),
                          item_offset(args.gradient.grad.items, task.item), static_cast<int>(args.sums.framing.frames)};
      march(t, args, share, task, source, memory);
    }
  }
};

}  // namespace melisma::gpu
