"""Writes the stereo wav (float32, 22.05 kHz, two seconds) that the installed-package test works on."""

import sys

import numpy as np
import soundfile

SAMPLE_RATE = 22050  # Hz

rng = np.random.default_rng(3)
time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
left = 0.5 * np.sin(2 * np.pi * 440 * time) + 0.01 * rng.standard_normal(time.size)
right = 0.3 * np.sin(2 * np.pi * 3000 * time**2)
soundfile.write(sys.argv[1], np.stack([left, right], axis=1).astype(np.float32), SAMPLE_RATE, subtype="FLOAT")
