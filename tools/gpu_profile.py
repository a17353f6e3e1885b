"""One call of each main kernel between cudaProfilerStart and -Stop, for ncu: see tools/gpu_check.sh."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch

import melisma


def hann(n: int) -> torch.Tensor:
    return torch.hann_window(n, device="cuda")


def calls() -> dict[str, Callable[[], Any]]:
    x, long = torch.randn(32, 480_000, device="cuda"), torch.randn(64, 480_000, device="cuda")
    spectrum = melisma.stft(x, 1024, 256, window=hann(1024))
    odd_hop = melisma.stft(x, 1024, 255, window=hann(1024))
    leaf = x.clone().requires_grad_()
    above = torch.randn_like(spectrum)
    spectrogram = melisma.spectrogram(leaf, n_fft=1024, hop_length=256)
    ones = torch.ones_like(spectrogram)
    mel = {"sample_rate": 16_000, "n_fft": 400, "hop_length": 160, "n_mels": 80}
    return {
        "stft 32x480k n 1024 hop 256": lambda: melisma.stft(x, 1024, 256, window=hann(1024)),
        "stft 64x480k n 2048 hop 512": lambda: melisma.stft(long, 2048, 512, window=hann(2048)),
        "stft 32x480k n 400 hop 160": lambda: melisma.stft(x, 400, 160, window=hann(400)),
        "istft 32x480k n 1024 hop 256": lambda: melisma.istft(spectrum, 1024, 256, window=hann(1024), length=480_000),
        "istft 32x480k n 1024 hop 255": lambda: melisma.istft(odd_hop, 1024, 255, window=hann(1024), length=480_000),
        "istft 32x480001 n 1024 hop 256": lambda: melisma.istft(spectrum, 1024, 256, window=hann(1024), length=480_001),
        "mel 32x480k n 400 hop 160, 80 mels": lambda: melisma.mel_spectrogram(x, **mel),
        "stft backward n 1024 hop 256": lambda: torch.autograd.grad(
            melisma.stft(leaf, 1024, 256, window=hann(1024)), leaf, above
        ),
        "spectrogram backward n 1024 hop 256": lambda: torch.autograd.grad(spectrogram, leaf, ones, retain_graph=True),
    }


def conv_calls() -> dict[str, Callable[[], Any]]:
    batch, channels, steps = 8, 2048, 4096
    found: dict[str, Callable[[], Any]] = {}
    for dtype in (torch.bfloat16, torch.float32):
        kind = str(dtype).removeprefix("torch.")
        x = torch.randn(batch, channels, steps, device="cuda", dtype=dtype)
        weight, bias = (
            torch.randn(channels, 4, device="cuda", dtype=dtype),
            torch.randn(channels, device="cuda", dtype=dtype),
        )
        for layout, signal in (("", x), (", channel-last", x.mT.contiguous().mT)):
            leaves = tuple(tensor.detach().requires_grad_() for tensor in (signal, weight, bias))
            forward = functools.partial(melisma.causal_conv1d, signal, weight, bias, activation="silu")
            found[f"conv forward{layout} {kind}"] = forward
            out = melisma.causal_conv1d(*leaves, activation="silu")
            above = torch.randn_like(out)
            found[f"conv backward{layout} {kind}"] = functools.partial(
                torch.autograd.grad, out, leaves, above, retain_graph=True
            )
        rows = x.mT.contiguous()
        mask = torch.ones(batch, steps, device="cuda")
        found[f"short_conv_fused {kind}"] = functools.partial(melisma.short_conv_fused, rows, weight, bias, mask)
        state = torch.randn(256, 4096, 4, device="cuda", dtype=dtype)
        step = (state[..., 0].clone(), state, torch.randn(4096, 4, device="cuda", dtype=dtype), None, "silu")
        found[f"causal_conv1d_update 256x4096 {kind}"] = functools.partial(melisma.causal_conv1d_update, *step)
    return found


def main() -> None:
    for name, call in {**calls(), **conv_calls()}.items():
        if len(sys.argv) > 1 and sys.argv[1] not in name:
            continue
        call()
        torch.cuda.synchronize()
        print(f"--- {name}", flush=True)
        torch.cuda.profiler.start()
        call()
        torch.cuda.synchronize()
        torch.cuda.profiler.stop()


if __name__ == "__main__":
    main()
