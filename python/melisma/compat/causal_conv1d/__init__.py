"""causal-conv1d's names, on any device: ``from melisma.compat.causal_conv1d import causal_conv1d_fn, causal_conv1d_update``.

Functions, module paths (``.causal_conv1d_interface``, ``.causal_conv1d_varlen``, ``.cpp_functions``) and signatures as in
causal-conv1d 1.6.1. What that package refuses is taken where it has a meaning: tensors on the CPU, any strides, 1 to 32 taps,
numbers of channels that are no multiple of 8, states of contiguous data, float64.

Libraries that import ``causal_conv1d`` by its own name find this package after ``melisma.compat.install("causal_conv1d")``.
"""

from .._install import VERSIONS
from .causal_conv1d_interface import causal_conv1d_fn, causal_conv1d_update

__version__ = VERSIONS["causal_conv1d"]

__all__ = ["causal_conv1d_fn", "causal_conv1d_update"]
