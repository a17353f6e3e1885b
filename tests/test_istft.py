"""melisma.istft against torch.istft: values, shapes, dtypes, edges and errors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import melisma
import reference
import tolerances
from test_stft import WINDOWS, make_window


def spectrum(bins: int, frames: int, *lead: int, dtype: torch.dtype = torch.complex64) -> torch.Tensor:
    return torch.randn(*lead, bins, frames, dtype=dtype, generator=torch.Generator().manual_seed(bins * frames))


def torch_istft(spec: torch.Tensor, **kwargs: Any) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no window given; length beyond the frames
        result: torch.Tensor = torch.istft(spec, **kwargs)
    return result


def check(spec: torch.Tensor, **kwargs: Any) -> None:
    """The same call on both: values against torch in float64, or both refuse."""
    window = kwargs.get("window")
    exact_kwargs = {**kwargs, "window": None if window is None else window.double()}
    try:
        exact = torch_istft(spec.to(torch.complex128), **exact_kwargs)
    except RuntimeError:
        with pytest.raises(RuntimeError, match=r"^istft: "):
            melisma.istft(spec, **kwargs)
        return
    theirs = torch_istft(spec, **kwargs)
    ours = melisma.istft(spec, **kwargs)
    assert isinstance(ours, torch.Tensor)
    assert (ours.shape, ours.dtype, ours.stride()) == (theirs.shape, theirs.dtype, theirs.stride()), kwargs
    n_fft, hop = kwargs["n_fft"], kwargs["hop_length"]
    full_window = reference.centred_window(None if window is None else window.numpy(), n_fft, kwargs.get("win_length"))
    first = n_fft // 2 if kwargs.get("center", True) else 0
    gain = reference.istft_amplification(full_window, spec.shape[-1], hop, first, ours.shape[-1])
    scaled = spec.numpy() * (np.sqrt(n_fft) if kwargs.get("normalized") else 1.0)
    eps = tolerances.EPS64 if spec.dtype == torch.complex128 else tolerances.EPS32
    bound = tolerances.istft(scaled, gain, n_fft, eps) + 4 * eps * np.abs(exact.numpy())
    tolerances.assert_within(ours.numpy(), exact.numpy(), bound, str(kwargs))


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("n_fft", [4, 16, 25, 400, 512])
def test_windows_hops_and_lengths(name: str | None, n_fft: int) -> None:
    for hop in (n_fft // 4, n_fft // 3 + 1, n_fft // 2):
        for frames in (3, 20):
            spec = spectrum(n_fft // 2 + 1, frames, 2)
            whole = n_fft + hop * (frames - 1)
            for center in (True, False):
                for length in (None, whole // 2, whole - n_fft, whole - n_fft // 2, whole, whole + 100):
                    check(
                        spec, n_fft=n_fft, hop_length=hop, window=make_window(name, n_fft), center=center, length=length
                    )


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("onesided", [True, False])
def test_options(dtype: torch.dtype, onesided: bool) -> None:
    for n_fft in (15, 64, 100):
        for normalized in (True, False):
            for win_length in (n_fft, n_fft - 5):
                real = torch.float64 if dtype == torch.complex128 else torch.float32
                window = torch.hann_window(win_length, dtype=real)
                spec = spectrum(n_fft // 2 + 1 if onesided else n_fft, 12, dtype=dtype)
                common = {"n_fft": n_fft, "hop_length": n_fft // 4, "win_length": win_length, "window": window,
                          "normalized": normalized, "onesided": onesided}  # fmt: skip
                check(spec, **common)
                if not onesided:
                    check(spec, **common, return_complex=True)


def test_default_and_positional_arguments() -> None:
    spec, window = spectrum(129, 30), torch.hann_window(256)
    want = torch.istft(spec, 256, 64, 256, window, True, False, True, 1500, False)
    for got in (
        melisma.istft(spec, 256, 64, 256, window, True, False, True, 1500, False),
        melisma.istft(spec, 256, window=window, length=1500),
        melisma.istft(input=spec, n_fft=256, window=window, length=1500),
    ):
        assert torch.allclose(got, want, rtol=0, atol=1e-5 * float(want.abs().max()))


def test_leading_dimensions_and_layouts() -> None:
    spec, window = spectrum(65, 20, 2, 3), torch.hann_window(128)
    got = melisma.istft(spec, 128, 32, window=window)
    assert got.shape == (2, 3, 19 * 32)
    assert torch.equal(got.reshape(6, -1), melisma.istft(spec.reshape(6, 65, 20), 128, 32, window=window))
    frame_major = spec.transpose(-1, -2)
    for view in (frame_major, frame_major.contiguous()):
        assert torch.equal(melisma.istft(view, 128, 32, window=window, layout="frame_major"), got)
    out = torch.empty_like(got)
    assert melisma.istft(spec, 128, 32, window=window, out=out) is out
    assert torch.equal(out, got)


@pytest.mark.parametrize("n_fft", [1, 2, 15, 64, 400, 512, 1103])
def test_imaginary_parts_of_dc_and_nyquist_are_ignored(n_fft: int, rng: np.random.Generator) -> None:
    shape = (n_fft // 2 + 1, 10)
    spec = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
    clean = spec.copy()
    clean[0].imag = 0.0
    if n_fft % 2 == 0:
        clean[-1].imag = 0.0
    hop = n_fft // 4 + 1
    assert np.array_equal(melisma.istft(spec, n_fft, hop, edge="zero"), melisma.istft(clean, n_fft, hop, edge="zero"))


@pytest.mark.parametrize("edge", ["zero", "clamp"])
@pytest.mark.parametrize(("n_fft", "hop"), [(400, 100), (64, 80), (15, 5)])
def test_edge_policies(edge: str, n_fft: int, hop: int, rng: np.random.Generator) -> None:
    shape = (n_fft // 2 + 1, 9)
    spec = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
    window = melisma.get_window("hann", n_fft)
    with pytest.raises(melisma.InvalidArgument, match=r"^istft: window.*sample 0"):
        melisma.istft(spec, n_fft, hop, window=window, center=False)
    for length in (None, n_fft + 9 * hop + 20):
        got = melisma.istft(spec, n_fft, hop, window=window, center=False, edge=edge, length=length)
        want = reference.istft(spec, n_fft, hop, window, center=False, edge=edge, length=length)
        gain = reference.istft_amplification(np.asarray(window, np.float64), 9, hop, 0, want.size)
        bound = tolerances.istft(spec, gain, n_fft) + 4 * tolerances.EPS32 * np.abs(want)
        tolerances.assert_within(got, want, bound)
        assert got[0] == 0.0


@pytest.mark.parametrize("n_fft", reference.PROMISED_SIZES)
def test_round_trip(n_fft: int, rng: np.random.Generator) -> None:
    hop = max(1, n_fft // 4)
    length = max(4 * n_fft, 64) // hop * hop  # the last frame is centred on the last sample but hop - 1
    x = rng.uniform(-1.0, 1.0, length).astype(np.float32)
    # A Hann window of fewer than four samples with hop 1 has no overlap at the ends.
    window = melisma.get_window("hann", n_fft) if n_fft >= 4 else None
    spec = melisma.stft(x, n_fft, hop, window=window)
    back = melisma.istft(spec, n_fft, hop, window=window, length=length)
    assert back.dtype == np.float32
    assert np.abs(back - x).max() <= tolerances.ROUND_TRIP


@pytest.mark.parametrize("length", [1, 2, 399, 400, 401, 12345])
def test_exact_length(length: int, rng: np.random.Generator) -> None:
    x = rng.uniform(-1.0, 1.0, max(length, 401)).astype(np.float32)
    window = melisma.get_window("hann", 400)
    back = melisma.istft(melisma.stft(x, 400, 100, window=window), 400, 100, window=window, length=length)
    assert back.shape == (length,)
    inside = min(length, x.size // 100 * 100)
    assert np.abs(back[:inside] - x[:inside]).max() <= tolerances.ROUND_TRIP


@pytest.mark.parametrize(
    "kwargs",
    [
        {"n_fft": 0},
        {"n_fft": 402},
        {"n_fft": 400, "hop_length": 0},
        {"n_fft": 400, "hop_length": -1},
        {"n_fft": 400, "hop_length": 401},
        {"n_fft": 400, "win_length": 401},
        {"n_fft": 400, "win_length": 0},
        {"n_fft": 400, "window": torch.ones(399)},
        {"n_fft": 400, "onesided": False},
        {"n_fft": 400, "return_complex": True},
    ],
    ids=str,
)
def test_errors_where_torch_has_them(kwargs: dict[str, Any]) -> None:
    spec = spectrum(201, 10)
    with pytest.raises(RuntimeError):
        torch_istft(spec, **kwargs)
    with pytest.raises(RuntimeError, match=r"^istft: "):
        melisma.istft(spec, **kwargs)


def test_real_input_and_no_frames_are_refused() -> None:
    with pytest.raises(melisma.InvalidType, match=r"^istft: input.*complex64"):
        melisma.istft(np.zeros((201, 10), np.float32), 400)
    with pytest.raises(melisma.InvalidArgument, match=r"^istft: input.*frame"):
        melisma.istft(np.zeros((201, 0), np.complex64), 400)
    with pytest.raises(melisma.InvalidArgument, match=r"^istft: input.*dimension"):
        melisma.istft(np.zeros(201, np.complex64), 400)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["frequency_major", "frame_major"])
def test_real_pairs_in(dtype: type, layout: str) -> None:
    x = np.random.default_rng(3).standard_normal((2, 700)).astype(dtype)
    spectrum = melisma.stft(x, 64, 16, window="hann", layout=layout)
    pairs = melisma.stft(x, 64, 16, window="hann", layout=layout, return_complex=False)
    want = melisma.istft(spectrum, 64, 16, window="hann", layout=layout, length=700)
    for view in (
        pairs,
        np.ascontiguousarray(pairs),
        np.asfortranarray(pairs),
        np.repeat(pairs, 2, axis=-2)[..., ::2, :],
    ):
        assert np.array_equal(melisma.istft(view, 64, 16, window="hann", layout=layout, length=700), want)
    with pytest.raises(melisma.InvalidType, match=r"real pairs in a last axis of 2, got float\d+ of shape \(33, 2\)"):
        melisma.istft(np.zeros((33, 2), dtype), 64)
