"""The benchmark's suites on a GPU: their smallest cases run, and all sides compute the same."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from gpu.common import needs_gpu
from melisma import benchmark

pytestmark = needs_gpu


@pytest.mark.parametrize(
    ("suite", "only"),
    [
        ("cuda", "small:"),
        ("cuda", "stft 4x160k"),
        ("conv-cuda", "small: .* 1x64x128"),
        ("conv-cuda", "update 64x4096|Canon, small: .* B1 |accuracy"),
    ],
)
def test_small_cases(suite: str, only: str, tmp_path: pathlib.Path) -> None:
    target = tmp_path / "cuda.json"
    assert benchmark.run(suite, quick=True, only=only, json_out=target) == 0
    found: dict[str, Any] = json.loads(target.read_text())
    assert found["copy_gb_s"] > 100
    assert found["machine"]["gpu"]
    for row in found["rows"]:
        assert row["ours"] > 0
        assert row["verdict"] not in ("failed", "wrong"), row
        assert "Error" not in row["note"], row
