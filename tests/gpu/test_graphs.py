"""CUDA graphs, streams and no waiting: every operator and its backward."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

import melisma
from gpu.common import CASES, CUDA, above, bank, gradient, hann, needs_gpu, randn

pytestmark = needs_gpu


def warmed_up(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Input and upstream gradient of a case that has run forward and backward."""
    case = CASES[name]
    x = case.make(2)
    upstream = above(case, x)
    gradient(case, x, upstream)
    torch.cuda.synchronize()
    return x, upstream


@pytest.mark.parametrize("name", CASES)
def test_captured_forward(name: str) -> None:
    case = CASES[name]
    x, _ = warmed_up(name)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = case.call(x)
    for seed in (1, 2):
        x.copy_(randn(*x.shape, dtype=x.dtype, seed=seed))
        y.fill_(float("nan"))
        graph.replay()
        assert torch.equal(y, case.call(x))


@pytest.mark.parametrize("name", CASES)
def test_captured_backward(name: str) -> None:
    case = CASES[name]
    x, upstream = warmed_up(name)
    leaf = x.clone().requires_grad_()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):  # as PyTorch asks of captured backwards
        torch.autograd.grad(case.call(leaf), leaf, upstream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        (grad,) = torch.autograd.grad(case.call(leaf), leaf, upstream)
    with torch.no_grad():
        leaf.copy_(randn(*x.shape, dtype=x.dtype, seed=3))
    graph.replay()
    assert torch.equal(grad, gradient(case, leaf, upstream))


def test_captured_training_step() -> None:
    """Window and bank trained, through the compositions, with an optimizer's step in the graph."""
    x = randn(2, 8000)
    window, weights = hann(400).clone().requires_grad_(), bank(201, 20).clone().requires_grad_()
    optimizer = torch.optim.SGD([window, weights], lr=1e-3)

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=False)
        y = melisma.filtered_spectrogram(x, filterbank=weights, n_fft=400, hop_length=160, window=window)
        z = melisma.istft(melisma.stft(x, 400, 160, window=window), 400, 160, window=window, edge="zero")
        loss = y.square().mean() + z.square().mean()
        loss.backward()
        optimizer.step()
        return loss

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()
    graph.replay()
    first = loss.item()
    for _ in range(5):
        graph.replay()
    assert 0 < loss.item() < first


@pytest.fixture
def _no_waiting() -> Iterator[None]:
    torch.cuda.synchronize()
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize("name", CASES)
def test_no_later_call_waits(name: str) -> None:
    case = CASES[name]
    x, upstream = warmed_up(name)
    torch.cuda.set_sync_debug_mode("error")
    case.call(x)
    gradient(case, x, upstream)


@pytest.mark.usefixtures("_no_waiting")
def test_windows_and_banks_are_read_once() -> None:
    """A window or bank given as a tensor, array or by name: the first call may wait, no later one does."""
    spectrum, x = randn(2, 201, 51, dtype=torch.complex64), randn(2, 8000)
    window, weights = torch.hamming_window(400, device=CUDA), bank(201, 17).clone()
    on_host, bank_on_host = np.hanning(400).astype(np.float32), bank(201, 17).cpu().numpy() + 1.0

    def calls() -> None:
        melisma.istft(spectrum, 400, 160, window=window)
        melisma.istft(spectrum, 400, 160, window=on_host)
        melisma.istft(spectrum, 400, 160, window="blackman")
        melisma.istft(spectrum, 400, 160, window=window.half(), edge="zero")
        melisma.filtered_spectrogram(x, filterbank=weights, n_fft=400, window=window)
        melisma.filtered_spectrogram(x, filterbank=bank_on_host, n_fft=400, window=on_host)

    calls()
    torch.cuda.set_sync_debug_mode("error")
    calls()
    torch.cuda.set_sync_debug_mode("default")
    window.zero_()
    with pytest.raises(melisma.InvalidArgument, match="1e-11"):
        melisma.istft(spectrum, 400, 160, window=window)
    weights.add_(1.0)  # where it was zero, too
    want = melisma.filtered_spectrogram(x.cpu(), filterbank=weights.cpu(), n_fft=400)
    torch.testing.assert_close(
        melisma.filtered_spectrogram(x, filterbank=weights, n_fft=400).cpu(), want, rtol=1e-4, atol=1e-3
    )


def test_the_envelope_under_capture() -> None:
    """A window first seen while a stream is captured is not read: samples without an envelope become NaN."""
    spectrum, window = randn(1, 201, 21, dtype=torch.complex64), torch.hann_window(400, device=CUDA)
    melisma.istft(spectrum, 400, 160, window=hann(400))
    with pytest.raises(melisma.InvalidArgument, match="1e-11"):
        melisma.istft(spectrum, 400, 160, window=hann(400), center=False)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = melisma.istft(spectrum, 400, 160, window=window, center=False)
    graph.replay()
    assert y[0, 0].isnan()
    assert torch.isfinite(y[0, 1:]).all()


@pytest.mark.parametrize("name", CASES)
def test_on_a_side_stream(name: str) -> None:
    """The call waits for what its stream waits for, and for nothing else."""
    case = CASES[name]
    x, upstream = warmed_up(name)
    want, want_gradient = case.call(x), gradient(case, x, upstream)
    late = torch.full_like(x, float("nan"))
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        torch.cuda._sleep(20_000_000)
        late.copy_(x)
        got = case.call(late)
        got_gradient = gradient(case, late, upstream)
    side.synchronize()
    assert torch.equal(got, want)
    assert torch.equal(got_gradient, want_gradient)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")
@pytest.mark.parametrize("name", ["stft 1024", "mel", "istft 400"])
def test_on_the_second_gpu(name: str) -> None:
    """While the first one is current."""
    other = torch.device("cuda", 1)
    x = CASES[name].make(2).to(other)
    call = {
        "stft 1024": lambda x: melisma.stft(x, 1024, 256, window="hann"),
        "mel": CASES["mel"].call,
        "istft 400": CASES["istft 400"].call,
    }[name]
    got = call(x)
    assert got.device == other
    assert torch.cuda.current_device() == 0
    assert torch.equal(got.to(CUDA), call(x.to(CUDA)))
    with pytest.raises(RuntimeError, match="cuda:1"):
        melisma.stft(x.real.flatten(1), 512, window=hann(512))
