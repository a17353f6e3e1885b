// The inverse transforms of a spectrogram's frames, from memory of any strides to a consumer of frames.

// clang-format off
#if defined(MELISMA_BLOCKS_OVERLAP_ADD_INVERSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MELISMA_BLOCKS_OVERLAP_ADD_INVERSE_INL_H_
#undef MELISMA_BLOCKS_OVERLAP_ADD_INVERSE_INL_H_
#else
#define MELISMA_BLOCKS_OVERLAP_ADD_INVERSE_INL_H_
#endif
// clang-format on

#include <algorithm>
#include <type_traits>

#include "blocks/overlap_add/inverse.h"
#include "blocks/overlap_add/tuning.h"
#include "blocks/spectrum/spectrum-inl.h"
#include "runtime/cpu/highway.h"
#include "runtime/scratch.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rows of interleaved bins, as the inverse transform takes them, from a spectrum of any strides and of In (float or
// double) parts.
template <typename C, typename In>
class SpectrumRows {
 public:
  SpectrumRows(const InverseJob& job, std::int64_t item)
      : job_(job), data_(static_cast<const In*>(job.spec.data) + 2 * item_offset(job.spec, 2, item)) {}

  static std::int64_t bins(const InverseJob& job) {
    return job.bins == BinSet::kAll ? job.framing.n_fft : job.framing.n_fft / 2 + 1;
  }
  // Whether the rows are the spectrum's own memory.
  static bool direct(const InverseJob& job) {
    return std::is_same_v<C, In> && (job.bins == BinSet::kHalf || job.bins == BinSet::kAll) &&
           (job.bin_stride == 1 || bins(job) == 1);
  }

  // The memory of frames first .. first + count - 1, where they follow each other.
  Ahead ahead(std::int64_t first, std::int64_t count) const {
    const std::int64_t all = bins(job_);
    if (count < 1 || !direct(job_) || job_.frame_stride != all) return {nullptr, 0};
    return {reinterpret_cast<const char*>(data_ + 2 * first * job_.frame_stride),
            count * all * 2 * static_cast<std::int64_t>(sizeof(In))};
  }

  // rows[r] for frames first .. first + count - 1; copies has room for count rows where they are not direct.
  void get(std::int64_t first, std::int64_t count, C* copies, const C** rows) const {
    if constexpr (std::is_same_v<C, In>) {
      if (direct(job_)) {
        for (std::int64_t r = 0; r < count; ++r) rows[r] = data_ + 2 * (first + r) * job_.frame_stride;
        return;
      }
    }
    const std::int64_t all = bins(job_), given = job_.bins == BinSet::kNoNyquist ? all - 1 : all;
    for (std::int64_t k = 0; k < given; ++k) {  // bins outside: neighbouring frames share cache lines
      for (std::int64_t r = 0; r < count; ++r) {
        const In* from = at(k, first + r);
        copies[(r * all + k) * 2] = static_cast<C>(from[0]);
        copies[(r * all + k) * 2 + 1] = static_cast<C>(from[1]);
      }
    }
    for (std::int64_t r = 0; r < count; ++r) {
      rows[r] = copies + r * all * 2;
      if (given < all) copies[(r * all + given) * 2] = copies[(r * all + given) * 2 + 1] = C{0};
    }
    if (job_.bins == BinSet::kFolded) fold(first, count, copies);
  }

 private:
  const In* at(std::int64_t k, std::int64_t t) const {
    return data_ + 2 * (k * job_.bin_stride + t * job_.frame_stride);
  }

  void fold(std::int64_t first, std::int64_t count, C* copies) const {
    const std::int64_t n_fft = job_.framing.n_fft, all = bins(job_);
    for (std::int64_t k = 1; 2 * k < n_fft; ++k) {
      for (std::int64_t r = 0; r < count; ++r) {
        const In* from = at(n_fft - k, first + r);
        copies[(r * all + k) * 2] += static_cast<C>(from[0]);
        copies[(r * all + k) * 2 + 1] -= static_cast<C>(from[1]);
      }
    }
  }

  const InverseJob& job_;
  const In* data_;
};

// One frame per lane: any job, with spectra of In parts computed in C.
template <typename C, typename In>
class InverseLanes {
 public:
  using Value = C;
  using Stored = In;

  explicit InverseLanes(const InverseJob& job)
      : job_(job), inverse_(job.framing.n_fft, job.bins == BinSet::kAll, job.edge_bins) {}

  std::int64_t width() const { return inverse_.width(); }
  std::size_t bytes() const {
    return scratch_bytes<C>(values()) + scratch_bytes<C>(copies()) + scratch_bytes<C>(frames());
  }

  // Frames t0 .. t1 of an item, in order and times n_fft: consumer.add(t, frame). Takes bytes() of scratch.
  template <class Consumer>
  void run(std::int64_t item, std::int64_t t0, std::int64_t t1, Scratch& scratch, Consumer& consumer) const {
    C* work = scratch.take<C>(values());
    C* copy = scratch.take<C>(copies());
    C* frame = scratch.take<C>(frames());
    C* results[L];
    for (std::int64_t r = 0; r < L; ++r) results[r] = frame + r * job_.framing.n_fft * width();
    const SpectrumRows<C, In> source(job_, item);
    for (std::int64_t t = t0; t <= t1; t += L) {
      const std::int64_t count = std::min(L, t1 + 1 - t);
      const C* rows[L];
      source.get(t, count, copy, rows);
      std::fill(rows + count, rows + L, rows[0]);  // lanes without a frame repeat one
      inverse_.run(rows, work, results, count, source.ahead(t + L, std::min(L, t1 + 1 - t - L)));
      for (std::int64_t r = 0; r < count; ++r) consumer.add(t + r, results[r]);
    }
  }

 private:
  static constexpr std::int64_t L = LanesInverse<C>::kLanes;
  std::size_t values() const { return static_cast<std::size_t>(inverse_.values()); }
  std::size_t copies() const { return static_cast<std::size_t>(L * inverse_.bins() * 2); }
  std::size_t frames() const { return static_cast<std::size_t>(L * job_.framing.n_fft * width()); }

  const InverseJob& job_;
  LanesInverse<C> inverse_;
};

// One frame across the lanes: real results whose size rows_fit.
template <typename C>
class InverseRows {
 public:
  using Value = C;
  using Stored = C;

  explicit InverseRows(const InverseJob& job) : job_(job), inverse_(job.framing.n_fft, job.edge_bins) {}

  std::int64_t width() const { return 1; }
  std::size_t bytes() const { return 2 * scratch_bytes<C>(values()) + scratch_bytes<C>(copies()); }

  // As InverseLanes: consumer.add(t, even, odd) gets a frame's even and its odd samples.
  template <class Consumer>
  void run(std::int64_t item, std::int64_t t0, std::int64_t t1, Scratch& scratch, Consumer& consumer) const {
    constexpr std::int64_t kGather = overlap_add_tuning::kGatherFrames;
    C* z = scratch.take<C>(values());
    C* work = scratch.take<C>(values());
    C* copy = scratch.take<C>(copies());
    const SpectrumRows<C, C> source(job_, item);
    const std::int64_t next = SpectrumRows<C, C>::direct(job_) ? 2 * job_.frame_stride : 0;
    for (std::int64_t t = t0; t <= t1; t += kGather) {
      const std::int64_t count = std::min(kGather, t1 + 1 - t);
      const C* rows[kGather];
      source.get(t, count, copy, rows);
      for (std::int64_t r = 0; r < count; ++r) {
        const C* odd = inverse_.frame(rows[r], z, work, next);
        consumer.add(t + r, odd + inverse_.even(), odd);
      }
    }
  }

 private:
  std::size_t values() const { return static_cast<std::size_t>(inverse_.values()); }
  std::size_t copies() const {
    if (SpectrumRows<C, C>::direct(job_)) return 0;
    return static_cast<std::size_t>(overlap_add_tuning::kGatherFrames * SpectrumRows<C, C>::bins(job_) * 2);
  }

  const InverseJob& job_;
  RowsInverse<C> inverse_;
};

// f(inverse), with the form that a job takes.
template <class F>
void with_inverse(const InverseJob& job, const F& f) {
  const std::int64_t n_fft = job.framing.n_fft;
  const bool complex_result = job.bins == BinSet::kAll;
  if (job.spec.dtype == DType::kComplex128) {
    if (!complex_result && rows_fit<double>(n_fft)) return f(InverseRows<double>(job));
    return f(InverseLanes<double, double>(job));
  }
  if (computes_in_float64(n_fft, complex_result)) return f(InverseLanes<double, float>(job));
  if (!complex_result && rows_fit<float>(n_fft)) return f(InverseRows<float>(job));
  f(InverseLanes<float, float>(job));
}

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif
