"""The separator benchmark: parity figures that mean something, audio from anywhere, and the command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import melisma
from melisma import benchmark
from melisma._bench import rivals, separator, timing
from melisma._bench.rows import FAILED, MISSING, PASS, SHORT, WRONG


@pytest.fixture(autouse=True)
def _short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("melisma._bench.rows.QUICK", timing.Budget(seconds=0.0, min_rounds=1))
    monkeypatch.setattr(timing, "COPY_BYTES", 1 << 20)
    monkeypatch.setattr(separator, "QUICK_SECONDS", (2, 1))
    monkeypatch.setattr(separator, "RECORDINGS", Path("/nowhere"))
    separator.recording.cache_clear()
    separator._installed.cache_clear()


def test_parity_figures() -> None:
    signal = torch.tensor([0.4, -0.4, 0.4, -0.4])
    same = separator.parity(signal, signal.clone(), samples=True)
    assert same == separator.Parity(0.0, math.inf, 1.0)
    off = separator.parity(signal, signal + torch.tensor([0.05, 0.0, 0.0, 0.0]), samples=True)
    assert off.max_abs == pytest.approx(0.05)
    # Signal energy 0.64, noise energy 0.0025.
    assert off.snr_db == pytest.approx(10 * math.log10(0.64 / 0.0025), abs=1e-4)
    assert off.int16_match == 0.75
    below = separator.parity(signal, signal + 1e-6, samples=True)  # a thirtieth of a step of 16 bits
    assert below.int16_match == 1.0
    assert separator.parity(signal, signal[:3], samples=True).snr_db == -math.inf
    assert separator.parity(0 * signal, signal, samples=False) == separator.Parity(float(signal[0]), -math.inf, None)


def test_a_run_has_all_rows_and_judges_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "result.json"
    assert benchmark.run("separator", quick=True, json_out=target) == 0
    rows = json.loads(target.read_text(encoding="utf-8"))["rows"]
    assert len(rows) == 2 * 2 * 4
    assert {row["group"] for row in rows} == {"MDX, Roformer (2048/512)", "Demucs (4096/1024)"}
    for row in rows:
        if "backward" in row["name"] and not separator.differentiable():
            assert row["verdict"] == MISSING
            continue
        assert row["verdict"] not in (WRONG, FAILED)
        assert row["ratio"] == row["theirs"] / row["ours"]
        assert row["detail"]["snr_db"] >= separator.LEAST_SNR_DB
        if row["name"].startswith(("stft", "istft")):
            assert row["verdict"] in (PASS, SHORT)
            assert row["target"].startswith(">= ")
        matched = row["detail"]["int16_match"]
        assert (matched is None) == (row["name"].startswith("stft") or "backward" in row["name"])
        assert matched is None or matched > 0.999
    told = capsys.readouterr().out
    assert "a made-up song" in told
    assert "int16 match" in told
    assert "SNR" in told


def test_a_wrong_result_is_called_wrong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    honest = melisma.istft
    monkeypatch.setattr(melisma, "istft", lambda *a, **k: honest(*a, **k) * 1.001)
    assert benchmark.run("separator", quick=True, only="MDX.*: istft 1 s") == 1
    assert "results are 60 dB apart" in capsys.readouterr().out


def test_without_pytorch_rows_say_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(rivals, "torch", None)
    assert benchmark.run("separator", quick=True, only="Demucs.*: stft 1 s") == 0
    assert "not installed" in capsys.readouterr().out


def test_tables_come_without_rich(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    honest = rivals.optional
    monkeypatch.setattr(rivals, "optional", lambda name: None if name.startswith("rich") else honest(name))
    assert benchmark.run("separator", quick=True, only="Demucs.*: stft 1 s") == 0
    assert "| work | torch | melisma | speed-up |" in capsys.readouterr().out


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("rate", [44_100, 22_050])
def test_a_recording_is_made_stereo_at_44100_and_repeated(channels: int, rate: int, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / "a.wav"
    one = np.sin(np.arange(rate // 2) * 2 * np.pi * 441 / rate)
    soundfile.write(path, np.stack([one / (c + 1) for c in range(channels)], axis=1), rate, subtype="FLOAT")
    x = separator.recording(2, str(path))
    assert x.shape == (2, 2 * 44_100)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x[:, :22_050], x[:, 22_050:44_100])
    peaks = np.abs(x[:, 2000:20_000]).max(axis=1)
    np.testing.assert_allclose(peaks, [1.0, 1.0 if channels == 1 else 0.5], atol=2e-3)
    assert separator.source(str(path)) == str(path)


def test_installed_recordings_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    for number, channels in enumerate((1, 2)):
        soundfile.write(tmp_path / f"loop_{number}.flac", np.full((1000, channels), 0.25 * (number + 1)), 44_100)
    monkeypatch.setattr(separator, "RECORDINGS", tmp_path)
    x = separator.recording(1, None)
    np.testing.assert_array_equal(x[:, [0, 999, 1000, 1999, 2000]], [[0.25, 0.25, 0.5, 0.5, 0.25]] * 2)
    assert separator.source(None) == "sonic-pi-samples"


def test_the_made_up_song_is_stereo_and_bounded() -> None:
    x = separator.recording(3, None)
    assert x.shape == (2, 3 * 44_100)
    assert 0.5 < np.abs(x).max() <= 0.9 + 1e-6
    assert np.abs(x[0] - x[1]).max() > 0.1


WRONG_CALLS: list[tuple[dict[str, Any], str]] = [
    ({"suite": "cpu", "audio": "a.wav"}, "audio must be None for suite 'cpu', got 'a.wav'"),
    ({"suite": "separator", "audio": "/nowhere.wav"}, "audio must be a file that libsndfile reads, got '/nowhere.wav'"),
    ({"suite": "separator", "only": "no such case"}, "only must match a case"),
    ({"suite": "separators"}, "suite must be one of cpu, separator, cuda, conv, conv-cuda, got 'separators'"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG_CALLS)
def test_wrong_calls(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        benchmark.run(quick=True, **arguments)


def test_an_empty_recording_is_refused(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "e.wav", np.zeros((0, 2)), 44_100)
    with pytest.raises(ValueError, match="audio must hold samples"):
        benchmark.run("separator", quick=True, audio=tmp_path / "e.wav")


def test_the_command_takes_the_suite_as_a_word() -> None:
    runner = pytest.importorskip("typer.testing").CliRunner()
    from melisma.cli.app import app

    done = runner.invoke(app, ["benchmark", "separator", "--quick", "--only", "Demucs.*: stft 1 s"])
    assert done.exit_code == 0, done.output
    assert "Demucs (4096/1024)" in done.output
    refused = runner.invoke(app, ["benchmark", "separators"])
    assert refused.exit_code == 2
    assert "suite must be one of cpu, separator" in refused.output
