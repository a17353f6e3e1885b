"""The mel front end under mps-spectro's names: functions here, modules in ``_transforms.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F

from ...errors import InvalidArgument, InvalidType
from ._engine import engine, hann, symbolic, whole

MelScale = Literal["htk", "slaney"]
MelNorm = Literal["slaney"] | None
MelOutputScale = Literal["linear", "log", "db"]
LogMelMode = Literal["clamp", "add", "log1p"]

__all__ = [
    "CompatMelSpectrogramTransform",
    "DynamicMelSpectrogramTransform",
    "LogMelSpectrogramTransform",
    "MelSpectrogramTransform",
    "amplitude_to_db",
    "dynamic_mel_spectrogram",
    "dynamic_spectrogram",
    "mel_spectrogram",
    "melscale_fbanks",
]

# Slaney's scale: linear below 1 kHz at 200/3 Hz a mel, above it 27 mels for each factor of 6.4.
_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0

_BANKS: dict[tuple[object, ...], torch.Tensor] = {}
_BANKS_LIMIT = 128


def melscale_fbanks(
    *,
    n_freqs: int,
    f_min: float,
    f_max: float,
    n_mels: int,
    sample_rate: int,
    norm: MelNorm = None,
    mel_scale: MelScale = "htk",
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Triangular mel filters ``[n_mels, n_freqs]`` (torchaudio's transposed), computed in `dtype`.

    Parameters
    ----------
    n_freqs : int
        Bins from 0 Hz to half the sample rate.
    f_min, f_max : float
        Range in Hz.
    n_mels : int
        Number of filters.
    sample_rate : int
        Hz.
    norm : {None, "slaney"}
        "slaney" times 2 over the filter's width in Hz.
    mel_scale : {"htk", "slaney"}
        ``2595 log10(1 + f / 700)``, or linear below 1 kHz and logarithmic above.
    device, dtype
        Of the result.

    Raises
    ------
    ValueError
        For an unknown `mel_scale` or `norm`.
    """
    op = "melscale_fbanks"
    if mel_scale not in ("htk", "slaney"):
        raise InvalidArgument(f"{op}: mel_scale must be 'htk' or 'slaney', got {mel_scale!r}")
    if norm not in (None, "slaney"):
        raise InvalidArgument(f"{op}: norm must be None or 'slaney', got {norm!r}")
    key = (n_freqs, f_min, f_max, n_mels, sample_rate, norm, mel_scale, torch.device(device), dtype)
    caching = not torch.compiler.is_compiling()
    if caching and key in _BANKS:
        return _BANKS[key]
    with torch.no_grad(), torch.inference_mode(False):
        bank = _bank(n_freqs, f_min, f_max, n_mels, sample_rate, norm, mel_scale, torch.device(device), dtype)
    if caching and not symbolic(bank):
        if len(_BANKS) >= _BANKS_LIMIT:
            _BANKS.clear()
        _BANKS[key] = bank
    return bank


def _bank(
    n_freqs: int,
    f_min: float,
    f_max: float,
    n_mels: int,
    sample_rate: float,
    norm: MelNorm,
    mel_scale: MelScale,
    device: torch.device,
    dtype: torch.dtype,
) -> torch.Tensor:
    # The range's ends in `dtype`, as every filter's corners are.
    low, high = (float(_to_mel(torch.tensor(f, dtype=dtype), mel_scale)) for f in (f_min, f_max))
    mels = torch.linspace(low, high, n_mels + 2, device=device, dtype=dtype)
    if mel_scale == "htk":
        corners = 700.0 * (torch.pow(10.0, mels / 2595.0) - 1.0)
    else:
        above = _BREAK_HZ * torch.exp(_LOG_STEP * (mels - _BREAK_MEL))
        corners = torch.where(mels >= _BREAK_MEL, above, _HZ_PER_MEL * mels)
    bins = torch.linspace(0.0, sample_rate / 2.0, n_freqs, device=device, dtype=dtype)
    widths = corners.diff()[:, None]
    rising = (bins - corners[:-2, None]) / widths[:-1]
    falling = (corners[2:, None] - bins) / widths[1:]
    bank = torch.minimum(rising, falling).clamp(min=0.0)
    if norm == "slaney":
        bank = bank * (2.0 / (corners[2:] - corners[:-2]).clamp(min=torch.finfo(dtype).eps))[:, None]
    return bank.contiguous()


def _to_mel(frequency: torch.Tensor, mel_scale: MelScale) -> torch.Tensor:
    if mel_scale == "htk":
        return 2595.0 * torch.log10(1.0 + frequency / 700.0)
    if frequency >= _BREAK_HZ:
        return _BREAK_MEL + torch.log(frequency / _BREAK_HZ) / _LOG_STEP
    return frequency / _HZ_PER_MEL


def amplitude_to_db(
    x: torch.Tensor,
    *,
    stype: Literal["power", "magnitude"] = "power",
    top_db: float | None = 80.0,
    amin: float = 1e-10,
) -> torch.Tensor:
    """``10 log10(max(x, amin))`` (20 for magnitudes), at most `top_db` below the maximum of each example.

    An example is what the last two axes hold, all of `x` where it has one axis only.
    """
    decibel = (10.0 if stype == "power" else 20.0) * torch.log10(x.clamp(min=float(amin)))
    if top_db is None:
        return decibel
    axes = (-2, -1) if x.dim() >= 2 else (0,)
    return torch.maximum(decibel, decibel.amax(dim=axes, keepdim=True) - float(top_db))


def _logarithm(x: torch.Tensor, amin: float, mode: str) -> torch.Tensor:
    if mode == "clamp":
        return torch.log(x.clamp(min=amin))
    if mode == "add":
        return torch.log(x + amin)
    return torch.log1p(x / amin)


def _scaled(mel: torch.Tensor, scale: str, amin: float, mode: str, top_db: float | None, power: float) -> torch.Tensor:
    if scale == "linear":
        return mel
    if scale == "log":
        return _logarithm(mel, amin, mode)
    return amplitude_to_db(mel, stype="magnitude" if power == 1.0 else "power", top_db=top_db)


def _check_scales(op: str, output_scale: str, log_mode: str) -> None:
    if output_scale not in ("linear", "log", "db"):
        raise InvalidArgument(f"{op}: output_scale must be 'linear', 'log' or 'db', got {output_scale!r}")
    if output_scale == "log" and log_mode not in ("clamp", "add", "log1p"):
        raise InvalidArgument(f"{op}: log_mode must be 'clamp', 'add' or 'log1p', got {log_mode!r}")


def check_waveform(op: str, x: torch.Tensor) -> torch.Tensor:
    """`x` as ``[T]`` or ``[B, T]`` of at least float32."""
    if x.dim() not in (1, 2):
        raise InvalidArgument(f"{op}: waveform must be [T] or [B, T], got shape {tuple(x.shape)}")
    if not x.is_floating_point():
        raise InvalidType(f"{op}: waveform must be floating-point, got {x.dtype}")
    return x.to(inner_dtype(x))


def inner_dtype(x: torch.Tensor) -> torch.dtype:
    """What `x` is computed in: half precision in float32, the rest as it is."""
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype


def _window(
    op: str, window: torch.Tensor | None, length: int, x: torch.Tensor, window_fn: Callable[..., torch.Tensor]
) -> torch.Tensor:
    if window is not None:
        if window.dim() != 1:
            raise InvalidArgument(f"{op}: window must be 1-D, got shape {tuple(window.shape)}")
        return window.to(device=x.device, dtype=x.dtype)
    if window_fn is torch.hann_window:
        return hann(length, x.device, x.dtype)
    return window_fn(length, periodic=True, device=x.device, dtype=x.dtype)


def _power_spectrum(
    x: torch.Tensor,
    n_fft: int,
    hop: int,
    win_length: int,
    window: torch.Tensor,
    center: bool,
    pad_mode: str,
    power: float,
) -> torch.Tensor:
    """``|X|^power`` as ``[..., bins, frames]``."""
    ours = engine(x, window)
    if power > 0.0 and ours is not None:
        return ours.spectrogram(
            x,
            n_fft=n_fft,
            hop_length=hop,
            win_length=win_length,
            window=window,
            power=power,
            center=center,
            pad_mode=pad_mode,
        )
    spectrum = torch.stft(
        x, n_fft, hop, win_length, window, center=center, pad_mode=pad_mode, onesided=True, return_complex=True
    )
    if power == 2.0:
        return spectrum.real.square() + spectrum.imag.square()
    magnitude = spectrum.abs()
    return magnitude if power == 1.0 else magnitude.pow(power)


def _projected(spectrum: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
    """Filters ``[bins, bands]`` over ``[..., bins, frames]``."""
    return torch.matmul(spectrum.transpose(-2, -1), bank).transpose(-2, -1)


def _normalization(normalized: bool, n_fft: int, power: float) -> float:
    return n_fft ** (-power / 2.0) if normalized else 1.0


def dynamic_spectrogram(
    x: torch.Tensor,
    *,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    window: torch.Tensor | None = None,
    center: bool = True,
    pad_mode: Literal["constant", "reflect"] = "constant",
    power: float = 1.0,
    normalized: bool = False,
    keyshift: float = 0.0,
    speed: float = 1.0,
    target_n_freqs: int | None = None,
    magnitude_eps: float = 0.0,
    use_public_stft: bool = False,
    window_fn: Callable[..., torch.Tensor] = torch.hann_window,
    use_mps_kernels: bool = True,
) -> torch.Tensor:
    """Spectrogram of a signal sung `keyshift` semitones higher and played `speed` times as fast.

    Parameters
    ----------
    x : torch.Tensor
        ``[T]`` or ``[B, T]``, floating-point.
    n_fft, hop_length, win_length
        For keyshift 0 and speed 1; sizes go with ``2^(keyshift / 12)``, the hop with `speed`, all rounded.
    window : torch.Tensor, optional
        Of the changed win_length; from `window_fn`.
    target_n_freqs : int, optional
        Bins of the result: cut, or filled with zeros, and scaled by the change of win_length.
    magnitude_eps : float
        Added under the root for power 1, to the result otherwise.
    center, pad_mode, power, normalized, window_fn
        As in :func:`mel_spectrogram`.
    use_public_stft, use_mps_kernels : bool
        Accepted, without effect.

    Returns
    -------
    torch.Tensor
        ``[..., bins, frames]`` in float32 or wider.
    """
    op = "dynamic_spectrogram"
    x = check_waveform(op, x)
    factor = 2.0 ** (float(keyshift) / 12.0)
    reference = int(win_length or n_fft)
    size, length = (max(1, round(int(n) * factor)) for n in (n_fft, reference))
    hop = max(1, round(int(hop_length) * float(speed)))
    values = _window(op, window, length, x, window_fn)
    power, eps = float(power), float(magnitude_eps)
    if eps != 0.0 and power == 1.0:
        result = torch.sqrt(_power_spectrum(x, size, hop, length, values, bool(center), pad_mode, 2.0) + eps)
    else:
        result = _power_spectrum(x, size, hop, length, values, bool(center), pad_mode, power)
        if eps != 0.0:
            result = result + eps
    scale = _normalization(normalized, size, power)
    if target_n_freqs is not None:
        target = int(target_n_freqs)
        if result.shape[-2] != target:
            result = F.pad(result, (0, 0, 0, target - result.shape[-2]))
        scale *= reference / length
    return result if scale == 1.0 else result * scale


def mel_spectrogram(
    x: torch.Tensor,
    *,
    sample_rate: int,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    window: torch.Tensor | None = None,
    pad: int = 0,
    center: bool = True,
    pad_mode: Literal["constant", "reflect"] = "constant",
    power: float = 2.0,
    normalized: bool = False,
    n_mels: int = 128,
    f_min: float = 0.0,
    f_max: float | None = None,
    norm: MelNorm = None,
    mel_scale: MelScale = "htk",
    output_scale: MelOutputScale = "db",
    log_amin: float = 1e-5,
    log_mode: LogMelMode = "clamp",
    top_db: float | None = 80.0,
    window_fn: Callable[..., torch.Tensor] = torch.hann_window,
    use_mps_kernels: bool = True,
    _projection_fbanks: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mel spectrogram, in one pass from the samples where no gradient is needed.

    Parameters
    ----------
    x : torch.Tensor
        ``[T]`` or ``[B, T]``, floating-point; half precision is computed in float32.
    sample_rate : int
        Hz.
    n_fft, hop_length, win_length
        As in stft; win_length None is n_fft.
    window : torch.Tensor, optional
        `win_length` values; from `window_fn`, called as ``window_fn(win_length, periodic=True, device=, dtype=)``.
    pad : int
        Zeros put on both sides first.
    center, pad_mode
        Whether, and with what, ``n_fft // 2`` samples are put on both sides; "constant" is zeros.
    power : float
        Of the magnitude.
    normalized : bool
        Times ``n_fft^(-power / 2)``.
    n_mels, f_min, f_max, norm, mel_scale
        As in :func:`melscale_fbanks`; f_max None is half the rate.
    output_scale : {"db", "log", "linear"}
        "db" as :func:`amplitude_to_db`; "log" by `log_mode` and `log_amin`.
    log_mode : {"clamp", "add", "log1p"}
        ``ln max(v, log_amin)``, ``ln(v + log_amin)``, ``ln(1 + v / log_amin)``.
    top_db : float, optional
        For "db", of each example.
    use_mps_kernels : bool
        Accepted, without effect.

    Returns
    -------
    torch.Tensor
        ``[..., n_mels, frames]``.

    Raises
    ------
    ValueError
        For another rank, unknown names, pad < 0.
    TypeError
        If `x` is not floating-point.
    """
    op = "mel_spectrogram"
    x = check_waveform(op, x)
    _check_scales(op, output_scale, log_mode)
    if pad_mode not in ("constant", "reflect"):
        raise InvalidArgument(f"{op}: pad_mode must be 'constant' or 'reflect', got {pad_mode!r}")
    if int(pad) < 0:
        raise InvalidArgument(f"{op}: pad must be non-negative, got {int(pad)}")
    n_fft, hop, power = whole(op, "n_fft", n_fft), whole(op, "hop_length", hop_length), float(power)
    length = int(win_length or n_fft)
    values = _window(op, window, length, x, window_fn)
    bank = _projection_fbanks
    if bank is None:
        bank = melscale_fbanks(
            n_freqs=n_fft // 2 + 1,
            f_min=f_min,
            f_max=float(sample_rate) / 2.0 if f_max is None else f_max,
            n_mels=n_mels,
            sample_rate=sample_rate,
            norm=norm,
            mel_scale=mel_scale,
            device=x.device,
            dtype=x.dtype,
        ).t()
    log_amin = float(log_amin)
    ours = engine(x, values, bank)
    if power > 0.0 and (output_scale != "log" or log_amin > 0.0) and ours is not None:
        scale, mul, add, amin = _fused_scale(output_scale, log_mode, log_amin)
        return ours.filtered_spectrogram(
            x,
            filterbank=bank,
            n_fft=n_fft,
            hop_length=hop,
            win_length=length,
            window=values,
            power=power,
            normalized="frame_length" if normalized else False,
            center=bool(center),
            pad_mode=pad_mode,
            pad=int(pad),
            output_scale=scale,
            mul=mul,
            add=add,
            amin=amin,
            top_db=top_db if output_scale == "db" else None,
        )
    if pad:
        x = F.pad(x, (int(pad), int(pad)))
    spectrum = _power_spectrum(x, n_fft, hop, length, values, bool(center), pad_mode, power)
    if normalized:
        spectrum = spectrum * _normalization(normalized, n_fft, power)
    return _scaled(_projected(spectrum, bank), output_scale, log_amin, log_mode, top_db, power)


def _fused_scale(output_scale: str, log_mode: str, log_amin: float) -> tuple[str, float, float, float]:
    """`output_scale`, `mul`, `add` and `amin` of melisma.filtered_spectrogram."""
    if output_scale == "linear":
        return "linear", 1.0, 0.0, 1e-10
    if output_scale == "db":
        return "db", 1.0, 0.0, 1e-10
    if log_mode == "clamp":
        return "ln", 1.0, 0.0, log_amin
    if log_mode == "add":
        return "ln", 1.0, log_amin, log_amin  # v >= 0: the floor is never above v + log_amin
    return "log1p", 1.0 / log_amin, 0.0, 1e-10


def dynamic_mel_spectrogram(
    x: torch.Tensor,
    *,
    sample_rate: int,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    center: bool = True,
    pad_mode: Literal["constant", "reflect"] = "constant",
    power: float = 1.0,
    normalized: bool = False,
    n_mels: int = 128,
    f_min: float = 0.0,
    f_max: float | None = None,
    norm: MelNorm = None,
    mel_scale: MelScale = "htk",
    output_scale: MelOutputScale = "linear",
    log_amin: float = 1e-5,
    log_mode: LogMelMode = "clamp",
    top_db: float | None = 80.0,
    keyshift: float = 0.0,
    speed: float = 1.0,
    mel_basis: torch.Tensor | None = None,
    magnitude_eps: float = 0.0,
    use_public_stft: bool = False,
    window_fn: Callable[..., torch.Tensor] = torch.hann_window,
    use_mps_kernels: bool = True,
) -> torch.Tensor:
    """Mel spectrogram over :func:`dynamic_spectrogram`, which has `keyshift`, `speed` and `magnitude_eps`.

    Parameters
    ----------
    mel_basis : torch.Tensor, optional
        Filters ``[n_mels, n_freqs]`` in place of those that the parameters describe.
    x, sample_rate, n_fft, hop_length, win_length, center, pad_mode, power, normalized, n_mels, f_min, f_max, norm, mel_scale
        As in :func:`mel_spectrogram`.
    output_scale, log_amin, log_mode, top_db, window_fn
        As in :func:`mel_spectrogram`.
    keyshift, speed, magnitude_eps, use_public_stft, use_mps_kernels
        As in :func:`dynamic_spectrogram`.

    Returns
    -------
    torch.Tensor
        ``[..., n_mels, frames]``.

    Raises
    ------
    ValueError
        If `mel_basis` is not 2-D, and as :func:`mel_spectrogram`.
    """
    op = "dynamic_mel_spectrogram"
    x = check_waveform(op, x)
    _check_scales(op, output_scale, log_mode)
    if mel_basis is None:
        bank = melscale_fbanks(
            n_freqs=int(n_fft) // 2 + 1,
            f_min=f_min,
            f_max=float(sample_rate) / 2.0 if f_max is None else f_max,
            n_mels=n_mels,
            sample_rate=sample_rate,
            norm=norm,
            mel_scale=mel_scale,
            device=x.device,
            dtype=x.dtype,
        )
    elif mel_basis.dim() != 2:
        raise InvalidArgument(f"{op}: mel_basis must be [n_mels, n_freqs], got shape {tuple(mel_basis.shape)}")
    else:
        bank = mel_basis.to(device=x.device, dtype=x.dtype)
    spectrum = dynamic_spectrogram(
        x,
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=win_length,
        center=center,
        pad_mode=pad_mode,
        power=power,
        normalized=normalized,
        keyshift=keyshift,
        speed=speed,
        target_n_freqs=bank.shape[1],
        magnitude_eps=magnitude_eps,
        window_fn=window_fn,
    )
    return _scaled(_projected(spectrum, bank.t()), output_scale, float(log_amin), log_mode, top_db, float(power))


from ._transforms import (  # noqa: E402  (the modules are built on the functions above)
    CompatMelSpectrogramTransform,
    DynamicMelSpectrogramTransform,
    LogMelSpectrogramTransform,
    MelSpectrogramTransform,
)
