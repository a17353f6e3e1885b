"""Timed cases: each operator against what a user would run instead, in one process, one thread each."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import melisma
from melisma.compat.madmom import log_filtered_spectrogram

from . import rivals
from .rows import FAILED, MISSING, PASS, SHORT, WRONG, Case, Context, Goal, Row
from .timing import Side, Timing, interleave

# Two sides that compute the same thing in float32 differ by far less than this part of the largest value; a row whose
# sides differ by more compares two different things and is reported as wrong.
AGREEMENT = 1e-4


@dataclass(frozen=True)
class Rival:
    """One competitor of a case. `call` is None where it is not installed; `view` turns its result into our layout."""

    name: str
    call: Callable[[], Any] | None
    target: float | None = None  # melisma must be this many times as fast
    view: Callable[[Any], Any] = lambda result: result
    note: str = ""


@dataclass(frozen=True)
class Contest:
    """Inputs made, functions bound: ready to be timed."""

    ours: Callable[[], Any]
    rivals: Sequence[Rival]
    floor_bytes: int  # input and result, each moved once
    floors: float | None = None  # melisma must take at most so many times their floor
    agreement: float = AGREEMENT
    arrays: Callable[[Any], Sequence[Any]] = lambda result: (np.asarray(result),)  # of a result, for comparison


def contest_case(group: str, name: str, prepare: Callable[[], Contest], *, slow: bool = False) -> Case:
    """Return the case that times a contest."""
    return Case(group, name, lambda context: _measure(group, name, prepare(), context), slow)


def _measure(group: str, name: str, contest: Contest, context: Context) -> list[Row]:
    present = [rival for rival in contest.rivals if rival.call is not None]
    differences = [_difference(contest, rival) for rival in present]
    sides = [Side("melisma", contest.ours)] + [Side(rival.name, rival.call) for rival in present if rival.call]
    timings = interleave(sides, context.budget)
    floors = timings[0].median / context.floor_ms(contest.floor_bytes)
    rows = [
        _row(group, name, contest, rival, timings[0], theirs, difference, floors)
        for rival, theirs, difference in zip(present, timings[1:], differences, strict=True)
    ]
    for rival in contest.rivals:
        if rival.call is None:
            rows.append(
                Row(group, name, rival.name, ours=timings[0].median, target=str(_goal(contest, rival)),
                    verdict=MISSING, floors=floors, note="not installed")
            )  # fmt: skip
    return rows


def _row(
    group: str,
    name: str,
    contest: Contest,
    rival: Rival,
    ours: Timing,
    theirs: Timing,
    difference: float,
    floors: float,
) -> Row:
    ratio = theirs.median / ours.median
    goal = _goal(contest, rival)
    verdict, note = goal.verdict(ours.median, floors, ratio), rival.note
    if not difference <= contest.agreement:
        verdict, note = WRONG, f"results differ by {difference:.1e} of the largest value"
    detail = {
        "best_ms": [ours.best, theirs.best],
        "calls": [ours.calls, theirs.calls],
        "relative_difference": difference if np.isfinite(difference) else None,  # JSON has no infinity
    }
    return Row(
        group, name, rival.name, "ms", ours.median, theirs.median, ratio, str(goal), verdict, floors, note, detail
    )


def _goal(contest: Contest, rival: Rival) -> Goal:
    """The floors are judged beside the first rival."""
    return Goal(contest.floors if rival is contest.rivals[0] else None, rival.target)


def _difference(contest: Contest, rival: Rival) -> float:
    """The largest difference of two results, relative; inf where there is no other."""
    if rival.call is None:
        return float("inf")
    mine, theirs = contest.arrays(contest.ours()), contest.arrays(rival.view(rival.call()))
    return float(np.max([relative_difference(*pair) for pair in zip(mine, theirs, strict=True)]))


def relative_difference(mine: Any, theirs: Any) -> float:
    """Return max|mine - theirs| / max|theirs|, over at most 4096 places of the last axis; inf for unequal shapes."""
    if mine.shape != theirs.shape:
        return float("inf")
    places = np.unique(np.linspace(0, mine.shape[-1] - 1, 4096).astype(np.int64))
    mine, theirs = mine[..., places], theirs[..., places]
    return float(np.abs(mine - theirs).max() / np.abs(theirs).max())


# --- inputs ----------------------------------------------------------------------------------------------------------


def noise(*shape: int) -> Any:
    """Return standard normal float32 values, the same each time."""
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def hann(n: int) -> Any:
    """Return the periodic Hann window in float32, torch.hann_window's."""
    if n == 1:
        return np.ones(1, np.float32)
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n) / n)).astype(np.float32)


def _as_torch(array: Any) -> Any:
    """Return a torch tensor on the same memory where torch is installed: both sides then get the very same input."""
    return array if rivals.torch is None else rivals.torch.from_numpy(array)


def _with_torch(call: Callable[[], Any]) -> Callable[[], Any] | None:
    return None if rivals.torch is None else call


def _stft_bytes(x: Any, n_fft: int, hop: int) -> int:
    size: int = math.prod(x.shape)
    samples = int(x.shape[-1])
    frames = 1 + samples // hop
    return size * 4 + size // samples * frames * (n_fft // 2 + 1) * 8


# --- cases -----------------------------------------------------------------------------------------------------------


def _stft(batch: int, samples: int, n_fft: int, hop: int, target: float | None) -> Contest:
    x, window = _as_torch(noise(batch, samples)), _as_torch(hann(n_fft))
    return Contest(
        lambda: melisma.stft(x, n_fft, hop, window=window),
        [Rival("torch.stft", _with_torch(lambda: rivals.torch_stft(x, n_fft, hop, window)), target)],
        _stft_bytes(x, n_fft, hop),
    )


def _stft_numpy(batch: int, samples: int, n_fft: int, hop: int, target: float | None) -> Contest:
    """As _stft, but melisma gets NumPy arrays, as a user without torch calls it."""
    x, window = noise(batch, samples), hann(n_fft)
    torch_x, torch_window = _as_torch(x), _as_torch(window)
    return Contest(
        lambda: melisma.stft(x, n_fft, hop, window=window),
        [Rival("torch.stft", _with_torch(lambda: rivals.torch_stft(torch_x, n_fft, hop, torch_window)), target)],
        _stft_bytes(x, n_fft, hop),
    )


def _istft(batch: int, samples: int, n_fft: int, hop: int, target: float | None) -> Contest:
    x, window = _as_torch(noise(batch, samples)), _as_torch(hann(n_fft))
    spec = melisma.stft(x, n_fft, hop, window=window)
    return Contest(
        lambda: melisma.istft(spec, n_fft, hop, window=window, length=samples),
        [Rival("torch.istft", _with_torch(lambda: rivals.torch_istft(spec, n_fft, hop, window, samples)), target)],
        _stft_bytes(x, n_fft, hop),
    )


def _mel(batch: int, samples: int, rate: int, n_fft: int, hop: int, n_mels: int, target: float | None) -> Contest:
    x, window = _as_torch(noise(batch, samples)), _as_torch(hann(n_fft))
    fbanks = _as_torch(np.asarray(melisma.melscale_fbanks(n_fft // 2 + 1, 0.0, rate / 2, n_mels, rate)))
    return Contest(
        lambda: melisma.mel_spectrogram(x, sample_rate=rate, n_fft=n_fft, hop_length=hop, n_mels=n_mels),
        [Rival("torchaudio's ops", _with_torch(lambda: rivals.torch_mel(x, n_fft, hop, window, fbanks)), target)],
        4 * batch * (samples + n_mels * (1 + samples // hop)),
    )


def _log_mel(batch: int, samples: int, rate: int, n_fft: int, hop: int, n_mels: int) -> Contest:
    x, window = _as_torch(noise(batch, samples)), _as_torch(hann(n_fft))
    fbanks = _as_torch(np.asarray(melisma.melscale_fbanks(n_fft // 2 + 1, 0.0, rate / 2, n_mels, rate)))
    return Contest(
        lambda: melisma.log_mel(
            x, sample_rate=rate, n_fft=n_fft, hop_length=hop, n_mels=n_mels, log="db", top_db=80.0
        ),
        [Rival("torchaudio's ops",
               _with_torch(lambda: rivals.torch_log_mel(x, n_fft, hop, window, fbanks, 80.0)))],
        4 * batch * (samples + n_mels * (1 + samples // hop)),
    )  # fmt: skip


def _spectrogram(batch: int, samples: int, n_fft: int, hop: int) -> Contest:
    x, window = _as_torch(noise(batch, samples)), _as_torch(hann(n_fft))
    return Contest(
        lambda: melisma.spectrogram(x, n_fft=n_fft, hop_length=hop),
        [Rival("torchaudio's ops", _with_torch(lambda: rivals.torch_spectrogram(x, n_fft, hop, window)))],
        4 * batch * (samples + (n_fft // 2 + 1) * (1 + samples // hop)),
    )


def _log_filtered(signals: int, seconds: int, target: float | None, float32: bool) -> Contest:
    rate, frame_size, hop = 44100, 2048, 441
    samples = seconds * rate
    x = _as_torch(noise(signals, samples))
    window = _as_torch(np.hanning(frame_size).astype(np.float32))
    filterbank = np.ascontiguousarray(melisma.log_filterbank(frame_size // 2, rate))
    dense = _as_torch(filterbank)
    frames = -(-samples // hop)

    def in_float32() -> object:  # as the rival computes; madmom's function itself is held to float64
        both = melisma.filtered_spectrogram(
            x,
            filterbank=filterbank,
            n_fft=frame_size,
            hop_length=hop,
            window=window,
            pad_mode="constant",
            output_scale="log10",
            add=1.0,
            layout="frame_major",
        )
        return both[:, :frames]

    return Contest(
        in_float32 if float32 else lambda: log_filtered_spectrogram(x, sample_rate=rate, frame_size=frame_size, fps=100),
        [Rival("PyTorch ops",
               _with_torch(lambda: rivals.torch_log_filtered(x, frame_size, hop, window, dense)), target)],
        4 * signals * (samples + frames * filterbank.shape[1]),
    )  # fmt: skip


def _librosa_stft(samples: int, n_fft: int, hop: int) -> Contest:
    x, window = noise(samples), hann(n_fft)
    scipy_call = None if rivals.scipy_signal is None else functools.partial(rivals.scipy_stft(n_fft, hop, window), x)
    return Contest(
        lambda: melisma.stft(x, n_fft, hop, window=window),
        [
            Rival("librosa.stft", None if rivals.librosa is None else lambda: rivals.librosa_stft(x, n_fft, hop)),
            Rival("scipy ShortTimeFFT", scipy_call, note="SciPy computes it in float64"),
        ],
        _stft_bytes(x, n_fft, hop),
    )


def _librosa_istft(samples: int, n_fft: int, hop: int) -> Contest:
    window = hann(n_fft)
    spec = melisma.stft(noise(samples), n_fft, hop, window=window)
    return Contest(
        lambda: melisma.istft(spec, n_fft, hop, window=window, length=samples),
        [Rival("librosa.istft",
               None if rivals.librosa is None else lambda: rivals.librosa_istft(spec, n_fft, hop, samples))],
        samples * 4 + spec.nbytes,
    )  # fmt: skip


def _librosa_mel(samples: int, rate: int, n_fft: int, hop: int, n_mels: int, target: float | None) -> Contest:
    x = noise(samples)
    return Contest(
        lambda: melisma.mel_spectrogram(
            x, sample_rate=rate, n_fft=n_fft, hop_length=hop, n_mels=n_mels, mel_scale="slaney", norm="slaney",
            pad_mode="constant",
        ),
        [Rival("librosa.feature.melspectrogram",
               None if rivals.librosa is None else lambda: rivals.librosa_mel(x, rate, n_fft, hop, n_mels), target)],
        4 * (samples + n_mels * (1 + samples // hop)),
    )  # fmt: skip


SMALL = [(4, 160_000, 1024, 256, 4.0, 8.0), (4, 160_000, 2048, 512, 4.0, 8.0)]
LARGE = [
    (4, 1_300_000, 1024, 256, 8.0, 10.0),
    (32, 480_000, 400, 160, 8.0, 10.0),
    (2, 11_800_000, 2048, 512, 8.0, 10.0),
]


def size_name(batch: int, samples: int, n_fft: int, hop: int) -> str:
    """Return the size as the tables write it: "4x1.3M n 1024 hop 256"."""
    if samples % 100_000 == 0 and samples >= 1_000_000:
        short = f"{samples / 1e6:g}M"
    elif samples % 1000 == 0 and samples > 100_000:
        short = f"{samples // 1000}k"
    else:
        short = str(samples)
    return f"{batch}x{short} n {n_fft} hop {hop}"


def cases() -> list[Case]:
    """Return every timed case, in the order of the table."""
    found = []
    for op, make, which in (("stft", _stft, 4), ("istft", _istft, 5)):
        for size in SMALL + LARGE:
            prepare = functools.partial(make, *size[:4], size[which])
            found.append(contest_case(op, f"{op} {size_name(*size[:4])}", prepare, slow=size in LARGE[2:]))
    seconds = 195
    found += [
        contest_case("spectrogram", "spectrogram 4x160k n 1024 hop 256", lambda: _spectrogram(4, 160_000, 1024, 256)),
        contest_case("mel", "mel 32x480k n 400 hop 160, 80 mels",
                      lambda: _mel(32, 480_000, 16_000, 400, 160, 80, 30.0)),
        contest_case("mel", "mel 4x480k n 2048 hop 240, 128 mels",
                      lambda: _mel(4, 480_000, 24_000, 2048, 240, 128, 15.0)),
        contest_case("mel", "log-mel dB, top 80, 32x480k n 400 hop 160, 80 mels",
                      lambda: _log_mel(32, 480_000, 16_000, 400, 160, 80)),
        contest_case("log-filtered", f"log-filtered 4x{seconds} s at 44.1 kHz, 2048, 100 fps, 81 bands",
                      lambda: _log_filtered(4, seconds, 20.0, float32=True), slow=True),
        contest_case("log-filtered", f"the same as compat.madmom computes it, in float64, 4x{seconds} s",
                      lambda: _log_filtered(4, seconds, None, float32=False), slow=True),
        contest_case("librosa", "mel 180 s at 22.05 kHz n 2048 hop 512, 128 mels",
                      lambda: _librosa_mel(180 * 22_050, 22_050, 2048, 512, 128, 10.0)),
        contest_case("librosa", "stft 180 s at 22.05 kHz n 2048 hop 512",
                      lambda: _librosa_stft(180 * 22_050, 2048, 512)),
        contest_case("librosa", "istft 180 s at 22.05 kHz n 2048 hop 512",
                      lambda: _librosa_istft(180 * 22_050, 2048, 512)),
        contest_case("small call", "stft 1x16000 n 512 hop 128, torch tensors",
                      lambda: _stft(1, 16_000, 512, 128, 2.5)),
        contest_case("small call", "stft 1x16000 n 512 hop 128, NumPy arrays",
                      lambda: _stft_numpy(1, 16_000, 512, 128, 2.5)),
        contest_case("small call", "istft 1x16000 n 512 hop 128, torch tensors",
                      lambda: _istft(1, 16_000, 512, 128, None)),
    ]  # fmt: skip
    return found


# --- threads ---------------------------------------------------------------------------------------------------------


def _threads(name: str, prepare: Callable[[], Contest], target: float) -> Case:
    group = "2 threads"

    def measure(context: Context) -> list[Row]:
        call = prepare().ours
        sides = [Side(f"{n} threads", call, functools.partial(melisma.set_num_threads, n)) for n in (2, 1)]
        try:
            two, one = interleave(sides, context.budget)
            busy = _cpus_used(sides[0])
        finally:
            melisma.set_num_threads(1)
        ratio = one.median / two.median
        verdict = PASS if ratio >= target else SHORT
        detail = {"best_ms": [two.best, one.best], "calls": [two.calls, one.calls], "cpus_used": busy}
        note = f"two threads used {busy:.1f} CPUs; is the machine busy?" if busy < 1.5 else ""
        return [Row(group, name, "1 thread", "ms", two.median, one.median, ratio, str(Goal(ratio=target)), verdict,
                    note=note, detail=detail)]  # fmt: skip

    return Case(group, name, measure)


def _cpus_used(side: Side) -> float:
    """Return the CPU time of some calls over their wall time; a second thread that gets no CPU shows as 1."""
    if side.before is not None:
        side.before()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(20):
        side.call()
    return (time.process_time() - cpu) / (time.perf_counter() - wall)


def thread_cases(available_cpus: int) -> list[Case]:
    """Return the cases of two threads against one; on a single CPU, one case that says so."""
    if available_cpus < 2:
        note = "this process may run on one CPU only"
        row = Row("2 threads", "2 threads against 1", "1 thread", target=">= 1.8x, 1.4x", verdict=MISSING, note=note)
        return [Case("2 threads", row.name, lambda _: [row])]
    in_cache, large = 1.8, 1.4
    return [
        _threads("stft 4x160k n 1024 hop 256 (in cache)", lambda: _stft(4, 160_000, 1024, 256, None), in_cache),
        _threads("istft 4x160k n 1024 hop 256 (in cache)", lambda: _istft(4, 160_000, 1024, 256, None), in_cache),
        _threads("mel 4x480k n 2048 hop 240 (in cache)",
                 lambda: _mel(4, 480_000, 24_000, 2048, 240, 128, None), in_cache),
        _threads("stft 4x1.3M n 1024 hop 256 (large)", lambda: _stft(4, 1_300_000, 1024, 256, None), large),
        _threads("istft 4x1.3M n 1024 hop 256 (large)", lambda: _istft(4, 1_300_000, 1024, 256, None), large),
        _threads("mel 32x480k n 400 hop 160 (large)",
                 lambda: _mel(32, 480_000, 16_000, 400, 160, 80, None), large),
    ]  # fmt: skip


def guarded(case: Case, context: Context) -> list[Row]:
    """Measure a case; an exception becomes a row that names it, so that the others are still measured."""
    try:
        return case.measure(context)
    except Exception as error:  # a benchmark reports every failure and goes on
        return [Row(case.group, case.name, verdict=FAILED, note=f"{type(error).__name__}: {error}")]
