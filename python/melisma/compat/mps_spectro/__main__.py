"""``python -m melisma.compat.mps_spectro benchmark`` and ``dispatch-profile``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

import melisma

from . import benchmark as work

app = typer.Typer(
    name="python -m melisma.compat.mps_spectro",
    help="mps-spectro's benchmarks: PyTorch beside Melisma.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_Quick = Annotated[bool, typer.Option("--quick", help="Fewer rounds and sizes; rough figures.")]
_Device = Annotated[str, typer.Option(help="Where the tensors lie.")]
_Threads = Annotated[int, typer.Option(min=1, help="Of each side.")]


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=120)  # a pipe: never cut a column


def _heading(console: Console, device: str, threads: int, quick: bool) -> None:
    about = f"melisma {melisma.__version__}, PyTorch {torch.__version__}, {device}, {threads} thread(s) a side"
    console.print(f"{about}, {work.QUICK_ROUNDS if quick else work.ROUNDS} rounds, medians", highlight=False)


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


@app.command()
def benchmark(
    quick: _Quick = False,
    forward: Annotated[bool, typer.Option("--forward", help="Only the forward tables.")] = False,
    backward: Annotated[bool, typer.Option("--backward", help="Only the tables with gradients.")] = False,
    device: _Device = "cpu",
    threads: _Threads = 1,
) -> None:
    """Measure stft and istft, their gradients and the round trip."""
    console = _console()
    _heading(console, device, threads, quick)
    both = forward == backward
    lines = work.run(quick=quick, forward=forward or both, backward=backward or both, device=device, threads=threads)
    for title, group in itertools.groupby(lines, key=lambda line: line.work):
        rows = [
            (
                line.size,
                f"{line.torch_ms:.2f} ms",
                f"{line.ours_ms:.2f} ms",
                f"{line.speedup:.1f}x",
                f"{line.difference:.1e}",
            )
            for line in group
        ]
        console.print(_table(title, ("size", "torch", "melisma", "speed-up", "max abs difference"), rows))


@app.command()
def dispatch_profile(
    quick: _Quick = False,
    n_fft: Annotated[int, typer.Option("--dispatch-nfft", "--n-fft", min=2)] = 2048,
    hop_length: Annotated[int, typer.Option("--dispatch-hop", "--hop-length", min=1)] = 512,
    device: _Device = "cpu",
    threads: _Threads = 1,
) -> None:
    """Set each call beside its parts as separate operators, and beside the FFT alone."""
    console = _console()
    _heading(console, device, threads, quick)
    stages = list(
        work.dispatch_profile(n_fft=n_fft, hop_length=hop_length, quick=quick, device=device, threads=threads)
    )
    for name in ("STFT", "ISTFT"):
        rows = [
            (
                s.size,
                f"{s.call_ms:.2f} ms",
                f"{s.parts_ms:.2f} ms",
                f"{s.fft_ms:.2f} ms",
                f"{s.parts_ms / s.call_ms:.1f}x",
            )
            for s in stages
            if s.work == name
        ]
        title = f"{name}, n_fft {n_fft}, hop {hop_length}"
        console.print(_table(title, ("size", "whole call", "separate operators", "FFT alone", "fusion gains"), rows))


if __name__ == "__main__":
    app()
