"""The torchaudio-named modules in training: gradients by finite differences, trainable buffers, torch.compile, export."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

import tolerances
from melisma.torch import functional, transforms
from torch_audio import cases
from torch_device import DEVICE, same

SMALL: dict[str, Any] = {"n_fft": 16, "hop_length": 6}
MEL: dict[str, Any] = {**SMALL, "n_mels": 3}


def samples(count: int = 40) -> torch.Tensor:
    return cases.inputs(f"x{count}", torch.float64).requires_grad_()


def positive(*shape: int) -> torch.Tensor:
    return cases.inputs("p" + "_".join(map(str, shape)), torch.float64).requires_grad_()


def spectrum(*shape: int) -> torch.Tensor:
    return cases.inputs("z" + "_".join(map(str, shape)), torch.float64).requires_grad_()


def seeded(module: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    def run(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        return module(x)

    return run


DIFFERENTIABLE: list[tuple[str, Callable[[], torch.nn.Module], Callable[[], torch.Tensor]]] = [
    ("power", lambda: transforms.Spectrogram(**SMALL, normalized=True, pad=2), samples),
    ("magnitude", lambda: transforms.Spectrogram(**SMALL, power=1.0, center=False), samples),
    ("odd power", lambda: transforms.Spectrogram(**SMALL, power=0.8), samples),
    ("two-sided", lambda: transforms.Spectrogram(**SMALL, onesided=False), samples),
    ("inverse power", lambda: transforms.Spectrogram(**SMALL, power=-1.0), samples),
    ("complex", lambda: transforms.Spectrogram(**SMALL, power=None, normalized=True), samples),
    ("inverse", lambda: transforms.InverseSpectrogram(**SMALL, normalized=True), lambda: spectrum(9, 4)),
    (
        "griffin-lim",
        lambda: transforms.GriffinLim(16, 2, hop_length=6, momentum=0.5, rand_init=False),
        lambda: positive(9, 4),
    ),
    ("decibels", lambda: transforms.AmplitudeToDB(top_db=15.0), lambda: positive(2, 3, 3)),
    ("mel scale", lambda: transforms.MelScale(3, n_stft=9), lambda: positive(9, 2)),
    ("inverse mel", lambda: transforms.InverseMelScale(9, 3), lambda: positive(3, 2)),
    ("mel", lambda: transforms.MelSpectrogram(**MEL), samples),
    ("mfcc", lambda: transforms.MFCC(n_mfcc=2, melkwargs=MEL), samples),
    ("mfcc of logarithms", lambda: transforms.MFCC(n_mfcc=2, log_mels=True, melkwargs=MEL), samples),
    ("lfcc", lambda: transforms.LFCC(n_filter=4, n_lfcc=2, speckwargs=SMALL, top_db=20.0), samples),
    ("centroid", lambda: transforms.SpectralCentroid(8000, **SMALL), samples),
    ("deltas", lambda: transforms.ComputeDeltas(), lambda: positive(2, 7)),
    ("stretch", lambda: transforms.TimeStretch(n_freq=3, fixed_rate=1.3), lambda: spectrum(3, 5)),
    ("cmn", lambda: transforms.SlidingWindowCmn(3, 2, norm_vars=True), lambda: positive(6, 2)),
    ("time mask", lambda: transforms.TimeMasking(4), lambda: positive(3, 6)),
    ("frequency mask", lambda: transforms.FrequencyMasking(3, True), lambda: positive(2, 4, 3)),
    ("augment", lambda: transforms.SpecAugment(1, 3, 1, 3), lambda: positive(2, 4, 5)),
]


@pytest.mark.parametrize(("what", "build", "make"), DIFFERENTIABLE, ids=[what for what, *_ in DIFFERENTIABLE])
def test_gradient(what: str, build: Callable[[], torch.nn.Module], make: Callable[[], torch.Tensor]) -> None:
    assert torch.autograd.gradcheck(seeded(build().double()), (make(),), eps=1e-7, atol=1e-5, rtol=1e-4)


def test_trainable_window_and_bank() -> None:
    """Also where only the bank or only the window is trained, on plain samples."""
    mel = transforms.MelSpectrogram(**MEL).double()
    x = samples().detach()
    window = mel.spectrogram.window.clone().add_(0.1).requires_grad_()
    bank = mel.mel_scale.fb.clone().add_(0.05).requires_grad_()

    def with_both(w: torch.Tensor, fb: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(mel, {"spectrogram.window": w, "mel_scale.fb": fb}, (x,))

    assert torch.autograd.gradcheck(with_both, (window, bank), atol=1e-5, rtol=1e-4)
    assert torch.autograd.gradcheck(lambda w: with_both(w, bank.detach()), (window,), atol=1e-5, rtol=1e-4)
    assert torch.autograd.gradcheck(lambda fb: with_both(window.detach(), fb), (bank,), atol=1e-5, rtol=1e-4)


def test_a_bank_as_parameter_learns() -> None:
    mel = transforms.MelSpectrogram(**MEL)
    mel.mel_scale.fb = torch.nn.Parameter(mel.mel_scale.fb.clone())
    x = samples(400).detach().float()
    target = 2 * mel(x).detach()
    optimizer = torch.optim.SGD(mel.parameters(), lr=1e-4)
    losses = []
    for _ in range(3):
        loss = (mel(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > losses[1] > losses[2]


def test_silence_has_no_nan_in_its_gradient() -> None:
    for module in (
        transforms.Spectrogram(64, power=1.0),
        transforms.MelSpectrogram(n_fft=64, n_mels=5, power=1.0),
        transforms.MFCC(n_mfcc=4, melkwargs={"n_fft": 64, "n_mels": 5}),
    ):
        x = torch.zeros(200, requires_grad=True)
        module(x).sum().backward()
        assert torch.isfinite(x.grad).all()


COMPILED: list[tuple[str, Callable[[], torch.nn.Module]]] = [
    ("spectrogram", lambda: transforms.Spectrogram(64)),
    ("complex", lambda: transforms.Spectrogram(64, power=None, normalized=True)),
    ("mel", lambda: transforms.MelSpectrogram(n_fft=64, n_mels=5)),
    ("mfcc", lambda: transforms.MFCC(n_mfcc=4, melkwargs={"n_fft": 64, "n_mels": 5})),
    ("lfcc", lambda: transforms.LFCC(n_filter=8, n_lfcc=4, speckwargs={"n_fft": 64})),
    ("centroid", lambda: transforms.SpectralCentroid(16000, 64)),
]


@pytest.mark.parametrize(("what", "build"), COMPILED, ids=[what for what, _ in COMPILED])
def test_no_recompilation_over_lengths(what: str, build: Callable[[], torch.nn.Module]) -> None:
    torch._dynamo.reset()
    module = build()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(module, backend=counter, fullgraph=True, dynamic=True)
    compilations = []
    for length in range(300, 1300, 50):
        x = cases.inputs(f"x2_{length}", torch.float32).requires_grad_()
        eager_x = x.detach().clone().requires_grad_()
        got, want = compiled(x), module(eager_x)
        assert same(got, want)
        got.abs().sum().backward()
        want.abs().sum().backward()
        assert x.grad is not None
        assert eager_x.grad is not None
        tolerances.assert_within(
            x.grad.numpy(force=True),
            eager_x.grad.numpy(force=True),
            32 * tolerances.EPS32 * float(eager_x.grad.abs().max()),
        )
        compilations.append(counter.frame_count)
    assert compilations[-1] == compilations[0] > 0  # none after the first length


def test_inductor() -> None:
    torch._dynamo.reset()
    mfcc = transforms.MFCC(n_mfcc=4, melkwargs={"n_fft": 64, "n_mels": 5})
    x = cases.inputs("x2_400", torch.float32)
    got, want = torch.compile(mfcc, fullgraph=True)(x), mfcc(x)
    bound = 16 * tolerances.EPS32 * float(want.abs().max())
    tolerances.assert_within(got.numpy(force=True), want.numpy(force=True), bound)
    with torch.autocast(DEVICE, torch.bfloat16):
        got = torch.compile(mfcc, fullgraph=True)(x)
    tolerances.assert_within(got.numpy(force=True), want.numpy(force=True), bound)


def test_compiled_module_follows_its_buffers() -> None:
    torch._dynamo.reset()
    mel = transforms.MelSpectrogram(n_fft=64, n_mels=5)
    compiled = torch.compile(mel, backend="aot_eager", fullgraph=True)
    x = cases.inputs("x400", torch.float32)
    before = compiled(x)
    mel.mel_scale.fb.mul_(2.0)
    assert same(compiled(x), 2 * before)


def test_what_needs_no_operator_compiles_too() -> None:
    torch._dynamo.reset()
    features = cases.inputs("f2_20_12", torch.float32)
    masked = torch.compile(transforms.TimeMasking(5), backend="aot_eager", fullgraph=True)
    torch.manual_seed(0)
    want = transforms.TimeMasking(5)(features)
    torch.manual_seed(0)
    assert same(masked(features), want)
    cmn = torch.compile(transforms.SlidingWindowCmn(5, 3), backend="aot_eager", fullgraph=True)
    assert same(cmn(features), transforms.SlidingWindowCmn(5, 3)(features))
    deltas = torch.compile(functional.compute_deltas, backend="aot_eager", fullgraph=True)
    assert same(deltas(features), functional.compute_deltas(features))
    magnitude = cases.inputs("p33_9", torch.float32)
    vocoder = transforms.GriffinLim(64, 2, rand_init=False)
    compiled = torch.compile(vocoder, backend="aot_eager", fullgraph=True)
    want = vocoder(magnitude)
    tolerances.assert_within(
        compiled(magnitude).numpy(force=True), want.numpy(force=True), 64 * tolerances.EPS32 * float(want.abs().max())
    )


def test_export() -> None:
    mel = transforms.MelSpectrogram(n_fft=64, n_mels=5)
    x = cases.inputs("x2_400", torch.float32)
    exported = torch.export.export(mel, (x,), dynamic_shapes=({1: torch.export.Dim("time", min=100, max=10000)},))
    longer = cases.inputs("x2_700", torch.float32)
    assert same(exported.module()(longer), mel(longer))


def test_meta_tensors_have_the_same_shapes() -> None:
    for build in (
        lambda: transforms.Spectrogram(64, power=None),
        lambda: transforms.Spectrogram(64, onesided=False),
        lambda: transforms.MelSpectrogram(n_fft=64, n_mels=5),
        lambda: transforms.MFCC(n_mfcc=4, melkwargs={"n_fft": 64, "n_mels": 5}),
        lambda: transforms.SpectralCentroid(8000, 64),
    ):
        x = cases.inputs("x2_400", torch.float32)
        want, got = build()(x), build().to("meta")(x.to("meta"))
        assert (got.shape, got.dtype, got.stride()) == (want.shape, want.dtype, want.stride())
