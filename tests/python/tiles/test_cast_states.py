"""States without values, or in another precision than that of the tiles."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mho.exceptions import InputError, StateError
from mho.nn import AnalogLinear
from mho.simulator.configs import (
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
)


def drifting() -> SingleRPUConfig:
    device = SoftBoundsDevice(write_noise_std=0.1)
    device.drift.nu = 0.1
    return SingleRPUConfig(device=device)


def analog_bias() -> InferenceRPUConfig:
    config = InferenceRPUConfig()
    config.mapping.digital_bias = False
    return config


def split() -> InferenceRPUConfig:
    config = InferenceRPUConfig()
    config.mapping.max_input_size = 3
    return config


CORE: dict[str, Callable[[], Any]] = {
    "pulsed": SingleRPUConfig,
    "drifting": drifting,
    "inference": InferenceRPUConfig,
    "analog bias": analog_bias,
    "array": split,
    "floating": FloatingPointRPUConfig,
}
ALL = {**CORE, "torch": TorchInferenceRPUConfig}


def make(kind: str) -> AnalogLinear:
    layer = AnalogLinear(6, 4, rpu_config=ALL[kind]())
    if kind == "drifting":
        layer.eval()
        layer.drift_analog_weights(10.0)
        layer.train()
    return layer


def state_of(layer: AnalogLinear) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in layer.state_dict().items()}


def check_refused(
    kind: str, change: Callable[[Tensor], Tensor], error: type[Exception], match: str
) -> None:
    given, layer = state_of(make(kind)), make(kind)
    before = state_of(layer)
    with pytest.raises(error, match=match):
        layer.load_state_dict({name: change(value) for name, value in given.items()})
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("which", ["all", "floats"])
def test_meta(kind: str, which: str) -> None:
    check_refused(
        kind,
        lambda v: v.to("meta") if which == "all" or v.is_floating_point() else v,
        StateError,
        r"^analog_module\..*: is on the meta device and has no values; load the state to the CPU",
    )


@pytest.mark.parametrize("kind", ALL)
def test_sparse(kind: str) -> None:
    check_refused(kind, lambda v: v.to_sparse(), InputError, r"^analog_module\..*to_dense\(\)")


@pytest.mark.parametrize("kind", CORE)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_cast(kind: str, dtype: torch.dtype) -> None:
    """The first entry of the tile that is wrong is named, and how to convert it."""
    check_refused(
        kind,
        lambda v: v.to(dtype) if v.is_floating_point() else v,
        InputError,
        rf"analog_tile_weights: expected torch.float32.*got {dtype}.*\.float\(\)",
    )


def test_clocks() -> None:
    def change(value: Tensor) -> Tensor:
        return value.float() if value.is_floating_point() else value

    check_refused("drifting", change, InputError, r"analog_tile_drift\.current_t.*\.double\(\)")


@pytest.mark.parametrize("kind", CORE)
def test_converted_states_load(kind: str) -> None:
    given, layer = state_of(make(kind)), make(kind)
    for name, value in given.items():
        if value.dtype is torch.float32:
            given[name] = value.double().float()
    layer.load_state_dict(given)
    for name, value in layer.state_dict().items():
        assert torch.equal(value, given[name]), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_torch_tiles_convert(dtype: torch.dtype) -> None:
    """As modules of torch do."""
    given, layer = state_of(make("torch")), make("torch")
    layer.load_state_dict(
        {k: v.to(dtype) if v.is_floating_point() else v for k, v in given.items()}
    )
    expected = given["analog_module.tile.weight"].to(dtype).float()
    assert torch.equal(layer.get_weights()[0], expected)
