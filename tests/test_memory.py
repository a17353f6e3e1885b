"""Extra memory of the mel operators: the result and a fixed number of MB, whatever the length."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("resource", reason="needs getrusage")

# The pool of released results, one task's scratch for each thread and the library's tables.
FIXED_MB = 24
# Pages of the system's own that differ from run to run.
NOISE_MB = 4

PROGRAM = """
import resource, sys
import numpy as np
import melisma

unit = 1 if sys.platform == "darwin" else 1024
call = {call}
call(np.ones(100_000, np.float32))  # tables, threads
x = np.ones({samples}, np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
result = call(x)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
print((after - before - result.nbytes) / 2**20)
"""

OPERATORS = {
    "mel_spectrogram": "lambda x: melisma.mel_spectrogram(x, sample_rate=16000, n_mels=80)",
    "log_mel": "lambda x: melisma.log_mel(x, sample_rate=16000, n_mels=80, top_db=80.0)",
    "log_mel frame_major": "lambda x: melisma.log_mel(x, sample_rate=16000, n_mels=80, top_db=80.0, layout='frame_major')",
    "filtered_spectrogram": "lambda x: melisma.filtered_spectrogram(x, filterbank=np.ones((201, 40), np.float32), n_fft=400)",
}


def extra_mb(call: str, samples: int) -> float:
    program = PROGRAM.format(call=call, samples=samples)
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=120)
    return float(run.stdout)


@pytest.mark.parametrize("call", OPERATORS.values(), ids=OPERATORS)
def test_extra_memory_is_fixed(call: str) -> None:
    short, long = extra_mb(call, 8_000_000), extra_mb(call, 32_000_000)
    assert short <= FIXED_MB
    assert long <= FIXED_MB
    assert long - short <= NOISE_MB
