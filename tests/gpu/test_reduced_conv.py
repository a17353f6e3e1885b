"""Every kernel of the convolution once on a few steps, forward and backward: what runs under compute-sanitizer."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import melisma
from gpu.common import CUDA, needs_gpu
from gpu.test_convolution import STEPS, bound, check_update, near, placed, uniform
from torch_ops.conv_common import reference

pytestmark = needs_gpu

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def check(layout: str, shape: tuple[int, int, int], width: int, dtype: torch.dtype, **beside: Any) -> None:
    """Out, final states and the gradients of x, weight, bias and initial states, within what rounding allows."""
    batch, channels, steps = shape
    sequences = len(beside["cu_seqlens"]) - 1 if "cu_seqlens" in beside else batch
    leaves = [
        uniform(batch, channels, steps, dtype=dtype).requires_grad_(),
        uniform(channels, width, dtype=dtype, seed=1).requires_grad_(),
        uniform(channels, dtype=dtype, seed=2).requires_grad_(),
    ]
    states = beside.pop("states", False)
    if states:
        leaves.append(uniform(sequences, channels, width - 1, dtype=dtype, seed=3).requires_grad_())
    moved = {key: value.to(CUDA) for key, value in beside.items()}
    kept = {"initial_states": leaves[3], "return_final_states": True} if states else {}
    got = melisma.causal_conv1d(placed(leaves[0], layout), *leaves[1:3], activation="silu", **kept, **moved)
    results = list(got) if states else [got]
    above = [uniform(*r.shape, dtype=r.dtype, seed=4 + i) for i, r in enumerate(results)]
    grads = torch.autograd.grad(results, leaves, [placed(above[0], layout), *above[1:]])
    wide = [t.detach().double().cpu().requires_grad_() for t in leaves]
    if states:
        beside["initial_states"] = wide[3]
    want = list(reference(*wide[:3], silu=True, **beside))[: len(results)]
    want_grads = torch.autograd.grad(
        want, wide, [a.double().cpu() for a in above], materialize_grads=True, allow_unused=True
    )
    atol, what = bound(width, dtype), (layout, shape, width, dtype, list(beside))
    for result, exact in zip(results, want, strict=True):
        near(result, exact.detach(), atol, what)
    for i, (grad, exact) in enumerate(zip(grads, want_grads, strict=True)):
        terms = (width + 1.0) if i in (0, 3) else 4 * (batch * steps) ** 0.5 * (width + 1)
        near(grad, exact, 3 * terms * atol, (*what, i))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [2, 3, 4, 6])
def test_plain(width: int, dtype: torch.dtype) -> None:
    """Rows of whole vectors, of one block and of several, rows that are not, channels by vectors and not, and neither."""
    for shape in ((2, 3, 1032), (1, 2, 4104), (2, 3, 77)):
        check("rows", shape, width, dtype)
    for shape in ((2, 64, 100), (1, 136, 37), (2, 5, 40)):
        check("channels", shape, width, dtype)
    check("odd", (2, 5, 60), width, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["rows", "channels"])
def test_sequences(layout: str, dtype: torch.dtype) -> None:
    """By number and by offsets, with states, cut everywhere within a tile and nowhere."""
    lengths = torch.tensor([0, 1, 2, 30, 3, 60, 0, 40])
    numbers = torch.repeat_interleave(torch.arange(8, dtype=torch.int32), lengths)
    cu = torch.cat([torch.zeros(1, dtype=torch.int32), lengths.cumsum(0).int()])
    for channels in (64, 5):
        shape = (1, channels, 136)
        check(layout, shape, 4, dtype, seq_idx=numbers[None])
        check(layout, shape, 3, dtype, cu_seqlens=cu, states=True)
        check(layout, shape, 4, dtype, states=True)
        check(layout, shape, 6, dtype, cu_seqlens=cu, states=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_masked_with_residual(dtype: torch.dtype) -> None:
    for channels in (64, 5):
        x, weight = uniform(2, 90, channels, dtype=dtype), uniform(channels, 4, dtype=dtype, seed=1)
        mask = (uniform(2, 90, seed=2) > -0.5).float()
        leaf = x.clone().requires_grad_()
        out = melisma.short_conv_fused(leaf, weight, None, mask)
        (grad,) = torch.autograd.grad(out, leaf, torch.ones_like(out))
        wide = x.double().cpu().requires_grad_()
        rows, _ = reference(
            wide.transpose(1, 2), weight.double().cpu(), mask=mask.double().cpu(), silu=True, residual=True
        )
        (want_grad,) = torch.autograd.grad(rows, wide, torch.ones_like(rows))
        near(out, rows.detach().transpose(1, 2), 2 * bound(4, dtype))
        near(grad, want_grad, 30 * bound(4, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", STEPS)
def test_steps(name: str, dtype: torch.dtype) -> None:
    check_update(name, dtype)
