"""Phases: estimated from magnitudes, or carried over to another tempo."""

import math

import torch
from torch import Tensor

from ...errors import InvalidArgument
from .. import spectral as _ops
from .spectra import common

_SMALLEST = 1e-16  # torchaudio's: what is added to a magnitude before dividing by it


def _with_size(z: Tensor, size: Tensor, tracked: bool) -> Tensor:
    """``size z / (|z| + 1e-16)``.

    Without a gradient |z| comes from squares, in a third of the time: those that underflow are far below what is added.
    """
    if tracked:
        return z * (size / (z.abs() + _SMALLEST))
    own = torch.addcmul(z.real.square(), z.imag, z.imag).sqrt_().add_(_SMALLEST)
    return z * own.reciprocal_().mul_(size)


def griffinlim(
    specgram: Tensor,
    window: Tensor,
    n_fft: int,
    hop_length: int,
    win_length: int,
    power: float,
    n_iter: int,
    momentum: float,
    length: int | None,
    rand_init: bool,
) -> Tensor:
    """A signal whose spectrogram has the given magnitudes, by the fast Griffin-Lim algorithm.

    Parameters
    ----------
    specgram : Tensor
        ``[..., n_fft // 2 + 1, frames]``, magnitudes to the `power`.
    window, n_fft, hop_length, win_length
        As in :func:`spectrogram`.
    power : float
        Exponent of the magnitudes in `specgram`.
    n_iter : int
        Times the phases are estimated anew.
    momentum : float
        0 (Griffin and Lim 1984) up to, not including, 1 (Perraudin, Balazs and Sondergaard 2013).
    length : int, optional
        Samples of the result.
    rand_init : bool
        Begin with random phases, else with zeros.

    Returns
    -------
    Tensor
        ``[..., time]`` float32, or float64 from float64.

    Raises
    ------
    melisma.InvalidArgument
        For a `momentum` outside [0, 1), or a `specgram` that is not real and floating.
    """
    if not 0 <= momentum < 1:
        raise InvalidArgument(f"griffinlim: momentum must be in [0, 1), got {momentum}")
    if not specgram.is_floating_point():
        raise InvalidArgument(f"griffinlim: specgram must be floating point, got {specgram.dtype}")
    step = momentum / (1 + momentum)
    # The operators want frames in rows; the random numbers are drawn in torchaudio's order first.
    magnitude, _, w = common(specgram, None, window)
    complex_dtype = torch.complex128 if magnitude.dtype == torch.float64 else torch.complex64
    rows = magnitude.pow(1 / power).transpose(-1, -2).contiguous()
    shape = torch.Size((math.prod(specgram.shape[:-2]), *specgram.shape[-2:]))
    if rand_init:
        drawn = torch.rand(shape, dtype=complex_dtype, device=specgram.device).reshape(specgram.shape)
        spectrum = rows * drawn.transpose(-1, -2)
    else:
        spectrum = rows.to(complex_dtype)

    def inverse(z: Tensor) -> Tensor:
        y: Tensor = _ops.istft(z, n_fft, hop_length, win_length, w, length=length, layout="frame_major")
        return y

    tracked = torch.is_grad_enabled() and (rows.requires_grad or (w is not None and w.requires_grad))
    previous: Tensor | None = None
    for _ in range(n_iter):
        rebuilt: Tensor = _ops.stft(inverse(spectrum), n_fft, hop_length, win_length, w, layout="frame_major")
        if previous is None or step == 0:
            phases = rebuilt
        elif tracked:
            phases = rebuilt - step * previous
        else:  # in the memory of what is no longer needed: new pages would cost as much as the arithmetic
            phases = previous.mul_(-step).add_(rebuilt)
        spectrum = _with_size(phases, rows, tracked)
        previous = rebuilt
    return inverse(spectrum)


def phase_vocoder(complex_specgrams: Tensor, rate: float, phase_advance: Tensor) -> Tensor:
    """Change the tempo of a complex spectrogram and keep its pitch.

    Parameters
    ----------
    complex_specgrams : Tensor
        ``[..., freq, frames]``, complex.
    rate : float
        Above 1 is faster.
    phase_advance : Tensor
        ``[freq, 1]``, what each bin's phase gains from frame to frame: ``linspace(0, pi * hop_length, freq)``.

    Returns
    -------
    Tensor
        ``[..., freq, ceil(frames / rate)]`` of the same dtype; the very tensor where `rate` is 1.
    """
    if rate == 1.0:
        return complex_specgrams
    z = complex_specgrams
    real = torch.real(z).dtype
    steps = torch.arange(0, z.shape[-1], rate, device=z.device, dtype=real)
    here = steps.long()
    after = (steps + 1).long()
    fraction = steps % 1.0
    padded = torch.nn.functional.pad(z, [0, 2])
    # Angles and magnitudes of every frame once; the result's frames take two each.
    angle, size = padded.angle(), padded.abs()
    gain = angle.index_select(-1, after) - angle.index_select(-1, here) - phase_advance
    gain = gain - 2 * math.pi * torch.round(gain / (2 * math.pi)) + phase_advance
    phase = torch.cat([angle[..., :1], gain[..., :-1]], dim=-1).cumsum(-1)
    magnitude = fraction * size.index_select(-1, after) + (1 - fraction) * size.index_select(-1, here)
    return torch.polar(magnitude, phase)
