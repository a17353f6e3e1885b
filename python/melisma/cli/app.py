"""The commands of ``melisma``."""

from __future__ import annotations

import ast
import os
import signal
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

import melisma
from melisma.cli import report, tuning
from melisma.cli.audio import Channels
from melisma.cli.errors import DiskFull, FileProblem, UsageProblem, one_line, shown, writing
from melisma.cli.inputs import collect
from melisma.cli.output import check_manifest
from melisma.cli.run import Options, Outcome, run_all
from melisma.presets import PRESETS, Preset

app = typer.Typer(
    name="melisma",
    help="Fused spectral operators: features of audio files, and what this machine can run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

app.add_typer(tuning.app, name="cache")

EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells do

# What explicit parameters start from where no preset is named: torchaudio's definition at the file's own rate.
_EXPLICIT_BASE = "torchaudio"


class ChannelMode(str, Enum):
    """What becomes of several channels."""

    mono = "mono"
    keep = "keep"


class PadMode(str, Enum):
    """What stands beyond the ends of the signal."""

    reflect = "reflect"
    constant = "constant"
    replicate = "replicate"


class MelScale(str, Enum):
    """Names of the mel scales."""

    htk = "htk"
    slaney = "slaney"


class MelNorm(str, Enum):
    """How each mel band is scaled."""

    none = "none"
    slaney = "slaney"


class LogName(str, Enum):
    """The logarithm at the end."""

    linear = "linear"
    db = "db"
    log10 = "log10"
    ln = "ln"
    log1p = "log1p"


_OWN = "Explicit parameters (each overrides the preset's)"


@app.command()
def features(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Audio files, and folders of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="Folder for the results.")],
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"{' | '.join(PRESETS)}. Default: whisper.", show_default=False)
    ] = None,
    plot: Annotated[bool, typer.Option("--plot", help="A spectrogram PNG beside each result.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Skip files whose result is there and not older.")] = False,
    channels: Annotated[ChannelMode, typer.Option(help="Mix to one channel, or keep each.")] = ChannelMode.mono,
    sample_rate: Annotated[
        str | None,
        typer.Option(
            metavar="HZ|native", help="Resample to this rate. Default: the preset's; native keeps the file's."
        ),
    ] = None,
    block_seconds: Annotated[
        float, typer.Option(min=1e-6, help="Audio held at a time; no influence on results.")
    ] = 60.0,
    n_fft: Annotated[int | None, typer.Option(min=1, rich_help_panel=_OWN)] = None,
    hop_length: Annotated[int | None, typer.Option(min=1, rich_help_panel=_OWN)] = None,
    win_length: Annotated[int | None, typer.Option(min=1, rich_help_panel=_OWN)] = None,
    window: Annotated[str | None, typer.Option(help="hann, hamming, blackman, ...", rich_help_panel=_OWN)] = None,
    n_mels: Annotated[int | None, typer.Option(min=0, help="0: the spectrum itself.", rich_help_panel=_OWN)] = None,
    f_min: Annotated[float | None, typer.Option(rich_help_panel=_OWN)] = None,
    f_max: Annotated[float | None, typer.Option(rich_help_panel=_OWN)] = None,
    power: Annotated[float | None, typer.Option(rich_help_panel=_OWN)] = None,
    mel_scale: Annotated[MelScale | None, typer.Option(rich_help_panel=_OWN)] = None,
    mel_norm: Annotated[MelNorm | None, typer.Option(rich_help_panel=_OWN)] = None,
    center: Annotated[bool | None, typer.Option("--center/--no-center", rich_help_panel=_OWN)] = None,
    pad_mode: Annotated[PadMode | None, typer.Option(rich_help_panel=_OWN)] = None,
    log: Annotated[LogName | None, typer.Option(rich_help_panel=_OWN)] = None,
    amin: Annotated[
        float | None, typer.Option(help="Smallest argument of the logarithm.", rich_help_panel=_OWN)
    ] = None,
    top_db: Annotated[
        float | None, typer.Option(help="With --log db; below each clip's maximum.", rich_help_panel=_OWN)
    ] = None,
) -> None:
    r"""Turn audio files into feature arrays, OUT/<path>.npy.

    A result is float32 \[bands, frames]; with --channels keep it is \[channels, bands, frames].

    A file that cannot be read is reported and the others go on. Exit code: 0 all done, 1 some failed, 2 wrong usage.
    """
    own = {
        "n_fft": n_fft,
        "hop_length": hop_length,
        "win_length": win_length,
        "window": window,
        "n_bands": n_mels,
        "f_min": f_min,
        "f_max": f_max,
        "power": power,
        "mel_scale": mel_scale and mel_scale.value,
        "mel_norm": mel_norm and mel_norm.value,
        "padding": None if center is None else (-1 if center else 0),
        "pad_mode": pad_mode and pad_mode.value,
        "log": log and log.value,
        "amin": amin,
        "top": top_db,
    }
    try:
        own = {name: value for name, value in own.items() if value is not None}
        definition = _definition(preset, own)
        native, definition = _rate(sample_rate, definition, explicit=preset is None and bool(own))
        mode: Channels = channels.value
        options = Options(definition, native, mode, block_seconds, resume, plot)
        jobs, problems = collect(inputs)
        if not jobs and not problems:
            raise UsageProblem(f"no audio files in {', '.join(shown(path) for path in inputs)}")
        _prepare(output, options)
    except (UsageProblem, FileProblem, DiskFull) as problem:
        _refuse(str(problem))
    except melisma.InvalidArgument as error:
        _refuse(one_line(error))
    raise typer.Exit(_run(jobs, problems, output, options))


def _definition(name: str | None, own: dict[str, Any]) -> Preset:
    if name is not None and name not in PRESETS:
        raise UsageProblem(f"--preset must be one of {', '.join(PRESETS)}, got {name!r}")
    base = PRESETS[name or (_EXPLICIT_BASE if own else "whisper")]
    if not own:
        return base
    own = dict(own)
    if own.get("padding") == -1:
        own["padding"] = None
    if own.get("mel_norm") == "none":
        own["mel_norm"] = None
    if base.bank == "log" and "n_bands" in own:
        raise UsageProblem(f"--n-mels has no meaning for preset {base.name!r}, whose filter bank is not mel")
    if own.get("n_bands") == 0:
        own["bank"] = "none"
        own.setdefault("log", "linear")
    if own.get("log", base.log) != base.log:
        # The preset's limit, floor and scaling are in units of its own logarithm.
        own = {"top": None, "offset": 0.0, "scale": 1.0, "mul": 1.0, "add": 0.0, "amin": 1e-10} | own
    if "n_fft" in own and "win_length" not in own:
        own["win_length"] = None
    if "n_fft" in own and base.padding not in (None, 0) and "padding" not in own:
        own["padding"] = None
    own["name"] = f"{base.name}, changed" if name else "explicit"
    made = replace(base, **own)
    _check(made, own)
    return made


def _check(made: Preset, own: dict[str, Any]) -> None:
    """Refuse at once what no file could be computed with."""
    if made.win_length is not None and made.win_length > made.n_fft:
        raise UsageProblem(f"--win-length must be <= --n-fft {made.n_fft}, got {made.win_length}")
    if made.bank == "none" and made.log != "linear":
        raise UsageProblem(f"--log must be linear with --n-mels 0, got {made.log}")
    if own.get("top") is not None and made.log != "db":
        raise UsageProblem(f"--top-db needs --log db, got --log {made.log}")
    for name in ("power", "amin", "f_min", "f_max", "top"):
        value = getattr(made, name)
        if value is not None and (not np.isfinite(value) or value < 0 or (name in ("power", "amin") and value == 0)):
            raise UsageProblem(
                f"--{name.replace('_', '-')} must be a finite number >= 0 (power, amin: > 0), got {value}"
            )
    if made.f_max is not None and made.f_max <= made.f_min:
        raise UsageProblem(f"--f-max must be above --f-min {made.f_min:g}, got {made.f_max:g}")


def _rate(given: str | None, definition: Preset, *, explicit: bool) -> tuple[bool, Preset]:
    if given == "native" or (given is None and explicit):
        return True, definition
    if given is None:
        return False, definition
    if not given.isascii() or not given.isdigit() or not 1 <= int(given) <= 2**31 - 1:
        raise UsageProblem(f"--sample-rate must be a whole number of Hz or 'native', got {given!r}")
    return False, definition.at(int(given))


def _prepare(output: Path, options: Options) -> None:
    """Make the output folder, try the definition on silence, and hold the folder to one set of parameters."""
    _trial(options.preset)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageProblem(f"-o must be a folder, got the file {shown(output)}") from None
    except OSError as error:
        raise writing(error, output) from None
    if not os.access(output, os.W_OK | os.X_OK):
        raise UsageProblem(f"no permission to write {shown(output)}")
    parameters = options.preset.parameters()
    parameters["channels"] = options.channels
    if options.native_rate:
        parameters["sample_rate"] = "native"
    check_manifest(output, parameters)


def _trial(preset: Preset) -> None:
    """Let the library refuse a definition (an unknown window, say) before any file is opened."""
    from melisma.presets import operate

    operate(np.zeros((1, preset.n_fft), np.float32), preset, center=False, hop_length=max(1, int(preset.hop)))


def _run(jobs: list[Any], problems: list[tuple[Path, str]], output: Path, options: Options) -> int:
    finished: list[Outcome] = []

    def ended(outcome: Outcome) -> None:
        finished.append(outcome)
        bar.ended(outcome)

    def terminated(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, terminated)
    try:
        with report.Bar(len(jobs)) as bar:
            run_all(jobs, output, options, started=bar.started, ended=ended)
    except KeyboardInterrupt:
        done = sum(outcome.state in ("done", "skipped") for outcome in finished)
        report.console(stderr=True).print(
            f"[yellow]interrupted: {done} of {len(jobs)} files done; the same command with --resume goes on[/]"
        )
        return EXIT_INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    report.table(finished, problems, output)
    bad = problems or any(outcome.state in ("failed", "not tried") for outcome in finished)
    return EXIT_SOME_FAILED if bad else 0


@app.command()
def backends() -> None:
    """Show which backends this machine has, and why not the others."""
    out = report.console()
    rows = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("backend", "available", "reason"):
        rows.add_column(name)
    for backend in melisma.backends():
        state = "[green]yes[/]" if backend["available"] else "[yellow]no[/]"
        rows.add_row(escape(str(backend["name"])), state, escape(str(backend["reason"])))
    out.print(rows)
    out.print(f"melisma {melisma.__version__}; {melisma.get_num_threads()} threads; SIMD {melisma.simd_target()}")
    out.print(f"SIMD targets of this machine: {', '.join(melisma.simd_targets())}")


@app.command()
def explain(
    op: Annotated[str, typer.Argument(help="stft, istft, spectrogram, mel_spectrogram, filtered_spectrogram, ...")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Of the call, e.g. n_fft=1024 hop_length=256.")
    ] = None,
    shape: Annotated[str, typer.Option(help="Of the input, e.g. 4x160000.")] = "1x160000",
    dtype: Annotated[str, typer.Option(help="Of the input, a NumPy name.")] = "float32",
) -> None:
    """Say which kernel a call would run on, and why that one."""
    try:
        extents = tuple(int(part) for part in shape.replace(",", "x").split("x"))
        # Every element is the same one: a shape costs no memory, whatever its size.
        x = np.broadcast_to(np.zeros((), np.dtype(dtype)), extents)
        told = melisma.explain(op, x, **dict(_argument(text) for text in arguments or ()))
    except (ValueError, TypeError, RuntimeError) as error:
        _refuse(one_line(error))
    for name, value in told.items():
        report.console().print(f"[bold]{escape(str(name))}[/]  {escape(str(value))}")


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"explain: an argument must be NAME=VALUE, got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


@app.command("self-test")
def self_test() -> None:
    """Check every operator on this machine, with each SIMD target, against plain float64 formulas."""
    from melisma.cli.selftest import run_checks

    out = report.console()
    rows = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("SIMD", "check", "error", "allowed", ""):
        rows.add_column(name)
    checks = run_checks()
    for check in checks:
        state = "[green]ok[/]" if check.ok else "[red]WRONG[/]"
        rows.add_row(check.target, escape(check.name), f"{check.error:.1e}", f"{check.allowed:.1e}", state)
    out.print(rows)
    wrong = sum(not check.ok for check in checks)
    out.print(f"[red]{wrong} of {len(checks)} checks failed[/]" if wrong else f"[green]{len(checks)} checks passed[/]")
    raise typer.Exit(EXIT_SOME_FAILED if wrong else 0)


@app.command()
def benchmark(
    suite: Annotated[
        str | None,
        typer.Argument(metavar="[SUITE]", help="cpu, separator, cuda, conv, or conv-cuda.", show_default=False),
    ] = None,
    suite_option: Annotated[str, typer.Option("--suite", help="The same as an option.")] = "cpu",
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and smaller measurements.")] = False,
    json_out: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write the readings here.")
    ] = None,
    only: Annotated[str | None, typer.Option(metavar="TEXT", help="Only cases whose name holds this.")] = None,
    audio: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For separator: a recording in place of a made-up song.")
    ] = None,
) -> None:
    """Measure melisma beside what a user would run instead, in one process.

    cpu (the default): the spectral operators beside torch, librosa and SciPy.
    separator: the transforms of MDX, Roformer and Demucs separators on stereo audio at 44.1 kHz, with how far the results are apart.
    cuda: the spectral operators on a GPU, by device time, with the memory floor of the same run.
    conv, conv-cuda: the causal convolution beside PyTorch's operators, on a GPU also beside causal_conv1d and torch.compile.
    """
    try:
        from melisma import benchmark as suites
    except ImportError as error:
        _refuse(f"benchmark: {one_line(error)}")
    try:
        code = suites.run(suite=suite or suite_option, quick=quick, json_out=json_out, only=only, audio=audio)
    except ValueError as error:
        _refuse(one_line(error))
    raise typer.Exit(int(code))


def _version(wanted: bool) -> None:
    if wanted:
        report.console().print(f"melisma {melisma.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def _refuse(message: str) -> Any:
    """End with the exit code of wrong usage and one line on stderr."""
    report.console(stderr=True).print(f"[red]melisma: {escape(message)}[/]", soft_wrap=True)
    raise typer.Exit(EXIT_USAGE)
