"""Filter banks and windows as arrays."""

from typing import Any

import numpy as np

from . import _core, _options
from .errors import InvalidArgument, InvalidType


def melscale_fbanks(
    n_freqs: int,
    f_min: float,
    f_max: float,
    n_mels: int,
    sample_rate: float,
    norm: str | None = None,
    mel_scale: str = "htk",
) -> np.ndarray:
    """The dense mel filter bank ``[n_freqs, n_mels]`` float32 (torchaudio.functional.melscale_fbanks)."""
    op = "melscale_fbanks"
    bins = _options.integer(op, "n_freqs", n_freqs, 1)
    _options.hashable(
        op, sample_rate=sample_rate, n_mels=n_mels, f_min=f_min, f_max=f_max, mel_scale=mel_scale, norm=norm
    )
    return _dense(op, _options.mel_bank(op, bins, sample_rate, n_mels, f_min, f_max, mel_scale, norm))


def _dense(op: str, bank: Any) -> np.ndarray:
    try:
        return bank.to_dense()
    except InvalidArgument as error:
        raise _options.renamed(error, op) from None


def log_filterbank(
    n_freqs: int,
    sample_rate: float,
    *,
    num_bands: int = 12,
    f_min: float = 30.0,
    f_max: float = 17000.0,
    f_ref: float = 440.0,
    norm_filters: bool = True,
    unique_filters: bool = True,
) -> np.ndarray:
    """The dense logarithmic filter bank ``[n_freqs, bands]`` float32 (madmom's LogarithmicFilterbank), without Nyquist."""
    op = "log_filterbank"
    bins = _options.integer(op, "n_freqs", n_freqs, 1)
    _options.hashable(op, sample_rate=sample_rate, num_bands=num_bands, f_min=f_min, f_max=f_max, f_ref=f_ref)
    return _dense(
        op, _options.log_bank(op, bins, sample_rate, num_bands, f_min, f_max, f_ref, norm_filters, unique_filters)
    )


def get_window(name: str, length: int, periodic: bool = True, *, beta: float = 12.0) -> np.ndarray:
    """A window by name, float64 ``[length]``: hann, hamming, blackman, bartlett, kaiser (`beta`) or rectangular.

    Periodic windows leave out the last sample of the period, as torch's do; otherwise symmetric, as ``numpy.hanning``.
    """
    op = "get_window"
    if not isinstance(name, str):
        raise InvalidType(f"{op}: name must be a string, got {name!r}")
    size, cyclic = _options.integer(op, "length", length, 1), _options.boolean(op, "periodic", periodic)
    try:
        return _core.make_window(name, size, cyclic, _options.number(op, "beta", beta))
    except InvalidArgument as error:
        raise _options.renamed(error, op) from None
