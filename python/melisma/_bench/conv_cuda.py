"""The causal convolution on a GPU beside Dao-AILab's causal-conv1d, torch.compile'd unrolled taps and F.conv1d.

Device time of a captured CUDA graph. The large signals are far beyond L2; steps of decoding take turns on as many
states as fill it three times; the small sizes find their data in L2, as behind the layer before. A backward is timed alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import melisma

from . import conv_accuracy, conv_rivals, cuda_timing, rivals
from .conv_rivals import DTYPES, SMALL_SCENES, SMALL_SIZES, WIDTH, nbytes
from .cuda_contest import Call, Contest, Rival, measure
from .rows import Case, Context, Goal, Row

DEVICE = "cuda"
L2_BYTES = 60_000_000  # of the H200

# batch, channels, steps
LARGE = ((8, 2048, 4096), (8, 4096, 2048))
FORWARD, WITH_STATES, BACKWARD, SCENE = 1.05, 1.1, 1.15, 1.1
UPDATES = ((256, 4096, 1.4), (64, 4096, 2.0))  # batch, channels, floors
PLACES = (WIDTH - 1, WIDTH)  # of a state: as serving engines keep it, and as Mamba's blocks do
# name, batch, steps, channels: see SMALL_SCENES
SCENES = (
    ("A/C B8 T4096 D2048", 8, 4096, 2048),
    ("B B8 T4096 H32 KV8 hd64", 8, 4096, (32 + 2 * 8) * 64),
    ("D B8 T4096 2048/8192", 8, 4096, 2 * 8192),
)
SCENE_US = 3.0
EAGER_RATIO = 2.0
DAO, COMPILED, COMPOSITION = "causal_conv1d", "torch.compile, unrolled", "conv1d, groups"
NOTHING = "a function that does nothing"


@functools.cache
def _dao() -> Any:
    """Dao-AILab's package and its module of kernels; None where it is not installed, or is melisma.compat's."""
    if rivals.optional("causal_conv1d_cuda") is None:
        return None
    return rivals.optional("causal_conv1d"), rivals.optional("causal_conv1d.cpp_functions")


def _dao_rival(call: Callable[[Any, Any], Call]) -> Rival:
    """Out of the package and its module of kernels."""
    found = _dao()
    return Rival(DAO, [] if found is None else [call(*found)])


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    # A backward runs many times on one forward here, which compiled ones refuse where they reuse saved memory.
    rivals.optional("torch._functorch.config").donated_buffer = False
    compiled: Callable[..., Any] = rivals.torch.compile(function, dynamic=False)
    return compiled


def _without_tf32(case: Case) -> Case:
    """float32 means float32, for cuDNN too."""

    def measured(context: Context) -> list[Row]:
        with rivals.torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return case.measure(context)

    return Case(case.group, case.name, measured)


def _compiled_rival(function: Callable[..., Any], make: Callable[[Callable[..., Any]], Call]) -> Rival:
    """`make` binds the compiled function to its arguments, at the first call: a compiler that fails is only missing."""

    @functools.cache
    def call() -> Call:
        return make(_compiled(function))

    return Rival(COMPILED, [lambda: call()()])


# --- forward ---------------------------------------------------------------------------------------------------------


def _inputs(size: Sequence[int], dtype: str, last: bool) -> tuple[Any, Any, Any]:
    batch, channels, steps = size
    x = conv_rivals.signal(batch, channels, steps, last=last, dtype=dtype, device=DEVICE)
    return (x, *conv_rivals.taps(channels, dtype=dtype, device=DEVICE))


def _ours(*tensors: Any, **named: Any) -> Call:
    return functools.partial(melisma.causal_conv1d, *tensors, activation="silu", **named)


def _unrolled(tensors: Sequence[Any], last: bool) -> Rival:
    x, weight, bias = tensors
    if not last:
        return _compiled_rival(conv_rivals.unrolled, lambda f: lambda: f(x, weight, bias))
    rows = x.transpose(1, 2)
    return _compiled_rival(conv_rivals.unrolled_last, lambda f: lambda: f(rows, weight, bias).transpose(1, 2))


def _forward(size: Sequence[int], dtype: str, *, last: bool = False, compiled: bool = False) -> Contest:
    tensors = _inputs(size, dtype, last)
    others = [_dao_rival(lambda dao, _: functools.partial(dao.causal_conv1d_fn, *tensors, activation="silu"))]
    others += [_unrolled(tensors, last)] if compiled else []
    others += [] if last else [Rival(COMPOSITION, [functools.partial(conv_rivals.conv1d, *tensors)])]
    floor = nbytes(*tensors, tensors[0])
    return Contest([_ours(*tensors)], others, floor, conv_rivals.agreement(dtype))


def _seq_idx(size: Sequence[int], dtype: str) -> Contest:
    """Four sequences in each item."""
    batch, _, steps = size
    tensors = _inputs(size, dtype, True)
    starts = conv_rivals.boundaries(steps, 4)
    seq_idx = _indices(starts, steps).expand(batch, -1).contiguous()
    dao = _dao_rival(
        lambda dao, _: functools.partial(dao.causal_conv1d_fn, *tensors, seq_idx=seq_idx, activation="silu")
    )
    floor = nbytes(*tensors, tensors[0], seq_idx)
    return Contest([_ours(*tensors, seq_idx=seq_idx)], [dao], floor, conv_rivals.agreement(dtype))


def _cu_seqlens(size: Sequence[int], dtype: str) -> Contest:
    """Four sequences for each item, packed along one; causal-conv1d takes them by seq_idx."""
    torch = rivals.torch
    batch, channels, steps = size
    tensors = _inputs((1, channels, batch * steps), dtype, True)
    starts = conv_rivals.boundaries(batch * steps, 4 * batch)
    seq_idx = _indices(starts, batch * steps)[None]
    cu_seqlens = torch.tensor(starts, dtype=torch.int32, device=DEVICE)
    dao = _dao_rival(
        lambda dao, _: functools.partial(dao.causal_conv1d_fn, *tensors, seq_idx=seq_idx, activation="silu")
    )
    floor = nbytes(*tensors, tensors[0], cu_seqlens)
    return Contest([_ours(*tensors, cu_seqlens=cu_seqlens)], [dao], floor, conv_rivals.agreement(dtype))


def _indices(starts: Sequence[int], steps: int) -> Any:
    """[T] int32: the number of each step's sequence."""
    torch = rivals.torch
    ends = torch.tensor(starts[1:], device=DEVICE)
    return torch.searchsorted(ends, torch.arange(steps, device=DEVICE), right=True).int()


def _states(size: Sequence[int], dtype: str) -> Contest:
    batch, channels, _ = size
    tensors = _inputs(size, dtype, True)
    states = conv_rivals.signal(batch, channels, WIDTH - 1, last=True, dtype=dtype, device=DEVICE, seed=4)
    named: dict[str, Any] = {"initial_states": states, "return_final_states": True}
    dao = _dao_rival(lambda dao, _: functools.partial(dao.causal_conv1d_fn, *tensors, **named, activation="silu"))
    floor = nbytes(*tensors, tensors[0], states, states)
    return Contest([_ours(*tensors, **named)], [dao], floor, conv_rivals.agreement(dtype))


def _scene(batch: int, steps: int, channels: int, dtype: str, *, compiled: bool = False) -> Contest:
    x = conv_rivals.noise(batch, steps, channels, dtype=dtype, device=DEVICE)
    tensors = (x, *conv_rivals.taps(channels, dtype=dtype, device=DEVICE))
    mask = conv_rivals.mask(batch, steps, device=DEVICE)

    def with_dao(dao: Any, _: Any) -> Call:
        """Its convolution between PyTorch's multiplication and addition."""

        def call() -> Any:
            masked = (x * mask[..., None].to(x.dtype)).transpose(1, 2)
            return x + dao.causal_conv1d_fn(masked, *tensors[1:], activation="silu").transpose(1, 2)

        return call

    others = [_dao_rival(with_dao)]
    if compiled:
        others.append(_compiled_rival(conv_rivals.short_conv_unrolled, lambda f: lambda: f(*tensors, mask)))
    others.append(Rival(COMPOSITION, [functools.partial(conv_rivals.short_conv, *tensors, mask)]))
    ours = functools.partial(melisma.short_conv_fused, *tensors, mask)
    return Contest([ours], others, nbytes(*tensors, x, mask), conv_rivals.agreement(dtype))


# --- backward --------------------------------------------------------------------------------------------------------


def _gradients(forward: Callable[..., Any], leaves: Sequence[Any], above: Any) -> Call:
    """The backward alone, of a forward that runs here."""
    out = forward(*leaves)
    return functools.partial(rivals.torch.autograd.grad, out, tuple(leaves), above, retain_graph=True)


def _backward(size: Sequence[int], dtype: str, *, last: bool = False, compiled: bool = False) -> Contest:
    leaves = [tensor.requires_grad_() for tensor in _inputs(size, dtype, last)]
    x, weight, bias = leaves
    above = conv_rivals.signal(*size, last=last, dtype=dtype, device=DEVICE, seed=5)

    def dao_backward(_: Any, kernels: Any) -> Call:
        tensors = [tensor.detach() for tensor in leaves]

        def call() -> Any:  # what its autograd function runs; silu_activation is the last argument
            return kernels.causal_conv1d_bwd_function(*tensors, above, None, None, None, None, False, True)[:3]

        return call

    others = [_dao_rival(dao_backward)]
    if compiled:
        others += [
            _compiled_rival(conv_rivals.unrolled, lambda f: _gradients(f, leaves, above)),
            Rival(COMPOSITION, [_gradients(conv_rivals.conv1d, leaves, above)]),
        ]
    ours = _gradients(functools.partial(melisma.causal_conv1d, activation="silu"), leaves, above)
    floor = nbytes(x, above, x, weight, weight, bias, bias)
    return Contest([ours], others, floor, conv_rivals.agreement(dtype))


# --- one step --------------------------------------------------------------------------------------------------------


def _update(batch: int, channels: int, places: int, dtype: str) -> Contest:
    weight, bias = conv_rivals.taps(channels, dtype=dtype, device=DEVICE)
    x = conv_rivals.noise(batch, channels, dtype=dtype, device=DEVICE)
    state = conv_rivals.noise(batch, channels, places, dtype=dtype, device=DEVICE, seed=4)
    copies = 1 + math.ceil(3 * L2_BYTES / nbytes(x, state, x))

    def turns(update: Callable[..., Any], *last: Any) -> list[Call]:
        return [functools.partial(update, x.clone(), state.clone(), weight, bias, *last) for _ in range(copies)]

    dao = _dao()
    others = [
        Rival(DAO, [] if dao is None else turns(dao[0].causal_conv1d_update, "silu")),
        Rival("roll, sum", turns(conv_rivals.roll_update)),
    ]
    floor = nbytes(x, x, state, state, weight, bias)
    return Contest(turns(melisma.causal_conv1d_update, "silu"), others, floor, conv_rivals.agreement(dtype))


# --- calls from Python -----------------------------------------------------------------------------------------------


def _eager(group: str, name: str, make: Callable[[], Contest], goal: Goal, context: Context) -> list[Row]:
    """What calls of a small size keep their caller, in wall time."""
    contest = make()
    rounds = 3 if context.quick else 10

    def wall(call: Call) -> float:
        for _ in range(20):
            call()
        return cuda_timing.wall_us(call, 100, rounds)

    ours = wall(contest.ours[0])
    rows = []
    for rival in contest.rivals:
        theirs = wall(rival.calls[0]) if rival.calls else None
        judged = goal if rival is contest.rivals[0] else Goal()
        ratio = None if theirs is None else theirs / ours
        verdict = judged.verdict(ours / 1e3, 0.0, ratio)
        if theirs is not None or judged != Goal():
            rows.append(Row(group, name, rival.name, "us", ours, theirs, ratio, str(judged), verdict))
    return rows


def _eager_forward(size: Sequence[int], dtype: str) -> Contest:
    return _forward(size, dtype)


def _nothing() -> Callable[..., Any]:
    """A function of signal, weight and bias whose gradients are there already: what autograd itself takes."""
    torch = rivals.torch

    def forward(ctx: Any, *tensors: Any) -> Any:
        ctx.gradients = tuple(torch.empty_like(tensor) for tensor in tensors)
        return torch.empty_like(tensors[0])

    def backward(ctx: Any, _: Any) -> Any:
        return ctx.gradients

    parts = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    made: Any = type("Nothing", (torch.autograd.Function,), parts)
    call: Callable[..., Any] = made.apply
    return call


def _eager_backward(size: Sequence[int], dtype: str) -> Contest:
    """Through autograd on every side."""
    leaves = [tensor.requires_grad_() for tensor in _inputs(size, dtype, False)]
    above = conv_rivals.signal(*size, last=False, dtype=dtype, device=DEVICE, seed=5)

    def side(forward: Callable[..., Any], **named: Any) -> Call:
        return _gradients(functools.partial(forward, **named), leaves, above)

    others = [
        _dao_rival(lambda dao, _: side(dao.causal_conv1d_fn, activation="silu")),
        Rival(COMPOSITION, [side(conv_rivals.conv1d)]),
        Rival(NOTHING, [side(_nothing())]),
    ]
    return Contest([side(melisma.causal_conv1d, activation="silu")], others, 0)


# --- cases -----------------------------------------------------------------------------------------------------------


def cases(quick: bool = False) -> list[Case]:
    """Return every case, in the order of the table; a quick run compiles nothing."""
    if rivals.torch is None:
        raise ValueError("benchmark: suite 'conv-cuda' needs PyTorch, got none")
    found: list[Case] = []

    def add(
        group: str,
        name: str,
        make: Callable[..., Contest],
        *arguments: Any,
        goal: Goal,
        how: Any = measure,
        **named: Any,
    ) -> None:
        bound = functools.partial(make, *arguments, **named)
        found.append(Case(group, name, functools.partial(how, group, name, bound, goal)))

    layouts = ((False, ""), (True, ", channel-last"))
    for number, size in enumerate(LARGE):
        text = _name(size)
        for last, layout in layouts:
            for dtype in (*DTYPES, "float16") if number == 0 else DTYPES:
                compiled = not quick and number == 0 and dtype in DTYPES
                name = f"conv1d + SiLU {text}{layout} {dtype}"
                add("forward", name, _forward, size, dtype, goal=Goal(FORWARD), last=last, compiled=compiled)
    for size in LARGE:
        for how, make in (("seq_idx", _seq_idx), ("cu_seqlens", _cu_seqlens), ("states in and out", _states)):
            for dtype in DTYPES:
                name = f"conv1d + SiLU {_name(size)}, channel-last, {how} {dtype}"
                add("sequences", name, make, size, dtype, goal=Goal(WITH_STATES))
    for number, size in enumerate(LARGE):
        for last, layout in layouts:
            for dtype in DTYPES:
                compiled = not quick and number == 0 and not last
                add("backward", f"backward {_name(size)}{layout} {dtype}", _backward, size, dtype, goal=Goal(BACKWARD),
                    last=last, compiled=compiled)  # fmt: skip
    for batch, channels, floors in UPDATES:
        for places in PLACES:
            for dtype in DTYPES:
                name = f"causal_conv1d_update {batch}x{channels}, {places} places {dtype}"
                add("update", name, _update, batch, channels, places, dtype, goal=Goal(floors))
    for name, *scene in SCENES:
        for dtype in DTYPES:
            add("Canon", f"short_conv_fused {name} {dtype}", _scene, *scene, dtype, goal=Goal(SCENE),
                compiled=not quick and name == SCENES[0][0])  # fmt: skip
    for name, *scene in SMALL_SCENES:
        for dtype in DTYPES:
            add("Canon, small", f"short_conv_fused {name} {dtype}", _scene, *scene, dtype, goal=Goal(us=SCENE_US))
    for work, make, measured, goal in (
        ("conv1d + SiLU", _forward, measure, Goal(ratio=1.0)),
        ("backward", _backward, measure, Goal(ratio=1.0)),
        ("a call of conv1d + SiLU, wall time", _eager_forward, _eager, Goal()),
        ("a call of autograd's backward, wall time", _eager_backward, _eager, Goal(ratio=EAGER_RATIO)),
    ):
        for size in SMALL_SIZES:
            for dtype in DTYPES:
                add("small", f"{work} {_name(size)} {dtype}", make, size, dtype, goal=goal, how=measured)
    found += conv_accuracy.cases(DEVICE, (*DTYPES, "float16"), gradients=True)
    return [_without_tf32(case) for case in found]


def _name(size: Sequence[int]) -> str:
    return "x".join(map(str, size))
