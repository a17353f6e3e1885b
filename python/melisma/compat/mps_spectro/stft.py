"""The forward transform, under mps-spectro's name."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

import melisma

from ...errors import InvalidArgument, InvalidType
from ._engine import engine, frame_window, whole

__all__ = ["mps_stft_forward"]

_OP = "stft"


def mps_stft_forward(
    x: torch.Tensor,
    *,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: torch.Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool = True,
) -> torch.Tensor:
    """Short-time Fourier transform as torch.stft's, with a Hann window where none is given.

    Parameters
    ----------
    x : torch.Tensor
        ``[T]`` or ``[B, T]``, any floating dtype, any device; computed in float32. The gradient goes to `x` only.
    n_fft : int
        Transform size in samples.
    hop_length : int, optional
        ``n_fft // 4``.
    win_length : int, optional
        ``n_fft``.
    window : torch.Tensor, optional
        `win_length` values (centred in the frame) or `n_fft` values; periodic Hann.
    center : bool
        Reflect ``n_fft // 2`` samples at both ends.
    normalized : bool
        Times ``1 / sqrt(n_fft)``.
    onesided : bool
        Bins ``0 .. n_fft // 2`` only.

    Returns
    -------
    torch.Tensor
        ``[F, N]`` or ``[B, F, N]`` complex64, contiguous.

    Raises
    ------
    ValueError
        For another rank, sizes that are not positive, win_length above n_fft, and a window that is not 1-D or of another length.
    TypeError
        If `x` is not floating-point.
    RuntimeError
        As torch.stft: a signal too short for its padding or for one frame.
    """
    if x.dim() not in (1, 2):
        raise InvalidArgument(f"{_OP}: input must be [T] or [B, T], got shape {tuple(x.shape)}")
    if not x.is_floating_point():
        raise InvalidType(f"{_OP}: input must be floating-point, got {x.dtype}")
    n_fft = whole(_OP, "n_fft", n_fft)
    hop_length = whole(_OP, "hop_length", n_fft // 4 if hop_length is None else hop_length)
    win_length = whole(_OP, "win_length", n_fft if win_length is None else win_length)
    if win_length > n_fft:
        raise InvalidArgument(f"{_OP}: win_length must be <= n_fft = {n_fft}, got {win_length}")
    values, length = frame_window(_OP, window, win_length, n_fft, x.device)
    x = x.to(torch.float32)
    center, normalized, onesided = bool(center), bool(normalized), bool(onesided)
    ours = engine(x)
    if ours is None:
        return _by_operators(x, n_fft, hop_length, values, center, normalized, onesided)
    out: dict[str, torch.Tensor] = {}
    if ours is melisma:
        # Written as it is to be returned: half a copy cheaper than PyTorch's frame-major strides and .contiguous().
        frames = 1 + (x.shape[-1] + (2 * (n_fft // 2) if center else 0) - n_fft) // hop_length
        shape = (*x.shape[:-1], n_fft // 2 + 1 if onesided else n_fft, max(frames, 0))
        out["out"] = x.new_empty(shape, dtype=torch.complex64)
    spectrum: torch.Tensor = ours.stft(
        x,
        n_fft,
        hop_length,
        length,
        values,
        center=center,
        normalized=normalized,
        onesided=onesided,
        return_complex=True,
        **out,
    )
    return spectrum.contiguous()


def _by_operators(
    x: torch.Tensor, n_fft: int, hop: int, window: torch.Tensor, center: bool, normalized: bool, onesided: bool
) -> torch.Tensor:
    """The same, through ``torch.ops.mps_spectro.stft_extract_frames`` and torch.fft."""
    left = (n_fft - window.shape[0]) // 2
    window = F.pad(window, (left, n_fft - window.shape[0] - left))
    frames = torch.ops.mps_spectro.stft_extract_frames(x if x.dim() == 2 else x[None], window, hop, n_fft, center)
    spectrum = torch.fft.rfft(frames) if onesided else torch.fft.fft(frames)
    if normalized:
        spectrum = spectrum * (1.0 / math.sqrt(n_fft))
    spectrum = spectrum.transpose(1, 2).contiguous()
    return spectrum if x.dim() == 2 else spectrum[0]
