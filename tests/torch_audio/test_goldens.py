"""melisma.torch's torchaudio names against torchaudio itself: results, signatures, attributes, state dicts.

The golden file is written by tools/torchaudio_goldens.py, which records the versions.
"""

from __future__ import annotations

import inspect
import json
import pathlib
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import tolerances
from melisma.torch import functional, transforms
from torch_audio import cases
from torch_device import DEVICE

GOLDEN = np.load(pathlib.Path(__file__).parent.parent / "golden" / "torchaudio" / "torchaudio.npz")
RECORD: dict[str, Any] = json.loads(GOLDEN["record"].tobytes())
# On a GPU random numbers are others, and PyTorch solves least squares by one driver only.
COMPARED = [
    case for case in cases.CASES if DEVICE == "cpu" or not (case.draws or case.kwargs.get("driver", "gels") != "gels")
]
MODULES = [case for case in cases.CASES if not case.functional]

# Arguments that torchaudio's constructors lack, all after theirs.
EXTRA = {"MFCC": [["top_db", 80.0]], "LFCC": [["top_db", 80.0]]}


def name_of(case: cases.Case) -> str:
    return case.name


def state_of(case: cases.Case) -> dict[str, torch.Tensor]:
    prefix = f"{case.name}/state/"
    return {
        name.removeprefix(prefix): torch.from_numpy(GOLDEN[name]).to(DEVICE)
        for name in GOLDEN.files
        if name.startswith(prefix)
    }


def build(case: cases.Case) -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of empty mel bands; tested by name elsewhere
        module: torch.nn.Module = getattr(transforms, case.target)(**case.kwargs)
    return module


def result_of(case: cases.Case, dtype: torch.dtype) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return cases.run(case, transforms, functional, dtype, state_of(case)).numpy(force=True)


def parameters(function: Any) -> list[list[Any]]:
    """As the golden script writes them."""
    return [
        [p.name] if p.default is p.empty else [p.name, getattr(p.default, "__name__", p.default)]
        for p in inspect.signature(function).parameters.values()
    ]


def test_the_record_covers_every_export() -> None:
    assert RECORD["torchaudio"].startswith("2.")
    assert set(RECORD["constructors"]) == set(transforms.__all__)
    assert set(RECORD["functions"]) == set(functional.__all__)


@pytest.mark.parametrize("case", COMPARED, ids=name_of)
def test_float64(case: cases.Case) -> None:
    want, got = GOLDEN[case.name], result_of(case, torch.float64)
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    # The same formula in float64 twice; a few hundred roundings of the largest value, seen are at most 12, on a GPU 230
    # (a phase vocoder's sums of phases).
    allowed = 200 if DEVICE == "cpu" else 1000
    bound = 0.0 if case.kind == "exact" else allowed * tolerances.EPS64 * float(np.abs(want).max())
    tolerances.assert_within(got, want, bound, case.name)


@pytest.mark.parametrize("case", COMPARED, ids=name_of)
def test_float32(case: cases.Case) -> None:
    theirs, got = GOLDEN[case.name + "/32"], result_of(case, torch.float32)
    assert got.shape == theirs.shape
    assert got.dtype == theirs.dtype
    if case.kind == "exact":
        assert np.array_equal(got, theirs)
        return
    if case.random:
        # Three rounds of stft and istft, some 5 eps each, and phases of small values in between.
        tolerances.assert_within(got, theirs, 64 * tolerances.EPS32 * float(np.abs(theirs).max()), case.name)
        return
    # At most twice torchaudio's own error in float32, and the rounding of the result.
    want = GOLDEN[case.name]
    rounding = 2 * tolerances.EPS32 * float(np.abs(want).max())
    tolerances.assert_within(got, want, 2 * float(np.abs(theirs - want).max()) + rounding, case.name)
    if case.kind == "decibel":
        assert np.abs(got - want).mean() <= 2 * np.abs(theirs - want).mean() + rounding / 4


@pytest.mark.parametrize("case", MODULES, ids=name_of)
def test_buffers_are_built_alike(case: cases.Case) -> None:
    theirs, ours = state_of(case), build(case).state_dict()
    assert list(ours) == list(RECORD["modules"][case.name]["state"])
    for name, value in theirs.items():
        assert [list(ours[name].shape), str(ours[name].dtype)] == RECORD["modules"][case.name]["state"][name]
        largest = float(value.abs().max())
        bound = tolerances.WINDOW32 * 4 if name.endswith("window") else tolerances.FILTERBANK_TORCHAUDIO * largest
        tolerances.assert_within(ours[name].numpy(force=True), value.numpy(force=True), bound, name)


@pytest.mark.parametrize("case", MODULES, ids=name_of)
def test_attributes_and_repr(case: cases.Case) -> None:
    module, theirs = build(case), RECORD["modules"][case.name]
    ours = {name: getattr(module, name) for name in theirs["attributes"]}
    assert ours == theirs["attributes"]
    assert repr(module) == theirs["repr"]


@pytest.mark.parametrize("name", transforms.__all__)
def test_constructor_signature(name: str) -> None:
    cls = getattr(transforms, name)
    assert parameters(cls) == RECORD["constructors"][name] + EXTRA.get(name, [])
    assert parameters(cls.forward)[1:] == RECORD["forwards"][name]
    assert cls.__dict__.get("__constants__") == RECORD["constants"][name]


@pytest.mark.parametrize("name", functional.__all__)
def test_function_signature(name: str) -> None:
    assert parameters(getattr(functional, name)) == RECORD["functions"][name]
