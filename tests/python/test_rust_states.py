"""States cross the border between the package and the crate, with equal bits on both sides."""

import json
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from golden import numbers
from mho.exceptions import StateError
from mho.nn import AnalogLinear, load_analog
from mho.simulator.configs import (
    ConstantStepDevice,
    CustomPulsedDevice,
    IOParameters,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
)
from mho.simulator.state.header import decode_header
from rust_states import FOLDER, FROM_RUST, Digits, models, outcomes, tiles


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name


def test_what_the_crate_reads_is_what_comes_out_here() -> None:
    model, expected = models(), load_file(FOLDER / "next.safetensors")
    model.load_state_dict(load_file(FOLDER / "states.safetensors"))
    expected = {k: v for k, v in expected.items() if not k.startswith("model.")}
    same(outcomes(model), expected)


def test_the_folder_that_the_crate_opens_is_read_here() -> None:
    expected = load_file(FOLDER / "next.safetensors")
    model = load_analog(FOLDER / "model", Digits)
    with torch.no_grad():
        assert torch.equal(model(numbers(3, 7)), expected["model.y"])


def test_what_the_crate_has_written_goes_on_with_its_bits() -> None:
    model = nn.ModuleDict({name: build() for name, build in FROM_RUST.items()})
    model.load_state_dict(load_file(FOLDER / "from_rust.safetensors"))
    same(outcomes(model), load_file(FOLDER / "from_rust_next.safetensors"))


def test_what_the_crate_has_written_is_saved_as_all_else() -> None:
    model = nn.ModuleDict({name: build() for name, build in FROM_RUST.items()})
    model.load_state_dict(load_file(FOLDER / "from_rust.safetensors"))
    again = nn.ModuleDict({name: build() for name, build in FROM_RUST.items()})
    again.load_state_dict(model.state_dict())
    same(outcomes(again), outcomes(model))


def test_states_of_the_crate_need_the_same_configuration() -> None:
    state = load_file(FOLDER / "from_rust.safetensors")
    other = AnalogLinear(4, 3, False, SingleRPUConfig(device=ConstantStepDevice()))
    before = other.state_dict()["analog_module.analog_tile_weights"].clone()
    part = {k.removeprefix("devices."): v for k, v in state.items() if k.startswith("devices.")}
    with pytest.raises(StateError, match="made without Python"):
        other.load_state_dict(part)
    assert torch.equal(other.state_dict()["analog_module.analog_tile_weights"], before)


def header(layer: nn.Module) -> dict[str, Any]:
    (tile,) = tiles(layer).values()
    return decode_header(tile.analog_tile_config)


def test_header_has_the_configuration_of_the_core() -> None:
    config = SingleRPUConfig(device=ConstantStepDevice(dw_min=0.002))
    found = header(AnalogLinear(4, 3, False, config))
    assert json.loads(found["core"]) == config.core_wire()
    assert found["analog_bias"] is False
    assert header(FROM_RUST["bias"]())["analog_bias"] is True


def test_header_of_torch_tiles_has_the_product_of_the_core() -> None:
    config = TorchInferenceRPUConfig(forward=IOParameters(out_noise=0.01))
    found = header(AnalogLinear(4, 3, False, config))
    assert json.loads(found["core"])["forward"]["out_noise"] == 0.01


class Stepping(CustomPulsedDevice):
    """Device whose step is Python code."""

    def step(self, weight: Tensor, up: Tensor, planes: Any, noise: Tensor | None) -> Tensor:
        return weight + torch.where(up, 0.001, -0.001)


def test_header_does_not_claim_that_the_core_has_devices_of_python() -> None:
    from mho.simulator.parameters.registry import register_config_class

    config = SingleRPUConfig(device=register_config_class(Stepping)())
    assert header(AnalogLinear(4, 3, False, config))["core"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"core": 3}, "core must be text"),
        ({"analog_bias": "yes"}, "analog_bias must be a truth value"),
        ({"rpu_config": None}, "rpu_config must be text"),
        ({"rpu_config": None, "tile_class": None, "core": None}, "must be text"),
        ({"format": 3}, "format 3 is not supported"),
        ({"format": 1}, "unknown keys"),
        ({"format": True}, "format True is not supported"),
    ],
)
def test_damaged_headers_are_refused(change: dict[str, Any], message: str) -> None:
    (tile,) = tiles(AnalogLinear(4, 3, False, SingleRPUConfig())).values()
    content = {**decode_header(tile.analog_tile_config), **change}
    text = bytearray(json.dumps(content).encode())
    with pytest.raises(StateError, match=message):
        decode_header(torch.frombuffer(text, dtype=torch.uint8))


def test_headers_of_format_1_are_read() -> None:
    (tile,) = tiles(AnalogLinear(4, 3, False, SingleRPUConfig())).values()
    content = decode_header(tile.analog_tile_config)
    for name in ("core", "analog_bias"):
        del content[name]
    text = bytearray(json.dumps(content | {"format": 1}).encode())
    found = decode_header(torch.frombuffer(text, dtype=torch.uint8))
    assert found["rpu_config"] == content["rpu_config"] and found["core"] is None
