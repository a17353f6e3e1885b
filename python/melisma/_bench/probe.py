"""Measurements that need a process of their own: first calls and peak memory. Prints one JSON object.

``python -m melisma._bench.probe first-call OPERATOR SAMPLES N_FFT...`` or ``... memory OPERATOR SIDE SECONDS``.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

import melisma
from melisma.compat.madmom import log_filtered_spectrogram

from . import rivals
from .speed import hann

RATE = 16_000


def first_call(operator: str, samples: int, sizes: list[int]) -> dict[str, float]:
    """Time the first call of each n_fft in this process, in milliseconds.

    The library is loaded and its threads are up (one call at another size); nothing of the size itself exists yet.
    operator: "stft", "istft", "mel", or "torch.stft" for the rival's own.
    """
    x = np.random.default_rng(0).standard_normal((1, samples), dtype=np.float32)
    took = {}
    for n_fft in [96, *sizes]:  # 96 brings the library up
        call = _first_call(operator, x, n_fft)
        start = perf_counter_ns()
        call()
        took[str(n_fft)] = (perf_counter_ns() - start) / 1e6
    del took["96"]
    return took


def _first_call(operator: str, x: Any, n_fft: int) -> Callable[[], Any]:
    hop, window = n_fft // 4, hann(n_fft)
    if operator == "stft":
        return lambda: melisma.stft(x, n_fft, hop, window=window)
    if operator == "istft":  # a spectrum that melisma did not make, so the plan is istft's own
        spec = rivals.reference_stft(x, n_fft, hop, window).astype(np.complex64).swapaxes(-1, -2)
        return lambda: melisma.istft(spec, n_fft, hop, window=window, length=x.shape[-1])
    if operator == "mel":
        return lambda: melisma.mel_spectrogram(x, sample_rate=RATE, n_fft=n_fft, hop_length=hop, n_mels=40)
    if operator == "torch.stft":
        tensor, tensor_window = rivals.torch.from_numpy(x), rivals.torch.from_numpy(window)
        return lambda: rivals.torch_stft(tensor, n_fft, hop, tensor_window)
    raise SystemExit(f"probe: operator must be stft, istft, mel or torch.stft, got {operator!r}")


def memory(operator: str, side: str, seconds: int) -> dict[str, Any]:
    """Return bytes of the result, and how far the process grew beyond input and result during one call."""
    call = _memory_call(operator, side)
    short = _signal(operator, side, 1)
    call(short)  # library, plans and threads are up
    x = _signal(operator, side, seconds)
    before = _reset_peak()
    result = call(x)
    grown = _peak() - before
    size = int(np.asarray(result).nbytes)
    return {"result": size, "extra": grown - size, "peak_reset": _CLEAR_REFS.exists()}


def _signal(operator: str, side: str, seconds: int) -> Any:
    rate = 44_100 if operator == "log_filtered" else RATE
    x = np.random.default_rng(0).standard_normal((1, seconds * rate), dtype=np.float32)
    return rivals.torch.from_numpy(x) if side == "torch" else x


def _memory_call(operator: str, side: str) -> Callable[[Any], Any]:
    n_fft, hop, n_mels = 400, 160, 80
    if side == "torch":
        window = rivals.torch.from_numpy(hann(n_fft))
        fbanks = rivals.torch.from_numpy(
            np.asarray(melisma.melscale_fbanks(n_fft // 2 + 1, 0.0, RATE / 2, n_mels, RATE))
        )
        if operator == "mel":
            return lambda x: rivals.torch_mel(x, n_fft, hop, window, fbanks)
        if operator == "log_mel":
            return lambda x: rivals.torch_log_mel(x, n_fft, hop, window, fbanks, 80.0)
        long_window = rivals.torch.from_numpy(np.hanning(2048).astype(np.float32))
        bank = rivals.torch.from_numpy(np.ascontiguousarray(melisma.log_filterbank(1024, 44_100)))
        return lambda x: rivals.torch_log_filtered(x, 2048, 441, long_window, bank)
    if operator == "mel":
        return lambda x: melisma.mel_spectrogram(x, sample_rate=RATE, n_fft=n_fft, hop_length=hop, n_mels=n_mels)
    if operator == "log_mel":
        return lambda x: melisma.log_mel(
            x, sample_rate=RATE, n_fft=n_fft, hop_length=hop, n_mels=n_mels, log="db", top_db=80.0
        )
    return lambda x: log_filtered_spectrogram(x, sample_rate=44_100, frame_size=2048, fps=100)


# --- peak memory of this process -------------------------------------------------------------------------------------

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def _reset_peak() -> int:
    """Set the peak to what is resident now, where the system can (Linux), and return it in bytes."""
    if _CLEAR_REFS.exists():
        _CLEAR_REFS.write_text("5", encoding="ascii")
        return _status_kb("VmRSS") * 1024
    return _peak()


def _peak() -> int:
    if _STATUS.exists():
        return _status_kb("VmHWM") * 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024  # macOS counts bytes, the others kilobytes


def _status_kb(key: str) -> int:
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"probe: {_STATUS} has no line {key}")


def main(arguments: list[str]) -> None:
    """Run the measurement that the arguments name and print it."""
    kind, *rest = arguments
    melisma.set_num_threads(1)
    with rivals.one_thread():
        if kind == "first-call":
            result: dict[str, Any] = first_call(rest[0], int(rest[1]), [int(n) for n in rest[2:]])
        elif kind == "memory":
            result = memory(rest[0], rest[1], int(rest[2]))
        else:
            raise SystemExit(f"probe: kind must be first-call or memory, got {kind!r}")
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
