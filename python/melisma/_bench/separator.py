"""The transforms inside music source separators, on stereo audio at 44.1 kHz: torch.stft and istft beside Melisma's.

python-audio-separator runs its MDX and Roformer models on 2048-sample frames every 512 samples and its Demucs models on 4096 every
1024; the lengths are the two tracks of mps-spectro's tables, 267 and 195 seconds. Speed is one thing, the other is what a
swapped transform does to the samples: the largest difference, the signal-to-noise ratio with PyTorch's result as the signal,
and how many samples are the same after rounding to 16 bits.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import melisma

from . import rivals
from .rows import INFO, MISSING, PASS, SHORT, WRONG, Case, Context, Row
from .timing import Side, interleave

RATE = 44_100
SECONDS, QUICK_SECONDS = (267, 195), (12, 8)
# Two float32 transforms of the same signal are 130 dB apart; one of half precision would be 60.
LEAST_SNR_DB = 100.0
# Debian's sonic-pi-samples: real recordings, where installed.
RECORDINGS = Path("/usr/share/sonic-pi/samples")


@dataclass(frozen=True)
class Model:
    """Transform of a family of separators, and the speed-ups that mps-spectro reports for it on an Apple M4 Max."""

    name: str
    n_fft: int
    hop: int
    stft_target: float
    istft_target: float


MODELS = (Model("MDX, Roformer", 2048, 512, 1.40, 2.03), Model("Demucs", 4096, 1024, 1.28, 1.87))


@dataclass(frozen=True)
class Parity:
    """How far Melisma's result is from PyTorch's; `int16_match` (of 1) for samples in -1 .. 1 only."""

    max_abs: float
    snr_db: float
    int16_match: float | None


def parity(theirs: Any, ours: Any, *, samples: bool) -> Parity:
    """Compare two tensors, PyTorch's taken for the signal."""
    if theirs.shape != ours.shape:
        return Parity(math.inf, -math.inf, None)
    difference = ours - theirs
    noise, signal = float(difference.abs().square().double().sum()), float(theirs.abs().square().double().sum())
    snr = math.inf if noise == 0.0 else 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf
    match = float((_pcm16(theirs) == _pcm16(ours)).double().mean()) if samples else None
    return Parity(float(difference.abs().max()), snr, match)


def _pcm16(samples: Any) -> Any:
    return (samples * 32767.0).round().clamp(-32768, 32767)


def cases(quick: bool = False, audio: str | os.PathLike[str] | None = None) -> list[Case]:
    """Every model, length and direction."""
    found = []
    for model in MODELS:
        group = f"{model.name} ({model.n_fft}/{model.hop})"
        for seconds in QUICK_SECONDS if quick else SECONDS:
            for work in _WORKS:
                measure = functools.partial(_measure, group, model, seconds, work, audio)
                found.append(Case(group, f"{work} {seconds} s", measure))
    return found


def _measure(group: str, model: Model, seconds: int, work: str, audio: Any, context: Context) -> list[Row]:
    name = f"{work} {seconds} s"
    torch = rivals.torch
    if torch is None:
        return [Row(group, name, "torch", verdict=MISSING, note="not installed")]
    backward = "backward" in work
    if backward and not differentiable():
        return [Row(group, name, "torch", verdict=MISSING, note="melisma was built without PyTorch's operators")]
    x = torch.from_numpy(recording(seconds, None if audio is None else os.fspath(audio)))
    theirs, ours, target = _WORKS[work](x, model)
    found = parity(theirs(), ours(), samples=work in ("istft", "round trip"))
    timings = interleave([Side("melisma", ours), Side("torch", theirs)], context.budget)
    ratio = timings[1].median / timings[0].median
    if not found.snr_db >= LEAST_SNR_DB:
        verdict, note = WRONG, f"results are {found.snr_db:.0f} dB apart"
    elif target is None:
        verdict, note = INFO, ""
    else:
        verdict, note = PASS if ratio >= target else SHORT, ""
    detail = {
        "max_abs_difference": found.max_abs if math.isfinite(found.max_abs) else None,
        "snr_db": found.snr_db if math.isfinite(found.snr_db) else None,
        "int16_match": found.int16_match,
        "best_ms": [timing.best for timing in timings],
    }
    return [
        Row(
            group,
            name,
            "torch",
            "ms",
            timings[0].median,
            timings[1].median,
            ratio,
            "" if target is None else f">= {target:g}x",
            verdict,
            note=note,
            detail=detail,
        )
    ]


def differentiable() -> bool:
    """Whether Melisma's operators on tensors have gradients in this installation."""
    try:
        from ..torch import spectral  # noqa: F401
    except melisma.Unavailable:
        return False
    return True


# --- the work ---------------------------------------------------------------------------------------------------------

_Sides = tuple[Callable[[], Any], Callable[[], Any], "float | None"]  # torch's, ours, target


def _pairs(
    x: Any, model: Model
) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """PyTorch's stft and istft, then ours, called as the separators do."""
    window = rivals.torch.hann_window(model.n_fft)
    sizes = {"n_fft": model.n_fft, "hop_length": model.hop, "window": window, "center": True}
    length = x.shape[-1]
    return (
        lambda y: rivals.torch.stft(y, **sizes, return_complex=True),
        lambda s: rivals.torch.istft(s, **sizes, length=length),
        lambda y: melisma.stft(y, **sizes, return_complex=True),
        lambda s: melisma.istft(s, **sizes, length=length),
    )


def _stft(x: Any, model: Model) -> _Sides:
    theirs, _, ours, _ = _pairs(x, model)
    return lambda: theirs(x), lambda: ours(x), model.stft_target


def _istft(x: Any, model: Model) -> _Sides:
    forward, theirs, _, ours = _pairs(x, model)
    spectrum = forward(x)
    return lambda: theirs(spectrum), lambda: ours(spectrum), model.istft_target


def _round_trip(x: Any, model: Model) -> _Sides:
    their_stft, their_istft, our_stft, our_istft = _pairs(x, model)
    return lambda: their_istft(their_stft(x)), lambda: our_istft(our_stft(x)), None


def _training(x: Any, model: Model) -> _Sides:
    their_stft, their_istft, our_stft, our_istft = _pairs(x, model)

    def step(stft: Callable[..., Any], istft: Callable[..., Any]) -> Any:
        leaf = x.clone().requires_grad_()
        return rivals.torch.autograd.grad(istft(stft(leaf)).square().sum(), leaf)[0]

    return lambda: step(their_stft, their_istft), lambda: step(our_stft, our_istft), None


_WORKS: dict[str, Callable[[Any, Model], _Sides]] = {
    "stft": _stft,
    "istft": _istft,
    "round trip": _round_trip,
    "round trip, forward + backward": _training,
}


# --- the audio --------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def recording(seconds: int, audio: str | None) -> Any:
    """Stereo samples ``[2, seconds * 44100]`` float32: of a file, of installed recordings, or made up; repeated to length."""
    samples = _read(Path(audio)) if audio is not None else _installed()
    if samples is None:
        samples = _music()
    if samples.shape[0] == 1:
        samples = np.repeat(samples, 2, axis=0)
    length = seconds * RATE
    copies = -(-length // samples.shape[1])
    return np.ascontiguousarray(np.tile(samples[:2], copies)[:, :length], dtype=np.float32)


def source(audio: str | os.PathLike[str] | None) -> str:
    """What :func:`recording` takes, for the heading."""
    if audio is not None:
        return os.fspath(audio)
    return "sonic-pi-samples" if _installed() is not None else "a made-up song"


def _read(path: Path) -> Any:
    soundfile = rivals.optional("soundfile")
    if soundfile is None:
        raise ValueError("benchmark: audio needs soundfile: pip install 'melisma[cli]'")
    try:
        samples, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"benchmark: audio must be a file that libsndfile reads, got {os.fspath(path)!r} ({error})"
        ) from None
    if not len(samples):
        raise ValueError(f"benchmark: audio must hold samples, got {os.fspath(path)!r}, which is empty")
    if rate != RATE:
        samples = rivals.optional("soxr").resample(samples, rate, RATE)
    return samples.T


@functools.lru_cache(maxsize=1)
def _installed() -> Any:
    """The loops among the installed recordings, one after another; None without them."""
    loops = sorted(RECORDINGS.glob("loop_*.flac"))
    if not loops or rivals.optional("soundfile") is None or rivals.optional("soxr") is None:
        return None
    parts = [_read(path) for path in loops]
    return np.concatenate([np.repeat(part, 2, axis=0) if part.shape[0] == 1 else part[:2] for part in parts], axis=1)


def _music() -> Any:
    """Eight seconds of chords with a bass, a hi-hat and a kick, peaking at 0.9."""
    rng = np.random.default_rng(0)
    beat = RATE // 2
    t = np.arange(beat) / RATE
    left, right = [], []
    for number in range(16):
        root = 110.0 * 2.0 ** ([0, 5, 7, 3][number // 4] / 12.0)
        chord = sum(
            np.sin(2.0 * np.pi * root * ratio * harmonic * t) / harmonic**1.5
            for ratio in (1.0, 1.26, 1.5)
            for harmonic in range(1, 9)
        )
        kick = 2.0 * np.sin(2.0 * np.pi * 50.0 * t + 20.0 * np.exp(-40.0 * t)) * np.exp(-12.0 * t)
        hat = rng.standard_normal(beat) * np.exp(-60.0 * t)
        body = chord * np.exp(-2.0 * t) + kick
        left.append(body + 0.6 * hat)
        right.append(0.8 * body - 0.4 * hat)
    both = np.stack([np.concatenate(left), np.concatenate(right)])
    return (0.9 / np.abs(both).max() * both).astype(np.float32)


# --- the table --------------------------------------------------------------------------------------------------------

HEADINGS = ("work", "torch", "melisma", "speed-up", "target", "", "max abs difference", "SNR", "int16 match")


def cells(row: Row) -> tuple[str, ...]:
    """A row as text, one string for each of HEADINGS."""
    if row.ours is None or row.theirs is None or row.ratio is None:
        return (row.name, "", "", "", row.target, row.verdict, "", "", "")
    difference, snr, match = (row.detail[name] for name in ("max_abs_difference", "snr_db", "int16_match"))
    return (
        row.name,
        f"{row.theirs:.1f} ms",
        f"{row.ours:.1f} ms",
        f"{row.ratio:.1f}x",
        row.target,
        row.verdict,
        "" if difference is None else f"{difference:.2e}",
        "" if snr is None else f"{snr:.0f} dB",
        "" if match is None else f"{100.0 * match:.3f} %",
    )


def print_table(rows: Sequence[Row], heading: str) -> None:
    """Print heading, a table for each model, and the rows' notes."""
    console_module, table_module = rivals.optional("rich.console"), rivals.optional("rich.table")
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    if console_module is None or table_module is None:
        print(heading)
        for group, members in groups.items():
            lines = [HEADINGS, ("---",) + ("--:",) * (len(HEADINGS) - 1), *map(cells, members)]
            print(f"\n{group}\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines))
    else:
        console = console_module.Console()
        if not console.is_terminal:  # a file or a pipe: never cut a column to 80 characters
            console = console_module.Console(width=200)
        console.print(heading, highlight=False, markup=False)
        for group, members in groups.items():
            table = table_module.Table(title=group, title_justify="left")
            for number, name in enumerate(HEADINGS):
                table.add_column(name, justify="right" if number else "left", no_wrap=True)
            for row in members:
                table.add_row(*cells(row))
            console.print(table)
    for row in rows:
        if row.note:
            print(f"{row.group}, {row.name}: {row.note}")
