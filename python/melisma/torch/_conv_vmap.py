"""Batching rules of the causal convolution: what has leading axes of its own gets one more; batched weights are more channels."""

from typing import Any

import torch

from . import _library
from ._vmap import _to_front


def _one_by_one(op: Any, size: int, in_dims: tuple[Any, ...], args: tuple[Any, ...]) -> Any:
    """A call for each entry of the batch; of results that are None there is none."""
    calls = [
        op(*(a.select(dim, i) if isinstance(dim, int) else a for a, dim in zip(args, in_dims, strict=True)))
        for i in range(size)
    ]
    if not isinstance(calls[0], tuple):
        return torch.stack(calls), 0
    columns = list(zip(*calls, strict=True))
    return (
        tuple(None if column[0] is None else torch.stack(column) for column in columns),
        tuple(None if column[0] is None else 0 for column in columns),
    )


def _leading(size: int, in_dims: tuple[Any, ...], args: tuple[Any, ...], places: tuple[int, ...]) -> list[Any]:
    """The arguments with the batch axis first in those that have leading axes."""
    moved = list(args)
    for i in places:
        if args[i] is not None:
            moved[i] = _to_front(args[i], in_dims[i], size)
    return moved


@torch.library.register_vmap(_library.causal_conv1d)
def _causal_conv1d(info: Any, in_dims: tuple[Any, ...], *args: Any) -> Any:
    op = _library.causal_conv1d
    if (
        args[5] is not None or in_dims[1] is not None or in_dims[2] is not None
    ):  # packed, or weights of each entry's own
        return _one_by_one(op, info.batch_size, in_dims, args)
    out, states = op(*_leading(info.batch_size, in_dims, args, (0, 3, 4, 6)))
    return (out, states), (0, None if states is None else 0)


@torch.library.register_vmap(_library.causal_conv1d_backward)
def _causal_conv1d_backward(info: Any, in_dims: tuple[Any, ...], *args: Any) -> Any:
    op = _library.causal_conv1d_backward
    of_weights = args[-1] & 6  # sums over all leading axes, which must not run over the batch
    if of_weights or args[7] is not None or in_dims[3] is not None or in_dims[4] is not None:
        return _one_by_one(op, info.batch_size, in_dims, args)
    results = op(*_leading(info.batch_size, in_dims, args, (0, 1, 2, 5, 6, 8)))
    return results, tuple(None if result is None else 0 for result in results)


@torch.library.register_vmap(_library.causal_conv1d_update)
def _causal_conv1d_update(info: Any, in_dims: tuple[Any, ...], *args: Any) -> Any:
    if in_dims[1] is None:
        raise RuntimeError("causal_conv1d_update: conv_state must be batched by vmap where another argument is")
    return _one_by_one(_library.causal_conv1d_update, info.batch_size, in_dims, args)
