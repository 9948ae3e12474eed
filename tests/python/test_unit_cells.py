"""Tiles of unit cells against golden traces and against the transcription of their rules."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mho.simulator.configs import (
    BufferedTransferCompound,
    ChoppedTransferCompound,
    DynamicTransferCompound,
    TransferCompound,
)
from reference import golden, rules, schedules  # noqa: F401  # they fill the list of cases
from reference.cases import CASES
from reference.real_tiles import RealTile
from reference.trajectories import Trajectory, chain, pulses_per_weight, trajectories
from reference.unit_cells import ReferenceTile


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    torch.manual_seed(0)
    yield


@pytest.mark.parametrize("name", CASES)
def test_golden_traces(name: str) -> None:
    number = 0
    for found in CASES[name](RealTile):
        found.check()
        number += 1
    assert number > 0


def check(case: Trajectory, number: int) -> None:
    """Compare all that is watched with the transcription, after every call."""
    expected = case.run(ReferenceTile, number)
    found = case.run(RealTile, number)
    for name, values in expected.items():
        scale = max(1.0, float(np.abs(values).max()))
        if name.startswith("buffered") and isinstance(case.config.device, ChoppedTransferCompound):
            # In pulses: what is read is so many times as large, and so is its rounding.
            largest = float(np.abs(expected["hidden_weights_0"]).max())
            scale = max(scale, pulses_per_weight(case) * largest)
        np.testing.assert_allclose(
            found[name], values, rtol=0, atol=1e-6 * scale, err_msg=f"{case}: {name}"
        )


@pytest.mark.parametrize("case", trajectories(), ids=str)
def test_trajectories(case: Trajectory) -> None:
    check(case, 240)


@pytest.mark.slow
@pytest.mark.parametrize("case", trajectories(full=True), ids=str)
def test_all_trajectories(case: Trajectory) -> None:
    check(case, 400)


# No rate is a fraction of the steps, so that no buffer is at its threshold but for rounding.
RATES = st.sampled_from([0.0613, 0.1313, 0.3313, 0.7177])
SIDES = st.booleans()


@st.composite
def chains(draw: st.DrawFn) -> Trajectory:
    """Return cells that transfer, with random options."""
    cls: Any = draw(
        st.sampled_from(
            [
                TransferCompound,
                BufferedTransferCompound,
                ChoppedTransferCompound,
                DynamicTransferCompound,
            ]
        )
    )
    options: dict[str, Any] = {
        "transfer_columns": draw(SIDES),
        "transfer_every": float(draw(st.integers(1, 3))),
        "units_in_mbatch": draw(SIDES),
    }
    if cls is not TransferCompound:
        options["forget_buffer"] = draw(SIDES)
        # A buffer that loses nothing is back at its threshold, up to rounding, when reads cancel.
        kept = draw(st.sampled_from([0.0, 0.1371]))
        options["momentum"] = kept if options["forget_buffer"] else 0.1371
    if cls is BufferedTransferCompound:
        options["thres_scale"] = draw(st.sampled_from([1.0, 2.5]))
    if issubclass(cls, ChoppedTransferCompound):
        options["in_chop_random"] = False
        options["in_chop_prob"] = draw(st.sampled_from([0.1, 0.25, 0.5]))
        options["auto_granularity"] = draw(st.sampled_from([0.0, 40.0]))
        options["correct_gradient_magnitudes"] = draw(SIDES)
        options["buffer_granularity"] = draw(st.sampled_from([0.5, 1.0, 3.0]))
    if cls is DynamicTransferCompound:
        options["tail_weightening"] = draw(st.sampled_from([1.0, 5.0]))
        options["buffer_cap"] = draw(st.sampled_from([0.0, 0.3]))
    longest = 31 if cls is TransferCompound else draw(st.sampled_from([1, 3, 5, 7]))
    return chain(cls, draw(RATES), longest, draw(st.integers(1, 4)), **options)


def decided_by_rounding(case: Trajectory, number: int) -> bool:
    """Return whether a buffer is so near to its threshold that the last bit decides."""
    x, d = case.samples(number)
    written = [
        case.follow(ReferenceTile, x, d, case.lr * factor)["hidden_weights_1"]
        for factor in (1 - 3e-6, 1 + 3e-6)
    ]
    return not np.allclose(*written, rtol=0, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(chains())
def test_random_settings(case: Trajectory) -> None:
    assume(not decided_by_rounding(case, 120))
    check(case, 120)
