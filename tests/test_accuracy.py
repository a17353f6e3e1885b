"""Accuracy against a float64 reference: never worse than torch's on the same input."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import melisma
import reference
import tolerances

# Frames enough that the largest error of each side is near its expectation.
FRAMES = 64


def signal(n_fft: int) -> np.ndarray:
    hop = max(1, n_fft // 4)
    return np.random.default_rng(n_fft).standard_normal(n_fft + hop * (FRAMES - 1)).astype(np.float32)


@pytest.mark.parametrize("n_fft", reference.PROMISED_SIZES)
def test_stft_is_at_least_as_accurate_as_torch(n_fft: int) -> None:
    x, hop = signal(n_fft), max(1, n_fft // 4)
    window = torch.hann_window(n_fft)
    exact = reference.stft(x, n_fft, hop, window.numpy(), center=False)
    theirs = torch.stft(torch.from_numpy(x), n_fft, hop, window=window, center=False, return_complex=True).numpy()
    ours = melisma.stft(x, n_fft, hop, window=window.numpy(), center=False)
    assert np.abs(ours - exact).max() <= np.abs(theirs - exact).max()


@pytest.mark.parametrize("n_fft", [n for n in reference.PROMISED_SIZES if n > 3])
def test_istft_is_at_least_as_accurate_as_torch(n_fft: int) -> None:
    hop = max(1, n_fft // 4)
    window = torch.hann_window(n_fft)
    spec = reference.stft(signal(n_fft), n_fft, hop, window.numpy()).astype(np.complex64)
    exact = reference.istft(spec, n_fft, hop, window.numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torch.istft(torch.from_numpy(spec), n_fft, hop, window=window).numpy()
    ours = melisma.istft(spec, n_fft, hop, window=window.numpy())
    assert np.abs(ours - exact).max() <= np.abs(theirs - exact).max()


@pytest.mark.parametrize("n_fft", reference.PROMISED_SIZES)
def test_float64_input_is_computed_in_float64(n_fft: int) -> None:
    x, hop = signal(n_fft).astype(np.float64), max(1, n_fft // 4)
    window = torch.hann_window(n_fft, dtype=torch.float64).numpy()
    exact = reference.stft(x, n_fft, hop, window, center=False)
    got = melisma.stft(x, n_fft, hop, window=window, center=False)
    assert got.dtype == np.complex128
    tolerances.assert_within(got, exact, tolerances.stft(exact, n_fft, tolerances.EPS64))


def test_a_silent_frame_beside_a_loud_one_is_silent() -> None:
    for n_fft in (16, 20, 400, 1024, 1103):
        x = np.zeros(20 * n_fft, np.float32)
        x[5 * n_fft : 6 * n_fft] = 1e6 * np.random.default_rng(0).standard_normal(n_fft)
        got = melisma.stft(x, n_fft, n_fft, center=False)
        assert (np.delete(got, 5, axis=1) == 0).all()
