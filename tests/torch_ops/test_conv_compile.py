"""The convolution under torch.compile, opcheck, torch.export, autocast and inference mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.testing import CompileCounterWithBackend

import melisma
import melisma.torch  # the operators under test
from torch_device import DEVICE, same
from torch_ops.common import randn
from torch_ops.conv_common import CHANNELS, CU_SEQLENS, arguments, ints


@pytest.fixture(autouse=True)
def _fresh(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "inductor"))
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


W = randn(CHANNELS, 4, dtype=torch.float32, seed=2)
B = randn(CHANNELS, dtype=torch.float32, seed=3)


def _plain(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> Any:
    return melisma.causal_conv1d(x, w, b, activation="silu")


def _channels_last(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> Any:
    return melisma.causal_conv1d(x.transpose(1, 2), w, b, channels_last=True).transpose(1, 2)


def _with_states(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> Any:
    first, states = melisma.causal_conv1d(x[..., :100], w, b, return_final_states=True)
    return torch.cat([first, melisma.causal_conv1d(x[..., 100:], w, b, initial_states=states)], -1)


def _fused(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> Any:
    return melisma.short_conv_fused(x.transpose(1, 2), w, b, x[:, 0] > 0)


def _decoding(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> Any:
    state = x[..., :7].clone()
    y = melisma.causal_conv1d_update(x[..., 7], state, w, b, "silu")
    return melisma.causal_conv1d_update(x[..., 8:], state, w, b) + y[..., None] + state.sum()


def _packed(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> Any:
    steps = x.shape[0] * x.shape[-1]
    cu = torch.arange(0, x.shape[0] + 1, dtype=torch.int32, device=x.device) * x.shape[-1]
    return melisma.causal_conv1d(x.transpose(0, 1).reshape(1, -1, steps), w, b, cu_seqlens=cu)


CALLS = {
    "plain": _plain,
    "channels_last": _channels_last,
    "with states": _with_states,
    "fused": _fused,
    "decoding": _decoding,
    "packed": _packed,
}


@pytest.mark.parametrize("name", CALLS)
def test_one_graph_for_many_lengths(name: str) -> None:
    """Forward and backward, with the eager results' bits and strides: the graph calls the same operators.

    But for gradients of weights on a GPU, which are summed by the kernel for the strides of the gradient above; these are
    not always eager's.
    """
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(CALLS[name], fullgraph=True, dynamic=True, backend=counter)
    for i in range(12):
        x = randn(2, CHANNELS, 200 + 37 * i, dtype=torch.float32, seed=i, grad=True)
        weights = (W.clone().requires_grad_(), B.clone().requires_grad_())
        got, want = compiled(x, *weights), CALLS[name](x, *weights)
        assert torch.equal(got, want)
        assert got.stride() == want.stride()
        above = torch.ones_like(want)
        of_graph, of_eager = (torch.autograd.grad(y, (x, *weights), above) for y in (got, want))
        for one, other in zip(of_graph, of_eager, strict=True):
            assert same(one, other)
    assert counter.frame_count == 1


@pytest.mark.parametrize("name", CALLS)
def test_without_gradients(name: str) -> None:
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(CALLS[name], fullgraph=True, dynamic=True, backend=counter)
    for steps in (200, 210, 333):
        x = randn(2, CHANNELS, steps, dtype=torch.float32, seed=steps)
        with torch.no_grad():
            assert torch.equal(compiled(x, W, B), CALLS[name](x, W, B))
    assert counter.frame_count == 1


@pytest.mark.parametrize("name", ["plain", "fused", "decoding"])
def test_inductor(name: str) -> None:
    compiled = torch.compile(lambda *t: CALLS[name](t[0] * 2, *t[1:]).square().sum(), fullgraph=True, dynamic=True)
    for steps in (200, 333):
        inputs = (randn(2, CHANNELS, steps, dtype=torch.float32, grad=True), W.clone().requires_grad_(), B)
        got, want = compiled(*inputs), CALLS[name](inputs[0] * 2, *inputs[1:]).square().sum()
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
        for one, other in zip(*(torch.autograd.grad(y, inputs[:2]) for y in (got, want)), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


def test_inductor_steps_in_place() -> None:
    """The state of the caller, and not a copy of it, holds the new step."""
    compiled = torch.compile(
        lambda x, state: melisma.causal_conv1d_update(x, state, W, B, "silu") * 2, fullgraph=True, dynamic=True
    )
    with torch.no_grad():
        state = randn(2, CHANNELS, 3, dtype=torch.float32)
        want_state = state.clone()
        for i in range(4):
            x = randn(2, CHANNELS, dtype=torch.float32, seed=i)
            got, want = compiled(x, state), melisma.causal_conv1d_update(x, want_state, W, B, "silu") * 2
            assert torch.equal(got, want)
            assert torch.equal(state, want_state)


def test_graphs_hold_the_fused_operators() -> None:
    found: set[str] = set()

    def collect(graph: torch.fx.GraphModule, _: Any) -> Any:
        found.update(str(node.target) for node in graph.graph.nodes if str(node.target).startswith("melisma."))
        return make_boxed_func(graph.forward)

    compiled = torch.compile(
        _fused, fullgraph=True, dynamic=True, backend=aot_autograd(fw_compiler=collect, bw_compiler=collect)
    )
    x = randn(2, CHANNELS, 200, dtype=torch.float32, grad=True)
    compiled(x, W.clone().requires_grad_(), B).sum().backward()
    assert found == {"melisma.causal_conv1d.default", "melisma.causal_conv1d_backward.default"}


def test_a_pool_of_states_in_a_graph() -> None:
    """Prompts and steps on the caller's pool, and not on a copy of it, under any number of steps."""
    rows, lengths = ints(3, -1, 0), (5, 2, 1)

    def call(x: torch.Tensor, cu: torch.Tensor, pool: torch.Tensor) -> Any:
        return 2 * melisma.causal_conv1d(
            x, W, B, cu_seqlens=cu, initial_states=pool, final_states_out=pool, state_indices=rows
        )

    compiled = torch.compile(call, fullgraph=True, dynamic=True)
    with torch.no_grad():
        pool = randn(4, CHANNELS, 3, dtype=torch.float32)
        want_pool = pool.clone()
        for more in range(3):
            cu = ints(0, lengths[0] + more, sum(lengths[:2]) + more, sum(lengths) + more)
            x = randn(1, CHANNELS, sum(lengths) + more, dtype=torch.float32, seed=more)
            assert torch.equal(compiled(x, cu, pool), call(x, cu, want_pool))
            assert torch.equal(pool, want_pool)


def test_out_in_a_graph() -> None:
    def call(x: torch.Tensor) -> torch.Tensor:
        out = torch.zeros_like(x)
        melisma.causal_conv1d(x, W, B, out=out)
        return out * 2

    x = randn(2, CHANNELS, 200, dtype=torch.float32)
    assert torch.equal(torch.compile(call, fullgraph=True, dynamic=True, backend="aot_eager")(x), call(x))


@pytest.mark.parametrize("strict", [True, False])
def test_export(strict: bool, tmp_path: Any) -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = torch.nn.Parameter(W.clone()), torch.nn.Parameter(B.clone())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y, states = melisma.causal_conv1d(x, self.weight, self.bias, activation="silu", return_final_states=True)
            return torch.cat([y, states], -1)

    model = Model()
    steps = torch.export.Dim("steps", min=8, max=100000)
    program = torch.export.export(
        model, (randn(2, CHANNELS, 50, dtype=torch.float32),), dynamic_shapes={"x": {2: steps}}, strict=strict
    )
    assert "melisma.causal_conv1d.default" in {str(node.target) for node in program.graph.nodes}
    torch.export.save(program, tmp_path / "model.pt2")
    for each in (program, program.run_decompositions(), torch.export.load(tmp_path / "model.pt2")):
        for length in (8, 50, 333):
            x = randn(2, CHANNELS, length, dtype=torch.float32, seed=length)
            assert torch.equal(each.module()(x), model(x))


def test_export_of_a_step() -> None:
    """A buffer that holds the state is written to by the exported program, too."""

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("state", torch.zeros(2, CHANNELS, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = melisma.causal_conv1d_update(x, self.state, W, B, "silu")
            assert isinstance(y, torch.Tensor)
            return y

    with torch.no_grad():
        module = torch.export.export(Step(), (randn(2, CHANNELS, dtype=torch.float32),)).module()
        model = Step()
        for i in range(5):
            x = randn(2, CHANNELS, dtype=torch.float32, seed=i)
            assert torch.equal(module(x), model(x))
    assert torch.equal(module.get_buffer("state"), model.get_buffer("state"))


def test_autocast_changes_nothing() -> None:
    """Results have x's dtype and the bits that they have without; weights are not rounded."""
    for dtype in (torch.float32, torch.bfloat16):
        x = randn(2, CHANNELS, 30, dtype=dtype, grad=True)
        w = W.clone().requires_grad_()
        want = melisma.causal_conv1d(x, w, B, activation="silu")
        for call in (_plain, torch.compile(_plain, fullgraph=True, dynamic=True, backend="aot_eager")):
            with torch.autocast(DEVICE, torch.bfloat16):
                got = call(x, w, B)
            assert got.dtype == dtype
            assert torch.equal(got, want)
            of_got, of_want = (torch.autograd.grad(y.sum(), (x, w), retain_graph=True) for y in (got, want))
            assert same(of_got[0], of_want[0])
            assert same(of_got[1], of_want[1])
            assert of_got[1].dtype == torch.float32


def test_inference_mode() -> None:
    x = randn(2, CHANNELS, 30, dtype=torch.float32)
    weight = torch.nn.Parameter(W.clone())
    want = melisma.causal_conv1d(x, weight, B)
    state = torch.zeros(2, CHANNELS, 3, device=DEVICE)
    with torch.inference_mode():
        got = melisma.causal_conv1d(x.clone(), weight, B)
        steps = [melisma.causal_conv1d_update(x[..., t], state, weight, B) for t in range(30)]
        inner = torch.zeros(2, CHANNELS, 3)
        melisma.causal_conv1d_update(x, inner, weight, B)
    assert got.is_inference()
    assert torch.equal(got, want.detach())
    assert torch.equal(torch.stack(steps, -1), want.detach())
    assert torch.equal(state, x[..., -3:])
    assert torch.equal(inner, state)


def test_a_state_that_was_saved_for_a_gradient_is_not_changed_unnoticed() -> None:
    for run in (lambda *t: melisma.causal_conv1d_update(*t), lambda *t: _by_the_dispatcher(*t)):
        state, scale = torch.ones(2, CHANNELS, 3, device=DEVICE), torch.ones(3, device=DEVICE, requires_grad=True)
        product = (scale * state).sum()
        run(torch.ones(2, CHANNELS, device=DEVICE), state, W)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            product.backward()


def _by_the_dispatcher(x: torch.Tensor, state: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    result = torch.ops.melisma.causal_conv1d_update(x, state, weight, None, None, None, None, -1, False, False)
    assert isinstance(result, torch.Tensor)
    return result


def opcheck_cases() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Both layouts of each operator, and every argument that may be left out both ways."""
    ops = torch.ops.melisma
    given = arguments("seq_idx and mask", 4)
    x, weight, bias, mask, seq_idx = given.values()
    states = randn(2, CHANNELS, 3, seed=5, grad=True)
    above = randn(*x.shape, seed=6, grad=True)
    packed = (x.detach()[:1].requires_grad_(), weight, None, None, None, ints(*CU_SEQLENS))
    cases: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "packed": (ops.causal_conv1d, (*packed, randn(4, CHANNELS, 3, grad=True), False, False, True, True)),
        "swapped": (
            ops.causal_conv1d,
            (
                x.detach().transpose(1, 2).contiguous().transpose(1, 2),
                weight,
                bias,
                *[None] * 4,
                False,
                True,
                False,
                True,
            ),
        ),
        "of states": (
            ops.causal_conv1d_backward,
            (above, None, x, weight, bias, *[None] * 3, states, False, False, True, 8),
        ),
        "update": (
            ops.causal_conv1d_update,
            (x[..., 0].detach(), randn(2, CHANNELS, 7), weight, bias, *[None] * 3, -1, True, False),
        ),
        "update without gradient": (
            ops.causal_conv1d_update,
            (
                x.detach(),
                randn(2, CHANNELS, 20),
                weight.detach(),
                bias.detach(),
                None,
                None,
                ints(1, 2),
                -1,
                False,
                True,
            ),
        ),
        "update of rows": (
            ops.causal_conv1d_update,
            (x, randn(4, CHANNELS, 14), weight, None, ints(3, 9), ints(3, -1), None, -1, False, True),
        ),
        "update_out": (
            ops.causal_conv1d_update_out,
            (x.detach(), randn(2, CHANNELS, 7), weight.detach(), *[None] * 4, -1, True, False, torch.empty_like(x)),
        ),
    }
    no_pool = (None, None, -1, False)
    cases["pool"] = (
        ops.causal_conv1d_out,
        (
            *(t.detach() for t in (x, weight, bias, mask)),
            *[None] * 3,
            False,
            True,
            False,
            torch.empty_like(x),
            randn(4, CHANNELS, 3),
            ints(2, -1),
            torch.tensor([True, False], device=DEVICE),
            -1,
            True,
        ),
    )
    for last in (False, True):
        signal = x.detach().transpose(1, 2).contiguous().requires_grad_() if last else x
        grad = above.detach().transpose(1, 2).contiguous().requires_grad_() if last else above
        flags = (last, True, True)
        name = "channels last" if last else "time last"
        cases[name] = (ops.causal_conv1d, (signal, weight, None, *[None] * 4, *flags, False))
        cases[f"{name}, states"] = (
            ops.causal_conv1d,
            (signal, weight, bias, mask, seq_idx, None, states, *flags, True),
        )
        cases[f"{name}, out"] = (
            ops.causal_conv1d_out,
            (signal.detach(), weight.detach(), *[None] * 5, *flags, torch.empty_like(signal), None, *no_pool),
        )
        cases[f"{name}, out and states"] = (
            ops.causal_conv1d_out,
            (
                signal.detach(),
                weight.detach(),
                *[None] * 5,
                *flags,
                torch.empty_like(signal),
                torch.empty_like(states),
                *no_pool,
            ),
        )
        cases[f"{name}, backward"] = (
            ops.causal_conv1d_backward,
            (grad, states, signal, weight, bias, mask, seq_idx, None, states, *flags, 15),
        )
        cases[f"{name}, linear backward"] = (
            ops.causal_conv1d_backward,
            (grad, None, signal, weight, bias, *[None] * 4, last, False, True, 7),
        )
    return cases


OPCHECK = opcheck_cases()


@pytest.mark.parametrize("name", OPCHECK)
def test_opcheck(name: str) -> None:
    """Schema, autograd registration, fake kernel and compilation with dynamic shapes, by PyTorch's own rules."""
    op, args = OPCHECK[name]
    assert set(torch.library.opcheck(op.default, args).values()) == {"SUCCESS"}
