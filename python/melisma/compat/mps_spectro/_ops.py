"""``torch.ops.mps_spectro``: framing and overlap-add as operators of their own, in plain PyTorch, on any device.

:mod:`.stft` and :mod:`.istft` do not need them where Melisma's fused operators apply; they are here for code that calls them
by name, and for half-precision frames, which no fused operator rounds to.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from ...errors import InvalidArgument

# Below this the overlap-added squared window counts as nothing, and a sample is left undivided; torch.istft's limit.
TINY_ENVELOPE = 1e-11
# F.fold's time does not grow with the overlap, one pass for each piece of a frame does: irfft and overlap-add of 4x160k, n_fft
# 2048, at an overlap of 4 took 29 ms with F.fold and 7 ms with pieces.
_MOST_SHIFTS = 16


def overlap_add(frames: torch.Tensor, hop_length: int) -> torch.Tensor:
    """Sum ``[B, W, N]`` frames, each `hop_length` after the one before: ``[B, W + (N - 1) hop_length]``."""
    batch, width, count = frames.shape
    full = width + (count - 1) * hop_length
    overlap = -(-width // hop_length)
    if overlap > _MOST_SHIFTS:
        return F.fold(frames, (1, full), (1, width), stride=(1, hop_length)).reshape(batch, full)
    # Every frame cut into pieces of a hop: all first pieces lie side by side in the sum, all second ones a hop later, ...
    pieces = _resized(frames.transpose(1, 2), overlap * hop_length).reshape(batch, count, overlap, hop_length)
    total = F.pad(pieces[:, :, 0], (0, 0, 0, overlap - 1))
    for shift in range(1, overlap):
        total = total + F.pad(pieces[:, :, shift], (0, 0, shift, overlap - 1 - shift))
    return total.flatten(1)[:, :full]


def _resized(x: torch.Tensor, length: int) -> torch.Tensor:
    """`x` cut or zero-padded at the end of its last axis."""
    return F.pad(x, (0, length - x.shape[-1]))


@torch.library.custom_op(
    "mps_spectro::stft_extract_frames",
    mutates_args=(),
    schema="(Tensor input, Tensor window, int hop_length, int n_fft, bool center) -> Tensor",
)
def stft_extract_frames(
    input: torch.Tensor, window: torch.Tensor, hop_length: int, n_fft: int, center: bool
) -> torch.Tensor:
    """Windowed frames ``[B, N, n_fft]`` of signals ``[B, T]``, reflected by ``n_fft // 2`` on both sides if `center`."""
    if input.dim() != 2:
        raise InvalidArgument(f"stft_extract_frames: input must be [B, T], got shape {tuple(input.shape)}")
    if window.shape != (n_fft,):
        raise InvalidArgument(
            f"stft_extract_frames: window must be of n_fft = {n_fft} values, got shape {tuple(window.shape)}"
        )
    padded = F.pad(input[None], (n_fft // 2, n_fft // 2), mode="reflect")[0] if center else input
    return padded.unfold(-1, n_fft, hop_length) * window


@stft_extract_frames.register_fake
def _(input: torch.Tensor, window: torch.Tensor, hop_length: int, n_fft: int, center: bool) -> torch.Tensor:
    batch, samples = input.shape
    padded = samples + (2 * (n_fft // 2) if center else 0)
    return input.new_empty(batch, (padded - n_fft) // hop_length + 1, n_fft)


def _save_frames(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    input, window, ctx.hop_length, ctx.n_fft, ctx.center = inputs
    ctx.save_for_backward(window)
    ctx.samples = input.shape[1]


def _frames_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, None, None, None, None]:
    (window,) = ctx.saved_tensors
    if not ctx.needs_input_grad[0]:
        return None, None, None, None, None
    summed = overlap_add((grad * window).transpose(1, 2), ctx.hop_length)
    if not ctx.center:
        return _resized(summed, ctx.samples), None, None, None, None
    pad = ctx.n_fft // 2
    summed = _resized(summed, ctx.samples + 2 * pad)
    middle = summed[:, pad : pad + ctx.samples]
    # Sample k of the left padding is a copy of sample pad - k, and so on the right, mirrored.
    left = F.pad(summed[:, :pad].flip(-1), (1, ctx.samples - pad - 1))
    right = F.pad(summed[:, pad + ctx.samples :].flip(-1), (ctx.samples - pad - 1, 1))
    return middle + left + right, None, None, None, None


stft_extract_frames.register_autograd(_frames_backward, setup_context=_save_frames)


def _divisor(window_sq: torch.Tensor, count: int, hop_length: int, output_length: int) -> torch.Tensor:
    """The envelope ``[output_length]``, with 1 where it is tiny: dividing by it leaves those samples as they are."""
    squares = window_sq[None, :, None].expand(1, window_sq.shape[0], count)
    envelope = _resized(overlap_add(squares, hop_length)[0], output_length)
    return torch.where(envelope > TINY_ENVELOPE, envelope, torch.ones_like(envelope))


@torch.library.custom_op(
    "mps_spectro::istft_overlap_add",
    mutates_args=(),
    schema="(Tensor frames, Tensor window, Tensor window_sq, int hop_length, int output_length) -> Tensor",
)
def istft_overlap_add(
    frames: torch.Tensor, window: torch.Tensor, window_sq: torch.Tensor, hop_length: int, output_length: int
) -> torch.Tensor:
    """``sum_t window frames_t / sum_t window_sq`` of frames ``[B, W, N]``: ``[B, output_length]``.

    Samples where the divisor is at most 1e-11 are left undivided. Sums are in float32 also for half-precision frames, and the
    result has the dtype of `window`.
    """
    if frames.dim() != 3:
        raise InvalidArgument(f"istft_overlap_add: frames must be [B, W, N], got shape {tuple(frames.shape)}")
    for name, values in (("window", window), ("window_sq", window_sq)):
        if values.shape != frames.shape[1:2]:
            raise InvalidArgument(
                f"istft_overlap_add: {name} must be of {frames.shape[1]} values, got shape {tuple(values.shape)}"
            )
    inner = torch.float64 if frames.dtype == torch.float64 else torch.float32
    wide = window.to(inner)
    summed = _resized(overlap_add(frames.to(inner) * wide[:, None], hop_length), output_length)
    return (summed / _divisor(window_sq.to(inner), frames.shape[2], hop_length, output_length)).to(window.dtype)


@istft_overlap_add.register_fake
def _(
    frames: torch.Tensor, window: torch.Tensor, window_sq: torch.Tensor, hop_length: int, output_length: int
) -> torch.Tensor:
    return window.new_empty(frames.shape[0], output_length)


def _save_overlap(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    frames, window, window_sq, ctx.hop_length, ctx.output_length = inputs
    ctx.save_for_backward(window, window_sq)
    ctx.count = frames.shape[2]
    ctx.frame_dtype = frames.dtype


def _overlap_backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, None, None, None, None]:
    window, window_sq = ctx.saved_tensors
    if not ctx.needs_input_grad[0]:
        return None, None, None, None, None
    width = window.shape[0]
    full = width + (ctx.count - 1) * ctx.hop_length
    divided = _resized(grad / _divisor(window_sq, ctx.count, ctx.hop_length, ctx.output_length), full)
    frames = divided.unfold(-1, width, ctx.hop_length) * window
    return frames.transpose(1, 2).to(ctx.frame_dtype), None, None, None, None


istft_overlap_add.register_autograd(_overlap_backward, setup_context=_save_overlap)
