"""melisma.causal_conv1d and its relatives: against PyTorch, against each other bit for bit, and on bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import melisma
from melisma import _core

Array = np.ndarray[Any, Any]

# Half a unit in the last place near 1.
ROUNDING = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8, torch.float32: 2.0**-24, torch.float64: 2.0**-53}
FLOATS = list(ROUNDING)


def composition(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    activation: str | None,
    initial: torch.Tensor | None,
) -> torch.Tensor:
    """Give the convolution of [B, D, T] out of PyTorch's operators, in the dtype of `x`."""
    taps = weight.shape[1]
    before = x.new_zeros(*x.shape[:2], taps - 1) if initial is None else initial
    padded = torch.cat([before, x], -1)
    if x.shape[-1] == 0:
        return x
    y = torch.nn.functional.conv1d(padded, weight[:, None], bias, groups=x.shape[1])
    return torch.nn.functional.silu(y) if activation else y


def draw(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> torch.Tensor:
    return (2 * torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1).to(dtype)


def error_bound(taps: int, dtype: torch.dtype) -> float:
    """Values and weights below 1: roundings of W + 1 terms in float32, silu's, and one to the dtype."""
    inside = 2.0**-53 if dtype == torch.float64 else 2.0**-24
    return 2 * inside * (taps + 4) * (taps + 1) + ROUNDING[dtype] * (taps + 1)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("taps", [1, 2, 3, 4, 7, 32])
def test_against_pytorch_in_float64(taps: int, dtype: torch.dtype) -> None:
    for steps in (0, 1, taps - 2, taps - 1, 50, 200):
        if steps < 0:
            continue
        x, initial = draw((2, 19, steps), dtype, 1), draw((2, 19, taps - 1), dtype, 2)
        weight, bias = draw((19, taps), torch.float32, 3), draw((19,), torch.float32, 4)
        for activation in (None, "silu"):
            wide = [t.double() for t in (x, weight, bias, initial)]
            want = composition(wide[0], wide[1], wide[2], activation, wide[3])
            out, final = melisma.causal_conv1d(
                x, weight, bias, initial_states=initial, return_final_states=True, activation=activation
            )
            assert out.dtype == x.dtype
            assert out.shape == x.shape
            torch.testing.assert_close(out.double(), want, rtol=0, atol=error_bound(taps, dtype))
            assert torch.equal(final, torch.cat([initial, x], -1)[..., steps:])
            last = melisma.causal_conv1d(
                x.transpose(1, 2).contiguous(), weight, bias, initial_states=initial, activation=activation,
                channels_last=True,
            )  # fmt: skip
            assert torch.equal(last.transpose(1, 2), out)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_strides_of_results(dtype: type) -> None:
    x = np.zeros((2, 5, 9), dtype)
    weight = np.zeros((5, 4), dtype)
    assert melisma.causal_conv1d(x, weight).strides == x.strides
    last = np.zeros((2, 9, 5), dtype)
    assert melisma.causal_conv1d(last, weight, channels_last=True).strides == last.strides
    assert melisma.causal_conv1d(last.swapaxes(1, 2), weight).strides == last.swapaxes(1, 2).strides
    out = np.full((2, 5, 18), 7, dtype)
    assert melisma.causal_conv1d(x, weight, out=out[..., ::2]) is not None
    assert (out[..., ::2] == 0).all()
    assert (out[..., 1::2] == 7).all()


def test_bfloat16_of_ml_dtypes() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = draw((1, 6, 30), torch.bfloat16, 1)
    weight = draw((6, 4), torch.bfloat16, 2)
    as_numpy = x.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    got = melisma.causal_conv1d(as_numpy, weight.float().numpy(), activation="silu")
    assert got.dtype == ml_dtypes.bfloat16
    want = melisma.causal_conv1d(x, weight, activation="silu")
    assert got.tobytes() == want.view(torch.int16).numpy().tobytes()


@st.composite
def splits(draw_: st.DrawFn) -> tuple[int, list[int], int, bool, str | None, int]:
    """Width, lengths, channels, whether channel-last, activation, seed."""
    lengths = draw_(st.lists(st.one_of(st.integers(0, 4), st.integers(0, 80)), min_size=1, max_size=8))
    return (
        draw_(st.sampled_from([1, 2, 3, 4, 5, 9])),
        lengths,
        draw_(st.sampled_from([1, 3, 16, 17, 40])),
        draw_(st.booleans()),
        draw_(st.sampled_from([None, "silu"])),
        draw_(st.integers(0, 1000)),
    )


def arrays(taps: int, steps: int, channels: int, last: bool, seed: int, batch: int = 1) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch, steps, channels)).astype(np.float32).swapaxes(1, 2)
    weight, bias = rng.standard_normal((channels, taps)), rng.standard_normal(channels)
    return x if last else np.ascontiguousarray(x), weight.astype(np.float32), bias.astype(np.float32)


@given(splits())
@settings(max_examples=60)
def test_chunks_equal_the_whole(case: tuple[int, list[int], int, bool, str | None, int]) -> None:
    taps, lengths, channels, last, activation, seed = case
    x, weight, bias = arrays(taps, sum(lengths), channels, last, seed, batch=2)
    whole, final = melisma.causal_conv1d(x, weight, bias, activation=activation, return_final_states=True)
    state, parts, first = np.zeros((2, channels, taps - 1), np.float32), [], 0
    for count in lengths:
        part, state = melisma.causal_conv1d(
            x[..., first : first + count], weight, bias, initial_states=state, return_final_states=True,
            activation=activation,
        )  # fmt: skip
        parts.append(part)
        first += count
    assert np.concatenate(parts, -1).tobytes() == whole.tobytes()
    assert state.tobytes() == final.tobytes()


@given(splits())
@settings(max_examples=60)
def test_packed_equals_separate(case: tuple[int, list[int], int, bool, str | None, int]) -> None:
    taps, lengths, channels, last, activation, seed = case
    x, weight, bias = arrays(taps, sum(lengths), channels, last, seed)
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    initial = np.random.default_rng(seed + 1).standard_normal((len(lengths), channels, taps - 1)).astype(np.float32)
    packed, final = melisma.causal_conv1d(
        x, weight, bias, cu_seqlens=bounds, initial_states=initial, return_final_states=True, activation=activation
    )
    for i, count in enumerate(lengths):
        part, state = melisma.causal_conv1d(
            x[..., bounds[i] : bounds[i] + count], weight, bias, initial_states=initial[i : i + 1],
            return_final_states=True, activation=activation,
        )  # fmt: skip
        assert part.tobytes() == packed[..., bounds[i] : bounds[i] + count].tobytes()
        assert state[0].tobytes() == final[i].tobytes()
    seq_idx = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)[None]
    by_index = melisma.causal_conv1d(x, weight, bias, seq_idx=seq_idx, activation=activation)
    without = melisma.causal_conv1d(x, weight, bias, cu_seqlens=bounds.astype(np.int32), activation=activation)
    assert by_index.tobytes() == without.tobytes()


@given(splits(), st.booleans())
@settings(max_examples=40)
def test_steps_equal_the_whole(case: tuple[int, list[int], int, bool, str | None, int], ring: bool) -> None:
    taps, lengths, channels, last, activation, seed = case
    x, weight, bias = arrays(taps, sum(lengths), channels, last, seed, batch=3)
    whole = melisma.causal_conv1d(x, weight, bias, activation=activation)
    state = np.zeros((5, channels, taps + seed % 3), np.float32)
    rows, first = np.array([4, 0, 2], np.int32), 0
    for count in lengths:
        part = melisma.causal_conv1d_update(
            x[..., first : first + count], state, weight, bias, activation,
            cache_seqlens=np.full(3, first, np.int32) if ring else None, conv_state_indices=rows,
        )  # fmt: skip
        assert part.tobytes() == whole[..., first : first + count].tobytes()
        first += count
    assert not state[[1, 3]].any()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("activation", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_short_conv_fused(dtype: torch.dtype, activation: bool, residual: bool) -> None:
    x, weight, bias = draw((3, 20, 8), dtype, 1), draw((8, 4), torch.float32, 2), draw((8,), torch.float32, 3)
    mask = torch.rand(3, 20, generator=torch.Generator().manual_seed(4)) < 0.7
    wide = (x.double() * mask[..., None]).transpose(1, 2)
    want = composition(wide, weight.double(), bias.double(), "silu" if activation else None, None).transpose(1, 2)
    if residual:
        want = want + x.double()
    got = melisma.short_conv_fused(x, weight, bias, mask, activation, residual)
    torch.testing.assert_close(got.double(), want, rtol=0, atol=2 * error_bound(5, dtype))
    assert got.stride() == x.stride()


def test_mask_shapes() -> None:
    rng = np.random.default_rng(1)
    x, weight = rng.standard_normal((3, 5, 2)).astype(np.float32), rng.standard_normal((2, 4)).astype(np.float32)

    def fused(mask: Any) -> bytes:
        return bytes(melisma.short_conv_fused(x, weight, None, mask).tobytes())

    full = rng.integers(0, 2, (3, 5))
    want = fused(full)
    assert (
        want == fused(full.astype(bool)) == fused(full.astype(np.float64)) == fused(full.T) == fused(full.reshape(-1))
    )
    assert want == fused(np.concatenate([np.ones((3, 4)), full], 1)) == fused(torch.tensor(full))
    row = full[:1]
    assert fused(np.repeat(row, 3, 0)) == fused(row) == fused(row[0]) == fused(np.concatenate([[1] * 20, row[0]]))
    column = np.array([[1], [0], [2]])
    assert fused(np.repeat(column, 5, 1)) == fused(column) == fused(column[:, 0])
    assert fused(None) == fused(True) == fused(1.0) == fused(np.ones((3, 5)))
    with pytest.raises(melisma.InvalidArgument, match=r"short_conv_fused: attention_mask .*got \(4,\)"):
        fused(np.ones(4))


def test_short_conv_update_is_a_step_of_short_conv_fused() -> None:
    rng = np.random.default_rng(2)
    x, weight = rng.standard_normal((2, 11, 6)).astype(np.float32), rng.standard_normal((6, 4)).astype(np.float32)
    bias = rng.standard_normal(6).astype(np.float32)
    whole = melisma.short_conv_fused(x, weight, bias)
    state = np.zeros((2, 6, 4), np.float32)
    for t in range(11):
        got = melisma.short_conv_update(x[:, t], state, weight, bias, np.full(2, t, np.int32))
        assert got.tobytes() == whole[:, t].tobytes()
    a, b = state.copy(), state.copy()
    first = melisma.short_conv_update(x[:, 0], a, weight)
    assert (
        first.tobytes() == melisma.short_conv_update(x[:, 0], b, weight, None, np.arange(2, dtype=np.int32)).tobytes()
    )
    assert a.tobytes() == b.tobytes()


def test_padding_rows() -> None:
    rng = np.random.default_rng(3)
    state = rng.standard_normal((3, 6, 3)).astype(np.float32)
    before = state.copy()
    x, weight = rng.standard_normal((2, 6)).astype(np.float32), rng.standard_normal((6, 4)).astype(np.float32)
    got = melisma.causal_conv1d_update(x, state, weight, conv_state_indices=np.array([-1, 1], np.int32))
    assert not got[0].any()
    assert got[1].any()
    assert state[[0, 2]].tobytes() == before[[0, 2]].tobytes()
    assert (state[1, :, :2] == before[1, :, 1:]).all()
    assert (state[1, :, 2] == x[1]).all()


@pytest.mark.parametrize("activation", [None, "silu"])
def test_gradients_against_autograd(activation: str | None) -> None:
    for dtype, atol in ((torch.float64, 1e-13), (torch.float32, 2e-5)):
        x, initial = draw((2, 7, 1100), dtype, 1), draw((2, 7, 3), dtype, 2)
        weight, bias = draw((7, 4), dtype, 3), draw((7,), dtype, 4)
        above, above_states = draw((2, 7, 1100), dtype, 5), draw((2, 7, 3), dtype, 6)
        leaves = [t.double().clone().requires_grad_() for t in (x, weight, bias, initial)]
        out = composition(leaves[0], leaves[1], leaves[2], activation, leaves[3])
        final = torch.cat([leaves[3], leaves[0]], -1)[..., -3:]
        loss = (out * above.double()).sum() + (final * above_states.double()).sum()
        wants = torch.autograd.grad(loss, leaves)
        gots = _core.causal_conv1d_backward(
            above.numpy(), above_states.numpy(), x.numpy(), weight.numpy(), bias.numpy(), None, None, None,
            initial.numpy(), activation is not None, False,
        )  # fmt: skip
        for got, want in zip(gots, wants, strict=True):
            assert torch.from_numpy(got).dtype == dtype
            scale = max(1.0, float(want.abs().max()))
            torch.testing.assert_close(torch.from_numpy(got).double(), want, rtol=0, atol=atol * scale)


@pytest.mark.parametrize("dtype", FLOATS[:3])  # float64 is what the exact result is computed in
def test_no_further_from_the_exact_result_than_pytorch(dtype: torch.dtype) -> None:
    x, weight, bias = draw((2, 64, 500), dtype, 1), draw((64, 4), dtype, 2), draw((64,), dtype, 3)
    exact = composition(x.double(), weight.double(), bias.double(), "silu", None)
    ours = (melisma.causal_conv1d(x, weight, bias, activation="silu").double() - exact).abs()
    theirs = (composition(x, weight, bias, "silu", None).double() - exact).abs()
    assert float(ours.mean()) <= 1.05 * float(theirs.mean())
    assert float(ours.max()) <= 1.5 * float(theirs.max())


def test_errors_name_argument_limit_and_value() -> None:
    x, weight = np.zeros((1, 3, 10), np.float32), np.zeros((3, 4), np.float32)
    bad = melisma.InvalidArgument
    for error, match, kwargs in (
        (bad, r"causal_conv1d: weight must have the shape \[3, W\], got \[2, 4\]", {"weight": weight[:2]}),
        (bad, r"causal_conv1d: weight must have 1 to 32 taps, got 33", {"weight": np.zeros((3, 33), np.float32)}),
        (bad, r"causal_conv1d: bias must have the shape \[3\], got \[4\]", {"bias": weight[0]}),
        (bad, r"causal_conv1d: activation must be None, 'silu' or 'swish', got 'relu'", {"activation": "relu"}),
        (bad, r"cu_seqlens must end with the 10 steps of x, got 9", {"cu_seqlens": np.array([0, 9])}),
        (bad, r"cu_seqlens must not descend, got 3 after 5 at 2", {"cu_seqlens": np.array([0, 5, 3, 10])}),
        (bad, r"initial_states must have the shape \[1, 3, 3\]", {"initial_states": np.zeros((1, 3, 4), np.float32)}),
        (bad, r"out must not overlap", {"out": x}),
        (melisma.InvalidType, r"x must be native float16, .*got dtype int16", {"x": x.astype(np.int16)}),
        (melisma.InvalidType, r"seq_idx must be int32, got int64", {"seq_idx": np.zeros((1, 10), np.int64)}),
        (melisma.InvalidType, r"seq_idx must be native int32 or int64", {"seq_idx": np.zeros((1, 10))}),
        (melisma.InvalidType, r"out must be float32, got float64", {"out": np.zeros((1, 3, 10))}),
    ):
        with pytest.raises(error, match=match):
            melisma.causal_conv1d(**{"x": x, "weight": weight, **kwargs})
    state = np.ones((2, 3, 3), np.float32)
    for match, kwargs in (
        (
            r"conv_state_indices must be below 2 or the padding's -1, got 2 at 0",
            {"conv_state_indices": np.array([2], np.int32)},
        ),
        (r"conv_state must keep at least the 3 taps before a step, got 2", {"conv_state": state[..., :2]}),
        (r"cache_seqlens must be 0 to \d+, got -1 at 0", {"cache_seqlens": np.array([-1], np.int32)}),
        (r"num_accepted_tokens must be 1 to 1, got 2 at 0", {"num_accepted_tokens": np.array([2], np.int32)}),
    ):
        with pytest.raises(bad, match=match):
            melisma.causal_conv1d_update(**{"x": x[..., 0], "conv_state": state, "weight": weight, **kwargs})
    assert (state == 1).all()
    read_only = state.copy()
    read_only.flags.writeable = False
    with pytest.raises(bad, match="conv_state must be a writable array"):
        melisma.causal_conv1d_update(x[..., 0], read_only, weight)


def test_states_in_rows_of_a_pool() -> None:
    """Packed sequences with a row each, in place: as one call for each, and nothing where there is no row."""
    lengths, rows, held = [7, 0, 1, 2], [4, 1, -1, 3], [False, True, True, True]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 6, sum(lengths))).astype(np.float32)
    weight, pool = rng.standard_normal((6, 4)).astype(np.float32), rng.standard_normal((5, 6, 3)).astype(np.float32)
    want_pool, outs = pool.copy(), []
    for piece, row, has_state in zip(np.split(x, np.cumsum(lengths)[:-1], 2), rows, held, strict=True):
        initial = want_pool[row : row + 1] if has_state and row >= 0 else np.zeros((1, 6, 3), np.float32)
        out, states = melisma.causal_conv1d(piece, weight, initial_states=initial, return_final_states=True)
        outs.append(out)
        if row >= 0:
            want_pool[row] = states[0]
    got = melisma.causal_conv1d(
        x,
        weight,
        cu_seqlens=np.cumsum([0, *lengths]),
        initial_states=pool,
        final_states_out=pool,
        state_indices=np.array(rows, np.int32),
        has_initial_state=np.array(held),
    )
    assert got.tobytes() == np.concatenate(outs, 2).tobytes()
    assert pool.tobytes() == want_pool.tobytes()
    with pytest.raises(melisma.InvalidType, match="has_initial_state must be bool or uint8, got int64"):
        melisma.causal_conv1d(x, weight, initial_states=pool, has_initial_state=np.ones(1, np.int64))
