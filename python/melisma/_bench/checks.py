"""Cases that are not a race: first calls, peak memory, accuracy, round trip."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np

import melisma

from . import rivals
from .rows import MISSING, PASS, SHORT, Case, Context, Row
from .speed import hann

# --- first call on a new size ----------------------------------------------------------------------------------------

FIRST_CALL_MS = 2.0
# Powers of two, mixed radices, and 1103 and 2206 = 2 x 1103, which go through Bluestein.
FIRST_CALL_SIZES = (64, 400, 480, 512, 640, 1000, 1024, 1103, 1280, 1920, 2048, 2206, 4096, 6000, 8192)
FIRST_CALL_LARGE = (16384, 65536)


def _probe(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "melisma._bench.probe", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _first_calls(op: str, samples: int, sizes: tuple[int, ...], label: str) -> Case:
    group, name = "first call", f"{op}, first call on a new size, 1x{samples}, {label}"

    def medians(operator: str, repeats: int) -> dict[str, float]:
        runs = [_probe("first-call", operator, samples, *sizes) for _ in range(repeats)]
        return {n: statistics.median(run[n] for run in runs) for n in runs[0]}

    def measure(context: Context) -> list[Row]:
        repeats = 1 if context.quick else 5
        took = medians(op, repeats)
        size, worst = max(took.items(), key=lambda item: item[1])
        verdict = PASS if worst < FIRST_CALL_MS else SHORT
        row = Row(group, name, ours=worst, target=f"< {FIRST_CALL_MS:g} ms", verdict=verdict,
                  note=f"worst of {len(took)} sizes: n {size}", detail={"ms_by_n_fft": took})  # fmt: skip
        if op != "stft" or rivals.torch is None:
            return [row]
        theirs = medians("torch.stft", repeats)
        detail = {**row.detail, "torch_ms_by_n_fft": theirs}
        return [replace(row, rival="torch.stft", theirs=theirs[size], ratio=theirs[size] / worst, detail=detail)]

    return Case(group, name, measure)


# --- peak memory -----------------------------------------------------------------------------------------------------

# Growth between the two lengths that still counts as none: the allocator rounds a large result up to huge pages (2 MB).
MEMORY_SLACK_MB = 4.0


def _peak_memory(operator: str) -> Case:
    group, name = "memory", f"{operator}, peak beyond input and result"

    def measure(context: Context) -> list[Row]:
        short, long = (20, 200) if context.quick else (60, 1200)
        ours = [_probe("memory", operator, "melisma", seconds)["extra"] / 1e6 for seconds in (short, long)]
        theirs = None
        if rivals.torch is not None:
            theirs = [_probe("memory", operator, "torch", seconds)["extra"] / 1e6 for seconds in (short, long)]
        verdict = PASS if ours[1] - ours[0] < MEMORY_SLACK_MB else SHORT
        note = f"{ours[0]:.1f} MB at {short} s, {ours[1]:.1f} MB at {long} s"
        if theirs is not None:
            note += f"; torch {theirs[0]:.0f} and {theirs[1]:.0f} MB"
        return [Row(group, name, "PyTorch ops", "MB", ours[1], None if theirs is None else theirs[1],
                    target="fixed", verdict=verdict, note=note,
                    detail={"seconds": [short, long], "extra_mb": ours, "torch_extra_mb": theirs})]  # fmt: skip

    return Case(group, name, measure, slow=operator == "log_filtered")


# --- accuracy --------------------------------------------------------------------------------------------------------

ACCURACY_SIZES = (
    *range(1, 65),
    *(100, 128, 400, 441, 480, 512, 640, 1000, 1024, 1103, 1280, 1920, 2048, 4096, 6000, 8192, 16384, 65536),
)
ROUND_TRIP_LIMIT = 4e-6


def _accuracy_input(n_fft: int) -> tuple[Any, int, Any]:
    samples = max(16_000, 4 * n_fft)
    x = np.random.default_rng(n_fft).standard_normal(samples).astype(np.float32)
    return x, max(1, n_fft // 4), hann(n_fft)


def _max_error(result: Any, reference: Any) -> float:
    return float(np.abs(np.asarray(result) - reference).max())


def _stft_errors(n_fft: int) -> tuple[float, float | None]:
    x, hop, window = _accuracy_input(n_fft)
    reference = rivals.reference_stft(x, n_fft, hop, window).T
    ours = _max_error(melisma.stft(x, n_fft, hop, window=window), reference)
    if rivals.torch is None:
        return ours, None
    tensors = rivals.torch.from_numpy(x), rivals.torch.from_numpy(window)
    return ours, _max_error(rivals.torch_stft(tensors[0], n_fft, hop, tensors[1]), reference)


def _istft_errors(n_fft: int) -> tuple[float, float | None]:
    x, hop, window = _accuracy_input(n_fft)
    spec = np.ascontiguousarray(rivals.reference_stft(x, n_fft, hop, window).astype(np.complex64)).T
    if rivals.torch is None:
        return _max_error(melisma.istft(spec, n_fft, hop, window=window, length=x.size), x), None
    tensor, tensor_window = rivals.torch.from_numpy(spec), rivals.torch.from_numpy(window)
    wide = tensor.to(rivals.torch.complex128), tensor_window.to(rivals.torch.float64)
    reference = rivals.torch_istft(wide[0], n_fft, hop, wide[1], x.size).numpy()
    ours = melisma.istft(spec, n_fft, hop, window=window, length=x.size)
    theirs = rivals.torch_istft(tensor, n_fft, hop, tensor_window, x.size)
    return _max_error(ours, reference), _max_error(theirs, reference)


def _accuracy(op: str, errors: Any) -> Case:
    group, name = "accuracy", f"{op}, max error against float64"

    def measure(_: Context) -> list[Row]:
        found = {n: errors(n) for n in ACCURACY_SIZES}
        detail = {"max_error_by_n_fft": {str(n): list(pair) for n, pair in found.items()}}
        largest = max(ours for ours, _theirs in found.values())
        if rivals.torch is None:
            return [Row(group, name, f"torch.{op}", "abs", largest, target="<= torch's", verdict=MISSING,
                        note="not installed", detail=detail)]  # fmt: skip
        over = {n: pair for n, pair in found.items() if not pair[0] <= pair[1]}
        worst = max(found, key=lambda n: found[n][0] / found[n][1] if found[n][1] > 0 else float(found[n][0] > 0) * 1e9)
        ours, theirs = found[worst]
        note = f"{len(found) - len(over)} of {len(found)} sizes no larger; closest n {worst}"
        if over:
            note += "; larger at n " + ", ".join(f"{n} ({o / t:.2f}x)" if t else str(n) for n, (o, t) in over.items())
        return [Row(group, name, f"torch.{op}", "abs", ours, theirs, theirs / ours if ours > 0 else None,
                    "<= torch's", PASS if not over else SHORT, note=note, detail=detail)]  # fmt: skip

    return Case(group, name, measure)


def _round_trip() -> Case:
    group, name = "accuracy", "round trip stft, istft, max error (standard normal signal)"

    def measure(_: Context) -> list[Row]:
        found = {}
        for n_fft in ACCURACY_SIZES:
            x, hop, window = _accuracy_input(n_fft)
            spec = melisma.stft(x, n_fft, hop, window=window)
            found[n_fft] = _max_error(melisma.istft(spec, n_fft, hop, window=window, length=x.size), x)
        worst = max(found, key=lambda n: found[n])
        return [Row(group, name, "", "abs", found[worst], target=f"<= {ROUND_TRIP_LIMIT:g}",
                    verdict=PASS if found[worst] <= ROUND_TRIP_LIMIT else SHORT,
                    note=f"worst of {len(found)} sizes: n {worst}",
                    detail={"max_error_by_n_fft": {str(n): e for n, e in found.items()}})]  # fmt: skip

    return Case(group, name, measure)


def cases() -> list[Case]:
    """Return every case of this file, in the order of the table."""
    return [
        *(_first_calls(op, 16_000, FIRST_CALL_SIZES, "n 64 to 8192") for op in ("stft", "istft", "mel")),
        *(_first_calls(op, 160_000, FIRST_CALL_LARGE, "n 16384 and 65536") for op in ("stft", "istft", "mel")),
        _peak_memory("mel"),
        _peak_memory("log_mel"),
        _peak_memory("log_filtered"),
        _accuracy("stft", _stft_errors),
        _accuracy("istft", _istft_errors),
        _round_trip(),
    ]
