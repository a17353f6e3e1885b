"""Melisma against what a user would run instead, side by side in one process.

``python -m melisma.benchmark [--quick] [--only REGEX] [--json FILE]``, or :func:`run`.

Each timed row calls Melisma and its rivals in turns on the same input, one thread each, results allocated by each side
in its usual way, and compares the medians. Before it is timed, a row checks that both sides computed the same thing.
PyTorch, librosa and SciPy are optional: the rows of a rival that is missing say so.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import melisma

from ._bench import checks, conv, conv_cuda, cuda, cuda_timing, report, rivals, separator, speed, training
from ._bench.rows import FAILED, MISSING, PASS, SHORT, WRONG, Case, Context, Row, cpus, machine
from ._bench.timing import copy_bandwidth, settle_malloc

__all__ = ["main", "run"]

SUITES = ("cpu", "separator", "cuda", "conv", "conv-cuda")


def run(
    suite: str = "cpu",
    quick: bool = False,
    json_out: str | os.PathLike[str] | None = None,
    only: str | None = None,
    *,
    strict: bool = False,
    audio: str | os.PathLike[str] | None = None,
) -> int:
    """Measure, print the table and return an exit code.

    Parameters
    ----------
    suite : str
        "cpu": the spectral operators; "separator": the transforms of music source separators on stereo audio at 44.1 kHz;
        "cuda": the spectral operators on a GPU, by device time; "conv" and "conv-cuda": the causal convolution on either.
    quick : bool
        A quarter of a second a case and no case that takes gigabytes; the figures are rough.
    json_out : path, optional
        Where to write machine, versions and every row with its details.
    only : str, optional
        A regular expression, searched for in "group: name" of each case, regardless of case.
    strict : bool
        Count a missed target as a failure.
    audio : path, optional
        For "separator": a recording to take in place of installed ones or a made-up song.

    Returns
    -------
    int
        0 where everything was measured; 1 where two sides disagree, a case failed or (`strict`) a target was missed.

    Raises
    ------
    ValueError
        If `suite` is unknown, `audio` is unreadable or not for it, `only` is not a regular expression or matches no case, or
        `json_out` has no folder.
    """
    chosen = _choose(suite, quick, only, audio)
    if json_out is not None and not Path(json_out).absolute().parent.is_dir():
        raise ValueError(f"benchmark: json_out must lie in an existing folder, got {os.fspath(json_out)!r}")
    if suite in ("cuda", "conv-cuda"):
        return _run_on_cuda(suite, chosen, quick, json_out, strict)
    threads = melisma.get_num_threads()
    melisma.set_num_threads(1)
    try:
        with rivals.one_thread():
            settle_malloc()
            context = Context(quick, copy_bandwidth())
            rows = _measure(chosen, context)
    finally:
        melisma.set_num_threads(threads)
    found = machine()
    about = {"suite": suite, "quick": quick, "machine": found, "copy_gb_s": context.bandwidth / 1e9}
    if json_out is not None:
        report.write_json(json_out, rows, about)
    if suite == "separator":
        separator.print_table(rows, f"{_heading(found, context)}; {separator.source(audio)}")
    else:
        report.print_table(rows, _heading(found, context))
    return _finish(rows, strict)


def _run_on_cuda(
    suite: str, chosen: Sequence[Case], quick: bool, json_out: str | os.PathLike[str] | None, strict: bool
) -> int:
    context = cuda_timing.context(suite, quick)
    rows = _measure(chosen, context)
    found = {**machine(), **cuda_timing.machine()}
    if json_out is not None:
        about = {"suite": suite, "quick": quick, "machine": found, "copy_gb_s": context.bandwidth / 1e9}
        report.write_json(json_out, rows, about)
    report.print_table(
        rows,
        f"melisma {found['melisma']} on {found['gpu']}, copy {context.bandwidth / 1e12:.2f} TB/s; "
        f"torch {found['rivals']['torch']} (CUDA {found['cuda']}), {_versions({name: found[name] for name in ('torchaudio', 'causal_conv1d')})}; "
        f"{found['date']}" + ("; quick" if quick else ""),
    )
    return _finish(rows, strict)


def _choose(suite: str, quick: bool, only: str | None, audio: str | os.PathLike[str] | None = None) -> list[Case]:
    if suite not in SUITES:
        raise ValueError(f"benchmark: suite must be one of {', '.join(SUITES)}, got {suite!r}")
    if audio is not None:
        if suite != "separator":
            raise ValueError(f"benchmark: audio must be None for suite {suite!r}, got {os.fspath(audio)!r}")
        separator.recording(1, os.fspath(audio))
    try:
        pattern = re.compile(only or "", re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"benchmark: only must be a regular expression, got {only!r} ({error})") from error
    every = _cases(suite, quick, audio)
    chosen = [case for case in every if not (quick and case.slow) and pattern.search(f"{case.group}: {case.name}")]
    if not chosen:
        names = "\n  ".join(f"{case.group}: {case.name}" for case in every)
        raise ValueError(f"benchmark: only must match a case of this run, got {only!r}; the cases are\n  {names}")
    return chosen


def _cases(suite: str, quick: bool, audio: str | os.PathLike[str] | None) -> list[Case]:
    if suite == "separator":
        return separator.cases(quick, audio)
    if suite == "cuda":
        return cuda.cases()
    if suite == "conv":
        return conv.cases()
    if suite == "conv-cuda":
        return conv_cuda.cases(quick)
    return speed.cases() + training.cases() + speed.thread_cases(cpus()) + checks.cases()


def _measure(chosen: Sequence[Case], context: Context) -> list[Row]:
    rows: list[Row] = []
    for number, case in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] {case.name}", file=sys.stderr, flush=True)
        rows += speed.guarded(case, context)
    return rows


def _heading(about: dict[str, Any], context: Context) -> str:
    return (
        f"melisma {about['melisma']} on {about['cpu']} ({about['cpus']} CPUs, {about['simd_target']}), "
        f"one thread a side; copy {context.bandwidth / 1e9:.1f} GB/s; {_versions(about['rivals'])}; {about['date']}"
        + ("; quick" if context.quick else "")
    )


def _versions(found: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {version or 'not installed'}" for name, version in found.items())


def _finish(rows: Sequence[Row], strict: bool) -> int:
    count = {verdict: sum(row.verdict == verdict for row in rows) for verdict in (PASS, SHORT, MISSING, WRONG, FAILED)}
    print(
        f"{count[PASS]} targets reached, {count[SHORT]} short, {count[MISSING]} without their rival, "
        f"{count[WRONG]} with different results, {count[FAILED]} failed"
    )
    return int(count[WRONG] + count[FAILED] > 0 or (strict and count[SHORT] > 0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is run's, or 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m melisma.benchmark", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="rough figures in about a minute")
    parser.add_argument("--only", metavar="REGEX", help='only cases whose "group: name" matches')
    parser.add_argument("--json", metavar="FILE", help="also write every figure to FILE")
    parser.add_argument("--suite", default="cpu", help=" or ".join(SUITES))
    parser.add_argument("--audio", metavar="FILE", help="a recording for the suite separator")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a target is missed")
    options = parser.parse_args(arguments)
    try:
        return run(options.suite, options.quick, options.json, options.only, strict=options.strict, audio=options.audio)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
