"""The short causal convolution of a model's blocks as a module, and what it keeps between the steps of decoding."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from ..convolution import causal_conv1d_update, short_conv_fused
from ..errors import InvalidArgument

__all__ = ["ShortConvolution", "ShortConvolutionCache"]

_OP = "ShortConvolution"
_MOST_TAPS = 32  # kMostConvTaps of melisma/causal_conv1d.h

# A part of the input with its channels of weight and bias.
Shares = list[tuple[torch.Tensor, torch.Tensor, Any]]


class ShortConvolution(torch.nn.Module):
    """Causal depthwise convolution along time with bias, SiLU, mask and residual: one pass over memory.

    Parameters
    ----------
    hidden_size : int
        Channels D.
    kernel_size : int
        Taps W, 1 to 32.
    bias : bool
        Whether a bias of D values is learned.
    activation : {None, "silu", "swish"}
        Applied to the sum.
    residual : bool
        Whether the input, as it is before the mask, is added after that.
    channels_last : bool
        Whether inputs are ``[B, T, D]``; otherwise ``[B, D, T]``, as :class:`torch.nn.Conv1d` takes them.
    layer_idx : int, optional
        The number of this layer's state in a :class:`ShortConvolutionCache`, which numbers the layers that have none.
    device, dtype : optional
        Of the parameters.

    Attributes
    ----------
    weight : torch.nn.Parameter
        ``[D, 1, W]``, oldest tap first: the name, shape and initial values of a depthwise ``torch.nn.Conv1d``, so that
        checkpoints go either way. ``load_state_dict`` takes ``[D, W]`` as well.
    bias : torch.nn.Parameter or None
        ``[D]``.

    Notes
    -----
    ``y = [x +] [silu](bias + conv(mask * x))``, zeros or the state before the first step. The steps of :meth:`step` are those
    of :meth:`forward` in every bit, and so are calls on the pieces of a sequence that pass on the state.

    Wherever an input is taken, a tuple of tensors may stand, whose channels together are D: projections that lie apart.
    Each goes through its own channels of the weight, as if they had been concatenated, without the copy, and the result
    is a tuple. Of one linear layer for all of them, pass the result itself, and split what comes back.

    Canon layers are this module at four places of a block, ``ShortConvolution(size, activation=None, residual=True)``:

    - A: ``h = canon_a(norm(h))`` before attention
    - B: ``q, k, v = canon_b((q, k, v))``, or ``canon_b(qkv(h)).split(sizes, -1)``
    - C: ``h = canon_c(norm(h))`` before the MLP
    - D: ``gate, up = canon_d((gate, up))``

    In a Mamba-style block ``ShortConvolution.from_conv1d(self.conv1d, activation="silu")`` takes the place of convolution,
    cut and activation, or of ``causal_conv1d_fn(x, rearrange(conv1d.weight, "d 1 w -> d w"), conv1d.bias, activation="silu")``.
    """

    def __init__(
        self,
        hidden_size: int,
        kernel_size: int = 4,
        bias: bool = False,
        activation: str | None = "silu",
        residual: bool = False,
        *,
        channels_last: bool = True,
        layer_idx: int | None = None,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if hidden_size < 1:
            raise InvalidArgument(f"{_OP}: hidden_size must be positive, got {hidden_size}")
        if not 1 <= kernel_size <= _MOST_TAPS:
            raise InvalidArgument(f"{_OP}: kernel_size must be 1 to {_MOST_TAPS}, got {kernel_size}")
        if activation not in (None, "silu", "swish"):
            raise InvalidArgument(f"{_OP}: activation must be None, 'silu' or 'swish', got {activation!r}")
        self.hidden_size, self.kernel_size = hidden_size, kernel_size
        self.activation, self.residual = activation, residual
        self.channels_last, self.layer_idx = channels_last, layer_idx
        self.weight = torch.nn.Parameter(torch.empty(hidden_size, 1, kernel_size, device=device, dtype=dtype))
        if bias:
            self.bias = torch.nn.Parameter(torch.empty(hidden_size, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    @classmethod
    def from_conv1d(
        cls,
        conv: torch.nn.Conv1d,
        activation: str | None = None,
        residual: bool = False,
        *,
        channels_last: bool = False,
        layer_idx: int | None = None,
    ) -> ShortConvolution:
        """Take over the parameters of a depthwise convolution, which go on being shared with it.

        Parameters
        ----------
        conv : torch.nn.Conv1d
            With ``groups = in_channels = out_channels``, stride and dilation 1 and the padding ``kernel_size - 1``, of whose
            result the first T steps are used, or no padding; with zeros.
        activation, residual, channels_last, layer_idx
            As of the class; by default inputs and results are ``[B, D, T]``, as those of `conv`. Cutting the result to T
            steps, as what `conv` gives needs, does no harm.

        Raises
        ------
        melisma.InvalidArgument
            For any other convolution.
        """
        if not conv.in_channels == conv.out_channels == conv.groups:
            raise InvalidArgument(
                f"{_OP}: conv must be depthwise, got in_channels {conv.in_channels}, out_channels {conv.out_channels}, "
                f"groups {conv.groups}"
            )
        (taps,) = conv.kernel_size
        if conv.stride != (1,) or conv.dilation != (1,) or conv.padding not in ((taps - 1,), (0,), "valid"):
            raise InvalidArgument(
                f"{_OP}: conv must have stride 1, dilation 1 and padding 0 or {taps - 1}, got stride {conv.stride}, "
                f"dilation {conv.dilation}, padding {conv.padding}"
            )
        if conv.padding_mode != "zeros":
            raise InvalidArgument(f"{_OP}: conv must pad with zeros, got padding_mode {conv.padding_mode!r}")
        made = cls(conv.groups, taps, False, activation, residual, channels_last=channels_last, layer_idx=layer_idx,
                   device="meta")  # fmt: skip
        made.weight, made.bias = conv.weight, conv.bias
        return made.train(conv.training)

    def reset_parameters(self) -> None:
        """Initialize as ``torch.nn.Conv1d`` does: uniform in +-1 / sqrt(W)."""
        bound = 1 / math.sqrt(self.kernel_size)
        for parameter in self.parameters(recurse=False):
            torch.nn.init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        text = f"{self.hidden_size}, kernel_size={self.kernel_size}, bias={self.bias is not None}, "
        text += f"activation={self.activation!r}, residual={self.residual}"
        return text if self.channels_last else text + ", channels_last=False"

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        weight = state_dict.get(prefix + "weight")
        if weight is not None and weight.dim() == 2:
            state_dict[prefix + "weight"] = weight.unsqueeze(1)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(
        self,
        x: torch.Tensor | Sequence[torch.Tensor],
        attention_mask: torch.Tensor | None = None,
        *,
        seq_idx: torch.Tensor | None = None,
        cu_seqlens: torch.Tensor | None = None,
        initial_states: torch.Tensor | None = None,
        cache: ShortConvolutionCache | torch.Tensor | None = None,
        indices: torch.Tensor | None = None,
        output_final_state: bool = False,
    ) -> Any:
        """Convolve whole sequences, or the next piece of those that a cache knows.

        Parameters
        ----------
        x : torch.Tensor, or a tuple of tensors
            ``[B, T, D]`` (``[B, D, T]`` without `channels_last`), any strides.
        attention_mask : torch.Tensor, optional
            In any shape that :func:`melisma.short_conv_fused` takes, ``[B, T]`` for one. A padded prompt that goes on from a
            cache is padded at its beginning.
        seq_idx : torch.Tensor, optional
            ``[B, T]`` int32: to which of several sequences a step belongs; -1 is padding.
        cu_seqlens : torch.Tensor, optional
            ``[N + 1]`` int32 or int64: where N sequences begin that are packed along the time of one item.
        initial_states : torch.Tensor, optional
            ``[B, D, W - 1]``, with `cu_seqlens` ``[N, D, W - 1]``: the taps before the first step.
        cache : ShortConvolutionCache or torch.Tensor, optional
            Whence these come and where the last taps go, in place: this layer's state, or one ``[rows, D, W - 1]``. No gradient
            goes through it.
        indices : torch.Tensor, optional
            ``[B]`` or ``[N]`` int32 or int64: the row of `cache` of each sequence, none twice; otherwise sequence i has row i.
        output_final_state : bool
            Return ``(y, final_states)``, ``[B, D, W - 1]`` or ``[N, D, W - 1]``, for the next piece's `initial_states`.

        Returns
        -------
        torch.Tensor, a tuple of tensors, or a pair of these and the final states
            Of x's shapes and dtypes.

        Raises
        ------
        melisma.InvalidArgument, melisma.InvalidType
            Naming the argument, its limit and the value.
        """
        shares = self._shares(x, (3,))
        first = shares[0][0]
        options = (attention_mask, seq_idx, cu_seqlens)
        if cache is None:
            if indices is not None:
                raise InvalidArgument(f"{_OP}: indices need a cache")
            y, final = self._convolve(shares, initial_states, output_final_state, *options)
        else:
            if initial_states is not None:
                raise InvalidArgument(f"{_OP}: initial_states and cache exclude each other")
            state = self._state(cache)
            if (
                first.shape[1 if self.channels_last else 2] == 1
                and not output_final_state
                and options == (None, None, None)
            ):
                return self.step(x, state, indices=indices)
            sequences = first.shape[0] if cu_seqlens is None else cu_seqlens.shape[0] - 1
            y, final = self._convolve(shares, _rows(state, sequences, indices), True, *options)
            with torch.no_grad():
                if indices is None:
                    state[:sequences].copy_(final)
                else:
                    state.index_copy_(0, indices.to(torch.int64), final.to(state.dtype))
        if isinstance(x, torch.Tensor):
            y = y[0]
        return (y, final) if output_final_state else y

    def step(
        self,
        x: torch.Tensor | Sequence[torch.Tensor],
        cache: ShortConvolutionCache | torch.Tensor,
        *,
        indices: torch.Tensor | None = None,
        pad_slot_id: int = -1,
    ) -> Any:
        """Convolve the next step of each sequence, or the next few, and take them into the cache, in place.

        Nothing is read on the host, and nothing else than the result is allocated: a CUDA graph may contain it.

        Parameters
        ----------
        x : torch.Tensor, or a tuple of tensors
            ``[B, D]``, or as :meth:`forward` takes it.
        cache : ShortConvolutionCache or torch.Tensor
            This layer's state in it, or a state ``[rows, D, S]``, ``S >= W - 1``, whose last W - 1 places are the taps.
        indices : torch.Tensor, optional
            ``[B]`` int32, or int64 at the cost of a copy: the row of each sequence, none twice; otherwise sequence i has row i.
        pad_slot_id : int
            The index of a sequence that is padding: it has no row, and its result is 0.

        Returns
        -------
        torch.Tensor, or a tuple of tensors
            Of x's shapes and dtypes.
        """
        shares = self._shares(x, (2, 3))
        states = _split(self._state(cache), shares)
        if indices is not None:
            indices = indices.to(torch.int32)
        results = []
        for (part, weight, bias), state in zip(shares, states, strict=True):
            turned = self.channels_last and part.dim() == 3
            y = causal_conv1d_update(
                part.transpose(1, 2) if turned else part,
                state,
                weight,
                bias,
                self.activation,
                conv_state_indices=indices,
                pad_slot_id=pad_slot_id,
                residual=self.residual,
            )
            results.append(y.transpose(1, 2) if turned else y)
        return results[0] if isinstance(x, torch.Tensor) else tuple(results)

    def _convolve(
        self,
        shares: Shares,
        before: torch.Tensor | None,
        want_final: bool,
        mask: torch.Tensor | None,
        seq_idx: torch.Tensor | None,
        cu_seqlens: torch.Tensor | None,
    ) -> tuple[tuple[torch.Tensor, ...], Any]:
        """The results of the parts, and the final states of all their channels."""
        results, finals = [], []
        for (part, weight, bias), initial in zip(shares, _split(before, shares), strict=True):
            y = short_conv_fused(
                part if self.channels_last else part.transpose(1, 2),
                weight,
                bias,
                mask,
                self.activation,
                self.residual,
                seq_idx=seq_idx,
                cu_seqlens=cu_seqlens,
                initial_states=initial,
                return_final_states=want_final,
            )
            if want_final:
                y, final = y
                finals.append(final)
            results.append(y if self.channels_last else y.transpose(1, 2))
        if not want_final:
            return tuple(results), None
        return tuple(results), finals[0] if len(finals) == 1 else torch.cat(finals, 1)

    def _shares(self, x: torch.Tensor | Sequence[torch.Tensor], ranks: tuple[int, ...]) -> Shares:
        """Each part of the input with its channels of weight and bias."""
        parts = (x,) if isinstance(x, torch.Tensor) else x
        sizes = []
        for part in parts:
            rank = part.dim()
            if rank not in ranks:
                names = ["[B, T, D]" if self.channels_last else "[B, D, T]"] + (["[B, D]"] if 2 in ranks else [])
                raise InvalidArgument(f"{_OP}: x must have the shape {' or '.join(names)}, got {list(part.shape)}")
            sizes.append(part.shape[2 if rank == 3 and self.channels_last else 1])
        if sum(sizes) != self.hidden_size:
            got = " + ".join(map(str, sizes)) or "0"
            raise InvalidArgument(f"{_OP}: x must have hidden_size = {self.hidden_size} channels, got {got}")
        weight, bias = self.weight.squeeze(1), self.bias
        if len(parts) == 1:
            return [(parts[0], weight, bias)]
        biases = [None] * len(parts) if bias is None else bias.split(sizes)
        return list(zip(parts, weight.split(sizes), biases, strict=True))

    def _state(self, cache: ShortConvolutionCache | torch.Tensor) -> torch.Tensor:
        if isinstance(cache, torch.Tensor):
            return cache
        if self.layer_idx is None or self.layer_idx not in cache.states:
            raise InvalidArgument(
                f"{_OP}: the cache has no state of layer_idx {self.layer_idx}; make it with "
                f"ShortConvolutionCache.for_model of a model that contains this layer"
            )
        return cache.states[self.layer_idx]


def _split(state: torch.Tensor | None, shares: Shares) -> Sequence[torch.Tensor | None]:
    """Each part's channels of a state ``[rows, D, S]``."""
    if state is None or len(shares) == 1:
        return [state] * len(shares)
    return state.split([weight.shape[0] for _, weight, _ in shares], 1)


def _rows(state: torch.Tensor, sequences: int, indices: torch.Tensor | None) -> torch.Tensor:
    """The states of the sequences, which a later write to the cache leaves to the backward pass as they were."""
    if indices is not None:
        return state.index_select(0, indices)
    if sequences > state.shape[0]:
        raise InvalidArgument(f"{_OP}: the cache has {state.shape[0]} rows, got {sequences} sequences")
    rows = state[:sequences]
    return rows.clone() if torch.is_grad_enabled() else rows


class ShortConvolutionCache:
    """The last taps of every :class:`ShortConvolution` of a model, for decoding.

    Every operation but :meth:`select` changes the states in place: their memory stays where it is, as CUDA graphs need it.

    Parameters
    ----------
    states : dict
        By each layer's ``layer_idx`` its state ``[rows, D, W - 1]``, a row per sequence.
    """

    def __init__(self, states: dict[int, torch.Tensor]) -> None:
        rows = {state.shape[0] for state in states.values()}
        if len(rows) > 1:
            raise InvalidArgument(
                f"ShortConvolutionCache: states must have the same number of rows, got {sorted(rows)}"
            )
        self.states = dict(states)

    @classmethod
    def for_model(
        cls,
        model: torch.nn.Module | Iterable[torch.nn.Module],
        batch_size: int,
        *,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> ShortConvolutionCache:
        """Make the states of all short convolutions in a model, zeros as before the first step.

        Parameters
        ----------
        model : torch.nn.Module, or an iterable of modules
            Its layers that have no ``layer_idx`` are given the numbers that are free, in the order of ``modules()``.
        batch_size : int
            Rows: the largest number of sequences at a time.
        device, dtype : optional
            Those of each layer's weight. A step is quickest where `dtype` is the inputs', under autocast that of autocast, and
            equals :meth:`ShortConvolution.forward` bit for bit with this or float32.

        Raises
        ------
        melisma.InvalidArgument
            Where two layers have the same ``layer_idx``.
        """
        modules = [model] if isinstance(model, torch.nn.Module) else list(model)
        found: dict[ShortConvolution, None] = {}  # in their order, each once
        for module in modules:
            found.update((layer, None) for layer in module.modules() if isinstance(layer, ShortConvolution))
        taken = [layer.layer_idx for layer in found if layer.layer_idx is not None]
        if len(set(taken)) < len(taken):
            twice = next(index for index in taken if taken.count(index) > 1)
            raise InvalidArgument(
                f"ShortConvolutionCache: layer_idx must differ from layer to layer, got {twice} twice; set that of a copied "
                "layer to None or a number of its own"
            )
        free = 0
        states = {}
        with torch.inference_mode(False):  # the states are written to outside of it too
            for layer in found:
                if layer.layer_idx is None:
                    while free in taken:
                        free += 1
                    taken.append(free)
                    layer.layer_idx = free
                state = torch.zeros(
                    batch_size,
                    layer.hidden_size,
                    layer.kernel_size - 1,
                    device=layer.weight.device if device is None else device,
                    dtype=layer.weight.dtype if dtype is None else dtype,
                )
                if state.is_cuda:  # torch.compile's own CUDA graphs write to no other memory in place
                    torch._dynamo.mark_static_address(state)
                states[layer.layer_idx] = state
        return cls(states)

    def __getitem__(self, layer_idx: int) -> torch.Tensor:
        return self.states[layer_idx]

    def __len__(self) -> int:
        return len(self.states)

    @property
    def batch_size(self) -> int:
        """Rows of each state."""
        return next((state.shape[0] for state in self.states.values()), 0)

    @torch.no_grad()
    def reset(self, indices: torch.Tensor | None = None) -> None:
        """Forget all sequences, or those of the rows `indices`."""
        for state in self.states.values():
            if indices is None:
                state.zero_()
            else:
                state.index_fill_(0, indices.to(torch.int64), 0)

    @torch.no_grad()
    def reorder(self, indices: torch.Tensor) -> None:
        """Give row i what row ``indices[i]`` had, as beam search goes on; rows from ``len(indices)`` on stay."""
        for state in self.states.values():
            state[: indices.shape[0]].copy_(state.index_select(0, indices))

    @torch.no_grad()
    def select(self, indices: torch.Tensor) -> ShortConvolutionCache:
        """Make a cache of copies of the rows `indices`, any number of them, a row more than once too."""
        return ShortConvolutionCache(
            {layer_idx: state.index_select(0, indices) for layer_idx, state in self.states.items()}
        )
