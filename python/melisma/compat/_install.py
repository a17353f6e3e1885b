"""The compat packages under the names of the originals, for libraries that import those."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from ..errors import InvalidArgument

# The versions of the interfaces that are followed. They stand here because looking for distributions, as `import torch` does,
# must import none of the packages.
VERSIONS = {"causal_conv1d": "1.6.1", "causal_conv1d_mps": "0.1.0", "mps_spectro": "0.3.0"}


def install(*projects: str) -> None:
    """Let ``import causal_conv1d`` and the like find Melisma's package of that name, its modules too.

    To be called before the importing library is imported, most of which look once. Found as well are
    ``importlib.util.find_spec("causal_conv1d")`` and ``importlib.metadata.version("causal_conv1d")``, by which libraries ask
    whether a package is there. An installed original is hidden, not changed.

    Parameters
    ----------
    *projects : {"causal_conv1d", "causal_conv1d_mps", "mps_spectro"}
        Which.

    Raises
    ------
    melisma.InvalidArgument
        For another name, madmom's too, of whose modules there is none here, and where the original has been imported already.
    """
    for project in projects:
        if project not in VERSIONS:
            raise InvalidArgument(f"compat.install: projects must be of {', '.join(VERSIONS)}, got {project!r}")
        found = sys.modules.get(project)
        if found is not None and not found.__name__.startswith(__package__):
            raise InvalidArgument(
                f"compat.install: {project} must not be imported yet, got it from {getattr(found, '__file__', None)}"
            )
    _finder.projects.update(projects)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def uninstall(*projects: str) -> None:
    """Undo :func:`install`, for all projects where none is named. What has been imported goes on as it is."""
    for project in projects or VERSIONS:
        if project in _finder.projects:
            _finder.projects.remove(project)
            for name in [name for name in sys.modules if _project(name) == project]:
                del sys.modules[name]


def _project(name: str) -> str:
    return name.split(".")[0]


def _normalized(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


class _Loader(importlib.abc.Loader):
    """Gives a module that is there, or is imported now, under its own name."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = importlib.import_module(f"{__package__}.{spec.name}")
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has put that of the other name there
        # Submodules that are imported: found there, they are not bound in the package again, where a function may have the name.
        for name, submodule in list(sys.modules.items()):
            if name.startswith(module.__name__ + "."):
                sys.modules[name[len(f"{__package__}.") :]] = submodule


class _Distribution(importlib.metadata.Distribution):
    def __init__(self, project: str) -> None:
        self._project = project

    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        return f"Metadata-Version: 2.1\nName: {_normalized(self._project)}\nVersion: {VERSIONS[self._project]}\n"

    def locate_file(self, path: Any) -> Any:
        raise FileNotFoundError(f"{self._project} is a part of melisma")


class _Finder(importlib.metadata.DistributionFinder):
    def __init__(self) -> None:
        self.projects: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if _project(fullname) not in self.projects:
            return None
        real = importlib.util.find_spec(f"{__package__}.{fullname}")
        if real is None:
            return None
        return importlib.machinery.ModuleSpec(
            fullname, _Loader(), origin=real.origin, is_package=real.submodule_search_locations is not None
        )

    def find_distributions(self, context: Any = None) -> Iterator[importlib.metadata.Distribution]:
        wanted = getattr(context, "name", None)
        for project in sorted(self.projects):
            if wanted is None or _normalized(wanted) == _normalized(project):
                yield _Distribution(project)


_finder = _Finder()
