"""Filter banks and cosine matrices as torchaudio builds them: in the default dtype, step by step in the same order."""

import math
import warnings

import torch
from torch import Tensor

from ...errors import InvalidArgument

# Slaney's mel scale: linear up to 1 kHz in steps of 200/3 Hz, then 27 steps to each factor of 6.4.
_LINEAR_STEP = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_STEP
_LOG_STEP = math.log(6.4) / 27.0


def _check_scale(op: str, mel_scale: str) -> None:
    if mel_scale not in ("htk", "slaney"):
        raise InvalidArgument(f"{op}: mel_scale must be 'htk' or 'slaney', got {mel_scale!r}")


def _mel_of(hertz: float, mel_scale: str) -> float:
    if mel_scale == "htk":
        return 2595.0 * math.log10(1.0 + hertz / 700.0)
    if hertz < _BREAK_HZ:
        return hertz / _LINEAR_STEP
    return _BREAK_MEL + math.log(hertz / _BREAK_HZ) / _LOG_STEP


def _hertz_of(mels: Tensor, mel_scale: str) -> Tensor:
    if mel_scale == "htk":
        return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    above = _BREAK_HZ * torch.exp(_LOG_STEP * (mels - _BREAK_MEL))
    return torch.where(mels >= _BREAK_MEL, above, _LINEAR_STEP * mels)


def _triangles(bins: Tensor, corners: Tensor) -> Tensor:
    """``[bins, corners - 2]``: band m rises from corner m to m + 1 and falls to m + 2."""
    widths = corners[1:] - corners[:-1]
    distance = corners[None, :] - bins[:, None]
    rising = -distance[:, :-2] / widths[:-1]
    falling = distance[:, 2:] / widths[1:]
    return torch.minimum(rising, falling).clamp_min(0.0)


def melscale_fbanks(
    n_freqs: int,
    f_min: float,
    f_max: float,
    n_mels: int,
    sample_rate: int,
    norm: str | None = None,
    mel_scale: str = "htk",
) -> Tensor:
    """Mel filter bank, with torchaudio's arithmetic (all of it in the default dtype, the top bin at ``sample_rate // 2``).

    Parameters
    ----------
    n_freqs : int
        Bins of the spectrum, evenly spaced from 0 to ``sample_rate // 2`` Hz.
    f_min, f_max : float
        Hz, lower corner of the first band and upper corner of the last.
    n_mels : int
        Bands.
    sample_rate : int
        Hz.
    norm : {None, "slaney"}
        "slaney" divides each band by half its width in Hz.
    mel_scale : {"htk", "slaney"}
        ``2595 log10(1 + f / 700)``, or Slaney's (linear below 1 kHz).

    Returns
    -------
    Tensor
        ``[n_freqs, n_mels]`` of the default dtype, so that ``power.transpose(-1, -2) @ bank`` is the mel spectrogram.

    Raises
    ------
    melisma.InvalidArgument
        For another `norm` or `mel_scale`.

    Warns
    -----
    UserWarning
        Where a band lies between two bins, so that all its weights are zero.
    """
    op = "melscale_fbanks"
    if norm not in (None, "slaney"):
        raise InvalidArgument(f"{op}: norm must be None or 'slaney', got {norm!r}")
    _check_scale(op, mel_scale)
    bins = torch.linspace(0, sample_rate // 2, n_freqs)
    corners = _hertz_of(torch.linspace(_mel_of(f_min, mel_scale), _mel_of(f_max, mel_scale), n_mels + 2), mel_scale)
    bank = _triangles(bins, corners)
    if norm == "slaney":
        bank = bank * (2.0 / (corners[2:] - corners[:-2]))
    if bank.device.type != "meta":
        empty = int((bank.amax(dim=0) == 0).sum())
        if empty:
            # Begins as torchaudio's does: existing filters of warnings go on working.
            warnings.warn(
                f"At least one mel filterbank has all zero values: {empty} of {n_mels} mel bands lie between two bins; "
                f"n_mels = {n_mels} is too large, or n_freqs = {n_freqs} too small",
                stacklevel=2,
            )
    return bank


def linear_fbanks(n_freqs: int, f_min: float, f_max: float, n_filter: int, sample_rate: int) -> Tensor:
    """Triangular filter bank with evenly spaced corners.

    Parameters
    ----------
    n_freqs : int
        Bins of the spectrum, evenly spaced from 0 to ``sample_rate // 2`` Hz.
    f_min, f_max : float
        Hz, lower corner of the first band and upper corner of the last.
    n_filter : int
        Bands.
    sample_rate : int
        Hz.

    Returns
    -------
    Tensor
        ``[n_freqs, n_filter]`` of the default dtype.
    """
    return _triangles(torch.linspace(0, sample_rate // 2, n_freqs), torch.linspace(f_min, f_max, n_filter + 2))


def create_dct(n_mfcc: int, n_mels: int, norm: str | None) -> Tensor:
    """Matrix of the cosine transform of type II.

    Parameters
    ----------
    n_mfcc : int
        Coefficients kept.
    n_mels : int
        Bands transformed.
    norm : {None, "ortho"}
        "ortho" makes the columns orthonormal; None doubles the plain sum.

    Returns
    -------
    Tensor
        ``[n_mels, n_mfcc]`` of the default dtype, to stand right of ``[..., n_mels]``.

    Raises
    ------
    melisma.InvalidArgument
        For another `norm`.

    Notes
    -----
    ``D[n, k] = c_k cos(pi (n + 1/2) k / n_mels)``.
    """
    if norm not in (None, "ortho"):
        raise InvalidArgument(f"create_dct: norm must be None or 'ortho', got {norm!r}")
    centers = torch.arange(float(n_mels)) + 0.5
    order = torch.arange(float(n_mfcc))[:, None]
    rows = torch.cos(math.pi / float(n_mels) * centers * order)
    if norm is None:
        return (2.0 * rows).t()
    rows[0] *= math.sqrt(0.5)
    return (math.sqrt(2.0 / float(n_mels)) * rows).t()
