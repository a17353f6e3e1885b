"""What the dispatcher has to know of the convolution's operators that write to their arguments.

The step for decoding is differentiated as a convolution of the new steps whose initial states are taken out of the state as it
is before; the new state is written without a gradient.
"""

import functools
from typing import Any

import torch

from . import _library
from ._autograd import _REGISTRATIONS, _needs_gradient


def _taps_before(
    conv_state: torch.Tensor, rows: torch.Tensor, width: int, cache_seqlens: Any, num_accepted_tokens: Any
) -> torch.Tensor:
    """[B, D, W - 1]: what the state holds of each item's steps before the new ones."""
    places = torch.arange(width - 1, device=rows.device)
    length = conv_state.shape[-1]
    if cache_seqlens is not None:
        places = (cache_seqlens[:, None] - (width - 1) + places) % length
    elif num_accepted_tokens is not None:
        places = num_accepted_tokens[:, None] - 1 + places
    else:
        places = (length - (width - 1) + places).expand(rows.shape[0], -1)
    chosen = conv_state[rows]
    return chosen.gather(-1, places.long()[:, None].expand(-1, chosen.shape[1], -1))


def _differentiable_update(
    x: Any, conv_state: Any, weight: Any, bias: Any, cache_seqlens: Any, conv_state_indices: Any, num_accepted_tokens: Any,
    pad_slot_id: int, silu: bool, residual: bool,
) -> Any:  # fmt: skip
    before = conv_state.clone()
    with torch.no_grad():  # checks the arguments, too
        _library.causal_conv1d_update(
            x,
            conv_state,
            weight,
            bias,
            cache_seqlens,
            conv_state_indices,
            num_accepted_tokens,
            pad_slot_id,
            silu,
            residual,
        )
    rows = torch.arange(x.shape[0], device=x.device) if conv_state_indices is None else conv_state_indices.long()
    padding = (rows == pad_slot_id)[:, None, None]
    if conv_state_indices is not None:
        rows = torch.where(rows == pad_slot_id, 0, rows)
    initial = _taps_before(before, rows, weight.shape[1], cache_seqlens, num_accepted_tokens)
    steps = x.unsqueeze(-1) if x.ndim == 2 else x
    out, _ = _library.causal_conv1d(steps, weight, bias, None, None, None, initial, False, silu, residual, False)
    if conv_state_indices is not None:
        out = torch.where(padding, 0, out)
    return out.squeeze(-1) if x.ndim == 2 else out


def _update_kernel(keyset: Any, *args: Any) -> Any:
    if not _needs_gradient(*args[:4]):
        return _library.below_autograd(_library.causal_conv1d_update, keyset, *args)
    return _differentiable_update(*args)


def _without_gradient(op: Any, name: str, keyset: Any, *args: Any) -> None:
    if torch.is_grad_enabled() and torch._C._any_requires_grad(*(a for a in args if isinstance(a, torch.Tensor))):
        raise RuntimeError(
            f"{name}: out and states that are written to have no gradient, but an argument requires grad"
        )
    _library.below_autograd(op, keyset, *args)


def _marking(op: Any, written: tuple[int, ...]) -> Any:
    """The kernel that tells autograd which arguments an operator has written to."""

    def kernel(keyset: Any, *args: Any) -> Any:
        result = op.redispatch(keyset & torch._C._after_ADInplaceOrView_keyset, *args)
        torch._C._increment_version([args[i] for i in written if args[i] is not None])
        return result

    return kernel


_REGISTRATIONS.impl("causal_conv1d_update", _update_kernel, "Autograd", with_keyset=True)
for _name, _written in {"causal_conv1d_out": (10, 11), "causal_conv1d_update_out": (1, 10)}.items():
    _kernel = functools.partial(_without_gradient, getattr(_library, _name), _name.removesuffix("_out"))
    _REGISTRATIONS.impl(_name, _kernel, "Autograd", with_keyset=True)
    _REGISTRATIONS.impl(_name, _marking(getattr(_library, _name), _written), "ADInplaceOrView", with_keyset=True)
_REGISTRATIONS.impl(
    "causal_conv1d_update", _marking(_library.causal_conv1d_update, (1,)), "ADInplaceOrView", with_keyset=True
)
