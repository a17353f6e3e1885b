"""Threads, backends, and which kernel runs."""

from collections.abc import Iterator
from contextlib import contextmanager
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


def set_variant(kernel: str, variant: str | int | None) -> None:
    """Force a variant of a GPU kernel for all calls; tuned and default choices are then not looked at.

    Parameters
    ----------
    kernel : str
        "fast-forward" (signals to spectra, powers, bands), "fast-inverse" (spectra to signals) or "fast-gradient"
        (gradients of powers and bands to those of signals).
    variant : str or int or None
        A name as :func:`explain` gives it, or its place in a call's list, 0 being the default. A name that belongs to
        another ``n_fft`` leaves a call as it is; one that no size has raises InvalidArgument at the call, listing the
        names. None goes back to what the environment variable MELISMA_VARIANT says.
    """
    if not isinstance(kernel, str):
        raise InvalidType(f"set_variant: kernel must be a string, got {kernel!r}")
    if variant is not None and (isinstance(variant, bool) or not isinstance(variant, (str, int))):
        raise InvalidType(f"set_variant: variant must be a string, an integer or None, got {variant!r}")
    _core.set_variant(kernel, "" if variant is None else str(variant))


def set_autotune(on: bool) -> None:
    """Say whether GPU calls time the variants of their kernel where that has not been done on such a device.

    Some ten runs of each variant on the call's stream, which the host waits for; never while that is being captured
    into a graph. What is found is kept on disk, see :func:`tuning_cache`. Default: MELISMA_AUTOTUNE=1.
    """
    if not isinstance(on, bool):
        raise InvalidType(f"set_autotune: on must be a bool, got {on!r}")
    _core.set_autotune(on)


@contextmanager
def autotune() -> Iterator[None]:
    """Turn autotuning on for the calls within, of all threads: ``with melisma.autotune(): model(x)``."""
    scope = _core.AutotuneScope()
    try:
        yield
    finally:
        del scope


def tuning_cache() -> list[dict[str, Any]]:
    """The variants that have been timed: device, kernel, job, variant, microseconds, file ("" for this process only).

    One JSON file for each device, driver and version of melisma in MELISMA_CACHE_DIR, else XDG_CACHE_HOME/melisma, else
    ~/.cache/melisma (macOS: ~/Library/Caches/melisma). MELISMA_CACHE=0 neither reads nor writes them.
    """
    return _core.tuning_cache()


def clear_tuning_cache() -> None:
    """Forget them, for every device, and remove the files."""
    _core.clear_tuning_cache()


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
