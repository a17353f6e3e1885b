"""Causal depthwise convolution along time: whole sequences, packed ones, and step by step."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from . import _core
from ._arrays import Wrap
from ._arrays import _view as view_of
from .errors import InvalidArgument, InvalidType

_FLOATS = frozenset(np.dtype(name) for name in ("float16", "float32", "float64"))
_INDICES = frozenset(np.dtype(name) for name in ("int32", "int64"))
_BITS = np.dtype("uint16")  # how the C++ module takes bfloat16, which NumPy has not


def _same(result: Any) -> Any:
    return result


def _take(array: Any, op: str, argument: str) -> tuple[np.ndarray, Wrap]:
    """Give NumPy's view of a float array, bfloat16 as its bits, and what makes the same kind of array of a result."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor) and array.dtype in (torch.float16, torch.bfloat16):
        return _take_half_tensor(torch, array, op, argument)
    values, wrap = (array, _same) if type(array) is np.ndarray else view_of(array, op, argument)
    if type(values) is not np.ndarray:
        raise InvalidType(f"{op}: {argument} must be on the CPU, got an array on a GPU")
    if values.dtype.name == "bfloat16":  # ml_dtypes
        dtype = values.dtype
        return values.view(_BITS), lambda result: result.view(dtype)
    if values.dtype not in _FLOATS:
        raise InvalidType(
            f"{op}: {argument} must be native float16, bfloat16, float32 or float64, got dtype {values.dtype}"
        )
    return values, wrap


def _take_half_tensor(torch: Any, tensor: Any, op: str, argument: str) -> tuple[np.ndarray, Wrap]:
    if tensor.device.type != "cpu":
        raise InvalidType(f"{op}: {argument} must be on the CPU, got device {tensor.device}")
    if tensor.requires_grad and torch.is_grad_enabled():
        raise InvalidArgument(f"{op}: {argument} requires grad, which is not recorded here; pass {argument}.detach()")
    if tensor.dtype == torch.float16:
        return tensor.detach().numpy(), torch.from_numpy
    bits = tensor.detach().view(torch.int16).numpy().view(_BITS)
    return bits, lambda result: torch.from_numpy(result.view(np.int16)).view(torch.bfloat16)


def _floats(array: Any, op: str, argument: str) -> np.ndarray | None:
    return None if array is None else _take(array, op, argument)[0]


def _indices(array: Any, op: str, argument: str) -> np.ndarray | None:
    if array is None:
        return None
    values = np.asarray(array) if isinstance(array, (list, tuple)) else view_of(array, op, argument)[0]
    if type(values) is not np.ndarray or values.dtype not in _INDICES:
        raise InvalidType(
            f"{op}: {argument} must be native int32 or int64, got {getattr(values, 'dtype', type(array))}"
        )
    return values


def _is_silu(activation: Any, op: str) -> bool:
    if activation is None or activation is False:
        return False
    if activation is True or activation in ("silu", "swish"):
        return True
    raise InvalidArgument(f"{op}: activation must be None, 'silu' or 'swish', got {activation!r}")


def _swapped(array: np.ndarray) -> np.ndarray:
    return array.swapaxes(-2, -1) if array.ndim >= 2 else array


def _states_like(x: np.ndarray, weight: np.ndarray, cu_seqlens: np.ndarray | None) -> np.ndarray:
    """New final states of a call, or of one that the C++ operator refuses, whatever."""
    if x.ndim < 2 or weight.ndim != 2:
        return np.empty(0, x.dtype)
    leading = x.shape[:-2] if cu_seqlens is None else (max(cu_seqlens.size - 1, 0),)
    return np.empty((*leading, x.shape[-2], max(weight.shape[1] - 1, 0)), x.dtype)


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
        Where to write the result; of `x`'s shape and dtype, any strides.

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
    values, wrap = _take(x, op, "x")
    view = _swapped(values) if channels_last else values
    w = _take(weight, op, "weight")[0]
    cu = _indices(cu_seqlens, op, "cu_seqlens")
    states: np.ndarray | None = None
    wrap_states = wrap
    if final_states_out is not None:
        states, wrap_states = _take(final_states_out, op, "final_states_out")
    elif return_final_states:
        states = _states_like(view, w, cu)
    to = None if out is None else _take(out, op, "out")[0]
    result = _core.causal_conv1d(
        op,
        view,
        w,
        _floats(bias, op, "bias"),
        None,
        _indices(seq_idx, op, "seq_idx"),
        cu,
        _floats(initial_states, op, "initial_states"),
        _is_silu(activation, op),
        False,
        to if to is None or not channels_last else _swapped(to),
        states,
    )
    y = out if out is not None else wrap(_as_carried(_swapped(result) if channels_last else result, values))
    if not return_final_states:
        return y
    return y, final_states_out if final_states_out is not None else wrap_states(states)


def _as_carried(result: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A new result of bfloat16 comes with the dtype of as many bits."""
    return result.view(_BITS) if x.dtype == _BITS else result


def _mask(mask: Any, batch: int, steps: int, op: str) -> np.ndarray | None:
    """A mask in any of the shapes that it is given in, as [B, T] float32."""
    if mask is None:
        return None
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(mask, torch.Tensor):
        mask = mask.detach().to("cpu", torch.float32).numpy()
    values = np.asarray(mask, dtype=np.float32)
    shape = values.shape
    if values.ndim == 1:
        if shape[0] == steps:
            values = values[None, :]
        elif shape[0] == batch:
            values = values[:, None]
        elif shape[0] == batch * steps:
            values = values.reshape(batch, steps)
        elif shape[0] > steps:
            values = values[None, shape[0] - steps :]
    elif values.ndim == 2 and shape not in ((batch, steps), (1, steps), (batch, 1), (1, 1)):
        if shape == (steps, batch):
            values = values.T
        elif shape[0] in (1, batch) and shape[1] > steps:
            values = values[:, shape[1] - steps :]
    try:
        return np.broadcast_to(values, (batch, steps))
    except ValueError:
        raise InvalidArgument(
            f"{op}: attention_mask must be a number or have the shape ({batch}, {steps}), (1, {steps}), ({batch}, 1), "
            f"({steps}, {batch}), ({steps},), ({batch},), ({batch * steps},) or a longer history, got {shape}"
        ) from None


def short_conv_fused(
    x: Any,
    weight: Any,
    bias: Any = None,
    attention_mask: Any = None,
    activation: bool | str | None = True,
    residual: bool = True,
    *,
    out: Any = None,
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
        ``(B * T,)``, tried in this order; of a longer history (``(B, L)``, ``(1, L)`` or ``(L,)``) the last T count.
    activation : bool or {None, "silu", "swish"}
        Whether SiLU is applied to the sum.
    residual : bool
        Whether `x`, as it is before the mask, is added after that.
    out : array, optional
        Where to write the result; of `x`'s shape and dtype, any strides.

    Returns
    -------
    array
        Of `x`'s shape, dtype and kind.

    Raises
    ------
    melisma.InvalidArgument, melisma.InvalidType
        Naming the argument, its limit and the value.

    Notes
    -----
    ``out = [x +] [silu](bias + conv(mask * x))``
    """
    op = "short_conv_fused"
    values, wrap = _take(x, op, "x")
    if values.ndim != 3:
        raise InvalidArgument(f"{op}: x must have the shape [B, T, D], got {list(values.shape)}")
    to = None if out is None else _swapped(_take(out, op, "out")[0])
    result = _core.causal_conv1d(
        op,
        _swapped(values),
        _take(weight, op, "weight")[0],
        _floats(bias, op, "bias"),
        _mask(attention_mask, values.shape[0], values.shape[1], op),
        None,
        None,
        None,
        _is_silu(activation, op),
        bool(residual),
        to,
        None,
    )
    return out if out is not None else wrap(_as_carried(_swapped(result), values))


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
    """
    op = "causal_conv1d_update"
    return _update(op, x, conv_state, weight, bias, _is_silu(activation, op), False, cache_seqlens, conv_state_indices,
                   num_accepted_tokens, pad_slot_id, out)  # fmt: skip


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
    if cache_seqlens is None:
        cache_seqlens = np.arange(len(x), dtype=np.int32)
    return _update(op, x, conv_state, weight, bias, _is_silu(activation, op), bool(residual), cache_seqlens,
                   conv_state_indices, None, -1, out)  # fmt: skip


def _update(op: str, x: Any, conv_state: Any, weight: Any, bias: Any, silu: bool, residual: bool, *rest: Any) -> Any:
    cache_seqlens, conv_state_indices, num_accepted_tokens, pad_slot, out = rest
    values, wrap = _take(x, op, "x")
    result = _core.causal_conv1d_update(
        op,
        values,
        _take(conv_state, op, "conv_state")[0],
        _take(weight, op, "weight")[0],
        _floats(bias, op, "bias"),
        _indices(cache_seqlens, op, "cache_seqlens"),
        _indices(conv_state_indices, op, "conv_state_indices"),
        _indices(num_accepted_tokens, op, "num_accepted_tokens"),
        pad_slot,
        silu,
        residual,
        None if out is None else _take(out, op, "out")[0],
    )
    return out if out is not None else wrap(_as_carried(result, values))
