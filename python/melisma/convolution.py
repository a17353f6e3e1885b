"""Causal depthwise convolution along time: whole sequences, packed ones, and step by step.

PyTorch's tensors, on the CPU and on CUDA devices, go through the dispatcher's operators (:mod:`melisma.torch`): differentiable
any number of times, in forward mode and under ``torch.func``, compilable and exportable, deterministic, and without waiting for
the device. Autocast changes nothing: results have the dtype of `x`, and weights may be of another one.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from . import _conv_arrays
from ._arrays import _HAS_ADAPTER
from .errors import InvalidArgument

_tensors: Any = None  # melisma.torch._conv, once a tensor was seen


def _calls(x: Any) -> Any:
    """What takes `x` and everything beside it: :mod:`._conv_arrays`, or for a tensor its counterpart."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(x, torch.Tensor):
        return _conv_arrays
    if torch.compiler.is_compiling():  # a graph must not depend on whether this is the first tensor
        return _import_tensors()
    global _tensors
    if _tensors is None:
        _tensors = _import_tensors()
    return _tensors


def _import_tensors() -> Any:
    if not _HAS_ADAPTER:
        return _conv_arrays
    from .torch import _conv

    return _conv


def _is_silu(activation: Any, op: str) -> bool:
    if activation is None or activation is False:
        return False
    if activation is True or activation in ("silu", "swish"):
        return True
    raise InvalidArgument(f"{op}: activation must be None, 'silu' or 'swish', got {activation!r}")


def causal_conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    seq_idx: Any = None,
    cu_seqlens: Any = None,
    initial_states: Any = None,
    return_final_states: bool = False,
    final_states_out: Any = None,
    activation: str | None = None,
    channels_last: bool = False,
    out: Any = None,
    state_indices: Any = None,
    has_initial_state: Any = None,
    pad_slot_id: int = -1,
) -> Any:
    """Causal depthwise convolution along time, with bias and SiLU, in one pass over memory.

    Parameters
    ----------
    x : array
        ``[..., D, T]``, with `channels_last` ``[..., T, D]``; float16, bfloat16 (of ml_dtypes or PyTorch), float32 or
        float64, any strides.
    weight : array
        ``[D, W]``, W 1 to 32, oldest tap first; any of these dtypes.
    bias : array, optional
        ``[D]``; any of these dtypes.
    seq_idx : array, optional
        ``[..., T]`` int32: a tap counts only where its index is the output's. Negative: padding, whose output is exactly 0.
    cu_seqlens : array, optional
        ``[N + 1]`` int32 or int64, ``0 = first <= ... <= last = T``: N sequences that are packed along the time of one item,
        of any length from 0. Excludes `seq_idx`.
    initial_states : array, optional
        ``[..., D, W - 1]``, with `cu_seqlens` ``[N, D, W - 1]``: the taps before each sequence's first step; otherwise 0.
    return_final_states : bool
        Return ``(out, final_states)``: the last ``W - 1`` taps of each sequence, for the next call's `initial_states`.
    final_states_out : array, optional
        Where to write them; otherwise a new array of `x`'s dtype.
    activation : {None, "silu", "swish"}
        Applied to the sum.
    channels_last : bool
        Whether channels are the last axis of `x`, `out` and the result. States are ``[..., D, W - 1]`` all the same.
    out : array, optional
        Where to write the result; of `x`'s shape and dtype, any strides. Not where a gradient is recorded, as
        `final_states_out`.
    state_indices : array, optional
        ``[N]`` int32, for serving: each sequence's row of `initial_states` and `final_states_out`, which then are
        ``[rows, D, W - 1]`` and may be one array, whose states change in place: prompts, parts of them and single new steps
        in one call. No row twice. N: of `cu_seqlens`, otherwise items. No gradient.
    has_initial_state : array, optional
        ``[N]`` bool: where False, the taps before are 0, whatever `initial_states` holds. No gradient.
    pad_slot_id : int
        The index in `state_indices` of a sequence without a row: it begins with zeros and leaves nothing.

    Returns
    -------
    array, or a pair of arrays
        Of `x`'s shape, dtype and kind, in its order of axes in memory.

    Raises
    ------
    melisma.InvalidArgument, melisma.InvalidType
        Naming the argument, its limit and the value, before anything is written.

    Notes
    -----
    ``out[d, t] = act(bias[d] + sum_k weight[d, k] x[d, t - (W - 1) + k])``. Computed in float32 unless `x` is float64, and
    rounded once. The bits of an output depend on its own taps only: a sequence cut into calls that pass on the states,
    packed sequences and :func:`causal_conv1d_update` give the same as one call.
    """
    op = "causal_conv1d"
    return _calls(x).convolve(
        op,
        x,
        weight,
        bias,
        None,
        seq_idx,
        cu_seqlens,
        initial_states,
        return_final_states,
        final_states_out,
        channels_last,
        activation is not None and _is_silu(activation, op),
        False,
        out,
        state_indices,
        has_initial_state,
        pad_slot_id,
    )


def _mask(mask: Any, batch: int, steps: int, op: str, x: Any) -> Any:
    """A mask in any of the shapes that it is given in, as [B, T] of the same kind."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(x, torch.Tensor):
        mask = _conv_arrays.numbers(mask, x)
    elif not isinstance(mask, torch.Tensor):
        mask = torch.as_tensor(np.asarray(mask, np.float32), device=x.device)
    shape = tuple(mask.shape)
    if mask.ndim > 2 and all(size == 1 for size in shape[1:-1]):
        mask = mask.reshape(shape[0], shape[-1])
    elif mask.ndim == 0:
        mask = mask.reshape(1, 1)
    elif mask.ndim == 1:
        if shape[0] == steps:
            mask = mask[None, :]
        elif shape[0] == batch:
            mask = mask[:, None]
        elif shape[0] == batch * steps:
            mask = mask.reshape(batch, steps)
        elif shape[0] > steps:
            mask = mask[None, shape[0] - steps :]
    if mask.ndim == 2 and not (mask.shape[0] in (1, batch) and mask.shape[1] in (1, steps)):
        if tuple(mask.shape) == (steps, batch):
            mask = mask.T
        elif mask.shape[0] in (1, batch) and mask.shape[1] > steps:
            mask = mask[:, mask.shape[1] - steps :]
    if mask.ndim != 2 or mask.shape[0] not in (1, batch) or mask.shape[1] not in (1, steps):
        raise InvalidArgument(
            f"{op}: attention_mask must be a number or have the shape ({batch}, {steps}), (1, {steps}), ({batch}, 1), "
            f"({steps}, {batch}), ({steps},), ({batch},), ({batch * steps},) or a longer history, got {shape}"
        )
    if torch is None or not isinstance(x, torch.Tensor):
        return _conv_arrays.expanded(mask, (batch, steps))
    if mask.requires_grad and torch.is_grad_enabled():
        raise InvalidArgument(f"{op}: attention_mask must not require grad, got one that does; pass its detach()")
    return (mask if mask.is_floating_point() else mask.float()).expand(batch, steps)


def short_conv_fused(
    x: Any,
    weight: Any,
    bias: Any = None,
    attention_mask: Any = None,
    activation: bool | str | None = True,
    residual: bool = True,
    *,
    seq_idx: Any = None,
    cu_seqlens: Any = None,
    initial_states: Any = None,
    return_final_states: bool = False,
    final_states_out: Any = None,
    out: Any = None,
    state_indices: Any = None,
    has_initial_state: Any = None,
    pad_slot_id: int = -1,
) -> Any:
    """Mask, causal depthwise convolution, SiLU and residual in one pass over memory.

    Parameters
    ----------
    x : array
        ``[B, T, D]`` float16, bfloat16, float32 or float64, any strides.
    weight, bias : array
        ``[D, W]`` and, optionally, ``[D]``; as in :func:`causal_conv1d`.
    attention_mask : array or number, optional
        Multiplies `x` wherever a tap reads it: ``(B, T)``, ``(1, T)``, ``(B, 1)``, ``(T, B)``, ``(T,)``, ``(B,)`` or
        ``(B * T,)``, tried in this order, or these with further axes of 1 in between; of a longer history (``(B, L)``,
        ``(1, L)`` or ``(L,)``) the last T count. It has no gradient.
    activation : bool or {None, "silu", "swish"}
        Whether SiLU is applied to the sum.
    residual : bool
        Whether `x`, as it is before the mask, is added after that.
    seq_idx, cu_seqlens, initial_states, return_final_states, final_states_out, out
    state_indices, has_initial_state, pad_slot_id
        As in :func:`causal_conv1d`; states hold taps, which are masked already.

    Returns
    -------
    array, or a pair of arrays
        As :func:`causal_conv1d`.

    Raises
    ------
    melisma.InvalidArgument, melisma.InvalidType
        Naming the argument, its limit and the value.

    Notes
    -----
    ``out = [x +] [silu](bias + conv(mask * x))``
    """
    op = "short_conv_fused"
    if len(x.shape) != 3:
        raise InvalidArgument(f"{op}: x must have the shape [B, T, D], got {list(x.shape)}")
    return _calls(x).convolve(
        op,
        x,
        weight,
        bias,
        None if attention_mask is None else _mask(attention_mask, x.shape[0], x.shape[1], op, x),
        seq_idx,
        cu_seqlens,
        initial_states,
        return_final_states,
        final_states_out,
        True,
        _is_silu(activation, op),
        bool(residual),
        out,
        state_indices,
        has_initial_state,
        pad_slot_id,
    )


def causal_conv1d_update(
    x: Any,
    conv_state: Any,
    weight: Any,
    bias: Any = None,
    activation: str | None = None,
    cache_seqlens: Any = None,
    conv_state_indices: Any = None,
    *,
    num_accepted_tokens: Any = None,
    pad_slot_id: int = -1,
    residual: bool = False,
    out: Any = None,
) -> Any:
    """One or several new steps of sequences whose last taps are kept in `conv_state`, which is changed in place.

    Parameters
    ----------
    x : array
        ``[B, D]`` or ``[B, D, T]``; float16, bfloat16, float32 or float64, any strides.
    conv_state : array
        ``[rows, D, S]``, ``S >= W - 1``, any of these dtypes. The last ``W - 1`` places are the taps before the first new
        step; afterwards it holds the last S of itself followed by `x`.
    weight, bias : array
        ``[D, W]`` and, optionally, ``[D]``; as in :func:`causal_conv1d`.
    activation : {None, "silu", "swish"}
        Applied to the sum.
    cache_seqlens : array, optional
        ``[B]`` int32: `conv_state` is a ring, in which step t of item b goes to place ``(cache_seqlens[b] + t) % S``.
    conv_state_indices : array, optional
        ``[B]`` int32: each item's row of `conv_state`, none twice; otherwise row b is item b's.
    num_accepted_tokens : array, optional
        ``[B]`` int32, for speculative decoding: of the call before, which had as many steps as this one, only the first
        ``num_accepted_tokens[b]`` stand. The taps are the places from ``num_accepted_tokens[b] - 1`` on, and places
        ``0 .. W + T - 3`` take the last ``W - 2`` of these followed by `x`; needs ``S >= W + T - 2``.
    pad_slot_id : int
        The index in `conv_state_indices` of padding: no row is touched, and the output is 0.
    residual : bool
        Whether `x` is added after the activation.
    out : array, optional
        Where to write the result; of `x`'s shape and dtype, any strides.

    Returns
    -------
    array
        Of `x`'s shape, dtype and kind; bit for bit the steps of :func:`causal_conv1d`, where `conv_state` is float32 or of
        `x`'s dtype.

    Raises
    ------
    melisma.InvalidArgument, melisma.InvalidType
        Naming the argument, its limit and the value; `conv_state` is untouched then.

    Notes
    -----
    Tensors that require a gradient get one, `conv_state` for what it held before; what it holds afterwards has none.
    """
    op = "causal_conv1d_update"
    return _calls(x).step(
        op,
        x,
        conv_state,
        weight,
        bias,
        cache_seqlens,
        conv_state_indices,
        num_accepted_tokens,
        pad_slot_id,
        activation is not None and _is_silu(activation, op),
        bool(residual),
        out,
    )


def short_conv_update(
    x: Any,
    conv_state: Any,
    weight: Any,
    bias: Any = None,
    cache_seqlens: Any = None,
    activation: bool | str | None = True,
    residual: bool = True,
    *,
    conv_state_indices: Any = None,
    out: Any = None,
) -> Any:
    """One step of :func:`short_conv_fused`, with a ring of past steps in `conv_state`, which is changed in place.

    Parameters
    ----------
    x : array
        ``[B, D]``; float16, bfloat16, float32 or float64, any strides.
    conv_state : array
        ``[B, D, S]``, ``S >= W - 1``: step p of a sequence lies at place ``p % S``.
    weight, bias : array
        ``[D, W]`` and, optionally, ``[D]``; as in :func:`causal_conv1d`.
    cache_seqlens : array, optional
        ``[B]`` int32: the number of each item's new step; otherwise item b's is b.
    activation : bool or {None, "silu", "swish"}
        Whether SiLU is applied to the sum.
    residual : bool
        Whether `x` is added after that.
    conv_state_indices, out : array, optional
        As in :func:`causal_conv1d_update`.

    Returns
    -------
    array
        ``[B, D]``, of `x`'s dtype and kind.

    Raises
    ------
    melisma.InvalidArgument, melisma.InvalidType
        Naming the argument, its limit and the value; `conv_state` is untouched then.
    """
    op = "short_conv_update"
    calls = _calls(x)
    return calls.step(
        op,
        x,
        conv_state,
        weight,
        bias,
        calls.numbered(x) if cache_seqlens is None else cache_seqlens,
        conv_state_indices,
        None,
        -1,
        _is_silu(activation, op),
        bool(residual),
        out,
    )
