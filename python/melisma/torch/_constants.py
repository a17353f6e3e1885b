"""Windows by name, mel filter banks and host arrays as tensors, made once for each set of options and device.

A GPU's are never given up: a captured graph goes on reading them. Making one waits for the device, so a call that is to be
captured is made once before, as PyTorch asks of its own.

While a graph is traced with dynamic shapes, numbers are symbols that no cache can look up. So the traced graph calls an
operator, whose integer and float arguments are plain numbers by its schema.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from .. import _options
from . import _host, _library

_DEFINITIONS = torch.library.Library("melisma", "FRAGMENT")
_DEFINITIONS.define("named_window(Tensor like, str name, int length) -> Tensor")
_DEFINITIONS.define(
    "mel_bank(Tensor like, str op, int n_fft, float sample_rate, int n_mels, float f_min, float? f_max, str mel_scale, "
    "str? norm) -> Tensor"
)


def _made(device: torch.device, values: np.ndarray) -> torch.Tensor:
    """Upload values whoever asks first.

    A GPU's are made on a thread of their own, which knows nothing of the caller's function transforms, inference mode and
    memory pool: they outlive all three. (Inductor's graphs allow nothing in their pool that outlives a run.)
    """
    if device.type == "cpu":
        with torch.inference_mode(False):
            return torch.from_numpy(values.copy())
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: _host.remember(torch.from_numpy(values.copy()).to(device), values)).result()


@lru_cache(maxsize=256)
def _window(device: torch.device, name: str, length: int) -> torch.Tensor:
    return _made(device, _options.named_window(name, length))


@lru_cache(maxsize=64, typed=True)
def _mel_bank(device: torch.device, op: str, n_fft: Any, *options: Any) -> torch.Tensor:
    bins = _options.integer(op, "n_fft", n_fft, 1) // 2 + 1
    return _made(device, _options.mel_bank(op, bins, *options).to_dense(True))


_kept_window = lru_cache(maxsize=None)(_window.__wrapped__)
_kept_mel_bank = lru_cache(maxsize=None, typed=True)(_mel_bank.__wrapped__)


@lru_cache(maxsize=256)
def _array(device: torch.device, values: bytes, dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
    return _made(device, np.frombuffer(values, dtype).reshape(shape))


def from_array(like: torch.Tensor, values: Any) -> torch.Tensor:
    """A window or bank given as anything but a tensor, on the device of `like`; on a GPU uploaded once for equal values."""
    if not like.is_cuda or torch.compiler.is_compiling():
        return torch.as_tensor(values, device=like.device)
    array = np.asarray(values)
    if array.dtype == object:
        return torch.as_tensor(values, device=like.device)
    return _array(like.device, array.tobytes(), array.dtype.str, array.shape)


def window(like: torch.Tensor, name: str, length: int) -> torch.Tensor:
    """The periodic window `name`, float64, on the device of `like`."""
    if torch.compiler.is_compiling():
        return torch.ops.melisma.named_window(like, name, length)
    return (_kept_window if like.is_cuda else _window)(like.device, name, length)


def mel_bank(
    like: torch.Tensor,
    op: str,
    n_fft: int,
    sample_rate: float,
    n_mels: int,
    f_min: float,
    f_max: float | None,
    mel_scale: str,
    norm: str | None,
) -> torch.Tensor:
    """The dense mel bank ``[n_fft // 2 + 1, n_mels]``, float64, on the device of `like`."""
    options = (op, n_fft, sample_rate, n_mels, f_min, f_max, mel_scale, norm)
    if torch.compiler.is_compiling():
        return torch.ops.melisma.mel_bank(like, *options)
    _options.hashable(
        op,
        n_fft=n_fft,
        sample_rate=sample_rate,
        n_mels=n_mels,
        f_min=f_min,
        f_max=f_max,
        mel_scale=mel_scale,
        norm=norm,
    )
    return (_kept_mel_bank if like.is_cuda else _mel_bank)(like.device, *options)


# A copy each time: a compiled graph may use its operators' results as scratch memory. Never traced itself.
@torch.compiler.disable
def _run_window(like: torch.Tensor, *options: Any) -> torch.Tensor:
    return (_kept_window if like.is_cuda else _window)(like.device, *options).clone()


@torch.compiler.disable
def _run_mel_bank(like: torch.Tensor, *options: Any) -> torch.Tensor:
    return (_kept_mel_bank if like.is_cuda else _mel_bank)(like.device, *options).clone()


def _define(name: str, run: Callable[..., torch.Tensor]) -> None:
    _DEFINITIONS.impl(name, run, "CompositeExplicitAutograd")
    op = getattr(torch.ops.melisma, name).default

    def without_gradient(keyset: Any, *args: Any) -> torch.Tensor:
        return _library.below_autograd(op, keyset, *args)

    _DEFINITIONS.impl(name, without_gradient, "Autograd", with_keyset=True)


_define("named_window", _run_window)
_define("mel_bank", _run_mel_bank)


@torch.library.register_fake("melisma::named_window")
def _fake_window(like: torch.Tensor, name: str, length: int) -> torch.Tensor:
    return torch.empty((length,), dtype=torch.float64, device=like.device)


@torch.library.register_fake("melisma::mel_bank")
def _fake_mel_bank(
    like: torch.Tensor, op: str, n_fft: int, sample_rate: float, n_mels: int, *rest: Any
) -> torch.Tensor:
    return torch.empty((n_fft // 2 + 1, n_mels), dtype=torch.float64, device=like.device)
