"""CuPy and JAX arrays on the GPU: the same kind back, on their stream, with PyTorch's tensors' values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import melisma
from gpu.common import needs_gpu, randn

pytestmark = needs_gpu
cupy = pytest.importorskip("cupy")
BANK = np.random.default_rng(1).random((201, 7)).astype(np.float32)
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "stft": ("stft", {"n_fft": 400, "hop_length": 160, "window": "hann"}),
    "stft rows": ("stft", {"n_fft": 512, "window": np.hanning(512).astype(np.float32), "layout": "frame_major"}),
    "pairs": ("stft", {"n_fft": 512, "return_complex": False}),
    "spectrogram": ("spectrogram", {"n_fft": 1024}),
    "log_mel": ("log_mel", {"n_fft": 400, "sample_rate": 16000, "n_mels": 40, "top_db": 50.0}),
    "filtered": ("filtered_spectrogram", {"n_fft": 400, "filterbank": BANK}),
}


@pytest.mark.parametrize("name", CALLS)
def test_cupy(name: str) -> None:
    op, options = CALLS[name]
    x = randn(3, 8000)
    got = getattr(melisma, op)(cupy.asarray(x), **options)
    assert isinstance(got, cupy.ndarray)
    want = getattr(melisma, op)(x, **options)
    assert np.array_equal(got.get(), want.cpu().numpy())


def test_cupy_istft() -> None:
    x = randn(3, 8000)
    spectrum = melisma.stft(cupy.asarray(x), 400, 160, window="hann")
    back = melisma.istft(spectrum, 400, 160, window="hann", length=8000)
    assert float(cupy.abs(back - cupy.asarray(x)).max()) < 1e-5
    pairs = melisma.stft(cupy.asarray(x), 400, 160, window="hann", return_complex=False)
    assert np.array_equal(melisma.istft(pairs, 400, 160, window="hann", length=8000).get(), back.get())
    with pytest.raises(melisma.InvalidArgument, match="1e-11"):
        melisma.istft(spectrum, 400, 160, window="hann", center=False)


def test_cupy_windows_banks_and_out_there() -> None:
    x = cupy.asarray(randn(3, 8000))
    window, weights = cupy.hanning(400).astype("float32"), cupy.asarray(BANK)
    options: dict[str, Any] = {"n_fft": 400, "hop_length": 160}
    got = melisma.filtered_spectrogram(x, filterbank=weights, window=window, **options)
    want = melisma.filtered_spectrogram(x, filterbank=BANK, window=window.get(), **options)
    np.testing.assert_allclose(got.get(), want.get(), rtol=1e-5, atol=1e-5)
    out = cupy.empty((3, 201, 51), "complex64")
    assert melisma.stft(x, 400, 160, window=window, out=out) is out
    assert np.array_equal(out.get(), melisma.stft(x, 400, 160, window=window.get()).get())


def test_cupy_streams_and_memory() -> None:
    x = cupy.asarray(randn(3, 80000))
    want = melisma.stft(x, 1024, window="hann").get()
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        late = cupy.full_like(x, cupy.nan)
        for _ in range(50):
            late = late * 1.0
        late[...] = x
        got = melisma.stft(late, 1024, window="hann")
    stream.synchronize()
    assert np.array_equal(got.get(), want)
    pool = cupy.get_default_memory_pool()
    del got, late
    melisma.log_mel(x, sample_rate=16000, top_db=20.0)  # window and filter bank are kept
    before = pool.used_bytes()
    for _ in range(5):
        melisma.log_mel(x, sample_rate=16000, top_db=20.0)
    assert pool.used_bytes() == before


@pytest.mark.parametrize("dtype", ["int16", "float16", "float32", "float64", "complex64", "complex128"])
def test_cupy_dtypes(dtype: str) -> None:
    x = cupy.asarray((np.random.default_rng(2).standard_normal((2, 3000)) * 1000).astype(dtype))
    got = melisma.stft(x, 400, 100, onesided=False)
    want = melisma.stft(x.get().astype("float32") if dtype == "float16" else x.get(), 400, 100, onesided=False)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got.get(), want, rtol=1e-5, atol=1e-4 * np.abs(want).max())


def test_cupy_convolution() -> None:
    """Every function, with values and layouts of PyTorch's tensors."""
    x, weight, bias, state = randn(2, 40, 300), randn(40, 4), randn(40), randn(3, 40, 3)
    there = [cupy.asarray(t) for t in (x, weight, bias)]
    out, states = melisma.causal_conv1d(*there, activation="silu", return_final_states=True)
    want, want_states = melisma.causal_conv1d(x, weight, bias, activation="silu", return_final_states=True)
    assert isinstance(out, cupy.ndarray)
    assert np.array_equal(out.get(), want.cpu().numpy())
    assert np.array_equal(states.get(), want_states.cpu().numpy())
    last = melisma.causal_conv1d(cupy.asarray(x.transpose(1, 2).contiguous()), *there[1:], channels_last=True)
    assert last.shape == (2, 300, 40)
    assert last.flags.c_contiguous
    mask = (x[:, 0] > 0).float()
    for given in (cupy.asarray(mask), mask.cpu().numpy(), mask[0].cpu().tolist()):
        fused = melisma.short_conv_fused(there[0].swapaxes(1, 2), there[1], None, given)
        wanted = melisma.short_conv_fused(x.transpose(1, 2), weight, None, mask if np.ndim(given) == 2 else mask[0])
        assert np.array_equal(fused.get(), wanted.cpu().numpy())
    index, kept = cupy.asarray([2, -1], dtype="int32"), cupy.array(state)  # a copy: both calls write to theirs
    one = melisma.causal_conv1d_update(there[0][..., 0], kept, *there[1:], conv_state_indices=index)
    wanted = melisma.causal_conv1d_update(x[..., 0], state, weight, bias, conv_state_indices=torch.from_dlpack(index))
    assert np.array_equal(one.get(), wanted.cpu().numpy())
    assert np.array_equal(kept.get(), state.cpu().numpy())
    ring = melisma.short_conv_update(there[0][..., 0], cupy.zeros((2, 40, 4), "float32"), there[1])
    assert ring.shape == (2, 40)
    with pytest.raises(melisma.InvalidType, match="weight must be on x's device cuda:0, got cpu"):
        melisma.causal_conv1d(there[0], weight.cpu().numpy())
    with pytest.raises(melisma.InvalidType, match="weight must be on x's device cpu, got cuda:0"):
        melisma.causal_conv1d(x.cpu().numpy(), there[1])


def test_jax() -> None:
    jax = pytest.importorskip("jax")
    if jax.default_backend() != "gpu":
        pytest.skip("JAX sees no GPU")
    x = jax.numpy.asarray(randn(3, 8000).cpu().numpy())
    for op, options in CALLS.values():
        got = getattr(melisma, op)(x * 1.0, **options)
        assert isinstance(got, jax.Array)
        want = getattr(melisma, op)(np.asarray(x), **options)
        np.testing.assert_allclose(np.asarray(got), want, rtol=1e-3, atol=1e-4 * np.abs(want).max())
    weight = jax.numpy.asarray(randn(8000, 4).cpu().numpy())
    got = melisma.causal_conv1d(x[None] * 1.0, weight, channels_last=True)
    assert isinstance(got, jax.Array)
    np.testing.assert_allclose(
        np.asarray(got),
        melisma.causal_conv1d(np.asarray(x)[None], np.asarray(weight), channels_last=True),
        rtol=1e-5,
        atol=1e-5,
    )
    with pytest.raises(melisma.InvalidArgument, match="conv_state must be a writable array"):
        melisma.causal_conv1d_update(x, jax.numpy.zeros((3, 8000, 3)), weight)
    back = melisma.istft(melisma.stft(x, 400, 100, window="hann"), 400, 100, window="hann")
    np.testing.assert_allclose(np.asarray(back), np.asarray(x), atol=1e-5)


def test_torch_tensors_by_dlpack_share_their_memory() -> None:
    x = randn(2, 4000)
    assert torch.equal(
        torch.from_dlpack(melisma.stft(cupy.from_dlpack(x), 400, window="hann")), melisma.stft(x, 400, window="hann")
    )
