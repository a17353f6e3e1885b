// Which kernel an STFT call runs on, and why: one decision for dispatch, errors and explain.
#pragma once

#include "blocks/framing/framing.h"
#include "melisma/stft.h"

namespace melisma {

// A checked call.
struct StftCall {
  Framing framing;
  std::int64_t bins;
  Shape shape;   // of the spectrum
  double scale;  // what the window is multiplied by
  bool complex_input, double_result;
};
StftCall check_stft(const Tensor& x, const StftParams& params, const char* op);

}  // namespace melisma
