"""What a user would run instead: PyTorch, the operators as torchaudio composes them, librosa and SciPy.

Every function here takes and gives the rival's own kind of array and leaves the allocation of its result to the rival.
A rival that is not installed is ``None`` in the module-level names.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np


def optional(name: str) -> Any:
    """Return the module `name`, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


torch = optional("torch")
librosa = optional("librosa")
scipy_signal = optional("scipy.signal")
_threadpoolctl = optional("threadpoolctl")


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Give every rival one thread, the BLAS behind NumPy included (where threadpoolctl can reach it)."""
    limits = contextlib.nullcontext() if _threadpoolctl is None else _threadpoolctl.threadpool_limits(limits=1)
    with limits:
        if torch is None:
            yield
            return
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def versions() -> dict[str, str | None]:
    """Return the version of each rival, None where it is not installed."""
    found = {name: optional(name) for name in ("numpy", "torch", "librosa", "scipy")}
    return {name: None if module is None else str(module.__version__) for name, module in found.items()}


def torch_stft(x: Any, n_fft: int, hop: int, window: Any) -> Any:
    """torch.stft with its defaults: centred, reflected edges, one-sided."""
    return torch.stft(x, n_fft, hop, window=window, return_complex=True)


def torch_istft(spec: Any, n_fft: int, hop: int, window: Any, length: int) -> Any:
    """torch.istft to an exact length."""
    return torch.istft(spec, n_fft, hop, window=window, length=length)


def torch_spectrogram(x: Any, n_fft: int, hop: int, window: Any) -> Any:
    """Power spectrogram with the operators that torchaudio.transforms.Spectrogram runs."""
    return torch.stft(x, n_fft, hop, window=window, return_complex=True).abs().pow(2)


def torch_mel(x: Any, n_fft: int, hop: int, window: Any, fbanks: Any) -> Any:
    """Mel spectrogram with the operators that torchaudio.transforms.MelSpectrogram runs; fbanks: [bins, mels]."""
    power = torch_spectrogram(x, n_fft, hop, window)
    return torch.matmul(power.transpose(-1, -2), fbanks).transpose(-1, -2)


def torch_log_mel(x: Any, n_fft: int, hop: int, window: Any, fbanks: Any, top_db: float | None) -> Any:
    """Mel spectrogram in dB with the operators that torchaudio.transforms.AmplitudeToDB runs on it."""
    db = 10.0 * torch.log10(torch.clamp(torch_mel(x, n_fft, hop, window, fbanks), min=1e-10))
    if top_db is None:
        return db
    shape = db.shape
    packed = db.reshape(-1, 1, shape[-2], shape[-1])
    limit = packed.amax(dim=(-3, -2, -1)) - top_db
    return torch.max(packed, limit.view(-1, 1, 1, 1)).reshape(shape)


def torch_log_filtered(x: Any, frame_size: int, hop: int, window: Any, filterbank: Any) -> Any:
    """log10(1 + |X| F) over madmom's frames: frame i is centred on sample i * hop, ceil(length / hop) of them.

    torch.stft on the signal padded with zeros; pad, unfold and torch.fft.rfft give the same and took 1.15x as long.
    filterbank: [frame_size / 2, bands]; the result is [..., frames, bands].
    """
    frames = -(-x.shape[-1] // hop)
    padded = torch.nn.functional.pad(x, (frame_size // 2, frame_size - frame_size // 2))
    spectrum = torch.stft(padded, frame_size, hop, window=window, center=False, return_complex=True)
    magnitude = spectrum[..., : frame_size // 2, :frames].abs()
    return torch.log10(1.0 + torch.matmul(magnitude.transpose(-1, -2), filterbank))


def librosa_stft(x: Any, n_fft: int, hop: int) -> Any:
    """librosa.stft, centred, reflected edges."""
    return librosa.stft(x, n_fft=n_fft, hop_length=hop, pad_mode="reflect")


def librosa_istft(spec: Any, n_fft: int, hop: int, length: int) -> Any:
    """librosa.istft to an exact length."""
    return librosa.istft(spec, n_fft=n_fft, hop_length=hop, length=length)


def librosa_mel(x: Any, sample_rate: int, n_fft: int, hop: int, n_mels: int) -> Any:
    """librosa.feature.melspectrogram with its defaults: zeros beyond the ends, Slaney scale and norm."""
    return librosa.feature.melspectrogram(y=x, sr=sample_rate, n_fft=n_fft, hop_length=hop, n_mels=n_mels)


def scipy_stft(n_fft: int, hop: int, window: Any) -> Any:
    """Return a function that runs scipy.signal.ShortTimeFFT on a signal, with torch.stft's framing."""
    transform = scipy_signal.ShortTimeFFT(window, hop, fs=1.0, mfft=n_fft, phase_shift=None)

    def stft(x: Any) -> Any:
        return transform.stft(x, p0=0, p1=1 + x.shape[-1] // hop, padding="even")

    return stft


def reference_stft(x: Any, n_fft: int, hop: int, window: Any) -> Any:
    """Compute the centred, reflected, one-sided STFT in float64 by NumPy's FFT: what errors are measured against.

    Returns [..., frames, bins], frame-major.
    """
    padded = np.pad(np.asarray(x, np.float64), [(0, 0)] * (x.ndim - 1) + [(n_fft // 2, n_fft // 2)], mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=-1)[..., ::hop, :]
    return np.fft.rfft(frames * np.asarray(window, np.float64), axis=-1)
