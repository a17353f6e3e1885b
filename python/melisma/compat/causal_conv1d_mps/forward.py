"""The forms that record no gradient."""

# No `from __future__ import annotations`: inspect.signature gives the original's annotations, which are types.

import torch

from .autograd import CausalConv1dMPSFunction, short_conv_fused_fn, short_conv_update_fn

__all__ = ["causal_conv1d_fwd", "short_conv_fused_fwd_only", "short_conv_update_fwd_only"]


@torch.no_grad()
def causal_conv1d_fwd(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    silu_activation: bool = False,
) -> torch.Tensor:
    """:func:`causal_conv1d_fn` without a gradient."""
    return CausalConv1dMPSFunction.apply(x, weight, bias, silu_activation=silu_activation)


@torch.no_grad()
def short_conv_fused_fwd_only(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    activation: bool = True,
    residual: bool = True,
) -> torch.Tensor:
    """:func:`short_conv_fused_fn` without a gradient."""
    return short_conv_fused_fn(x, weight, bias, attention_mask, activation, residual)


@torch.no_grad()
def short_conv_update_fwd_only(
    x: torch.Tensor,
    conv_state: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    cache_seqlens: torch.Tensor | None = None,
    activation: bool = True,
    residual: bool = True,
) -> torch.Tensor:
    """:func:`short_conv_update_fn` without a gradient."""
    return short_conv_update_fn(x, conv_state, weight, bias, cache_seqlens, activation, residual)
