"""Compares the example program's log-mel with ``melisma.log_mel`` and with plain float64 arithmetic."""

import sys

import numpy as np
import soundfile

import melisma

# Both sides run the same kernel; the only freedom is the order in which a parameter is rounded.
TOLERANCE_DB = 1e-5


def main(wav: str, npy: str, n_mels: int) -> None:
    """Raise AssertionError where the results differ."""
    samples, rate = soundfile.read(wav, dtype="float32")
    got = np.load(npy)
    want = melisma.log_mel(samples.T, sample_rate=rate, n_fft=2048, hop_length=512, n_mels=n_mels)
    assert got.dtype == np.float32, got.dtype
    assert got.shape == want.shape == (2, n_mels, 1 + samples.shape[0] // 512), (got.shape, want.shape)
    difference = float(np.max(np.abs(got - want)))
    assert difference <= TOLERANCE_DB, f"{difference} dB > {TOLERANCE_DB} dB"
    assert np.ptp(got) > 20, "a flat spectrogram tells nothing"
    print(f"largest difference C++ - Python: {difference:g} dB over {got.size} values")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
