"""Blocks give the bits of the whole, wherever the cuts lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melisma.cli.errors import FileProblem
from melisma.cli.stream import FrameStream
from melisma.presets import PRESETS, Preset, features, finished

SMALL = {
    "reflect": Preset("s", "", 8000, 64, 16, n_bands=8, log="log10", top=3.0, offset=4.0, scale=0.25, drop_last=True),
    "constant": Preset("s", "", 8000, 64, 24, pad_mode="constant", n_bands=8, log="db", top=40.0),
    "replicate": Preset("s", "", 8000, 64, 100, pad_mode="replicate", bank="none"),
    "no padding": Preset("s", "", 8000, 60, 7, padding=0, win_length=33, n_bands=8, log="ln", power=1.0),
    "hop beyond frame, last dropped": Preset("s", "", 8000, 32, 90, n_bands=4, drop_last=True),
    "other padding": Preset("s", "", 8000, 64, 16, padding=24, n_bands=8, periodic_window=False),
    "pre-emphasis": Preset("s", "", 8000, 64, 16, preemphasis=0.97, n_bands=8, log="ln", add=1e-6, amin=1e-6),
    "covers": replace(PRESETS["madmom"], sample_rate=8000, n_fft=256, f_max=3900.0, f_min=200.0),
    "covers, fractional hop": replace(PRESETS["madmom"], sample_rate=8011, n_fft=256, f_max=3900.0, f_min=200.0),
}


def in_blocks(x: np.ndarray, preset: Preset, cuts: list[int]) -> np.ndarray:
    stream = FrameStream(preset)
    parts = [f for block in np.split(x, cuts, axis=-1) for f in stream.push(block)] + list(stream.close())
    assert parts, "no frames"
    y = np.concatenate(parts, axis=1).transpose(0, 2, 1)
    top = None if preset.top is None else y.max(axis=(1, 2), keepdims=True)
    return finished(y, preset, top)


@pytest.mark.parametrize("name", SMALL)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_cuts(name: str, data: st.DataObject) -> None:
    preset = SMALL[name]
    length = data.draw(
        st.integers(preset.n_fft + preset.hop_length if preset.hop_length else preset.n_fft, 2000), "length"
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, length), max_size=8), "cuts"))
    dtype = data.draw(st.sampled_from(["float32", "int16"]), "dtype")
    x = np.random.default_rng(length).standard_normal((2, length)) * (3000 if dtype == "int16" else 0.3)
    x = x.astype(dtype)
    np.testing.assert_array_equal(in_blocks(x, preset, cuts), features(x, preset.sample_rate, preset))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset(name: str) -> None:
    preset = PRESETS[name]
    x = np.random.default_rng(5).standard_normal((2, 3 * preset.sample_rate)).astype(np.float32) * 0.1
    x[:, 2 * preset.sample_rate :] = 0.0
    whole = features(x, preset.sample_rate, preset)
    for step in (preset.sample_rate * 5, 4801, 997):
        cuts = list(range(step, x.shape[-1], step))
        np.testing.assert_array_equal(in_blocks(x, preset, cuts), whole)


@pytest.mark.parametrize("name", ["reflect", "no padding"])
def test_too_short_is_one_clear_error(name: str) -> None:
    preset = SMALL[name]
    x = np.zeros((1, 32 if name == "reflect" else 59), np.float32)
    with pytest.raises(FileProblem, match=f"too short for preset 's': .* got {x.shape[-1]}"):
        in_blocks(x, preset, [])


def test_nothing_at_all_is_one_clear_error() -> None:
    with pytest.raises(FileProblem, match="no samples"):
        list(FrameStream(SMALL["constant"]).close())
