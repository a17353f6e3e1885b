"""The way of arrays on a GPU through the package, walked without one: a library of arrays whose memory is the host's."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import melisma
from melisma import _arrays, _device


class Host(_device.Library):
    """NumPy in the place of a GPU's library. What it is asked for is noted."""

    stream = 0
    asked: list[str] = []  # noqa: RUF012

    def empty(self, shape: tuple[int, ...], dtype: str, swapped: bool) -> Any:
        self.asked.append(f"empty {shape} {dtype}")
        if not swapped:
            return np.empty(shape, dtype)
        return np.empty((*shape[:-2], shape[-1], shape[-2]), dtype).swapaxes(-2, -1)

    def capsule(self, array: Any) -> Any:
        return array.__dlpack__()

    def workspace(self, size: int) -> int:
        raise AssertionError("the CPU's kernels take no memory of the caller's")

    def on_device(self, values: np.ndarray) -> Any:
        self.asked.append(f"upload {values.shape}")
        return values.copy()

    @staticmethod
    def index(array: Any) -> int:
        return 0


class There:
    """An array of that library."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, **_: Any) -> Any:
        raise AssertionError("taken by the library, not by NumPy")


@pytest.fixture(autouse=True)
def _host_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def take(array: There, op: str, argument: str) -> Any:
        return _device.DeviceArray(array.array, Host, array.array.dtype), There

    monkeypatch.setattr(_device, "take", take)
    monkeypatch.setattr(Host, "asked", [])
    _device._uploaded.cache_clear()
    _device._uploaded_bank.cache_clear()


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((3, 900)).astype(np.float32)


BANK = np.random.default_rng(1).random((33, 5)).astype(np.float32)
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "stft": ("stft", {"n_fft": 64, "window": "hann"}),
    "pairs": ("stft", {"n_fft": 64, "return_complex": False}),
    "rows": ("stft", {"n_fft": 64, "layout": "frame_major"}),
    "spectrogram": ("spectrogram", {"n_fft": 64}),
    "mel": ("mel_spectrogram", {"n_fft": 64, "sample_rate": 8000, "n_mels": 6}),
    "log_mel": ("log_mel", {"n_fft": 64, "sample_rate": 8000, "n_mels": 6, "top_db": 30.0}),
    "filtered": ("filtered_spectrogram", {"n_fft": 64, "filterbank": BANK}),
}


@pytest.mark.parametrize("name", CALLS)
def test_as_numpy(name: str, x: np.ndarray) -> None:
    op, options = CALLS[name]
    got, want = getattr(melisma, op)(There(x), **options), getattr(melisma, op)(x, **options)
    assert isinstance(got, There)
    assert got.array.tobytes() == want.tobytes()
    assert got.array.strides == want.strides


def test_istft(x: np.ndarray) -> None:
    spectrum = melisma.stft(x, 64, window="hann")
    got = melisma.istft(There(spectrum), 64, window="hann", length=900)
    assert got.array.tobytes() == melisma.istft(spectrum, 64, window="hann", length=900).tobytes()


def test_constants_are_uploaded_once(x: np.ndarray) -> None:
    window = np.hanning(64).astype(np.float32)
    for _ in range(3):
        melisma.stft(There(x), 64, window=window)
        melisma.mel_spectrogram(There(x), sample_rate=8000, n_fft=64, n_mels=6)
    assert sorted(note for note in Host.asked if note.startswith("upload")) == [
        "upload (33, 6)",
        "upload (64,)",
        "upload (64,)",  # the mel spectrogram's, in float64
    ]
    window[3] = 0.5  # another window
    changed = melisma.stft(There(x), 64, window=window).array
    assert changed.tobytes() == melisma.stft(x, 64, window=window).tobytes()


def test_windows_and_banks_that_lie_there(x: np.ndarray) -> None:
    window = np.hamming(64)
    got = melisma.filtered_spectrogram(There(x), filterbank=BANK, n_fft=64, window=There(window))
    assert got.array.tobytes() == melisma.filtered_spectrogram(x, filterbank=BANK, n_fft=64, window=window).tobytes()
    with pytest.raises(melisma.InvalidArgument, match="got a matrix"):  # which only a GPU's kernels read
        melisma.filtered_spectrogram(There(x), filterbank=There(BANK), n_fft=64)
    for options in ({"window": There(window), "filterbank": BANK}, {"filterbank": There(BANK)}):
        with pytest.raises(melisma.InvalidType, match="must be on the CPU as the input is"):
            melisma.filtered_spectrogram(x, n_fft=64, **options)


def test_the_envelope_is_checked_once_for_each_size(x: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    spectrum = melisma.stft(x, 64, window="hann")
    with pytest.raises(melisma.InvalidArgument, match="1e-11"):
        melisma.istft(There(spectrum), 64, window="hann", center=False)
    melisma.istft(There(spectrum), 64, window="hann")
    checked = []
    monkeypatch.setattr(_device._core, "check_istft_envelope", lambda *args: checked.append(args))
    melisma.istft(There(spectrum), 64, window="hann")
    melisma.istft(There(spectrum), 64, window=None)
    assert len(checked) == 1  # of the ones
    melisma.istft(There(spectrum[..., :-1]), 64, window="hann")
    assert len(checked) == 2


def test_out(x: np.ndarray) -> None:
    out = np.empty((3, 33, 57), np.complex64)
    given = There(out)
    assert melisma.stft(There(x), 64, window="hann", out=given) is given
    assert np.array_equal(out, melisma.stft(x, 64, window="hann"))
    with pytest.raises(melisma.InvalidType, match="out must be on the input's device"):
        melisma.stft(There(x), 64, out=out)


def test_explain(x: np.ndarray) -> None:
    for name, (op, options) in CALLS.items():
        if name == "pairs":  # explained as the complex result that they are
            continue
        assert melisma.explain(op, There(x), **options) == melisma.explain(op, x, **options)


def test_an_array_on_a_gpu_without_a_library_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    if "cupy" not in sys.modules:
        monkeypatch.setitem(sys.modules, "cupy", None)
        with pytest.raises(melisma.Unavailable, match="install CuPy"):
            _arrays.take(There(np.zeros(8, np.float32)), "stft", "input")
