"""What every unit cell has to keep to, as every device does: copies, threads, errors, names."""

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import mho
from cells_for_tests import CELLS, soft
from mho import _core
from mho.exceptions import ArgumentError, ConfigError, InternalError, StateError, TileError
from mho.nn import AnalogLinear
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    IdealDevice,
    MappingParameter,
    PulseType,
    SingleRPUConfig,
    UpdateParameters,
)
from mho.simulator.parameters.enums import WeightClipType
from mho.simulator.parameters.inference import WeightClipParameter
from mho.simulator.tiles import AnalogTile
from unchanged import differences, everything

OUT, IN = 5, 7
NAMES = sorted(CELLS)


def tile_of(name: str, rows: int = OUT, columns: int = IN, seed: int = 0) -> AnalogTile:
    torch.manual_seed(seed)
    return AnalogTile(rows, columns, CELLS[name]())


def train(tile: Any, steps: int, seed: int = 0) -> None:
    """Make updates of three samples, and everything else that changes weights."""
    generator = torch.Generator().manual_seed(seed)
    tile.tile.set_learning_rate(0.1)
    for step in range(steps):
        x = torch.randn(3, tile.in_size, generator=generator)
        tile.update(x, torch.randn(3, tile.out_size, generator=generator))
        if step % 3 == 2:
            tile.drift_weights(2.0)
            tile.tile.decay_weights()
            tile.tile.diffuse_weights()
            tile.tile.reset_columns(step % tile.in_size, 2, 0.5)


def state(tile: AnalogTile) -> dict[str, Any]:
    return everything(tile)


def by_state(tile: AnalogTile, folder: Path) -> AnalogTile:
    buffer = io.BytesIO()
    torch.save(tile.state_dict(), buffer)
    buffer.seek(0)
    other = AnalogTile(tile.out_size, tile.in_size, copy.deepcopy(tile.rpu_config))
    other.load_state_dict(torch.load(buffer, weights_only=True))
    return other


def by_safetensors(tile: AnalogTile, folder: Path) -> AnalogTile:
    save_file(tile.state_dict(), folder / "tile.safetensors")
    other = AnalogTile(tile.out_size, tile.in_size, copy.deepcopy(tile.rpu_config))
    other.load_state_dict(load_file(folder / "tile.safetensors"))
    return other


def by_extra(tile: AnalogTile, folder: Path) -> AnalogTile:
    """Carry weights, hidden parameters and the rest over by hand."""
    other = AnalogTile(tile.out_size, tile.in_size, copy.deepcopy(tile.rpu_config))
    other.tile.tensors.weights.copy_(tile.tile.get_weights())
    other.set_hidden_parameters(tile.get_hidden_parameters())
    for backward in ("forward", "backward"):
        lines = getattr(tile.tile, f"get_{backward}_parameters")()
        getattr(other.tile, f"set_{backward}_parameters")(lines)
    other.tile.load_extra(tile.tile.dump_extra(), strict=False)
    return other


WAYS: dict[str, Callable[[AnalogTile, Path], AnalogTile]] = {
    "state_dict": by_state,
    "safetensors": by_safetensors,
    "extra": by_extra,
    "deepcopy": lambda tile, _: copy.deepcopy(tile),
    "pickle": lambda tile, _: pickle.loads(pickle.dumps(tile)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_copies_continue_with_the_same_bits(name: str, way: str, tmp_path: Path) -> None:
    tile = tile_of(name)
    train(tile, 15)
    other = WAYS[way](tile, tmp_path)
    names, values = tile.tile.get_hidden_parameter_names(), tile.tile.get_hidden_parameters()
    assert other.tile.get_hidden_parameter_names() == names
    assert torch.equal(other.tile.get_hidden_parameters(), values)
    assert other.tile.dump_extra() == tile.tile.dump_extra()
    for round_ in range(3):
        assert torch.equal(other.tile.get_weights(), tile.tile.get_weights()), round_
        assert torch.equal(other.tile.get_hidden_parameters(), tile.tile.get_hidden_parameters()), (
            round_
        )
        train(tile, 7, round_)
        train(other, 7, round_)
    assert torch.equal(tile(torch.ones(2, IN)), other(torch.ones(2, IN)))


@pytest.mark.parametrize("name", NAMES)
def test_state_has_all_that_training_changes(name: str) -> None:
    """Whatever moves in the tile is in its state, as tensors with names."""
    tile = tile_of(name)
    before = {k: v.clone() for k, v in tile.state_dict().items()}
    train(tile, 9)
    after = tile.state_dict()
    assert before.keys() <= after.keys()
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert any(k.startswith("analog_tile_cell.current_update_") for k in changed)
    # Mixed precision has one device, whose weights are those that are seen.
    moved = "analog_tile_weights" if name.startswith("mixed") else "analog_tile_hidden.hidden_w"
    assert any(k.startswith(moved) for k in changed)


@pytest.mark.parametrize("name", NAMES)
def test_threads_do_not_change_bits(name: str, threads: Callable[[int], None]) -> None:
    found = []
    for number in (1, 2, 5):
        threads(number)
        assert mho.get_num_threads() == number
        tile = tile_of(name, 50, 37)
        train(tile, 4)
        found.append(torch.cat([tile.tile.get_weights()[None], tile.tile.get_hidden_parameters()]))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize("name", NAMES)
def test_errors_change_nothing(name: str) -> None:
    tile = tile_of(name)
    train(tile, 3)
    before = state(tile)
    x, d = torch.ones(2, IN), torch.ones(2, OUT)
    bad_x, bad_d = x.clone(), d.clone()
    bad_x[1, 2], bad_d[0, 1] = float("nan"), float("inf")
    for arguments in ((bad_x, d), (x, bad_d), (x, d[:1]), (x[:, :3], d)):
        with pytest.raises(mho.exceptions.AihwkitException):
            tile.update(*arguments)
    with pytest.raises(ArgumentError, match="weight"):
        tile.tile.set_weights(torch.full((OUT, IN), float("nan")))
    with pytest.raises(ArgumentError):
        tile.tile.reset_columns(0, 1, 1.5)
    planes = tile.get_hidden_parameters()
    wrong = dict(planes, **{next(iter(planes)): torch.full((OUT, IN), float("inf"))})
    with pytest.raises(mho.exceptions.AihwkitException):
        tile.set_hidden_parameters(wrong)
    with pytest.raises(TileError):
        tile.set_hidden_parameters({"hidden_weights_7": torch.zeros(OUT, IN)})
    assert not differences(before, state(tile))


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_that_fails_leaves_all_as_before(name: str) -> None:
    tile = tile_of(name)
    train(tile, 4)
    before = state(tile)
    _core.panic_in_next_update()
    with pytest.raises(InternalError):
        tile.update(torch.ones(3, IN), torch.ones(3, OUT))
    assert not differences(before, state(tile))
    twin = copy.deepcopy(tile)
    train(tile, 2, 5)
    train(twin, 2, 5)
    assert torch.equal(tile.tile.get_weights(), twin.tile.get_weights())


@pytest.mark.parametrize("name", NAMES)
def test_hidden_parameters_written_as_read_change_nothing(name: str) -> None:
    tile = tile_of(name)
    train(tile, 6)
    before = state(tile)
    tile.set_hidden_parameters(tile.get_hidden_parameters())
    assert not differences(before, state(tile))


@pytest.mark.parametrize("name", NAMES)
def test_learning_rate_of_zero_freezes_everything(name: str) -> None:
    tile = tile_of(name)
    train(tile, 3)
    tile.tile.set_learning_rate(0.0)
    before = state(tile)
    tile.update(torch.ones(3, IN), torch.ones(3, OUT))
    assert not differences(before, state(tile))


@pytest.mark.parametrize("name", NAMES)
def test_damaged_states_are_refused_by_name(name: str) -> None:
    tile = tile_of(name)
    train(tile, 3)
    before = state(tile)
    saved = tile.state_dict()
    for key, value in saved.items():
        if not key.startswith("analog_tile_cell."):
            continue
        damaged = [value[:0], value.to(torch.float16)]
        if value.dtype in (torch.int8, torch.int64):
            damaged.append(torch.full_like(value, -7))
        if value.dtype.is_floating_point:
            damaged.append(torch.full_like(value, float("nan")))
        for bad in damaged:
            with pytest.raises(mho.exceptions.AihwkitException, match=key.split(".")[1]):
                tile.load_state_dict({**saved, key: bad})
        with pytest.raises(RuntimeError, match=key):
            tile.load_state_dict({k: v for k, v in saved.items() if k != key})
    shifted = {**saved, "analog_tile_weights": saved["analog_tile_weights"] + 0.01}
    if tile.tile.spec.visible_name is None and not name.startswith("mixed"):
        with pytest.raises(StateError, match="sum"):
            tile.load_state_dict(shifted)
    assert not differences(before, state(tile))


@pytest.mark.parametrize("name", NAMES)
def test_names_of_the_hidden_parameters(name: str) -> None:
    tile = tile_of(name)
    names = tile.tile.get_hidden_parameter_names()
    assert len(set(names)) == len(names)
    assert list(tile.get_hidden_parameters()) == names
    device = tile.rpu_config.device
    if name.startswith("mixed"):
        assert names[0] == "max_bound" and names[-1] == "hidden_weights_chi"
        return
    if name == "nested":
        assert names[names.index("hidden_weights_0_0") + 1] == "max_bound_1_0"
        assert names.index("hidden_weights_0") == names.index("hidden_weights_1_0") + 1
    number = len(device.unit_cell_devices)
    outer = [n for n in names if n in [f"hidden_weights_{k}" for k in range(number)]]
    assert outer == [f"hidden_weights_{k}" for k in range(number)]
    buffers = [n for n in names if n.endswith("FP_weight") or "_FP_weight_" in n or "mean" in n]
    assert names[len(names) - len(buffers) :] == buffers


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_the_sum_of_the_hidden_ones(name: str) -> None:
    tile = tile_of(name)
    train(tile, 6)
    planes, weights = tile.get_hidden_parameters(), tile.tile.get_weights()
    device = tile.rpu_config.device
    if name.startswith("mixed"):
        return
    number = len(device.unit_cell_devices)
    hidden = torch.stack([planes[f"hidden_weights_{k}"] for k in range(number)]).double()
    if name in ("reference", "one_sided", "one_sided_mirrored"):
        gamma = [1.0, -1.0] if name == "reference" else [-1.0, 1.0]
    elif hasattr(device, "gamma"):
        gamma = [device.gamma ** (number - 1 - k) for k in range(number)]
    else:
        gamma = device.gamma_vec or [1.0 / number] * number
    extra = tile.tile.dump_extra()
    if "in_chopper" in extra:
        inputs = torch.tensor(extra["in_chopper"], dtype=torch.float64)
        outputs = torch.tensor(extra["out_chopper"], dtype=torch.float64)
        by_columns = device.transfer_columns
        signs = torch.outer(outputs, inputs) if by_columns else torch.outer(inputs, outputs)
        hidden[0] *= signs
    total = sum(g * h for g, h in zip(gamma, hidden, strict=True))
    torch.testing.assert_close(weights.double(), total, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_exact_updates_replace_the_cell(name: str) -> None:
    config = CELLS[name]()
    config.update = UpdateParameters(pulse_type=PulseType.NONE)
    tile = AnalogTile(OUT, IN, config)
    assert tile.get_hidden_parameters() == {}
    weights = tile.tile.get_weights()
    x, d = torch.randn(4, IN), torch.randn(4, OUT)
    tile.tile.set_learning_rate(0.1)
    tile.update(x, d)
    torch.testing.assert_close(tile.tile.get_weights(), weights - 0.1 * d.T @ x)
    other = AnalogTile(OUT, IN, SingleRPUConfig(device=IdealDevice()))
    other.tile.tensors.weights.copy_(tile.tile.get_weights())


@pytest.mark.parametrize("name", NAMES)
def test_exact_updates_with_devices_are_refused(name: str) -> None:
    config = CELLS[name]()
    config.update = UpdateParameters(pulse_type=PulseType.NONE_WITH_DEVICE)
    if name.startswith("mixed"):
        AnalogTile(OUT, IN, config)
        return
    with pytest.raises(ConfigError, match=r"update\.pulse_type"):
        AnalogTile(OUT, IN, config)


@pytest.mark.parametrize("name", NAMES)
def test_maintenance_acts_on_the_devices(name: str) -> None:
    tile = tile_of(name)
    train(tile, 2)
    limit = WeightClipParameter(type=WeightClipType.FIXED_VALUE, fixed_value=0.02)
    tile.tile.clip_weights(limit)
    planes = tile.get_hidden_parameters()
    for key, value in planes.items():
        is_leaf = key.startswith(("hidden_weights", "persistent")) and "chi" not in key
        if is_leaf and not (name == "nested" and key.count("_") < 3):
            # What is seen has the write noise: 0.2 steps of 0.01, and four deviations of it.
            assert float(value.abs().max()) <= 0.02 + (0.008 if name == "all_at_once" else 0), key
    with pytest.raises(ConfigError, match=r"clip\.type"):
        tile.tile.clip_weights(WeightClipParameter(type=WeightClipType.AVERAGE_CHANNEL_MAX))


def test_index_of_the_updated_device() -> None:
    tile = tile_of("vector_fixed")
    assert tile.get_hidden_update_index() == 1
    tile.set_hidden_update_index(2)
    before = tile.get_hidden_parameters()
    train(tile, 1)
    after = tile.get_hidden_parameters()
    moved = [
        k for k in range(3) if not torch.equal(*(p[f"hidden_weights_{k}"] for p in (before, after)))
    ]
    assert moved == [2]
    for bad in (-1, 3):
        with pytest.raises(ArgumentError, match="index"):
            tile.set_hidden_update_index(bad)
    assert tile.get_hidden_update_index() == 2
    other = tile_of("vector_fixed")
    other.load_state_dict(tile.state_dict())
    assert other.get_hidden_update_index() == 2
    for name in ("transfer", "one_sided", "mixed"):
        tile = tile_of(name)
        tile.set_hidden_update_index(5)
        assert tile.get_hidden_update_index() == 0


@pytest.mark.parametrize("name", NAMES)
def test_layers_split_and_with_analog_bias(name: str) -> None:
    config = CELLS[name]()
    config.mapping = MappingParameter(max_input_size=4, max_output_size=3, digital_bias=False)
    torch.manual_seed(1)
    for layer in (AnalogLinear(4, 3, True, config), AnalogLinear(9, 5, False, config)):
        optimizer = AnalogSGD(layer.parameters(), lr=0.1)
        before = layer.get_weights()[0].clone()
        for _ in range(5):
            optimizer.zero_grad()
            (layer(torch.randn(6, layer.in_features)) ** 2).sum().backward()
            optimizer.step()
        assert not torch.equal(layer.get_weights()[0], before)
        twin = AnalogLinear(layer.in_features, layer.out_features, layer.bias is not None, config)
        twin.load_state_dict(layer.state_dict())
        x = torch.randn(2, layer.in_features)
        assert torch.equal(layer(x), twin(x))


def test_editing_a_living_cell() -> None:
    """Rules may change while a tile lives; what its state is made of may not."""
    tile = tile_of("chopped")
    other = copy.deepcopy(tile.rpu_config)
    other.device.transfer_every = 3.0
    tile.replace_with(other)
    train(tile, 1)
    assert '"transfer_every":3.0' in tile.tile.config_text
    before = state(tile)
    with pytest.raises(mho.exceptions.AihwkitException, match="DynamicTransferCompound"):
        tile.replace_with(CELLS["dynamic"]())
    assert not differences(before, state(tile))


PAIRS = [
    ("chopped", "dynamic"),
    ("transfer", "buffered"),
    ("vector", "reference"),
    ("single", "chopped"),
    ("chopped", "single"),
]


@pytest.mark.parametrize(("name", "other"), PAIRS)
def test_states_of_other_cells(name: str, other: str) -> None:
    """The configuration comes with the state, or the state is refused if it must not."""

    def made(kind: str) -> AnalogTile:
        if kind == "single":
            return AnalogTile(OUT, IN, SingleRPUConfig(device=soft()))
        return tile_of(kind)

    tile, source = made(name), made(other)
    train(source, 4)
    tile.set_load_rpu_config_state(False)
    before = state(tile)
    with pytest.raises(mho.exceptions.AihwkitException):
        tile.load_state_dict(source.state_dict())
    assert not differences(before, state(tile))
    tile.set_load_rpu_config_state(True)
    tile.load_state_dict(source.state_dict())
    assert tile.state_dict().keys() == source.state_dict().keys()
    train(tile, 3)
    train(source, 3)
    assert torch.equal(tile.tile.get_weights(), source.tile.get_weights())


def test_parameters_of_members_that_cells_cannot_use() -> None:
    config = CELLS["transfer"]()
    config.device.unit_cell_devices[0] = soft(count_pulses=True)
    with pytest.raises(ConfigError, match="count_pulses"):
        AnalogTile(OUT, IN, config)


@pytest.mark.parametrize("name", ["transfer", "vector", "one_sided_mirrored", "nested", "mixed"])
def test_steps_of_measured_devices(name: str, tmp_path: Path) -> None:
    """Pulses are counted in the steps that the devices have, not in those of the configuration."""
    tile = tile_of(name)
    before, planes = tile.tile.spec.weight_granularity, tile.get_hidden_parameters()
    coarse = {k: v * 2 if k.startswith("dwmin") else v for k, v in planes.items()}
    with pytest.warns(UserWarning, match="dw_min: the steps"):
        tile.set_hidden_parameters(coarse)
    after = tile.tile.spec.weight_granularity
    # Exponential steps have a step of their own at zero, and few crosspoints estimate with spread.
    assert after == pytest.approx(2 * before, rel=0.5) and after > 1.3 * before
    train(tile, 4)
    for way in ("state_dict", "deepcopy", "pickle"):
        other = WAYS[way](tile, tmp_path)
        assert other.tile.spec.weight_granularity == after
        assert other.tile.dw_min == tile.tile.dw_min
        twin = copy.deepcopy(tile)
        train(other, 2, 9)
        train(twin, 2, 9)
        assert torch.equal(other.tile.get_weights(), twin.tile.get_weights())
    other = tile_of(name)
    other.tile.load_extra(tile.tile.dump_extra())
    assert other.tile.dw_min == tile.tile.dw_min
    for bad in ([0.1], [-0.1] * 9):
        with pytest.raises(TileError, match="dw_min"):
            other.tile.load_extra({"dw_min": bad * (1 if name != "mixed" else 3)})
