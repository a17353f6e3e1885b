// Filter banks of tensors, as the operators take them.
#pragma once

#include <cstdint>
#include <memory>

#include "melisma/filter_bank.h"
#include "melisma/tensor.h"

namespace melisma::torch_ext {

// The bank of a dense [bins, bands] tensor, for a call on `signal`, whose device it must be on.
//
// On the CPU: its banded form. The last few are kept and recognised by their values, never by address or version:
// comparing costs less than a tenth of the transform, and no change of a buffer can go unnoticed.
//
// On a device, whose memory is not read: the matrix, and what melisma_keep_bank kept under `key` beside it. The caller
// vouches that the tensor holds these values; with 0 or a key that nobody kept here, kernels read every weight.
class Bank {
 public:
  Bank(const Tensor& dense, std::int64_t key, const Tensor& signal, const char* op);
  const FilterBankView& view() const { return view_; }

 private:
  std::shared_ptr<const FilterBank> host_;
  FilterBankView view_;
};

}  // namespace melisma::torch_ext

// Keeps the bank with these weights, [bins, bands] row by row, for calls on devices, and gives its key: made of the
// values alone, so that it is the same in every process; 0 where there is no such bank. Python calls it through ctypes.
extern "C" __attribute__((visibility("default"))) std::int64_t melisma_keep_bank(const double* weights,
                                                                                 std::int64_t bins,
                                                                                 std::int64_t bands) noexcept;
