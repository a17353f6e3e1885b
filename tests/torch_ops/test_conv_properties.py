"""The convolution on tensors, whatever the sizes: cut, packed and step by step it has the bits of one call."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import melisma
import melisma.torch  # the operators under test
from torch_device import DEVICE
from torch_ops.common import generator, randn
from torch_ops.conv_common import ROUNDING, SETTINGS, arguments, ints, operator, reference

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
LENGTHS = st.lists(st.one_of(st.integers(0, 4), st.integers(0, 90)), min_size=1, max_size=6)


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    """Signal, weights and options of any kind, and the lengths of the pieces that the signal is made of."""
    lengths = draw(LENGTHS)
    channels = draw(st.sampled_from([1, 3, 8, 17, 40]))
    dtype, width = draw(st.sampled_from(DTYPES)), draw(st.sampled_from([1, 2, 3, 4, 5, 9]))
    last, seed = draw(st.booleans()), draw(st.integers(0, 1000))
    steps = sum(lengths)
    shape = (steps, channels) if last else (channels, steps)
    return {
        "lengths": lengths,
        "x": randn(1, *shape, dtype=dtype, seed=seed),
        "weight": randn(channels, width, dtype=torch.float32, seed=seed + 1),
        "bias": randn(channels, dtype=dtype, seed=seed + 2) if draw(st.booleans()) else None,
        "initial": randn(1, channels, width - 1, dtype=dtype, seed=seed + 3) if draw(st.booleans()) else None,
        "options": {
            "activation": draw(st.sampled_from([None, "silu"])),
            "channels_last": last,
        },
    }


def run(call: dict[str, Any], x: torch.Tensor, initial: Any, **more: Any) -> Any:
    return melisma.causal_conv1d(
        x, call["weight"], call["bias"], initial_states=initial, return_final_states=True, **call["options"], **more
    )


@given(calls())
@settings(deadline=None, max_examples=40)
def test_cut_anywhere(call: dict[str, Any]) -> None:
    axis = 1 if call["options"]["channels_last"] else 2
    want, want_states = run(call, call["x"], call["initial"])
    pieces, states = [], call["initial"]
    for piece in call["x"].split(call["lengths"], axis):
        out, states = run(call, piece, states)
        pieces.append(out)
    assert torch.equal(torch.cat(pieces, axis), want)
    assert torch.equal(states, want_states)


@given(calls())
@settings(deadline=None, max_examples=40)
def test_packed_is_separate(call: dict[str, Any]) -> None:
    """By cu_seqlens, and by seq_idx where there are no states before the first steps: values and gradients of the signal."""
    axis = 1 if call["options"]["channels_last"] else 2
    lengths, x, weight = call["lengths"], call["x"], call["weight"]
    initial = randn(len(lengths), weight.shape[0], weight.shape[1] - 1, dtype=x.dtype, seed=9)
    separate = [run(call, piece, initial[i : i + 1]) for i, piece in enumerate(x.split(lengths, axis))]
    cu = ints(0, *torch.tensor(lengths, device="cpu").cumsum(0).tolist())
    out, states = run(call, x, initial, cu_seqlens=cu)
    assert torch.equal(out, torch.cat([each[0] for each in separate], axis))
    assert torch.equal(states, torch.cat([each[1] for each in separate]))

    seq_idx = torch.repeat_interleave(torch.arange(len(lengths), device="cpu"), torch.tensor(lengths, device="cpu"))
    by_index = run(call, x, None, seq_idx=seq_idx.int()[None].to(DEVICE))[0]
    assert torch.equal(by_index, run(call, x, None, cu_seqlens=cu)[0])


@given(calls())
@settings(deadline=None, max_examples=25)
def test_decoding_is_prefill(call: dict[str, Any]) -> None:
    """Step by step, with a shifting state and with a ring, in and out of chunks."""
    axis = 1 if call["options"]["channels_last"] else 2
    x, weight, bias = call["x"], call["weight"], call["bias"]
    activation, width = call["options"]["activation"], call["weight"].shape[1]
    want, want_states = run(call, x, None)
    steps = x.transpose(1, 2) if axis == 1 else x
    shifting = torch.zeros(1, weight.shape[0], width - 1, dtype=x.dtype, device=DEVICE)
    ring = torch.zeros(1, weight.shape[0], width + 2, dtype=x.dtype, device=DEVICE)
    for t, want_step in enumerate((want.transpose(1, 2) if axis == 1 else want).unbind(-1)):
        got = melisma.causal_conv1d_update(steps[..., t], shifting, weight, bias, activation)
        assert torch.equal(got, want_step)
        got = melisma.causal_conv1d_update(steps[..., t], ring, weight, bias, activation, cache_seqlens=ints(t))
        assert torch.equal(got, want_step)
    assert torch.equal(shifting, want_states)
    in_chunks = torch.zeros_like(shifting)
    chunks = [
        melisma.causal_conv1d_update(chunk, in_chunks, weight, bias, activation)
        for chunk in steps.split(call["lengths"], 2)
    ]
    assert torch.equal(torch.cat(chunks, 2), want.transpose(1, 2) if axis == 1 else want)
    assert torch.equal(in_chunks, want_states)


@given(calls())
@settings(deadline=None, max_examples=25)
def test_layout_changes_no_bit(call: dict[str, Any]) -> None:
    """Channel-last, transposed and strided signals: the same values, in the signal's own order in memory."""
    x = call["x"]
    want, want_states = run(call, x, call["initial"])
    assert want.is_contiguous()
    for other in (
        x.transpose(1, 2).contiguous().transpose(1, 2),
        x[..., None].expand(*x.shape, 2).contiguous()[..., 0],
        x.flip(-1).contiguous().flip(-1),
    ):
        got, states = run(call, other, call["initial"])
        assert torch.equal(got, want)
        assert torch.equal(states, want_states)
        if other.numel() and min(other.shape[1:]) > 1:
            assert (got.stride(-2) == 1) == (other.stride(-2) == 1)
    out = torch.full_like(want, float("nan"))
    states = torch.full_like(want_states, float("nan"))
    result = run(call, x, call["initial"], out=out, final_states_out=states)
    assert result[0] is out
    assert result[1] is states
    assert torch.equal(out, want)
    assert torch.equal(states, want_states)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 32])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_definition(setting: str, width: int, dtype: torch.dtype) -> None:
    """Rounded once from float32 (float64), for every dtype of signal and weights."""
    for weight_dtype in (dtype, torch.float32):
        made = {n: t.detach() for n, t in arguments(setting, width, dtype, weight_dtype).items()}
        wide = {n: t.double() if t.is_floating_point() else t for n, t in made.items()}
        inner = torch.float64 if dtype == torch.float64 else torch.float32
        magnitude = {n: t.abs() if t.is_floating_point() else t for n, t in wide.items()}
        for silu, residual in ((False, False), (True, True)):
            got, got_states = operator(**made, silu=silu, residual=residual)
            want, want_states = reference(**wide, silu=silu, residual=residual)
            assert got.dtype == got_states.dtype == dtype
            bound = 2 * (width + 6) * ROUNDING[inner] * reference(**magnitude, residual=residual)[0]
            assert bool(((got.double() - want).abs() <= bound + ROUNDING[dtype] * want.abs() + 2.0**-25).all())
            assert torch.equal(got_states.double(), want_states)


def fused(x: torch.Tensor, mask: Any, **more: Any) -> torch.Tensor:
    weight = randn(x.shape[-1], 4, dtype=torch.float32, seed=2)
    y = melisma.short_conv_fused(x, weight, None, mask, **more)
    assert isinstance(y, torch.Tensor)
    return y


def test_masks_of_every_shape_and_kind() -> None:
    x = randn(3, 20, 8, dtype=torch.float32)
    full = torch.rand(3, 20, generator=generator(4), device="cpu").to(DEVICE) < 0.7
    want = fused(x * full[..., None], None, residual=False)
    for mask in (
        full,
        full.float(),
        full.double(),
        full.int(),
        full.bfloat16(),
        full.T,
        full.reshape(-1),
        full[:, None, None],
        torch.cat([torch.ones(3, 4, dtype=torch.bool, device=DEVICE), full], 1),
        full.cpu().numpy(),
    ):
        assert torch.equal(fused(x, mask, residual=False), want)
    assert torch.equal(fused(x, full[:1]), fused(x, full[:1].expand(3, -1)))
    assert torch.equal(fused(x, full[0]), fused(x, full[:1].expand(3, -1)))
    assert torch.equal(fused(x, full[:, :1]), fused(x, full[:, :1].expand(-1, 20)))
    assert torch.equal(fused(x, full[:, 0]), fused(x, full[:, :1].expand(-1, 20)))
    assert torch.equal(fused(x, 0.0), x)
    with pytest.raises(melisma.InvalidArgument, match="attention_mask"):
        fused(x, full[:, :7])


def test_fused_takes_all_at_once() -> None:
    """Mask, packed sequences and states: as the operator of the definition."""
    made = arguments("cu_seqlens with states", 4)
    x = made["x"].transpose(1, 2)
    out, states = melisma.short_conv_fused(
        x,
        made["weight"],
        made["bias"],
        made["mask"],
        cu_seqlens=made["cu_seqlens"],
        initial_states=made["initial_states"],
        return_final_states=True,
    )
    want, want_states = reference(**made, silu=True, residual=True)
    torch.testing.assert_close(out.transpose(1, 2), want, rtol=1e-12, atol=1e-12)
    assert torch.equal(states, want_states)


def _ring(state: torch.Tensor, cache_seqlens: torch.Tensor, width: int) -> torch.Tensor:
    places = (cache_seqlens[:, None].long() - (width - 1) + torch.arange(width - 1, device=DEVICE)) % state.shape[-1]
    return state.gather(2, places[:, None].expand(-1, state.shape[1], -1))


@pytest.mark.parametrize("kind", ["shifting", "ring", "accepted", "rows"])
@pytest.mark.parametrize("steps", [None, 3])
def test_gradients_of_a_step(kind: str, steps: int | None) -> None:
    """With respect to the new steps, weights, bias and what the state held; the state takes the bits that it takes without."""
    shape = (2, 5) if steps is None else (2, 5, steps)
    x, weight, bias = randn(*shape, grad=True), randn(5, 4, seed=2, grad=True), randn(5, seed=3, grad=True)
    held = randn(4 if kind == "rows" else 2, 5, 8, seed=4, grad=True)
    given: dict[str, Any] = {}
    rows = held[:2]
    if kind == "ring":
        given["cache_seqlens"] = ints(3, 11)
        before = _ring(held, given["cache_seqlens"], 4)
    elif kind == "accepted":
        given["num_accepted_tokens"] = ints(1, 3)
        before = torch.stack([held[0, :, 0:3], held[1, :, 2:5]])
    else:
        if kind == "rows":
            given["conv_state_indices"] = ints(2, -1)
            rows = torch.stack([held[2], torch.zeros_like(held[0])])
        before = rows[..., -3:]
    signal = x[..., None] if steps is None else x
    want = reference(signal, weight, bias, initial_states=before, silu=True, residual=True)[0]
    if kind == "rows":
        want = want * torch.tensor([1.0, 0.0], device=DEVICE, dtype=torch.float64)[:, None, None]
    want = want.reshape(shape)

    plain_state, state = held.detach().clone(), held.clone()
    plain = melisma.causal_conv1d_update(
        x.detach(), plain_state, weight.detach(), bias.detach(), "silu", residual=True, **given
    )
    got = melisma.causal_conv1d_update(x, state, weight, bias, "silu", residual=True, **given)
    assert torch.equal(got, plain)
    assert torch.equal(state, plain_state)
    above = randn(*shape, seed=5)
    inputs = (x, weight, bias, held)
    for one, other in zip(*(torch.autograd.grad(y, inputs, above) for y in (got, want)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_sizes_without_elements() -> None:
    for shape in ((0, 5, 9), (2, 5, 0), (0, 5, 0), (2, 0, 9)):
        x = randn(*shape, grad=True)
        weight, bias = randn(shape[1], 4, grad=True), randn(shape[1], grad=True)
        out, states = melisma.causal_conv1d(x, weight, bias, return_final_states=True, activation="silu")
        assert out.shape == x.shape
        assert states.shape == (*shape[:2], 3)
        gradients = torch.autograd.grad(out.sum() + states.sum(), (x, weight, bias))
        assert [g.shape for g in gradients] == [x.shape, weight.shape, bias.shape]
        assert not gradients[1].any()
        assert not gradients[2].any()


def test_any_leading_axes() -> None:
    x, weight = randn(2, 3, 4, 5, 9, dtype=torch.float32), randn(5, 4, dtype=torch.float32)
    assert torch.equal(
        melisma.causal_conv1d(x, weight).reshape(24, 5, 9), melisma.causal_conv1d(x.reshape(24, 5, 9), weight)
    )
    assert torch.equal(melisma.causal_conv1d(x[0, 0, 0], weight), melisma.causal_conv1d(x, weight)[0, 0, 0])


@pytest.mark.parametrize("channels_last", [False, True])
def test_prompts_and_steps_in_one_call_on_a_pool(channels_last: bool) -> None:
    """Packed sequences of any lengths, each with its row of a pool that changes in place: as one call for each."""
    lengths, rows, held = [7, 0, 1, 2, 40, 1], [4, 1, 0, -1, 6, 3], [False, True, True, True, False, True]
    weight, bias = randn(16, 4, dtype=torch.float32, seed=2), randn(16, dtype=torch.float32, seed=3)
    x = randn(1, sum(lengths), 16, dtype=torch.bfloat16)
    pool = randn(8, 16, 3, dtype=torch.float32, seed=4)
    want_pool, outs = pool.clone(), []
    for piece, row, has_state in zip(x.split(lengths, 1), rows, held, strict=True):
        initial = want_pool[row : row + 1] if has_state and row >= 0 else torch.zeros(1, 16, 3, device=DEVICE)
        states = torch.empty_like(initial)
        out, _ = melisma.causal_conv1d(
            piece, weight, bias, initial_states=initial, final_states_out=states, return_final_states=True,
            activation="silu", channels_last=True,
        )  # fmt: skip
        outs.append(out)
        if row >= 0:
            want_pool[row] = states[0]
    version = pool._version
    given: dict[str, Any] = {
        "cu_seqlens": ints(0, *torch.tensor(lengths, device="cpu").cumsum(0).tolist()),
        "initial_states": pool,
        "final_states_out": pool,
        "state_indices": ints(*rows),
        "has_initial_state": torch.tensor(held, device=DEVICE),
        "activation": "silu",
        "channels_last": channels_last,
    }
    signal = x if channels_last else x.transpose(1, 2).contiguous()
    got = melisma.causal_conv1d(signal, weight, bias, **given)
    assert torch.equal(got if channels_last else got.transpose(1, 2), torch.cat(outs, 1))
    assert torch.equal(pool, want_pool)
    assert pool._version > version
    weight.requires_grad_()
    with pytest.raises(melisma.InvalidArgument, match="gradient"):
        melisma.causal_conv1d(signal, weight, bias, **given)
    assert torch.equal(pool, want_pool)
