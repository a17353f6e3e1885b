"""Checks of plain options, and the parameter objects of the C++ library made from them.

Each distinct set of options is checked and turned into its object once: `functools.lru_cache` on the options themselves.
"""

import math
import operator
from functools import lru_cache
from typing import Any

import numpy as np

from . import _core
from .errors import InvalidArgument, InvalidType

_INT_LIMIT = 2**62
PCM_SCALE = 1 / 32768  # of int16 samples: +-1
SMALLEST_ENVELOPE = 1e-11  # torch.istft's limit of the overlap-added squared window


def integer(op: str, name: str, value: Any, low: int) -> int:
    """`value` as an int of at least `low`."""
    if isinstance(value, (bool, np.bool_)):
        raise InvalidType(f"{op}: {name} must be an integer, got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise InvalidType(f"{op}: {name} must be an integer, got {value!r}") from None
    if not low <= number < _INT_LIMIT:
        limit = f">= {low}" if number < low else "below 2**62"
        raise InvalidArgument(f"{op}: {name} must be {limit}, got {number}")
    return number


def number(op: str, name: str, value: Any) -> float:
    """`value` as a finite float."""
    if isinstance(value, (bool, np.bool_, str, bytes)):
        raise InvalidType(f"{op}: {name} must be a number, got {value!r}")
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidType(f"{op}: {name} must be a number, got {value!r}") from None
    if not -math.inf < result < math.inf:  # math.isfinite cannot be traced by torch.compile
        raise InvalidArgument(f"{op}: {name} must be finite, got {result}")
    return result


def boolean(op: str, name: str, value: Any) -> bool:
    """`value` as a bool; 0 and 1 count as such."""
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise InvalidType(f"{op}: {name} must be True or False, got {value!r}")


def choice(op: str, name: str, value: Any, choices: Any) -> Any:
    """The enum member called `value`."""
    members = {member.name: member for member in choices}
    if not isinstance(value, str):
        raise InvalidType(f"{op}: {name} must be one of {sorted(members)}, got {value!r}")
    if value not in members:
        raise InvalidArgument(f"{op}: {name} must be one of {sorted(members)}, got {value!r}")
    return members[value]


def renamed(error: ValueError | TypeError, op: str) -> Exception:
    """The error of an inner operator in the name of the one that the user called."""
    return type(error)(f"{op}: {str(error).partition(': ')[2]}")


def hashable(op: str, **options: Any) -> None:
    """Raise the error for the first option that is a list, dict, array or the like."""
    for name, value in options.items():
        try:
            hash(value)
        except TypeError:
            raise InvalidType(f"{op}: {name} must be a plain value, got {type(value).__name__}") from None


def frame_params(
    op: str,
    n_fft: Any,
    hop_length: Any,
    win_length: Any,
    center: Any,
    pad_mode: Any,
    pad: Any = 0,
    input_scale: Any = 1.0,
    hop_of_window: bool = False,
) -> Any:
    """FrameParams. hop_of_window: the default hop is half the window (torchaudio), else a quarter of n_fft (torch)."""
    frames = _core.FrameParams()
    frames.n_fft = integer(op, "n_fft", n_fft, 1)
    frames.win_length = frames.n_fft if win_length is None else integer(op, "win_length", win_length, 1)
    if hop_length is None:
        default = frames.win_length // 2 if hop_of_window else frames.n_fft // 4
        if default < 1:
            raise InvalidArgument(f"{op}: hop_length must be given for n_fft = {frames.n_fft}, got None")
        frames.hop_length = default
    else:
        frames.hop_length = integer(op, "hop_length", hop_length, 1)
    frames.center = boolean(op, "center", center)
    if pad_mode is None and not frames.center:
        pad_mode = "constant"  # nothing is padded; torch accepts None here too
    frames.pad_mode = choice(op, "pad_mode", pad_mode, _core.PadMode)
    frames.pad = integer(op, "pad", pad, 0)
    frames.input_scale = number(op, "pcm_scale", input_scale)
    return frames


@lru_cache(maxsize=512, typed=True)
def stft_params(
    n_fft: Any,
    hop_length: Any,
    win_length: Any,
    center: Any,
    pad_mode: Any,
    normalized: Any,
    onesided: Any,
    align_to_window: Any,
    complex_input: bool,
    pcm: bool,
    layout: Any,
) -> Any:
    """StftParams for torch.stft's options."""
    op = "stft"
    params = _core.StftParams()
    frames = frame_params(op, n_fft, hop_length, win_length, center, pad_mode, 0, PCM_SCALE if pcm else 1.0)
    if align_to_window is not None:
        if frames.center:
            raise InvalidArgument(f"{op}: align_to_window must be None where center is True, got {align_to_window!r}")
        frames.align_to_window = boolean(op, "align_to_window", align_to_window)
    params.frames = frames
    params.normalized = boolean(op, "normalized", normalized)
    params.onesided = not complex_input if onesided is None else boolean(op, "onesided", onesided)
    params.layout = choice(op, "layout", layout, _core.Layout)
    return params


@lru_cache(maxsize=512, typed=True)
def istft_params(
    n_fft: Any,
    hop_length: Any,
    win_length: Any,
    center: Any,
    normalized: Any,
    onesided: Any,
    length: Any,
    edge: Any,
    layout: Any,
    bins: int,
) -> Any:
    """IstftParams for torch.istft's options; onesided None is told from the number of bins, as torch does."""
    op = "istft"
    frames = frame_params(op, n_fft, hop_length, win_length, center, "constant")
    params = _core.IstftParams()
    params.n_fft = frames.n_fft
    params.hop_length = frames.hop_length
    params.win_length = frames.win_length
    params.center = frames.center
    params.normalized = boolean(op, "normalized", normalized)
    params.onesided = bins != frames.n_fft if onesided is None else boolean(op, "onesided", onesided)
    params.length = -1 if length is None else integer(op, "length", length, 0)
    params.edge = choice(op, "edge", edge, _core.EdgePolicy)
    params.layout = choice(op, "layout", layout, _core.Layout)
    return params


def _spectrum_norm(op: str, normalized: Any) -> Any:
    if normalized is False or normalized is None:
        return _core.SpectrumNorm.none
    if normalized is True or normalized == "window":
        return _core.SpectrumNorm.window
    if normalized == "frame_length":
        return _core.SpectrumNorm.frame_length
    raise InvalidArgument(f"{op}: normalized must be False, True, 'window' or 'frame_length', got {normalized!r}")


@lru_cache(maxsize=512, typed=True)
def spectrogram_params(
    op: str,
    n_fft: Any,
    hop_length: Any,
    win_length: Any,
    power: Any,
    normalized: Any,
    center: Any,
    pad_mode: Any,
    pad: Any,
    input_scale: Any,
    layout: Any,
    nyquist: bool = True,
) -> Any:
    """SpectrogramParams for torchaudio's options."""
    params = _core.SpectrogramParams()
    params.frames = frame_params(
        op, n_fft, hop_length, win_length, center, pad_mode, pad, input_scale, hop_of_window=True
    )
    params.power = number(op, "power", power)
    params.norm = _spectrum_norm(op, normalized)
    params.nyquist = nyquist
    params.layout = choice(op, "layout", layout, _core.Layout)
    return params


@lru_cache(maxsize=128, typed=True)
def mel_bank(
    op: str, bins: int, sample_rate: Any, n_mels: Any, f_min: Any, f_max: Any, mel_scale: Any, norm: Any
) -> Any:
    """The mel FilterBank."""
    if norm not in (None, "slaney"):
        raise InvalidArgument(f"{op}: norm must be None or 'slaney', got {norm!r}")
    if f_max is not None:
        f_max = number(op, "f_max", f_max)
        if f_max < 0:
            raise InvalidArgument(f"{op}: f_max must be above f_min = {f_min} Hz, got {f_max}")
    options = {
        "sample_rate": number(op, "sample_rate", sample_rate),
        "n_mels": integer(op, "n_mels", n_mels, 1),
        "f_min": number(op, "f_min", f_min),
        "f_max": -1.0 if f_max is None else f_max,
        "scale": choice(op, "mel_scale", mel_scale, _core.MelScale),
        "norm": _core.MelNorm.slaney if norm == "slaney" else _core.MelNorm.none,
    }
    try:
        return _core.FilterBank.mel(bins=bins, **options)
    except (InvalidArgument, InvalidType) as error:
        raise renamed(error, op) from None


@lru_cache(maxsize=128, typed=True)
def log_bank(
    op: str,
    bins: int,
    sample_rate: Any,
    num_bands: Any,
    f_min: Any,
    f_max: Any,
    f_ref: Any,
    norm_filters: Any,
    unique_filters: Any,
) -> Any:
    """The logarithmic FilterBank."""
    options = {
        "sample_rate": number(op, "sample_rate", sample_rate),
        "bands_per_octave": integer(op, "num_bands", num_bands, 1),
        "f_min": number(op, "f_min", f_min),
        "f_max": number(op, "f_max", f_max),
        "f_ref": number(op, "f_ref", f_ref),
        "norm_filters": boolean(op, "norm_filters", norm_filters),
        "unique_filters": boolean(op, "unique_filters", unique_filters),
    }
    try:
        return _core.FilterBank.logarithmic(bins=bins, **options)
    except (InvalidArgument, InvalidType) as error:
        raise renamed(error, op) from None


LogConstants = tuple[float, float, float, float, float]


def log_constants(
    op: str, log: Any, power: Any, mul: Any, add: Any, amin: Any, ref: Any, top_db: Any
) -> tuple[LogConstants | None, float]:
    """A named logarithm (linear, ln, log10, log1p, db) as ``scale * ln(max(mul * v + add, floor)) + offset``.

    Gives (scale, mul, add, floor, offset), or None for linear, and the clipping range. Plain Python, for tracers.
    """
    names = ("linear", "ln", "log10", "log1p", "db")
    if log not in names:
        raise InvalidArgument(f"{op}: the output scale must be one of {sorted(names)}, got {log!r}")
    top = math.inf
    if top_db is not None:
        if log == "linear":
            raise InvalidArgument(f"{op}: top_db must be None on a linear scale, got {top_db!r}")
        top = number(op, "top_db", top_db)
        if top < 0:
            raise InvalidArgument(f"{op}: top_db must be >= 0, got {top}")
    if log == "linear":
        return None, top
    scale, offset = 1.0, 0.0
    mul, add, floor = number(op, "mul", mul), number(op, "add", add), number(op, "amin", amin)
    reference = number(op, "ref", ref)
    if reference <= 0:
        raise InvalidArgument(f"{op}: ref must be > 0, got {reference}")
    if log == "log10":
        scale = 1 / math.log(10)
    elif log == "log1p":
        add, floor = add + 1.0, 0.0
    elif log == "db":
        decibels = 20.0 if power == 1 else 10.0  # of an amplitude or of a power
        scale = decibels / math.log(10)
        if floor <= 0:
            raise InvalidArgument(f"{op}: amin must be > 0, got {floor}")
        offset = -decibels * math.log10(max(floor, reference))
    if floor <= 0 and add <= 0:
        raise InvalidArgument(f"{op}: amin must be > 0 where add is not, got {floor}")
    return (scale, mul, add, floor, offset), top


@lru_cache(maxsize=512, typed=True)
def log_params(
    op: str, log: Any, power: Any, mul: Any, add: Any, amin: Any, ref: Any, top_db: Any, top_db_scope: Any
) -> Any:
    """LogParams of a named logarithm."""
    constants, top = log_constants(op, log, power, mul, add, amin, ref, top_db)
    params = _core.LogParams()
    params.top_scope = choice(op, "top_db_scope", top_db_scope, _core.TopScope)
    params.top = top
    if constants is not None:
        params.enabled = True
        params.scale, params.mul, params.add, params.floor, params.offset = constants
    return params


@lru_cache(maxsize=64, typed=True)
def named_window(name: str, length: int) -> np.ndarray:
    """A periodic window by name, float64, read-only."""
    window = _core.make_window(name, length, True, 12.0)
    window.flags.writeable = False
    return window
