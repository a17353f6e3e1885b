"""melisma.spectrogram against the definition in float64, torchaudio's composition in torch, and librosa."""

from __future__ import annotations

from typing import Any

import librosa
import numpy as np
import pytest
import torch

import melisma
import reference
import tolerances


def check(x: np.ndarray, *, scale: float = 1.0, **kwargs: Any) -> None:
    """kwargs are the function's; the reference is built from the same values."""
    n_fft = kwargs.get("n_fft", 400)
    win_length = kwargs.get("win_length") or n_fft
    hop = kwargs.get("hop_length") or win_length // 2
    window = np.asarray(melisma.get_window(kwargs.get("window", "hann"), win_length), np.float64)
    exact = scale * reference.stft(
        x, n_fft, hop, window, win_length=win_length, center=kwargs.get("center", True),
        pad_mode=kwargs.get("pad_mode", "reflect"), pad=kwargs.get("pad", 0),
    )  # fmt: skip
    normalized = kwargs.get("normalized", False)
    if normalized in (True, "window"):
        exact = exact / np.sqrt((window**2).sum())
    elif normalized == "frame_length":
        exact = exact / np.sqrt(n_fft)
    eps = tolerances.eps_of(x.dtype)
    bounds = tolerances.spectrogram(exact, n_fft, kwargs.get("power", 2.0), eps)
    got = melisma.spectrogram(x, **kwargs)
    assert got.dtype == (np.float64 if x.dtype == np.float64 else np.float32)
    tolerances.assert_inside(got, bounds, str(kwargs))
    frame_major = melisma.spectrogram(x, **kwargs, layout="frame_major")
    assert np.array_equal(np.swapaxes(frame_major, -1, -2), got)
    assert frame_major.flags.c_contiguous


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.0])
def test_powers_and_norms(dtype: type, power: float, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 2000)).astype(dtype)
    for normalized in (False, True, "window", "frame_length"):
        for n_fft in (15, 64, 400, 512):
            check(x, n_fft=n_fft, power=power, normalized=normalized)


def test_defaults(rng: np.random.Generator) -> None:
    check(rng.standard_normal(3000).astype(np.float32))
    assert melisma.spectrogram(np.zeros(3000, np.float32)).shape == (201, 16)


@pytest.mark.parametrize("pad_mode", ["reflect", "constant", "replicate", "circular"])
def test_framing(pad_mode: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal(1000).astype(np.float32)
    for kwargs in (
        {"pad": 50},
        {"win_length": 300, "hop_length": 77},
        {"win_length": 299, "window": "hamming"},
        {"center": False},
        {"hop_length": 1000},
    ):
        check(x, n_fft=400, pad_mode=pad_mode, **kwargs)


def test_pcm_is_scaled(rng: np.random.Generator) -> None:
    x = rng.integers(-32768, 32768, (2, 3000)).astype(np.int16)
    check(x, scale=1 / 32768)
    check(x, scale=0.5, pcm_scale=0.5)
    floats = melisma.spectrogram(x.astype(np.float32) / np.float32(32768))
    assert np.allclose(melisma.spectrogram(x), floats, rtol=1e-4, atol=1e-4 * floats.max())


def test_torchaudios_composition() -> None:
    x = torch.randn(2, 4000, generator=torch.Generator().manual_seed(5))
    window = torch.hann_window(400)
    spec = torch.stft(x, 400, 160, 400, window, return_complex=True)
    for power, normalized, want in (
        (2.0, False, spec.abs() ** 2),
        (1.0, False, spec.abs()),
        (2.0, True, (spec / window.pow(2.0).sum().sqrt()).abs() ** 2),
    ):
        got = melisma.spectrogram(x, n_fft=400, hop_length=160, window=window, power=power, normalized=normalized)
        assert isinstance(got, torch.Tensor)
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        assert torch.allclose(got, want, rtol=1e-4, atol=1e-6 * float(want.max()))


def test_librosa(rng: np.random.Generator) -> None:
    x = rng.standard_normal(22050).astype(np.float32)
    want = np.abs(librosa.stft(x, n_fft=2048, hop_length=512, pad_mode="reflect"))
    got = melisma.spectrogram(x, n_fft=2048, hop_length=512, power=1.0)
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= tolerances.LIBROSA_RELATIVE * want.max()
