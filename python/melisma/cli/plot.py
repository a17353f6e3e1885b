"""A labelled picture of a feature file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # before pyplot could be loaded: no window, no display needed

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from melisma.cli.errors import shown, writing
from melisma.cli.output import replacing
from melisma.presets import Preset

Array = np.ndarray[Any, np.dtype[Any]]

_COLUMNS = 2400  # more frames than this are drawn as the loudest of each group
_MOST_PANELS = 8
_DYNAMIC_RANGE = 80.0  # dB below the loudest value, where the preset sets no limit of its own
_TICK_DISTANCE = 0.055  # of the axis, below which two labels would touch
_INK = "#1b1f24"
_GREY = "#59636e"
_NICE_HZ = (50, 100, 200, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000)


def draw(features: Path, picture: Path, preset: Preset, title: str) -> None:
    """Draw the .npy file ``features`` as the PNG ``picture``: time in seconds, frequency in Hz, a colour bar with its unit.

    Raises
    ------
    FileProblem, DiskFull
        The picture cannot be written.
    """
    values = np.load(features, mmap_mode="r", allow_pickle=False)
    panels = values[np.newaxis] if values.ndim == 2 else values[:_MOST_PANELS]
    frames = values.shape[-1]
    pooled = [_pooled(panel) for panel in panels]
    images, unit = zip(*(_in_unit(panel, preset) for panel in pooled), strict=True)
    high = max(float(image.max()) for image in images)
    low = min(float(image.min()) for image in images)
    if unit[0].startswith("dB"):
        low = max(low, high - _DYNAMIC_RANGE)
    if high - low < 1e-6:  # silence: one colour, but a colour bar needs a range
        low, high = low - 1.0, high + 1.0

    figure = Figure(figsize=(12.0, 1.6 + 3.2 * len(panels) ** 0.8), dpi=120, layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    end = frames * preset.hop / preset.sample_rate
    for number, (ax, image) in enumerate(zip(axes, images, strict=True)):
        shade = ax.imshow(
            image, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high, interpolation="nearest",
            extent=(0.0, end, -0.5, image.shape[0] - 0.5), rasterized=True,
        )  # fmt: skip
        _frequency_axis(ax, preset, image.shape[0])
        if len(axes) > 1:
            ax.set_title(f"channel {number + 1}", loc="left", fontsize=9, color=_GREY, pad=3)
        for spine in ax.spines.values():
            spine.set_visible(False)
        ax.tick_params(color=_GREY, labelcolor=_INK, labelsize=9, length=3)
    axes[-1].set_xlabel("time (s)", color=_INK)
    axes[-1].xaxis.set_major_formatter(FuncFormatter(lambda t, _: f"{t:g}"))
    bar = figure.colorbar(shade, ax=list(axes), pad=0.012, aspect=28, fraction=0.04)
    bar.set_label(unit[0], color=_INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(color=_GREY, labelcolor=_INK, labelsize=9, length=3)
    above = 18 if len(axes) > 1 else 7  # points; room for the first channel's own title
    _headline(axes[0], _plain(_subtitle(preset, values.shape)), above, fontsize=9, color=_GREY)
    _headline(axes[0], _plain(title), above + 16, fontsize=14, fontweight="bold", color=_INK)
    with replacing(picture) as part:
        try:
            with warnings.catch_warnings():
                # A name in a script that matplotlib's font lacks is drawn as boxes; that is no concern of the run.
                warnings.filterwarnings("ignore", message="Glyph .* missing from font")
                figure.savefig(part, format="png", facecolor="white")
        except OSError as error:
            raise writing(error, picture) from None


def _headline(ax: Any, text: str, above: int, **style: Any) -> None:
    ax.annotate(text, (0, 1), (0, above), xycoords="axes fraction", textcoords="offset points", **style)


def band_frequencies(preset: Preset, bands: int) -> Array:
    """Give the frequency (Hz) of each band's loudest bin, increasing; of each bin where there is no filter bank."""
    bank = preset.filter_bank()
    if bank is None:
        return np.arange(bands) * preset.sample_rate / preset.n_fft
    weights = np.asarray(bank, np.float64)
    bins = np.arange(weights.shape[0]) * preset.sample_rate / preset.n_fft
    total = weights.sum(axis=0)
    centres = (weights * bins[:, np.newaxis]).sum(axis=0) / np.where(total > 0, total, 1.0)
    known = np.flatnonzero(total > 0)  # a band narrower than a bin holds no weight
    if known.size == 0:
        return np.arange(bands, dtype=np.float64)
    return np.interp(np.arange(bands), known, centres[known])


def _pooled(panel: Array) -> Array:
    """Reduce the frames to at most _COLUMNS, keeping the largest value of each group, without loading the whole file."""
    group = -(-panel.shape[-1] // _COLUMNS)
    if group <= 1:
        return np.array(panel, np.float32)
    starts = np.arange(0, panel.shape[-1], group)
    return np.stack([np.maximum.reduceat(np.asarray(row, np.float32), starts) for row in panel])


def _in_unit(image: Array, preset: Preset) -> tuple[Array, str]:
    """Give the values in decibels where they are a plain logarithm, else as they are, with the colour bar's label."""
    quantity = "mel " if preset.bank == "mel" else "band " if preset.bank == "log" else ""
    quantity += {1.0: "magnitude", 2.0: "power"}.get(preset.power, f"|X|^{preset.power:g}")
    per_decade = 20.0 if preset.power == 1.0 else 10.0
    image = image / preset.scale - preset.offset
    plain = preset.mul == 1.0 and preset.add < 1e-3
    label = f"dB ({quantity})"
    if preset.log == "db":
        return image, label
    if preset.log == "linear":
        return per_decade * np.log10(np.maximum(image, 1e-10)), label
    if preset.log == "log10" and plain:
        return per_decade * image, label
    if preset.log == "ln" and plain:
        return per_decade / np.log(10.0) * image, label
    if preset.log == "log1p":
        return image, f"ln(1 + {quantity})"
    name = "log₁₀" if preset.log == "log10" else "ln"
    factor = "" if preset.mul == 1.0 else f"{preset.mul:g} x "
    return image, f"{name}({preset.add:g} + {factor}{quantity})"


def _frequency_axis(ax: Any, preset: Preset, bands: int) -> None:
    centres = band_frequencies(preset, bands)
    if preset.bank == "none":
        span = centres[-1]
        step = next((s for s in (100, 200, 500, 1000, 2000, 5000, 10000) if span / s <= 8), 20000)
        wanted = np.arange(0, span + 1, step)
    else:
        wanted = np.array([hz for hz in _NICE_HZ if centres[0] <= hz <= centres[-1]], np.float64)
    at = np.interp(wanted, centres, np.arange(bands))
    kept: list[int] = []
    for tick in range(len(wanted) - 1, -1, -1):  # from the top: a mel scale crowds its low end
        if not kept or at[kept[-1]] - at[tick] >= _TICK_DISTANCE * bands:
            kept.append(tick)
    ax.set_yticks(at[kept], [f"{wanted[tick]:g}" for tick in kept])
    scale = {"mel": f"{preset.mel_scale} mel scale", "log": "logarithmic bands", "none": ""}[preset.bank]
    ax.set_ylabel("frequency (Hz)" + (f"\n{scale}" if scale else ""), color=_INK)


def _subtitle(preset: Preset, shape: tuple[int, ...]) -> str:
    size = f"{shape[-2]} bands x {shape[-1]} frames"
    frames = f"n_fft {preset.n_fft}, hop {preset.hop:g} ({1000 * preset.hop / preset.sample_rate:.3g} ms)"
    return f"{preset.name} · {preset.sample_rate} Hz · {frames} · {size}"


def _plain(text: str) -> str:
    return shown(text).replace("$", r"\$")  # a dollar sign starts a formula in matplotlib
