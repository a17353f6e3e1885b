// Between PyTorch's stable-ABI tensors and the library's views.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <string>

#include "melisma/melisma.h"

namespace melisma::torch_ext {

using StableTensor = torch::stable::Tensor;

// A view of a CPU tensor's memory. Throws Error naming `op` and `argument` where dtype or number of dimensions does not
// fit.
Tensor view(const StableTensor& tensor, const char* op, const char* argument);

// An optional one, as the operators take windows.
class OptionalView {
 public:
  OptionalView(const std::optional<StableTensor>& tensor, const char* op, const char* argument) {
    if (tensor) view_ = view(*tensor, op, argument);
  }
  const Tensor* get() const { return view_ ? &*view_ : nullptr; }

 private:
  std::optional<Tensor> view_;
};

struct NewTensor {
  StableTensor tensor;
  Tensor view;
};
// Uninitialised CPU memory; `swapped`: the last two axes are stored the other way round, as PyTorch stores spectra.
NewTensor new_tensor(const Shape& shape, DType dtype, bool swapped);

// float32 for complex64 and so on; int16 computes to float32.
DType real_of(DType dtype);
DType complex_of(DType dtype);

PadMode pad_mode(const std::string& name, const char* op);
inline Layout layout(bool frame_major) { return frame_major ? Layout::kFrameMajor : Layout::kFrequencyMajor; }

}  // namespace melisma::torch_ext
