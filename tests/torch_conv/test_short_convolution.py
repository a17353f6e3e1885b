"""ShortConvolution and its cache: values, gradients, decoding bit for bit, checkpoints, what compiles, what is refused."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import melisma
from melisma.torch import ShortConvolution, ShortConvolutionCache
from torch_device import DEVICE

ROUNDING = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8, torch.float32: 2.0**-24, torch.float64: 2.0**-53}
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def draw(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator("cpu").manual_seed(seed)
    return (2 * torch.rand(shape, generator=generator, dtype=torch.float64, device="cpu") - 1).to(DEVICE, dtype)


def layer(size: int, taps: int = 4, *, seed: int = 2, **options: Any) -> ShortConvolution:
    made = ShortConvolution(size, taps, **options)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(draw(*parameter.shape, dtype=parameter.dtype, seed=seed))
    return made


def composition(
    conv: ShortConvolution, x: torch.Tensor, mask: torch.Tensor | None = None, initial: torch.Tensor | None = None
) -> torch.Tensor:
    """Give the same of ``[B, T, D]`` out of PyTorch's operators, in float64."""
    wide = x.double()
    masked = wide if mask is None else wide * mask.double()[..., None]
    before = wide.new_zeros(x.shape[0], x.shape[2], conv.kernel_size - 1) if initial is None else initial.double()
    taps = torch.cat([before, masked.transpose(1, 2)], -1)
    bias = None if conv.bias is None else conv.bias.double()
    y = F.conv1d(taps, conv.weight.double(), bias, groups=conv.hidden_size).transpose(1, 2)
    if conv.activation is not None:
        y = F.silu(y)
    return wide + y if conv.residual else y


def error_bound(conv: ShortConvolution, dtype: torch.dtype) -> float:
    """Values and weights below 1: roundings of W + 1 terms in float32, silu's, the residual's, and one to the dtype."""
    inside = ROUNDING[torch.float64] if dtype == torch.float64 else ROUNDING[torch.float32]
    largest = conv.kernel_size + 2
    return 2 * inside * (conv.kernel_size + 5) * largest + ROUNDING[dtype] * largest


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("activation", "residual", "bias"), [("silu", False, True), (None, True, False)])
@pytest.mark.parametrize("taps", [1, 4, 32])
def test_against_the_composition(
    taps: int, activation: str | None, residual: bool, bias: bool, dtype: torch.dtype
) -> None:
    conv = layer(19, taps, bias=bias, activation=activation, residual=residual)
    mask = draw(2, 37, seed=5) > -0.5
    x = draw(2, 37, 19, dtype=dtype)
    for given_mask in (None, mask):
        want = composition(conv, x, given_mask)
        y = conv(x, given_mask)
        assert y.dtype == dtype
        torch.testing.assert_close(y.double(), want, rtol=0, atol=error_bound(conv, dtype))
        last = ShortConvolution.from_conv1d(convolution_of(conv), activation, residual)
        assert torch.equal(last(x.transpose(1, 2), given_mask), y.transpose(1, 2))


def convolution_of(conv: ShortConvolution) -> torch.nn.Conv1d:
    size, taps = conv.hidden_size, conv.kernel_size
    made = torch.nn.Conv1d(size, size, taps, groups=size, padding=taps - 1, bias=conv.bias is not None)
    made.load_state_dict(conv.state_dict())
    return made


def test_a_mamba_style_blocks_calls() -> None:
    size, steps = 24, 11
    conv1d = torch.nn.Conv1d(size, size, 4, groups=size, padding=3)
    conv = ShortConvolution.from_conv1d(conv1d, activation="silu")
    assert conv.weight is conv1d.weight
    assert conv.bias is conv1d.bias
    x = draw(2, size, steps)
    want = F.silu(conv1d(x)[..., :steps])
    torch.testing.assert_close(conv(x), want, rtol=1e-5, atol=1e-5)
    assert torch.equal(conv(x)[..., :steps], conv(x))
    fused = melisma.causal_conv1d(x, conv1d.weight.squeeze(1), conv1d.bias, activation="silu")
    assert torch.equal(conv(x), fused)


@pytest.mark.parametrize("channels_last", [True, False])
def test_parts_are_their_concatenation(channels_last: bool) -> None:
    axis = 2 if channels_last else 1
    conv = layer(24, bias=True, residual=True, channels_last=channels_last)
    whole = draw(2, 9, 24) if channels_last else draw(2, 24, 9)
    mask = draw(2, 9, seed=3) > 0
    initial = draw(2, 24, 3, seed=4)
    want, want_final = conv(whole, mask, initial_states=initial, output_final_state=True)
    views = whole.split([4, 8, 12], axis)
    for parts in (views, tuple(view.clone() for view in views)):
        got, final = conv(parts, mask, initial_states=initial, output_final_state=True)
        assert [part.shape for part in got] == [view.shape for view in views]
        assert torch.equal(torch.cat(got, axis), want)
        assert torch.equal(final, want_final)
    one, other = (ShortConvolutionCache.for_model(conv, 2) for _ in range(2))
    for step in (whole.narrow(3 - axis, 0, 1), whole.narrow(3 - axis, 1, 3), whole.select(3 - axis, 4)):
        of_step = axis if step.dim() == 3 else 1
        with torch.no_grad():
            got = conv.step(step.split([4, 8, 12], of_step), one)
            assert torch.equal(torch.cat(got, of_step), conv.step(step, other))
    assert torch.equal(one[0], other[0])


@pytest.mark.parametrize("index_dtype", [torch.int32, torch.int64])
def test_packed_sequences_are_separate_ones(index_dtype: torch.dtype) -> None:
    conv = layer(16, bias=True)
    lengths = [5, 0, 2, 9]
    bounds = [0, *itertools.accumulate(lengths)]
    x, initial = draw(1, 16, 16), draw(4, 16, 3, seed=6)
    cu_seqlens = torch.tensor(bounds, dtype=index_dtype)
    y, final = conv(x, cu_seqlens=cu_seqlens, initial_states=initial, output_final_state=True)
    pool = torch.full((6, 16, 3), torch.nan)
    rows = torch.tensor([4, 0, 5, 1], dtype=index_dtype)
    pool[rows] = initial
    assert torch.equal(conv(x, cu_seqlens=cu_seqlens, cache=pool, indices=rows), y)
    assert torch.equal(pool[rows], final)
    assert pool[2:4].isnan().all()
    for i, (begin, end) in enumerate(itertools.pairwise(bounds)):
        alone, last = conv(x[:, begin:end], initial_states=initial[i : i + 1], output_final_state=True)
        assert torch.equal(y[:, begin:end], alone)
        assert torch.equal(final[i], last[0])
    seq_idx = torch.repeat_interleave(torch.arange(4), torch.tensor(lengths))[None].to(torch.int32)
    assert torch.equal(conv(x, seq_idx=seq_idx), conv(x, cu_seqlens=cu_seqlens))


# --- decoding ---------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    by_step=st.lists(st.booleans(), min_size=6, max_size=6),
    taps=st.sampled_from([1, 2, 3, 4, 7]),
    dtype=st.sampled_from(FLOATS),
    wide_state=st.booleans(),
    residual=st.booleans(),
)
def test_pieces_and_steps_are_the_whole_bit_for_bit(
    lengths: list[int], by_step: list[bool], taps: int, dtype: torch.dtype, wide_state: bool, residual: bool
) -> None:
    conv = layer(20, taps, bias=True, residual=residual, dtype=dtype)
    x = draw(2, sum(lengths), 20, dtype=dtype)
    state_dtype = torch.float32 if wide_state and dtype != torch.float64 else dtype
    with torch.no_grad():
        want = conv(x)
        cache = ShortConvolutionCache.for_model(conv, 3, dtype=state_dtype)
        pieces = [
            conv.step(piece, cache) if step else conv(piece, cache=cache)
            for piece, step in zip(x.split(lengths, 1), by_step, strict=False)
        ]
    assert torch.equal(torch.cat(pieces, 1), want)
    taps_kept = torch.cat([x.new_zeros(2, taps - 1, 20), x], 1)[:, x.shape[1] :].transpose(1, 2)
    assert torch.equal(cache[0][:2], taps_kept.to(state_dtype))
    assert torch.equal(cache[0][2], torch.zeros_like(cache[0][2]))


def test_a_prompt_padded_at_its_beginning() -> None:
    conv = layer(8, residual=True, activation=None)
    x = draw(1, 7, 8)
    padded = torch.cat([torch.full((1, 3, 8), 7.0), x[:, :5]], 1)
    mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1]])
    cache = ShortConvolutionCache.for_model(conv, 1)
    with torch.no_grad():
        want = conv(x)
        assert torch.equal(conv(padded, mask, cache=cache)[:, 3:], want[:, :5])
        # A step with the mask of the whole history, whose last entry counts.
        longer = torch.cat([mask, torch.ones(1, 1, dtype=mask.dtype)], 1)
        assert torch.equal(conv(x[:, 5:6], longer, cache=cache), want[:, 5:6])
        assert torch.equal(conv(x[:, 6:7], cache=cache), want[:, 6:7])


@pytest.mark.parametrize("index_dtype", [torch.int32, torch.int64])
def test_rows_of_a_step(index_dtype: torch.dtype) -> None:
    conv = layer(8)
    x, state = draw(3, 8), draw(5, 8, 3, seed=3)
    rows = torch.tensor([4, -1, 0], dtype=index_dtype)
    before = state.clone()
    with torch.no_grad():
        y = conv.step(x, state, indices=rows)
        chosen = before[[4, 0]]
        want = conv.step(x[[0, 2]], chosen)
    assert torch.equal(y[[0, 2]], want)
    assert torch.equal(y[1], torch.zeros(8))
    assert torch.equal(state[[4, 0]], chosen)
    assert torch.equal(state[1:4], before[1:4])


def test_a_longer_state_of_a_step() -> None:
    conv = layer(8)
    x, state = draw(2, 8), draw(2, 8, 6, seed=3)
    short, before = state[..., 3:].clone(), state.clone()
    with torch.no_grad():
        assert torch.equal(conv.step(x, state), conv.step(x, short))
    assert torch.equal(state, torch.cat([before[..., 1:], x[..., None]], -1))


def filled(rows: int = 4) -> tuple[ShortConvolutionCache, ShortConvolutionCache]:
    convs = [ShortConvolution(6, 4), ShortConvolution(10, 3)]
    cache = ShortConvolutionCache.for_model(convs, rows)
    for seed, state in enumerate(cache.states.values()):
        state.copy_(draw(*state.shape, seed=seed))
    return cache, copy.deepcopy(cache)


def test_cache_operations_stay_in_place() -> None:
    rows = torch.tensor([2, 2, 0], dtype=torch.int64)
    cache, before = filled()
    places = [state.data_ptr() for state in cache.states.values()]
    assert len(cache) == 2
    assert cache.batch_size == 4
    cache.reorder(rows)
    for index, state in cache.states.items():
        assert torch.equal(state[:3], before[index][rows])
        assert torch.equal(state[3], before[index][3])
    chosen = cache.select(torch.tensor([3, 1, 1, 0, 3]))
    for index, state in cache.states.items():
        assert torch.equal(chosen[index], state[[3, 1, 1, 0, 3]])
        assert chosen[index].data_ptr() != state.data_ptr()
    cache.reset(torch.tensor([1, 3], dtype=torch.int32))
    for index, state in cache.states.items():
        assert not state[[1, 3]].any()
        assert torch.equal(state[0], before[index][2])
    cache.reset()
    assert not any(state.any() for state in cache.states.values())
    assert [state.data_ptr() for state in cache.states.values()] == places


def test_for_model_numbers_the_layers_that_have_none() -> None:
    shared = ShortConvolution(4, layer_idx=1)
    model = torch.nn.ModuleList([ShortConvolution(8, 2), shared, shared, ShortConvolution(6, 5, dtype=torch.float64)])
    cache = ShortConvolutionCache.for_model(model, 3)
    assert [conv.layer_idx for conv in model] == [0, 1, 1, 2]
    assert {index: tuple(state.shape) for index, state in cache.states.items()} == {
        0: (3, 8, 1), 1: (3, 4, 3), 2: (3, 6, 4)
    }  # fmt: skip
    assert cache[2].dtype == torch.float64
    again = ShortConvolutionCache.for_model(model, 1, dtype=torch.bfloat16)
    assert [state.dtype for state in again.states.values()] == [torch.bfloat16] * 3
    with torch.inference_mode():
        made = ShortConvolutionCache.for_model(model, 1)
    made[0].add_(1)  # not an inference tensor
    model.append(copy.deepcopy(shared))
    with pytest.raises(melisma.InvalidArgument, match="layer_idx must differ from layer to layer, got 1 twice"):
        ShortConvolutionCache.for_model(model, 1)


# --- as a module ------------------------------------------------------------------------------------------------------


def test_checkpoints_of_a_depthwise_conv1d_and_back() -> None:
    conv1d = torch.nn.Conv1d(12, 12, 4, groups=12, padding=3)
    conv = ShortConvolution(12, bias=True)
    conv.load_state_dict(conv1d.state_dict())
    assert torch.equal(conv.weight, conv1d.weight)
    state = conv.state_dict()
    assert state["weight"].shape == (12, 1, 4)
    flat = {"0.weight": 2 * state["weight"].squeeze(1), "0.bias": state["bias"]}
    holder = torch.nn.Sequential(conv)
    holder.load_state_dict(flat)
    assert torch.equal(conv.weight, 2 * conv1d.weight)
    assert flat["0.weight"].dim() == 2  # the caller's dictionary is as it was
    conv1d.load_state_dict(conv.state_dict())
    assert torch.equal(conv.weight, conv1d.weight)
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        conv.load_state_dict({"weight": torch.zeros(12, 3), "bias": torch.zeros(12)})


def test_initial_values_are_conv1ds() -> None:
    torch.manual_seed(3)
    conv = ShortConvolution(4096, 4, bias=True)
    for parameter in conv.parameters():
        assert float(parameter.detach().abs().max()) <= 0.5
        assert float(parameter.detach().abs().max()) > 0.49
        assert abs(float(parameter.detach().mean())) < 0.02


def test_copies_dtypes_and_modes() -> None:
    conv = layer(8, bias=True, residual=True)
    x = draw(2, 5, 8)
    want = conv(x)
    twin = copy.deepcopy(conv).eval()
    assert torch.equal(twin(x), want)
    assert not twin.training
    assert twin.weight.data_ptr() != conv.weight.data_ptr()
    half = copy.deepcopy(conv).to(torch.bfloat16)
    assert half(x.bfloat16()).dtype == torch.bfloat16
    assert repr(ShortConvolution(8, 3, channels_last=False)) == (
        "ShortConvolution(8, kernel_size=3, bias=False, activation='silu', residual=False, channels_last=False)"
    )
    with torch.inference_mode():
        assert torch.equal(conv(x), want)


def test_within_autocast() -> None:
    projection, conv = torch.nn.Linear(8, 8), layer(8, bias=True)
    x = draw(2, 5, 8)
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        h = projection(x)
        y = conv(h)
        y.float().sum().backward()
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.double(), composition(conv, h), rtol=0, atol=error_bound(conv, torch.bfloat16))
    assert conv.weight.grad is not None
    assert conv.weight.grad.dtype == torch.float32


# --- gradients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("activation", "residual", "bias"), [("silu", True, True), (None, False, False)])
@pytest.mark.parametrize("parts", [1, 2])
def test_gradients(parts: int, activation: str | None, residual: bool, bias: bool) -> None:
    conv = layer(6, bias=bias, activation=activation, residual=residual, dtype=torch.float64)
    x = draw(2, 7, 6, dtype=torch.float64).requires_grad_()
    initial = draw(2, 6, 3, dtype=torch.float64, seed=7).requires_grad_()
    mask = draw(2, 7, seed=5) > -0.3
    wanted = [x, initial, *conv.parameters()]
    upstream, on_final = draw(2, 7, 6, dtype=torch.float64, seed=8), draw(2, 6, 3, dtype=torch.float64, seed=9)

    y, final = conv(x if parts == 1 else x.split([2, 4], -1), mask, initial_states=initial, output_final_state=True)
    y = y if parts == 1 else torch.cat(y, -1)
    got = torch.autograd.grad((y * upstream).sum() + (final * on_final).sum(), wanted)
    taps = torch.cat([initial, (x * mask[..., None]).transpose(1, 2)], -1)[..., 7:]
    want_loss = (composition(conv, x, mask, initial) * upstream).sum() + (taps * on_final).sum()
    for ours, theirs in zip(got, torch.autograd.grad(want_loss, wanted), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("indices", [None, [2, 0]])
def test_a_cache_is_a_constant_to_the_gradient(indices: list[int] | None) -> None:
    conv = layer(6, bias=True, dtype=torch.float64)
    rows = None if indices is None else torch.tensor(indices)
    state = draw(3, 6, 3, dtype=torch.float64, seed=7)
    x = draw(2, 7, 6, dtype=torch.float64).requires_grad_()
    wanted = [x, *conv.parameters()]
    before = state[:2].clone() if rows is None else state[rows]
    y = conv(x, cache=state, indices=rows)
    got = torch.autograd.grad(y.square().sum(), wanted)  # after the state has changed
    assert not state.requires_grad
    after = state[:2] if rows is None else state[rows]
    assert torch.equal(after, x.detach()[:, 4:].transpose(1, 2))
    want = torch.autograd.grad(composition(conv, x, None, before).square().sum(), wanted)
    for ours, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


class Canon(torch.nn.Module):
    """A block with Canon layers at all four places."""

    def __init__(self, size: int = 16, kv: int = 8, hidden: int = 24) -> None:
        super().__init__()
        self.sizes, self.hidden = (size, kv, kv), hidden
        self.q, self.k, self.v = (torch.nn.Linear(size, out) for out in self.sizes)
        self.o, self.gate_up = torch.nn.Linear(size, size), torch.nn.Linear(size, 2 * hidden)
        self.down = torch.nn.Linear(hidden, size)
        self.canon_a, self.canon_b, self.canon_c, self.canon_d = (
            ShortConvolution(width, activation=None, residual=True)
            for width in (size, sum(self.sizes), size, 2 * hidden)
        )

    def forward(self, x: torch.Tensor, cache: ShortConvolutionCache | None = None) -> torch.Tensor:
        h = self.canon_a(x, cache=cache)
        q, k, v = self.canon_b((self.q(h), self.k(h), self.v(h)), cache=cache)
        x = x + self.o(q * k.repeat(1, 1, 2) * v.repeat(1, 1, 2))  # in attention's place
        gate, up = self.canon_d(self.gate_up(self.canon_c(x, cache=cache)), cache=cache).split(self.hidden, -1)
        return x + self.down(F.silu(gate) * up)


def test_canon_layers_train_and_decode() -> None:
    torch.manual_seed(5)
    model = torch.nn.Sequential(*(Canon() for _ in range(2)))
    x = draw(2, 9, 16)
    model(x).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    cache = ShortConvolutionCache.for_model(model, 2)
    assert sorted(cache.states) == list(range(8))
    with torch.no_grad():
        want = model(x)
        pieces = []
        for piece in x.split([6, 1, 1, 1], 1):
            for block in model:
                piece = block(piece, cache)
            pieces.append(piece)
    # The linear layers around may take other ways for other numbers of steps.
    torch.testing.assert_close(torch.cat(pieces, 1), want, rtol=1e-5, atol=1e-5)


# --- compilation and graphs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_in_one_graph(dynamic: bool) -> None:
    conv = layer(8, bias=True, residual=True)
    compiled = torch.compile(conv, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, :2] = False
    x = draw(2, 6, 8, seed=4).requires_grad_()
    y = compiled(x, mask)
    assert torch.equal(y, conv(x, mask))
    (got,) = torch.autograd.grad(y.sum(), x)
    (want,) = torch.autograd.grad(conv(x, mask).sum(), x)
    assert torch.equal(got, want)

    cache, other = (ShortConvolutionCache.for_model(conv, 2) for _ in range(2))
    step = torch.compile(lambda x: conv.step(x, cache), fullgraph=True, dynamic=dynamic, backend="aot_eager")
    with torch.no_grad():
        assert torch.equal(compiled(x, cache=cache), conv(x, cache=other))
        for t in range(3):
            assert torch.equal(step(x[:, t]), conv.step(x[:, t], other))
    assert torch.equal(cache[0], other[0])


@pytest.mark.skipif(DEVICE == "cpu", reason="needs CUDA")
def test_steps_in_a_cuda_graph() -> None:
    conv = layer(64, bias=True)
    cache, other = (ShortConvolutionCache.for_model(conv, 4) for _ in range(2))
    x, rows = torch.zeros(3, 64), torch.tensor([3, 0, 1], dtype=torch.int32)
    stream = torch.cuda.Stream()
    with torch.no_grad(), torch.cuda.stream(stream):
        conv.step(x, cache, indices=rows)
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            y = conv.step(x, cache, indices=rows)
        cache.reset()
        for seed in range(5):
            x.copy_(draw(3, 64, seed=seed))
            graph.replay()
            assert torch.equal(y, conv.step(x, other, indices=rows))
        assert torch.equal(cache[0], other[0])


# --- what is refused --------------------------------------------------------------------------------------------------


def test_bad_layers() -> None:
    for arguments, message in (
        ({"hidden_size": 0}, "hidden_size must be positive, got 0"),
        ({"hidden_size": 8, "kernel_size": 33}, "kernel_size must be 1 to 32, got 33"),
        ({"hidden_size": 8, "kernel_size": 0}, "kernel_size must be 1 to 32, got 0"),
        ({"hidden_size": 8, "activation": "gelu"}, "activation must be None, 'silu' or 'swish', got 'gelu'"),
    ):
        with pytest.raises(melisma.InvalidArgument, match=message):
            ShortConvolution(**arguments)  # type: ignore[arg-type]
    for conv1d, message in (
        (torch.nn.Conv1d(8, 8, 4), "must be depthwise, got in_channels 8, out_channels 8, groups 1"),
        (torch.nn.Conv1d(8, 16, 4, groups=8), "must be depthwise, got in_channels 8, out_channels 16"),
        (torch.nn.Conv1d(8, 8, 4, groups=8, padding=2), "padding 0 or 3, got stride .* padding .2"),
        (torch.nn.Conv1d(8, 8, 4, groups=8, padding=3, stride=2), "stride 1, dilation 1"),
        (torch.nn.Conv1d(8, 8, 4, groups=8, padding=3, dilation=2), "stride 1, dilation 1"),
        (torch.nn.Conv1d(8, 8, 4, groups=8, padding=3, padding_mode="reflect"), "zeros, got padding_mode 'reflect'"),
    ):
        with pytest.raises(melisma.InvalidArgument, match=message):
            ShortConvolution.from_conv1d(conv1d)


def test_bad_calls() -> None:
    conv = ShortConvolution(8)
    x, state = torch.zeros(2, 5, 8), torch.zeros(2, 8, 3)
    refused: list[tuple[Any, str]] = [
        (lambda: conv(torch.zeros(5, 8)), r"x must have the shape \[B, T, D\], got \[5, 8\]"),
        (lambda: conv.step(torch.zeros(8), state), r"x must have the shape \[B, T, D\] or \[B, D\], got \[8\]"),
        (lambda: conv(torch.zeros(2, 5, 9)), "hidden_size = 8 channels, got 9"),
        (lambda: conv((x[..., :3], x[..., :4])), r"hidden_size = 8 channels, got 3 \+ 4"),
        (lambda: conv(()), "hidden_size = 8 channels, got 0"),
        (lambda: conv(x, indices=torch.tensor([0, 1])), "indices need a cache"),
        (lambda: conv(x, cache=state, initial_states=state), "initial_states and cache exclude each other"),
        (lambda: conv(x, cache=state[:1]), "the cache has 1 rows, got 2 sequences"),
        (lambda: conv(x, cache=ShortConvolutionCache({})), "the cache has no state of layer_idx None"),
        (lambda: conv(x, torch.zeros(3, 5)), r"attention_mask must .* got .?3, 5.?"),
        (lambda: ShortConvolutionCache({0: state, 1: state[:1]}), r"the same number of rows, got \[1, 2\]"),
        (
            lambda: ShortConvolution.from_conv1d(torch.nn.Conv1d(8, 8, 4, groups=8))(x),
            "hidden_size = 8 channels, got 5",
        ),
    ]
    with torch.no_grad():
        for call, message in refused:
            with pytest.raises(melisma.InvalidArgument, match=message):
                call()
    assert not state.any()
