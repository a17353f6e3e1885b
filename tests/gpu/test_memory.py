"""Memory: a call takes its result and a constant; running out is PyTorch's own error, and leaves nothing behind."""

from __future__ import annotations

import gc

import pytest
import torch

import melisma
from gpu.common import CASES, CUDA, above, gradient, hann, needs_gpu, randn

pytestmark = needs_gpu

# Beside the result: window in n_fft values, envelope, partial sums; for transforms that fit on chip.
CONSTANT = 4 << 20


def peak(call) -> tuple[int, torch.Tensor]:
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before, result


def size(t: torch.Tensor) -> int:
    return t.numel() * t.element_size()


@pytest.mark.parametrize("name", CASES)
def test_peak_is_the_result_and_a_constant(name: str) -> None:
    """Whatever the batch."""
    case = CASES[name]
    for batch in (1, 64):
        x = case.make(batch)
        upstream = above(case, x)
        gradient(case, x, upstream)
        taken, y = peak(lambda x=x: case.call(x))
        assert taken <= size(y) + CONSTANT, (batch, taken - size(y))
        leaf = x.detach().requires_grad_()
        taken, y = peak(lambda leaf=leaf: case.call(leaf))
        assert taken <= size(y) + CONSTANT
        taken, grad = peak(lambda y=y, leaf=leaf, upstream=upstream: torch.autograd.grad(y, leaf, upstream)[0])
        # The clipping at a maximum is PyTorch's and makes its copies.
        copies = 4 * size(y) if "top_db" in name else 0
        assert taken <= size(grad) + copies + CONSTANT, (batch, taken - size(grad))


def test_nothing_is_left_after_many_calls() -> None:
    for case in CASES.values():
        case.call(case.make(2))
    torch.cuda.synchronize()
    gc.collect()
    before, free = torch.cuda.memory_allocated(), torch.cuda.mem_get_info()[0]
    for case in CASES.values():
        for _ in range(5):
            case.call(case.make(2))
    torch.cuda.synchronize()
    gc.collect()
    assert torch.cuda.memory_allocated() == before
    assert torch.cuda.mem_get_info()[0] >= free - (64 << 20)


@pytest.mark.parametrize("op", ["stft", "istft", "mel"])
def test_out_of_memory(op: str) -> None:
    x = randn(1, 20000).expand(1 << 22, -1)
    spectrum = randn(1, 201, 51, dtype=torch.complex64).expand(1 << 24, -1, -1)
    hann(400)
    melisma.mel_spectrogram(x[0, :1000], sample_rate=16000, hop_length=50)  # its window and filter bank are kept
    gc.collect()
    before = torch.cuda.memory_allocated()
    calls = {
        "stft": lambda: melisma.stft(x, 400, 100, window=hann(400)),
        "istft": lambda: melisma.istft(spectrum, 400, 160, window=hann(400)),
        "mel": lambda: melisma.mel_spectrogram(x, sample_rate=16000, hop_length=50),
    }
    for _ in range(3):
        with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
            calls[op]()
    gc.collect()
    assert torch.cuda.memory_allocated() == before
    assert torch.isfinite(melisma.stft(randn(2, 4000), 400, window=hann(400)).abs()).all()  # goes on working


def test_empty_batches() -> None:
    for case in CASES.values():
        x = case.make(2)[:0]
        assert case.call(x).shape[0] == 0
    assert melisma.stft(torch.empty(0, 4000, device=CUDA), 400).shape == (0, 201, 41)
