"""causal-conv1d-mps's functions on any device: signatures, values, masks of each shape, steps, gradients, errors."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import melisma
from melisma.compat import causal_conv1d_mps as package
from torch_device import DEVICE

ROUNDING = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8, torch.float32: 2.0**-24, torch.float64: 2.0**-53}
F64 = torch.float64
TENSOR = "torch.Tensor"
MAYBE = "torch.Tensor | None = None"


def draw(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator("cpu").manual_seed(seed)
    return (2 * torch.rand(shape, generator=generator, dtype=F64, device="cpu") - 1).to(DEVICE, dtype)


def composition(
    x: Any, weight: Any, bias: Any = None, mask: Any = None, silu: bool = True, residual: bool = True
) -> Any:
    """Give short_conv_fused of ``[B, T, D]`` out of PyTorch's operators, in float64, with weights rounded to x's dtype."""
    weight, bias = weight.to(x.dtype).double(), None if bias is None else bias.to(x.dtype).double()
    x = x.double()
    if x.shape[1] == 0:
        return x
    masked = x if mask is None else x * mask.double()[..., None]
    taps = F.pad(masked.transpose(1, 2), (weight.shape[1] - 1, 0))
    y = F.conv1d(taps, weight[:, None], bias, groups=x.shape[2]).transpose(1, 2)
    y = F.silu(y) if silu else y
    return x + y if residual else y


def error_bound(taps: int, dtype: torch.dtype) -> float:
    """Values and weights below 1: roundings of W + 1 terms in float32, silu's, the residual's, and one to the dtype."""
    inside = ROUNDING[F64] if dtype == F64 else ROUNDING[torch.float32]
    return 2 * inside * (taps + 5) * (taps + 2) + ROUNDING[dtype] * (taps + 2)


def test_signatures_are_the_originals() -> None:
    fused = (
        f"(x: {TENSOR}, weight: {TENSOR}, bias: {MAYBE}, attention_mask: {MAYBE}, activation: bool = True, "
        f"residual: bool = True) -> {TENSOR}"
    )
    update = (
        f"(x: {TENSOR}, conv_state: {TENSOR}, weight: {TENSOR}, bias: {MAYBE}, cache_seqlens: {MAYBE}, "
        f"activation: bool = True, residual: bool = True) -> {TENSOR}"
    )
    plain = (
        f"(x: {TENSOR}, weight: {TENSOR}, bias: {MAYBE}, seq_idx: {MAYBE}, initial_states: {MAYBE}, "
        f"return_final_states: bool = False, final_states_out: {MAYBE}, activation: str | None = None) -> {TENSOR}"
    )
    for name, text in {
        "causal_conv1d_fwd": f"(x: {TENSOR}, weight: {TENSOR}, bias: {MAYBE}, silu_activation: bool = False) -> {TENSOR}",
        "causal_conv1d_fn": plain,
        "causal_conv1d": plain,
        "short_conv_fused": fused,
        "short_conv_fused_fn": fused,
        "short_conv_fused_fwd_only": fused,
        "short_conv_update": update,
        "short_conv_update_fn": update,
        "short_conv_update_fwd_only": update,
    }.items():
        assert str(inspect.signature(getattr(package, name))) == text
    for name in ("CausalConv1dMPSFunction", "ShortConvFusedMPSFunction", "ShortConvUpdateMPSFunction"):
        assert issubclass(getattr(package, name), torch.autograd.Function)
        assert getattr(package.autograd, name) is getattr(package, name)
    assert package.causal_conv1d is package.causal_conv1d_fn
    assert package.short_conv_fused is package.short_conv_fused_fn
    assert package.short_conv_update is package.short_conv_update_fn
    assert package.__version__ == "0.1.0"
    assert all(hasattr(package, name) for name in package.__all__)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 3, 64])
def test_causal_conv1d(steps: int, silu: bool, dtype: torch.dtype) -> None:
    x, weight, bias = draw(2, 12, steps, dtype=dtype), draw(12, 4, seed=2), draw(12, seed=3)
    for given in (None, bias):
        want = composition(x.transpose(1, 2), weight, given, None, silu, False).transpose(1, 2)
        out = package.causal_conv1d_fwd(x, weight, given, silu)
        assert out.dtype == dtype
        torch.testing.assert_close(out.double(), want, rtol=0, atol=error_bound(4, dtype))
        for activation in ("silu", "swish") if silu else (None,):
            assert torch.equal(package.causal_conv1d(x, weight, given, activation=activation), out)
        assert torch.equal(package.CausalConv1dMPSFunction.apply(x, weight, given, None, None, False, None, silu), out)


def masks() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Each mask that stands for one of [2, 6], and this."""
    full = draw(2, 6, seed=5) > -0.2
    history = torch.cat([draw(2, 3, seed=6) > 0, full], 1)
    row, column = full[0], torch.tensor([True, False])
    across, down = row.expand(2, 6), column[:, None].expand(2, 6)
    return [
        (full, full),
        (full.to(torch.int64), full),
        (full.to(torch.bfloat16), full),
        (draw(2, 6, seed=7), draw(2, 6, seed=7)),
        (full[:, None, None], full),
        (row[None], across),
        (row, across),
        (down[:, :1], down),
        (column, down),
        (full.T.contiguous(), full),
        (full.flatten(), full),
        (history, history[:, 3:]),
        (history[:1], history[:1, 3:].expand(2, 6)),
        (history[0], history[0, 3:].expand(2, 6)),
    ]


@pytest.mark.parametrize("index", range(14))
def test_masks_of_each_shape(index: int) -> None:
    mask, full = masks()[index]
    x, weight, bias = draw(2, 6, 8), draw(8, 4, seed=2), draw(8, seed=3)
    x[~full.bool()] *= 5
    want = composition(x, weight, bias, full)
    out = package.short_conv_fused(x, weight, bias, mask)
    torch.testing.assert_close(out.double(), want, rtol=0, atol=6 * error_bound(4, torch.float32))
    assert torch.equal(package.short_conv_fused_fwd_only(x, weight, bias, mask), out)
    assert torch.equal(package.ShortConvFusedMPSFunction.apply(x, weight, bias, mask), out)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("silu", [False, True])
def test_short_conv_fused(silu: bool, residual: bool, dtype: torch.dtype) -> None:
    weight, bias, mask = draw(12, 4, seed=2), draw(12, seed=3), draw(2, 33, seed=5) > 0
    for x in (draw(2, 33, 12, dtype=dtype), draw(2, 12, 33, dtype=dtype).transpose(1, 2)):
        out = package.short_conv_fused(x, weight, bias, mask, activation=silu, residual=residual)
        assert out.dtype == dtype
        want = composition(x, weight, bias, mask, silu, residual)
        torch.testing.assert_close(out.double(), want, rtol=0, atol=error_bound(4, dtype))


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("contiguous", [True, False])
def test_steps_are_the_whole(contiguous: bool, dtype: torch.dtype) -> None:
    x, weight, bias = draw(3, 9, 8, dtype=dtype), draw(8, 4, seed=2), draw(8, seed=3)
    want = package.short_conv_fused(x, weight, bias)
    for places in (3, 4, 7):
        state = x.new_zeros(3, 8, places) if contiguous else x.new_zeros(3, places, 8).transpose(1, 2)
        for t in range(9):
            numbers = torch.full((3,), t, dtype=torch.int64 if t % 2 else torch.int32)
            update = package.short_conv_update_fwd_only if t % 3 else package.short_conv_update
            assert torch.equal(update(x[:, t], state, weight, bias, numbers), want[:, t])
            assert torch.equal(state[..., t % places], x[:, t])


def test_a_step_without_numbers_counts_over_the_batch() -> None:
    x, weight = draw(3, 8), draw(8, 4, seed=2)
    state, other = draw(3, 8, 5, seed=4), draw(3, 8, 5, seed=4)
    out = package.short_conv_update(x, state, weight)
    numbers = torch.arange(3, dtype=torch.int32)
    assert torch.equal(package.ShortConvUpdateMPSFunction.apply(x, other, weight, None, numbers), out)
    assert torch.equal(state, other)
    for item in range(3):
        assert torch.equal(state[item, :, item], x[item])


# --- gradients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("silu", [False, True])
def test_gradients_of_sequences(silu: bool) -> None:
    x, weight, bias = draw(2, 7, 6, dtype=F64), draw(6, 4, dtype=F64, seed=2), draw(6, dtype=F64, seed=3)
    wanted = [t.requires_grad_() for t in (x, weight, bias)]
    mask, upstream = draw(2, 7, seed=5) > -0.3, draw(2, 7, 6, dtype=F64, seed=6)

    def compare(got: torch.Tensor, want: torch.Tensor) -> None:
        for ours, theirs in zip(
            torch.autograd.grad(got, wanted, upstream), torch.autograd.grad(want, wanted, upstream), strict=True
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)

    compare(package.short_conv_fused(x, weight, bias, mask, silu), composition(x, weight, bias, mask, silu))
    plain = package.causal_conv1d(x.transpose(1, 2), weight, bias, activation="silu" if silu else None)
    compare(plain.transpose(1, 2), composition(x, weight, bias, None, silu, False))
    assert not package.causal_conv1d_fwd(x.transpose(1, 2), weight, bias).requires_grad
    assert not package.short_conv_fused_fwd_only(x, weight, bias, mask).requires_grad


@pytest.mark.parametrize("silu", [False, True])
def test_gradients_of_a_step(silu: bool) -> None:
    x, weight, bias = draw(2, 6, dtype=F64), draw(6, 4, dtype=F64, seed=2), draw(6, dtype=F64, seed=3)
    start = draw(2, 6, 5, dtype=F64, seed=4)
    wanted = [t.requires_grad_() for t in (x, weight, bias, start)]
    numbers, upstream = torch.tensor([1, 13], dtype=torch.int32), draw(2, 6, dtype=F64, seed=6)
    got = package.short_conv_update(x, start.clone(), weight, bias, numbers, silu)
    taps = torch.stack(
        [torch.cat([start[item][:, [(number + k) % 5 for k in (2, 3, 4)]], x[item][:, None]], 1)
         for item, number in enumerate(numbers.tolist())]
    )  # fmt: skip
    h = (taps * weight).sum(-1) + bias
    want = x + (F.silu(h) if silu else h)
    for ours, theirs in zip(
        torch.autograd.grad(got, wanted, upstream), torch.autograd.grad(want, wanted, upstream), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert not package.short_conv_update_fwd_only(x, start.detach().clone(), weight, bias, numbers).requires_grad


# --- errors -----------------------------------------------------------------------------------------------------------


def test_what_is_not_supported() -> None:
    x, weight = draw(2, 8, 5), draw(8, 4)
    for options in (
        {"activation": "relu"},
        {"activation": True},
        {"seq_idx": torch.zeros(2, 5, dtype=torch.int32)},
        {"initial_states": torch.zeros(2, 8, 3)},
        {"return_final_states": True},
    ):
        with pytest.raises(NotImplementedError, match=next(iter(options))):
            package.causal_conv1d(x, weight, **options)


def test_errors_have_the_originals_words() -> None:
    x, weight, bias = draw(2, 4, 8), draw(4, 4), draw(4)
    step, state = draw(2, 4), draw(2, 4, 5)
    before = state.clone()
    refused: list[tuple[Any, str]] = [
        (lambda: package.causal_conv1d_fwd(x, draw(5, 4)), "Input dim 4 does not match weight dim 5"),
        (lambda: package.causal_conv1d_fwd(x[0], weight), "Expected 3D input tensor .batch, dim, seqlen., got 2D"),
        (lambda: package.causal_conv1d(x, weight[0]), "Expected 2D weight tensor .dim, width., got 1D"),
        (lambda: package.causal_conv1d(x, weight, bias[None]), "Expected 1D bias tensor, got 2D"),
        (lambda: package.causal_conv1d(x, weight, bias[:3]), "Bias dim 3 does not match input dim 4"),
        (lambda: package.short_conv_fused(step, weight), "Expected 3D input tensor .batch, seqlen, dim., got 2D"),
        (lambda: package.short_conv_fused(x, weight), "Input dim 8 does not match weight dim 4"),
        (lambda: package.short_conv_fused(x.mT, weight, None, torch.ones(2, 5)), "attention_mask"),
        (lambda: package.short_conv_fused_fwd_only(x.mT, weight, None, torch.ones(3, 8)), "attention_mask"),
        (lambda: package.short_conv_update(x, state, weight), "Expected 2D input tensor .batch, dim., got 3D"),
        (lambda: package.short_conv_update(step, step, weight), "Expected 3D conv_state tensor"),
        (lambda: package.short_conv_update(step, state[:1], weight), "doesn't match conv_state batch/dim .1, 4."),
        (lambda: package.short_conv_update(step, state[..., :2], weight), "conv_state"),
        (lambda: package.short_conv_update(step, state, weight, cache_seqlens=torch.zeros(2, 1)), "1D cache_seqlens"),
        (
            lambda: package.short_conv_update(step, state, weight, cache_seqlens=torch.zeros(3, dtype=torch.int32)),
            "cache_seqlens batch size 3 != input batch 2",
        ),
    ]
    for call, message in refused:
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert isinstance(caught.value, melisma.InvalidArgument)
    assert torch.equal(state, before)


def test_another_device_is_refused() -> None:
    x, weight, state = draw(2, 4), draw(4, 4), draw(2, 4, 3)
    elsewhere = "meta"
    for name, call in {
        "weight": lambda: package.causal_conv1d_fwd(x[..., None], weight.to(elsewhere)),
        "bias": lambda: package.causal_conv1d(x[..., None], weight, torch.zeros(4, device=elsewhere)),
        "attention_mask": lambda: package.short_conv_fused(
            x[:, None], weight, None, torch.ones(2, 1, device=elsewhere)
        ),
        "conv_state": lambda: package.short_conv_update(x, state.to(elsewhere), weight),
        "cache_seqlens": lambda: package.short_conv_update(
            x, state, weight, None, torch.zeros(2, dtype=torch.int32, device=elsewhere)
        ),
    }.items():
        with pytest.raises(ValueError, match=f"{name} must be on x's device {x.device}, got meta"):
            call()
