"""From the paths on the command line to the list of files and the names of their results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from melisma.cli.audio import extensions
from melisma.cli.errors import UsageProblem, shown


@dataclass(frozen=True)
class Job:
    """One input and where its result goes, relative to the output folder, without an ending."""

    source: Path
    name: Path

    def output(self, folder: Path, ending: str) -> Path:
        """Give the result's path; the source's own ending stays, so a.wav and a.flac do not meet."""
        return folder / self.name.parent / (self.name.name + ending)


def collect(inputs: Sequence[Path]) -> tuple[list[Job], list[tuple[Path, str]]]:
    """Find the files of ``inputs``; folders are searched recursively, and hidden names in them are left out.

    A single folder's files keep their paths within it; with several inputs the folder's own name comes first.

    Returns
    -------
    jobs, problems
        Files in a fixed order, each once; and what could not be looked into, with the reason.

    Raises
    ------
    UsageProblem
        Two different files would have the same result.
    """
    jobs: list[Job] = []
    problems: list[tuple[Path, str]] = []
    for path in inputs:
        if path.is_dir():
            prefix = Path(path.resolve().name) if len(inputs) > 1 else Path()
            found, unreadable = _walk(path)
            jobs += [Job(file, prefix / file.relative_to(path)) for file in found]
            problems += unreadable
        else:
            jobs.append(Job(path, Path(path.name)))
    return _distinct(jobs), problems


def _walk(folder: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    known = extensions()
    found: list[Path] = []
    problems: list[tuple[Path, str]] = []

    def unreadable(error: OSError) -> None:
        problems.append((Path(os.fsdecode(error.filename)), f"folder cannot be read: {error.strerror}"))

    for base, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1][1:].lower() in known:
                found.append(Path(base) / name)
    return found, problems


def _distinct(jobs: Sequence[Job]) -> list[Job]:
    by_name: dict[Path, Job] = {}
    seen: set[str] = set()
    for job in jobs:
        real = os.path.realpath(job.source)
        other = by_name.get(job.name)
        if other is not None and os.path.realpath(other.source) != real:
            raise UsageProblem(
                f"{shown(other.source)} and {shown(job.source)} would both be written to {shown(job.name)}.npy; "
                "give the folder that holds both, or run them into different folders"
            )
        if other is None and real not in seen:
            by_name[job.name] = job
            seen.add(real)
    return list(by_name.values())
