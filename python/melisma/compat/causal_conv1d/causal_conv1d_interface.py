"""Convolution of whole sequences and of the next steps, and both again out of PyTorch's operators."""

# No annotations on parameters: inspect.signature gives the original's.
# mypy: disable-error-code="no-untyped-def"

from typing import Any

import torch
import torch.nn.functional as F

from ... import convolution

__all__ = ["causal_conv1d_fn", "causal_conv1d_ref", "causal_conv1d_update", "causal_conv1d_update_ref"]


def _check_activation(activation: Any) -> None:
    if activation not in (None, "silu", "swish"):
        raise NotImplementedError(f"causal_conv1d: activation must be None, 'silu' or 'swish', got {activation!r}")


def causal_conv1d_fn(
    x,
    weight,
    bias=None,
    seq_idx=None,
    initial_states=None,
    return_final_states=False,
    final_states_out=None,
    activation=None,
):
    """Causal depthwise convolution along time, with bias and SiLU.

    Parameters
    ----------
    x : torch.Tensor
        ``[B, D, T]`` float16, bfloat16, float32 or float64, any strides.
    weight, bias : torch.Tensor
        ``[D, W]`` and, optionally, ``[D]``, each of its own dtype.
    seq_idx : torch.Tensor, optional
        ``[B, T]`` int32: to which of several sequences a step belongs. Where it is negative (padding), the result is 0.
    initial_states : torch.Tensor, optional
        ``[B, D, W - 1]``: the steps before the first.
    return_final_states : bool
        Return ``(out, final_states)``, the last ``W - 1`` steps of `initial_states` followed by `x`.
    final_states_out : torch.Tensor, optional
        Where these are written, ``[B, D, W - 1]``; ignored without `return_final_states`.
    activation : {None, "silu", "swish"}
        Applied to the sum.

    Returns
    -------
    torch.Tensor, or a pair of tensors
        ``[B, D, T]`` in x's dtype. Gradients go to `x`, `weight`, `bias` and `initial_states`, from `final_states` too.

    Raises
    ------
    NotImplementedError
        For another activation.
    AssertionError
        For `seq_idx` with `initial_states` or `return_final_states`.
    ValueError, TypeError (each a RuntimeError as well)
        For shapes, dtypes and devices that do not fit.
    """
    _check_activation(activation)
    if seq_idx is not None:
        assert initial_states is None, "causal_conv1d_fn: initial_states must be None where seq_idx is given"
        assert not return_final_states, "causal_conv1d_fn: return_final_states must be False where seq_idx is given"
    recorded = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (x, weight, bias, initial_states)
    )
    given = final_states_out if return_final_states else None
    result = convolution.causal_conv1d(
        x,
        weight,
        bias,
        seq_idx=seq_idx,
        initial_states=initial_states,
        return_final_states=bool(return_final_states),
        final_states_out=None if recorded else given,
        activation=activation,
    )
    if given is None or not recorded:
        return result
    out, final_states = result
    return out, given.copy_(final_states)  # so that its gradient is recorded


def causal_conv1d_update(
    x, conv_state, weight, bias=None, activation=None, cache_seqlens=None, conv_state_indices=None
):
    """Convolve the next step of each sequence, or the next few, and take them into `conv_state`, in place.

    Parameters
    ----------
    x : torch.Tensor
        ``[B, D]`` or ``[B, D, T]``.
    conv_state : torch.Tensor
        ``[B, D, S]``, ``S >= W - 1``, any strides: the last S steps; with `conv_state_indices` any number of rows.
    weight, bias : torch.Tensor
        ``[D, W]`` and, optionally, ``[D]``.
    activation : {None, "silu", "swish"}
        Applied to the sum.
    cache_seqlens : torch.Tensor, optional
        ``[B]`` int32: `conv_state` is a ring, in which the first new step goes to place ``cache_seqlens % S``.
    conv_state_indices : torch.Tensor, optional
        ``[B]`` int32: the row of each sequence; -1 is padding, for which no row changes and the result is 0.

    Returns
    -------
    torch.Tensor
        Of x's shape and dtype.

    Raises
    ------
    NotImplementedError
        For another activation.
    ValueError, TypeError (each a RuntimeError as well)
        For shapes, dtypes and devices that do not fit.
    """
    _check_activation(activation)
    return convolution.causal_conv1d_update(x, conv_state, weight, bias, activation, cache_seqlens, conv_state_indices)


def causal_conv1d_ref(
    x,
    weight,
    bias=None,
    initial_states=None,
    return_final_states=False,
    final_states_out=None,
    activation=None,
):
    """:func:`causal_conv1d_fn` out of PyTorch's operators, in the dtype of `weight`."""
    _check_activation(activation)
    steps, width = x.shape[-1], weight.shape[1]
    before = x.new_zeros(*x.shape[:-1], width - 1) if initial_states is None else initial_states
    taps = torch.cat([before.to(weight.dtype), x.to(weight.dtype)], -1)
    out = _depthwise(taps, weight, bias, activation, x.dtype)
    if not return_final_states:
        return out
    final_states = taps[..., steps:].to(x.dtype)
    return out, final_states if final_states_out is None else final_states_out.copy_(final_states)


def causal_conv1d_update_ref(x, conv_state, weight, bias=None, activation=None, cache_seqlens=None):
    """:func:`causal_conv1d_update` out of PyTorch's operators, in the dtype of `weight`."""
    _check_activation(activation)
    new = x if x.dim() == 3 else x[..., None]
    history, places, steps = weight.shape[1] - 1, conv_state.shape[-1], new.shape[-1]
    if cache_seqlens is None:
        before = conv_state[..., places - history :]
        kept = torch.cat([conv_state, new.to(conv_state.dtype)], -1)[..., steps:]
    else:
        at = cache_seqlens.to(torch.int64)[:, None, None]
        ages = torch.arange(-history, steps, device=x.device)
        index = torch.remainder(at + ages, places).expand(-1, new.shape[1], -1)
        before = conv_state.gather(2, index[..., :history])
        kept = conv_state.scatter(2, index[..., history:], new.to(conv_state.dtype))
    taps = torch.cat([before.to(weight.dtype), new.to(weight.dtype)], -1)
    conv_state.copy_(kept)
    out = _depthwise(taps, weight, bias, activation, x.dtype)
    return out if x.dim() == 3 else out[..., 0]


def _depthwise(taps: Any, weight: Any, bias: Any, activation: Any, dtype: torch.dtype) -> Any:
    out = F.conv1d(taps, weight[:, None], bias, groups=weight.shape[0])
    return (F.silu(out) if activation is not None else out).to(dtype)
