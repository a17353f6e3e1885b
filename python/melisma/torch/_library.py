"""Loads the dispatcher's operators (namespace ``melisma``) and calls them at the least cost."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.autograd import forward_ad

from ..errors import Unavailable

PATH = Path(__file__).parent.parent / "_torch.so"


def _load() -> Any:
    if not PATH.exists():
        raise Unavailable(
            "melisma.torch: this melisma was built without PyTorch's operators; install PyTorch 2.11 or later first, "
            "then melisma again: pip install --force-reinstall --no-cache-dir melisma"
        )
    if tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2]) < (2, 11):
        raise Unavailable(f"melisma.torch: PyTorch must be 2.11 or later, got {torch.__version__}")
    torch.ops.load_library(str(PATH))
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
causal_conv1d = _ops.causal_conv1d.default
causal_conv1d_out = _ops.causal_conv1d_out.default
causal_conv1d_backward = _ops.causal_conv1d_backward.default
causal_conv1d_update = _ops.causal_conv1d_update.default
causal_conv1d_update_out = _ops.causal_conv1d_update_out.default

_KERNELS = {
    "cpu": torch._C.DispatchKeySet(torch._C.DispatchKey.CPU),
    "cuda": torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA),
}
_keys = torch._C._dispatch_keys
# The kernels' keys by those of a dense tensor, neither conjugated nor negated lazily, made in inference mode or not. A GPU's
# come with its first tensor.
_PLAIN: dict[int, torch._C.DispatchKeySet] = {}


def _add_device(device: torch.device) -> None:
    for inference in (False, True):
        with torch.inference_mode(inference):
            _PLAIN[_keys(torch.empty(0, device=device)).raw_repr()] = _KERNELS[device.type]


_add_device(torch.device("cpu"))
_is_grad_enabled = torch.is_grad_enabled
_functorch = torch._C._are_functorch_transforms_active
_modes = torch._C._len_torch_dispatch_stack
_is_compiling = torch.compiler.is_compiling


_TYPES = frozenset((torch.Tensor, torch.nn.Parameter))
_STRIDED = torch.strided


def below_autograd(op: Any, keyset: Any, *args: Any) -> Any:
    """What an autograd kernel does where nothing needs a gradient: go on to the next kernel."""
    with torch._C._AutoDispatchBelowAutograd():
        return op.redispatch(keyset & torch._C._after_autograd_keyset, *args)


# The operators' autograd kernels, put here by :mod:`._autograd`.
with_gradient: dict[Any, Callable[..., Any]] = {}


def _learn(tensor: torch.Tensor) -> torch._C.DispatchKeySet | None:
    """Return the kernels of a tensor that turns out to be a plain one of a device that none came from before."""
    device = tensor.device
    if device.type not in _KERNELS or device.type == "cpu":
        return None
    _add_device(device)
    return _PLAIN.get(_keys(tensor).raw_repr())


def kernels_of(tensor: torch.Tensor) -> torch._C.DispatchKeySet | None:
    """The keys of the kernels of a plain tensor; None of any other, for which the dispatcher does more than call one."""
    if type(tensor) not in _TYPES:
        return None
    return _PLAIN.get(_keys(tensor).raw_repr()) or _learn(tensor)


def is_dense(tensor: torch.Tensor) -> bool:
    """Whether a tensor that stands beside a plain one can go to the kernels, too, which check its device themselves.

    A quarter of the time that the tensor's keys take.
    """
    return type(tensor) in _TYPES and tensor.layout is _STRIDED and not tensor.is_neg()


def is_transformed() -> bool:
    """Whether there is a transform or mode, so that the dispatcher has more to do whatever the tensors are."""
    return bool(_is_compiling() or forward_ad._current_level >= 0 or _functorch() or _modes())


_ALLOCATION = re.compile(r"melisma: PyTorch's allocator has no (\d+) bytes on (cuda:\d+)")


def of_allocator(error: Exception) -> Exception:
    """PyTorch's own error where its allocator had no memory for an operator, which sees no more of it than that."""
    found = _ALLOCATION.match(str(error))
    if found is None:
        return error
    try:
        torch.empty(int(found[1]), dtype=torch.uint8, device=found[2])
    except torch.OutOfMemoryError as theirs:
        return theirs
    return torch.OutOfMemoryError(str(error))  # there is memory again


def call(op: Any, tensors: tuple[torch.Tensor | None, ...], *options: Any) -> Any:
    """``op(*tensors, *options)``, for plain tensors of one device without the dispatcher's way through Python (4 us).

    Only outside of every transform and mode: whatever else there is finds the operator by the ordinary way.
    """
    if is_transformed():
        return op(*tensors, *options)
    differentiable = False
    kernels = None
    for tensor in tensors:
        if tensor is not None:
            found = kernels_of(tensor)
            if found is None or (kernels is not None and kernels is not found):
                kernels = None
                break
            kernels = found
            differentiable = differentiable or tensor.requires_grad
    try:
        if kernels is None:
            return op(*tensors, *options)
        if differentiable and _is_grad_enabled():
            return with_gradient[op](*tensors, *options)
        return op._handle.redispatch_boxed(kernels, *tensors, *options)
    except RuntimeError as error:
        raise of_allocator(error) from None
