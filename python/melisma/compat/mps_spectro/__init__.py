"""mps-spectro's names, on any device: ``from melisma.compat.mps_spectro import stft, istft``.

Functions, transforms, module paths (``.stft``, ``.istft``, ``.mel``) and ``torch.ops.mps_spectro`` as in mps-spectro 0.3.0. Where
that package needs a tensor on "mps", these take one on any device. As there, the names ``stft`` and ``istft`` of the package
are the functions; ``from melisma.compat.mps_spectro.stft import mps_stft_forward`` reaches the module of the same name.

``python -m melisma.compat.mps_spectro benchmark`` and ``dispatch-profile`` are that project's benchmark commands.
"""

from .._install import VERSIONS
from . import _ops  # noqa: F401  (registers torch.ops.mps_spectro)
from .istft import mps_istft_forward as istft
from .mel import (
    CompatMelSpectrogramTransform,
    DynamicMelSpectrogramTransform,
    LogMelSpectrogramTransform,
    MelSpectrogramTransform,
    amplitude_to_db,
    dynamic_mel_spectrogram,
    dynamic_spectrogram,
    mel_spectrogram,
    melscale_fbanks,
)
from .stft import mps_stft_forward as stft

__version__ = VERSIONS["mps_spectro"]

__all__ = [
    "CompatMelSpectrogramTransform",
    "DynamicMelSpectrogramTransform",
    "LogMelSpectrogramTransform",
    "MelSpectrogramTransform",
    "amplitude_to_db",
    "dynamic_mel_spectrogram",
    "dynamic_spectrogram",
    "istft",
    "mel_spectrogram",
    "melscale_fbanks",
    "stft",
]
