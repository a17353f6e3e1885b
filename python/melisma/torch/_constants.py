"""Windows by name and mel filter banks as tensors, made once for each set of options.

While a graph is traced with dynamic shapes, numbers are symbols that no cache can look up. So the traced graph calls an
operator, whose integer and float arguments are plain numbers by its schema.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

from .. import _options
from . import _library

_DEFINITIONS = torch.library.Library("melisma", "FRAGMENT")
_DEFINITIONS.define("named_window(Tensor like, str name, int length) -> Tensor")
_DEFINITIONS.define(
    "mel_bank(Tensor like, str op, int n_fft, float sample_rate, int n_mels, float f_min, float? f_max, str mel_scale, "
    "str? norm) -> Tensor"
)


@lru_cache(maxsize=256)
def _window(device: torch.device, name: str, length: int) -> torch.Tensor:
    return torch.from_numpy(_options.named_window(name, length).copy()).to(device)


@lru_cache(maxsize=64, typed=True)
def _mel_bank(device: torch.device, op: str, n_fft: Any, *options: Any) -> torch.Tensor:
    bins = _options.integer(op, "n_fft", n_fft, 1) // 2 + 1
    return torch.from_numpy(_options.mel_bank(op, bins, *options).to_dense(True)).to(device)


def window(like: torch.Tensor, name: str, length: int) -> torch.Tensor:
    """The periodic window `name`, float64, on the device of `like`."""
    if torch.compiler.is_compiling():
        return torch.ops.melisma.named_window(like, name, length)
    return _window(like.device, name, length)


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
    return _mel_bank(like.device, *options)


# A copy each time: a compiled graph may use its operators' results as scratch memory. Never traced itself.
@torch.compiler.disable
def _run_window(like: torch.Tensor, *options: Any) -> torch.Tensor:
    return _window(like.device, *options).clone()


@torch.compiler.disable
def _run_mel_bank(like: torch.Tensor, *options: Any) -> torch.Tensor:
    return _mel_bank(like.device, *options).clone()


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
