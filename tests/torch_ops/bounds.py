"""How far float32 gradients may be from float64: as :mod:`tolerances`, for the adjoints.

An adjoint is a transform of each frame of the gradient above, multiplied by the window and added up. A frame's error is that of
a transform; what the frames add to one sample adds up with the window's weights.
"""

from __future__ import annotations

import torch

import tolerances


def overlap(window: torch.Tensor, hop: int) -> float:
    """The most that the window's magnitudes add up to on one sample."""
    padded = torch.nn.functional.pad(window.double().abs(), (0, -len(window) % hop))
    return float(padded.reshape(-1, hop).sum(0).max())


def stft_gradient(above: torch.Tensor, window: torch.Tensor, n_fft: int, hop: int) -> float:
    """For each sample of the gradient of stft, given that of its result; twice, for the samples that padding repeats."""
    norm = float(above.abs().square().sum(-2).sqrt().max())
    return 2 * norm * overlap(window, hop) * (tolerances.transform(n_fft, tolerances.EPS32) + 4 * tolerances.EPS32)


def istft_gradient(above: torch.Tensor, window: torch.Tensor, n_fft: int, smallest_envelope: float) -> float:
    """For each value of the gradient of istft, given that of its result."""
    scaled = above.double().abs().max() / smallest_envelope
    norm = float(scaled * window.double().norm())
    return 2 / n_fft * norm * (tolerances.transform(n_fft, tolerances.EPS32) + 6 * tolerances.EPS32)


def window_gradient(x: torch.Tensor, above: torch.Tensor, n_fft: int) -> float:
    """For each value of the window's gradient: a sum over all frames of transformed gradients times samples."""
    norms = above.abs().double().square().sum(-2).sqrt()
    return float(norms.sum() * x.double().abs().max()) * tolerances.transform(n_fft, tolerances.EPS32)


def power_gradient(spectrum: torch.Tensor, above: torch.Tensor, power: float, n_fft: int, hop: int) -> float:
    """For the l2 norm of the gradient of |X|^power, given X and the gradient above: the smaller X, the worse its phase."""
    error = torch.from_numpy(tolerances.stft(spectrum.numpy(force=True), n_fft)).to(spectrum.device)
    each = above.double().abs() * power * spectrum.abs() ** (power - 2) * error * max(1.0, abs(power - 1))
    # One frame's adjoint lengthens a vector by sqrt(n_fft) at most, and n_fft / hop frames add up on each sample.
    return float(each.norm()) * (n_fft * -(-n_fft // hop)) ** 0.5
