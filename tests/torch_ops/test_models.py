"""Two small separators, trained with PyTorch's transforms and with ours from the same seed: the same loss curve."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn

import melisma
from torch_device import DEVICE

STEPS = 50
SAMPLES = 2048
Forward = Callable[..., torch.Tensor]
TRANSFORMS: dict[str, tuple[Forward, Forward]] = {
    "torch": (torch.stft, torch.istft),
    "melisma": (melisma.stft, melisma.istft),
}


class DemucsLike(nn.Module):
    """Convolutions down and up a spectrogram whose real and imaginary parts are channels, normalised STFT, complex output."""

    def __init__(self, stft: Forward, istft: Forward) -> None:
        super().__init__()
        self.stft, self.istft = stft, istft
        self.register_buffer("window", torch.hann_window(256))
        self.down = nn.Sequential(nn.Conv2d(4, 12, (8, 3), (4, 1), (2, 1)), nn.GroupNorm(3, 12), nn.GELU())
        self.middle = nn.Sequential(nn.Conv2d(12, 24, 1), nn.GLU(1))
        self.up = nn.ConvTranspose2d(12, 8, (8, 3), (4, 1), (2, 1))

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        batch, channels, samples = mix.shape
        spectrum = self.stft(
            mix.reshape(-1, samples), 256, 64, window=self.window, normalized=True, center=True, return_complex=True
        )
        spectrum = spectrum[:, :-1].reshape(batch, channels, 128, -1)
        planes = torch.view_as_real(spectrum).permute(0, 1, 4, 2, 3).flatten(1, 2)
        hidden = self.down(planes)
        out = self.up(hidden + self.middle(hidden))
        out = out.reshape(batch, 2, channels, 2, 128, -1).permute(0, 1, 2, 4, 5, 3).contiguous()
        estimate = nn.functional.pad(torch.view_as_complex(out), (0, 0, 0, 1))
        waves = self.istft(
            estimate.flatten(0, 2), 256, 64, window=self.window, normalized=True, length=samples, center=True
        )
        return waves.reshape(batch, 2, channels, samples)


class RoformerLike(nn.Module):
    """Bands of a stereo spectrogram as tokens, attention over time and over bands, and a complex mask."""

    BANDS = (4, 4, 8, 16, 33)

    def __init__(self, stft: Forward, istft: Forward) -> None:
        super().__init__()
        self.stft, self.istft = stft, istft
        self.register_buffer("window", torch.hann_window(128))
        self.split = nn.ModuleList(nn.Linear(4 * band, 32) for band in self.BANDS)
        self.time = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.band = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.masks = nn.ModuleList(nn.Linear(32, 4 * band) for band in self.BANDS)

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        batch, channels, samples = mix.shape
        spectrum = self.stft(mix.reshape(-1, samples), 128, 64, window=self.window, return_complex=True)
        spectrum = spectrum.reshape(batch, channels, 65, -1)
        frames = spectrum.shape[-1]
        rows = torch.view_as_real(spectrum).permute(0, 3, 2, 1, 4)  # batch, frames, bins, channels, 2
        tokens = torch.stack(
            [net(band.flatten(2)) for net, band in zip(self.split, rows.split(self.BANDS, 2), strict=True)], 2
        )
        tokens = self.time(tokens.transpose(1, 2).flatten(0, 1)).reshape(batch, len(self.BANDS), frames, 32)
        tokens = self.band(tokens.transpose(1, 2).flatten(0, 1)).reshape(batch, frames, len(self.BANDS), 32)
        mask = torch.cat(
            [
                net(token).unflatten(-1, (-1, channels, 2))
                for net, token in zip(self.masks, tokens.unbind(2), strict=True)
            ],
            2,
        )
        masked = spectrum * torch.view_as_complex(mask.contiguous()).permute(0, 3, 2, 1)
        waves = self.istft(masked.flatten(0, 1), 128, 64, window=self.window, length=samples)
        return waves.reshape(batch, channels, samples)


def sources(batch: int, seed: int) -> torch.Tensor:
    """Two sources in stereo: a chord that decays, and bursts of noise."""
    generator = torch.Generator(DEVICE).manual_seed(seed)
    time = torch.arange(SAMPLES) / 8000
    pitch = 200 + 600 * torch.rand(batch, 1, 3, 1, generator=generator)
    gains = torch.rand(batch, 2, 3, 1, generator=generator)
    chord = (gains * torch.sin(2 * torch.pi * pitch * time) * torch.exp(-3 * time)).sum(2)
    noise = torch.randn(batch, 2, SAMPLES, generator=generator) * (torch.sin(2 * torch.pi * 6 * time) > 0.5)
    return torch.stack([chord, 0.3 * noise], 1)


RATES: dict[type[nn.Module], float] = {DemucsLike: 0.1, RoformerLike: 0.02}


def curve(network: type[nn.Module], transforms: str) -> torch.Tensor:
    """The loss of each training step, and of another batch after the last one."""
    torch.manual_seed(0)
    net = network(*TRANSFORMS[transforms])
    # Plain steps: Adam divides even a gradient that is 0 but for rounding (a key's bias in attention) by its own size.
    optimizer = torch.optim.SGD(net.parameters(), lr=RATES[network], momentum=0.9)
    losses = []
    for step in range(STEPS + 1):
        target = sources(2, step % 8 if step < STEPS else 99)
        estimate = net(target.sum(1))
        loss = (estimate - (target if network is DemucsLike else target[:, 0])).abs().mean()
        if network is RoformerLike:  # as its trainers do: a spectral loss beside the waveform's
            stft = TRANSFORMS[transforms][0]
            for n_fft in (64, 256):
                views = [
                    stft(wave.flatten(0, 1), n_fft, 49, window=torch.hann_window(n_fft), return_complex=True)
                    for wave in (estimate, target[:, 0])
                ]
                loss = loss + 0.01 * (views[0] - views[1]).abs().mean()
        losses.append(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return torch.stack(losses)


@pytest.mark.parametrize("network", [DemucsLike, RoformerLike])
def test_the_same_loss_curve(network: type[nn.Module]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, ours = curve(network, "torch"), curve(network, "melisma")
    assert theirs[STEPS - 1] < 0.8 * theirs[0]  # it learns
    assert not torch.equal(ours, theirs)  # two programs
    # A GPU's convolutions round what they read to TF32, 11 bits: the last bit of a sample becomes one of those.
    torch.testing.assert_close(ours, theirs, rtol=1e-4 if DEVICE == "cpu" else 2e-3, atol=0)
