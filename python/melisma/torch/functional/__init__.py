"""torchaudio.functional's names for what is spectral: same arguments, same values, fused operators inside."""

from .amplitude import DB_to_amplitude, amplitude_to_DB
from .banks import create_dct, linear_fbanks, melscale_fbanks
from .features import compute_deltas, sliding_window_cmn
from .masking import mask_along_axis, mask_along_axis_iid
from .phase import griffinlim, phase_vocoder
from .spectra import inverse_spectrogram, spectral_centroid, spectrogram

__all__ = [
    "DB_to_amplitude",
    "amplitude_to_DB",
    "compute_deltas",
    "create_dct",
    "griffinlim",
    "inverse_spectrogram",
    "linear_fbanks",
    "mask_along_axis",
    "mask_along_axis_iid",
    "melscale_fbanks",
    "phase_vocoder",
    "sliding_window_cmn",
    "spectral_centroid",
    "spectrogram",
]
