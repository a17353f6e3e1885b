"""torch.func and vmap: the operators inside every transform, alone and nested, are what they are outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.autograd import forward_ad

import melisma
import melisma.torch  # the operators under test
from torch_ops.common import positive_window, rand, randn

N, HOP = 8, 3
BANK = 0.1 + rand(5, 3, dtype=torch.float64, seed=2)
MEL: dict[str, Any] = {"sample_rate": 8000, "n_fft": N, "hop_length": HOP, "n_mels": 3}
Call = Callable[..., torch.Tensor]

# Signal and window in, one result out.
SIGNALS: dict[str, Call] = {
    "stft": lambda x, w: melisma.stft(x, N, HOP, window=w),
    "stft frame-major": lambda x, w: melisma.stft(x, N, HOP, window=w, layout="frame_major", onesided=False),
    "spectrogram": lambda x, w: melisma.spectrogram(x, n_fft=N, hop_length=HOP, window=w),
    "magnitude": lambda x, w: melisma.spectrogram(x, n_fft=N, hop_length=HOP, window=w, power=1.0),
    "mel": lambda x, w: melisma.mel_spectrogram(x, **MEL, window=w),
    "log_mel": lambda x, w: melisma.log_mel(x, **MEL, window=w, log="ln"),
    "log_mel top_db": lambda x, w: melisma.log_mel(x, **MEL, window=w, top_db=9.0),
    "filtered": lambda x, w: melisma.filtered_spectrogram(x, filterbank=BANK, n_fft=N, hop_length=HOP, window=w),
    "istft of stft": lambda x, w: melisma.istft(melisma.stft(x, N, HOP, window=w), N, HOP, window=w, length=15),
}


def close(got: torch.Tensor, want: torch.Tensor) -> None:
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-10)


def real(call: Call) -> Call:
    """A real result of the same information, as jacobians want it."""

    def function(*inputs: torch.Tensor) -> torch.Tensor:
        y = call(*inputs)
        return torch.view_as_real(y) if y.is_complex() else y

    return function


@pytest.mark.parametrize("name", SIGNALS)
class TestSignals:
    def test_vmap_of_the_signal(self, name: str) -> None:
        call, x, w = SIGNALS[name], randn(4, 15), positive_window(N)
        want = torch.stack([call(item, w) for item in x])
        close(torch.vmap(call, in_dims=(0, None))(x, w), want)
        close(torch.vmap(call, in_dims=(1, None))(x.T.contiguous(), w), want)
        close(torch.vmap(call, in_dims=(0, None), out_dims=-1)(x, w), want.movedim(0, -1))
        close(torch.vmap(call, in_dims=(0, None), chunk_size=3)(x, w), want)

    def test_vmap_of_many_axes(self, name: str) -> None:
        call, x, w = SIGNALS[name], randn(2, 3, 2, 15), positive_window(N)
        want = torch.stack([call(item, w) for item in x.movedim(1, 0)])
        close(torch.vmap(call, in_dims=(1, None))(x, w), want)
        nested = torch.vmap(torch.vmap(call, in_dims=(0, None)), in_dims=(1, None))(x, w)
        close(nested, torch.stack([torch.stack([call(i, w) for i in item]) for item in x.movedim(1, 0)]))

    def test_vmap_of_the_window(self, name: str) -> None:
        call, x = SIGNALS[name], randn(3, 2, 15)
        windows = torch.stack([positive_window(N) * (i + 1) for i in range(3)], 1)
        close(
            torch.vmap(call, in_dims=(None, 1))(x[0], windows), torch.stack([call(x[0], w) for w in windows.unbind(1)])
        )
        close(
            torch.vmap(call, in_dims=(0, 1))(x, windows),
            torch.stack([call(i, w) for i, w in zip(x, windows.unbind(1), strict=True)]),
        )

    def test_jacobians(self, name: str) -> None:
        """Forward over the inputs, reverse over the outputs, and PyTorch's loop agree; each for signal and window."""
        call, x, w = real(SIGNALS[name]), randn(15), positive_window(N)
        want = torch.autograd.functional.jacobian(call, (x, w))
        for jacobian in (torch.func.jacrev, torch.func.jacfwd):
            got = jacobian(call, argnums=(0, 1))(x, w)
            for one, other in zip(got, want, strict=True):
                close(one, other)

    def test_hessian(self, name: str) -> None:
        call, x, w = real(SIGNALS[name]), randn(11), positive_window(N)
        weights = randn(*call(x, w).shape, seed=5)

        def loss(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            return (call(x, w) * weights).square().sum()

        want = torch.autograd.functional.hessian(lambda x: loss(x, w), x)
        close(torch.func.hessian(loss)(x, w), want)
        close(torch.func.jacrev(torch.func.jacrev(loss))(x, w), want)
        close(torch.func.jacfwd(torch.func.jacfwd(loss))(x, w), want)

    def test_gradients_for_each_item(self, name: str) -> None:
        """vmap(grad): what each item's own backward gives, for signal and window."""
        call, x, w = SIGNALS[name], randn(3, 15), positive_window(N)

        def loss(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            return call(x, w).abs().square().sum()

        got = torch.vmap(torch.func.grad(loss, argnums=(0, 1)), in_dims=(0, None))(x, w)
        for i, item in enumerate(x):
            leaf, window = item.clone().requires_grad_(), w.clone().requires_grad_()
            want = torch.autograd.grad(loss(leaf, window), (leaf, window))
            close(got[0][i], want[0])
            close(got[1][i], want[1])

    def test_forward_mode_without_func(self, name: str) -> None:
        call, x, w, dx, dw = SIGNALS[name], randn(15), positive_window(N), randn(15, seed=3), randn(N, seed=4)
        want = torch.func.jvp(call, (x, w), (dx, dw))[1]
        with forward_ad.dual_level():
            y = call(forward_ad.make_dual(x, dx), forward_ad.make_dual(w, dw))
            close(forward_ad.unpack_dual(y).tangent, want)
            only = call(forward_ad.make_dual(x, dx), w)
            tangent = forward_ad.unpack_dual(only).tangent
            assert forward_ad.unpack_dual(call(x, w)).tangent is None
        close(tangent, torch.func.jvp(lambda x: call(x, w), (x,), (dx,))[1])
        step = 1e-6
        close_to = (call(x + step * dx, w + step * dw) - call(x - step * dx, w - step * dw)) / (2 * step)
        torch.testing.assert_close(want, close_to, rtol=1e-5, atol=1e-6)

    def test_vjp_and_linearize(self, name: str) -> None:
        call, x, w = SIGNALS[name], randn(15), positive_window(N)
        y, pull = torch.func.vjp(call, x, w)
        above = randn(*y.shape, dtype=y.dtype, seed=6)
        leaves = x.clone().requires_grad_(), w.clone().requires_grad_()
        want = torch.autograd.grad(call(*leaves), leaves, above)
        for got, other in zip(pull(above), want, strict=True):
            close(got, other)


def test_istft_under_vmap() -> None:
    spectra, w = randn(5, 4, 6, dtype=torch.complex128), positive_window(N)
    call = lambda s, w: melisma.istft(s, N, HOP, window=w)  # noqa: E731
    want = torch.stack([call(s, w) for s in spectra.unbind(1)])
    close(torch.vmap(call, in_dims=(1, None))(spectra, w), want)
    grads = torch.vmap(torch.func.grad(lambda s, w: call(s, w).square().sum(), argnums=(0, 1)), in_dims=(1, None))(
        spectra, w
    )
    for i, spectrum in enumerate(spectra.unbind(1)):
        leaves = spectrum.clone().requires_grad_(), w.clone().requires_grad_()
        for got, want_one in zip(grads, torch.autograd.grad(call(*leaves).square().sum(), leaves), strict=True):
            close(got[i], want_one)


def test_the_filterbank_under_transforms() -> None:
    x, banks = randn(2, 15), torch.stack([BANK * (i + 1) for i in range(3)])

    def call(x: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
        return melisma.filtered_spectrogram(x, filterbank=bank, n_fft=N, hop_length=HOP, output_scale="ln")

    close(torch.vmap(call, in_dims=(None, 0))(x, banks), torch.stack([call(x, bank) for bank in banks]))
    close(torch.func.jacrev(call, argnums=1)(x, BANK), torch.autograd.functional.jacobian(lambda b: call(x, b), BANK))
    close(torch.func.jacfwd(call, argnums=1)(x, BANK), torch.func.jacrev(call, argnums=1)(x, BANK))


def test_top_db_groups_under_vmap() -> None:
    """The batch axis of vmap never joins the group that "packed" takes its maximum over."""
    x = torch.stack([randn(15), 1e-3 * randn(15, seed=1)])
    for scope in ("item", "packed"):
        call = lambda x, s=scope: melisma.log_mel(x, **MEL, top_db=10.0, top_db_scope=s)  # noqa: E731
        close(torch.vmap(call)(x), torch.stack([call(item) for item in x]))
        pairs = torch.stack([x, 2 * x.flip(0), 0.1 * x])
        close(torch.vmap(call)(pairs), torch.stack([call(item) for item in pairs]))


def test_dispatcher_operators_are_differentiable_themselves() -> None:
    """The backwards as operators: their gradients, through every argument."""
    ops = torch.ops.melisma
    x, w = randn(2, 15, grad=True), positive_window(N, grad=True)
    spectrum = randn(2, 5, 6, dtype=torch.complex128, grad=True)
    framing: tuple[Any, ...] = (N, HOP, N, True, "reflect", False, True, False, False)
    inverse: tuple[Any, ...] = (N, HOP, N, True, False, True, "error", False)
    power: tuple[Any, ...] = (N, HOP, N, 1.0, "window", True, "reflect", 0, False)
    bands: tuple[Any, ...] = (N, HOP, N, 2.0, "none", True, "reflect", 0, [1.0, 1.0, 0.1, 0.0, 0.0], False, False)
    bank = BANK.clone().requires_grad_()
    for call, inputs in (
        (lambda g, w: ops.stft_adjoint(g, w, 15, False, *framing), (spectrum, w)),
        (lambda x, g: ops.stft_window_gradient(x, g, *framing), (x, spectrum)),
        (lambda g: ops.istft_adjoint(g, w.detach(), 6, *inverse), (x,)),
        (lambda g, w: ops.istft_adjoint(g, w, 6, *inverse), (x, w)),
        (lambda w: ops.istft_adjoint(x.detach(), w, 6, *inverse), (w,)),
        (lambda g, x, w: ops.spectrogram_backward(g, x, w, *power), (randn(2, 5, 6, grad=True), x, w)),
        (
            lambda g, x, w, b: ops.filtered_spectrogram_backward(g, x, w, b, *bands),
            (randn(2, 3, 6, grad=True), x, w, bank),
        ),
    ):
        assert torch.autograd.gradcheck(call, inputs, check_forward_ad=True, check_batched_grad=True)
        assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)
