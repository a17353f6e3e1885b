"""Melisma for PyTorch: differentiable, compilable operators, and modules with torchaudio's names.

The operators are :mod:`melisma`'s own, which give tensors for tensors. :mod:`melisma.torch.functional` and the modules here
take torchaudio's arguments and state; :func:`patch_torch` reroutes ``torch.stft`` and ``torch.istft`` of existing code.
"""

from . import _conv, functional, transforms  # noqa: F401  (registers the convolution's gradients)
from .convolution import ShortConvolution, ShortConvolutionCache
from .export import export_onnx
from .patch import patch_torch
from .spectral import filtered_spectrogram, istft, log_mel, mel_spectrogram, spectrogram, stft
from .transforms import *  # noqa: F403
from .transforms import __all__ as _modules

__all__ = [
    "ShortConvolution",
    "ShortConvolutionCache",
    "export_onnx",
    "filtered_spectrogram",
    "functional",
    "istft",
    "log_mel",
    "mel_spectrogram",
    "patch_torch",
    "spectrogram",
    "stft",
    "transforms",
    *_modules,
]
