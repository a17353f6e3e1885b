"""Features of a signal that arrives block by block, with the bits that the whole signal at once would give.

The ends of the padded signal are built here and the blocks in between are cut so that every frame is whole; the operator
runs on them with ``center=False``. A frame's result depends on its own samples only, so the cuts cannot be seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from melisma.cli.errors import FileProblem
from melisma.presets import Preset, operate, preemphasised

Array = np.ndarray[Any, np.dtype[Any]]

_GATHER = 4096  # frames cut at a time where the hop is fractional: n_fft times this is the extra memory


class FrameStream:
    """Turns blocks [channels, samples] into blocks [channels, frames, bands].

    Raises
    ------
    FileProblem
        The signal is too short for the preset's padding, or for one frame.
    """

    def __init__(self, preset: Preset) -> None:
        if preset.pad_mode == "circular" and preset.edge:
            raise ValueError("FrameStream: pad_mode must be known before the end of the signal, got 'circular'")
        self._p = preset
        self._buffer: Array | None = None  # padded samples from self._start on
        self._start = 0  # index in the padded signal
        self._tail: Array | None = None  # the last samples, for the padding at the end
        self._left_padded = False
        self._last_sample: Array | None = None  # for the pre-emphasis
        self._held: Array | None = None  # the last frame, where it may have to be dropped
        self.samples = 0
        self.frames = 0

    def push(self, block: Array) -> Iterator[Array]:
        """Take the next samples and give the frames that are complete with them."""
        if block.shape[-1] == 0:
            return
        block = self._preemphasised(block)
        self.samples += block.shape[-1]
        self._tail = _joined(self._tail, block)[:, -(self._p.edge + 1) :].copy()
        self._buffer = _joined(self._buffer, block)
        if not self._left_padded:
            if self._p.pad_mode == "reflect" and self.samples <= self._p.edge:
                return
            self._pad_left()
        yield from self._complete(None)

    def close(self) -> Iterator[Array]:
        """Take the end of the signal and give the remaining frames."""
        p = self._p
        if self._buffer is None or self._tail is None:
            raise FileProblem("it holds no samples")
        if p.pad_mode == "reflect" and self.samples <= p.edge:
            raise FileProblem(
                f"too short for preset {p.name!r}: reflect padding needs more than {p.edge} samples, got {self.samples}"
            )
        if not self._left_padded:
            self._pad_left()
        total: int | None = None
        if p.covers:
            total = int(np.ceil(self.samples / p.hop))
            end = int((total - 1) * p.hop) + p.n_fft
            missing = max(0, end - (self._start + self._buffer.shape[-1]))
            right = np.zeros((self._buffer.shape[0], missing), self._buffer.dtype)
        else:
            mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}[p.pad_mode]
            right = np.pad(self._tail, ((0, 0), (0, p.edge)), mode=mode)[:, self._tail.shape[-1] :]  # type: ignore[call-overload]
        self._buffer = np.concatenate((self._buffer, right), axis=-1)
        if self._start == 0 and self._buffer.shape[-1] < p.n_fft:
            raise FileProblem(f"too short for preset {p.name!r}: one frame is {p.n_fft} samples, got {self.samples}")
        yield from self._complete(total)
        if self._held is not None and not p.drop_last:
            yield self._held
        self._buffer = self._tail = self._held = None

    def _pad_left(self) -> None:
        p = self._p
        assert self._buffer is not None
        mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}[p.pad_mode]
        self._buffer = np.pad(self._buffer, ((0, 0), (p.edge, 0)), mode=mode)  # type: ignore[call-overload]
        self._left_padded = True

    def _preemphasised(self, block: Array) -> Array:
        if self._p.preemphasis is None:
            return block
        first = self._last_sample is None
        context = block if first else np.concatenate((self._last_sample, block), axis=-1)  # type: ignore[arg-type]
        self._last_sample = block[:, -1:].copy()
        emphasised: Array = preemphasised(context, self._p)
        return emphasised if first else emphasised[:, 1:]

    def _complete(self, total: int | None) -> Iterator[Array]:
        """Compute every frame that the buffer holds, up to ``total`` of them."""
        p = self._p
        done = self.frames + (0 if self._held is None else 1)
        available = self._start + self._buffer.shape[-1] - p.n_fft  # type: ignore[union-attr]
        # The last start that fits; one step back and forth, for i * hop is rounded where hop is fractional.
        ready = max(0, int(available / p.hop) + 2) if available >= 0 else 0
        while ready > 0 and int((ready - 1) * p.hop) > available:
            ready -= 1
        if total is not None:
            ready = min(ready, total)
        while done < ready:
            whole = p.hop.is_integer()
            count = ready - done if whole else min(ready - done, _GATHER)
            frames = self._run(done, count)
            done += count
            yield from self._counted(frames)
        self._forget(int(done * p.hop))

    def _run(self, first: int, count: int) -> Array:
        p = self._p
        assert self._buffer is not None
        if p.hop.is_integer():
            start = int(first * p.hop) - self._start
            section = self._buffer[:, start : start + int((count - 1) * p.hop) + p.n_fft]
            hop = int(p.hop)
        else:
            starts = np.floor(np.arange(first, first + count) * p.hop).astype(np.int64) - self._start
            cut = self._buffer[:, starts[:, np.newaxis] + np.arange(p.n_fft)]
            section = cut.reshape(self._buffer.shape[0], count * p.n_fft)
            hop = p.n_fft
        result: Array = operate(np.ascontiguousarray(section), p, center=False, hop_length=hop, layout="frame_major")
        return result

    def _counted(self, frames: Array) -> Iterator[Array]:
        if self._p.drop_last:
            frames = _joined(self._held, frames, axis=1)
            self._held = frames[:, -1:].copy()
            frames = frames[:, :-1]
        if frames.shape[1]:
            self.frames += frames.shape[1]
            yield frames

    def _forget(self, until: int) -> None:
        assert self._buffer is not None
        drop = min(until - self._start, self._buffer.shape[-1])
        if drop > 0:
            self._buffer = self._buffer[:, drop:].copy()
            self._start += drop


def _joined(before: Array | None, after: Array, axis: int = -1) -> Array:
    return after if before is None else np.concatenate((before, after), axis=axis)
