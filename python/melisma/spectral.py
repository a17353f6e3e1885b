"""The short-time operators: stft, istft, spectrogram, mel_spectrogram, log_mel, filtered_spectrogram."""

from typing import Any

import numpy as np

from . import _core, _options
from ._arrays import Wrap, take
from .errors import InvalidArgument, InvalidType

PCM_SCALE = 1 / 32768

_COMPLEX = "c"


def _window_array(op: str, window: Any, length: Any) -> np.ndarray | None:
    """A window given as array or by name; None stays None (ones)."""
    if window is None:
        return None
    if isinstance(window, str):
        try:
            return _options.named_window(window, _options.integer(op, "win_length", length, 1))
        except InvalidArgument as error:
            raise InvalidArgument(f"{op}: window{str(error).partition(': name')[2]}") from None
    array, _ = take(np.asarray(window) if isinstance(window, (list, tuple)) else window, op, "window")
    if array.dtype != np.float32 and array.dtype != np.float64:
        raise InvalidType(f"{op}: window must be float32 or float64, got {array.dtype}")
    return array


class Explain:
    """Given as `out`, asks for the explanation of a call instead of its result."""

    def __init__(self) -> None:
        self.result: dict[str, Any] = {}


def _call(op: str, out: Any, wrap: Wrap, *args: Any) -> Any:
    """Run the C++ operator on a new array or on the caller's."""
    if out is None:
        return wrap(getattr(_core, op)(*args, None))
    if type(out) is Explain:
        out.result = getattr(_core, f"explain_{op}")(*args)
    else:
        getattr(_core, op)(*args, take(out, op, "out")[0])
    return out


def _pcm_scale(array: np.ndarray, pcm_scale: Any) -> Any:
    return pcm_scale if array.dtype == np.int16 else 1.0


def stft(
    input: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    center: bool = True,
    pad_mode: str | None = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
    *,
    layout: str = "frequency_major",
    out: Any = None,
) -> Any:
    """Short-time Fourier transform; arguments and result are torch.stft's.

    Parameters
    ----------
    input : array
        ``[..., samples]``; int16 (times 1/32768), float32, float64, complex64 or complex128, any strides.
    n_fft : int
        Transform size in samples, any from 1 up.
    hop_length : int, optional
        Samples between frames; ``n_fft // 4``.
    win_length : int, optional
        Window length, at most `n_fft`; a shorter window is centred in the frame.
    window : array or str, optional
        ``[win_length]`` float32 or float64, or the name of a periodic window ("hann", "hamming", "blackman", "bartlett",
        "kaiser"); None is ones.
    center : bool
        Pad ``n_fft // 2`` samples on both sides, so that frame t is centred on sample ``t * hop_length``.
    pad_mode : {"reflect", "constant", "replicate", "circular"}
        What stands in the padding.
    normalized : bool
        Divide by ``sqrt(n_fft)``.
    onesided : bool, optional
        Only bins ``0 .. n_fft // 2``; the default for real input, and False for complex input.
    return_complex : bool, optional
        False gives real and imaginary parts in a last axis of two.
    align_to_window : bool, optional
        With ``center=False`` only: frame t holds the window at sample ``t * hop_length``, as if n_fft were win_length.
    layout : {"frequency_major", "frame_major"}
        Shape ``[..., bins, frames]`` (with frame-major strides, as PyTorch's) or ``[..., frames, bins]``.
    out : array, optional
        Where to write the result; of its exact shape and dtype, any strides.

    Returns
    -------
    array
        complex64, or complex128 from float64 and complex128; of the kind of `input`.

    Raises
    ------
    melisma.InvalidArgument, melisma.InvalidType
        Naming the argument, its limit and the value.

    Notes
    -----
    ``X[f, t] = sum_n x[t * hop + n - n_fft // 2] w[n] exp(-2 pi i f n / n_fft)``. Computed in float32 unless the input is
    float64; sizes up to 128 and those with a prime factor above 13 in float64.
    """
    array, wrap = take(input, "stft", "input")
    complex_input = array.dtype.kind == _COMPLEX
    try:
        params = _options.stft_params(
            n_fft,
            hop_length,
            win_length,
            center,
            pad_mode,
            normalized,
            onesided,
            align_to_window,
            complex_input,
            array.dtype == np.int16,
            layout,
        )
    except TypeError as error:
        if isinstance(error, InvalidType):
            raise
        _options.hashable(
            "stft",
            n_fft=n_fft,
            hop_length=hop_length,
            win_length=win_length,
            center=center,
            pad_mode=pad_mode,
            normalized=normalized,
            onesided=onesided,
            align_to_window=align_to_window,
            layout=layout,
        )
        raise
    w = window if window is None else _window_array("stft", window, params.frames.win_length)
    if return_complex is None or _options.boolean("stft", "return_complex", return_complex):
        return _call("stft", out, wrap, array, w, params)
    if out is not None:
        raise InvalidArgument("stft: out must be None where return_complex is False")
    return wrap(_as_pairs(_core.stft(array, w, params, None)))


def _as_pairs(spectrum: np.ndarray) -> np.ndarray:
    """A complex array as real numbers with a last axis of two, without a copy."""
    real = spectrum.real
    return np.lib.stride_tricks.as_strided(
        real, shape=(*real.shape, 2), strides=(*real.strides, spectrum.dtype.itemsize // 2), writeable=True
    )


def istft(
    input: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
    *,
    edge: str = "error",
    layout: str = "frequency_major",
    out: Any = None,
) -> Any:
    """Inverse short-time Fourier transform by overlap-add; arguments and result are torch.istft's.

    Parameters
    ----------
    input : array
        ``[..., bins, frames]`` complex64 or complex128, any strides. Imaginary parts of the first and last bin are ignored.
    n_fft, hop_length, win_length, window, center, normalized, onesided
        As given to :func:`stft`.
    length : int, optional
        Samples of the result; what lies beyond the last frame is zero.
    return_complex : bool
        A complex signal, from a two-sided spectrum.
    edge : {"error", "zero", "clamp"}
        What to do with samples where the overlap-added squared window is below 1e-11 (``center=False`` with a window that
        vanishes at its ends): refuse as torch.istft, write zeros, or divide by 1e-11.
    layout : {"frequency_major", "frame_major"}
        Of the input.
    out : array, optional
        Where to write the result.

    Returns
    -------
    array
        ``[..., samples]`` float32 or float64 (complex where asked for), of the kind of `input`.

    Notes
    -----
    ``y[n] = sum_t w[n - t hop] x_t[n - t hop] / sum_t w[n - t hop]^2`` (Griffin and Lim 1984, eq. 6).
    """
    array, wrap = take(input, "istft", "input")
    if array.dtype.kind != _COMPLEX:
        raise InvalidType(f"istft: input must be complex64 or complex128, got {array.dtype}")
    if array.ndim < 2:
        raise InvalidArgument(f"istft: input must have at least 2 dimensions [bins, frames], got {array.ndim}")
    bins = array.shape[-1 if layout == "frame_major" else -2]
    try:
        params = _options.istft_params(
            n_fft, hop_length, win_length, center, normalized, onesided, length, edge, layout, bins
        )
    except TypeError as error:
        if isinstance(error, InvalidType):
            raise
        _options.hashable(
            "istft",
            n_fft=n_fft,
            hop_length=hop_length,
            win_length=win_length,
            center=center,
            normalized=normalized,
            onesided=onesided,
            length=length,
            edge=edge,
            layout=layout,
        )
        raise
    complex_result = _options.boolean("istft", "return_complex", return_complex)
    w = window if window is None else _window_array("istft", window, params.win_length)
    return _call("istft", out, wrap, array, w, params, complex_result)


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
    op = "spectrogram"
    array, wrap = take(x, op, "input")
    params = _spectrogram_params(
        op, array, n_fft, hop_length, win_length, power, normalized, center, pad_mode, pad, pcm_scale, layout
    )
    return _call(op, out, wrap, array, _window_array(op, window, params.frames.win_length), params)


def _spectrogram_params(
    op: str,
    array: np.ndarray,
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
    array: np.ndarray,
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
    w = _window_array(op, window, params.frames.win_length)
    try:
        return _call("filtered_spectrogram", out, wrap, array, w, bank, both)
    except (InvalidArgument, InvalidType) as error:
        raise _options.renamed(error, op) from None


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
    op = "filtered_spectrogram"
    array, wrap = take(x, op, "input")
    if isinstance(filterbank, _core.FilterBank):
        bank = filterbank
    else:
        weights, _ = take(filterbank, op, "filterbank")
        bank = _core.FilterBank.from_dense(weights)
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
