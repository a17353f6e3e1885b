"""Forward and backward together, what a small call costs beside its kernel, and the time of `import melisma`."""

from __future__ import annotations

import functools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import melisma
from melisma import _core, _options

from . import rivals
from .rows import MISSING, PASS, SHORT, Case, Context, Row
from .speed import Contest, Rival, contest_case, hann, noise, size_name

# batch, samples, n_fft, hop and the targets of stft, istft and round trip
SIZES = [
    (4, 160_000, 1024, 256, 10.0, 7.0, 10.0),
    (8, 160_000, 1024, 256, 10.0, 7.0, 10.0),
    (4, 1_300_000, 1024, 256, 15.0, 12.0, 15.0),
]


def _both(forward: Callable[[Any], Any], x: Any, above: Any) -> Callable[[], Any]:
    """A call that runs forward on x and gives the gradient for `above`."""

    def call() -> Any:
        leaf = x.detach().requires_grad_()
        return rivals.torch.autograd.grad(forward(leaf), leaf, above)[0]

    return call


def _contest(
    ours: Callable[[Any], Any], theirs: Callable[[Any], Any], rival: str, x: Any, target: float | None
) -> Contest:
    result = theirs(x)
    above = rivals.torch.empty_like(result)  # a gradient comes in the layout of its tensor
    above.copy_(rivals.torch.randn(result.shape, dtype=result.dtype, generator=rivals.torch.Generator().manual_seed(1)))
    moved = 2 * (x.numel() * x.element_size() + result.numel() * result.element_size())
    return Contest(_both(ours, x, above), [Rival(rival, _both(theirs, x, above), target)], moved)


def _tensors(batch: int, samples: int, n_fft: int) -> tuple[Any, Any]:
    return rivals.torch.from_numpy(noise(batch, samples)), rivals.torch.from_numpy(hann(n_fft))


def _stft(batch: int, samples: int, n_fft: int, hop: int, target: float | None) -> Contest:
    x, window = _tensors(batch, samples, n_fft)
    return _contest(
        lambda leaf: melisma.stft(leaf, n_fft, hop, window=window),
        lambda leaf: rivals.torch_stft(leaf, n_fft, hop, window),
        "torch.stft",
        x,
        target,
    )


def _istft(batch: int, samples: int, n_fft: int, hop: int, target: float | None) -> Contest:
    x, window = _tensors(batch, samples, n_fft)
    return _contest(
        lambda leaf: melisma.istft(leaf, n_fft, hop, window=window, length=samples),
        lambda leaf: rivals.torch_istft(leaf, n_fft, hop, window, samples),
        "torch.istft",
        rivals.torch_stft(x, n_fft, hop, window),
        target,
    )


def _round_trip(batch: int, samples: int, n_fft: int, hop: int, target: float | None) -> Contest:
    x, window = _tensors(batch, samples, n_fft)

    def ours(leaf: Any) -> Any:
        return melisma.istft(melisma.stft(leaf, n_fft, hop, window=window), n_fft, hop, window=window, length=samples)

    def theirs(leaf: Any) -> Any:
        return rivals.torch_istft(rivals.torch_stft(leaf, n_fft, hop, window), n_fft, hop, window, samples)

    return _contest(ours, theirs, "torch.stft, istft", x, target)


def _log_mel(batch: int, samples: int, rate: int, n_fft: int, hop: int, n_mels: int) -> Contest:
    x, window = _tensors(batch, samples, n_fft)
    banks = rivals.torch.from_numpy(melisma.melscale_fbanks(n_fft // 2 + 1, 0.0, rate / 2, n_mels, rate))
    return _contest(
        lambda leaf: melisma.log_mel(leaf, sample_rate=rate, n_fft=n_fft, hop_length=hop, n_mels=n_mels),
        lambda leaf: rivals.torch_log_mel(leaf, n_fft, hop, window, banks, None),
        "torchaudio's ops",
        x,
        None,
    )


# --- overhead --------------------------------------------------------------------------------------------------------

OVERHEAD_US = 6.0


def _overhead(context: Context) -> list[Row]:
    group, name = "small call", "stft 1x16000 n 512 hop 128: beyond its kernel called from C++"
    target = f"< {OVERHEAD_US:g} us"
    if rivals.torch is None:
        return [Row(group, name, unit="us", target=target, verdict=MISSING, note="not installed")]
    n_fft, hop, calls = 512, 128, 200
    x, window = _tensors(1, 16_000, n_fft)
    params = _options.stft_params(n_fft, hop, None, True, "reflect", False, None, None, False, False, "frequency_major")
    out = melisma.stft(x.numpy(), n_fft, hop, window=window.numpy())
    differences, kernels = [], []
    for _ in range(5 if context.quick else 25):
        kernel = _core.time_stft(x.numpy(), window.numpy(), params, out, calls)
        start = time.perf_counter_ns()
        for _ in range(calls):
            melisma.stft(x, n_fft, hop, window=window)
        differences.append((time.perf_counter_ns() - start) / calls / 1e3 - kernel)
        kernels.append(kernel)
    ours = statistics.median(differences)
    verdict = PASS if ours < OVERHEAD_US else SHORT
    note = f"the kernel takes {statistics.median(kernels):.1f} us"
    return [Row(group, name, unit="us", ours=ours, target=target, verdict=verdict, note=note)]


# --- import ----------------------------------------------------------------------------------------------------------

IMPORT_MS = 150.0


def _import(context: Context) -> list[Row]:
    # The import itself, in a fresh interpreter that has nothing of ours or of NumPy loaded.
    program = (
        "import time, sys; start = time.perf_counter(); import melisma; "
        "print((time.perf_counter() - start) * 1e3); assert 'torch' not in sys.modules"
    )
    runs = []
    for _ in range(3 if context.quick else 9):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
        runs.append(float(done.stdout))
    ours = statistics.median(runs)
    verdict = PASS if ours < IMPORT_MS else SHORT
    return [Row("import", "import melisma, without PyTorch", ours=ours, target=f"< {IMPORT_MS:g} ms", verdict=verdict)]


def cases() -> list[Case]:
    """Return every case of training, overhead and import."""
    found = [Case("small call", "overhead of the Python call", _overhead), Case("import", "import melisma", _import)]
    if rivals.torch is None:
        row = Row("training", "forward and backward", "PyTorch", verdict=MISSING, note="not installed")
        return [*found, Case("training", row.name, lambda _: [row])]
    for op, make, which in (("stft", _stft, 4), ("istft", _istft, 5), ("stft, istft", _round_trip, 6)):
        for size in SIZES:
            prepare = functools.partial(make, *size[:4], size[which])
            found.append(contest_case("training", f"{op} forward+backward {size_name(*size[:4])}", prepare))
    found += [
        contest_case("training", "log-mel dB forward+backward 32x480k n 400 hop 160, 80 mels",
                     lambda: _log_mel(32, 480_000, 16_000, 400, 160, 80), slow=True),
        contest_case("training", "log-mel dB forward+backward 4x480k n 2048 hop 240, 128 mels",
                     lambda: _log_mel(4, 480_000, 24_000, 2048, 240, 128)),
        contest_case("small call", "stft forward+backward 1x16000 n 512 hop 128",
                     lambda: _stft(1, 16_000, 512, 128, 2.0)),
        contest_case("small call", "istft forward+backward 1x16000 n 512 hop 128",
                     lambda: _istft(1, 16_000, 512, 128, 2.0)),
    ]  # fmt: skip
    return found
