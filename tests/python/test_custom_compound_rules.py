"""Published algorithms as rules in Python, against the cells of the core that do the same."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mho.simulator.configs import (
    ChoppedTransferCompound,
    CustomCompound,
    DynamicTransferCompound,
    TransferCompound,
)
from mho.simulator.devices import rules
from reference.real_tiles import RealTile
from reference.trajectories import G_FAST, Trajectory, chain, pulses_per_weight

LR = 0.1713


def in_python(case: Trajectory, rule: Any, **params: float) -> Trajectory:
    """Return the same devices with a rule."""
    native = case.config.device
    config = copy.deepcopy(case.config)
    config.device = CustomCompound(
        unit_cell_devices=native.unit_cell_devices,
        rule=rule,
        params=params,
        transfer_forward=native.transfer_forward,
        transfer_update=native.transfer_update,
    )
    watched = tuple(RULE_NAMES.get(name, name) for name in case.watched)
    return replace(case, config=config, watched=watched)


RULE_NAMES = {
    "buffered_FP_weight_0": "rule_H",
    "buffered_FP_weight": "rule_H",
    "running_mean_weight": "rule_M",
    "past_mean_weight": "rule_P",
}


def pair(name: str, longest: int, forget: bool, batch: int) -> tuple[Trajectory, Trajectory]:
    """Return an algorithm in the core and in Python."""
    buffer = {"fast_lr": 1.0, "bl": 1, "n": longest, "forget": forget}
    shared: dict[str, Any] = {"auto_scale": True, "forget_buffer": forget}
    if name == "ttv1":
        case = chain(TransferCompound, LR, 31, batch)
        return case, in_python(case, rules.ttv1, fast_lr=G_FAST / LR, period=1)
    if name == "ttv2":
        case = chain(ChoppedTransferCompound, LR, longest, batch, in_chop_prob=0.0, **shared)
        return case, in_python(case, rules.ttv2, **buffer)
    if name == "c_ttv2":
        # Random flips with a probability of one are no draws.
        case = chain(ChoppedTransferCompound, LR, longest, batch, in_chop_prob=1.0, **shared)
        return case, in_python(case, rules.c_ttv2, chop=1.0, **buffer)
    case = chain(
        DynamicTransferCompound,
        LR,
        longest,
        batch,
        in_chop_prob=0.2,
        tail_weightening=3.0,
        **shared,
    )
    return case, in_python(case, rules.agad, chop=0.2, tail=3.0, **buffer)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("forget", [True, False])
@pytest.mark.parametrize("longest", [1, 5])
@pytest.mark.parametrize("name", ["ttv1", "ttv2", "c_ttv2", "agad"])
def test_trajectories_are_those_of_the_core(
    name: str, longest: int, forget: bool, batch: int
) -> None:
    native, own = pair(name, longest, forget, batch)
    expected, found = native.run(RealTile), own.run(RealTile)
    assert len(expected) == len(found)
    for before, values in expected.items():
        scale = max(1.0, float(np.abs(values).max()))
        if before.startswith("buffered"):
            # In pulses: what is read is so many times as large, and so is its rounding.
            largest = float(np.abs(expected["hidden_weights_0"]).max())
            scale = max(scale, pulses_per_weight(native) * largest)
        np.testing.assert_allclose(
            found[RULE_NAMES.get(before, before)], values, rtol=0, atol=1e-6 * scale, err_msg=before
        )
    assert float(np.abs(expected["hidden_weights_1"]).max()) > 0.0


@pytest.mark.parametrize("every", [1, 3, 9, 0])
@pytest.mark.parametrize("name", ["ttv1", "ttv2", "c_ttv2", "agad"])
def test_blocks_are_the_same_but_for_what_events_see(name: str, every: int) -> None:
    """While the fast device does not move, it does not matter when a column is read."""
    native, own = pair(name, 5, False, 1)
    own.config.device.every = every
    fast = np.random.default_rng(0).uniform(-0.3, 0.3, (3, 4)).astype(np.float32)
    results = []
    for case in (native, own):
        tile = RealTile(3, 4, case.config)
        # Averages that stay, so that the rate of the fast device is the same; its pulses are none.
        tile.set_device(0, fast)
        for _ in range(5):
            tile.update(np.zeros((11, 4)), np.zeros((11, 3)), LR)
        results.append([tile.read(name) for name in case.watched])
    for expected, found in zip(*results, strict=True):
        # In pulses: what is read is so many times as large, and so is its rounding.
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * 0.3 * LR / G_FAST)
    assert float(np.abs(results[0][2]).max()) > 0.0
