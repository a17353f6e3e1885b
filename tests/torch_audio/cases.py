"""What is compared with torchaudio: configurations, and inputs that are the same on every machine.

Both the tests and ``tools/torchaudio_goldens.py`` read this file; it needs nothing but NumPy and PyTorch. On a GPU the cases
that draw random numbers are left out: the recorded ones were drawn on the CPU.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from torch_device import DEVICE

SEED = 20240607

# Functions whose signatures are compared; all but those named in CASES run inside the modules of the same purpose.
FUNCTIONS = (
    "DB_to_amplitude",
    "amplitude_to_DB",
    "compute_deltas",
    "create_dct",
    "griffinlim",
    "inverse_spectrogram",
    "linear_fbanks",
    "mask_along_axis",
    "mask_along_axis_iid",
    "melscale_fbanks",
    "phase_vocoder",
    "sliding_window_cmn",
    "spectral_centroid",
    "spectrogram",
)


@dataclasses.dataclass(frozen=True)
class Case:
    """One call: of a module built from `kwargs`, or of a function."""

    name: str
    target: str
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    call: dict[str, Any] = dataclasses.field(default_factory=dict)
    kind: str = "linear"  # "decibel": logarithms, mean and largest difference; "exact": no rounding at all
    random: bool = False  # float32 and float64 draw different numbers

    @property
    def functional(self) -> bool:
        return self.target[0].islower() or self.target == "DB_to_amplitude"

    @property
    def draws(self) -> bool:
        """Whether the result depends on random numbers."""
        return self.random or self.kind == "exact" or self.target == "SpecAugment"


def _noise(count: int, offset: int = 0) -> np.ndarray:
    """White to the eye, in [-0.5, 0.5); integers only, so that no machine differs."""
    n = np.arange(offset, offset + count, dtype=np.int64)
    return ((n * n * 7919 + n * 104729 + (n % 97) ** 3) % 65521) / 65521 - 0.5


def inputs(name: str, dtype: torch.dtype) -> torch.Tensor:
    """A named input: ``x480``, ``x2_480``: samples; ``p2_33_9``: positive; ``z33_9``: complex; ``f2_20_12``: features."""
    kind, shape = name[0], tuple(int(part) for part in name[1:].split("_"))
    count = int(np.prod(shape))
    values = _noise(count)
    if kind == "x":  # a rising tone in noise; every further channel is 30 dB quieter
        n = np.arange(count) % shape[-1]
        tone = np.round(np.sin(0.1 * n + 0.0008 * n * n), 9)
        gain = 10.0 ** (-1.5 * (np.arange(count) // shape[-1] % 3))
        values = gain * (0.6 * tone + 0.1 * values)
    elif kind == "p":
        values = (values + 0.5) ** 4 + 1e-3
    elif kind == "z":
        values = values + 1j * _noise(count, 1000)
    elif kind == "f":
        values = 4.0 * values + np.arange(count) % shape[-1] / shape[-1]
    real = np.float64 if dtype == torch.float64 else np.float32
    made = values.astype(np.complex128 if real == np.float64 else np.complex64) if kind == "z" else values.astype(real)
    return torch.from_numpy(made.reshape(shape)).to(DEVICE)


_SPEC = {"n_fft": 64}
_MEL_KW = {"n_fft": 128, "hop_length": 64, "n_mels": 10}
_MEL = {"sample_rate": 8000, **_MEL_KW}
_BANK = {"n_freqs": 65, "f_min": 50.0, "f_max": 3900.0, "n_mels": 12, "sample_rate": 8000}
_MASK = {"mask_param": 7, "mask_value": -2.5}

CASES = (
    Case("spectrogram", "Spectrogram", _SPEC, ("x2_240",)),
    Case(
        "spectrogram_magnitude",
        "Spectrogram",
        {
            **_SPEC,
            "hop_length": 16,
            "win_length": 48,
            "window_fn": torch.hamming_window,
            "power": 1.0,
            "normalized": True,
        },
        ("x240",),
    ),
    Case(
        "spectrogram_power",
        "Spectrogram",
        {**_SPEC, "power": 0.7, "normalized": "frame_length", "pad": 5, "pad_mode": "constant"},
        ("x240",),
    ),
    Case("spectrogram_complex", "Spectrogram", {**_SPEC, "power": None, "pad": 3, "pad_mode": "replicate"}, ("x240",)),
    Case(
        "spectrogram_complex_window",
        "Spectrogram",
        {**_SPEC, "power": None, "normalized": "window", "onesided": False},
        ("x160",),
    ),
    Case(
        "spectrogram_uncentred",
        "Spectrogram",
        {**_SPEC, "center": False, "window_fn": torch.kaiser_window, "wkwargs": {"periodic": True, "beta": 8.0}},
        ("x2_1_160",),
    ),
    Case("spectrogram_two_sided", "Spectrogram", {**_SPEC, "onesided": False, "power": 1.0}, ("x160",)),
    Case("spectrogram_odd", "Spectrogram", {"n_fft": 45, "onesided": False, "pad_mode": "circular"}, ("x160",)),
    Case("inverse", "InverseSpectrogram", _SPEC, ("z2_33_7",)),
    Case("inverse_length", "InverseSpectrogram", {**_SPEC, "pad": 3, "normalized": True}, ("z33_7",), {"length": 170}),
    Case("inverse_two_sided", "InverseSpectrogram", {**_SPEC, "onesided": False, "win_length": 50}, ("z64_7",)),
    Case(
        "inverse_uncentred",
        "InverseSpectrogram",
        {**_SPEC, "center": False, "window_fn": torch.hamming_window, "normalized": "frame_length", "hop_length": 16},
        ("z1_2_33_5",),
    ),
    Case("griffin_lim", "GriffinLim", {**_SPEC, "n_iter": 6, "rand_init": False}, ("p2_33_7",)),
    Case(
        "griffin_lim_plain",
        "GriffinLim",
        {**_SPEC, "n_iter": 3, "rand_init": False, "momentum": 0.0, "power": 1.0, "length": 200},
        ("p33_7",),
    ),
    Case(
        "griffin_lim_random",
        "GriffinLim",
        {**_SPEC, "n_iter": 3, "hop_length": 16, "momentum": 0.2},
        ("p33_9",),
        random=True,
    ),
    Case("decibels", "AmplitudeToDB", {}, ("p4_5",), kind="decibel"),
    Case("decibels_packed_2d", "AmplitudeToDB", {"top_db": 10.0}, ("p4_5",), kind="decibel"),
    Case("decibels_packed_3d", "AmplitudeToDB", {"stype": "magnitude", "top_db": 20.0}, ("p3_4_5",), kind="decibel"),
    Case("decibels_packed_5d", "AmplitudeToDB", {"top_db": 9}, ("p2_2_2_3_4",), kind="decibel"),
    Case("mel_scale", "MelScale", {"n_mels": 8, "n_stft": 33}, ("p2_33_5",)),
    Case(
        "mel_scale_slaney",
        "MelScale",
        {"n_mels": 6, "n_stft": 65, "f_min": 100.0, "f_max": 7000.0, "norm": "slaney", "mel_scale": "slaney"},
        ("p65_4",),
    ),
    Case("inverse_mel", "InverseMelScale", {"n_stft": 33, "n_mels": 6}, ("p6_5",)),
    Case("inverse_mel_batch", "InverseMelScale", {"n_stft": 20, "n_mels": 4, "driver": "gelsd"}, ("p2_2_4_3",)),
    Case("mel", "MelSpectrogram", _MEL, ("x2_400",)),
    Case(
        "mel_slaney",
        "MelSpectrogram",
        {
            **_MEL,
            "norm": "slaney",
            "mel_scale": "slaney",
            "power": 1.0,
            "normalized": True,
            "pad": 7,
            "f_min": 60.0,
            "f_max": 3500.0,
        },
        ("x400",),
    ),
    Case(
        "mel_uncentred",
        "MelSpectrogram",
        {**_MEL, "center": False, "win_length": 100, "normalized": "frame_length", "power": 1.5},
        ("x1_2_400",),
    ),
    Case("mfcc", "MFCC", {"sample_rate": 8000, "n_mfcc": 8, "melkwargs": _MEL_KW}, ("x2_400",), kind="decibel"),
    Case(
        "mfcc_log",
        "MFCC",
        {"sample_rate": 8000, "n_mfcc": 5, "norm": None, "log_mels": True, "melkwargs": _MEL_KW},
        ("x400",),
        kind="decibel",
    ),
    Case(
        "mfcc_magnitude",
        "MFCC",
        {"sample_rate": 8000, "n_mfcc": 5, "melkwargs": {**_MEL_KW, "power": 1.0, "center": False}},
        ("x2_2_400",),
        kind="decibel",
    ),
    Case(
        "lfcc",
        "LFCC",
        {"sample_rate": 8000, "n_filter": 12, "n_lfcc": 6, "speckwargs": {"n_fft": 128}},
        ("x2_400",),
        kind="decibel",
    ),
    Case(
        "lfcc_log",
        "LFCC",
        {"n_filter": 9, "n_lfcc": 9, "f_min": 200.0, "f_max": 6000.0, "log_lf": True, "speckwargs": {"n_fft": 100}},
        ("x400",),
        kind="decibel",
    ),
    Case("centroid", "SpectralCentroid", {"sample_rate": 8000, **_SPEC}, ("x2_400",)),
    Case(
        "centroid_padded",
        "SpectralCentroid",
        {
            "sample_rate": 11025,
            **_SPEC,
            "win_length": 50,
            "hop_length": 20,
            "pad": 11,
            "window_fn": torch.blackman_window,
        },
        ("x1_2_300",),
    ),
    Case("deltas", "ComputeDeltas", {}, ("f2_5_12",)),
    Case("deltas_long", "ComputeDeltas", {"win_length": 10, "mode": "constant"}, ("f20",)),
    Case("stretch", "TimeStretch", {"n_freq": 33, "fixed_rate": 1.3}, ("z2_33_8",)),
    Case("stretch_slower", "TimeStretch", {"n_freq": 33, "hop_length": 10}, ("z33_6",), {"overriding_rate": 0.6}),
    Case("cmn", "SlidingWindowCmn", {"cmn_window": 6, "min_cmn_window": 4}, ("f2_12_5",)),
    Case("cmn_variance", "SlidingWindowCmn", {"cmn_window": 5, "min_cmn_window": 3, "norm_vars": True}, ("f12_5",)),
    Case("cmn_centred", "SlidingWindowCmn", {"cmn_window": 5, "center": True, "norm_vars": True}, ("f2_2_12_3",)),
    Case("cmn_short", "SlidingWindowCmn", {}, ("f2_12_5",)),
    Case("cmn_first_alone", "SlidingWindowCmn", {"cmn_window": 4, "min_cmn_window": 1, "norm_vars": True}, ("f9_3",)),
    Case("mask_time", "TimeMasking", {"time_mask_param": 9, "p": 0.6}, ("f2_5_12",), {"mask_value": 3.0}, "exact"),
    Case("mask_time_iid", "TimeMasking", {"time_mask_param": 9, "iid_masks": True}, ("f2_3_5_12",), kind="exact"),
    Case("mask_frequency", "FrequencyMasking", {"freq_mask_param": 8}, ("f10_6",), kind="exact"),
    Case(
        "mask_frequency_iid", "FrequencyMasking", {"freq_mask_param": 8, "iid_masks": True}, ("f3_10_4",), kind="exact"
    ),
    Case(
        "augment",
        "SpecAugment",
        {"n_time_masks": 2, "time_mask_param": 4, "n_freq_masks": 2, "freq_mask_param": 3, "zero_masking": True},
        ("f3_8_10",),
        kind="exact",
    ),
    Case(
        "augment_mean",
        "SpecAugment",
        {
            "n_time_masks": 1,
            "time_mask_param": 4,
            "n_freq_masks": 1,
            "freq_mask_param": 3,
            "iid_masks": False,
            "p": 0.5,
        },
        ("f2_8_10",),
    ),
    Case("fbanks_htk", "melscale_fbanks", _BANK),
    Case("fbanks_htk_slaney", "melscale_fbanks", {**_BANK, "norm": "slaney"}),
    Case("fbanks_slaney", "melscale_fbanks", {**_BANK, "mel_scale": "slaney", "sample_rate": 8001}),
    Case("fbanks_slaney_slaney", "melscale_fbanks", {**_BANK, "norm": "slaney", "mel_scale": "slaney", "n_mels": 20}),
    Case(
        "fbanks_linear",
        "linear_fbanks",
        {"n_freqs": 65, "f_min": 0.0, "f_max": 3999.0, "n_filter": 7, "sample_rate": 8001},
    ),
    Case("dct", "create_dct", {"n_mfcc": 9, "n_mels": 12, "norm": None}),
    Case("dct_ortho", "create_dct", {"n_mfcc": 9, "n_mels": 12, "norm": "ortho"}),
    Case("from_decibels", "DB_to_amplitude", {"ref": 2.0, "power": 0.5}, ("f4_5",)),
    Case("mask_function", "mask_along_axis", {**_MASK, "axis": 2, "p": 0.5}, ("f2_5_12",), kind="exact"),
    Case("mask_function_iid", "mask_along_axis_iid", {**_MASK, "axis": 1, "p": 0.9}, ("f2_8_12",), kind="exact"),
)


def run(
    case: Case, transforms: Any, functional: Any, dtype: torch.dtype, state: dict[str, torch.Tensor] | None = None
) -> torch.Tensor:
    """The case's result from torchaudio's two modules or from ours; the same seed before each.

    With `state`, a module's buffers come from there: float32, as they are built, whatever `dtype` is computed in.
    """
    args = [inputs(name, dtype) for name in case.inputs]
    if not case.functional:
        module = getattr(transforms, case.target)(**case.kwargs)
        if state is not None:
            module.load_state_dict(state, strict=True)
        module = module.to(dtype)
        torch.manual_seed(SEED)
        result: torch.Tensor = module(*args, **case.call)
        return result
    default = torch.get_default_dtype()
    torch.manual_seed(SEED)
    torch.set_default_dtype(dtype)  # what has no input follows it
    try:
        made: torch.Tensor = getattr(functional, case.target)(*args, **case.kwargs)
        return made
    finally:
        torch.set_default_dtype(default)
