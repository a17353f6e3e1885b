"""The same bits whatever the batch, the number of threads or the block of a longer signal; every SIMD target is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import melisma
import reference
import tolerances

SIZES = [7, 20, 64, 400, 512, 1024, 1103, 2048]
Forward = Callable[..., Any]


def forward_operators(n_fft: int) -> dict[str, Forward]:
    """Each takes (x, **framing) and gives [..., frames, rows]."""
    common = {"n_fft": n_fft, "hop_length": n_fft // 3 + 1, "layout": "frame_major"}
    bank = np.abs(np.random.default_rng(n_fft).standard_normal((n_fft // 2 + 1, 9))).astype(np.float32)
    window = melisma.get_window("hann", n_fft)
    return {
        "stft": lambda x, **k: melisma.stft(x, **common, window=window, **k),
        "spectrogram": lambda x, **k: melisma.spectrogram(x, **common, **k),
        "mel": lambda x, **k: melisma.mel_spectrogram(x, sample_rate=16000, n_mels=11, **common, **k),
        "log_mel": lambda x, **k: melisma.log_mel(x, sample_rate=16000, n_mels=11, **common, **k),
        "filtered": lambda x, **k: melisma.filtered_spectrogram(
            x, filterbank=bank, output_scale="log10", add=1.0, **common, **k
        ),
    }


@pytest.fixture(params=melisma.simd_targets())
def _target(request: pytest.FixtureRequest) -> None:
    melisma.set_simd_target(request.param)
    assert melisma.simd_target() == request.param


@pytest.mark.usefixtures("_target")
@pytest.mark.parametrize("n_fft", SIZES)
class TestBits:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
    def test_batch_and_threads(self, n_fft: int, dtype: type) -> None:
        rng = np.random.default_rng(n_fft)
        x = (rng.standard_normal((2, 3, 60 * n_fft)) * (1000 if dtype == np.int16 else 1)).astype(dtype)
        for name, op in forward_operators(n_fft).items():
            melisma.set_num_threads(1)
            whole = op(x)
            for i in range(2):
                for j in range(3):
                    assert op(x[i, j]).tobytes() == whole[i, j].tobytes(), name
            for threads in (2, 3):
                melisma.set_num_threads(threads)
                assert op(x).tobytes() == whole.tobytes(), f"{name}, {threads} threads"

    def test_blocks_of_a_longer_signal(self, n_fft: int) -> None:
        hop = n_fft // 3 + 1
        x = np.random.default_rng(n_fft).standard_normal(n_fft + 299 * hop).astype(np.float32)
        for name, op in forward_operators(n_fft).items():
            whole = op(x, center=False)
            for first, count in ((0, 1), (1, 7), (5, 16), (100, 33), (37, 131), (299, 1)):
                block = x[first * hop : first * hop + n_fft + (count - 1) * hop]
                assert op(block, center=False).tobytes() == whole[first : first + count].tobytes(), name

    def test_inverse(self, n_fft: int) -> None:
        rng = np.random.default_rng(n_fft)
        shape = (2, 3, n_fft // 2 + 1, 250)
        spec = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
        call = {
            "n_fft": n_fft,
            "hop_length": n_fft // 3 + 1,
            "window": melisma.get_window("hann", n_fft),
            "edge": "zero",
        }
        melisma.set_num_threads(1)
        whole = melisma.istft(spec, **call)
        for i in range(2):
            for j in range(3):
                assert melisma.istft(spec[i, j], **call).tobytes() == whole[i, j].tobytes()
        for threads in (2, 3):
            melisma.set_num_threads(threads)
            assert melisma.istft(spec, **call).tobytes() == whole.tobytes()

    def test_values(self, n_fft: int) -> None:
        x = np.random.default_rng(n_fft).standard_normal((2, 5 * n_fft)).astype(np.float32)
        window = np.asarray(melisma.get_window("hann", n_fft), np.float64)
        exact = reference.stft(x, n_fft, n_fft // 3 + 1, window)
        operators = forward_operators(n_fft)
        tolerances.assert_within(np.swapaxes(operators["stft"](x), -1, -2), exact, tolerances.stft(exact, n_fft))
        power = tolerances.spectrogram(exact, n_fft, 2.0)
        tolerances.assert_inside(np.swapaxes(operators["spectrogram"](x), -1, -2), power)
        bank = np.asarray(melisma.melscale_fbanks(n_fft // 2 + 1, 0.0, 8000.0, 11, 16000), np.float64)
        tolerances.assert_inside(np.swapaxes(operators["mel"](x), -1, -2), tolerances.filtered(power, bank))


def test_repeated_calls_and_fresh_memory_do_not_matter() -> None:
    x = np.random.default_rng(9).standard_normal(100_000).astype(np.float32)
    first = melisma.stft(x, 1024, 256).tobytes()
    for _ in range(5):
        assert melisma.stft(x, 1024, 256).tobytes() == first
        assert melisma.stft(x.copy(), 1024, 256, out=np.empty((513, 391), np.complex64)).tobytes() == first
