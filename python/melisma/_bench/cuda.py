"""The spectral family on a GPU against PyTorch's and torchaudio's, with the memory floor of the same run.

Device time of a captured CUDA graph; of events where the rival cannot be captured (torch.istft waits for the device).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import melisma

from . import cuda_contest, rivals
from .cuda_timing import wall_us
from .rows import INFO, PASS, SHORT, Case, Context, Goal, Row
from .speed import size_name


@dataclass(frozen=True)
class Contest:
    """Ours and the rival's call on the same tensors, and the bytes that must move once."""

    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    rival: str
    floor_bytes: int


def _measure(group: str, name: str, make: Callable[[], Contest], goal: Goal, context: Context) -> list[Row]:
    def contest() -> cuda_contest.Contest:
        made = make()
        rival = cuda_contest.Rival(made.rival, (made.theirs,))
        return cuda_contest.Contest((made.ours,), (rival,), made.floor_bytes)

    return cuda_contest.measure(group, name, contest, goal, context)


# --- inputs and calls ------------------------------------------------------------------------------------------------


def _noise(*shape: int, seed: int = 0) -> Any:
    torch = rivals.torch
    return torch.randn(*shape, device="cuda", generator=torch.Generator("cuda").manual_seed(seed))


def _hann(n: int) -> Any:
    return rivals.torch.hann_window(n, device="cuda")


def _nbytes(*tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _stft(batch: int, samples: int, n_fft: int, hop: int) -> Contest:
    x, window = _noise(batch, samples), _hann(n_fft)
    frames = 1 + samples // hop
    return Contest(
        lambda: melisma.stft(x, n_fft, hop, window=window),
        lambda: rivals.torch_stft(x, n_fft, hop, window),
        "torch.stft",
        _nbytes(x) + batch * frames * (n_fft // 2 + 1) * 8,
    )


def _istft(batch: int, samples: int, n_fft: int, hop: int) -> Contest:
    x, window = _noise(batch, samples), _hann(n_fft)
    spectrum = rivals.torch_stft(x, n_fft, hop, window)
    return Contest(
        lambda: melisma.istft(spectrum, n_fft, hop, window=window, length=samples),
        lambda: rivals.torch_istft(spectrum, n_fft, hop, window, samples),
        "torch.istft",
        _nbytes(x, spectrum),
    )


def _both(forward: Callable[[Any], Any], leaf: Any, above: Any) -> Callable[[], Any]:
    return lambda: rivals.torch.autograd.grad(forward(leaf), leaf, above)[0]


def _trained(ours: Callable[[Any], Any], theirs: Callable[[Any], Any], rival: str, x: Any, floor_bytes: int) -> Contest:
    torch = rivals.torch
    leaf = x.detach().requires_grad_()
    with torch.no_grad():
        result = theirs(x)
        above = torch.empty_like(result).copy_(_noise(*result.shape, seed=1))
    return Contest(_both(ours, leaf, above), _both(theirs, leaf, above), rival, floor_bytes)


def _stft_backward(batch: int, samples: int, n_fft: int, hop: int) -> Contest:
    x, window = _noise(batch, samples), _hann(n_fft)
    spectrum_bytes = batch * (1 + samples // hop) * (n_fft // 2 + 1) * 8
    return _trained(
        lambda leaf: melisma.stft(leaf, n_fft, hop, window=window),
        lambda leaf: rivals.torch_stft(leaf, n_fft, hop, window),
        "torch.stft",
        x,
        2 * (_nbytes(x) + spectrum_bytes),
    )


def _istft_backward(batch: int, samples: int, n_fft: int, hop: int) -> Contest:
    x, window = _noise(batch, samples), _hann(n_fft)
    spectrum = rivals.torch_stft(x, n_fft, hop, window)
    return _trained(
        lambda leaf: melisma.istft(leaf, n_fft, hop, window=window, length=samples),
        lambda leaf: rivals.torch_istft(leaf, n_fft, hop, window, samples),
        "torch.istft",
        spectrum,
        2 * _nbytes(x, spectrum),
    )


def _round_trip(batch: int, samples: int, n_fft: int, hop: int) -> Contest:
    x, window = _noise(batch, samples), _hann(n_fft)
    spectrum_bytes = batch * (1 + samples // hop) * (n_fft // 2 + 1) * 8

    def ours(leaf: Any) -> Any:
        return melisma.istft(melisma.stft(leaf, n_fft, hop, window=window), n_fft, hop, window=window, length=samples)

    def theirs(leaf: Any) -> Any:
        return rivals.torch_istft(rivals.torch_stft(leaf, n_fft, hop, window), n_fft, hop, window, samples)

    return _trained(ours, theirs, "torch.stft, istft", x, 4 * (_nbytes(x) + spectrum_bytes))


def _mel(batch: int, samples: int, rate: int, n_fft: int, hop: int, n_mels: int, trained: bool = False) -> Contest:
    x = _noise(batch, samples)
    options: Any = {"sample_rate": rate, "n_fft": n_fft, "hop_length": hop, "n_mels": n_mels}
    torchaudio = rivals.optional("torchaudio.transforms")
    if torchaudio is not None:
        theirs, rival = torchaudio.MelSpectrogram(**options).to("cuda"), "torchaudio"
    else:
        window = _hann(n_fft)
        banks = rivals.torch.from_numpy(melisma.melscale_fbanks(n_fft // 2 + 1, 0.0, rate / 2, n_mels, rate)).to("cuda")
        theirs, rival = functools.partial(
            rivals.torch_mel, n_fft=n_fft, hop=hop, window=window, fbanks=banks
        ), "torchaudio's ops"  # fmt: skip

    def ours(signal: Any) -> Any:
        return melisma.mel_spectrogram(signal, **options)

    floor = _nbytes(x) + 4 * batch * n_mels * (1 + samples // hop)
    if trained:
        return _trained(ours, theirs, rival, x, 2 * floor)
    return Contest(lambda: ours(x), lambda: theirs(x), rival, floor)


def _log_filtered(stems: int, seconds: int) -> Contest:
    torch = rivals.torch
    rate, frame_size, hop = 44100, 2048, 441
    x = _noise(stems, seconds * rate)
    window = torch.hann_window(frame_size, periodic=False, device="cuda")
    bank = torch.as_tensor(melisma.log_filterbank(frame_size // 2, rate), device="cuda").float()
    frames = -(-x.shape[-1] // hop)

    def ours() -> Any:
        return melisma.filtered_spectrogram(
            x, filterbank=bank, n_fft=frame_size, hop_length=hop, window=window, pad_mode="constant",
            output_scale="log10", add=1.0, layout="frame_major",
        )[:, :frames]  # fmt: skip

    return Contest(
        ours,
        lambda: rivals.torch_log_filtered(x, frame_size, hop, window, bank),
        "PyTorch ops",
        _nbytes(x) + 4 * stems * frames * bank.shape[1],
    )


# --- calls from Python -----------------------------------------------------------------------------------------------

OVERHEAD_US = 6.0
SMALL = (1, 16_000, 512, 128)


def _stft_and_elementwise(batch: int, samples: int, n_fft: int, hop: int) -> Contest:
    """What the machine asks of any operator: one result, one launch."""
    x = _noise(batch, samples)
    return replace(_stft(batch, samples, n_fft, hop), theirs=lambda: rivals.torch.neg(x), rival="torch.neg")


def _wall(
    make: Callable[..., Contest], target: str = "", met: Callable[[float, float], bool] | None = None
) -> Callable[[str, str, Context], list[Row]]:
    """Time what calls of a small size keep their caller."""

    def measure(group: str, name: str, context: Context) -> list[Row]:
        contest = make(*SMALL)
        rounds = 5 if context.quick else 20
        for call in (contest.ours, contest.theirs):
            for _ in range(20):
                call()
        ours = wall_us(contest.ours, 300, rounds)
        theirs = wall_us(contest.theirs, 300, rounds)
        verdict = INFO if met is None else PASS if met(ours, theirs) else SHORT
        return [Row(group, name, contest.rival, "us", ours, theirs, theirs / ours, target, verdict)]

    return measure


# --- cases -----------------------------------------------------------------------------------------------------------

STEREO = 267 * 44_100
LARGE = [(32, 480_000, 1024, 256), (64, 480_000, 2048, 512), (2, STEREO, 2048, 512), (2, STEREO, 4096, 1024)]
SPEECH = (32, 480_000, 400, 160)
GENERAL = [
    (32, 480_000, 1024, 300),  # a hop that divides nothing
    (32, 480_000, 1024, 255),
    (32, 480_001, 1024, 256),
    (32, 480_000, 480, 120),
    (32, 480_000, 1000, 250),
    (32, 480_000, 1280, 320),
    (32, 480_000, 1920, 480),
]


def _case(group: str, name: str, make: Callable[[], Contest], goal: Goal, slow: bool = False) -> Case:
    return Case(group, name, functools.partial(_measure, group, name, make, goal), slow)


def _sized(group: str, op: str, make: Callable[..., Contest], size: tuple[int, ...], goal: Goal) -> Case:
    return _case(group, f"{op} {size_name(*size)}", functools.partial(make, *size), goal)


def cases() -> list[Case]:
    """Return every case, in the order of the table."""
    if rivals.torch is None:
        raise ValueError("benchmark: suite 'cuda' needs PyTorch, got none")
    found = [_sized("stft", "stft", _stft, size, Goal(1.25, 3.8)) for size in LARGE]
    found.append(_sized("stft", "stft", _stft, SPEECH, Goal(1.32, 5.5)))
    found += [_sized("istft", "istft", _istft, size, Goal(1.22, 9)) for size in LARGE]
    found.append(_sized("istft", "istft", _istft, SPEECH, Goal(1.35, 9)))
    for op, make, goal in (
        ("stft", _stft_backward, Goal(1.4, 8)),
        ("istft", _istft_backward, Goal(1.4, 9)),
        ("stft, istft", _round_trip, Goal(1.5, 10)),
    ):
        found += [_sized("backward", f"{op} forward+backward", make, size, goal) for size in LARGE]
        found.append(_sized("backward", f"{op} forward+backward", make, SPEECH, Goal()))
    found += [
        _case("mel", "mel 32x480k n 400 hop 160, 80 mels",
              lambda: _mel(32, 480_000, 16_000, 400, 160, 80), Goal(3, 10)),
        _case("mel", "mel 4x480k n 2048 hop 240, 128 mels",
              lambda: _mel(4, 480_000, 24_000, 2048, 240, 128), Goal(None, 10)),
        _case("mel", "mel forward+backward 32x480k n 400 hop 160, 80 mels",
              lambda: _mel(32, 480_000, 16_000, 400, 160, 80, True), Goal()),
        _case("mel", "mel forward+backward 4x480k n 2048 hop 240, 128 mels",
              lambda: _mel(4, 480_000, 24_000, 2048, 240, 128, True), Goal()),
        _case("log-filtered", "log-filtered 4x195 s at 44.1 kHz, 2048, 100 fps",
              lambda: _log_filtered(4, 195), Goal(None, 10)),
    ]  # fmt: skip
    found += [_sized("general", "stft", _stft, size, Goal(1.6, 3)) for size in GENERAL]
    found += [_sized("general", "istft", _istft, size, Goal(1.6, 6)) for size in GENERAL]
    for size in (SMALL, (4, 160_000, 1024, 256)):
        found.append(_sized("small", "stft", _stft, size, Goal(None, 1.5)))
        found.append(_sized("small", "istft", _istft, size, Goal()))
        found.append(_sized("small", "stft forward+backward", _stft_backward, size, Goal()))
    for name, measure in (
        (
            f"istft {size_name(*SMALL)}, wall time of a call from Python",
            _wall(_istft, ">= 10x", lambda ours, theirs: theirs >= 10 * ours),
        ),
        (
            f"stft {size_name(*SMALL)}, what a call from Python keeps its caller",
            _wall(_stft, f"< {OVERHEAD_US:g} us", lambda ours, _: ours < OVERHEAD_US),
        ),
        ("the same, beside the least operator", _wall(_stft_and_elementwise)),
    ):
        found.append(Case("small", name, functools.partial(measure, "small", name)))
    return found
