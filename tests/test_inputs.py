"""What may be given: NumPy, PyTorch, MLX, and anything with __dlpack__ or __array_interface__; strides; the GIL."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import melisma

Operator = Callable[[Any], Any]

OPERATORS: dict[str, Operator] = {
    "stft": lambda x: melisma.stft(x, 256, 64, window=np.hanning(256).astype(np.float32)),
    "spectrogram": lambda x: melisma.spectrogram(x, n_fft=256),
    "mel_spectrogram": lambda x: melisma.mel_spectrogram(x, sample_rate=16000, n_mels=20),
    "log_mel": lambda x: melisma.log_mel(x, sample_rate=16000, n_mels=20, top_db=60.0),
    "filtered_spectrogram": lambda x: melisma.filtered_spectrogram(
        x, filterbank=np.eye(129, 7, dtype=np.float32), n_fft=256
    ),
}
SAMPLES = np.random.default_rng(3).standard_normal((3, 2000)).astype(np.float32)


@pytest.fixture(params=OPERATORS, ids=str)
def operator(request: pytest.FixtureRequest) -> Operator:
    return OPERATORS[request.param]


class ArrayInterfaceOnly:
    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self.array.__array_interface__


class DlpackOnly:
    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


def test_numpy_strides(operator: Operator) -> None:
    want = operator(SAMPLES)
    spaced = np.zeros((3, 4000), np.float32)[:, ::2]
    spaced[...] = SAMPLES
    offset = np.zeros(1 + SAMPLES.size, np.float32)[1:].reshape(SAMPLES.shape)
    offset[...] = SAMPLES
    read_only = SAMPLES.copy()
    read_only.flags.writeable = False
    for x in (
        spaced,
        SAMPLES[::-1][::-1],
        np.asfortranarray(SAMPLES),
        SAMPLES[:, ::-1].copy()[:, ::-1],
        offset,
        read_only,
    ):
        before = x.copy()
        got = operator(x)
        assert isinstance(got, np.ndarray)
        assert np.array_equal(got, want)
        assert np.array_equal(x, before)
    repeated = operator(np.broadcast_to(SAMPLES[0], (4, 2000)))
    assert np.array_equal(repeated, np.stack([want[0]] * 4))


def test_torch(operator: Operator) -> None:
    want = operator(SAMPLES)
    x = torch.from_numpy(SAMPLES)
    for view in (
        x,
        x.T.contiguous().T,
        x.repeat_interleave(2, dim=1)[:, ::2],
        torch.nn.Parameter(x, requires_grad=False),
    ):
        got = operator(view)
        assert isinstance(got, torch.Tensor)
        assert not isinstance(got, torch.nn.Parameter)
        assert np.array_equal(got.numpy(), want)
    expanded = operator(x[:1].expand(3, -1))
    assert torch.equal(expanded[0], expanded[2])


def test_torch_subtleties(operator: Operator) -> None:
    x = torch.from_numpy(SAMPLES)
    result = operator(x.clone().requires_grad_())
    assert result.requires_grad
    assert torch.equal(result.detach(), operator(x))
    with torch.no_grad():
        assert not operator(x.clone().requires_grad_()).requires_grad
    for half in (x.half(), x.bfloat16()):
        assert torch.equal(operator(half), operator(half.float()))
    assert operator(x.to("meta")).shape == operator(x).shape


def test_out_has_no_gradient() -> None:
    x = torch.from_numpy(SAMPLES)
    out = torch.empty_like(melisma.stft(x, 256, 64))
    with pytest.raises(melisma.InvalidArgument, match="input requires grad"):
        melisma.stft(x.clone().requires_grad_(), 256, 64, out=out)
    assert torch.equal(melisma.stft(x, 256, 64, out=out), melisma.stft(x, 256, 64))


def test_windows_of_other_kinds() -> None:
    want = melisma.stft(SAMPLES, 256, 64, window=np.hanning(256).astype(np.float32))
    window = np.hanning(256).astype(np.float32)
    doubled = np.repeat(window, 2)[::2]
    for w in (
        doubled,
        torch.from_numpy(window),
        torch.nn.Parameter(torch.from_numpy(window), requires_grad=False),
        DlpackOnly(window),
        ArrayInterfaceOnly(window),
    ):
        assert np.array_equal(melisma.stft(SAMPLES, 256, 64, window=w), want)
    precise = melisma.stft(SAMPLES, 256, 64, window=np.hanning(256))
    assert np.abs(precise - want).max() < 1e-4
    assert precise.dtype == np.complex64


def test_array_interface(operator: Operator) -> None:
    got = operator(ArrayInterfaceOnly(SAMPLES))
    assert np.array_equal(np.asarray(got), operator(SAMPLES))


def test_dlpack(operator: Operator) -> None:
    got = operator(DlpackOnly(SAMPLES))
    assert np.array_equal(np.asarray(got), operator(SAMPLES))


def test_mlx(operator: Operator) -> None:
    mx = pytest.importorskip("mlx.core", reason="MLX has no wheel for this machine")
    x = mx.array(SAMPLES)
    got = operator(x)
    assert isinstance(got, mx.array)
    assert np.array_equal(np.array(got), operator(SAMPLES))


def test_mlx_inverse() -> None:
    mx = pytest.importorskip("mlx.core", reason="MLX has no wheel for this machine")
    spec = melisma.stft(SAMPLES, 256, 64)
    got = melisma.istft(mx.array(spec), 256, 64)
    assert isinstance(got, mx.array)
    assert np.array_equal(np.array(got), melisma.istft(spec, 256, 64))


@pytest.mark.parametrize(
    "bad", [None, "a file.wav", 3.5, [0.0] * 1000, object(), b"0" * 4000, {"a": 1}], ids=lambda b: type(b).__name__
)
def test_things_that_are_no_arrays(operator: Operator, bad: Any) -> None:
    with pytest.raises(melisma.InvalidType, match=r"^\w+: "):
        operator(bad)


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "uint16", "int32", "int64", "float16", "longdouble", "object", "U1", ">f4"]
)
def test_dtypes_that_are_refused(operator: Operator, dtype: str) -> None:
    with pytest.raises(melisma.InvalidType, match=r"^\w+: "):
        operator(np.zeros(2000, dtype))


def test_misaligned_memory_is_refused_or_right(operator: Operator) -> None:
    raw = np.zeros(SAMPLES.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(SAMPLES.shape)
    raw[...] = SAMPLES
    with contextlib.suppress(melisma.InvalidArgument):
        assert np.array_equal(operator(raw), operator(SAMPLES))


def test_the_gil_is_released() -> None:
    x = np.zeros(20_000_000, np.float32)
    stamps: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            stamps.append(time.perf_counter())
            time.sleep(0.001)

    melisma.set_num_threads(1)
    thread = threading.Thread(target=tick)
    thread.start()
    start = time.perf_counter()
    melisma.mel_spectrogram(x, sample_rate=16000, n_fft=1024, hop_length=128, n_mels=80)
    end = time.perf_counter()
    stop.set()
    thread.join()
    fifth = (end - start) / 5
    assert any(start + fifth < stamp < end - fifth for stamp in stamps), f"nothing else ran in {end - start:.3f} s"


def test_calls_from_many_threads() -> None:
    want = {name: call(SAMPLES) for name, call in OPERATORS.items()}
    failures: list[str] = []

    def work() -> None:
        for _ in range(10):
            failures.extend(name for name, call in OPERATORS.items() if not np.array_equal(call(SAMPLES), want[name]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
