"""Hypothesis at the audio path: whatever bytes lie in a file, there is a result or one clear line, and nothing half."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from melisma.cli.errors import DiskFull, FileProblem
from melisma.cli.inputs import Job
from melisma.cli.run import Options, extract
from melisma.presets import PRESETS, features

from .conftest import leftovers, tone

FORMATS = ("WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "W64")


def through(data: bytes, ending: str, options: Options) -> np.ndarray | str:
    """The features of a file of these bytes, or the line that says why there are none."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, f"x.{ending}"), Path(folder, "out", "x.npy")
        source.write_bytes(data)
        try:
            outcome = extract(Job(source, Path("x")), target, options, lambda _: None)
        except (FileProblem, DiskFull) as problem:
            assert not list(target.parent.glob("*")), "something was left"
            message = str(problem)
            assert message
            assert "\n" not in message
            return message
        assert not leftovers(target.parent)
        result = np.load(target)
        assert result.shape == outcome.shape
        assert result.dtype == np.float32
        assert np.isfinite(result).all()
        return result


def encoded(form: str, samples: int, rate: int, channels: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(samples, rate, channels), rate, format=form)
    return file.getvalue()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.binary(max_size=2000), magic=st.sampled_from([b"", b"RIFF\0\1\0\0WAVEfmt ", b"fLaC\0\0\0\x22", b"OggS\0", b"ID3\4", b"FORM", b"\xff\xfb\x90"]))  # fmt: skip
def test_random_bytes(data: bytes, magic: bytes) -> None:
    through(magic + data, "wav", Options(PRESETS["whisper"]))


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_damaged_files(form: str, data: st.DataObject) -> None:
    made = bytearray(encoded(form, 6000, 16000, 2))
    for _ in range(data.draw(st.integers(0, 6), "bytes changed")):
        # Half of them in the header, where they matter most.
        limit = data.draw(st.sampled_from([63, len(made) - 1]))
        made[data.draw(st.integers(0, min(limit, len(made) - 1)))] = data.draw(st.integers(0, 255))
    end = data.draw(st.one_of(st.just(len(made)), st.integers(0, len(made))), "length")
    through(bytes(made[:end]), form.lower(), Options(PRESETS["whisper"], channels="keep"))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    samples=st.one_of(st.integers(0, 3), st.integers(0, 5000)),
    rate=st.one_of(st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000, 96000]), st.integers(1, 200000)),
    channels=st.integers(1, 9),
    preset=st.sampled_from(sorted(PRESETS)),
    keep=st.booleans(),
    block=st.sampled_from([1e-6, 0.001, 0.05, 60.0]),
)
def test_any_rate_length_and_channels(
    samples: int, rate: int, channels: int, preset: str, keep: bool, block: float
) -> None:
    options = Options(PRESETS[preset], channels="keep" if keep else "mono", block_seconds=max(block, 20 / rate))
    got = through(encoded("WAV", samples, rate, channels), "wav", options)
    if isinstance(got, str):
        expected = ("no samples", "too short", "sample rate must be within")
        assert any(text in got for text in expected), got
        return
    assert got.shape[:-2] == ((channels,) if keep else ())
    assert got.shape[-1] > 0


@settings(max_examples=40, deadline=None, derandomize=True)
@given(samples=st.integers(1, 30000), block=st.integers(1, 40000), preset=st.sampled_from(sorted(PRESETS)))
def test_blocks_do_not_show(samples: int, block: int, preset: str) -> None:
    rate = PRESETS[preset].sample_rate
    data = encoded("FLAC", samples, rate, 1)
    got = through(data, "flac", Options(PRESETS[preset], block_seconds=block / rate))
    dtype = "int16" if preset == "madmom" else "float32"
    x = soundfile.read(io.BytesIO(data), dtype=dtype)[0]
    if isinstance(got, str):
        assert samples <= PRESETS[preset].edge or "gives no frame" in got
    else:
        np.testing.assert_array_equal(got, features(x, rate, preset))
