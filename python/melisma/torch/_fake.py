"""What the operators' results look like, for tracing, export and meta tensors: shape, dtype and strides, no values."""

from typing import Any

import torch

_WIDE = (torch.float64, torch.complex128)


def real_dtype(x: torch.Tensor) -> torch.dtype:
    """The dtype of real results computed from x."""
    return torch.float64 if x.dtype in _WIDE else torch.float32


def complex_dtype(x: torch.Tensor) -> torch.dtype:
    """The dtype of complex results computed from x."""
    return torch.complex128 if x.dtype in _WIDE else torch.complex64


def frames_of(
    op: str, samples: Any, n_fft: int, hop_length: int, win_length: int, center: bool, pad: int, align: bool
) -> Any:
    """How many frames a signal of `samples` has."""
    if n_fft < 1 or hop_length < 1 or not 1 <= win_length <= n_fft:
        raise RuntimeError(
            f"{op}: n_fft and hop_length must be >= 1 and win_length 1 to n_fft, "
            f"got n_fft = {n_fft}, hop_length = {hop_length}, win_length = {win_length}"
        )
    padded = samples + 2 * pad + (2 * (n_fft // 2) if center else 0)
    torch._check(
        padded >= n_fft,
        lambda: f"{op}: n_fft = {n_fft} must be at most the padded input's {padded} samples",
    )
    return 1 + (padded - (win_length if align else n_fft)) // hop_length


def same_device(op: str, x: torch.Tensor, window: torch.Tensor | None, name: str = "window") -> None:
    """Refuse a tensor that lies elsewhere: a dispatcher with one meta tensor among others comes here, too."""
    if window is not None and window.device != x.device:
        raise RuntimeError(f"{op}: {name} must be on the input's device {x.device}, got {window.device}")


def spectral(x: torch.Tensor, rows: int, frames: Any, dtype: torch.dtype, frame_major: bool) -> torch.Tensor:
    """``[..., rows, frames]`` stored frame by frame, or ``[..., frames, rows]``."""
    result = torch.empty((*x.shape[:-1], frames, rows), dtype=dtype, device=x.device)
    return result if frame_major else result.transpose(-2, -1)


@torch.library.register_fake("melisma::stft")
def _stft(
    input: torch.Tensor,
    window: torch.Tensor | None,
    n_fft: int,
    hop_length: int,
    win_length: int,
    center: bool,
    pad_mode: str,
    normalized: bool,
    onesided: bool,
    align_to_window: bool,
    frame_major: bool,
) -> torch.Tensor:
    same_device("stft", input, window)
    frames = frames_of("stft", input.shape[-1], n_fft, hop_length, win_length, center, 0, align_to_window)
    bins = n_fft // 2 + 1 if onesided else n_fft
    return spectral(input, bins, frames, complex_dtype(input), frame_major)


@torch.library.register_fake("melisma::stft_adjoint")
def _stft_adjoint(
    grad: torch.Tensor, window: torch.Tensor | None, samples: Any, complex_input: bool, *options: Any
) -> torch.Tensor:
    dtype = complex_dtype(grad) if complex_input else real_dtype(grad)
    return torch.empty((*grad.shape[:-2], samples), dtype=dtype, device=grad.device)


@torch.library.register_fake("melisma::stft_window_gradient")
def _stft_window_gradient(
    input: torch.Tensor, grad: torch.Tensor, n_fft: int, hop_length: int, win_length: int, *options: Any
) -> torch.Tensor:
    return torch.empty((win_length,), dtype=real_dtype(input), device=input.device)


@torch.library.register_fake("melisma::istft")
def _istft(
    input: torch.Tensor,
    window: torch.Tensor | None,
    n_fft: int,
    hop_length: int,
    win_length: int,
    center: bool,
    normalized: bool,
    onesided: bool,
    length: Any,
    return_complex: bool,
    edge: str,
    frame_major: bool,
) -> torch.Tensor:
    same_device("istft", input, window)
    frames = input.shape[-2 if frame_major else -1]
    samples = n_fft + hop_length * (frames - 1) - (2 * (n_fft // 2) if center else 0) if length is None else length
    dtype = complex_dtype(input) if return_complex else real_dtype(input)
    return torch.empty((*input.shape[:-2], samples), dtype=dtype, device=input.device)


@torch.library.register_fake("melisma::istft_adjoint")
def _istft_adjoint(
    grad: torch.Tensor,
    window: torch.Tensor | None,
    frames: Any,
    n_fft: int,
    hop_length: int,
    win_length: int,
    center: bool,
    normalized: bool,
    onesided: bool,
    edge: str,
    frame_major: bool,
) -> torch.Tensor:
    return spectral(grad, n_fft // 2 + 1 if onesided else n_fft, frames, complex_dtype(grad), frame_major)


@torch.library.register_fake("melisma::spectrogram")
def _spectrogram(
    input: torch.Tensor,
    window: torch.Tensor | None,
    n_fft: int,
    hop_length: int,
    win_length: int,
    power: float,
    norm: str,
    center: bool,
    pad_mode: str,
    pad: int,
    pcm_scale: float,
    frame_major: bool,
) -> torch.Tensor:
    same_device("spectrogram", input, window)
    frames = frames_of("spectrogram", input.shape[-1], n_fft, hop_length, win_length, center, pad, False)
    return spectral(input, n_fft // 2 + 1, frames, real_dtype(input), frame_major)


@torch.library.register_fake("melisma::filtered_spectrogram")
def _filtered_spectrogram(
    input: torch.Tensor,
    window: torch.Tensor | None,
    filterbank: torch.Tensor,
    n_fft: int,
    hop_length: int,
    win_length: int,
    power: float,
    norm: str,
    center: bool,
    pad_mode: str,
    pad: int,
    pcm_scale: float,
    log: list[float],
    top_db: float,
    packed: bool,
    float64: bool,
    frame_major: bool,
    bank_key: int = 0,
) -> torch.Tensor:
    same_device("filtered_spectrogram", input, window)
    same_device("filtered_spectrogram", input, filterbank, "filterbank")
    frames = frames_of("filtered_spectrogram", input.shape[-1], n_fft, hop_length, win_length, center, pad, False)
    return spectral(input, filterbank.shape[1], frames, real_dtype(input), frame_major)


@torch.library.register_fake("melisma::spectrogram_backward")
@torch.library.register_fake("melisma::filtered_spectrogram_backward")
def _backward(grad: torch.Tensor, input: torch.Tensor, *options: Any) -> torch.Tensor:
    return torch.empty(input.shape, dtype=input.dtype, device=input.device)
