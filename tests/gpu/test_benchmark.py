"""The benchmark's suite "cuda": its smallest cases run, and both sides compute the same."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from gpu.common import needs_gpu
from melisma import benchmark

pytestmark = needs_gpu


@pytest.mark.parametrize("only", ["small:", "stft 4x160k"])
def test_small_cases(only: str, tmp_path: pathlib.Path) -> None:
    target = tmp_path / "cuda.json"
    assert benchmark.run("cuda", quick=True, only=only, json_out=target) == 0
    found: dict[str, Any] = json.loads(target.read_text())
    assert found["copy_gb_s"] > 100
    assert found["machine"]["gpu"]
    for row in found["rows"]:
        assert row["ours"] > 0
        assert row["verdict"] not in ("failed", "wrong"), row
