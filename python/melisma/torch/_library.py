"""Loads the dispatcher's operators (namespace ``melisma``) and calls them at the least cost."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.autograd import forward_ad

from ..errors import Unavailable

_LIBRARY = Path(__file__).parent.parent / "_torch.so"


def _load() -> Any:
    if not _LIBRARY.exists():
        raise Unavailable(
            "melisma.torch: this melisma was built without PyTorch's operators; install PyTorch 2.11 or later first, "
            "then melisma again: pip install --force-reinstall --no-cache-dir melisma"
        )
    if tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2]) < (2, 11):
        raise Unavailable(f"melisma.torch: PyTorch must be 2.11 or later, got {torch.__version__}")
    torch.ops.load_library(str(_LIBRARY))
    return torch.ops.melisma


_ops = _load()

stft = _ops.stft.default
stft_adjoint = _ops.stft_adjoint.default
stft_window_gradient = _ops.stft_window_gradient.default
istft = _ops.istft.default
istft_adjoint = _ops.istft_adjoint.default
spectrogram = _ops.spectrogram.default
spectrogram_backward = _ops.spectrogram_backward.default
filtered_spectrogram = _ops.filtered_spectrogram.default
filtered_spectrogram_backward = _ops.filtered_spectrogram_backward.default

_CPU = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
_PLAIN = torch._C._dispatch_keys(torch.empty(0)).raw_repr()  # a dense CPU tensor, neither conjugated nor negated lazily
_is_grad_enabled = torch.is_grad_enabled
_keys = torch._C._dispatch_keys
_functorch = torch._C._are_functorch_transforms_active
_modes = torch._C._len_torch_dispatch_stack
_is_compiling = torch.compiler.is_compiling


_TYPES = (torch.Tensor, torch.nn.Parameter)


def below_autograd(op: Any, keyset: Any, *args: Any) -> Any:
    """What an autograd kernel does where nothing needs a gradient: go on to the next kernel."""
    with torch._C._AutoDispatchBelowAutograd():
        return op.redispatch(keyset & torch._C._after_autograd_keyset, *args)


# The operators' autograd kernels, put here by :mod:`._autograd`.
with_gradient: dict[Any, Callable[..., Any]] = {}


def call(op: Any, tensors: tuple[torch.Tensor | None, ...], *options: Any) -> Any:
    """``op(*tensors, *options)``, for plain CPU tensors without the dispatcher's way through Python (4 us).

    Only outside of every transform and mode: whatever else there is finds the operator by the ordinary way.
    """
    if _is_compiling() or forward_ad._current_level >= 0 or _functorch() or _modes():
        return op(*tensors, *options)
    differentiable = False
    for tensor in tensors:
        if tensor is not None:
            if _keys(tensor).raw_repr() != _PLAIN or type(tensor) not in _TYPES:
                return op(*tensors, *options)
            differentiable = differentiable or tensor.requires_grad
    if differentiable and _is_grad_enabled():
        return with_gradient[op](*tensors, *options)
    return op._handle.redispatch_boxed(_CPU, *tensors, *options)
