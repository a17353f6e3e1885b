"""torch.compile, opcheck and torch.export: whole graphs, one for all lengths, with the eager results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.testing import CompileCounterWithBackend

import melisma
import melisma.torch  # the operators under test
from torch_device import same
from torch_ops import test_conv_compile
from torch_ops.common import positive_window, rand, randn

MEL: dict[str, Any] = {"sample_rate": 16000, "n_fft": 64, "hop_length": 16, "n_mels": 8}
W = torch.hann_window(64)
BANK = rand(33, 4, seed=3)
Call = Callable[[torch.Tensor], torch.Tensor]
CALLS: dict[str, Call] = {
    "stft": lambda x: melisma.stft(x, 64, 16, window=W),
    "stft by name": lambda x: melisma.stft(x, 64, window="hann", return_complex=False),
    "istft of stft": lambda x: melisma.istft(melisma.stft(x, 64, 16, window=W), 64, 16, window=W, length=x.shape[-1]),
    "spectrogram": lambda x: melisma.spectrogram(x, n_fft=64, hop_length=16, power=1.0),
    "mel_spectrogram": lambda x: melisma.mel_spectrogram(x, **MEL),
    "log_mel": lambda x: melisma.log_mel(x, **MEL, top_db=30.0),
    "filtered_spectrogram": lambda x: melisma.filtered_spectrogram(x, filterbank=BANK, n_fft=64, output_scale="log1p"),
}


@pytest.fixture(autouse=True)
def _fresh(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "inductor"))
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def loss(y: torch.Tensor) -> torch.Tensor:
    return y.abs().square().sum()


def working_graphs(counter: CompileCounterWithBackend) -> int:
    """Graphs compiled; not the empty one that Dynamo makes where it learns that a float option is a constant."""
    return sum(any(node.op == "call_function" for node in graph.graph.nodes) for graph in counter.graphs)


@pytest.mark.parametrize("name", CALLS)
def test_one_graph_for_twenty_lengths(name: str) -> None:
    """Forward and backward, with the eager results' bits: the graph calls the same operators."""
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(CALLS[name], fullgraph=True, dynamic=True, backend=counter)
    for i in range(20):
        x = randn(2, 300 + 37 * i, dtype=torch.float32, seed=i, grad=True)
        got, want = compiled(x), CALLS[name](x)
        assert same(got, want)
        assert got.stride() == want.stride()
        above = torch.ones_like(want)
        assert same(torch.autograd.grad(got, x, above)[0], torch.autograd.grad(want, x, above)[0])
    assert working_graphs(counter) == 1


@pytest.mark.parametrize("name", ["istft of stft", "log_mel"])
def test_inductor(name: str) -> None:
    call = CALLS[name]
    compiled = torch.compile(lambda x: loss(call(x * 2)), fullgraph=True, dynamic=True)
    for length in (300, 400, 471):
        x = randn(2, length, dtype=torch.float32, grad=True)
        got, want = compiled(x), loss(call(x * 2))
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
        got, want = torch.autograd.grad(got, x)[0], torch.autograd.grad(want, x)[0]
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5 * float(want.abs().max()))


FUSED = {
    "stft": {"stft", "stft_adjoint"},
    "stft by name": {"named_window", "stft", "stft_adjoint"},
    "istft of stft": {"stft", "istft", "stft_adjoint", "istft_adjoint"},
    "spectrogram": {"named_window", "spectrogram", "spectrogram_backward"},
    "filtered_spectrogram": {"named_window", "filtered_spectrogram", "filtered_spectrogram_backward"},
    "mel_spectrogram": {"named_window", "mel_bank", "filtered_spectrogram", "filtered_spectrogram_backward"},
}


@pytest.mark.parametrize("name", FUSED)
def test_compiled_graphs_hold_the_fused_operators(name: str) -> None:
    """Forward and backward graphs call what the eager code calls: no composition in the place of a kernel."""
    found: set[str] = set()

    def collect(graph: torch.fx.GraphModule, _: Any) -> Any:
        found.update(
            str(node.target).split(".")[1] for node in graph.graph.nodes if str(node.target).startswith("melisma.")
        )
        return make_boxed_func(graph.forward)

    backend = aot_autograd(fw_compiler=collect, bw_compiler=collect)
    compiled = torch.compile(CALLS[name], fullgraph=True, dynamic=True, backend=backend)
    compiled(randn(2, 300, dtype=torch.float32, grad=True)).sum().abs().backward()
    assert found == FUSED[name]


def test_lengths_and_batches_without_gradients() -> None:
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(CALLS["log_mel"], fullgraph=True, dynamic=True, backend=counter)
    for batch, length in ((2, 300), (3, 301), (5, 999), (4, 1000)):
        x = randn(batch, length, dtype=torch.float32)
        assert same(compiled(x), CALLS["log_mel"](x))
    assert working_graphs(counter) == 1


def test_a_trained_window_and_bank() -> None:
    def call(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        y = melisma.filtered_spectrogram(x, filterbank=b, n_fft=64, window=w, output_scale="db")
        z = melisma.istft(melisma.stft(x, 64, 16, window=w), 64, 16, window=w)
        return y.sum() + z.square().sum()

    compiled = torch.compile(call, fullgraph=True, dynamic=True, backend="aot_eager")
    for length in (300, 411):
        inputs = (
            randn(2, length, grad=True),
            positive_window(64, grad=True),
            BANK.double().add(0.1).requires_grad_(),
        )
        got, want = (torch.autograd.grad(f(*inputs), inputs) for f in (compiled, call))
        for one, other in zip(got, want, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_errors_come_through_the_compiler() -> None:
    compiled = torch.compile(lambda x: melisma.stft(x, 64, 16, window=W[:-1]), fullgraph=True, backend="aot_eager")
    with pytest.raises(Exception, match="win_length"):
        compiled(randn(2, 300, dtype=torch.float32))


class Front(torch.nn.Module):
    """What a model has in front: a buffer, two operators, a real result."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert isinstance(self.window, torch.Tensor)
        spectrum = melisma.stft(x, 64, 16, window=self.window)
        back = melisma.istft(spectrum * 0.5, 64, 16, window=self.window, length=x.shape[-1])
        return melisma.log_mel(back, **MEL, log="ln")


@pytest.mark.parametrize("strict", [True, False])
def test_export(strict: bool) -> None:
    model = Front()
    length = torch.export.Dim("length", min=128, max=100000)
    program = torch.export.export(
        model, (randn(2, 500, dtype=torch.float32),), dynamic_shapes={"x": {1: length}}, strict=strict
    )
    targets = {str(node.target) for node in program.graph.nodes}
    assert {"melisma.stft.default", "melisma.istft.default", "melisma.filtered_spectrogram.default"} <= targets
    for samples in (500, 128, 777):
        x = randn(2, samples, dtype=torch.float32, seed=samples)
        assert same(program.module()(x), model(x))
    lowered = program.run_decompositions()
    assert same(lowered.module()(x), model(x))


def test_an_exported_program_is_saved_and_loaded(tmp_path: Any) -> None:
    x = randn(2, 500, dtype=torch.float32)
    path = tmp_path / "front.pt2"
    torch.export.save(torch.export.export(Front(), (x,)), path)
    assert same(torch.export.load(path).module()(x), Front()(x))


FRAMING: tuple[Any, ...] = (8, 3, 8, True, "reflect", False, True, False)
POWER: tuple[Any, ...] = (8, 3, 8, 1.0, "window", True, "reflect", 0)
DB = [4.34, 1.0, 0.0, 1e-10, 0.0]


def opcheck_cases() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    ops = torch.ops.melisma
    x, w = randn(2, 15, grad=True), positive_window(8, grad=True)
    spectrum, powers = randn(2, 5, 6, dtype=torch.complex128, grad=True), randn(2, 5, 6, grad=True)
    bank = (BANK[:5] + 0.1).double().requires_grad_()
    rows = spectrum.detach().transpose(1, 2).contiguous()
    inverse: tuple[Any, ...] = (8, 3, 8, True, True, True)
    return {
        "stft": (ops.stft, (x, w, *FRAMING, False)),
        "stft complex": (ops.stft, (torch.complex(x, x).detach(), None, *FRAMING[:-2], False, False, True)),
        "stft float32": (ops.stft, (x.detach().float(), w.detach(), *FRAMING, False)),
        "stft int16": (ops.stft, (x.detach().short(), w.detach(), *FRAMING, False)),
        "stft_adjoint": (ops.stft_adjoint, (spectrum, w, 15, False, *FRAMING, False)),
        "stft_adjoint rows": (ops.stft_adjoint, (rows, None, 15, False, *FRAMING, True)),
        "stft_window_gradient": (ops.stft_window_gradient, (x, spectrum, *FRAMING, False)),
        "istft": (ops.istft, (spectrum, w, *inverse, None, False, "zero", False)),
        "istft rows": (ops.istft, (rows, w, *inverse, 11, False, "clamp", True)),
        "istft_adjoint": (ops.istft_adjoint, (x, w, 6, *inverse, "zero", False)),
        "spectrogram": (ops.spectrogram, (x, w, *POWER, 1.0, False)),
        "spectrogram_backward": (ops.spectrogram_backward, (powers, x, w, *POWER, False)),
        "filtered": (ops.filtered_spectrogram, (x, w, bank, *POWER, 1.0, DB, 30.0, True, False, False)),
        "filtered linear": (ops.filtered_spectrogram, (x, None, bank[:4], *POWER, 1.0, [], 1.0, False, True, True)),
        "filtered_backward": (
            ops.filtered_spectrogram_backward,
            (randn(2, 4, 6, grad=True), x, w, bank, *POWER, DB, False, False),
        ),
        "named_window": (ops.named_window, (x, "hann", 8)),
        "mel_bank": (ops.mel_bank, (x, "log_mel", 64, 16000.0, 8, 0.0, None, "htk", None)),
    }


OPCHECK = opcheck_cases()


@pytest.mark.parametrize("name", OPCHECK)
def test_opcheck(name: str) -> None:
    """Schema, autograd registration, fake kernel and compilation with dynamic shapes, by PyTorch's own rules."""
    op, args = OPCHECK[name]
    assert set(torch.library.opcheck(op.default, args).values()) == {"SUCCESS"}


def test_every_operator_is_opchecked() -> None:
    names = {schema.name for schema in torch._C._jit_get_all_schemas() if schema.name.startswith("melisma::")}
    cases = [*OPCHECK.values(), *test_conv_compile.OPCHECK.values()]
    assert names == {f"melisma::{op._qualified_op_name.partition('::')[2]}" for op, _ in cases}
