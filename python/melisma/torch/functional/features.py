"""What is computed from feature frames: deltas, and the sliding mean and variance."""

import torch
from torch import Tensor

from ...errors import InvalidArgument

_HALVES = (torch.float16, torch.bfloat16)


def compute_deltas(specgram: Tensor, win_length: int = 5, mode: str = "replicate") -> Tensor:
    """Slope of each coefficient over time, by least squares.

    Parameters
    ----------
    specgram : Tensor
        ``[..., freq, time]``.
    win_length : int
        Frames looked at, at least 3; an even number counts as the odd one below it.
    mode : str
        ``torch.nn.functional.pad``'s mode at both ends.

    Returns
    -------
    Tensor
        Shape of `specgram`; half precisions are summed in float32 and rounded once.

    Raises
    ------
    melisma.InvalidArgument
        For a `win_length` below 3.

    Notes
    -----
    ``d[t] = sum_n n (c[t + n] - c[t - n]) / (2 sum_n n^2)`` with n = 1 .. ``(win_length - 1) // 2``.
    """
    if win_length < 3:
        raise InvalidArgument(f"compute_deltas: win_length must be >= 3, got {win_length}")
    reach = (win_length - 1) // 2
    frames = specgram.shape[-1]
    rows = specgram.reshape(1, -1, frames)
    if rows.dtype in _HALVES:
        rows = rows.float()
    padded = torch.nn.functional.pad(rows, (reach, reach), mode=mode)
    slope = torch.zeros_like(rows)
    for n in range(1, reach + 1):
        ahead, behind = padded.narrow(-1, reach + n, frames), padded.narrow(-1, reach - n, frames)
        slope = slope + n * (ahead - behind)
    slope = slope / (reach * (reach + 1) * (2 * reach + 1) / 3)
    if specgram.dtype in _HALVES:
        slope = slope.to(specgram.dtype)
    return slope.reshape(specgram.shape)


def sliding_window_cmn(
    specgram: Tensor,
    cmn_window: int = 600,
    min_cmn_window: int = 100,
    center: bool = False,
    norm_vars: bool = False,
) -> Tensor:
    """Subtract the mean of the frames around each frame, and divide by their deviation where asked (Kaldi's sliding CMN).

    Parameters
    ----------
    specgram : Tensor
        ``[..., time, freq]``.
    cmn_window : int
        Frames of the window; with ``center=False`` it holds the frame itself and this many before it.
    min_cmn_window : int
        With ``center=False``, the window reaches to this frame at least, ahead of the first ones.
    center : bool
        A window about the frame, moved inwards at both ends; else one that ends with the frame.
    norm_vars : bool
        Divide by the standard deviation; where the window is a single frame the result is zero.

    Returns
    -------
    Tensor
        Shape and dtype of `specgram`. Prefix sums in float64 (float32 on devices without it), all frames at once.
    """
    frames = specgram.shape[-2]
    if frames == 0:
        return specgram.clone()
    device = specgram.device
    wide = torch.float32 if device.type == "mps" else torch.float64
    t = torch.arange(frames, device=device)
    if center:
        start = t - cmn_window // 2
        end = start.clamp(min=0) + cmn_window
    else:
        start = t - cmn_window
        end = (t + 1).clamp(min=min_cmn_window)
    # A window that reaches beyond the last frame is moved back, as far as there are frames.
    start = (start.clamp(min=0) - (end - frames).clamp(min=0)).clamp(min=0)
    end = end.clamp(max=frames)
    count = (end - start)[:, None]

    values = specgram.to(wide)

    def window_sum(v: Tensor) -> Tensor:
        sums = torch.nn.functional.pad(v.cumsum(-2), (0, 0, 1, 0))
        return sums.index_select(-2, end) - sums.index_select(-2, start)

    mean = window_sum(values) / count
    result = values - mean
    if norm_vars:
        variance = window_sum(values * values) / count - mean * mean
        result = torch.where(count == 1, 0.0, result * variance.pow(-0.5))
    return result.to(specgram.dtype)
