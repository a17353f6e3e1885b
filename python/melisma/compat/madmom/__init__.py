"""madmom's logarithmic filtered spectrogram, without madmom."""

from functools import lru_cache
from typing import Any

import numpy as np

from ... import _core, _options, filters
from ..._arrays import take
from ...errors import InvalidArgument, InvalidType

__all__ = ["log_filtered_spectrogram"]

_OP = "log_filtered_spectrogram"


@lru_cache(maxsize=64, typed=True)
def _parameters(
    sample_rate: Any,
    frame_size: Any,
    fps: Any,
    num_bands: Any,
    fmin: Any,
    fmax: Any,
    norm_filters: Any,
    mul: Any,
    add: Any,
    pcm: bool,
) -> tuple[Any, Any, np.ndarray]:
    rate = _options.number(_OP, "sample_rate", sample_rate)
    per_second = _options.number(_OP, "fps", fps)
    for name, value in (("sample_rate", rate), ("fps", per_second)):
        if value <= 0:
            raise InvalidArgument(f"{_OP}: {name} must be > 0, got {value}")
    size = _options.integer(_OP, "frame_size", frame_size, 2)
    frames = _core.FrameParams()
    frames.n_fft = size
    frames.pad_mode = _core.PadMode.constant
    frames.tail = _core.FrameTail.covers
    frames.fractional_hop = rate / per_second
    frames.input_scale = 1 / 32767 if pcm else 1.0  # madmom divides by the largest int16, not by 2^15
    both = _core.FilteredSpectrogramParams()
    spectrogram = _core.SpectrogramParams()
    spectrogram.frames = frames
    spectrogram.power = 1.0
    spectrogram.nyquist = False
    spectrogram.layout = _core.Layout.frame_major
    both.spectrogram = spectrogram
    # As madmom's FFT: in float32 (any FFT's, ours or PyTorch's) quiet bands of a loud frame are up to 3.4e-6 off.
    both.float64 = True
    both.log = _options.log_params(_OP, "log10", 1.0, mul, add, 0.0, 1.0, None, "item")
    bank = _options.log_bank(_OP, size // 2, rate, num_bands, fmin, fmax, 440.0, norm_filters, True)
    return both, bank, filters.get_window("hann", size, periodic=False)


def log_filtered_spectrogram(
    x: Any,
    sample_rate: float = 44100,
    frame_size: int = 2048,
    fps: float = 100,
    num_bands: int = 12,
    fmin: float = 30,
    fmax: float = 17000,
    norm_filters: bool = True,
    mul: float = 1,
    add: float = 1,
) -> Any:
    """``log10(mul * filterbank(|X|) + add)`` as madmom's LogarithmicFilteredSpectrogramProcessor gives it.

    Parameters
    ----------
    x : array
        ``[..., samples]`` int16 (divided by 32767, as madmom does), float32 or float64.
    sample_rate : float
        Hz.
    frame_size : int
        Samples of a frame, even; frame i starts at ``int(i * sample_rate / fps) - frame_size / 2``, zeros beyond the ends.
    fps : float
        Frames per second.
    num_bands : int
        Filters per octave, centred on ``440 Hz * 2^(k / num_bands)`` between `fmin` and `fmax` (Hz).
    norm_filters : bool
        Divide each filter by its sum.
    mul, add : float
        Inside the logarithm.

    Returns
    -------
    array
        ``[..., frames, bands]`` float32 (float64 from float64), of the kind of `x`.
    """
    array, wrap = take(x, _OP, "x")
    options = {
        "sample_rate": sample_rate,
        "frame_size": frame_size,
        "fps": fps,
        "num_bands": num_bands,
        "fmin": fmin,
        "fmax": fmax,
        "norm_filters": norm_filters,
        "mul": mul,
        "add": add,
    }
    _options.hashable(_OP, **options)
    params, bank, window = _parameters(**options, pcm=array.dtype == np.int16)
    try:
        return wrap(_core.filtered_spectrogram(array, window, bank, params, None))
    except (InvalidArgument, InvalidType) as error:
        raise _options.renamed(error, _OP) from None
