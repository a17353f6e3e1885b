"""The inverse transform, under mps-spectro's name."""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from ...errors import InvalidArgument, InvalidType
from ._engine import engine, frame_window, symbolic, whole
from ._ops import TINY_ENVELOPE, overlap_add

__all__ = ["mps_istft_forward"]

_OP = "istft"
_CHOICES = {
    "long_mode_strategy": ("custom", "torch_fallback"),
    "kernel_dtype": ("float32", "float16", "mixed"),
    "kernel_layout": ("auto", "native", "transposed"),
    "safety": ("off", "auto", "always"),
}


def mps_istft_forward(
    spec: torch.Tensor,
    *,
    n_fft: int | None = None,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: torch.Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool = True,
    length: int | None = None,
    torch_like: bool = False,
    safety: str = "auto",
    allow_fused: bool = True,
    long_mode_strategy: str = "custom",
    kernel_dtype: str = "float32",
    kernel_layout: str = "auto",
) -> torch.Tensor:
    """Inverse short-time Fourier transform by overlap-add.

    Parameters
    ----------
    spec : torch.Tensor
        ``[F, N]`` or ``[B, F, N]`` complex, any device; computed in float32. The gradient goes to `spec` only.
    n_fft : int, optional
        ``2 (F - 1)``; F where not `onesided`.
    hop_length : int, optional
        ``n_fft // 4``.
    win_length : int, optional
        Must be n_fft.
    window : torch.Tensor, optional
        `n_fft` values; periodic Hann.
    center, normalized, onesided
        As given to stft.
    length : int, optional
        Samples of the result; zeros where the frames give none.
    torch_like : bool
        Refuse, as torch.istft does, where the overlap-added squared window falls below 1e-11 among the samples of the result.
        Otherwise such samples are left undivided.
    safety : {"auto", "always", "off"}
        Whether `torch_like` checks: by a cached result, anew each time, or not at all.
    allow_fused : bool
        Must be True.
    long_mode_strategy : {"custom", "torch_fallback"}
        "torch_fallback" hands centred calls whose `length` is beyond ``hop_length (N - 1)`` to torch.istft, and goes on here, with
        a RuntimeWarning, where that refuses.
    kernel_dtype : {"float32", "mixed", "float16"}
        "mixed" rounds the frames to float16 before they are added up, "float16" frames, window and result; sums are float32.
        Ignored where a gradient is needed.
    kernel_layout : {"auto", "native", "transposed"}
        Checked and accepted: the operators here read either order, and results do not depend on it.

    Returns
    -------
    torch.Tensor
        ``[T]`` or ``[B, T]`` float32; float16 for kernel_dtype "float16".

    Raises
    ------
    ValueError
        For another rank, an unknown choice, or sizes that do not fit.
    TypeError
        If `spec` is not complex.
    NotImplementedError
        For win_length other than n_fft, and allow_fused=False.
    RuntimeError
        Where `torch_like` finds the envelope too small.

    Notes
    -----
    ``y[n] = sum_t w[n - t hop] x_t[n - t hop] / sum_t w[n - t hop]^2`` (Griffin and Lim 1984, eq. 6).
    """
    if spec.dim() not in (2, 3):
        raise InvalidArgument(f"{_OP}: spec must be [F, N] or [B, F, N], got shape {tuple(spec.shape)}")
    if not spec.is_complex():
        raise InvalidType(f"{_OP}: spec must be complex, got {spec.dtype}")
    bins, frames = spec.shape[-2:]
    default = 2 * (bins - 1) if onesided else bins
    n_fft = whole(_OP, "n_fft", default if n_fft is None else n_fft)
    hop = whole(_OP, "hop_length", n_fft // 4 if hop_length is None else hop_length)
    if win_length is not None and win_length != n_fft:
        raise NotImplementedError(f"{_OP}: win_length must be n_fft = {n_fft}, got {win_length}")
    given = (long_mode_strategy, kernel_dtype, kernel_layout, safety)
    for (name, choices), value in zip(_CHOICES.items(), given, strict=True):
        if value not in choices:
            raise InvalidArgument(f"{_OP}: {name} must be one of {', '.join(choices)}, got {value!r}")
    if not allow_fused:
        raise NotImplementedError(f"{_OP}: allow_fused must be True, got {allow_fused!r}")
    values, _ = frame_window(_OP, window, n_fft, n_fft, spec.device)
    spec = spec.to(torch.complex64)
    center, normalized, onesided = bool(center), bool(normalized), bool(onesided)
    if long_mode_strategy == "torch_fallback" and center and length is not None and length > hop * (frames - 1):
        try:
            return torch.istft(spec, n_fft, hop, n_fft, values, center, normalized, onesided, int(length), False)
        except RuntimeError as error:
            warnings.warn(f"{_OP}: torch.istft refused ({error}); going on without it", RuntimeWarning, stacklevel=2)

    full = n_fft + hop * (frames - 1)
    start = n_fft // 2 if center else 0
    wanted = max(0, full - 2 * start) if length is None else int(length)
    check = torch_like and safety != "off"
    if check and not symbolic(values):
        _refuse_tiny(values, hop, frames, start, min(full, start + wanted), cached=safety == "auto")
    ours = engine(spec)
    differentiable = torch.is_grad_enabled() and spec.requires_grad
    half = kernel_dtype != "float32" and not differentiable
    if ours is None or half:
        y = _by_operators(spec, n_fft, hop, values, normalized, onesided, kernel_dtype if half else "float32")
        y = y[..., start : start + wanted]
        return F.pad(y, (0, wanted - y.shape[-1]))
    if wanted == 0:
        return spec.real[..., 0, :0]
    edge = "error" if check else "clamp"  # what could not be looked at above
    y = ours.istft(spec, n_fft, hop, n_fft, values, center, normalized, onesided, wanted, not onesided, edge=edge)
    if not onesided:  # of a spectrum without symmetry too, the real part; torch.istft takes its first half instead
        y = y.real.contiguous()
    return y if check else _undivided(y, values, hop, frames, start, min(full, start + wanted))


def _by_operators(
    spec: torch.Tensor, n_fft: int, hop: int, window: torch.Tensor, normalized: bool, onesided: bool, dtype: str
) -> torch.Tensor:
    """The whole overlap-add through torch.fft and ``torch.ops.mps_spectro.istft_overlap_add``."""
    batch = spec if spec.dim() == 3 else spec[None]
    norm = "ortho" if normalized else "backward"
    if onesided:
        frames = torch.fft.irfft(batch, n_fft, dim=-2, norm=norm)
    else:
        frames = torch.fft.ifft(batch, n_fft, dim=-2, norm=norm).real
    squares = window * window
    if dtype != "float32":
        frames = frames.to(torch.float16)
    if dtype == "float16":
        window, squares = window.to(torch.float16), squares.to(torch.float16)
    full = n_fft + hop * (spec.shape[-1] - 1)
    y: torch.Tensor = torch.ops.mps_spectro.istft_overlap_add(frames, window, squares, hop, full)
    return y if spec.dim() == 3 else y[0]


def _undivided(y: torch.Tensor, window: torch.Tensor, hop: int, frames: int, start: int, end: int) -> torch.Tensor:
    """Take back the division by 1e-11 that edge="clamp" made where the envelope of samples ``start .. end`` is tiny."""
    if symbolic(window):
        squares = (window * window)[None, :, None].expand(1, window.shape[0], frames)
        tiny = overlap_add(squares, hop)[0, start:end] <= TINY_ENVELOPE
    else:
        content = _content(window)
        if _smallest(content, hop, frames, start, end) > TINY_ENVELOPE:
            return y
        squares_array = np.square(np.frombuffer(content, np.float32))
        tiny = torch.from_numpy(_envelope(squares_array, hop, frames)[start:end] <= TINY_ENVELOPE).to(y.device)
    scale = torch.where(tiny, TINY_ENVELOPE, 1.0)
    return y * F.pad(scale, (0, y.shape[-1] - scale.shape[0]))


def _refuse_tiny(window: torch.Tensor, hop: int, frames: int, start: int, end: int, *, cached: bool) -> None:
    find = _smallest if cached else _smallest.__wrapped__
    smallest = find(_content(window), hop, frames, start, end)
    if smallest < TINY_ENVELOPE:
        raise InvalidArgument(
            f"{_OP}: window overlap-add envelope is too small: it must be >= {TINY_ENVELOPE:g} at every sample of the result, "
            f"got {smallest:.3e}"
        )


def _content(window: torch.Tensor) -> bytes:
    array: np.ndarray = (window if window.device.type == "cpu" else window.cpu()).numpy()
    return array.tobytes()


@lru_cache(maxsize=256)
def _smallest(window: bytes, hop: int, frames: int, start: int, end: int) -> float:
    """The envelope's minimum over samples ``start .. end`` (0 of none), by the window's content.

    Past the first frames and before the last ones the envelope repeats every hop, so that few frames stand for all.
    """
    if end <= start:
        return 0.0
    squares = np.square(np.frombuffer(window, np.float32))
    overlap = -(-len(squares) // hop)
    few = min(frames, 3 * overlap)
    envelope = _envelope(squares, hop, few)
    beyond = len(squares) + (frames - 1) * hop - end
    last = max(len(envelope) - beyond, min(end, (overlap + 1) * hop))
    return float(envelope[start:last].min())


def _envelope(squares: np.ndarray, hop: int, frames: int) -> np.ndarray:
    """``sum_t squares[n - t hop]``, float32."""
    overlap = -(-len(squares) // hop)
    parts = np.zeros((overlap, hop), np.float32)
    parts.ravel()[: len(squares)] = squares
    summed = np.zeros((frames + overlap - 1, hop), np.float32)
    for shift, part in enumerate(parts):
        summed[shift : shift + frames] += part
    return summed.ravel()[: len(squares) + (frames - 1) * hop]
