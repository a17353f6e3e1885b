"""Audio files as a stream of blocks: decoded, checked, mixed and resampled in bounded memory."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile
import soxr

from melisma.cli.errors import FileProblem, one_line, shown

Channels = Literal["mono", "keep"]
Block = np.ndarray[Any, np.dtype[Any]]  # [channels, samples], int16 or float32

# The resampler always gets blocks of this many samples, so its result cannot depend on --block-seconds.
_RESAMPLER_BLOCK = 1 << 16
_MOST_VALUES = 1 << 24  # values decoded at a time (64 MB of float32), whatever rate and channels a header claims
_MOST_RATIO = 256  # between the rates of a resampling: beyond it a header is broken rather than the audio unusual
_OGG_TAIL = 1 << 17  # an Ogg page is at most 65307 bytes: the last page's start lies within twice that
_MPEG_FRAME = 1152
_UNKNOWN_SIZE = 0x7FFF0000  # writers of endless streams put sizes from here on into a header
_SIZE_LINE = re.compile(r"^\s*(?:data|SSND|Data Size|riff)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
# RAW has no header to read a format from; the rest is what libsndfile can open by itself.
_EXTRA_EXTENSIONS = {"aif", "aifc", "aiff", "oga", "opus", "snd", "mp2", "mpga", "wave", "iff", "8svx", "sf", "mat"}


@dataclass
class AudioFile:
    """What is known of a file that is being read; ``samples`` and ``seconds`` grow while its blocks are taken."""

    path: Path
    rate: int
    channels: int
    rate_out: int
    channels_out: int
    expected: int  # samples that the header promises; 0 where it promises none
    samples: int = 0
    _sound: Any = field(default=None, repr=False)

    @property
    def seconds(self) -> float:
        """Give the duration of what has been read."""
        return self.samples / self.rate

    def close(self) -> None:
        """Close a file whose blocks are not wanted."""
        self._sound.close()


class _Sequential(soundfile.SoundFile):
    """Reads on without seeking: a FLAC stream of unknown length fails at libsndfile's seek after its last block."""

    def seekable(self) -> bool:
        return False


def extensions() -> set[str]:
    """Give the file name endings (lower case, no dot) that a folder is searched for."""
    known = {name.lower() for name in soundfile.available_formats()} | _EXTRA_EXTENSIONS
    return known - {"raw"}


def open_audio(path: Path, *, sample_rate: int | None, channels: Channels) -> AudioFile:
    """Open a file; ``sample_rate`` None keeps the file's.

    Raises
    ------
    FileProblem
        It is not there, may not be read, or is no audio that libsndfile knows, or its header says that more was there.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise FileProblem("not a regular file")
        with open(path, "rb"):
            pass
    except PermissionError:
        raise FileProblem("no permission to read it") from None
    except FileNotFoundError:
        raise FileProblem("no such file") from None
    except OSError as error:
        raise FileProblem(f"cannot be read: {error.strerror or one_line(error)}") from None
    if status.st_size == 0:
        raise FileProblem("the file is empty (0 bytes)")
    try:
        sound = _Sequential(os.fsencode(path))
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError) as error:
        raise FileProblem(f"not audio that libsndfile can read: {_reason(error, path)}") from None
    try:
        _check_sizes(sound, path)
        ratio = sound.samplerate / (sample_rate or sound.samplerate)
        if not 1 / _MOST_RATIO <= ratio <= _MOST_RATIO:
            raise FileProblem(
                f"sample rate must be within a factor of {_MOST_RATIO} of {sample_rate} Hz, got {sound.samplerate} Hz"
            )
        expected = sound.frames if 0 < sound.frames < 1 << 62 else 0
        if sound.format == "MP3" and not _has_length_tag(path):
            expected = 0  # libsndfile's length is an estimate then
        return AudioFile(
            path=path,
            rate=sound.samplerate,
            channels=sound.channels,
            rate_out=sample_rate or sound.samplerate,
            channels_out=1 if channels == "mono" else sound.channels,
            expected=expected,
            _sound=sound,
        )
    except BaseException:
        sound.close()
        raise


def blocks(audio: AudioFile, *, block_samples: int, as_int16: bool) -> Iterator[Block]:
    """Decode the file block by block, [channels_out, samples] each, at ``rate_out``; closes it at the end.

    Mono is the mean over the channels: their float32 sum in order, divided by their number. ``as_int16`` hands 16-bit
    files over as they are (mono: the mean cut towards zero, as madmom's), where no resampling is asked for.
    """
    resample = audio.rate != audio.rate_out
    with audio._sound as sound:
        integers = as_int16 and not resample and sound.subtype == "PCM_16"
        wanted = _RESAMPLER_BLOCK if resample else block_samples
        count = max(1, min(wanted, _MOST_VALUES // audio.channels))
        decoded = (_mixed(block, audio) for block in _decoded(sound, audio, count, "int16" if integers else "float32"))
        yield from _resampled(decoded, audio) if resample else decoded
    if audio.samples == 0:
        raise FileProblem("it holds no samples")


def _decoded(sound: Any, audio: AudioFile, count: int, dtype: str) -> Iterator[Block]:
    while True:
        try:
            block = sound.read(count, dtype=dtype, always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            where = audio.samples / audio.rate
            raise FileProblem(f"corrupt or cut off after {where:.2f} s: {_reason(error, audio.path)}") from None
        if len(block) == 0:
            break
        if dtype == "float32" and not np.isfinite(block).all():
            at = audio.samples + int(np.argmin(np.isfinite(block).all(axis=1)))
            raise FileProblem(f"sample {at} ({at / audio.rate:.3f} s) is not a finite number")
        audio.samples += len(block)
        yield block
    short = audio.expected - audio.samples
    if short > (2 * _MPEG_FRAME if sound.format == "MP3" else 0):
        raise FileProblem(f"cut off: {audio.expected} samples promised, {audio.samples} there")


def _mixed(block: Block, audio: AudioFile) -> Block:
    if audio.channels_out == audio.channels:
        return np.ascontiguousarray(block.T)
    if block.dtype == np.int16:
        return np.mean(block, axis=1).astype(np.int16)[np.newaxis]
    # Not np.mean: its order of summation is NumPy's to choose, and may differ between a block and a whole file.
    total = block[:, 0].copy()
    for channel in range(1, audio.channels):
        total += block[:, channel]
    return (total / np.float32(audio.channels))[np.newaxis]


def _resampled(decoded: Iterator[Block], audio: AudioFile) -> Iterator[Block]:
    stream = soxr.ResampleStream(audio.rate, audio.rate_out, audio.channels_out, dtype="float32", quality="HQ")
    for block in decoded:
        yield np.ascontiguousarray(_as_columns(stream.resample_chunk(np.ascontiguousarray(block.T))).T)
    rest = stream.resample_chunk(np.zeros((0, audio.channels_out), np.float32), last=True)
    yield np.ascontiguousarray(_as_columns(rest).T)


def _as_columns(block: Block) -> Block:
    return block[:, np.newaxis] if block.ndim == 1 else block


def _reason(error: BaseException, path: Path) -> str:
    """Give libsndfile's own words, without the path that it puts in front."""
    text = one_line(error)
    code = getattr(error, "error_string", None)
    if isinstance(code, str) and code:
        text = " ".join(code.split())
    return text.replace(str(path), shown(path)).rstrip(".") or "unknown reason"


def _check_sizes(sound: Any, path: Path) -> None:
    """Raise where a header promises more bytes than the file has: libsndfile reads such a file without a word."""
    for promised, there in _SIZE_LINE.findall(sound.extra_info):
        # One byte of difference is a missing pad byte; W64's outer size may be off by its own header.
        slack = 1 if sound.format != "W64" else 40
        if _UNKNOWN_SIZE > int(promised) > int(there) + slack:
            raise FileProblem(f"cut off: {promised} bytes promised, {there} there")
    if sound.format == "OGG":
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _OGG_TAIL))
            tail = file.read()
        page = tail.rfind(b"OggS")
        if page < 0 or len(tail) < page + 6 or not tail[page + 5] & 4:  # the flag "last page of the stream"
            raise FileProblem("cut off: the Ogg stream has no last page")


def _has_length_tag(path: Path) -> bool:
    """Say whether an MP3 file starts with a Xing, Info or VBRI frame, which holds the exact length."""
    with open(path, "rb") as file:
        head = file.read(10)
        start = 0
        if head[:3] == b"ID3" and len(head) == 10:
            start = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
        file.seek(start)
        frame = file.read(4096)
    return any(tag in frame for tag in (b"Xing", b"Info", b"VBRI"))
