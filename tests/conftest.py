"""What every test file shares: a fixed seed, and a library left as it was found."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings

import melisma

# The same examples in every run, so that a failure can be reproduced anywhere.
settings.register_profile("melisma", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("melisma")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240607)


@pytest.fixture(autouse=True)
def _library_as_found() -> Iterator[None]:
    threads = melisma.get_num_threads()
    yield
    melisma.set_num_threads(threads)
    melisma.set_simd_target("")
