"""Rules of the cells that golden traces do not show, many of them where the standard errs."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mho.simulator.configs import (
    BufferedTransferCompound,
    ChoppedTransferCompound,
    DynamicTransferCompound,
    OneSidedUnitCell,
    PulseType,
    ReferenceUnitCell,
    TransferCompound,
    UpdateParameters,
    VectorUnitCell,
)
from reference.cases import SUMS, Found, Make, case, rest
from reference.configs import Policy, device, joint, mixed, one_sided, perfect, transfer, unit_cell
from reference.unit_cells import Subject

A, C, W = "hidden_weights_0", "hidden_weights_1", "weight"
NEVER = {"transfer_every": 0.0}


def made(make: Make, config: Any, rows: int = 1, columns: int = 1) -> Subject:
    """Return a tile with weights of zero."""
    tile = make(rows, columns, config)
    tile.set_weights(np.zeros((rows, columns)))
    return tile


def push(tile: Subject, lr: float, rows: int = 1, columns: int = 1) -> None:
    """Do an update of one sample of ones, which decreases all weights."""
    tile.update(np.ones((1, columns)), np.ones((1, rows)), lr)


# --- pulses ---------------------------------------------------------------------------------------


@case
def a_chain_counts_in_steps_of_its_first_device(make: Make) -> Iterator[Found]:
    tile = made(make, transfer(TransferCompound, 0.01, 0.001, **NEVER))
    push(tile, 0.05)
    yield Found("fast", tile.read(A), -0.05, SUMS)


@case
def devices_read_together_count_in_their_mean_step(make: Make) -> Iterator[Found]:
    cell = VectorUnitCell(unit_cell_devices=[device(0.01), device(0.03)])
    tile = made(make, unit_cell(cell))
    push(tile, 0.04)
    yield Found("two pulses of each", tile.read(A), -0.02, SUMS)
    yield Found("two pulses of each", tile.read(C), -0.06, SUMS)


@case
def up_and_down_may_differ(make: Make) -> Iterator[Found]:
    for up_down, sign, expected in ((0.5, 1, -0.005), (0.5, -1, 0.01), (-0.5, -1, 0.005)):
        cell = VectorUnitCell(unit_cell_devices=[device(up_down=up_down)])
        tile = made(make, unit_cell(cell))
        tile.update([[1.0]], [[sign]], 0.01)
        yield Found(f"up_down {up_down}", tile.read(W), expected, SUMS)


@case
def rate_of_the_fast_device(make: Make) -> Iterator[Found]:
    for fast_lr, scaled, pulses in (
        (0.03, False, 3),
        (0.3, True, 3),
        (0.0, True, 10),
        (-1, False, 10),
    ):
        config = transfer(TransferCompound, 0.01, fast_lr=fast_lr, scale_fast_lr=scaled, **NEVER)
        tile = made(make, config)
        push(tile, 0.1)
        yield Found(f"fast_lr {fast_lr}", tile.read(A), -0.01 * pulses, SUMS)


@case
def scaled_rate_of_the_fast_device(make: Make) -> Iterator[Found]:
    for fast_lr, scaled, lr, pulses in (
        (1.0, False, 0.1, 5),
        (0.4, False, 0.1, 2),
        (2, True, 0.2, 2),
    ):
        fields = {"fast_lr": fast_lr, "scale_fast_lr": scaled, "auto_scale": True, **NEVER}
        config = transfer(ChoppedTransferCompound, 0.01, **fields)
        config.update.desired_bl = 5
        tile = made(make, config)
        # The sizes of input and error are those of the averages: they do not matter.
        tile.update([[3.0]], [[0.2]], lr)
        yield Found(f"fast_lr {fast_lr}", tile.read(A), -0.01 * pulses, SUMS)


@case
def updates_without_pulses_leave_no_cell(make: Make) -> Iterator[Found]:
    config = transfer(TransferCompound)
    config.update.pulse_type = PulseType.NONE
    tile = made(make, config, 2, 3)
    x, d = np.array([[0.1, 0.2, 0.3], [3, 2, 1]]), np.array([[0.5, -0.7], [1, 2]])
    tile.update(x, d, 0.3)
    yield Found("weight", tile.read(W), -0.3 * d.T @ x, SUMS)


# --- sums of devices ------------------------------------------------------------------------------


@case
def devices_that_cancel_are_seen(make: Make) -> Iterator[Found]:
    cell = TransferCompound(
        unit_cell_devices=[device(), device(), device()],
        gamma_vec=[0.5, -0.5, 1.0],
        transfer_forward=perfect(),
        **NEVER,
    )
    tile = made(make, unit_cell(cell))
    for k, value in enumerate((0.4, 0.2, 0.3)):
        tile.set_device(k, [[value]])
    yield Found("weight", tile.read(W), 0.4, SUMS)


@case
def powers_of_gamma(make: Make) -> Iterator[Found]:
    cell = TransferCompound(
        unit_cell_devices=[device(), device(), device()], gamma=0.5, transfer_forward=perfect()
    )
    tile = made(make, unit_cell(cell))
    tile.set_weights([[0.3]])
    for k, expected in enumerate((0.0, 0.0, 0.3)):
        yield Found(f"device {k}", tile.read(f"hidden_weights_{k}"), expected, SUMS)
    for k, value in enumerate((0.4, 0.2, 0.3)):
        tile.set_device(k, [[value]])
    yield Found("weight", tile.read(W), 0.5, SUMS)


@case
def the_last_device_holds_what_is_set(make: Make) -> Iterator[Found]:
    config = transfer(TransferCompound, gamma_vec=[0.0, 2.0])
    tile = made(make, config)
    tile.set_device(0, [[0.4]])
    tile.set_weights([[0.3]])
    yield Found("fast", tile.read(A), 0.0, 0.0)
    yield Found("slow", tile.read(C), 0.15, SUMS)
    yield Found("weight", tile.read(W), 0.3, SUMS)


@case
def chopped_signs_in_the_sum(make: Make) -> Iterator[Found]:
    fast = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    for columns, calls in ((True, 4), (False, 3)):
        config = transfer(
            ChoppedTransferCompound,
            gamma=0.5,
            in_chop_prob=0.5,
            in_chop_random=False,
            transfer_columns=columns,
            transfer_lr=0.0,
            fast_lr=0.002,
        )
        tile = made(make, config, 2, 3)
        yield from _no_flip_without_a_rate(tile)
        config.device.transfer_lr = 1e-9
        tile = made(make, config, 2, 3)
        tile.set_device(0, fast)
        for _ in range(calls):
            rest(tile, 1.0, 2, 3)
        # Each line flips after it was read in the second sweep; this is the first line.
        signs = np.ones((2, 3))
        signs[(slice(None), 0) if columns else (0, slice(None))] = -1
        yield Found(f"weight, columns {columns}", tile.read(W), 0.5 * signs * fast, SUMS)
        push(tile, 0.002, 2, 3)
        yield Found("pulses", tile.read(A), fast - 0.002 * signs, SUMS)


def _no_flip_without_a_rate(tile: Subject) -> Iterator[Found]:
    for _ in range(12):
        rest(tile, 1.0, 2, 3)
    yield Found("flags", tile.read("in_chopper").sum(), 0, 0.0)


# --- transfers ------------------------------------------------------------------------------------


@case
def own_periods_and_rates_of_each_device(make: Make) -> Iterator[Found]:
    cell = TransferCompound(
        unit_cell_devices=[device(), device(), device()],
        transfer_every_vec=[2.0, 3.0, 0.0],
        transfer_lr_vec=[0.5, 0.25, 7.0],
        units_in_mbatch=False,
        transfer_forward=perfect(),
    )
    tile = made(make, unit_cell(cell))
    tile.set_device(0, [[0.4]])
    for step, (second, third) in enumerate(((0, 0), (0.2, 0), (0.2, 0.05), (0.4, 0.05)), 1):
        rest(tile, 1.0)
        yield Found(f"second after {step}", tile.read(C), second, SUMS)
        yield Found(f"third after {step}", tile.read("hidden_weights_2"), third, SUMS)


@case
def lower_stages_come_first(make: Make) -> Iterator[Found]:
    cell = TransferCompound(
        unit_cell_devices=[device(), device(), device()],
        transfer_every_vec=[1.0, 1.0, 0.0],
        transfer_forward=perfect(),
    )
    tile = made(make, unit_cell(cell))
    tile.set_device(0, [[0.2]])
    rest(tile, 1.0)
    yield Found("both stages", tile.read("hidden_weights_2"), 0.2, SUMS)


@case
def rate_of_the_transfer(make: Make) -> Iterator[Found]:
    for scaled, expected in ((True, 0.1), (False, 0.2)):
        config = transfer(TransferCompound, transfer_lr=0.5, scale_transfer_lr=scaled)
        tile = made(make, config)
        tile.set_device(0, [[0.4]])
        rest(tile, 0.5)
        yield Found(f"slow, scaled {scaled}", tile.read(C), expected, SUMS)


@case
def each_read_column_is_reset_by_itself(make: Make) -> Iterator[Found]:
    config = transfer(TransferCompound, 0.01, with_reset_prob=1.0, n_reads_per_transfer=2)
    tile = made(make, config, 1, 3)
    tile.set_device(0, [[0.1, 0.2, 0.3]])
    rest(tile, 1.0, 1, 3)
    yield Found("fast", tile.read(A), [[0.0, 0.0, 0.3]], SUMS)
    yield Found("slow", tile.read(C), [[0.1, 0.2, 0.0]], SUMS)


@case
def buffers_between_visible_devices(make: Make) -> Iterator[Found]:
    # The rate of the transfer takes the ratio of the gammas, 0.5.
    config = transfer(BufferedTransferCompound, gamma=0.5, momentum=0.0)
    tile = made(make, config)
    tile.set_device(0, [[0.0043]])
    rest(tile, 1.0)
    yield Found("buffer", tile.read("buffered_FP_weight_0"), 0.00215, SUMS)


@case
def a_chain_of_buffers(make: Make) -> Iterator[Found]:
    cell = BufferedTransferCompound(
        unit_cell_devices=[device(0.002), device(), device()],
        units_in_mbatch=False,
        transfer_every_vec=[1.0, 2.0, 0.0],
        momentum=0.0,
        transfer_forward=perfect(),
    )
    tile = made(make, unit_cell(cell))
    tile.set_device(0, [[0.012]])
    for step, expected in enumerate(
        ((0.0, 0.01, 0.0, 0.0), (0.0, 0.02, 0.0, 0.01), (0.0, 0.03, 0.0, 0.01)), 1
    ):
        rest(tile, 1.0)
        names = ("buffered_FP_weight_0", C, "buffered_FP_weight_1", "hidden_weights_2")
        for name, value in zip(names, expected, strict=True):
            yield Found(f"{name} after {step}", tile.read(name), value, SUMS)


@case
def thresholds_and_steps_of_buffers(make: Make) -> Iterator[Found]:
    fields = {"thres_scale": 2.0, "step": 3.0, "momentum": 0.25}
    update = UpdateParameters(pulse_type=PulseType.DETERMINISTIC_IMPLICIT, desired_bl=9)
    config = transfer(BufferedTransferCompound, transfer_update=update, **fields)
    tile = made(make, config)
    tile.set_device(0, [[0.05]])
    rest(tile, 1.0)
    # 2.5 thresholds of two steps each make two writes of three steps each.
    yield Found("slow", tile.read(C), 0.06, SUMS)
    yield Found("buffer", tile.read("buffered_FP_weight_0"), 0.0125, SUMS)


@case
def set_weights_forgets(make: Make) -> Iterator[Found]:
    for cls, buffer in (
        (BufferedTransferCompound, "buffered_FP_weight_0"),
        (ChoppedTransferCompound, "buffered_FP_weight_0"),
        (DynamicTransferCompound, "buffered_FP_weight"),
    ):
        chop = (
            {}
            if cls is BufferedTransferCompound
            else {"in_chop_prob": 0.5, "in_chop_random": False}
        )
        tile = made(make, transfer(cls, **chop))
        tile.set_device(0, [[0.0011]])
        for _ in range(3):
            rest(tile, 0.3)
        before = tile.read(buffer).item()
        yield Found(f"{cls.__name__} had something", abs(before) > 1e-4, True, 0)
        tile.set_weights([[0.3]])
        names = [buffer, A, "current_update_idx"]
        if cls is not BufferedTransferCompound:
            names += ["in_chopper", "transfer_counter", "m_x", "m_d"]
        if cls is DynamicTransferCompound:
            names += ["running_mean_weight", "past_mean_weight", "in_chopper_switched"]
        for name in names:
            yield Found(f"{cls.__name__} {name}", tile.read(name), 0.0, 0.0)
        yield Found("weight", tile.read(W), 0.3, SUMS)


@case
def dynamic_cap_of_the_buffer(make: Make) -> Iterator[Found]:
    config = transfer(
        DynamicTransferCompound, forget_buffer=False, momentum=0.0, buffer_cap=0.5, in_chop_prob=0.1
    )
    tile = made(make, config)
    tile.set_device(0, [[0.0042]])
    rest(tile, 1.0)
    # 2.1 pulses, of which one train takes one; 0.5 of the train stay.
    yield Found("buffer", tile.read("buffered_FP_weight"), 0.5, 100 * SUMS)


@case
def scales_of_the_chopped_buffer(make: Make) -> Iterator[Found]:
    for fields, expected in (
        ({}, 0.2 * 0.0013 / 0.002),
        ({"buffer_granularity": 4.0}, 0.2 * 0.0013 / 0.008),
        ({"buffer_granularity": -4.0}, 0.2 * 0.0013 / 0.002),
        # 12 updates per pulse: two columns, period 3.
        ({"auto_granularity": 12.0}, 0.2 * 0.0013 / (0.002 * 12 / 6)),
        # The rate of the fast device is 0.5.
        ({"correct_gradient_magnitudes": True}, 0.2 * 0.0013 / (0.5 * 0.002 * 5)),
        (
            {"auto_granularity": 12.0, "correct_gradient_magnitudes": True},
            0.2 * 0.0013 / (0.5 * 0.002 * 5 * 2),
        ),
    ):
        given = {"transfer_every": 3.0, "in_chop_prob": 0.0, "fast_lr": 0.5} | fields
        tile = made(make, transfer(ChoppedTransferCompound, **given), 1, 2)
        tile.set_device(0, [[0.0013, 0.0]])
        for _ in range(3):
            rest(tile, 0.2, 1, 2)
        yield Found(str(fields), tile.read("buffered_FP_weight_0")[0, 0], expected, 100 * SUMS)


@case
def accumulation_since_the_last_flip(make: Make) -> Iterator[Found]:
    config = transfer(
        DynamicTransferCompound, in_chop_prob=0.25, experimental_correct_accumulation=True
    )
    tile = made(make, config)
    tile.set_device(0, [[0.001]])
    total = 0.0
    for sweep in range(1, 5):
        rest(tile, 0.1)
        total += 0.1 * 0.001 / 0.002 / sweep
        yield Found(f"buffer {sweep}", tile.read("buffered_FP_weight"), total, 100 * SUMS)


# --- one-sided pairs ------------------------------------------------------------------------------


@case
def both_devices_of_a_pair_are_used(make: Make) -> Iterator[Found]:
    cell = OneSidedUnitCell(unit_cell_devices=[device(0.01), device(0.03)])
    tile = made(make, unit_cell(cell))
    # The mean step of 0.02 makes two pulses.
    tile.update([[1.0]], [[1.0]], 0.04)
    tile.update([[1.0]], [[-1.0]], 0.04)
    yield Found("minus", tile.read(A), 0.02, SUMS)
    yield Found("plus", tile.read(C), 0.06, SUMS)


@case
def a_mirrored_pair(make: Make) -> Iterator[Found]:
    cell = OneSidedUnitCell(
        unit_cell_devices=[device(0.01, up_down=0.5, w_min=-0.2)], copy_inverted=True
    )
    tile = made(make, unit_cell(cell))
    tile.update([[1.0]], [[1.0]], 0.01)
    tile.update([[1.0]], [[-1.0]], 0.01)
    yield Found("minus", tile.read(A), 0.01, SUMS)
    yield Found("plus, a step down of the other", tile.read(C), 0.005, SUMS)
    tile.set_weights([[0.5]])
    yield Found("plus, bounds of the other", tile.read(C), 0.2, SUMS)


@case
def refresh_counts_batches_or_samples(make: Make) -> Iterator[Found]:
    for in_batches, calls in ((True, 2), (False, 1)):
        tile = made(make, one_sided(refresh_every=2, units_in_mbatch=in_batches))
        tile.set_device(1, [[0.8]])
        tile.set_device(0, [[0.8]])
        for call in range(1, calls + 1):
            yield Found(f"before call {call}", tile.read(A), 0.8, SUMS)
            rest(tile, 1.0, batch=2)
        yield Found(f"after call {calls}", tile.read(A), 0.0, SUMS)


@case
def refresh_writes_on_top_of_the_reset(make: Make) -> Iterator[Found]:
    pair = [device(w_min=0.0, reset=0.05), device(w_min=0.0, reset=0.05)]
    cell = OneSidedUnitCell(unit_cell_devices=pair, refresh_every=1, refresh_forward=perfect())
    tile = made(make, unit_cell(cell), 2, 1)
    tile.set_device(1, [[0.8], [0.1]])
    tile.set_device(0, [[0.5], [0.1]])
    rest(tile, 1.0, 2, 1)
    yield Found("plus", tile.read(C), [[0.35], [0.1]], SUMS)
    yield Found("minus", tile.read(A), [[0.05], [0.1]], SUMS)


# --- cells in cells -------------------------------------------------------------------------------


@case
def a_pair_as_the_fast_device(make: Make) -> Iterator[Found]:
    pair = one_sided(refresh_every=1).device
    cell = TransferCompound(
        unit_cell_devices=[pair, device()], transfer_forward=perfect(), transfer_every=2.0
    )
    tile = made(make, unit_cell(cell))
    tile.set_weights([[0.3]])
    for sign in (1.0, -1.0, -1.0):
        tile.update([[1.0]], [[sign]], 0.02)
    # The pair refreshes its own weights only; half of the calls transfer.
    yield Found("fast, minus", tile.read("hidden_weights_0_0"), 0.02, SUMS)
    yield Found("fast, plus", tile.read("hidden_weights_1_0"), 0.04, SUMS)
    yield Found("fast", tile.read(A), 0.02, SUMS)
    yield Found("slow", tile.read(C), 0.3, SUMS)


@case
def a_reference_for_the_fast_device(make: Make) -> Iterator[Found]:
    fast = ReferenceUnitCell(unit_cell_devices=[device(), device()])
    cell = TransferCompound(unit_cell_devices=[fast, device()], transfer_forward=perfect())
    tile = made(make, unit_cell(cell))
    push(tile, 0.1)
    yield Found("updated", tile.read("hidden_weights_0_0"), -0.1, SUMS)
    yield Found("reference", tile.read("hidden_weights_1_0"), 0.0, SUMS)
    yield Found("slow", tile.read(C), -0.01, SUMS)


# --- mixed precision ------------------------------------------------------------------------------


@case
def quantised_on_one_side_only(make: Make) -> Iterator[Found]:
    x, d = np.array([[0.5, -1.0, 0.2]]), np.array([[0.31, -1.0]])
    x_q, d_q = np.array([[0.5, -1.0, 0.0]]), np.array([[0.0, -1.0]])
    for fields, outer in (
        ({"n_x_bins": 4}, d.T @ x_q),
        ({"n_d_bins": 3}, d_q.T @ x),
        ({"n_x_bins": 4, "n_d_bins": 3}, d_q.T @ x_q),
    ):
        config = mixed(stoc_round_x=False, stoc_round_d=False, transfer_every=0, **fields)
        tile = made(make, config, 2, 3)
        tile.update(x, d, 0.1)
        yield Found(str(fields), tile.read("hidden_weights_chi"), 0.1 * outer, SUMS)


@case
def rows_of_the_accumulator(make: Make) -> Iterator[Found]:
    exact = UpdateParameters(pulse_type=PulseType.DETERMINISTIC_IMPLICIT)
    config = mixed(n_rows_per_transfer=2, transfer_lr=0.5, granularity=0.02, update=exact)
    tile = made(make, config, 3, 1)
    tile.update([[1.0]], [[0.52, 1.03, 1.57]], 0.1)
    expected_chi, expected = np.array([0.052, 0.103, 0.157]), np.zeros(3)
    # Steps of 0.02 of the accumulator are half as large on the device.
    for rows in ((0, 1), (2, 0), (1, 2)):
        rest(tile, 0.1, 3, 1)
        for row in rows:
            number = np.floor(expected_chi[row] / 0.02)
            expected_chi[row] -= 0.02 * number
            expected[row] -= 0.01 * number
        yield Found(f"chi after {rows}", tile.read("hidden_weights_chi")[:, 0], expected_chi, SUMS)
        yield Found(f"weight after {rows}", tile.read(W)[:, 0], expected, SUMS)


@case
def periods_of_mixed_precision_are_in_batches(make: Make) -> Iterator[Found]:
    tile = made(make, mixed(transfer_every=2))
    # The sample after two batches of two writes, with its own part.
    for call, expected in ((1, 0.0), (2, 0.0), (3, -0.05)):
        tile.update([[1.0], [1.0]], [[0.103], [0.103]], 0.1)
        yield Found(f"weight after call {call}", tile.read(W), expected, SUMS)


@case
def set_weights_clears_the_accumulator(make: Make) -> Iterator[Found]:
    tile = made(make, mixed(n_rows_per_transfer=1), 2, 1)
    for _ in range(2):
        tile.update([[1.0]], [[0.3, 0.3]], 0.1)
    tile.set_weights([[0.2], [0.1]])
    names = ("hidden_weights_chi", "current_row_index", "current_update_index")
    for name in names:
        yield Found(name, tile.read(name), 0.0, 0.0)
    yield Found("weight", tile.read(W), [[0.2], [0.1]], SUMS)


@case
def exact_writes_of_mixed_precision(make: Make) -> Iterator[Found]:
    exact = UpdateParameters(pulse_type=PulseType.NONE_WITH_DEVICE)
    tile = made(make, mixed(0.01, update=exact), 1, 2)
    tile.update([[1.0, 0.5]], [[1.0]], 12.0)
    rest(tile, 0.1, 1, 2)
    # 1200 and 600 pulses, of which the bounds let 100 through.
    yield Found("weight", tile.read(W), [[-1.0, -1.0]], SUMS)


@case
def a_policy_of_devices_with_batches(make: Make) -> Iterator[Found]:
    tile = made(make, joint(Policy.SINGLE_SEQUENTIAL, 2, first_update_idx=1), 1, 1)
    tile.update(np.ones((3, 1)), np.ones((3, 1)), 0.01)
    yield Found("first", tile.read(A), -0.02, SUMS)
    yield Found("second", tile.read(C), -0.01, SUMS)


@case
def set_weights_restarts_the_turns(make: Make) -> Iterator[Found]:
    tile = made(make, joint(Policy.SINGLE_SEQUENTIAL, 3), 1, 1)
    push(tile, 0.01)
    tile.set_weights([[0.3]])
    push(tile, 0.01)
    yield Found("first", tile.read(A), 0.3, SUMS)
    yield Found("second, once more", tile.read(C), 0.29, SUMS)
    yield Found("samples", tile.read("current_update_idx"), 1, 0.0)


@case
def a_reference_of_its_own_kind(make: Make) -> Iterator[Found]:
    pair = [device(0.01), device(0.03, w_max=0.2)]
    tile = made(make, unit_cell(ReferenceUnitCell(unit_cell_devices=pair)))
    tile.choose(1)
    tile.set_weights([[0.5]])
    yield Found("reference, within its bounds", tile.read(C), 0.2, SUMS)
    tile.choose(0)
    # The mean step of 0.02 makes two pulses.
    push(tile, 0.04)
    yield Found("updated", tile.read(A), -0.02, SUMS)
    yield Found("weight", tile.read(W), -0.22, SUMS)


@case
def no_buffer_drops_what_makes_no_pulse(make: Make) -> Iterator[Found]:
    config = transfer(ChoppedTransferCompound, in_chop_prob=0.0, no_buffer=True)
    tile = made(make, config)
    tile.set_device(0, [[0.0043]])
    for _ in range(4):
        rest(tile, 0.2)
        yield Found("buffer", tile.read("buffered_FP_weight_0"), 0.43, 100 * SUMS)
    yield Found("slow", tile.read(C), 0.0, 0.0)
    tile.set_device(0, [[0.0143]])
    rest(tile, 0.2)
    yield Found("slow", tile.read(C), 0.01, SUMS)


@case
def dynamic_cap_counts_in_trains(make: Make) -> Iterator[Found]:
    update = UpdateParameters(pulse_type=PulseType.DETERMINISTIC_IMPLICIT, desired_bl=3)
    fields = {"forget_buffer": False, "buffer_cap": 0.5, "transfer_update": update}
    tile = made(make, transfer(DynamicTransferCompound, in_chop_prob=0.1, **fields))
    tile.set_device(0, [[0.0124]])
    rest(tile, 1.0)
    # 6.2 pulses, of which a train takes three; half a train of the rest stays.
    yield Found("buffer", tile.read("buffered_FP_weight"), 1.5, 100 * SUMS)
