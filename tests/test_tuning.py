"""Choosing variants of GPU kernels: what of it shows without a GPU (the rest is tested in C++, on the emulator)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import melisma
from melisma import _core

DEVICE = "NVIDIA X, driver 1, melisma 0"


def write_cache(folder: Path, name: str = "NVIDIA-X.json") -> Path:
    choice = {"variant": "32x16, 4 warps", "microseconds": 90.5}
    choices = {"fast-forward": {"spectrum, n_fft 1024": choice}, "fast-inverse": {"istft, n_fft 400": choice}}
    file = folder / name
    file.write_text(json.dumps({"format": 1, "device": DEVICE, "choices": choices}))
    return file


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MELISMA_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_the_cache_lists_and_clears_what_is_on_disk(folder: Path) -> None:
    assert melisma.tuning_cache() == []
    file = write_cache(folder)
    first, second = melisma.tuning_cache()
    assert first == {
        "device": DEVICE,
        "kernel": "fast-forward",
        "job": "spectrum, n_fft 1024",
        "variant": "32x16, 4 warps",
        "microseconds": 90.5,
        "file": str(file),
    }
    assert second["kernel"] == "fast-inverse"
    melisma.clear_tuning_cache()
    assert melisma.tuning_cache() == []
    assert not file.exists()


def test_files_of_others_are_left_alone(folder: Path) -> None:
    write_cache(folder)
    texts = {"other.json": '{"format": 1}', "broken.json": "{", "list.json": "[]", "newer.json": '{"format": 2}'}
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "ours.json").write_text("{")
    (folder / "ours.json.lock").touch()  # which a writer of ours left: a damaged file of ours
    assert len(melisma.tuning_cache()) == 2
    melisma.clear_tuning_cache()
    assert {p.name for p in folder.iterdir() if p.suffix == ".json"} == set(texts)


def test_a_folder_that_is_not_there() -> None:
    os.environ["MELISMA_CACHE_DIR"] += "/none"  # the fixture puts it back
    assert melisma.tuning_cache() == []
    melisma.clear_tuning_cache()


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MELISMA_")}
    return subprocess.run(
        [sys.executable, "-c", "import melisma\n" + code],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def test_where_the_cache_is(folder: Path) -> None:
    code = "print(melisma._core.tuning_cache_directory(), len(melisma.tuning_cache()))"
    write_cache(folder)
    assert run(code, MELISMA_CACHE_DIR=str(folder)).stdout.split() == [str(folder), "2"]
    assert run(code, MELISMA_CACHE_DIR=str(folder), MELISMA_CACHE="0").stdout.split() == ["0"]
    assert run(code, XDG_CACHE_HOME=str(folder)).stdout.split() == [str(folder / "melisma"), "0"]


def test_without_the_cache_files_stay(folder: Path) -> None:
    file = write_cache(folder)
    run("melisma.clear_tuning_cache()", MELISMA_CACHE_DIR=str(folder), MELISMA_CACHE="0")
    assert file.exists()


def test_autotuning_is_switched_in_three_ways() -> None:
    code = "print(melisma._core.autotuning())"
    assert run(code).stdout == "False\n"
    assert run(code, MELISMA_AUTOTUNE="1").stdout == "True\n"
    assert not _core.autotuning()
    with melisma.autotune(), melisma.autotune():
        assert _core.autotuning()
    assert not _core.autotuning()
    with pytest.raises(ZeroDivisionError), melisma.autotune():
        raise ZeroDivisionError
    assert not _core.autotuning()
    melisma.set_autotune(True)
    try:
        assert _core.autotuning()
    finally:
        melisma.set_autotune(False)
    with pytest.raises(melisma.InvalidType, match="set_autotune: on must be a bool, got 1"):
        melisma.set_autotune(1)  # type: ignore[arg-type]


def test_forcing_a_variant() -> None:
    melisma.set_variant("fast-forward", 1)  # calls on the CPU have no variants
    melisma.set_variant("fast-forward", None)
    known = "'fast-forward', 'fast-inverse', 'fast-gradient'"
    with pytest.raises(melisma.InvalidArgument, match=f"kernel must be one of {known}, got 'fft'"):
        melisma.set_variant("fft", 0)
    for wrong in (1.5, True, b"x"):
        with pytest.raises(melisma.InvalidType, match="variant must be a string, an integer or None"):
            melisma.set_variant("fast-forward", wrong)  # type: ignore[arg-type]
    with pytest.raises(melisma.InvalidType, match="kernel must be a string"):
        melisma.set_variant(1, 0)  # type: ignore[arg-type]


def test_nothing_is_left_at_exit() -> None:
    # The handler of warnings is taken away before the interpreter goes.
    assert run("melisma.tuning_cache()").stderr == ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        melisma.tuning_cache()
