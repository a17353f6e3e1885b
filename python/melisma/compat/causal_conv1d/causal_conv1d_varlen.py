"""The last steps of packed sequences."""

# No `from __future__ import annotations`: inspect.signature gives the original's annotations, which are types.

import itertools

import torch
from torch import Tensor

__all__ = ["causal_conv1d_varlen_states", "causal_conv1d_varlen_states_ref"]


@torch.no_grad()
def _states(x: Tensor, cu_seqlens: Tensor, state_len: int) -> Tensor:
    bounds = cu_seqlens.to(torch.int64)
    at = bounds[1:, None] + torch.arange(-state_len, 0, device=x.device)
    outside = at < bounds[:-1, None]
    if x.shape[0] == 0:
        states = x.new_zeros(*at.shape, x.shape[1])
    else:
        states = x.index_select(0, at.clamp_(min=0).flatten()).view(*at.shape, x.shape[1])
        states.masked_fill_(outside[..., None], 0)
    return states.transpose(1, 2)


def causal_conv1d_varlen_states(x: Tensor, cu_seqlens: Tensor, state_len: int) -> Tensor:
    """Gather the last `state_len` steps of each packed sequence. Without a gradient.

    Parameters
    ----------
    x : torch.Tensor
        ``[tokens, D]``, any dtype, any strides.
    cu_seqlens : torch.Tensor
        ``[B + 1]`` int32 or int64, ascending from 0: where the sequences begin. It is not read on the host.
    state_len : int
        Steps of each.

    Returns
    -------
    torch.Tensor
        ``[B, D, state_len]``, channel after channel in memory: each sequence's last steps at its end, zeros before them.
    """
    return _states(x, cu_seqlens, state_len)


def causal_conv1d_varlen_states_ref(x: Tensor, cu_seqlens: Tensor, state_len: int) -> Tensor:
    """:func:`causal_conv1d_varlen_states` sequence by sequence."""
    states = x.new_zeros(cu_seqlens.shape[0] - 1, state_len, x.shape[1])
    bounds = cu_seqlens.tolist()
    for row, (begin, end) in enumerate(itertools.pairwise(bounds)):
        count = min(end - begin, state_len)
        states[row, state_len - count :] = x[end - count : end].detach()
    return states.transpose(1, 2)
