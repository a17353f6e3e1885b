"""Spectrograms from the samples in one pass: spectrogram, mel_spectrogram, log_mel, filtered_spectrogram."""

from typing import Any

import numpy as np

from . import _core, _options
from ._arrays import Wrap, take, torch_operators
from ._device import DeviceArray, DeviceBank
from ._options import PCM_SCALE
from .errors import InvalidArgument, InvalidType
from .spectral import call, window_array


def _pcm_scale(array: Any, pcm_scale: Any) -> Any:
    return pcm_scale if array.dtype == np.int16 else 1.0


def spectrogram(
    x: Any,
    *,
    n_fft: int = 400,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = "hann",
    power: float = 2.0,
    normalized: bool | str = False,
    center: bool = True,
    pad_mode: str | None = "reflect",
    pad: int = 0,
    pcm_scale: float = PCM_SCALE,
    layout: str = "frequency_major",
    out: Any = None,
) -> Any:
    """Magnitude spectrogram ``|X|^power``, in one pass from the samples (torchaudio's Spectrogram).

    Parameters
    ----------
    x : array
        ``[..., samples]``; int16 (times `pcm_scale`), float32 or float64.
    n_fft, win_length, center, pad_mode, layout, out
        As in :func:`stft`.
    hop_length : int, optional
        ``win_length // 2``.
    window : array or str, optional
        As in :func:`stft`; a periodic Hann window.
    power : float
        Above 0: 1 is the magnitude, 2 the power.
    normalized : bool or {"window", "frame_length"}
        True and "window": divide X by ``sqrt(sum(window^2))``; "frame_length": by ``sqrt(n_fft)``.
    pad : int
        Zeros put on both sides before everything else.

    Returns
    -------
    array
        ``[..., n_fft // 2 + 1, frames]`` float32, or float64 from float64.
    """
    tensors = torch_operators(x, out)
    if tensors is not None:
        return tensors.spectrogram(
            x,
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
    op = "spectrogram"
    array, wrap = take(x, op, "input")
    params = _spectrogram_params(
        op, array, n_fft, hop_length, win_length, power, normalized, center, pad_mode, pad, pcm_scale, layout
    )
    return call(op, out, wrap, array, window_array(op, window, params.frames.win_length), params)


def _spectrogram_params(
    op: str,
    array: Any,
    n_fft: Any,
    hop_length: Any,
    win_length: Any,
    power: Any,
    normalized: Any,
    center: Any,
    pad_mode: Any,
    pad: Any,
    pcm_scale: Any,
    layout: Any,
    nyquist: bool = True,
) -> Any:
    scale = _pcm_scale(array, pcm_scale)
    _options.hashable(
        op,
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=win_length,
        power=power,
        normalized=normalized,
        center=center,
        pad_mode=pad_mode,
        pad=pad,
        pcm_scale=scale,
        layout=layout,
    )
    return _options.spectrogram_params(
        op, n_fft, hop_length, win_length, power, normalized, center, pad_mode, pad, scale, layout, nyquist
    )


def _filtered(
    op: str,
    array: Any,
    wrap: Wrap,
    bank: Any,
    params: Any,
    log: Any,
    window: Any,
    out: Any,
    float64: bool = False,
) -> Any:
    both = _core.FilteredSpectrogramParams()
    both.float64 = float64
    both.spectrogram = params
    if log is not None:
        both.log = log
    w = window_array(op, window, params.frames.win_length)
    try:
        return call("filtered_spectrogram", out, wrap, array, w, bank, both)
    except (InvalidArgument, InvalidType) as error:
        raise _options.renamed(error, op) from None


def _bank(op: str, array: Any, filterbank: Any) -> Any:
    if isinstance(filterbank, _core.FilterBank):
        return filterbank
    weights, _ = take(filterbank, op, "filterbank")
    if type(weights) is not DeviceArray:
        return _core.FilterBank.from_dense(weights)
    if type(array) is not DeviceArray:
        raise InvalidType(f"{op}: filterbank must be on the CPU as the input is, got one on a GPU")
    return DeviceBank(weights)


def mel_spectrogram(
    x: Any,
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
    pad_mode: str | None = "reflect",
    pad: int = 0,
    pcm_scale: float = PCM_SCALE,
    layout: str = "frequency_major",
    out: Any = None,
) -> Any:
    """Mel spectrogram in one pass from the samples; defaults are torchaudio's.

    Parameters
    ----------
    x : array
        ``[..., samples]``; int16 (times `pcm_scale`), float32 or float64.
    sample_rate : float
        Hz.
    n_mels : int
        Number of triangular filters, spaced evenly on the mel scale between `f_min` and `f_max` (Hz; None: half the rate).
    mel_scale : {"htk", "slaney"}
        ``2595 log10(1 + f / 700)``, or linear below 1 kHz and logarithmic above (Slaney's Auditory Toolbox; librosa's default).
    norm : {None, "slaney"}
        "slaney" divides each filter by half its width in Hz.
    n_fft, hop_length, win_length, window, power, normalized, center, pad_mode, pad, layout, out
        As in :func:`spectrogram`.

    Returns
    -------
    array
        ``[..., n_mels, frames]`` float32, or float64 from float64.
    """
    tensors = torch_operators(x, out)
    if tensors is not None:
        return tensors.mel_spectrogram(
            x,
            sample_rate=sample_rate,
            n_fft=n_fft,
            hop_length=hop_length,
            win_length=win_length,
            window=window,
            n_mels=n_mels,
            f_min=f_min,
            f_max=f_max,
            power=power,
            mel_scale=mel_scale,
            norm=norm,
            normalized=normalized,
            center=center,
            pad_mode=pad_mode,
            pad=pad,
            pcm_scale=pcm_scale,
            layout=layout,
        )
    op = "mel_spectrogram"
    array, wrap = take(x, op, "input")
    params = _spectrogram_params(
        op, array, n_fft, hop_length, win_length, power, normalized, center, pad_mode, pad, pcm_scale, layout
    )
    bank = _mel_bank(op, params, sample_rate, n_mels, f_min, f_max, mel_scale, norm)
    return _filtered(op, array, wrap, bank, params, None, window, out)


def _mel_bank(
    op: str, params: Any, sample_rate: Any, n_mels: Any, f_min: Any, f_max: Any, mel_scale: Any, norm: Any
) -> Any:
    _options.hashable(
        op, sample_rate=sample_rate, n_mels=n_mels, f_min=f_min, f_max=f_max, mel_scale=mel_scale, norm=norm
    )
    return _options.mel_bank(op, params.frames.n_fft // 2 + 1, sample_rate, n_mels, f_min, f_max, mel_scale, norm)


def log_mel(
    x: Any,
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
    pad_mode: str | None = "reflect",
    pad: int = 0,
    pcm_scale: float = PCM_SCALE,
    layout: str = "frequency_major",
    log: str = "db",
    amin: float = 1e-10,
    ref: float = 1.0,
    add: float = 0.0,
    top_db: float | None = None,
    top_db_scope: str = "item",
    out: Any = None,
) -> Any:
    """Logarithm of a mel spectrogram, in the same pass.

    Parameters
    ----------
    x, sample_rate, n_fft, hop_length, win_length, window, n_mels, f_min, f_max, power, mel_scale, norm, normalized, center
        As in :func:`mel_spectrogram`.
    pad_mode, pad, pcm_scale, layout, out
        As in :func:`mel_spectrogram`.
    log : {"db", "log10", "ln", "log1p"}
        ``10 log10(max(v, amin)) - 10 log10(max(amin, ref))`` (20 where power is 1); ``log10`` or ``ln`` of
        ``max(v + add, amin)``; ``ln(1 + v)``.
    top_db : float, optional
        Values further than this below the maximum are raised to it, in units of the result.
    top_db_scope : {"item", "packed"}
        The maximum of each ``[n_mels, frames]`` item, or of the last three axes together (torchaudio's AmplitudeToDB).

    Returns
    -------
    array
        ``[..., n_mels, frames]`` float32, or float64 from float64.
    """
    tensors = torch_operators(x, out)
    if tensors is not None:
        return tensors.log_mel(
            x,
            sample_rate=sample_rate,
            n_fft=n_fft,
            hop_length=hop_length,
            win_length=win_length,
            window=window,
            n_mels=n_mels,
            f_min=f_min,
            f_max=f_max,
            power=power,
            mel_scale=mel_scale,
            norm=norm,
            normalized=normalized,
            center=center,
            pad_mode=pad_mode,
            pad=pad,
            pcm_scale=pcm_scale,
            layout=layout,
            log=log,
            amin=amin,
            ref=ref,
            add=add,
            top_db=top_db,
            top_db_scope=top_db_scope,
        )
    op = "log_mel"
    array, wrap = take(x, op, "input")
    params = _spectrogram_params(
        op, array, n_fft, hop_length, win_length, power, normalized, center, pad_mode, pad, pcm_scale, layout
    )
    bank = _mel_bank(op, params, sample_rate, n_mels, f_min, f_max, mel_scale, norm)
    _options.hashable(op, log=log, amin=amin, ref=ref, add=add, top_db=top_db, top_db_scope=top_db_scope)
    if log == "linear":
        raise InvalidArgument("log_mel: log must be one of ['db', 'ln', 'log10', 'log1p'], got 'linear'")
    scale = _options.log_params(op, log, power, 1.0, add, amin, ref, top_db, top_db_scope)
    return _filtered(op, array, wrap, bank, params, scale, window, out)


def filtered_spectrogram(
    x: Any,
    *,
    filterbank: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = "hann",
    power: float = 1.0,
    normalized: bool | str = False,
    center: bool = True,
    pad_mode: str | None = "reflect",
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
    include_nyquist: bool | None = None,
    precision: str = "float32",
    out: Any = None,
) -> Any:
    """Any filter bank over ``|X|^power``, then a logarithm, in one pass from the samples.

    Parameters
    ----------
    x : array
        ``[..., samples]``; int16 (times `pcm_scale`), float32 or float64.
    filterbank : array
        ``[bins, bands]`` float32 or float64 with ``n_fft // 2 + 1`` rows, or ``n_fft // 2`` without the Nyquist bin. Each band
        is stored and summed from its first to its last non-zero weight.
    output_scale : {"linear", "ln", "log10", "log1p", "db"}
        ``log(max(mul * v + add, amin))``; the rest as in :func:`log_mel`.
    include_nyquist : bool, optional
        Whether the bank has a row for it; told from its number of rows.
    precision : {"float32", "float64"}
        Of the arithmetic on float32 and int16 samples; the result is float32 in both. float64 takes twice the time and keeps
        quiet bands beside loud ones exact.
    n_fft, hop_length, win_length, window, power, normalized, center, pad_mode, pad, layout, out
        As in :func:`spectrogram`.
    amin, ref, top_db, top_db_scope
        As in :func:`log_mel`.

    Returns
    -------
    array
        ``[..., bands, frames]`` float32, or float64 from float64.
    """
    tensors = torch_operators(x, out)
    if tensors is not None:
        return tensors.filtered_spectrogram(
            x,
            filterbank=filterbank,
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
            output_scale=output_scale,
            mul=mul,
            add=add,
            amin=amin,
            ref=ref,
            top_db=top_db,
            top_db_scope=top_db_scope,
            include_nyquist=include_nyquist,
            precision=precision,
        )
    op = "filtered_spectrogram"
    array, wrap = take(x, op, "input")
    bank = _bank(op, array, filterbank)
    size = _options.integer(op, "n_fft", n_fft, 1)
    nyquist = (
        bank.bins == size // 2 + 1
        if include_nyquist is None
        else _options.boolean(op, "include_nyquist", include_nyquist)
    )
    if not nyquist and bank.bins != size // 2:
        raise InvalidArgument(
            f"{op}: filterbank must have {size // 2 + 1} rows (or {size // 2} without Nyquist) for n_fft = {size}, got {bank.bins}"
        )
    params = _spectrogram_params(
        op, array, n_fft, hop_length, win_length, power, normalized, center, pad_mode, pad, pcm_scale, layout, nyquist
    )
    _options.hashable(
        op, output_scale=output_scale, mul=mul, add=add, amin=amin, ref=ref, top_db=top_db, top_db_scope=top_db_scope
    )
    scale = _options.log_params(op, output_scale, power, mul, add, amin, ref, top_db, top_db_scope)
    if precision not in ("float32", "float64"):
        raise InvalidArgument(f"{op}: precision must be 'float32' or 'float64', got {precision!r}")
    return _filtered(op, array, wrap, bank, params, scale, window, out, precision == "float64")
