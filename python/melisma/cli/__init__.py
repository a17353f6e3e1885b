"""The command line ``melisma``. It needs the extra ``melisma[cli]``; the library itself does not."""

from __future__ import annotations

import sys

__all__ = ["main"]

_NEEDED = ("typer", "rich", "soundfile", "soxr", "matplotlib")


def main() -> None:
    """Run the command line, or say in one line how to get what it needs."""
    try:
        from melisma.cli.app import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _NEEDED:
            raise
        print(f"melisma: the command line needs {error.name}: pip install 'melisma[cli]'", file=sys.stderr)
        raise SystemExit(2) from None
    app()
