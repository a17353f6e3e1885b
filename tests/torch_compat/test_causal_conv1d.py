"""causal-conv1d's functions on any device: signatures, values and gradients against the references, states, errors, install."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import melisma
from melisma.compat import causal_conv1d, install, uninstall
from melisma.compat.causal_conv1d import causal_conv1d_fn, causal_conv1d_update, cpp_functions
from melisma.compat.causal_conv1d.causal_conv1d_interface import causal_conv1d_ref, causal_conv1d_update_ref
from melisma.compat.causal_conv1d.causal_conv1d_varlen import (
    causal_conv1d_varlen_states,
    causal_conv1d_varlen_states_ref,
)
from torch_device import DEVICE

ROUNDING = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8, torch.float32: 2.0**-24, torch.float64: 2.0**-53}
F64 = torch.float64


def draw(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator("cpu").manual_seed(seed)
    return (2 * torch.rand(shape, generator=generator, dtype=F64, device="cpu") - 1).to(DEVICE, dtype)


def laid_out(layout: str, dim: int, steps: int, dtype: torch.dtype) -> torch.Tensor:
    """Give ``[2, dim, steps]`` in one of the memory layouts that callers have: slices of wider projections."""
    if layout == "contiguous":
        return draw(2, dim + 24, steps, dtype=dtype)[:, 16 : 16 + dim]
    if layout == "channels last":
        return draw(2, steps, dim + 24, dtype=dtype)[..., 16 : 16 + dim].transpose(1, 2)
    return draw(2, dim, 2 * steps, dtype=dtype)[..., ::2]


def error_bound(taps: int, dtype: torch.dtype) -> float:
    """Values and weights below 1: roundings of W + 1 terms in float32, silu's, and one to the dtype."""
    inside = ROUNDING[F64] if dtype == F64 else ROUNDING[torch.float32]
    return 2 * inside * (taps + 4) * (taps + 1) + ROUNDING[dtype] * (taps + 1)


# --- names ------------------------------------------------------------------------------------------------------------


def test_signatures_are_the_originals() -> None:
    tensor, none_or = "torch.Tensor", "torch.Tensor | None"
    for function, text in (
        (
            causal_conv1d_fn,
            "(x, weight, bias=None, seq_idx=None, initial_states=None, return_final_states=False, final_states_out=None, "
            "activation=None)",
        ),
        (
            causal_conv1d_update,
            "(x, conv_state, weight, bias=None, activation=None, cache_seqlens=None, conv_state_indices=None)",
        ),
        (
            causal_conv1d_ref,
            "(x, weight, bias=None, initial_states=None, return_final_states=False, final_states_out=None, activation=None)",
        ),
        (causal_conv1d_update_ref, "(x, conv_state, weight, bias=None, activation=None, cache_seqlens=None)"),
        (causal_conv1d_varlen_states, f"(x: {tensor}, cu_seqlens: {tensor}, state_len: int) -> {tensor}"),
        (causal_conv1d_varlen_states_ref, f"(x: {tensor}, cu_seqlens: {tensor}, state_len: int) -> {tensor}"),
        (
            cpp_functions.causal_conv1d_fwd_function,
            f"(x: {tensor}, weight: {tensor}, bias: {none_or}, seq_idx: {none_or}, initial_states: {none_or}, "
            f"final_states_out: {none_or}, silu_activation: bool) -> {tensor}",
        ),
        (
            cpp_functions.causal_conv1d_bwd_function,
            f"(x: {tensor}, weight: {tensor}, bias: {none_or}, dout: {tensor}, seq_idx: {none_or}, "
            f"initial_states: {none_or}, dfinal_states: {none_or}, dx: {none_or}, return_dinitial_states: {tensor}, "
            f"silu_activation: bool) -> tuple[{none_or}]",
        ),
        (
            cpp_functions.causal_conv1d_update_function,
            f"(x: {tensor}, conv_state: {tensor}, weight: {tensor}, bias: {none_or}, silu_activation: bool, "
            f"cache_seqlens: {none_or}, conv_state_indices: {none_or}) -> {tensor}",
        ),
    ):
        assert str(inspect.signature(function)) == text
    assert causal_conv1d.__version__ == "1.6.1"
    assert causal_conv1d.causal_conv1d_interface.causal_conv1d_fn is causal_conv1d_fn


# --- whole sequences --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [2, 3, 4, 7])
def test_the_reference_is_pytorchs_convolution(width: int) -> None:
    x, weight, bias = draw(2, 6, 9, dtype=F64), draw(6, width, dtype=F64, seed=2), draw(6, dtype=F64, seed=3)
    want = F.conv1d(x, weight[:, None], bias, padding=width - 1, groups=6)[..., :9]
    torch.testing.assert_close(causal_conv1d_ref(x, weight, bias), want)
    torch.testing.assert_close(causal_conv1d_ref(x, weight, activation="swish"), F.silu(want - bias[:, None]))
    first, states = causal_conv1d_ref(x[..., :2], weight, bias, return_final_states=True)
    rest, last = causal_conv1d_ref(x[..., 2:], weight, bias, initial_states=states, return_final_states=True)
    torch.testing.assert_close(torch.cat([first, rest], -1), want)
    assert torch.equal(last, x[..., 9 - width + 1 :])
    out = torch.full_like(states, torch.nan)
    assert causal_conv1d_ref(x[..., :2], weight, None, None, True, out)[1] is out
    assert torch.equal(out, states)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "every second"])
@pytest.mark.parametrize("width", [2, 3, 4, 5])
def test_values(width: int, layout: str, dtype: torch.dtype) -> None:
    dim = 13
    weight, bias = draw(dim, width, seed=2), draw(dim, seed=3)
    for steps in (1, 2, 8, 129):
        x = laid_out(layout, dim, steps, dtype)
        states = draw(2, width - 1, dim, dtype=dtype, seed=4).transpose(1, 2)
        for initial, activation, with_bias in ((None, None, True), (states, "silu", False), (states, "swish", True)):
            arguments = (weight, bias if with_bias else None)
            wide = [None if t is None else t.double() for t in (x, *arguments, initial)]
            want, want_final = causal_conv1d_ref(*wide, return_final_states=True, activation=activation)
            out = causal_conv1d_fn(x, *arguments, initial_states=initial, activation=activation)
            assert out.dtype == dtype
            torch.testing.assert_close(out.double(), want, rtol=0, atol=error_bound(width, dtype))
            given = x.new_full((2, dim, width - 1), torch.nan)
            again, final = causal_conv1d_fn(x, *arguments, None, initial, True, given, activation)
            assert final is given
            assert torch.equal(again, out)
            assert torch.equal(final.double(), want_final)
            _, new = causal_conv1d_fn(x, *arguments, None, initial, True, activation=activation)
            assert torch.equal(new, final)


@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
def test_seq_idx_keeps_sequences_apart_and_padding_at_zero(layout: str) -> None:
    x = laid_out(layout, 8, 12, torch.float32)
    weight, bias = draw(8, 4, seed=2), draw(8, seed=3)
    lengths = ([5, 1, 4], [2, 7, 3])
    index = torch.full((2, 12), -1, dtype=torch.int32)
    want = torch.zeros(2, 8, 12, dtype=F64)
    for item, lens in enumerate(lengths):
        begin = 0
        for number, length in enumerate(lens):
            part = slice(begin, begin + length)
            index[item, part] = number
            want[item, :, part] = causal_conv1d_ref(
                x[item : item + 1, :, part].double(), weight.double(), bias.double(), activation="silu"
            )[0]
            begin += length
    out = causal_conv1d_fn(x, weight, bias, seq_idx=index, activation="silu")
    torch.testing.assert_close(out.double(), want, rtol=0, atol=error_bound(4, torch.float32))
    assert torch.equal(out[0, :, 10:], torch.zeros(8, 2))


@pytest.mark.parametrize("into", [False, True])
@pytest.mark.parametrize("activation", [None, "silu"])
def test_gradients_through_results_and_final_states(activation: str | None, into: bool) -> None:
    tensors = [draw(2, 6, 9, dtype=F64), draw(6, 4, dtype=F64, seed=2), draw(6, dtype=F64, seed=3)]
    tensors.append(draw(2, 6, 3, dtype=F64, seed=4))
    ours, theirs = ([t.clone().requires_grad_() for t in tensors] for _ in range(2))
    on_out, on_final = draw(2, 6, 9, dtype=F64, seed=5), draw(2, 6, 3, dtype=F64, seed=6)
    given = torch.full((2, 6, 3), torch.nan, dtype=F64) if into else None
    got = causal_conv1d_fn(*ours[:3], None, ours[3], True, given, activation)
    want = causal_conv1d_ref(*theirs, return_final_states=True, activation=activation)
    assert not into or got[1] is given
    for results in (got, want):
        ((results[0] * on_out).sum() + (results[1].sin() * on_final).sum()).backward()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-12, atol=1e-12)


def test_gradients_with_seq_idx() -> None:
    x, weight = draw(1, 5, 9, dtype=F64).requires_grad_(), draw(5, 3, dtype=F64, seed=2).requires_grad_()
    index = torch.tensor([[0, 0, 0, 4, 4, 4, 4, -1, -1]], dtype=torch.int32)
    out = causal_conv1d_fn(x, weight, seq_idx=index, activation="silu")
    parts = [causal_conv1d_ref(part, weight, activation="silu") for part in (x[..., :3], x[..., 3:7])]
    want = torch.cat([*parts, torch.zeros_like(x[..., 7:])], -1)
    upstream = draw(1, 5, 9, dtype=F64, seed=5)
    for one, other in zip(
        torch.autograd.grad(out, (x, weight), upstream), torch.autograd.grad(want, (x, weight), upstream), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


# --- steps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize("width", [2, 3, 4])
def test_updates(width: int, ring: bool, dtype: torch.dtype) -> None:
    dim, weight, bias = 10, draw(10, width, seed=2), draw(10, seed=3)
    numbers = torch.tensor([0, 5, 1023], dtype=torch.int32) if ring else None
    for places in (width - 1, width, width + 6):
        for steps in (None, 1, 4, 5):
            if ring and (steps or 1) > places:
                continue  # the order of writes to one place is the reference's scatter's
            x = draw(3, dim, dtype=dtype) if steps is None else draw(3, steps, dim, dtype=dtype).transpose(1, 2)
            state = draw(3, places, dim, dtype=dtype, seed=4).transpose(1, 2)
            want_state, plain = state.to(F64, copy=True), state.clone()
            want = causal_conv1d_update_ref(x.double(), want_state, weight.double(), bias.double(), "silu", numbers)
            out = causal_conv1d_update(x, state, weight, bias, "silu", numbers)
            assert out.dtype == dtype
            torch.testing.assert_close(out.double(), want, rtol=0, atol=error_bound(width, dtype))
            assert torch.equal(state.double(), want_state)
            causal_conv1d_update_ref(x, plain, weight, None, None, numbers)
            assert torch.equal(plain, state)


@pytest.mark.parametrize("ring", [False, True])
def test_updates_of_chosen_rows_with_padding(ring: bool) -> None:
    weight = draw(8, 4, seed=2)
    x, state = draw(4, 8, 2), draw(9, 8, 5, seed=4)
    rows = torch.tensor([7, -1, 2, -1], dtype=torch.int32)
    numbers = torch.tensor([3, 0, 11, 0], dtype=torch.int32) if ring else None
    before = state.clone()
    out = causal_conv1d_update(x, state, weight, activation="silu", cache_seqlens=numbers, conv_state_indices=rows)
    chosen = before[[7, 2]]
    want = causal_conv1d_update_ref(
        x[[0, 2]], chosen, weight, None, "silu", None if numbers is None else numbers[[0, 2]]
    )
    torch.testing.assert_close(out[[0, 2]], want, rtol=0, atol=error_bound(4, torch.float32))
    assert torch.equal(out[[1, 3]], torch.zeros(2, 8, 2))
    assert torch.equal(state[[7, 2]], chosen)
    untouched = [0, 1, 3, 4, 5, 6, 8]
    assert torch.equal(state[untouched], before[untouched])


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
@pytest.mark.parametrize("index_dtype", [torch.int32, torch.int64])
def test_varlen_states(index_dtype: torch.dtype, dtype: torch.dtype) -> None:
    x = (100 * draw(23, 5)).to(dtype)
    if dtype == torch.float32:
        x[8] = torch.nan  # another sequence's
    cu_seqlens = torch.tensor([0, 2, 2, 9, 10, 23], dtype=index_dtype)
    for state_len in (1, 3, 8, 30):
        states = causal_conv1d_varlen_states(x, cu_seqlens, state_len)
        assert states.stride(1) == 1
        assert states.dtype == dtype
        want = causal_conv1d_varlen_states_ref(x, cu_seqlens, state_len)
        torch.testing.assert_close(states, want, rtol=0, atol=0, equal_nan=True)
        for i, (begin, end) in enumerate(((0, 2), (2, 2), (2, 9), (9, 10), (10, 23))):
            kept = min(end - begin, state_len)
            torch.testing.assert_close(
                want[i, :, state_len - kept :], x[end - kept : end].T, rtol=0, atol=0, equal_nan=True
            )
            assert not want[i, :, : state_len - kept].any()
    assert not causal_conv1d_varlen_states(x[:0], 0 * cu_seqlens, 3).any()


# --- below autograd ---------------------------------------------------------------------------------------------------


def test_cpp_functions() -> None:
    tensors = [draw(2, 6, 9), draw(6, 4, seed=2), draw(6, seed=3), draw(2, 6, 3, seed=4)]
    leaves = [t.clone().requires_grad_() for t in tensors]
    x, weight, bias, initial = tensors
    final = torch.full_like(initial, torch.nan)
    want, want_final = causal_conv1d_fn(*leaves[:3], None, leaves[3], True, activation="silu")
    out = cpp_functions.causal_conv1d_fwd_function(*leaves[:3], None, leaves[3], final, True)
    assert torch.equal(out, want)
    assert not out.requires_grad
    assert torch.equal(final, want_final)
    assert torch.equal(
        cpp_functions.causal_conv1d_fwd_function(x, weight, None, None, None, None, False), causal_conv1d_fn(x, weight)
    )
    on_out, on_final = draw(2, 6, 9, seed=5), draw(2, 6, 3, seed=6)
    grads = torch.autograd.grad((want, want_final), leaves, (on_out, on_final))
    for dx in (None, torch.full((2, 6, 9), torch.nan)):
        got = cpp_functions.causal_conv1d_bwd_function(x, weight, bias, on_out, None, initial, on_final, dx, True, True)
        assert dx is None or got[0] is dx
        for ours, theirs in zip(got, grads, strict=True):
            assert torch.equal(ours, theirs)
    _, _, on_bias, on_initial = cpp_functions.causal_conv1d_bwd_function(
        x, weight, None, on_out, None, None, None, None, False, False
    )
    assert on_bias is None
    assert on_initial is None
    state, other = draw(2, 6, 4, seed=7), draw(2, 6, 4, seed=7)
    assert torch.equal(
        cpp_functions.causal_conv1d_update_function(x, state, weight, bias, True, None, None),
        causal_conv1d_update(x, other, weight, bias, "silu"),
    )
    assert torch.equal(state, other)


# --- errors -----------------------------------------------------------------------------------------------------------


def test_errors() -> None:
    x, weight, state = draw(2, 8, 5), draw(8, 4), draw(2, 8, 3)
    before = state.clone()
    index = torch.zeros(2, 5, dtype=torch.int32)
    for function in (causal_conv1d_fn, causal_conv1d_ref):
        with pytest.raises(NotImplementedError, match="activation must be None, 'silu' or 'swish', got 'relu'"):
            function(x, weight, activation="relu")
    for update in (causal_conv1d_update, causal_conv1d_update_ref):
        with pytest.raises(NotImplementedError, match="activation must be None, 'silu' or 'swish', got True"):
            update(x, state, weight, activation=True)
    with pytest.raises(AssertionError, match="initial_states must be None where seq_idx is given"):
        causal_conv1d_fn(x, weight, seq_idx=index, initial_states=state)
    with pytest.raises(AssertionError, match="return_final_states must be False where seq_idx is given"):
        causal_conv1d_fn(x, weight, seq_idx=index, return_final_states=True)
    refused: list[tuple[Any, str]] = [
        (lambda: causal_conv1d_fn(x, weight[:7]), "weight"),
        (lambda: causal_conv1d_fn(x, draw(8, 33)), "weight"),
        (lambda: causal_conv1d_fn(x, weight, draw(7)), "bias"),
        (lambda: causal_conv1d_fn(x, weight, seq_idx=index[:, :4]), "seq_idx"),
        (lambda: causal_conv1d_fn(x, weight, initial_states=state[..., :2]), "initial_states"),
        (lambda: causal_conv1d_update(x, state[..., :2], weight), "conv_state"),
        (
            lambda: causal_conv1d_update(x, state, weight, cache_seqlens=torch.zeros(3, dtype=torch.int32)),
            "cache_seqlens",
        ),
    ]
    for call, argument in refused:
        with pytest.raises(RuntimeError, match=argument) as caught:
            call()
        assert isinstance(caught.value, melisma.InvalidArgument)
    assert torch.equal(state, before)


# --- under the original's name ----------------------------------------------------------------------------------------


@pytest.fixture
def no_trace() -> Iterator[None]:
    assert "causal_conv1d" not in sys.modules
    yield
    uninstall()


@pytest.mark.usefixtures("no_trace")
def test_install_and_uninstall() -> None:
    installed = importlib.util.find_spec("causal_conv1d") is not None
    install("causal_conv1d")
    install("causal_conv1d")
    spec = importlib.util.find_spec("causal_conv1d")  # asked for before it is imported, as availability checks do
    assert spec is not None
    assert importlib.metadata.version("causal_conv1d") == "1.6.1"
    assert importlib.metadata.version("causal-conv1d") == "1.6.1"
    assert importlib.metadata.metadata("causal-conv1d")["Name"] == "causal-conv1d"
    import causal_conv1d as named
    from causal_conv1d.causal_conv1d_interface import causal_conv1d_ref as of_interface
    from causal_conv1d.causal_conv1d_varlen import causal_conv1d_varlen_states as of_varlen
    from causal_conv1d.cpp_functions import causal_conv1d_fwd_function as of_cpp

    assert named is causal_conv1d
    assert of_interface is causal_conv1d_ref
    assert of_varlen is causal_conv1d_varlen_states
    assert of_cpp is cpp_functions.causal_conv1d_fwd_function
    assert importlib.util.find_spec("causal_conv1d") is not None
    assert causal_conv1d.__spec__.name == "melisma.compat.causal_conv1d"
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("causal_conv1d.nothing")

    uninstall("causal_conv1d")
    assert not [name for name in sys.modules if name.split(".")[0] == "causal_conv1d"]
    if not installed:
        assert importlib.util.find_spec("causal_conv1d") is None
        with pytest.raises(importlib.metadata.PackageNotFoundError):
            importlib.metadata.version("causal_conv1d")


@pytest.mark.usefixtures("no_trace")
def test_install_keeps_functions_whose_modules_have_their_names() -> None:
    from melisma.compat import mps_spectro as ours

    install("mps_spectro", "causal_conv1d_mps")
    import causal_conv1d_mps
    import mps_spectro
    import mps_spectro.stft as module

    assert mps_spectro is ours
    assert callable(mps_spectro.stft)
    assert module is mps_spectro.stft  # as the import statement has it: the package's attribute
    assert sys.modules["mps_spectro.stft"] is sys.modules["melisma.compat.mps_spectro.stft"]
    assert causal_conv1d_mps.__version__ == importlib.metadata.version("causal-conv1d-mps") == "0.1.0"


def test_a_look_at_all_distributions_imports_nothing() -> None:
    code = (
        "import sys, melisma.compat, importlib.metadata as metadata\n"
        "melisma.compat.install('causal_conv1d', 'causal_conv1d_mps', 'mps_spectro')\n"
        "names = {found.metadata['Name'] for found in metadata.distributions()}\n"
        "assert {'causal-conv1d', 'causal-conv1d-mps', 'mps-spectro'} <= names, names\n"
        "metadata.entry_points(group='torch.backends')\n"
        "assert 'torch' not in sys.modules\n"
        "import torch, causal_conv1d\n"
        "assert torch.ones(1).device.type == 'cpu'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_install_refuses_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(melisma.InvalidArgument, match="projects must be of causal_conv1d, .*, got 'madmom'"):
        install("madmom")
    monkeypatch.setitem(sys.modules, "causal_conv1d", sys)
    with pytest.raises(melisma.InvalidArgument, match="causal_conv1d must not be imported yet"):
        install("causal_conv1d")
