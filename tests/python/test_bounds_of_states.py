"""States with weights that their devices cannot have are refused, all others load."""

from typing import Any

import pytest
import torch

from devices_for_tests import tile_of
from mho.exceptions import ArgumentError, StateError
from mho.nn import AnalogLinear, AnalogSequential
from mho.simulator import configs
from mho.simulator.configs import FloatingPointRPUConfig, IdealDevice, SingleRPUConfig
from mho.simulator.tiles import AnalogTile
from unchanged import differences, everything

DEVICES = [
    "ConstantStepDevice", "LinearStepDevice", "SoftBoundsDevice", "SoftBoundsPmaxDevice",
    "SoftBoundsReferenceDevice", "ExpStepDevice", "PowStepDevice", "PowStepReferenceDevice",
    "PiecewiseStepDevice",
]  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("factor", [1.001, 10.0])
def test_weights_beyond_the_bounds_are_refused(device: str, factor: float) -> None:
    tile = tile_of(getattr(configs, device)())
    tile.tile.set_weights(torch.full((3, 4), 100.0))  # clipped to the upper bounds
    state = {name: value.clone() for name, value in tile.state_dict().items()}
    state["analog_tile_weights"][1, :2] *= factor
    before = everything(tile)
    with pytest.raises(StateError, match="analog_tile_weights: 2 of 12 weights"):
        tile.load_state_dict(state)
    assert differences(before, everything(tile)) == []


def test_the_message_names_the_tile() -> None:
    model = AnalogSequential(
        AnalogLinear(3, 2, rpu_config=SingleRPUConfig()),
        AnalogLinear(2, 2, rpu_config=SingleRPUConfig()),
    )
    state = model.state_dict()
    state["1.analog_module.analog_tile_weights"] = torch.full((2, 2), 7.0)
    with pytest.raises(StateError, match=r"^1\.analog_module\.analog_tile_weights: 4 of 4"):
        model.load_state_dict(state)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("write_noise", [0.0, 0.3])
def test_every_state_of_a_device_loads(device: str, sign: float, write_noise: float) -> None:
    chosen: Any = getattr(configs, device)()
    if write_noise > 0.0:
        if not hasattr(chosen, "write_noise_std"):
            pytest.skip("has no write noise")
        chosen.write_noise_std = write_noise
    chosen.lifetime, chosen.diffusion, chosen.drift.nu = 20.0, 0.1, 0.1
    tile = tile_of(chosen, 20, 30)
    x, d = torch.ones(5, 30), sign * torch.ones(5, 20)
    tile.set_learning_rate(10.0)
    for _ in range(5):
        tile.update(x, d)
        tile.post_update_step()
        tile.load_state_dict(tile.state_dict())
    tile.drift_weights(10.0)
    tile.drift_weights(10.0)
    tile.load_state_dict(tile.state_dict())
    tile.reset_columns(0, 5, 0.5)
    tile.load_state_dict(tile.state_dict())


@pytest.mark.parametrize("config", [FloatingPointRPUConfig, None])
def test_devices_without_bounds_take_any_weight(config: Any) -> None:
    chosen = SingleRPUConfig(device=IdealDevice()) if config is None else config()
    tile = chosen.tile_class(3, 4, chosen)
    state = tile.state_dict()
    state["analog_tile_weights"] = torch.full((3, 4), 1e6)
    tile.load_state_dict(state)
    assert bool((tile.tile.get_weights() == 1e6).all())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_stop_an_update(value: float) -> None:
    for tile in (AnalogTile(3, 4), FloatingPointRPUConfig().tile_class(3, 4)):
        tile.tile.get_weights(as_ref=True)[1, 2] = value
        before = everything(tile)
        with pytest.raises(ArgumentError, match=r"weights.*finite"):
            tile.update(torch.ones(2, 4), torch.ones(2, 3))
        assert differences(before, everything(tile)) == []
