"""Results on disk: a .npy that is written completely under another name before it takes its own, and the manifest."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

import melisma
from melisma.cli.errors import UsageProblem, shown, writing
from melisma.presets import Preset, finished

Array = np.ndarray[Any, np.dtype[Any]]

MANIFEST = "manifest.json"
_MANIFEST_FORMAT = 1
_IN_MEMORY = 32 << 20  # bytes of features kept before they go to a nameless file beside the result
_TURN = 16 << 20  # bytes turned from frame-major to the file's order at a time


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a temporary path in ``target``'s folder, which becomes ``target`` when the body succeeds and vanishes when not."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}."[:100], suffix=".part", dir=target.parent)
    except OSError as error:
        raise writing(error, target) from None
    os.close(handle)
    part = Path(name)
    try:
        yield part
        try:
            os.chmod(part, 0o666 & ~_umask())  # mkstemp's is 0600
            os.replace(part, target)
        except OSError as error:
            raise writing(error, target) from None
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


class FeatureWriter:
    """Collects blocks [channels, frames, bands] and writes the .npy when the last one has come.

    The number of frames stands in a .npy's header and decides where every row lies, and a stream's is known at its end
    only; a clip-level maximum too. So blocks go to a spool (memory, then a nameless file) and are turned in one pass.
    """

    def __init__(self, target: Path, preset: Preset, *, keep_channels: bool) -> None:
        self._target = target
        self._p = preset
        self._keep = keep_channels
        self._spool: IO[bytes] | None = None
        self._item: tuple[int, int] = (0, 0)  # channels, bands
        self._maximum: Array | None = None
        self.frames = 0

    def __enter__(self) -> FeatureWriter:
        try:
            self._target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise writing(error, self._target) from None
        self._spool = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=str(self._target.parent))
        return self

    def __exit__(self, *_: object) -> None:
        if self._spool is not None:
            with contextlib.suppress(OSError):  # flushing what is thrown away may meet the full disk again
                self._spool.close()

    def add(self, frames: Array) -> None:
        """Take the next frames."""
        assert self._spool is not None
        self._item = (frames.shape[0], frames.shape[2])
        if self._p.top is not None:
            largest = np.amax(frames, axis=(1, 2), keepdims=True)
            self._maximum = largest if self._maximum is None else np.maximum(self._maximum, largest)
        try:
            self._spool.write(np.ascontiguousarray(frames.swapaxes(0, 1), dtype=np.float32).data)
        except OSError as error:
            raise writing(error, self._target) from None
        self.frames += frames.shape[1]

    def finish(self) -> tuple[int, ...]:
        """Write the file and give the array's shape."""
        channels, bands = self._item
        shape = (channels, bands, self.frames) if self._keep else (bands, self.frames)
        with replacing(self._target) as part:
            try:
                with open(part, "r+b") as file:
                    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                    self._turn(file)
            except OSError as error:
                raise writing(error, self._target) from None
        return shape

    def _turn(self, file: IO[bytes]) -> None:
        assert self._spool is not None
        channels, bands = self._item
        origin = file.tell()
        frame_bytes = channels * bands * 4
        step = max(1, _TURN // max(1, frame_bytes))
        self._spool.seek(0)
        for first in range(0, self.frames, step):
            count = min(step, self.frames - first)
            block = np.frombuffer(self._spool.read(count * frame_bytes), np.float32).reshape(count, channels, bands)
            rows = finished(np.ascontiguousarray(block.transpose(1, 2, 0)), self._p, self._maximum)
            rows = rows.astype("<f4", copy=False)
            for row, values in enumerate(rows.reshape(channels * bands, count)):
                file.seek(origin + (row * self.frames + first) * 4)
                file.write(values.data)


def is_complete(output: Path, source: Path) -> bool:
    """Say whether ``output`` is a whole .npy that is no older than its source."""
    try:
        if output.stat().st_mtime < source.stat().st_mtime:
            return False
        array = np.load(output, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False
    return bool(array.dtype == np.dtype("<f4"))


def check_manifest(folder: Path, parameters: dict[str, Any]) -> None:
    """Raise UsageProblem where ``folder`` holds results of other parameters, naming them; write the manifest if none is there.

    One folder holds one set of parameters: else a result's definition could not be told from where it lies.
    """
    path = folder / MANIFEST
    try:
        there = dict(json.loads(path.read_text(encoding="utf-8"))["parameters"])
    except FileNotFoundError:
        _write_manifest(path, parameters)
        return
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageProblem(f"{shown(path)} cannot be read; remove it, or choose another folder") from None
    ours = json.loads(json.dumps(parameters))
    names = sorted(name for name in {*ours, *there} if ours.get(name) != there.get(name))
    if names:
        listed = ", ".join(f"{name} {there.get(name)!r} there, {ours.get(name)!r} now" for name in names)
        raise UsageProblem(f"{shown(folder)} holds features with other parameters: {listed}; choose another folder")


def _write_manifest(path: Path, parameters: dict[str, Any]) -> None:
    text = json.dumps({"format": _MANIFEST_FORMAT, "melisma": melisma.__version__, "parameters": parameters}, indent=2)
    with replacing(path) as part:
        try:
            part.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise writing(error, path) from None
