"""Every preset against its project's formula, written out here in plain NumPy and float64 (or the project itself).

The allowed difference of each preset is the one that docs/presets.md publishes; these tests read it from there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import melisma
from melisma.presets import PRESETS, Preset, features, frame_count

Array = np.ndarray[Any, np.dtype[Any]]
ROOT = Path(__file__).resolve().parents[1]


def published_tolerances() -> dict[str, float]:
    text = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \|.*\| ([0-9.e+-]+) \|$", text, re.MULTILINE)
    return {name: float(value) for name, value in rows}


TOLERANCE = published_tolerances()


def signal(rate: int, seconds: float = 6.0) -> Array:
    """A chirp through the whole band, a soft hiss, a click, and silence at the end."""
    n = int(rate * seconds)
    t = np.arange(n) / rate
    sweep = np.sin(2 * np.pi * (50 * t + (0.45 * rate - 50) * t * t / (2 * seconds)))
    x = 0.5 * sweep + 0.01 * np.random.default_rng(7).standard_normal(n)
    x[n // 3] = 0.9
    x[int(0.9 * n) :] = 0.0
    return x.astype(np.float32)


# --- the formulas -----------------------------------------------------------------------------------------------------


def slaney_mel(hz: Array) -> Array:
    log_part = 15.0 + 27.0 * np.log(np.maximum(hz, 1000.0) / 1000.0) / np.log(6.4)
    return np.where(hz < 1000.0, hz * 3.0 / 200.0, log_part)


def slaney_hz(mel: Array) -> Array:
    return np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * np.exp(np.log(6.4) / 27.0 * (mel - 15.0)))


def htk_mel(hz: Array) -> Array:
    return 2595.0 * np.log10(1.0 + hz / 700.0)


def htk_hz(mel: Array) -> Array:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


def mel_bank(rate: int, n_fft: int, n_mels: int, f_max: float, *, slaney: bool) -> Array:
    to_mel, to_hz = (slaney_mel, slaney_hz) if slaney else (htk_mel, htk_hz)
    edges = to_hz(np.linspace(to_mel(np.array(0.0)), to_mel(np.array(f_max)), n_mels + 2))
    bins = np.linspace(0.0, rate / 2, n_fft // 2 + 1)
    rising = (bins[:, None] - edges[None, :-2]) / np.diff(edges)[None, :-1]
    falling = (edges[None, 2:] - bins[:, None]) / np.diff(edges)[None, 1:]
    bank = np.maximum(0.0, np.minimum(rising, falling))
    return bank * (2.0 / (edges[2:] - edges[:-2])) if slaney else bank


def magnitudes(padded: Array, window: Array, hop: int) -> Array:
    frames = np.lib.stride_tricks.sliding_window_view(padded, len(window))[::hop]
    return np.abs(np.fft.rfft(frames * window)).T


def hann(n: int) -> Array:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)


def whisper_formula(x: Array, n_mels: int = 80) -> Array:
    power = magnitudes(np.pad(x.astype(np.float64), 200, mode="reflect"), hann(400), 160)[:, :-1] ** 2
    mel = mel_bank(16000, 400, n_mels, 8000.0, slaney=True).T @ power
    log = np.log10(np.maximum(mel, 1e-10))
    return (np.maximum(log, log.max() - 8.0) + 4.0) / 4.0


def librosa_itself(x: Array) -> Array:
    librosa = pytest.importorskip("librosa")
    return librosa.power_to_db(librosa.feature.melspectrogram(y=x.astype(np.float64), sr=22050))


def torchaudio_formula(x: Array) -> Array:
    power = magnitudes(np.pad(x.astype(np.float64), 200, mode="reflect"), hann(400), 200) ** 2
    return mel_bank(16000, 400, 128, 8000.0, slaney=False).T @ power


def madmom_bank() -> Array:
    k = np.arange(np.floor(12 * np.log2(30.0 / 440.0)), np.ceil(12 * np.log2(17000.0 / 440.0)))
    centers = 440.0 * 2.0 ** (k / 12)
    centers = centers[(centers >= 30.0) & (centers <= 17000.0)]
    bins = np.arange(1024) * 44100 / 2048
    nearest = np.unique(np.abs(centers[:, None] - bins[None, :]).argmin(axis=1))
    bank = []
    for left, centre, right in zip(nearest, nearest[1:], nearest[2:], strict=False):
        band = np.zeros(1024)
        if right - left < 2:
            centre, right = left, left + 1
        band[left:centre] = np.linspace(0.0, 1.0, centre - left, endpoint=False)
        band[centre:right] = np.linspace(1.0, 0.0, right - centre, endpoint=False)
        bank.append(band / band.sum())
    return np.array(bank)


def madmom_formula(x: Array) -> Array:
    frames = -(-len(x) // 441)
    padded = np.pad(x.astype(np.float64), (1024, frames * 441 + 2048 - len(x)))
    magnitude = magnitudes(padded, np.hanning(2048), 441)[:1024, :frames]
    return np.log10(1.0 + madmom_bank() @ magnitude)


def hifigan_formula(x: Array) -> Array:
    magnitude = magnitudes(np.pad(x.astype(np.float64), 384, mode="reflect"), hann(1024), 256)
    mel = mel_bank(22050, 1024, 80, 8000.0, slaney=True).T @ np.sqrt(magnitude**2 + 1e-9)
    return np.log(np.maximum(mel, 1e-5))


def nemo_formula(x: Array) -> Array:
    x = x.astype(np.float64)
    emphasised = np.concatenate((x[:1], x[1:] - 0.97 * x[:-1]))
    window = np.pad(np.hanning(400), 56)
    power = magnitudes(np.pad(emphasised, 256), window, 160) ** 2
    return np.log(mel_bank(16000, 512, 80, 8000.0, slaney=True).T @ power + 2.0**-24)


FORMULAS: dict[str, Callable[[Array], Array]] = {
    "whisper": whisper_formula,
    "whisper-large-v3": lambda x: whisper_formula(x, 128),
    "librosa": librosa_itself,
    "torchaudio": torchaudio_formula,
    "madmom": madmom_formula,
    "hifigan": hifigan_formula,
    "nemo": nemo_formula,
}


# --- tests ------------------------------------------------------------------------------------------------------------


def test_every_preset_has_a_formula_and_a_published_tolerance() -> None:
    assert set(FORMULAS) == set(PRESETS) == set(TOLERANCE)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("loudness", [1.0, 1e-3])
def test_is_the_projects_formula(name: str, loudness: float) -> None:
    rate = PRESETS[name].sample_rate
    x = signal(rate) * np.float32(loudness)
    expected = FORMULAS[name](x)
    got = features(x, rate, name)
    assert got.dtype == np.float32
    assert got.shape == expected.shape == (expected.shape[0], frame_count(len(x), PRESETS[name]))
    assert np.abs(got - expected).max() <= TOLERANCE[name] * max(1.0, float(np.abs(expected).max()))


@pytest.mark.parametrize("name", PRESETS)
def test_int16_is_the_float_signal_at_the_presets_scale(name: str) -> None:
    preset = PRESETS[name]
    pcm = (signal(preset.sample_rate, 1.0) * 32000).astype(np.int16)
    scaled = (pcm.astype(np.float64) * preset.pcm_scale).astype(np.float32)
    expected = features(scaled, preset.sample_rate, name)
    got = features(pcm, preset.sample_rate, name)
    assert np.abs(got - expected).max() <= TOLERANCE[name] * max(1.0, float(np.abs(expected).max()))


@pytest.mark.parametrize("name", PRESETS)
def test_an_item_of_a_batch_is_the_item_alone(name: str) -> None:
    preset = PRESETS[name]
    x = np.stack([signal(preset.sample_rate, 1.0) * np.float32(g) for g in (1.0, 0.0, 1e-4, 0.3)]).reshape(2, 2, -1)
    batch = features(x, preset.sample_rate, name)
    for i in range(2):
        for j in range(2):
            np.testing.assert_array_equal(batch[i, j], features(x[i, j], preset.sample_rate, name))


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_a_torch_tensor_gives_the_same_bits_as_a_tensor(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    preset = PRESETS[name]
    x = (signal(preset.sample_rate, 1.0) * (30000 if dtype == "int16" else 1)).astype(dtype)
    got = features(torch.from_numpy(np.stack([x, x])), preset.sample_rate, name)
    assert isinstance(got, torch.Tensor)
    assert got.dtype == torch.float32
    np.testing.assert_array_equal(got.numpy()[1], features(x, preset.sample_rate, name))


def test_the_limit_in_decibels_is_the_operators_own() -> None:
    """The command line takes the maximum over a file in a second pass; the operator has it fused."""
    from melisma.presets import finished, operate

    preset = PRESETS["librosa"]
    x = signal(22050)
    fused = operate(x, preset, center=True, hop_length=512, fused_top=True)
    raw = operate(x, preset, center=True, hop_length=512)
    np.testing.assert_array_equal(fused, finished(raw, preset, raw.max()))
    assert (fused == fused.min()).sum() > 100


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("length", [0, 1, 200, 201, 384, 385, 1023, 1024, 1025, 4096])
def test_short_signals_give_their_frames_or_one_clear_error(name: str, length: int) -> None:
    preset = PRESETS[name]
    x = np.full(length, 0.25, np.float32)
    if length == 0 or (preset.pad_mode == "reflect" and length <= preset.edge):
        with pytest.raises(melisma.InvalidArgument, match=rf"(reflect padding|must).*\b{length}\b"):
            features(x, preset.sample_rate, name)
        return
    got = features(x, preset.sample_rate, name)
    assert got.shape[-1] == frame_count(length, preset)
    assert np.isfinite(got).all()


def test_the_sample_rate_must_be_the_presets() -> None:
    x = signal(44100, 0.2)
    with pytest.raises(melisma.InvalidArgument, match="sample_rate must be 16000 for preset 'whisper', got 44100"):
        features(x, 44100, "whisper")
    assert features(x, 44100, PRESETS["whisper"].at(44100)).shape == (80, 55)


def test_an_unknown_preset_is_named_with_the_known_ones() -> None:
    with pytest.raises(melisma.InvalidArgument, match=r"preset must be one of whisper, .*, got 'wisper'"):
        features(np.zeros(1000, np.float32), 16000, "wisper")


def test_a_definition_of_ones_own() -> None:
    own = Preset("own", "here", sample_rate=8000, n_fft=256, hop_length=64, n_bands=20, log="ln", offset=1.0, scale=2.0)
    x = signal(8000, 1.0)
    plain = features(x, 8000, replace(own, offset=0.0, scale=1.0))
    np.testing.assert_array_equal(features(x, 8000, own), (plain + np.float32(1)) * np.float32(2))


def test_a_logarithm_without_a_bank_is_refused() -> None:
    own = Preset("own", "here", sample_rate=8000, n_fft=256, bank="none", log="ln")
    with pytest.raises(melisma.InvalidArgument, match="log must be 'linear' without a filter bank"):
        features(np.zeros(1000, np.float32), 8000, own)


def test_madmoms_framing_comes_with_the_rest_of_madmom() -> None:
    with pytest.raises(melisma.InvalidArgument, match=r"power must be 1.0 where covers is set"):
        replace(PRESETS["madmom"], power=2.0)
    with pytest.raises(melisma.InvalidArgument, match=r"fps must be > 0"):
        replace(PRESETS["madmom"], fps=None)
    faster = replace(PRESETS["madmom"], fps=200.0)
    assert features(np.zeros(44100, np.float32), 44100, faster).shape == (81, 200)


def test_a_fractional_hop_is_madmoms() -> None:
    preset = PRESETS["madmom"].at(11025)  # 110.25 samples between frames
    x = signal(11025, 2.0)
    got = features(x, 11025, preset)
    starts = np.floor(np.arange(int(np.ceil(len(x) / 110.25))) * 110.25).astype(int)
    padded = np.pad(x.astype(np.float64), (1024, 2048))
    frames = np.stack([padded[s : s + 2048] for s in starts]) * np.hanning(2048)
    magnitude = np.abs(np.fft.rfft(frames)).T[:1024]
    bank = np.asarray(melisma.log_filterbank(1024, 11025, num_bands=12, f_min=30, f_max=17000), np.float64)
    np.testing.assert_allclose(got, np.log10(1 + bank.T @ magnitude), atol=TOLERANCE["madmom"])
