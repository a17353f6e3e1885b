"""What the original refuses, with its words, and how it takes weights; the operators check the rest."""

from __future__ import annotations

import torch

from ...errors import InvalidArgument


def aligned(
    op: str, x: torch.Tensor, layout: tuple[str, ...], weight: torch.Tensor, bias: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight and bias in x's dtype; refuses shapes that do not fit x, whose axes have the names `layout`, and other devices."""
    if x.dim() != len(layout):
        raise InvalidArgument(f"{op}: Expected {len(layout)}D input tensor ({', '.join(layout)}), got {x.dim()}D")
    if weight.dim() != 2:
        raise InvalidArgument(f"{op}: Expected 2D weight tensor (dim, width), got {weight.dim()}D")
    dim = x.shape[layout.index("dim")]
    if weight.shape[0] != dim:
        raise InvalidArgument(f"{op}: Input dim {dim} does not match weight dim {weight.shape[0]}")
    check_device(op, "weight", weight, x)
    weight = weight.to(x.dtype)
    if bias is None:
        return weight, None
    if bias.dim() != 1:
        raise InvalidArgument(f"{op}: Expected 1D bias tensor, got {bias.dim()}D")
    if bias.shape[0] != dim:
        raise InvalidArgument(f"{op}: Bias dim {bias.shape[0]} does not match input dim {dim}")
    check_device(op, "bias", bias, x)
    return weight, bias.to(x.dtype)


def check_state(op: str, x: torch.Tensor, conv_state: torch.Tensor) -> None:
    """Refuse a state that is not ``(batch, dim, state_len)``."""
    if conv_state.dim() != 3:
        raise InvalidArgument(f"{op}: Expected 3D conv_state tensor (batch, dim, state_len), got {conv_state.dim()}D")
    if conv_state.shape[:2] != x.shape:
        raise InvalidArgument(
            f"{op}: Input shape {tuple(x.shape)} doesn't match conv_state batch/dim {tuple(conv_state.shape[:2])}"
        )
    check_device(op, "conv_state", conv_state, x)


def step_numbers(op: str, x: torch.Tensor, cache_seqlens: torch.Tensor | None) -> torch.Tensor:
    """Each item's number of its new step, int32; those that are not given are 0, 1, 2 and so on over the batch."""
    batch = x.shape[0]
    if cache_seqlens is None:
        return torch.arange(batch, device=x.device, dtype=torch.int32)
    if cache_seqlens.dim() != 1:
        raise InvalidArgument(f"{op}: Expected 1D cache_seqlens, got {cache_seqlens.dim()}D")
    if cache_seqlens.shape[0] != batch:
        raise InvalidArgument(f"{op}: cache_seqlens batch size {cache_seqlens.shape[0]} != input batch {batch}")
    check_device(op, "cache_seqlens", cache_seqlens, x)
    return cache_seqlens.to(torch.int32)


def check_device(op: str, argument: str, tensor: torch.Tensor, x: torch.Tensor) -> None:
    """Refuse another device than x's."""
    if tensor.device != x.device:
        raise InvalidArgument(f"{op}: {argument} must be on x's device {x.device}, got {tensor.device}")
