"""causal-conv1d-mps's names, on any device: ``from melisma.compat.causal_conv1d_mps import causal_conv1d, short_conv_fused``.

Functions, autograd classes, module path (``.autograd``) and signatures as in causal-conv1d-mps 0.1.0, with the fused
convolution and the step for decoding that its first releases had. Gradients go to x, weight and bias, of a step to the state as
it was as well; the ``_fwd`` and ``_fwd_only`` forms record none.

What differs from that package: tensors on any device, any strides, 1 to 32 taps instead of 4, float64; the ``_fwd_only`` form
takes masks of all shapes too; a state is updated in place whatever its strides, where there one that is not contiguous is left
as it was. As there, weights are rounded to x's dtype before they are used, and a step without `cache_seqlens` takes item b's
step number to be b: pass the numbers.
"""

from .._install import VERSIONS
from .autograd import (
    CausalConv1dMPSFunction,
    ShortConvFusedMPSFunction,
    ShortConvUpdateMPSFunction,
    causal_conv1d_fn,
    short_conv_fused_fn,
    short_conv_update_fn,
)
from .autograd import causal_conv1d_fn as causal_conv1d
from .autograd import short_conv_fused_fn as short_conv_fused
from .autograd import short_conv_update_fn as short_conv_update
from .forward import causal_conv1d_fwd, short_conv_fused_fwd_only, short_conv_update_fwd_only

__version__ = VERSIONS["causal_conv1d_mps"]

__all__ = [
    "CausalConv1dMPSFunction",
    "ShortConvFusedMPSFunction",
    "ShortConvUpdateMPSFunction",
    "causal_conv1d",
    "causal_conv1d_fn",
    "causal_conv1d_fwd",
    "short_conv_fused",
    "short_conv_fused_fn",
    "short_conv_fused_fwd_only",
    "short_conv_update",
    "short_conv_update_fn",
    "short_conv_update_fwd_only",
]
