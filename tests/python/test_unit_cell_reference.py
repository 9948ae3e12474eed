"""The transcription of unit cells against golden traces, and against their own laws.

The laws are worked out here in a few lines from what was seen of a whole trajectory: which pulses
reach the fast device, and that every read line is in the buffer or was written.
"""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mho.simulator.configs import (
    BufferedTransferCompound,
    ChoppedTransferCompound,
    DynamicTransferCompound,
    UpdateParameters,
)
from reference import golden, rules, schedules  # noqa: F401  # they fill the list of cases
from reference.cases import CASES
from reference.configs import device, transfer
from reference.pulses import NotDeterministicError, single, trains
from reference.trajectories import (
    G_FAST,
    G_SLOW,
    Trajectory,
    pulses_per_weight,
    trajectories,
)
from reference.unit_cells import ReferenceTile

Values = NDArray[np.float64]
# Enough for a dozen periods of the choppers.
SHORT = 240


@pytest.mark.parametrize("name", CASES)
def test_golden_traces(name: str) -> None:
    number = 0
    for found in CASES[name](ReferenceTile):
        found.check()
        number += 1
    assert number > 0


# Number of slots, factors and expected pulses of the largest cell; the step is 0.001.
TRAINS = [
    ({}, 0.001, 1.0, 0.5, 1, 1.414214, 0.707107),
    ({}, 0.005, 1.0, 0.5, 3, 1.825742, 0.912871),
    ({}, 0.02, 0.8, 0.5, 8, 2.0, 1.25),
    ({}, 0.1, 1.0, 0.5, 31, 3.225806, 1.0),
    ({"um_grad_scale": 0.5}, 0.01, 1.0, 0.5, 3, 3.651484, 0.912871),
    ({"update_bl_management": False}, 0.01, 1.0, 0.5, 31, 0.803219, 0.401610),
    (
        {"update_bl_management": False, "update_management": False},
        0.01,
        1.0,
        0.5,
        31,
        0.567962,
        0.567962,
    ),
    (
        {"update_bl_management": False, "update_management": False, "fixed_bl": False},
        0.0405,
        1.0,
        0.5,
        41,
        1.0,
        1.0,
    ),
    (
        {"update_bl_management": False, "fixed_bl": False},
        0.0405,
        1.0,
        0.5,
        41,
        1.414214,
        0.707107,
    ),
]


@pytest.mark.parametrize(("fields", "lr", "x", "d", "slots", "of_d", "of_x"), TRAINS)
def test_trains(
    fields: dict[str, Any], lr: float, x: float, d: float, slots: int, of_d: float, of_x: float
) -> None:
    found = trains(single([x]), single([d]), lr, 0.001, UpdateParameters(**fields))
    np.testing.assert_allclose(found, (slots, of_d, of_x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("spread", ["dw_min_std", "dw_min_dtod", "up_down_dtod", "w_max_dtod"])
def test_what_draws_decide_is_refused(spread: str) -> None:
    config = transfer(ChoppedTransferCompound)
    config.device.unit_cell_devices[1] = device(**{spread: 0.1})
    with pytest.raises(NotDeterministicError, match=spread):
        ReferenceTile(2, 3, config)
    tile = ReferenceTile(2, 3, transfer(ChoppedTransferCompound))
    with pytest.raises(NotDeterministicError, match="probabilities"):
        tile.update([[1.0, 0.5, 1.0]], [[1.0, 1.0]], 0.1)


def outer(case: Trajectory, number: int = SHORT) -> Values:
    """Return the pulses down of each call of one sample, ``[calls, out, in]``."""
    x, d = case.samples(number)
    return np.einsum("cbo,cbi->coi", d.astype(np.float64), x.astype(np.float64))


def lines_read(case: Trajectory, plane: Values) -> tuple[Values, NDArray[np.int64]]:
    """Return for each call a plane where only the line that is read is not zero, and its sweep."""
    by_columns = case.config.device.transfer_columns
    number = plane.shape[2] if by_columns else plane.shape[1]
    calls = np.arange(len(plane))
    chosen = np.zeros(plane.shape, np.bool_)
    for call in calls:
        chosen[call][(slice(None), call % number) if by_columns else call % number] = True
    return np.where(chosen, plane, 0.0), calls // number


QUICK = trajectories()
ONE_BY_ONE = [case for case in QUICK if case.batch == 1]


def of_class(cls: type[Any], **options: Any) -> list[Trajectory]:
    """Return quick cases with one sample per call of exactly this cell, and with some options."""
    return [
        case
        for case in ONE_BY_ONE
        if type(case.config.device) is cls
        and all(case.options[name] == value for name, value in options.items())
    ]


@pytest.mark.parametrize("case", of_class(BufferedTransferCompound), ids=str)
def test_every_sample_pulses_the_fast_device_once(case: Trajectory) -> None:
    found = case.run(ReferenceTile, SHORT)
    walk = -G_FAST * np.cumsum(outer(case), axis=0)
    np.testing.assert_allclose(found["hidden_weights_0"], walk, rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", of_class(BufferedTransferCompound, forget_buffer=False), ids=str)
def test_a_buffer_that_keeps_loses_nothing(case: Trajectory) -> None:
    found, cell = case.run(ReferenceTile, SHORT), case.config.device
    read, _ = lines_read(case, found["hidden_weights_0"].astype(np.float64))
    total = case.lr * np.cumsum(read, axis=0)
    # A write is as many steps of the slow device as thresholds were taken from the buffer.
    written = (1 - cell.momentum) * cell.thres_scale * found["hidden_weights_1"]
    assert np.abs(found["hidden_weights_1"]).max() > 5 * G_SLOW
    np.testing.assert_allclose(found["buffered_FP_weight_0"] + written, total, rtol=0, atol=2e-5)


def signs_of(cell: Any, sweeps: NDArray[np.int64]) -> Values:
    """Return the sign of each call: it flips after the last read of each period."""
    return (-1.0) ** (sweeps // round(1 / cell.in_chop_prob))


@pytest.mark.parametrize(
    "case",
    of_class(ChoppedTransferCompound, forget_buffer=False, no_buffer=False),
    ids=str,
)
def test_a_chopped_buffer_that_keeps_loses_nothing(case: Trajectory) -> None:
    found, cell = case.run(ReferenceTile, SHORT), case.config.device
    read, sweeps = lines_read(case, found["hidden_weights_0"].astype(np.float64))
    read = pulses_per_weight(case) * signs_of(cell, sweeps)[:, None, None] * read
    pulses = found["hidden_weights_1"] / G_SLOW
    total = found["buffered_FP_weight_0"] + (1 - cell.momentum) * pulses
    np.testing.assert_allclose(total, np.cumsum(read, axis=0), rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    "case", of_class(DynamicTransferCompound, forget_buffer=False, buffer_cap=0.0), ids=str
)
def test_a_dynamic_buffer_that_keeps_loses_nothing_after_the_start(case: Trajectory) -> None:
    found, cell = case.run(ReferenceTile, SHORT), case.config.device
    past = found["past_mean_weight"].astype(np.float64)
    read, sweeps = lines_read(case, found["hidden_weights_0"] - past)
    read = pulses_per_weight(case) * signs_of(cell, sweeps)[:, None, None] * read
    pulses, buffer = found["hidden_weights_1"] / G_SLOW, found["buffered_FP_weight"]
    # Pulses of the first period and of one sweep more are lost.
    start = int(np.flatnonzero(sweeps > round(1 / cell.in_chop_prob))[0])
    assert not pulses[:start].any()
    total = buffer[start:] - buffer[start - 1] + (1 - cell.momentum) * pulses[start:]
    np.testing.assert_allclose(total, np.cumsum(read[start:], axis=0), rtol=0, atol=2e-3)


@pytest.mark.parametrize("case", of_class(DynamicTransferCompound, forget_buffer=True), ids=str)
def test_past_means_are_those_at_the_end_of_a_period(case: Trajectory) -> None:
    found, cell = case.run(ReferenceTile, SHORT), case.config.device
    period = round(1 / cell.in_chop_prob)
    lines = 4 if cell.transfer_columns else 3
    beta = min(cell.tail_weightening / period, 1.0)
    mean, past = (
        np.moveaxis(found[name], 2 if cell.transfer_columns else 1, 1)
        for name in ("running_mean_weight", "past_mean_weight")
    )
    fast = np.moveaxis(found["hidden_weights_0"], 2 if cell.transfer_columns else 1, 1)
    for call in range(lines, len(mean)):
        line, sweep = call % lines, call // lines
        expected = (1 - beta) * mean[call - lines, line] + beta * fast[call, line]
        np.testing.assert_allclose(mean[call, line], expected, rtol=0, atol=1e-6)
        last = (sweep // period * period - 1) * lines + line
        expected = mean[last, line] if last >= 0 else np.zeros_like(expected)
        np.testing.assert_array_equal(past[call, line], expected)


@pytest.mark.parametrize("case", [c for c in QUICK if not c.signs], ids=str)
def test_mixed_precision_loses_nothing(case: Trajectory) -> None:
    found = case.run(ReferenceTile, SHORT)
    total = -case.lr * np.cumsum(outer(case), axis=0)
    assert np.abs(found["weight"]).max() > 5 * G_SLOW
    np.testing.assert_allclose(
        found["weight"] - found["hidden_weights_chi"], total, rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(
    "case", [c for c in QUICK if c.options.get("transfer_columns", False)], ids=str
)
def test_rows_are_columns_of_the_transposed_tile(case: Trajectory) -> None:
    x, d = case.samples(SHORT)
    by_columns = case.follow(ReferenceTile, x, d)
    case.config.device.transfer_columns = False
    by_rows = case.follow(ReferenceTile, d, x)
    case.config.device.transfer_columns = True
    for name, values in by_columns.items():
        np.testing.assert_array_equal(values, np.swapaxes(by_rows[name], 1, 2), err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("case", trajectories(full=True), ids=str)
def test_rounding_decides_about_no_pulse(case: Trajectory) -> None:
    """A rate that is off by more than all rounding makes the same pulses."""
    x, d = case.samples()
    slow = "hidden_weights_1" if case.signs else "weight"
    expected = case.follow(ReferenceTile, x, d)[slow]
    for factor in (1 - 3e-6, 1 + 3e-6):
        found = case.follow(ReferenceTile, x, d, case.lr * factor)[slow]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
