"""The causal convolution on PyTorch tensors: :mod:`melisma.convolution` takes its arguments here and documents them.

Small sizes cost what Python costs, so plain tensors take a way of their own past the dispatcher (:func:`_run`).
"""

import re
from typing import Any

import numpy as np
import torch

from ..errors import InvalidArgument, InvalidType, Unavailable
from . import _conv_autograd, _conv_fake, _conv_update, _conv_vmap, _library  # noqa: F401

_kernels_of = _library.kernels_of
_is_dense = _library.is_dense
_is_transformed = _library.is_transformed
_is_grad_enabled = torch.is_grad_enabled
_eager = _conv_autograd.eager
_conv = _library.causal_conv1d
_redispatch = _conv._handle.redispatch_boxed
_out = _library.causal_conv1d_out
_redispatch_out = _out._handle.redispatch_boxed
_update = _library.causal_conv1d_update
_redispatch_update = _update._handle.redispatch_boxed
_increment_version = torch._C._increment_version

_OF_TYPE = re.compile(r" must be (float\d|bfloat|int\d|on )")


def _refused(error: Exception, op: str, **tensors: Any) -> Exception:
    """The operator's error as the exception that says what kind it is, in the name of the function that was called."""
    if isinstance(error, (InvalidArgument, InvalidType, torch.OutOfMemoryError)):
        return error
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if not isinstance(tensor, torch.Tensor):
            return InvalidType(f"{op}: {name} must be a tensor as x is, got {type(tensor).__name__}")
        if tensor.layout is not torch.strided or tensor.is_quantized:
            kind = "a quantized one" if tensor.is_quantized else f"layout {tensor.layout}"
            return InvalidType(f"{op}: {name} must be a dense tensor, got {kind}")
    unavailable, _, text = str(error).rpartition("unavailable: ")
    own = re.match(r"causal_conv1d\w*(: .*)", text)
    if own is None:
        return error
    text = f"{op}{own[1]}"
    if unavailable or str(error).startswith("unavailable: "):
        return Unavailable(text)
    return InvalidType(text) if _OF_TYPE.search(text) else InvalidArgument(text)


def _tensor(op: str, argument: str, array: Any, like: torch.Tensor) -> Any:
    """A tensor for what may be one, a NumPy array or, of integers, a list."""
    if array is None or isinstance(array, torch.Tensor):
        return array
    if isinstance(array, np.ndarray):
        return torch.as_tensor(array, device=like.device)
    if isinstance(array, (list, tuple)) and all(isinstance(value, int) for value in array):
        return torch.tensor(array, dtype=torch.int32, device=like.device)
    raise InvalidType(f"{op}: {argument} must be a tensor as x is, got {type(array).__name__}")


def _write(tensors: tuple[Any, ...], options: tuple[bool, ...], out: Any, states: Any, pool: tuple[Any, ...]) -> None:
    """Call the operator with results that are there already, and states in rows of their own."""
    in_place = states is not None and states is tensors[6]
    if in_place:
        tensors = (*tensors[:6], None)
    args = (*tensors, *options, out, states, *pool, in_place)
    if _is_transformed():
        _out(*args)
        return
    kernels = _kernels_of(tensors[0])
    present = [arg for arg in args if isinstance(arg, torch.Tensor)]
    recorded = _is_grad_enabled() and torch._C._any_requires_grad(*present)
    if kernels is None or recorded or not all(map(_is_dense, present)):
        _out(*args)
        return
    _redispatch_out(kernels, *args)
    _increment_version((out,) if states is None else (out, states))


def convolve(
    op: str,
    x: torch.Tensor,
    weight: Any,
    bias: Any,
    mask: Any,
    seq_idx: Any,
    cu_seqlens: Any,
    initial_states: Any,
    return_final_states: bool,
    final_states_out: Any,
    channels_last: bool,
    silu: bool,
    residual: bool,
    out: Any,
    state_indices: Any,
    has_initial_state: Any,
    pad_slot_id: int,
) -> Any:
    """:func:`melisma.causal_conv1d` and :func:`melisma.short_conv_fused` in one; `mask` is [..., T] of floats."""
    written = out is not None or final_states_out is not None
    written = written or state_indices is not None or has_initial_state is not None
    try:
        kernels = None if written or _is_transformed() else _kernels_of(x)
        if (
            kernels is not None
            and _is_dense(weight)
            and (bias is None or _is_dense(bias))
            and (mask is None or _is_dense(mask))
            and (seq_idx is None or _is_dense(seq_idx))
            and (cu_seqlens is None or _is_dense(cu_seqlens))
            and (initial_states is None or _is_dense(initial_states))
        ):
            if _is_grad_enabled() and (
                x.requires_grad
                or weight.requires_grad
                or (bias is not None and bias.requires_grad)
                or (initial_states is not None and initial_states.requires_grad)
            ):
                options = (channels_last, silu, residual, return_final_states)
                return _eager(kernels, x, weight, bias, mask, seq_idx, cu_seqlens, initial_states, options)
            result = _redispatch(
                kernels, x, weight, bias, mask, seq_idx, cu_seqlens, initial_states,
                channels_last, silu, residual, return_final_states,
            )  # fmt: skip
            return result if return_final_states else result[0]
        tensors = (
            x,
            _tensor(op, "weight", weight, x),
            _tensor(op, "bias", bias, x),
            mask,
            _tensor(op, "seq_idx", seq_idx, x),
            _tensor(op, "cu_seqlens", cu_seqlens, x),
            _tensor(op, "initial_states", initial_states, x),
        )
        if not written:
            result = _conv(*tensors, channels_last, silu, residual, return_final_states)
            return result if return_final_states else result[0]
        pool = (
            _tensor(op, "state_indices", state_indices, x),
            _tensor(op, "has_initial_state", has_initial_state, x),
            pad_slot_id,
        )
        flags = (channels_last, silu, residual)
        result = _conv_fake.like(x) if out is None else out
        states = final_states_out
        if return_final_states and states is None:
            states = _conv_fake.states_like(x, tensors[1], tensors[5], channels_last)
        _write(tensors, flags, result, states, pool)
        return (result, states) if return_final_states else result
    except (RuntimeError, TypeError) as error:
        raise _refused(
            _library.of_allocator(error), op, x=x, weight=weight, bias=bias, mask=mask, seq_idx=seq_idx,
            cu_seqlens=cu_seqlens, initial_states=initial_states, out=out, final_states_out=final_states_out,
        ) from None  # fmt: skip


def numbered(x: torch.Tensor) -> torch.Tensor:
    """0, 1, ... for the items of `x`."""
    return torch.arange(x.shape[0], dtype=torch.int32, device=x.device)


def step(
    op: str,
    x: torch.Tensor,
    conv_state: Any,
    weight: Any,
    bias: Any,
    cache_seqlens: Any,
    conv_state_indices: Any,
    num_accepted_tokens: Any,
    pad_slot_id: int,
    silu: bool,
    residual: bool,
    out: Any,
) -> Any:
    """:func:`melisma.causal_conv1d_update` and :func:`melisma.short_conv_update` in one."""
    try:
        kernels = None if out is not None or _is_transformed() else _kernels_of(x)
        if (
            kernels is not None
            and _is_dense(conv_state)
            and _is_dense(weight)
            and (bias is None or _is_dense(bias))
            and (cache_seqlens is None or _is_dense(cache_seqlens))
            and (conv_state_indices is None or _is_dense(conv_state_indices))
            and (num_accepted_tokens is None or _is_dense(num_accepted_tokens))
            and not (
                _is_grad_enabled()
                and (
                    x.requires_grad
                    or weight.requires_grad
                    or conv_state.requires_grad
                    or (bias is not None and bias.requires_grad)
                )
            )
        ):
            result = _redispatch_update(
                kernels, x, conv_state, weight, bias, cache_seqlens, conv_state_indices, num_accepted_tokens,
                pad_slot_id, silu, residual,
            )  # fmt: skip
            _increment_version((conv_state,))
            return result
        tensors = (
            x,
            conv_state,
            _tensor(op, "weight", weight, x),
            _tensor(op, "bias", bias, x),
            _tensor(op, "cache_seqlens", cache_seqlens, x),
            _tensor(op, "conv_state_indices", conv_state_indices, x),
            _tensor(op, "num_accepted_tokens", num_accepted_tokens, x),
        )
        if out is None:
            return _update(*tensors, pad_slot_id, silu, residual)
        _library.causal_conv1d_update_out(*tensors, pad_slot_id, silu, residual, out)
        return out
    except (RuntimeError, TypeError) as error:
        raise _refused(
            _library.of_allocator(error), op, x=x, conv_state=conv_state, weight=weight, bias=bias,
            cache_seqlens=cache_seqlens, conv_state_indices=conv_state_indices,
            num_accepted_tokens=num_accepted_tokens, out=out,
        ) from None  # fmt: skip
