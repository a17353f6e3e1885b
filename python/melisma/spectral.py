"""The short-time Fourier transform and its inverse, and what every operator's call is made of."""

from typing import Any

import numpy as np

from . import _core, _device, _options
from ._arrays import Wrap, take, torch_operators
from ._device import DeviceArray
from .errors import InvalidArgument, InvalidType

_COMPLEX = "c"


def window_array(op: str, window: Any, length: Any) -> Any:
    """A window given as array or by name, as :func:`._arrays.take` gives it; None stays None (ones)."""
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


def call(op: str, out: Any, wrap: Wrap, array: Any, window: Any, *args: Any) -> Any:
    """Run the C++ operator on a new array or on the caller's."""
    if type(array) is DeviceArray:
        return _call_on_device(op, out, wrap, array, window, *args)
    if type(window) is DeviceArray:
        raise InvalidType(f"{op}: window must be on the CPU as the input is, got one on a GPU")
    if out is None:
        return wrap(getattr(_core, op)(array, window, *args, None))
    if type(out) is Explain:
        out.result = getattr(_core, f"explain_{op}")(array, window, *args)
    else:
        getattr(_core, op)(array, window, *args, take(out, op, "out")[0])
    return out


def _call_on_device(op: str, out: Any, wrap: Wrap, array: DeviceArray, *args: Any) -> Any:
    if out is None:
        return wrap(_device.call(op, None, array, *args))
    if type(out) is Explain:
        out.result = _device.explain(op, array, *args)
        return out
    result, _ = take(out, op, "out")
    if type(result) is not DeviceArray:
        raise InvalidType(f"{op}: out must be on the input's device, got an array on the CPU")
    _device.call(op, result, array, *args)
    return out


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
        ``[..., samples]``; int16 (times 1/32768), float32, float64, complex64 or complex128, any strides; on a GPU float16 and
        bfloat16 too.
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
    tensors = torch_operators(input, out)
    if tensors is not None:
        return tensors.stft(
            input,
            n_fft,
            hop_length,
            win_length,
            window,
            center,
            pad_mode,
            normalized,
            onesided,
            return_complex,
            align_to_window,
            layout=layout,
        )
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
    w = window if window is None else window_array("stft", window, params.frames.win_length)
    if return_complex is None or _options.boolean("stft", "return_complex", return_complex):
        return call("stft", out, wrap, array, w, params)
    if out is not None:
        raise InvalidArgument("stft: out must be None where return_complex is False")
    return wrap(_as_pairs(call("stft", None, lambda spectrum: spectrum, array, w, params)))


def _as_pairs(spectrum: Any) -> Any:
    """A complex array as real numbers with a last axis of two, without a copy."""
    if not isinstance(spectrum, np.ndarray):
        return _device.as_pairs(spectrum)
    real = spectrum.real
    return np.lib.stride_tricks.as_strided(
        real, shape=(*real.shape, 2), strides=(*real.strides, spectrum.dtype.itemsize // 2), writeable=True
    )


def _as_complex(pairs: Any) -> Any:
    """Real numbers with a last axis of two as complex ones; without a copy where memory holds them so."""
    if type(pairs) is DeviceArray:
        return _device.as_complex(pairs)
    complex_type = np.result_type(pairs.dtype, np.complex64)
    order = sorted(range(pairs.ndim - 1), key=lambda axis: -abs(pairs.strides[axis]))
    stored = pairs.transpose(*order, pairs.ndim - 1)  # as in memory: stft's result is stored frame by frame
    values = np.ascontiguousarray(stored).view(complex_type)[..., 0]
    return values.transpose(np.argsort(order))


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
        ``[..., bins, frames]`` complex64 or complex128, any strides, or real pairs ``[..., bins, frames, 2]``. Imaginary parts
        of the first and last bin are ignored.
    n_fft, hop_length, win_length, window, center, normalized, onesided
        As given to :func:`stft`.
    length : int, optional
        Samples of the result; what lies beyond the last frame is zero.
    return_complex : bool
        A complex signal, from a two-sided spectrum.
    edge : {"error", "zero", "clamp"}
        What to do with samples where the overlap-added squared window is below 1e-11 (``center=False`` with a window that
        vanishes at its ends): refuse as torch.istft, write zeros, or divide by 1e-11. On a GPU the refusal takes a window that
        the host knows: where it does not (see :mod:`melisma.torch`), "error" makes such samples NaN.
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
    tensors = torch_operators(input, out)
    if tensors is not None:
        return tensors.istft(
            input,
            n_fft,
            hop_length,
            win_length,
            window,
            center,
            normalized,
            onesided,
            length,
            return_complex,
            edge=edge,
            layout=layout,
        )
    array, wrap = take(input, "istft", "input")
    if array.dtype.kind == "f" and array.ndim >= 3 and array.shape[-1] == 2:
        array = _as_complex(array)
    if array.dtype.kind != _COMPLEX:
        raise InvalidType(
            "istft: input must be complex64 or complex128, or real pairs in a last axis of 2, "
            f"got {array.dtype} of shape {array.shape}"
        )
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
    w = window if window is None else window_array("istft", window, params.win_length)
    return call("istft", out, wrap, array, w, params, complex_result)
