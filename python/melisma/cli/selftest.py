"""``melisma self-test``: a few seconds that say whether this machine computes what it should."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import melisma
from melisma.presets import PRESETS, features

Array = np.ndarray[Any, np.dtype[Any]]

_SIZES = (1, 2, 5, 64, 100, 400, 441, 1024, 1103, 2048)  # every radix, a prime through Bluestein
_EPSILON = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Check:
    """One comparison: the largest error, relative to the largest value, and what is allowed."""

    target: str
    name: str
    error: float
    allowed: float

    @property
    def ok(self) -> bool:
        """Say whether the error is allowed; NaN is not."""
        return self.error <= self.allowed


def run_checks() -> list[Check]:
    """Run every check on every SIMD target of this machine."""
    before = melisma.simd_target()
    checks: list[Check] = []
    try:
        for target in melisma.simd_targets():
            melisma.set_simd_target(target)
            checks += [Check(target, name, error, allowed) for name, error, allowed in _checks()]
    finally:
        melisma.set_simd_target(before)
    return checks


def _checks() -> Iterator[tuple[str, float, float]]:
    x = np.random.default_rng(1).standard_normal((2, 16001)).astype(np.float32)
    for n in _SIZES:
        hop = max(1, n // 4)
        short = x[:, : max(4 * n, 64)]
        window = _hann(n).astype(np.float32)
        expected = _spectrum(short, n, hop, window)
        got = melisma.stft(short, n, hop, window=window, center=False)
        # An FFT's error grows with the square root of log2 n; a factor of 4 stands above the worst frame seen.
        yield f"stft, n_fft {n}", _error(got, expected), 4 * _EPSILON * max(1.0, np.log2(n)) ** 0.5

    window = _hann(1024).astype(np.float32)
    spectrum = melisma.stft(x, 1024, 256, window=window)
    back = melisma.istft(spectrum, 1024, 256, window=window, length=x.shape[-1])
    yield "istft(stft(x)) = x", float(np.abs(back - x).max()), 4e-6

    power = np.abs(_spectrum(x, 400, 160, _hann(400).astype(np.float32))) ** 2
    bank = np.asarray(melisma.melscale_fbanks(201, 0.0, 8000.0, 80, 16000, "slaney", "slaney"), np.float64)
    bands: dict[str, Any] = {
        "sample_rate": 16000,
        "n_mels": 80,
        "mel_scale": "slaney",
        "norm": "slaney",
        "center": False,
    }
    got = melisma.mel_spectrogram(x, n_fft=400, hop_length=160, **bands)
    expected = np.einsum("cft,fm->cmt", power, bank)
    yield "mel_spectrogram", _error(got, expected), 32 * _EPSILON
    got = melisma.log_mel(x, n_fft=400, hop_length=160, log="log10", **bands)
    yield "log_mel", float(np.abs(got - np.log10(np.maximum(expected, 1e-10))).max()), 1e-5

    silent = np.zeros((1, 8000), np.float32)
    yield "spectrogram of silence", float(np.abs(melisma.spectrogram(silent)).max()), 0.0
    for preset in PRESETS.values():
        batch = features(x, preset.sample_rate, preset)
        single = features(x[1], preset.sample_rate, preset)
        finite = bool(np.isfinite(batch).all())
        error = float(np.abs(batch[1] - single).max()) if finite else float("nan")
        yield f"preset {preset.name}: finite, and f(batch)[1] = f(batch[1])", error, 0.0


def _hann(n: int) -> Array:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n) if n > 1 else np.ones(1)


def _spectrum(x: Array, n: int, hop: int, window: Array) -> Array:
    frames = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), n, axis=-1)[:, ::hop]
    spectrum: Array = np.fft.rfft(frames * window.astype(np.float64)).swapaxes(-1, -2)
    return spectrum


def _error(got: Array, expected: Array) -> float:
    if got.shape != expected.shape:
        return float("nan")
    return float(np.abs(got - expected).max() / np.abs(expected).max())
