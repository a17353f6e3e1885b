"""Other projects' names and signatures, thin over Melisma: change one import line."""

import importlib
from typing import Any

_PROJECTS = ("madmom", "mps_spectro")


def __getattr__(name: str) -> Any:
    """Import a project's names when they are first used."""
    if name in _PROJECTS:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'melisma.compat' has no attribute {name!r}")
