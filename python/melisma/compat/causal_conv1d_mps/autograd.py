"""The functions with gradients, and the autograd classes whose ``apply`` they are."""

# No `from __future__ import annotations`: inspect.signature gives the original's annotations, which are types.

from typing import Any

import torch

from ... import convolution
from ._checks import aligned, check_device, check_state, step_numbers

__all__ = [
    "CausalConv1dMPSFunction",
    "ShortConvFusedMPSFunction",
    "ShortConvUpdateMPSFunction",
    "causal_conv1d_fn",
    "short_conv_fused_fn",
    "short_conv_update_fn",
]


class _Applied(torch.autograd.Function):
    """A class of the original's name; its ``apply`` is an operator that has its gradient at the dispatcher."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        raise NotImplementedError("call apply")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError("call apply")


class CausalConv1dMPSFunction(_Applied):
    """``apply`` is :func:`causal_conv1d_fn` with `silu_activation`, a bool, instead of `activation`."""

    @classmethod
    def apply(
        cls,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        seq_idx: torch.Tensor | None = None,
        initial_states: torch.Tensor | None = None,
        return_final_states: bool = False,
        final_states_out: torch.Tensor | None = None,
        silu_activation: bool = False,
    ) -> torch.Tensor:
        """Convolve ``[B, D, T]``."""
        op = "causal_conv1d_fn"
        for name, given in (
            ("seq_idx", seq_idx is not None),
            ("initial_states", initial_states is not None),
            ("return_final_states", return_final_states),
        ):
            if given:
                raise NotImplementedError(f"{op}: {name} is not supported here; melisma.causal_conv1d takes it")
        weight, bias = aligned(op, x, ("batch", "dim", "seqlen"), weight, bias)
        return convolution.causal_conv1d(x, weight, bias, activation="silu" if silu_activation else None)


class ShortConvFusedMPSFunction(_Applied):
    """``apply`` is :func:`short_conv_fused_fn`."""

    @classmethod
    def apply(
        cls,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        activation: bool = True,
        residual: bool = True,
    ) -> torch.Tensor:
        """Mask, convolve, activate and add ``[B, T, D]``."""
        op = "short_conv_fused"
        weight, bias = aligned(op, x, ("batch", "seqlen", "dim"), weight, bias)
        if isinstance(attention_mask, torch.Tensor):
            check_device(op, "attention_mask", attention_mask, x)
        return convolution.short_conv_fused(x, weight, bias, attention_mask, bool(activation), bool(residual))


class ShortConvUpdateMPSFunction(_Applied):
    """``apply`` is :func:`short_conv_update_fn`."""

    @classmethod
    def apply(
        cls,
        x: torch.Tensor,
        conv_state: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        cache_seqlens: torch.Tensor | None = None,
        activation: bool = True,
        residual: bool = True,
    ) -> torch.Tensor:
        """Take one step ``[B, D]``."""
        op = "short_conv_update"
        weight, bias = aligned(op, x, ("batch", "dim"), weight, bias)
        check_state(op, x, conv_state)
        numbers = step_numbers(op, x, cache_seqlens)
        return convolution.short_conv_update(x, conv_state, weight, bias, numbers, bool(activation), bool(residual))


def causal_conv1d_fn(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    seq_idx: torch.Tensor | None = None,
    initial_states: torch.Tensor | None = None,
    return_final_states: bool = False,
    final_states_out: torch.Tensor | None = None,
    activation: str | None = None,
) -> torch.Tensor:
    """Causal depthwise convolution along time, with bias and SiLU.

    Parameters
    ----------
    x : torch.Tensor
        ``[B, D, T]`` float16, bfloat16, float32 or float64.
    weight, bias : torch.Tensor
        ``[D, W]`` and, optionally, ``[D]``, of any of these dtypes; used in x's.
    seq_idx, initial_states, return_final_states, final_states_out
        Not supported, as in the original; :func:`melisma.causal_conv1d` has them.
    activation : {None, "silu", "swish"}
        Applied to the sum.

    Returns
    -------
    torch.Tensor
        ``[B, D, T]`` of x's dtype.

    Raises
    ------
    NotImplementedError
        For another activation, and for what is not supported.
    ValueError
        For other shapes and for tensors on different devices.
    """
    if activation not in (None, "silu", "swish"):
        raise NotImplementedError(f"causal_conv1d_fn: activation must be None, 'silu' or 'swish', got {activation!r}")
    return CausalConv1dMPSFunction.apply(
        x, weight, bias, seq_idx, initial_states, return_final_states, final_states_out, activation is not None
    )


def short_conv_fused_fn(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    activation: bool = True,
    residual: bool = True,
) -> torch.Tensor:
    """``[x +] [silu](bias + conv(mask * x))`` in one pass over memory.

    Parameters
    ----------
    x : torch.Tensor
        ``[B, T, D]`` float16, bfloat16, float32 or float64.
    weight, bias : torch.Tensor
        ``[D, W]`` and, optionally, ``[D]``, of any of these dtypes; used in x's.
    attention_mask : torch.Tensor, optional
        Bool or numbers, in any shape that :func:`melisma.short_conv_fused` takes.
    activation, residual : bool
        Whether SiLU is applied, and whether x as it is before the mask is added after that.

    Returns
    -------
    torch.Tensor
        ``[B, T, D]`` of x's dtype.

    Raises
    ------
    ValueError
        For other shapes and for tensors on different devices.
    """
    return ShortConvFusedMPSFunction.apply(x, weight, bias, attention_mask, activation, residual)


def short_conv_update_fn(
    x: torch.Tensor,
    conv_state: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    cache_seqlens: torch.Tensor | None = None,
    activation: bool = True,
    residual: bool = True,
) -> torch.Tensor:
    """One step of :func:`short_conv_fused_fn`, with a ring of past steps that changes in place.

    Parameters
    ----------
    x : torch.Tensor
        ``[B, D]``.
    conv_state : torch.Tensor
        ``[B, D, S]``, ``S >= W - 1``: step p of a sequence lies at place ``p % S``.
    weight, bias : torch.Tensor
        ``[D, W]`` and, optionally, ``[D]``; used in x's dtype.
    cache_seqlens : torch.Tensor, optional
        ``[B]`` integers: the number of each item's new step. Where they are not given, item b's is b, as in the original: hardly
        ever what is meant.
    activation, residual : bool
        As in :func:`short_conv_fused_fn`.

    Returns
    -------
    torch.Tensor
        ``[B, D]`` of x's dtype.

    Raises
    ------
    ValueError
        For other shapes and for tensors on different devices.
    """
    return ShortConvUpdateMPSFunction.apply(x, conv_state, weight, bias, cache_seqlens, activation, residual)
