"""What training does with the operators: checkpoints, functional calls, autocast, deterministic mode, several processes."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

import melisma
from torch_device import DEVICE
from torch_ops.common import randn


class Denoiser(nn.Module):
    """A trained window, a mask from log-mel features, and the way back."""

    def __init__(self) -> None:
        super().__init__()
        self.window = nn.Parameter(torch.hann_window(64))
        self.mask = nn.Linear(8, 33)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = melisma.log_mel(x, sample_rate=16000, n_fft=64, hop_length=16, n_mels=8, log="log1p")
        spectrum = melisma.stft(x, 64, 16, window=self.window)
        masked = spectrum * torch.sigmoid(self.mask(features.transpose(-2, -1))).transpose(-2, -1)
        return melisma.istft(masked, 64, 16, window=self.window, length=x.shape[-1])


def model() -> Denoiser:
    torch.manual_seed(0)
    return Denoiser()


def gradients(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def trained(module: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    module.zero_grad()
    (module(x) - x).square().mean().backward()
    result = gradients(module)
    assert len(result) == 3
    return result


X = randn(4, 800, dtype=torch.float32)


def assert_same(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor], relative: float = 0.0) -> None:
    assert got.keys() == want.keys()
    for name in want:
        torch.testing.assert_close(
            got[name], want[name], rtol=relative, atol=relative * float(want[name].abs().max()), msg=name
        )


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoint(reentrant: bool) -> None:
    net = model()
    want = trained(net, X)
    net.zero_grad()
    x = X.clone().requires_grad_()
    (checkpoint(net, x, use_reentrant=reentrant) - x).square().mean().backward()
    assert_same(gradients(net), want, 1e-5)  # the window's several gradients are added in another order


def test_functional_call_and_gradients_for_each_item() -> None:
    net = model()
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def loss(parameters: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return (torch.func.functional_call(net, parameters, (x[None],)) - x).square().mean()

    assert_same(
        torch.func.grad(lambda p: (torch.func.functional_call(net, p, (X,)) - X).square().mean())(parameters),
        trained(net, X),
        1e-5,
    )
    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, X)
    for i in range(len(X)):
        assert_same({name: grad[i] for name, grad in each.items()}, trained(net, X[i : i + 1]), 1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype: torch.dtype) -> None:
    """The operators compute in float32 and give complex64 or float32, whatever autocast makes of their neighbours."""
    linear = nn.Linear(800, 800)
    with torch.autocast(DEVICE, dtype):
        x = linear(X)
        assert x.dtype == dtype
        spectrum = melisma.stft(x, 64, 16, window="hann")
        assert spectrum.dtype == torch.complex64
        assert melisma.istft(spectrum, 64, 16, window="hann").dtype == torch.float32
        bank = torch.ones(33, 3)
        for y in (
            melisma.spectrogram(x, n_fft=64),
            melisma.mel_spectrogram(x, sample_rate=16000, n_fft=64, n_mels=8),
            melisma.log_mel(x, sample_rate=16000, n_fft=64, n_mels=8),
            melisma.filtered_spectrogram(x, filterbank=bank, n_fft=64),
        ):
            assert y.dtype == torch.float32
        assert torch.equal(spectrum, melisma.stft(x.float(), 64, 16, window="hann"))
        assert torch.equal(
            melisma.filtered_spectrogram(X, filterbank=bank, n_fft=64, power=2.0),
            melisma.filtered_spectrogram(X, filterbank=bank, n_fft=64, power=2.0, window="hann"),
        )
        spectrum.abs().mean().backward()
    assert linear.weight.grad is not None
    assert torch.isfinite(linear.weight.grad).all()
    # The composed gradients (a trained bank) stay in float32 inside autocast too.
    trainable = bank.clone().requires_grad_()
    with torch.autocast(DEVICE, dtype):
        inside = melisma.filtered_spectrogram(X, filterbank=trainable, n_fft=64)
    outside = melisma.filtered_spectrogram(X, filterbank=trainable, n_fft=64)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, outside, rtol=1e-5, atol=1e-5)


def test_autocast_of_a_whole_model() -> None:
    net = model()
    with torch.autocast(DEVICE, torch.bfloat16):
        got = trained(net, X)
    want = trained(net, X)
    for name, grad in got.items():
        assert (grad - want[name]).norm() < 0.05 * want[name].norm()  # the linear layer's bfloat16


def test_deterministic_mode() -> None:
    net = model()
    want = trained(net, X)
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(3):
            assert_same(trained(net, X), want)
    finally:
        torch.use_deterministic_algorithms(False)


def test_copies_and_pickles(tmp_path: Path) -> None:
    net = model()
    want = trained(net, X)
    assert_same(trained(copy.deepcopy(net), X), want)
    torch.save(net, tmp_path / "net.pt")
    assert_same(trained(torch.load(tmp_path / "net.pt", weights_only=False), X), want)


def test_threads_of_the_data_loader_kind() -> None:
    """Several Python threads at once, each forward and backward."""
    from concurrent.futures import ThreadPoolExecutor

    want = trained(model(), X)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda net: trained(net, X), [copy.deepcopy(model()) for _ in range(8)]):
            assert_same(got, want)


def _worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    net = DistributedDataParallel(model())
    torch.save(trained_alike(net, X[2 * rank : 2 * rank + 2]), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()
    # The wrapped model keeps gloo's threads alive beyond the group, and Python's own end then aborts now and again when
    # one of them lets go of a tensor (pytorch/pytorch issue 190489).
    os._exit(0)


def trained_alike(net: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    return {name.removeprefix("module."): grad for name, grad in trained(net, x).items()}


def test_two_processes_share_their_gradients(tmp_path: Path) -> None:
    multiprocessing.spawn(_worker, args=(str(tmp_path),), nprocs=2)
    want = trained(model(), X)  # of the whole batch: the mean of both halves
    results: list[Any] = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    assert_same(results[0], results[1])
    assert_same(results[0], want, 1e-4)
