"""The front end as real arithmetic, for ONNX and for devices without complex numbers or FFTs.

Each module here computes what Melisma's operator of the same name does, out of convolutions, products and logarithms only: frames
by a strided convolution whose kernels are the rows of the windowed DFT, complex numbers as pairs in a last axis of two. A
transform costs ``O(n_fft^2)`` a frame instead of ``O(n_fft log n_fft)``: to deploy with, not to train with.

::

    module = melisma.torch.export.log_mel(sample_rate=16000, n_fft=400, hop_length=160, n_mels=80, log="ln", amin=1e-5)
    melisma.torch.export.export_onnx(module, "log_mel.onnx")
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .. import _options, filters
from .._options import PCM_SCALE, SMALLEST_ENVELOPE
from ..errors import InvalidArgument, InvalidType

__all__ = [
    "ISTFT",
    "STFT",
    "FilteredSpectrogram",
    "Spectrogram",
    "export_onnx",
    "from_transform",
    "log_mel",
    "mel_spectrogram",
]

_PAD_MODES = ("constant", "reflect", "replicate", "circular")
_LAYOUTS = ("frequency_major", "frame_major")


def _whole(op: str, name: str, value: Any, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidType(f"{op}: {name} must be an integer, got {value!r}")
    if value < least:
        raise InvalidArgument(f"{op}: {name} must be >= {least}, got {value}")
    return int(value)


def _among(op: str, name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    if value not in choices:
        raise InvalidArgument(f"{op}: {name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def _frame_window(op: str, window: Any, win_length: int, n_fft: int) -> np.ndarray:
    """The window in float64, centred in a frame; None is ones."""
    if win_length > n_fft:
        raise InvalidArgument(f"{op}: win_length must be <= n_fft = {n_fft}, got {win_length}")
    if window is None:
        values = np.ones(win_length)
    elif isinstance(window, str):
        values = filters.get_window(window, win_length)
    else:
        values = torch.as_tensor(window).detach().cpu().double().numpy()
        if values.shape != (win_length,):
            raise InvalidArgument(f"{op}: window must have win_length = {win_length} values, got shape {values.shape}")
    left = (n_fft - win_length) // 2
    return np.pad(values, (left, n_fft - win_length - left))


def _angles(bins: int, n_fft: int) -> np.ndarray:
    """``2 pi k n / n_fft``, with the product reduced first: exact for any size."""
    return 2.0 * np.pi * (np.outer(np.arange(bins), np.arange(n_fft)) % n_fft) / n_fft


def _kernels(real: np.ndarray, imaginary: np.ndarray) -> torch.Tensor:
    """``[2 bins, 1, n_fft]`` float32: the real parts of all bins, then the imaginary ones."""
    return torch.from_numpy(np.concatenate([real, imaginary])[:, None, :].astype(np.float32))


class STFT(torch.nn.Module):
    """``melisma.stft(..., return_complex=False)`` of real signals.

    Parameters
    ----------
    n_fft, hop_length, win_length, window, center, pad_mode, normalized, onesided
        As in :func:`melisma.stft`; the window may be an array, a name, or None for ones.
    pad : int
        Zeros put on both sides before everything else.
    pcm_scale : float
        What integer samples are multiplied by.

    Returns
    -------
    torch.Tensor
        ``[..., bins, frames, 2]`` of ``[..., samples]``; float32, or what ``.to(dtype)`` makes of the module.
    """

    kernels: torch.Tensor

    def __init__(
        self,
        n_fft: int,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: Any = None,
        center: bool = True,
        pad_mode: str = "reflect",
        normalized: bool = False,
        onesided: bool = True,
        *,
        pad: int = 0,
        pcm_scale: float = PCM_SCALE,
    ) -> None:
        super().__init__()
        op = "export.STFT"
        self.n_fft = _whole(op, "n_fft", n_fft)
        self.hop_length = _whole(op, "hop_length", self.n_fft // 4 if hop_length is None else hop_length)
        win = _whole(op, "win_length", self.n_fft if win_length is None else win_length)
        self.center, self.pad_mode = bool(center), _among(op, "pad_mode", pad_mode, _PAD_MODES)
        self.pad, self.pcm_scale = _whole(op, "pad", pad, 0), float(pcm_scale)
        self.bins = self.n_fft // 2 + 1 if onesided else self.n_fft
        values = _frame_window(op, window, win, self.n_fft)
        if normalized:
            values = values / math.sqrt(self.n_fft)
        angles = _angles(self.bins, self.n_fft)
        self.register_buffer("kernels", _kernels(np.cos(angles) * values, -np.sin(angles) * values), persistent=False)

    def parts(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Real and imaginary parts, each ``[batch, bins, frames]``."""
        if not x.is_floating_point():
            x = x.to(self.kernels.dtype) * self.pcm_scale
        signal = x.reshape(-1, 1, x.shape[-1]).to(self.kernels.dtype)
        if self.pad:
            signal = F.pad(signal, (self.pad, self.pad))
        if self.center:
            half = self.n_fft // 2
            signal = F.pad(signal, (half, half), mode=self.pad_mode)
        both = F.conv1d(signal, self.kernels, stride=self.hop_length)
        return both[:, : self.bins], both[:, self.bins :]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[..., bins, frames, 2]``."""
        pairs = torch.stack(self.parts(x), dim=-1)
        return pairs.reshape(*x.shape[:-1], *pairs.shape[1:])


class ISTFT(torch.nn.Module):
    """``melisma.istft`` of pairs ``[..., bins, frames, 2]``, to a real signal ``[..., samples]``.

    Parameters
    ----------
    n_fft, hop_length, win_length, window, center, normalized, onesided
        As given to :class:`STFT`.
    length : int, optional
        Samples of the result, the same for every input; otherwise as many as the frames give.
    edge : {"zero", "clamp"}
        Where the overlap-added squared window is at most 1e-11: zeros, or divide by that. A graph cannot refuse, as
        torch.istft does.
    """

    kernels: torch.Tensor
    squares: torch.Tensor

    def __init__(
        self,
        n_fft: int,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: Any = None,
        center: bool = True,
        normalized: bool = False,
        onesided: bool = True,
        length: int | None = None,
        *,
        edge: str = "zero",
    ) -> None:
        super().__init__()
        op = "export.ISTFT"
        self.n_fft = _whole(op, "n_fft", n_fft)
        self.hop_length = _whole(op, "hop_length", self.n_fft // 4 if hop_length is None else hop_length)
        win = _whole(op, "win_length", self.n_fft if win_length is None else win_length)
        self.center, self.length = bool(center), None if length is None else _whole(op, "length", length, 0)
        self.edge = _among(op, "edge", edge, ("zero", "clamp"))
        bins = self.n_fft // 2 + 1  # the other half of a two-sided spectrum says the same
        self.bins, self.given = bins, bins if onesided else self.n_fft
        values = _frame_window(op, window, win, self.n_fft)
        share = np.full((bins, 1), 2.0)
        share[0] = 1.0
        if self.n_fft % 2 == 0:
            share[-1] = 1.0
        scaled = share * values / (math.sqrt(self.n_fft) if normalized else self.n_fft)
        angles = _angles(bins, self.n_fft)
        self.register_buffer("kernels", _kernels(np.cos(angles) * scaled, -np.sin(angles) * scaled), persistent=False)
        squares = torch.from_numpy(np.square(values)[None, None].astype(np.float32))
        self.register_buffer("squares", squares, persistent=False)

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        """``[..., samples]``."""
        if pairs.dim() < 3 or pairs.shape[-1] != 2 or pairs.shape[-3] != self.given:
            raise InvalidArgument(
                f"export.ISTFT: input must be [..., {self.given}, frames, 2], got shape {tuple(pairs.shape)}"
            )
        flat = pairs.reshape(-1, *pairs.shape[-3:])[:, : self.bins].to(self.kernels.dtype)
        rows = torch.cat([flat[..., 0], flat[..., 1]], dim=1)
        total = F.conv_transpose1d(rows, self.kernels, stride=self.hop_length)
        envelope = F.conv_transpose1d(torch.ones_like(rows[:1, :1]), self.squares, stride=self.hop_length)
        if self.edge == "clamp":
            y = total / envelope.clamp(min=SMALLEST_ENVELOPE)
        else:
            some = envelope > SMALLEST_ENVELOPE
            y = torch.where(some, total / torch.where(some, envelope, 1.0), 0.0)
        y = y.reshape(*pairs.shape[:-3], y.shape[-1])
        start = self.n_fft // 2 if self.center else 0
        if self.length is None:
            return y[..., start : y.shape[-1] - start]
        # What lies beyond the last frame is zero, whatever number of frames comes.
        return F.pad(y, (0, start + self.length))[..., start : start + self.length]


class Spectrogram(torch.nn.Module):
    """:func:`melisma.spectrogram`, with its parameters and defaults: ``[..., bins, frames]`` of ``[..., samples]``."""

    def __init__(
        self,
        *,
        n_fft: int = 400,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: Any = "hann",
        power: float = 2.0,
        normalized: bool | str = False,
        center: bool = True,
        pad_mode: str = "reflect",
        pad: int = 0,
        pcm_scale: float = PCM_SCALE,
        layout: str = "frequency_major",
    ) -> None:
        super().__init__()
        op = "export.Spectrogram"
        n_fft = _whole(op, "n_fft", n_fft)
        win = _whole(op, "win_length", n_fft if win_length is None else win_length)
        hop = max(1, win // 2) if hop_length is None else hop_length
        values = _frame_window(op, window, win, n_fft)
        _among(op, "normalized", normalized, (False, True, "window", "frame_length"))
        if normalized in (True, "window"):
            values = values / np.sqrt(np.square(values).sum())
        elif normalized:
            values = values / math.sqrt(n_fft)
        self.power = float(power)
        if not self.power > 0.0:
            raise InvalidArgument(f"{op}: power must be > 0, got {power}")
        self.frame_major = _among(op, "layout", layout, _LAYOUTS) == "frame_major"
        self.stft = STFT(n_fft, hop, n_fft, torch.from_numpy(values), center, pad_mode, pad=pad, pcm_scale=pcm_scale)

    def bins_first(self, x: torch.Tensor) -> torch.Tensor:
        """``[batch, bins, frames]``."""
        real, imaginary = self.stft.parts(x)
        energy = real * real + imaginary * imaginary
        if self.power == 2.0:
            return energy
        return energy.sqrt() if self.power == 1.0 else energy.pow(self.power / 2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[..., bins, frames]``, or ``[..., frames, bins]`` for layout "frame_major"."""
        result = self.bins_first(x)
        if self.frame_major:
            result = result.transpose(1, 2)
        return result.reshape(*x.shape[:-1], *result.shape[1:])


class FilteredSpectrogram(Spectrogram):
    """:func:`melisma.filtered_spectrogram`, with its parameters: ``[..., bands, frames]`` of ``[..., samples]``.

    Parameters
    ----------
    filterbank : array
        ``[bins, bands]`` with ``n_fft // 2 + 1`` rows, or without Nyquist ``n_fft // 2``.
    output_scale, mul, add, amin, ref, top_db, top_db_scope
        As there.
    n_fft, hop_length, win_length, window, power, normalized, center, pad_mode, pad, pcm_scale, layout
        As in :class:`Spectrogram`.
    """

    bank: torch.Tensor

    def __init__(
        self,
        *,
        filterbank: Any,
        n_fft: int,
        hop_length: int | None = None,
        win_length: int | None = None,
        window: Any = "hann",
        power: float = 1.0,
        normalized: bool | str = False,
        center: bool = True,
        pad_mode: str = "reflect",
        pad: int = 0,
        pcm_scale: float = PCM_SCALE,
        layout: str = "frequency_major",
        output_scale: str = "linear",
        mul: float = 1.0,
        add: float = 0.0,
        amin: float = 1e-10,
        ref: float = 1.0,
        top_db: float | None = None,
        top_db_scope: str = "item",
    ) -> None:
        super().__init__(
            n_fft=n_fft,
            hop_length=hop_length,
            win_length=win_length,
            window=window,
            power=power,
            normalized=normalized,
            center=center,
            pad_mode=pad_mode,
            pad=pad,
            pcm_scale=pcm_scale,
            layout=layout,
        )
        op = "export.FilteredSpectrogram"
        bank = torch.as_tensor(filterbank).detach().cpu().float()
        if bank.dim() != 2 or bank.shape[0] not in (n_fft // 2, n_fft // 2 + 1):
            raise InvalidArgument(
                f"{op}: filterbank must be [{n_fft // 2 + 1}, bands] (or {n_fft // 2} rows, without Nyquist), got shape "
                f"{tuple(bank.shape)}"
            )
        self.register_buffer("bank", bank, persistent=False)
        self.constants, self.top = _options.log_constants(op, output_scale, self.power, mul, add, amin, ref, top_db)
        self.packed = _among(op, "top_db_scope", top_db_scope, ("item", "packed")) == "packed"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[..., bands, frames]``, or ``[..., frames, bands]`` for layout "frame_major"."""
        spectrum = self.bins_first(x)[:, : self.bank.shape[0]]
        y = self._scaled(torch.matmul(spectrum.transpose(1, 2), self.bank))
        y = y.reshape(*x.shape[:-1], *y.shape[1:])
        if self.top != math.inf:
            axes = (-3, -2, -1) if self.packed and y.dim() > 2 else (-2, -1)
            y = torch.maximum(y, y.amax(dim=axes, keepdim=True) - self.top)
        return y if self.frame_major else y.transpose(-2, -1)

    def _scaled(self, v: torch.Tensor) -> torch.Tensor:
        if self.constants is None:
            return v
        scale, mul, add, floor, offset = self.constants
        inside = v * mul + add
        return scale * torch.log(inside.clamp(min=floor) if floor > 0.0 else inside) + offset


def mel_spectrogram(
    *,
    sample_rate: float,
    n_fft: int = 400,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = "hann",
    n_mels: int = 128,
    f_min: float = 0.0,
    f_max: float | None = None,
    power: float = 2.0,
    mel_scale: str = "htk",
    norm: str | None = None,
    normalized: bool | str = False,
    center: bool = True,
    pad_mode: str = "reflect",
    pad: int = 0,
    pcm_scale: float = PCM_SCALE,
    layout: str = "frequency_major",
) -> FilteredSpectrogram:
    """:func:`melisma.mel_spectrogram` as a module; its parameters and defaults."""
    top = sample_rate / 2 if f_max is None else f_max
    bins = _whole("export.mel_spectrogram", "n_fft", n_fft) // 2 + 1
    return FilteredSpectrogram(
        filterbank=filters.melscale_fbanks(bins, f_min, top, n_mels, sample_rate, norm, mel_scale),
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=win_length,
        window=window,
        power=power,
        normalized=normalized,
        center=center,
        pad_mode=pad_mode,
        pad=pad,
        pcm_scale=pcm_scale,
        layout=layout,
    )


def log_mel(
    *,
    sample_rate: float,
    n_fft: int = 400,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = "hann",
    n_mels: int = 128,
    f_min: float = 0.0,
    f_max: float | None = None,
    power: float = 2.0,
    mel_scale: str = "htk",
    norm: str | None = None,
    normalized: bool | str = False,
    center: bool = True,
    pad_mode: str = "reflect",
    pad: int = 0,
    pcm_scale: float = PCM_SCALE,
    layout: str = "frequency_major",
    log: str = "db",
    amin: float = 1e-10,
    ref: float = 1.0,
    add: float = 0.0,
    top_db: float | None = None,
    top_db_scope: str = "item",
) -> FilteredSpectrogram:
    """:func:`melisma.log_mel` as a module; its parameters and defaults."""
    op = "export.log_mel"
    _among(op, "log", log, ("db", "log10", "ln", "log1p"))
    bins = _whole(op, "n_fft", n_fft) // 2 + 1
    top = sample_rate / 2 if f_max is None else f_max
    return FilteredSpectrogram(
        filterbank=filters.melscale_fbanks(bins, f_min, top, n_mels, sample_rate, norm, mel_scale),
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=win_length,
        window=window,
        power=power,
        normalized=normalized,
        center=center,
        pad_mode=pad_mode,
        pad=pad,
        pcm_scale=pcm_scale,
        layout=layout,
        output_scale=log,
        amin=amin,
        ref=ref,
        add=add,
        top_db=top_db,
        top_db_scope=top_db_scope,
    )


def from_transform(module: torch.nn.Module) -> torch.nn.Module:
    """A transform of melisma.torch, or of torchaudio, as real arithmetic.

    Parameters
    ----------
    module : torch.nn.Module
        A MelSpectrogram or Spectrogram (of the magnitude), told by torchaudio's attributes and buffers, or a Sequential of
        modules; those that are neither, such as AmplitudeToDB, stay as they are.

    Raises
    ------
    melisma.InvalidArgument
        For a two-sided or complex (``power=None``) Spectrogram.
    """
    if isinstance(module, torch.nn.Sequential):
        return torch.nn.Sequential(*map(from_transform, module))
    spectrogram: Any = getattr(module, "spectrogram", module)
    if not (hasattr(spectrogram, "window") and hasattr(spectrogram, "n_fft") and hasattr(spectrogram, "pad_mode")):
        return module
    if spectrogram.power is None or not getattr(spectrogram, "onesided", True):
        raise InvalidArgument(
            f"export.from_transform: module must give the magnitude of a one-sided spectrum, got power = {spectrogram.power}, "
            f"onesided = {spectrogram.onesided}; export.STFT has its own module"
        )
    options = {
        "n_fft": spectrogram.n_fft,
        "hop_length": spectrogram.hop_length,
        "win_length": spectrogram.win_length,
        "window": spectrogram.window,
        "power": spectrogram.power,
        "normalized": spectrogram.normalized,
        "center": spectrogram.center,
        "pad_mode": spectrogram.pad_mode,
        "pad": spectrogram.pad,
    }
    scale: Any = getattr(module, "mel_scale", None)
    return Spectrogram(**options) if scale is None else FilteredSpectrogram(filterbank=scale.fb, **options)


def export_onnx(
    module: torch.nn.Module,
    path: str | os.PathLike[str],
    *,
    example: torch.Tensor | None = None,
    opset_version: int = 18,
) -> None:
    """Write a module of this file as an ONNX model with a dynamic batch and time axis.

    Parameters
    ----------
    module : torch.nn.Module
        Or any module that takes one signal ``[batch, samples]`` (one of pairs ``[batch, bins, frames, 2]`` for :class:`ISTFT`), such
        as a network with one of these in front.
    path : path
        Of the model; input "x" and output "y".
    example : torch.Tensor, optional
        An input to trace with; of a whole second at 16 kHz, or of 8 frames.
    opset_version : int
        At least 18.

    Raises
    ------
    ImportError
        Where the packages onnx or onnxscript are missing.
    """
    inverse = isinstance(module, ISTFT)
    if example is None:
        example = torch.randn(2, module.given, 8, 2) if isinstance(module, ISTFT) else torch.randn(2, 16_000)
    time = example.dim() - (2 if inverse else 1)
    axes = dict.fromkeys({0, time}, torch.export.Dim.DYNAMIC)
    torch.onnx.export(
        module.eval(),
        (example,),
        os.fspath(path),
        input_names=["x"],
        output_names=["y"],
        dynamic_shapes=(axes,),
        opset_version=opset_version,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
