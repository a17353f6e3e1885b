"""Random masks of SpecAugment (Park et al. 2019); the same seed gives torchaudio's masks."""

import torch
from torch import Tensor

from ...errors import InvalidArgument


def _largest_mask(op: str, dims: int, least: int, shape: torch.Size, mask_param: int, axis: int, p: float) -> int:
    """Exclusive bound of the mask's length; what both functions refuse is refused here."""
    if dims < least:
        raise InvalidArgument(f"{op}: the spectrogram must have at least {least} dimensions, got {dims}")
    if axis not in (dims - 2, dims - 1):
        raise InvalidArgument(
            f"{op}: axis must be {dims - 2} (frequency) or {dims - 1} (time) of {dims} dimensions, got {axis}"
        )
    if not 0.0 <= p <= 1.0:
        raise InvalidArgument(f"{op}: p must be between 0.0 and 1.0, got {p}")
    return mask_param if p == 1.0 else min(mask_param, int(shape[axis] * p))


def mask_along_axis_iid(
    specgrams: Tensor, mask_param: int, mask_value: float | Tensor, axis: int, p: float = 1.0
) -> Tensor:
    """Mask a random stretch of frequencies or frames, another one in each example and channel.

    Parameters
    ----------
    specgrams : Tensor
        ``[..., freq, time]`` with at least 3 dimensions, real.
    mask_param : int
        The length is drawn evenly from ``0 .. mask_param - 1``, the start from what is left.
    mask_value : float or Tensor
        What to write; a tensor has one element.
    axis : int
        One of the last two, counted from the front.
    p : float
        Largest share of the axis that is masked.

    Returns
    -------
    Tensor
        Shape and dtype of `specgrams`; the very tensor where ``mask_param`` is below 1.

    Raises
    ------
    melisma.InvalidArgument
        For fewer dimensions, another axis, or `p` outside 0 .. 1.
    """
    largest = _largest_mask("mask_along_axis_iid", specgrams.dim(), 3, specgrams.shape, mask_param, axis, p)
    if largest < 1:
        return specgrams
    size, examples = specgrams.shape[axis], specgrams.shape[:-2]
    like = {"device": specgrams.device, "dtype": specgrams.dtype}
    length = torch.rand(examples, **like) * largest
    start = (torch.rand(examples, **like) * (size - length)).long()[..., None, None]
    end = start + length.long()[..., None, None]
    place = torch.arange(size, device=specgrams.device)
    if axis == specgrams.dim() - 2:
        place = place[:, None]
    masked = (place >= start) & (place < end)
    if isinstance(mask_value, Tensor):
        return torch.where(masked, mask_value.reshape(()), specgrams)
    return specgrams.masked_fill(masked, mask_value)


def mask_along_axis(specgram: Tensor, mask_param: int, mask_value: float | Tensor, axis: int, p: float = 1.0) -> Tensor:
    """Mask a random stretch of frequencies or frames, the same one in all examples.

    Parameters
    ----------
    specgram : Tensor
        ``[..., freq, time]``, real.
    mask_param, mask_value, axis, p
        As in :func:`mask_along_axis_iid`.

    Returns
    -------
    Tensor
        Shape and dtype of `specgram`; the very tensor where ``mask_param`` is below 1.

    Raises
    ------
    melisma.InvalidArgument
        For fewer than 2 dimensions, another axis, or `p` outside 0 .. 1.
    """
    largest = _largest_mask("mask_along_axis", specgram.dim(), 2, specgram.shape, mask_param, axis, p)
    if largest < 1:
        return specgram
    size = specgram.shape[axis]
    # Drawn on the CPU whatever the device, as torchaudio does: one seed, one mask.
    length = torch.rand(1, device="cpu") * largest
    start = (torch.rand(1, device="cpu") * (size - length)).long()
    end = start + length.long()
    place = torch.arange(size, device="cpu")
    masked = ((place >= start) & (place < end)).to(specgram.device)
    if axis == specgram.dim() - 2:
        masked = masked[:, None]
    return specgram.masked_fill(masked, mask_value)
