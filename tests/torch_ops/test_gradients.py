"""Gradients at real sizes: against PyTorch's own, strides, determinism, memory, and tensors changed behind autograd's back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import melisma
import tolerances
from torch_device import DEVICE
from torch_ops import bounds
from torch_ops.common import rand, randn

FRAMES = [(1024, 256), (400, 160), (441, 110), (4096, 1024)]
Call = Callable[[torch.Tensor], torch.Tensor]


def gradient(function: Call, x: torch.Tensor, above: torch.Tensor) -> torch.Tensor:
    x = x.detach().requires_grad_()
    (result,) = torch.autograd.grad(function(x), x, above)
    return result


@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
@pytest.mark.parametrize(("n_fft", "hop"), FRAMES)
def test_stft_against_torch(n_fft: int, hop: int, pad_mode: str) -> None:
    x, window = randn(2, 16000, dtype=torch.float32), torch.hann_window(n_fft)
    above = randn(2, n_fft // 2 + 1, 16000 // hop + 1, dtype=torch.complex64, seed=1)
    got = gradient(lambda x: melisma.stft(x, n_fft, hop, window=window, pad_mode=pad_mode), x, above)
    want = gradient(
        lambda x: torch.stft(x, n_fft, hop, window=window.double(), pad_mode=pad_mode, return_complex=True),
        x.double(),
        above.to(torch.complex128),
    )
    assert got.dtype == torch.float32
    assert got.is_contiguous()
    tolerances.assert_within(
        got.numpy(force=True), want.numpy(force=True), bounds.stft_gradient(above, window, n_fft, hop)
    )


@pytest.mark.parametrize(("n_fft", "hop"), FRAMES)
def test_complex_and_two_sided_against_torch(n_fft: int, hop: int) -> None:
    window = torch.hann_window(n_fft)
    above = randn(1, n_fft, 16000 // hop + 1, dtype=torch.complex64, seed=1)
    for dtype in (torch.complex64, torch.float32):
        x = randn(1, 16000, dtype=dtype)
        exact = x.to(torch.complex128 if x.is_complex() else torch.float64)
        got = gradient(lambda x: melisma.stft(x, n_fft, hop, window=window, onesided=False), x, above)
        want = gradient(
            lambda x: torch.stft(x, n_fft, hop, window=window.double(), onesided=False, return_complex=True),
            exact,
            above.to(torch.complex128),
        )
        tolerances.assert_within(
            got.numpy(force=True), want.numpy(force=True), bounds.stft_gradient(above, window, n_fft, hop)
        )


@pytest.mark.parametrize(("n_fft", "hop"), FRAMES)
def test_istft_against_torch(n_fft: int, hop: int) -> None:
    window = torch.hann_window(n_fft)
    spectrum = randn(2, n_fft // 2 + 1, 40, dtype=torch.complex64)
    above = randn(2, 39 * hop, dtype=torch.float32, seed=1)
    got = gradient(lambda s: melisma.istft(s, n_fft, hop, window=window, length=39 * hop), spectrum, above)
    want = gradient(
        lambda s: torch.istft(s, n_fft, hop, window=window.double(), length=39 * hop),
        spectrum.to(torch.complex128),
        above.double(),
    )
    assert got.dtype == torch.complex64
    ones, square = torch.ones(1, 1, 40, dtype=torch.float64), window.double().square()[None, None]
    envelope = torch.nn.functional.conv_transpose1d(ones, square, stride=hop)[0, 0, n_fft // 2 :][: 39 * hop]
    tolerances.assert_within(
        got.numpy(force=True),
        want.numpy(force=True),
        bounds.istft_gradient(above, window, n_fft, float(envelope.min())),
    )


@pytest.mark.parametrize(("n_fft", "hop"), FRAMES)
def test_window_gradient_against_torch(n_fft: int, hop: int) -> None:
    x, window = randn(2, 16000, dtype=torch.float32), torch.hann_window(n_fft)
    above = randn(2, n_fft // 2 + 1, 16000 // hop + 1, dtype=torch.complex64, seed=1)
    got = gradient(lambda w: melisma.stft(x, n_fft, hop, window=w), window, above)
    want = gradient(
        lambda w: torch.stft(x.double(), n_fft, hop, window=w, return_complex=True),
        window.double(),
        above.to(torch.complex128),
    )
    tolerances.assert_within(got.numpy(force=True), want.numpy(force=True), bounds.window_gradient(x, above, n_fft))


@pytest.mark.parametrize("power", [1.0, 2.0, 0.5])
@pytest.mark.parametrize(("n_fft", "hop"), FRAMES)
def test_powers_against_torch(n_fft: int, hop: int, power: float) -> None:
    x, window = randn(2, 16000, dtype=torch.float32), torch.hann_window(n_fft)

    def spectrum(x: torch.Tensor) -> torch.Tensor:
        return torch.stft(x, n_fft, hop, window=window.double(), return_complex=True)

    above = randn(2, n_fft // 2 + 1, 16000 // hop + 1, dtype=torch.float32, seed=1)
    magnitude = spectrum(x.double()).abs()
    above[magnitude < 0.05 * magnitude.mean()] = 0  # where the phase is lost to rounding, and with it the gradient
    got = gradient(lambda x: melisma.spectrogram(x, n_fft=n_fft, hop_length=hop, power=power), x, above)
    exact = gradient(lambda x: spectrum(x).abs() ** power, x.double(), above.double())
    bound = bounds.power_gradient(spectrum(x.double()), above, power, n_fft, hop)
    assert (got.double() - exact).norm() <= bound + tolerances.transform(n_fft, tolerances.EPS32) * exact.norm()
    assert bound <= 1e-3 * exact.norm()  # it says something


@pytest.mark.parametrize("log", ["db", "ln", "log10", "log1p"])
def test_log_mel_against_torch(log: str) -> None:
    options: dict[str, Any] = {"sample_rate": 16000, "n_fft": 400, "hop_length": 160, "n_mels": 40, "log": log}
    x = randn(2, 16000, dtype=torch.float32)
    bank = torch.as_tensor(
        melisma.filters.melscale_fbanks(201, 0.0, 8000.0, 40, 16000).astype(np.float64), device=DEVICE
    )

    def composed(x: torch.Tensor) -> torch.Tensor:
        power = torch.stft(x, 400, 160, window=torch.hann_window(400, dtype=x.dtype), return_complex=True).abs() ** 2
        mel = bank.to(x.dtype).T @ power
        if log == "log1p":
            return mel.log1p()
        return mel.clamp(min=1e-10).log() * {"ln": 1, "log10": 1 / np.log(10), "db": 10 / np.log(10)}[log]

    above = randn(2, 40, 101, dtype=torch.float32, seed=1)
    got = gradient(lambda x: melisma.log_mel(x, **options), x, above).double()
    theirs, exact = gradient(composed, x, above).double(), gradient(composed, x.double(), above.double())
    floor = tolerances.transform(400, tolerances.EPS32) * exact.norm()
    assert (got - exact).norm() <= max(2 * (theirs - exact).norm(), floor)


BANK = rand(201, 20, seed=3)
MEL: dict[str, Any] = {"sample_rate": 16000, "n_fft": 400, "hop_length": 160, "n_mels": 40}
CALLS: dict[str, Call] = {
    "stft": lambda x: melisma.stft(x, 400, 160, window="hann"),
    "stft two-sided": lambda x: melisma.stft(x, 400, 160, window="hann", onesided=False),
    "spectrogram": lambda x: melisma.spectrogram(x, n_fft=400, hop_length=160),
    "magnitude": lambda x: melisma.spectrogram(x, n_fft=512, power=1.0, layout="frame_major"),
    "log_mel": lambda x: melisma.log_mel(x, **MEL),
    "filtered": lambda x: melisma.filtered_spectrogram(
        x, filterbank=BANK, n_fft=400, hop_length=160, output_scale="db"
    ),
    "istft": lambda s: melisma.istft(s, 400, 160, window="hann"),
}


def input_of(name: str, batch: int) -> torch.Tensor:
    if name == "istft":
        return randn(batch, 201, 51, dtype=torch.complex64)
    return randn(batch, 8000, dtype=torch.float32)


def above_of(name: str, x: torch.Tensor) -> torch.Tensor:
    y = CALLS[name](x)
    return randn(*y.shape, dtype=y.dtype, seed=4)


@pytest.mark.parametrize("name", CALLS)
def test_the_same_bits_for_any_batch_and_threads(name: str) -> None:
    x = input_of(name, 5)
    above = above_of(name, x)
    whole = gradient(CALLS[name], x, above)
    for threads in (1, 2, 3):
        melisma.set_num_threads(threads)
        assert torch.equal(gradient(CALLS[name], x, above), whole), threads
    for item in range(5):
        one = gradient(CALLS[name], x[item : item + 1], above[item : item + 1])
        assert torch.equal(one[0], whole[item]), item
    assert torch.equal(gradient(CALLS[name], x[2], above[2]), whole[2])


def test_the_windows_gradient_for_any_threads() -> None:
    x, window = randn(5, 8000, dtype=torch.float32), torch.hann_window(400)
    above = above_of("stft", x)
    results = []
    for threads in (1, 2, 3):
        melisma.set_num_threads(threads)
        results.append(gradient(lambda w: melisma.stft(x, 400, 160, window=w), window, above))
    assert all(torch.equal(result, results[0]) for result in results)


def strided(t: torch.Tensor) -> dict[str, torch.Tensor]:
    """The same values with other strides, or as PyTorch hands them over lazily."""
    spaced = torch.empty((*t.shape[:-1], 3 * t.shape[-1]), dtype=t.dtype)[..., ::3]
    spaced.copy_(t)
    forms = {
        "transposed": t.transpose(-2, -1).contiguous().transpose(-2, -1),
        "spaced": spaced,
        "contiguous": t.contiguous(),
        "batch last": t.movedim(0, -1).contiguous().movedim(-1, 0),
    }
    if t.is_complex():
        forms["conjugate"] = t.conj().resolve_conj().conj()
        assert forms["conjugate"].is_conj()
    else:
        forms["negative"] = torch._neg_view(-t)
        assert forms["negative"].is_neg()
    return forms


@pytest.mark.parametrize("name", CALLS)
def test_gradients_and_signals_of_any_strides(name: str) -> None:
    x = input_of(name, 3)
    above = above_of(name, x)
    want = gradient(CALLS[name], x, above)
    for form, tensor in strided(above).items():
        assert torch.equal(gradient(CALLS[name], x, tensor), want), form
    for form, tensor in strided(x).items():
        assert torch.equal(gradient(CALLS[name], tensor, above), want), form


@pytest.mark.parametrize("name", CALLS)
def test_expanded_tensors(name: str) -> None:
    """y.sum() gives an upstream gradient of stride 0; an expanded signal's gradient is summed over its axis."""
    x = input_of(name, 1)
    y = CALLS[name](x)
    one = torch.ones((), dtype=y.dtype)
    want = gradient(CALLS[name], x, one.expand(y.shape).contiguous())
    assert torch.equal(gradient(CALLS[name], x, one.expand(y.shape)), want)
    leaf = x.clone().requires_grad_()
    total = CALLS[name](leaf.expand(3, *x.shape[1:]))
    (got,) = torch.autograd.grad(total, leaf, one.expand(total.shape))
    torch.testing.assert_close(got, 3 * want, rtol=8 * tolerances.EPS32, atol=float(want.abs().max()) * 1e-6)


@pytest.mark.parametrize("name", CALLS)
def test_what_is_kept_for_the_backward(name: str) -> None:
    """Nothing larger than the operator's input or output, and for istft nothing but the window."""
    x = input_of(name, 3).requires_grad_()
    kept: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel() * tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = CALLS[name](x)
    assert kept
    constants = 512 * 8 if name in ("stft", "stft two-sided", "spectrogram", "magnitude", "istft") else 201 * 40 * 8
    limit = constants if name == "istft" else max(x.numel() * 4, constants)
    assert max(kept) <= limit
    assert sum(kept) <= x.numel() * x.element_size() + 2 * constants
    y.abs().sum().backward()


def test_what_the_windows_gradient_keeps() -> None:
    x, window = randn(2, 8000, dtype=torch.float32), torch.hann_window(400).requires_grad_()
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        melisma.stft(x, 400, 160, window=window)
    assert max(kept) <= x.numel()


@pytest.mark.parametrize("name", [name for name in CALLS if name != "istft" and not name.startswith("stft")])
def test_a_saved_signal_changed_in_place(name: str) -> None:
    x = input_of(name, 2).requires_grad_()
    copy = x * 1
    y = CALLS[name](copy)
    copy.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.abs().sum().backward()


def test_a_saved_window_changed_in_place() -> None:
    x, window = input_of("stft", 2).requires_grad_(), torch.hann_window(400)
    y = melisma.stft(x, 400, 160, window=window)
    window.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.abs().sum().backward()
    spectrum = input_of("istft", 1).requires_grad_()
    z = melisma.istft(spectrum, 400, 160, window=window)
    window.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_the_result_may_be_changed_in_place() -> None:
    x = input_of("stft", 1)
    above = above_of("stft", x)
    want = gradient(lambda x: melisma.stft(x, 400, 160, window="hann") * 2, x, above)
    assert torch.equal(gradient(lambda x: melisma.stft(x, 400, 160, window="hann").mul_(2), x, above), want)


def test_only_what_asks_for_a_gradient_gets_one() -> None:
    x, window = input_of("stft", 1), torch.hann_window(400)
    assert not melisma.stft(x, 400, window=window).requires_grad
    x.requires_grad_()
    with torch.no_grad():
        assert not melisma.stft(x, 400, window=window).requires_grad
    with torch.inference_mode():
        assert melisma.stft(x, 400, window=window).is_inference()
    assert melisma.stft(x, 400, window=window).requires_grad
    assert melisma.stft(x.detach(), 400, window=torch.nn.Parameter(window)).requires_grad
    bank = BANK.clone().requires_grad_()
    assert melisma.filtered_spectrogram(x.detach(), filterbank=bank, n_fft=400).requires_grad
    pcm = torch.ones(1000, dtype=torch.int16)
    assert not melisma.spectrogram(pcm, n_fft=400).requires_grad


def test_round_trip_gradient_is_the_identity() -> None:
    x = randn(2, 16000, dtype=torch.float32)
    above = randn(2, 16000, dtype=torch.float32, seed=2)
    got = gradient(
        lambda x: melisma.istft(melisma.stft(x, 1024, 256, window="hann"), 1024, 256, window="hann", length=16000),
        x,
        above,
    )
    assert (got - above).abs().max() <= tolerances.ROUND_TRIP * float(above.abs().max())
