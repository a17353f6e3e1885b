"""Every operator on the GPU against the CPU's in float64: sizes, options, dtypes, strides; and the gradients of all."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

import melisma
from gpu.common import CUDA, assert_rms, bank, needs_gpu, randn

pytestmark = needs_gpu

SIZES = [
    1,
    2,
    3,
    16,
    25,
    64,
    128,
    256,
    400,
    480,
    512,
    1000,
    1024,
    1103,
    1280,
    1920,
    2048,
    4096,
    6000,
    8192,
    16384,
    65537,
]
BOUND = 1e-6  # of float32, relative to the result's rms
BOUND64 = 1e-13


def wide(t: torch.Tensor) -> torch.Tensor:
    """The same in float64 on the CPU."""
    return t.detach().cpu().to(torch.complex128 if t.is_complex() else torch.float64)


def window_of(n: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return (0.5 + torch.rand(n, generator=torch.Generator().manual_seed(n))).to(dtype).to(CUDA)


@pytest.mark.parametrize("n", SIZES)
def test_sizes_of_stft_and_istft(n: int) -> None:
    """Also a hop that divides nothing, and a signal that ends within a frame."""
    for hop in {max(1, n // 4), max(1, n // 3 + 1)}:
        x, w = randn(3, 5 * n + 7), window_of(n)
        got = melisma.stft(x, n, hop, window=w)
        assert_rms(got, melisma.stft(wide(x), n, hop, window=wide(w)), BOUND, f"stft hop {hop}")
        back = melisma.istft(got, n, hop, window=w, length=5 * n)
        want = melisma.istft(wide(got), n, hop, window=wide(w), length=5 * n)
        assert_rms(back, want, BOUND, f"istft hop {hop}")
        power = melisma.spectrogram(x, n_fft=n, hop_length=hop, window=w)
        assert_rms(power, melisma.spectrogram(wide(x), n_fft=n, hop_length=hop, window=wide(w)), 2 * BOUND)


@pytest.mark.parametrize("n", [16, 400, 1024, 1103])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.complex64, torch.complex128, torch.int16])
def test_options_of_stft(n: int, dtype: torch.dtype) -> None:
    x = randn(2, 4 * n + 5, dtype=dtype)
    bound = BOUND64 if dtype in (torch.float64, torch.complex128) else BOUND
    exact = wide(x) / 32768 if dtype == torch.int16 else wide(x)
    for pad_mode, center, short, normalized, layout in itertools.product(
        ("reflect", "constant", "replicate", "circular"), (True, False), (True, False), (True, False),
        ("frequency_major", "frame_major"),
    ):  # fmt: skip
        win_length = max(1, 2 * n // 3) if short else n
        options: dict[str, Any] = {
            "hop_length": n // 3,
            "win_length": win_length,
            "center": center,
            "pad_mode": pad_mode,
            "normalized": normalized,
            "onesided": False if dtype.is_complex or short else None,
            "layout": layout,
        }
        w = window_of(win_length, torch.float64 if bound == BOUND64 else torch.float32)
        got, want = melisma.stft(x, n, window=w, **options), melisma.stft(exact, n, window=wide(w), **options)
        assert_rms(got, want, bound, str(options))
        assert got.stride()[-2:] == want.stride()[-2:]


@pytest.mark.parametrize("n", [16, 400, 1024, 1103])
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_options_of_istft(n: int, dtype: torch.dtype) -> None:
    bound = BOUND64 if dtype == torch.complex128 else BOUND
    for center, kind, layout, length, edge in itertools.product(
        (True, False), ("one", "two", "complex"), ("frequency_major", "frame_major"), (None, 3 * n, 9 * n),
        ("zero", "clamp"),
    ):  # fmt: skip
        bins = n // 2 + 1 if kind == "one" else n
        shape = (9, bins) if layout == "frame_major" else (bins, 9)
        s, w = randn(2, *shape, dtype=dtype), window_of(n, torch.float64 if bound == BOUND64 else torch.float32)
        options: dict[str, Any] = {
            "hop_length": n // 3,
            "center": center,
            "onesided": kind == "one",
            "return_complex": kind == "complex",
            "length": length,
            "edge": edge,
            "layout": layout,
        }
        assert_rms(
            melisma.istft(s, n, window=w, **options), melisma.istft(wide(s), n, window=wide(w), **options), bound,
            str(options),
        )  # fmt: skip


FORMS: dict[str, Any] = {
    "stepped": lambda x: torch.stack([x, -x], -1).flatten(-2)[..., ::2],
    "transposed": lambda x: x.transpose(-2, -1).contiguous().transpose(-2, -1),
    "expanded": lambda x: x[:1].expand(4, *x.shape[1:]),
    "unaligned": lambda x: x.flatten()[1 : 1 + 2 * (x.shape[-1] - 5)].view(2, -1),
    "flipped batch": lambda x: x.flip(0)[::2],
}


@pytest.mark.parametrize("form", FORMS)
def test_strides_in(form: str) -> None:
    x = FORMS[form](randn(3, 5000))
    for n, hop in ((1024, 256), (400, 160), (441, 100)):
        w = window_of(n)
        assert_rms(melisma.stft(x, n, hop, window=w), melisma.stft(wide(x), n, hop, window=wide(w)), BOUND)
        mel = {"sample_rate": 16000, "n_fft": n, "hop_length": hop, "n_mels": 20}
        assert_rms(melisma.mel_spectrogram(x, **mel), melisma.mel_spectrogram(wide(x), **mel), 2 * BOUND)
    s = randn(3, 513, 30, dtype=torch.complex64)
    for spectrum in (s, s.transpose(1, 2).contiguous().transpose(1, 2), s[..., ::2], s.conj(), s[:1].expand(3, -1, -1)):
        want = melisma.istft(wide(spectrum.resolve_conj()), 1024, 256, window="hann")
        assert_rms(melisma.istft(spectrum, 1024, 256, window="hann"), want, BOUND)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_it_is(dtype: torch.dtype) -> None:
    x = randn(2, 9000, dtype=dtype)
    for n, hop in ((1024, 256), (400, 160), (1103, 300)):
        want = melisma.stft(wide(x), n, hop, window="hann")
        got = melisma.stft(x, n, hop, window="hann")
        assert got.dtype == torch.complex64
        assert_rms(got, want, BOUND)
        assert_rms(
            melisma.spectrogram(x, n_fft=n, hop_length=hop), melisma.spectrogram(wide(x), n_fft=n, hop_length=hop), 2e-6
        )
    leaf = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(melisma.spectrogram(leaf, n_fft=400).sum(), leaf)
    exact = wide(x).requires_grad_()
    (want,) = torch.autograd.grad(melisma.spectrogram(exact, n_fft=400).sum(), exact)
    assert grad.dtype == dtype
    assert_rms(grad.float(), want, 2 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("power", [1.0, 2.0, 0.5])
@pytest.mark.parametrize("n", [64, 400, 1024, 1103])
def test_gradients(n: int, power: float) -> None:
    """Fused backwards against the CPU's in float64; window and trained bank too."""
    x, w, b = randn(2, 4 * n), window_of(n), bank(n // 2 + 1, 9) + 0.1

    def total(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        y = melisma.spectrogram(x, n_fft=n, hop_length=n // 3, window=w, power=power)
        z = melisma.filtered_spectrogram(x, filterbank=b, n_fft=n, hop_length=n // 3, window=w, power=2.0)
        s = melisma.stft(x, n, n // 4, window=w)
        back = melisma.istft(s * 0.5, n, n // 4, window=w)
        return (y * y).sum() / 100 + z.sum() + s.abs().sum() + back.square().sum()

    inputs = [t.clone().requires_grad_() for t in (x, w, b)]
    exact = [wide(t).requires_grad_() for t in (x, w, b)]
    for which in ((0,), (0, 1, 2)):
        leaves, exact_leaves = [inputs[i] for i in which], [exact[i] for i in which]
        frozen = [t if i in which else t.detach() for i, t in enumerate(inputs)]
        exact_frozen = [t if i in which else t.detach() for i, t in enumerate(exact)]
        got = torch.autograd.grad(total(*frozen), leaves)
        want = torch.autograd.grad(total(*exact_frozen), exact_leaves)
        for i, one, other in zip(which, got, want, strict=True):
            assert_rms(one, other, 2e-5, f"argument {i}")


def test_explain_names_the_kernel() -> None:
    for op, n in itertools.product(("stft", "spectrogram"), (400, 512, 1024, 2048)):
        explained = melisma.explain(op, randn(4, 20000), n_fft=n, hop_length=n // 4)
        assert explained["backend"] == "cuda"
        assert explained["kernel"]
    assert any(row["name"] == "cuda" and row["available"] for row in melisma.backends())
