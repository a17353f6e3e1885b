"""What the tests of the convolution's operators share: its plain definition out of PyTorch's operators, and its arguments."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from torch_device import DEVICE
from torch_ops.common import generator, randn

# Half a unit in the last place near 1.
ROUNDING = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8, torch.float32: 2.0**-24, torch.float64: 2.0**-53}


def reference(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    mask: torch.Tensor | None = None,
    seq_idx: torch.Tensor | None = None,
    cu_seqlens: torch.Tensor | None = None,
    initial_states: torch.Tensor | None = None,
    silu: bool = False,
    residual: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The convolution of [B, D, T], tap by tap, and its final states; all in the dtype of `x`."""
    if cu_seqlens is not None:
        bounds = cu_seqlens.tolist()
        parts = []
        for i, (start, end) in enumerate(itertools.pairwise(bounds)):
            parts.append(
                reference(
                    x[..., start:end],
                    weight,
                    bias,
                    mask=None if mask is None else mask[..., start:end],
                    initial_states=None if initial_states is None else initial_states[i : i + 1],
                    silu=silu,
                    residual=residual,
                )
            )
        return torch.cat([part[0] for part in parts], -1), torch.cat([part[1] for part in parts])
    width, steps = weight.shape[1], x.shape[-1]
    taps = x if mask is None else x * mask[:, None]
    before = x.new_zeros(*x.shape[:-1], width - 1) if initial_states is None else initial_states.to(x.dtype)
    taps = torch.cat([before, taps], -1)
    first = None
    if seq_idx is not None:
        first = torch.cat([seq_idx[:, :1].expand(-1, width - 1), seq_idx], -1)
    h = x.new_zeros(x.shape) if bias is None else bias[:, None].to(x.dtype).expand(x.shape)
    for k in range(width):
        term = weight[:, k, None].to(x.dtype) * taps[..., k : k + steps]
        if first is not None:
            term = torch.where((first[:, k : k + steps] == seq_idx)[:, None], term, 0)
        h = h + term
    out = h * torch.sigmoid(h) if silu else h
    if residual:
        out = out + x
    states = taps[..., steps:]
    if first is not None:
        out = torch.where((seq_idx >= 0)[:, None], out, 0)
        if steps:
            last = seq_idx[:, -1:]
            states = torch.where(((first[:, steps:] == last) & (last >= 0))[:, None], states, 0)
    return out, states


def ints(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32, device=DEVICE)


SEQ_IDX = [[0, 0, 0, 1, 1, -1, -1, 2, 3, 3, 3, 3], [4, 4, 5, 5, 5, 5, 5, 6, 7, -1, -1, -1]]
CU_SEQLENS = (0, 4, 4, 5, 12)  # of lengths 4, 0, 1 and 7
STEPS = 12
CHANNELS = 5

# What beside signal, weights and bias a call may be given: each alone, and what may stand together.
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "states": {"initial_states": True},
    "mask": {"mask": True, "initial_states": True},
    "seq_idx": {"seq_idx": True, "initial_states": True},
    "seq_idx and mask": {"seq_idx": True, "mask": True},
    "cu_seqlens": {"cu_seqlens": True},
    "cu_seqlens with states": {"cu_seqlens": True, "initial_states": True, "mask": True},
}


def arguments(
    setting: str, width: int, dtype: torch.dtype = torch.float64, weight_dtype: torch.dtype | None = None
) -> dict[str, Any]:
    """Tensors of a call, by their names in :func:`reference`; the float ones but for the mask require gradients."""
    wanted = SETTINGS[setting]
    batch = 1 if "cu_seqlens" in wanted else 2
    sequences = len(CU_SEQLENS) - 1 if "cu_seqlens" in wanted else batch
    of_weight = dtype if weight_dtype is None else weight_dtype
    made: dict[str, Any] = {
        "x": randn(batch, CHANNELS, STEPS, dtype=dtype, seed=1, grad=True),
        "weight": randn(CHANNELS, width, dtype=of_weight, seed=2, grad=True),
        "bias": randn(CHANNELS, dtype=of_weight, seed=3, grad=True),
    }
    if "mask" in wanted:
        made["mask"] = (torch.rand(batch, STEPS, generator=generator(4), device="cpu") < 0.7).to(DEVICE, dtype)
    if "seq_idx" in wanted:
        made["seq_idx"] = torch.tensor(SEQ_IDX, dtype=torch.int32, device=DEVICE)
    if "cu_seqlens" in wanted:
        made["cu_seqlens"] = ints(*CU_SEQLENS)
    if "initial_states" in wanted:
        made["initial_states"] = randn(sequences, CHANNELS, width - 1, dtype=dtype, seed=5, grad=True)
    return made


def operator(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    mask: torch.Tensor | None = None,
    seq_idx: torch.Tensor | None = None,
    cu_seqlens: torch.Tensor | None = None,
    initial_states: torch.Tensor | None = None,
    silu: bool = False,
    residual: bool = False,
    channels_last: bool = False,
    final: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The dispatcher's operator, with the arguments of :func:`reference`."""
    return torch.ops.melisma.causal_conv1d(
        x, weight, bias, mask, seq_idx, cu_seqlens, initial_states, channels_last, silu, residual, final
    )
