"""AmplitudeToDB, MelScale, InverseMelScale, MelSpectrogram."""

import math
import warnings
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import InvalidArgument
from .. import functional as F
from ..functional.spectra import filtered
from .spectra import Spectrogram, WindowFunction


class AmplitudeToDB(torch.nn.Module):
    """Decibels of a power or amplitude spectrogram (torchaudio.transforms.AmplitudeToDB).

    Parameters
    ----------
    stype : str
        "power" multiplies the logarithm by 10, anything else by 20.
    top_db : float, optional
        Values further than this below the maximum of a clip (its last three axes) are raised to it.

    Raises
    ------
    melisma.InvalidArgument
        For a `top_db` below 0.
    """

    __constants__: ClassVar[list[str]] = ["multiplier", "amin", "ref_value", "db_multiplier"]

    def __init__(self, stype: str = "power", top_db: float | None = None) -> None:
        super().__init__()
        if top_db is not None and top_db < 0:
            raise InvalidArgument(f"AmplitudeToDB: top_db must be >= 0, got {top_db}")
        self.stype = stype
        self.top_db = top_db
        self.multiplier = 10.0 if stype == "power" else 20.0
        self.amin = 1e-10
        self.ref_value = 1.0
        self.db_multiplier = math.log10(max(self.amin, self.ref_value))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape; see :func:`melisma.torch.functional.amplitude_to_DB`."""
        return F.amplitude_to_DB(x, self.multiplier, self.amin, self.db_multiplier, self.top_db)


def times(rows: Tensor, matrix: Tensor) -> Tensor:
    """``rows @ matrix`` in the wider of their dtypes, where PyTorch (and torchaudio) would refuse two different ones."""
    dtype = torch.promote_types(rows.dtype, matrix.dtype)
    return torch.matmul(rows.to(dtype), matrix.to(dtype))


def _check_band(module: str, f_min: float, f_max: float) -> None:
    if f_min > f_max:
        raise InvalidArgument(f"{module}: f_min must be <= f_max = {f_max} Hz, got {f_min}")


class MelScale(torch.nn.Module):
    """Mel bands of a given spectrogram (torchaudio.transforms.MelScale).

    Parameters
    ----------
    n_mels : int
        Bands.
    sample_rate : int
        Hz.
    f_min : float
        Hz.
    f_max : float, optional
        Hz; ``sample_rate // 2``.
    n_stft : int
        Bins of the spectrogram.
    norm : {None, "slaney"}
        "slaney" divides each band by half its width in Hz.
    mel_scale : {"htk", "slaney"}
        The formula of the scale.

    Raises
    ------
    melisma.InvalidArgument
        For `f_min` above `f_max`, or another `norm` or `mel_scale`.
    """

    __constants__: ClassVar[list[str]] = ["n_mels", "sample_rate", "f_min", "f_max", "n_stft"]
    fb: Tensor

    def __init__(
        self,
        n_mels: int = 128,
        sample_rate: int = 16000,
        f_min: float = 0.0,
        f_max: float | None = None,
        n_stft: int = 201,
        norm: str | None = None,
        mel_scale: str = "htk",
    ) -> None:
        super().__init__()
        self.n_mels = n_mels
        self.sample_rate = sample_rate
        self.f_max = f_max if f_max is not None else float(sample_rate // 2)
        self.f_min = f_min
        self.n_stft = n_stft
        self.norm = norm
        self.mel_scale = mel_scale
        _check_band("MelScale", f_min, self.f_max)
        self.register_buffer("fb", F.melscale_fbanks(n_stft, f_min, self.f_max, n_mels, sample_rate, norm, mel_scale))

    def forward(self, specgram: Tensor) -> Tensor:
        """``[..., n_stft, time]`` to ``[..., n_mels, time]``, in the wider dtype of the spectrogram and the bank `fb`."""
        return times(specgram.transpose(-1, -2), self.fb).transpose(-1, -2)


class InverseMelScale(torch.nn.Module):
    """A spectrogram whose mel bands are the given ones, by least squares (torchaudio.transforms.InverseMelScale).

    Parameters
    ----------
    n_stft : int
        Bins of the spectrogram.
    n_mels, sample_rate, f_min, f_max, norm, mel_scale
        As in :class:`MelScale`.
    driver : {"gels", "gelsy", "gelsd", "gelss"}
        Of ``torch.linalg.lstsq``; on a GPU only "gels".

    Raises
    ------
    melisma.InvalidArgument
        For `f_min` above `f_max`, another `driver`, one that the input's device does not have, or input of another
        number of bands.
    """

    __constants__: ClassVar[list[str]] = ["n_stft", "n_mels", "sample_rate", "f_min", "f_max"]
    fb: Tensor

    def __init__(
        self,
        n_stft: int,
        n_mels: int = 128,
        sample_rate: int = 16000,
        f_min: float = 0.0,
        f_max: float | None = None,
        norm: str | None = None,
        mel_scale: str = "htk",
        driver: str = "gels",
    ) -> None:
        super().__init__()
        self.n_stft = n_stft
        self.n_mels = n_mels
        self.sample_rate = sample_rate
        self.f_max = f_max or float(sample_rate // 2)
        self.f_min = f_min
        self.norm = norm
        self.mel_scale = mel_scale
        self.driver = driver
        _check_band("InverseMelScale", f_min, self.f_max)
        drivers = ("gels", "gelsy", "gelsd", "gelss")
        if driver not in drivers:
            raise InvalidArgument(f"InverseMelScale: driver must be one of {drivers}, got {driver!r}")
        self.register_buffer("fb", F.melscale_fbanks(n_stft, f_min, self.f_max, n_mels, sample_rate, norm, mel_scale))

    def forward(self, melspec: Tensor) -> Tensor:
        """``[..., n_mels, time]`` to ``[..., n_stft, time]``; half precisions are solved, and returned, in float32."""
        bands, frames = melspec.shape[-2:]
        if bands != self.n_mels:
            raise InvalidArgument(f"InverseMelScale: melspec must have {self.n_mels} mel bands, got {bands}")
        if melspec.is_cuda and self.driver != "gels":
            raise InvalidArgument(f"InverseMelScale: driver must be 'gels' for input on a GPU, got {self.driver!r}")
        dtype = torch.promote_types(melspec.dtype, torch.float32)
        # One system with the frames of every item as its right sides: the bank is factored once.
        sides = melspec.reshape(-1, bands, frames).movedim(1, 0).reshape(bands, -1).to(dtype)
        found = torch.linalg.lstsq(self.fb.to(dtype).t(), sides, driver=self.driver).solution.relu()
        bins = self.fb.shape[0]
        return found.reshape(bins, -1, frames).movedim(0, 1).reshape(*melspec.shape[:-2], bins, frames)


def untouched(module: Any, kind: type) -> bool:
    """Whether calling `module` is its class's own forward and nothing else, so that a fused pass may stand for it."""
    own = type(module) is kind
    return own and not (
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def fusible(module: Any, waveform: Tensor) -> bool:
    """Whether a spectrogram of `waveform` and what follows can be one pass over the samples."""
    if not untouched(module, Spectrogram) or waveform.is_complex():
        return False
    power = module.power
    return bool(module.onesided and power is not None and power > 0 and not module.window.is_complex())


def fused(spectrogram: Any, waveform: Tensor, bank: Tensor, **scale: Any) -> Tensor:
    """``bank`` over the module's spectrogram, in one pass; `scale` as in :func:`functional.spectra.filtered`."""
    return filtered(
        waveform,
        bank,
        spectrogram.window,
        spectrogram.n_fft,
        spectrogram.hop_length,
        spectrogram.win_length,
        spectrogram.power,
        spectrogram.normalized,
        spectrogram.center,
        spectrogram.pad_mode,
        spectrogram.pad,
        **scale,
    )


class MelSpectrogram(torch.nn.Module):
    """Mel spectrogram of a signal (torchaudio.transforms.MelSpectrogram), in one fused pass from the samples.

    Parameters
    ----------
    sample_rate : int
        Hz.
    n_fft, win_length, hop_length, pad, window_fn, power, normalized, wkwargs, center, pad_mode
        As in :class:`Spectrogram`.
    f_min, f_max, n_mels, norm, mel_scale
        As in :class:`MelScale`.
    onesided : bool, optional
        Without effect, as in torchaudio.

    Notes
    -----
    The buffers `spectrogram.window` and `mel_scale.fb` decide what is computed, so a state dict of torchaudio's module loads and
    is used. Where a submodule was exchanged or carries hooks, the two are called one after the other instead.
    """

    __constants__: ClassVar[list[str]] = ["sample_rate", "n_fft", "win_length", "hop_length", "pad", "n_mels", "f_min"]

    def __init__(
        self,
        sample_rate: int = 16000,
        n_fft: int = 400,
        win_length: int | None = None,
        hop_length: int | None = None,
        f_min: float = 0.0,
        f_max: float | None = None,
        pad: int = 0,
        n_mels: int = 128,
        window_fn: WindowFunction = torch.hann_window,
        power: float = 2.0,
        normalized: bool = False,
        wkwargs: dict[str, Any] | None = None,
        center: bool = True,
        pad_mode: str = "reflect",
        onesided: bool | None = None,
        norm: str | None = None,
        mel_scale: str = "htk",
    ) -> None:
        super().__init__()
        if onesided is not None:
            warnings.warn("MelSpectrogram: onesided is deprecated and without effect", stacklevel=2)
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.win_length = win_length if win_length is not None else n_fft
        self.hop_length = hop_length if hop_length is not None else self.win_length // 2
        self.pad = pad
        self.power = power
        self.normalized = normalized
        self.n_mels = n_mels
        self.f_max = f_max
        self.f_min = f_min
        self.spectrogram = Spectrogram(
            n_fft,
            self.win_length,
            self.hop_length,
            pad,
            window_fn,
            power,
            normalized,
            wkwargs,
            center,
            pad_mode,
        )
        self.mel_scale = MelScale(n_mels, sample_rate, f_min, f_max, n_fft // 2 + 1, norm, mel_scale)

    def forward(self, waveform: Tensor) -> Tensor:
        """``[..., time]`` to ``[..., n_mels, frames]`` float32, or float64 from float64 samples, window or bank."""
        if self._fusible(waveform):
            return fused(self.spectrogram, waveform, self.mel_scale.fb)
        mel: Tensor = self.mel_scale(self.spectrogram(waveform))
        return mel

    def _fusible(self, waveform: Tensor) -> bool:
        """Whether one pass over the samples gives what the two submodules would."""
        return untouched(self.mel_scale, MelScale) and fusible(self.spectrogram, waveform)
