"""Bad input on a GPU: tensors on two devices, dtypes, a backend turned off."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch

import melisma
from gpu.common import CUDA, bank, hann, needs_gpu, randn

pytestmark = needs_gpu
W = 400


@pytest.mark.parametrize("on_gpu", [True, False])
def test_mixed_devices(on_gpu: bool) -> None:
    there, here = (CUDA, "cpu") if on_gpu else ("cpu", CUDA)
    x, window, weights = randn(2, 4000, device=there), hann(W, torch.device(here)), bank(201, 5, torch.device(here))
    spectrum = randn(2, 201, 11, dtype=torch.complex64, device=there)
    for call in (
        lambda: melisma.stft(x, W, window=window),
        lambda: melisma.istft(spectrum, W, window=window),
        lambda: melisma.spectrogram(x, n_fft=W, window=window),
        lambda: melisma.mel_spectrogram(x, sample_rate=16000, window=window),
        lambda: melisma.filtered_spectrogram(x, filterbank=weights, n_fft=W),
        lambda: torch.stft(x, W, window=window, return_complex=True),  # and so does PyTorch
    ):
        with pytest.raises(RuntimeError, match="cuda:0"):
            call()
    for call in (lambda: melisma.stft(x, W, window=window), lambda: melisma.istft(spectrum, W, window=window)):
        with pytest.raises(melisma.InvalidType, match=f"window must be on the input's device {x.device}, got"):
            call()
    leaf = x.clone().requires_grad_()
    with pytest.raises(RuntimeError, match="cuda:0"):
        melisma.stft(leaf, W, window=window)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex32])
def test_dtypes(dtype: torch.dtype) -> None:
    with pytest.raises(melisma.InvalidType, match="input must be"):
        melisma.stft(torch.zeros(2, 4000, device=CUDA).to(dtype), W, onesided=False)


def test_sizes() -> None:
    x = randn(2, 4000)
    for options in ({"n_fft": 0}, {"n_fft": W, "hop_length": 0}, {"n_fft": W, "window": hann(W)[:-1]}):
        with pytest.raises(melisma.InvalidArgument):
            melisma.stft(x, **options)
    with pytest.raises(melisma.InvalidArgument, match="1e-11"):
        melisma.istft(randn(1, 201, 9, dtype=torch.complex64), W, window=hann(W), center=False)


def run(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


REFUSED = """
import torch, melisma
x = torch.randn(1, 4000, device="cuda")
try:
    melisma.stft(x, 400)
except melisma.Unavailable as error:
    print(error)
with melisma.patch_torch() as patch:
    torch.stft(x, 400, return_complex=True)
print(patch.counts())
"""


def test_turned_off() -> None:
    """A clear error, and a counted fallback where PyTorch's own function was called."""
    printed = run(REFUSED, MELISMA_CUDA="0")
    assert "stft: input is on cuda:0" in printed
    assert "fell through" in printed


def test_a_machine_without_a_visible_gpu() -> None:
    program = "import melisma; print([row for row in melisma.backends() if row['name'] == 'cuda'])"
    assert "'available': False" in run(program, CUDA_VISIBLE_DEVICES="")


def test_the_first_call_of_a_process_waits_for_nobody() -> None:
    """Import and first call in a fresh process; an import does not start CUDA."""
    program = (
        "import torch, melisma, melisma.torch; assert not torch.cuda.is_initialized(); "
        "print(melisma.stft(torch.ones(1, 4000, device='cuda'), 400).abs().sum().item())"
    )
    assert float(run(program)) > 0


def test_out() -> None:
    x, out = randn(2, 4000), torch.empty(2, 201, 41, dtype=torch.complex64, device=CUDA)
    assert melisma.stft(x, W, window=hann(W), out=out) is out
    assert torch.equal(out, melisma.stft(x, W, window=hann(W)))
    with pytest.raises(melisma.InvalidType, match="device"):
        melisma.stft(x, W, out=out.cpu())
    options: dict[str, Any] = {"n_fft": W, "filterbank": bank(201, 5)}
    result = torch.empty(2, 5, 21, device=CUDA)
    melisma.filtered_spectrogram(x, **options, out=result)
    torch.testing.assert_close(result, melisma.filtered_spectrogram(x, **options), rtol=1e-5, atol=1e-5)
