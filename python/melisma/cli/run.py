"""``melisma features``: every file through the same few steps, the good ones kept whatever happens to the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import melisma
from melisma.cli.audio import AudioFile, Channels, blocks, open_audio
from melisma.cli.errors import DiskFull, FileProblem, one_line
from melisma.cli.inputs import Job
from melisma.cli.output import FeatureWriter, is_complete
from melisma.cli.stream import FrameStream
from melisma.presets import Preset

State = Literal["done", "skipped", "failed", "not tried"]
_ORDINARY_PCM = 1.0 / 32768.0


@dataclass(frozen=True)
class Options:
    """What holds for every file of a run."""

    preset: Preset
    native_rate: bool = False  # keep each file's sample rate, and make the preset's filter bank for it
    channels: Channels = "mono"
    block_seconds: float = 60.0
    resume: bool = False
    plot: bool = False


@dataclass
class Outcome:
    """What became of one file."""

    job: Job
    state: State
    message: str = ""
    shape: tuple[int, ...] = ()
    rate: int = 0
    seconds: float = 0.0
    elapsed: float = 0.0
    picture: Path | None = None


Progress = Callable[[float], None]  # takes the fraction of the current file that is done


def run_all(
    jobs: Sequence[Job],
    folder: Path,
    options: Options,
    *,
    started: Callable[[Job], Progress],
    ended: Callable[[Outcome], None],
) -> list[Outcome]:
    """Process ``jobs`` in order; a full disk ends the run, every other problem only its file."""
    outcomes: list[Outcome] = []
    full = ""
    for job in jobs:
        if full:
            outcome = Outcome(job, "not tried", full)
        else:
            progress = started(job)
            begun = time.perf_counter()
            try:
                outcome = _one(job, folder, options, progress)
            except FileProblem as problem:
                outcome = Outcome(job, "failed", str(problem))
            except DiskFull as problem:
                full = "the disk is full"
                outcome = Outcome(job, "failed", str(problem))
            except MemoryError as error:
                outcome = Outcome(job, "failed", f"out of memory: {one_line(error)}")
            except (melisma.InvalidArgument, melisma.InvalidType, melisma.Unavailable) as error:
                outcome = Outcome(job, "failed", one_line(error))
            outcome.elapsed = time.perf_counter() - begun
        outcomes.append(outcome)
        ended(outcome)
    return outcomes


def _one(job: Job, folder: Path, options: Options, progress: Progress) -> Outcome:
    target = job.output(folder, ".npy")
    picture = job.output(folder, ".png") if options.plot else None
    complete = options.resume and is_complete(target, job.source)
    if complete and (picture is None or _no_older(picture, target)):
        return Outcome(job, "skipped", "done before", picture=picture)
    if complete:
        outcome = Outcome(job, "done", "picture only", rate=_rate(job, options))
    else:
        outcome = extract(job, target, options, progress)
    if picture is not None:
        from melisma.cli.plot import draw  # matplotlib takes half a second to load

        draw(target, picture, options.preset.at(outcome.rate), job.source.name)
        outcome.picture = picture
    return outcome


def extract(job: Job, target: Path, options: Options, progress: Progress) -> Outcome:
    """Turn one file into one .npy, in memory that does not depend on the file's length."""
    audio = _open(job, options)
    preset = options.preset.at(audio.rate_out)
    stream = FrameStream(preset)
    block_samples = max(1, int(options.block_seconds * audio.rate))
    # A preset with PCM16's ordinary scaling gets the same numbers from libsndfile's floats.
    as_int16 = preset.pcm_scale != _ORDINARY_PCM
    with FeatureWriter(target, preset, keep_channels=options.channels == "keep") as writer:
        for block in blocks(audio, block_samples=block_samples, as_int16=as_int16):
            for frames in stream.push(block):
                writer.add(frames)
            progress(min(1.0, audio.samples / audio.expected) if audio.expected else 0.0)
        for frames in stream.close():
            writer.add(frames)
        if writer.frames == 0:
            raise FileProblem(f"too short for preset {preset.name!r}: it gives no frame")
        shape = writer.finish()
    return Outcome(job, "done", shape=shape, rate=audio.rate_out, seconds=audio.seconds)


def _open(job: Job, options: Options) -> AudioFile:
    rate = None if options.native_rate else options.preset.sample_rate
    return open_audio(job.source, sample_rate=rate, channels=options.channels)


def _rate(job: Job, options: Options) -> int:
    audio = _open(job, options)
    audio.close()
    return audio.rate_out


def _no_older(picture: Path, target: Path) -> bool:
    try:
        return picture.stat().st_mtime >= target.stat().st_mtime
    except OSError:
        return False
