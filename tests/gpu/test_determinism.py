"""The same bits: run after run, alone and in a batch, on other threads; and sizes beyond 32-bit counts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import melisma
from gpu.common import CASES, CUDA, above, gradient, hann, needs_gpu, randn

pytestmark = needs_gpu


@pytest.mark.parametrize("name", CASES)
def test_thirty_runs(name: str) -> None:
    case = CASES[name]
    x = case.make(3)
    upstream = above(case, x)
    y, grad = case.call(x), gradient(case, x, upstream)
    for _ in range(29):
        torch.empty(1 << 20, device=CUDA).fill_(float("nan"))  # whatever memory a call is given
        assert torch.equal(case.call(x), y)
        assert torch.equal(gradient(case, x, upstream), grad)


def test_thirty_runs_of_the_windows_gradient() -> None:
    x, above_ = randn(5, 16000), randn(5, 201, 101, dtype=torch.complex64)
    options = (400, 160, 400, True, "reflect", False, True, False, False)
    want = torch.ops.melisma.stft_window_gradient(x, above_, *options)
    for _ in range(29):
        assert torch.equal(torch.ops.melisma.stft_window_gradient(x, above_, *options), want)


@pytest.mark.parametrize("name", CASES)
def test_each_item_alone(name: str) -> None:
    case = CASES[name]
    x = case.make(37)
    upstream = above(case, x)
    y, grad = case.call(x), gradient(case, x, upstream)
    for i in (0, 1, 17, 36):
        assert torch.equal(case.call(x[i : i + 1])[0], y[i])
        assert torch.equal(gradient(case, x[i : i + 1], upstream[i : i + 1])[0], grad[i])
    assert torch.equal(case.call(x[5]), y[5])


def test_python_threads() -> None:
    """Each with a stream of its own."""
    names = list(CASES)
    want = {name: CASES[name].call(CASES[name].make(2)) for name in names}
    torch.cuda.synchronize()

    def work(name: str) -> bool:
        with torch.cuda.stream(torch.cuda.Stream()):
            results = [CASES[name].call(CASES[name].make(2)) for _ in range(3)]
            torch.cuda.current_stream().synchronize()
            return all(torch.equal(result, want[name]) for result in results)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, names * 2))


# --- sizes -----------------------------------------------------------------------------------------------------------

GIB = 1 << 30


def needs_memory(gib: int) -> None:
    free, _ = torch.cuda.mem_get_info()
    if free < gib * GIB:
        pytest.skip(f"needs {gib} GiB of GPU memory")


@pytest.fixture(autouse=True)
def _give_back() -> None:
    torch.cuda.empty_cache()


def assert_items_alone(call, x: torch.Tensor, items: tuple[int, ...]) -> None:
    y = call(x)
    for i in items:
        assert torch.equal(y[i], call(x[i].clone())), i


@pytest.mark.parametrize("n", [512, 400])
def test_batches_beyond_65535(n: int) -> None:
    x = randn(70001, 2 * n)
    assert_items_alone(lambda x: melisma.stft(x, n, n // 2, window=hann(n)), x, (0, 65535, 65536, 70000))
    mel = {"sample_rate": 16000, "n_fft": n, "hop_length": n // 2, "n_mels": 20}
    assert_items_alone(lambda x: melisma.log_mel(x, **mel), x, (0, 65535, 65536, 70000))
    spectrum = melisma.stft(x, n, n // 2, window=hann(n))
    assert_items_alone(lambda s: melisma.istft(s, n, n // 2, window=hann(n)), spectrum, (0, 65535, 65536, 70000))


def test_signals_straddling_two_to_the_31() -> None:
    """More samples than 2^31 in a batch, and in one signal; the last frames are those of the signal's end alone."""
    needs_memory(60)
    samples = (1 << 30) + 12345
    x = torch.empty(2, samples, device=CUDA).uniform_(-1, 1)
    window = hann(512)
    y = melisma.stft(x, 512, 2048, window=window, center=False)
    for item in (0, 1):
        for frame in (0, y.shape[-1] - 1):
            cut = x[item, frame * 2048 : frame * 2048 + 512]
            assert torch.equal(y[item, :, frame], melisma.stft(cut, 512, 2048, window=window, center=False)[:, 0])
    one = x.view(-1)
    y = melisma.stft(one, 512, 2048, window=window, center=False)
    last = y.shape[-1] - 1
    cut = one[last * 2048 : last * 2048 + 512]
    assert torch.equal(y[:, last], melisma.stft(cut, 512, 2048, window=window, center=False)[:, 0])
    back = melisma.istft(y, 512, 2048, window=window, center=False, edge="zero")
    assert back.shape[-1] == 512 + 2048 * last
    assert torch.isfinite(back[-5000:]).all()


def test_results_straddling_two_to_the_31() -> None:
    """A spectrum of more than 2^31 values, in both layouts, and its way back."""
    needs_memory(100)
    x = torch.empty(64, 1_200_000, device=CUDA).uniform_(-1, 1)
    window = hann(1024)
    for layout in ("frequency_major", "frame_major"):
        spectrum = melisma.stft(x, 1024, 18, window=window, layout=layout)
        assert spectrum.numel() > 1 << 31
        for item in (0, 31, 63):
            assert torch.equal(spectrum[item], melisma.stft(x[item], 1024, 18, window=window, layout=layout))
        if layout == "frequency_major":
            back = melisma.istft(spectrum, 1024, 18, window=window, length=1_200_000)
            assert (back - x).abs().max() < 1e-5
            del back
        del spectrum
