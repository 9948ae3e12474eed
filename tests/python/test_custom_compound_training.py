"""Rules in Python on the task of regression of `test_training_algorithms.py`.

The errors are those of a prototype in NumPy of each rule, medians over a few seeds. Devices that
hardly move decide about them, so they differ by a fifth from seed to seed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from mho.exceptions import ConfigError, TileError
from mho.simulator.configs import (
    CustomCompound,
    PulseType,
    SingleRPUConfig,
    SoftBoundsDevice,
    UnitCellRPUConfig,
    UpdateParameters,
    build_config,
)
from mho.simulator.devices import rules
from mho.simulator.tiles import AnalogTile
from reference.configs import perfect
from test_training_algorithms import BATCH, COLUMNS, ROWS, device, error_of

SEEDS = 3
BUFFER: dict[str, bool | int | float] = {"fast_lr": 0.5, "bl": 5, "n": 1, "forget": True}


def ruled(rule: Any, b: float = 0.0, **params: bool | int | float) -> UnitCellRPUConfig:
    """Return a configuration of two devices with a rule; `b` is the offset of the first."""
    cell = CustomCompound([device(b), device()], rule=rule, params=params)
    cell.transfer_forward = perfect()
    return UnitCellRPUConfig(device=cell, forward=perfect(), backward=perfect())


def low_rank() -> UnitCellRPUConfig:
    """Return the preset with perfect reads."""
    config: Any = build_config("low-rank", device(), perfect())
    config.device.transfer_forward = perfect()
    return config


def erider(b: float, **params: float) -> UnitCellRPUConfig:
    """Return the preset with perfect reads, an offset and other parameters."""
    config: Any = build_config("erider", device(), perfect())
    config.device.unit_cell_devices[0] = device(b)
    config.device.transfer_forward = perfect()
    config.device.params |= params
    return config


RULES: dict[str, tuple[Callable[[], Any], float, float]] = {
    "ttv1": (lambda: ruled(rules.ttv1, fast_lr=1.0, period=10), 0.03, 0.082),
    "ttv2": (lambda: ruled(rules.ttv2, **BUFFER), 0.01, 0.061),
    "c_ttv2": (lambda: ruled(rules.c_ttv2, 0.1, chop=0.02, **BUFFER), 0.01, 0.112),
    "agad": (lambda: ruled(rules.agad, 0.3, chop=0.1, tail=5.0, **BUFFER), 0.01, 0.054),
    "low_rank": (low_rank, 0.1, 0.178),
    "zero_shift, 200 pulses": (
        lambda: ruled(rules.zero_shift, 0.3, shifts=200, **BUFFER),
        0.01,
        0.101,
    ),
    "zero_shift, 500 pulses": (
        lambda: ruled(rules.zero_shift, 0.3, shifts=500, **BUFFER),
        0.01,
        0.067,
    ),
}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", RULES)
def test_errors_are_those_of_the_prototypes(name: str) -> None:
    make, lr, expected = RULES[name]
    found = float(np.median([error_of(make(), lr, seed) for seed in range(SEEDS)]))
    # As for cells of the core: what two medians of a few runs may differ by.
    assert found == pytest.approx(expected, rel=0.3)


@cache
def error_of_erider(b: float, **params: float) -> float:
    """Return the median error after 2000 batches."""
    errors = [error_of(erider(b, **params), 0.01, seed, 2000) for seed in range(SEEDS)]
    return float(np.median(errors))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_erider_does_not_mind_an_offset() -> None:
    """It follows the symmetry point: with an offset of 0.3 TTv3 has an error of 0.29."""
    centred, off = error_of_erider(0.0), error_of_erider(0.3)
    assert centred == pytest.approx(0.091, rel=0.2)
    assert off == pytest.approx(centred, rel=0.15)
    assert off < 0.5 * 0.294


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_erider_needs_its_flips() -> None:
    """Without them, what it subtracts stays zero, and it learns the offset."""
    assert error_of_erider(0.3, chop=0.0) > 0.5


# --- residual learning ----------------------------------------------------------------------------


@dataclass
class Residual:
    """Residual learning with devices of so many states."""

    number: int
    states: int = 10
    gamma: float = 0.25
    fields: dict[str, Any] = field(default_factory=dict)

    def device(self) -> Any:
        """Return a device of few states."""
        spreads = {"w_max_dtod": 0.05, "w_min_dtod": 0.05, "up_down_dtod": 0.05}
        return device(dw_min=2 / self.states, dw_min_dtod=0.1, dw_min_std=0.1, **spreads)

    def config(self) -> Any:
        """Return the preset with perfect reads."""
        if self.number == 1:
            return build_config("sgd", self.device(), perfect())
        config: Any = build_config("residual", self.device(), perfect(), n_devices=self.number)
        cell = config.device
        cell.gamma_vec = [self.gamma ** (self.number - 1 - k) for k in range(self.number)]
        cell.transfer_forward = perfect()
        cell.params |= {"warm_start": True, **self.fields}
        return config

    def error(self, seed: int, batches: int = 4000, lr: float = 0.5) -> float:
        """Return the error; the rate is halved three times in between.

        The warm start takes most of the training: coarse devices see few transfers.
        """
        torch.manual_seed(seed)
        tile = AnalogTile(ROWS, COLUMNS, self.config())
        tile.tile.set_weights(torch.zeros(ROWS, COLUMNS))
        teacher = torch.empty(ROWS, COLUMNS).uniform_(-0.6, 0.6)
        switches = [batches // 3 + i * batches // 6 for i in range(self.number - 1)]
        errors = []
        for batch in range(batches):
            tile.tile.set_learning_rate(lr * 0.5 ** (4 * batch // batches))
            if batch in switches and self.number > 1:
                tile.advance_warm_start()
            x = torch.empty(BATCH, COLUMNS).uniform_(-1.0, 1.0)
            target = x @ teacher.T + 0.3 * torch.randn(BATCH, ROWS)
            tile.update(x, tile.forward(x) - target)
            if batch >= 0.8 * batches and batch % 10 == 0:
                errors.append(float((tile.tile.get_weights() - teacher).norm() / teacher.norm()))
        return float(np.mean(errors))

    def median(self, lr: float) -> float:
        """Return the median over the seeds."""
        return float(np.median([self.error(seed, lr=lr) for seed in range(SEEDS)]))


# What the prototype was run with; a chain without a digital buffer, at rates for many transfers.
OFTEN = {"period": 2, "base": 4}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_device_of_a_chain_adds_precision() -> None:
    """With ten states: errors fall with the number of devices, from those of plain training."""
    found = [Residual(number, fields=OFTEN).median(0.2) for number in (2, 3, 4)]
    assert found == pytest.approx([0.400, 0.332, 0.273], rel=0.15)
    assert found[1] < 0.95 * found[0] and found[2] < 0.95 * found[1]
    plain = float(np.median([Residual(1).error(seed, lr=0.01) for seed in range(SEEDS)]))
    assert plain > 1.05 * found[0]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_preset_of_residual_learning() -> None:
    assert Residual(4).median(0.5) == pytest.approx(0.249, rel=0.25)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_residual_learning_with_four_states() -> None:
    found = [Residual(n, 4, gamma, OFTEN).median(0.2) for n, gamma in ((2, 0.25), (4, 0.5))]
    assert found == pytest.approx([1.158, 0.879], rel=0.25)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_warm_start_helps_unless_devices_are_very_coarse() -> None:
    cold = {"warm_start": False}
    assert Residual(4, fields=cold).median(0.5) == pytest.approx(0.608, rel=0.2)
    assert Residual(4, 4, 0.4, cold).median(0.5) == pytest.approx(0.658, rel=0.2)


def test_the_warm_start_goes_from_coarse_to_fine() -> None:
    torch.manual_seed(0)
    tile = AnalogTile(ROWS, COLUMNS, Residual(3, fields={"period": 1}).config())
    tile.tile.set_weights(torch.zeros(ROWS, COLUMNS))
    tile.tile.set_learning_rate(0.5)
    x, d = torch.ones(BATCH, COLUMNS), -torch.ones(BATCH, ROWS)
    moved = []
    for advance in (False, True, True):
        before = tile.get_hidden_parameters()
        if advance:
            tile.advance_warm_start()
        for _ in range(25):
            tile.update(x, d)
        after = tile.get_hidden_parameters()
        names = [f"hidden_weights_{k}" for k in (1, 2)]
        moved.append([not torch.equal(before[name], after[name]) for name in names])
    # Straight to the coarsest, then to the one in the middle, then along the chain.
    assert moved == [[False, True], [True, False], [True, True]]
    assert int(tile.get_hidden_parameters()["rule_warm_start"]) == 0
    tile.advance_warm_start()
    assert int(tile.get_hidden_parameters()["rule_warm_start"]) == 0


def test_warm_starts_are_refused_where_there_is_none() -> None:
    with pytest.raises(TileError, match="has no rule; use a CustomCompound"):
        AnalogTile(3, 4, SingleRPUConfig(device=SoftBoundsDevice())).advance_warm_start()
    with pytest.raises(ConfigError, match="no warm start"):
        AnalogTile(3, 4, ruled(rules.ttv2, **BUFFER)).advance_warm_start()


@pytest.mark.parametrize("name", ["residual", "ERIDER", "low-rank"])
def test_presets_train(name: str) -> None:
    given = UpdateParameters(pulse_type=PulseType.STOCHASTIC)
    number = 3 if name == "residual" else 1
    config = build_config(name, SoftBoundsDevice(dw_min=0.01), perfect(), given, n_devices=number)
    assert config.device.transfer_update == given
    torch.manual_seed(0)
    tile = AnalogTile(3, 4, config)
    before = tile.tile.get_weights()
    tile.update(torch.randn(8, 4), torch.randn(8, 3))
    assert not torch.equal(tile.tile.get_weights(), before)


def test_residual_gamma_follows_from_the_states() -> None:
    def gammas(states: int, number: int) -> list[float]:
        few = SoftBoundsDevice(dw_min=2 / states, w_max=1.0, w_min=-1.0)
        config: Any = build_config("residual", few, n_devices=number)
        return list(config.device.gamma_vec)

    assert gammas(10, 3) == pytest.approx([0.0625, 0.25, 1.0])
    assert gammas(4, 2) == pytest.approx([0.5, 1.0])
    assert gammas(1000, 2) == pytest.approx([0.1, 1.0])
    with pytest.raises(Exception, match="n_devices"):
        gammas(10, 1)
