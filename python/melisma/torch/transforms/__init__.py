"""torchaudio.transforms' modules for what is spectral: same arguments, attributes, buffers and values, fused inside."""

from .cepstral import LFCC, MFCC, ComputeDeltas, SlidingWindowCmn
from .masking import FrequencyMasking, SpecAugment, TimeMasking
from .mel import AmplitudeToDB, InverseMelScale, MelScale, MelSpectrogram
from .spectra import GriffinLim, InverseSpectrogram, SpectralCentroid, Spectrogram, TimeStretch

__all__ = [
    "LFCC",
    "MFCC",
    "AmplitudeToDB",
    "ComputeDeltas",
    "FrequencyMasking",
    "GriffinLim",
    "InverseMelScale",
    "InverseSpectrogram",
    "MelScale",
    "MelSpectrogram",
    "SlidingWindowCmn",
    "SpecAugment",
    "SpectralCentroid",
    "Spectrogram",
    "TimeMasking",
    "TimeStretch",
]
