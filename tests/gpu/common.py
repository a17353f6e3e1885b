"""What the tests on a GPU share. Windows, banks and signals name their device: the default device stays the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch

import melisma
import melisma.torch  # the dispatcher's operators

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device")
CUDA = torch.device("cuda", 0)
Call = Callable[[torch.Tensor], torch.Tensor]


def randn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0, device: Any = CUDA) -> torch.Tensor:
    generator = torch.Generator("cpu").manual_seed(seed)
    wide = torch.complex64 if dtype.is_complex else torch.float32
    values = torch.randn(*shape, dtype=wide, generator=generator)
    return (values * 3000 if dtype == torch.int16 else values).to(dtype).to(device)


@cache
def hann(n: int, device: Any = CUDA) -> torch.Tensor:
    return torch.hann_window(n, device=device)


@cache
def bank(bins: int, bands: int, device: Any = CUDA) -> torch.Tensor:
    """Triangles, as every bank of audio: most weights are zero."""
    center = torch.linspace(1, bins - 2, bands)
    weights = (1 - (torch.arange(bins)[:, None] - center).abs() * bands / bins).clamp(min=0)
    return weights.to(device)


@dataclass(frozen=True)
class Case:
    """An operator with its options; `make` gives its input for a batch."""

    make: Callable[[int], torch.Tensor]
    call: Call


def _signal(samples: int) -> Callable[[int], torch.Tensor]:
    return lambda batch: randn(batch, samples)


def _spectrum(n: int, frames: int) -> Callable[[int], torch.Tensor]:
    return lambda batch: randn(batch, n // 2 + 1, frames, dtype=torch.complex64)


@cache
def taps(channels: int, width: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Weights of a convolution, of what torch.compile can trace."""
    return torch.arange(channels * width, device=CUDA).cos().view(channels, width).to(dtype)


@cache
def bias(channels: int) -> torch.Tensor:
    return torch.arange(channels, device=CUDA).sin()


@cache
def sequences(steps: int) -> torch.Tensor:
    """Numbers of sequences of some lengths, the last steps being padding."""
    step = torch.arange(steps, dtype=torch.int32, device=CUDA)
    return torch.where(step < steps - 5, step // 37, -1)


def _signals(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[int], torch.Tensor]:
    return lambda batch: randn(batch, *shape, dtype=dtype)


def _masked(x: torch.Tensor) -> torch.Tensor:
    steps, channels = x.shape[-2:]
    mask = (sequences(steps) % 3).float()[None]
    out = melisma.short_conv_fused(x.reshape(-1, steps, channels), taps(channels, 4), None, mask)
    return out.view(x.shape)


MEL: dict[str, Any] = {"sample_rate": 16000, "n_fft": 400, "hop_length": 160, "n_mels": 80}
CASES: dict[str, Case] = {
    "stft 1024": Case(_signal(16000), lambda x: melisma.stft(x, 1024, 256, window=hann(1024))),
    "stft 400": Case(_signal(16000), lambda x: melisma.stft(x, 400, 160, window=hann(400))),
    "stft rows": Case(_signal(16000), lambda x: melisma.stft(x, 512, 100, window="hann", layout="frame_major")),
    "stft two-sided": Case(_signal(9000), lambda x: melisma.stft(x, 480, 111, window=hann(480), onesided=False)),
    "stft prime": Case(_signal(9000), lambda x: melisma.stft(x, 1103, 300, window=hann(1103))),
    "spectrogram": Case(_signal(16000), lambda x: melisma.spectrogram(x, n_fft=1024, hop_length=256)),
    "magnitude": Case(_signal(16000), lambda x: melisma.spectrogram(x, n_fft=400, power=1.0, layout="frame_major")),
    "mel": Case(_signal(16000), lambda x: melisma.mel_spectrogram(x, **MEL)),
    "log_mel": Case(_signal(16000), lambda x: melisma.log_mel(x, **MEL)),
    "log_mel top_db": Case(_signal(16000), lambda x: melisma.log_mel(x, **MEL, top_db=60.0)),
    "filtered": Case(
        _signal(16000),
        lambda x: melisma.filtered_spectrogram(
            x, filterbank=bank(1025, 90), n_fft=2048, hop_length=441, output_scale="log1p"
        ),
    ),
    "istft 1024": Case(_spectrum(1024, 63), lambda s: melisma.istft(s, 1024, 256, window=hann(1024))),
    "istft 400": Case(_spectrum(400, 101), lambda s: melisma.istft(s, 400, 160, window="hann", length=16000)),
    "istft odd hop": Case(_spectrum(512, 90), lambda s: melisma.istft(s, 512, 111, window=hann(512))),
    "conv rows": Case(_signals(96, 1000), lambda x: melisma.causal_conv1d(x, taps(96, 4), bias(96), activation="silu")),
    "conv odd rows": Case(_signals(7, 1001, dtype=torch.float16), lambda x: melisma.causal_conv1d(x, taps(7, 2))),
    "conv channels": Case(
        _signals(500, 64, dtype=torch.bfloat16),
        lambda x: melisma.causal_conv1d(
            x, taps(64, 4, torch.bfloat16), bias(64), activation="silu", channels_last=True
        ),
    ),
    "conv sequences": Case(
        _signals(500, 64),
        lambda x: melisma.causal_conv1d(
            x, taps(64, 3), seq_idx=sequences(500).expand(x.shape[:-1]), channels_last=True, activation="silu"
        ),
    ),
    "conv masked": Case(_signals(300, 40), _masked),
    "conv wide": Case(_signals(12, 400), lambda x: melisma.causal_conv1d(x, taps(12, 9), bias(12))),
}


def above(case: Case, x: torch.Tensor) -> torch.Tensor:
    """A gradient of the case's result."""
    y = case.call(x)
    return torch.empty_like(y).copy_(randn(*y.shape, dtype=y.dtype, seed=7, device=y.device))


def gradient(case: Case, x: torch.Tensor, upstream: torch.Tensor) -> torch.Tensor:
    leaf = x.detach().requires_grad_()
    return torch.autograd.grad(case.call(leaf), leaf, upstream)[0]


def assert_rms(got: torch.Tensor, want: torch.Tensor, bound: float, what: str = "") -> None:
    """The error's rms within `bound` of the rms of the result; want: float64 on the CPU."""
    assert got.shape == want.shape, what
    assert torch.isfinite(torch.view_as_real(got) if got.is_complex() else got).all(), what
    error = got.cpu().to(want.dtype) - want
    size = float(want.abs().square().mean().sqrt())
    assert float(error.abs().square().mean().sqrt()) <= bound * size, (what, float(error.abs().max()), size)
