"""What the tests of the PyTorch operators share: signals, windows, and the checks of derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import gradcheck, gradgradcheck

from torch_device import DEVICE

Function = Callable[..., torch.Tensor]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)


def randn(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0, grad: bool = False) -> torch.Tensor:
    values = torch.randn(*shape, dtype=dtype, generator=generator(seed), device="cpu")
    return values.to(DEVICE).requires_grad_(grad)


def rand(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, dtype=dtype, generator=generator(seed), device="cpu").to(DEVICE)


def positive_window(length: int, grad: bool = False) -> torch.Tensor:
    """A window without symmetry or zeros, so that no mistake in its orientation or its edges goes unseen."""
    return (0.3 + rand(length, dtype=torch.float64, seed=length)).requires_grad_(grad)


def check(function: Function, inputs: tuple[torch.Tensor, ...], fast: bool = True) -> None:
    """Forward and reverse mode against differences, and reverse mode under vmap.

    fast: along random directions, in which an error of any derivative shows; otherwise every derivative by itself.
    """
    torch.manual_seed(1)
    assert gradcheck(function, inputs, check_forward_ad=True, check_batched_grad=True, fast_mode=fast)


def check_twice(function: Function, inputs: tuple[torch.Tensor, ...], **options: Any) -> None:
    """The second derivatives against differences of the first, along random directions."""
    torch.manual_seed(1)
    assert gradgradcheck(function, inputs, fast_mode=True, **options)


def used_strides(tensor: torch.Tensor) -> list[int]:
    """Strides of the axes of more than one element; those of the others mean nothing."""
    return [stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1]
