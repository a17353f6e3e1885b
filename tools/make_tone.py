"""Writes a short wav: a rising tone over a pulse of clicks, 44.1 kHz, mono, 16 bit. Needs the standard library only."""

from __future__ import annotations

import argparse
import math
import struct
import wave
from pathlib import Path

SAMPLE_RATE = 44100  # Hz


def tone(seconds: float) -> list[int]:
    """Return PCM16 samples of a sweep from 110 Hz to 7040 Hz with a click every half second."""
    count = int(seconds * SAMPLE_RATE)
    octaves = math.log2(7040 / 110)
    samples = []
    for i in range(count):
        t = i / SAMPLE_RATE
        # The phase is the integral of 110 * 2 ** (octaves * t / seconds).
        phase = 2 * math.pi * 110 * seconds / (octaves * math.log(2)) * (2 ** (octaves * t / seconds) - 1)
        click = math.exp(-400 * (t % 0.5)) * math.sin(2 * math.pi * 2500 * t)
        samples.append(round(32767 * (0.4 * math.sin(phase) + 0.4 * click)))
    return samples


def main() -> None:
    """Write the file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args()
    samples = tone(options.seconds)
    with wave.open(str(options.path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))


if __name__ == "__main__":
    main()
