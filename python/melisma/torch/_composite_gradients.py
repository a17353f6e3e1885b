"""The operators' gradients with respect to the signal as compositions, themselves differentiable in everything.

They take the place of the fused backward kernels where a gradient is differentiated again.
"""

import math

import torch
from torch.nn import functional

from . import _library
from ._composite import bin_weights, divided, full_precision, spectrogram


@full_precision
def istft_adjoint(
    grad: torch.Tensor,
    window: torch.Tensor | None,
    frames: int,
    n_fft: int,
    hop_length: int,
    win_length: int,
    center: bool,
    normalized: bool,
    onesided: bool,
    edge: str,
    frame_major: bool,
) -> torch.Tensor:
    """``melisma::istft_adjoint`` as a division and a transform."""
    scale = (math.sqrt(n_fft) if normalized else 1.0) / n_fft
    total = n_fft + hop_length * (frames - 1)
    first = n_fft // 2 if center else 0
    covered = grad[..., : total - first]
    v = divided(covered, window, n_fft, hop_length, win_length, frames, first, edge)
    v = functional.pad(v, (first, total - first - v.shape[-1]))
    complex_signal = grad.is_complex()
    spectrum = _library.stft(
        v, window, n_fft, hop_length, win_length, False, "constant", False, not complex_signal, False, True
    )
    if complex_signal:
        result = spectrum * scale
    else:
        result = spectrum * bin_weights(n_fft, scale, spectrum.real)
        if not onesided:  # the bins above are ignored by the inverse transform to a real signal
            result = functional.pad(result, (0, n_fft - n_fft // 2 - 1))
    return result if frame_major else result.transpose(-2, -1)


@full_precision
def spectrogram_backward(
    grad: torch.Tensor,
    x: torch.Tensor,
    window: torch.Tensor | None,
    n_fft: int,
    hop_length: int,
    win_length: int,
    power: float,
    norm: str,
    center: bool,
    pad_mode: str,
    pad: int,
    frame_major: bool,
) -> torch.Tensor:
    """``melisma::spectrogram_backward`` from ``melisma::stft`` and its adjoint."""
    padded = functional.pad(x, (pad, pad)) if pad > 0 else x
    options = (n_fft, hop_length, win_length, center, pad_mode, norm == "frame_length", True, False, frame_major)
    spectrum = _library.stft(padded, window, *options)
    root = None
    if norm == "window":
        energy = torch.full((), float(win_length), device=x.device) if window is None else window.square().sum()
        root = energy.sqrt().to(spectrum.real.dtype)
        spectrum = spectrum / root
    if power == 2:
        factor = 2 * grad
    else:
        square = spectrum.real.square() + spectrum.imag.square()
        silent = square == 0
        factor = grad * power * torch.where(silent, 0.0, torch.where(silent, 1.0, square) ** (power / 2 - 1))
    above = spectrum * factor
    if root is not None:
        above = above / root
    result = _library.stft_adjoint(above, window, padded.shape[-1], False, *options)
    return result[..., pad : pad + x.shape[-1]].to(x.dtype)


@full_precision
def filtered_spectrogram_backward(
    grad: torch.Tensor,
    x: torch.Tensor,
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
    log: list[float],
    float64: bool,
    frame_major: bool,
    bank_key: int = 0,
) -> torch.Tensor:
    """``melisma::filtered_spectrogram_backward`` through the power spectrum."""
    dtype = x.dtype
    if float64:
        x, grad = x.double(), grad.double()
    elif dtype in (torch.float16, torch.bfloat16):
        x, grad = x.float(), grad.float()
    if not frame_major:
        grad = grad.transpose(-2, -1)
    bank = filterbank.to(x.dtype)
    options = (n_fft, hop_length, win_length, power, norm, center, pad_mode, pad)
    if log:
        scale, mul, add, floor, _offset = log
        powers = spectrogram(x, window, *options, 1.0, True)
        argument = mul * torch.matmul(powers[..., : bank.shape[0]], bank) + add
        low = argument <= floor
        grad = torch.where(low, 0.0, grad * (scale * mul) / torch.where(low, 1.0, argument))
    on_powers = torch.matmul(grad, bank.transpose(0, 1))
    on_powers = functional.pad(on_powers, (0, n_fft // 2 + 1 - bank.shape[0]))
    return spectrogram_backward(on_powers, x, window, *options, True).to(dtype)
