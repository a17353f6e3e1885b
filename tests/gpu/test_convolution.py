"""The causal convolution on the GPU: values of every kernel against float64, sequences, steps, and what must not wait.

What the convolution has in common with the other operators (graphs, streams, runs alike, memory, torch.compile) is tested with
them, by the cases of gpu.common.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch

import melisma
from gpu.common import CUDA, needs_gpu, randn
from torch_ops.conv_common import reference

pytestmark = needs_gpu

ROUNDING = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8, torch.float32: 2.0**-24, torch.float64: 2.0**-53}
LAYOUTS = ["rows", "channels", "odd"]


def uniform(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    """In [-1, 1), for which the bounds are made."""
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 1).to(dtype).to(CUDA)


def placed(x: torch.Tensor, layout: str) -> torch.Tensor:
    """The same [B, D, T] with steps or channels contiguous, or neither."""
    if layout == "rows":
        return x
    if layout == "channels":
        return x.transpose(1, 2).contiguous().transpose(1, 2)
    return torch.stack([x, x], -1)[..., 0]


def bound(width: int, dtype: torch.dtype) -> float:
    """Values and weights below 1: roundings of W + 1 terms, silu's (2^-18 in half precision), and one to the dtype."""
    inside = 2.0**-53 if dtype == torch.float64 else 2.0**-24
    fast = 2.0**-18 if dtype in (torch.float16, torch.bfloat16) else 0.0
    return (2 * inside * (width + 4) + ROUNDING[dtype] + fast) * (width + 2)


def near(got: torch.Tensor, want: torch.Tensor, atol: float, what: object = "") -> None:
    assert torch.isfinite(got).all(), what
    error = float((got.detach().double().cpu() - want.cpu()).abs().max()) if got.numel() else 0.0
    assert error <= atol, (what, error, atol)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 32])
def test_values_and_gradients(width: int, layout: str, dtype: torch.dtype) -> None:
    """Of x, weight, bias and initial states, from out and final states."""
    beside = torch.float64 if dtype == torch.float64 else torch.float32  # of weights and states
    for batch, channels, steps in ((2, 5, 1), (1, 64, 255), (3, 33, 1000), (2, 256, 2051), (1, 8, 20000)):
        x, initial = (
            uniform(batch, channels, steps, dtype=dtype),
            uniform(batch, channels, width - 1, dtype=beside, seed=2),
        )
        weight, bias = uniform(channels, width, dtype=beside, seed=3), uniform(channels, dtype=beside, seed=4)
        above, of_states = uniform(*x.shape, dtype=dtype, seed=5), uniform(*initial.shape, dtype=beside, seed=6)
        what = (batch, channels, steps)
        leaves = [t.clone().requires_grad_() for t in (x, weight, bias, initial)]
        out, states = melisma.causal_conv1d(
            placed(leaves[0], layout), leaves[1], leaves[2], initial_states=leaves[3], return_final_states=True,
            activation="silu",
        )  # fmt: skip
        got = torch.autograd.grad([out, states], leaves, [placed(above, layout), of_states])
        wide = [t.detach().double().cpu().requires_grad_() for t in leaves]
        want_out, want_states = reference(wide[0], wide[1], wide[2], initial_states=wide[3], silu=True)
        want = torch.autograd.grad(
            [want_out, want_states], wide, [above.double().cpu(), of_states.double().cpu()], materialize_grads=True
        )
        near(out, want_out.detach(), bound(width, dtype), what)
        near(states, want_states.detach(), ROUNDING[dtype], what)
        near(got[0], want[0], 3 * (width + 1) * bound(width, dtype), what)
        near(got[3], want[3], 3 * (width + 1) * bound(width, dtype), what)
        # A sum over items and steps: its terms' errors add up as random ones do at most 8 times over.
        term = bound(width, beside) + (2.0**-17 if dtype in (torch.float16, torch.bfloat16) else 0.0)
        total = 8 * (batch * steps) ** 0.5 * term + 2 * ROUNDING[beside] * batch * steps**0.5
        near(got[1], want[1], total, what)
        near(got[2], want[2], total, what)


PACKED = (0, 0, 1, 3, 3, 6, 10, 60, 60, 700, 701, 701)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", ["rows", "channels"])
@pytest.mark.parametrize("width", [2, 4, 6])
def test_packed_sequences(width: int, layout: str, dtype: torch.dtype) -> None:
    """By offsets and, bit for bit the same, each alone and by number."""
    count, channels = len(PACKED) - 1, 40
    cu = torch.tensor(PACKED, dtype=torch.int32, device=CUDA)
    x, initial = (
        placed(uniform(1, channels, PACKED[-1], dtype=dtype), layout),
        uniform(count, channels, width - 1, seed=2),
    )
    weight = uniform(channels, width, seed=3)
    out, states = melisma.causal_conv1d(
        x, weight, cu_seqlens=cu, initial_states=initial, return_final_states=True, activation="silu"
    )
    for i, (start, end) in enumerate(pairwise(PACKED)):
        alone, state = melisma.causal_conv1d(
            x[..., start:end], weight, initial_states=initial[i : i + 1], return_final_states=True, activation="silu"
        )
        assert torch.equal(alone, out[..., start:end]), i
        assert torch.equal(state[0], states[i]), i
    numbers = torch.repeat_interleave(torch.arange(count), torch.tensor(PACKED).diff()).int().to(CUDA)
    by_number = melisma.causal_conv1d(x, weight, seq_idx=numbers[None], activation="silu")
    assert torch.equal(by_number, melisma.causal_conv1d(x, weight, cu_seqlens=cu.long(), activation="silu"))
    wide = [t.double().cpu() for t in (x, weight, initial)]
    want, _ = reference(wide[0], wide[1], cu_seqlens=cu.cpu(), initial_states=wide[2], silu=True)
    near(out, want, bound(width, dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", ["rows", "channels"])
@pytest.mark.parametrize("width", [2, 3, 4, 7])
def test_chunks_and_steps_equal_the_whole(width: int, layout: str, dtype: torch.dtype) -> None:
    """Bit for bit: with states passed on, and step by step on a state in place, shifting and as a ring."""
    batch, channels, steps = 3, 64, 50
    x, weight, bias = (
        placed(uniform(batch, channels, steps, dtype=dtype), layout),
        uniform(channels, width),
        uniform(channels),
    )
    whole = melisma.causal_conv1d(x, weight, bias, activation="silu")
    state, first, parts = None, 0, []
    for length in (1, 1, 0, 2, 20, 3, 23):
        part, state = melisma.causal_conv1d(
            x[..., first : first + length],
            weight,
            bias,
            initial_states=state,
            return_final_states=True,
            activation="silu",
        )
        parts.append(part)
        first += length
    assert torch.equal(torch.cat(parts, -1), whole)
    shifting = torch.zeros(batch, channels, width - 1, dtype=dtype, device=CUDA)
    ring = torch.zeros(batch, channels, width, dtype=dtype, device=CUDA)
    place = torch.zeros(batch, dtype=torch.int32, device=CUDA)
    for t in range(steps):
        one = melisma.causal_conv1d_update(x[..., t], shifting, weight, bias, activation="silu")
        assert torch.equal(one, whole[..., t]), t
        one = melisma.causal_conv1d_update(x[..., t], ring, weight, bias, activation="silu", cache_seqlens=place)
        assert torch.equal(one, whole[..., t]), t
        place += 1


def step_arguments(name: str, dtype: torch.dtype) -> tuple[list[Any], dict[str, Any]]:
    def ints(*values: int) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.int32)

    shape, places = ((4, 96), 3) if name in ("step", "rows by index") else ((4, 96, 3), 7)
    arrays = [
        uniform(*shape, dtype=dtype, seed=1),
        uniform(9, 96, places, dtype=dtype, seed=2),
        uniform(96, 4),
        uniform(96),
    ]
    options: dict[str, dict[str, Any]] = {
        "step": {},
        "rows by index": {"conv_state_indices": ints(8, -1, 0, 3)},
        "ring": {"cache_seqlens": ints(0, 6, 7, 1000)},
        "drafts": {"num_accepted_tokens": ints(1, 2, 3, 1), "conv_state_indices": ints(5, 4, -1, 7)},
    }
    return [t.cpu() for t in arrays], {"activation": "silu", **options[name]}


STEPS = ["step", "rows by index", "ring", "drafts"]


def check_update(name: str, dtype: torch.dtype) -> None:
    """As the CPU's, which is tested against float64; the state bit for bit."""
    arrays, options = step_arguments(name, dtype)
    there = [t.clone().to(CUDA) for t in arrays]
    moved = {key: value.to(CUDA) if torch.is_tensor(value) else value for key, value in options.items()}
    got, want = melisma.causal_conv1d_update(*there, **moved), melisma.causal_conv1d_update(*arrays, **options)
    near(got, want.double(), 2 * bound(4, dtype))
    assert torch.equal(there[1].cpu(), arrays[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", STEPS)
def test_updates(name: str, dtype: torch.dtype) -> None:
    check_update(name, dtype)


@pytest.mark.parametrize("name", STEPS)
def test_captured_updates(name: str) -> None:
    """A graph that moves a state on, replayed, is as many calls; and no call waits."""
    arrays, options = step_arguments(name, torch.bfloat16)
    moved = {key: value.to(CUDA) if torch.is_tensor(value) else value for key, value in options.items()}
    eager, captured = ([t.clone().to(CUDA) for t in arrays] for _ in range(2))
    melisma.causal_conv1d_update(*eager, **moved)
    melisma.causal_conv1d_update(*captured, **moved)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = melisma.causal_conv1d_update(*captured, **moved)
    for _ in range(3):
        torch.cuda.set_sync_debug_mode("error")
        try:
            want = melisma.causal_conv1d_update(*eager, **moved)
            graph.replay()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert torch.equal(out, want)
        assert torch.equal(captured[1], eager[1])


@pytest.mark.parametrize("layout", ["rows", "channels"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [2, 4, 6])
def test_prefill_and_decoding_in_one_call(width: int, dtype: torch.dtype, layout: str) -> None:
    """As each sequence's own call, bit for bit, on a pool that changes in place; captured, and without waiting."""
    rows, has = (
        (7, 3, 0, -1, 5, 1, 8, 4, 2, 6, 9),
        (True, True, False, True, False, False, True, True, True, False, True),
    )
    channels, count = 64, len(rows)
    x, weight, bias = (
        placed(uniform(1, channels, PACKED[-1], dtype=dtype), layout),
        uniform(channels, width),
        uniform(channels),
    )
    cu = torch.tensor(PACKED, dtype=torch.int32, device=CUDA)
    index, flags = torch.tensor(rows, dtype=torch.int32, device=CUDA), torch.tensor(has, device=CUDA)
    before = uniform(12, channels, width - 1, dtype=dtype, seed=9)

    def run(pool: torch.Tensor) -> torch.Tensor:
        return melisma.causal_conv1d(
            x, weight, bias, cu_seqlens=cu, initial_states=pool, final_states_out=pool, activation="silu",
            state_indices=index, has_initial_state=flags,
        )  # fmt: skip

    pool, want_pool = before.clone(), before.clone()
    run(pool)
    pool.copy_(before)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        out = run(pool)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for i in range(count):
        start, end = PACKED[i], PACKED[i + 1]
        initial = before[rows[i]][None] if has[i] and rows[i] >= 0 else None
        alone, state = melisma.causal_conv1d(
            x[..., start:end], weight, bias, initial_states=initial, return_final_states=True, activation="silu"
        )
        assert torch.equal(alone, out[..., start:end]), i
        if rows[i] >= 0:
            want_pool[rows[i]] = state[0]
    assert torch.equal(pool, want_pool)
    pool.copy_(before)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = run(pool)
    graph.replay()
    assert torch.equal(captured, out)
    assert torch.equal(pool, want_pool)


def test_packed_calls_do_not_wait() -> None:
    """Offsets, masks and states on the device are not read by the host, forward or backward."""
    x = uniform(1, 64, PACKED[-1]).requires_grad_()
    weight, initial = uniform(64, 4).requires_grad_(), uniform(len(PACKED) - 1, 64, 3)
    cu = torch.tensor(PACKED, dtype=torch.int32, device=CUDA)
    mask = (uniform(1, PACKED[-1]) > 0).float()

    def run() -> None:
        out, states = melisma.causal_conv1d(x, weight, cu_seqlens=cu, initial_states=initial, return_final_states=True)
        fused = melisma.short_conv_fused(x.transpose(1, 2), weight, None, mask)
        torch.autograd.grad(out.sum() + states.sum() + fused.sum(), (x, weight))

    run()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        run()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("layout", ["rows", "channels"])
def test_thirty_runs_of_the_weights_gradient(layout: str) -> None:
    """The same bits whatever runs beside it, and memory for no more than the sums of a bounded number of groups."""
    x, above = placed(uniform(4, 512, 3000), layout), placed(uniform(4, 512, 3000, seed=1), layout)
    weight, bias = uniform(512, 4).requires_grad_(), uniform(512).requires_grad_()
    out = melisma.causal_conv1d(x, weight, bias, activation="silu")
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    want = torch.autograd.grad(out, (weight, bias), above, retain_graph=True)
    assert torch.cuda.max_memory_allocated() - before <= (20 << 20)
    for _ in range(29):
        torch.empty(1 << 20, device=CUDA).fill_(float("nan"))
        got = torch.autograd.grad(out, (weight, bias), above, retain_graph=True)
        assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("layout", ["rows", "channels"])
def test_sizes_beyond_counters(layout: str) -> None:
    """More channels than 2^16, more items than 2^16, and more elements than 2^31 through a tensor of 4 GiB."""
    for shape in ((1, 70_001, 40), (70_001, 8, 9)):
        x, weight = placed(uniform(*shape, dtype=torch.bfloat16), layout), uniform(shape[1], 4)
        out = melisma.causal_conv1d(x, weight, activation="silu")
        tail = melisma.causal_conv1d(x[-1:, -8:], weight[-8:], activation="silu")
        assert torch.equal(out[-1:, -8:], tail)
    if torch.cuda.mem_get_info()[0] < 20 << 30:
        pytest.skip("needs 20 GiB of GPU memory")
    steps, channels = 1 << 20, 2080
    if layout == "rows":
        x = torch.empty(1, channels, steps, dtype=torch.bfloat16, device=CUDA).uniform_(-1, 1)
    else:
        x = torch.empty(1, steps, channels, dtype=torch.bfloat16, device=CUDA).uniform_(-1, 1).transpose(1, 2)
    weight = uniform(channels, 4)
    out = melisma.causal_conv1d(x, weight)
    alone = melisma.causal_conv1d(x[:, -16:, -100:].clone(), weight[-16:])
    assert torch.equal(out[:, -16:, -97:], alone[..., 3:])


def test_explain_counts_and_bad_input() -> None:
    x, weight = randn(2, 16, 100), randn(16, 4)
    melisma.reset_call_counts()
    melisma.causal_conv1d(x, weight)
    counted = [count for count in melisma.call_counts() if count["op"] == "causal_conv1d"]
    assert [(count["kernel"], count["calls"]) for count in counted] == [("cuda", 1)]
    refused: dict[str, Callable[[], Any]] = {
        "weight must be on x's device cuda:0, got cpu": lambda: melisma.causal_conv1d(x, weight.cpu()),
        "x's device cpu, got cuda:0": lambda: melisma.causal_conv1d(x.cpu(), weight),
        "conv_state must be on x's device cuda:0": lambda: melisma.causal_conv1d_update(
            x[..., 0], torch.zeros(2, 16, 3), weight
        ),
    }
    for text, call in refused.items():
        with pytest.raises(melisma.InvalidType, match=text):
            call()
    with pytest.raises(melisma.InvalidArgument, match="33"):
        melisma.causal_conv1d(x, randn(16, 33))


def test_wrong_indices_stay_within_the_tensors() -> None:
    """They are not read by the host, and give wrong values at worst: what comes afterwards is right."""
    x, weight = uniform(1, 32, 90), uniform(32, 4)
    want = melisma.causal_conv1d(x, weight)
    for values in ((0, 200, 90), (-7, 3, 90), (90, 0, 90), (2**31 - 1, -(2**31), 5)):
        cu = torch.tensor(values, dtype=torch.int32, device=CUDA)
        melisma.causal_conv1d(x, weight, cu_seqlens=cu, return_final_states=True)
    state = uniform(4, 32, 3)
    kept = state.clone()
    rows = torch.tensor([4, -(2**31), 2**31 - 1], dtype=torch.int32, device=CUDA)
    out = melisma.causal_conv1d_update(uniform(3, 32), state, weight, conv_state_indices=rows)
    assert (out == 0).all()
    assert torch.equal(state, kept)
    assert torch.equal(melisma.causal_conv1d(x, weight), want)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")
def test_on_the_second_gpu() -> None:
    """While the first one is current: forward, backward and a step."""
    other = torch.device("cuda", 1)
    x, weight, state = uniform(2, 64, 300), uniform(64, 4), uniform(2, 64, 3)
    results = []
    for device in (CUDA, other):
        leaf, w = x.to(device).requires_grad_(), weight.to(device).requires_grad_()
        s = state.to(device, copy=True)
        out = melisma.causal_conv1d(leaf, w, activation="silu")
        assert out.device == device
        gradients = torch.autograd.grad(out.sum(), (leaf, w))
        with torch.no_grad():
            one = melisma.causal_conv1d_update(leaf[..., 0], s, w)
        results.append([out.detach(), *gradients, one, s])
    assert torch.cuda.current_device() == 0
    assert all(torch.equal(a, b.to(CUDA)) for a, b in zip(*results, strict=True))
    with pytest.raises(melisma.InvalidType, match="x's device cuda:1, got cuda:0"):
        melisma.causal_conv1d(x.to(other), weight)
