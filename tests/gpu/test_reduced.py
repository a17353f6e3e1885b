"""Every kernel once on a few frames, forward and backward: what runs under compute-sanitizer, where each launch takes seconds."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import melisma
from gpu.common import assert_rms, bank, hann, needs_gpu, randn

pytestmark = needs_gpu


def check(call: Any, x: torch.Tensor, bound: float = 2e-6) -> None:
    """Value and gradient against the CPU's in float64; `call` takes the device's tensors of constants by itself."""
    leaf = x.clone().requires_grad_()
    exact = x.cpu().to(torch.complex128 if x.is_complex() else torch.float64).requires_grad_()
    y, want = call(leaf), call(exact)
    assert_rms(y.detach(), want.detach(), bound)
    upstream = randn(*want.shape, dtype=y.dtype, seed=5)
    (grad,) = torch.autograd.grad(y, leaf, upstream)
    (exact_grad,) = torch.autograd.grad(want, exact, upstream.cpu().to(want.dtype))
    assert_rms(grad, exact_grad, 2 * bound)


def on(x: torch.Tensor, constant: torch.Tensor) -> torch.Tensor:
    return constant.to(x.device)


@pytest.mark.parametrize("n", [30, 64, 256, 400, 441, 512, 1024, 1103, 2048, 4096])
def test_forward_and_backward(n: int) -> None:
    hop, w = n // 4 + (n == 512), hann(n) + 0.1
    x, s = randn(2, 2 * n + 5), randn(2, n // 2 + 1, 7, dtype=torch.complex64)
    for layout in ("frequency_major", "frame_major"):
        check(lambda x, y=layout: melisma.stft(x, n, hop, window=on(x, w), layout=y), x)
    check(lambda s: melisma.istft(s, n, hop, window=on(s, w)), s)
    check(lambda x: melisma.spectrogram(x, n_fft=n, hop_length=hop, window=on(x, w)), x)
    check(
        lambda x: melisma.filtered_spectrogram(
            x, filterbank=on(x, bank(n // 2 + 1, 9)) + 0.01, n_fft=n, hop_length=hop, window=on(x, w), power=2.0
        ),
        x,
        5e-6,
    )
    (got,) = torch.autograd.grad(melisma.stft(x, n, hop, window=(leaf := w.clone().requires_grad_())).abs().sum(), leaf)
    assert torch.isfinite(got).all()


def test_what_else_there_is() -> None:
    x = randn(2, 3000)
    check(lambda x: melisma.stft(x, 400, 160, window="hann", onesided=False), x)
    check(lambda x: melisma.stft(x, 512, window="hann", pad_mode="circular", center=True), x)
    check(lambda x: melisma.log_mel(x, sample_rate=16000, n_fft=400, hop_length=160, n_mels=40, log="log1p"), x, 1e-5)
    check(lambda x: melisma.spectrogram(x, n_fft=512, power=1.0, normalized=True), x, 1e-5)
    z = randn(2, 3000, dtype=torch.complex64)
    check(lambda z: melisma.stft(z, 512, window="hann"), z)
    for dtype in (torch.float16, torch.bfloat16, torch.int16, torch.float64):
        assert torch.isfinite(melisma.spectrogram(randn(2, 2000, dtype=dtype), n_fft=400)).all()
    top = melisma.log_mel(x, sample_rate=16000, n_fft=400, n_mels=40, top_db=20.0, top_db_scope="packed")
    assert float(top.max() - top.min()) <= 20.001
