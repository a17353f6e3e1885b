"""The causal convolution on NumPy arrays, what is viewed as such, and CuPy's; :mod:`melisma.convolution` documents it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from . import _core
from ._arrays import Wrap
from ._arrays import _view as view_of
from ._device import DeviceArray, Library, is_on_cuda
from .errors import InvalidArgument, InvalidType

_FLOATS = frozenset(np.dtype(name) for name in ("float16", "float32", "float64"))
_INDICES = frozenset(np.dtype(name) for name in ("int32", "int64"))
_FLAGS = frozenset(np.dtype(name) for name in ("bool", "uint8"))
_BITS = np.dtype("uint16")  # how the C++ module takes bfloat16, which NumPy has not

Values = np.ndarray | DeviceArray


def _same(result: Any) -> Any:
    return result


def _take(array: Any, op: str, argument: str) -> tuple[Any, Wrap]:
    """Give the view of a float array, on the CPU bfloat16 as its bits, and what makes the same kind of array of a result."""
    torch = sys.modules.get("torch")
    half = torch is not None and isinstance(array, torch.Tensor) and array.dtype in (torch.float16, torch.bfloat16)
    if half and array.device.type == "cpu":
        return _take_half_tensor(torch, array, op, argument)
    values, wrap = (array, _same) if type(array) is np.ndarray else view_of(array, op, argument)
    if values.dtype.name == "bfloat16" and type(values) is np.ndarray:  # ml_dtypes
        dtype = values.dtype
        return values.view(_BITS), lambda result: result.view(dtype)
    if values.dtype not in _FLOATS:
        raise InvalidType(
            f"{op}: {argument} must be native float16, bfloat16, float32 or float64, got dtype {values.dtype}"
        )
    return values, wrap


def _take_writable(array: Any, op: str, argument: str) -> tuple[Any, Wrap]:
    """As :func:`_take`; on the CPU the C++ module refuses what is read-only."""
    values, wrap = _take(array, op, argument)
    if type(values) is DeviceArray and type(array).__module__.partition(".")[0] in ("jax", "jaxlib"):
        raise InvalidArgument(f"{op}: {argument} must be a writable array, got JAX's, which never change")
    return values, wrap


def _take_half_tensor(torch: Any, tensor: Any, op: str, argument: str) -> tuple[np.ndarray, Wrap]:
    if tensor.requires_grad and torch.is_grad_enabled():
        raise InvalidArgument(f"{op}: {argument} requires grad, which is not recorded here; pass {argument}.detach()")
    if tensor.dtype == torch.float16:
        return tensor.detach().numpy(), torch.from_numpy
    bits = tensor.detach().view(torch.int16).numpy().view(_BITS)
    return bits, lambda result: torch.from_numpy(result.view(np.int16)).view(torch.bfloat16)


def _floats(array: Any, op: str, argument: str) -> Values | None:
    return None if array is None else _take(array, op, argument)[0]


def _whole(array: Any, op: str, argument: str, dtypes: frozenset[np.dtype[Any]], names: str) -> Values | None:
    """Give the view of an array, a list or a tuple of one of the dtypes."""
    if array is None:
        return None
    values = np.asarray(array) if isinstance(array, (list, tuple)) else view_of(array, op, argument)[0]
    if values.dtype not in dtypes:
        raise InvalidType(f"{op}: {argument} must be {names}, got {values.dtype}")
    return values


def _indices(array: Any, op: str, argument: str) -> Values | None:
    return _whole(array, op, argument, _INDICES, "native int32 or int64")


def _flags(array: Any, op: str, argument: str) -> Values | None:
    return _whole(array, op, argument, _FLAGS, "bool or uint8")


def _swapped(array: Any) -> Any:
    return array.swapaxes(-2, -1) if array.ndim >= 2 else array


def _states_like(x: Values, weight: Values, cu_seqlens: Values | None, owner: Library | None) -> Values:
    """New final states of a call, or of one that the C++ operator refuses, whatever."""
    shape: tuple[int, ...] = (0,)
    if x.ndim >= 2 and weight.ndim == 2:
        leading = x.shape[:-2] if cu_seqlens is None else (max(int(np.prod(cu_seqlens.shape)) - 1, 0),)
        shape = (*leading, x.shape[-2], max(weight.shape[1] - 1, 0))
    if isinstance(x, np.ndarray):
        return np.empty(shape, x.dtype)
    assert owner is not None
    made = owner.empty(shape, str(x.array.dtype).removeprefix("torch."), False)
    return DeviceArray(made, x.library, x.dtype)


def _handed(values: Values | None, owner: Library | None) -> Any:
    """What the C++ module takes: an array of the host, or a capsule."""
    if not isinstance(values, DeviceArray):
        return values
    if owner is not None and type(owner) is values.library:
        return owner.capsule(values.array)
    return values.owner().capsule(values.array)


def _as_carried(result: Any, x: Values) -> Any:
    """A new result of bfloat16 comes from the host with the dtype of as many bits."""
    return result.view(_BITS) if x.dtype == _BITS else result


def convolve(
    op: str,
    x: Any,
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
    values, wrap = _take(x, op, "x")
    view = _swapped(values) if channels_last else values
    w = _take(weight, op, "weight")[0]
    cu = _indices(cu_seqlens, op, "cu_seqlens")
    owner = values.owner() if isinstance(values, DeviceArray) else None
    states: Values | None = None
    if final_states_out is not None:
        states = _take_writable(final_states_out, op, "final_states_out")[0]
    elif return_final_states:
        states = _states_like(view, w, cu, owner)
    to = None if out is None else _take_writable(out, op, "out")[0]
    pool: dict[str, Any] = {}
    if state_indices is not None or has_initial_state is not None:
        pool["state_indices"] = _handed(_indices(state_indices, op, "state_indices"), owner)
        pool["has_initial_state"] = _handed(_flags(has_initial_state, op, "has_initial_state"), owner)
        pool["pad_slot"] = pad_slot_id
    result = _core.causal_conv1d(
        op,
        _handed(view, owner),
        _handed(w, owner),
        _handed(_floats(bias, op, "bias"), owner),
        _handed(_floats(mask, op, "mask"), owner),
        _handed(_indices(seq_idx, op, "seq_idx"), owner),
        _handed(cu, owner),
        _handed(_floats(initial_states, op, "initial_states"), owner),
        silu,
        residual,
        _handed(to if to is None or not channels_last else _swapped(to), owner),
        _handed(states, owner),
        owner,
        **pool,
    )
    y = out if out is not None else wrap(_as_carried(_swapped(result) if channels_last else result, values))
    if not return_final_states:
        return y
    if final_states_out is not None:
        return y, final_states_out
    return y, wrap(states.array if isinstance(states, DeviceArray) else states)


def numbers(mask: Any, x: Any) -> Any:
    """A mask of any kind as an array of floats where `x` is."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(mask, torch.Tensor) and not is_on_cuda(mask):
        mask = mask.detach().to("cpu", torch.float32).numpy()
    if not is_on_cuda(x):
        return np.asarray(mask, dtype=np.float32)
    import cupy

    return (cupy.from_dlpack(mask) if is_on_cuda(mask) else cupy.asarray(mask)).astype("float32", copy=False)


def expanded(mask: Any, shape: tuple[int, ...]) -> Any:
    """What :func:`numbers` gave, in the shape of a call's mask, without a copy."""
    return (np if isinstance(mask, np.ndarray) else sys.modules["cupy"]).broadcast_to(mask, shape)


def numbered(x: Any) -> Any:
    """0, 1, ... for the items of `x`, where it is."""
    if not is_on_cuda(x):
        return np.arange(len(x), dtype=np.int32)
    import cupy

    return cupy.arange(len(x), dtype="int32")


def step(
    op: str,
    x: Any,
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
    values, wrap = _take(x, op, "x")
    owner = values.owner() if isinstance(values, DeviceArray) else None
    result = _core.causal_conv1d_update(
        op,
        _handed(values, owner),
        _handed(_take_writable(conv_state, op, "conv_state")[0], owner),
        _handed(_take(weight, op, "weight")[0], owner),
        _handed(_floats(bias, op, "bias"), owner),
        _handed(_indices(cache_seqlens, op, "cache_seqlens"), owner),
        _handed(_indices(conv_state_indices, op, "conv_state_indices"), owner),
        _handed(_indices(num_accepted_tokens, op, "num_accepted_tokens"), owner),
        pad_slot_id,
        silu,
        residual,
        None if out is None else _handed(_take_writable(out, op, "out")[0], owner),
        owner,
    )
    return out if out is not None else wrap(_as_carried(result, values))
