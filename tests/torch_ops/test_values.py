"""stft and istft against torch.stft and torch.istft: PyTorch's own samples, and what a tensor can be besides its numbers."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import pytest
import torch
from torch.testing._internal.common_methods_invocations import op_db

import melisma
import tolerances
from torch_device import DEVICE, same
from torch_ops.common import generator, randn, used_strides

OPINFO = {info.name: info for info in op_db if info.name in ("stft", "istft")}
OURS = {"stft": melisma.stft, "istft": melisma.istft}
THEIRS = {"stft": torch.stft, "istft": torch.istft}
DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


def wide(value: Any) -> Any:
    """In double precision, where PyTorch's own result is the reference."""
    if not isinstance(value, torch.Tensor):
        return value
    return value.detach().to(torch.complex128 if value.is_complex() else torch.float64)


def compare(name: str, x: torch.Tensor, **options: Any) -> None:
    """Values, shape, strides and dtype of one call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = THEIRS[name](x, **options)
        exact = THEIRS[name](wide(x), **{key: wide(value) for key, value in options.items()})
    ours = OURS[name](x, **options)
    assert type(ours) is torch.Tensor
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    assert used_strides(ours) == used_strides(theirs)
    assert ours.requires_grad == theirs.requires_grad
    assert not ours.is_conj()
    n_fft, eps = options["n_fft"], tolerances.eps_of(wide_numpy(ours))
    if name == "istft":
        scale = float(x.detach().abs().square().sum(-2).sqrt().max())
        bound: Any = 8 * (tolerances.transform(n_fft, eps) + 4 * eps) * (scale + float(exact.abs().max()))
        tolerances.assert_within(ours.detach().numpy(force=True), exact.numpy(force=True), bound, str(options))
        return
    if not ours.is_complex():
        ours, exact = (torch.view_as_complex(t.contiguous()) for t in (ours, exact))
    tolerances.assert_within(
        ours.detach().numpy(force=True),
        exact.numpy(force=True),
        tolerances.stft(exact.numpy(force=True), n_fft, eps),
        str(options),
    )


def wide_numpy(t: torch.Tensor) -> Any:
    return torch.empty(0, dtype=t.dtype, device="cpu").numpy().dtype


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name in OPINFO for dtype in OPINFO[name].dtypes])
def test_pytorchs_own_samples(name: str, dtype: torch.dtype, requires_grad: bool) -> None:
    count = 0
    for sample in OPINFO[name].sample_inputs(DEVICE, dtype, requires_grad=requires_grad):
        assert not sample.args
        compare(name, sample.input, **sample.kwargs)
        count += 1
    assert count >= 9


@pytest.mark.parametrize("name", OPINFO)
def test_pytorch_lists_no_error_samples(name: str) -> None:
    """Should it list some one day, test_errors.py is to take them in."""
    assert OPINFO[name].error_inputs_func is None


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("n_fft", [16, 25, 400])
def test_options_of_stft(n_fft: int, center: bool) -> None:
    x = {dtype: randn(2, 3 * n_fft + 17, dtype=dtype) for dtype in DTYPES}
    for dtype, pad_mode, short, normalized, pairs in itertools.product(
        DTYPES, ("reflect", "constant", "replicate", "circular"), (False, True), (False, True), (False, True)
    ):
        win_length = 2 * n_fft // 3 if short else n_fft
        compare(
            "stft",
            x[dtype],
            n_fft=n_fft,
            hop_length=n_fft // 3,
            win_length=win_length,
            window=torch.hann_window(win_length, dtype=x[dtype].real.dtype),
            center=center,
            pad_mode=pad_mode,
            normalized=normalized,
            onesided=False if normalized and short else None,
            return_complex=not pairs,
        )


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("n_fft", [16, 25, 400])
def test_options_of_istft(n_fft: int, dtype: torch.dtype) -> None:
    for center, normalized, kind, length, short in itertools.product(
        (True, False), (True, False), ("one", "two", "complex"), (None, n_fft, 9 * n_fft), (True, False)
    ):
        win_length = 2 * n_fft // 3 if short else n_fft
        window = torch.hamming_window(win_length, dtype=torch.float64).to(torch.empty(0, dtype=dtype).real.dtype)
        if short and (not center or length == 9 * n_fft):
            continue  # refused, as by torch.istft: no window covers the first samples, or the last ones
        bins = n_fft // 2 + 1 if kind == "one" else n_fft
        compare(
            "istft",
            randn(2, bins, 11, dtype=dtype),
            n_fft=n_fft,
            hop_length=n_fft // 4,
            win_length=win_length,
            window=window,
            center=center,
            normalized=normalized,
            onesided=kind == "one",
            length=length,
            return_complex=kind == "complex",
        )


FORMS: dict[str, Any] = {
    "stepped": lambda x: torch.stack([x, -x], -1).flatten(-2)[..., ::2],
    "transposed": lambda x: x.T.contiguous().T,
    "expanded": lambda x: x[:1].expand(4, -1),
    "conjugate": lambda x: torch.complex(x, -x).conj(),
    "imaginary part of a conjugate": lambda x: torch.complex(-x, -x).conj().imag,
    "parameter": lambda x: torch.nn.Parameter(x),
    "inference": lambda x: x,
}


@pytest.mark.parametrize("form", FORMS)
def test_tensors_of_all_kinds(form: str) -> None:
    x = FORMS[form](randn(2, 400, dtype=torch.float32))
    with torch.inference_mode(form == "inference"):
        compare("stft", x, n_fft=64, hop_length=16, window=torch.hann_window(64), return_complex=True)
    spectrum = torch.stft(x.detach(), 64, 16, window=torch.hann_window(64), return_complex=True)
    for other in (spectrum.conj(), spectrum.contiguous(), spectrum[..., ::2], spectrum[:1].expand(3, -1, -1)):
        compare(
            "istft", other, n_fft=64, hop_length=16, window=torch.hann_window(64), onesided=not x.is_complex() or False
        )


def test_windows_of_all_kinds() -> None:
    x = randn(2, 400, dtype=torch.float32)
    backing = torch.hann_window(128)
    for window in (
        torch.nn.Parameter(torch.hann_window(64)),
        backing[::2],
        torch.ones(1).expand(64),
        torch.complex(-backing, -backing).conj().imag[:64],
    ):
        compare("stft", x, n_fft=64, hop_length=16, window=window, return_complex=True)


@pytest.mark.parametrize("leading", [(), (1,), (3,), (2, 3), (2, 1, 3), (0,), (2, 0)])
def test_leading_axes(leading: tuple[int, ...]) -> None:
    """torch.stft takes one of them, we any number: each item is what torch gives for it."""
    x, window = randn(*leading, 300, dtype=torch.float32), torch.hann_window(64)
    got = melisma.stft(x, 64, 16, window=window)
    assert got.shape == (*leading, 33, 19)
    flat = [torch.stft(item, 64, 16, window=window, return_complex=True) for item in x.reshape(-1, 300).unbind()]
    for ours, theirs in zip(got.reshape(-1, 33, 19).unbind(), flat, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    back = melisma.istft(got, 64, 16, window=window, length=300)
    assert back.shape == x.shape
    if x.numel():
        assert (back - x).abs().max() <= tolerances.ROUND_TRIP * 4  # four standard deviations of signal


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    x, window = randn(2, 400, dtype=torch.float32).to(dtype), torch.hann_window(64).to(dtype)
    got = melisma.stft(x, 64, 16, window=window)
    assert got.dtype == torch.complex64
    assert same(got, melisma.stft(x.float(), 64, 16, window=window.float()))
    for call in (
        lambda x, w: melisma.spectrogram(x, n_fft=64, window=w),
        lambda x, w: melisma.mel_spectrogram(x, sample_rate=8000, n_fft=64, n_mels=8, window=w),
        lambda x, w: melisma.log_mel(x, sample_rate=8000, n_fft=64, n_mels=8, window=w),
        lambda x, w: melisma.filtered_spectrogram(x, n_fft=64, filterbank=torch.ones(33, 2, dtype=dtype), window=w),
    ):
        assert call(x, window).dtype == torch.float32
        assert same(call(x, window), call(x.float(), window.float()))
    leaf = x.clone().requires_grad_()
    melisma.stft(leaf, 64, 16, window=window).abs().sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.dtype == dtype
    pairs = torch.view_as_real(got).to(dtype)
    want = melisma.istft(torch.view_as_complex(pairs.float()), 64, 16, window=window)
    assert torch.equal(melisma.istft(pairs, 64, 16, window=window), want)


def test_int16_is_scaled_to_one() -> None:
    pcm = torch.randint(-(2**15), 2**15, (2, 400), dtype=torch.int16, generator=generator(), device="cpu").to(DEVICE)
    window = torch.hann_window(64)
    want = torch.stft(pcm.double() / 32768, 64, 16, window=window.double(), return_complex=True)
    got = melisma.stft(pcm, 64, 16, window=window)
    assert got.dtype == torch.complex64
    tolerances.assert_within(got.numpy(force=True), want.numpy(force=True), tolerances.stft(want.numpy(force=True), 64))


def test_pairs_are_views_of_the_complex_layout() -> None:
    x, window = randn(2, 400, dtype=torch.float32), torch.hann_window(64)
    got = melisma.stft(x, 64, 16, window=window, return_complex=False)
    whole = melisma.stft(x, 64, 16, window=window)
    assert torch.equal(got, torch.view_as_real(whole))
    assert torch.equal(
        melisma.istft(got, 64, 16, window=window, length=400), melisma.istft(whole, 64, 16, window=window, length=400)
    )


def test_numpy_and_tensors_agree_to_the_bit() -> None:
    x, window = randn(2, 4000, dtype=torch.float32).cpu(), torch.hann_window(400, device="cpu")
    options: dict[str, Any] = {"sample_rate": 16000, "n_mels": 20, "log": "db", "top_db": 40.0}
    for ours, theirs in (
        (melisma.stft(x, 400, window=window), melisma.stft(x.numpy(), 400, window=window.numpy())),
        (melisma.log_mel(x, **options), melisma.log_mel(x.numpy(), **options)),
        (melisma.spectrogram(x, n_fft=400), melisma.spectrogram(x.numpy(), n_fft=400)),
    ):
        assert ours.numpy().tobytes() == theirs.tobytes()
    spectrum = melisma.stft(x, 400, window=window)
    assert torch.equal(
        melisma.istft(spectrum, 400, window=window),
        torch.from_numpy(melisma.istft(spectrum.numpy(), 400, window=window.numpy())),
    )
