"""``melisma cache``: which variants of the GPU kernels ran fastest on this machine's devices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

import melisma
from melisma import _core
from melisma.cli import report
from melisma.cli.errors import UsageProblem, one_line, shown

app = typer.Typer(
    help="Which variants of the GPU kernels were found fastest; timing them.", invoke_without_command=True
)

# The sizes that libraries and models use: (batch, samples, n_fft, hop_length)
_SIZES = (
    (32, 480_000, 1024, 256),
    (64, 480_000, 2048, 512),
    (2, 11_774_700, 2048, 512),
    (2, 11_774_700, 4096, 1024),
    (32, 480_000, 400, 160),
    (32, 480_000, 512, 128),
    (32, 480_000, 480, 160),
    (32, 480_000, 1000, 250),
    (32, 480_000, 1280, 320),
    (32, 480_000, 1920, 480),
    (4, 160_000, 1024, 256),
    (1, 16_000, 512, 128),
    (1, 16_000, 400, 160),
)
# And n_mels, sample_rate.
_MELS = ((32, 480_000, 400, 160, 80, 16_000), (32, 480_000, 400, 160, 128, 16_000), (4, 480_000, 2048, 240, 80, 24_000))


@app.callback()
def cache(
    context: typer.Context,
    clear: Annotated[bool, typer.Option("--clear", help="Forget everything, and remove the files.")] = False,
    path: Annotated[bool, typer.Option("--path", help="Only say in which folder the files are.")] = False,
) -> None:
    """List what has been timed on GPUs: for each kernel and kind of job the fastest variant."""
    if context.invoked_subcommand is not None:
        return
    folder = _core.tuning_cache_directory()
    if path:
        typer.echo(shown(folder))
        return
    if clear:
        known = len(melisma.tuning_cache())
        melisma.clear_tuning_cache()
        report.console().print(f"forgotten: {known}", soft_wrap=True)
        return
    _show(melisma.tuning_cache(), folder)


@app.command()
def tune(device: Annotated[int, typer.Option(min=0, help="Of several GPUs.")] = 0) -> None:
    """Time the variants of the sizes in common use on this machine's GPU; what is in the cache is not timed again."""
    try:
        made = _arrays(device)
    except UsageProblem as problem:
        report.console(stderr=True).print(f"[red]melisma: {escape(str(problem))}[/]", soft_wrap=True)
        raise typer.Exit(2) from None
    with melisma.autotune(), report.console(stderr=True).status("timing"):
        for batch, samples, n_fft, hop in _SIZES:
            x, window = made(batch, samples), made(n_fft)
            spectrum = melisma.stft(x, n_fft, hop, window=window)
            melisma.istft(spectrum, n_fft, hop, window=window, length=samples)
            del spectrum
            melisma.spectrogram(x, n_fft=n_fft, hop_length=hop, window=window)
        for batch, samples, n_fft, hop, mels, rate in _MELS:
            x = made(batch, samples)
            melisma.mel_spectrogram(x, sample_rate=rate, n_fft=n_fft, hop_length=hop, n_mels=mels)
    _show(melisma.tuning_cache(), _core.tuning_cache_directory())


def _arrays(device: int) -> Callable[..., Any]:
    """A function that makes float32 arrays of ones on the GPU, out of PyTorch or CuPy."""
    cuda = next(backend for backend in melisma.backends() if backend["name"] == "cuda")
    if not cuda["available"]:
        raise UsageProblem(f"cache tune: there is no GPU to tune for: {cuda['reason']}")
    reasons = []
    try:
        import torch

        if torch.cuda.is_available() and device < torch.cuda.device_count():
            return lambda *shape: torch.ones(shape, device=f"cuda:{device}")
        reasons.append(f"PyTorch sees {torch.cuda.device_count()} GPUs")
    except ImportError as error:
        reasons.append(one_line(error))
    try:
        import cupy  # type: ignore[import-not-found, unused-ignore]

        if device < cupy.cuda.runtime.getDeviceCount():
            cupy.cuda.Device(device).use()
            return lambda *shape: cupy.ones(shape, "float32")
        reasons.append("CuPy sees no such GPU")
    except ImportError as error:
        reasons.append(one_line(error))
    raise UsageProblem(f"cache tune: device {device} needs PyTorch or CuPy with CUDA: {'; '.join(reasons)}")


def _show(known: list[dict[str, Any]], folder: str) -> None:
    out = report.console()
    if not known:
        where = f" in {escape(shown(folder))}" if folder else ", and none is kept (MELISMA_CACHE=0, or no home folder)"
        out.print(f"no variants have been timed{where}", soft_wrap=True)
        return
    for device in dict.fromkeys(entry["device"] for entry in known):
        ours = [entry for entry in known if entry["device"] == device]
        rows = Table(title=escape(device), title_justify="left", box=None, pad_edge=False, header_style="bold")
        for name in ("kernel", "job", "variant"):
            rows.add_column(name, overflow="fold")
        rows.add_column("us", justify="right", no_wrap=True)
        rows.add_column("file", overflow="fold")
        for entry in ours:
            file = shown(Path(entry["file"]).name) if entry["file"] else "this process only"
            rows.add_row(
                escape(entry["kernel"]),
                escape(entry["job"]),
                escape(entry["variant"]),
                f"{entry['microseconds']:.1f}",
                escape(file),
            )
        out.print(rows)
    if folder:
        out.print(f"files in {escape(shown(folder))}", soft_wrap=True)
