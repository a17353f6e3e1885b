"""Bad input: one error that names operator, argument and value, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import melisma

X = np.random.default_rng(4).standard_normal(1000).astype(np.float32)
BANK = np.ones((201, 3), np.float32)
NAN, INF, HUGE = float("nan"), float("inf"), 2**62

CALLS: dict[str, Callable[..., Any]] = {
    "stft": lambda x=X, **k: melisma.stft(x, **{"n_fft": 400, "hop_length": 100, **k}),
    "spectrogram": lambda x=X, **k: melisma.spectrogram(x, **{"n_fft": 400, **k}),
    "mel_spectrogram": lambda x=X, **k: melisma.mel_spectrogram(x, **{"sample_rate": 16000, "n_mels": 20, **k}),
    "log_mel": lambda x=X, **k: melisma.log_mel(x, **{"sample_rate": 16000, "n_mels": 20, **k}),
    "filtered_spectrogram": lambda x=X, **k: melisma.filtered_spectrogram(x, **{"filterbank": BANK, "n_fft": 400, **k}),
}
MEL = ("mel_spectrogram", "log_mel")
POWERS = ("spectrogram", *MEL, "filtered_spectrogram")


def refused(call: Callable[[], Any], *parts: str) -> None:
    """The call raises one of the library's errors, whose text holds each of parts."""
    with pytest.raises((melisma.InvalidArgument, melisma.InvalidType), match=r"^\w+: \S") as caught:
        call()
    text = str(caught.value)
    for part in parts:
        assert part in text, text
    assert "\n" not in text
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("op", CALLS)
class TestEveryOperator:
    @pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
    def test_empty_and_scalar_input(self, op: str, shape: tuple[int, ...]) -> None:
        refused(lambda: CALLS[op](np.zeros(shape, np.float32)), "input")

    @pytest.mark.parametrize("value", [0, -1, -(2**63), 2**63 - 1, HUGE])
    def test_n_fft(self, op: str, value: int) -> None:
        refused(lambda: CALLS[op](n_fft=value), "n_fft", str(value))

    @pytest.mark.parametrize("value", [0, -1, -(2**63)])
    def test_hop_length(self, op: str, value: int) -> None:
        refused(lambda: CALLS[op](hop_length=value), "hop_length", str(value))

    @pytest.mark.parametrize("value", [0, -1, 401, HUGE])
    def test_win_length(self, op: str, value: int) -> None:
        refused(lambda: CALLS[op](win_length=value), "win_length", str(value))

    @pytest.mark.parametrize("argument", ["n_fft", "hop_length", "win_length"])
    @pytest.mark.parametrize("value", [NAN, INF, 2.5, "4", [1], 2**64, -(2**64)])
    def test_sizes_that_are_no_int64(self, op: str, argument: str, value: Any) -> None:
        refused(lambda: CALLS[op](**{argument: value}), argument)

    def test_window_length(self, op: str) -> None:
        refused(lambda: CALLS[op](window=np.ones(399, np.float32)), "window", "399", "400")
        refused(lambda: CALLS[op](window=np.ones(300, np.float32), win_length=299), "window", "299", "300")
        refused(lambda: CALLS[op](window=np.ones((1, 400), np.float32)), "window")
        refused(lambda: CALLS[op](window=np.ones(0, np.float32)), "window")

    @pytest.mark.parametrize("dtype", ["int16", "int64", "complex64", "float16", "object"])
    def test_window_dtype(self, op: str, dtype: str) -> None:
        refused(lambda: CALLS[op](window=np.ones(400, dtype)), "window")

    def test_reflection_longer_than_the_signal(self, op: str) -> None:
        refused(lambda: CALLS[op](X[:200]), "reflect", "200")
        assert CALLS[op](X[:201]).shape[-1] >= 1
        refused(lambda: CALLS[op](X[:1], pad_mode="circular"), "circular")

    def test_no_whole_frame(self, op: str) -> None:
        refused(lambda: CALLS[op](X[:399], center=False), "n_fft", "400", "399")
        assert CALLS[op](X[:400], center=False).shape[-1] == 1

    @pytest.mark.parametrize("argument", ["pad_mode", "layout"])
    @pytest.mark.parametrize("value", ["mirror", "", "REFLECT", 3, b"reflect", "re\0flect", "é" * 100])
    def test_unknown_names(self, op: str, argument: str, value: Any) -> None:
        refused(lambda: CALLS[op](**{argument: value}), argument)

    def test_unknown_argument(self, op: str) -> None:
        with pytest.raises(TypeError, match="hop_size"):
            CALLS[op](hop_size=3)

    def test_out(self, op: str) -> None:
        good = CALLS[op]()
        for out, parts in (
            (np.zeros((1, *good.shape), good.dtype), ()),
            (np.zeros(good.shape[::-1], good.dtype), (str(good.shape[-1]),)),
            (np.zeros(good.shape, np.complex128 if np.iscomplexobj(good) else np.float64), ()),
            (np.zeros(good.shape, np.int32), ()),
            ([0.0], ()),
        ):
            refused(lambda out=out: CALLS[op](out=out), "out", *parts)  # type: ignore[misc]
        read_only = np.zeros_like(good)
        read_only.flags.writeable = False
        refused(lambda: CALLS[op](out=read_only), "out")
        assert not read_only.any()

    def test_nothing_is_written_before_an_error(self, op: str) -> None:
        out = np.full_like(CALLS[op](), np.nan)
        before = out.tobytes()
        refused(lambda: CALLS[op](out=out, hop_length=0))
        refused(lambda: CALLS[op](out=out, window=np.ones(3, np.float32)))
        assert out.tobytes() == before

    def test_out_that_overlaps_the_input(self, op: str) -> None:
        shape, dtype = CALLS[op]().shape, CALLS[op]().dtype
        block = np.zeros(int(np.prod(shape)) * dtype.itemsize, np.uint8)
        if block.size < X.nbytes:
            block = np.zeros(X.nbytes, np.uint8)
        x = block[: X.nbytes].view(np.float32)
        out = block[: int(np.prod(shape)) * dtype.itemsize].view(dtype).reshape(shape)
        refused(lambda: CALLS[op](x, out=out), "out")


@pytest.mark.parametrize("op", POWERS)
class TestPowers:
    @pytest.mark.parametrize("value", [0.0, -1.0, NAN, INF, "2", None])
    def test_power(self, op: str, value: Any) -> None:
        refused(lambda: CALLS[op](power=value), "power")

    @pytest.mark.parametrize("value", [-1, HUGE, NAN])
    def test_pad(self, op: str, value: Any) -> None:
        refused(lambda: CALLS[op](pad=value), "pad")

    @pytest.mark.parametrize("value", [NAN, INF, "x"])
    def test_pcm_scale(self, op: str, value: Any) -> None:
        refused(lambda: CALLS[op](np.zeros(1000, np.int16), pcm_scale=value), "pcm_scale")

    @pytest.mark.parametrize("value", ["hannn", "", "\0"])
    def test_window_name(self, op: str, value: str) -> None:
        refused(lambda: CALLS[op](window=value), "hann")

    def test_complex_input(self, op: str) -> None:
        refused(lambda: CALLS[op](X.astype(np.complex64)), "input", "complex64")


@pytest.mark.parametrize("op", MEL)
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("sample_rate", v) for v in (0, -1, NAN, INF, "16k")),
        *(("n_mels", v) for v in (0, -1, HUGE, NAN, 2.5)),
        *(("f_min", v) for v in (-1.0, NAN, INF, 9000.0)),
        *(("f_max", v) for v in (0.0, NAN, INF)),
        *(("mel_scale", v) for v in ("bark", "", 3)),
        *(("norm", v) for v in ("area", "", 3)),
        *(("normalized", v) for v in ("yes", "")),
    ],
)
def test_mel(op: str, argument: str, value: Any) -> None:
    refused(lambda: CALLS[op](**{argument: value}))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("log", v) for v in ("log2", "", None)),
        *(("amin", v) for v in (0.0, -1e-10, NAN, INF)),
        *(("ref", v) for v in (NAN, INF, -1.0)),
        *(("add", v) for v in (NAN, INF)),
        *(("top_db", v) for v in (-1.0, NAN, "80")),
        *(("top_db_scope", v) for v in ("batch", "")),
    ],
)
def test_log_mel(argument: str, value: Any) -> None:
    refused(lambda: CALLS["log_mel"](**{"log": "db" if argument != "add" else "ln", "top_db": 80.0, argument: value}))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("output_scale", v) for v in ("log2", "", None)),
        *(("mul", v) for v in (NAN, INF)),
        *(("add", v) for v in (NAN, INF)),
        *(("amin", v) for v in (-1.0, NAN)),
    ],
)
def test_filtered(argument: str, value: Any) -> None:
    refused(lambda: CALLS["filtered_spectrogram"](**{"output_scale": "log10", argument: value}))


class TestInverse:
    SPEC = np.ones((201, 10), np.complex64)

    def call(self, **kwargs: Any) -> Any:
        return melisma.istft(**{"input": self.SPEC, "n_fft": 400, "hop_length": 100, **kwargs})

    @pytest.mark.parametrize(
        ("argument", "value"),
        [
            *(("n_fft", v) for v in (0, -1, 402, HUGE, NAN, 2**64)),
            *(("hop_length", v) for v in (0, -1, HUGE, NAN)),
            *(("win_length", v) for v in (0, -1, 401, NAN)),
            *(
                ("window", v)
                for v in (np.ones(399, np.float32), np.ones(400, np.complex64), np.ones((400, 1), np.float32))
            ),
            *(("length", v) for v in (-1, HUGE * 2, NAN, "all")),
            *(("edge", v) for v in ("wrap", "", None)),
            *(("layout", v) for v in ("bfn", 3)),
        ],
        ids=str,
    )
    def test_arguments(self, argument: str, value: Any) -> None:
        refused(lambda: self.call(**{argument: value}), "" if argument == "n_fft" and value == 402 else argument)

    @pytest.mark.parametrize("shape", [(), (201,), (201, 0), (0, 10), (200, 10), (10, 201)])
    def test_input_shapes(self, shape: tuple[int, ...]) -> None:
        refused(lambda: self.call(input=np.zeros(shape, np.complex64)), "input")

    def test_out_is_untouched(self) -> None:
        out = np.full(900, np.nan, np.float32)
        hann = melisma.get_window("hann", 400)
        refused(lambda: self.call(center=False, window=hann, out=out), "out")
        out = np.full(1300, np.nan, np.float32)
        refused(lambda: self.call(center=False, window=hann, out=out), "window")
        assert np.isnan(out).all()


class TestTables:
    @pytest.mark.parametrize(
        "arguments", [("hannn", 8), ("hann", 0), ("hann", -1), ("hann", HUGE), ("hann", NAN), (3, 8), (None, 8)]
    )
    def test_windows(self, arguments: tuple[Any, ...]) -> None:
        with pytest.raises((melisma.InvalidArgument, melisma.InvalidType, MemoryError), match=r"^\w+: "):
            melisma.get_window(*arguments)

    @pytest.mark.parametrize(
        "arguments",
        [(0, 0.0, 8000.0, 80, 16000), (201, 0.0, 8000.0, 0, 16000), (201, 9000.0, 8000.0, 80, 16000), (201, NAN, 8000.0, 80, 16000),
         (201, 0.0, INF, 80, 16000), (201, 0.0, 8000.0, 80, 0), (HUGE, 0.0, 8000.0, 80, 16000), (201, 0.0, 8000.0, HUGE, 16000),
         (201, 0.0, 8000.0, 80, 16000, "area"), (201, 0.0, 8000.0, 80, 16000, None, "bark")],
    )  # fmt: skip
    def test_mel_banks(self, arguments: tuple[Any, ...]) -> None:
        refused(lambda: melisma.melscale_fbanks(*arguments))

    @pytest.mark.parametrize("change", [{"n_freqs": 0}, {"sample_rate": NAN}, {"num_bands": 0}, {"f_min": 0.0}, {"f_max": 10.0},
                                        {"f_ref": NAN}, {"num_bands": 100_000}, {"n_freqs": 2}])  # fmt: skip
    def test_log_banks(self, change: dict[str, Any]) -> None:
        arguments = {"n_freqs": 1024, "sample_rate": 44100.0, **change}
        refused(lambda: melisma.log_filterbank(arguments.pop("n_freqs"), arguments.pop("sample_rate"), **arguments))


def test_results_that_no_machine_can_hold() -> None:
    x = np.broadcast_to(np.float32(0), (2**30, 2**30))
    for call in CALLS.values():
        with pytest.raises((MemoryError, melisma.InvalidArgument), match=r"\d"):
            call(x)


def test_a_result_too_large_for_memory_is_a_memory_error() -> None:
    x = np.broadcast_to(np.float32(0), (2**44,))
    with pytest.raises(MemoryError, match=r"\d"):
        melisma.stft(x, 400, 100)


@pytest.mark.parametrize("value", [0, -1, 2**40, NAN, "two", None])
def test_thread_counts(value: Any) -> None:
    before = melisma.get_num_threads()
    refused(lambda: melisma.set_num_threads(value), "threads")
    assert melisma.get_num_threads() == before


def test_simd_target_names() -> None:
    refused(lambda: melisma.set_simd_target("MMX"), "MMX")


def test_exceptions_are_the_hosts() -> None:
    assert issubclass(melisma.InvalidArgument, ValueError)
    assert issubclass(melisma.InvalidArgument, RuntimeError)
    assert issubclass(melisma.InvalidType, TypeError)
    assert issubclass(melisma.InvalidType, RuntimeError)
    assert issubclass(melisma.Unavailable, RuntimeError)
