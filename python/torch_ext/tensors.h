// Between PyTorch's stable-ABI tensors and the library's views.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "melisma/error.h"
#include "melisma/index_tensor.h"
#include "melisma/melisma.h"

namespace melisma::torch_ext {

using StableTensor = torch::stable::Tensor;

// A view of the memory of a tensor on the CPU or on a CUDA device. Throws Error naming `op` and `argument` where
// device, dtype or number of dimensions does not fit.
Tensor view(const StableTensor& tensor, const char* op, const char* argument);

// The same of operators that take float16, bfloat16, float32 and float64.
Tensor float_view(const StableTensor& tensor, const char* op, const char* argument);
// int32 or int64.
IndexTensor index_view(const StableTensor& tensor, const char* op, const char* argument);
// bool or uint8.
FlagTensor flag_view(const StableTensor& tensor, const char* op, const char* argument);

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
// Uninitialised memory of `device`; `swapped`: the last two axes are stored the other way round, as PyTorch stores
// spectra. Throws Error{kOutOfMemory} where PyTorch's allocator has none on a CUDA device.
NewTensor new_tensor(const Shape& shape, DType dtype, bool swapped, Device device);

// PyTorch's current stream of a tensor's device, and working memory from its allocator, which hands memory on in the
// stream's order: what a call took it may release when it returns. Nothing on the CPU.
class CallQueue {
 public:
  explicit CallQueue(const Tensor& tensor);
  CallQueue(const CallQueue&) = delete;
  CallQueue& operator=(const CallQueue&) = delete;
  operator const Queue&() const { return queue_; }  // NOLINT: stands where the operators take one

 private:
  Device device_;
  std::vector<StableTensor> workspace_;
  Queue queue_;
};

// An operator's kernel whose errors of kinds that a caller tells apart begin with the kind: a RuntimeError has no other
// place for it. spectral.py takes it off again.
template <auto kKernel>
struct Kernel;
template <class Result, class... Arguments, Result (*kKernel)(Arguments...)>
struct Kernel<kKernel> {
  static Result run(Arguments... arguments) {
    try {
      return kKernel(std::move(arguments)...);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kUnavailable)
        throw Error(error.kind(), std::string("unavailable: ") + error.what());
      throw;
    }
  }
};

// float32 for complex64 and so on; int16 computes to float32.
DType real_of(DType dtype);
DType complex_of(DType dtype);

PadMode pad_mode(const std::string& name, const char* op);
inline Layout layout(bool frame_major) { return frame_major ? Layout::kFrameMajor : Layout::kFrequencyMajor; }

}  // namespace melisma::torch_ext
