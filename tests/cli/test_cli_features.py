"""``melisma features`` on files: what it writes, where, and that it is the library's result bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from melisma.presets import PRESETS, features

from .conftest import Run, leftovers, tone

Cli = Callable[..., Run]
Make = Callable[..., Path]
SAMPLES = Path("/usr/share/sonic-pi/samples")


def read(path: Path, *, mono: bool = True) -> np.ndarray:
    x = soundfile.read(path, dtype="float32", always_2d=True)[0].T
    if not mono:
        return x
    total = x[0].copy()
    for channel in x[1:]:
        total += channel
    return total / np.float32(len(x))


@pytest.mark.parametrize("name", PRESETS)
def test_a_file_is_the_preset_bit_for_bit(name: str, make_audio: Make, melisma_cli: Cli, tmp_path: Path) -> None:
    rate = PRESETS[name].sample_rate
    subtype = "FLOAT"  # madmom scales 16-bit files in its own way, below
    path = make_audio("in/a.wav", 2.0, rate, 2, subtype)
    for number, block in enumerate(("60", "0.35", "0.011")):
        out = tmp_path / f"out{number}"
        run = melisma_cli("features", path, "-o", out, "--preset", name, "--block-seconds", block)
        assert run.code == 0, run.err
        got = np.load(out / "a.wav.npy")
        assert got.dtype == np.float32
        assert got.flags.c_contiguous
        np.testing.assert_array_equal(got, features(read(path), rate, name))
        assert not leftovers(out)


def test_channels_are_kept_on_request(make_audio: Make, melisma_cli: Cli, tmp_path: Path) -> None:
    path = make_audio("a.flac", 1.0, 16000, 3)
    assert melisma_cli("features", path, "-o", tmp_path / "o", "--channels", "keep", "--block-seconds", "0.3").code == 0
    got = np.load(tmp_path / "o" / "a.flac.npy")
    assert got.shape == (3, 80, 100)
    np.testing.assert_array_equal(got, features(read(path, mono=False), 16000))


def test_a_16_bit_file_has_madmoms_scaling(make_audio: Make, melisma_cli: Cli, tmp_path: Path) -> None:
    path = make_audio("a.wav", 1.0, 44100, 1, "PCM_16")
    assert melisma_cli("features", path, "-o", tmp_path / "o", "--preset", "madmom", "--block-seconds", "0.2").code == 0
    pcm = soundfile.read(path, dtype="int16")[0]
    np.testing.assert_array_equal(np.load(tmp_path / "o" / "a.wav.npy"), features(pcm, 44100, "madmom"))


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "aiff", "au", "caf", "w64"])
def test_formats(ending: str, make_audio: Make, melisma_cli: Cli, tmp_path: Path) -> None:
    path = make_audio(f"a.{ending}", 1.5, 44100, 2)
    assert (
        melisma_cli("features", path, "-o", tmp_path / "o", "--preset", "librosa", "--sample-rate", "44100").code == 0
    )
    got = np.load(tmp_path / "o" / f"a.{ending}.npy")
    np.testing.assert_array_equal(got, features(read(path), 44100, PRESETS["librosa"].at(44100)))


def test_another_rate_is_resampled_the_same_in_any_blocks(make_audio: Make, melisma_cli: Cli, tmp_path: Path) -> None:
    import soxr

    path = make_audio("a.wav", 4.0, 44100, 2, "FLOAT")
    results = []
    for block in ("60", "0.1"):
        out = tmp_path / block
        assert melisma_cli("features", path, "-o", out, "--block-seconds", block).code == 0
        results.append(np.load(out / "a.wav.npy"))
    np.testing.assert_array_equal(*results)
    expected = features(soxr.resample(read(path), 44100, 16000, quality="HQ"), 16000)
    np.testing.assert_allclose(results[0], expected, atol=1e-5)


def test_explicit_parameters_keep_the_files_rate(make_audio: Make, melisma_cli: Cli, tmp_path: Path) -> None:
    from melisma import mel_spectrogram, spectrogram

    path = make_audio("a.wav", 1.0, 48000, 1, "FLOAT")
    own = ["--n-fft", "1024", "--hop-length", "300", "--power", "1"]
    assert melisma_cli("features", path, "-o", tmp_path / "mel", *own, "--n-mels", "40", "--f-max", "12000").code == 0
    expected = mel_spectrogram(
        read(path), sample_rate=48000, n_fft=1024, hop_length=300, power=1.0, n_mels=40, f_max=12000.0
    )
    np.testing.assert_array_equal(np.load(tmp_path / "mel" / "a.wav.npy"), expected)
    assert melisma_cli("features", path, "-o", tmp_path / "spec", *own, "--n-mels", "0", "--no-center").code == 0
    expected = spectrogram(read(path), n_fft=1024, hop_length=300, power=1.0, center=False)
    np.testing.assert_array_equal(np.load(tmp_path / "spec" / "a.wav.npy"), expected)


def test_another_logarithm_drops_the_presets_limit(make_audio: Make, melisma_cli: Cli, tmp_path: Path) -> None:
    from melisma import log_mel

    path = make_audio("a.wav", 1.0, 22050, 1, "FLOAT")
    assert melisma_cli("features", path, "-o", tmp_path / "o", "--preset", "librosa", "--log", "ln").code == 0
    expected = log_mel(
        read(path), sample_rate=22050, n_fft=2048, hop_length=512, n_mels=128, mel_scale="slaney", norm="slaney",
        pad_mode="constant", log="ln",
    )  # fmt: skip
    np.testing.assert_array_equal(np.load(tmp_path / "o" / "a.wav.npy"), expected)


def test_folders_keep_their_paths_and_names_never_meet(make_audio: Make, melisma_cli: Cli, tmp_path: Path) -> None:
    for name in ("in/a.wav", "in/a.flac", "in/deep/er/a.wav", "in/UPPER.WAV", "in/.hidden.wav"):
        make_audio(name, 0.3)
    (tmp_path / "in" / "notes.txt").write_text("not audio")
    run = melisma_cli("features", tmp_path / "in", "-o", tmp_path / "out")
    assert run.code == 0, run.err
    names = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.npy"))
    assert names == ["UPPER.WAV.npy", "a.flac.npy", "a.wav.npy", "deep/er/a.wav.npy"]
    run = melisma_cli("features", tmp_path / "in", tmp_path / "in" / "deep", "-o", tmp_path / "two")
    assert run.code == 0
    assert (tmp_path / "two" / "in" / "deep" / "er" / "a.wav.npy").exists(), "each file once, below its folder's name"


def test_two_files_of_one_name_are_refused_before_anything_is_written(
    make_audio: Make, melisma_cli: Cli, tmp_path: Path
) -> None:
    run = melisma_cli("features", make_audio("x/a.wav"), make_audio("y/a.wav"), "-o", tmp_path / "out")
    assert run.code == 2
    assert "would both be written to a.wav.npy" in run.err
    assert not (tmp_path / "out").exists()


def test_odd_file_names(make_audio: Make, melisma_cli: Cli, tmp_path: Path) -> None:
    made = make_audio("in/plain.wav", 0.3)
    names = ["[bold]x[red].wav", "$a_b$.wav", "blank and\nline.wav", "ünï 音.wav", "100%.wav", "-o.wav"]
    for name in names:
        shutil.copy(made, made.parent / name)
    if sys.platform == "linux":
        shutil.copy(made, os.fsencode(made.parent) + b"/bytes\xff.wav")
    run = melisma_cli("features", made.parent, "-o", tmp_path / "out", "--plot")
    assert run.code == 0, run.err
    assert len(list((tmp_path / "out").glob("*.npy"))) == len(list(made.parent.iterdir()))
    assert len(list((tmp_path / "out").glob("*.png"))) == len(list(made.parent.iterdir()))


def test_pictures(make_audio: Make, melisma_cli: Cli, tmp_path: Path) -> None:
    import matplotlib.image

    make_audio("in/a.wav", 1.0, 16000, 2)
    soundfile.write(tmp_path / "in" / "silence.wav", np.zeros(16000, np.float32), 16000)
    for number, options in enumerate(
        (["--preset", "madmom"], ["--preset", "nemo", "--channels", "keep"], ["--n-mels", "0"])
    ):
        out = tmp_path / f"out{number}"
        assert melisma_cli("features", tmp_path / "in", "-o", out, "--plot", *options).code == 0
        for name in ("a.wav.png", "silence.wav.png"):
            picture = matplotlib.image.imread(out / name)
            assert picture.shape[0] > 300
            assert picture.shape[1] > 1000
        assert not leftovers(out)


def test_resume_does_what_is_missing_and_nothing_else(make_audio: Make, melisma_cli: Cli, tmp_path: Path) -> None:
    for name in ("in/a.wav", "in/b.wav", "in/c.wav"):
        make_audio(name, 0.5)
    out = tmp_path / "out"
    assert melisma_cli("features", tmp_path / "in", "-o", out).code == 0
    (out / "b.wav.npy").unlink()
    (out / "c.wav.npy").write_bytes((out / "c.wav.npy").read_bytes()[:-4])  # as after a power cut
    before = (out / "a.wav.npy").stat().st_mtime_ns
    run = melisma_cli("features", tmp_path / "in", "-o", out, "--resume")
    assert run.code == 0
    assert "2 done, 1 skipped" in run.out
    assert (out / "a.wav.npy").stat().st_mtime_ns == before
    later = before + 10**10
    os.utime(tmp_path / "in" / "a.wav", ns=(later, later))
    assert "1 done, 2 skipped" in melisma_cli("features", tmp_path / "in", "-o", out, "--resume").out, "a newer source"


def test_resume_with_pictures_draws_the_missing_ones(make_audio: Make, melisma_cli: Cli, tmp_path: Path) -> None:
    path = make_audio("a.wav", 0.5)
    assert melisma_cli("features", path, "-o", tmp_path / "out").code == 0
    run = melisma_cli("features", path, "-o", tmp_path / "out", "--resume", "--plot")
    assert run.code == 0
    assert "picture only" in run.out
    assert (tmp_path / "out" / "a.wav.png").exists()


@pytest.mark.parametrize("resume", [True, False])
def test_other_parameters_for_the_same_folder_are_an_error_that_names_them(
    resume: bool, make_audio: Make, melisma_cli: Cli, tmp_path: Path
) -> None:
    path, out = make_audio("a.wav", 0.5), tmp_path / "out"
    assert melisma_cli("features", path, "-o", out, "--preset", "whisper").code == 0
    before = (out / "a.wav.npy").read_bytes()
    run = melisma_cli(
        "features", path, "-o", out, "--preset", "whisper", "--n-mels", "64", *(["--resume"] if resume else [])
    )
    assert run.code == 2
    assert "n_bands 80 there, 64 now" in run.err
    assert (out / "a.wav.npy").read_bytes() == before
    assert json.loads((out / "manifest.json").read_text())["parameters"]["n_bands"] == 80


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--preset", "wisper"], "--preset must be one of whisper"),
        (["--sample-rate", "fast"], "--sample-rate must be a whole number of Hz"),
        (["--sample-rate", "0"], "--sample-rate must be"),
        (["--n-fft", "400", "--win-length", "401"], "--win-length must be <= --n-fft 400, got 401"),
        (["--n-mels", "0", "--log", "db"], "--log must be linear"),
        (["--preset", "whisper", "--top-db", "80"], "--top-db needs --log db"),
        (["--power", "nan"], "--power must be a finite number"),
        (["--f-min", "5000", "--f-max", "100"], "--f-max must be above --f-min"),
        (["--window", "hanning?"], "window"),
        (["--preset", "madmom", "--n-mels", "3"], "not mel"),
        (["--preset", "madmom", "--log", "db"], "log must be 'log10'"),
        (["--preset", "madmom", "--hop-length", "512"], "hop_length must be None"),
        (["--hop-length", "0"], "hop-length"),
        (["--channels", "both"], "channels"),
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(
    options: list[str], text: str, make_audio: Make, melisma_cli: Cli, tmp_path: Path
) -> None:
    run = melisma_cli("features", make_audio("a.wav"), "-o", tmp_path / "out", *options)
    assert run.code == 2
    assert text in run.err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_audio_is_wrong_usage(melisma_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    run = melisma_cli("features", tmp_path / "in", "-o", tmp_path / "out")
    assert run.code == 2
    assert "no audio files in" in run.err


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_long_file_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    """Peak resident memory of a fresh process each; 10 and 80 minutes of audio, 4 and 31 MB of features."""
    peaks = []
    for minutes in (10, 80):
        path = tmp_path / f"{minutes}.wav"
        block = (tone(16000 * 60, 16000)[:, 0] * 32767).astype(np.int16)
        with soundfile.SoundFile(path, "w", 16000, 1, "PCM_16") as file:
            for _ in range(minutes):
                file.write(block)
        code = (
            "import sys, resource; from melisma.cli.app import app\n"
            "try: app(sys.argv[1:])\n"
            "except SystemExit as e: assert not e.code\n"
            "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        told = subprocess.run(
            [sys.executable, "-c", code, "features", path, "-o", tmp_path / "out"],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(told.stdout.split("peak")[1]) / 1024)
    # The spool keeps at most 32 MB of features in memory, twice while it is turned.
    assert peaks[1] - peaks[0] < 80, peaks


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="sonic-pi-samples is not installed")
def test_real_recordings(melisma_cli: Cli, tmp_path: Path) -> None:
    paths = sorted(SAMPLES.glob("loop_*.flac"))[:6] + sorted(SAMPLES.glob("ambi_*.flac"))[:2]
    out = tmp_path / "out"
    assert melisma_cli("features", *paths, "-o", out, "--preset", "madmom", "--block-seconds", "0.7").code == 0
    for path in paths:
        x, rate = soundfile.read(path, dtype="int16", always_2d=True)
        assert rate == 44100
        subtype = soundfile.info(path).subtype
        mono = x.mean(axis=1).astype(np.int16) if subtype == "PCM_16" else read(path)
        np.testing.assert_array_equal(np.load(out / f"{path.name}.npy"), features(mono, rate, "madmom"))
