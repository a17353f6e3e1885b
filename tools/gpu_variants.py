"""Times every variant of the fast kernels on the benchmark's sizes: a size's fastest should be its default.

tools/gpu_check.sh run variants prints the table and writes $OUT/variants.json.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch

import melisma
from melisma._bench import cuda as suite
from melisma._bench.cuda_contest import difference as difference_of
from melisma._bench.cuda_timing import prepare
from melisma._bench.speed import AGREEMENT

ROUNDS = 15
# Beside the benchmark's: every other size that has variants, short hops.
OTHERS = [(8, 480_000, n, n // 4) for n in (128, 256, 320, 512, 640, 800, 960, 1200, 1600, 3072)]
SHORT_HOPS = [(8, 480_000, 1024, 64), (8, 480_000, 2048, 128), (4, 480_000, 2048, 240)]
NAMES = re.compile(r"(\d+) '([^']*)'")


def variants(kernel: str, call: Callable[[], Any]) -> list[str]:
    """Return the names of the variants that take the call, the default first; none where it runs on no such kernel."""
    melisma.set_variant(kernel, "none such")
    try:
        call()
    except RuntimeError as error:  # also from within autograd
        return [name for _, name in NAMES.findall(str(error))]
    finally:
        melisma.set_variant(kernel, None)
    return []


def frequencies_first(batch: int, samples: int, n_fft: int, hop: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """istft of a spectrum that is contiguous as [batch, frequencies, frames], as a network gives it."""
    window = torch.hann_window(n_fft, device="cuda")
    x = torch.randn(batch, samples, device="cuda")
    spectrum = torch.stft(x, n_fft, hop, window=window, return_complex=True).contiguous()
    return (
        lambda: melisma.istft(spectrum, n_fft, hop, window=window, length=samples),
        lambda: torch.istft(spectrum, n_fft, hop, window=window, length=samples),
    )


def calls() -> Iterator[tuple[str, str, Callable[[], Any], Callable[[], Any] | None]]:
    """Yield kernel, name, our call and the rival's."""
    sizes = [*suite.LARGE, suite.SPEECH, *suite.GENERAL, suite.SMALL, (4, 160_000, 1024, 256), *OTHERS, *SHORT_HOPS]
    for size in sizes:
        for kernel, op, make in (("fast-forward", "stft", suite._stft), ("fast-inverse", "istft", suite._istft)):
            contest = make(*size)
            yield kernel, f"{op} {suite.size_name(*size)}", contest.ours, contest.theirs
    for batch, samples, n_fft, hop in (suite.LARGE[0], suite.LARGE[1], suite.SPEECH, suite.LARGE[3]):
        yield "fast-inverse", f"istft of frequencies first, n {n_fft}", *frequencies_first(batch, samples, n_fft, hop)
        adjoint = suite._stft_backward(batch, samples, n_fft, hop)
        yield "fast-inverse", f"stft forward and backward, n {n_fft}", adjoint.ours, adjoint.theirs
    for name, contest in (
        ("mel 32x480k n 400", suite._mel(32, 480_000, 16_000, 400, 160, 80, False)),
        ("mel 4x480k n 2048", suite._mel(4, 480_000, 24_000, 2048, 240, 128, False)),
        ("log-filtered", suite._log_filtered(4, 195)),
    ):
        yield "fast-forward", name, contest.ours, contest.theirs
    for name, contest in (
        ("mel forward and backward 32x480k n 400", suite._mel(32, 480_000, 16_000, 400, 160, 80, True)),
        ("mel forward and backward 4x480k n 2048", suite._mel(4, 480_000, 24_000, 2048, 240, 128, True)),
        ("mel forward and backward 8x480k n 1024", suite._mel(8, 480_000, 16_000, 1024, 256, 80, True)),
        ("mel forward and backward 8x480k n 512", suite._mel(8, 480_000, 16_000, 512, 128, 80, True)),
    ):
        yield "fast-gradient", name, contest.ours, contest.theirs


def main() -> None:
    rows = []
    for kernel, name, ours, theirs in calls():
        if len(sys.argv) > 2 and sys.argv[2] not in name:
            continue
        want = None if theirs is None else theirs()
        names = variants(kernel, ours)
        runners = []
        for place, variant in enumerate(names):
            melisma.set_variant(kernel, place)
            difference = 0.0 if want is None else difference_of(ours(), want)
            runners.append((variant, prepare(ours), difference))
        melisma.set_variant(kernel, None)
        if not names:
            print(f"{name:44} runs on no {kernel} kernel", flush=True)
        times: dict[str, list[float]] = {variant: [] for variant in names}
        for _ in range(ROUNDS):
            for variant, runner, _ in runners:
                times[variant].append(runner.milliseconds() * 1e3)
        for variant, _, difference in runners:
            took = statistics.median(times[variant])
            wrong = "" if difference <= AGREEMENT else f"  WRONG by {difference:.1e}"
            rows.append({"call": name, "kernel": kernel, "variant": variant, "us": took, "difference": difference})
            print(f"{name:44} {variant:60} {took:9.1f} us{wrong}", flush=True)
    with open(sys.argv[1], "w") as file:
        json.dump({"gpu": torch.cuda.get_device_name(), "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
