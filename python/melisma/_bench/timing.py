"""Interleaved timing of two or more sides, and the copy bandwidth that memory floors are counted in."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np

# A round calls each side again and again until a block of this length is full (one call at least), after one call that
# is not timed: neither side is measured in the caches that the other left, or on memory that a hypervisor took back
# meanwhile (200 ms for a fresh 94 MB on a virtual machine with free page reporting, 58 ms for the istft that fills it).
BLOCK_MS = 4.0
COPY_BYTES = 256 << 20  # far beyond any last-level cache


@dataclass(frozen=True)
class Budget:
    """How long a case is measured: until `seconds` are over, but at least `min_rounds` rounds."""

    seconds: float
    min_rounds: int
    max_rounds: int = 200


FULL = Budget(seconds=2.0, min_rounds=5)
QUICK = Budget(seconds=0.25, min_rounds=3)


@dataclass(frozen=True)
class Timing:
    """Milliseconds a call of one side; `calls` were timed one by one."""

    median: float
    best: float
    calls: int


@dataclass(frozen=True)
class Side:
    """One competitor: `call` is timed, `before` runs untimed ahead of each block (thread counts are set there)."""

    name: str
    call: Callable[[], Any]
    before: Callable[[], object] | None = None


def interleave(sides: Sequence[Side], budget: Budget) -> list[Timing]:
    """Time all sides in turns, A B C B C A ..., and return one Timing for each.

    A side's result is released before its next call, untimed, so each call allocates its result in its usual way.
    """
    samples: list[list[int]] = [[] for _ in sides]
    start = perf_counter_ns()
    for round_number in range(budget.max_rounds):
        if round_number >= budget.min_rounds and perf_counter_ns() - start > budget.seconds * 1e9:
            break
        for turn in range(len(sides)):
            index = (turn + round_number) % len(sides)
            _run_block(sides[index], samples[index])
    return [Timing(statistics.median(s) / 1e6, min(s) / 1e6, len(s)) for s in samples]


def _run_block(side: Side, samples: list[int]) -> None:
    if side.before is not None:
        side.before()
    call = side.call
    call()  # not timed, see BLOCK_MS
    spent = 0
    while True:
        start = perf_counter_ns()
        result = call()
        took = perf_counter_ns() - start
        del result
        samples.append(took)
        spent += took
        if spent > BLOCK_MS * 1e6:
            return


def settle_malloc() -> None:
    """Bring glibc's malloc into the state that a process reaches after a while, which is the rivals' best.

    malloc maps large blocks afresh, page faults and all, until one of that size has been freed: after that it recycles
    blocks up to that size, 32 MB at most. torch.stft of 4x160k took 10.1 ms before and 2.6 ms after. Without this the
    figures would depend on which case ran before. No effect on other allocators.
    """
    block = np.ones(31 << 20, np.uint8)
    del block


def copy_bandwidth(repeats: int = 7) -> float:
    """Return bytes a second that one thread moves in the best of some copies, counting the read and the write."""
    source = np.ones(COPY_BYTES // 4, np.float32)
    target = np.zeros_like(source)
    times = []
    for _ in range(repeats):
        start = perf_counter_ns()
        np.copyto(target, source)
        times.append(perf_counter_ns() - start)
    return 2.0 * COPY_BYTES / (min(times) / 1e9)
