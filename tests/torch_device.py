"""Where the tests of tensors run: on the CPU, or on a GPU where MELISMA_TEST_DEVICE=cuda is set.

Imported by what every such test file imports, so before the tensors of its own are made. That library code names the device of
each tensor that it makes is what tests/cuda sees, where the CPU stays PyTorch's default.
"""

from __future__ import annotations

import os

import torch

DEVICE = os.environ.get("MELISMA_TEST_DEVICE", "cpu")
if DEVICE != "cpu":
    torch.set_default_device(DEVICE)


def same(got: torch.Tensor, want: torch.Tensor) -> bool:
    """Whether two ways to one result agree: in every bit on the CPU; on a GPU, where the ways may take different kernels
    (a signal in half precision, a filter bank that a compiled graph knows nothing of), but for rounding."""
    if DEVICE == "cpu":
        return torch.equal(got, want)
    largest = float(want.detach().abs().max()) if want.numel() else 0.0
    return got.dtype == want.dtype and torch.allclose(got, want, rtol=1e-5, atol=4e-6 * largest)
