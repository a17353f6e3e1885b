"""Arrays in a GPU's memory: CuPy's, those that CuPy can view (JAX and others with DLPack), and PyTorch's given as `out`.

A call runs on the current stream of the array's library and device. The library's own allocator gives result and working
memory, so that both are reused in the stream's order, and nothing waits for the device.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from . import _core
from .errors import InvalidArgument, InvalidType, Unavailable

_DLPACK_CUDA = (2, 13)  # kDLCUDA, kDLCUDAManaged
# No synchronisation with the stream on which the array was computed: it is the one that the call runs on.
_SAME_STREAM = -1


class DeviceArray:
    """An array on a GPU as the operators see it: dtype and shape as NumPy's, and the library that owns the memory."""

    __slots__ = ("array", "dtype", "library", "ndim", "shape")

    def __init__(self, array: Any, library: type[Library], dtype: np.dtype[Any]) -> None:
        self.array, self.library, self.dtype = array, library, dtype
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.ndim = len(self.shape)

    def swapaxes(self, one: int, other: int) -> DeviceArray:
        """As NumPy's."""
        return DeviceArray(self.array.swapaxes(one, other), self.library, self.dtype)

    def owner(self) -> Library:
        """The library for a call on this array's device."""
        return self.library(self.library.index(self.array))


class Library:
    """What one call asks of the library that owns its arrays. `owner` in the C++ binding."""

    stream: int

    def __init__(self, device: int) -> None:
        self.device = device
        self.memory: list[Any] = []  # working memory, the call's until it returns

    def empty(self, shape: tuple[int, ...], dtype: str, swapped: bool) -> Any:
        """A new array; swapped: the last two axes lie in memory in the other order."""
        raise NotImplementedError

    def capsule(self, array: Any) -> Any:
        """The array for the C++ library."""
        raise NotImplementedError

    def workspace(self, size: int) -> int:
        """The address of `size` bytes."""
        raise NotImplementedError

    def on_device(self, values: np.ndarray) -> Any:
        """A host array's values as an array of the device."""
        raise NotImplementedError

    @staticmethod
    def index(array: Any) -> int:
        """The device's number."""
        raise NotImplementedError


class Cupy(Library):
    """CuPy's current stream and memory pool."""

    def __init__(self, device: int) -> None:
        super().__init__(device)
        self.cupy: Any = sys.modules["cupy"]
        with self.cupy.cuda.Device(device):
            self.stream = self.cupy.cuda.get_current_stream().ptr

    def empty(self, shape: tuple[int, ...], dtype: str, swapped: bool) -> Any:
        """As Library's."""
        with self.cupy.cuda.Device(self.device):
            if not swapped or len(shape) < 2:
                return self.cupy.empty(shape, dtype)
            return self.cupy.empty((*shape[:-2], shape[-1], shape[-2]), dtype).swapaxes(-2, -1)

    def capsule(self, array: Any) -> Any:
        """As Library's."""
        return array.__dlpack__(stream=_SAME_STREAM)

    def workspace(self, size: int) -> int:
        """As Library's."""
        with self.cupy.cuda.Device(self.device):
            self.memory.append(self.cupy.cuda.alloc(size))
        return int(self.memory[-1].ptr)

    def on_device(self, values: np.ndarray) -> Any:
        """As Library's."""
        with self.cupy.cuda.Device(self.device):
            array = self.cupy.asarray(values)
            # Other streams will read it as well. Once for each window or bank.
            self.cupy.cuda.get_current_stream().synchronize()
        return array

    @staticmethod
    def index(array: Any) -> int:
        """As Library's."""
        return int(array.device.id)


class Torch(Library):
    """PyTorch's current stream and caching allocator, for calls with `out` and for `explain`."""

    def __init__(self, device: int) -> None:
        super().__init__(device)
        self.torch: Any = sys.modules["torch"]
        self.stream = self.torch.cuda.current_stream(device).cuda_stream

    def empty(self, shape: tuple[int, ...], dtype: str, swapped: bool) -> Any:
        """As Library's."""
        options = {"dtype": getattr(self.torch, dtype), "device": f"cuda:{self.device}"}
        if not swapped or len(shape) < 2:
            return self.torch.empty(shape, **options)
        return self.torch.empty((*shape[:-2], shape[-1], shape[-2]), **options).transpose(-2, -1)

    def capsule(self, array: Any) -> Any:
        """As Library's."""
        return self.torch.utils.dlpack.to_dlpack(array.detach())

    def workspace(self, size: int) -> int:
        """As Library's."""
        self.memory.append(self.torch.empty(size, dtype=self.torch.uint8, device=f"cuda:{self.device}"))
        return int(self.memory[-1].data_ptr())

    def on_device(self, values: np.ndarray) -> Any:
        """As Library's."""
        return self.torch.from_numpy(values.copy()).to(f"cuda:{self.device}")

    @staticmethod
    def index(array: Any) -> int:
        """As Library's."""
        return int(array.device.index)


# --- arrays in -------------------------------------------------------------------------------------------------------


def is_on_cuda(array: Any) -> bool:
    """Whether an array says by DLPack that it is in a CUDA device's memory."""
    device = getattr(array, "__dlpack_device__", None)
    if device is None:
        return False
    try:
        return int(device()[0]) in _DLPACK_CUDA
    except (RuntimeError, TypeError, ValueError, BufferError):  # a tracer's array has none
        return False


def take(array: Any, op: str, argument: str) -> tuple[DeviceArray, Callable[[Any], Any]]:
    """The array for a call on its device, without a copy, and what turns a result into the same kind."""
    package = type(array).__module__.partition(".")[0]
    if package == "torch":
        return DeviceArray(array, Torch, _torch_dtype(array, op, argument)), _same
    if package == "cupy":
        return DeviceArray(array, Cupy, array.dtype), _same
    try:
        import cupy
    except ImportError:
        raise Unavailable(
            f"{op}: {argument} is a {package} array on a GPU, for whose results CuPy allocates memory; install CuPy"
        ) from None
    try:
        viewed = cupy.from_dlpack(array)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise InvalidType(
            f"{op}: {argument} must be a CUDA array that CuPy can view, got {type(array).__name__}: {error}"
        ) from error
    if package in ("jax", "jaxlib"):  # jax's arrays are of a module of jaxlib's, and contiguous
        import jax

        return DeviceArray(viewed, Cupy, viewed.dtype), lambda result: jax.numpy.from_dlpack(
            cupy.ascontiguousarray(result)
        )
    make = getattr(sys.modules.get(package), "from_dlpack", _same)
    return DeviceArray(viewed, Cupy, viewed.dtype), make


def _same(result: Any) -> Any:
    return result


def _torch_dtype(tensor: Any, op: str, argument: str) -> np.dtype[Any]:
    name = str(tensor.dtype).removeprefix("torch.")
    try:
        return np.dtype("float16" if name == "bfloat16" else name)  # NumPy has none; both count as half here
    except TypeError:
        raise InvalidType(
            f"{op}: {argument} must be int16, float16, bfloat16, float32, float64, complex64 or complex128, got {name}"
        ) from None


# --- host values on the device ---------------------------------------------------------------------------------------


class _Uploaded:
    """A host array's values on a device, and the envelopes that istft's check has accepted for them as a window."""

    __slots__ = ("accepted", "array", "values")

    def __init__(self, library: Library, values: np.ndarray) -> None:
        self.values, self.array, self.accepted = values, library.on_device(values), set[Any]()


@lru_cache(maxsize=256)
def _uploaded(library: Any, device: int, data: bytes, dtype: str, shape: tuple[int, ...]) -> _Uploaded:
    return _Uploaded(library(device), np.frombuffer(data, dtype).reshape(shape))


def _kind(owner: Library) -> Any:
    return type(owner)


def uploaded(owner: Library, values: np.ndarray) -> _Uploaded:
    """The values on the owner's device, uploaded once."""
    return _uploaded(_kind(owner), owner.device, values.tobytes(), values.dtype.str, values.shape)


@lru_cache(maxsize=128)
def _uploaded_bank(library: Any, device: int, bank: Any) -> Any:
    return library(device).on_device(bank.to_dense(False))


class DeviceBank:
    """A filter bank given as an array on the device: its values stay unknown to the host, and kernels read all of them."""

    def __init__(self, weights: DeviceArray) -> None:
        if weights.ndim != 2:
            raise InvalidArgument(f"filtered_spectrogram: filterbank must be 2-D [bins, bands], got {weights.ndim}-D")
        self.weights = weights
        self.bins, self.bands = weights.shape


# --- calls -----------------------------------------------------------------------------------------------------------


def call(op: str, out: Any, x: DeviceArray, window: Any, *args: Any) -> Any:
    """Run the C++ operator on the device; as spectral.call. window: a host array, a DeviceArray or None."""
    owner = x.owner()
    w, accepted = _window(owner, window)
    input = owner.capsule(x.array)
    result = None if out is None else out.array
    if op == "filtered_spectrogram":
        bank, params = args
        if isinstance(bank, DeviceBank):
            host, weights = None, bank.weights.array
        else:
            host, weights = bank, _uploaded_bank(_kind(owner), owner.device, bank)
        return _core.filtered_spectrogram(input, w, host, params, result, owner, owner.capsule(weights))
    if op == "istft" and accepted is not None:
        _check_envelope(window, accepted, x, args[0])
    return getattr(_core, op)(input, w, *args, result, owner)


def explain(op: str, x: DeviceArray, window: Any, *args: Any) -> Any:
    """What the C++ library says of the call."""
    owner = x.owner()
    if op == "filtered_spectrogram":
        bank, params = args
        known = True
        if isinstance(bank, DeviceBank):
            known = x.library is Torch and not bank.weights.array.requires_grad  # PyTorch's are copied once
            bank = _core.FilterBank.from_dense(np.ones((bank.bins, bank.bands), np.float32))
        return _core.explain_filtered_spectrogram(owner.capsule(x.array), None, bank, params, known)
    return getattr(_core, f"explain_{op}")(owner.capsule(x.array), None, *args)


_accepted_ones: set[Any] = set()


def _window(owner: Library, window: Any) -> tuple[Any, set[Any] | None]:
    """The window for the C++ library, and the envelopes accepted before; None where the host does not know its values."""
    if window is None:
        return None, _accepted_ones
    if isinstance(window, DeviceArray):
        return owner.capsule(window.array), None
    there = uploaded(owner, window)
    return owner.capsule(there.array), there.accepted


def _check_envelope(window: Any, accepted: set[Any], spectrum: DeviceArray, params: Any) -> None:
    """Refuse what torch.istft refuses; on a window that only the device knows such samples become NaN instead."""
    if params.edge != _core.EdgePolicy.error:
        return
    frames = spectrum.shape[-2 if params.layout == _core.Layout.frame_major else -1]
    key = (params.n_fft, params.hop_length, params.win_length, params.center, params.length, frames)
    if key not in accepted:
        _core.check_istft_envelope(window, params, frames)
        accepted.add(key)


def as_pairs(spectrum: Any) -> Any:
    """A complex array's real and imaginary parts in a last axis of two, without a copy."""
    if type(spectrum).__module__.partition(".")[0] == "torch":
        return sys.modules["torch"].view_as_real(spectrum)
    stride_tricks = sys.modules["cupy"].lib.stride_tricks
    real = spectrum.real
    return stride_tricks.as_strided(real, (*real.shape, 2), (*real.strides, spectrum.dtype.itemsize // 2))


def as_complex(pairs: DeviceArray) -> DeviceArray:
    """Pairs in a last axis of two as complex numbers, without a copy where they are contiguous."""
    if pairs.library is Torch:
        joined = sys.modules["torch"].view_as_complex(pairs.array.contiguous())
    else:
        dtype = np.result_type(pairs.dtype, np.complex64)
        joined = sys.modules["cupy"].ascontiguousarray(pairs.array).view(dtype)[..., 0]
    return DeviceArray(joined, pairs.library, np.result_type(pairs.dtype, np.complex64))
