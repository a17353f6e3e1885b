"""What the documents say is run: Python and C++ blocks, `melisma` commands, make targets, presets and paths."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/convolution.md", "docs/pytorch.md"]
# These take minutes and have tests of their own; here only their options are checked.
LONG_COMMANDS = {"benchmark", "self-test"}


def blocks(document: str, language: str) -> list[str]:
    """Give the fenced blocks of one language."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def shell_lines(document: str) -> list[list[str]]:
    """Give each command of the `sh` blocks, without comments."""
    lines = "\n".join(blocks(document, "sh")).splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


PYTHON_BLOCKS = [(document, number) for document in DOCUMENTS for number in range(len(blocks(document, "python")))]


@pytest.mark.parametrize(("document", "number"), PYTHON_BLOCKS)
def test_python_block(document: str, number: int, tmp_path: Path) -> None:
    source = blocks(document, "python")[number]
    if "import torch" in source:
        pytest.importorskip("torch")
    subprocess.run([sys.executable, "-c", source], check=True, cwd=tmp_path, timeout=120)


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
@pytest.mark.parametrize("source", blocks("README.md", "cpp"))
def test_cpp_block_compiles(source: str, tmp_path: Path) -> None:
    file = tmp_path / "block.cc"
    file.write_text(source, encoding="utf-8")
    include = f"-I{ROOT / 'include'}"
    subprocess.run(
        ["c++", "-std=c++20", "-fsyntax-only", "-Wall", "-Werror", include, str(file)], check=True, timeout=120
    )


def test_melisma_commands(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    pytest.importorskip("typer")
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 44_100)
    (tmp_path / "recordings").mkdir()
    soundfile.write(tmp_path / "song.wav", samples, 44_100)
    soundfile.write(tmp_path / "recordings" / "one.flac", samples, 44_100)
    commands = [words[1:] for document in DOCUMENTS for words in shell_lines(document) if words[0] == "melisma"]
    assert commands
    for words in commands:
        arguments = [words[0], "--help"] if words[0] in LONG_COMMANDS else words
        done = subprocess.run(
            [sys.executable, "-m", "melisma.cli", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    assert np.load(next((tmp_path / "features").rglob("song*.npy"))).shape[0] == 80


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_targets_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_preset_table_is_complete() -> None:
    from melisma.presets import PRESETS

    rows = re.findall(r"^\| (`[^|]*) \|", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row) if not name.startswith("MELISMA_")}
    assert named == set(PRESETS)


def test_options_table_is_complete() -> None:
    listed = set(re.findall(r"`(MELISMA_[A-Z_]+)`", (ROOT / "README.md").read_text(encoding="utf-8")))
    read = set(re.findall(r"\bMELISMA_[A-Z_]+\b", (ROOT / "src/runtime/options.h").read_text(encoding="utf-8")))
    assert listed == read


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for path in re.findall(r"`((?:src|include|python|tests|tools|bench|docs|examples)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path


def test_version_stands_in_one_place() -> None:
    import melisma

    declared = re.search(
        r'^version = "([^"]+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert declared is not None
    assert melisma.__version__ == declared.group(1)
