"""Which way a call goes, and the windows that both ways share."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import forward_ad

import melisma

from ...errors import InvalidArgument, Unavailable

dispatched: Any
try:
    from ...torch import spectral as dispatched
except Unavailable:  # melisma was built where PyTorch was not
    dispatched = None


def engine(*tensors: torch.Tensor) -> Any:
    """The module whose operators take a call on these tensors; None where that has to be made of PyTorch's own.

    Melisma's own functions write into memory that is given, those of :mod:`melisma.torch` have gradients and torch.compile.
    """
    if any(tensor.device.type != "cpu" for tensor in tensors):
        return None
    if (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
        or forward_ad._current_level >= 0
        or (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))
        or any(type(tensor) is not torch.Tensor for tensor in tensors)
    ):
        return dispatched
    return melisma


def symbolic(tensor: torch.Tensor) -> bool:
    """Whether a tensor's values cannot be looked at: in compiled code, a torch.func transform, or a mode with tensors of its own."""
    return (
        torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active() or type(tensor) is not torch.Tensor
    )


_HANN: dict[tuple[int, torch.device, torch.dtype], torch.Tensor] = {}
_HANN_LIMIT = 128


def hann(length: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """The periodic Hann window, made once; callers do not write to it."""
    if torch.compiler.is_compiling():
        return torch.hann_window(length, periodic=True, device=device, dtype=dtype)
    key = (length, device, dtype)
    window = _HANN.get(key)
    if window is None:
        with torch.inference_mode(False):  # what is kept must be of use to autograd later
            window = torch.hann_window(length, periodic=True, device=device, dtype=dtype)
        if len(_HANN) >= _HANN_LIMIT:
            _HANN.clear()
        if not symbolic(window):
            _HANN[key] = window
    return window


def whole(op: str, name: str, value: Any) -> int:
    """`value` as a positive integer."""
    number = int(value)
    if number <= 0:
        raise InvalidArgument(f"{op}: {name} must be positive, got {number}")
    return number


def frame_window(
    op: str, window: torch.Tensor | None, win_length: int, n_fft: int, device: torch.device
) -> tuple[torch.Tensor, int]:
    """The window in float32 as given (or Hann), and its length: `win_length`, or `n_fft` if it fills the frame."""
    if window is None:
        return hann(win_length, device, torch.float32), win_length
    if window.dim() != 1:
        raise InvalidArgument(f"{op}: window must be 1-D, got shape {tuple(window.shape)}")
    length = window.shape[0]
    if length not in (win_length, n_fft):
        raise InvalidArgument(
            f"{op}: window must have win_length = {win_length} or n_fft = {n_fft} values, got {length}"
        )
    # Windows carry no gradient here, as in the original.
    return window.detach().to(device=device, dtype=torch.float32), length
