"""Batching rules: the operators take any leading axes, so a batched signal is one call. A batched window is one call each."""

from typing import Any

import torch

from . import _library


def _to_front(tensor: Any, dim: int | None, size: int) -> Any:
    """The batch axis first; a tensor without one is repeated along it (without memory)."""
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def _one_by_one(op: Any, size: int, in_dims: tuple[Any, ...], args: tuple[Any, ...]) -> Any:
    calls = (
        op(*(a.select(dim, i) if isinstance(dim, int) else a for a, dim in zip(args, in_dims, strict=True)))
        for i in range(size)
    )
    return torch.stack(list(calls)), 0


def _register(name: str, signals: int, shared: int) -> None:
    """The first `signals` arguments carry the leading axes, the next `shared` ones do not."""
    op = getattr(_library, name)

    def rule(info: Any, in_dims: tuple[Any, ...], *args: Any) -> Any:
        if any(dim is not None for dim in in_dims[signals : signals + shared]):
            return _one_by_one(op, info.batch_size, in_dims, args)
        moved = [_to_front(args[i], in_dims[i], info.batch_size) for i in range(signals)]
        return op(*moved, *args[signals:]), 0

    torch.library.register_vmap(op, rule)


for _name in ("stft", "stft_adjoint", "istft", "istft_adjoint", "spectrogram"):
    _register(_name, 1, 1)
_register("spectrogram_backward", 2, 1)
_register("filtered_spectrogram_backward", 2, 2)


@torch.library.register_vmap(_library.stft_window_gradient)
def _window_gradient(info: Any, in_dims: tuple[Any, ...], *args: Any) -> Any:
    # The result is a sum over all leading axes: it must not run over the batch.
    return _one_by_one(_library.stft_window_gradient, info.batch_size, in_dims, args)


@torch.library.register_vmap(_library.filtered_spectrogram)
def _filtered_spectrogram(info: Any, in_dims: tuple[Any, ...], *args: Any) -> Any:
    op = _library.filtered_spectrogram
    if in_dims[1] is not None or in_dims[2] is not None:
        return _one_by_one(op, info.batch_size, in_dims, args)
    x = args[0].movedim(in_dims[0], 0)
    if x.ndim > 2:
        return op(x, *args[1:]), 0
    # An axis of its own keeps the batch out of the group that `packed` takes its maximum over.
    return op(x.unsqueeze(1), *args[1:]).squeeze(1), 0
