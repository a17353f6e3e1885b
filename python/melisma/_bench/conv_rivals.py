"""The causal convolution as one writes it with PyTorch's operators, on any device, and what its cases have in common.

Two ways: *composition*, ``conv1d(groups=D)`` with padding at both ends, cut, and elementwise operators round it;
*unrolled*, one multiply-add for each tap, which is what ``torch.compile`` makes one kernel of.
"""

from __future__ import annotations

import itertools
from typing import Any

from . import rivals
from .speed import AGREEMENT

WIDTH = 4
DTYPES = ("float32", "bfloat16")

# causal-conv1d-mps's benchmark: batch, channels, steps
SMALL_SIZES = ((1, 64, 128), (2, 128, 256), (4, 256, 512), (1, 512, 1024), (8, 64, 128))
# The Canon layers: A and C on the residual stream, B on queries, keys and values side by side, D on gate and up.
# name, batch, steps, channels
SMALL_SCENES = (
    ("A/C B1 T128 D512", 1, 128, 512),
    ("A/C B2 T256 D768", 2, 256, 768),
    ("A/C B4 T512 D1024", 4, 512, 1024),
    ("B B2 T256 H12 KV4 hd64", 2, 256, (12 + 2 * 4) * 64),
    ("B B2 T512 H16 KV8 hd64", 2, 512, (16 + 2 * 8) * 64),
    ("D B2 T256 768/2048", 2, 256, 2 * 2048),
    ("D B2 T512 1024/4096", 2, 512, 2 * 4096),
)


def agreement(dtype: str) -> float:
    """How far results may be apart, as part of the largest: in half precision each operator of a composition rounds."""
    return AGREEMENT if dtype == "float32" else 4 * float(rivals.torch.finfo(getattr(rivals.torch, dtype)).eps)


# --- inputs ----------------------------------------------------------------------------------------------------------


def noise(*shape: int, dtype: str, device: str, seed: int = 0) -> Any:
    """Standard normal values, the same each time."""
    torch = rivals.torch
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(*shape, generator=generator, device=device).to(getattr(torch, dtype))


def signal(batch: int, channels: int, steps: int, *, last: bool, dtype: str, device: str, seed: int = 0) -> Any:
    """[B, D, T]; `last`: channels are contiguous in memory."""
    if last:
        return noise(batch, steps, channels, dtype=dtype, device=device, seed=seed).transpose(1, 2)
    return noise(batch, channels, steps, dtype=dtype, device=device, seed=seed)


def taps(channels: int, *, dtype: str, device: str) -> tuple[Any, Any]:
    """Weight and bias."""
    return noise(channels, WIDTH, dtype=dtype, device=device, seed=1), noise(
        channels, dtype=dtype, device=device, seed=2
    )


def mask(batch: int, steps: int, *, device: str) -> Any:
    """[B, T] float32: ones up to a length of the upper half of T for each item, then zeros."""
    torch = rivals.torch
    generator = torch.Generator(device).manual_seed(3)
    lengths = torch.randint(steps // 2, steps + 1, (batch, 1), generator=generator, device=device)
    return (torch.arange(steps, device=device) < lengths).float()


def boundaries(steps: int, sequences: int) -> list[int]:
    """Where sequences of unequal length begin and the last one ends."""
    weights = [1 + number % 3 for number in range(sequences)]
    ends = [steps * sum(weights[: number + 1]) // sum(weights) for number in range(sequences)]
    return [0, *ends]


def nbytes(*tensors: Any) -> int:
    """Bytes of all values."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


# --- PyTorch's ways --------------------------------------------------------------------------------------------------


def conv1d(x: Any, weight: Any, bias: Any, silu: bool = True) -> Any:
    """The composition; x: [B, D, T]."""
    functional = rivals.torch.nn.functional
    channels, width = weight.shape
    out = functional.conv1d(x, weight[:, None], bias, padding=width - 1, groups=channels)[..., : x.shape[-1]]
    return functional.silu(out) if silu else out


def unrolled(x: Any, weight: Any, bias: Any, silu: bool = True) -> Any:
    """One multiply-add for each tap; x: [B, D, T]."""
    torch = rivals.torch
    steps, width = x.shape[-1], weight.shape[1]
    padded = torch.nn.functional.pad(x, (width - 1, 0))
    out = torch.addcmul(bias[:, None], padded[..., :steps], weight[:, :1])
    for k in range(1, width):
        out = torch.addcmul(out, padded[..., k : k + steps], weight[:, k : k + 1])
    return torch.nn.functional.silu(out) if silu else out


def unrolled_last(x: Any, weight: Any, bias: Any, silu: bool = True) -> Any:
    """The same for x: [B, T, D]."""
    torch = rivals.torch
    steps, width = x.shape[1], weight.shape[1]
    padded = torch.nn.functional.pad(x, (0, 0, width - 1, 0))
    out = torch.addcmul(bias, padded[:, :steps], weight[:, 0])
    for k in range(1, width):
        out = torch.addcmul(out, padded[:, k : k + steps], weight[:, k])
    return torch.nn.functional.silu(out) if silu else out


def packed(x: Any, weight: Any, bias: Any, starts: list[int]) -> Any:
    """The composition for each sequence that is packed along the time of x: [1, D, T]."""
    pieces = [conv1d(x[..., start:end], weight, bias) for start, end in itertools.pairwise(starts)]
    return rivals.torch.cat(pieces, dim=-1)


def short_conv(x: Any, weight: Any, bias: Any, attention_mask: Any) -> Any:
    """Mask, convolution, SiLU and residual by the composition; x: [B, T, D]."""
    masked = x * attention_mask[..., None].to(x.dtype)
    return x + conv1d(masked.transpose(1, 2), weight, bias).transpose(1, 2)


def short_conv_unrolled(x: Any, weight: Any, bias: Any, attention_mask: Any) -> Any:
    """The same unrolled."""
    return x + unrolled_last(x * attention_mask[..., None].to(x.dtype), weight, bias)


def roll_update(x: Any, state: Any, weight: Any, bias: Any) -> Any:
    """One step with SiLU, the state rolled; x: [B, D], state: [B, D, W] or [B, D, W - 1]."""
    torch = rivals.torch
    if state.shape[-1] < weight.shape[-1]:
        taps = torch.cat([state, x[..., None]], dim=-1)
        state.copy_(taps[..., 1:])
    else:
        state.copy_(torch.roll(state, shifts=-1, dims=-1))
        state[:, :, -1] = x
        taps = state
    return torch.nn.functional.silu((taps * weight).sum(-1) + bias)


def ring_update(x: Any, state: Any, weight: Any, bias: Any, cache_seqlens: Any) -> Any:
    """One step with SiLU and residual, the state a ring of W places; x: [B, D]."""
    torch = rivals.torch
    batch, size = x.shape[0], state.shape[-1]
    place = cache_seqlens.long() % size
    state[torch.arange(batch, device=x.device), :, place] = x
    order = (place[:, None] + 1 + torch.arange(size, device=x.device)) % size  # the oldest first
    ordered = state.gather(2, order[:, None].expand_as(state))
    return x + torch.nn.functional.silu((ordered * weight).sum(-1) + bias)
