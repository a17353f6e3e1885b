"""Gradients of the causal convolution, at the dispatcher, so that every way of calling it has them.

Without the activation, the convolution L(x, s; w) + b is linear in the signal x and its initial states s, and in the weights w
and bias b; so is its backward in the gradient above and in either. Each one's derivatives of any order are therefore these two
operators again, on other arguments. With the activation, the first derivatives are the fused backward; what differentiates
that is a composition of the convolution without it and of PyTorch's operators.
"""

import functools
from typing import Any

import torch

from . import _library
from ._autograd import _REGISTRATIONS, _needs_gradient, _no_gradients, _Rule, _sum

X, WEIGHT, BIAS, STATES = 1, 2, 4, 8  # the bits of causal_conv1d_backward's `wanted`
_HALF = (torch.float16, torch.bfloat16)


def _conv(tensors: tuple[Any, ...], *options: Any) -> Any:
    return _library.call(_library.causal_conv1d, tensors, *options)


def _gradients(tensors: tuple[Any, ...], *options: Any) -> Any:
    return _library.call(_library.causal_conv1d_backward, tensors, *options)


def _to(tensor: Any, like: torch.Tensor) -> Any:
    return None if tensor is None else tensor.to(like.dtype)


def _where_valid(tensor: torch.Tensor, seq_idx: torch.Tensor | None, channels_last: bool) -> torch.Tensor:
    """0 where `seq_idx` says padding."""
    if seq_idx is None:
        return tensor
    return torch.where((seq_idx >= 0).unsqueeze(-1 if channels_last else -2), tensor, 0)


def _tangent(x: Any, weight: Any, where: tuple[Any, ...], initial: Any, channels_last: bool, residual: bool,
             on_x: Any, on_weight: Any, on_bias: Any, on_states: Any, final: bool) -> tuple[Any, Any]:  # fmt: skip
    """How the convolution without activation, and its final states, change with its arguments."""
    of_signal = of_weight = states = None
    if on_x is not None or on_states is not None or final:
        change = torch.zeros_like(x) if on_x is None else on_x.to(x.dtype)
        of_signal, states = _conv((change, weight, None, *where, on_states), channels_last, False, residual, final)
    if on_weight is not None or on_bias is not None:
        change = torch.zeros_like(weight) if on_weight is None else on_weight
        of_weight, _ = _conv((x, change, on_bias, *where, initial), channels_last, False, False, False)
    return _sum(of_signal, of_weight), states


def _silu_slope(h: torch.Tensor) -> torch.Tensor:
    s = torch.sigmoid(h)
    return s * (1 + h * (1 - s))


def _refuse_mask(mask: Any) -> None:
    if mask is not None and mask.requires_grad:
        raise RuntimeError("causal_conv1d: mask must not require grad, got one that does")


class _Conv(_Rule):
    """The rule for every way of calling: transforms, forward mode, tracing."""

    op, tensors = _library.causal_conv1d, 7

    @classmethod
    def setup_context(cls, ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        super().setup_context(ctx, inputs, output)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, grad: Any, grad_states: Any = None) -> Any:
        x, *others = ctx.saved_tensors
        needs = ctx.needs_input_grad
        channels_last, silu, residual = ctx.options[:3]
        if grad is None:
            if grad_states is None:
                return (None,) * len(needs)
            grad = torch.zeros_like(x)
        on_x, on_weight, on_bias, on_states = _gradients(
            (grad, grad_states, x, *others),
            channels_last,
            silu,
            residual,
            needs[0] * X + needs[1] * WEIGHT + needs[2] * BIAS + needs[6] * STATES,
        )
        return on_x, on_weight, on_bias, None, None, None, on_states, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, on_x: Any, on_weight: Any, on_bias: Any, *rest: Any) -> Any:
        x, weight, bias, *where, initial = ctx.saved_tensors
        channels_last, silu, residual, final = ctx.options
        change, states = _tangent(x, weight, tuple(where), initial, channels_last, residual and not silu,
                                  on_x, on_weight, on_bias, rest[3], final)  # fmt: skip
        if silu:
            h, _ = _conv((x, weight, bias, *where, initial), channels_last, False, False, False)
            change = change * _silu_slope(h)
            if residual and on_x is not None:
                change = change + _where_valid(on_x, where[1], channels_last)
        return change, states


class _ConvBackward(_Rule):
    """The rule of the backward without activation."""

    op, tensors = _library.causal_conv1d_backward, 9

    @classmethod
    def setup_context(cls, ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        super().setup_context(ctx, inputs, output)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, on_x: Any, on_weight: Any, on_bias: Any, on_states: Any) -> Any:
        grad, grad_states, x, weight, _bias, *where, initial = ctx.saved_tensors
        channels_last, _silu, residual, _wanted = ctx.options
        needs = ctx.needs_input_grad
        of_grad = of_grad_states = of_x = of_weight = of_initial = None
        if needs[0] or needs[1]:
            of_grad, of_grad_states = _tangent(x, weight, tuple(where), initial, channels_last, residual,
                                               on_x, on_weight, on_bias, on_states, grad_states is not None)  # fmt: skip
            of_grad = _to(of_grad, grad)
            of_grad_states = _to(of_grad_states, grad_states)
        if on_weight is not None and (needs[2] or needs[8]):
            of_x, _, _, of_initial = _gradients(
                (grad, None, x, on_weight, None, *where, initial),
                channels_last, False, False, needs[2] * X + needs[8] * STATES,
            )  # fmt: skip
        if needs[3] and (on_x is not None or on_states is not None):
            signal = torch.zeros_like(x) if on_x is None else on_x
            _, of_weight, _, _ = _gradients(
                (grad, None, signal, weight, None, *where, on_states), channels_last, False, False, WEIGHT
            )
        return of_grad, of_grad_states, of_x, of_weight, None, None, None, None, of_initial, *_no_gradients(ctx.options)

    @staticmethod
    def jvp(ctx: Any, on_grad: Any, on_grad_states: Any, on_x: Any, on_weight: Any, *rest: Any) -> Any:
        grad, _grad_states, x, weight, bias, *where, initial = ctx.saved_tensors
        channels_last, _silu, residual, wanted = ctx.options
        on_initial = rest[4]
        above = torch.zeros_like(grad) if on_grad is None else on_grad
        of_x, of_weight, of_bias, of_initial = _gradients(
            (above, on_grad_states, x, weight, bias, *where, initial), channels_last, False, residual, wanted
        )
        if on_weight is not None and wanted & (X | STATES):
            more_x, _, _, more_initial = _gradients(
                (grad, None, x, on_weight, None, *where, initial), channels_last, False, False, wanted & (X | STATES)
            )
            of_x, of_initial = _sum(of_x, more_x), _sum(of_initial, more_initial)
        if wanted & WEIGHT and (on_x is not None or on_initial is not None):
            signal = torch.zeros_like(x) if on_x is None else on_x
            _, more, _, _ = _gradients(
                (grad, None, signal, weight, None, *where, on_initial), channels_last, False, False, WEIGHT
            )
            of_weight = of_weight + more
        return of_x, of_weight, of_bias, of_initial


def _composed_backward(tensors: tuple[Any, ...], channels_last: bool, residual: bool, wanted: int) -> tuple[Any, ...]:
    """The backward with the activation, differentiable: through the sum before it, in float32 at least."""
    grad, grad_states, x, weight, bias, *where, initial = tensors
    signal, above = (t.float() if t.dtype in _HALF else t for t in (x, grad))
    h, _ = _conv((signal, weight, bias, *where, initial), channels_last, False, False, False)
    inner = above * _silu_slope(h)
    on_x, *others = _gradients(
        (inner, grad_states, signal, weight, bias, *where, initial), channels_last, False, False, wanted
    )
    if on_x is not None:
        if residual:
            on_x = on_x + _where_valid(above, where[1], channels_last)
        on_x = on_x.to(x.dtype)
    return on_x, *others


def _conv_kernel(keyset: Any, *args: Any) -> Any:
    if not _needs_gradient(*args[:7]):
        return _library.below_autograd(_library.causal_conv1d, keyset, *args)
    _refuse_mask(args[3])
    return _Conv.run(*args)


def _backward_kernel(keyset: Any, *args: Any) -> Any:
    if not _needs_gradient(*args[:9]):
        return _library.below_autograd(_library.causal_conv1d_backward, keyset, *args)
    channels_last, silu, residual, wanted = args[9:]
    if silu:
        return _composed_backward(args[:9], channels_last, residual, wanted)
    return _ConvBackward.run(*args)


_redispatch = _library.causal_conv1d._handle.redispatch_boxed
_redispatch_backward = _library.causal_conv1d_backward._handle.redispatch_boxed


class _Eager(_Conv):
    """The same on plain tensors outside of every transform and mode, at less than half of the cost in Python."""

    @staticmethod
    def forward(ctx: Any, kernels: Any, x: Any, weight: Any, bias: Any, mask: Any, seq_idx: Any, cu_seqlens: Any,
                initial: Any, options: tuple[bool, ...]) -> Any:  # fmt: skip
        _refuse_mask(mask)
        ctx.save_for_backward(x, weight, bias, mask, seq_idx, cu_seqlens, initial)
        ctx.kernels, ctx.options = kernels, options
        out, states = _redispatch(kernels, x, weight, bias, mask, seq_idx, cu_seqlens, initial, *options)
        if states is None:
            return out
        ctx.set_materialize_grads(False)
        return out, states

    setup_context = torch.autograd.function._SingleLevelFunction.setup_context

    @staticmethod
    def backward(ctx: Any, grad: Any, grad_states: Any = None) -> Any:
        saved = ctx.saved_tensors
        _, on_x, on_weight, on_bias, _, _, _, on_states, _ = ctx.needs_input_grad
        channels_last, silu, residual, _ = ctx.options
        if grad is None:
            if grad_states is None:
                return (None,) * 9
            grad = torch.zeros_like(saved[0])
        wanted = on_x * X + on_weight * WEIGHT + on_bias * BIAS + on_states * STATES
        plain = _library.kernels_of(grad) is ctx.kernels and not _library.is_transformed()
        if plain and not torch.is_grad_enabled():
            gradients = _redispatch_backward(
                ctx.kernels, grad, grad_states, *saved, channels_last, silu, residual, wanted
            )
        else:
            gradients = _gradients((grad, grad_states, *saved), channels_last, silu, residual, wanted)
        on_x, on_weight, on_bias, on_states = gradients
        return None, on_x, on_weight, on_bias, None, None, None, on_states, None


eager = super(torch.autograd.Function, _Eager).apply  # without what Function.apply does for transforms


for _name, _kernel in {
    "causal_conv1d": _conv_kernel,
    "causal_conv1d_backward": _backward_kernel,
}.items():
    _REGISTRATIONS.impl(_name, _kernel, "Autograd", with_keyset=True)
    _library.with_gradient[getattr(_library, _name)] = functools.partial(_kernel, None)
