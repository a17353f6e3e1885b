// The checks of an inverse STFT.
#pragma once

#include "melisma/istft.h"

namespace melisma {

struct IstftCall {
  std::int64_t n_fft, hop, win_length;
  std::int64_t bins, frames;
  std::int64_t first;    // of the overlap-added samples, the first that is a result
  std::int64_t samples;  // of the result
  bool double_result;
};
IstftCall check_istft(const Tensor& spec, const IstftParams& params);

}  // namespace melisma
