"""Arrays of any library in, the same kind out. NumPy is the only one imported here."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from . import _device
from .errors import InvalidArgument, InvalidType

# Native byte order only: a dtype equals these only if it is the same in that too.
_DTYPES = frozenset(np.dtype(name) for name in ("int16", "float32", "float64", "complex64", "complex128"))

_HALF = np.dtype("float16")  # on a GPU only

Wrap = Callable[[Any], Any]

_HAS_ADAPTER = (Path(__file__).parent / "_torch.so").exists()
_adapter: Any = None  # melisma.torch.spectral, once a tensor was seen


def torch_operators(array: Any, out: Any) -> Any:
    """:mod:`melisma.torch.spectral` for a PyTorch tensor, which has gradients and devices of its own; None for the rest.

    With `out`, and in a package that was built without PyTorch, tensors are viewed as any other array is.
    """
    torch = sys.modules.get("torch")
    if torch is None or out is not None or not isinstance(array, torch.Tensor):
        return None
    if torch.compiler.is_compiling():  # a graph must not depend on whether this is the first tensor
        return _import_adapter()
    global _adapter
    if _adapter is None:
        _adapter = _import_adapter()
    return _adapter


def _import_adapter() -> Any:
    if not _HAS_ADAPTER:
        return None
    from .torch import spectral

    return spectral


def _same(result: np.ndarray) -> np.ndarray:
    return result


def take(array: Any, op: str, argument: str) -> tuple[Any, Wrap]:
    """NumPy's view of `array`, without a copy, and what turns a result into the same kind of array.

    An array on a GPU comes as a :class:`._device.DeviceArray`.
    """
    view, wrap = (array, _same) if type(array) is np.ndarray else _view(array, op, argument)
    if view.dtype not in _DTYPES and (view.dtype != _HALF or type(view) is np.ndarray):
        raise InvalidType(
            f"{op}: {argument} must be native int16, float32, float64, complex64 or complex128, got dtype {view.dtype}"
        )
    return view, wrap


def _view(array: Any, op: str, argument: str) -> tuple[Any, Wrap]:
    package = type(array).__module__.partition(".")[0]
    if package == "torch" and hasattr(array, "resolve_conj"):
        return _take_torch(array, op, argument)
    if package == "mlx":
        return _take_mlx(array, op, argument)
    if isinstance(array, np.ndarray):
        return np.asarray(array), _same
    if hasattr(array, "__dlpack__"):
        if _device.is_on_cuda(array):
            return _device.take(array, op, argument)
        return _take_dlpack(array, package, op, argument)
    if hasattr(array, "__array_interface__"):
        return np.asarray(array), _same
    raise InvalidType(
        f"{op}: {argument} must be a NumPy, PyTorch, MLX, CuPy or JAX array or have __dlpack__ or __array_interface__, "
        f"got {type(array).__name__}"
    )


def _take_torch(tensor: Any, op: str, argument: str) -> tuple[Any, Wrap]:
    torch = sys.modules["torch"]
    try:
        return tensor.numpy(), torch.from_numpy  # refuses all that is told apart below, and is twice as fast
    except (RuntimeError, TypeError):
        pass
    if tensor.device.type not in ("cpu", "cuda"):
        raise InvalidType(f"{op}: {argument} must be on the CPU or a CUDA device, got device {tensor.device}")
    if tensor.layout is not torch.strided:
        raise InvalidType(f"{op}: {argument} must be a dense tensor, got layout {tensor.layout}")
    if tensor.requires_grad and torch.is_grad_enabled():
        raise InvalidArgument(
            f"{op}: {argument} requires grad, which out= and a melisma built without PyTorch do not give; "
            f"pass {argument}.detach()"
        )
    if tensor.device.type == "cuda":
        return _device.take(tensor.detach().resolve_conj().resolve_neg(), op, argument)
    if tensor.dtype in (torch.float16, torch.bfloat16):
        raise InvalidType(
            f"{op}: {argument} must be int16, float32, float64, complex64 or complex128, got {tensor.dtype}"
        )
    return tensor.detach().resolve_conj().resolve_neg().numpy(), torch.from_numpy


def _take_mlx(array: Any, op: str, argument: str) -> tuple[np.ndarray, Wrap]:
    core = sys.modules["mlx.core"]
    if array.dtype == core.bfloat16:
        raise InvalidType(f"{op}: {argument} must be int16, float32 or complex64, got {array.dtype}")
    return np.asarray(array), core.array


def _take_dlpack(array: Any, package: str, op: str, argument: str) -> tuple[np.ndarray, Wrap]:
    try:
        view = np.from_dlpack(array)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise InvalidType(
            f"{op}: {argument} must be a CPU array that NumPy can view, got {type(array).__name__}: {error}"
        ) from error
    module: Any = sys.modules.get(package)
    for candidate in (module, getattr(module, "numpy", None)):  # jax keeps its own in jax.numpy
        make = getattr(candidate, "from_dlpack", None)
        if make is not None:
            return view, make
    return view, _same
