"""mps-spectro's mel front end against its formulas in float64, and its benchmark commands."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

import melisma
import tolerances
from melisma.compat import mps_spectro as ms
from melisma.compat.mps_spectro import benchmark, mel

RATE, N_FFT, HOP, MELS = 16_000, 256, 64, 20


def noise(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(9).standard_normal(shape).astype(np.float32))


@pytest.fixture(params=["fused", "operators"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "operators":
        monkeypatch.setattr(mel, "engine", lambda *tensors: None)
    return str(request.param)


def spectrum64(x: torch.Tensor, n_fft: int, hop: int, win: int, center: bool, pad_mode: str) -> torch.Tensor:
    window = torch.hann_window(win, dtype=torch.float64)
    return torch.stft(
        x.double(), n_fft, hop, win, window, center=center, pad_mode=pad_mode, return_complex=True
    )  # fmt: skip


def bank64(**options: Any) -> torch.Tensor:
    return ms.melscale_fbanks(**options, dtype=torch.float64)


# --- filters and decibels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [None, "slaney"])
@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_banks_are_torchaudios_transposed(norm: Any, scale: Any) -> None:
    options: dict[str, Any] = {"n_freqs": 201, "f_min": 20.0, "f_max": 7600.0, "n_mels": 40, "sample_rate": RATE}
    bank = ms.melscale_fbanks(**options, norm=norm, mel_scale=scale)
    assert bank.shape == (40, 201)
    assert bank.dtype == torch.float32
    want = melisma.melscale_fbanks(201, 20.0, 7600.0, 40, RATE, norm, scale)
    atol = tolerances.FILTERBANK_TORCHAUDIO * (1.0 if norm is None else float(want.max()))
    np.testing.assert_allclose(bank.numpy().T, want, rtol=0, atol=atol)
    double = bank64(**options, norm=norm, mel_scale=scale)
    np.testing.assert_allclose(double.numpy().T, want, rtol=0, atol=4 * tolerances.EPS32 * float(want.max()))
    assert ms.melscale_fbanks(**options, norm=norm, mel_scale=scale) is bank


def test_bank_errors_and_its_cache_is_bounded() -> None:
    options: dict[str, Any] = {"n_freqs": 33, "f_min": 0.0, "f_max": 8000.0, "n_mels": 8, "sample_rate": RATE}
    with pytest.raises(ValueError, match="mel_scale must be 'htk' or 'slaney', got 'bark'"):
        ms.melscale_fbanks(**options, mel_scale="bark")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="norm must be None or 'slaney', got 'area'"):
        ms.melscale_fbanks(**options, norm="area")  # type: ignore[arg-type]
    for f_max in range(4000, 4000 + 2 * mel._BANKS_LIMIT):
        ms.melscale_fbanks(**(options | {"f_max": float(f_max)}))
    assert len(mel._BANKS) <= mel._BANKS_LIMIT


def test_decibels_are_limited_in_each_example() -> None:
    x = torch.tensor([[[1.0, 1e-3], [1e-12, 10.0]], [[1e-2, 1e-3], [1e-4, 1e-9]]])
    got = ms.amplitude_to_db(x, top_db=50.0)
    torch.testing.assert_close(got, torch.tensor([[[0.0, -30.0], [-40.0, 10.0]], [[-20.0, -30.0], [-40.0, -70.0]]]))
    torch.testing.assert_close(ms.amplitude_to_db(x, stype="magnitude", top_db=None, amin=1e-5)[0, 1, 0].item(), -100.0)
    torch.testing.assert_close(ms.amplitude_to_db(x[0, :, 1]), torch.tensor([-30.0, 10.0]))


# --- mel spectrograms -------------------------------------------------------------------------------------------------

SCALES = [("linear", "clamp"), ("log", "clamp"), ("log", "add"), ("log", "log1p"), ("db", "clamp")]


def scaled64(v: torch.Tensor, scale: str, mode: str, amin: float, top_db: float | None, power: float) -> torch.Tensor:
    if scale == "linear":
        return v
    if scale == "log":
        return {"clamp": v.clamp(min=amin).log(), "add": (v + amin).log(), "log1p": (v / amin).log1p()}[mode]
    decibel = (20.0 if power == 1.0 else 10.0) * v.clamp(min=1e-10).log10()
    return decibel if top_db is None else decibel.maximum(decibel.amax((-2, -1), keepdim=True) - top_db)


def assert_features(got: torch.Tensor, want: torch.Tensor, scale: str) -> None:
    assert got.shape == want.shape
    assert got.dtype == torch.float32
    error = (got.double() - want).abs()
    if (
        scale == "linear"
    ):  # the original's limit against torchaudio is 1e-6 for one STFT; here rounding of the bank adds
        assert float(error.max()) <= 1e-5 * float(want.abs().max())
    else:
        # The original's limits against torchaudio.
        assert float(error.max()) <= 5e-4
        assert float(error.mean()) <= 5e-5


@pytest.mark.parametrize(("scale", "mode"), SCALES)
@pytest.mark.parametrize("power", [1.0, 2.0, 1.5])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pad": 30, "normalized": True, "pad_mode": "reflect", "top_db": None},
        {"center": False, "win_length": 200, "norm": "slaney", "mel_scale": "slaney", "top_db": 20.0},
    ],
)
def test_mel_spectrogram(way: str, scale: Any, mode: Any, power: float, options: dict[str, Any]) -> None:
    x = noise(2, 3000)
    got = ms.mel_spectrogram(
        x, sample_rate=RATE, n_fft=N_FFT, hop_length=HOP, n_mels=MELS, power=power, output_scale=scale, log_mode=mode,
        **options,
    )  # fmt: skip
    padded = torch.nn.functional.pad(x, (options.get("pad", 0),) * 2)
    win, center, pad_mode = (
        options.get("win_length", N_FFT),
        options.get("center", True),
        options.get("pad_mode", "constant"),
    )
    values = spectrum64(padded, N_FFT, HOP, win, center, pad_mode).abs() ** power
    if options.get("normalized"):
        values = values / N_FFT ** (power / 2.0)
    named = {name: options[name] for name in ("norm", "mel_scale") if name in options}
    bank = bank64(n_freqs=N_FFT // 2 + 1, f_min=0.0, f_max=RATE / 2, n_mels=MELS, sample_rate=RATE, **named)
    want = scaled64(bank @ values, scale, mode, 1e-5, options.get("top_db", 80.0), power)
    assert_features(got, want, scale)


def test_mel_spectrogram_dtypes_windows_and_fallbacks(way: str) -> None:
    x = noise(2000)
    options: dict[str, Any] = {"sample_rate": RATE, "n_fft": N_FFT, "hop_length": HOP, "n_mels": MELS}
    plain = ms.mel_spectrogram(x, **options)
    assert ms.mel_spectrogram(x.double(), **options).dtype == torch.float64
    assert torch.equal(ms.mel_spectrogram(x.half(), **options), ms.mel_spectrogram(x.half().float(), **options))
    assert torch.equal(ms.mel_spectrogram(x, window=torch.hann_window(N_FFT).double(), **options), plain)
    hamming = ms.mel_spectrogram(x, window_fn=torch.hamming_window, **options)
    assert torch.equal(hamming, ms.mel_spectrogram(x, window=torch.hamming_window(N_FFT), **options))
    silent = ms.mel_spectrogram(0.0 * x, output_scale="log", log_amin=0.0, **options)
    assert torch.isneginf(silent).all()  # ln 0, as the formula says
    flat = ms.mel_spectrogram(x, power=0.0, output_scale="linear", **options)
    bank = bank64(n_freqs=N_FFT // 2 + 1, f_min=0.0, f_max=RATE / 2, n_mels=MELS, sample_rate=RATE)
    torch.testing.assert_close(flat, bank.sum(1)[:, None].expand_as(flat).float(), rtol=1e-5, atol=1e-5)


MEL_ERRORS: dict[str, tuple[type[Exception], str, dict[str, Any]]] = {
    "rank": (ValueError, r"waveform must be \[T\] or \[B, T\], got shape \(1, 1, 900\)", {"x": noise(1, 1, 900)}),
    "integers": (TypeError, "waveform must be floating-point, got torch.int64", {"x": torch.arange(900)}),
    "window": (ValueError, "window must be 1-D, got shape", {"window": torch.ones(2, N_FFT)}),
    "output_scale": (ValueError, "output_scale must be 'linear', 'log' or 'db', got 'ln'", {"output_scale": "ln"}),
    "pad_mode": (ValueError, "pad_mode must be 'constant' or 'reflect', got 'edge'", {"pad_mode": "edge"}),
    "pad": (ValueError, "pad must be non-negative, got -1", {"pad": -1}),
    "log_mode": (
        ValueError,
        "log_mode must be 'clamp', 'add' or 'log1p', got 'x'",
        {"log_mode": "x", "output_scale": "log"},
    ),
    "n_fft": (ValueError, "n_fft must be positive, got 0", {"n_fft": 0}),
}


@pytest.mark.parametrize("name", MEL_ERRORS)
def test_mel_errors(name: str) -> None:
    kind, message, arguments = MEL_ERRORS[name]
    with pytest.raises(kind, match=message):
        ms.mel_spectrogram(**({"x": noise(900), "sample_rate": RATE, "n_fft": N_FFT, "hop_length": HOP} | arguments))


@pytest.mark.parametrize(("keyshift", "speed"), [(0.0, 1.0), (2.0, 1.0), (-3.0, 1.3), (12.0, 0.5)])
@pytest.mark.parametrize(("power", "eps", "normalized"), [(1.0, 0.0, False), (1.0, 1e-3, True), (2.0, 1e-3, True)])
def test_dynamic_spectrograms(
    way: str, keyshift: float, speed: float, power: float, eps: float, normalized: bool
) -> None:
    x = noise(2, 3000)
    factor = 2 ** (keyshift / 12)
    n_fft, win, hop = round(N_FFT * factor), round(200 * factor), round(HOP * speed)
    magnitude = spectrum64(x, n_fft, hop, win, True, "constant").abs()
    values = (magnitude.square() + eps).sqrt() if power == 1.0 else magnitude.square() + eps
    if normalized:
        values = values / n_fft ** (power / 2)
    options: dict[str, Any] = {
        "n_fft": N_FFT, "hop_length": HOP, "win_length": 200, "keyshift": keyshift, "speed": speed, "power": power,
        "magnitude_eps": eps, "normalized": normalized,
    }  # fmt: skip
    assert_features(ms.dynamic_spectrogram(x, **options), values, "linear")
    target = torch.zeros(2, 129, values.shape[-1], dtype=torch.float64)
    rows = min(129, values.shape[-2])
    target[:, :rows] = values[:, :rows] * (200 / win)
    assert_features(ms.dynamic_spectrogram(x, target_n_freqs=129, **options), target, "linear")
    bank = bank64(n_freqs=129, f_min=0.0, f_max=RATE / 2, n_mels=MELS, sample_rate=RATE)
    named = ms.dynamic_mel_spectrogram(x, sample_rate=RATE, n_mels=MELS, **options)
    assert_features(named, bank @ target, "linear")
    given = ms.dynamic_mel_spectrogram(x, sample_rate=RATE, mel_basis=bank, **options)
    torch.testing.assert_close(given, named, rtol=0, atol=1e-5 * float(named.max()))
    decibel = ms.dynamic_mel_spectrogram(x[0], sample_rate=RATE, n_mels=MELS, output_scale="db", **options)
    assert_features(decibel, scaled64((bank @ target)[0], "db", "", 0.0, 80.0, power), "db")


def test_dynamic_errors() -> None:
    options: dict[str, Any] = {"sample_rate": RATE, "n_fft": N_FFT, "hop_length": HOP}
    with pytest.raises(ValueError, match=r"mel_basis must be \[n_mels, n_freqs\], got shape \(129,\)"):
        ms.dynamic_mel_spectrogram(noise(900), mel_basis=torch.ones(129), **options)
    with pytest.raises(ValueError, match="output_scale must be"):
        ms.dynamic_mel_spectrogram(noise(900), output_scale="x", **options)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="floating-point"):
        ms.dynamic_spectrogram(torch.arange(900), n_fft=N_FFT, hop_length=HOP)


# --- modules ----------------------------------------------------------------------------------------------------------


def test_modules_are_the_functions_with_their_defaults() -> None:
    x = noise(2, 3000)
    own: dict[str, Any] = {"sample_rate": RATE, "n_fft": N_FFT, "hop_length": HOP, "n_mels": MELS}
    assert torch.equal(ms.MelSpectrogramTransform(**own)(x), ms.mel_spectrogram(x, **own))
    log = ms.LogMelSpectrogramTransform(**own)
    assert (log.output_scale, log.power, log.top_db) == ("log", 1.0, None)
    assert torch.equal(log(x), ms.mel_spectrogram(x, output_scale="log", power=1.0, **own))
    compat = ms.MelSpectrogramTransform.compat(pad=7, normalized=True)
    assert type(compat) is ms.CompatMelSpectrogramTransform
    assert (compat.sample_rate, compat.n_fft, compat.hop_length, compat.pad_mode) == (16000, 400, 200, "reflect")
    want = ms.mel_spectrogram(
        x,
        sample_rate=16000,
        n_fft=400,
        hop_length=200,
        pad=7,
        normalized=True,
        pad_mode="reflect",
        output_scale="linear",
    )
    assert torch.equal(compat(x), want)
    basis = torch.rand(MELS, 129, generator=torch.Generator().manual_seed(0))
    dynamic = ms.DynamicMelSpectrogramTransform(mel_basis=basis, **own)
    want = ms.dynamic_mel_spectrogram(x, keyshift=1.0, speed=1.1, center=False, mel_basis=basis, **own)
    assert torch.equal(dynamic(x, keyshift=1.0, speed=1.1, center=False), want)
    for module in (log, compat, dynamic):
        assert dict(module.state_dict()) == {}
        assert type(module).__init__.__doc__ is None  # described by the class
    assert ms.MelSpectrogramTransform(sample_rate=RATE, n_fft=N_FFT, hop_length=HOP, f_max=4000).f_max == 4000.0


def test_mel_gradients() -> None:
    x = noise(2, 1000).requires_grad_()
    module = ms.LogMelSpectrogramTransform(sample_rate=RATE, n_fft=N_FFT, hop_length=HOP, n_mels=MELS, power=2.0)
    weight = noise(2, MELS, 16)
    (got,) = torch.autograd.grad((module(x) * weight).sum(), x)
    y = x.detach().double().requires_grad_()
    values = spectrum64(y, N_FFT, HOP, N_FFT, True, "constant").abs().square()
    bank = bank64(n_freqs=129, f_min=0.0, f_max=RATE / 2, n_mels=MELS, sample_rate=RATE)
    (want,) = torch.autograd.grad(((bank @ values).clamp(min=1e-5).log() * weight).sum(), y)
    # Each gradient is a sum over 4 frames of ratios of float32 spectra.
    torch.testing.assert_close(got.double(), want, rtol=0, atol=2e-4 * float(want.abs().max()))


# --- benchmark --------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "SIZES", ((1, 3000, 256), (2, 2000, 512)))
    monkeypatch.setattr(benchmark, "DISPATCH", ((1, 8000),))
    monkeypatch.setattr(benchmark, "QUICK_ROUNDS", 1)


@pytest.mark.usefixtures("small")
def test_the_benchmark_measures_the_same_thing_on_both_sides() -> None:
    before = torch.get_num_threads(), melisma.get_num_threads()
    lines = list(benchmark.run(quick=True))
    assert (torch.get_num_threads(), melisma.get_num_threads()) == before
    assert [line.work for line in lines] == [name for name in benchmark._WORKS for _ in range(2)]
    for line in lines:
        assert line.torch_ms > 0
        assert line.ours_ms > 0
        assert line.speedup == line.torch_ms / line.ours_ms
        assert line.difference < (1e-2 if line.work == "STFT forward + backward" else 1e-4)
    assert len(list(benchmark.run(quick=True, backward=False))) == 4
    stages = list(benchmark.dispatch_profile(n_fft=256, hop_length=64, quick=True))
    assert [stage.work for stage in stages] == ["STFT", "ISTFT"]
    assert all(math.isfinite(stage.call_ms + stage.parts_ms + stage.fft_ms) for stage in stages)


@pytest.mark.usefixtures("small")
def test_the_commands_print_their_tables() -> None:
    runner = pytest.importorskip("typer.testing").CliRunner()
    from melisma.compat.mps_spectro.__main__ import app

    result = runner.invoke(app, ["benchmark", "--quick", "--forward"])
    assert result.exit_code == 0
    assert "ISTFT forward" in result.output
    assert "backward" not in result.output
    assert "B=1 T=3k nfft=256" in result.output
    result = runner.invoke(app, ["dispatch-profile", "--quick", "--dispatch-nfft", "256", "--dispatch-hop", "64"])
    assert result.exit_code == 0
    assert "ISTFT, n_fft 256, hop 64" in result.output


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "melisma.compat.mps_spectro", "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "dispatch-profile" in done.stdout
