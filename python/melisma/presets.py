"""Named front ends: each preset is one well-known feature definition, written down once and exactly.

``features(x, sample_rate, "whisper")`` gives what that project feeds its model. The formula, the tolerance against the
original and what is left out stand in ``docs/presets.md``; every preset has a golden test against an independent
formula in ``tests/test_presets.py``.
"""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

import melisma

__all__ = ["PRESETS", "Preset", "features", "get"]

Log = Literal["linear", "db", "log10", "ln", "log1p"]
Bank = Literal["none", "mel", "log"]


@dataclass(frozen=True)
class Preset:
    """One feature definition.

    With ``p`` the padded signal, ``w`` the window (centred in ``n_fft``) and ``B`` the bank's weights, frame ``t`` is ::

        S[k, t] = |sum_n p[floor(t * hop) + n] w[n] exp(-2 pi i k n / n_fft)| ** power
        v[b, t] = sum_k B[k, b] S[k, t]                                         (v = S without a bank)
        y[b, t] = log(v)                                                        (see ``log``)
        y       = max(y, max(y) - top)     over one channel of one clip         (only where ``top`` is set)
        y       = (y + offset) * scale

    Attributes
    ----------
    name
        What ``features`` and ``melisma features --preset`` call it.
    source
        Whose definition this is, as that project calls it.
    sample_rate
        Hz. The signal must have this rate.
    n_fft
        Transform size in samples.
    hop_length
        Samples between frames; None where ``fps`` gives it as ``sample_rate / fps``, which may be fractional.
    win_length
        Window length in samples; None is ``n_fft``.
    window, periodic_window
        Name for :func:`melisma.get_window`, and whether the window is periodic or symmetric.
    padding
        Samples put on both sides; None is ``n_fft // 2``, which centres frame ``t`` on sample ``t * hop``.
    pad_mode
        What the padding holds: "reflect", "constant" (zeros), "replicate" or "circular".
    covers
        False: only frames that lie wholly in the padded signal. True: ``ceil(length / hop)`` frames, zeros after the end.
    drop_last
        The last frame is left out.
    preemphasis
        ``x[n] - preemphasis * x[n - 1]`` before everything else (``x[0]`` stays); None: not done.
    power
        Exponent of the magnitude.
    bank
        "mel", "log" (madmom's logarithmic triangles) or "none".
    n_bands
        Mel bands, or bands an octave of the "log" bank. Unused without a bank.
    f_min, f_max
        Hz; ``f_max`` None is half the sample rate.
    mel_scale, mel_norm
        "htk" or "slaney"; None or "slaney".
    log
        "linear" (none), "db" (``10 log10(max(v, amin)) - 10 log10(max(amin, ref))``, 20 where power is 1), "log10" and
        "ln" (``log(max(mul * v + add, amin))``), "log1p" (``ln(1 + v)``). ``mul`` must be 1 for a mel bank.
    top
        How far below the clip's maximum values may lie, in units of ``y``; None: no such limit.
    pcm_scale
        int16 samples are multiplied by this.
    """

    name: str
    source: str
    sample_rate: int
    n_fft: int
    hop_length: int | None = None
    fps: float | None = None
    win_length: int | None = None
    window: str = "hann"
    periodic_window: bool = True
    padding: int | None = None
    pad_mode: str = "reflect"
    covers: bool = False
    drop_last: bool = False
    preemphasis: float | None = None
    power: float = 2.0
    bank: Bank = "mel"
    n_bands: int = 80
    f_min: float = 0.0
    f_max: float | None = None
    mel_scale: str = "slaney"
    mel_norm: str | None = "slaney"
    log: Log = "linear"
    amin: float = 1e-10
    ref: float = 1.0
    mul: float = 1.0
    add: float = 0.0
    top: float | None = None
    offset: float = 0.0
    scale: float = 1.0
    pcm_scale: float = 1.0 / 32768.0

    def __post_init__(self) -> None:
        """Hold definitions that frame the signal as madmom does to the rest of what madmom does."""
        if not self.covers:
            return
        required = {
            "bank": "log",
            "hop_length": None,  # fps gives it
            "win_length": None,
            "window": "hann",
            "periodic_window": False,
            "padding": None,
            "pad_mode": "constant",
            "power": 1.0,
            "log": "log10",
            "top": None,
        }
        for name, value in required.items():
            if getattr(self, name) != value:
                raise melisma.InvalidArgument(
                    f"Preset: {name} must be {value!r} where covers is set (as for madmom), got {getattr(self, name)!r}"
                )
        if self.fps is None or not self.fps > 0:
            raise melisma.InvalidArgument(f"Preset: fps must be > 0 where covers is set, got {self.fps!r}")

    @property
    def hop(self) -> float:
        """Samples between frames; may be fractional."""
        if self.hop_length is not None:
            return float(self.hop_length)
        if self.fps is not None:
            return self.sample_rate / self.fps
        return float((self.win_length or self.n_fft) // 2)

    @property
    def edge(self) -> int:
        """Samples of padding on each side."""
        return self.n_fft // 2 if self.padding is None else self.padding

    def at(self, sample_rate: int) -> Preset:
        """Give the same formula for another sample rate (Hz): filter bank, and hop where ``fps`` is set, follow it."""
        return replace(self, sample_rate=int(sample_rate))

    def parameters(self) -> dict[str, Any]:
        """Give every field that the numbers depend on (all but the descriptive ``source``), ready for JSON."""
        fields = asdict(self)
        del fields["source"]
        return fields

    def filter_bank(self) -> Any:
        """Give the bank's weights, [bins, bands] float32, or None without a bank."""
        if self.bank == "none":
            return None
        if self.bank == "log":
            f_max = self.f_max if self.f_max is not None else self.sample_rate / 2
            return melisma.log_filterbank(
                self.n_fft // 2, self.sample_rate, num_bands=self.n_bands, f_min=self.f_min, f_max=f_max
            )
        return melisma.melscale_fbanks(
            self.n_fft // 2 + 1,
            self.f_min,
            self.f_max if self.f_max is not None else self.sample_rate / 2,
            self.n_bands,
            self.sample_rate,
            self.mel_norm,
            self.mel_scale,
        )

    def window_values(self) -> Any:
        """Give what the operators take as ``window``: a name, or the values of a symmetric window."""
        if self.periodic_window:
            return self.window
        length = self.win_length or self.n_fft
        if self.window == "hann" and self.bank == "log":
            return np.hanning(length)  # madmom's own, float64
        return melisma.get_window(self.window, length, periodic=False)


_WHISPER = Preset(
    name="whisper",
    source="openai-whisper, whisper.audio.log_mel_spectrogram (no padding to 30 s)",
    sample_rate=16000,
    n_fft=400,
    hop_length=160,
    drop_last=True,
    n_bands=80,
    log="log10",
    amin=1e-10,
    top=8.0,
    offset=4.0,
    scale=0.25,
)

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        _WHISPER,
        replace(_WHISPER, name="whisper-large-v3", n_bands=128),
        Preset(
            name="librosa",
            source="librosa 0.11, power_to_db(feature.melspectrogram(y=x, sr=22050))",
            sample_rate=22050,
            n_fft=2048,
            hop_length=512,
            pad_mode="constant",
            n_bands=128,
            log="db",
            top=80.0,
        ),
        Preset(
            name="torchaudio",
            source="torchaudio, transforms.MelSpectrogram() with all defaults",
            sample_rate=16000,
            n_fft=400,
            hop_length=200,
            n_bands=128,
            mel_scale="htk",
            mel_norm=None,
        ),
        Preset(
            name="madmom",
            source="madmom 0.17, LogarithmicFilteredSpectrogram(frame_size=2048, fps=100, num_bands=12, fmin=30, fmax=17000)",
            sample_rate=44100,
            n_fft=2048,
            fps=100.0,
            periodic_window=False,
            pad_mode="constant",
            covers=True,
            power=1.0,
            bank="log",
            n_bands=12,
            f_min=30.0,
            f_max=17000.0,
            log="log10",
            add=1.0,
            pcm_scale=1.0 / 32767.0,
        ),
        Preset(
            name="hifigan",
            source="HiFi-GAN, meldataset.mel_spectrogram with config_v1 (without its 1e-9 under the square root)",
            sample_rate=22050,
            n_fft=1024,
            hop_length=256,
            padding=(1024 - 256) // 2,
            power=1.0,
            n_bands=80,
            f_max=8000.0,
            log="ln",
            amin=1e-5,
        ),
        Preset(
            name="nemo",
            source="NVIDIA NeMo, AudioToMelSpectrogramPreprocessor (no dither, no normalisation, no padding to 16 frames)",
            sample_rate=16000,
            n_fft=512,
            hop_length=160,
            win_length=400,
            periodic_window=False,
            pad_mode="constant",
            preemphasis=0.97,
            n_bands=80,
            log="ln",
            add=2.0**-24,
            amin=2.0**-24,
        ),
    )
}


def get(preset: str | Preset) -> Preset:
    """Look a preset up.

    Raises
    ------
    melisma.InvalidArgument
        There is none of this name.
    """
    if isinstance(preset, Preset):
        return preset
    if not isinstance(preset, str) or preset not in PRESETS:
        raise melisma.InvalidArgument(f"features: preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    return PRESETS[preset]


def features(x: Any, sample_rate: int, preset: str | Preset = "whisper") -> Any:
    """Compute a preset's features of whole signals.

    Parameters
    ----------
    x : array
        [..., samples] int16, float32 or float64; NumPy, PyTorch or any other array that melisma's operators take.
    sample_rate : int
        Of ``x``, in Hz. Must be the preset's; resample first, or pass ``PRESETS[name].at(sample_rate)``.
    preset : str or Preset
        A name in ``PRESETS``, or a definition of your own.

    Returns
    -------
    array
        [..., bands, frames] float32 (float64 from float64), of the same kind as ``x``. A clip-level maximum is taken over
        each item by itself.

    Raises
    ------
    melisma.InvalidArgument
        Unknown preset, another sample rate, or a signal too short for the preset's padding.
    """
    p = get(preset)
    if sample_rate != p.sample_rate:
        raise melisma.InvalidArgument(
            f"features: sample_rate must be {p.sample_rate} for preset {p.name!r}, got {sample_rate!r}; "
            f"resample, or pass PRESETS[{p.name!r}].at({sample_rate!r})"
        )
    x = preemphasised(x, p)
    if p.covers:
        from melisma.compat.madmom import log_filtered_spectrogram

        frames_first = log_filtered_spectrogram(
            x,
            sample_rate=p.sample_rate,
            frame_size=p.n_fft,
            fps=p.fps or 0.0,  # set, or __post_init__ had refused it
            num_bands=p.n_bands,
            fmin=p.f_min,
            fmax=p.sample_rate / 2 if p.f_max is None else p.f_max,
            mul=p.mul,
            add=p.add,
        )
        return frames_first.swapaxes(-1, -2)
    if p.edge not in (0, p.n_fft // 2):
        x = _padded(x, p)
        y = operate(x, p, center=False, hop_length=int(p.hop))
    else:
        fused_top = p.log == "db" and p.offset == 0.0 and p.scale == 1.0 and not p.drop_last
        y = operate(x, p, center=p.edge > 0, hop_length=int(p.hop), fused_top=fused_top)
        if fused_top:
            return y
    if p.drop_last:
        y = y[..., :-1]
    if p.top is None and p.offset == 0.0 and p.scale == 1.0:
        return y
    if p.top is None:
        return finished(y, p, None)
    module = _module_of(y)
    largest = getattr(module, "amax", None) or module.max
    return finished(y, p, largest(y, axis=(-2, -1), keepdims=True))


def operate(
    x: Any, p: Preset, *, center: bool, hop_length: int, fused_top: bool = False, layout: str = "frequency_major"
) -> Any:
    """Run the one operator that computes preset ``p`` on ``x`` up to the logarithm (with ``fused_top``: ``top`` too)."""
    framing: dict[str, Any] = {
        "n_fft": p.n_fft,
        "hop_length": hop_length,
        "win_length": p.win_length,
        "window": p.window_values(),
        "power": p.power,
        "center": center,
        "pad_mode": p.pad_mode,
        "pcm_scale": p.pcm_scale,
        "layout": layout,
    }
    if p.bank == "none":
        if p.log != "linear":
            raise melisma.InvalidArgument(f"features: log must be 'linear' without a filter bank, got {p.log!r}")
        return melisma.spectrogram(x, **framing)
    top_db = p.top if fused_top else None
    if p.bank == "log":
        return melisma.filtered_spectrogram(
            x,
            precision="float64",  # as compat.madmom
            filterbank=p.filter_bank(),
            output_scale=p.log,
            mul=p.mul,
            add=p.add,
            amin=p.amin,
            ref=p.ref,
            top_db=top_db,
            **framing,
        )
    bands: dict[str, Any] = {
        "sample_rate": p.sample_rate,
        "n_mels": p.n_bands,
        "f_min": p.f_min,
        "f_max": p.f_max,
        "mel_scale": p.mel_scale,
        "norm": p.mel_norm,
    }
    if p.log == "linear":
        return melisma.mel_spectrogram(x, **bands, **framing)
    return melisma.log_mel(x, log=p.log, amin=p.amin, ref=p.ref, add=p.add, top_db=top_db, **bands, **framing)


def finished(y: Any, p: Preset, maximum: Any) -> Any:
    """Apply ``top``, ``offset`` and ``scale``: three float32 operations, so whole clips and blocks agree bit for bit."""
    if p.top is not None:
        y = _module_of(y).maximum(y, maximum - p.top)
    if p.offset != 0.0:
        y = y + p.offset
    return y * p.scale if p.scale != 1.0 else y


def preemphasised(x: Any, p: Preset) -> Any:
    """Give ``x`` itself where the preset has no pre-emphasis; int16 becomes float32 first."""
    if p.preemphasis is None:
        return x
    if isinstance(x, np.ndarray) and x.dtype == np.int16:
        x = x.astype(np.float32) * np.float32(p.pcm_scale)
    elif "int16" in str(x.dtype):
        x = x * p.pcm_scale
    rest = x[..., 1:] - p.preemphasis * x[..., :-1]
    return _module_of(x).concatenate((x[..., :1], rest), -1)


def _padded(x: Any, p: Preset) -> Any:
    """Pad by a width that the operators have no name for (they know n_fft // 2): HiFi-GAN's (n_fft - hop) / 2."""
    length = x.shape[-1]
    if p.pad_mode != "reflect":
        raise melisma.InvalidArgument(f"features: pad_mode must be 'reflect' for padding {p.edge}, got {p.pad_mode!r}")
    if length <= p.edge:
        raise melisma.InvalidArgument(
            f"features: input must be longer than its reflect padding, {p.edge}, got {length}"
        )
    index = np.abs(np.arange(-p.edge, length + p.edge))
    index = (length - 1) - np.abs((length - 1) - index)
    module = _module_of(x)
    return x[..., (getattr(module, "asarray", None) or module.array)(index)]


def _module_of(x: Any) -> Any:
    """Give the array library that ``x`` belongs to, which is loaded already since ``x`` exists."""
    name = type(x).__module__
    while name and name not in sys.modules:
        name = name.rpartition(".")[0]
    root = name.partition(".")[0]
    return sys.modules["mlx.core" if root == "mlx" else root] if root else np


def frame_count(length: int, p: Preset) -> int:
    """Give the number of frames of a signal of ``length`` samples (at the preset's rate)."""
    if p.covers:
        return math.ceil(length / p.hop)
    inside = length + 2 * p.edge - p.n_fft
    return max(0, (1 + int(inside // p.hop) if inside >= 0 else 0) - int(p.drop_last))
