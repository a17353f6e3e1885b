"""mps-spectro's benchmarks, its sizes and tables: PyTorch beside Melisma in one process, one thread each unless told otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

import melisma

from ..._bench.timing import Budget, Side, interleave, settle_malloc
from . import istft, stft

__all__ = ["DISPATCH", "SIZES", "Line", "Stage", "dispatch_profile", "run"]

# Batch, samples, n_fft; the hop is n_fft // 4.
SIZES = (
    (1, 160_000, 1024),
    (4, 160_000, 1024),
    (4, 160_000, 2048),
    (8, 160_000, 1024),
    (16, 160_000, 1024),
    (4, 480_000, 1024),
    (4, 1_320_000, 1024),
    (1, 1_320_000, 1024),
)
DISPATCH = ((4, 160_000), (4, 1_300_000), (8, 480_000))
# Rounds of both sides in turns, each with an untimed call first.
ROUNDS, QUICK_ROUNDS = 20, 5


@dataclass(frozen=True)
class Line:
    """One size of one table: milliseconds of each side, and how far their results are apart at most."""

    work: str
    size: str
    torch_ms: float
    ours_ms: float
    difference: float

    @property
    def speedup(self) -> float:
        """How many times as fast as PyTorch."""
        return self.torch_ms / self.ours_ms


@dataclass(frozen=True)
class Stage:
    """One size of the dispatch profile, in milliseconds: the whole call, its parts as operators, and the FFT alone."""

    work: str
    size: str
    call_ms: float
    parts_ms: float
    fft_ms: float


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads(), melisma.get_num_threads()
    torch.set_num_threads(count)
    melisma.set_num_threads(count)
    try:
        settle_malloc()
        yield
    finally:
        torch.set_num_threads(before[0])
        melisma.set_num_threads(before[1])


def _medians(calls: Sequence[Callable[[], object]], quick: bool) -> list[float]:
    rounds = QUICK_ROUNDS if quick else ROUNDS
    sides = [Side(str(number), call) for number, call in enumerate(calls)]
    return [timing.median for timing in interleave(sides, Budget(0.0, rounds, rounds))]


def _with_gradient(call: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> Callable[[], torch.Tensor]:
    """``call(x)`` and the gradient of the sum of its squares."""
    leaf = x.clone().requires_grad_()

    def forward_backward() -> torch.Tensor:
        y = call(leaf)
        squares = torch.view_as_real(y) if y.is_complex() else y
        return torch.autograd.grad(squares.square().sum(), leaf)[0]

    return forward_backward


def run(
    *, quick: bool = False, forward: bool = True, backward: bool = True, device: str = "cpu", threads: int = 1
) -> Iterator[Line]:
    """Measure stft and istft, and (with `backward`) their gradients and the round trip's, at :data:`SIZES`.

    Parameters
    ----------
    quick : bool
        5 rounds in place of 20, and the first two sizes only.
    forward, backward : bool
        Which tables.
    device : str
        Where the tensors lie.
    threads : int
        Of each side.

    Yields
    ------
    Line
        Table by table, as they are measured.
    """
    works = [name for name in _WORKS if (backward if "backward" in name else forward)]
    with _threads(threads):
        for work in works:
            for batch, samples, n_fft in SIZES[:2] if quick else SIZES:
                theirs, ours = _WORKS[work](batch, samples, n_fft, torch.device(device))
                difference = float((theirs() - ours()).abs().max())
                torch_ms, ours_ms = _medians((theirs, ours), quick)
                yield Line(work, _size(batch, samples, n_fft), torch_ms, ours_ms, difference)


def _size(batch: int, samples: int, n_fft: int) -> str:
    return f"B={batch} T={samples // 1000}k nfft={n_fft}" if n_fft else f"B={batch} T={samples // 1000}k"


_Call = Callable[[], torch.Tensor]


def _input(batch: int, samples: int, device: torch.device) -> torch.Tensor:
    return torch.randn(batch, samples, generator=torch.Generator().manual_seed(0)).to(device)


def _pairs(
    batch: int, samples: int, n_fft: int, device: torch.device
) -> tuple[
    torch.Tensor,
    tuple[Callable[[torch.Tensor], torch.Tensor], Callable[[torch.Tensor], torch.Tensor]],
    tuple[Callable[[torch.Tensor], torch.Tensor], Callable[[torch.Tensor], torch.Tensor]],
]:
    """A signal, and (torch's, ours) of stft and of istft."""
    window = torch.hann_window(n_fft, device=device)
    hop = n_fft // 4

    def torch_stft(x: torch.Tensor) -> torch.Tensor:
        return torch.stft(x, n_fft, hop, window=window, center=True, return_complex=True)

    def our_stft(x: torch.Tensor) -> torch.Tensor:
        return stft(x, n_fft=n_fft, hop_length=hop, window=window)

    def torch_istft(spec: torch.Tensor) -> torch.Tensor:
        return torch.istft(spec, n_fft, hop, window=window, center=True, length=samples)

    def our_istft(spec: torch.Tensor) -> torch.Tensor:
        return istft(spec, n_fft=n_fft, hop_length=hop, window=window, length=samples)

    return _input(batch, samples, device), (torch_stft, our_stft), (torch_istft, our_istft)


def _stft_forward(batch: int, samples: int, n_fft: int, device: torch.device) -> tuple[_Call, _Call]:
    x, (theirs, ours), _ = _pairs(batch, samples, n_fft, device)
    return lambda: theirs(x), lambda: ours(x)


def _istft_forward(batch: int, samples: int, n_fft: int, device: torch.device) -> tuple[_Call, _Call]:
    x, (forward, own), (theirs, ours) = _pairs(batch, samples, n_fft, device)
    spectrum, own_spectrum = forward(x), own(x)  # each side's own strides, as in a program that uses one of them
    return lambda: theirs(spectrum), lambda: ours(own_spectrum)


def _stft_backward(batch: int, samples: int, n_fft: int, device: torch.device) -> tuple[_Call, _Call]:
    x, (theirs, ours), _ = _pairs(batch, samples, n_fft, device)
    return _with_gradient(theirs, x), _with_gradient(ours, x)


def _istft_backward(batch: int, samples: int, n_fft: int, device: torch.device) -> tuple[_Call, _Call]:
    x, (forward, own), (theirs, ours) = _pairs(batch, samples, n_fft, device)
    return _with_gradient(theirs, forward(x)), _with_gradient(ours, own(x))


def _round_trip(batch: int, samples: int, n_fft: int, device: torch.device) -> tuple[_Call, _Call]:
    x, (theirs, ours), (their_inverse, our_inverse) = _pairs(batch, samples, n_fft, device)
    return _with_gradient(lambda y: their_inverse(theirs(y)), x), _with_gradient(lambda y: our_inverse(ours(y)), x)


_WORKS = {
    "STFT forward": _stft_forward,
    "ISTFT forward": _istft_forward,
    "STFT forward + backward": _stft_backward,
    "ISTFT forward + backward": _istft_backward,
    "Round trip forward + backward": _round_trip,
}


def dispatch_profile(
    *, n_fft: int = 2048, hop_length: int = 512, quick: bool = False, device: str = "cpu", threads: int = 1
) -> Iterator[Stage]:
    """Set a call beside the same work done by ``torch.ops.mps_spectro`` and torch.fft, and beside the FFT alone.

    Parameters
    ----------
    n_fft, hop_length : int
        Of the transform.
    quick, device, threads
        As in :func:`run`; quick takes the first size only.

    Yields
    ------
    Stage
        For stft, then for istft, at the sizes of :data:`DISPATCH`.
    """
    ops = torch.ops.mps_spectro
    window = torch.hann_window(n_fft, device=device)
    squares = window * window
    with _threads(threads):
        for batch, samples in DISPATCH[:1] if quick else DISPATCH:
            x = _input(batch, samples, torch.device(device))
            frames = ops.stft_extract_frames(x, window, hop_length, n_fft, True)
            medians = _medians(
                (
                    lambda x=x: stft(x, n_fft=n_fft, hop_length=hop_length, window=window),  # type: ignore[misc]
                    lambda x=x: torch.fft.rfft(ops.stft_extract_frames(x, window, hop_length, n_fft, True)),  # type: ignore[misc]
                    lambda frames=frames: torch.fft.rfft(frames),  # type: ignore[misc]
                ),
                quick,
            )
            yield Stage("STFT", _size(batch, samples, 0), *medians)
            spec = stft(x, n_fft=n_fft, hop_length=hop_length, window=window)
            full = n_fft + hop_length * (spec.shape[-1] - 1)
            medians = _medians(
                (
                    lambda spec=spec, samples=samples: istft(  # type: ignore[misc]
                        spec, n_fft=n_fft, hop_length=hop_length, window=window, length=samples
                    ),
                    lambda spec=spec, full=full: ops.istft_overlap_add(  # type: ignore[misc]
                        torch.fft.irfft(spec, n_fft, dim=-2), window, squares, hop_length, full
                    ),
                    lambda spec=spec: torch.fft.irfft(spec, n_fft, dim=-2),  # type: ignore[misc]
                ),
                quick,
            )
            yield Stage("ISTFT", _size(batch, samples, 0), *medians)
