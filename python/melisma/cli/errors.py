"""What goes wrong with one file, as one line of text."""

from __future__ import annotations

import errno
import os
from pathlib import Path


class FileProblem(Exception):
    """One input cannot be turned into features; the message is one line without the file's name."""


class UsageProblem(Exception):
    """The command line asks for something impossible; nothing has been written."""


class DiskFull(Exception):
    """There is no room for a result; the message is one line."""


def shown(path: str | os.PathLike[str]) -> str:
    """Give a path as printable text: undecodable bytes and control characters are replaced."""
    text = os.fsencode(path).decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def one_line(error: BaseException) -> str:
    """Give an exception's text on one line, its type's name where it has none."""
    text = " ".join(str(error).split())
    return text or type(error).__name__


def writing(error: OSError, target: Path) -> Exception:
    """Translate an error met while writing below ``target``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"no room left for {shown(target)} ({os.strerror(error.errno)})")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return FileProblem(f"no permission to write {shown(target)}")
    return FileProblem(f"cannot write {shown(target)}: {error.strerror or one_line(error)}")
