// Plain float64 parts that the reference of every operator is made of. Written to be read and to be right, not to be
// fast, and sharing nothing with the kernels but the checks of arguments.
#pragma once

#include <complex>
#include <cstdint>
#include <vector>

#include "blocks/framing/framing.h"
#include "melisma/tensor.h"

namespace melisma::reference {

using Complex = std::complex<double>;

// exp(sign 2 pi i k / n), the angle brought below pi / 4 in integers first, so that it is within an ulp at any n.
Complex unit_root(std::int64_t k, std::int64_t n, int sign);

// X[k] = sum_j x[j] exp(sign 2 pi i j k / n), unscaled, for any n >= 1: recursion over the prime factors of n, each
// prime p by its definition, O(p^2).
std::vector<Complex> dft(const std::vector<Complex>& x, int sign);

// Element at the given element offset as complex float64, whatever the dtype.
Complex load(const Tensor& tensor, std::int64_t offset);
// Real part only where the tensor is real.
void store(const Tensor& tensor, std::int64_t offset, Complex value);

// The whole padded signal of one item, written out: `pad` zeros on both sides, then `center` samples of pad_mode.
std::vector<Complex> padded_signal(const Tensor& x, std::int64_t item, std::int64_t pad, std::int64_t center,
                                   PadMode mode);

// Spectra of all frames of one item: [frames][n_fft], both sides. window: [n_fft], already scaled.
std::vector<std::vector<Complex>> spectra(const Tensor& x, std::int64_t item, const FrameParams& params,
                                          const Framing& framing, const std::vector<double>& window);

}  // namespace melisma::reference
