"""The operators as compositions of the linear ones with PyTorch's own: differentiable in everything, any number of times.

The fused kernels have gradients with respect to the signal. Where a window or a filter bank needs one, or a gradient is itself
differentiated, these take their place. They write the spectrum to memory, as every composition does.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.nn import functional

from .._options import SMALLEST_ENVELOPE
from . import _library

_Composition = TypeVar("_Composition", bound=Callable[..., torch.Tensor])


def full_precision(composition: _Composition) -> _Composition:
    """Keep autocast out of a composition: what it stands for computes in the signal's precision."""

    @functools.wraps(composition)
    def run(x: torch.Tensor, *args: Any) -> torch.Tensor:
        device = x.device.type
        if device == "meta" or not torch.is_autocast_enabled(device):
            return composition(x, *args)
        with torch.autocast(device, enabled=False):
            return composition(x, *args)

    return run  # type: ignore[return-value]


def centred(window: torch.Tensor | None, n_fft: int, win_length: int, like: torch.Tensor) -> torch.Tensor:
    """The window in n_fft values, of the real dtype of `like`."""
    if window is None:
        window = torch.ones(win_length, dtype=like.dtype, device=like.device)
    left = (n_fft - win_length) // 2
    return functional.pad(window.to(like.dtype), (left, n_fft - win_length - left))


def _parts(window: torch.Tensor | None) -> list[tuple[complex, torch.Tensor | None]]:
    """A window as a sum of real ones, which is what the linear operators take."""
    if window is None or not window.is_complex():
        return [(1, window)]
    return [(1, window.real), (1j, window.imag)]


def stft(x: torch.Tensor, window: torch.Tensor, *options: Any) -> torch.Tensor:
    """``melisma::stft`` with a complex window."""
    return sum(factor * _library.stft(x, part, *options) for factor, part in _parts(window))


def bin_weights(n_fft: int, scale: float, like: torch.Tensor) -> torch.Tensor:
    """What the inverse transform multiplies each bin of a one-sided spectrum with: the interior ones stand for two."""
    bins = torch.arange(n_fft // 2 + 1, device=like.device)
    edge = (bins == 0) | (2 * bins == n_fft)
    return torch.where(edge, scale, 2 * scale).to(like.dtype)


def divided(
    v: torch.Tensor,
    window: torch.Tensor | None,
    n_fft: int,
    hop_length: int,
    win_length: int,
    frames: int,
    first: int,
    edge: str,
) -> torch.Tensor:
    """v, whose samples begin at `first`, over the overlap-added squared window."""
    squares = centred(window, n_fft, win_length, v if window is not None and window.is_complex() else v.real).square()
    frame_starts = torch.ones((1, 1, frames), dtype=squares.real.dtype, device=squares.device)

    def overlapped(values: torch.Tensor) -> torch.Tensor:
        return functional.conv_transpose1d(frame_starts, values[None, None], stride=hop_length)[0, 0]

    envelope = overlapped(squares.real)
    if squares.is_complex():
        envelope = torch.complex(envelope, overlapped(squares.imag))
    envelope = envelope[first : first + v.shape[-1]]
    vanishes = envelope.abs() <= SMALLEST_ENVELOPE
    if edge == "error":
        torch._assert_async(
            torch.logical_not(vanishes.detach().any()),
            f"istft: window overlap-add must be above {SMALLEST_ENVELOPE:g} everywhere, got less "
            "(edge='zero' or 'clamp' accepts such samples)",
        )
    if edge == "clamp":
        return v / torch.where(vanishes, SMALLEST_ENVELOPE, envelope)
    return torch.where(vanishes, 0.0, v / torch.where(vanishes, 1.0, envelope))


@full_precision
def istft(
    spectrum: torch.Tensor,
    window: torch.Tensor | None,
    n_fft: int,
    hop_length: int,
    win_length: int,
    center: bool,
    normalized: bool,
    onesided: bool,
    length: int | None,
    return_complex: bool,
    edge: str,
    frame_major: bool,
) -> torch.Tensor:
    """``melisma::istft`` as overlap-add and division."""
    if frame_major:
        spectrum = spectrum.transpose(-2, -1)
    frames = spectrum.shape[-1]
    scale = (math.sqrt(n_fft) if normalized else 1.0) / n_fft
    if return_complex:
        weighted = spectrum * scale
    else:
        # The adjoint of a one-sided transform counts each bin once.
        weights = bin_weights(n_fft, scale, spectrum.real)
        weighted = spectrum[..., : n_fft // 2 + 1, :] * weights[:, None]
    total = n_fft + hop_length * (frames - 1)
    inverse = (total, return_complex, n_fft, hop_length, win_length, False, "constant", False, not return_complex)
    summed = sum(
        factor * _library.stft_adjoint(weighted, part, *inverse, False, False) for factor, part in _parts(window)
    )
    first = n_fft // 2 if center else 0
    samples = total - 2 * first if length is None else length
    summed = summed[..., first : min(first + samples, total)]
    result = divided(summed, window, n_fft, hop_length, win_length, frames, first, edge)
    return functional.pad(result, (0, samples - summed.shape[-1]))


def magnitude_power(spectrum: torch.Tensor, power: float) -> torch.Tensor:
    """``|X|^power`` whose derivative at zero is 0."""
    square = spectrum.real.square() + spectrum.imag.square()
    if power == 2:
        return square
    silent = square == 0
    return torch.where(silent, 0.0, torch.where(silent, 1.0, square) ** (power / 2))


@full_precision
def spectrogram(
    x: torch.Tensor,
    window: torch.Tensor | None,
    n_fft: int,
    hop_length: int,
    win_length: int,
    power: float,
    norm: str,
    center: bool,
    pad_mode: str,
    pad: int,
    pcm_scale: float,
    frame_major: bool,
) -> torch.Tensor:
    """``melisma::spectrogram`` from ``melisma::stft``."""
    if x.dtype == torch.int16:
        x = x.float() * pcm_scale
    if pad > 0:
        x = functional.pad(x, (pad, pad))
    spectrum = _library.stft(
        x,
        window,
        n_fft,
        hop_length,
        win_length,
        center,
        pad_mode,
        norm == "frame_length",
        True,
        False,
        frame_major,
    )
    if norm == "window":
        energy = torch.full((), float(win_length), device=x.device) if window is None else window.square().sum()
        spectrum = spectrum / energy.sqrt().to(spectrum.real.dtype)
    return magnitude_power(spectrum, power)


def logarithm(v: torch.Tensor, log: list[float]) -> torch.Tensor:
    """The logarithm of the fused operators; log: empty, or scale, mul, add, floor, offset."""
    if not log:
        return v
    scale, mul, add, floor, offset = log
    argument = mul * v + add
    low = argument <= floor
    return (
        scale * torch.where(low, math.log(floor) if floor > 0 else -math.inf, torch.where(low, 1.0, argument).log())
        + offset
    )


def clipped(y: torch.Tensor, top_db: float, packed: bool, frames_of_signal: int) -> torch.Tensor:
    """Values further than top_db below the maximum raised to it."""
    if top_db == math.inf:
        return y
    axes = (-3, -2, -1) if packed and frames_of_signal >= 2 else (-2, -1)
    return torch.maximum(y, y.amax(dim=axes, keepdim=True) - top_db)


@full_precision
def filtered_spectrogram(
    x: torch.Tensor,
    window: torch.Tensor | None,
    filterbank: torch.Tensor,
    n_fft: int,
    hop_length: int,
    win_length: int,
    power: float,
    norm: str,
    center: bool,
    pad_mode: str,
    pad: int,
    pcm_scale: float,
    log: list[float],
    top_db: float,
    packed: bool,
    float64: bool,
    frame_major: bool,
    bank_key: int = 0,
) -> torch.Tensor:
    """``melisma::filtered_spectrogram`` from ``melisma::stft``."""
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    if x.dtype == torch.int16:
        x = x.to(torch.float64 if float64 else torch.float32) * pcm_scale
    elif float64:
        x = x.double()
    powers = spectrogram(x, window, n_fft, hop_length, win_length, power, norm, center, pad_mode, pad, pcm_scale, True)
    bands = torch.matmul(powers[..., : filterbank.shape[0]], filterbank.to(powers.dtype))
    result = clipped(logarithm(bands, log), top_db, packed, x.ndim).to(dtype)
    return result if frame_major else result.transpose(-2, -1)
