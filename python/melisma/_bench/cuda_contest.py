"""Rows of a GPU table: ours and any number of rivals on the same tensors, in turns, beside the memory floor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from . import cuda_timing, rivals
from .rows import WRONG, Context, Goal, Row
from .speed import AGREEMENT

Call = Callable[[], Any]


@dataclass(frozen=True)
class Rival:
    """Calls of one work, on different memory where there are several; none where the rival is not installed."""

    name: str
    calls: Sequence[Call]


@dataclass(frozen=True)
class Contest:
    """Our calls and the rivals' (a goal's ratio means the first of these), and the bytes that must move once a call."""

    ours: Sequence[Call]
    rivals: Sequence[Rival]
    floor_bytes: int
    agreement: float = AGREEMENT


@dataclass
class _Side:
    name: str
    calls: Sequence[Call]
    runner: cuda_timing.Runner | None = None
    difference: float | None = None
    note: str = ""
    ms: float | None = None
    best_ms: float | None = None
    peak_mb: float | None = None


def measure(group: str, name: str, make: Callable[[], Contest], goal: Goal, context: Context) -> list[Row]:
    """Compare the results, then time all sides: a row for each rival that is there, the goal in the first row."""
    with cuda_timing.on_capture_stream():
        contest = make()
        # Ahead of anything that is timed: a step changes its state, and this is the first one of every side.
        result = contest.ours[0]()
        sides = [_compared(rival, result) for rival in contest.rivals if rival.calls]
        del result
    ours = _Side("melisma", contest.ours, cuda_timing.prepare(*contest.ours))
    for side in sides:
        if side.difference is not None:
            side.runner = cuda_timing.prepare(*side.calls)
    timed = [side for side in (ours, *sides) if side.runner is not None]
    timings = cuda_timing.interleave([side.runner for side in timed if side.runner is not None], context.quick)
    for side, timing in zip(timed, timings, strict=True):
        side.ms, side.best_ms, side.peak_mb = timing.median, timing.best, cuda_timing.peak_mb(side.calls[0])
    floor = context.floor_ms(contest.floor_bytes)
    main = sides[0] if sides and contest.rivals[0].calls else None
    ratio = None if main is None else _ratio(ours, main)
    rows = [
        _row(group, name, contest, floor, ours, side, goal if side is sides[0] else Goal(), ratio) for side in sides
    ]
    return rows or [_row(group, name, contest, floor, ours, _Side("", ()), goal, None)]


def _compared(rival: Rival, result: Any) -> _Side:
    side = _Side(rival.name, rival.calls)
    try:
        side.difference = difference(result, rival.calls[0]())
    except Exception as error:  # no compiler, a size that it does not take: ours is timed all the same
        side.note = f"{type(error).__name__}: {error}".splitlines()[0]
    return side


def _ratio(ours: _Side, theirs: _Side) -> float | None:
    return None if ours.ms is None or theirs.ms is None else theirs.ms / ours.ms


def _row(
    group: str, name: str, contest: Contest, floor: float, ours: _Side, side: _Side, goal: Goal, main: float | None
) -> Row:
    assert ours.ms is not None
    floors = ours.ms / floor
    verdict, note = goal.verdict(ours.ms, floors, main), side.note or _by_events(ours, side)
    if side.difference is not None and not side.difference <= contest.agreement:
        verdict, note = WRONG, f"results differ by {side.difference:.1e} of the largest value"
    both = (ours, side)
    detail = {
        "best_ms": [one.best_ms for one in both],
        "captured": [one.runner is not None and one.runner.captured for one in both],
        "peak_mb": [one.peak_mb for one in both],
        "floor_ms": floor,
        "relative_difference": side.difference
        if side.difference is not None and math.isfinite(side.difference)
        else None,
        "buffers": len(ours.calls),
    }
    return Row(
        group, name, side.name, "ms", ours.ms, side.ms, _ratio(ours, side), str(goal), verdict, floors, note, detail
    )


def _by_events(ours: _Side, side: _Side) -> str:
    if ours.runner is not None and not ours.runner.captured:
        return "by events"
    return "the rival by events" if side.runner is not None and not side.runner.captured else ""


def difference(ours: Any, theirs: Any) -> float:
    """max|ours - theirs| / max|theirs| over at most 4096 places of the last axis; of several results the largest."""
    torch = rivals.torch
    if isinstance(theirs, (tuple, list)):
        every = [difference(mine, other) for mine, other in zip(ours, theirs, strict=True)]
        return float(torch.tensor(every).max())  # NaN stays NaN, unlike in Python's max
    if ours.shape != theirs.shape:
        return float("inf")
    places = torch.linspace(0, ours.shape[-1] - 1, min(4096, ours.shape[-1]), device=ours.device).long()
    mine, other = (tensor.detach()[..., places] for tensor in (ours, theirs))
    if not mine.is_complex():
        mine, other = mine.float(), other.float()
    return float((mine - other).abs().max() / other.abs().max())
