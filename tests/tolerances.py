"""How far a result may be from the float64 reference: every bound of the Python tests, each derived.

A transform of n values rounds each about log2(n) times. For a frame of l2 norm 1 those random roundings of eps / 2 add up to
eps sqrt(log2 n), the largest of many outputs is about four times that, and the window's own rounding adds one eps. A bin in
which a frame's energy gathers is rounded relative to itself as well. What follows a transform carries its interval on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]

EPS32 = float(np.finfo(np.float32).eps)
EPS64 = float(np.finfo(np.float64).eps)

# The figure for stft followed by istft, on signals of unit scale.
ROUND_TRIP = 4e-6
# Two float32 programs of the same formula (librosa's and ours), relative to the largest value.
LIBROSA_RELATIVE = 2e-5
# Filter bank weights: float32 from formulas evaluated in float64 against the rivals' float32 or float64.
FILTERBANK_TORCHAUDIO = 2e-5  # torchaudio computes centers and slopes in float32: |f| eps / bandwidth, at most 40 eps 4
FILTERBANK_LIBROSA = 2e-7  # librosa computes them in float64 and rounds once
WINDOW32 = EPS32  # rounded once from float64, and so is torch's up to one more rounding


class Interval(NamedTuple):
    """Bounds of a value, elementwise."""

    low: Array
    high: Array


def eps_of(dtype: np.dtype[Any]) -> float:
    return EPS64 if np.dtype(dtype) in (np.dtype(np.float64), np.dtype(np.complex128)) else EPS32


def transform(n_fft: int, eps: float) -> float:
    """Error of one output for a frame of norm 1; in float64 the reference's own error is as large as ours."""
    return (8.0 if eps < 1e-12 else 2.0) * eps * float(np.sqrt(np.log2(n_fft) + 2.0))


def stft(reference: Array, n_fft: int, eps: float = EPS32) -> Array:
    """Error allowed to each value of [..., bins, frames]."""
    sides = 2.0 if reference.shape[-2] < n_fft else 1.0
    norm = np.sqrt(sides * np.sum(np.abs(reference) ** 2, axis=-2, keepdims=True) / n_fft)
    bound: Array = norm * transform(n_fft, eps) + 2.0 * eps * np.abs(reference)
    return bound


def istft(spectrum: Array, amplification: Array, n_fft: int, eps: float = EPS32) -> Array:
    """Error allowed to each sample; amplification is sum_t |w| / envelope of the samples."""
    sides = 2.0 if spectrum.shape[-2] < n_fft else 1.0
    sample = float(np.sqrt(sides * np.sum(np.abs(spectrum) ** 2, axis=-2).max())) / n_fft  # of the loudest frame
    # Each frame's error, and the roundings of the sum of frames relative to what is added.
    bound: Array = amplification * sample * (transform(n_fft, eps) + 4.0 * eps * np.sqrt(np.log2(n_fft) + 2.0)) + EPS64
    return bound


def spectrogram(reference: Array, n_fft: int, power: float, eps: float = EPS32) -> Interval:
    """Bounds of |X|^power from the exact spectrum X."""
    magnitude, error = np.abs(reference), stft(reference, n_fft, eps)
    rounding = 8.0 * eps * max(1.0, power)
    return Interval(
        np.maximum(magnitude - error, 0.0) ** power * (1.0 - rounding), (magnitude + error) ** power * (1.0 + rounding)
    )


def filtered(bounds: Interval, weights: Array, eps: float = EPS32) -> Interval:
    """Bounds after a filter bank [bins, bands] of weights >= 0: the sum's and the weights' own roundings on top."""
    count = np.maximum((weights != 0).sum(axis=0), 1)[:, None]
    slack = eps * (3.0 + np.sqrt(count))
    return Interval(weights.T @ bounds.low * (1.0 - slack), weights.T @ bounds.high * (1.0 + slack))


def logarithm(
    bounds: Interval, scale: float, *, mul: float = 1.0, add: float = 0.0, floor: float = 0.0, eps: float = EPS32
) -> Interval:
    """Bounds of scale ln(max(mul v + add, floor)); the SIMD logarithm is good to a few ulp."""

    def log(v: Array, sign: float) -> Array:
        inner = np.maximum(mul * v + add + sign * eps * (np.abs(mul * v) + abs(add)), max(floor, 1e-300))
        y = scale * np.log(inner)
        result: Array = y + sign * 8.0 * eps * (np.abs(y) + abs(scale))
        return result

    return Interval(log(bounds.low, -1.0), log(bounds.high, +1.0))


def top(bounds: Interval, top_db: float, axes: tuple[int, ...] = (-2, -1), eps: float = EPS32) -> Interval:
    """Bounds after what lies more than top_db below the maximum over axes has been raised to that."""
    low, high = bounds.low.max(axis=axes, keepdims=True), bounds.high.max(axis=axes, keepdims=True)
    slack = 2.0 * eps * (np.abs(high) + top_db)
    return Interval(np.maximum(bounds.low, low - top_db - slack), np.maximum(bounds.high, high - top_db + slack))


def assert_inside(got: Array, bounds: Interval, what: str = "") -> None:
    got = np.asarray(got, np.float64)
    assert got.shape == bounds.low.shape, what
    outside = ~((got >= bounds.low) & (got <= bounds.high))
    if outside.any():
        at = tuple(np.argwhere(outside)[0])
        raise AssertionError(
            f"{what}: {outside.sum()} of {got.size} values are out of bounds; the first, at {at}, is {got[at]!r}, "
            f"not in [{bounds.low[at]!r}, {bounds.high[at]!r}]"
        )


def assert_within(got: Array, want: Array, bound: Array | float, what: str = "") -> None:
    assert got.shape == want.shape, what
    excess = np.abs(np.asarray(got).astype(np.result_type(want.dtype, np.float64)) - want) - bound
    if not (excess <= 0).all():
        at = tuple(np.argwhere(~(excess <= 0))[0])
        raise AssertionError(
            f"{what}: at {at} {got[at]!r} is not {want[at]!r} within the bound; worst excess {excess.max()}"
        )
