"""The modules of real arithmetic are Melisma's operators, in PyTorch and in onnxruntime."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import melisma
import tolerances
from melisma.torch import export, transforms

N_FFT, HOP = 64, 16
MEL: dict[str, Any] = {"sample_rate": 16_000, "n_fft": 256, "hop_length": 100, "n_mels": 20}


def noise(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(11).standard_normal(shape).astype(np.float32))


def dft_bound(spectrum: np.ndarray, n_fft: int) -> np.ndarray:
    """What a DFT by products may be off from the FFT: sums of n products instead of log2 n additions.

    The roundings of n products of a frame of norm 1 with cosines add up to eps / 2 sqrt(n) / sqrt(n) each way and those of the
    partial sums to at most eps sqrt(n) / 2, four times which bounds the largest of many; the FFT's own error is on top.
    """
    fast = tolerances.stft(spectrum, n_fft)
    return fast * (1.0 + np.sqrt(n_fft) / np.sqrt(np.log2(n_fft) + 2.0))


def pairs(x: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(x).contiguous()


# --- in PyTorch -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_fft", [1, 2, 31, 64, 400])
@pytest.mark.parametrize("onesided", [True, False])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("normalized", [True, False])
def test_stft(n_fft: int, onesided: bool, center: bool, normalized: bool) -> None:
    x, hop, win = noise(2, 3, 1000), max(1, n_fft // 3), max(1, n_fft - 5)
    window = torch.hamming_window(win, dtype=torch.float64)
    module = export.STFT(n_fft, hop, win, window, center, "reflect", normalized, onesided)
    got = torch.view_as_complex(module(x).contiguous())
    want = melisma.stft(
        x.double(),
        n_fft,
        hop,
        win,
        window,
        center=center,
        normalized=normalized,
        onesided=onesided,
        return_complex=True,
    )
    tolerances.assert_within(got.numpy(), want.numpy(), dft_bound(want.numpy(), max(2, n_fft)))


@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "replicate", "circular"])
def test_stft_pads_as_melisma(pad_mode: str) -> None:
    x = noise(700)
    want = melisma.stft(x, N_FFT, HOP, pad_mode=pad_mode, return_complex=True)
    got = export.STFT(N_FFT, HOP, pad_mode=pad_mode)(x)
    tolerances.assert_within(
        torch.view_as_complex(got.contiguous()).numpy(), want.numpy(), 2 * dft_bound(want.numpy(), N_FFT)
    )


@pytest.mark.parametrize("length", [None, 0, 300, 500, 900])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(("n_fft", "normalized", "onesided"), [(64, False, True), (64, True, False), (75, True, True)])
def test_istft(length: int | None, center: bool, n_fft: int, normalized: bool, onesided: bool) -> None:
    window = torch.hamming_window(n_fft - 4)
    spectrum = melisma.stft(
        noise(2, 500), n_fft, HOP, n_fft - 4, window, center=center, normalized=normalized, onesided=onesided,
        return_complex=True,
    )  # fmt: skip
    for edge in ("zero", "clamp"):
        module = export.ISTFT(n_fft, HOP, n_fft - 4, window, center, normalized, onesided, length, edge=edge)
        got = module(pairs(spectrum))
        if length == 0:
            assert got.shape == (2, 0)
            continue
        want = melisma.istft(
            spectrum, n_fft, HOP, n_fft - 4, window, center, normalized, onesided, length, edge=edge
        )  # fmt: skip
        assert got.shape == want.shape
        # Samples of order 4, sums of n_fft products, divided by 0.08^2 / 0.08 at the ends where one frame is alone.
        assert float((got - want).abs().max()) <= 4.0 * tolerances.EPS32 * np.sqrt(n_fft) * 4.0 / 0.08


def test_istft_at_tiny_envelopes() -> None:
    spectrum = melisma.stft(noise(500), N_FFT, HOP, window="hann", center=False, return_complex=True)
    for edge in ("zero", "clamp"):
        got = export.ISTFT(N_FFT, HOP, window="hann", center=False, edge=edge)(pairs(spectrum))
        want = melisma.istft(spectrum, N_FFT, HOP, window="hann", center=False, edge=edge)
        assert float(got[0]) == float(want[0]) == 0.0
        assert float((got - want)[8:-8].abs().max()) <= 1e-4  # beyond the window's flanks, where errors are magnified


@pytest.mark.parametrize("power", [1.0, 2.0, 0.7])
@pytest.mark.parametrize("normalized", [False, True, "window", "frame_length"])
@pytest.mark.parametrize("layout", ["frequency_major", "frame_major"])
def test_spectrogram(power: float, normalized: Any, layout: str) -> None:
    x = noise(2, 1000)
    options: dict[str, Any] = {
        "n_fft": 64, "win_length": 50, "power": power, "normalized": normalized, "layout": layout, "pad": 9,
    }  # fmt: skip
    want = melisma.spectrogram(x, **options)
    got = export.Spectrogram(**options)(x)
    assert got.shape == want.shape
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5 * float(want.max()))


LOGS: list[dict[str, Any]] = [
    {"log": "db", "top_db": 30.0},
    {"log": "db", "top_db": 30.0, "top_db_scope": "packed", "power": 1.0, "ref": 2.0},
    {"log": "ln", "amin": 1e-5, "layout": "frame_major"},
    {"log": "log10", "add": 1e-3},
    {"log": "log1p", "power": 1.0, "norm": "slaney", "mel_scale": "slaney"},
]


@pytest.mark.parametrize("options", LOGS)
def test_log_mel(options: dict[str, Any]) -> None:
    x = torch.cat([noise(2, 2, 2000), 1e-3 * noise(1, 2, 2000)])
    want = melisma.log_mel(x, **MEL, **options)
    got = export.log_mel(**MEL, **options)(x)
    assert got.shape == want.shape
    # Bands of a flat spectrum are good to 1e-5 of themselves: 4e-5 dB in decibels.
    assert float((got - want).abs().max()) <= 1e-4


def test_mel_takes_pcm_and_float64() -> None:
    pcm = (noise(1000) * 3000).to(torch.int16)
    module = export.mel_spectrogram(**MEL)
    want = melisma.mel_spectrogram(pcm, **MEL)
    torch.testing.assert_close(module(pcm), want, rtol=0, atol=1e-5 * float(want.max()))
    assert module.double()(noise(1000).double()).dtype == torch.float64
    assert dict(module.state_dict()) == {}  # constants, not weights


def test_filtered_spectrogram_without_nyquist() -> None:
    x, bank = noise(1000), torch.rand(32, 5, generator=torch.Generator().manual_seed(0))
    options: dict[str, Any] = {"n_fft": 64, "output_scale": "log10", "mul": 5.0, "add": 1.0}
    want = melisma.filtered_spectrogram(x, filterbank=bank, **options)
    got = export.FilteredSpectrogram(filterbank=bank, **options)(x)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5)


ERRORS: dict[str, tuple[Any, type[Exception], str]] = {
    "n_fft": (lambda: export.STFT(0), ValueError, "export.STFT: n_fft must be >= 1, got 0"),
    "type": (lambda: export.STFT(64.0), TypeError, "n_fft must be an integer, got 64.0"),
    "hop": (lambda: export.STFT(3), ValueError, "hop_length must be >= 1, got 0"),
    "win_length": (lambda: export.STFT(64, win_length=65), ValueError, "win_length must be <= n_fft = 64, got 65"),
    "window": (lambda: export.STFT(64, window=torch.ones(63)), ValueError, "must have win_length = 64 values, got"),
    "pad_mode": (lambda: export.STFT(64, pad_mode="edge"), ValueError, "pad_mode must be one of .*, got 'edge'"),
    "pad": (lambda: export.STFT(64, pad=-1), ValueError, "pad must be >= 0, got -1"),
    "edge": (lambda: export.ISTFT(64, edge="error"), ValueError, "edge must be one of 'zero', 'clamp', got 'error'"),
    "pairs": (lambda: export.ISTFT(64)(noise(64, 5, 2)), ValueError, r"must be \[..., 33, frames, 2\], got shape"),
    "power": (lambda: export.Spectrogram(power=0.0), ValueError, "power must be > 0, got 0.0"),
    "normalized": (lambda: export.Spectrogram(normalized="x"), ValueError, "normalized must be one of"),
    "layout": (lambda: export.Spectrogram(layout="x"), ValueError, "layout must be one of"),
    "bank": (
        lambda: export.FilteredSpectrogram(filterbank=torch.ones(30, 4), n_fft=64),
        ValueError,
        r"filterbank must be \[33, bands\] \(or 32 rows, without Nyquist\), got shape \(30, 4\)",
    ),
    "log": (lambda: export.log_mel(**MEL, log="linear"), ValueError, "log must be one of"),
    "top_db": (lambda: export.log_mel(**MEL, top_db=-1.0), ValueError, "top_db must be >= 0"),
    "scope": (lambda: export.log_mel(**MEL, top_db_scope="x"), ValueError, "top_db_scope must be one of"),
    "complex": (
        lambda: export.from_transform(_torchaudio_like(power=None)),
        ValueError,
        "must give the magnitude of a one-sided spectrum, got power = None",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    call, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        call()


class _torchaudio_like(torch.nn.Module):
    """A module with torchaudio.transforms.Spectrogram's attributes."""

    def __init__(self, power: float | None = 2.0) -> None:
        super().__init__()
        self.n_fft, self.win_length, self.hop_length, self.pad = 256, 200, 100, 3
        self.power, self.normalized, self.center, self.pad_mode, self.onesided = power, True, True, "reflect", True
        self.register_buffer("window", torch.hann_window(200))


def test_transforms_are_told_by_their_attributes() -> None:
    x = noise(2, 2000)
    spectrogram = _torchaudio_like()
    options: dict[str, Any] = {"n_fft": 256, "win_length": 200, "hop_length": 100, "pad": 3, "normalized": True}
    want = melisma.spectrogram(x, **options)
    torch.testing.assert_close(export.from_transform(spectrogram)(x), want, rtol=0, atol=1e-5 * float(want.max()))
    mel = torch.nn.Module()
    mel.spectrogram = spectrogram
    bank = torch.from_numpy(melisma.melscale_fbanks(129, 0.0, 8000.0, 20, 16000))
    mel.mel_scale = SimpleNamespace(fb=bank)
    chain = export.from_transform(torch.nn.Sequential(mel, torch.nn.ReLU()))
    assert isinstance(chain[1], torch.nn.ReLU)
    want = melisma.mel_spectrogram(x, sample_rate=16000, n_mels=20, **options)
    torch.testing.assert_close(chain(x), want, rtol=0, atol=1e-5 * float(want.max()))


@pytest.mark.parametrize("normalized", [False, True, "frame_length"])
def test_melismas_own_transforms_are_converted(normalized: Any) -> None:
    x = noise(2, 2000)
    options: dict[str, Any] = {"n_fft": 256, "win_length": 200, "pad": 3, "power": 1.0, "normalized": normalized}
    mel = transforms.MelSpectrogram(n_mels=20, mel_scale="slaney", norm="slaney", **options)
    chain = torch.nn.Sequential(mel, transforms.AmplitudeToDB("magnitude", 60.0))
    converted = export.from_transform(chain)
    assert isinstance(converted[0], export.FilteredSpectrogram)
    # 20 log10 of bands good to 1e-5 of themselves.
    assert float((converted(x) - chain(x)).abs().max()) <= 2e-4
    spectrogram = transforms.Spectrogram(**options)
    want = spectrogram(x)
    torch.testing.assert_close(export.from_transform(spectrogram)(x), want, rtol=0, atol=1e-5 * float(want.max()))


# --- in onnxruntime ---------------------------------------------------------------------------------------------------


def session(module: torch.nn.Module, path: Path) -> Any:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    export.export_onnx(module, path)
    return runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


SIGNALS = [(3, 5000), (1, 12_345), (2, 300)]


def run(model: Any, x: torch.Tensor) -> np.ndarray:
    result: np.ndarray = model.run(None, {"x": x.numpy()})[0]
    return result


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", [LOGS[0], LOGS[2]])
def test_onnx_log_mel(options: dict[str, Any], tmp_path: Path) -> None:
    model = session(export.log_mel(**MEL, **options), tmp_path / "m.onnx")
    assert [axis for axis in model.get_inputs()[0].shape if isinstance(axis, int)] == []
    for shape in SIGNALS:
        want = melisma.log_mel(noise(*shape), **MEL, **options).numpy()
        got = run(model, noise(*shape))
        assert got.shape == want.shape
        assert float(np.abs(got - want).max()) <= 1e-4


@pytest.mark.filterwarnings("ignore")
def test_onnx_mel_and_spectrogram(tmp_path: Path) -> None:
    for module, call in (
        (export.mel_spectrogram(**MEL), lambda x: melisma.mel_spectrogram(x, **MEL)),
        (
            export.Spectrogram(power=1.0, pad_mode="constant"),
            lambda x: melisma.spectrogram(x, power=1.0, pad_mode="constant"),
        ),
    ):
        model = session(module, tmp_path / "m.onnx")
        for shape in SIGNALS:
            want = call(noise(*shape)).numpy()
            got = run(model, noise(*shape))
            assert got.shape == want.shape
            assert float(np.abs(got - want).max()) <= 1e-5 * float(want.max())


@pytest.mark.filterwarnings("ignore")
def test_onnx_stft_and_istft_as_pairs(tmp_path: Path) -> None:
    window = torch.hann_window(256)
    forward = session(export.STFT(256, 64, window=window), tmp_path / "stft.onnx")
    for length in (None, 5000):
        inverse = session(export.ISTFT(256, 64, window=window, length=length), tmp_path / "istft.onnx")
        for shape in SIGNALS:
            x = noise(*shape)
            spectrum = run(forward, x)
            want = melisma.stft(x, 256, 64, window=window, return_complex=True).numpy()
            bound = 2 * dft_bound(want, 256)
            tolerances.assert_within(np.ascontiguousarray(spectrum).view(np.complex64)[..., 0], want, bound)
            back = run(inverse, torch.from_numpy(spectrum))
            size = 64 * (shape[1] // 64) if length is None else length
            kept = min(size, 64 * (shape[1] // 64))
            assert back.shape == (shape[0], size)
            # Two sums of 256 products each, of samples up to 4.5, each rounding eps / 2, the largest of many.
            assert float(np.abs(back[:, :kept] - x.numpy()[:, :kept]).max()) <= 4.0 * tolerances.EPS32 * 16.0 * 4.5


@pytest.mark.filterwarnings("ignore")
def test_onnx_takes_converted_transforms(tmp_path: Path) -> None:
    chain = torch.nn.Sequential(transforms.MelSpectrogram(n_fft=256, n_mels=20), transforms.AmplitudeToDB(top_db=None))
    model = session(export.from_transform(chain), tmp_path / "t.onnx")
    for shape in SIGNALS:
        assert float(np.abs(run(model, noise(*shape)) - chain(noise(*shape)).numpy()).max()) <= 1e-4


@pytest.mark.filterwarnings("ignore")
def test_onnx_takes_a_network_behind_a_front_end(tmp_path: Path) -> None:
    network = torch.nn.Sequential(export.log_mel(**MEL), torch.nn.Conv1d(20, 4, 3))
    model = session(network, tmp_path / "n.onnx")
    for shape in SIGNALS:
        with torch.no_grad():
            want = network(noise(*shape)).numpy()
        np.testing.assert_allclose(run(model, noise(*shape)), want, rtol=0, atol=1e-3)
