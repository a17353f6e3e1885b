"""What the user sees of a run: a progress bar on stderr, a table on stdout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from melisma.cli.errors import shown
from melisma.cli.inputs import Job
from melisma.cli.run import Outcome

_MOST_ROWS = 40  # a table of more files shows the problems only
_STYLE = {"done": "green", "skipped": "cyan", "failed": "red", "not tried": "yellow"}


def console(stderr: bool = False) -> Console:
    """Give a console that never breaks lines in a file or pipe."""
    made = Console(stderr=stderr, highlight=False, soft_wrap=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=160)


class Bar:
    """The progress bar of a run; failures are told as they happen."""

    def __init__(self, files: int) -> None:
        self._console = console(stderr=True)
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("features", total=files)
        self._file = self._progress.add_task("  this file", total=1.0, visible=False)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, job: Job) -> Callable[[float], None]:
        """Name the file that is being worked on; its own bar shows once it takes more than one block."""
        self._progress.update(self._task, description=escape(_short(shown(job.source.name))))
        self._progress.update(self._file, completed=0.0, visible=False)
        return lambda fraction: self._progress.update(self._file, completed=fraction, visible=0.0 < fraction < 1.0)

    def ended(self, outcome: Outcome) -> None:
        """Count a file, and say at once when it failed."""
        self._progress.advance(self._task)
        if outcome.state == "failed":
            self._progress.console.print(f"[red]{escape(shown(outcome.job.source))}: {escape(outcome.message)}[/]")


def table(outcomes: Sequence[Outcome], problems: Iterable[tuple[Path, str]], folder: Path) -> None:
    """Print one row a file (or the problems only, where there are many files) and the totals."""
    out = console()
    problems = list(problems)
    shows_all = len(outcomes) <= _MOST_ROWS
    rows = [o for o in outcomes if shows_all or o.state in ("failed", "not tried")]
    if rows or problems:
        result = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("file", "result"):
            result.add_column(name, overflow="fold")
        for name in ("audio", "features", "took"):
            result.add_column(name, justify="right", no_wrap=True)
        result.add_column("", overflow="fold")
        for o in rows[: 10 * _MOST_ROWS]:
            result.add_row(
                escape(shown(o.job.source if o.state == "failed" else o.job.name)),
                f"[{_STYLE[o.state]}]{o.state}[/]",
                f"{o.seconds:.2f} s" if o.seconds else "",
                " x ".join(map(str, o.shape)),
                f"{1000 * o.elapsed:.0f} ms" if o.elapsed else "",
                escape(o.message),
            )
        for path, message in problems:
            result.add_row(escape(shown(path)), "[red]failed[/]", "", "", "", escape(message))
        out.print(result)
    counts: Counter[str] = Counter(o.state for o in outcomes)
    counts["failed"] += len(problems)
    told = ", ".join(f"[{_STYLE[state]}]{counts[state]} {state}[/]" for state in _STYLE if counts[state])
    seconds = sum(o.seconds for o in outcomes)
    audio = f"; {seconds:.1f} s of audio" if seconds else ""
    out.print(f"{told}{audio}; results in {escape(shown(folder))}", soft_wrap=True)


def _short(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:15]}…{name[-16:]}"
