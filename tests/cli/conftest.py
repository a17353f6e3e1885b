"""Audio files made on the spot, and the command line called in this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for _needed in ("typer", "rich", "soundfile", "soxr", "matplotlib"):
    pytest.importorskip(_needed, reason="needs melisma[cli]")

import soundfile  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

Array = np.ndarray[Any, np.dtype[Any]]


def tone(samples: int, rate: int, channels: int = 1, seed: int = 3) -> Array:
    """[samples, channels] float32: a tone and a hiss, another in each channel, silent in the last fifth."""
    t = np.arange(samples)[:, None] / rate
    pitch = 220.0 * (1 + np.arange(channels))
    x = 0.4 * np.sin(2 * np.pi * pitch * t) + 0.02 * np.random.default_rng(seed).standard_normal((samples, channels))
    x[int(0.8 * samples) :] = 0.0
    return x.astype(np.float32)


@pytest.fixture
def make_audio(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, seconds: float = 1.0, rate: int = 16000, channels: int = 1, subtype: str | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(int(seconds * rate), rate, channels), rate, subtype=subtype)
        return path

    return make


class Run:
    """What a command line did."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def melisma_cli(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    from melisma.cli.app import app

    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str | os.PathLike[str]) -> Run:
        result = CliRunner().invoke(app, [os.fspath(a) for a in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Run(result.exit_code, result.stdout, result.stderr)

    return run


def leftovers(folder: Path) -> list[str]:
    """Temporary names that should have gone."""
    return [p.name for p in folder.rglob("*") if p.name.endswith(".part") or p.name.startswith(".")]
