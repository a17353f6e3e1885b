"""How the benchmark captures calls on a GPU, on a stand-in for torch.cuda that counts time."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from melisma._bench import cuda_timing


class FakeGraph:
    """Records a capture of Python calls and replays their number as time."""

    def __init__(self) -> None:
        self.calls = 0

    def replay(self) -> None:
        FakeCuda.clock += self.calls * FakeCuda.call_ms


class FakeCuda:
    """What cuda_timing asks of torch.cuda: every call takes `call_ms`, and `waits` says whether it cannot be captured."""

    clock = 0.0
    call_ms = 0.05
    waits = False
    capturing: FakeGraph | None = None
    CUDAGraph = FakeGraph

    class Stream:
        def wait_stream(self, other: Any) -> None:
            assert other is not None

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = FakeCuda.clock

        def synchronize(self) -> None:
            pass

        def elapsed_time(self, end: FakeCuda.Event) -> float:
            return end.at - self.at

    @staticmethod
    def current_stream() -> str:
        return "current"

    @staticmethod
    def stream(stream: Any) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext(stream)

    @staticmethod
    def synchronize() -> None:
        pass

    @staticmethod
    @contextlib.contextmanager
    def graph(graph: FakeGraph, stream: Any) -> Iterator[None]:
        assert isinstance(stream, FakeCuda.Stream)
        FakeCuda.capturing = graph
        try:
            yield
        finally:
            FakeCuda.capturing = None

    @classmethod
    def work(cls) -> None:
        if cls.capturing is None:
            cls.clock += cls.call_ms
        elif cls.waits:
            raise RuntimeError("operation not permitted when stream is capturing")
        else:
            cls.capturing.calls += 1


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeCuda]]:
    cuda_timing._stream.cache_clear()
    monkeypatch.setattr("melisma._bench.rivals.torch", types.SimpleNamespace(cuda=FakeCuda))
    for name, value in (("clock", 0.0), ("call_ms", 0.05), ("waits", False)):
        monkeypatch.setattr(FakeCuda, name, value)
    yield FakeCuda
    cuda_timing._stream.cache_clear()


def test_a_graph_holds_as_many_calls_as_fill_the_time(fake_cuda: type[FakeCuda], monkeypatch: Any) -> None:
    runner = cuda_timing.prepare(fake_cuda.work)
    assert runner.captured
    assert runner.calls == pytest.approx(cuda_timing.REPLAY_MS / 0.05, abs=1)
    assert runner.milliseconds() == pytest.approx(0.05)
    monkeypatch.setattr(fake_cuda, "call_ms", 0.001)
    assert cuda_timing.prepare(fake_cuda.work).calls == cuda_timing.MOST_CALLS
    monkeypatch.setattr(fake_cuda, "call_ms", 7.0)
    assert cuda_timing.prepare(fake_cuda.work).calls == 1


def test_turns_are_captured_in_whole_rounds(fake_cuda: type[FakeCuda]) -> None:
    order: list[int] = []

    def turn(number: int) -> Callable[[], None]:
        def call() -> None:
            fake_cuda.work()
            order.append(number)

        return call

    runner = cuda_timing.prepare(*(turn(number) for number in range(3)))
    assert runner.calls % 3 == 0
    assert runner.calls > 3
    assert order[-runner.calls :] == [0, 1, 2] * (runner.calls // 3)
    assert runner.milliseconds() == pytest.approx(0.05)


def test_what_cannot_be_captured_is_timed_by_events(fake_cuda: type[FakeCuda], monkeypatch: Any) -> None:
    monkeypatch.setattr(fake_cuda, "waits", True)
    runner = cuda_timing.prepare(fake_cuda.work)
    assert not runner.captured
    assert runner.calls > 1
    assert runner.milliseconds() == pytest.approx(0.05)


def test_each_turn_has_its_own_result_until_its_next_call() -> None:
    alive: list[int] = []

    class Result:
        def __init__(self, number: int) -> None:
            assert number not in alive  # its own former result is gone, the other's is not
            alive.append(number)
            self.number = number

        def __del__(self) -> None:
            alive.remove(self.number)

    cuda_timing._repeated([lambda: Result(0), lambda: Result(1)], 6)()
    assert alive == []
