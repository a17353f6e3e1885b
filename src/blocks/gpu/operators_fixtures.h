// What tests of the public operators on emulated GPU tensors share.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "melisma/melisma.h"
#include "testing/array.h"
#include "testing/emulator_backend.h"
#include "testing/fixtures.h"

namespace melisma::testing {

// The root mean square of the difference, of the wanted values'.
inline double relative_error(const Array& got, const Array& want) {
  double difference = 0.0, size = 0.0;
  for (std::int64_t i = 0; i < want.numel(); ++i) {
    difference += std::norm(got.get(i) - want.get(i));
    size += std::norm(want.get(i));
  }
  return size > 0.0 ? std::sqrt(difference / size) : std::sqrt(difference);
}

// A transform of n values rounds each about log2(n) times; half results round once more at the store.
inline double most_error(DType stored) {
  switch (stored) {
    case DType::kFloat64:
    case DType::kComplex128: return 1e-13;
    case DType::kFloat16: return 1e-3;
    case DType::kBFloat16: return 8e-3;
    default: return 1e-6;
  }
}

inline void expect_close(const Array& got, const Array& want, double most, const std::string& what) {
  got.expect_written_exactly(what);
  const double error = relative_error(got, want);
  EXPECT_TRUE(error <= most) << what << ": relative error " << error << ", at most " << most;
}

struct FrameCase {
  const char* name;
  FrameParams frames;
  std::int64_t samples;
};

// Sizes with and without a fast kernel, primes, every padding, hops that divide nothing, windows shorter than n_fft.
inline std::vector<FrameCase> frame_cases() {
  std::vector<FrameCase> cases;
  const auto add = [&](const char* name, std::int64_t n_fft, std::int64_t hop, std::int64_t samples, auto change) {
    FrameParams frames;
    frames.n_fft = n_fft;
    frames.hop_length = hop;
    change(frames);
    cases.push_back({name, frames, samples});
  };
  add("reflect 512", 512, 128, 3000, [](FrameParams&) {});
  add("reflect 400", 400, 160, 2801, [](FrameParams&) {});
  add("reflect 1024", 1024, 256, 5000, [](FrameParams& f) { f.win_length = 800; });
  add("constant 2048", 2048, 500, 6001, [](FrameParams& f) { f.pad_mode = PadMode::kConstant; });
  add("replicate 480", 480, 113, 1999, [](FrameParams& f) { f.pad_mode = PadMode::kReplicate; });
  add("circular 64", 64, 7, 301, [](FrameParams& f) { f.pad_mode = PadMode::kCircular; });
  add("prime 101", 101, 30, 700, [](FrameParams& f) { f.pad = 9; });
  add("no center 256", 256, 64, 1500, [](FrameParams& f) { f.center = false; });
  add("aligned 256", 256, 100, 1111, [](FrameParams& f) {
    f.center = false;
    f.win_length = 200;
    f.align_to_window = true;
  });
  add("fractional 128", 128, 0, 900, [](FrameParams& f) {
    f.pad_mode = PadMode::kConstant;
    f.tail = FrameTail::kCovers;
    f.fractional_hop = 44.1;
  });
  add("odd 15", 15, 4, 77, [](FrameParams&) {});
  add("one 1", 1, 1, 5, [](FrameParams&) {});
  return cases;
}

inline std::string text_of(const FrameCase& frame, const std::string& more) {
  return std::string(frame.name) + ", " + more;
}

inline Tensor emulated_or_null(const Window& window) {
  return window.get() == nullptr ? Tensor() : emulated(*window.get());
}

}  // namespace melisma::testing
