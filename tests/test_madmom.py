"""compat.madmom against madmom's own outputs (tests/golden: pcm, filterbank, spec of float samples, spec_int16)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import melisma
from melisma.compat.madmom import log_filtered_spectrogram

# The figure. madmom computes in float64 and rounds to float32 at the spectrum, the bands and the result.
TOLERANCE = 2e-6
GOLDEN = ("madmom_chirp", "madmom_silence")

Array = np.ndarray[Any, Any]


@pytest.fixture(params=GOLDEN)
def golden(request: pytest.FixtureRequest) -> dict[str, Array]:
    with np.load(Path(__file__).parent / "golden" / f"{request.param}.npz") as stored:
        return dict(stored)


@pytest.fixture(params=melisma.simd_targets())
def _each_simd_target(request: pytest.FixtureRequest) -> None:
    melisma.set_simd_target(request.param)


@pytest.mark.usefixtures("_each_simd_target")
@pytest.mark.parametrize(
    ("key", "scale", "dtype"),
    [
        ("spec_int16", None, np.int16),
        ("spec", 1 / 32768, np.float32),
        ("spec", 1 / 32768, np.float64),
    ],
)
def test_golden(golden: dict[str, Array], key: str, scale: float | None, dtype: type) -> None:
    samples = golden["pcm"] if scale is None else (golden["pcm"] * scale).astype(dtype)
    result = log_filtered_spectrogram(samples, sample_rate=int(golden["sample_rate"]))
    assert result.dtype == (np.float64 if dtype is np.float64 else np.float32)
    assert result.shape == golden[key].shape
    np.testing.assert_allclose(result, golden[key], rtol=0, atol=TOLERANCE)


def test_filterbank(golden: dict[str, Array]) -> None:
    bank = melisma.log_filterbank(1024, 44100)
    # A weight of at most 1 that madmom divides by a sum in float32: two roundings.
    np.testing.assert_allclose(bank, golden["filterbank"], rtol=0, atol=np.finfo(np.float32).eps)
    np.testing.assert_array_equal(bank != 0, golden["filterbank"] != 0)


@pytest.mark.parametrize(
    ("samples", "rate", "fps"), [(1, 44100, 100), (440, 44100, 100), (441, 44100, 100), (9999, 22050, 97)]
)
def test_frame_count_covers_the_signal(samples: int, rate: int, fps: int) -> None:
    result = log_filtered_spectrogram(np.ones(samples, np.float32), rate, fps=fps, fmax=rate / 3)
    assert result.shape[0] == -(-samples * fps // rate)
    assert np.isfinite(result).all()


def test_stems_are_independent(golden: dict[str, Array]) -> None:
    pcm = golden["pcm"][:40000]
    stems = np.stack([pcm, pcm[::-1]])
    together = log_filtered_spectrogram(stems)
    for stem, result in zip(stems, together, strict=True):
        np.testing.assert_array_equal(log_filtered_spectrogram(stem), result)


def test_fractional_hop_starts_at_the_whole_sample_below() -> None:
    # 1000 / 300 = 3.33 samples: frame i is the 64 samples from int(i * 3.33) - 32 on.
    rng = np.random.default_rng(5)
    x = rng.standard_normal(90)
    result = log_filtered_spectrogram(x, 1000, frame_size=64, fps=300, fmin=20, fmax=400)
    bank = melisma.log_filterbank(32, 1000, f_min=20, f_max=400).astype(np.float64)
    padded = np.concatenate([np.zeros(32), x, np.zeros(64)])
    starts = [int(i * 1000 / 300) for i in range(27)]
    magnitude = np.abs(np.fft.rfft([padded[s : s + 64] * np.hanning(64) for s in starts]))[:, :32]
    np.testing.assert_allclose(result, np.log10(magnitude @ bank + 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"fps": 0}, "fps"),
        ({"fps": float("nan")}, "fps"),
        ({"sample_rate": -1}, "sample_rate"),
        ({"frame_size": 1023}, "n_fft|frame_size"),
        ({"frame_size": 2048.0}, "frame_size"),
        ({"num_bands": 0}, "num_bands"),
        ({"fmin": 500, "fmax": 400}, "f_?max|f_?min"),
        ({"mul": "1"}, "mul"),
        ({"fps": [100]}, "fps"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises((melisma.InvalidArgument, melisma.InvalidType), match=named):
        log_filtered_spectrogram(np.zeros(4096, np.float32), **arguments)
