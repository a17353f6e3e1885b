"""``patch_torch()``: PyTorch's own stft and istft run on Melisma, for code that cannot be changed.

Two things are replaced while a patch is on, because neither catches every call:

* the functions ``torch.stft``, ``torch.functional.stft``, ``torch.istft`` and ``torch.functional.istft``, looked up by most code
  and by ``Tensor.stft`` and ``Tensor.istft`` at each call. Here the padding of a centred stft is ours as well;
* the kernels of ``aten::stft`` and ``aten::istft`` for CPU and CUDA tensors at PyTorch's dispatcher. They are reached by names bound before
  (``from torch import stft``), by TorchScript and by C++; the padding is then PyTorch's, a copy of the signal.

What it misses, and does not count: names bound before, called on tensors of another device; and calls that
torch.compile has already compiled.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch.overrides import handle_torch_function, has_torch_function

from ..errors import InvalidArgument, InvalidType, Unavailable
from . import spectral

__all__ = ["Count", "Patch", "patch_torch"]

_DTYPES = frozenset((torch.float32, torch.float64, torch.complex64, torch.complex128))
_STFT, _ISTFT = "stft", "istft"
_DEVICES = ("cpu", "cuda")
# Where a call arrives: with autograd, and without (inference mode).
_KEYS = ("AutogradCPU", "CPU", "AutogradCUDA", "CUDA")
# PyTorch's own implementation of both, out of other operators.
_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd


class Count(NamedTuple):
    """How often a call of `op` ("stft" or "istft") was "rerouted", or "fell through" to PyTorch and for what `reason`."""

    op: str
    outcome: str
    reason: str
    calls: int


class Patch:
    """What :func:`patch_torch` gives: a context manager, and a handle with :meth:`undo` and :meth:`counts`."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[str, str, str]] = Counter()

    def counts(self) -> list[Count]:
        """Calls since the patch was made, from all threads, the most frequent first; they stay after :meth:`undo`."""
        with _state.lock:
            return [Count(*key, calls) for key, calls in self._calls.most_common()]

    def undo(self) -> None:
        """End this patch; the last one ended restores PyTorch. A second call does nothing."""
        _state.remove(self)

    def __enter__(self) -> Patch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()

    def __repr__(self) -> str:
        rerouted = sum(count.calls for count in self.counts() if count.outcome == "rerouted")
        return f"<patch_torch: {rerouted} of {sum(count.calls for count in self.counts())} calls rerouted>"


class _State:
    """The process's one set of replacements, and the patches that hold it in place."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.patches: list[Patch] = []
        self.replaced: list[tuple[Any, str, Any, Any]] = []  # owner, name, PyTorch's, ours
        self.library: Any = None

    def add(self, patch: Patch) -> None:
        with self.lock:
            if not self.patches:
                self._install()
            self.patches.append(patch)

    def remove(self, patch: Patch) -> None:
        with self.lock:
            if patch in self.patches:
                self.patches.remove(patch)
                if not self.patches:
                    self._restore()

    def count(self, op: str, outcome: str, reason: str) -> None:
        with self.lock:
            for patch in self.patches:
                patch._calls[op, outcome, reason] += 1

    def _install(self) -> None:
        for name, ours in ((_STFT, _stft), (_ISTFT, _istft)):
            _theirs[name] = getattr(torch.functional, name)
            for owner in (torch, torch.functional):
                self.replaced.append((owner, name, getattr(owner, name), ours))
                setattr(owner, name, ours)
        _teach_compilers()
        # aten::stft without padding is itself a call of stft.center.
        self.library = torch.library.Library("aten", "IMPL")
        for key in _KEYS:
            self.library.impl("stft.center", _stft_kernel, key)
            self.library.impl("istft", _istft_kernel, key)

    def _restore(self) -> None:
        for owner, name, theirs, ours in self.replaced:
            # Another patch on top of ours stays: it holds our function, which then hands every call to PyTorch's.
            if getattr(owner, name) is ours:
                setattr(owner, name, theirs)
        self.replaced.clear()
        self.library._destroy()
        self.library = None


_state = _State()
_passing = threading.local()
# What the names were when they were last replaced.
_theirs: dict[str, Callable[..., torch.Tensor]] = {_STFT: torch.functional.stft, _ISTFT: torch.functional.istft}


def patch_torch() -> Patch:
    """Reroute torch.stft and torch.istft to Melisma, in every thread of this process, until undone.

    A call that Melisma does not take, or would refuse, goes to PyTorch as if nothing were patched, with PyTorch's result and errors.
    That is: tensors of another device, layout or dtype than float32, float64, complex64 and complex128 on the CPU
    or a CUDA device; subclasses of Tensor; and whatever runs inside torch.compile, a torch.func transform or a dispatch mode. Gradients, of any order and
    in forward mode, are Melisma's.

    Returns
    -------
    Patch
        A handle: ``patch.undo()``, ``patch.counts()``; also a context manager that undoes itself. Patches may be nested and
        undone in any order; each counts the calls of its own time.

    Notes
    -----
    The arithmetic is Melisma's, so results differ from PyTorch's by rounding. ``return_complex=False`` gives PyTorch's
    layout, without its deprecation warning.

    Examples
    --------
    >>> import torch, melisma
    >>> with melisma.patch_torch() as patch:
    ...     spectrum = torch.stft(torch.randn(16000), 512, window=torch.hann_window(512), return_complex=True)
    >>> patch.counts()
    [Count(op='stft', outcome='rerouted', reason='', calls=1)]
    """
    patch = Patch()
    _state.add(patch)
    return patch


# --- which calls are taken -------------------------------------------------------------------------------------------


def _plain(tensor: Any) -> str:
    """Why a tensor goes to PyTorch; empty where it does not have to."""
    if type(tensor) is not torch.Tensor and type(tensor) is not torch.nn.Parameter:
        return f"{type(tensor).__name__} is not a plain tensor"
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return "inside a torch.func transform"
    if tensor.device.type not in _DEVICES:
        return f"device {tensor.device.type}"
    if tensor.layout is not torch.strided:
        return f"layout {tensor.layout}"
    if tensor.dtype not in _DTYPES:
        return f"dtype {tensor.dtype}"
    return ""


def _refusal(op: str, input: Any, window: Any) -> str:
    """Why a call goes to PyTorch; empty where it does not have to."""
    reason = _plain(input)
    if not reason and window is not None:
        reason = _plain(window)
        if not reason and window.dtype != input.dtype.to_real():
            reason = f"window {window.dtype} for input {input.dtype}"
    if reason:
        return reason
    if torch._C._len_torch_dispatch_stack() > 0:
        return "inside a dispatch mode"
    most = 2 if op == _STFT else 3  # Melisma takes any number of leading dimensions, PyTorch does not
    return f"input of more than {most} dimensions" if input.dim() > most else ""


def _reroute(op: str, input: Any, window: Any, call: Callable[[], torch.Tensor]) -> torch.Tensor | None:
    """Melisma's result, counted; or None, with the reason counted."""
    reason = _refusal(op, input, window)
    if not reason:
        try:
            result = call()
        except (InvalidArgument, InvalidType) as error:
            reason = f"melisma refuses: {str(error).partition(', got')[0]}"
        except Unavailable as error:  # no kernels for this GPU, say
            reason = str(error)
        else:
            _state.count(op, "rerouted", "")
            return result
    _state.count(op, "fell through", reason)
    return None


@contextmanager
def _untouched() -> Iterator[None]:
    """Let the kernels below pass on what is called here: it has been judged and counted."""
    before = getattr(_passing, "on", False)
    _passing.on = True
    try:
        yield
    finally:
        _passing.on = before


# --- the functions' replacements -------------------------------------------------------------------------------------


def _stft(
    input: torch.Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: torch.Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> torch.Tensor:
    """torch.stft while a patch is on."""
    theirs = _theirs[_STFT]
    arguments = {
        "hop_length": hop_length,
        "win_length": win_length,
        "window": window,
        "center": center,
        "pad_mode": pad_mode,
        "normalized": normalized,
        "onesided": onesided,
        "return_complex": return_complex,
        "align_to_window": align_to_window,
    }
    if torch.compiler.is_compiling() or not _state.patches:
        return theirs(input, n_fft, **arguments)
    if has_torch_function((input,)):
        # A subclass or mode is shown PyTorch's function, under which name it may know it, and calls that.
        return handle_torch_function(theirs, (input,), input, n_fft, **arguments)
    result = _our_stft(
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
    )
    if result is not None:
        return result
    with _untouched():
        return theirs(input, n_fft, **arguments)


def _istft(
    input: torch.Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: torch.Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> torch.Tensor:
    """torch.istft while a patch is on."""
    theirs = _theirs[_ISTFT]
    arguments = {
        "hop_length": hop_length,
        "win_length": win_length,
        "window": window,
        "center": center,
        "normalized": normalized,
        "onesided": onesided,
        "length": length,
        "return_complex": return_complex,
    }
    if torch.compiler.is_compiling() or not _state.patches:
        return theirs(input, n_fft, **arguments)
    if has_torch_function((input,)):
        return handle_torch_function(theirs, (input,), input, n_fft, **arguments)
    result = _our_istft(
        input, n_fft, hop_length, win_length, window, center, normalized, onesided, length, return_complex
    )
    if result is not None:
        return result
    with _untouched():
        return theirs(input, n_fft, **arguments)


def _our_stft(
    input: Any,
    n_fft: Any,
    hop_length: Any,
    win_length: Any,
    window: Any,
    center: Any,
    pad_mode: Any,
    normalized: Any,
    onesided: Any,
    return_complex: Any,
    align_to_window: Any,
) -> torch.Tensor | None:
    if return_complex is None and isinstance(input, torch.Tensor) and not input.is_complex():
        _state.count(_STFT, "fell through", "return_complex is None")  # PyTorch demands it
        return None
    return _reroute(
        _STFT,
        input,
        window,
        lambda: spectral.stft(
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
        ),
    )


def _our_istft(
    input: Any,
    n_fft: Any,
    hop_length: Any,
    win_length: Any,
    window: Any,
    center: Any,
    normalized: Any,
    onesided: Any,
    length: Any,
    return_complex: Any,
) -> torch.Tensor | None:
    return _reroute(
        _ISTFT,
        input,
        window,
        lambda: spectral.istft(
            input, n_fft, hop_length, win_length, window, center, normalized, onesided, length, return_complex
        ),
    )


def _teach_compilers() -> None:
    """Let TorchScript and torch.compile take the replacements for what they replace."""
    from torch.jit import _builtins

    _stft.__name__, _istft.__name__ = _STFT, _ISTFT
    vars(_stft)["__script_if_tracing_wrapper"] = True  # as torch.jit.script_if_tracing marks its wrappers
    vars(_stft)["__original_fn"] = _theirs[_STFT]
    _builtins._register_builtin(_istft, "aten::istft")


# --- the kernels -----------------------------------------------------------------------------------------------------


def _passed_on(input: Any) -> bool:
    """Whether a kernel hands on without judging: a call judged already, or a tracer's tensor without values."""
    return getattr(_passing, "on", False) or type(input).__module__.startswith("torch._subclasses")


def _stft_kernel(
    input: torch.Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: torch.Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> torch.Tensor:
    result = None
    if not _passed_on(input):
        result = _our_stft(
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
        )
    if result is not None:
        return result
    return torch.ops.aten.stft.center._op_dk(
        _COMPOSITE,
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
    )


def _istft_kernel(
    input: torch.Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: torch.Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> torch.Tensor:
    result = None
    if not _passed_on(input):
        result = _our_istft(
            input, n_fft, hop_length, win_length, window, center, normalized, onesided, length, return_complex
        )
    if result is not None:
        return result
    return torch.ops.aten.istft.default._op_dk(
        _COMPOSITE,
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
    )
