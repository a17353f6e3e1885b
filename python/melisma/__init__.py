"""Melisma: fused spectral operators for NumPy, PyTorch and MLX arrays.

`import melisma` needs NumPy only. Every function takes an array of any of these libraries and gives the same kind back.
"""

import importlib
import os
import sys
from typing import Any

from . import _core
from .convolution import causal_conv1d, causal_conv1d_update, short_conv_fused, short_conv_update
from .errors import InvalidArgument, InvalidType, Unavailable
from .features import filtered_spectrogram, log_mel, mel_spectrogram, spectrogram
from .filters import get_window, log_filterbank, melscale_fbanks
from .runtime import (
    autotune,
    backends,
    call_counts,
    clear_tuning_cache,
    explain,
    get_num_threads,
    reset_call_counts,
    set_autotune,
    set_num_threads,
    set_simd_target,
    set_variant,
    simd_target,
    simd_targets,
    tuning_cache,
)
from .spectral import istft, stft

__version__: str = _core.version()

__all__ = [
    "InvalidArgument",
    "InvalidType",
    "Unavailable",
    "__version__",
    "autotune",
    "backends",
    "call_counts",
    "causal_conv1d",
    "causal_conv1d_update",
    "clear_tuning_cache",
    "explain",
    "filtered_spectrogram",
    "get_num_threads",
    "get_window",
    "istft",
    "log_filterbank",
    "log_mel",
    "mel_spectrogram",
    "melscale_fbanks",
    "reset_call_counts",
    "set_autotune",
    "set_num_threads",
    "set_simd_target",
    "set_variant",
    "short_conv_fused",
    "short_conv_update",
    "simd_target",
    "simd_targets",
    "spectrogram",
    "stft",
    "tuning_cache",
]

_LAZY = ("benchmark", "compat", "presets", "torch")


def __getattr__(name: str) -> Any:
    """Submodules that most users never touch are imported when first named."""
    if name in _LAZY:
        return importlib.import_module(f".{name}", __name__)
    if name == "patch_torch":
        return importlib.import_module(".torch.patch", __name__).patch_torch
    raise AttributeError(f"module 'melisma' has no attribute {name!r}")


def _in_worker() -> bool:
    """Whether this is a process that multiprocessing started, which has then imported its own `process` module."""
    process: Any = sys.modules.get("multiprocessing.process")
    if process is None:
        return False
    # A spawned worker runs the main module, and so this, before it knows its parent; `_inheriting` is set by then.
    return process.parent_process() is not None or getattr(process.current_process(), "_inheriting", False)


# A data loader's worker shares the machine with its siblings: one thread each, unless told otherwise.
if _in_worker() and "MELISMA_NUM_THREADS" not in os.environ:
    set_num_threads(1)
