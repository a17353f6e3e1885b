"""mps-spectro's stft and istft: PyTorch's results, its options, its errors, its module paths and operators."""

from __future__ import annotations

import importlib
import inspect
import sys
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import tolerances
from melisma.compat import mps_spectro
from melisma.compat.mps_spectro import _engine, _ops, istft, stft
from melisma.compat.mps_spectro import istft as package_istft

istft_module = sys.modules["melisma.compat.mps_spectro.istft"]
OPS = torch.ops.mps_spectro


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(5).standard_normal(shape)).to(dtype)


def stft_bound(reference: torch.Tensor, n_fft: int) -> np.ndarray:
    return tolerances.stft(reference.numpy(), n_fft)


@pytest.fixture(params=["fused", "operators"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Melisma's operators, and PyTorch's where those cannot be had."""
    if request.param == "operators":
        for module in ("stft", "istft", "mel"):
            monkeypatch.setattr(sys.modules[f"melisma.compat.mps_spectro.{module}"], "engine", lambda *tensors: None)
    return str(request.param)


# --- names ------------------------------------------------------------------------------------------------------------


def test_the_packages_names_are_functions_and_its_modules_importable() -> None:
    from melisma.compat.mps_spectro.istft import mps_istft_forward
    from melisma.compat.mps_spectro.stft import mps_stft_forward

    assert mps_spectro.stft is mps_stft_forward
    assert mps_spectro.istft is mps_istft_forward
    assert package_istft is mps_istft_forward
    assert importlib.import_module("melisma.compat.mps_spectro.stft").mps_stft_forward is mps_stft_forward
    assert mps_spectro.__version__ == "0.3.0"
    assert set(mps_spectro.__all__) == {
        "CompatMelSpectrogramTransform",
        "DynamicMelSpectrogramTransform",
        "LogMelSpectrogramTransform",
        "MelSpectrogramTransform",
        "amplitude_to_db",
        "dynamic_mel_spectrogram",
        "dynamic_spectrogram",
        "istft",
        "mel_spectrogram",
        "melscale_fbanks",
        "stft",
    }
    assert all(hasattr(mps_spectro, name) for name in mps_spectro.__all__)


def test_signatures_are_the_originals() -> None:
    def text(function: Any) -> str:
        return ", ".join(f"{p.name}={p.default}" for p in list(inspect.signature(function).parameters.values())[1:])

    empty = inspect.Parameter.empty
    assert text(stft) == (
        f"n_fft={empty}, hop_length=None, win_length=None, window=None, center=True, normalized=False, onesided=True"
    )
    assert text(istft) == (
        "n_fft=None, hop_length=None, win_length=None, window=None, center=True, normalized=False, onesided=True, "
        "length=None, torch_like=False, safety=auto, allow_fused=True, long_mode_strategy=custom, kernel_dtype=float32, "
        "kernel_layout=auto"
    )
    for function in (stft, istft):
        kinds = [p.kind for p in inspect.signature(function).parameters.values()]
        assert set(kinds[1:]) == {inspect.Parameter.KEYWORD_ONLY}


# --- stft -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("onesided", [True, False])
@pytest.mark.parametrize(("n_fft", "hop", "win"), [(64, None, None), (64, 10, 48), (75, 20, 50), (400, 160, 400)])
def test_stft_is_pytorchs(
    way: str, center: bool, normalized: bool, onesided: bool, n_fft: int, hop: int | None, win: int | None
) -> None:
    x = noise(2, 1000)
    options: Any = {"hop_length": hop, "center": center, "normalized": normalized, "onesided": onesided}
    got = stft(x, n_fft=n_fft, win_length=win, **options)
    window = torch.hann_window(win or n_fft, dtype=torch.float64)
    want = torch.stft(x.double(), n_fft, win_length=win, window=window, return_complex=True, **options)
    assert got.dtype == torch.complex64
    assert got.is_contiguous()
    tolerances.assert_within(got.numpy(), want.numpy(), stft_bound(want, n_fft))
    assert torch.equal(stft(x[1], n_fft=n_fft, win_length=win, **options), got[1])


def test_stft_takes_windows_of_either_length_and_any_float_dtype(way: str) -> None:
    x = noise(1000)
    short = torch.hamming_window(40, dtype=torch.float64)
    padded = torch.nn.functional.pad(short, (12, 12))
    given = stft(x, n_fft=64, win_length=40, window=short)
    assert torch.equal(given, stft(x, n_fft=64, win_length=40, window=padded))
    assert torch.equal(given, stft(x, n_fft=64, win_length=40, window=short.float()))
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        cast = x.to(dtype)
        assert torch.equal(stft(cast, n_fft=64), stft(cast.float(), n_fft=64))


STFT_ERRORS: dict[str, tuple[type[Exception], str, dict[str, Any]]] = {
    "3-D": (ValueError, r"must be \[T\] or \[B, T\], got shape \(1, 2, 500\)", {"x": noise(1, 2, 500)}),
    "0-D": (ValueError, r"got shape \(\)", {"x": torch.tensor(1.0)}),
    "integers": (TypeError, "floating-point, got torch.int64", {"x": torch.arange(500)}),
    "complex": (TypeError, "floating-point, got torch.complex64", {"x": noise(500) + 0j}),
    "n_fft": (ValueError, "n_fft must be positive, got 0", {"n_fft": 0}),
    "hop_length": (ValueError, "hop_length must be positive, got -1", {"hop_length": -1}),
    "default hop": (ValueError, "hop_length must be positive, got 0", {"n_fft": 3}),
    "win_length": (ValueError, "win_length must be positive, got 0", {"win_length": 0}),
    "long window": (ValueError, "win_length must be <= n_fft = 64, got 65", {"win_length": 65}),
    "2-D window": (ValueError, r"window must be 1-D, got shape \(2, 64\)", {"window": torch.ones(2, 64)}),
    "window length": (
        ValueError,
        "window must have win_length = 40 or n_fft = 64 values, got 41",
        {"win_length": 40, "window": torch.ones(41)},
    ),
    "short": (RuntimeError, "stft: ", {"x": noise(20)}),
    "short, not centred": (RuntimeError, "stft: ", {"x": noise(20), "center": False}),
}


@pytest.mark.parametrize("name", STFT_ERRORS)
def test_stft_errors(name: str) -> None:
    kind, message, arguments = STFT_ERRORS[name]
    with pytest.raises(kind, match=message):
        stft(**({"x": noise(500), "n_fft": 64} | arguments))


# --- istft ------------------------------------------------------------------------------------------------------------


def masked_reference(spec: torch.Tensor, n_fft: int, hop: int, window: torch.Tensor, **options: Any) -> np.ndarray:
    """The definition in float64: overlap-add, divided where the envelope is above 1e-11 and nowhere else."""
    wide, w = spec.to(torch.complex128).numpy(), window.double().numpy()
    norm = "ortho" if options.get("normalized") else "backward"
    one = options.get("onesided", True)
    frames = np.fft.irfft(wide, n_fft, axis=-2, norm=norm) if one else np.fft.ifft(wide, axis=-2, norm=norm).real
    count = frames.shape[-1]
    total, envelope = np.zeros((*frames.shape[:-2], n_fft + hop * (count - 1))), np.zeros(n_fft + hop * (count - 1))
    for t in range(count):
        total[..., t * hop : t * hop + n_fft] += frames[..., t] * w
        envelope[t * hop : t * hop + n_fft] += w * w
    single = envelope.astype(np.float32)  # the limit is compared in float32
    y = np.where(single > 1e-11, total / np.where(single > 1e-11, envelope, 1.0), total)
    center, length = options.get("center", True), options.get("length")
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else y.shape[-1] - start
    cut = y[..., start : max(start, end)]
    return np.pad(cut, [(0, 0)] * (cut.ndim - 1) + [(0, max(0, end - start - cut.shape[-1]))])


@pytest.mark.parametrize("length", [None, 0, 1, 700, 992, 1000, 1040, 1500])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("onesided", [True, False])
@pytest.mark.parametrize("normalized", [True, False])
def test_istft_is_the_definition(way: str, length: int | None, center: bool, onesided: bool, normalized: bool) -> None:
    n_fft, hop = 64, 16
    window = torch.hamming_window(n_fft)  # at least 0.08: what is divided by does not magnify errors
    bins = 33 if onesided else 64
    spec = torch.complex(noise(2, bins, 63), noise(2, bins, 63).flip(-1)) / 8.0
    options: Any = {"center": center, "onesided": onesided, "normalized": normalized, "length": length}
    got = istft(spec, hop_length=hop, window=window, **options)
    want = masked_reference(spec, n_fft, hop, window, **options)
    assert got.dtype == torch.float32
    # A frame of norm |spec| sqrt(2 bins) / 8 / n, its rounding divided by 0.08 at the ends; "ortho" is sqrt(64) larger.
    bound = tolerances.transform(n_fft, tolerances.EPS32) * 4.0 / 0.08 * (8.0 if normalized else 1.0) / 8.0
    tolerances.assert_within(got.numpy(), want, bound)
    single = istft(spec[0], hop_length=hop, window=window, **options)
    assert torch.equal(single, got[0]) or (way == "operators" and torch.allclose(single, got[0], rtol=0, atol=bound))


@pytest.mark.parametrize(("n_fft", "hop", "frames"), [(64, 16, 1), (64, 16, 2), (64, 64, 3), (64, 50, 9), (75, 20, 40)])
def test_tiny_envelopes_are_left_undivided(way: str, n_fft: int, hop: int, frames: int) -> None:
    window = torch.zeros(n_fft)
    window[n_fft // 4 : n_fft // 2] = 1.0
    window[n_fft // 2 : 3 * n_fft // 4] = 2e-6  # its square, 4e-12, is below the limit
    spec = torch.complex(noise(2, n_fft // 2 + 1, frames), noise(2, n_fft // 2 + 1, frames))
    for center in (True, False):
        options: Any = {"n_fft": n_fft, "hop_length": hop, "window": window, "center": center, "length": hop * frames}
        got = istft(spec, **options).numpy()
        want = masked_reference(spec, n_fft, hop, window, center=center, length=hop * frames)
        # Relative to each sample's own size: undivided ones are of order 1e-6.
        loud = np.abs(spec.numpy()).sum(axis=-2).max().item() / n_fft
        bound = np.where(np.abs(want) < 1e-5, 1e-6 * loud, loud) * 40 * tolerances.EPS32
        tolerances.assert_within(got, want, bound)
        with pytest.raises(RuntimeError, match="envelope is too small"):
            istft(spec, torch_like=True, **options)
        assert np.array_equal(istft(spec, torch_like=True, safety="off", **options).numpy(), got)


def test_safety_caches_by_content(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    honest = istft_module._envelope
    monkeypatch.setattr(istft_module, "_envelope", lambda *arguments: seen.append(1) or honest(*arguments))
    istft_module._smallest.cache_clear()
    spec, window = noise(33, 9) + 0j, torch.hann_window(64)
    for _ in range(3):
        istft(spec, window=window.clone(), torch_like=True, hop_length=16)
    assert len(seen) == 1
    for _ in range(3):
        istft(spec, window=window, torch_like=True, hop_length=16, safety="always")
    assert len(seen) == 4
    window[:] = 0.0  # the same tensor with other values is another window
    with pytest.raises(RuntimeError, match="got 0.000e"):
        istft(spec, window=window, torch_like=True, hop_length=16)


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 11, 12, 13, 40])
@pytest.mark.parametrize("hop", [1, 7, 16, 33, 64, 70])
def test_the_smallest_envelope_is_found_from_few_frames(frames: int, hop: int) -> None:
    rng = np.random.default_rng(frames * 100 + hop)
    window = rng.random(64).astype(np.float32)
    full = np.zeros(64 + hop * (frames - 1), np.float32)
    for t in range(frames):
        full[t * hop : t * hop + 64] += window * window
    for start, end in [
        (0, len(full)),
        (32, len(full) - 32),
        (32, 40),
        (0, 1),
        (0, min(len(full), 100)),
        (32, len(full)),
    ]:
        if end > start:
            got = istft_module._smallest(window.tobytes(), hop, frames, start, end)
            assert got == pytest.approx(float(full[start:end].min()), rel=64 * tolerances.EPS32)
    assert istft_module._smallest(window.tobytes(), hop, frames, 5, 5) == 0.0


@pytest.mark.parametrize("layout", ["auto", "native", "transposed"])
@pytest.mark.parametrize(("dtype", "worst", "squares"), [("mixed", 3e-3, 3e-7), ("float16", 9e-3, 1.5e-6)])
def test_half_precision_kernels_round_and_say_so(layout: str, dtype: str, worst: float, squares: float) -> None:
    x = noise(2, 8000)
    spec = stft(x, n_fft=512)
    y = istft(spec, length=8000, kernel_dtype=dtype, kernel_layout=layout)
    assert y.dtype == (torch.float16 if dtype == "float16" else torch.float32)
    error = (y.float() - x).abs()
    assert 2e-5 < float(error.max()) <= worst  # rounded, and within the original's limits
    assert float(error.square().mean()) <= squares
    leaf = spec.clone().requires_grad_()
    exact = istft(leaf, length=8000, kernel_dtype=dtype)
    assert exact.dtype == torch.float32  # ignored where a gradient is needed
    assert float((exact.detach() - x).abs().max()) <= 1e-5


def test_torch_fallback_hands_long_requests_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    honest = torch.istft

    def watched(*arguments: Any) -> torch.Tensor:
        calls.append(arguments)
        return honest(*arguments)

    monkeypatch.setattr(torch, "istft", watched)
    spec, window = stft(noise(2, 1000), n_fft=64, hop_length=16), torch.hann_window(64)
    options: Any = {"hop_length": 16, "long_mode_strategy": "torch_fallback"}
    long = istft(spec, length=1010, **options)
    assert torch.equal(long, honest(spec, 64, 16, 64, window, length=1010))
    istft(spec, length=992, **options)
    istft(spec, center=False, length=2000, **options)
    assert len(calls) == 1
    with pytest.warns(RuntimeWarning, match="torch.istft refused"):
        refused = istft(spec, length=1010, window=torch.zeros(64), **options)
    assert torch.equal(refused, torch.zeros(2, 1010))


ISTFT_ERRORS: dict[str, tuple[type[Exception], str, dict[str, Any]]] = {
    "1-D": (ValueError, r"must be \[F, N\] or \[B, F, N\], got shape \(33,\)", {"spec": noise(33) + 0j}),
    "4-D": (ValueError, r"got shape \(1, 1, 33, 5\)", {"spec": noise(1, 1, 33, 5) + 0j}),
    "real": (TypeError, "must be complex, got torch.float32", {"spec": noise(33, 5)}),
    "n_fft": (ValueError, "n_fft must be positive, got -2", {"n_fft": -2}),
    "hop_length": (ValueError, "hop_length must be positive, got 0", {"hop_length": 0}),
    "win_length": (NotImplementedError, "win_length must be n_fft = 64, got 32", {"win_length": 32}),
    "allow_fused": (NotImplementedError, "allow_fused must be True, got False", {"allow_fused": False}),
    "window": (ValueError, "values, got 63", {"window": torch.ones(63)}),
    "window rank": (ValueError, "window must be 1-D", {"window": torch.ones(1, 64)}),
    "safety": (ValueError, "safety must be one of off, auto, always, got 'no'", {"safety": "no"}),
    "kernel_dtype": (ValueError, "kernel_dtype must be one of .*, got 'half'", {"kernel_dtype": "half"}),
    "kernel_layout": (ValueError, "kernel_layout must be one of .*, got 'x'", {"kernel_layout": "x"}),
    "strategy": (ValueError, "long_mode_strategy must be one of .*, got 'x'", {"long_mode_strategy": "x"}),
    "bins": (ValueError, "istft: ", {"n_fft": 128}),
}


@pytest.mark.parametrize("name", ISTFT_ERRORS)
def test_istft_errors(name: str) -> None:
    kind, message, arguments = ISTFT_ERRORS[name]
    with pytest.raises(kind, match=message):
        istft(**({"spec": noise(33, 5) + 0j} | arguments))


# --- gradients, torch.compile, operators ------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["melisma", "operators"])
def test_gradients_are_pytorchs_and_the_window_has_none(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine == "operators":
        monkeypatch.setattr(_engine, "dispatched", None)
    x, window = noise(2, 500).requires_grad_(), torch.hann_window(64).requires_grad_()
    weight = noise(2, 33, 32)
    ours = torch.autograd.grad((stft(x, n_fft=64, window=window).abs() * weight).sum(), (x, window), allow_unused=True)
    plain = torch.stft(x, 64, window=window.detach(), return_complex=True)
    (theirs,) = torch.autograd.grad((plain.abs() * weight).sum(), x)
    # A sum over 4 frames of transforms of vectors of norm about sqrt(33).
    bound = 4.0 * tolerances.transform(64, tolerances.EPS32) * np.sqrt(33.0) * 4.0
    assert float((ours[0] - theirs).abs().max()) <= bound
    assert ours[1] is None
    spec = plain.detach().requires_grad_()
    target = noise(2, 500)
    ours = torch.autograd.grad(
        (istft(spec, window=window, length=500) * target).sum(), (spec, window), allow_unused=True
    )
    (theirs,) = torch.autograd.grad((torch.istft(spec, 64, window=window.detach(), length=500) * target).sum(), spec)
    assert float((ours[0] - theirs).abs().max()) <= bound / 64.0 * 8.0
    assert ours[1] is None


@pytest.mark.parametrize("engine", ["melisma", "operators"])
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiles_whole_forward_and_backward(engine: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine == "operators":
        monkeypatch.setattr(_engine, "dispatched", None)
    torch._dynamo.reset()

    def energy(x: torch.Tensor) -> torch.Tensor:
        return istft(2.0 * stft(x, n_fft=64), length=x.shape[-1]).square().sum()

    compiled = torch.compile(energy, backend=backend, fullgraph=True, dynamic=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's, about complex numbers
        for samples in (500, 777):
            x = noise(2, samples).requires_grad_()
            compiled(x).backward()
            assert x.grad is not None
            assert float((x.grad - 8.0 * x).abs().max()) <= 16.0 * tolerances.ROUND_TRIP * float(x.abs().max())


def test_the_operators_pass_opcheck_and_gradcheck() -> None:
    x = noise(2, 90, dtype=torch.float64).requires_grad_()
    frames = noise(2, 16, 9, dtype=torch.float64).requires_grad_()
    window = torch.hann_window(16, dtype=torch.float64)
    torch.library.opcheck(OPS.stft_extract_frames.default, (x, window, 4, 16, True))
    torch.library.opcheck(OPS.istft_overlap_add.default, (frames, window, window * window, 4, 48))
    for center in (True, False):
        for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
            check(lambda y, center=center: OPS.stft_extract_frames(y, window, 5, 16, center), (x,))
    for hop, length in ((4, 48), (4, 40), (4, 60), (1, 24), (16, 144), (20, 170)):
        for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
            check(lambda f, hop=hop, n=length: OPS.istft_overlap_add(f, window, window * window, hop, n), (frames,))


def test_the_operators_have_the_originals_schemas_and_shapes() -> None:
    arguments = "Tensor input, Tensor window, int hop_length, int n_fft, bool center"
    assert str(OPS.stft_extract_frames.default._schema) == f"mps_spectro::stft_extract_frames({arguments}) -> Tensor"
    arguments = "Tensor frames, Tensor window, Tensor window_sq, int hop_length, int output_length"
    assert str(OPS.istft_overlap_add.default._schema) == f"mps_spectro::istft_overlap_add({arguments}) -> Tensor"
    assert OPS.stft_extract_frames(noise(2, 90), torch.ones(16), 4, 16, True).shape == (2, 23, 16)
    assert OPS.istft_overlap_add(noise(2, 16, 9), torch.ones(16), torch.ones(16), 4, 48).shape == (2, 48)


@pytest.mark.parametrize("hop", [1, 2, 5, 16, 23])
def test_overlap_add_is_the_same_by_pieces_and_by_fold(hop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = noise(2, 16, 7)
    pieces = _ops.overlap_add(frames, hop)
    monkeypatch.setattr(_ops, "_MOST_SHIFTS", 0 if hop > 1 else 100)
    assert torch.allclose(_ops.overlap_add(frames, hop), pieces, rtol=0, atol=16 * tolerances.EPS32 * 8)


def test_operator_errors() -> None:
    with pytest.raises(ValueError, match=r"input must be \[B, T\], got shape \(90,\)"):
        OPS.stft_extract_frames(noise(90), torch.ones(16), 4, 16, True)
    with pytest.raises(ValueError, match=r"window must be of n_fft = 16 values, got shape \(15,\)"):
        OPS.stft_extract_frames(noise(1, 90), torch.ones(15), 4, 16, True)
    with pytest.raises(ValueError, match=r"frames must be \[B, W, N\], got shape \(16, 9\)"):
        OPS.istft_overlap_add(noise(16, 9), torch.ones(16), torch.ones(16), 4, 48)
    with pytest.raises(ValueError, match=r"window_sq must be of 16 values, got shape \(9,\)"):
        OPS.istft_overlap_add(noise(1, 16, 9), torch.ones(16), torch.ones(9), 4, 48)


def test_transforms_of_functions_work() -> None:
    x = noise(3, 500)
    mapped = torch.func.vmap(lambda y: istft(stft(y, n_fft=64), length=500))(x)
    assert float((mapped - x).abs().max()) <= tolerances.ROUND_TRIP
    gradient = torch.func.grad(lambda y: istft(2.0 * stft(y, n_fft=64), length=500).square().sum())(x)
    assert float((gradient - 8.0 * x).abs().max()) <= 16.0 * tolerances.ROUND_TRIP * float(x.abs().max())
    _, tangent = torch.func.jvp(lambda y: istft(stft(y, n_fft=64), length=500), (x,), (2.0 * x,))
    assert float((tangent - 2.0 * x).abs().max()) <= 4.0 * tolerances.ROUND_TRIP * float(x.abs().max())
    assert torch.equal(stft(torch.nn.Parameter(x), n_fft=64).detach(), stft(x, n_fft=64))


def test_cached_windows_serve_inference_and_training() -> None:
    _engine._HANN.clear()
    with torch.inference_mode():
        stft(noise(500), n_fft=64)
    x = noise(500).requires_grad_()
    stft(x, n_fft=64).abs().sum().backward()
    assert x.grad is not None
    for n_fft in range(4, 4 + 2 * _engine._HANN_LIMIT):
        stft(noise(500), n_fft=n_fft)
    assert len(_engine._HANN) <= _engine._HANN_LIMIT
