"""States of tiles that compute in torch load into tiles of the core, never the other way round."""

from typing import Any

import pytest
import torch
from torch import nn

from mho.exceptions import InputError, TileError
from mho.nn import AnalogLinear, AnalogLinearMapped, AnalogSequential
from mho.simulator.configs import InferenceRPUConfig, TorchInferenceRPUConfig
from mho.simulator.tiles import InferenceTile, TorchInferenceTile


def torch_config(split: bool = False) -> TorchInferenceRPUConfig:
    """Return a configuration with every digital part of the state and frozen line values."""
    config = TorchInferenceRPUConfig()
    config.forward.out_noise = 0.1
    config.forward.out_noise_std = 0.3
    config.mapping.weight_scaling_omega = 0.5
    config.mapping.weight_scaling_columnwise = True
    config.pre_post.input_range.enable = True
    if split:
        config.mapping.max_input_size = config.mapping.max_output_size = 3
    return config


def torch_tile() -> TorchInferenceTile:
    """Return a programmed tile with 3 outputs and 5 inputs."""
    tile = TorchInferenceTile(3, 5, torch_config(), bias=True)
    tile.set_weights(torch.randn(3, 5), torch.randn(3))
    tile.eval()
    tile.drift_weights(100.0)
    return tile


def snapshot(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of a state."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_state(module: nn.Module, before: dict[str, torch.Tensor]) -> None:
    """Check that a state is as it was."""
    after = module.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_tile() -> None:
    """Weights, frozen values and all digital parts arrive; class and random stream are kept."""
    source, tile = torch_tile(), InferenceTile(3, 5, bias=True)
    seed, calls = int(tile.analog_tile_seed), int(tile.analog_tile_calls)
    shared, context = tile.shared_weights, tile.analog_ctx
    state = source.state_dict()
    assert not any(tile.load_state_dict(state))
    assert type(tile) is InferenceTile and tile.rpu_config.tile_class is InferenceTile
    assert isinstance(tile.rpu_config, TorchInferenceRPUConfig)
    assert (int(tile.analog_tile_seed), int(tile.analog_tile_calls)) == (seed, calls)
    assert tile.shared_weights is shared and tile.analog_ctx is context
    assert torch.equal(tile.tile.get_weights(), source.tile.weight)
    lines = tile.get_forward_parameters()["out_noise_values"]
    assert torch.equal(lines, state["tile.out_noise_values"])
    for name, value in state.items():
        if not name.startswith(("tile.", "analog_tile_config")):
            assert torch.equal(tile.state_dict()[name], value), name


def test_the_loaded_tile_computes_the_same() -> None:
    """Without noise and converters both products differ only by rounding."""
    config = TorchInferenceRPUConfig()
    config.forward.is_perfect = True
    source = TorchInferenceTile(3, 5, config, bias=True)
    source.set_weights(torch.randn(3, 5), torch.randn(3))
    tile = InferenceTile(3, 5, bias=True)
    tile.load_state_dict(source.state_dict())
    x = torch.randn(4, 5)
    # Two sums of five float32 products of size one in another order: a few times 2^-24.
    torch.testing.assert_close(tile(x), source(x), rtol=1e-6, atol=2e-6)


def test_double_precision() -> None:
    """Weights of another precision are rounded to that of the core."""
    source, tile = torch_tile().double(), InferenceTile(3, 5, bias=True)
    tile.load_state_dict(source.state_dict())
    assert torch.equal(tile.tile.get_weights(), source.tile.weight.float())


def test_the_loaded_tile_is_saved_as_its_own_class() -> None:
    """What was loaded can be saved again and loaded by tiles of the core."""
    tile, other = InferenceTile(3, 5, bias=True), InferenceTile(3, 5, bias=True)
    tile.load_state_dict(torch_tile().state_dict())
    other.load_state_dict(tile.state_dict())
    assert_state(other, snapshot(tile))


def test_configuration_can_be_kept() -> None:
    """With `load_rpu_config=False` only the state comes from the file."""
    config = InferenceRPUConfig()
    config.mapping.weight_scaling_omega = 0.5
    tile = InferenceTile(3, 5, config, bias=True)
    tile.set_load_rpu_config_state(False)
    source = torch_tile()
    state = source.state_dict()
    for name in ("input_range", "input_range_update_idx"):
        state.pop(name)
    tile.load_state_dict(state)
    assert type(tile.rpu_config) is InferenceRPUConfig
    assert torch.equal(tile.tile.get_weights(), source.tile.weight)


def layers(config: Any, mapped: bool) -> AnalogSequential:
    """Return a model with a digital layer between two analog ones."""
    cls = AnalogLinearMapped if mapped else AnalogLinear
    return AnalogSequential(
        cls(5, 4, rpu_config=config), nn.LayerNorm(4), cls(4, 2, rpu_config=config)
    )


@pytest.mark.parametrize("mapped", [False, True], ids=["layers", "arrays"])
def test_model(mapped: bool) -> None:
    """A whole model loads, through layers and arrays of tiles."""
    source = layers(torch_config(split=mapped), mapped)
    config = InferenceRPUConfig()
    config.mapping.max_input_size = config.mapping.max_output_size = 3 if mapped else 512
    model = layers(config, mapped)
    model.load_state_dict(source.state_dict())
    tiles = list(zip(model.analog_tiles(), source.analog_tiles(), strict=True))
    assert len(tiles) == (6 if mapped else 2)
    for mine, theirs in tiles:
        assert type(mine) is InferenceTile
        assert torch.equal(mine.tile.get_weights(), theirs.tile.get_weights())


def test_not_vice_versa() -> None:
    """A torch tile refuses the state of a tile of the core and is unchanged."""
    tile = torch_tile()
    before = snapshot(tile)
    with pytest.raises(TileError):
        tile.load_state_dict(InferenceTile(3, 5, bias=True).state_dict())
    assert_state(tile, before)


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda s: s.pop("tile.weight"), RuntimeError),
        (lambda s: s.update({"tile.weight": torch.zeros(3, 4)}), InputError),
        (lambda s: s.update({"tile.out_noise_values": torch.zeros(2)}), InputError),
        (lambda s: s.update({"tile.other": torch.zeros(2)}), RuntimeError),
    ],
    ids=["no weights", "wrong shape", "wrong lines", "unknown entry"],
)
def test_damaged_states_change_nothing(damage: Any, error: type[Exception]) -> None:
    """Entries of the torch tile are checked like those of the core."""
    state, tile = snapshot(torch_tile()), InferenceTile(3, 5, bias=True)
    damage(state)
    before = snapshot(tile)
    with pytest.raises(error):
        tile.load_state_dict(state)
    assert_state(tile, before)
