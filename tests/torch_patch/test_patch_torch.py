"""patch_torch reroutes what it can, counts it, hands on the rest unchanged, and leaves no trace."""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.utils._python_dispatch
from torch import istft as bound_istft
from torch import stft as bound_stft
from torch.autograd import forward_ad

import melisma
import tolerances
from melisma.torch.patch import Count, patch_torch

PLAIN = {name: getattr(torch, name) for name in ("stft", "istft")}
N_FFT, HOP = 64, 16
WINDOW = torch.hann_window(N_FFT)
EAGER = {"window": WINDOW, "return_complex": True}

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
def x() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).standard_normal((2, 1000)).astype(np.float32))


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    for owner in (torch, torch.functional):
        assert owner.stft is PLAIN["stft"]
        assert owner.istft is PLAIN["istft"]


def assert_same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    # Both are float32 transforms of frames of norm about sqrt(64): twice one's error.
    bound = 2.0 * tolerances.transform(N_FFT, tolerances.EPS32) * 3.0 * np.sqrt(N_FFT)
    assert float((ours - theirs).detach().abs().max()) <= bound


def only(patch: Any) -> Count:
    (count,) = patch.counts()
    return count


FRONT_DOORS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "torch.stft": lambda x: torch.stft(x, N_FFT, HOP, **EAGER),
    "keywords": lambda x: torch.stft(input=x, n_fft=N_FFT, hop_length=HOP, **EAGER),
    "torch.functional.stft": lambda x: torch.functional.stft(x, N_FFT, HOP, **EAGER),
    "Tensor.stft": lambda x: x.stft(N_FFT, HOP, **EAGER),
    "bound before": lambda x: bound_stft(x, N_FFT, HOP, **EAGER),
    "aten": lambda x: torch.ops.aten.stft.center(x, N_FFT, HOP, None, WINDOW, True, "reflect", False, True, True),
    "no centre": lambda x: torch.stft(x, N_FFT, HOP, center=False, pad_mode=None, **EAGER),
}


@pytest.mark.parametrize("name", FRONT_DOORS)
@pytest.mark.parametrize("inference", [False, True])
def test_every_way_to_stft_is_rerouted(name: str, inference: bool, x: torch.Tensor) -> None:
    with torch.inference_mode(inference):
        theirs = FRONT_DOORS[name](x)
        with patch_torch() as patch:
            ours = FRONT_DOORS[name](x)
        assert_same(ours, theirs)
        assert ours.stride() == theirs.stride()
    assert only(patch) == Count("stft", "rerouted", "", 1)


@pytest.mark.parametrize("inference", [False, True])
def test_every_way_to_istft_is_rerouted(inference: bool, x: torch.Tensor) -> None:
    spectrum = torch.stft(x, N_FFT, HOP, **EAGER)
    with torch.inference_mode(inference), patch_torch() as patch:
        for call in (torch.istft, torch.functional.istft, bound_istft, torch.Tensor.istft):
            y = call(spectrum, N_FFT, HOP, window=WINDOW, length=1000)
            assert float((y - x).abs().max()) <= tolerances.ROUND_TRIP
    assert only(patch) == Count("istft", "rerouted", "", 4)


DOUBLE = torch.hann_window(48, dtype=torch.float64)
OPTIONS: list[dict[str, Any]] = [
    {},
    {"center": False},
    {"normalized": True, "hop_length": 9},
    {"win_length": 48, "window": DOUBLE, "pad_mode": "constant"},
    {"onesided": False, "win_length": 48, "window": DOUBLE, "pad_mode": "replicate"},
    {"center": False, "win_length": 48, "window": DOUBLE, "align_to_window": True},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("shape", [(500,), (1, 500), (3, 500)])
def test_options_give_pytorchs_values_and_strides(options: dict[str, Any], dtype: torch.dtype, shape: Any) -> None:
    x = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(1))
    if dtype.is_complex and (options.get("pad_mode") == "replicate" or options.get("onesided") is False):
        x = x.movedim(-1, 0).contiguous().movedim(0, -1)  # strided as well
    options = {"window": torch.ones(N_FFT, dtype=torch.float64)} | options
    theirs = torch.stft(x, N_FFT, **options, return_complex=True)
    names = ("hop_length", "win_length", "window", "normalized")
    shared = {name: options[name] for name in names if name in options}
    onesided = not dtype.is_complex and options.get("onesided", True)
    inverse: dict[str, Any] = {**shared, "onesided": onesided, "return_complex": dtype.is_complex}
    back = torch.istft(theirs, N_FFT, **inverse) if options.get("center", True) else None
    with patch_torch() as patch:
        ours = torch.stft(x, N_FFT, **options, return_complex=True)
        our_back = torch.istft(theirs, N_FFT, **inverse) if back is not None else None
    assert all(count.outcome == "rerouted" for count in patch.counts())
    assert (ours.shape, ours.stride(), ours.dtype) == (theirs.shape, theirs.stride(), theirs.dtype)
    bound = 2.0 * tolerances.transform(N_FFT, tolerances.EPS64) * 4.0 * np.sqrt(N_FFT)
    assert float((ours - theirs).abs().max()) <= bound
    if back is not None and our_back is not None:
        assert (our_back.shape, our_back.dtype) == (back.shape, back.dtype)
        assert float((our_back - back).abs().max()) <= bound


def test_signatures_are_pytorchs() -> None:
    with patch_torch():
        ours, theirs = inspect.signature(torch.stft), inspect.signature(PLAIN["stft"])
        assert [(p.name, p.default) for p in ours.parameters.values()] == [
            (p.name, p.default) for p in theirs.parameters.values()
        ]
        named = {"hop_length": HOP, "win_length": None, "window": WINDOW, "center": True, "normalized": False}
        spectrum = torch.stft(torch.ones(300), N_FFT, **EAGER)
        torch.istft(
            input=spectrum, n_fft=N_FFT, **named, onesided=True, length=None, return_complex=False
        )  # as in PyTorch's documentation


def test_pairs_come_without_complex_numbers(x: torch.Tensor) -> None:
    with patch_torch() as patch:
        pairs = torch.stft(x, N_FFT, HOP, window=WINDOW, return_complex=False)
    assert_same(torch.view_as_complex(pairs.contiguous()), torch.stft(x, N_FFT, HOP, **EAGER))
    assert only(patch).outcome == "rerouted"


class Scaled(torch.Tensor):
    """A subclass of no meaning."""


class Mode(torch.utils._python_dispatch.TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def _in_a_mode(x: torch.Tensor) -> torch.Tensor:
    with Mode():
        return torch.stft(x, N_FFT, HOP, **EAGER)


FALLS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
    "subclass": (
        lambda x: torch.stft(x.as_subclass(Scaled), N_FFT, HOP, center=False, **EAGER).as_subclass(torch.Tensor),
        "Scaled is not a plain tensor",
    ),
    "device": (
        lambda x: torch.stft(x.to("meta"), N_FFT, HOP, window=WINDOW.to("meta"), return_complex=True),
        "device meta",
    ),
    "window": (
        lambda x: torch.stft(x, N_FFT, HOP, window=WINDOW.double(), return_complex=True),
        "window torch.float64 for input torch.float32",
    ),
    "mode": (_in_a_mode, "inside a dispatch mode"),
}


@pytest.mark.parametrize("name", FALLS)
def test_what_melisma_does_not_take_is_pytorchs_and_counted_once(name: str, x: torch.Tensor) -> None:
    call, reason = FALLS[name]
    theirs = call(x)
    with patch_torch() as patch:
        ours = call(x)
    assert only(patch) == Count("stft", "fell through", reason, 1)
    assert ours.dtype == theirs.dtype
    if ours.device.type == "cpu":
        assert torch.equal(ours, theirs)


REFUSED: dict[str, tuple[Callable[[torch.Tensor], object], str]] = {
    "too short": (lambda x: torch.stft(x[:, :20], N_FFT, HOP, **EAGER), "melisma refuses"),
    "n_fft": (lambda x: torch.stft(x, 0, HOP, return_complex=True), "melisma refuses"),
    "rank": (lambda x: torch.stft(x[None], N_FFT, HOP, **EAGER), "more than 2 dimensions"),
    "integers": (lambda x: torch.stft(x.int(), N_FFT, HOP, **EAGER), "dtype torch.int32"),
    "return_complex": (lambda x: torch.stft(x, N_FFT, HOP, window=WINDOW), "return_complex is None"),
    "real spectrum": (lambda x: torch.istft(x, N_FFT, HOP, window=WINDOW), "melisma refuses"),
    "sparse": (lambda x: torch.stft(x.to_sparse(), N_FFT, HOP, **EAGER), "layout torch.sparse_coo"),
    "window name": (lambda x: torch.stft(x, N_FFT, window="hann", return_complex=True), "str is not a plain tensor"),
    "istft rank": (lambda x: torch.istft(torch.zeros(1, 1, 33, 5) + 0j, N_FFT), "more than 3 dimensions"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_errors_are_pytorchs_own(name: str, x: torch.Tensor) -> None:
    call, reason = REFUSED[name]
    with pytest.raises((RuntimeError, TypeError, IndexError, ValueError, NotImplementedError)) as theirs:
        call(x)
    with patch_torch() as patch, pytest.raises(type(theirs.value)) as ours:
        call(x)
    assert type(ours.value) is type(theirs.value)
    assert str(ours.value).splitlines()[0] == str(theirs.value).splitlines()[0]
    count = only(patch)
    assert (count.outcome, count.calls) == ("fell through", 1)
    assert reason in count.reason
    assert "got" not in count.reason  # one line a reason, not one a value


def test_gradients_are_rerouted(x: torch.Tensor) -> None:
    def loss(x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(x, N_FFT, HOP, **EAGER)
        return torch.istft(spectrum * 2.0, N_FFT, HOP, window=WINDOW, length=1000).square().sum()

    with patch_torch() as patch:
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
        (second,) = torch.autograd.grad(gradient.sum(), leaf)
        bound_stft(leaf, N_FFT, HOP, **EAGER).abs().square().sum().backward()
        with torch.no_grad():
            torch.stft(leaf, N_FFT, HOP, **EAGER)
    # d/dx |2 x|^2 = 8 x; two float32 transforms there and two back.
    bound = 8.0 * 2.0 * tolerances.ROUND_TRIP * float(x.abs().max())
    assert float((gradient - 8.0 * x).detach().abs().max()) <= bound
    assert float((second - 8.0).abs().max()) <= bound
    other = x.clone().requires_grad_()
    torch.stft(other, N_FFT, HOP, **EAGER).abs().square().sum().backward()
    assert leaf.grad is not None
    assert other.grad is not None
    torch.testing.assert_close(leaf.grad, other.grad, rtol=0, atol=1e-5 * float(other.grad.abs().max()))
    assert patch.counts() == [Count("stft", "rerouted", "", 3), Count("istft", "rerouted", "", 1)]


@pytest.mark.parametrize("call", [lambda *a, **k: torch.stft(*a, **k), bound_stft])
def test_forward_mode_is_rerouted(call: Any, x: torch.Tensor) -> None:
    with patch_torch() as patch, forward_ad.dual_level():
        out = call(forward_ad.make_dual(x, 2.0 * x), N_FFT, HOP, **EAGER)
        primal, tangent = forward_ad.unpack_dual(out)
        assert_same(tangent, 2.0 * primal)
    assert only(patch) == Count("stft", "rerouted", "", 1)


def test_vmap_and_func_grad_work(x: torch.Tensor) -> None:
    def power(row: torch.Tensor) -> torch.Tensor:
        return torch.stft(row, N_FFT, HOP, **EAGER).abs().square().sum()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch has no batching rule of its own
        theirs = torch.func.vmap(power)(x), torch.func.grad(power)(x[0]), torch.func.vmap(torch.func.grad(power))(x)
        with patch_torch():
            ours = torch.func.vmap(power)(x), torch.func.grad(power)(x[0]), torch.func.vmap(torch.func.grad(power))(x)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("grad", [False, True])
def test_compiled_code_works_while_patched_and_after(backend: str, grad: bool, x: torch.Tensor) -> None:
    def power(x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(x, N_FFT, HOP, window=WINDOW, return_complex=True)
        return torch.view_as_real(spectrum).square().sum(-1)

    torch._dynamo.reset()
    want = power(x)
    leaf = x.clone().requires_grad_(grad)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        with patch_torch():
            inside = torch.compile(power, backend=backend, fullgraph=True)
            got = inside(leaf)
        after = inside(leaf)
    for result in (got, after):
        torch.testing.assert_close(result.detach(), want, rtol=1e-4, atol=1e-4)
        if grad:
            result.sum().backward()
    assert (leaf.grad is not None) is grad


def scripted(x: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    spectrum = torch.stft(x, 64, 16, window=window, return_complex=True)
    return torch.istft(spectrum, 64, 16, window=window, length=1000)


def test_torchscript_compiles_and_is_rerouted(x: torch.Tensor) -> None:
    with patch_torch() as patch:
        y = torch.jit.script(scripted)(x, WINDOW)
    assert float((y - x).abs().max()) <= tolerances.ROUND_TRIP
    assert {(count.op, count.outcome) for count in patch.counts()} == {("stft", "rerouted"), ("istft", "rerouted")}


def test_the_package_has_it() -> None:
    assert melisma.patch_torch is patch_torch


def test_a_handle_undoes_once_and_keeps_its_counts(x: torch.Tensor) -> None:
    patch = patch_torch()
    torch.stft(x, N_FFT, HOP, **EAGER)
    assert torch.stft is not PLAIN["stft"]
    patch.undo()
    patch.undo()
    assert torch.stft is PLAIN["stft"]
    torch.stft(x, N_FFT, HOP, **EAGER)
    bound_stft(x, N_FFT, HOP, **EAGER)
    assert only(patch).calls == 1
    assert repr(patch) == "<patch_torch: 1 of 1 calls rerouted>"


def test_after_undo_results_are_pytorchs_bits(x: torch.Tensor) -> None:
    before = bound_stft(x, N_FFT, HOP, **EAGER)
    with patch_torch():
        pass
    assert torch.equal(bound_stft(x, N_FFT, HOP, **EAGER), before)
    assert not torch._C._dispatch_has_kernel_for_dispatch_key("aten::istft", "CPU")
    assert not torch._C._dispatch_has_kernel_for_dispatch_key("aten::stft.center", "AutogradCPU")


def test_patches_nest_and_end_in_any_order(x: torch.Tensor) -> None:
    first = patch_torch()
    with patch_torch() as second:
        torch.stft(x, N_FFT, HOP, **EAGER)
        first.undo()
        torch.stft(x, N_FFT, HOP, **EAGER)
    assert (only(first).calls, only(second).calls) == (1, 2)


def test_an_error_inside_undoes_too() -> None:
    with pytest.raises(ZeroDivisionError), patch_torch():
        raise ZeroDivisionError
    assert torch.stft is PLAIN["stft"]


def test_another_patch_on_top_is_left_alone(x: torch.Tensor) -> None:
    calls = []
    patch = patch_torch()
    ours = torch.stft

    def foreign(*args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append(args)
        return ours(*args, **kwargs)

    torch.stft = foreign
    try:
        patch.undo()
        assert torch.stft is foreign
        assert torch.equal(torch.stft(x, N_FFT, HOP, **EAGER), bound_stft(x, N_FFT, HOP, **EAGER))
        assert len(calls) == 1
        assert patch.counts() == []
    finally:
        torch.stft = PLAIN["stft"]


def test_threads_count_every_call(x: torch.Tensor) -> None:
    def work() -> None:
        for _ in range(50):
            with patch_torch():
                torch.stft(x, N_FFT, HOP, **EAGER)
                bound_stft(x, N_FFT, HOP, **EAGER)

    with patch_torch() as patch:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert only(patch) == Count("stft", "rerouted", "", 400)


def test_a_function_mode_still_sees_pytorchs_function(x: torch.Tensor) -> None:
    seen = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func)
            return func(*args, **(kwargs or {}))

    with patch_torch() as patch, Watch():
        torch.stft(x, N_FFT, HOP, **EAGER)
    assert PLAIN["stft"] in seen
    assert only(patch) == Count("stft", "rerouted", "", 1)
