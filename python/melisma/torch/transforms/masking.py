"""FrequencyMasking, TimeMasking, SpecAugment."""

from typing import ClassVar

import torch
from torch import Tensor

from ...errors import InvalidArgument
from .. import functional as F


class _AxisMasking(torch.nn.Module):
    __constants__: ClassVar[list[str]] = ["mask_param", "axis", "iid_masks", "p"]

    def __init__(self, mask_param: int, axis: int, iid_masks: bool, p: float = 1.0) -> None:
        super().__init__()
        self.mask_param = mask_param
        self.axis = axis  # 1 is frequency and 2 is time, as in [channel, freq, time]
        self.iid_masks = iid_masks
        self.p = p

    def forward(self, specgram: Tensor, mask_value: float | Tensor = 0.0) -> Tensor:
        """``[..., freq, time]`` to the same, with `mask_value` in the masked stretch."""
        axis = self.axis + specgram.dim() - 3
        if self.iid_masks:
            return F.mask_along_axis_iid(specgram, self.mask_param, mask_value, axis, p=self.p)
        value = float(mask_value) if isinstance(mask_value, Tensor) else mask_value
        return F.mask_along_axis(specgram, self.mask_param, value, axis, p=self.p)


class FrequencyMasking(_AxisMasking):
    """Mask a random band of frequencies (torchaudio.transforms.FrequencyMasking).

    Parameters
    ----------
    freq_mask_param : int
        Bins that are masked at most, less one.
    iid_masks : bool
        Another band in each example and channel.
    """

    def __init__(self, freq_mask_param: int, iid_masks: bool = False) -> None:
        super().__init__(freq_mask_param, 1, iid_masks)


class TimeMasking(_AxisMasking):
    """Mask a random stretch of frames (torchaudio.transforms.TimeMasking).

    Parameters
    ----------
    time_mask_param : int
        Frames that are masked at most, less one.
    iid_masks : bool
        Another stretch in each example and channel.
    p : float
        Largest share of the frames that is masked.

    Raises
    ------
    melisma.InvalidArgument
        For `p` outside 0 .. 1.
    """

    def __init__(self, time_mask_param: int, iid_masks: bool = False, p: float = 1.0) -> None:
        if not 0.0 <= p <= 1.0:
            raise InvalidArgument(f"TimeMasking: p must be between 0.0 and 1.0, got {p}")
        super().__init__(time_mask_param, 2, iid_masks, p=p)


class SpecAugment(torch.nn.Module):
    """Several random masks over time and frequency (torchaudio.transforms.SpecAugment).

    Parameters
    ----------
    n_time_masks, n_freq_masks : int
        How many of each.
    time_mask_param, freq_mask_param : int
        Frames and bins that one mask covers at most, less one.
    iid_masks : bool
        Others in each example and channel, where there are at least 3 dimensions.
    p : float
        Largest share of an axis that one mask covers.
    zero_masking : bool
        Write zeros instead of the mean of the input.
    """

    __constants__: ClassVar[list[str]] = [
        "n_time_masks",
        "time_mask_param",
        "n_freq_masks",
        "freq_mask_param",
        "iid_masks",
        "p",
        "zero_masking",
    ]

    def __init__(
        self,
        n_time_masks: int,
        time_mask_param: int,
        n_freq_masks: int,
        freq_mask_param: int,
        iid_masks: bool = True,
        p: float = 1.0,
        zero_masking: bool = False,
    ) -> None:
        super().__init__()
        self.n_time_masks = n_time_masks
        self.time_mask_param = time_mask_param
        self.n_freq_masks = n_freq_masks
        self.freq_mask_param = freq_mask_param
        self.iid_masks = iid_masks
        self.p = p
        self.zero_masking = zero_masking

    def forward(self, specgram: Tensor) -> Tensor:
        """``[..., freq, time]`` to the same."""
        value = 0.0 if self.zero_masking else specgram.mean()
        mask = F.mask_along_axis_iid if self.iid_masks and specgram.dim() > 2 else F.mask_along_axis
        axis = specgram.dim() - 1
        for _ in range(self.n_time_masks):
            specgram = mask(specgram, self.time_mask_param, value, axis, p=self.p)
        for _ in range(self.n_freq_masks):
            specgram = mask(specgram, self.freq_mask_param, value, axis - 1, p=self.p)
        return specgram
