"""Cells of several devices on graphics processors: the rules, and a state that moves."""

import copy
import io
from typing import Any

import pytest
import torch

from adapters import needed_adapter, twins
from mho.nn import AnalogLinear
from mho.optim import AnalogSGD
from mho.simulator.configs import (
    BufferedTransferCompound,
    ChoppedTransferCompound,
    DigitalRankUpdateRPUConfig,
    DynamicTransferCompound,
    IOParameters,
    LinearStepDevice,
    MixedPrecisionCompound,
    OneSidedUnitCell,
    ReferenceUnitCell,
    SoftBoundsDevice,
    TransferCompound,
    UnitCellRPUConfig,
    UpdateParameters,
    VectorUnitCell,
)
from mho.simulator.tiles import AnalogTile
from reference import real_tiles
from reference.trajectories import Trajectory, trajectories
from test_unit_cells import check as check_trajectory

ROWS, COLUMNS = 6, 9
NAME = "analog_tile_weights"


class CardTile(real_tiles.RealTile):
    """Tile of the package on the graphics processor."""

    def __init__(self, rows: int, columns: int, config: Any, seed: int = 0) -> None:
        super().__init__(rows, columns, config, seed)
        self.tile.to_backend("wgpu", needed_adapter())
        assert self.raw.kernels.backend == "wgpu"


@pytest.mark.parametrize("case", trajectories(), ids=str)
def test_trajectories(case: Trajectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_unit_cells.RealTile", CardTile)
    check_trajectory(case, 40)


def soft() -> SoftBoundsDevice:
    """Steps that depend on the weight, without noise, which has other draws there."""
    return SoftBoundsDevice(dw_min=0.01, dw_min_std=0.0)


def cells() -> list[Any]:
    """Return a cell of each kind, whose reads add no noise that is rounded otherwise."""
    read = IOParameters(is_perfect=True)
    written = LinearStepDevice(dw_min=0.01, dw_min_std=0.0, write_noise_std=0.5)
    chain: dict[str, Any] = {"transfer_forward": read, "gamma": 0.3}
    # Pulses one by one, as there: where the processor adds them up, steps are a thousandth apart.
    one_by_one = UpdateParameters(exact_pulses=True)
    return [
        VectorUnitCell(unit_cell_devices=[soft(), written]),
        ReferenceUnitCell(unit_cell_devices=[soft(), soft()]),
        OneSidedUnitCell(
            unit_cell_devices=[soft()],
            refresh_every=1,
            refresh_upper_thres=0.05,
            refresh_lower_thres=0.02,
            refresh_forward=read,
            refresh_update=one_by_one,
        ),
        TransferCompound(
            unit_cell_devices=[soft(), written, soft()], transfer_update=one_by_one, **chain
        ),
        BufferedTransferCompound(unit_cell_devices=[soft(), written], **chain),
        ChoppedTransferCompound(unit_cell_devices=[soft(), soft()], in_chop_prob=0.5, **chain),
        DynamicTransferCompound(unit_cell_devices=[soft(), soft()], in_chop_prob=0.5, **chain),
        MixedPrecisionCompound(device=soft()),
    ]


def config(cell: Any) -> Any:
    """Return the configuration with a cell."""
    update = UpdateParameters(exact_pulses=True)
    if isinstance(cell, MixedPrecisionCompound):
        return DigitalRankUpdateRPUConfig(device=cell, update=update)
    return UnitCellRPUConfig(device=cell, update=update)


KINDS = [type(cell).__name__ for cell in cells()]


def tile(kind: str) -> AnalogTile:
    """Return a tile with some weights."""
    torch.manual_seed(3)
    made = AnalogTile(ROWS, COLUMNS, config(cells()[KINDS.index(kind)]))
    made.tile.set_learning_rate(0.3)
    made.set_weights(0.2 * torch.randn(ROWS, COLUMNS))
    return made


def update(tiles: list[AnalogTile], number: int) -> None:
    """Make the same update on all."""
    torch.manual_seed(number)
    x, d = torch.randn(5, COLUMNS), torch.randn(5, ROWS)
    for each in tiles:
        each.update(x, d)


def assert_equal(found: AnalogTile, expected: AnalogTile) -> None:
    """All of the state, up to the rounding of some operations on numbers up to 1."""
    states = found.state_dict(), expected.state_dict()
    assert states[0].keys() == states[1].keys()
    compared = 0
    in_pulses = isinstance(
        expected.rpu_config.device, (ChoppedTransferCompound, DynamicTransferCompound)
    )
    for name, value in states[1].items():
        if isinstance(value, torch.Tensor) and name != "analog_tile_config":
            steps = 100.0 if in_pulses and "buffered_FP" in name else 1.0
            atol = 2e-6 * steps
            torch.testing.assert_close(states[0][name], value, rtol=1e-6, atol=atol, msg=name)
            compared += 1
    assert compared > 3


@pytest.mark.parametrize(
    "kind", [VectorUnitCell, ReferenceUnitCell, OneSidedUnitCell, TransferCompound]
)
def test_infinitely_fine_steps(kind: Any) -> None:
    read = IOParameters(is_perfect=True)
    fine = [SoftBoundsDevice(dw_min=0.0), LinearStepDevice(dw_min=0.0, write_noise_std=0.01)]
    cell = kind(unit_cell_devices=fine[:1] if kind is OneSidedUnitCell else fine)
    if isinstance(cell, OneSidedUnitCell):
        # Pairs that are never far enough from zero to be left alone.
        cell.refresh_every, cell.refresh_forward = 1, read
        cell.refresh_upper_thres = cell.refresh_lower_thres = 0.02
    elif isinstance(cell, TransferCompound):
        cell.transfer_forward, cell.gamma, cell.with_reset_prob = read, 0.3, 0.3
    torch.manual_seed(3)
    made = AnalogTile(ROWS, COLUMNS, UnitCellRPUConfig(device=cell))
    made.tile.set_learning_rate(0.3)
    host, card = twins(made)
    for number in range(3):
        update([host, card], number)
        assert card.tile.kernels.is_newer
    assert_equal(card, host)


@pytest.mark.parametrize("kind", KINDS)
def test_updates_and_operations(kind: str) -> None:
    host, card = twins(tile(kind))
    for number in range(3):
        update([host, card], number)
        assert card.tile.kernels.is_newer
    assert_equal(card, host)
    for name, arguments in (
        ("decay_weights", (1.0,)),
        ("diffuse_weights", ()),
        ("reset_columns", (2, 3)),
    ):
        for each in (host, card):
            getattr(each.tile, name)(*arguments)
        assert_equal(card, host)
    for each in (host, card):
        each.set_weights(torch.full((ROWS, COLUMNS), 0.1))
    assert_equal(card, host)
    update([host, card], 7)
    assert_equal(card, host)
    x = torch.randn(2, COLUMNS)
    torch.testing.assert_close(card.tile.forward(x), host.tile.forward(x), rtol=0.0, atol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_that_moves(kind: str) -> None:
    host, card = twins(tile(kind))
    update([host, card], 0)
    copied = copy.deepcopy(card)
    assert copied.tile.kernels.backend == "wgpu"
    file = io.BytesIO()
    torch.save(card.state_dict(), file)
    file.seek(0)
    loaded = tile(kind)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    resumed = tile(kind).to_backend("wgpu", needed_adapter())
    update([resumed], 5)
    resumed.load_state_dict(card.state_dict())
    moved = copy.deepcopy(card).to_backend("cpu")
    assert moved.tile.kernels.backend == "cpu"
    tiles = [card, copied, loaded, resumed, moved]
    for number in (1, 2):
        update([host, *tiles], number)
    moved.to_backend("wgpu", needed_adapter())
    update([host, *tiles], 3)
    for each in tiles:
        assert_equal(each, host)


@pytest.mark.parametrize("read", ["get", "attribute", "state_dict", "names", "items"])
def test_readers_get_newer_weights_of_devices(read: str) -> None:
    host, card = twins(tile("ChoppedTransferCompound"))
    for number in range(3):
        update([host, card], number)
    readers = {
        "get": lambda each, name: each.get_hidden_parameters()[name],
        "attribute": lambda each, name: getattr(each.analog_tile_hidden, name),
        "state_dict": lambda each, name: each.state_dict()[f"analog_tile_hidden.{name}"],
        "names": lambda each, name: dict(each.named_buffers())[f"analog_tile_hidden.{name}"],
        "items": lambda each, name: dict(each.analog_tile_hidden._buffers.items())[name],
    }
    for name in ("hidden_weights_0", "hidden_weights_1", "buffered_FP_weight_0"):
        expected = host.get_hidden_parameters()[name]
        assert bool(expected.any())
        update([host, card], 9)
        found = readers[read](card, name)
        newer = host.get_hidden_parameters()[name]
        # Buffers count pulses of 0.01 each.
        torch.testing.assert_close(found, newer, rtol=1e-6, atol=2e-4, msg=name)
        assert float((newer - expected).abs().max()) > 1e-3


def test_training_goes_on() -> None:
    host, card = twins(AnalogLinear(COLUMNS, ROWS, rpu_config=config(cells()[5])))
    for model in (host, card):
        torch.manual_seed(0)
        optimizer = AnalogSGD(model.parameters(), lr=0.1)
        for _ in range(4):
            optimizer.zero_grad()
            (model(torch.randn(7, COLUMNS)) - 1.0).square().mean().backward()
            optimizer.step()
    weights = [model.get_weights()[0] for model in (card, host)]
    # Outputs may be one level of the ADC apart, and errors with them.
    assert float((weights[0] - weights[1]).abs().max()) < 0.1


def test_devices_that_are_not_set_keep_their_weights() -> None:
    host, card = twins(tile("ReferenceUnitCell"))
    for each in (host, card):
        each.set_hidden_update_index(1)
    for number in range(2):
        update([host, card], number)
    for each in (host, card):
        each.set_hidden_update_index(0)
        each.set_weights(torch.full((ROWS, COLUMNS), 0.1))
    kept = host.get_hidden_parameters()["hidden_weights_1"]
    assert bool(kept.any())
    assert_equal(card, host)
