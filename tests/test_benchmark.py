"""The benchmark runs, says what is missing or wrong, and leaves the process as it was."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import melisma
from melisma import benchmark
from melisma._bench import checks, report, rivals, speed, timing
from melisma._bench.rows import FAILED, INFO, MISSING, PASS, SHORT, WRONG, Case, Context, Goal, Row

SMALL_CALL = "small call: stft 1x16000 n 512 hop 128, NumPy"
needs_torch = pytest.mark.skipif(rivals.torch is None, reason="torch is not installed")


@pytest.fixture(autouse=True)
def _short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rounds a case and a copy of a megabyte: the figures do not matter here."""
    monkeypatch.setattr("melisma._bench.rows.QUICK", timing.Budget(seconds=0.0, min_rounds=2))
    monkeypatch.setattr(timing, "COPY_BYTES", 1 << 20)


def test_a_run_measures_writes_json_and_restores_the_threads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = melisma.get_num_threads()
    target = tmp_path / "result.json"
    assert benchmark.run(quick=True, json_out=target, only=SMALL_CALL) == 0
    assert melisma.get_num_threads() == before
    assert "stft 1x16000" in capsys.readouterr().out
    result = json.loads(target.read_text(encoding="utf-8"))
    assert result["quick"] is True
    assert result["copy_gb_s"] > 0
    assert result["machine"]["simd_target"] == melisma.simd_target()
    assert result["machine"]["rivals"]["numpy"] == np.__version__
    (row,) = result["rows"]
    assert row["ours"] > 0
    assert row["floors"] > 0
    assert os.listdir(tmp_path) == ["result.json"]


@needs_torch
def test_a_row_compares_both_sides_and_judges_the_target() -> None:
    (row,) = _run_only(SMALL_CALL)
    assert row.verdict == (PASS if row.ratio >= 2.5 else SHORT)
    assert row.ratio == pytest.approx(row.theirs / row.ours)
    assert row.target == ">= 2.5x"
    assert row.detail["relative_difference"] < 1e-6


@needs_torch
def test_sides_that_disagree_are_reported_as_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = rivals.torch_stft
    monkeypatch.setattr(rivals, "torch_stft", lambda *arguments: 1.001 * honest(*arguments))
    (row,) = _run_only(SMALL_CALL)
    assert row.verdict == WRONG
    assert "differ by 1.0e-03" in row.note
    assert benchmark.run(quick=True, only=SMALL_CALL) == 1


@needs_torch
def test_a_result_of_another_shape_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = rivals.torch_stft
    monkeypatch.setattr(rivals, "torch_stft", lambda *arguments: honest(*arguments)[..., 1:])
    (row,) = _run_only(SMALL_CALL)
    assert row.verdict == WRONG
    assert row.detail["relative_difference"] is None


def test_a_missing_rival_is_named_and_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "torch", None)
    (row,) = _run_only(SMALL_CALL)
    assert (row.verdict, row.rival, row.note, row.theirs) == (MISSING, "torch.stft", "not installed", None)
    assert row.ours > 0
    assert benchmark.run(quick=True, only=SMALL_CALL) == 0


def test_a_case_that_raises_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Context) -> list[Row]:
        raise RuntimeError("no memory left")

    fine = Case("a", "fine", lambda _: [Row("a", "fine")])
    monkeypatch.setattr(speed, "cases", lambda: [Case("a", "broken", broken), fine])
    rows = benchmark._measure(benchmark._choose("cpu", True, "^a: "), Context(True, 1e9))
    assert [(row.name, row.verdict, row.note) for row in rows] == [
        ("broken", FAILED, "RuntimeError: no memory left"),
        ("fine", INFO, ""),
    ]
    assert benchmark.run(quick=True, only="^a: ") == 1


def test_strict_counts_a_missed_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "cases", lambda: [Case("a", "slow", lambda _: [Row("a", "slow", verdict=SHORT)])])
    assert benchmark.run(only="^a: ") == 0
    assert benchmark.run(only="^a: ", strict=True) == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"suite": "gpu"}, "suite must be one of cpu, separator, cuda, conv, conv-cuda, got 'gpu'"),
        ({"only": "("}, r"only must be a regular expression, got '\('"),
        ({"only": "no such case"}, "only must match a case of this run, got 'no such case'; the cases are"),
        ({"json_out": "no/such/folder/x.json"}, "json_out must lie in an existing folder, got 'no/such/folder/x.json'"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_measured(arguments: dict[str, str], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        benchmark.run(**arguments)


def test_the_command_line_answers_bad_arguments_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["--only", "no such case"]) == 2
    assert "only must match" in capsys.readouterr().err


def test_the_command_line_passes_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(benchmark, "run", lambda *a, **k: seen.append((a, k)) or 0)
    assert benchmark.main(["--quick", "--only", "mel", "--json", "x.json", "--strict"]) == 0
    assert seen == [(("cpu", True, "x.json", "mel"), {"strict": True, "audio": None})]


def test_every_case_has_its_own_name_and_quick_leaves_the_large_ones_out() -> None:
    every = benchmark._choose("cpu", False, None)
    quick = benchmark._choose("cpu", True, None)
    names = [(case.group, case.name) for case in every]
    assert len(names) == len(set(names))
    assert {case.name for case in every} - {case.name for case in quick} == {
        "stft 2x11.8M n 2048 hop 512",
        "istft 2x11.8M n 2048 hop 512",
        "log-filtered 4x195 s at 44.1 kHz, 2048, 100 fps, 81 bands",
        "the same as compat.madmom computes it, in float64, 4x195 s",
        "log_filtered, peak beyond input and result",
        "log-mel dB forward+backward 32x480k n 400 hop 160, 80 mels",
    }


def test_sides_take_turns_and_results_are_released_before_the_next_call() -> None:
    order: list[str] = []
    alive: list[str] = []

    class Result:
        def __init__(self, name: str) -> None:
            assert not alive
            alive.append(name)
            order.append(name)

        def __del__(self) -> None:
            alive.pop()

    sides = [timing.Side(name, lambda name=name: Result(name)) for name in "AB"]
    timings = timing.interleave(sides, timing.Budget(seconds=0.0, min_rounds=2))
    blocks = [name for i, name in enumerate(order) if i == 0 or order[i - 1] != name]
    assert blocks == list("ABA")  # A B, then B A: neighbours of one side melt together
    assert all(0 < t.best <= t.median and t.calls >= 1 for t in timings)


def test_a_side_is_prepared_before_each_of_its_blocks() -> None:
    threads: list[int] = []
    sides = [timing.Side(str(n), lambda: None, before=lambda n=n: threads.append(n)) for n in (2, 1)]
    timing.interleave(sides, timing.Budget(seconds=0.0, min_rounds=2))
    assert threads == [2, 1, 1, 2]


def test_two_threads_need_two_cpus() -> None:
    (case,) = speed.thread_cases(1)
    (row,) = case.measure(Context(True, 1e9))
    assert row.verdict == MISSING
    assert len(speed.thread_cases(2)) == 6


@pytest.mark.parametrize("operator", ["stft", "istft", "mel", pytest.param("torch.stft", marks=needs_torch)])
def test_first_calls_are_measured_in_a_fresh_process(operator: str) -> None:
    took = checks._probe("first-call", operator, 16_000, 128, 400)
    assert set(took) == {"128", "400"}
    assert all(0 < ms < 1000 for ms in took.values())


@pytest.mark.parametrize("operator", ["mel", "log_mel", "log_filtered"])
def test_peak_memory_is_measured_in_a_fresh_process(operator: str) -> None:
    found = checks._probe("memory", operator, "melisma", 2)
    frames, bands = (200, 81) if operator == "log_filtered" else (201, 80)
    assert found["result"] == 4 * frames * bands


def test_a_probe_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="kind must be first-call or memory, got 'nonsense'"):
        checks._probe("nonsense")
    with pytest.raises(RuntimeError, match=r"operator must be stft, istft, mel or torch\.stft, got 'fft'"):
        checks._probe("first-call", "fft", 16_000, 128)


def test_accuracy_names_the_sizes_that_are_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "ACCURACY_SIZES", (8, 16, 32))
    errors = {8: (1e-7, 2e-7), 16: (3e-7, 2e-7), 32: (0.0, 0.0)}
    monkeypatch.setattr(rivals, "torch", object())
    (row,) = checks._accuracy("stft", errors.__getitem__).measure(Context(True, 1e9))
    assert row.verdict == SHORT
    assert row.note == "2 of 3 sizes no larger; closest n 16; larger at n 16 (1.50x)"


@pytest.mark.parametrize("n_fft", [1, 2, 7, 64, 100])
def test_the_reference_is_the_definition(n_fft: int) -> None:
    x, window = np.random.default_rng(0).standard_normal(150), speed.hann(n_fft).astype(np.float64)
    spec = rivals.reference_stft(x, n_fft, max(1, n_fft // 4), window)
    padded = np.pad(x, n_fft // 2, mode="reflect")
    start = 2 * max(1, n_fft // 4)
    k, n = np.meshgrid(np.arange(n_fft // 2 + 1), np.arange(n_fft), indexing="ij")
    expected = (np.exp(-2j * np.pi * k * n / n_fft) * (padded[start : start + n_fft] * window)).sum(axis=1)
    np.testing.assert_allclose(spec[2], expected, atol=1e-12)


def test_the_table_without_rich_is_markdown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    row = Row("stft", "stft 4x160k", "torch.stft", ours=0.5, theirs=12.5, ratio=25.0, target=">= 4x", verdict=PASS,
              floors=1.25, note="hello")  # fmt: skip
    report.print_table([row], "heading")
    out = capsys.readouterr().out
    assert "| stft 4x160k | 0.500 ms | torch.stft | 12.50 ms | 25.0x | >= 4x | pass | 1.25 |" in out
    assert "- stft 4x160k: hello" in out


def test_the_table_with_rich_shows_every_cell(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    report.print_table([Row("accuracy", "stft", unit="abs", ours=1.5e-7, verdict=SHORT)], "heading")
    out = capsys.readouterr().out
    assert "1.50e-07" in out
    assert "short" in out


def test_a_documents_table_has_all_rivals_of_a_work_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        Row("conv", "conv1d 1x64x128", "torch", ours=0.0125, theirs=0.05, ratio=4.0, target=">= 3x", verdict=PASS, floors=1.5),
        Row("conv", "conv1d 1x64x128", "unrolled", ours=0.0125, theirs=2.5, ratio=200.0, floors=1.5),
        Row("accuracy", "error", "torch", "abs", 1e-7, note="missing", verdict=MISSING),
    ]  # fmt: skip
    report.write_json(tmp_path / "x.json", rows, {})
    report.main([str(tmp_path / "x.json")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == [
        "| conv1d 1x64x128 | 12.50 us | 1.50 | >= 3x | pass | torch 50.00 us (4.00x); unrolled 2.500 ms (200.0x) |",
        "| error | 1.00e-07 |  |  | no rival |  |",
    ]
    report.main([str(tmp_path / "x.json"), "^Accuracy"])
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    target.write_text("old", encoding="utf-8")
    with pytest.raises(ValueError, match="Out of range float"):
        report.write_json(target, [Row("a", "b", ours=float("nan"))], {})
    assert target.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["result.json"]


def _run_only(only: str) -> list[Row]:
    return benchmark._measure(benchmark._choose("cpu", True, only), Context(True, 1e9))


@needs_torch
def test_the_cuda_suite_has_the_issues_table_and_needs_a_gpu() -> None:
    from melisma._bench import cuda

    names = [f"{case.group}: {case.name}" for case in cuda.cases()]
    assert len(set(names)) == len(names)
    assert len([name for name in names if name.startswith("general")]) == 14
    assert "stft: stft 32x480k n 400 hop 160" in names
    if not rivals.torch.cuda.is_available():
        with pytest.raises(ValueError, match="suite 'cuda' needs a CUDA device"):
            benchmark.run("cuda")


def test_goals_of_the_cuda_suite() -> None:
    goal = Goal(1.25, 3.8)
    assert str(goal) == "<= 1.25 floors, >= 3.8x"
    assert goal.verdict(1.0, 1.25, 3.8) == PASS
    assert goal.verdict(1.0, 1.26, 9.0) == goal.verdict(1.0, 1.0, 3.7) == SHORT
    assert goal.verdict(1.0, 1.0, None) == MISSING
    assert Goal().verdict(1.0, 9.0, None) == INFO
