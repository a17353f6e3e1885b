"""Error of the causal convolution against float64 beside that of PyTorch's composition in the same dtype."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import melisma

from . import conv_rivals, rivals
from .conv_rivals import WIDTH
from .rows import PASS, SHORT, Case, Context, Row

# Batch, channels, steps: enough values for a root mean square that hardly scatters.
SIZE = (2, 768, 2048)
GROUP = "accuracy"

_Results = dict[str, Any]


def _wide(tensors: Sequence[Any]) -> list[Any]:
    return [tensor.detach().double() for tensor in tensors]


def _forward(device: str, dtype: str) -> tuple[_Results, _Results, _Results]:
    x = conv_rivals.signal(*SIZE, last=False, dtype=dtype, device=device)
    tensors = (x, *conv_rivals.taps(SIZE[1], dtype=dtype, device=device))
    return (
        {"": melisma.causal_conv1d(*tensors, activation="silu")},
        {"": conv_rivals.conv1d(*tensors)},
        {"": conv_rivals.unrolled(*_wide(tensors))},
    )


def _fused(device: str, dtype: str) -> tuple[_Results, _Results, _Results]:
    batch, channels, steps = SIZE
    x = conv_rivals.noise(batch, steps, channels, dtype=dtype, device=device)
    tensors = (x, *conv_rivals.taps(channels, dtype=dtype, device=device))
    mask = conv_rivals.mask(batch, steps, device=device)
    return (
        {"": melisma.short_conv_fused(*tensors, mask)},
        {"": conv_rivals.short_conv(*tensors, mask)},
        {"": conv_rivals.short_conv_unrolled(*_wide((*tensors, mask)))},
    )


def _update(device: str, dtype: str) -> tuple[_Results, _Results, _Results]:
    batch, channels = 256, 2048
    x = conv_rivals.noise(batch, channels, dtype=dtype, device=device)
    weight, bias = conv_rivals.taps(channels, dtype=dtype, device=device)
    state = conv_rivals.noise(batch, channels, WIDTH, dtype=dtype, device=device, seed=4)
    wide = _wide((x, state, weight, bias))
    theirs = conv_rivals.roll_update(x, state.clone(), weight, bias)
    ours = melisma.causal_conv1d_update(x, state, weight, bias, "silu")
    return {"": ours}, {"": theirs}, {"": conv_rivals.roll_update(*wide)}


def _backward(device: str, dtype: str) -> tuple[_Results, _Results, _Results]:
    x = conv_rivals.signal(*SIZE, last=False, dtype=dtype, device=device)
    tensors = (x, *conv_rivals.taps(SIZE[1], dtype=dtype, device=device))
    above = conv_rivals.signal(*SIZE, last=False, dtype=dtype, device=device, seed=5)

    def gradients(forward: Callable[..., Any], leaves: Sequence[Any]) -> _Results:
        leaves = [tensor.detach().requires_grad_() for tensor in leaves]
        out = forward(*leaves)
        found = rivals.torch.autograd.grad(out, leaves, above.to(out.dtype))
        return dict(zip((", x", ", weight", ", bias"), found, strict=True))

    return (
        gradients(functools.partial(melisma.causal_conv1d, activation="silu"), tensors),
        gradients(conv_rivals.conv1d, tensors),
        gradients(conv_rivals.unrolled, _wide(tensors)),
    )


def _rms(values: Any) -> float:
    return float(values.double().square().mean().sqrt())


def _measure(name: str, make: Callable[[], tuple[_Results, _Results, _Results]], _: Context) -> list[Row]:
    ours, theirs, reference = make()
    rows = []
    for part, exact in reference.items():
        mine, other = ((side[part].double() - exact) for side in (ours, theirs))
        size = _rms(exact)
        found, other_found = _rms(mine) / size, _rms(other) / size
        largest = [float(error.abs().max()) for error in (mine, other)]
        ratio = other_found / found if found > 0 else None
        verdict = PASS if found <= other_found else SHORT
        note = f"largest error {largest[0]:.2e} and {largest[1]:.2e}"
        rows.append(
            Row(GROUP, name + part, "PyTorch ops", "abs", found, other_found, ratio, "<= PyTorch's", verdict, None,
                note, {"max_error": largest})
        )  # fmt: skip
    return rows


def cases(device: str, dtypes: Sequence[str], *, gradients: bool) -> list[Case]:
    """Return a case for each operator and dtype: the root mean square error over that of the result."""
    works = {"conv1d + SiLU": _forward, "short_conv_fused": _fused, "causal_conv1d_update": _update}
    if gradients:
        works["gradients of conv1d + SiLU"] = _backward
    return [
        Case(GROUP, f"{work}, relative error, {dtype}",
             functools.partial(_measure, f"{work}, relative error, {dtype}", functools.partial(make, device, dtype)))
        for work, make in works.items()
        for dtype in dtypes
    ]  # fmt: skip
