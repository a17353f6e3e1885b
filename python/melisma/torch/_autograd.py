"""Gradients of the operators, at the dispatcher, so that every way of calling them has them.

The STFT is linear in the signal x and in the window w. With T(x, w, G) = Re <G, stft(x, w)> its three partial derivatives are
stft (in G), stft_adjoint (in x) and stft_window_gradient (in w), so each one's gradients are the other two, to any order, and
forward mode is the operator itself on the tangents. The inverse STFT is linear in the spectrum, with istft_adjoint; through
its window, which the envelope contains too, it is differentiated as a composition. Spectrograms have a fused backward that
computes the spectrum again instead of keeping it; what differentiates that is a composition too (:mod:`._composite`).
"""

import functools
from typing import Any

import torch
from torch._functorch.autograd_function import enable_single_level_autograd_function
from torch.autograd import forward_ad

from . import _composite, _composite_gradients, _library

_functorch = torch._C._are_functorch_transforms_active


def _below_autograd(op: Any, *args: Any) -> Any:
    """The operator itself; within a functorch transform, the level below with its gradients on."""
    if not _functorch():
        with torch._C._AutoDispatchBelowAutograd():
            return op(*args)
    with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True), torch._C._AutoDispatchBelowAutograd():
        return op(*args)


_REGISTRATIONS = torch.library.Library("melisma", "IMPL")


class _Rule(torch.autograd.Function):
    """The base of all rules: `op` with the tensor arguments first."""

    op: Any
    tensors: int  # how many leading arguments are tensors

    @classmethod
    def run(cls, *args: Any) -> Any:
        """The operator with its gradient."""
        if _functorch():  # at one level of a functorch transform, as PyTorch's own operators
            with enable_single_level_autograd_function():
                return super(torch.autograd.Function, cls).apply(*args)
        return cls.apply(*args)

    @classmethod
    def forward(cls, *args: Any) -> Any:
        """The operator itself."""
        return _below_autograd(cls.op, *args)

    @classmethod
    def setup_context(cls, ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep the tensors, which are the operator's own arguments, and the options."""
        tensors, ctx.options = inputs[: cls.tensors], inputs[cls.tensors :]
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)


def _no_gradients(options: Any) -> tuple[None, ...]:
    return (None,) * len(options)


def _needs_gradient(*tensors: Any) -> bool:
    """Whether reverse or forward mode can reach any of the tensors."""
    return (
        (torch.is_grad_enabled() and torch._C._any_requires_grad(*tensors))
        or forward_ad._current_level >= 0
        or _functorch()
    )


def _requires_gradient(tensor: Any) -> bool:
    """Whether this very tensor is differentiated, in reverse or forward mode."""
    if tensor is None:
        return False
    if torch.is_grad_enabled() and tensor.requires_grad:
        return True
    if not _forward_mode():
        return False
    return _functorch() or forward_ad.unpack_dual(tensor).tangent is not None


def _forward_mode() -> bool:
    return bool(forward_ad._current_level >= 0)


def _sum(*terms: Any) -> Any:
    """The sum of the terms that are not None."""
    present = [term for term in terms if term is not None]
    return sum(present[1:], present[0]) if present else None


def _like(gradient: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    return gradient.to(tensor.dtype)


class _Bilinear(_Rule):
    """A rule of an operator that is linear in each of its two tensors: forward mode is the operator on the tangents."""

    tensors = 2

    @classmethod
    def jvp(cls, ctx: Any, first_tangent: Any, second_tangent: Any, *_: Any) -> Any:
        first, second = ctx.saved_tensors
        return _sum(
            None if first_tangent is None else cls.op(first_tangent, second, *ctx.options),
            None if second_tangent is None else cls.op(first, second_tangent, *ctx.options),
        )


class _Stft(_Bilinear):
    op = _library.stft

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, window = ctx.saved_tensors
        on_x = on_window = None
        if ctx.needs_input_grad[0]:
            on_x = _library.call(_library.stft_adjoint, (grad, window), x.shape[-1], x.is_complex(), *ctx.options)
        if ctx.needs_input_grad[1]:
            on_window = _like(_library.call(_library.stft_window_gradient, (x, grad), *ctx.options), window)
        return on_x if on_x is None else _like(on_x, x), on_window, *_no_gradients(ctx.options)


class _StftAdjoint(_Bilinear):
    op = _library.stft_adjoint

    @staticmethod
    def backward(ctx: Any, above: Any) -> Any:
        grad, window = ctx.saved_tensors
        options = ctx.options[2:]  # without samples and complex_input
        on_grad = on_window = None
        if ctx.needs_input_grad[0]:
            on_grad = _library.stft(above, window, *options)
        if ctx.needs_input_grad[1]:
            on_window = _like(_library.stft_window_gradient(above, grad, *options), window)
        return on_grad, on_window, *_no_gradients(ctx.options)


class _StftWindowGradient(_Bilinear):
    op = _library.stft_window_gradient

    @staticmethod
    def backward(ctx: Any, above: Any) -> Any:
        x, grad = ctx.saved_tensors
        on_x = on_grad = None
        if ctx.needs_input_grad[0]:
            on_x = _like(_library.stft_adjoint(grad, above, x.shape[-1], x.is_complex(), *ctx.options), x)
        if ctx.needs_input_grad[1]:
            on_grad = _library.stft(x, above, *ctx.options)
        return on_x, on_grad, *_no_gradients(ctx.options)


class _Istft(_Rule):
    op, tensors = _library.istft, 2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        spectrum, window, *ctx.options = inputs
        ctx.save_for_backward(window)
        ctx.save_for_forward(window)
        ctx.frames = spectrum.shape[-2 if ctx.options[-1] else -1]

    @staticmethod
    def backward(ctx: Any, above: Any) -> Any:
        (window,) = ctx.saved_tensors
        n_fft, hop_length, win_length, center, normalized, onesided, _length, _complex, edge, frame_major = ctx.options
        on_spectrum = _library.call(
            _library.istft_adjoint,
            (above, window),
            ctx.frames,
            n_fft,
            hop_length,
            win_length,
            center,
            normalized,
            onesided,
            edge,
            frame_major,
        )
        return on_spectrum, None, *_no_gradients(ctx.options)

    @staticmethod
    def jvp(ctx: Any, tangent: Any, *_: Any) -> Any:
        (window,) = ctx.saved_tensors
        return _library.istft(tangent, window, *ctx.options)


class _IstftAdjoint(_Rule):
    op, tensors = _library.istft_adjoint, 2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        grad, window, *ctx.options = inputs
        ctx.save_for_backward(window)
        ctx.save_for_forward(window)
        ctx.length, ctx.complex = grad.shape[-1], grad.is_complex()

    @staticmethod
    def backward(ctx: Any, above: Any) -> Any:
        (window,) = ctx.saved_tensors
        _frames, n_fft, hop_length, win_length, center, normalized, onesided, edge, frame_major = ctx.options
        on_grad = _library.istft(
            above,
            window,
            n_fft,
            hop_length,
            win_length,
            center,
            normalized,
            onesided,
            ctx.length,
            ctx.complex,
            edge,
            frame_major,
        )
        return on_grad, None, *_no_gradients(ctx.options)

    @staticmethod
    def jvp(ctx: Any, tangent: Any, *_: Any) -> Any:
        (window,) = ctx.saved_tensors
        return _library.istft_adjoint(tangent, window, *ctx.options)


class _Spectrogram(_Rule):
    op, tensors = _library.spectrogram, 2

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, window = ctx.saved_tensors
        *options, _pcm_scale, frame_major = ctx.options
        on_x = _library.call(_library.spectrogram_backward, (grad, x, window), *options, frame_major)
        return on_x, None, *_no_gradients(ctx.options)


class _FilteredSpectrogram(_Rule):
    op, tensors = _library.filtered_spectrogram, 3

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, window, filterbank = ctx.saved_tensors
        *options, _pcm_scale, log, _top_db, _packed, float64, frame_major, bank_key = ctx.options
        on_x = _library.call(
            _library.filtered_spectrogram_backward,
            (grad, x, window, filterbank),
            *options,
            log,
            float64,
            frame_major,
            bank_key,
        )
        return on_x, None, None, *_no_gradients(ctx.options)


def _bilinear(rule: type[_Rule]) -> Any:
    """The autograd kernel of an operator whose rule covers all of its tensors."""

    def kernel(keyset: Any, *args: Any) -> Any:
        if not _needs_gradient(*args[: rule.tensors]):
            return _library.below_autograd(rule.op, keyset, *args)
        return rule.run(*args)

    return kernel


def _istft_kernel(keyset: Any, *args: Any) -> Any:
    if not _needs_gradient(*args[:2]):
        return _library.below_autograd(_library.istft, keyset, *args)
    return _composite.istft(*args) if _requires_gradient(args[1]) else _Istft.run(*args)


def _istft_adjoint_kernel(keyset: Any, *args: Any) -> Any:
    if not _needs_gradient(*args[:2]):
        return _library.below_autograd(_library.istft_adjoint, keyset, *args)
    if _requires_gradient(args[1]):
        return _composite_gradients.istft_adjoint(*args)
    return _IstftAdjoint.run(*args)


def _spectrogram_kernel(keyset: Any, *args: Any) -> Any:
    if not _needs_gradient(*args[:2]):
        return _library.below_autograd(_library.spectrogram, keyset, *args)
    if _forward_mode() or _requires_gradient(args[1]):
        return _composite.spectrogram(*args)
    return _Spectrogram.run(*args)


def _filtered_spectrogram_kernel(keyset: Any, *args: Any) -> Any:
    if not _needs_gradient(*args[:3]):
        return _library.below_autograd(_library.filtered_spectrogram, keyset, *args)
    if _forward_mode() or _requires_gradient(args[1]) or _requires_gradient(args[2]):
        return _composite.filtered_spectrogram(*args)
    # The dispatcher leaves a last argument out where it is the default.
    *options, log, top_db, packed, float64, frame_major, bank_key = args if len(args) == 18 else (*args, 0)
    # The fused backward ends before the clipping, whose gradient goes through the maximum.
    y = _FilteredSpectrogram.run(*options, log, float("inf"), packed, float64, frame_major, bank_key)
    return _composite.clipped(y, top_db, packed, args[0].ndim)


def _spectrogram_backward_kernel(keyset: Any, *args: Any) -> Any:
    if not _needs_gradient(*args[:3]):
        return _library.below_autograd(_library.spectrogram_backward, keyset, *args)
    return _composite_gradients.spectrogram_backward(*args)


def _filtered_spectrogram_backward_kernel(keyset: Any, *args: Any) -> Any:
    if not _needs_gradient(*args[:4]):
        return _library.below_autograd(_library.filtered_spectrogram_backward, keyset, *args)
    return _composite_gradients.filtered_spectrogram_backward(*args)


for _name, _kernel in {
    "stft": _bilinear(_Stft),
    "stft_adjoint": _bilinear(_StftAdjoint),
    "stft_window_gradient": _bilinear(_StftWindowGradient),
    "istft": _istft_kernel,
    "istft_adjoint": _istft_adjoint_kernel,
    "spectrogram": _spectrogram_kernel,
    "spectrogram_backward": _spectrogram_backward_kernel,
    "filtered_spectrogram": _filtered_spectrogram_kernel,
    "filtered_spectrogram_backward": _filtered_spectrogram_backward_kernel,
}.items():
    _REGISTRATIONS.impl(_name, _kernel, "Autograd", with_keyset=True)
    _library.with_gradient[getattr(_library, _name)] = functools.partial(_kernel, None)
