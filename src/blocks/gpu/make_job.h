// What every job is built of, from a checked call's tensors.
#pragma once

#include <cstdint>

#include "blocks/gpu/job.h"
#include "melisma/filter_bank.h"
#include "melisma/spectrogram.h"
#include "melisma/tensor.h"

namespace melisma::gpu {

// All but the last `trailing` axes, neighbours joined and axes of one element left out.
Axes leading_axes(const Tensor& tensor, int trailing);

Signal make_signal(const Tensor& samples);
Grid make_grid(const Tensor& spectrum, Layout layout);
Grid make_grid(DType dtype, const Shape& shape, Layout layout);  // of a result that is not there yet: for explain

// A window that was checked; null: win_length ones.
Window make_window(const Tensor* window, std::int64_t win_length, double scale);

// Checks what a GPU needs of a bank: its matrix in device memory.
Bank make_bank(const FilterBankView& bank, Device device, const char* op);

}  // namespace melisma::gpu
