"""The suites "conv" and "conv-cuda": their cases run and agree, the latter in a rehearsal on the CPU."""

from __future__ import annotations

import contextlib
import itertools
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import melisma  # noqa: E402
from melisma import benchmark  # noqa: E402
from melisma._bench import conv, conv_accuracy, conv_cuda, conv_rivals, cuda_contest, cuda_timing, timing  # noqa: E402
from melisma._bench.cuda_contest import Contest, Rival  # noqa: E402
from melisma._bench.rows import FAILED, INFO, MISSING, PASS, SHORT, WRONG, Case, Context, Goal, Row  # noqa: E402
from melisma._bench.separator import differentiable  # noqa: E402

CONTEXT = Context(True, 1e9)
needs_gradients = pytest.mark.skipif(not differentiable(), reason="melisma was built without PyTorch")


@pytest.fixture(autouse=True)
def _short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rounds a case, small sizes, a copy of a megabyte: the figures do not matter here."""
    monkeypatch.setattr("melisma._bench.rows.QUICK", timing.Budget(seconds=0.0, min_rounds=2))
    monkeypatch.setattr(timing, "COPY_BYTES", 1 << 20)
    monkeypatch.setattr(conv_accuracy, "SIZE", (2, 16, 200))
    monkeypatch.setattr(conv, "LARGE", ((1, 16, 70, 15.0), (2, 24, 33, None)))
    monkeypatch.setattr(conv, "PACKED", (16, 70, 8))
    monkeypatch.setattr(conv, "UPDATE_SIZE", (3, 40))
    monkeypatch.setattr(conv, "TRAINED", ((1, 16, 70),))


def measured(cases: list[Case]) -> list[Row]:
    rows = benchmark._measure(cases, CONTEXT)
    assert {row.name for row in rows} >= {case.name for case in cases if case.group != conv_accuracy.GROUP}
    for row in rows:
        assert row.verdict not in (FAILED, WRONG), row
        assert "Error" not in row.note, row
        assert row.ours is not None
        assert row.ours >= 0
    return rows


# --- on the CPU ------------------------------------------------------------------------------------------------------


def test_the_cpu_table_has_the_issues_targets() -> None:
    every = {case.name: case for case in conv.cases()}
    assert len(every) == len(conv.cases())
    (row, other) = measured([every["conv1d 4x256x512 float32"]])
    assert (row.target, other.target) == (">= 3x", "")
    assert row.verdict in (PASS, SHORT)
    assert other.verdict == INFO
    assert (row.rival, other.rival) == ("conv1d, groups", "unrolled")
    assert measured([every["conv1d + SiLU 1x512x1024 bfloat16"]])[0].target == ">= 8x"
    assert measured([every["conv1d + SiLU 1x16x70 float32"]])[0].target == "<= 1.3 floors, >= 15x"
    assert measured([every["conv1d + SiLU 1x16x70, channel-last bfloat16"]])[0].target == "<= 1.3 floors"
    assert measured([every["short_conv_fused A/C B1 T128 D512 float32"]])[0].target == ">= 5x"
    assert measured([every["short_conv_update 3x40 bfloat16"]])[0].target == ">= 4x"


@pytest.mark.parametrize("dtype", conv_rivals.DTYPES)
@pytest.mark.parametrize(
    "group", ["large", "packed", "update", "accuracy", pytest.param("backward", marks=needs_gradients)]
)
def test_every_kind_of_case_agrees_with_pytorch(group: str, dtype: str) -> None:
    measured([case for case in conv.cases() if case.group == group and dtype in case.name])


def test_a_convolution_that_differs_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = conv_rivals.conv1d
    monkeypatch.setattr(conv_rivals, "conv1d", lambda *arguments: 1.001 * honest(*arguments))
    (case,) = (case for case in conv.cases() if case.name == "conv1d 1x64x128 float32")
    rows = benchmark._measure([case], CONTEXT)
    assert [row.verdict for row in rows] == [WRONG, INFO]


def test_accuracy_is_short_where_pytorch_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = melisma.causal_conv1d
    monkeypatch.setattr(melisma, "causal_conv1d", lambda *a, **k: honest(*a, **k) * (1 + 1e-5))
    case = conv_accuracy.cases("cpu", ("float32",), gradients=False)[0]
    (row,) = benchmark._measure([case], CONTEXT)
    assert row.verdict == SHORT
    assert row.ours == pytest.approx(1e-5, rel=0.1)


def test_boundaries_cover_the_steps() -> None:
    starts = conv_rivals.boundaries(100, 8)
    assert (starts[0], starts[-1], len(starts)) == (0, 100, 9)
    assert len({b - a for a, b in itertools.pairwise(starts)}) > 1


def test_pytorchs_ways_are_the_same_function() -> None:
    x = conv_rivals.signal(2, 5, 30, last=False, dtype="float64", device="cpu")
    weight, bias = conv_rivals.taps(5, dtype="float64", device="cpu")
    want = conv_rivals.conv1d(x, weight, bias)
    torch.testing.assert_close(conv_rivals.unrolled(x, weight, bias), want)
    torch.testing.assert_close(conv_rivals.unrolled_last(x.mT, weight, bias).mT, want)
    mask = conv_rivals.mask(2, 30, device="cpu")
    rows = x.mT.contiguous()
    fused = conv_rivals.short_conv(rows, weight, bias, mask)
    torch.testing.assert_close(conv_rivals.short_conv_unrolled(rows, weight, bias, mask), fused)
    states, ring = [torch.zeros(2, 5, places, dtype=x.dtype) for places in (3, 4)], torch.zeros(2, 5, 4, dtype=x.dtype)
    for t in range(9):
        for state in states:
            torch.testing.assert_close(conv_rivals.roll_update(x[..., t], state, weight, bias), want[..., t])
        position = torch.full((2,), t, dtype=torch.int32)
        torch.testing.assert_close(
            conv_rivals.ring_update(x[..., t], ring, weight, bias, position), x[..., t] + want[..., t]
        )


# --- a rehearsal of the GPU suite ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Runner:
    turns: tuple[Callable[[], Any], ...]
    captured: bool = True

    def milliseconds(self) -> float:
        start = time.perf_counter()
        for call in self.turns:
            call()
        return 1e3 * (time.perf_counter() - start) / len(self.turns)


def wall_us(call: Callable[[], Any], calls: int, rounds: int) -> float:
    assert calls > 0
    assert rounds > 0
    return 1e3 * Runner((call,)).milliseconds()


@pytest.fixture
def rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_timing, "on_capture_stream", contextlib.nullcontext)
    monkeypatch.setattr(cuda_timing, "prepare", lambda *turns: Runner(turns))
    monkeypatch.setattr(cuda_timing, "peak_mb", lambda call: float(call() is not None))
    monkeypatch.setattr(cuda_timing, "wall_us", wall_us)
    monkeypatch.setattr(cuda_timing, "QUICK_ROUNDS", 2)
    monkeypatch.setattr(conv_cuda, "DEVICE", "cpu")
    monkeypatch.setattr(conv_cuda, "L2_BYTES", 10_000)
    monkeypatch.setattr(conv_cuda, "LARGE", ((2, 16, 40), (1, 24, 64)))
    monkeypatch.setattr(conv_cuda, "UPDATES", ((3, 40, 1.4),))
    monkeypatch.setattr(conv_cuda, "SCENES", (("A/C", 2, 30, 16),))
    monkeypatch.setattr(conv_cuda, "SMALL_SCENES", (("D", 2, 20, 8),))
    monkeypatch.setattr(conv_cuda, "SMALL_SIZES", ((1, 8, 16),))
    monkeypatch.setattr(conv_cuda, "_compiled", lambda function: function)


def dao_fn(
    x: Any,
    weight: Any,
    bias: Any = None,
    seq_idx: Any = None,
    initial_states: Any = None,
    return_final_states: bool = False,
    final_states_out: Any = None,
    activation: str | None = None,
) -> Any:
    """causal_conv1d's function with its rules, by plain sums."""
    assert x.stride(1) == 1 or x.stride(2) == 1
    assert activation == "silu"
    assert final_states_out is None
    steps, width = x.shape[-1], weight.shape[1]
    before = torch.zeros_like(x[..., : width - 1]) if initial_states is None else initial_states
    taps = torch.cat([before, x], -1)
    pieces = []
    for k in range(width):
        piece = taps[..., k : k + steps]
        if seq_idx is not None:
            assert initial_states is None
            assert seq_idx.dtype == torch.int32
            assert seq_idx.shape == (x.shape[0], steps)
            same = torch.nn.functional.pad(seq_idx, (width - 1 - k, 0), value=-1)[:, :steps] == seq_idx
            piece = piece * same[:, None]
        pieces.append(piece * weight[:, k : k + 1])
    out = torch.nn.functional.silu(sum(pieces) + bias[:, None])
    return (out, taps[..., steps:]) if return_final_states else out


def dao_backward(
    x: Any,
    weight: Any,
    bias: Any,
    dout: Any,
    seq_idx: Any,
    initial: Any,
    dfinal: Any,
    dx: Any,
    dstates: bool,
    silu: bool,
) -> tuple[Any, ...]:
    assert (seq_idx, initial, dfinal, dx, dstates, silu) == (None, None, None, None, False, True)
    leaves = [tensor.detach().requires_grad_() for tensor in (x, weight, bias)]
    return (*torch.autograd.grad(dao_fn(*leaves, activation="silu"), leaves, dout), None)


def dao_update(x: Any, conv_state: Any, weight: Any, bias: Any = None, activation: Any = None) -> Any:
    assert activation == "silu"
    return conv_rivals.roll_update(x, conv_state, weight, bias)


@pytest.fixture
def dao(monkeypatch: pytest.MonkeyPatch) -> None:
    package = types.SimpleNamespace(causal_conv1d_fn=dao_fn, causal_conv1d_update=dao_update)
    kernels = types.SimpleNamespace(causal_conv1d_bwd_function=dao_backward)
    monkeypatch.setattr(conv_cuda, "_dao", lambda: (package, kernels))


@needs_gradients
@pytest.mark.usefixtures("rehearsal", "dao")
def test_the_gpu_suite_in_a_rehearsal_with_every_rival() -> None:
    cases = conv_cuda.cases()
    assert len({case.name for case in cases}) == len(cases)
    rows = measured(cases)
    assert {row.rival for row in rows} == {
        conv_cuda.DAO, conv_cuda.COMPILED, conv_cuda.COMPOSITION, conv_cuda.NOTHING, "roll, sum", "PyTorch ops",
    }  # fmt: skip
    first = {row.name: row for row in reversed(rows)}
    assert first["conv1d + SiLU 2x16x40, channel-last bfloat16"].target == "<= 1.05 floors"
    assert first["conv1d + SiLU 2x16x40, channel-last, seq_idx float32"].target == "<= 1.1 floors"
    assert first["backward 1x24x64, channel-last float32"].target == "<= 1.15 floors"
    assert first["causal_conv1d_update 3x40, 3 places float32"].target == "<= 1.4 floors"
    assert first["causal_conv1d_update 3x40, 3 places float32"].detail["buffers"] > 2
    assert first["short_conv_fused D float32"].target == "< 3 us"
    assert first["a call of autograd's backward, wall time 1x8x16 bfloat16"].target == ">= 2x"
    assert first["a call of autograd's backward, wall time 1x8x16 bfloat16"].rival == conv_cuda.DAO


@needs_gradients
@pytest.mark.usefixtures("rehearsal")
def test_the_gpu_suite_without_causal_conv1d_judges_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv_cuda, "_dao", lambda: None)
    rows = measured(conv_cuda.cases(quick=True))
    assert conv_cuda.DAO not in {row.rival for row in rows if row.unit == "ms"}
    assert conv_cuda.COMPILED not in {row.rival for row in rows}
    first = {row.name: row for row in reversed(rows)}
    alone = first["conv1d + SiLU 2x16x40, channel-last, cu_seqlens float32"]
    assert (alone.rival, alone.theirs) == ("", None)
    assert alone.verdict in (PASS, SHORT)
    assert first["conv1d + SiLU 1x8x16 float32"].verdict == MISSING
    assert first["conv1d + SiLU 1x8x16 float32"].rival == conv_cuda.COMPOSITION
    assert first["a call of autograd's backward, wall time 1x8x16 float32"].verdict == MISSING


def _one() -> Any:
    return torch.ones(3)


def _contest(*others: Rival) -> Callable[[], Contest]:
    return lambda: Contest([_one], others, 1000)


@pytest.mark.usefixtures("rehearsal")
def test_a_rival_that_fails_is_a_note() -> None:
    def broken() -> Any:
        raise RuntimeError("no compiler\nat all")

    rows = cuda_contest.measure("g", "n", _contest(Rival("a", [broken]), Rival("b", [_one])), Goal(ratio=1e-9), CONTEXT)
    assert [(row.rival, row.verdict, row.note, row.theirs is None) for row in rows] == [
        ("a", MISSING, "RuntimeError: no compiler", True),
        ("b", INFO, "", False),
    ]


@pytest.mark.usefixtures("rehearsal")
@pytest.mark.parametrize("value", [1.001, float("nan")])
def test_a_rival_that_differs_is_wrong_in_any_of_several_results(value: float) -> None:
    ours, theirs = (torch.ones(3), torch.ones(2)), (torch.full((3,), value), torch.ones(2))
    contest = Contest([lambda: ours], [Rival("a", [lambda: theirs])], 1000)
    (row,) = cuda_contest.measure("g", "n", lambda: contest, Goal(), CONTEXT)
    assert row.verdict == WRONG
    assert cuda_contest.difference(torch.ones(3), torch.ones(4)) == float("inf")


@pytest.mark.usefixtures("rehearsal")
def test_a_goal_judges_floors_and_microseconds_without_any_rival() -> None:
    (row,) = cuda_contest.measure("g", "n", _contest(Rival("a", [])), Goal(floors=1e9), CONTEXT)
    assert (row.rival, row.verdict, row.target) == ("", PASS, "<= 1e+09 floors")
    assert Goal(us=3.0).verdict(0.0029, 1.0, None) == PASS
    assert Goal(us=3.0).verdict(0.0030, 1.0, None) == SHORT


def test_the_gpu_suite_needs_a_gpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="suite 'conv-cuda' needs a CUDA device"):
        benchmark.run("conv-cuda")
