"""Bad files, full disks, interruptions: one clear line each, the good files kept, nothing partly written."""

from __future__ import annotations

import errno
import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from .conftest import Run, leftovers, tone

Cli = Callable[..., Run]
Make = Callable[..., Path]


def cut(path: Path, fraction: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])


def text_file(folder: Path) -> None:
    (folder / "bad.wav").write_text("I am no audio at all.\n" * 50)


def empty_file(folder: Path) -> None:
    (folder / "bad.wav").touch()


def no_samples(folder: Path) -> None:
    soundfile.write(folder / "bad.wav", np.zeros((0, 2), np.float32), 16000)


def one_sample(folder: Path) -> None:
    soundfile.write(folder / "bad.wav", np.zeros(1, np.float32), 16000)


def not_finite(folder: Path) -> None:
    x = tone(16000, 16000)
    x[1234] = np.nan
    soundfile.write(folder / "bad.wav", x, 16000, subtype="FLOAT")


def truncated(ending: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        path = folder / f"bad.{ending}"
        soundfile.write(path, tone(44100 * 3, 44100, 2), 44100)
        cut(path, 0.6)

    return make


def damaged_flac(folder: Path) -> None:
    path = folder / "bad.flac"
    soundfile.write(path, tone(44100 * 3, 44100, 2), 44100)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = b"\x55" * 64
    path.write_bytes(data)


def dangling_link(folder: Path) -> None:
    (folder / "bad.wav").symlink_to(folder / "nowhere.wav")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "bad.wav")


BAD = {
    "text": (text_file, "not audio that libsndfile can read"),
    "empty": (empty_file, "the file is empty"),
    "no samples": (no_samples, "it holds no samples"),
    "one sample": (one_sample, "too short for preset 'whisper': reflect padding needs more than 200 samples, got 1"),
    "not finite": (not_finite, "sample 1234 (0.077 s) is not a finite number"),
    "damaged flac": (damaged_flac, "corrupt or cut off after"),
    "dangling link": (dangling_link, "no such file"),
    "pipe": (pipe, "not a regular file"),
    **{f"cut {e}": (truncated(e), "cut off") for e in ("wav", "aiff", "au", "w64", "flac", "ogg", "mp3")},
    "cut caf": (truncated("caf"), "malformed"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_told_and_the_others_go_on(name: str, make_audio: Make, melisma_cli: Cli, tmp_path: Path) -> None:
    make_audio("in/a.wav", 0.5)
    make_audio("in/z.wav", 0.5)
    make, text = BAD[name]
    make(tmp_path / "in")
    run = melisma_cli("features", tmp_path / "in", "-o", tmp_path / "out", "--plot")
    assert run.code == 1
    line = [line for line in run.err.splitlines() if "bad." in line]
    assert len(line) == 1, run.err
    assert text in line[0]
    assert "2 done, 1 failed" in run.out
    assert text.split()[0] in run.out
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "a.wav.npy", "a.wav.png", "manifest.json", "z.wav.npy", "z.wav.png",
    ]  # fmt: skip


def test_lengths_that_a_header_may_leave_open_are_read_to_the_end(
    make_audio: Make, melisma_cli: Cli, tmp_path: Path
) -> None:
    wav = bytearray(make_audio("in/stream.wav", 1.0).read_bytes())
    at = wav.find(b"data")
    wav[4:8] = wav[at + 4 : at + 8] = b"\xff" * 4
    (tmp_path / "in" / "stream.wav").write_bytes(wav)
    flac = bytearray(make_audio("in/stream.flac", 1.0).read_bytes())
    flac[21] &= 0xF0  # the 36 bits of STREAMINFO's number of samples
    flac[22:26] = bytes(4)
    (tmp_path / "in" / "stream.flac").write_bytes(flac)
    run = melisma_cli("features", tmp_path / "in", "-o", tmp_path / "out")
    assert run.code == 0, run.err
    for name in ("stream.wav", "stream.flac"):
        assert np.load(tmp_path / "out" / f"{name}.npy").shape == (80, 100)


def test_an_mp3_without_a_length_tag_is_read_to_the_end(melisma_cli: Cli, tmp_path: Path) -> None:
    x = np.concatenate((np.zeros(44100 * 5, np.float32), tone(44100 * 2, 44100)[:, 0], np.zeros(44100 * 5, np.float32)))
    path = tmp_path / "a.mp3"
    with soundfile.SoundFile(path, "w", 44100, 1, format="MP3", bitrate_mode="VARIABLE", compression_level=0.2) as file:
        file.write(x)
    data = path.read_bytes()
    tag = max(data.find(b"Xing"), data.find(b"Info"))
    path.write_bytes(data[data.find(b"\xff\xfb", tag) :])
    assert melisma_cli("features", path, "-o", tmp_path / "out").code == 0


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Permissions do not bind root: become nobody for a while where we are root."""
    if sys.platform == "win32":
        pytest.skip("POSIX permissions")
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def opened(folder: Path) -> None:
    """Let everybody pass through the folders above."""
    for parent in [folder, *folder.parents][:4]:
        if str(parent).startswith("/tmp/") and parent.owner() == Path.home().owner():
            parent.chmod(0o755)


def test_no_permission_to_read(
    make_audio: Make, melisma_cli: Cli, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    make_audio("in/a.wav", 0.5)
    make_audio("in/b.wav", 0.5).chmod(0)
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o777)
    opened(tmp_path)
    request.getfixturevalue("unprivileged")
    run = melisma_cli("features", tmp_path / "in", "-o", tmp_path / "out")
    assert run.code == 1
    assert "b.wav: no permission to read it" in run.err
    assert (tmp_path / "out" / "a.wav.npy").exists()
    assert not (tmp_path / "out" / "b.wav.npy").exists()


def test_no_permission_to_write(
    make_audio: Make, melisma_cli: Cli, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = make_audio("in/a.wav", 0.5)
    (tmp_path / "out").mkdir(mode=0o555)
    opened(tmp_path)
    request.getfixturevalue("unprivileged")
    run = melisma_cli("features", path, "-o", tmp_path / "out")
    assert run.code == 2
    assert "no permission to write" in run.err
    run = melisma_cli("features", path, "-o", tmp_path / "out" / "below")
    assert run.code == 2
    assert "no permission to write" in run.err


def test_the_output_is_a_file(make_audio: Make, melisma_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    run = melisma_cli("features", make_audio("a.wav"), "-o", tmp_path / "out")
    assert run.code == 2
    assert "-o must be a folder" in run.err
    assert (tmp_path / "out").read_text() == "mine"


def test_a_result_that_is_a_folder(make_audio: Make, melisma_cli: Cli, tmp_path: Path) -> None:
    make_audio("in/a.wav"), make_audio("in/b.wav")
    (tmp_path / "out" / "a.wav.npy").mkdir(parents=True)
    run = melisma_cli("features", tmp_path / "in", "-o", tmp_path / "out")
    assert run.code == 1
    assert "1 done, 1 failed" in run.out
    assert "cannot write" in run.err
    assert not leftovers(tmp_path / "out")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KB, where we may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("needs root on Linux to mount a small file system")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("this machine does not let us mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_full_disk_ends_the_run_cleanly(make_audio: Make, melisma_cli: Cli, tmp_path: Path, small_disk: Path) -> None:
    make_audio("in/a.wav", 5.0)  # 160 KB of features
    make_audio("in/b.wav", 40.0)  # 1.3 MB
    make_audio("in/c.wav", 1.0)
    out = small_disk / "out"
    run = melisma_cli("features", tmp_path / "in", "-o", out)
    assert run.code == 1
    assert "no room left for" in run.err
    assert "b.wav" in run.err
    assert "1 done, 1 failed, 1 not tried" in run.out
    assert sorted(p.name for p in out.iterdir()) == ["a.wav.npy", "manifest.json"]


def test_a_full_disk_while_spooling(
    make_audio: Make, melisma_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    class Full(tempfile.SpooledTemporaryFile):  # type: ignore[type-arg]
        def write(self, *_: Any) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", Full)
    run = melisma_cli("features", make_audio("a.wav"), "-o", tmp_path / "out")
    assert run.code == 1
    assert "no room left for" in run.err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["manifest.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_whole_files_only(number: int, make_audio: Make, tmp_path: Path) -> None:
    for name in range(400):
        make_audio(f"in/{name:03}.wav", 0.3)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "melisma.cli", "features", tmp_path / "in", "-o", out]
    # A shell's background job ignores SIGINT, and hands that on to its children.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen([*command, "--plot"], stderr=subprocess.PIPE, text=True, preexec_fn=heed) as process:
        deadline = time.monotonic() + 60
        while len(list(out.glob("*.npy"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        told = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "interrupted" in told
    assert "--resume" in told
    assert "Traceback" not in told
    assert not leftovers(out)
    done = list(out.glob("*.npy"))
    assert 3 <= len(done) < 400
    for path in done:
        assert np.load(path).shape == (80, 30)
    again = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert again.returncode == 0
    assert "skipped" in again.stdout
    assert len(list(out.glob("*.npy"))) == 400


def test_a_broken_manifest(make_audio: Make, melisma_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for text in ("", "[]", "{", '{"parameters": 3}'):
        (tmp_path / "out" / "manifest.json").write_text(text)
        run = melisma_cli("features", make_audio("a.wav"), "-o", tmp_path / "out")
        assert run.code == 2
        assert "manifest.json cannot be read" in run.err


def test_a_folder_that_may_not_be_read(
    make_audio: Make, melisma_cli: Cli, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    make_audio("in/a.wav", 0.5)
    make_audio("in/closed/b.wav", 0.5).parent.chmod(0)
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o777)
    opened(tmp_path)
    request.getfixturevalue("unprivileged")
    run = melisma_cli("features", tmp_path / "in", "-o", tmp_path / "out")
    assert run.code == 1
    assert "closed" in run.out
    assert "folder cannot be read: Permission denied" in run.out
    assert "1 done, 1 failed" in run.out
