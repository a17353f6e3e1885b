"""Decibels of a given spectrogram, and back."""

import torch
from torch import Tensor


def amplitude_to_DB(
    x: Tensor, multiplier: float, amin: float, db_multiplier: float, top_db: float | None = None
) -> Tensor:
    """Decibels of a power or amplitude spectrogram.

    Parameters
    ----------
    x : Tensor
        ``[freq, time]``, ``[channel, freq, time]`` or ``[..., channel, freq, time]``.
    multiplier : float
        10 for power, 20 for amplitude.
    amin : float
        Smaller values are raised to it.
    db_multiplier : float
        ``log10(max(amin, ref))``.
    top_db : float, optional
        Values further than this below the maximum of the last three axes (of all of them where there are fewer) are raised
        to it: one limit for all channels of a clip.

    Returns
    -------
    Tensor
        ``multiplier (log10(max(x, amin)) - db_multiplier)``, shape and dtype of `x`.
    """
    db = multiplier * torch.log10(torch.clamp(x, min=amin)) - multiplier * db_multiplier
    if top_db is None:
        return db
    packed = tuple(range(-min(3, db.dim()), 0))
    return torch.maximum(db, db.amax(dim=packed, keepdim=True) - top_db)


def DB_to_amplitude(x: Tensor, ref: float, power: float) -> Tensor:
    """Power or amplitude of a spectrogram in decibels.

    Parameters
    ----------
    x : Tensor
        Decibels, any shape.
    ref : float
        What 0 dB stands for.
    power : float
        1 gives power, 0.5 gives amplitude.

    Returns
    -------
    Tensor
        ``ref (10^(x / 10))^power``.
    """
    return ref * torch.pow(torch.pow(10.0, 0.1 * x), power)
