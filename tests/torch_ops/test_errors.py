"""Bad input on tensors: an exception of PyTorch's type, with a message that names the argument, its limit and the value."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

import melisma
import melisma.torch  # the operators under test
from torch_device import DEVICE
from torch_ops.common import randn

X = randn(2, 400, dtype=torch.float32)
W = torch.hann_window(64)
S = torch.stft(X, 64, 16, window=W, return_complex=True)
BANK = torch.ones(33, 3)

CALLS: dict[str, Callable[..., torch.Tensor]] = {
    "stft": lambda x=X, **k: melisma.stft(x, **{"n_fft": 64, "hop_length": 16, "window": W, **k}),
    "spectrogram": lambda x=X, **k: melisma.spectrogram(x, **{"n_fft": 64, "hop_length": 16, "window": W, **k}),
    "mel_spectrogram": lambda x=X, **k: melisma.mel_spectrogram(
        x, **{"sample_rate": 16000, "n_fft": 64, "hop_length": 16, "n_mels": 4, "window": W, **k}
    ),
    "log_mel": lambda x=X, **k: melisma.log_mel(
        x, **{"sample_rate": 16000, "n_fft": 64, "hop_length": 16, "n_mels": 4, "window": W, **k}
    ),
    "filtered_spectrogram": lambda x=X, **k: melisma.filtered_spectrogram(
        x, **{"filterbank": BANK, "n_fft": 64, "hop_length": 16, "window": W, **k}
    ),
    "istft": lambda x=S, **k: melisma.istft(x, **{"n_fft": 64, "hop_length": 16, "window": W, **k}),
}
FORWARD = [name for name in CALLS if name != "istft"]


def refused(call: Callable[[], Any], kind: type[Exception], *parts: str) -> None:
    """One short line that starts with the operator's name and holds each of the parts."""
    with pytest.raises(kind, match=r"^\w+: \S") as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 250, text
    for part in parts:
        assert part in text, text


# --- as torch, side by side ------------------------------------------------------------------------------------------

LIKE_TORCH: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "n_fft 0": ("stft", {"n_fft": 0}, ("n_fft", "0")),
    "n_fft negative": ("stft", {"n_fft": -4}, ("n_fft", "-4")),
    "n_fft a float": ("stft", {"n_fft": 2.5}, ("n_fft", "2.5")),
    "n_fft a float, default hop": ("stft", {"n_fft": 2.5, "hop_length": None}, ("n_fft", "2.5")),
    "n_fft 0, default hop": ("stft", {"n_fft": 0, "hop_length": None}, ("n_fft", "0")),
    "n_fft a string": ("stft", {"n_fft": "64"}, ("n_fft", "'64'")),
    "n_fft beyond the signal": ("stft", {"n_fft": 500, "window": None, "center": False}, ("n_fft", "500", "400")),
    "hop 0": ("stft", {"hop_length": 0}, ("hop_length", "0")),
    "hop negative": ("stft", {"hop_length": -1}, ("hop_length", "-1")),
    "hop a bool": ("stft", {"hop_length": True}, ("hop_length", "True")),
    "win_length 0": ("stft", {"win_length": 0}, ("win_length", "0")),
    "win_length beyond n_fft": ("stft", {"win_length": 65}, ("win_length", "64", "65")),
    "window too short": ("stft", {"window": W[:-1]}, ("window", "64", "63")),
    "window 2-D": ("stft", {"window": W[None]}, ("window", "1-D", "2-D")),
    "window elsewhere": ("stft", {"window": W.to("meta")}, ("window", DEVICE, "meta")),
    "normalized a string": ("stft", {"normalized": "x"}, ("normalized", "'x'")),
    "pad_mode a number": ("stft", {"pad_mode": 5}, ("pad_mode", "5")),
    "pad_mode unknown": ("stft", {"pad_mode": "foo"}, ("pad_mode", "reflect", "'foo'")),
    "onesided of complex": ("stft", {"input": X.to(torch.complex64), "onesided": True}, ("onesided",)),
    "onesided a number": ("stft", {"onesided": 2}, ("onesided", "2")),
    "too short to reflect": ("stft", {"input": X[:, :20]}, ("reflect", "32", "20")),
    "scalar": ("stft", {"input": torch.tensor(1.0)}, ("input",)),
    "no samples": ("stft", {"input": X[:, :0]}, ("input", "0")),
    "integers": ("stft", {"input": X.long()}, ("input", "float32")),
    "bools": ("stft", {"input": X > 0}, ("input", "float32")),
    "sparse": ("stft", {"input": X.to_sparse()}, ("input", "sparse_coo")),
    "sparse rows": ("stft", {"input": X.to_sparse_csr()}, ("input", "sparse_csr")),
    "quantised": ("stft", {"input": torch.quantize_per_tensor(X, 0.1, 0, torch.qint8)}, ("input", "quantized")),
    "meta with a window here": ("stft", {"input": X.to("meta")}, ("window", DEVICE, "meta")),
    "align_to_window centred": ("stft", {"align_to_window": True}, ("align_to_window", "center")),
    "spectrum of real numbers": ("istft", {"input": S.real}, ("input", "complex64", "float32")),
    "spectrum of a row": ("istft", {"input": S[0, 0]}, ("input", "2", "1")),
    "spectrum without frames": ("istft", {"input": S[..., :0]}, ("input", "0")),
    "spectrum of other bins": ("istft", {"input": S[:, :-1]}, ("33", "64", "32")),
    "spectrum sparse": ("istft", {"input": S.to_sparse()}, ("input", "sparse_coo")),
    "inverse hop 0": ("istft", {"hop_length": 0}, ("hop_length", "0")),
    "inverse win_length": ("istft", {"win_length": 80}, ("win_length", "64", "80")),
    "inverse window elsewhere": ("istft", {"window": W.to("meta")}, ("window", DEVICE, "meta")),
    "length negative": ("istft", {"length": -1}, ("length", "0", "-1")),
    "length a float": ("istft", {"length": 2.5}, ("length", "2.5")),
    "window of zeros": ("istft", {"window": torch.zeros(64)}, ("window", "1e-11")),
    "uncovered start": ("istft", {"center": False}, ("window", "1e-11", "sample 0")),
    "hop beyond the window": ("istft", {"hop_length": 65}, ("window", "1e-11")),
    "complex result of one side": ("istft", {"return_complex": True}, ("onesided",)),
}


@pytest.mark.parametrize("case", LIKE_TORCH)
def test_where_torch_refuses_too(case: str) -> None:
    """Whoever catches PyTorch's exception catches ours: ours is of the same built-in kind, RuntimeError at least."""
    op, changes, parts = LIKE_TORCH[case]
    options = {"n_fft": 64, "hop_length": 16, "window": W, "input": X if op == "stft" else S, **changes}
    extra = {"return_complex": True} if op == "stft" else {}
    with pytest.raises((RuntimeError, TypeError, IndexError)) as theirs:
        getattr(torch, op)(**extra, **options)
    kind: type[Exception] = (
        RuntimeError  # also for NotImplementedError and IndexError, which mean a missing kernel there
    )
    if type(theirs.value) is TypeError:
        kind = TypeError
    refused(lambda: getattr(melisma, op)(**options), kind, *parts)
    refused(lambda: getattr(melisma.torch, op)(**options), kind, *parts)
    with pytest.raises((melisma.InvalidArgument, melisma.InvalidType)):
        getattr(melisma, op)(**options)


# --- every operator --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", FORWARD)
class TestEveryForward:
    @pytest.mark.parametrize(
        ("name", "value"),
        [("n_fft", 0), ("hop_length", -3), ("win_length", 65), ("n_fft", 2**63), ("hop_length", 1.5), ("n_fft", None)],
    )
    def test_sizes(self, op: str, name: str, value: Any) -> None:
        refused(lambda: CALLS[op](**{name: value}), RuntimeError, op, name, str(value))

    @pytest.mark.parametrize(
        ("name", "value"),
        [("center", None), ("center", "yes"), ("layout", "rows"), ("pad_mode", 1), ("normalized", "both")],
    )
    def test_choices(self, op: str, name: str, value: Any) -> None:
        refused(lambda: CALLS[op](**{name: value}), RuntimeError, op, name, str(value))

    @pytest.mark.parametrize("name", ["normalized", "center", "pad_mode", "layout", "n_fft"])
    def test_options_that_are_no_plain_values(self, op: str, name: str) -> None:
        refused(lambda: CALLS[op](**{name: []}), TypeError if name != "layout" else RuntimeError, op, name)

    @pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool, torch.float8_e5m2])
    def test_dtypes(self, op: str, dtype: torch.dtype) -> None:
        refused(lambda: CALLS[op](X.to(dtype)), TypeError, op, "input", "float32")

    @pytest.mark.parametrize("window", [W.long(), W.short(), W.to(torch.float8_e5m2), W[:5], W[None], W[:0]])
    def test_windows(self, op: str, window: torch.Tensor) -> None:
        refused(lambda: CALLS[op](window=window), RuntimeError, op, "window")

    def test_unknown_window(self, op: str) -> None:
        refused(lambda: CALLS[op](window="hannn"), RuntimeError, op, "window", "'hannn'")

    def test_layouts_and_devices(self, op: str) -> None:
        refused(lambda: CALLS[op](X.to_sparse()), TypeError, op, "input", "sparse_coo")
        if DEVICE == "cpu":  # there is no other such tensor
            refused(lambda: CALLS[op](X.to_mkldnn()), TypeError, op, "input", "mkldnn")
        refused(
            lambda: CALLS[op](torch.quantize_per_tensor(X, 0.1, 0, torch.quint8)), TypeError, op, "input", "quantized"
        )
        refused(lambda: CALLS[op](window=W.to("meta")), RuntimeError, op, "window", DEVICE, "meta")
        refused(lambda: CALLS[op](X.to("meta")), RuntimeError, op, "window", DEVICE, "meta")
        refused(lambda: CALLS[op](window=W.to_sparse()), RuntimeError, op, "window", "sparse_coo")

    def test_too_many_axes(self, op: str) -> None:
        refused(lambda: CALLS[op](X.reshape((1,) * 8 + (-1,))), RuntimeError, op, "input", "dimensions", "9")

    def test_the_same_with_gradients(self, op: str) -> None:
        """The checks do not depend on the path that a call takes."""
        leaf = X.clone().requires_grad_()
        refused(lambda: CALLS[op](leaf, n_fft=0), RuntimeError, op, "n_fft", "0")
        refused(lambda: CALLS[op](leaf, window=W[:-1]), RuntimeError, op, "window", "64", "63")
        refused(lambda: CALLS[op](leaf[:, :20]), RuntimeError, op, "reflect", "20")
        refused(lambda: CALLS[op](leaf, window=W.to("meta")), RuntimeError, op, "window", "meta")

    def test_meta_tensors_give_shapes(self, op: str) -> None:
        want = CALLS[op]()
        got = CALLS[op](X.to("meta"), window=W.to("meta"), **({"filterbank": BANK.to("meta")} if "filt" in op else {}))
        assert got.device.type == "meta"
        assert (got.shape, got.dtype, got.stride()) == (want.shape, want.dtype, want.stride())
        with pytest.raises(RuntimeError, match=op):
            CALLS[op](X.to("meta"), window=W.to("meta"), n_fft=0)


def test_meta_istft_gives_shapes() -> None:
    for length in (None, 333):
        want, got = CALLS["istft"](length=length), CALLS["istft"](S.to("meta"), window=W.to("meta"), length=length)
        assert got.device.type == "meta"
        assert (got.shape, got.dtype, got.stride()) == (want.shape, want.dtype, want.stride())


@pytest.mark.parametrize("op", [name for name in FORWARD if name != "stft"])
def test_complex_signals_have_no_power_spectrogram(op: str) -> None:
    refused(lambda: CALLS[op](X.to(torch.complex64)), TypeError, op, "complex64")


def test_filterbanks() -> None:
    call = CALLS["filtered_spectrogram"]
    refused(lambda: call(filterbank=torch.ones(30, 3)), RuntimeError, "filterbank", "33", "30")
    refused(lambda: call(filterbank=torch.ones(33)), RuntimeError, "filterbank", "2-D", "1-D")
    refused(lambda: call(filterbank=BANK.long()), RuntimeError, "filterbank", "float32")
    refused(lambda: call(filterbank=BANK.to("meta")), RuntimeError, "filterbank", DEVICE, "meta")
    refused(lambda: call(filterbank=BANK.to_sparse()), RuntimeError, "filterbank", "sparse_coo")
    refused(lambda: call(filterbank=torch.ones(33, 0)), RuntimeError, "filterbank", "0")


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"amin": 0.0}, ("amin", "> 0", "0.0")),
        ({"amin": float("nan")}, ("amin", "finite", "nan")),
        ({"ref": -1.0}, ("ref", "> 0", "-1.0")),
        ({"top_db": -3.0}, ("top_db", ">= 0", "-3.0")),
        ({"top_db_scope": "batch"}, ("top_db_scope", "'item'", "'batch'")),
        ({"log": "log2"}, ("log10", "'log2'")),
        ({"log": "linear"}, ("log", "'linear'")),
        ({"n_mels": 0}, ("n_mels", "0")),
        ({"n_mels": 2.5}, ("n_mels", "2.5")),
        ({"sample_rate": 0}, ("sample_rate", "0")),
        ({"f_min": 9000.0}, ("f_min", "9000")),
        ({"f_max": -1.0}, ("f_max", "-1")),
        ({"mel_scale": "bark"}, ("mel_scale", "'bark'")),
        ({"norm": "l2"}, ("norm", "'l2'")),
        ({"power": 0.0}, ("power", "0")),
        ({"power": "2"}, ("power", "'2'")),
        ({"pad": -1}, ("pad", "-1")),
    ],
)
def test_options_of_log_mel(options: dict[str, Any], parts: tuple[str, ...]) -> None:
    refused(lambda: CALLS["log_mel"](**options), RuntimeError, "log_mel", *parts)


def test_integers_cannot_require_gradients() -> None:
    with pytest.raises(RuntimeError, match="floating point"):
        torch.ones(400, dtype=torch.int16, requires_grad=True)
    pcm = (1000 * X).short()
    window = W.clone().requires_grad_()
    y = melisma.stft(pcm, 64, 16, window=window)
    y.abs().sum().backward()
    assert window.grad is not None
    want = torch.autograd.grad(melisma.stft(pcm.float() / 32768, 64, 16, window=window).abs().sum(), window)[0]
    torch.testing.assert_close(window.grad, want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))


def test_pcm_scale_where_the_window_is_trained() -> None:
    pcm = (1000 * X).short()
    for options in ({}, {"pcm_scale": 1.0}, {"pcm_scale": 0.25}):
        fixed = melisma.spectrogram(pcm, n_fft=64, window=W, **options)
        trained = melisma.spectrogram(pcm, n_fft=64, window=W.clone().requires_grad_(), **options)
        torch.testing.assert_close(trained.detach(), fixed, rtol=1e-4, atol=1e-5 * float(fixed.max()))


def test_not_a_tensor() -> None:
    for op in ("stft", "spectrogram", "istft"):
        with pytest.raises(TypeError, match=re.escape(f"{op}: input must be a tensor, got list")):
            getattr(melisma.torch, op)([1.0, 2.0], n_fft=2)


def test_the_dispatchers_operators_check_by_themselves() -> None:
    """torch.ops.melisma is called by compiled graphs too: nothing there may read what is not there."""
    ops = torch.ops.melisma
    stft: tuple[Any, ...] = (64, 16, 64, True, "reflect", False, True, False, False)
    inverse: tuple[Any, ...] = (64, 16, 64, True, False, True)
    power: tuple[Any, ...] = (64, 16, 64, 2.0, "none", True, "reflect", 0)
    for call in (
        lambda: ops.stft(X, W.to("meta"), *stft),
        lambda: ops.stft(X, W[:3], *stft),
        lambda: ops.stft(X, W, 64, 16, 64, True, "mirror", False, True, False, False),
        lambda: ops.stft_adjoint(S, W, 400, True, *stft),
        lambda: ops.stft_adjoint(S, W, 500, False, *stft),
        lambda: ops.stft_adjoint(S, W, -1, False, *stft),
        lambda: ops.stft_adjoint(S[0, 0], W, 400, False, *stft),
        lambda: ops.stft_adjoint(S.real, W, 400, False, *stft),
        lambda: ops.stft_window_gradient(X, S[:1], *stft),
        lambda: ops.stft_window_gradient(X, S[..., :3], *stft),
        lambda: ops.stft_window_gradient(X.double(), S, *stft),
        lambda: ops.istft(S, W, *inverse, None, False, "round", False),
        lambda: ops.istft(S, W, *inverse, -5, False, "error", False),
        lambda: ops.istft_adjoint(X, W, -1, *inverse, "error", False),
        lambda: ops.istft_adjoint(X, W, 0, *inverse, "error", False),
        lambda: ops.istft_adjoint(X.long(), W, 26, *inverse, "error", False),
        lambda: ops.spectrogram_backward(X, X, W, *power, False),
        lambda: ops.spectrogram_backward(S.real[:1], X, W, *power, False),
        lambda: ops.spectrogram_backward(S.real, X.short(), W, *power, False),
        lambda: ops.filtered_spectrogram_backward(S.real, X, W, BANK, *power, [], False, False),
        lambda: ops.filtered_spectrogram(X, W, BANK, *power, 1.0, [1.0], 1.0, False, False, False),
        lambda: ops.filtered_spectrogram(X, W, BANK.to("meta"), *power, 1.0, [], 1.0, False, False, False),
    ):
        with pytest.raises(RuntimeError):
            call()
