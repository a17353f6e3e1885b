"""Random parameters: each call either raises one of the library's errors or is right."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import melisma
import reference
import tolerances

ERRORS = (melisma.InvalidArgument, melisma.InvalidType)


def check_text(error: Exception, *ops: str) -> None:
    assert str(error).split(": ")[0] in ops, str(error)


PAD_MODES = ["reflect", "constant", "replicate", "circular"]

sizes = st.one_of(st.integers(1, 70), st.sampled_from([100, 128, 400, 511, 512, 1024]), st.integers(-2, 600))
wild = st.one_of(
    st.integers(-(2**65), 2**65), st.floats(), st.none(), st.text(max_size=4), st.booleans(), st.binary(max_size=3),
    st.lists(st.integers(), max_size=2), st.complex_numbers(),
)  # fmt: skip
dtypes = st.sampled_from([np.float32, np.float64, np.int16])


@st.composite
def signals(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.one_of(st.tuples(st.integers(0, 900)), st.tuples(st.integers(1, 3), st.integers(1, 900))))
    dtype = draw(dtypes)
    x = np.random.default_rng(draw(st.integers(0, 99))).standard_normal((*shape, 2)) * (
        1000 if dtype == np.int16 else 1
    )
    x = x.astype(dtype)
    view: np.ndarray = draw(st.sampled_from([x[..., 0].copy(), x[..., 0], x[..., ::-1, 1], x[..., 0].T.copy().T]))
    return view


def framing() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"n_fft": sizes, "hop_length": sizes},
        optional={
            "win_length": sizes,
            "center": st.booleans(),
            "pad_mode": st.sampled_from(PAD_MODES),
            "layout": st.sampled_from(["frequency_major", "frame_major"]),
        },
    )


def exact_spectrum(x: np.ndarray, parameters: dict[str, Any], window: np.ndarray | None, **more: Any) -> np.ndarray:
    keep = {
        k: parameters[k]
        for k in ("win_length", "center", "pad_mode", "pad", "normalized", "onesided")
        if k in parameters
    }
    return reference.stft(x, parameters["n_fft"], parameters["hop_length"], window, **keep, **more)


def frequency_major(y: np.ndarray, parameters: dict[str, Any]) -> np.ndarray:
    return np.swapaxes(y, -1, -2) if parameters.get("layout") == "frame_major" else y


@settings(max_examples=400)
@given(x=signals(), parameters=framing(), normalized=st.booleans(), onesided=st.booleans(), windowed=st.booleans())
def test_stft(x: np.ndarray, parameters: dict[str, Any], normalized: bool, onesided: bool, windowed: bool) -> None:
    win_length = parameters.get("win_length", parameters["n_fft"])
    window = np.random.default_rng(1).uniform(0.1, 1.0, max(win_length, 1)).astype(np.float32) if windowed else None
    try:
        got = melisma.stft(x, window=window, normalized=normalized, onesided=onesided, **parameters)
    except ERRORS as error:
        check_text(error, "stft")
        return
    exact = exact_spectrum(x, {**parameters, "normalized": normalized, "onesided": onesided}, window)
    exact = exact / 32768 if x.dtype == np.int16 else exact
    bound = tolerances.stft(exact, parameters["n_fft"], tolerances.eps_of(x.dtype))
    tolerances.assert_within(frequency_major(got, parameters), exact, bound)


@settings(max_examples=400)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(0, 12)),
    n_fft=st.one_of(st.integers(1, 70), st.sampled_from([100, 400, 512])),
    hop_length=sizes,
    more=st.fixed_dictionaries(
        {},
        optional={
            "win_length": sizes,
            "center": st.booleans(),
            "normalized": st.booleans(),
            "length": st.one_of(st.none(), st.integers(-1, 2000)),
        },
    ),
    edge=st.sampled_from(["error", "zero", "clamp"]),
    name=st.sampled_from(["hann", "hamming", "rectangular"]),
)
def test_istft(shape: tuple[int, int], n_fft: int, hop_length: int, more: dict[str, Any], edge: str, name: str) -> None:
    rng = np.random.default_rng(n_fft)
    size = (shape[0], n_fft // 2 + 1, shape[1])
    spec = (rng.standard_normal(size) + 1j * rng.standard_normal(size)).astype(np.complex64)
    window = melisma.get_window(name, max(1, more.get("win_length", n_fft)))
    try:
        got = melisma.istft(spec, n_fft, hop_length, window=window, edge=edge, **more)
    except ERRORS as error:
        check_text(error, "istft")
        return
    exact = reference.istft(spec, n_fft, hop_length, window, edge=edge, **more)
    full = reference.centred_window(np.asarray(window), n_fft, more.get("win_length"))
    first = n_fft // 2 if more.get("center", True) else 0
    gain = reference.istft_amplification(full, shape[1], hop_length, first, exact.shape[-1])
    scaled = spec * (np.sqrt(n_fft) if more.get("normalized") else 1.0)
    tolerances.assert_within(got, exact, tolerances.istft(scaled, gain, n_fft) + 4 * tolerances.EPS32 * np.abs(exact))


@settings(max_examples=300)
@given(
    x=signals(),
    parameters=framing(),
    power=st.sampled_from([0.5, 1.0, 2.0, 2.5]),
    pad=st.integers(-1, 40),
    mel=st.fixed_dictionaries(
        {"n_mels": st.integers(0, 40)},
        optional={
            "f_min": st.integers(-10, 9000).map(float),
            "f_max": st.integers(-10, 9000).map(float),
            "mel_scale": st.sampled_from(["htk", "slaney"]),
            "norm": st.sampled_from([None, "slaney"]),
        },
    ),
)
def test_mel(x: np.ndarray, parameters: dict[str, Any], power: float, pad: int, mel: dict[str, Any]) -> None:
    try:
        got = melisma.mel_spectrogram(x, sample_rate=16000, power=power, pad=pad, pcm_scale=0.25, **parameters, **mel)
    except ERRORS as error:
        check_text(error, "mel_spectrogram", "filtered_spectrogram", "mel_filter_bank")
        return
    n_fft = parameters["n_fft"]
    window = np.asarray(melisma.get_window("hann", parameters.get("win_length", n_fft)), np.float64)
    scale = 0.25 if x.dtype == np.int16 else 1.0
    exact = scale * exact_spectrum(x, {**parameters, "pad": pad}, window)
    eps = tolerances.eps_of(x.dtype)
    bank = np.asarray(
        melisma.melscale_fbanks(
            n_fft // 2 + 1, mel.get("f_min", 0.0), mel.get("f_max", 8000.0), mel["n_mels"], 16000, mel.get("norm"),
            mel.get("mel_scale", "htk"),
        ),
        np.float64,
    )  # fmt: skip
    bounds = tolerances.filtered(tolerances.spectrogram(exact, n_fft, power, eps), bank)
    tolerances.assert_inside(frequency_major(got, parameters), bounds)


@settings(max_examples=500)
@given(
    op=st.sampled_from(["stft", "istft", "spectrogram", "mel_spectrogram", "log_mel", "filtered_spectrogram"]),
    arguments=st.dictionaries(
        st.sampled_from(
            ["n_fft", "hop_length", "win_length", "window", "center", "pad_mode", "normalized", "onesided", "length", "edge", "layout",
             "power", "pad", "sample_rate", "n_mels", "f_min", "f_max", "mel_scale", "norm", "log", "amin", "ref", "add", "top_db",
             "filterbank", "output_scale", "mul", "out", "return_complex", "pcm_scale"]
        ),
        wild,
        max_size=4,
    ),
)  # fmt: skip
def test_wild_arguments(op: str, arguments: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"n_fft": 64}
    x: np.ndarray = np.zeros((33, 5), np.complex64) if op == "istft" else np.zeros(500, np.float32)
    if op in ("mel_spectrogram", "log_mel"):
        usual |= {"sample_rate": 16000, "n_mels": 8}
    if op == "filtered_spectrogram":
        usual |= {"filterbank": np.ones((33, 2), np.float32)}
    known = inspect.signature(getattr(melisma, op)).parameters
    arguments = {name: value for name, value in arguments.items() if name in known}
    try:
        result = getattr(melisma, op)(x, **{**usual, **arguments})
    except (*ERRORS, MemoryError):
        return
    assert isinstance(result, np.ndarray)


@settings(max_examples=200)
@given(arguments=st.tuples(wild, wild, wild, wild, wild))
def test_wild_tables(arguments: tuple[Any, ...]) -> None:
    for name, call in (
        ("get_window", lambda: melisma.get_window(*arguments[:2])),
        ("get_window", lambda: melisma.get_window("hann", arguments[0], arguments[1])),
        ("melscale_fbanks", lambda: melisma.melscale_fbanks(*arguments)),
        ("log_filterbank", lambda: melisma.log_filterbank(*arguments[:2])),
        ("set_simd_target", lambda: melisma.set_simd_target(arguments[0])),
        ("set_num_threads", lambda: melisma.set_num_threads(arguments[0])),
    ):
        try:
            call()
        except (*ERRORS, MemoryError) as error:
            check_text(error, name)
