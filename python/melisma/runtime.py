"""Threads, backends, and which kernel runs."""

from typing import Any

from . import _core, _options, features, spectral
from .errors import InvalidArgument, InvalidType


def set_num_threads(n: int) -> None:
    """Set the number of threads of every operator; results do not depend on it."""
    _core.set_num_threads(min(_options.integer("set_num_threads", "n", n, 1), 2**31 - 1))


def get_num_threads() -> int:
    """The number of threads that operators use."""
    return _core.num_threads()


def backends() -> list[dict[str, Any]]:
    """Every backend: name, whether it is available, and why (not)."""
    return _core.backends()


def call_counts() -> list[dict[str, Any]]:
    """How often each operator ran on which kernel, with the reason of each fallback."""
    return _core.call_counts()


def reset_call_counts() -> None:
    """Set all call counters to zero."""
    _core.reset_call_counts()


def simd_targets() -> list[str]:
    """The SIMD instruction sets that this machine can run, best first."""
    return _core.simd_targets()


def simd_target() -> str:
    """The SIMD instruction set in use."""
    return _core.simd_target()


def set_simd_target(name: str) -> None:
    """Force one of :func:`simd_targets` ("" goes back to the best). For tests; not while operators run."""
    if not isinstance(name, str):
        raise InvalidType(f"set_simd_target: name must be a string, got {name!r}")
    _core.set_simd_target(name)


def explain(op: str, x: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Which kernel a call would run on: backend, kernel, reason, SIMD instruction set and number of threads.

    Parameters
    ----------
    op : str
        "stft", "istft", "spectrogram", "mel_spectrogram", "log_mel" or "filtered_spectrogram".
    x : array
        The operator's input; only its shape and dtype count.
    *args, **kwargs
        The operator's other arguments.
    """
    functions = {
        "stft": spectral.stft,
        "istft": spectral.istft,
        "spectrogram": features.spectrogram,
        "mel_spectrogram": features.mel_spectrogram,
        "log_mel": features.log_mel,
        "filtered_spectrogram": features.filtered_spectrogram,
    }
    if op not in functions:
        raise InvalidArgument(f"explain: op must be one of {sorted(functions)}, got {op!r}")
    asked = spectral.Explain()
    functions[op](x, *args, out=asked, **kwargs)  # type: ignore[operator]
    return asked.result
