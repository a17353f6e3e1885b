"""The mel front end's modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch

from . import mel

_Window = Callable[..., torch.Tensor]
_PadMode = Literal["constant", "reflect"]


class MelSpectrogramTransform(torch.nn.Module):
    """:func:`~melisma.compat.mps_spectro.mel_spectrogram` as a module; its parameters are the attributes of the same names.

    No buffers: windows and filters follow the input's device and dtype.
    """

    def __init__(
        self,
        *,
        sample_rate: int,
        n_fft: int,
        hop_length: int,
        win_length: int | None = None,
        n_mels: int = 128,
        f_min: float = 0.0,
        f_max: float | None = None,
        center: bool = True,
        pad_mode: _PadMode = "constant",
        power: float = 2.0,
        norm: mel.MelNorm = None,
        mel_scale: mel.MelScale = "htk",
        output_scale: mel.MelOutputScale = "db",
        log_amin: float = 1e-5,
        log_mode: mel.LogMelMode = "clamp",
        top_db: float | None = 80.0,
        window_fn: _Window = torch.hann_window,
        use_mps_kernels: bool = True,
    ) -> None:
        super().__init__()
        self.sample_rate = int(sample_rate)
        self.n_fft = int(n_fft)
        self.hop_length = int(hop_length)
        self.win_length = int(win_length or n_fft)
        self.n_mels = int(n_mels)
        self.f_min = float(f_min)
        self.f_max = None if f_max is None else float(f_max)
        self.center = bool(center)
        self.pad_mode: _PadMode = pad_mode
        self.power = float(power)
        self.norm: mel.MelNorm = norm
        self.mel_scale: mel.MelScale = mel_scale
        self.output_scale: mel.MelOutputScale = output_scale
        self.log_amin = float(log_amin)
        self.log_mode: mel.LogMelMode = log_mode
        self.top_db = None if top_db is None else float(top_db)
        self.window_fn = window_fn
        self.use_mps_kernels = bool(use_mps_kernels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[..., n_mels, frames]`` of ``[T]`` or ``[B, T]``."""
        return self._mel(x, pad=0, normalized=False)

    def _mel(self, x: torch.Tensor, *, pad: int, normalized: bool) -> torch.Tensor:
        return mel.mel_spectrogram(
            x,
            sample_rate=self.sample_rate,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            win_length=self.win_length,
            pad=pad,
            center=self.center,
            pad_mode=self.pad_mode,
            power=self.power,
            normalized=normalized,
            n_mels=self.n_mels,
            f_min=self.f_min,
            f_max=self.f_max,
            norm=self.norm,
            mel_scale=self.mel_scale,
            output_scale=self.output_scale,
            log_amin=self.log_amin,
            log_mode=self.log_mode,
            top_db=self.top_db,
            window_fn=self.window_fn,
            use_mps_kernels=self.use_mps_kernels,
        )

    @classmethod
    def compat(cls, **kwargs: Any) -> CompatMelSpectrogramTransform:
        """The module with torchaudio's defaults."""
        return CompatMelSpectrogramTransform(**kwargs)


class LogMelSpectrogramTransform(MelSpectrogramTransform):
    """:class:`MelSpectrogramTransform` with ``output_scale="log"`` and power 1."""

    def __init__(
        self,
        *,
        sample_rate: int,
        n_fft: int,
        hop_length: int,
        win_length: int | None = None,
        n_mels: int = 128,
        f_min: float = 0.0,
        f_max: float | None = None,
        center: bool = True,
        pad_mode: _PadMode = "constant",
        power: float = 1.0,
        norm: mel.MelNorm = None,
        mel_scale: mel.MelScale = "htk",
        log_amin: float = 1e-5,
        log_mode: mel.LogMelMode = "clamp",
        window_fn: _Window = torch.hann_window,
        use_mps_kernels: bool = True,
    ) -> None:
        super().__init__(
            sample_rate=sample_rate,
            n_fft=n_fft,
            hop_length=hop_length,
            win_length=win_length,
            n_mels=n_mels,
            f_min=f_min,
            f_max=f_max,
            center=center,
            pad_mode=pad_mode,
            power=power,
            norm=norm,
            mel_scale=mel_scale,
            output_scale="log",
            log_amin=log_amin,
            log_mode=log_mode,
            top_db=None,
            window_fn=window_fn,
            use_mps_kernels=use_mps_kernels,
        )


class CompatMelSpectrogramTransform(MelSpectrogramTransform):
    """:class:`MelSpectrogramTransform` with torchaudio's defaults, and its `pad` and `normalized` (by ``n_fft^(-power/2)``)."""

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        n_fft: int = 400,
        win_length: int | None = None,
        hop_length: int | None = None,
        f_min: float = 0.0,
        f_max: float | None = None,
        pad: int = 0,
        n_mels: int = 128,
        window_fn: _Window = torch.hann_window,
        power: float = 2.0,
        normalized: bool = False,
        center: bool = True,
        pad_mode: _PadMode = "reflect",
        norm: mel.MelNorm = None,
        mel_scale: mel.MelScale = "htk",
        output_scale: mel.MelOutputScale = "linear",
        log_amin: float = 1e-5,
        log_mode: mel.LogMelMode = "clamp",
        top_db: float | None = None,
        use_mps_kernels: bool = True,
    ) -> None:
        super().__init__(
            sample_rate=sample_rate,
            n_fft=n_fft,
            hop_length=n_fft // 2 if hop_length is None else hop_length,
            win_length=win_length,
            n_mels=n_mels,
            f_min=f_min,
            f_max=f_max,
            center=center,
            pad_mode=pad_mode,
            power=power,
            norm=norm,
            mel_scale=mel_scale,
            output_scale=output_scale,
            log_amin=log_amin,
            log_mode=log_mode,
            top_db=top_db,
            window_fn=window_fn,
            use_mps_kernels=use_mps_kernels,
        )
        self.pad = int(pad)
        self.normalized = bool(normalized)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[..., n_mels, frames]`` of ``[T]`` or ``[B, T]``."""
        return self._mel(x, pad=self.pad, normalized=self.normalized)


class DynamicMelSpectrogramTransform(MelSpectrogramTransform):
    """:func:`~melisma.compat.mps_spectro.dynamic_mel_spectrogram` as a module."""

    def __init__(
        self,
        *,
        sample_rate: int,
        n_fft: int,
        hop_length: int,
        win_length: int | None = None,
        n_mels: int = 128,
        f_min: float = 0.0,
        f_max: float | None = None,
        center: bool = True,
        pad_mode: _PadMode = "constant",
        power: float = 1.0,
        norm: mel.MelNorm = None,
        mel_scale: mel.MelScale = "htk",
        output_scale: mel.MelOutputScale = "linear",
        log_amin: float = 1e-5,
        log_mode: mel.LogMelMode = "clamp",
        top_db: float | None = 80.0,
        mel_basis: torch.Tensor | None = None,
        window_fn: _Window = torch.hann_window,
        use_mps_kernels: bool = True,
    ) -> None:
        super().__init__(
            sample_rate=sample_rate,
            n_fft=n_fft,
            hop_length=hop_length,
            win_length=win_length,
            n_mels=n_mels,
            f_min=f_min,
            f_max=f_max,
            center=center,
            pad_mode=pad_mode,
            power=power,
            norm=norm,
            mel_scale=mel_scale,
            output_scale=output_scale,
            log_amin=log_amin,
            log_mode=log_mode,
            top_db=top_db,
            window_fn=window_fn,
            use_mps_kernels=use_mps_kernels,
        )
        self._mel_basis = mel_basis

    def forward(
        self, x: torch.Tensor, *, keyshift: float = 0.0, speed: float = 1.0, center: bool | None = None
    ) -> torch.Tensor:
        """``[..., n_mels, frames]``, `keyshift` semitones higher and `speed` times as fast."""
        return mel.dynamic_mel_spectrogram(
            x,
            sample_rate=self.sample_rate,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            win_length=self.win_length,
            center=self.center if center is None else bool(center),
            pad_mode=self.pad_mode,
            power=self.power,
            n_mels=self.n_mels,
            f_min=self.f_min,
            f_max=self.f_max,
            norm=self.norm,
            mel_scale=self.mel_scale,
            output_scale=self.output_scale,
            log_amin=self.log_amin,
            log_mode=self.log_mode,
            top_db=self.top_db,
            keyshift=keyshift,
            speed=speed,
            mel_basis=self._mel_basis,
            window_fn=self.window_fn,
            use_mps_kernels=self.use_mps_kernels,
        )
