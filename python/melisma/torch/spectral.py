"""The operators on PyTorch tensors: the same arguments as :mod:`melisma.spectral`, differentiable and compilable.

half and bfloat16 signals are computed in float32 and give complex64 or float32 (also under autocast); a GPU reads them as they
are. Errors are those of :mod:`melisma.errors`, which are RuntimeErrors as PyTorch's own are. What a GPU's memory holds is read
once at most: see :mod:`._host`.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch

from .. import _options
from .._options import PCM_SCALE
from ..errors import InvalidArgument, InvalidType, Unavailable
from . import (  # noqa: F401  (registers gradients, shapes and batching)
    _autograd,
    _composite,
    _constants,
    _fake,
    _host,
    _library,
    _vmap,
)

_HALF = (torch.float16, torch.bfloat16)
_INFINITE = float("inf")


def _computed(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in a dtype that the kernels compute in."""
    return tensor.float() if tensor.dtype in _HALF else tensor


def _signal(op: str, x: Any) -> torch.Tensor:
    if not isinstance(x, torch.Tensor):
        raise InvalidType(f"{op}: input must be a tensor, got {type(x).__name__}")
    return x.float() if x.dtype in _HALF and not x.is_cuda else x


class _Options:
    """An operator's options as the dispatcher takes them: defaults filled in, checked as the NumPy functions' are.

    Kept for each distinct set, so that a call costs one look-up. Traced options may be symbols: those are neither kept nor
    checked here but by the operator.
    """

    def __init__(self, check: Callable[..., Any], make: Callable[..., tuple[Any, ...]]) -> None:
        self._make = make

        @lru_cache(maxsize=512, typed=True)
        def kept(op: str, *options: Any) -> tuple[Any, ...]:
            check(op, *options)
            return make(op, *options)

        self._kept = kept

    def __call__(self, op: str, *options: Any) -> tuple[Any, ...]:
        if torch.compiler.is_compiling():
            return self._make(op, *options)
        try:
            return self._kept(op, *options)
        except TypeError as error:
            if isinstance(error, InvalidType):
                raise
            names = self._make.__code__.co_varnames[1 : 1 + len(options)]
            _options.hashable(op, **dict(zip(names, options, strict=True)))
            raise


def _window(op: str, window: Any, win_length: int, like: torch.Tensor) -> torch.Tensor | None:
    """The window as a float tensor; None stays None (ones)."""
    if isinstance(window, torch.Tensor):
        return window.float() if window.dtype in _HALF else window
    if window is None:
        return None
    if isinstance(window, str):
        try:
            return _constants.window(like, window, win_length)
        except InvalidArgument as error:
            raise InvalidArgument(f"{op}: window{str(error).partition(': name')[2]}") from None
    return _constants.from_array(like, window)


def _refused(error: Exception, op: str, **tensors: Any) -> Exception:
    """The library's error as the exception that says what kind it is."""
    if isinstance(error, (InvalidArgument, InvalidType)):
        return error
    for name, tensor in tensors.items():
        if isinstance(tensor, torch.Tensor) and (tensor.layout is not torch.strided or tensor.is_quantized):
            kind = "a quantized one" if tensor.is_quantized else f"layout {tensor.layout}"
            return InvalidType(f"{op}: {name} must be a dense tensor, got {kind}")
    message = str(error)
    if message.startswith("unavailable: "):
        return Unavailable(message.partition(": ")[2])
    if not message.startswith(f"{op}: "):
        return error
    types = (" must be int16", " must be float32 or float64", " must be on the ")
    return InvalidType(message) if any(text in message for text in types) else InvalidArgument(message)


def _framing(op: str, n_fft: Any, hop_length: Any, win_length: Any, hop_of_window: bool) -> tuple[Any, Any, Any]:
    """n_fft, hop_length and win_length with their defaults."""
    win = n_fft if win_length is None else win_length
    if hop_length is not None:
        return n_fft, hop_length, win
    hop = win // 2 if hop_of_window else n_fft // 4
    if hop < 1:
        raise InvalidArgument(f"{op}: hop_length must be given for n_fft = {n_fft}, got None")
    return n_fft, hop, win


def _frame_major(op: str, layout: Any) -> bool:
    if layout not in ("frequency_major", "frame_major"):
        raise InvalidArgument(f"{op}: layout must be one of ['frame_major', 'frequency_major'], got {layout!r}")
    return bool(layout == "frame_major")


def _stft_options(
    op: str,
    n_fft: Any,
    hop_length: Any,
    win_length: Any,
    center: Any,
    pad_mode: Any,
    normalized: Any,
    onesided: Any,
    align_to_window: Any,
    two_sided: bool,
    layout: Any,
) -> tuple[Any, ...]:
    return (
        *_framing(op, n_fft, hop_length, win_length, False),
        bool(center),
        "constant" if pad_mode is None and not center else pad_mode,
        bool(normalized),
        not two_sided if onesided is None else bool(onesided),
        bool(align_to_window),
        _frame_major(op, layout),
    )


_of_stft = _Options(
    lambda op, *options: _options.stft_params(*options[:-1], False, options[-1]),
    _stft_options,
)


def stft(
    input: torch.Tensor,
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
) -> torch.Tensor:
    """Short-time Fourier transform of a tensor; see :func:`melisma.stft`. Differentiable in `input` and `window`."""
    x = _signal("stft", input)
    complex_window = isinstance(window, torch.Tensor) and window.is_complex()
    if complex_window and onesided:
        raise InvalidArgument("stft: onesided must be False for a complex window, got True")
    try:
        options = _of_stft(
            "stft",
            n_fft,
            hop_length,
            win_length,
            center,
            pad_mode,
            normalized,
            onesided,
            align_to_window,
            complex_window or x.is_complex(),
            layout,
        )
        w = _window("stft", window, options[2], x)
        result = _composite.stft(x, w, *options) if complex_window else _library.call(_library.stft, (x, w), *options)
    except RuntimeError as error:
        raise _refused(error, "stft", input=x, window=window) from None
    return result if return_complex is None or return_complex else torch.view_as_real(result)


def _istft_options(
    op: str,
    n_fft: Any,
    hop_length: Any,
    win_length: Any,
    center: Any,
    normalized: Any,
    onesided: Any,
    length: Any,
    edge: Any,
    layout: Any,
    bins: Any,
    return_complex: Any,
) -> tuple[Any, ...]:
    return (
        *_framing(op, n_fft, hop_length, win_length, False),
        bool(center),
        bool(normalized),
        bins != n_fft if onesided is None else bool(onesided),
        length,
        bool(return_complex),
        edge,
        _frame_major(op, layout),
    )


_of_istft = _Options(
    lambda op, *options: (
        _options.istft_params(*options[:-1]),
        _options.boolean(op, "return_complex", options[-1]),
    ),
    _istft_options,
)


def istft(
    input: torch.Tensor,
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
) -> torch.Tensor:
    """Inverse short-time Fourier transform of a tensor; see :func:`melisma.istft`.

    A real `input` is taken as pairs ``[..., bins, frames, 2]``. Differentiable in `input` and `window`.
    """
    if not isinstance(input, torch.Tensor):
        raise InvalidType(f"istft: input must be a tensor, got {type(input).__name__}")
    spectrum = _computed(input)
    if not spectrum.is_complex() and spectrum.layout is torch.strided:
        if spectrum.ndim < 3 or spectrum.shape[-1] != 2 or not spectrum.is_floating_point():
            raise InvalidType(
                f"istft: input must be complex64 or complex128, or real pairs in a last axis of 2, got {input.dtype} of "
                f"shape {tuple(input.shape)}"
            )
        spectrum = torch.view_as_complex(spectrum.contiguous())
    if spectrum.ndim < 2:
        raise InvalidArgument(f"istft: input must have at least 2 dimensions [bins, frames], got {spectrum.ndim}")
    try:
        options = _of_istft(
            "istft",
            n_fft,
            hop_length,
            win_length,
            center,
            normalized,
            onesided,
            length,
            edge,
            layout,
            spectrum.shape[-1 if layout == "frame_major" else -2],
            return_complex,
        )
        w = _window("istft", window, options[2], spectrum)
        if spectrum.is_cuda and edge == "error":
            _check_envelope(window if isinstance(window, torch.Tensor) else w, options, spectrum.shape)
        if w is None or not w.is_complex():
            return _library.call(_library.istft, (spectrum, w), *options)
        one_sided = options[5]
        if one_sided or not return_complex:
            raise InvalidArgument(
                "istft: onesided must be False and return_complex True for a complex window, "
                f"got onesided = {one_sided}, return_complex = {return_complex}"
            )
        return _composite.istft(spectrum, w, *options)
    except RuntimeError as error:
        raise _refused(error, "istft", input=input, window=window) from None


def _check_envelope(window: torch.Tensor | None, options: tuple[Any, ...], shape: torch.Size) -> None:
    if torch.compiler.is_compiling() or (window is not None and window.requires_grad and torch.is_grad_enabled()):
        return  # a compiled graph asks no host; the composition for trained windows has an assertion of its own
    _host.check_envelope(window, options, shape[-2 if options[-1] else -1])


def _norm(op: str, normalized: Any) -> str:
    if normalized is False or normalized is None:
        return "none"
    if normalized is True or normalized == "window":
        return "window"
    if normalized == "frame_length":
        return "frame_length"
    raise InvalidArgument(f"{op}: normalized must be False, True, 'window' or 'frame_length', got {normalized!r}")


def _spectrogram_options(
    op: str,
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
) -> tuple[Any, ...]:
    return (
        *_framing(op, n_fft, hop_length, win_length, True),
        power,
        _norm(op, normalized),
        bool(center),
        "constant" if pad_mode is None and not center else pad_mode,
        pad,
        pcm_scale,
        _frame_major(op, layout),
    )


_of_spectrogram = _Options(_options.spectrogram_params, _spectrogram_options)


def spectrogram(
    x: torch.Tensor,
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
) -> torch.Tensor:
    """Magnitude spectrogram of a tensor; see :func:`melisma.spectrogram`. Differentiable in `x` and `window`."""
    op = "spectrogram"
    signal = _signal(op, x)
    try:
        options = _of_spectrogram(
            op, n_fft, hop_length, win_length, power, normalized, center, pad_mode, pad, pcm_scale, layout
        )
        return _library.call(_library.spectrogram, (signal, _window(op, window, options[2], signal)), *options)
    except RuntimeError as error:
        raise _refused(error, op, input=x, window=window) from None


# known: the bank as the caller gave it, by which the host may know its values.
def _filtered(
    op: str,
    x: Any,
    filterbank: torch.Tensor,
    known: torch.Tensor,
    n_fft: Any,
    hop_length: Any,
    win_length: Any,
    window: Any,
    power: Any,
    normalized: Any,
    center: Any,
    pad_mode: Any,
    pad: Any,
    pcm_scale: Any,
    layout: Any,
    constants: _options.LogConstants | None = None,
    top: float = _INFINITE,
    top_db_scope: Any = "item",
    float64: bool = False,
) -> torch.Tensor:
    signal = _signal(op, x)
    if top_db_scope not in ("item", "packed"):
        raise InvalidArgument(f"{op}: top_db_scope must be one of ['item', 'packed'], got {top_db_scope!r}")
    try:
        *options, frame_major = _of_spectrogram(
            op, n_fft, hop_length, win_length, power, normalized, center, pad_mode, pad, pcm_scale, layout
        )
        key = _host.bank_key(known) if signal.is_cuda and not torch.compiler.is_compiling() else 0
        return _library.call(
            _library.filtered_spectrogram,
            (signal, _window(op, window, options[2], signal), filterbank),
            *options,
            [] if constants is None else list(constants),
            top,
            top_db_scope == "packed",
            float64,
            frame_major,
            key,
        )
    except RuntimeError as error:
        if type(error) is RuntimeError:
            error = RuntimeError(str(error).replace("filtered_spectrogram: ", f"{op}: ", 1))
        raise _refused(error, op, input=x, window=window, filterbank=filterbank) from None


def mel_spectrogram(
    x: torch.Tensor,
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
) -> torch.Tensor:
    """Mel spectrogram of a tensor; see :func:`melisma.mel_spectrogram`. Differentiable in `x` and `window`."""
    op = "mel_spectrogram"
    bank = _constants.mel_bank(_signal(op, x), op, n_fft, sample_rate, n_mels, f_min, f_max, mel_scale, norm)
    return _filtered(
        op,
        x,
        bank,
        bank,
        n_fft,
        hop_length,
        win_length,
        window,
        power,
        normalized,
        center,
        pad_mode,
        pad,
        pcm_scale,
        layout,
    )


def log_mel(
    x: torch.Tensor,
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
) -> torch.Tensor:
    """Logarithm of a tensor's mel spectrogram; see :func:`melisma.log_mel`. Differentiable in `x` and `window`.

    The gradient is 0 where the logarithm's argument is at or below `amin`, so silence gives no NaN.
    """
    op = "log_mel"
    if log == "linear":
        raise InvalidArgument("log_mel: log must be one of ['db', 'ln', 'log10', 'log1p'], got 'linear'")
    bank = _constants.mel_bank(_signal(op, x), op, n_fft, sample_rate, n_mels, f_min, f_max, mel_scale, norm)
    constants, top = _options.log_constants(op, log, power, 1.0, add, amin, ref, top_db)
    return _filtered(
        op,
        x,
        bank,
        bank,
        n_fft,
        hop_length,
        win_length,
        window,
        power,
        normalized,
        center,
        pad_mode,
        pad,
        pcm_scale,
        layout,
        constants,
        top,
        top_db_scope,
    )


def filtered_spectrogram(
    x: torch.Tensor,
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
) -> torch.Tensor:
    """A tensor's filtered spectrogram; see :func:`melisma.filtered_spectrogram`.

    Differentiable in `x`, `window` and `filterbank`, which may be a trainable parameter.
    """
    op = "filtered_spectrogram"
    given = filterbank if isinstance(filterbank, torch.Tensor) else _constants.from_array(x, filterbank)
    size = n_fft if torch.compiler.is_compiling() else _options.integer(op, "n_fft", n_fft, 1)
    bank = _computed(given)
    if bank.ndim != 2:
        raise InvalidArgument(f"{op}: filterbank must be 2-D [bins, bands], got {bank.ndim}-D")
    rows = bank.shape[0]
    expected = (size // 2 + 1, size // 2) if include_nyquist is None else (size // 2 + bool(include_nyquist),)
    if rows not in expected:
        raise InvalidArgument(
            f"{op}: filterbank must have {n_fft // 2 + 1} rows (or {n_fft // 2} without Nyquist) for n_fft = {n_fft}, "
            f"got {rows}"
        )
    if precision not in ("float32", "float64"):
        raise InvalidArgument(f"{op}: precision must be 'float32' or 'float64', got {precision!r}")
    constants, top = _options.log_constants(op, output_scale, power, mul, add, amin, ref, top_db)
    return _filtered(
        op,
        x,
        bank,
        given,
        n_fft,
        hop_length,
        win_length,
        window,
        power,
        normalized,
        center,
        pad_mode,
        pad,
        pcm_scale,
        layout,
        constants,
        top,
        top_db_scope,
        precision == "float64",
    )
