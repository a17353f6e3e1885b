"""spectrogram, mel_spectrogram, log_mel and filtered_spectrogram: first and second derivatives, and those at silence."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

import melisma
from torch_ops.common import Function, check, check_twice, positive_window, rand, randn

POWERS = [1.0, 2.0, 0.5, 3.0]
MEL: dict[str, Any] = {"sample_rate": 8000, "n_fft": 12, "hop_length": 5, "n_mels": 3}
LOGS: dict[str, dict[str, Any]] = {
    "ln": {"log": "ln"},
    "log10": {"log": "log10"},
    "log1p": {"log": "log1p"},
    "db": {"log": "db"},
    "db amplitude": {"log": "db", "power": 1.0, "ref": 2.0},
    "add": {"log": "ln", "add": 0.5},
    "item": {"log": "db", "top_db": 6.0},
    "packed": {"log": "db", "top_db": 6.0, "top_db_scope": "packed"},
}


@pytest.mark.parametrize("n_fft", [8, 7])
@pytest.mark.parametrize("power", POWERS)
def test_spectrogram_in_the_signal(power: float, n_fft: int) -> None:
    for center, norm in itertools.product((True, False), (False, "window", "frame_length")):
        win_length = n_fft - 2 if norm == "window" else n_fft
        options = {
            "hop_length": 3,
            "win_length": win_length,
            "window": positive_window(win_length),
            "normalized": norm,
            "center": center,
            "pad": 2 if norm else 0,
            "pad_mode": "replicate" if norm == "window" else "reflect",
            "layout": "frame_major" if center else "frequency_major",
        }
        x = randn(1, 15, grad=True)
        check(lambda x, o=options: melisma.spectrogram(x, n_fft=n_fft, power=power, **o), (x,))
        check_twice(lambda x, o=options: melisma.spectrogram(x, n_fft=n_fft, power=power, **o), (x,))


@pytest.mark.parametrize("norm", [False, "window", "frame_length"])
@pytest.mark.parametrize("power", POWERS)
def test_spectrogram_in_signal_and_window(power: float, norm: bool | str) -> None:
    x, window = randn(1, 15, grad=True), positive_window(6, grad=True)

    def transform(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return melisma.spectrogram(x, n_fft=8, hop_length=3, win_length=6, window=w, power=power, normalized=norm)

    check(transform, (x, window))
    check_twice(transform, (x, window))
    check(lambda w: transform(x.detach(), w), (window,))


@pytest.mark.parametrize("power", POWERS)
def test_mel_spectrogram(power: float) -> None:
    x, window = randn(2, 21, grad=True), positive_window(12, grad=True)
    for layout in ("frequency_major", "frame_major"):
        check(lambda x, y=layout: melisma.mel_spectrogram(x, **MEL, power=power, layout=y), (x,))
        check_twice(lambda x, y=layout: melisma.mel_spectrogram(x, **MEL, power=power, layout=y), (x,))
    check(lambda x, w: melisma.mel_spectrogram(x, **MEL, power=power, window=w), (x, window))
    check_twice(lambda x, w: melisma.mel_spectrogram(x, **MEL, power=power, window=w), (x, window))


@pytest.mark.parametrize("log", LOGS)
def test_log_mel(log: str) -> None:
    x, window = randn(2, 1, 21, grad=True), positive_window(12, grad=True)
    check(lambda x: melisma.log_mel(x, **MEL, **LOGS[log]), (x,))
    check_twice(lambda x: melisma.log_mel(x, **MEL, **LOGS[log]), (x,))
    check(lambda x, w: melisma.log_mel(x, **MEL, **LOGS[log], window=w), (x, window))
    check_twice(lambda x, w: melisma.log_mel(x, **MEL, **LOGS[log], window=w), (x, window))


def test_the_clipping_is_exercised() -> None:
    """The cases above hold values on both sides of the clipping, and the two scopes differ."""
    x = randn(2, 1, 21)
    free = melisma.log_mel(x, **MEL, log="db")
    for scope in ("item", "packed"):
        clipped = melisma.log_mel(x, **MEL, **LOGS[scope])
        assert 0 < int((clipped != free).sum()) < free.numel()


@pytest.mark.parametrize("rows", [5, 4])
@pytest.mark.parametrize("scale", ["linear", "db", "log1p"])
def test_filtered_spectrogram(scale: str, rows: int) -> None:
    bank = 0.2 + rand(rows, 3, dtype=torch.float64, seed=5)
    x, window = randn(2, 15, grad=True), positive_window(8, grad=True)

    def transform(x: torch.Tensor, b: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return melisma.filtered_spectrogram(
            x, filterbank=b, n_fft=8, hop_length=3, window=w, output_scale=scale, include_nyquist=rows == 5
        )

    trainable = bank.clone().requires_grad_()
    for inputs, call in (
        ((x,), lambda x: transform(x, bank, window.detach())),
        ((trainable,), lambda b: transform(x.detach(), b, window.detach())),
        ((x, trainable, window), transform),
    ):
        check(call, inputs)
        check_twice(call, inputs)


def test_precision_float64() -> None:
    """float32 signals computed in float64: the gradient is that of float64, rounded once."""
    bank = rand(5, 3, dtype=torch.float64, seed=5)
    x = randn(2, 15, dtype=torch.float32, grad=True)
    exact = x.detach().double().requires_grad_()
    options: dict[str, Any] = {"filterbank": bank, "n_fft": 8, "hop_length": 3, "output_scale": "db"}
    (got,) = torch.autograd.grad(melisma.filtered_spectrogram(x, **options, precision="float64").sum(), x)
    (want,) = torch.autograd.grad(melisma.filtered_spectrogram(exact, **options).sum(), exact)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), want, rtol=2 * torch.finfo(torch.float32).eps, atol=1e-12)


def silent_calls() -> dict[str, Function]:
    bank = torch.ones(5, 2)
    calls: dict[str, Function] = {
        f"spectrogram {power}": lambda x, p=power: melisma.spectrogram(x, n_fft=8, power=p) for power in POWERS
    }
    calls["mel"] = lambda x: melisma.mel_spectrogram(x, **MEL, power=1.0)
    calls["filtered"] = lambda x: melisma.filtered_spectrogram(x, filterbank=bank.to(x.dtype), n_fft=8, power=0.5)
    for name, options in LOGS.items():
        calls[f"log_mel {name}"] = lambda x, o=options: melisma.log_mel(x, **MEL, **o)
    return calls


SILENT = silent_calls()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SILENT)
def test_silence(name: str, dtype: torch.dtype) -> None:
    """At exact zeros every gradient is 0, through the fused and the composed backward, and so is the second one."""
    x = torch.zeros(1, 2, 40, dtype=dtype, requires_grad=True)
    y = SILENT[name](x)
    fused = torch.autograd.grad(y, x, torch.ones_like(y))[0]
    assert torch.equal(fused, torch.zeros_like(x))
    (once,) = torch.autograd.grad(SILENT[name](x).sum(), x, create_graph=True)
    (twice,) = torch.autograd.grad(once.sum(), x, allow_unused=True)
    assert twice is None or torch.isfinite(twice).all()
    tangent = torch.func.jvp(SILENT[name], (x.detach(),), (torch.ones_like(x),))[1]
    assert torch.equal(tangent, torch.zeros_like(tangent))


@pytest.mark.parametrize("power", POWERS)
def test_sound_beside_silence(power: float) -> None:
    """Half silent: finite everywhere, 0 where no frame holds sound, and elsewhere as without the silence."""
    x = torch.zeros(2, 64, dtype=torch.float64)
    x[:, 32:] = randn(2, 32)
    x.requires_grad_()
    y = melisma.spectrogram(x, n_fft=8, hop_length=4, power=power, window=positive_window(8))
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert torch.isfinite(grad).all()
    assert torch.equal(grad[:, :24], torch.zeros(2, 24, dtype=torch.float64))
    assert (grad[:, 32:] != 0).all()


def test_the_windows_gradient_at_silence() -> None:
    x = torch.zeros(1, 40)
    for name in ("window", "filterbank"):
        leaf = torch.ones(8 if name == "window" else 15, requires_grad=True)
        options = {"window": leaf} if name == "window" else {"filterbank": leaf.reshape(5, 3)}
        y = melisma.filtered_spectrogram(
            x, **{"filterbank": torch.ones(5, 3), "n_fft": 8, "output_scale": "db", **options}
        )
        (grad,) = torch.autograd.grad(y.sum(), leaf)
        assert torch.equal(grad, torch.zeros_like(leaf))
