"""The table on the terminal (rich where it is installed), the JSON file, and a document's table out of one.

``python -m melisma._bench.report FILE [REGEX]`` prints the rows of a JSON file as Markdown, one line for each work; REGEX
is searched for in "group: name".
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import rivals
from .rows import FAILED, INFO, MISSING, PASS, SHORT, WRONG, Row

HEADINGS = ("work", "melisma", "rival", "rival's", "ratio", "target", "", "x floor")
_COLOURS = {PASS: "green", SHORT: "red", WRONG: "bold red", FAILED: "bold red", MISSING: "yellow", INFO: "dim"}


def cells(row: Row) -> tuple[str, ...]:
    """Return the row as text, one string for each of HEADINGS."""
    return (
        row.name,
        _value(row.ours, row.unit),
        row.rival,
        _value(row.theirs, row.unit),
        "" if row.ratio is None else f"{row.ratio:.1f}x" if row.ratio >= 10 else f"{row.ratio:.2f}x",
        row.target,
        row.verdict,
        "" if row.floors is None else f"{row.floors:.2f}" if row.floors < 10 else f"{row.floors:.1f}",
    )


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit == "abs":
        return f"{value:.2e}"
    if unit == "ms" and value < 0.1:
        value, unit = 1e3 * value, "us"
    digits = 3 if value < 10 else 2 if value < 100 else 0
    return f"{value:.{digits}f} {unit}"


def print_table(rows: Sequence[Row], heading: str) -> None:
    """Print heading, table and the rows' notes."""
    console_module, table_module = rivals.optional("rich.console"), rivals.optional("rich.table")
    if console_module is None or table_module is None:
        print(heading + "\n\n" + plain_table(rows))
        return
    console = console_module.Console()
    if not console.is_terminal:  # a file or a pipe: never cut a column to 80 characters
        console = console_module.Console(width=200)
    console.print(heading, highlight=False, markup=False)
    table = table_module.Table(*HEADINGS)
    for column in (1, 3, 4, 5, 7):
        table.columns[column].justify = "right"
        table.columns[column].no_wrap = True
    group = None
    for row in rows:
        if group is not None and row.group != group:
            table.add_section()
        group = row.group
        text = list(cells(row))
        text[6] = f"[{_COLOURS.get(row.verdict, 'none')}]{row.verdict}[/]"
        table.add_row(*text)
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"{row.name}: {row.note}", highlight=False, markup=False)


def plain_table(rows: Sequence[Row]) -> str:
    """Return a Markdown table, followed by the rows' notes."""
    body = [HEADINGS, tuple("--:" if i in (1, 3, 4, 5, 7) else "---" for i in range(len(HEADINGS)))]
    body += [cells(row) for row in rows]
    lines = ["| " + " | ".join(line) + " |" for line in body]
    notes = [f"- {row.name}: {row.note}" for row in rows if row.note]
    return "\n".join(lines + (["", *notes] if notes else []))


def document_table(rows: Sequence[Row]) -> str:
    """Return a Markdown table with all rivals of a work in one line."""
    works: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        works.setdefault((row.group, row.name), []).append(row)
    lines = ["| work | melisma | x floor | target | | beside it |", "|---|--:|--:|---|---|---|"]
    for same in works.values():
        first = cells(same[0])
        rivals = "; ".join(f"{text[2]} {text[3]} ({text[4]})" for text in map(cells, same) if text[3])
        lines.append("| " + " | ".join((first[0], first[1], first[7], first[5], first[6], rivals)) + " |")
    return "\n".join(lines)


def write_json(path: str | os.PathLike[str], rows: Sequence[Row], about: dict[str, Any]) -> None:
    """Write machine, settings and rows to `path`; a failed write leaves the old file as it was."""
    text = json.dumps({**about, "rows": [row.to_dict() for row in rows]}, indent=1, allow_nan=False)
    target = Path(path)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def main(arguments: Sequence[str]) -> None:
    """Print the table of a JSON file."""
    found = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))["rows"]
    pattern = re.compile(arguments[1] if len(arguments) > 1 else "", re.IGNORECASE)
    rows = [Row(**row) for row in found]
    print(document_table([row for row in rows if pattern.search(f"{row.group}: {row.name}")]))


if __name__ == "__main__":
    main(sys.argv[1:])
