"""When which line travels from which device to which."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mho.simulator.configs import (
    ChoppedTransferCompound,
    PulseType,
    TransferCompound,
    UpdateParameters,
)
from reference.cases import SUMS, Found, Make, case, one, rest
from reference.configs import device, perfect, transfer, unit_cell
from reference.unit_cells import Subject

C = "hidden_weights_1"
LINES = [[0.1, 0.2, 0.3]]


def after_calls(
    make: Make, calls: int, batch: int, config: Any, start: Sequence[Sequence[float]] = LINES
) -> Subject:
    """Return a tile after calls of an update without pulses; its fast device holds values."""
    rows, columns = np.shape(start)
    tile = make(rows, columns, config)
    tile.set_weights(np.zeros((rows, columns)))
    tile.set_device(0, start)
    for _ in range(calls):
        rest(tile, 1.0, rows, columns, batch)
    return tile


def schedule(**fields: Any) -> Any:
    """Return a configuration that transfers whole values from the first device to the second."""
    return transfer(TransferCompound, g_fast=0.01, g_slow=0.01, **fields)


@case
def every_second_sample(make: Make) -> Iterator[Found]:
    for calls, expected in ((2, [0.1, 0, 0]), (4, [0.1, 0.2, 0]), (6, [0.1, 0.2, 0.3])):
        tile = after_calls(make, calls, 1, schedule(transfer_every=2.0))
        yield Found(f"after {calls}", tile.read(C), [expected], SUMS)


@case
def units_of_the_period(make: Make) -> Iterator[Found]:
    for batch, every, in_batches, calls, expected in (
        (4, 1.0, True, 1, [0.1, 0, 0]),
        (4, 1.0, True, 2, [0.1, 0.2, 0]),
        # The fourth sample starts the next sweep.
        (4, 1.0, False, 1, [0.2, 0.2, 0.3]),
        (4, 0.5, True, 1, [0.1, 0.2, 0]),
        # 1.5 batches of 3 are 4.5 samples, which is 5 of them.
        (3, 1.5, True, 1, [0, 0, 0]),
        (3, 1.5, True, 2, [0.1, 0, 0]),
        (3, 1.5, True, 3, [0.1, 0, 0]),
        (3, 1.5, True, 4, [0.1, 0.2, 0]),
        (3, 1.5, True, 5, [0.1, 0.2, 0.3]),
    ):
        config = schedule(transfer_every=every, units_in_mbatch=in_batches)
        tile = after_calls(make, calls, batch, config)
        what = f"{calls} calls of {batch}, period {every}"
        yield Found(what, tile.read(C), [expected], SUMS)


@case
def later_stages_wait_for_a_sweep(make: Make) -> Iterator[Found]:
    cell = TransferCompound(
        unit_cell_devices=[device(), device(), device()],
        units_in_mbatch=False,
        transfer_forward=perfect(),
    )
    # Five columns: the third device gets its first one after five samples, not after two.
    start = np.full((2, 5), 0.1)
    for calls, expected in ((4, 0.0), (5, 0.1)):
        tile = after_calls(make, calls, 1, unit_cell(cell), start)
        yield Found(f"after {calls}", tile.read("hidden_weights_2")[:, 0], [expected] * 2, SUMS)
        yield Found(f"after {calls}", tile.read("hidden_weights_2")[:, 1:], np.zeros((2, 4)), SUMS)


@case
def rows_instead_of_columns(make: Make) -> Iterator[Found]:
    start = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
    update = UpdateParameters(pulse_type=PulseType.DETERMINISTIC_IMPLICIT, desired_bl=100)
    config = schedule(transfer_columns=False, transfer_update=update)
    tile = after_calls(make, 1, 1, config, start)
    yield Found("after 1", tile.read(C), [start[0], [0, 0, 0]], SUMS)
    tile = after_calls(make, 2, 1, config, start)
    yield Found("after 2", tile.read(C), start, SUMS)


@case
def several_lines_at_once(make: Make) -> Iterator[Found]:
    for calls, expected in ((1, [0.1, 0.2, 0]), (2, [0.2, 0.2, 0.3])):
        tile = after_calls(make, calls, 1, schedule(n_reads_per_transfer=2))
        yield Found(f"after {calls}", tile.read(C), [expected], SUMS)


@case
def a_transfer_without_a_rate_moves_on(make: Make) -> Iterator[Found]:
    tile = after_calls(make, 2, 1, schedule(transfer_lr=0.0))
    yield Found("nothing is written", tile.read(C), [[0, 0, 0]], 0.0)
    yield Found("line", tile.read("current_slice_indices")[0], 2, 0.0)


@case
def an_update_without_a_rate_does_nothing(make: Make) -> Iterator[Found]:
    tile = after_calls(make, 1, 1, schedule())
    tile.update(np.ones((2, 3)), np.ones((2, 1)), 0.0)
    yield Found("slow", tile.read(C), [[0.1, 0, 0]], SUMS)
    yield Found("samples", tile.read("current_update_idx"), 1, 0.0)


@case
def automatic_period(make: Make) -> Iterator[Found]:
    # Four columns, 200 states.
    for every, period in ((-1.0, 50), (-0.1, 5)):
        config = transfer(ChoppedTransferCompound, 0.01, transfer_every=every, in_chop_prob=0.0)
        for calls, sweeps in ((4 * period - 1, 0), (4 * period, 1)):
            tile = after_calls(make, 1, calls, config, [[0.0] * 4])
            what = f"{calls} samples, period {every}"
            yield Found(what, tile.read("transfer_counter"), sweeps, 0.0)


@case
def running_average_of_maxima(make: Make) -> Iterator[Found]:
    config = transfer(ChoppedTransferCompound, auto_scale=True, auto_momentum=0.9)
    tile = one(make, config)
    tile.update([[4.0], [0.0], [8.0]], [[0.0], [0.0], [0.0]], 1.0)
    yield Found("of inputs", tile.read("m_x"), 4.13333, 1e-5)
    yield Found("of errors", tile.read("m_d"), 0.0, 0.0)
