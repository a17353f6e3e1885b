"""Spectrograms from samples and back: torchaudio's functions as single passes of the fused operators."""

import warnings

import torch
from torch import Tensor

from ..._options import PCM_SCALE
from ...errors import InvalidArgument, InvalidType
from .. import spectral as _ops


def _norms(op: str, normalized: bool | str) -> tuple[bool, bool]:
    """Whether to divide by sqrt(n_fft), and whether by the window's norm."""
    if isinstance(normalized, str):
        if normalized not in ("frame_length", "window"):
            raise InvalidArgument(f"{op}: normalized must be a bool, 'window' or 'frame_length', got {normalized!r}")
        return normalized == "frame_length", normalized == "window"
    if not isinstance(normalized, bool):
        raise InvalidType(f"{op}: normalized must be a bool, 'window' or 'frame_length', got {normalized!r}")
    return False, normalized


def _is_double(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.dtype in (torch.float64, torch.complex128)


def common(x: Tensor, weights: Tensor | None, window: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Samples or spectrum, filter bank and window, each real or complex as it was: float64 if one of them is, else float32.

    int16 samples stay as they are unless another is float64: the operators read them as ``x / 32768``.
    """
    double = _is_double(x) or _is_double(weights) or _is_double(window)
    real, pair = (torch.float64, torch.complex128) if double else (torch.float32, torch.complex64)
    if x.is_complex():
        x = x.to(pair)
    elif x.is_floating_point():  # other integers are for the operators to refuse
        x = x.to(real)
    elif double and x.dtype == torch.int16:
        x = x.to(real) * PCM_SCALE
    if weights is not None:
        weights = weights.to(real)
    if window is not None:
        window = window.to(pair if window.is_complex() else real)
    return x, weights, window


def _stft(
    x: Tensor,
    window: Tensor | None,
    n_fft: int,
    hop_length: int,
    win_length: int,
    center: bool,
    pad_mode: str,
    normalized: bool,
    onesided: bool,
) -> Tensor:
    def one(w: Tensor | None) -> Tensor:
        spectrum: Tensor = _ops.stft(x, n_fft, hop_length, win_length, w, center, pad_mode, normalized, onesided)
        return spectrum

    if window is None or not window.is_complex():
        return one(window)
    if onesided:
        raise InvalidArgument("spectrogram: onesided must be False for a complex window, got True")
    # The transform is linear in the window.
    return one(window.real.contiguous()) + 1j * one(window.imag.contiguous())


def _mirrored(half: Tensor, n_fft: int) -> Tensor:
    """All n_fft rows of the magnitudes of a real signal, from rows 0 .. n_fft // 2."""
    rows = torch.arange(n_fft, device=half.device)
    return half.index_select(-2, torch.minimum(rows, n_fft - rows))


def spectrogram(
    waveform: Tensor,
    pad: int,
    window: Tensor,
    n_fft: int,
    hop_length: int,
    win_length: int,
    power: float | None,
    normalized: bool | str,
    center: bool = True,
    pad_mode: str = "reflect",
    onesided: bool = True,
    return_complex: bool | None = None,
) -> Tensor:
    """Magnitude or complex spectrogram.

    Parameters
    ----------
    waveform : Tensor
        ``[..., time]``; float32 or float64, half or bfloat16 (computed in float32), int16 (read as ``x / 32768``), or complex
        with ``onesided=False``.
    pad : int
        Zeros put on both sides before everything else.
    window : Tensor
        ``[win_length]``; the result has the wider precision of the two.
    n_fft, hop_length, win_length : int
        Samples.
    power : float or None
        Exponent of the magnitude; None gives the complex spectrum.
    normalized : bool or {"window", "frame_length"}
        True and "window" divide the spectrum by the window's l2 norm, "frame_length" by ``sqrt(n_fft)``.
    center : bool
        Pad ``n_fft // 2`` on both sides, so that frame t is centred on sample ``t * hop_length``.
    pad_mode : str
        What stands in that padding: "reflect", "constant", "replicate" or "circular".
    onesided : bool
        Only bins ``0 .. n_fft // 2``.
    return_complex : bool, optional
        Without effect, as in torchaudio.

    Returns
    -------
    Tensor
        ``[..., n_fft // 2 + 1, frames]``, or ``[..., n_fft, frames]``: float32 or float64, complex where `power` is None.
        From half precisions it is float32 or complex64, where torchaudio's would be the input's dtype.

    Raises
    ------
    melisma.InvalidArgument, melisma.InvalidType
        Naming the argument, its limit and the value.

    Notes
    -----
    Real input, one-sided or not, with a power above 0 is one fused pass that stores no complex spectrum.
    """
    if return_complex is not None:
        _warn_return_complex("spectrogram")
    by_length, by_window = _norms("spectrogram", normalized)
    x, _, w = common(waveform, None, window)
    hop = n_fft // 4 if hop_length is None else hop_length
    length = n_fft if win_length is None else win_length
    real = not x.is_complex() and (w is None or not w.is_complex())
    if real and power is not None and power > 0:
        half: Tensor = _ops.spectrogram(
            x,
            n_fft=n_fft,
            hop_length=hop,
            win_length=length,
            window=w,
            power=power,
            normalized="frame_length" if by_length else by_window,
            center=center,
            pad_mode=pad_mode,
            pad=max(pad, 0),
        )
        return half if onesided else _mirrored(half, n_fft)
    if pad > 0:
        x = torch.nn.functional.pad(x, (pad, pad))
    if by_window and w is not None:
        w = w / w.abs().pow(2).sum().sqrt()  # of the window: one pass less than of the spectrum
    spectrum = _stft(x, w, n_fft, hop, length, center, pad_mode, by_length, onesided)
    if power is None:
        return spectrum
    return spectrum.abs() if power == 1.0 else spectrum.abs().pow(power)


def _warn_return_complex(op: str) -> None:
    warnings.warn(
        f"{op}: return_complex is deprecated and without effect; power=None gives the complex spectrum", stacklevel=3
    )


def filtered(
    waveform: Tensor,
    bank: Tensor,
    window: Tensor,
    n_fft: int,
    hop_length: int,
    win_length: int,
    power: float,
    normalized: bool | str,
    center: bool,
    pad_mode: str,
    pad: int,
    *,
    layout: str = "frequency_major",
    output_scale: str = "linear",
    add: float = 0.0,
    amin: float = 1e-10,
    top_db: float | None = None,
) -> Tensor:
    """A one-sided real spectrogram through a filter bank ``[bins, bands]`` and a logarithm, in one pass.

    The arguments are :func:`spectrogram`'s; from `layout` on they are :func:`melisma.filtered_spectrogram`'s.
    """
    by_length, by_window = _norms("spectrogram", normalized)
    x, weights, w = common(waveform, bank, window)
    result: Tensor = _ops.filtered_spectrogram(
        x,
        filterbank=weights,
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=win_length,
        window=w,
        power=power,
        normalized="frame_length" if by_length else by_window,
        center=center,
        pad_mode=pad_mode,
        pad=max(pad, 0),
        layout=layout,
        output_scale=output_scale,
        add=add,
        amin=amin,
        top_db=top_db,
        top_db_scope="packed",
        include_nyquist=True,
    )
    return result


def inverse_spectrogram(
    spectrogram: Tensor,
    length: int | None,
    pad: int,
    window: Tensor,
    n_fft: int,
    hop_length: int,
    win_length: int,
    normalized: bool | str,
    center: bool = True,
    pad_mode: str = "reflect",
    onesided: bool = True,
) -> Tensor:
    """The samples of a complex spectrogram, by least squares (overlap-add).

    Parameters
    ----------
    spectrogram : Tensor
        ``[..., freq, time]`` complex64 or complex128.
    length : int, optional
        Samples of the result; None ends with the last frame.
    pad : int
        Zeros that :func:`spectrogram` had put on both sides; they are cut off where `length` is given.
    window, n_fft, hop_length, win_length, normalized, center, onesided
        As given to :func:`spectrogram`.
    pad_mode : str
        Without effect.

    Returns
    -------
    Tensor
        ``[..., time]`` float32, or float64 from complex128 or with a float64 window.

    Raises
    ------
    melisma.InvalidArgument
        For a spectrum that is not complex, or a window whose squares do not overlap to more than 1e-11 everywhere.
    """
    by_length, by_window = _norms("inverse_spectrogram", normalized)
    if not spectrogram.is_complex():
        raise InvalidArgument(f"inverse_spectrogram: spectrogram must be complex, got {spectrogram.dtype}")
    spectrum, _, w = common(spectrogram, None, window)
    waveform: Tensor = _ops.istft(
        spectrum,
        n_fft,
        hop_length,
        win_length,
        w,
        center,
        by_length,
        onesided,
        None if length is None else length + 2 * pad,
    )
    if length is not None and pad > 0:
        waveform = waveform[..., pad:-pad]
    if by_window and w is not None:
        waveform = waveform * w.pow(2).sum().sqrt()  # of the samples: fewer than the spectrum's values
    return waveform


def spectral_centroid(
    waveform: Tensor, sample_rate: int, pad: int, window: Tensor, n_fft: int, hop_length: int, win_length: int
) -> Tensor:
    """Mean frequency of each frame, weighted by magnitude.

    Parameters
    ----------
    waveform : Tensor
        ``[..., time]``, real.
    sample_rate : int
        Hz; the last bin counts as ``sample_rate // 2``.
    pad, window, n_fft, hop_length, win_length
        As in :func:`spectrogram`.

    Returns
    -------
    Tensor
        ``[..., frames]`` in Hz; NaN in a frame of zeros, as in torchaudio.

    Notes
    -----
    ``sum_f f |X_f| / sum_f |X_f|``: a filter bank of two bands, so one fused pass.
    """
    hertz = torch.linspace(0, sample_rate // 2, 1 + n_fft // 2, device=waveform.device)
    bank = torch.stack((hertz, torch.ones_like(hertz)), dim=-1)
    sums = filtered(waveform, bank, window, n_fft, hop_length, win_length, 1.0, False, True, "reflect", pad)
    weighted, total = sums.unbind(-2)
    return weighted / total
