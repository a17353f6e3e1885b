"""``melisma cache``, without a GPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import melisma

from .conftest import Run

Cli = Callable[..., Run]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MELISMA_CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def known(folder: Path) -> Path:
    choices = {"fast-forward": {"spectrum, n_fft 1024": {"variant": "32x16 [4 warps]", "microseconds": 90.51}}}
    file = folder / "NVIDIA-X.json"
    file.write_text(json.dumps({"format": 1, "device": "NVIDIA X, driver 1", "choices": choices}))
    return file


def test_an_empty_cache(melisma_cli: Cli, folder: Path) -> None:
    run = melisma_cli("cache")
    assert run.code == 0
    assert run.out.split() == f"no variants have been timed in {folder}".split()


def test_list_path_and_clear(melisma_cli: Cli, folder: Path, known: Path) -> None:
    run = melisma_cli("cache")
    assert run.code == 0
    for text in ("NVIDIA X, driver 1", "fast-forward", "spectrum, n_fft 1024", "32x16 [4 warps]", "90.5", known.name):
        assert text in run.out, run.out
    run = melisma_cli("cache", "--path")
    assert (run.code, run.out) == (0, f"{folder}\n")
    run = melisma_cli("cache", "--clear")
    assert (run.code, run.out) == (0, "forgotten: 1\n")
    assert not known.exists()
    assert melisma.tuning_cache() == []


def test_tuning_without_a_gpu_says_so(melisma_cli: Cli) -> None:
    cuda = next(backend for backend in melisma.backends() if backend["name"] == "cuda")
    if cuda["available"]:
        pytest.skip("this machine has a GPU")
    run = melisma_cli("cache", "tune")
    assert run.code == 2
    assert " ".join(run.err.split()) == f"melisma: cache tune: there is no GPU to tune for: {cuda['reason']}"
    assert run.out == ""


def test_help(melisma_cli: Cli) -> None:
    run = melisma_cli("cache", "--help")
    assert run.code == 0
    for text in ("tune", "--clear", "--path"):
        assert text in run.out
