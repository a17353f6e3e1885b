// The spectral family's work for a GPU (or the emulator): plain data, the same on both sides of the boundary between
// the library and a device's shared object. Every operator is one of three jobs.
//
//   forward   frames of a signal -> transform -> spectrum | power | bands
//   inverse   spectrum, given or computed again from a signal and a gradient -> inverse transform -> overlap-add
//   window    the same spectrum against the signal's frames, summed over frames and items: the window's gradient
#pragma once

#include <cstdint>

#include "blocks/framing/framing.h"
#include "blocks/overlap_add/inverse.h"
#include "blocks/spectrum/transform.h"
#include "melisma/filtered_spectrogram.h"
#include "melisma/tensor.h"

namespace melisma::gpu {

// Leading axes, neighbours joined where their strides allow: item i's coordinates run over `size` last axis fastest.
struct Axes {
  int count = 0;
  std::int64_t size[kMaxDims] = {};
  std::int64_t stride[kMaxDims] = {};  // in elements of the tensor's dtype
};

// [items][samples]
struct Signal {
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  std::int64_t stride = 1;  // between samples, in elements
  Axes items;
};

// [items][bins or bands][frames]
struct Grid {
  void* data = nullptr;
  DType dtype = DType::kComplex64;
  std::int64_t bin_stride = 1, frame_stride = 0;  // in elements
  Axes items;
};

// The window lies in device memory and is not read on the host.
struct Window {
  const void* data = nullptr;  // null: ones
  DType dtype = DType::kFloat32;
  std::int64_t stride = 1;
  std::int64_t length = 0;   // win_length; centred in n_fft with zeros around
  double scale = 1.0;        // of every value
  bool unit_energy = false;  // also divided by sqrt(sum w^2)
};

// Division by the overlap-added squared window (unscaled). Samples whose envelope is not above kSmallestEnvelope: kZero
// gives 0, kClamp takes the envelope as kSmallestEnvelope, kError gives NaN: the host has checked what it could.
struct EnvelopeJob {
  bool enabled = false;
  EdgePolicy edge = EdgePolicy::kError;
  double scale = 1.0;  // of the samples, beside; the inverse transform's 1 / n_fft is not in it
};

// A filter bank in device memory as its dense matrix [bins, bands], and the same on the host where that is known
// without waiting for the device: only then can a kernel skip the zeros.
struct Bank {
  const FilterBank* host = nullptr;
  const void* data = nullptr;
  DType dtype = DType::kFloat32;
  std::int64_t bin_stride = 0, band_stride = 1;
  std::int64_t bins = 0, bands = 0;
  FilterBank::Fingerprint fingerprint;  // of `host`: names the tables made from it
};

enum class Epilogue : std::uint8_t { kSpectrum, kPower, kBands };

// |X|^power, through a bank, through a logarithm.
struct PowerJob {
  double power = 2.0;
  Bank bank;                   // of kBands
  LogParams log;               // of kBands
  std::int64_t top_items = 1;  // of a finite log.top: so many items, one after the other, have one maximum
};

struct ForwardJob {
  Signal x;
  Grid out;
  std::int64_t items = 0;
  Framing framing{};
  Window window;
  bool complex_input = false;
  bool float64 = false;  // the precision computed in
  // istft_adjoint: samples times the reciprocal envelope of envelope_window, before the window
  EnvelopeJob envelope;
  Window envelope_window;
  Epilogue epilogue = Epilogue::kSpectrum;
  std::int64_t bins = 0;                 // rows of the result, or columns of the bank
  RealBins real_bins = RealBins::kHalf;  // of kSpectrum and real input
  PowerJob power;                        // of kPower and kBands
};

struct InverseJob {
  Signal out;  // real or complex; of a window job: [n_fft] float64 sums, to be added up here by the device
  std::int64_t items = 0;
  // out[j] = sum_t w[i] y_t[i], i = j - framing.start(t); where pad_mode is not constant, samples that stood beyond the
  // ends add to those they were copies of.
  Framing framing{};
  Window window;
  bool float64 = false;
  // the spectrum, given ...
  Grid spec;
  BinSet bins = BinSet::kHalf;
  double edge_bins = 1.0;  // factor on DC and (even n_fft) Nyquist where the result is real
  EnvelopeJob envelope;    // with envelope_window
  Window envelope_window;
  // ... or, where x.data is not null, computed again: spec.data is then the gradient of |X|^power or of the bands, X
  // being the transform of x under the same framing and window, and y_t the adjoint transform of dL/dX.
  Signal x;
  PowerJob power;
  bool bands = false;
  std::int64_t bin_count = 0;  // of |X|^power: n_fft / 2 + 1, or without Nyquist
};

// sums[i] = scale * sum over items and frames of Re conj(y_t[i]) x_t[i], y_t as an InverseJob's; every i of win_length.
struct WindowJob {
  Signal x;
  Signal out;  // [win_length]
  InverseJob gradient;
};

}  // namespace melisma::gpu
