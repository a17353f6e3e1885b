"""The causal convolution on the CPU beside the same out of PyTorch's operators, one thread each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import melisma

from . import conv_accuracy, conv_rivals, rivals
from .conv_rivals import DTYPES, SMALL_SCENES, SMALL_SIZES, WIDTH
from .rows import Case
from .separator import differentiable
from .speed import Contest, Rival, contest_case

CPU = "cpu"
# What the composition must be beaten by where both lie in cache, and how far above a copy the sizes beyond it may be.
IN_CACHE = {"float32": 3.0, "bfloat16": 8.0}
IN_CACHE_SIZES = ((4, 256, 512), (1, 512, 1024))
SCENE = 5.0
UPDATE = 4.0
LARGE_FLOORS = 1.3
PACKED = (1024, 4096, 8)  # channels, steps, sequences
UPDATE_SIZE = (64, 2048)  # batch, channels
TRAINED = ((4, 256, 512), (2, 768, 2048), (4, 2048, 2048))
# batch, channels, steps; times the composition's speed in float32
LARGE = ((4, 2048, 2048, 15.0), (8, 2048, 4096, None), (8, 4096, 2048, None))


def _arrays(result: Any) -> Sequence[Any]:
    tensors = result if isinstance(result, tuple) else (result,)
    return [tensor.detach().float().numpy() for tensor in tensors]


def _contest(
    ours: Callable[[], Any],
    others: Sequence[Rival],
    floor_bytes: int,
    dtype: str,
    floors: float | None = None,
) -> Contest:
    return Contest(ours, others, floor_bytes, floors, conv_rivals.agreement(dtype), _arrays)


def _conv(
    size: tuple[int, int, int],
    dtype: str,
    *,
    silu: bool = True,
    last: bool = False,
    ratio: float | None = None,
    floors: float | None = None,
    slow: bool = False,
) -> Contest:
    """`slow`: without the slower rival."""
    x = conv_rivals.signal(*size, last=last, dtype=dtype, device=CPU)
    weight, bias = conv_rivals.taps(size[1], dtype=dtype, device=CPU)
    activation = "silu" if silu else None

    def unrolled() -> Any:
        if last:
            return conv_rivals.unrolled_last(x.transpose(1, 2), weight, bias, silu).transpose(1, 2)
        return conv_rivals.unrolled(x, weight, bias, silu)

    others = [Rival("conv1d, groups", lambda: conv_rivals.conv1d(x, weight, bias, silu), ratio)]
    return _contest(
        lambda: melisma.causal_conv1d(x, weight, bias, activation=activation),
        others if slow else [*others, Rival("unrolled", unrolled)],
        2 * conv_rivals.nbytes(x),
        dtype,
        floors,
    )


def _scene(batch: int, steps: int, channels: int, dtype: str) -> Contest:
    x = conv_rivals.noise(batch, steps, channels, dtype=dtype, device=CPU)
    weight, bias = conv_rivals.taps(channels, dtype=dtype, device=CPU)
    mask = conv_rivals.mask(batch, steps, device=CPU)
    return _contest(
        lambda: melisma.short_conv_fused(x, weight, bias, mask),
        [
            Rival("conv1d, groups", lambda: conv_rivals.short_conv(x, weight, bias, mask), SCENE),
            Rival("unrolled", lambda: conv_rivals.short_conv_unrolled(x, weight, bias, mask)),
        ],
        2 * conv_rivals.nbytes(x),
        dtype,
    )


def _packed(channels: int, steps: int, sequences: int, dtype: str) -> Contest:
    torch = rivals.torch
    x = conv_rivals.signal(1, channels, steps, last=False, dtype=dtype, device=CPU)
    weight, bias = conv_rivals.taps(channels, dtype=dtype, device=CPU)
    starts = conv_rivals.boundaries(steps, sequences)
    cu_seqlens = torch.tensor(starts, dtype=torch.int32)
    return _contest(
        lambda: melisma.causal_conv1d(x, weight, bias, cu_seqlens=cu_seqlens, activation="silu"),
        [Rival("conv1d, each sequence", lambda: conv_rivals.packed(x, weight, bias, starts))],
        2 * conv_rivals.nbytes(x),
        dtype,
    )


def _update(batch: int, channels: int, dtype: str, *, ring: bool) -> Contest:
    torch = rivals.torch
    x = conv_rivals.noise(batch, channels, dtype=dtype, device=CPU)
    weight, bias = conv_rivals.taps(channels, dtype=dtype, device=CPU)
    state = conv_rivals.noise(batch, channels, WIDTH, dtype=dtype, device=CPU, seed=4)
    other = state.clone()
    # A ring as long as the taps holds one step that is read no more.
    position = torch.arange(batch, dtype=torch.int32)
    if ring:
        ours = functools.partial(melisma.short_conv_update, x, state, weight, bias, position)
        theirs = functools.partial(conv_rivals.ring_update, x, other, weight, bias, position)
    else:
        ours = functools.partial(melisma.causal_conv1d_update, x, state, weight, bias, "silu")
        theirs = functools.partial(conv_rivals.roll_update, x, other, weight, bias)
    floor = 2 * conv_rivals.nbytes(x, state)
    return _contest(ours, [Rival("gather, sum" if ring else "roll, sum", theirs, UPDATE)], floor, dtype)


def _trained(size: tuple[int, int, int], dtype: str) -> Contest:
    """Forward, and the gradients of signal, weight and bias."""
    torch = rivals.torch
    x = conv_rivals.signal(*size, last=False, dtype=dtype, device=CPU)
    leaves = [tensor.requires_grad_() for tensor in (x, *conv_rivals.taps(size[1], dtype=dtype, device=CPU))]
    above = conv_rivals.signal(*size, last=False, dtype=dtype, device=CPU, seed=5)

    def both(forward: Callable[..., Any]) -> Callable[[], Any]:
        return lambda: torch.autograd.grad(forward(*leaves), leaves, above)

    return _contest(
        both(functools.partial(melisma.causal_conv1d, activation="silu")),
        [Rival("conv1d, groups", both(conv_rivals.conv1d)), Rival("unrolled", both(conv_rivals.unrolled))],
        5 * conv_rivals.nbytes(x),  # the signal twice, the result, the gradients above and below
        dtype,
    )


def _name(size: Sequence[int]) -> str:
    return "x".join(map(str, size))


def cases() -> list[Case]:
    """Return every case, in the order of the table."""
    if rivals.torch is None:
        raise ValueError("benchmark: suite 'conv' needs PyTorch, got none")
    found = []

    def add(
        group: str, name: str, make: Callable[..., Contest], *arguments: Any, slow: bool = False, **named: Any
    ) -> None:
        found.append(contest_case(group, name, functools.partial(make, *arguments, **named), slow=slow))

    for dtype in DTYPES:
        for size in SMALL_SIZES:
            ratio = IN_CACHE[dtype] if size in IN_CACHE_SIZES else None
            add("conv1d", f"conv1d {_name(size)} {dtype}", _conv, size, dtype, silu=False, ratio=ratio)
    for dtype in DTYPES:
        for size in ((2, 128, 256), *IN_CACHE_SIZES, (2, 768, 2048)):
            ratio = IN_CACHE[dtype] if size in IN_CACHE_SIZES else None
            add("SiLU", f"conv1d + SiLU {_name(size)} {dtype}", _conv, size, dtype, ratio=ratio)
    for dtype in DTYPES:
        for *large, times in LARGE:
            for last in (False, True):
                name = f"conv1d + SiLU {_name(large)}{', channel-last' if last else ''} {dtype}"
                ratio = None if last or dtype != "float32" else times
                make = functools.partial(_conv, last=last, ratio=ratio, floors=LARGE_FLOORS, slow=times is None)
                add("large", name, make, tuple(large), dtype, slow=times is None)
    for dtype in DTYPES:
        for name, *scene in SMALL_SCENES:
            add("Canon", f"short_conv_fused {name} {dtype}", _scene, *scene, dtype)
    channels, steps, sequences = PACKED
    for dtype in DTYPES:
        name = f"conv1d + SiLU {sequences} sequences in 1x{channels}x{steps} {dtype}"
        add("packed", name, _packed, channels, steps, sequences, dtype)
    for dtype in DTYPES:
        for op, ring in (("short_conv_update", True), ("causal_conv1d_update", False)):
            add("update", f"{op} {_name(UPDATE_SIZE)} {dtype}", _update, *UPDATE_SIZE, dtype, ring=ring)
    if differentiable():
        for dtype in DTYPES:
            for size in TRAINED:
                add("backward", f"conv1d + SiLU forward+backward {_name(size)} {dtype}", _trained, size, dtype)
    return found + conv_accuracy.cases(CPU, DTYPES, gradients=differentiable())
