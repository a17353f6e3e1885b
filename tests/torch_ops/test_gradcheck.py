"""stft and istft: first and second derivatives against finite differences, over every combination of their options."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

import melisma
from torch_ops.common import check, check_twice, positive_window, randn

SIZES = [8, 7, 12]
BOTH = (False, True)
FRAMINGS: dict[str, dict[str, Any]] = {
    "reflect": {"pad_mode": "reflect"},
    "constant": {"pad_mode": "constant"},
    "replicate": {"pad_mode": "replicate"},
    "circular": {"pad_mode": "circular"},
    "uncentred": {"center": False},
    "aligned": {"center": False, "align_to_window": True},
}


def samples_of(n_fft: int) -> int:
    return 2 * n_fft + 3  # no whole number of hops: the last samples are reached by fewer frames, or by none


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("n_fft", SIZES)
def test_stft_in_the_signal(n_fft: int, framing: str) -> None:
    real, pairs = randn(1, samples_of(n_fft), grad=True), randn(samples_of(n_fft), dtype=torch.complex128, grad=True)
    for complex_input, onesided, normalized, short in itertools.product(BOTH, (None, False), BOTH, BOTH):
        if complex_input and onesided is None:
            continue  # the same as False
        win_length = n_fft - 3 if short else n_fft
        options = {
            "hop_length": 3,
            "win_length": win_length,
            "window": positive_window(win_length) if normalized else None,
            "normalized": normalized,
            "onesided": onesided,
            "layout": "frame_major" if short else "frequency_major",
            **FRAMINGS[framing],
        }
        x = pairs if complex_input else real
        check(lambda x, options=options: melisma.stft(x, n_fft, **options), (x,))
        check_twice(lambda x, options=options: melisma.stft(x, n_fft, **options), (x,))


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("n_fft", SIZES)
def test_stft_in_signal_and_window(n_fft: int, framing: str) -> None:
    for complex_input, onesided, normalized in itertools.product(BOTH, (None, False), BOTH):
        if complex_input and onesided is None:
            continue
        dtype = torch.complex128 if complex_input else torch.float64
        x = randn(2, samples_of(n_fft), dtype=dtype, grad=True)
        window = positive_window(n_fft if normalized else n_fft - 3, grad=True)

        def transform(
            x: torch.Tensor, w: torch.Tensor, onesided: bool | None = onesided, normalized: bool = normalized
        ) -> torch.Tensor:
            return melisma.stft(
                x, n_fft, 5, w.shape[0], w, normalized=normalized, onesided=onesided, **FRAMINGS[framing]
            )

        check(transform, (x, window))
        check_twice(transform, (x, window))


@pytest.mark.parametrize("hop", [1, 8, 11])
def test_stft_at_the_hops_extremes(hop: int) -> None:
    x, window = randn(2, 26, grad=True), positive_window(8, grad=True)
    check(lambda x, w: melisma.stft(x, 8, hop, window=w), (x, window), fast=False)
    check_twice(lambda x, w: melisma.stft(x, 8, hop, window=w), (x, window))


@pytest.mark.parametrize("n_fft", [1, 2, 3])
def test_stft_at_the_smallest_sizes(n_fft: int) -> None:
    x, window = randn(1, 5, grad=True), positive_window(n_fft, grad=True)
    for onesided in BOTH:
        check(lambda x, w, s=onesided: melisma.stft(x, n_fft, 1, window=w, onesided=s), (x, window), fast=False)


@pytest.mark.parametrize("return_complex", BOTH)
def test_real_pairs(return_complex: bool) -> None:
    x, pairs = randn(2, 20, grad=True), randn(2, 5, 6, 2, grad=True)
    window = positive_window(8)
    check(lambda x: melisma.stft(x, 8, 3, window=window, return_complex=return_complex), (x,), fast=False)
    check(lambda s: melisma.istft(s, 8, 3, window=window), (pairs,), fast=False)


def spectrum_of(n_fft: int, onesided: bool, frame_major: bool, frames: int = 5) -> torch.Tensor:
    bins = n_fft // 2 + 1 if onesided else n_fft
    shape = (frames, bins) if frame_major else (bins, frames)
    return randn(1, *shape, dtype=torch.complex128, grad=True)


LENGTHS: dict[str, int | None] = {"natural": None, "shorter": 7, "longer": 90}


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("n_fft", SIZES)
def test_istft_in_the_spectrum(n_fft: int, length: str) -> None:
    for center, normalized, kind, short in itertools.product(BOTH, BOTH, ("one", "two", "complex"), BOTH):
        win_length = n_fft - 2 if short else n_fft
        options = {
            "win_length": win_length,
            "window": positive_window(win_length),
            "center": center,
            "normalized": normalized,
            "onesided": kind == "one",
            "length": LENGTHS[length],
            "return_complex": kind == "complex",
            "edge": "zero",
            "layout": "frame_major" if normalized else "frequency_major",
        }
        spectrum = spectrum_of(n_fft, kind == "one", normalized)
        check(lambda s, options=options: melisma.istft(s, n_fft, 3, **options), (spectrum,))
        check_twice(lambda s, options=options: melisma.istft(s, n_fft, 3, **options), (spectrum,))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("n_fft", SIZES)
def test_istft_in_spectrum_and_window(n_fft: int, length: str) -> None:
    for center, normalized, kind in itertools.product(BOTH, BOTH, ("one", "two", "complex")):
        spectrum = spectrum_of(n_fft, kind == "one", normalized, frames=3)
        window = positive_window(n_fft - 2 if normalized else n_fft, grad=True)

        def inverse(
            s: torch.Tensor, w: torch.Tensor, center: bool = center, normalized: bool = normalized, kind: str = kind
        ) -> torch.Tensor:
            return melisma.istft(
                s,
                n_fft,
                3,
                w.shape[0],
                w,
                center,
                normalized,
                kind == "one",
                LENGTHS[length],
                kind == "complex",
                edge="zero",
                layout="frame_major" if normalized else "frequency_major",
            )

        check(inverse, (spectrum, window))
        if normalized == center:  # the scale and the padding do not meet in the second derivatives
            check_twice(inverse, (spectrum, window), check_undefined_grad=False)


@pytest.mark.parametrize("edge", ["error", "zero", "clamp"])
def test_istft_at_vanishing_edges(edge: str) -> None:
    """Without padding, a window that starts at zero leaves the first sample without an envelope."""
    spectrum = spectrum_of(8, True, False)
    window = torch.hann_window(8, dtype=torch.float64) if edge != "error" else positive_window(8)
    check(lambda s: melisma.istft(s, 8, 2, window=window, center=False, edge=edge), (spectrum,), fast=False)
    check_twice(lambda s: melisma.istft(s, 8, 2, window=window, center=False, edge=edge), (spectrum,))
    if edge == "zero":
        (grad,) = torch.autograd.grad(
            melisma.istft(spectrum, 8, 8, window=window, center=False, edge=edge)[..., ::8].sum(), spectrum
        )
        assert torch.equal(grad, torch.zeros_like(grad))


@pytest.mark.parametrize("n_fft", SIZES)
def test_the_window_alone(n_fft: int) -> None:
    x, window = randn(2, samples_of(n_fft)), positive_window(n_fft - 2, grad=True)
    spectrum = spectrum_of(n_fft, True, False, frames=3).detach()
    check(lambda w: melisma.stft(x, n_fft, 3, n_fft - 2, w), (window,))
    check_twice(lambda w: melisma.stft(x, n_fft, 3, n_fft - 2, w).abs().square(), (window,))
    check(lambda w: melisma.istft(spectrum, n_fft, 3, n_fft - 2, w), (window,))
    check_twice(lambda w: melisma.istft(spectrum, n_fft, 3, n_fft - 2, w), (window,))


def test_windows_by_name_and_number_types() -> None:
    x = randn(1, 20, grad=True)
    check(lambda x: melisma.stft(x, 8, 3, window="hann"), (x,))
    check(lambda x: melisma.stft(x, 8, 3, window=torch.hann_window(8)), (x,))  # float32 window, float64 signal
    check(lambda x: melisma.istft(melisma.stft(x, 8, 3, window="hamming"), 8, 3, window="hamming"), (x,))
