"""What the host knows of windows and filter banks that lie on a GPU, so that no later call has to wait for the device.

istft's refusal of vanishing envelopes needs the window's values, and kernels that skip a bank's zeros need to know where
they are. Windows and banks that the package makes are known from the start. A tensor of the caller's is copied to the host
when it is first seen, and again only where PyTorch's version counter or its address says that it changed: a change past both
(through ``.data``, or by foreign kernels) goes unnoticed. Nothing is copied while a stream is captured or a gradient reaches
the bank; then such samples of istft become NaN and the bank's kernel reads every weight, zeros too.
"""

import ctypes
import weakref
from typing import Any

import numpy as np
import torch

from .. import _core, _options
from . import _library

_functorch = torch._C._are_functorch_transforms_active
_HALF = (torch.float16, torch.bfloat16)
_PLAIN = (torch.Tensor, torch.nn.Parameter)
_MOST_VERSIONS = 16  # of one tensor: what changes on is trained by hand, and copying it each time would wait each time


class _Known:
    """The values of one version of a tensor, and what was made of them."""

    __slots__ = ("accepted", "address", "key", "ref", "seen", "values", "version")

    def __init__(self, tensor: torch.Tensor, values: np.ndarray, seen: int) -> None:
        self.values, self.seen = values, seen
        self.version, self.address = _version(tensor), tensor.data_ptr()
        self.accepted: set[Any] = set()
        self.key: int | None = None
        number = id(tensor)
        self.ref = weakref.ref(tensor, lambda _: _known.pop(number, None))


_known: dict[int, _Known] = {}  # by the tensor's id
_ones_accepted: set[Any] = set()


def _version(tensor: torch.Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def remember(tensor: torch.Tensor, values: np.ndarray) -> torch.Tensor:
    """Note the values of a tensor that was made from them."""
    if tensor.is_cuda:
        _known[id(tensor)] = _Known(tensor, values, 1)
    return tensor


def _look_up(tensor: torch.Tensor) -> _Known | None:
    known = _known.get(id(tensor))
    if known is None or known.ref() is not tensor:
        return _copy(tensor, 0)
    if known.version == _version(tensor) and known.address == tensor.data_ptr():
        return known
    return _copy(tensor, known.seen)


def _copy(tensor: torch.Tensor, seen: int) -> _Known | None:
    copied = tensor.is_cuda and tensor.layout is torch.strided and type(tensor) in _PLAIN
    if not copied or seen >= _MOST_VERSIONS or _functorch() or _capturing(tensor):
        return None
    on_host = tensor.detach().resolve_conj().resolve_neg().cpu()
    known = _Known(tensor, (on_host.float() if on_host.dtype in _HALF else on_host).numpy(), seen + 1)
    _known[id(tensor)] = known
    return known


def _capturing(tensor: torch.Tensor) -> bool:
    with torch.cuda.device(tensor.device):
        return torch.cuda.is_current_stream_capturing()


def check_envelope(window: torch.Tensor | None, options: tuple[Any, ...], frames: int) -> None:
    """Refuse an istft that torch.istft refuses; options: the operator's, after the window.

    A call costs a look-up where the same window and sizes were accepted before.
    """
    n_fft, hop_length, win_length, center, _normalized, _onesided, length, *_ = options
    key = (n_fft, hop_length, win_length, center, length, frames)
    if window is None:
        accepted, values = _ones_accepted, None
    else:
        known = _look_up(window)
        if known is None:
            return
        accepted, values = known.accepted, known.values
    if key in accepted:
        return
    if values is not None and (values.shape != (win_length,) or values.dtype.kind != "f"):
        return  # refused by the operator
    params = _options.istft_params(n_fft, hop_length, win_length, center, False, True, length, "error",
                                   "frequency_major", n_fft // 2 + 1)  # fmt: skip
    _core.check_istft_envelope(values, params, frames)
    accepted.add(key)


def bank_key(bank: torch.Tensor) -> int:
    """The key by which the operators find the bank's values on the host; 0 where these are unknown, and on the CPU."""
    if not bank.is_cuda or bank.requires_grad:
        return 0
    known = _look_up(bank)
    if known is None:
        return 0
    if known.key is None:
        known.key = _keep(known.values)
    return known.key


def _keep(values: np.ndarray) -> int:
    if values.ndim != 2 or values.size == 0 or values.dtype.kind != "f":
        return 0
    weights = np.ascontiguousarray(values, np.float64)
    return int(_keep_bank(weights.ctypes.data, *weights.shape))


_keep_bank: Any = ctypes.CDLL(str(_library.PATH)).melisma_keep_bank
_keep_bank.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
_keep_bank.restype = ctypes.c_int64
