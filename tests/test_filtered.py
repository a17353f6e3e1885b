"""melisma.filtered_spectrogram with any bank, and madmom's logarithmic filter bank."""

from __future__ import annotations

import numpy as np
import pytest

import melisma
import reference
import tolerances


def power_bounds(x: np.ndarray, n_fft: int, hop: int, power: float, nyquist: bool = True) -> tolerances.Interval:
    window = np.asarray(melisma.get_window("hann", n_fft), np.float64)
    bounds = tolerances.spectrogram(reference.stft(x, n_fft, hop, window), n_fft, power, tolerances.eps_of(x.dtype))
    return bounds if nyquist else tolerances.Interval(bounds.low[..., :-1, :], bounds.high[..., :-1, :])


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("bank_dtype", [np.float32, np.float64])
def test_any_bank(power: float, bank_dtype: type, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 3000)).astype(np.float32)
    for n_fft, bands, nyquist in ((64, 5, True), (400, 33, False), (512, 1, True), (17, 20, True)):
        bins = n_fft // 2 + (1 if nyquist else 0)
        bank = rng.uniform(0.0, 1.0, (bins, bands)).astype(bank_dtype)
        bank[rng.uniform(size=bank.shape) < 0.5] = 0.0
        want = tolerances.filtered(power_bounds(x, n_fft, n_fft // 2, power, nyquist), bank.astype(np.float64))
        for view in (bank, np.asfortranarray(bank), np.repeat(bank, 2, axis=1)[:, ::2]):
            got = melisma.filtered_spectrogram(x, filterbank=view, n_fft=n_fft, hop_length=n_fft // 2, power=power)
            tolerances.assert_inside(got, want, f"n_fft {n_fft} bands {bands}")
        frame_major = melisma.filtered_spectrogram(
            x, filterbank=bank, n_fft=n_fft, hop_length=n_fft // 2, power=power, layout="frame_major"
        )
        assert np.array_equal(np.swapaxes(frame_major, -1, -2), got)


@pytest.mark.parametrize(
    ("output_scale", "factor"), [("log10", 1 / np.log(10.0)), ("ln", 1.0), ("db", 20 / np.log(10.0))]
)
def test_output_scales(output_scale: str, factor: float, rng: np.random.Generator) -> None:
    x = rng.standard_normal(5000).astype(np.float32)
    bank = np.asarray(melisma.log_filterbank(1024, 44100.0))
    linear = tolerances.filtered(power_bounds(x, 2048, 441, 1.0, nyquist=False), bank.astype(np.float64))
    call = {"filterbank": bank, "n_fft": 2048, "hop_length": 441, "output_scale": output_scale}
    plain = tolerances.logarithm(linear, factor, floor=1e-10)
    tolerances.assert_inside(melisma.filtered_spectrogram(x, **call), plain, output_scale)
    limited = tolerances.top(plain, 1.5)
    tolerances.assert_inside(melisma.filtered_spectrogram(x, **call, top_db=1.5), limited, output_scale + " top_db")
    if output_scale != "db":
        shifted = tolerances.logarithm(linear, factor, mul=5.0, add=1.0, floor=1e-10)
        tolerances.assert_inside(
            melisma.filtered_spectrogram(x, **call, mul=5.0, add=1.0), shifted, output_scale + " mul add"
        )


def test_log1p(rng: np.random.Generator) -> None:
    x = rng.standard_normal(5000).astype(np.float32)
    bank = np.asarray(melisma.log_filterbank(1024, 44100.0))
    linear = tolerances.filtered(power_bounds(x, 2048, 441, 1.0, nyquist=False), bank.astype(np.float64))
    got = melisma.filtered_spectrogram(x, filterbank=bank, n_fft=2048, hop_length=441, output_scale="log1p", mul=3.0)
    tolerances.assert_inside(got, tolerances.logarithm(linear, 1.0, mul=3.0, add=1.0), "log1p")


def test_log_filterbank_is_madmoms() -> None:
    bank = np.asarray(melisma.log_filterbank(1024, 44100.0))
    assert bank.shape == (1024, 81)
    assert bank.dtype == np.float32
    assert np.allclose(bank.sum(axis=0), 1.0, atol=1e-6)
    assert (bank >= 0).all()
    peaks = bank.argmax(axis=0)
    assert (np.diff(peaks) > 0).all()
    unnormalised = np.asarray(melisma.log_filterbank(1024, 44100.0, norm_filters=False))
    assert np.allclose(unnormalised.max(axis=0), 1.0)
    more = np.asarray(melisma.log_filterbank(1024, 44100.0, unique_filters=False))
    assert more.shape[1] > 81


def test_mel_is_this_with_the_mel_bank(rng: np.random.Generator) -> None:
    x = rng.standard_normal(16000).astype(np.float32)
    bank = np.asarray(melisma.melscale_fbanks(201, 0.0, 8000.0, 80, 16000))
    got = melisma.filtered_spectrogram(x, filterbank=bank, n_fft=400, hop_length=160, power=2.0)
    want = melisma.mel_spectrogram(x, sample_rate=16000, n_fft=400, hop_length=160, n_mels=80)
    assert np.array_equal(got, want)


@pytest.mark.parametrize("shape", [(199, 4), (202, 4), (400, 4), (0, 4), (201, 0)])
def test_banks_of_the_wrong_size(shape: tuple[int, int]) -> None:
    with pytest.raises(melisma.InvalidArgument, match=r"filterbank|bins"):
        melisma.filtered_spectrogram(np.zeros(3000, np.float32), filterbank=np.ones(shape, np.float32), n_fft=400)


def test_banks_of_the_wrong_kind() -> None:
    x = np.zeros(3000, np.float32)
    with pytest.raises(melisma.InvalidArgument, match="2-D"):
        melisma.filtered_spectrogram(x, filterbank=np.ones(201, np.float32), n_fft=400)
    with pytest.raises(melisma.InvalidArgument, match="nan"):
        melisma.filtered_spectrogram(x, filterbank=np.full((201, 3), np.nan, np.float32), n_fft=400)
    with pytest.raises(melisma.InvalidType, match="float32"):
        melisma.filtered_spectrogram(x, filterbank=np.ones((201, 3), np.int16), n_fft=400)
