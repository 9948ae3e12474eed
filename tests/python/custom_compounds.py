"""Tiles with a rule in Python, and what tests of them have in common."""

import io
from typing import Any

import torch
from torch import Tensor

from mho.simulator.configs import (
    CustomCompound,
    RuleTile,
    SoftBoundsDevice,
    UnitCellRPUConfig,
)
from mho.simulator.tiles import AnalogTile
from reference.configs import device, perfect

ROWS, COLUMNS = 3, 4


def config(rule: Any, *devices: Any, **fields: Any) -> UnitCellRPUConfig:
    """Return the configuration of a tile of devices, two of constant steps by default."""
    given = {"transfer_forward": perfect()} | fields
    cell = CustomCompound(
        unit_cell_devices=list(devices) or [device(), device()], rule=rule, **given
    )
    return UnitCellRPUConfig(device=cell, forward=perfect(), backward=perfect())


def tile(rule: Any, *devices: Any, **fields: Any) -> AnalogTile:
    """Return such a tile with weights of zero and a learning rate of one."""
    torch.manual_seed(3)
    made = AnalogTile(ROWS, COLUMNS, config(rule, *devices, **fields))
    made.tile.set_weights(torch.zeros(ROWS, COLUMNS))
    made.tile.set_learning_rate(1.0)
    return made


def samples(n: int = 1) -> tuple[Tensor, Tensor]:
    """Return inputs and errors that no test relies on."""
    generator = torch.Generator().manual_seed(n)
    return (
        torch.randn(n, COLUMNS, generator=generator),
        torch.randn(n, ROWS, generator=generator),
    )


def run(made: AnalogTile, n: int = 1) -> None:
    """Let the rule act once on samples."""
    made.tile.update(*samples(n))


def nothing(t: RuleTile) -> None:
    """Change nothing."""


SEEN: list[Any] = []


def snapshot(made: AnalogTile) -> dict[str, Tensor]:
    """Return all of the state."""
    return {name: value.clone() for name, value in made.state_dict().items()}


def assert_same(made: AnalogTile, before: dict[str, Tensor]) -> None:
    """Check that the state is what it was."""
    now = made.state_dict()
    assert list(now) == list(before)
    for name, value in before.items():
        assert torch.equal(now[name], value), name


def busy(t: RuleTile) -> None:
    """Use everything, then fail where it is told to."""
    h, c = t.state("H", t.D, t.X), t.state("c", 2, init=1, dtype=torch.int64)
    t.update(0, t.x, t.d, t.lr)
    k = t.cycle("k", t.X)
    h[:, k] += t.read(0, k)
    t.add(1, k, 0.1 * t.read(0, k))
    c += 1
    t.program(0, t.weight(0) * 0.5)
    t.reset(0, k)
    if bool(t.coin(0.5)):
        h += 0.01 * t.normal(t.D, t.X)
    if t.p["fails"] and t.count >= t.p["fails"]:
        if t.p["late"]:
            t.state("late", 2)
            t.cycle("too", 3)
        raise KeyError("rule")


NOISY = SoftBoundsDevice(dw_min=0.01, count_pulses=True, reset_std=0.05, lifetime=50.0)


def busy_tile(fails: int = 0, late: bool = False, **fields: Any) -> AnalogTile:
    made = tile(busy, NOISY, NOISY, params={"fails": fails, "late": late}, **fields)
    made.tile.set_learning_rate(0.1)
    return made


def through_file(state: dict[str, Tensor]) -> dict[str, Tensor]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return dict(torch.load(buffer, weights_only=True))


def write_all(t: RuleTile) -> None:
    for k in range(len(t.g)):
        t.program(k, torch.full((t.D, t.X), 0.1 * (k + 1)))


def set_pulses(t: RuleTile) -> None:
    t.pulses(0, 1, torch.tensor([3.0, -2.0, 0.0]))
    t.pulses(1, rows=2, number=torch.tensor([100.0, -1.0, 0.0, 7.0]))
    t.pulses(1, slice(0, 2), torch.tensor([[1.0, 2.0, 0.0], [-4.0, 0.0, 0.0]]))


def look(t: RuleTile) -> None:
    SEEN.append((tuple(t.x.shape), tuple(t.d.shape), t.count, t.B))


def fields(t: RuleTile) -> None:
    SEEN.append((t.lr, tuple(t.g), tuple(t.bounds), dict(t.p), t.D, t.X))


def add_line(t: RuleTile) -> None:
    t.add(1, 2, torch.tensor([0.1, -0.05, 0.0]))
    t.add(1, rows=1, values=torch.full((COLUMNS,), 0.02))
