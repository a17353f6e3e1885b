"""How the torchaudio-named modules behave beyond their numbers: buffers, dtypes, fused against composed, errors."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

import melisma
import tolerances
from melisma.torch import functional, transforms
from torch_audio import cases
from torch_device import DEVICE, same

MEL: dict[str, Any] = {"sample_rate": 8000, "n_fft": 128, "hop_length": 64, "n_mels": 10}
MEL_KWARGS = {name: value for name, value in MEL.items() if name != "sample_rate"}


@pytest.fixture
def x() -> torch.Tensor:
    return cases.inputs("x2_400", torch.float32)


def close(got: torch.Tensor, want: torch.Tensor, times: float = 16) -> None:
    """Two orders of the same float32 (or float64) arithmetic, relative to the largest value."""
    assert got.dtype == want.dtype
    bound = times * torch.finfo(got.dtype).eps * float(want.detach().abs().max())
    tolerances.assert_within(got.detach().numpy(force=True), want.detach().numpy(force=True), bound)


def torch_power(x: torch.Tensor, window: torch.Tensor, n_fft: int = 128, hop: int = 64) -> torch.Tensor:
    """|X|^2 from torch.stft alone."""
    rows = x.reshape(-1, x.shape[-1])
    spectrum = torch.stft(rows, n_fft, hop, n_fft, window, return_complex=True)
    return spectrum.abs().square().reshape(*x.shape[:-1], *spectrum.shape[-2:])


def torch_mel(x: torch.Tensor, module: transforms.MelSpectrogram) -> torch.Tensor:
    power = torch_power(x, module.spectrogram.window)
    return (power.transpose(-1, -2) @ module.mel_scale.fb).transpose(-1, -2)


def everything() -> list[tuple[str, Callable[[], torch.nn.Module], tuple[str, ...], dict[str, Any]]]:
    seen: dict[str, Any] = {}
    for case in cases.CASES:
        if not case.functional:
            seen.setdefault(case.target, case)
    return [(name, case, case.inputs, case.call) for name, case in seen.items()]


@pytest.mark.filterwarnings("ignore:At least one mel filterbank")
@pytest.mark.parametrize(
    ("name", "case", "inputs", "call"), everything(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_module_protocol(name: str, case: cases.Case, inputs: tuple[str, ...], call: dict[str, Any]) -> None:
    """Deep copy, pickle, state dict and .to give a module with the same result."""
    module = getattr(transforms, name)(**case.kwargs)
    args = [cases.inputs(shape, torch.float32) for shape in inputs]

    def result(m: torch.nn.Module) -> torch.Tensor:
        torch.manual_seed(1)
        return m(*args, **call)

    want = result(module)
    stream = io.BytesIO()
    torch.save(module, stream)
    stream.seek(0)
    other = getattr(transforms, name)(**case.kwargs)
    for buffer in other.buffers():
        buffer.zero_()
    other.load_state_dict(module.state_dict(), strict=True)
    for copied in (copy.deepcopy(module), torch.load(stream, weights_only=False), other, module.to(DEVICE)):
        assert same(result(copied), want)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        module.load_state_dict({**module.state_dict(), "surplus": torch.zeros(1)}, strict=True)


class TestBuffersDecide:
    def test_window_in_place(self, x: torch.Tensor) -> None:
        spectrogram, mel, centroid = (
            transforms.Spectrogram(128),
            transforms.MelSpectrogram(**MEL),
            transforms.SpectralCentroid(8000, 128),
        )
        for module in (spectrogram, mel.spectrogram, centroid):
            module.window.copy_(torch.linspace(0.1, 1.0, 128))
        window = torch.linspace(0.1, 1.0, 128)
        close(spectrogram(x), torch_power(x, window))
        close(mel(x), torch_mel(x, mel))
        magnitude = torch_power(x, window).sqrt()
        hertz = torch.linspace(0, 4000, 65)[:, None]
        close(centroid(x), (hertz * magnitude).sum(-2) / magnitude.sum(-2))

    def test_bank_in_place(self, x: torch.Tensor) -> None:
        mel = transforms.MelSpectrogram(**MEL)
        before = mel(x)
        mel.mel_scale.fb.mul_(2.0)
        assert same(mel(x), 2 * before)
        mel.mel_scale.fb.copy_(cases.inputs("f65_10", torch.float32))  # dense, and of both signs
        close(mel(x), torch_mel(x, mel))

    def test_bank_and_window_of_another_type(self, x: torch.Tensor) -> None:
        mel = transforms.MelSpectrogram(**MEL).half()
        rounded = transforms.MelSpectrogram(**MEL).half().float()
        assert same(mel(x), rounded(x))
        mel.double()
        assert mel(x).dtype == torch.float64
        close(mel(x), torch_mel(x.double(), mel))
        mixed = transforms.MelSpectrogram(**MEL)
        assert mixed(x.double()).dtype == torch.float64
        close(mixed(x.double()), torch_mel(x.double(), mixed.double()))

    def test_cosines_and_bands(self, x: torch.Tensor) -> None:
        mfcc = transforms.MFCC(8000, 10, melkwargs=MEL_KWARGS)
        mfcc.dct_mat.copy_(torch.eye(10))
        close(mfcc(x), functional.amplitude_to_DB(torch_mel(x, mfcc.MelSpectrogram), 10.0, 1e-10, 0.0, 80.0))
        lfcc = transforms.LFCC(8000, 5, n_lfcc=5, speckwargs={"n_fft": 128, "hop_length": 64})
        lfcc.filter_mat.copy_(cases.inputs("p65_5", torch.float32))
        lfcc.dct_mat.copy_(torch.eye(5))
        bands = lfcc.filter_mat.t() @ torch_power(x, lfcc.Spectrogram.window)
        close(lfcc(x), functional.amplitude_to_DB(bands, 10.0, 1e-10, 0.0, 80.0))


class TestDtypes:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precisions_are_computed_in_float32(self, x: torch.Tensor, dtype: torch.dtype) -> None:
        small = x.to(dtype)
        for module in (
            transforms.Spectrogram(128),
            transforms.Spectrogram(128, power=None),
            transforms.MelSpectrogram(**MEL),
            transforms.MFCC(8000, 8, melkwargs=MEL_KWARGS),
            transforms.SpectralCentroid(8000, 128),
        ):
            assert same(module(small), module(small.float()))
            assert same(module.to(dtype)(small), module.float()(small.float()))
        magnitude = transforms.Spectrogram(128)(x)
        vocoder = transforms.GriffinLim(128, n_iter=2, rand_init=False)
        assert same(vocoder(magnitude.to(dtype)), vocoder(magnitude.to(dtype).float()))
        deltas = transforms.ComputeDeltas()
        assert same(deltas(small), deltas(small.float()).to(dtype))
        inverse = transforms.InverseMelScale(33, 6)
        mel = cases.inputs("p6_5", torch.float32).to(dtype)
        assert same(inverse(mel), inverse(mel.float()))

    def test_autocast_changes_nothing(self, x: torch.Tensor) -> None:
        for module in (
            transforms.Spectrogram(128),
            transforms.MelSpectrogram(**MEL),
            transforms.MFCC(8000, 8, melkwargs=MEL_KWARGS),
            transforms.LFCC(8000, 12, n_lfcc=4, speckwargs={"n_fft": 128}),
            transforms.SpectralCentroid(8000, 128),
        ):
            want = module(x)
            with torch.autocast(DEVICE, torch.bfloat16):
                got = module(x)
            assert got.dtype == torch.float32
            assert same(got, want)

    def test_a_given_spectrogram_of_another_type_than_the_bank(self) -> None:
        scale, power = transforms.MelScale(6, n_stft=33), cases.inputs("p33_7", torch.float32)
        want = (power.transpose(0, 1) @ scale.fb).transpose(0, 1)
        assert scale(power.half()).dtype == torch.float32
        assert scale(power.double()).dtype == torch.float64
        close(scale(power.double()).float(), want)
        assert scale(power.mul(100).int()).dtype == torch.float32
        assert scale.half()(power.half()).dtype == torch.float16

    def test_int16(self, x: torch.Tensor) -> None:
        pcm = (x * 32767).to(torch.int16)
        samples = pcm.float() / 32768
        for power in (2.0, None):
            close(transforms.Spectrogram(128, power=power)(pcm), transforms.Spectrogram(128, power=power)(samples))
        wide = transforms.MelSpectrogram(**MEL).double()
        close(wide(pcm), wide(samples.double()))

    def test_double_window(self, x: torch.Tensor) -> None:
        module = transforms.Spectrogram(128, power=None).double()
        close(module(x), transforms.Spectrogram(128, power=None).double()(x.double()))
        inverse = transforms.InverseSpectrogram(128).double()
        spectrum = transforms.Spectrogram(128, power=None)(x)
        assert inverse(spectrum).dtype == torch.float64

    def test_complex_samples_and_window(self) -> None:
        z = torch.complex(cases.inputs("x400", torch.float64), cases.inputs("f400", torch.float64))
        window = torch.exp(1j * torch.linspace(0, 3, 64, dtype=torch.float64))

        def ours(samples: torch.Tensor, w: torch.Tensor, power: float | None) -> torch.Tensor:
            return functional.spectrogram(samples, 0, w, 64, 32, 64, power, True, onesided=False)

        for samples, w in ((z, window.real), (z, window), (z.real, window)):
            spectrum = (
                torch.stft(samples, 64, 32, 64, w, onesided=False, return_complex=True) / w.abs().square().sum().sqrt()
            )
            close(ours(samples, w, None), spectrum)
            close(ours(samples, w, 1.0), spectrum.abs())
            close(ours(samples, w, 3.0), spectrum.abs().pow(3.0))
        assert ours(z.real.float(), window, None).dtype == torch.complex128
        assert ours(z.real.float(), window.to(torch.complex64), None).dtype == torch.complex64
        for bad in (z, z.real):
            with pytest.raises(RuntimeError, match="onesided"):
                functional.spectrogram(bad, 0, window, 64, 32, 64, 2.0, False)
        mel = transforms.MelSpectrogram(**MEL)
        with pytest.raises(RuntimeError, match="onesided"):
            mel(z)

    def test_powers_without_a_fused_pass(self, x: torch.Tensor) -> None:
        magnitude = transforms.Spectrogram(128, power=1.0)(x)
        assert same(transforms.Spectrogram(128, power=0.0)(x), torch.ones_like(magnitude))
        close(
            transforms.Spectrogram(128, power=-1.0)(x + 1),
            transforms.Spectrogram(128, power=1.0)(x + 1).reciprocal(),
            1e4,
        )


class TestFusedEqualsComposed:
    def test_hooks_and_exchanged_modules_are_called(self, x: torch.Tensor) -> None:
        mel = transforms.MelSpectrogram(**MEL)
        want, seen = mel(x), []
        handle = mel.spectrogram.register_forward_hook(lambda *_: seen.append("spectrogram"))
        close(mel(x), want)
        assert seen == ["spectrogram"]
        handle.remove()
        handle = mel.mel_scale.register_forward_pre_hook(lambda *_: seen.append("bank"))
        close(mel(x), want)
        assert seen == ["spectrogram", "bank"]
        handle.remove()
        mel.mel_scale = torch.nn.Identity()
        close(mel(x), mel.spectrogram(x))

    @pytest.mark.parametrize("log_mels", [False, True])
    @pytest.mark.parametrize("top_db", [None, 30.0])
    def test_mfcc(self, x: torch.Tensor, log_mels: bool, top_db: float | None) -> None:
        mfcc = transforms.MFCC(8000, 8, log_mels=log_mels, melkwargs=MEL_KWARGS, top_db=top_db)
        assert mfcc.top_db == mfcc.amplitude_to_DB.top_db == top_db
        mel = torch_mel(x, mfcc.MelSpectrogram)
        scaled = torch.log(mel + 1e-6) if log_mels else functional.amplitude_to_DB(mel, 10.0, 1e-10, 0.0, top_db)
        want = (scaled.transpose(-1, -2) @ mfcc.dct_mat).transpose(-1, -2)
        close(mfcc(x), want, 64)
        calls: list[Any] = []
        mfcc.MelSpectrogram.register_forward_hook(lambda *_: calls.append(0))
        close(mfcc(x), want, 64)
        assert len(calls) == 1

    def test_mfcc_follows_its_decibels(self, x: torch.Tensor) -> None:
        """Changing the submodule in place is how torchaudio's users get rid of the limit."""
        mfcc = transforms.MFCC(8000, 8, melkwargs=MEL_KWARGS)
        mfcc.amplitude_to_DB.top_db = None
        close(mfcc(x), transforms.MFCC(8000, 8, melkwargs=MEL_KWARGS, top_db=None)(x))
        mfcc.amplitude_to_DB.amin = 1e-3
        mel = torch_mel(x, mfcc.MelSpectrogram)
        close(mfcc(x), ((10 * mel.clamp(min=1e-3).log10()).transpose(-1, -2) @ mfcc.dct_mat).transpose(-1, -2), 64)
        for name, value in (("multiplier", 20.0), ("db_multiplier", 3.0)):
            own = mfcc.amplitude_to_DB
            setattr(own, name, value)
            decibels = functional.amplitude_to_DB(mel, own.multiplier, own.amin, own.db_multiplier)
            close(mfcc(x), (decibels.transpose(-1, -2) @ mfcc.dct_mat).transpose(-1, -2), 64)

    def test_top_db_none_makes_frames_independent(self, x: torch.Tensor) -> None:
        kwargs = {**MEL_KWARGS, "center": False}
        loud = torch.cat([x, 1e4 * x], dim=-1)
        free = transforms.MFCC(8000, 8, melkwargs=kwargs, top_db=None)
        frames = free(x).shape[-1]
        assert same(free(loud)[..., :frames], free(x))
        limited = transforms.MFCC(8000, 8, melkwargs=kwargs)
        assert not torch.allclose(limited(loud)[..., :frames], limited(x))

    def test_lfcc(self, x: torch.Tensor) -> None:
        for log_lf in (False, True):
            lfcc = transforms.LFCC(
                8000, 6, n_lfcc=4, log_lf=log_lf, speckwargs={"n_fft": 128, "hop_length": 64}, top_db=None
            )
            want = lfcc(x)
            lfcc.Spectrogram.register_forward_hook(lambda *_: None)
            close(lfcc(x), want, 64)

    def test_leading_dimensions(self, x: torch.Tensor) -> None:
        deep = x.reshape(1, 2, 1, 400).expand(3, 2, 2, 400)
        for module in (
            transforms.Spectrogram(128),
            transforms.MelSpectrogram(**MEL),
            transforms.SpectralCentroid(8000, 128),
        ):
            flat, result = module(x), module(deep)
            assert result.shape == (3, 2, 2, *flat.shape[1:])
            assert same(result[2, :, 1], flat)
        spectrum = transforms.Spectrogram(128, power=None)(deep)
        close(transforms.InverseSpectrogram(128)(spectrum, 400), deep.contiguous())


def test_round_trip_with_every_normalization(x: torch.Tensor) -> None:
    for normalized in (False, True, "window", "frame_length"):
        kwargs: dict[str, Any] = {"n_fft": 128, "normalized": normalized, "pad": 9}
        spectrum = transforms.Spectrogram(power=None, **kwargs)(x)
        restored = transforms.InverseSpectrogram(**kwargs)(spectrum, 400)
        tolerances.assert_within(restored.numpy(force=True), x.numpy(force=True), tolerances.ROUND_TRIP)


def test_griffin_lim_recovers_magnitudes(x: torch.Tensor) -> None:
    magnitude = transforms.Spectrogram(128, hop_length=32, power=1.0)(x)
    torch.manual_seed(0)
    distances = []
    for n_iter in (0, 30):
        signal = transforms.GriffinLim(128, n_iter, hop_length=32, power=1.0, length=400)(magnitude)
        assert signal.shape == (2, 400)
        again = transforms.Spectrogram(128, hop_length=32, power=1.0)(signal)
        distances.append(float((again - magnitude).norm() / magnitude.norm()))
    assert distances[1] < 0.15 < 0.4 < distances[0]


def test_masks_leave_their_input_alone() -> None:
    features = cases.inputs("f3_8_10", torch.float32)
    before = features.clone()
    for module in (transforms.TimeMasking(0), transforms.FrequencyMasking(0, True), transforms.TimeMasking(5, p=0.0)):
        assert module(features) is features
    torch.manual_seed(0)
    masked = transforms.FrequencyMasking(8, True)(features, torch.tensor(9.0))
    assert (masked == 9.0).any()
    torch.manual_seed(0)
    assert same(masked, transforms.FrequencyMasking(8, True)(features, 9.0))
    torch.manual_seed(0)
    masked = transforms.TimeMasking(8)(features, torch.tensor(9.0))
    torch.manual_seed(0)
    assert same(masked, transforms.TimeMasking(8)(features, 9.0))
    assert same(features, before)


def test_sliding_window_edge_cases() -> None:
    features = cases.inputs("f2_12_5", torch.float32)
    assert functional.sliding_window_cmn(features[:, :0]).shape == (2, 0, 5)
    strided = features.transpose(0, 1)[::2].transpose(0, 1)
    assert same(functional.sliding_window_cmn(strided), functional.sliding_window_cmn(strided.contiguous()))
    single = functional.sliding_window_cmn(features[0, :1], norm_vars=True)
    assert same(single, torch.zeros(1, 5))
    assert functional.sliding_window_cmn(features.half()).dtype == torch.float16


def test_time_stretch_of_rate_one_is_the_input() -> None:
    spectrum = cases.inputs("z33_7", torch.float32)
    assert transforms.TimeStretch(n_freq=33, fixed_rate=1.3)(spectrum, 1.0) is spectrum


class TestWarnings:
    def test_empty_bands(self) -> None:
        with pytest.warns(UserWarning, match="At least one mel filterbank has all zero values: .*n_mels = 128"):
            transforms.MelSpectrogram()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            transforms.MelSpectrogram(n_mels=40)
            functional.linear_fbanks(201, 0.0, 8000.0, 40, 16000)

    def test_arguments_without_effect(self, x: torch.Tensor) -> None:
        with pytest.warns(UserWarning, match="return_complex"):
            transforms.Spectrogram(return_complex=True)
        with pytest.warns(UserWarning, match="onesided"):
            transforms.MelSpectrogram(n_mels=40, onesided=True)
        with pytest.warns(UserWarning, match="return_complex"):
            functional.spectrogram(x, 0, torch.ones(64), 64, 32, 64, 2.0, False, return_complex=False)

    def test_time_stretch_of_real_input(self) -> None:
        with pytest.warns(UserWarning, match="complex_specgrams must be complex"):
            transforms.TimeStretch(n_freq=33, fixed_rate=1.3)(cases.inputs("p33_7", torch.float32))


SPECTRUM = cases.inputs("z33_7", torch.float32)
SAMPLES = cases.inputs("x2_400", torch.float32)
WINDOW = torch.hann_window(64)

REFUSED: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    ("spectrogram normalized", lambda: transforms.Spectrogram(64, normalized="l2")(SAMPLES), ValueError, "normalized must be .*'l2'"),
    ("spectrogram normalized type", lambda: transforms.Spectrogram(64, normalized=1)(SAMPLES), TypeError, "normalized must be .*got 1"),  # type: ignore[arg-type]
    ("mel normalized", lambda: transforms.MelSpectrogram(**MEL, normalized="l2")(SAMPLES), ValueError, "normalized"),  # type: ignore[arg-type]
    ("too short", lambda: transforms.Spectrogram(400)(SAMPLES[:, :100]), RuntimeError, "reflect padding"),
    ("int32", lambda: transforms.Spectrogram(64)(SAMPLES.int()), RuntimeError, "input must be int16"),
    ("window length", lambda: functional.spectrogram(SAMPLES, 0, WINDOW[:-1], 64, 32, 64, 2.0, False), RuntimeError, "window"),
    ("inverse of real", lambda: transforms.InverseSpectrogram(64)(SPECTRUM.real), ValueError, "must be complex, got torch.float32"),
    ("inverse normalized", lambda: transforms.InverseSpectrogram(64, normalized="x")(SPECTRUM), ValueError, "normalized"),
    ("inverse bins", lambda: transforms.InverseSpectrogram(128)(SPECTRUM), RuntimeError, "33"),
    ("inverse uncentred", lambda: transforms.InverseSpectrogram(64, center=False)(SPECTRUM), RuntimeError, "window"),
    ("momentum module", lambda: transforms.GriffinLim(momentum=1.0), ValueError, r"momentum must be in \[0, 1\), got 1.0"),
    ("momentum", lambda: functional.griffinlim(SPECTRUM.abs(), WINDOW, 64, 32, 64, 2.0, 1, -0.1, None, False), ValueError, "got -0.1"),
    ("griffin-lim of integers", lambda: transforms.GriffinLim(64)(SPECTRUM.abs().int()), ValueError, "int32"),
    ("top_db", lambda: transforms.AmplitudeToDB(top_db=-1.0), ValueError, "top_db must be >= 0, got -1.0"),
    ("mel band", lambda: transforms.MelScale(f_min=9000.0), ValueError, "f_min must be <= f_max = 8000.0 Hz, got 9000.0"),
    ("inverse mel band", lambda: transforms.InverseMelScale(33, f_min=9.0, f_max=8.0), ValueError, "f_min"),
    ("norm", lambda: transforms.MelScale(norm="area"), ValueError, "norm must be None or 'slaney', got 'area'"),
    ("scale", lambda: transforms.MelScale(mel_scale="bark"), ValueError, "mel_scale must be 'htk' or 'slaney', got 'bark'"),
    ("driver", lambda: transforms.InverseMelScale(33, driver="qr"), ValueError, "driver must be one of .* got 'qr'"),
    ("mel count", lambda: transforms.InverseMelScale(33, 6)(torch.zeros(2, 5, 3)), ValueError, "must have 6 mel bands, got 5"),
    ("dct type", lambda: transforms.MFCC(dct_type=3), ValueError, "MFCC: dct_type must be 2, got 3"),
    ("lfcc dct type", lambda: transforms.LFCC(dct_type=1), ValueError, "LFCC: dct_type must be 2, got 1"),
    ("n_mfcc", lambda: transforms.MFCC(n_mfcc=11, melkwargs=MEL_KWARGS), ValueError, "n_mfcc must be <= n_mels = 10, got 11"),
    ("n_lfcc", lambda: transforms.LFCC(n_lfcc=65, speckwargs={"n_fft": 64}), ValueError, "n_lfcc must be <= n_fft = 64, got 65"),
    ("dct norm", lambda: functional.create_dct(3, 4, "l2"), ValueError, "norm must be None or 'ortho', got 'l2'"),
    ("deltas", lambda: transforms.ComputeDeltas(2)(SAMPLES), ValueError, "win_length must be >= 3, got 2"),
    ("no rate", lambda: transforms.TimeStretch(n_freq=33)(SPECTRUM), ValueError, "overriding_rate"),
    ("mask p", lambda: transforms.TimeMasking(3, p=1.5), ValueError, "p must be between 0.0 and 1.0, got 1.5"),
    ("mask function p", lambda: functional.mask_along_axis(SAMPLES, 3, 0.0, 1, p=-0.5), ValueError, "got -0.5"),
    ("mask axis", lambda: functional.mask_along_axis(SAMPLES, 3, 0.0, 2), ValueError, r"axis must be 0 .* or 1 .* got 2"),
    ("mask dims", lambda: functional.mask_along_axis(SAMPLES[0], 3, 0.0, 0), ValueError, "at least 2 dimensions, got 1"),
    ("iid mask dims", lambda: functional.mask_along_axis_iid(SAMPLES, 3, 0.0, 1), ValueError, "at least 3 dimensions, got 2"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:At least one mel filterbank")
@pytest.mark.parametrize(("what", "call", "error", "match"), REFUSED, ids=[what for what, *_ in REFUSED])
def test_refused(what: str, call: Callable[[], Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match) as caught:
        call()
    assert isinstance(caught.value, (melisma.InvalidArgument, melisma.InvalidType))
