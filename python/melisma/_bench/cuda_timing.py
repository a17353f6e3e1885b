"""Time on a GPU: CUDA graphs where a call can be captured, events where it cannot, and the copy that floors are counted in."""

from __future__ import annotations

import contextlib
import functools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from . import rivals
from .rows import Context
from .timing import Timing

# A replay holds as many calls as fill this time, so that events' own resolution (half a microsecond) does not count.
REPLAY_MS = 1.0
MOST_CALLS = 200
ROUNDS, QUICK_ROUNDS = 30, 7
COPY_BYTES = 2 << 30  # and an eighth of it: far beyond the 60 MB of L2


@dataclass(frozen=True)
class Runner:
    """A call made ready to be timed: `start` puts `calls` of it on the current stream."""

    start: Callable[[], Any]
    calls: int
    captured: bool

    def milliseconds(self) -> float:
        """Device time of one call."""
        torch = rivals.torch
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        self.start()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / self.calls


def _repeated(turns: Sequence[Callable[[], Any]], calls: int) -> Callable[[], None]:
    """`calls` calls in turns. Each turn's result is released ahead of its next call, which so takes the same memory."""

    def start() -> None:
        results: list[Any] = [None] * len(turns)
        for number in range(calls):
            turn = number % len(turns)
            results[turn] = None
            results[turn] = turns[turn]()

    return start


@functools.cache
def _stream() -> Any:
    return rivals.torch.cuda.Stream()


@contextlib.contextmanager
def on_capture_stream() -> Iterator[None]:
    """Make the stream that calls are captured on the current one: a graph recorded here by autograd can be captured."""
    torch = rivals.torch
    _stream().wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(_stream()):
        yield
    torch.cuda.synchronize()


def prepare(*turns: Callable[[], Any]) -> Runner:
    """Warm a call up, and capture it where that is possible.

    turns: the same work on different memory, so that a call does not find its data in L2; or one call.
    """
    with on_capture_stream():
        for call in turns:
            for _ in range(3):
                call()
    once = _capture(turns, len(turns))
    took = min(once.milliseconds() for _ in range(3))
    rounds = max(1, min(MOST_CALLS, int(REPLAY_MS / max(took, 1e-3))) // len(turns))
    if rounds == 1:
        return once
    calls = rounds * len(turns)
    return _capture(turns, calls) if once.captured else Runner(_repeated(turns, calls), calls, False)


def _capture(turns: Sequence[Callable[[], Any]], calls: int) -> Runner:
    torch = rivals.torch
    start = _repeated(turns, calls)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=_stream()):
            start()
    except RuntimeError:  # it waits for the device, as torch.istft does
        torch.cuda.synchronize()
        return Runner(start, calls, False)
    graph.replay()
    torch.cuda.synchronize()
    return Runner(graph.replay, calls, True)


def peak_mb(call: Callable[[], Any]) -> float:
    """Megabytes that a call takes from PyTorch's allocator at its peak, its result included."""
    torch = rivals.torch
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def interleave(runners: list[Runner], quick: bool) -> list[Timing]:
    """Time all sides in turns."""
    samples: list[list[float]] = [[] for _ in runners]
    for number in range(QUICK_ROUNDS if quick else ROUNDS):
        for turn in range(len(runners)):
            index = (turn + number) % len(runners)
            samples[index].append(runners[index].milliseconds())
    return [Timing(statistics.median(s), min(s), len(s)) for s in samples]


def wall_us(call: Callable[[], Any], calls: int, rounds: int) -> float:
    """Microseconds of wall time that a call keeps its caller; the best round, for others' work only adds."""
    torch = rivals.torch
    best = float("inf")
    for _ in range(rounds):
        torch.cuda.synchronize()
        start = time.perf_counter_ns()
        for _ in range(calls):
            call()
        best = min(best, (time.perf_counter_ns() - start) / calls / 1e3)
    torch.cuda.synchronize()
    return best


def context(suite: str, quick: bool) -> Context:
    """Measure the copy bandwidth: bytes a second, read and written."""
    torch = rivals.torch
    if torch is None or not torch.cuda.is_available():
        raise ValueError(f"benchmark: suite {suite!r} needs a CUDA device that PyTorch sees, got none")
    source = torch.ones(COPY_BYTES // 4, device="cuda")
    target = torch.empty_like(source)
    best = 0.0
    # The driver's copy and a kernel's, of which the driver's takes a slower engine for large blocks; the best one counts.
    for size in (COPY_BYTES // 8, COPY_BYTES):
        part, into = source[: size // 4], target[: size // 4]
        for call in (functools.partial(into.copy_, part), functools.partial(torch.mul, part, 1.0, out=into)):
            runner = prepare(call)
            best = max(best, 2 * size / min(runner.milliseconds() for _ in range(10)) * 1e3)
    return Context(quick, best)


def machine() -> dict[str, Any]:
    """The GPU and what drives it."""
    torch = rivals.torch
    properties = torch.cuda.get_device_properties(0)
    others = {name: rivals.optional(name) for name in ("torchaudio", "causal_conv1d")}
    return {
        "gpu": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
        **{name: None if module is None else module.__version__ for name, module in others.items()},
    }
