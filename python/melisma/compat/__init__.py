"""Other projects' names and signatures, thin over Melisma: change one import line.

For libraries whose import lines are not yours, :func:`install` lets them find these packages under the original names.
"""

import importlib
from typing import Any

from ._install import VERSIONS, install, uninstall

__all__ = ["install", "uninstall"]

_PROJECTS = ("madmom", *VERSIONS)


def __getattr__(name: str) -> Any:
    """Import a project's names when they are first used."""
    if name in _PROJECTS:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'melisma.compat' has no attribute {name!r}")
