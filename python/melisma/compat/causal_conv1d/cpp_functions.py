"""What libraries with gradients of their own call below :func:`causal_conv1d_fn`: forward, backward, step. Nothing is recorded."""

# No `from __future__ import annotations`: inspect.signature gives the original's annotations, which are types.

import torch

from ... import convolution
from ...torch import _library

__all__ = ["causal_conv1d_bwd_function", "causal_conv1d_fwd_function", "causal_conv1d_update_function"]


def _named(silu_activation: bool) -> str | None:
    return "silu" if silu_activation else None


@torch.no_grad()
def causal_conv1d_fwd_function(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    seq_idx: torch.Tensor | None,
    initial_states: torch.Tensor | None,
    final_states_out: torch.Tensor | None,
    silu_activation: bool,
) -> torch.Tensor:
    """:func:`causal_conv1d_fn`'s result, which is always one tensor; final states go to `final_states_out`."""
    result = convolution.causal_conv1d(
        x,
        weight,
        bias,
        seq_idx=seq_idx,
        initial_states=initial_states,
        return_final_states=final_states_out is not None,
        final_states_out=final_states_out,
        activation=_named(silu_activation),
    )
    return result if final_states_out is None else result[0]


@torch.no_grad()
def causal_conv1d_bwd_function(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    dout: torch.Tensor,
    seq_idx: torch.Tensor | None,
    initial_states: torch.Tensor | None,
    dfinal_states: torch.Tensor | None,
    dx: torch.Tensor | None,
    return_dinitial_states: torch.Tensor,
    silu_activation: bool,
) -> tuple[torch.Tensor | None]:
    """Give the gradients ``(dx, dweight, dbias, dinitial_states)``, the last two None where there is nothing or it is not wanted.

    Each has the dtype of what it belongs to; sums are taken in float32 or better, in a fixed order. A `dx` that is given is
    written to.
    """
    wanted = 1 + 2 + (0 if bias is None else 4) + (8 if return_dinitial_states else 0)
    on_x, *rest = _library.causal_conv1d_backward(
        dout, dfinal_states, x, weight, bias, None, seq_idx, None, initial_states, False, silu_activation, False, wanted
    )
    return (on_x if dx is None else dx.copy_(on_x), *rest)


@torch.no_grad()
def causal_conv1d_update_function(
    x: torch.Tensor,
    conv_state: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    silu_activation: bool,
    cache_seqlens: torch.Tensor | None,
    conv_state_indices: torch.Tensor | None,
) -> torch.Tensor:
    """:func:`causal_conv1d_update`; here x is ``[B, D, T]``."""
    return convolution.causal_conv1d_update(
        x, conv_state, weight, bias, _named(silu_activation), cache_seqlens, conv_state_indices
    )
