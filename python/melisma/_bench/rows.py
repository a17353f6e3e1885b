"""One line of the benchmark's table, and what it was measured on."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import melisma

from . import rivals
from .timing import FULL, QUICK, Budget

PASS, SHORT, INFO, MISSING, WRONG, FAILED = "pass", "short", "-", "no rival", "wrong", "failed"


@dataclass(frozen=True)
class Context:
    """What one run of the benchmark shares between its cases."""

    quick: bool
    bandwidth: float  # bytes a second, read plus write, one thread

    @property
    def budget(self) -> Budget:
        """How long a timed case is measured."""
        return QUICK if self.quick else FULL

    def floor_ms(self, nbytes: int) -> float:
        """Milliseconds to move `nbytes` once."""
        return nbytes / self.bandwidth * 1e3


@dataclass(frozen=True)
class Row:
    """One comparison: `ours` and `theirs` in `unit`, their ratio, the target and whether it is reached."""

    group: str
    name: str
    rival: str = ""
    unit: str = "ms"
    ours: float | None = None
    theirs: float | None = None
    ratio: float | None = None  # larger is better for melisma
    target: str = ""
    verdict: str = INFO
    floors: float | None = None  # `ours` in multiples of the memory floor
    note: str = ""
    detail: dict[str, Any] = field(default_factory=dict)  # goes to the JSON file only

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class Goal:
    """At most so many floors, at least so many times the rival's speed, less than so many microseconds."""

    floors: float | None = None
    ratio: float | None = None
    us: float | None = None

    def __str__(self) -> str:
        parts = [] if self.floors is None else [f"<= {self.floors:g} floors"]
        parts += [] if self.ratio is None else [f">= {self.ratio:g}x"]
        return ", ".join(parts if self.us is None else [*parts, f"< {self.us:g} us"])

    def verdict(self, ms: float, floors: float, ratio: float | None) -> str:
        """Judge a time in milliseconds; a ratio is missing where its rival is."""
        if self == Goal():
            return INFO
        if self.ratio is not None and ratio is None:
            return MISSING
        reached = (
            (self.floors is None or floors <= self.floors)
            and (self.ratio is None or ratio is None or ratio >= self.ratio)
            and (self.us is None or 1e3 * ms < self.us)
        )
        return PASS if reached else SHORT


@dataclass(frozen=True)
class Case:
    """A named measurement that gives one row or more. `slow` ones are left out of a quick run."""

    group: str
    name: str
    measure: Callable[[Context], list[Row]]
    slow: bool = False


def cpus() -> int:
    """Return how many CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """Return what a reader needs to judge the figures: processor, SIMD target, versions, date."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cpus": cpus(),
        "load_average": os.getloadavg()[0]
        if hasattr(os, "getloadavg")
        else None,  # at the end, the benchmark's own in it
        "system": f"{platform.system()} {platform.machine()}",
        "simd_target": melisma.simd_target(),
        "transparent_huge_pages": _first_line("/sys/kernel/mm/transparent_hugepage/enabled"),
        "python": platform.python_version(),
        "melisma": melisma.__version__,
        "rivals": rivals.versions(),
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _first_line(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        return None
