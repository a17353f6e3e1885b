// How a signal is cut into frames: shared by every operator that starts with a short-time transform.
#pragma once

#include <cstdint>

namespace melisma {

// What stands beyond the ends of the signal. Names and results are those of torch.nn.functional.pad.
enum class PadMode : std::uint8_t { kConstant, kReflect, kReplicate, kCircular };

// Which axis of a spectrogram comes first. The result's memory is frame-major in both, as PyTorch's and librosa's is:
// kFrequencyMajor is the shape [..., bins, frames], kFrameMajor is [..., frames, bins].
enum class Layout : std::uint8_t { kFrequencyMajor, kFrameMajor };

// Where frame i starts and how many frames there are.
enum class FrameTail : std::uint8_t {
  kWhole,   // only frames that lie wholly in the padded signal: 1 + (padded_length - n_fft) / hop  (torch, librosa)
  kCovers,  // ceil(length / hop) frames, zeros after the end                                        (madmom)
};

struct FrameParams {
  std::int64_t n_fft = 0;       // transform size, samples; >= 1
  std::int64_t hop_length = 0;  // samples between frames, >= 1; 0 means n_fft / 4
  std::int64_t win_length =
      0;               // samples, 1..n_fft; 0 means n_fft. A shorter window is centred in n_fft with zeros around.
  bool center = true;  // pad n_fft / 2 on both sides, so that frame i is centred on sample i * hop
  PadMode pad_mode = PadMode::kReflect;
  std::int64_t pad = 0;  // zeros put on both sides before everything else (torchaudio's `pad`)
  // With center = false: frame i holds the window at sample i * hop, as if n_fft were win_length (torch's argument).
  bool align_to_window = false;
  FrameTail tail = FrameTail::kWhole;
  double fractional_hop = 0.0;  // > 0: frame i starts at floor(i * fractional_hop) - n_fft / 2; needs kCovers
  double input_scale = 1.0;     // samples are multiplied by this, inside the window; 1/32768 makes PCM16 of +-1
};

// Frames of a signal of `length` samples. Throws Error naming `op` where the parameters or the length do not allow any.
std::int64_t frame_count(std::int64_t length, const FrameParams& params, const char* op);

}  // namespace melisma
