"""MFCC, LFCC, ComputeDeltas, SlidingWindowCmn."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import InvalidArgument
from .. import functional as F
from .mel import AmplitudeToDB, MelSpectrogram, fused, fusible, times, untouched
from .spectra import Spectrogram

_LOG_OFFSET = 1e-6  # torchaudio's, added before the logarithm where no decibels are wanted


def _check_dct(module: str, dct_type: int) -> None:
    if dct_type != 2:
        raise InvalidArgument(f"{module}: dct_type must be 2, got {dct_type}")


def _scale(decibels: torch.nn.Module, log: bool, power: float) -> dict[str, Any] | None:
    """The logarithm of `decibels` (or ``log(x + 1e-6)``) as options of the fused pass; None where it has none."""
    if log:
        return {"output_scale": "ln", "add": _LOG_OFFSET, "amin": 0.0}
    if not untouched(decibels, AmplitudeToDB):
        return None
    own: Any = decibels
    # The fused decibels are 20 log10 at power 1, and their reference is 1.
    if own.multiplier != (20.0 if power == 1 else 10.0) or own.db_multiplier != 0:
        return None
    return {"output_scale": "db", "amin": own.amin, "top_db": own.top_db}


class _Cepstrum(torch.nn.Module):
    """What MFCC and LFCC share: bands of a spectrogram, a logarithm, a cosine transform."""

    amplitude_to_DB: AmplitudeToDB
    dct_mat: Tensor

    def _logarithm(self, bands: Tensor, log: bool) -> Tensor:
        if log:
            return torch.log(bands + _LOG_OFFSET)
        decibels: Tensor = self.amplitude_to_DB(bands)
        return decibels

    def _transformed(self, frames: Tensor) -> Tensor:
        """``[..., frames, bands]`` to ``[..., coefficients, frames]``; in full precision under autocast too.

        Decibels need it: at 100 dB the steps of bfloat16 are half a decibel.
        """
        device = frames.device.type
        if device != "meta" and torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                return times(frames, self.dct_mat).transpose(-1, -2)
        return times(frames, self.dct_mat).transpose(-1, -2)


class MFCC(_Cepstrum):
    """Mel-frequency cepstrum coefficients (torchaudio.transforms.MFCC): one fused pass to the log mel bands, then the DCT.

    Parameters
    ----------
    sample_rate : int
        Hz.
    n_mfcc : int
        Coefficients kept.
    dct_type : int
        2.
    norm : {"ortho", None}
        As in :func:`melisma.torch.functional.create_dct`.
    log_mels : bool
        ``log(mel + 1e-6)`` instead of decibels.
    melkwargs : dict, optional
        Arguments of :class:`MelSpectrogram`.
    top_db : float, optional
        Not in torchaudio, which has 80 fixed: how far below a clip's maximum decibels are cut off. None cuts nothing, so that a
        frame's coefficients do not depend on other frames.

    Raises
    ------
    melisma.InvalidArgument
        For another `dct_type`, or `n_mfcc` above the number of bands.
    """

    __constants__: ClassVar[list[str]] = ["sample_rate", "n_mfcc", "dct_type", "top_db", "log_mels"]

    def __init__(
        self,
        sample_rate: int = 16000,
        n_mfcc: int = 40,
        dct_type: int = 2,
        norm: str = "ortho",
        log_mels: bool = False,
        melkwargs: dict[str, Any] | None = None,
        top_db: float | None = 80.0,
    ) -> None:
        super().__init__()
        _check_dct("MFCC", dct_type)
        self.sample_rate = sample_rate
        self.n_mfcc = n_mfcc
        self.dct_type = dct_type
        self.norm = norm
        self.top_db = top_db
        self.amplitude_to_DB = AmplitudeToDB("power", top_db)
        self.MelSpectrogram = MelSpectrogram(sample_rate=sample_rate, **(melkwargs or {}))
        n_mels = self.MelSpectrogram.n_mels
        if n_mfcc > n_mels:
            raise InvalidArgument(f"MFCC: n_mfcc must be <= n_mels = {n_mels}, got {n_mfcc}")
        self.register_buffer("dct_mat", F.create_dct(n_mfcc, n_mels, norm))
        self.log_mels = log_mels

    def forward(self, waveform: Tensor) -> Tensor:
        """``[..., time]`` to ``[..., n_mfcc, frames]``."""
        mel = self.MelSpectrogram
        if untouched(mel, MelSpectrogram) and mel._fusible(waveform):
            scale = _scale(self.amplitude_to_DB, self.log_mels, mel.spectrogram.power or 0.0)
            if scale is not None:
                bands = fused(mel.spectrogram, waveform, mel.mel_scale.fb, layout="frame_major", **scale)
                return self._transformed(bands)
        return self._transformed(self._logarithm(mel(waveform), self.log_mels).transpose(-1, -2))


class LFCC(_Cepstrum):
    """Linear-frequency cepstrum coefficients (torchaudio.transforms.LFCC): one fused pass to the log bands, then the DCT.

    Parameters
    ----------
    sample_rate : int
        Hz.
    n_filter : int
        Bands.
    f_min : float
        Hz.
    f_max : float, optional
        Hz; ``sample_rate // 2``.
    n_lfcc : int
        Coefficients kept.
    dct_type, norm, top_db
        As in :class:`MFCC`.
    log_lf : bool
        ``log(band + 1e-6)`` instead of decibels.
    speckwargs : dict, optional
        Arguments of :class:`Spectrogram`.

    Raises
    ------
    melisma.InvalidArgument
        For another `dct_type`, or `n_lfcc` above `n_fft`.
    """

    __constants__: ClassVar[list[str]] = ["sample_rate", "n_filter", "n_lfcc", "dct_type", "top_db", "log_lf"]
    filter_mat: Tensor

    def __init__(
        self,
        sample_rate: int = 16000,
        n_filter: int = 128,
        f_min: float = 0.0,
        f_max: float | None = None,
        n_lfcc: int = 40,
        dct_type: int = 2,
        norm: str = "ortho",
        log_lf: bool = False,
        speckwargs: dict[str, Any] | None = None,
        top_db: float | None = 80.0,
    ) -> None:
        super().__init__()
        _check_dct("LFCC", dct_type)
        self.sample_rate = sample_rate
        self.f_min = f_min
        self.f_max = f_max if f_max is not None else float(sample_rate // 2)
        self.n_filter = n_filter
        self.n_lfcc = n_lfcc
        self.dct_type = dct_type
        self.norm = norm
        self.top_db = top_db
        self.amplitude_to_DB = AmplitudeToDB("power", top_db)
        self.Spectrogram = Spectrogram(**(speckwargs or {}))
        n_fft = self.Spectrogram.n_fft
        if n_lfcc > n_fft:
            raise InvalidArgument(f"LFCC: n_lfcc must be <= n_fft = {n_fft}, got {n_lfcc}")
        self.register_buffer("filter_mat", F.linear_fbanks(n_fft // 2 + 1, f_min, self.f_max, n_filter, sample_rate))
        self.register_buffer("dct_mat", F.create_dct(n_lfcc, n_filter, norm))
        self.log_lf = log_lf

    def forward(self, waveform: Tensor) -> Tensor:
        """``[..., time]`` to ``[..., n_lfcc, frames]``."""
        spectrogram = self.Spectrogram
        if fusible(spectrogram, waveform):
            scale = _scale(self.amplitude_to_DB, self.log_lf, spectrogram.power or 0.0)
            if scale is not None:
                return self._transformed(fused(spectrogram, waveform, self.filter_mat, layout="frame_major", **scale))
        bands = times(spectrogram(waveform).transpose(-1, -2), self.filter_mat).transpose(-1, -2)
        return self._transformed(self._logarithm(bands, self.log_lf).transpose(-1, -2))


class ComputeDeltas(torch.nn.Module):
    """Slope of each coefficient over time (torchaudio.transforms.ComputeDeltas).

    Parameters
    ----------
    win_length : int
        Frames looked at, at least 3.
    mode : str
        ``torch.nn.functional.pad``'s mode at both ends.
    """

    __constants__: ClassVar[list[str]] = ["win_length"]

    def __init__(self, win_length: int = 5, mode: str = "replicate") -> None:
        super().__init__()
        self.win_length = win_length
        self.mode = mode

    def forward(self, specgram: Tensor) -> Tensor:
        """``[..., freq, time]`` to the same; see :func:`melisma.torch.functional.compute_deltas`."""
        return F.compute_deltas(specgram, self.win_length, self.mode)


class SlidingWindowCmn(torch.nn.Module):
    """Sliding mean (and variance) normalisation (torchaudio.transforms.SlidingWindowCmn).

    Parameters
    ----------
    cmn_window, min_cmn_window, center, norm_vars
        As in :func:`melisma.torch.functional.sliding_window_cmn`.
    """

    def __init__(
        self, cmn_window: int = 600, min_cmn_window: int = 100, center: bool = False, norm_vars: bool = False
    ) -> None:
        super().__init__()
        self.cmn_window = cmn_window
        self.min_cmn_window = min_cmn_window
        self.center = center
        self.norm_vars = norm_vars

    def forward(self, specgram: Tensor) -> Tensor:
        """``[..., time, freq]`` to the same."""
        return F.sliding_window_cmn(specgram, self.cmn_window, self.min_cmn_window, self.center, self.norm_vars)
