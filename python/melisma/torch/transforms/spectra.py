"""Spectrogram, InverseSpectrogram, GriffinLim, SpectralCentroid, TimeStretch."""

import math
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import InvalidArgument
from .. import functional as F

WindowFunction = Callable[..., Tensor]


class Windowed(torch.nn.Module):
    """What holds a window: its length, the hop, and the buffer `window`."""

    window: Tensor

    def __init__(
        self,
        n_fft: int,
        win_length: int | None,
        hop_length: int | None,
        window_fn: WindowFunction,
        wkwargs: dict[str, Any] | None,
        hops: int = 2,
    ) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.win_length = win_length if win_length is not None else n_fft
        self.hop_length = hop_length if hop_length is not None else self.win_length // hops
        self.register_buffer("window", window_fn(self.win_length, **(wkwargs or {})))


class Spectrogram(Windowed):
    """Magnitude or complex spectrogram of a signal (torchaudio.transforms.Spectrogram), in one fused pass.

    Parameters
    ----------
    n_fft : int
        Transform size in samples.
    win_length : int, optional
        `n_fft`.
    hop_length : int, optional
        ``win_length // 2``.
    pad : int
        Zeros put on both sides first.
    window_fn : callable
        Makes the window: ``window_fn(win_length, **wkwargs)``.
    power : float or None
        Exponent of the magnitude; None gives the complex spectrum.
    normalized : bool or {"window", "frame_length"}
        True and "window" divide the spectrum by the window's l2 norm, "frame_length" by ``sqrt(n_fft)``.
    wkwargs : dict, optional
        Further arguments of `window_fn`.
    center, pad_mode, onesided
        As in :func:`melisma.torch.functional.spectrogram`.
    return_complex : bool, optional
        Without effect, as in torchaudio.

    Notes
    -----
    The buffer `window` decides what is computed, whatever it was built from. Half and bfloat16 samples are computed in float32
    and give float32 (or complex64), where torchaudio's result has the input's dtype.
    """

    __constants__: ClassVar[list[str]] = ["n_fft", "win_length", "hop_length", "pad", "power", "normalized"]

    def __init__(
        self,
        n_fft: int = 400,
        win_length: int | None = None,
        hop_length: int | None = None,
        pad: int = 0,
        window_fn: WindowFunction = torch.hann_window,
        power: float | None = 2.0,
        normalized: bool | str = False,
        wkwargs: dict[str, Any] | None = None,
        center: bool = True,
        pad_mode: str = "reflect",
        onesided: bool = True,
        return_complex: bool | None = None,
    ) -> None:
        super().__init__(n_fft, win_length, hop_length, window_fn, wkwargs)
        self.pad = pad
        self.power = power
        self.normalized = normalized
        self.center = center
        self.pad_mode = pad_mode
        self.onesided = onesided
        if return_complex is not None:
            warnings.warn(
                "Spectrogram: return_complex is deprecated and without effect; power=None gives the complex spectrum",
                stacklevel=2,
            )

    def forward(self, waveform: Tensor) -> Tensor:
        """``[..., time]`` to ``[..., bins, frames]``; see :func:`melisma.torch.functional.spectrogram`."""
        return F.spectrogram(
            waveform,
            self.pad,
            self.window,
            self.n_fft,
            self.hop_length,
            self.win_length,
            self.power,
            self.normalized,
            self.center,
            self.pad_mode,
            self.onesided,
        )


class InverseSpectrogram(Windowed):
    """The signal of a complex spectrogram, by least squares (torchaudio.transforms.InverseSpectrogram).

    Parameters
    ----------
    n_fft, win_length, hop_length, pad, window_fn, normalized, wkwargs, center, pad_mode, onesided
        As given to :class:`Spectrogram`.
    """

    __constants__: ClassVar[list[str]] = ["n_fft", "win_length", "hop_length", "pad", "power", "normalized"]

    def __init__(
        self,
        n_fft: int = 400,
        win_length: int | None = None,
        hop_length: int | None = None,
        pad: int = 0,
        window_fn: WindowFunction = torch.hann_window,
        normalized: bool | str = False,
        wkwargs: dict[str, Any] | None = None,
        center: bool = True,
        pad_mode: str = "reflect",
        onesided: bool = True,
    ) -> None:
        super().__init__(n_fft, win_length, hop_length, window_fn, wkwargs)
        self.pad = pad
        self.normalized = normalized
        self.center = center
        self.pad_mode = pad_mode
        self.onesided = onesided

    def forward(self, spectrogram: Tensor, length: int | None = None) -> Tensor:
        """``[..., bins, frames]`` complex to ``[..., time]``; see :func:`melisma.torch.functional.inverse_spectrogram`."""
        return F.inverse_spectrogram(
            spectrogram,
            length,
            self.pad,
            self.window,
            self.n_fft,
            self.hop_length,
            self.win_length,
            self.normalized,
            self.center,
            self.pad_mode,
            self.onesided,
        )


class GriffinLim(Windowed):
    """A signal whose spectrogram has the given magnitudes (torchaudio.transforms.GriffinLim).

    Parameters
    ----------
    n_fft, win_length, hop_length, window_fn, power, wkwargs
        As given to :class:`Spectrogram`.
    n_iter : int
        Times the phases are estimated anew.
    momentum : float
        0 up to, not including, 1.
    length : int, optional
        Samples of the result.
    rand_init : bool
        Begin with random phases, else with zeros.

    Raises
    ------
    melisma.InvalidArgument
        For a `momentum` outside [0, 1).
    """

    __constants__: ClassVar[list[str]] = [
        "n_fft",
        "n_iter",
        "win_length",
        "hop_length",
        "power",
        "length",
        "momentum",
        "rand_init",
    ]

    def __init__(
        self,
        n_fft: int = 400,
        n_iter: int = 32,
        win_length: int | None = None,
        hop_length: int | None = None,
        window_fn: WindowFunction = torch.hann_window,
        power: float = 2.0,
        wkwargs: dict[str, Any] | None = None,
        momentum: float = 0.99,
        length: int | None = None,
        rand_init: bool = True,
    ) -> None:
        super().__init__(n_fft, win_length, hop_length, window_fn, wkwargs)
        if not 0 <= momentum < 1:
            raise InvalidArgument(f"GriffinLim: momentum must be in [0, 1), got {momentum}")
        self.n_iter = n_iter
        self.length = length
        self.power = power
        self.momentum = momentum
        self.rand_init = rand_init

    def forward(self, specgram: Tensor) -> Tensor:
        """``[..., bins, frames]`` magnitudes to ``[..., time]``; see :func:`melisma.torch.functional.griffinlim`."""
        return F.griffinlim(
            specgram,
            self.window,
            self.n_fft,
            self.hop_length,
            self.win_length,
            self.power,
            self.n_iter,
            self.momentum,
            self.length,
            self.rand_init,
        )


class SpectralCentroid(Windowed):
    """Mean frequency of each frame in Hz, weighted by magnitude (torchaudio.transforms.SpectralCentroid).

    Parameters
    ----------
    sample_rate : int
        Hz.
    n_fft, win_length, hop_length, pad, window_fn, wkwargs
        As in :class:`Spectrogram`.
    """

    __constants__: ClassVar[list[str]] = ["sample_rate", "n_fft", "win_length", "hop_length", "pad"]

    def __init__(
        self,
        sample_rate: int,
        n_fft: int = 400,
        win_length: int | None = None,
        hop_length: int | None = None,
        pad: int = 0,
        window_fn: WindowFunction = torch.hann_window,
        wkwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(n_fft, win_length, hop_length, window_fn, wkwargs)
        self.sample_rate = sample_rate
        self.pad = pad

    def forward(self, waveform: Tensor) -> Tensor:
        """``[..., time]`` to ``[..., frames]``; see :func:`melisma.torch.functional.spectral_centroid`."""
        return F.spectral_centroid(
            waveform, self.sample_rate, self.pad, self.window, self.n_fft, self.hop_length, self.win_length
        )


class TimeStretch(torch.nn.Module):
    """Change the tempo of a complex spectrogram and keep its pitch (torchaudio.transforms.TimeStretch).

    Parameters
    ----------
    hop_length : int, optional
        Of the spectrogram; ``n_freq - 1``.
    n_freq : int
        Bins.
    fixed_rate : float, optional
        Above 1 is faster; None where each call gives its own.
    """

    __constants__: ClassVar[list[str]] = ["fixed_rate"]
    phase_advance: Tensor

    def __init__(self, hop_length: int | None = None, n_freq: int = 201, fixed_rate: float | None = None) -> None:
        super().__init__()
        self.fixed_rate = fixed_rate
        hop = n_freq - 1 if hop_length is None else hop_length
        self.register_buffer("phase_advance", torch.linspace(0, math.pi * hop, n_freq)[:, None])

    def forward(self, complex_specgrams: Tensor, overriding_rate: float | None = None) -> Tensor:
        """``[..., freq, frames]`` to ``[..., freq, ceil(frames / rate)]``.

        Raises
        ------
        melisma.InvalidArgument
            Where neither the module nor the call gives a rate.
        """
        if not complex_specgrams.is_complex():
            warnings.warn(
                f"TimeStretch: complex_specgrams must be complex, got {complex_specgrams.dtype}: its phases are lost",
                stacklevel=2,
            )
        rate = self.fixed_rate if overriding_rate is None else overriding_rate
        if rate is None:
            raise InvalidArgument("TimeStretch: overriding_rate must be given where fixed_rate is None, got None")
        return F.phase_vocoder(complex_specgrams, rate, self.phase_advance)
