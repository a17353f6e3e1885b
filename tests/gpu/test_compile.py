"""torch.compile with Inductor, CUDA graphs on and off, autocast, and a model's training step, all on the GPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

import melisma
from gpu.common import CASES, CUDA, above, gradient, hann, needs_gpu, randn

pytestmark = needs_gpu


@pytest.fixture(autouse=True)
def _fresh(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "inductor"))
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def close(got: torch.Tensor, want: torch.Tensor, times: float = 1e-5) -> None:
    torch.testing.assert_close(got, want, rtol=1e-4, atol=times * float(want.detach().abs().max()))


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
@pytest.mark.parametrize(
    "name", ["stft 1024", "log_mel top_db", "filtered", "istft 400", "conv rows", "conv sequences"]
)
def test_inductor(name: str, mode: str) -> None:
    case = CASES[name]
    compiled = torch.compile(lambda x: case.call(x * 2) * 0.5, fullgraph=True, mode=mode)
    for seed in range(3):
        torch.compiler.cudagraph_mark_step_begin()
        x = case.make(2) + seed
        leaf, plain = x.clone().requires_grad_(), x.clone().requires_grad_()
        got, want = compiled(leaf), case.call(plain * 2) * 0.5
        close(got.clone(), want)
        upstream = torch.ones_like(want)
        close(torch.autograd.grad(got, leaf, upstream)[0], torch.autograd.grad(want, plain, upstream)[0], 1e-4)


class Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.window = nn.Parameter(torch.hann_window(400) + 0.1)
        self.mask = nn.Linear(40, 201)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = melisma.log_mel(x, sample_rate=16000, n_fft=400, hop_length=160, n_mels=40, log="log1p")
        spectrum = melisma.stft(x, 400, 160, window=self.window)
        masked = spectrum * torch.sigmoid(self.mask(features.transpose(-2, -1)).float()).transpose(-2, -1)
        return melisma.istft(masked, 400, 160, window=self.window, length=x.shape[-1])


def trained(net: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    net.zero_grad()
    (net(x) - x).square().mean().backward()
    return {name: p.grad.clone() for name, p in net.named_parameters()}


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
def test_a_models_gradients(dtype: torch.dtype | None) -> None:
    """As on the CPU; under autocast, as outside of it but for the linear layer."""
    torch.manual_seed(0)
    net, x = Denoiser(), randn(4, 8000, device="cpu")
    want = trained(net, x)
    net, x = net.to(CUDA), x.to(CUDA)
    with torch.autocast("cuda", dtype or torch.float16, enabled=dtype is not None):
        got = trained(net, x)
    for name, grad in got.items():
        error = (grad.cpu() - want[name]).norm() / want[name].norm()
        assert error < (1e-3 if dtype is None else 0.05), name


def test_autocast_changes_nothing_of_the_operators() -> None:
    for case in CASES.values():
        x = case.make(2)
        upstream = above(case, x)
        want, want_gradient = case.call(x), gradient(case, x, upstream)
        with torch.autocast("cuda", torch.bfloat16):
            assert torch.equal(case.call(x), want)
            assert torch.equal(gradient(case, x, upstream), want_gradient)


def test_patch_torch() -> None:
    x = randn(2, 8000).requires_grad_()
    want = torch.stft(x, 400, 160, window=hann(400), return_complex=True)
    (want_gradient,) = torch.autograd.grad(want.abs().sum(), x)
    with melisma.patch_torch() as patch:
        got = torch.stft(x, 400, 160, window=hann(400), return_complex=True)
        back = torch.istft(got, 400, 160, window=hann(400), length=8000)
        (got_gradient,) = torch.autograd.grad(got.abs().sum(), x)
    assert [(count.op, count.outcome, count.calls) for count in patch.counts()] == [
        ("stft", "rerouted", 1),
        ("istft", "rerouted", 1),
    ]
    close(got, want)
    close(got_gradient, want_gradient, 1e-4)
    assert (back - x).abs().max() < 1e-5
