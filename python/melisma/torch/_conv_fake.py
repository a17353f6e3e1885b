"""What the causal convolution's results look like, for tracing, export and meta tensors: shape, dtype and strides."""

from typing import Any

import torch

from ._fake import same_device


def like(x: torch.Tensor) -> torch.Tensor:
    """New memory of x's shape and dtype, in its order of the last two axes."""
    if x.ndim >= 2 and x.stride(-1) != 1 and x.stride(-2) == 1:
        shape = (*x.shape[:-2], x.shape[-1], x.shape[-2])
        return torch.empty(shape, dtype=x.dtype, device=x.device).transpose(-2, -1)
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


def states_like(
    x: torch.Tensor, weight: torch.Tensor, cu_seqlens: torch.Tensor | None, channels_last: bool
) -> torch.Tensor:
    """New memory for final states; of a call that the operator refuses, whatever."""
    if x.ndim < 2 or weight.ndim != 2 or weight.shape[1] < 1 or (cu_seqlens is not None and cu_seqlens.numel() < 1):
        return torch.empty(0, dtype=x.dtype, device=x.device)
    leading = x.shape[:-2] if cu_seqlens is None else (cu_seqlens.shape[0] - 1,)
    channels = x.shape[-1 if channels_last else -2]
    return torch.empty((*leading, channels, weight.shape[1] - 1), dtype=x.dtype, device=x.device)


def _check(op: str, x: torch.Tensor, channel_axis: int, weight: torch.Tensor, **others: torch.Tensor | None) -> None:
    channels = x.shape[channel_axis]
    if weight.ndim != 2:
        raise RuntimeError(f"{op}: weight must have the shape [D, W], got {list(weight.shape)}")
    torch._check(
        weight.shape[0] == channels,
        lambda: f"{op}: weight must have the shape [{channels}, W], got {list(weight.shape)}",
    )
    same_device(op, x, weight, "weight")
    for name, tensor in others.items():
        same_device(op, x, tensor, name)


@torch.library.register_fake("melisma::causal_conv1d")
def _causal_conv1d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    mask: torch.Tensor | None,
    seq_idx: torch.Tensor | None,
    cu_seqlens: torch.Tensor | None,
    initial_states: torch.Tensor | None,
    channels_last: bool,
    silu: bool,
    residual: bool,
    return_final_states: bool,
) -> Any:
    op = "causal_conv1d"
    if x.ndim < 2:
        raise RuntimeError(f"{op}: x must have at least 2 dimensions [D, T], got {x.ndim}")
    _check(op, x, -1 if channels_last else -2, weight, bias=bias, mask=mask, seq_idx=seq_idx, cu_seqlens=cu_seqlens,
           initial_states=initial_states)  # fmt: skip
    return like(x), states_like(x, weight, cu_seqlens, channels_last) if return_final_states else None


@torch.library.register_fake("melisma::causal_conv1d_out")
@torch.library.register_fake("melisma::causal_conv1d_update_out")
def _nothing(*args: Any) -> None:
    return None


@torch.library.register_fake("melisma::causal_conv1d_backward")
def _causal_conv1d_backward(
    grad_out: torch.Tensor,
    grad_final_states: torch.Tensor | None,
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    mask: torch.Tensor | None,
    seq_idx: torch.Tensor | None,
    cu_seqlens: torch.Tensor | None,
    initial_states: torch.Tensor | None,
    channels_last: bool,
    silu: bool,
    residual: bool,
    wanted: int,
) -> Any:
    def parameter(bit: int, tensor: torch.Tensor | None) -> torch.Tensor | None:
        if not wanted & bit or tensor is None:
            return None
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=x.device)

    return like(x) if wanted & 1 else None, parameter(2, weight), parameter(4, bias), parameter(8, initial_states)


@torch.library.register_fake("melisma::causal_conv1d_update")
def _causal_conv1d_update(
    x: torch.Tensor, conv_state: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *options: Any
) -> torch.Tensor:
    op = "causal_conv1d_update"
    if x.ndim not in (2, 3):
        raise RuntimeError(f"{op}: x must have the shape [B, D] or [B, D, T], got {list(x.shape)}")
    _check(op, x, 1, weight, bias=bias, conv_state=conv_state)
    return like(x) if x.ndim == 3 else torch.empty(x.shape, dtype=x.dtype, device=x.device)
