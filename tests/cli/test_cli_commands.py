"""The smaller commands, the entry point, and the help texts."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import melisma

from .conftest import Run

Cli = Callable[..., Run]
Make = Callable[..., Path]
DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(document: str, language: str) -> list[str]:
    text = (DOCS / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_commands_of_the_documents(
    make_audio: Make, melisma_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_audio("speech.wav")
    make_audio("recordings/one.flac", 1.0, 44100, 2)
    monkeypatch.chdir(tmp_path)
    lines = [line for name in ("cli.md", "presets.md") for block in blocks(name, "sh") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("melisma ")]
    assert len(commands) >= 6
    for command in commands:
        # The benchmark takes minutes and has tests of its own.
        assert melisma_cli(*command, *(["--help"] if command[0] == "benchmark" else [])).code == 0, command
    for block in blocks("presets.md", "python"):
        (tmp_path / "block.py").write_text(block)
        assert runpy.run_path(str(tmp_path / "block.py"))["y"].shape == (80, 100)
    said = np.load("out/speech.wav.npy")
    np.testing.assert_array_equal(said, runpy.run_path(str(tmp_path / "block.py"))["y"])


def test_help_names_every_command(melisma_cli: Cli) -> None:
    run = melisma_cli("--help")
    assert run.code == 0
    for command in ("features", "backends", "explain", "cache", "self-test", "benchmark"):
        assert command in run.out
        assert melisma_cli(command, "--help").code == 0


def test_version(melisma_cli: Cli) -> None:
    assert melisma.__version__ in melisma_cli("--version").out


def test_backends(melisma_cli: Cli) -> None:
    run = melisma_cli("backends")
    assert run.code == 0
    for backend in melisma.backends():
        assert backend["name"] in run.out
    assert melisma.simd_target() in run.out


def test_explain(melisma_cli: Cli) -> None:
    run = melisma_cli("explain", "stft", "n_fft=1024", "hop_length=256", "--shape", "4x160000")
    assert run.code == 0
    assert "cpu" in run.out
    assert "kernel" in run.out


@pytest.mark.parametrize(
    "wrong", [["n_fft"], ["n_fft=0"], ["n_fft=1024", "--shape", "axb"], ["n_fft=1024", "--dtype", "float3"]]
)
def test_explain_refuses_in_one_line(wrong: list[str], melisma_cli: Cli) -> None:
    run = melisma_cli("explain", "stft", *wrong)
    assert run.code == 2
    assert len(run.err.strip().splitlines()) == 1


def test_self_test_passes_and_restores_the_simd_target(melisma_cli: Cli) -> None:
    before = melisma.simd_target()
    run = melisma_cli("self-test")
    assert run.code == 0, run.out
    assert "checks passed" in run.out
    assert melisma.simd_target() == before


def test_self_test_can_fail(melisma_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    right = melisma.mel_spectrogram
    monkeypatch.setattr(melisma, "mel_spectrogram", lambda *a, **k: right(*a, **k) * 1.001)
    run = melisma_cli("self-test")
    assert run.code == 1
    assert "WRONG" in run.out
    assert "failed" in run.out


def test_a_missing_extra_is_said_in_one_line() -> None:
    code = "import sys; sys.modules['typer'] = None; from melisma.cli import main; main()"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.returncode == 2
    assert told.stderr == "melisma: the command line needs typer: pip install 'melisma[cli]'\n"


def test_the_library_does_not_import_the_command_line() -> None:
    code = "import sys, melisma, melisma.presets; print([m for m in ('typer', 'rich', 'soundfile', 'soxr', 'matplotlib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
