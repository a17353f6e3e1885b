"""The operators as their definitions say them, in NumPy and float64."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

NUMPY_PAD = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}

# Sizes whose accuracy is promised.
PROMISED_SIZES = [
    *range(1, 65),
    *(100, 128, 400, 441, 480, 512, 640, 1000, 1024, 1103, 1280, 1920, 2048, 4096, 6000, 8192, 16384, 65536),
]


def centred_window(window: Array | None, n_fft: int, win_length: int | None = None) -> Array:
    win_length = n_fft if win_length is None else win_length
    full = np.zeros(n_fft)
    left = (n_fft - win_length) // 2
    full[left : left + win_length] = 1.0 if window is None else np.asarray(window, np.float64)
    return full


def stft(
    x: Array,
    n_fft: int,
    hop_length: int,
    window: Array | None = None,
    *,
    win_length: int | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    pad: int = 0,
    normalized: bool = False,
    onesided: bool = True,
) -> Array:
    """Give [..., bins, frames] complex128."""
    x = np.asarray(x).astype(np.complex128 if np.iscomplexobj(x) else np.float64)
    lead = [(0, 0)] * (x.ndim - 1)
    x = np.pad(x, [*lead, (pad, pad)])
    if center:
        x = np.pad(x, [*lead, (n_fft // 2, n_fft // 2)], mode=NUMPY_PAD[pad_mode])  # type: ignore[call-overload]
    frames = np.lib.stride_tricks.sliding_window_view(x, n_fft, axis=-1)[..., ::hop_length, :]
    frames = frames * centred_window(window, n_fft, win_length)
    spectrum = np.fft.rfft(frames) if onesided else np.fft.fft(frames)
    spectrum = np.swapaxes(spectrum, -1, -2)
    return spectrum / np.sqrt(n_fft) if normalized else spectrum


def overlap_add(frames: Array, hop_length: int) -> Array:
    """Frames [..., frames, n_fft] added up at their places."""
    count, n_fft = frames.shape[-2:]
    out = np.zeros((*frames.shape[:-2], n_fft + hop_length * (count - 1)), frames.dtype)
    for t in range(count):
        out[..., t * hop_length : t * hop_length + n_fft] += frames[..., t, :]
    return out


def istft_amplification(window: Array, frames: int, hop_length: int, first: int, samples: int) -> Array:
    """sum_t |w| / sum_t w^2 at each sample asked for, 0 beyond the frames; window: [n_fft]."""
    absolute = overlap_add(np.tile(np.abs(window), (frames, 1)), hop_length)
    envelope = overlap_add(np.tile(window**2, (frames, 1)), hop_length)
    gain = absolute / np.maximum(envelope, 1e-11)
    gain = np.pad(gain, (0, max(0, first + samples - gain.size)))
    return gain[first : first + samples]


def istft(
    spectrum: Array,
    n_fft: int,
    hop_length: int,
    window: Array | None = None,
    *,
    win_length: int | None = None,
    center: bool = True,
    normalized: bool = False,
    length: int | None = None,
    edge: str = "zero",
) -> Array:
    """Give [..., samples] float64 from a one-sided spectrum [..., bins, frames]."""
    w = centred_window(window, n_fft, win_length)
    spectrum = np.asarray(spectrum, np.complex128) * (np.sqrt(n_fft) if normalized else 1.0)
    frames = np.fft.irfft(np.swapaxes(spectrum, -1, -2), n_fft) if n_fft > 1 else np.swapaxes(spectrum, -1, -2).real
    y = overlap_add(frames * w, hop_length)
    envelope = overlap_add(np.tile(w**2, (spectrum.shape[-1], 1)), hop_length)
    vanishes = envelope < 1e-11
    y = np.where(vanishes, y / 1e-11 if edge == "clamp" else 0.0, y / np.where(vanishes, 1.0, envelope))
    first = n_fft // 2 if center else 0
    if length is None:
        length = y.shape[-1] - first - (n_fft // 2 if center else 0)
    y = np.pad(y, [(0, 0)] * (y.ndim - 1) + [(0, max(0, first + length - y.shape[-1]))])
    return y[..., first : first + length]


def amplitude_to_db(
    v: Array, power: float, amin: float, ref: float, top_db: float | None, packed: bool = False
) -> Array:
    """torchaudio's formula, its multiplier by power."""
    scale = 20.0 if power == 1.0 else 10.0
    y = scale * np.log10(np.maximum(v, amin)) - scale * np.log10(max(amin, ref))
    if top_db is not None:
        axes = (-3, -2, -1) if packed and y.ndim > 2 else (-2, -1)
        y = np.maximum(y, y.max(axis=axes, keepdims=True) - top_db)
    return y
