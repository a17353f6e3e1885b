"""melisma.stft against torch.stft: values, shapes, strides, dtypes and errors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import melisma
import reference
import tolerances

WINDOWS = ["hann", "hamming", "blackman", "bartlett", "kaiser", "random", None]


def make_window(name: str | None, length: int) -> torch.Tensor | None:
    if name is None:
        return None
    if name == "random":
        return torch.rand(length, generator=torch.Generator().manual_seed(1)) + 0.1
    window: torch.Tensor = getattr(torch, f"{name}_window")(length)
    return window


def check(x: torch.Tensor, **kwargs: Any) -> None:
    """The same call on both: values against torch in float64, all else against torch on the same input."""
    kwargs = {"return_complex": True, **kwargs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns where no window is given
        theirs = torch.stft(x, **kwargs)
        exact_window = kwargs["window"].double() if kwargs.get("window") is not None else None
        exact = torch.stft(
            x.to(torch.complex128 if x.is_complex() else torch.float64), **{**kwargs, "window": exact_window}
        )
    ours = melisma.stft(x, **kwargs)
    assert isinstance(ours, torch.Tensor)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    used = [axis for axis in range(ours.ndim) if ours.shape[axis] > 1]
    assert [ours.stride(axis) for axis in used] == [theirs.stride(axis) for axis in used]
    n_fft = kwargs["n_fft"]
    eps = tolerances.eps_of(
        exact.numpy().dtype if x.dtype in (torch.float64, torch.complex128) else np.dtype(np.float32)
    )
    got, want = ours, exact
    if not kwargs["return_complex"]:
        got, want = torch.view_as_complex(ours.contiguous()), torch.view_as_complex(exact.contiguous())
    tolerances.assert_within(got.numpy(), want.numpy(), tolerances.stft(want.numpy(), n_fft, eps), str(kwargs))
    as_numpy = melisma.stft(
        x.numpy(), **{**kwargs, "window": None if kwargs.get("window") is None else kwargs["window"].numpy()}
    )
    assert isinstance(as_numpy, np.ndarray)
    assert as_numpy.tobytes() == ours.numpy().tobytes()


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("n_fft", [16, 25, 400, 512, 1103])
def test_windows_and_hops(name: str | None, n_fft: int) -> None:
    x = torch.randn(2, 3 * n_fft + 17, generator=torch.Generator().manual_seed(2))
    for hop in (n_fft // 4, n_fft // 3 + 1, n_fft // 2, n_fft, n_fft + 5):
        for center in (True, False):
            check(x, n_fft=n_fft, hop_length=hop, window=make_window(name, n_fft), center=center)


@pytest.mark.parametrize("pad_mode", ["reflect", "constant", "replicate", "circular"])
@pytest.mark.parametrize("n_fft", [1, 2, 7, 64, 480])
def test_padding_and_sides(pad_mode: str, n_fft: int) -> None:
    for length in (n_fft // 2 + 1, n_fft + 1, 2 * n_fft + 50):
        x = torch.randn(1, length, generator=torch.Generator().manual_seed(length))
        for normalized in (False, True):
            for onesided in (None, True, False):
                check(x, n_fft=n_fft, hop_length=n_fft // 3 + 1, window=make_window("hann", n_fft), pad_mode=pad_mode,
                      normalized=normalized, onesided=onesided)  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
def test_dtypes_and_ranks(dtype: torch.dtype) -> None:
    for shape in ((1000,), (1, 1000), (3, 1000)):
        x = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(3))
        for n_fft in (20, 60, 64, 256, 619):
            window = torch.hann_window(
                n_fft, dtype=torch.float64 if dtype in (torch.float64, torch.complex128) else torch.float32
            )
            check(x, n_fft=n_fft, hop_length=40, window=window)


def test_more_leading_dimensions_than_torch_takes() -> None:
    x = torch.randn(2, 3, 4, 500)
    got = melisma.stft(x, 128, 32, window=torch.hann_window(128))
    flat = melisma.stft(x.reshape(24, 500), 128, 32, window=torch.hann_window(128))
    assert got.shape == (2, 3, 4, 65, 16)
    assert torch.equal(got.reshape(24, 65, 16), flat)


@pytest.mark.parametrize("win_length", [1, 5, 31, 63, 64])
def test_short_windows(win_length: int) -> None:
    x = torch.randn(2, 300)
    for center in (True, False):
        check(
            x, n_fft=64, hop_length=16, win_length=win_length, window=make_window("hamming", win_length), center=center
        )
    check(x, n_fft=64, hop_length=16, win_length=win_length)


@pytest.mark.parametrize("align", [None, True, False])
def test_align_to_window(align: bool | None) -> None:
    # torch 2.13 itself fails where n_fft - win_length is odd and the last frame ends with the signal, so only even ones.
    for length, win_length in ((300, 20), (300, 34), (305, 34), (300, 64)):
        x = torch.randn(2, length)
        check(x, n_fft=64, hop_length=16, win_length=win_length, window=make_window("hann", win_length), center=False,
              align_to_window=align)  # fmt: skip


def test_defaults_are_torchs() -> None:
    x = torch.randn(1000)
    check(x, n_fft=400)
    check(x, n_fft=400, center=False, pad_mode=None)
    check(x, n_fft=400, return_complex=False)
    assert melisma.stft(input=x, n_fft=400).shape == (201, 11)


def test_positional_order_is_torchs() -> None:
    x, window = torch.randn(1000), torch.hann_window(300)
    want = torch.stft(x, 400, 100, 300, window, True, "constant", True, False, True)
    got = melisma.stft(x, 400, 100, 300, window, True, "constant", True, False, True)
    bound = 2 * tolerances.stft(want.numpy(), 400)
    tolerances.assert_within(got.numpy(), want.numpy(), bound)


def test_layouts_and_out(rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 2000)).astype(np.float32)
    frequency = melisma.stft(x, 256, 64)
    frame = melisma.stft(x, 256, 64, layout="frame_major")
    assert frame.shape == (3, 32, 129)
    assert frame.flags.c_contiguous
    assert np.array_equal(np.swapaxes(frequency, 1, 2), frame)
    for layout, want in (("frequency_major", frequency), ("frame_major", frame)):
        for order in ("C", "F"):
            out = np.full(want.shape, np.nan, np.complex64, order=order)  # type: ignore[call-overload]
            result = melisma.stft(x, 256, 64, layout=layout, out=out)
            assert result is out
            assert np.array_equal(out, want)
    torch_out = torch.empty(frame.shape, dtype=torch.complex64)
    assert melisma.stft(torch.from_numpy(x), 256, 64, layout="frame_major", out=torch_out) is torch_out
    assert np.array_equal(torch_out.numpy(), frame)


def test_int16_is_pcm(rng: np.random.Generator) -> None:
    x = rng.integers(-32768, 32768, 3000).astype(np.int16)
    want = reference.stft(x, 400, 100) / 32768
    got = melisma.stft(x, 400, 100)
    assert got.dtype == np.complex64
    tolerances.assert_within(got, want, tolerances.stft(want, 400))


@pytest.mark.filterwarnings("ignore:A window was not provided")
@pytest.mark.parametrize(
    "kwargs",
    [
        {"n_fft": 0},
        {"n_fft": -1},
        {"n_fft": 400, "hop_length": 0},
        {"n_fft": 400, "hop_length": -3},
        {"n_fft": 400, "win_length": 401},
        {"n_fft": 400, "win_length": 0},
        {"n_fft": 400, "window": torch.ones(399)},
        {"n_fft": 400, "win_length": 300, "window": torch.ones(400)},
        {"n_fft": 400, "window": torch.ones(1, 400)},
        {"n_fft": 400, "pad_mode": "mirror"},
        {"n_fft": 2002},
        {"n_fft": 2004, "pad_mode": "circular"},
        {"n_fft": 1001, "center": False},
        {"n_fft": 3},
        {"n_fft": 400, "align_to_window": True},
    ],
    ids=str,
)
def test_errors_where_torch_has_them(kwargs: dict[str, Any]) -> None:
    x = torch.randn(1000)
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.stft(x, return_complex=True, **kwargs)
    with pytest.raises(RuntimeError, match=r"^stft: "):
        melisma.stft(x, return_complex=True, **kwargs)


def test_errors_of_complex_input() -> None:
    x = torch.randn(1000, dtype=torch.complex64)
    with pytest.raises(RuntimeError):
        torch.stft(x, 400, onesided=True, return_complex=True)
    with pytest.raises(RuntimeError, match=r"^stft: onesided"):
        melisma.stft(x, 400, onesided=True, return_complex=True)
    check(x, n_fft=400, onesided=False, return_complex=False)
