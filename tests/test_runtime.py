"""Threads (also after a fork), environment variables, counters, result memory, import."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import melisma
from melisma import _core

MB = 1 << 20
SIGNAL = np.random.default_rng(7).standard_normal((4, 60000)).astype(np.float32)


def run(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MELISMA_")}
    done = subprocess.run(
        [sys.executable, "-c", "import numpy as np, melisma\n" + code],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


# --- threads ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity masks on this system")
def test_default_is_the_cpus_of_this_process() -> None:
    assert run("import os; print(melisma.get_num_threads() == len(os.sched_getaffinity(0)))") == "True"
    # `run` imports first, but the CPUs are counted at the first question.
    assert (
        run("import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); print(melisma.get_num_threads())")
        == "1"
    )


def test_environment_sets_threads() -> None:
    assert run("print(melisma.get_num_threads())", MELISMA_NUM_THREADS="3") == "3"


def child_spectrum(queue: Any, signal: Any, threads: int | None) -> None:
    if threads is not None:
        try:
            melisma.set_num_threads(threads)
        except melisma.Unavailable as error:
            queue.put(str(error))
            return
    queue.put((melisma.get_num_threads(), melisma.stft(signal, 512, 128)))


def from_child(method: str, threads: int | None = None) -> Any:
    context: Any = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=child_spectrum, args=(queue, SIGNAL, threads))
    child.start()
    try:
        return queue.get(timeout=120)
    finally:
        child.join(timeout=30)
        if child.is_alive():
            child.kill()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*fork.*:RuntimeWarning")
def test_fork_after_threads_ran_is_serial_and_right() -> None:
    melisma.set_num_threads(2)
    expected = melisma.stft(SIGNAL, 512, 128)
    threads, result = from_child("fork")
    assert threads == 1
    np.testing.assert_array_equal(result, expected)
    # Threads of the parent do not exist in the child: asking for them is refused rather than ignored.
    assert "set_num_threads: n must be 1" in from_child("fork", threads=2)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_started_workers_have_one_thread_unless_told_otherwise(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    monkeypatch.delenv("MELISMA_NUM_THREADS", raising=False)
    code = (
        "import multiprocessing as m, test_runtime as t\n"
        "if __name__ == '__main__':\n"
        f"  print(t.from_child('{method}')[0], t.from_child('{method}', threads=2)[0])"
    )
    here = os.path.dirname(os.path.abspath(__file__))
    assert run(code, PYTHONPATH=os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])) == "1 2"


def test_many_callers_at_once() -> None:
    melisma.set_num_threads(2)
    expected = [melisma.stft(SIGNAL[i], 512, 128) for i in range(4)]
    wrong: list[int] = []

    def caller(i: int) -> None:
        for _ in range(20):
            if not np.array_equal(melisma.stft(SIGNAL[i], 512, 128), expected[i]):
                wrong.append(i)

    callers = [threading.Thread(target=caller, args=(i,)) for i in range(4)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    assert wrong == []


# --- environment -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MELISMA_NUM_THREADS", "0"),
        ("MELISMA_NUM_THREADS", "two"),
        ("MELISMA_NUM_THREADS", "99999999999999999999"),
        ("MELISMA_POOL_MB", "-1"),
        ("MELISMA_SIMD", "AVX9000"),
        ("MELISMA_STRICT", "yes"),
        ("MELISMA_AUTOTUNE", "2"),
        ("MELISMA_CACHE", "off"),
        ("MELISMA_VARIANT", "fast-forward"),
        ("MELISMA_VARIANT", "fast-forward="),
        ("MELISMA_VARIANT", "fft=0"),
        ("MELISMA_VARIANT", "fast-forward=0;0"),
    ],
)
def test_bad_variables_are_named_at_each_call(name: str, value: str) -> None:
    code = (
        "for _ in range(2):\n"
        "  try: melisma.stft(np.ones(64, 'f4'), 16)\n"
        "  except melisma.InvalidArgument as e: print(e)"
    )
    for line in run(code, **{name: value}).splitlines():
        assert line.startswith(f"environment: {name} must be ")
        assert line.endswith(f"got '{value}'")


@pytest.mark.parametrize("target", melisma.simd_targets())
def test_environment_sets_the_simd_target(target: str) -> None:
    code = "melisma.stft(np.ones(64, 'f4'), 16); print(melisma.simd_target())"
    assert run(code, MELISMA_SIMD=target) == target


@pytest.mark.parametrize("target", melisma.simd_targets())
def test_simd_targets_can_be_chosen(target: str) -> None:
    melisma.set_simd_target(target)
    assert melisma.simd_target() == target
    assert melisma.explain("stft", SIGNAL, 512)["simd"] == target


def test_unknown_simd_target() -> None:
    before = melisma.simd_target()
    with pytest.raises(melisma.InvalidArgument, match="set_simd_target: name must be one of .*, got 'nothing'"):
        melisma.set_simd_target("nothing")
    assert melisma.simd_target() == before


def test_without_a_pool() -> None:
    code = "a = melisma.stft(np.ones(300000, 'f4'), 512); del a\nprint(melisma._core.pooled_bytes())"
    assert run(code, MELISMA_POOL_MB="0") == "0"


# --- result memory ---------------------------------------------------------------------------------------------------


def test_results_return_to_a_bounded_pool() -> None:
    _core.trim_pool()
    assert _core.pooled_bytes() == 0
    results = [melisma.stft(np.zeros((8, 200000), np.float32), 512, 128) for _ in range(8)]  # 26 MB each
    assert _core.pooled_bytes() == 0
    results.clear()
    assert 0 < _core.pooled_bytes() <= 64 * MB
    _core.trim_pool()
    assert _core.pooled_bytes() == 0


def test_a_released_block_is_used_again_and_a_held_one_is_not() -> None:
    first = melisma.stft(SIGNAL, 512, 128)
    address = first.ctypes.data
    view = first[0, :3]
    del first
    other = melisma.stft(SIGNAL, 512, 128)
    assert other.ctypes.data != address  # the view keeps the block
    del view, other
    again = [melisma.stft(SIGNAL, 512, 128) for _ in range(2)]
    assert address in [result.ctypes.data for result in again]


@pytest.mark.parametrize("samples", [2000, 200000, 12_000_000])  # malloc, pool, huge pages
def test_results_are_aligned_and_writable(samples: int) -> None:
    result = melisma.stft(np.zeros(samples, np.float32), 256, 256)
    assert result.ctypes.data % 64 == 0
    assert result.flags.writeable
    result[:] = 1


def test_impossible_sizes_are_a_memory_error() -> None:
    huge = np.broadcast_to(np.float32(0), (1 << 20, 1 << 30))
    with pytest.raises((MemoryError, melisma.InvalidArgument)):
        melisma.stft(huge, 4096, 1)


# --- what ran --------------------------------------------------------------------------------------------------------


def test_call_counts() -> None:
    melisma.reset_call_counts()
    assert melisma.call_counts() == []
    for _ in range(3):
        melisma.stft(SIGNAL, 512)
    melisma.spectrogram(SIGNAL)
    counts = melisma.call_counts()
    assert {entry["op"]: entry["calls"] for entry in counts} == {"stft": 3, "spectrogram": 1}
    assert {entry["reason"] for entry in counts} == {""}


def test_backends() -> None:
    known = {entry["name"]: entry for entry in melisma.backends()}
    assert set(known) == {"cpu", "cuda", "metal"}
    assert known["cpu"]["available"]
    assert melisma.simd_target() in known["cpu"]["reason"]
    assert all(entry["reason"] for entry in known.values())


@pytest.mark.parametrize(
    ("op", "arguments"),
    [
        ("stft", {"n_fft": 512}),
        ("spectrogram", {}),
        ("mel_spectrogram", {"sample_rate": 16000}),
        ("log_mel", {"sample_rate": 16000}),
        ("filtered_spectrogram", {"filterbank": np.eye(257, dtype=np.float32), "n_fft": 512}),
    ],
)
def test_explain(op: str, arguments: dict[str, Any]) -> None:
    melisma.reset_call_counts()
    told = melisma.explain(op, SIGNAL, **arguments)
    assert melisma.call_counts() == []  # nothing was computed
    assert told["backend"] == "cpu"
    assert told["kernel"]
    assert told["reason"]
    assert told["threads"] == melisma.get_num_threads()


def test_explain_refuses_what_the_operator_refuses() -> None:
    with pytest.raises(melisma.InvalidArgument, match="explain: op must be one of"):
        melisma.explain("fft", SIGNAL)
    with pytest.raises(melisma.InvalidArgument, match="n_fft"):
        melisma.explain("stft", SIGNAL, 0)


# --- import ----------------------------------------------------------------------------------------------------------


def test_import_needs_numpy_only() -> None:
    code = (
        "import sys\n"
        "print([m for m in ('torch', 'mlx', 'jax', 'scipy', 'librosa', 'matplotlib', 'typer', 'rich') if m in sys.modules])"
    )
    assert run(code) == "[]"
