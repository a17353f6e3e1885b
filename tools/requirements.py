"""Prints the requirements of one part of pyproject.toml, quoted for a shell's `$(...)`: `build`, or an extra's name."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def requirements(part: str) -> list[str]:
    """Return the requirement strings of ``build`` or of the extra named `part`.

    A line-wise reader, since tomllib came with Python 3.11 and we support 3.10.
    """
    key = "requires" if part == "build" else part
    text = (Path(__file__).resolve().parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    match = re.search(rf"^{re.escape(key)} = \[(.*?)\]$", text, flags=re.MULTILINE | re.DOTALL)
    if match is None:
        raise SystemExit(f"requirements.py: pyproject.toml has no list named {key!r}")
    return re.findall(r'"([^"]+)"', match.group(1))


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1])))
