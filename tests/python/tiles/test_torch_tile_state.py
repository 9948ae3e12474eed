"""Saving, copying and reconfiguring inference tiles that compute in torch."""

import copy
import io as bytes_io
import math
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mho.exceptions import (
    ArgumentError,
    ConfigError,
    InputError,
    TileError,
    TorchTileConfigError,
)
from mho.simulator.configs import (
    InferenceRPUConfig,
    IOParameters,
    TorchInferenceRPUConfig,
)
from mho.simulator.tiles import InferenceTile, TorchInferenceTile
from torch_tiles import BM, NM, W, ideal, tile_with, with_range


def full_tile() -> TorchInferenceTile:
    """Return a tile that has every kind of state."""

    def edit(config: TorchInferenceRPUConfig) -> None:
        config.mapping.weight_scaling_omega = 0.5
        config.mapping.weight_scaling_columnwise = True
        config.mapping.learn_out_scaling = True
        with_range()(config)

    io = IOParameters(out_noise_std=0.2, noise_management=NM.NONE, bound_management=BM.NONE)
    tile = tile_with(io, edit=edit, bias=True)
    tile.set_learned_out_scales(1.5)
    tile.bias.data.copy_(torch.tensor([0.1, -0.2]))
    return tile


def assert_same_output(a: TorchInferenceTile, b: TorchInferenceTile) -> None:
    """Check that two tiles give the same bits from the same seed."""
    x = torch.randn(5, 2)
    results = []
    for tile in (a, b):
        torch.manual_seed(6)
        results.append(tile(x))
    assert torch.equal(*results)


def test_state_dict_names() -> None:
    """The state has the documented entries, all of them tensors with storage of their own."""
    state = full_tile().state_dict()
    assert set(state) == {
        "tile.weight",
        "tile.out_noise_values",
        "analog_tile_config",
        "alpha",
        "bias",
        "mapping_scales",
        "out_scaling_alpha",
        "input_range",
        "input_range_update_idx",
    }
    assert len({value.untyped_storage().data_ptr() for value in state.values()}) == len(state)


@pytest.mark.parametrize("way", ["load", "file", "safetensors", "deepcopy", "pickle"])
def test_round_trips(way: str, tmp_path: object) -> None:
    """Every way of saving and copying gives the same tile."""
    tile = full_tile()
    if way == "deepcopy":
        other = copy.deepcopy(tile)
    elif way == "pickle":
        other = pickle.loads(pickle.dumps(tile))
    else:
        other = TorchInferenceTile(2, 2, tile.rpu_config, bias=True)
        state = tile.state_dict()
        if way == "file":
            buffer = bytes_io.BytesIO()
            torch.save(state, buffer)
            buffer.seek(0)
            state = torch.load(buffer, weights_only=True)
        elif way == "safetensors":
            save_file(state, f"{tmp_path}/tile.safetensors")
            state = load_file(f"{tmp_path}/tile.safetensors")
        context = other.analog_ctx
        other.load_state_dict(state)
        assert other.analog_ctx is context
    assert other.analog_ctx.data_ptr() == other.tile.weight.data_ptr()
    assert other.analog_ctx.use_torch_update
    assert_same_output(tile, other)
    other.tile.weight.data.zero_()
    assert tile.tile.weight.abs().sum() > 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tile.weight", torch.ones(3, 2)),
        ("tile.weight", torch.full((2, 2), math.nan)),
        ("tile.out_noise_values", torch.ones(5)),
        ("bias", torch.ones(3)),
    ],
)
def test_bad_state_changes_nothing(name: str, value: Tensor) -> None:
    """A state with one unusable entry is refused as a whole."""
    tile = full_tile()
    before = {k: v.clone() for k, v in tile.state_dict().items()}
    state = {**full_tile().state_dict(), "tile.weight": torch.zeros(2, 2), name: value}
    with pytest.raises(InputError, match=name):
        tile.load_state_dict(state)
    assert all(torch.equal(before[k], v) for k, v in tile.state_dict().items())


def test_saved_configuration_is_adopted() -> None:
    """Loading takes the saved configuration over, unless asked not to."""
    saved = tile_with(ideal(out_scale=3.0))
    tile = tile_with(ideal())
    tile.load_state_dict(saved.state_dict())
    assert tile.rpu_config.forward.out_scale == 3.0
    torch.testing.assert_close(tile(torch.ones(2)), 3.0 * W.sum(1))
    tile = tile_with(ideal())
    tile.set_load_rpu_config_state(False)
    tile.load_state_dict(saved.state_dict())
    torch.testing.assert_close(tile(torch.ones(2)), W.sum(1))


def test_configuration_of_the_core_is_not_adopted() -> None:
    """A state of the core cannot be loaded."""
    other = InferenceTile(2, 2, InferenceRPUConfig())
    tile = tile_with(ideal())
    with pytest.raises((TileError, ConfigError)):
        tile.load_state_dict(other.state_dict())
    torch.testing.assert_close(tile(torch.ones(2)), W.sum(1))


def test_replace_configuration() -> None:
    """Another configuration of the family keeps the weights and takes effect."""
    tile = tile_with(ideal())
    tile.to(TorchInferenceRPUConfig(forward=ideal(out_scale=2.0)))
    torch.testing.assert_close(tile(torch.ones(2)), 2.0 * W.sum(1))
    with pytest.raises(TorchTileConfigError, match=r"forward\.w_noise"):
        tile.replace_with(TorchInferenceRPUConfig(forward=ideal(w_noise=1.0)))
    torch.testing.assert_close(tile(torch.ones(2)), 2.0 * W.sum(1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_weights_beyond_the_precision_are_refused(dtype: torch.dtype) -> None:
    """Values that would become infinite where they are stored are refused, and nothing changes."""
    tile = tile_with(ideal(), bias=True).to(dtype)
    before = {name: value.clone() for name, value in tile.state_dict().items()}
    huge = 10.0 * torch.finfo(dtype).max
    ones = torch.ones(tile.out_size, tile.in_size, dtype=torch.float64)
    for call in (
        lambda: tile.set_weights(huge * ones, torch.zeros(tile.out_size)),
        lambda: tile.set_weights(
            0.1 * ones, torch.full((tile.out_size,), huge, dtype=torch.float64)
        ),
        lambda: tile.tile.set_weights(huge * ones),
    ):
        with pytest.raises(ArgumentError, match="finite"):
            call()
    assert all(torch.equal(value, before[name]) for name, value in tile.state_dict().items())


@pytest.mark.parametrize("name", ["tile.weight", "tile.out_noise_values", "alpha", "input_range"])
def test_a_state_that_lacks_an_entry_changes_nothing(name: str) -> None:
    tile = full_tile()
    state = {key: value.clone() for key, value in tile.state_dict().items()}
    changed = {
        key: value * 0.5 if value.is_floating_point() else value
        for key, value in state.items()
        if key != name
    }
    with pytest.raises(RuntimeError, match=name):
        tile.load_state_dict(changed)
    after = tile.state_dict()
    assert list(after) == list(state)
    assert all(torch.equal(after[key], state[key]) for key in state)


@pytest.mark.parametrize("spreads", [(0.0, 0.2), (0.2, 0.0)])
@pytest.mark.parametrize("wrap", [False, True])
def test_states_after_edits_of_the_noise_spread(spreads: tuple[float, float], wrap: bool) -> None:
    """Whether there are values of each line follows the saved configuration, wherever it loads."""
    before, after = spreads
    tile, other = (
        tile_with(IOParameters(out_noise_std=before, noise_management=NM.NONE)) for _ in range(2)
    )
    tile.rpu_config.forward.out_noise_std = after
    a, b = (torch.nn.Sequential(t) if wrap else t for t in (tile, other))
    b.load_state_dict(a.state_dict())
    assert other.rpu_config.forward.out_noise_std == after
    assert ("tile.out_noise_values" in other.state_dict()) == (after > 0.0)
    assert_same_output(tile, other)


@pytest.mark.parametrize("spread", [0.0, 0.2])
@pytest.mark.parametrize("wrap", [False, True])
def test_states_that_do_not_fit_their_noise_spread(spread: float, wrap: bool) -> None:
    """Values that are missing or not asked for are reported, by name and once."""
    tile = tile_with(IOParameters(out_noise_std=spread))
    owner = torch.nn.Sequential(tile) if wrap else tile
    state, name = owner.state_dict(), ("0." if wrap else "") + "tile.out_noise_values"
    if spread > 0.0:
        del state[name]
    else:
        state[name] = torch.ones(2)
    with pytest.raises((RuntimeError, TileError), match="out_noise_values"):
        owner.load_state_dict(state)
    found = owner.load_state_dict(state, strict=False)
    assert [*found.missing_keys, *found.unexpected_keys] == [name]
    assert bool(found.missing_keys) == (spread > 0.0)


def test_a_raw_tile_alone_loads_its_noise_values() -> None:
    """A raw tile without its tile is a module of torch like any other."""
    a, b, plain = (
        tile_with(IOParameters(out_noise_std=s), edit=None).tile for s in (0.2, 0.2, 0.0)
    )
    b.load_state_dict(a.state_dict())
    assert torch.equal(a.out_noise_values, b.out_noise_values)
    with pytest.raises(TileError, match=r"unexpected \['out_noise_values'\].*out_noise_std"):
        plain.load_state_dict(a.state_dict())
    with pytest.raises(TileError, match=r"missing \['out_noise_values'\]"):
        a.load_state_dict(plain.state_dict())


def test_a_cast_rounds_scales() -> None:
    """The rate scale follows the scales that are there, so that a loaded tile goes on alike."""

    def edit(config: TorchInferenceRPUConfig) -> None:
        config.mapping.weight_scaling_omega = 0.3
        config.mapping.weight_scaling_lr_compensation = True

    tile, other = (tile_with(IOParameters(), edit=edit, weight=W * 0.7) for _ in range(2))
    tile.to(torch.bfloat16)
    assert tile.mapping_lr_scale == pytest.approx(
        1 / float(tile.get_mapping_scales().float().mean())
    )
    other.to(torch.bfloat16).load_state_dict(tile.state_dict())
    assert other.mapping_lr_scale == tile.mapping_lr_scale
