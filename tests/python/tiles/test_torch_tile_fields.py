"""Fields of configurations that torch tiles cannot use: without effect, or beyond their numbers."""

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from mho.exceptions import ConfigError
from mho.nn import AnalogLinear
from mho.simulator import presets
from mho.simulator.configs import (
    IdealDevice,
    InferenceRPUConfig,
    IOParameters,
    NoiseManagementType,
    PulseType,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
    UpdateParameters,
)
from mho.simulator.parameters.enums import RPUDataType
from mho.simulator.tiles import ineffective

INEFFECTIVE: dict[str, Any] = {
    "device.diffusion": 0.5,
    "device.lifetime": 2.0,
    "device.reset_std": 0.5,
    "backward.out_noise": 10.0,
    "backward.is_perfect": False,
    "update.desired_bl": 3,
    "update.pulse_type": PulseType.STOCHASTIC_COMPRESSED,
}


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ineffective, "_warned", set())
    yield


def changed(path: str, value: Any) -> TorchInferenceRPUConfig:
    config = TorchInferenceRPUConfig()
    holder, name = path.split(".")
    setattr(getattr(config, holder), name, value)
    return config


class TestWithoutEffect:
    @pytest.mark.parametrize("path", INEFFECTIVE)
    def test_building(self, path: str) -> None:
        config = changed(path, INEFFECTIVE[path])
        with pytest.warns(UserWarning, match=rf"{path}.*InferenceRPUConfig"):
            AnalogLinear(4, 3, rpu_config=config)
        AnalogLinear(4, 3, rpu_config=config)  # said once

    def test_replacing_and_editing(self) -> None:
        layer = AnalogLinear(4, 3, rpu_config=TorchInferenceRPUConfig())
        tile = layer.analog_module
        with pytest.warns(UserWarning, match=r"backward\.inp_noise"):
            tile.rpu_config.backward.inp_noise = 0.5
        with pytest.warns(UserWarning, match=r"update\.desired_bl, ") as caught:
            update = UpdateParameters(pulse_type=PulseType.NONE, desired_bl=5, fixed_bl=False)
            config = copy.deepcopy(tile.rpu_config)
            config.update = update
            tile.replace_with(config)
        assert "backward.inp_noise" not in str(caught[0].message)
        assert len(caught) == 1

    def test_another_device(self) -> None:
        config = TorchInferenceRPUConfig()
        config.device = SoftBoundsDevice()
        with pytest.warns(UserWarning, match="no use for device;"):
            AnalogLinear(4, 3, rpu_config=config)

    def test_other_tiles_use_them(self) -> None:
        config = InferenceRPUConfig()
        config.device = IdealDevice(diffusion=0.1)
        config.backward = IOParameters(out_noise=0.1)
        AnalogLinear(4, 3, rpu_config=config)

    def test_defaults_and_presets_are_silent(self) -> None:
        """Also what presets set themselves."""
        built = 0
        for name in presets.__all__:
            cls = getattr(presets, name)
            if isinstance(cls, type) and issubclass(cls, TorchInferenceRPUConfig):
                AnalogLinear(4, 3, rpu_config=cls())
                built += 1
        AnalogLinear(4, 3, rpu_config=TorchInferenceRPUConfig())
        assert built

    def test_a_refused_warning_is_said_again(self) -> None:
        config = changed("device.diffusion", 0.5)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(2):
                with pytest.raises(UserWarning, match="diffusion"):
                    AnalogLinear(4, 3, rpu_config=config)


FLOATS = [
    "inp_noise",
    "inp_asymmetry",
    "inp_res",
    "out_bound",
    "out_noise",
    "out_noise_std",
    "out_res",
    "out_scale",
    "out_asymmetry",
    "max_bm_res",
    "nm_thres",
    "nm_decay",
    "nm_assumed_wmax",
    "ir_drop_g_ratio",
]
# Just beyond the largest number.
BEYOND = {"FLOAT": 1e300, "HALF": 1e5}


class TestBeyondPrecision:
    @pytest.mark.parametrize("name", FLOATS)
    @pytest.mark.parametrize("kind", BEYOND)
    def test_building(self, name: str, kind: str) -> None:
        config = TorchInferenceRPUConfig()
        config.runtime.data_type = RPUDataType[kind]
        setattr(config.forward, name, BEYOND[kind])
        with pytest.raises(ConfigError, match=rf"forward\.{name}"):
            AnalogLinear(4, 3, rpu_config=config)

    @pytest.mark.parametrize("name", ["out_bound", "nm_thres"])
    def test_editing(self, name: str) -> None:
        layer = AnalogLinear(4, 3, rpu_config=TorchInferenceRPUConfig())
        forward = layer.analog_module.rpu_config.forward
        before = getattr(forward, name)
        with pytest.raises(ConfigError, match=rf"forward\.{name}"):
            setattr(forward, name, 1e300)
        assert getattr(forward, name) == before
        layer(torch.ones(2, 4))

    def test_casting(self) -> None:
        config = TorchInferenceRPUConfig()
        config.forward.out_bound = 1e5
        layer = AnalogLinear(4, 3, rpu_config=config)
        with pytest.raises(ConfigError, match=r"forward\.out_bound"):
            layer.half()
        assert layer.weight.dtype is torch.float32
        layer.bfloat16()
        layer(torch.ones(2, 4, dtype=torch.bfloat16))

    @pytest.mark.parametrize("kind", ["FLOAT", "HALF", "DOUBLE"])
    def test_the_largest_numbers(self, kind: str) -> None:
        dtype = RPUDataType[kind].as_torch()
        config = TorchInferenceRPUConfig()
        config.runtime.data_type = RPUDataType[kind]
        config.forward.out_bound = torch.finfo(dtype).max
        config.forward.noise_management = NoiseManagementType.ABS_MAX
        config.forward.nm_thres = torch.finfo(dtype).max
        layer = AnalogLinear(4, 3, rpu_config=config)
        assert torch.isfinite(layer(torch.ones(2, 4, dtype=dtype))).all()

    def test_the_transposed_product(self) -> None:
        config = TorchInferenceRPUConfig()
        tile = AnalogLinear(4, 3, rpu_config=config).analog_module.tile
        config = copy.deepcopy(config)
        config.backward = IOParameters(out_bound=1e300)
        tile.set_config(config)
        with pytest.raises(ConfigError, match=r"backward\.out_bound"):
            tile.backward(torch.ones(2, 3))
