"""Derivatives of the convolution's operators: against differences in float64, and against the plain definition's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import melisma
import melisma.torch  # the operators under test
from torch_device import DEVICE
from torch_ops import conv_common
from torch_ops.common import generator, randn
from torch_ops.conv_common import ROUNDING, SETTINGS, arguments, ints, operator

FORMS = [(silu, residual) for silu in (False, True) for residual in (False, True)]


def differentiable(made: dict[str, Any]) -> tuple[list[str], tuple[torch.Tensor, ...]]:
    names = [name for name, tensor in made.items() if tensor.requires_grad]
    return names, tuple(made[name] for name in names)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("setting", SETTINGS)
def test_first_and_second_derivatives(setting: str, width: int) -> None:
    """In reverse and forward mode, the second ones too, for every activation and layout."""
    made = arguments(setting, width)
    names, inputs = differentiable(made)
    for silu, residual in FORMS:
        last = residual is not silu

        def call(*tensors: torch.Tensor, form: Any = (silu, residual, last)) -> Any:
            given = made | dict(zip(names, tensors, strict=True))
            if form[2]:
                given["x"] = given["x"].transpose(1, 2)
            return operator(**given, silu=form[0], residual=form[1], channels_last=form[2])

        torch.manual_seed(1)
        assert gradcheck(call, inputs, check_forward_ad=True, check_batched_grad=True, fast_mode=True)
        assert gradgradcheck(call, inputs, check_fwd_over_rev=True, fast_mode=True)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("silu", [False, True])
def test_every_derivative_of_the_definition(setting: str, silu: bool) -> None:
    """Values, first derivatives and derivatives of these, each by itself, against the definition's in float64."""
    made = arguments(setting, 4)
    _, inputs = differentiable(made)
    results = []
    for function in (conv_common.reference, operator):
        out, states = function(**made, silu=silu, residual=True)
        loss = (out * randn(*out.shape, seed=7)).sum() + (states * randn(*states.shape, seed=8)).square().sum()
        first = torch.autograd.grad(loss, inputs, create_graph=True)
        again = sum((g * randn(*g.shape, seed=9 + i)).sum() for i, g in enumerate(first))
        assert isinstance(again, torch.Tensor)
        results.append([out, states, *first, *torch.autograd.grad(again, inputs, materialize_grads=True)])
    for want, got in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-11)


def test_only_what_is_wanted() -> None:
    """Each gradient by itself has the bits that it has beside the others."""
    made = arguments("states", 4)
    names, inputs = differentiable(made)
    out, states = operator(**made, silu=True)
    above = (randn(*out.shape, seed=7), randn(*states.shape, seed=8))
    together = torch.autograd.grad((out, states), inputs, above, retain_graph=True)
    for name, want in zip(names, together, strict=True):
        alone = {n: t.detach() if isinstance(t, torch.Tensor) else t for n, t in made.items()}
        alone[name] = made[name]
        (got,) = torch.autograd.grad(operator(**alone, silu=True), made[name], above)
        assert torch.equal(got, want), name


def test_through_the_final_states_alone() -> None:
    made = arguments("cu_seqlens with states", 4)
    for function in (conv_common.reference, operator):
        _, states = function(**made)
        got = torch.autograd.grad(states.square().sum(), (made["x"], made["initial_states"]))
        if function is conv_common.reference:
            want = got
    assert torch.equal(got[0], want[0])
    assert torch.equal(got[1], want[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("weight_dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_gradients_have_their_parameters_dtypes(dtype: torch.dtype, weight_dtype: torch.dtype) -> None:
    """Rounded once to it, of sums in float32."""
    made = arguments("states", 4, dtype, weight_dtype)
    _, inputs = differentiable(made)
    out, states = operator(**made, silu=True)
    assert out.dtype == states.dtype == dtype
    above = randn(*out.shape, dtype=dtype, seed=7)
    got = torch.autograd.grad(out, inputs, above)
    wide = {name: tensor.detach().double().requires_grad_(tensor.requires_grad) for name, tensor in made.items()}
    _, wide_inputs = differentiable(wide)
    want = torch.autograd.grad(conv_common.reference(**wide, silu=True)[0], wide_inputs, above.double())
    for one, other, tensor in zip(got, want, inputs, strict=True):
        assert one.dtype == tensor.dtype
        largest = float(other.abs().max())
        terms = 4 * above.shape[0] * above.shape[-1]
        bound = ROUNDING[tensor.dtype] + terms * ROUNDING[torch.float32]
        torch.testing.assert_close(one.double(), other, rtol=0, atol=bound * largest)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_second_derivatives_in_reduced_precision(dtype: torch.dtype) -> None:
    """Of a signal and weights of two dtypes: close to those in float64, in the parameters' own dtypes."""
    made = arguments("states", 4, dtype, torch.float32)
    wide = {name: tensor.detach().double().requires_grad_() for name, tensor in made.items()}
    results = []
    for function, given in ((conv_common.reference, wide), (operator, made)):
        _, inputs = differentiable(given)
        out, _ = function(**given, silu=True)
        first = torch.autograd.grad(out.double().square().sum(), inputs, create_graph=True)
        again = first[0].double().square().sum() + first[1].double().square().sum()
        results.append(torch.autograd.grad(again, inputs))
    for want, got, tensor in zip(*results, made.values(), strict=True):
        assert got.dtype == tensor.dtype
        # Four roundings to the signal's dtype on the way there (out, its gradient, and both again), each of them added up.
        error = float((got.double() - want).norm() / want.norm())
        assert error < 8 * ROUNDING[dtype], error


@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients_above_of_any_strides(channels_last: bool) -> None:
    """Expanded (as of a sum), transposed and sliced ones give what a contiguous one gives, in every bit."""
    x, weight, bias = randn(2, 6, 9, grad=True), randn(6, 4, seed=2, grad=True), randn(6, seed=3, grad=True)
    given = x.detach().transpose(1, 2).contiguous().requires_grad_() if channels_last else x
    y = melisma.causal_conv1d(given, weight, bias, activation="silu", channels_last=channels_last)
    wide = randn(2, 2 * y.shape[1], 2 * y.shape[2], seed=7)
    for above in (
        torch.ones((), device=DEVICE, dtype=y.dtype).expand_as(y),
        wide[:, ::2, 1::2],
        wide[:, : y.shape[2], : y.shape[1]].transpose(1, 2),
    ):
        got = torch.autograd.grad(y, (given, weight, bias), above, retain_graph=True)
        want = torch.autograd.grad(y, (given, weight, bias), above.contiguous(), retain_graph=True)
        assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
        assert got[0].stride() == given.stride()


def test_gradients_are_the_same_every_time() -> None:
    x = randn(3, 37, 1000, dtype=torch.float32, grad=True)
    weight = randn(37, 4, dtype=torch.float32, seed=2, grad=True)
    bias = randn(37, dtype=torch.float32, seed=3, grad=True)
    y = melisma.causal_conv1d(x, weight, bias, activation="silu")
    above = randn(3, 37, 1000, dtype=torch.float32, seed=4)
    first = torch.autograd.grad(y, (x, weight, bias), above, retain_graph=True)
    for _ in range(3):
        again = torch.autograd.grad(y, (x, weight, bias), above, retain_graph=True)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_func_transforms() -> None:
    """Gradients, Hessians and gradients of each example, as the definition's."""
    made = {name: tensor.detach() for name, tensor in arguments("states", 3).items()}

    def loss(function: Any) -> Any:
        def of(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            out, states = function(**made | {"x": x, "weight": weight}, silu=True)
            return out.square().sum() + states.sin().sum()

        return of

    x, weight = made["x"], made["weight"]
    for transform in (
        lambda f: torch.func.grad(f, argnums=(0, 1)),
        lambda f: torch.func.hessian(f, argnums=1),
        lambda f: torch.func.jacrev(torch.func.jacrev(f, argnums=1), argnums=1),
        lambda f: lambda x, w: torch.func.jvp(torch.func.grad(f), (x, w), (x.cos(), w.sin())),
    ):
        got, want = (
            torch.utils._pytree.tree_leaves(transform(loss(f))(x, weight)) for f in (operator, conv_common.reference)
        )
        for one, other in zip(got, want, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)

    def one_example(f: Any) -> Any:
        def of(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return f(x[None], w, silu=True)[0].square().sum()

        return torch.func.vmap(torch.func.grad(of), in_dims=(None, 0))

    torch.testing.assert_close(
        one_example(operator)(weight, x), one_example(conv_common.reference)(weight, x), rtol=1e-10, atol=1e-10
    )


def _stack(function: Any, in_dims: dict[str, int | None], size: int, made: dict[str, Any]) -> Any:
    calls = [
        function(**{n: t.select(in_dims[n], i) if in_dims[n] is not None else t for n, t in made.items()})
        for i in range(size)
    ]
    return tuple(torch.stack(column) for column in zip(*calls, strict=True))


@pytest.mark.parametrize("batched", ["x", "x weight", "bias", "x seq_idx", "mask", "initial_states", "seq_idx weight"])
def test_vmap(batched: str) -> None:
    """Any argument batched, along any axis."""
    names = batched.split()
    made: dict[str, Any] = {n: t.detach() for n, t in arguments("seq_idx", 4).items()}
    made["mask"] = (torch.rand(2, 12, generator=generator(4), device="cpu") < 0.7).to(DEVICE, torch.float64)
    in_dims: dict[str, int | None] = dict.fromkeys(made)
    for name in names:
        tensor = made[name]
        axis = tensor.ndim // 2
        copies = [tensor if tensor.dtype == torch.int32 else tensor * (1 + 0.1 * i) for i in range(3)]
        made[name], in_dims[name] = torch.stack(copies, axis), axis
    order = list(made)
    got = torch.func.vmap(
        lambda *t: operator(**dict(zip(order, t, strict=True)), silu=True), in_dims=tuple(in_dims[n] for n in order)
    )(*(made[n] for n in order))
    want = _stack(lambda **k: operator(**k, silu=True), in_dims, 3, made)
    assert torch.equal(got[0], want[0])
    assert torch.equal(got[1], want[1])


def test_batched_gradients_above() -> None:
    """``is_grads_batched`` of a call that took the short way."""
    x, weight = randn(2, 5, 9, grad=True), randn(5, 4, seed=2, grad=True)
    y = melisma.causal_conv1d(x, weight, activation="silu")
    above = randn(3, *y.shape, seed=3)
    got = torch.autograd.grad(y, (x, weight), above, is_grads_batched=True, retain_graph=True)
    for i in range(3):
        want = torch.autograd.grad(y, (x, weight), above[i], retain_graph=True)
        assert torch.equal(got[0][i], want[0])
        assert torch.equal(got[1][i], want[1])


def test_vmap_of_packed_sequences() -> None:
    x, weight = randn(3, 1, 5, 12), randn(5, 4, seed=2)
    cu = ints(*conv_common.CU_SEQLENS)
    got = torch.func.vmap(lambda x: operator(x, weight, cu_seqlens=cu)[1])(x)
    assert torch.equal(got, torch.stack([operator(each, weight, cu_seqlens=cu)[1] for each in x]))


def test_checkpoint_and_functional_call() -> None:
    class Layer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = torch.nn.Parameter(randn(5, 4, seed=2)), torch.nn.Parameter(randn(5, seed=3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = melisma.causal_conv1d(x, self.weight, self.bias, activation="silu")
            assert isinstance(y, torch.Tensor)
            return y

    layer, x = Layer(), randn(2, 5, 9, grad=True)
    inputs = (x, layer.weight, layer.bias)
    want = torch.autograd.grad(layer(x).square().sum(), inputs)
    for reentrant in (False, True):
        y = torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=reentrant)
        y.square().sum().backward()
        for tensor, gradient in zip(inputs, want, strict=True):
            assert torch.equal(tensor.grad, gradient)
            tensor.grad = None
    parameters = {name: parameter.detach() * 2 for name, parameter in layer.named_parameters()}
    got = torch.func.functional_call(layer, parameters, (x,))
    assert torch.equal(got, melisma.causal_conv1d(x, parameters["weight"], parameters["bias"], activation="silu"))
