"""melisma.mel_spectrogram, log_mel and melscale_fbanks against the definitions, torchaudio's composition and librosa."""

from __future__ import annotations

from typing import Any

import librosa
import numpy as np
import pytest
import torch

import melisma
import reference
import tolerances

MEL = {"sample_rate": 16000, "n_fft": 400, "hop_length": 160, "n_mels": 80}


def bounds_of(x: np.ndarray, power: float = 2.0, **kwargs: Any) -> tolerances.Interval:
    n_fft, hop = kwargs["n_fft"], kwargs["hop_length"]
    window = np.asarray(melisma.get_window("hann", n_fft), np.float64)
    weights = np.asarray(
        melisma.melscale_fbanks(
            n_fft // 2 + 1, kwargs.get("f_min", 0.0), kwargs.get("f_max") or kwargs["sample_rate"] / 2, kwargs["n_mels"],
            kwargs["sample_rate"], kwargs.get("norm"), kwargs.get("mel_scale", "htk"),
        ),
        np.float64,
    )  # fmt: skip
    eps = tolerances.eps_of(x.dtype)
    power_bounds = tolerances.spectrogram(reference.stft(x, n_fft, hop, window), n_fft, power, eps)
    # The published bank is float32; float64 input is computed with weights in float64.
    return tolerances.filtered(power_bounds, weights, tolerances.EPS32)


@pytest.mark.parametrize("mel_scale", ["htk", "slaney"])
@pytest.mark.parametrize("norm", [None, "slaney"])
@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mel(mel_scale: str, norm: str | None, power: float, dtype: type, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 4000)).astype(dtype)
    for n_fft, n_mels in ((400, 80), (512, 40), (2048, 128), (150, 3)):
        kwargs = {
            "sample_rate": 16000,
            "n_fft": n_fft,
            "hop_length": 150,
            "n_mels": n_mels,
            "mel_scale": mel_scale,
            "norm": norm,
        }
        got = melisma.mel_spectrogram(x, power=power, **kwargs)
        assert got.shape == (2, 3, n_mels, 27)
        assert got.dtype == dtype
        tolerances.assert_inside(got, bounds_of(x, power, **kwargs), str(kwargs))
        frame_major = melisma.mel_spectrogram(x, power=power, layout="frame_major", **kwargs)
        assert np.array_equal(np.swapaxes(frame_major, -1, -2), got)


def test_band_limits(rng: np.random.Generator) -> None:
    x = rng.standard_normal(4000).astype(np.float32)
    kwargs = {**MEL, "f_min": 300.0, "f_max": 5000.0}
    tolerances.assert_inside(melisma.mel_spectrogram(x, **kwargs), bounds_of(x, **kwargs))


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("top_db", [None, 0.0, 20.0, 80.0])
def test_db(power: float, top_db: float | None, rng: np.random.Generator) -> None:
    x = (rng.standard_normal((2, 3, 4000)) * np.geomspace(1e-4, 1.0, 6).reshape(2, 3, 1)).astype(np.float32)
    mel = bounds_of(x, power, **MEL)
    scale = (20.0 if power == 1.0 else 10.0) / np.log(10.0)
    decibels = tolerances.logarithm(mel, scale, floor=1e-10)
    for scope, axes in (("item", (-2, -1)), ("packed", (-3, -2, -1))):
        want = decibels if top_db is None else tolerances.top(decibels, top_db, axes)
        got = melisma.log_mel(x, **MEL, power=power, top_db=top_db, top_db_scope=scope)
        tolerances.assert_inside(got, want, f"power {power} top_db {top_db} {scope}")


def test_ref_and_amin(rng: np.random.Generator) -> None:
    x = rng.standard_normal(4000).astype(np.float32)
    mel = bounds_of(x, **MEL)
    for ref in (1.0, 100.0, 1e-12):
        shift = 10 * np.log10(max(1e-6, ref))
        want = tolerances.logarithm(mel, 10 / np.log(10.0), floor=1e-6)
        slack = 4 * tolerances.EPS32 * abs(shift)
        got = melisma.log_mel(x, **MEL, amin=1e-6, ref=ref)
        tolerances.assert_inside(
            got, tolerances.Interval(want.low - shift - slack, want.high - shift + slack), f"ref {ref}"
        )


@pytest.mark.parametrize(("log", "scale"), [("log10", 1 / np.log(10.0)), ("ln", 1.0)])
def test_plain_logarithms(log: str, scale: float, rng: np.random.Generator) -> None:
    x = rng.standard_normal(4000).astype(np.float32)
    mel = bounds_of(x, **MEL)
    for add, amin in ((0.0, 1e-10), (1e-6, 1e-10), (1.0, 0.5)):
        got = melisma.log_mel(x, **MEL, log=log, add=add, amin=amin)
        tolerances.assert_inside(
            got, tolerances.logarithm(mel, scale, add=add, floor=amin), f"{log} add {add} amin {amin}"
        )


def test_log1p(rng: np.random.Generator) -> None:
    x = (rng.standard_normal(4000) * 1e-3).astype(np.float32)
    tolerances.assert_inside(
        melisma.log_mel(x, **MEL, log="log1p"), tolerances.logarithm(bounds_of(x, **MEL), 1.0, add=1.0), "log1p"
    )


def test_silence_is_the_floor() -> None:
    got = melisma.log_mel(np.zeros(4000, np.float32), **MEL, top_db=80.0)
    assert np.allclose(got, -100.0, atol=1e-4)


def torchaudio_fbanks(
    n_freqs: int, f_min: float, f_max: float, n_mels: int, rate: int, norm: str | None
) -> torch.Tensor:
    """torchaudio.functional.melscale_fbanks' formula, HTK scale, in its float32."""
    all_freqs = torch.linspace(0, rate // 2, n_freqs)
    low, high = (2595.0 * np.log10(1.0 + f / 700.0) for f in (f_min, f_max))
    points = 700.0 * (10.0 ** (torch.linspace(low, high, n_mels + 2) / 2595.0) - 1.0)
    difference = points[1:] - points[:-1]
    slopes = points.unsqueeze(0) - all_freqs.unsqueeze(1)
    bank = torch.clamp(torch.min(-slopes[:, :-2] / difference[:-1], slopes[:, 2:] / difference[1:]), min=0.0)
    if norm == "slaney":
        bank = bank * (2.0 / (points[2:] - points[:-2])).unsqueeze(0)
    return bank


@pytest.mark.parametrize("norm", [None, "slaney"])
def test_fbanks_against_torchaudios_formula(norm: str | None) -> None:
    for n_freqs, n_mels, rate in ((201, 80, 16000), (1025, 128, 44100), (513, 40, 22050)):
        want = torchaudio_fbanks(n_freqs, 20.0, rate / 2, n_mels, rate, norm).numpy()
        got = np.asarray(melisma.melscale_fbanks(n_freqs, 20.0, rate / 2, n_mels, rate, norm))
        assert got.shape == want.shape
        assert got.dtype == np.float32
        # Its float32 frequencies are off by f eps / 2; divided by the triangle's width that is the weights' error.
        widths = np.diff(
            700.0
            * (
                10.0
                ** (np.linspace(2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + rate / 1400), n_mels + 2) / 2595)
                - 1
            )
        )
        bound = 40.0 * tolerances.EPS32 * rate / widths.min() * (1.0 if norm is None else 2.0 / widths.min())
        assert np.abs(got - want).max() <= bound


@pytest.mark.parametrize("htk", [True, False])
@pytest.mark.parametrize("norm", [None, "slaney"])
def test_fbanks_against_librosa(htk: bool, norm: str | None) -> None:
    for rate, n_fft, n_mels, f_min in ((22050, 2048, 128, 0.0), (16000, 400, 80, 50.0)):
        want = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels, fmin=f_min, htk=htk, norm=norm).T
        got = np.asarray(
            melisma.melscale_fbanks(n_fft // 2 + 1, f_min, rate / 2, n_mels, rate, norm, "htk" if htk else "slaney")
        )
        assert np.abs(got - want).max() <= tolerances.FILTERBANK_LIBROSA * max(1.0, want.max())


def test_torchaudios_composition() -> None:
    x = torch.randn(2, 16000, generator=torch.Generator().manual_seed(6))
    spec = torch.stft(x, 400, 160, 400, torch.hann_window(400), return_complex=True).abs() ** 2
    bank = torchaudio_fbanks(201, 0.0, 8000.0, 80, 16000, None)
    want = torch.matmul(spec.transpose(-1, -2), bank).transpose(-1, -2)
    got = melisma.mel_spectrogram(x, **MEL)
    assert isinstance(got, torch.Tensor)
    assert torch.allclose(got, want, rtol=2e-3, atol=2e-5 * float(want.max()))
    db = torch.from_numpy(reference.amplitude_to_db(want.numpy(), 2.0, 1e-10, 1.0, 80.0).astype(np.float32))
    assert torch.allclose(melisma.log_mel(x, **MEL, top_db=80.0), db, rtol=0, atol=1e-2)


def test_librosas_melspectrogram(rng: np.random.Generator) -> None:
    x = rng.standard_normal(22050).astype(np.float32)
    want = librosa.feature.melspectrogram(y=x, sr=22050, n_fft=2048, hop_length=512, n_mels=128, pad_mode="constant")
    got = melisma.mel_spectrogram(
        x,
        sample_rate=22050,
        n_fft=2048,
        hop_length=512,
        n_mels=128,
        mel_scale="slaney",
        norm="slaney",
        pad_mode="constant",
    )
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= tolerances.LIBROSA_RELATIVE * want.max()
    theirs = librosa.power_to_db(want, top_db=80.0)
    ours = melisma.log_mel(
        x, sample_rate=22050, n_fft=2048, hop_length=512, n_mels=128, mel_scale="slaney", norm="slaney", pad_mode="constant",
        top_db=80.0,
    )  # fmt: skip
    assert np.abs(ours - theirs).max() <= 1e-3


def test_pcm(rng: np.random.Generator) -> None:
    x = rng.integers(-32768, 32768, 4000).astype(np.int16)
    want = bounds_of(x.astype(np.float64) / 32768, **MEL)
    spread = 50 * tolerances.EPS32 * want.high.max()  # computed in float32, unlike the bounds
    got = melisma.mel_spectrogram(x, **MEL)
    assert got.dtype == np.float32
    tolerances.assert_inside(got, tolerances.Interval(want.low - spread, want.high + spread))
