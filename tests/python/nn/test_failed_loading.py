"""A model whose state does not fit is left as it was: digital entries, tiles and choices."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from mho.exceptions import StateError
from mho.nn import AnalogLinear, AnalogLinearMapped, AnalogSequential
from mho.simulator.configs import (
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    SingleRPUConfig,
    SoftBoundsDevice,
    TorchInferenceRPUConfig,
)
from mho.simulator.tiles.custom import CustomRPUConfig
from mho.simulator.tiles.module import TileModule

State = dict[str, Any]


def model(**changes: Any) -> AnalogSequential:
    """Return a model with digital layers before, between and after tiles of all kinds."""
    core = SingleRPUConfig(device=SoftBoundsDevice())
    inference, torch_tiles = InferenceRPUConfig(), TorchInferenceRPUConfig()
    for config in (core, inference, torch_tiles):
        config.forward.out_noise = changes.get("out_noise", 0.06)
        config.mapping.max_input_size = 3
    return AnalogSequential(
        nn.Linear(4, 4),
        AnalogLinear(4, 3, rpu_config=core),
        nn.BatchNorm1d(3),
        AnalogLinearMapped(3, 5, rpu_config=inference),
        nn.LayerNorm(5),
        AnalogLinear(5, 2, rpu_config=torch_tiles),
        AnalogLinear(2, 2, rpu_config=FloatingPointRPUConfig()),
        nn.Linear(2, 2),
    )


def snapshot(module: nn.Module) -> State:
    """Return a copy of the state."""
    return {name: value.clone() for name, value in module.state_dict().items()}


DAMAGES: dict[str, Callable[[State], Any]] = {
    "first digital layer": lambda s: s.update({"0.weight": torch.zeros(5, 5)}),
    "running mean": lambda s: s.update({"2.running_mean": torch.zeros(4)}),
    "last digital layer": lambda s: s.update({"7.bias": torch.zeros(3)}),
    "text in a digital layer": lambda s: s.update({"7.bias": "bias"}),
    "missing digital entry": lambda s: s.pop("4.weight"),
    "unexpected entry": lambda s: s.update({"9.weight": torch.zeros(1)}),
    "last tile": lambda s: s.update({"6.analog_module.analog_tile_weights": torch.zeros(7, 7)}),
    "torch tile": lambda s: s.update({"5.analog_module.tile.weight": torch.zeros(7, 7)}),
    "missing seed": lambda s: s.pop("1.analog_module.array.0.0.analog_tile_seed"),
    "bias of an array": lambda s: s.update({"3.analog_module.bias": torch.zeros(1)}),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_nothing_changes(name: str) -> None:
    """Whatever does not fit, wherever it is, nothing has been loaded when the error is raised."""
    state = snapshot(model(out_noise=0.3))
    DAMAGES[name](state)
    mine = model()
    before, parameters = snapshot(mine), list(mine.parameters())
    with pytest.raises(RuntimeError):
        mine.load_state_dict(state, load_rpu_config=False)
    after = mine.state_dict()
    assert list(after) == list(before)
    for key, value in before.items():
        assert torch.equal(after[key], value), key
    assert all(tile.load_rpu_config for tile in mine.analog_tiles())
    assert all(a is b for a, b in zip(mine.parameters(), parameters, strict=True))


def test_the_undamaged_state_loads() -> None:
    """The same state without damage changes all of it."""
    source, mine = model(out_noise=0.3), model()
    mine.load_state_dict(snapshot(source))
    expected = source.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in mine.state_dict().items())


def test_tiles_report_names_to_torch() -> None:
    """Without `strict` what fits is loaded and the rest is reported."""
    state, mine = snapshot(model()), model()
    del state["7.bias"]
    state["9.weight"] = torch.zeros(1)
    result = mine.load_state_dict(state, strict=False)
    assert result.missing_keys == ["7.bias"] and result.unexpected_keys == ["9.weight"]
    name = "6.analog_module.analog_tile_weights"
    assert torch.equal(mine.state_dict()[name], state[name])


CONFIGS = [
    FloatingPointRPUConfig,
    InferenceRPUConfig,
    SingleRPUConfig,
    TorchInferenceRPUConfig,
    CustomRPUConfig,
]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("damage", ["missing", "unexpected"])
def test_tiles_on_their_own_change_nothing(config: Any, damage: str) -> None:
    """Names of the weights decide too, also where a module of torch inside has them."""
    tile: Any = AnalogLinear(4, 3, rpu_config=config()).analog_module
    state = snapshot(tile)
    state["bias"] += 1.0
    weights = next(name for name in state if name.endswith("weight") or name.endswith("weights"))
    if damage == "missing":
        del state[weights]
    else:
        state[f"{weights}.more"] = torch.zeros(1)
    before = snapshot(tile)
    with pytest.raises(StateError, match=f"{damage} .*{weights}"):
        tile.load_state_dict(state)
    after = tile.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    result = tile.load_state_dict(state, strict=False)
    assert result.missing_keys if damage == "missing" else result.unexpected_keys
    assert torch.equal(tile.state_dict()["bias"], state["bias"])


@pytest.mark.parametrize("damage", ["last tile", "missing digital entry", "missing seed"])
def test_tiles_below_a_plain_root_change_together(damage: str) -> None:
    """torch itself loads digital layers one by one; of the tiles all change, or none."""
    state = snapshot(nn.Sequential(*model(out_noise=0.3)))
    DAMAGES[damage](state)
    mine = nn.Sequential(*model())
    tiles = [module for module in mine.modules() if isinstance(module, TileModule)]
    before = [snapshot(tile) for tile in tiles]
    with pytest.raises(RuntimeError):
        mine.load_state_dict(state)
    for tile, old in zip(tiles, before, strict=True):
        assert all(torch.equal(value, old[name]) for name, value in tile.state_dict().items())


@pytest.mark.parametrize("root", [nn.Sequential, nn.ModuleList])
def test_plain_roots_load(root: Any) -> None:
    mine = nn.Sequential(model()) if root is nn.Sequential else root([model()])
    source = model(out_noise=0.3)
    mine.load_state_dict({f"0.{name}": value for name, value in source.state_dict().items()})
    expected = source.state_dict()
    for name, value in mine[0].state_dict().items():
        assert torch.equal(value, expected[name])
