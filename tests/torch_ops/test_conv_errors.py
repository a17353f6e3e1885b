"""Bad input to the convolution on tensors: one line that names operator, argument, limit and value, and nothing written."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import melisma
import melisma.torch  # the operators under test
from melisma import InvalidArgument, InvalidType
from torch_device import DEVICE
from torch_ops.common import randn
from torch_ops.conv_common import ints
from torch_ops.test_errors import refused

X = randn(2, 5, 9, dtype=torch.float32)
W = randn(5, 4, dtype=torch.float32, seed=2)
B = randn(5, dtype=torch.float32, seed=3)
ON_CPU = DEVICE == "cpu"

FORWARD: dict[str, tuple[dict[str, Any], type[Exception], tuple[str, ...]]] = {
    "x 1-D": ({"x": X[0, 0]}, InvalidArgument, ("x", "2", "1")),
    "x of integers": ({"x": X.long()}, InvalidType, ("x", "float32", "int64")),
    "x complex": ({"x": X.to(torch.complex64)}, InvalidType, ("x", "float32")),
    "x sparse": ({"x": X.to_sparse()}, InvalidType, ("x", "sparse_coo")),
    "x quantised": ({"x": torch.quantize_per_tensor(X, 0.1, 0, torch.qint8)}, InvalidType, ("x", "quantized")),
    "too many axes": ({"x": X[(None,) * 6]}, InvalidArgument, ("x", "8", "9")),
    "weight of other channels": ({"weight": W[:4]}, InvalidArgument, ("weight", "[5, W]", "[4, 4]")),
    "weight 1-D": ({"weight": W[0]}, InvalidArgument, ("weight", "[4]")),
    "weight 3-D": ({"weight": W[:, None]}, InvalidArgument, ("weight", "[5, 1, 4]")),
    "no taps": ({"weight": W[:, :0]}, InvalidArgument, ("weight", "1 to 32", "0")),
    "33 taps": ({"weight": torch.ones(5, 33)}, InvalidArgument, ("weight", "1 to 32", "33")),
    "weight of integers": ({"weight": W.int()}, InvalidType, ("weight", "float32", "int32")),
    "weight elsewhere": ({"weight": W.to("meta")}, InvalidType, ("weight", "meta")),
    "weight a number": ({"weight": 3.0}, InvalidType, ("weight", "tensor", "float")),
    "weight a list": ({"weight": [0.5, 0.5]}, InvalidType, ("weight", "tensor", "list")),
    "bias of other channels": ({"bias": B[:3]}, InvalidArgument, ("bias", "[5]", "[3]")),
    "bias 2-D": ({"bias": B[None]}, InvalidArgument, ("bias", "[1, 5]")),
    "bias of integers": ({"bias": B.long()}, InvalidType, ("bias", "int64")),
    "activation": ({"activation": "gelu"}, InvalidArgument, ("activation", "silu", "'gelu'")),
    "seq_idx int64": ({"seq_idx": torch.zeros(2, 9).long()}, InvalidType, ("seq_idx", "int32", "int64")),
    "seq_idx of floats": ({"seq_idx": torch.zeros(2, 9)}, InvalidType, ("seq_idx", "int32", "Float")),
    "seq_idx 1-D": ({"seq_idx": ints(*range(9))}, InvalidArgument, ("seq_idx", "[2, 9]", "[9]")),
    "seq_idx too short": ({"seq_idx": torch.zeros(2, 8).int()}, InvalidArgument, ("seq_idx", "[2, 9]", "[2, 8]")),
    "cu_seqlens of a batch": ({"cu_seqlens": ints(0, 9)}, InvalidArgument, ("x", "1 item", "2")),
    "cu_seqlens 2-D": ({"x": X[:1], "cu_seqlens": ints(0, 9)[None]}, InvalidArgument, ("cu_seqlens", "[N + 1]")),
    "cu_seqlens empty": ({"x": X[:1], "cu_seqlens": ints()}, InvalidArgument, ("cu_seqlens", "[N + 1]")),
    "cu_seqlens and seq_idx": (
        {"x": X[:1], "cu_seqlens": ints(0, 9), "seq_idx": torch.zeros(1, 9).int()},
        InvalidArgument,
        ("cu_seqlens", "seq_idx"),
    ),
    "states of another width": ({"initial_states": torch.zeros(2, 5, 4)}, InvalidArgument, ("[2, 5, 3]", "[2, 5, 4]")),
    "states of another batch": ({"initial_states": torch.zeros(1, 5, 3)}, InvalidArgument, ("[2, 5, 3]", "[1, 5, 3]")),
    "states of integers": ({"initial_states": torch.zeros(2, 5, 3).int()}, InvalidType, ("initial_states", "int32")),
    "out of another shape": ({"out": torch.zeros(2, 5, 8)}, InvalidArgument, ("out", "[2, 5, 9]", "[2, 5, 8]")),
    "out of another rank": ({"out": torch.zeros(9)}, InvalidArgument, ("out", "[2, 5, 9]", "[9]")),
    "out of another dtype": ({"out": X.double()}, InvalidType, ("out", "float32", "float64")),
    "out expanded": ({"out": torch.zeros(2, 5, 1).expand(2, 5, 9)}, InvalidArgument, ("out", "expanded")),
    "out on x": ({"out": X}, InvalidArgument, ("out", "overlap")),
    "out a number": ({"out": 3.0}, InvalidType, ("out", "tensor", "float")),
    "states out of another shape": (
        {"final_states_out": torch.zeros(2, 5, 4), "return_final_states": True},
        InvalidArgument,
        ("final_states", "[2, 5, 3]", "[2, 5, 4]"),
    ),
}
# What a CPU's memory can be asked about; a GPU's is not waited for.
OF_VALUES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "not from 0": ({"cu_seqlens": ints(1, 9)}, ("cu_seqlens", "0", "1")),
    "descending": ({"cu_seqlens": ints(0, 6, 5, 9)}, ("cu_seqlens", "descend", "5", "6")),
    "beyond the steps": ({"cu_seqlens": ints(0, 10)}, ("cu_seqlens", "9", "10")),
    "short of the steps": ({"cu_seqlens": ints(0, 8)}, ("cu_seqlens", "9", "8")),
}


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("grad", [False, True])
def test_forward(name: str, grad: bool) -> None:
    """The same error with gradients recorded."""
    changed, kind, parts = FORWARD[name]
    if grad and ("out" in changed or "final_states_out" in changed):
        pytest.skip("results of the caller's take no gradient")
    weight = W.clone().requires_grad_(grad)
    given = {"x": X, "weight": weight, "bias": B, **changed}
    refused(lambda: melisma.causal_conv1d(**given), kind, "causal_conv1d: ", *parts)
    refused(lambda: melisma.causal_conv1d(**given | {"return_final_states": True}), kind, "causal_conv1d: ", *parts)
    if isinstance(given["x"], torch.Tensor) and given["x"].ndim == 3 and "cu_seqlens" not in changed:
        shown = {k: v.transpose(1, 2) if k == "x" and v.layout is torch.strided else v for k, v in given.items()}
        if "out" not in changed and not given["x"].is_quantized:
            refused(lambda: melisma.causal_conv1d(**shown, channels_last=True), kind, parts[0])


@pytest.mark.skipif(not ON_CPU, reason="a device's memory is not waited for")
@pytest.mark.parametrize("name", OF_VALUES)
def test_values_of_cu_seqlens(name: str) -> None:
    changed, parts = OF_VALUES[name]
    out = torch.full_like(X[:1], 7)
    refused(lambda: melisma.causal_conv1d(X[:1], W, out=out, **changed), InvalidArgument, *parts)
    assert bool((out == 7).all())


def test_fused() -> None:
    x = X.transpose(1, 2)
    refused(lambda: melisma.short_conv_fused(x[0], W), InvalidArgument, "short_conv_fused: x", "[B, T, D]", "[9, 5]")
    refused(lambda: melisma.short_conv_fused(x, W[:3]), InvalidArgument, "short_conv_fused: weight", "[5, W]")
    refused(lambda: melisma.short_conv_fused(x, W, activation="relu"), InvalidArgument, "activation", "'relu'")
    mask = torch.ones(2, 9, requires_grad=True)
    weight = W.clone().requires_grad_()
    for w in (W, weight):
        refused(lambda w=w: melisma.short_conv_fused(x, w, None, mask), InvalidArgument, "attention_mask", "grad")
    with torch.no_grad():
        assert torch.equal(melisma.short_conv_fused(x, W, None, mask), melisma.short_conv_fused(x, W))


def test_no_gradient_through_results_of_the_callers() -> None:
    weight = W.clone().requires_grad_()
    out, states = torch.zeros_like(X), torch.zeros(2, 5, 3)
    for given in ({"out": out}, {"final_states_out": states, "return_final_states": True}):
        refused(lambda g=given: melisma.causal_conv1d(X, weight, **g), InvalidArgument, "causal_conv1d: out", "grad")
    refused(
        lambda: melisma.causal_conv1d_update(X, states, weight, out=out), InvalidArgument, "causal_conv1d_update: out"
    )
    assert not out.any()
    assert not states.any()
    with torch.no_grad():
        assert melisma.causal_conv1d(X, weight, out=out) is out
    assert torch.equal(out, melisma.causal_conv1d(X, W))


S = torch.zeros(2, 5, 8)
UPDATE: dict[str, tuple[dict[str, Any], type[Exception], tuple[str, ...]]] = {
    "x 4-D": ({"x": X[None]}, InvalidArgument, ("x", "[B, D]", "[1, 2, 5, 9]")),
    "x 1-D": ({"x": X[0, 0]}, InvalidArgument, ("x", "[B, D]", "[9]")),
    "state of other channels": ({"conv_state": S[:, :4]}, InvalidArgument, ("conv_state", "[rows, 5, S]", "[2, 4, 8]")),
    "state 2-D": ({"conv_state": S[0]}, InvalidArgument, ("conv_state", "[5, 8]")),
    "state too short": ({"conv_state": S[..., :2]}, InvalidArgument, ("conv_state", "3", "2")),
    "state of integers": ({"conv_state": S.int()}, InvalidType, ("conv_state", "float32", "int32")),
    "too few rows": ({"conv_state": S[:1]}, InvalidArgument, ("conv_state", "2", "1")),
    "state on x": ({"x": S, "conv_state": S}, InvalidArgument, ("conv_state", "overlap")),
    "state expanded": ({"conv_state": S[:, :, :1].expand(2, 5, 4)}, InvalidArgument, ("conv_state", "expanded")),
    "weight of other channels": ({"weight": W[:4]}, InvalidArgument, ("weight", "[5, W]", "[4, 4]")),
    "cache_seqlens int64": ({"cache_seqlens": ints(0, 1).long()}, InvalidType, ("cache_seqlens", "int32", "int64")),
    "cache_seqlens too long": ({"cache_seqlens": ints(0, 1, 2)}, InvalidArgument, ("cache_seqlens", "[2]", "[3]")),
    "rows int64": ({"conv_state_indices": ints(0, 1).long()}, InvalidType, ("conv_state_indices", "int32", "int64")),
    "rows 2-D": ({"conv_state_indices": ints(0, 1)[None]}, InvalidArgument, ("conv_state_indices", "[2]", "[1, 2]")),
    "accepted in a ring": (
        {"cache_seqlens": ints(0, 1), "num_accepted_tokens": ints(1, 1), "x": X[..., :2]},
        InvalidArgument,
        ("num_accepted_tokens", "cache_seqlens"),
    ),
    "accepted, too short": ({"num_accepted_tokens": ints(1, 1)}, InvalidArgument, ("conv_state", "11", "8")),
    "activation": ({"activation": 3}, InvalidArgument, ("activation", "3")),
}
UPDATE_VALUES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "row beyond": ({"conv_state_indices": ints(0, 2)}, ("conv_state_indices", "2")),
    "row negative": ({"conv_state_indices": ints(0, -2)}, ("conv_state_indices", "-2")),
    "row twice": ({"conv_state_indices": ints(1, 1)}, ("conv_state_indices", "1", "twice")),
    "cache_seqlens negative": ({"cache_seqlens": ints(0, -1)}, ("cache_seqlens", "-1")),
    "accepted none": ({"num_accepted_tokens": ints(0, 1), "x": X[..., :2]}, ("num_accepted_tokens", "0")),
}


@pytest.mark.parametrize("name", [*UPDATE, *(UPDATE_VALUES if ON_CPU else ())])
@pytest.mark.parametrize("grad", [False, True])
def test_update(name: str, grad: bool) -> None:
    """The state is as it was."""
    if name in UPDATE:
        changed, kind, parts = UPDATE[name]
    else:
        (changed, parts), kind = UPDATE_VALUES[name], InvalidArgument
    given = {"x": X, "conv_state": S, "weight": W.clone().requires_grad_(grad), **changed}
    refused(lambda: melisma.causal_conv1d_update(**given), kind, "causal_conv1d_update: ", *parts)
    assert not S.any()


def test_short_conv_update() -> None:
    refused(
        lambda: melisma.short_conv_update(X[..., 0], S, W[:3]), InvalidArgument, "short_conv_update: weight", "[5, W]"
    )
    refused(lambda: melisma.short_conv_update(X[..., 0], S, W, activation="x"), InvalidArgument, "activation", "'x'")
    assert not S.any()


def test_errors_come_through_the_compiler() -> None:
    for bad in (W[:3], W[0]):
        torch._dynamo.reset()
        compiled = torch.compile(lambda x, w=bad: melisma.causal_conv1d(x, w), fullgraph=True, backend="aot_eager")
        with pytest.raises(Exception, match="weight must"):
            compiled(X)


def test_a_mode_sees_the_operators() -> None:
    """What watches PyTorch's calls watches these, too."""
    seen = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    weight = W.clone().requires_grad_()
    loss = melisma.causal_conv1d(X, weight).sum()
    with Watch():
        loss.backward()
    assert "melisma.causal_conv1d_backward.default" in seen
    seen.clear()
    with Watch():
        melisma.causal_conv1d(X, weight).sum().backward()
        with torch.no_grad():
            melisma.causal_conv1d_update(X, S.clone(), weight)
    assert {"causal_conv1d", "causal_conv1d_backward", "causal_conv1d_update"} <= {
        name.split(".")[1] for name in seen if name.startswith("melisma.")
    }


def test_meta_tensors() -> None:
    out, states = melisma.causal_conv1d(X.to("meta"), W.to("meta"), return_final_states=True)
    assert out.is_meta
    assert out.shape == X.shape
    assert states.shape == (2, 5, 3)
    assert melisma.causal_conv1d_update(X.to("meta"), S.to("meta"), W.to("meta")).shape == X.shape
