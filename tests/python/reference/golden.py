"""Golden traces: what a tile must hold after each update, to the digits that are written here.

A case makes a tile with ``make(rows, columns, config)``, drives it through the functions of
``Subject`` and yields what it found and what is expected. Numbers are those of the standard's own
simulator, where it is right.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mho.simulator.configs import (
    BufferedTransferCompound,
    ChoppedTransferCompound,
    ConstantStepDevice,
    DigitalRankUpdateRPUConfig,
    DynamicTransferCompound,
    IOParameters,
    MixedPrecisionCompound,
    OneSidedUnitCell,
    PulseType,
    ReferenceUnitCell,
    TransferCompound,
    UnitCellRPUConfig,
    UpdateParameters,
    VectorUnitCell,
    VectorUnitCellUpdatePolicy,
)
from reference.unit_cells import Subject

Make = Callable[[int, int, Any], Subject]
Policy = VectorUnitCellUpdatePolicy


@dataclass
class Found:
    """A value of a tile, what it must be, and how many decimals of that are written."""

    what: str
    value: ArrayLike
    expected: ArrayLike
    atol: float

    def check(self) -> None:
        """Compare."""
        np.testing.assert_allclose(
            np.asarray(self.value, np.float64),
            self.expected,
            rtol=0,
            atol=self.atol,
            err_msg=self.what,
        )


Case = Callable[[Make], Iterator[Found]]
CASES: dict[str, Case] = {}
# Sums of a few hundred steps of weights below one are exact to this.
SUMS = 1e-6
A = 0.0043


def case(function: Case) -> Case:
    """Add a case to the list."""
    CASES[function.__name__] = function
    return function


def device(dw_min: float = 0.01, **fields: Any) -> ConstantStepDevice:
    """Return a device without any variability and with wide bounds."""
    spreads = [n for n in vars(ConstantStepDevice()) if n.endswith(("_dtod", "_std"))]
    given = dict.fromkeys(spreads, 0.0) | {"w_max": 1.0, "w_min": -1.0} | fields
    return ConstantStepDevice(dw_min=dw_min, **given)


def perfect() -> IOParameters:
    """Return a product without any error."""
    return IOParameters(is_perfect=True)


def unit_cell(cell: Any, **update: Any) -> UnitCellRPUConfig:
    """Return the configuration of a tile whose products are perfect."""
    return UnitCellRPUConfig(
        device=cell, forward=perfect(), backward=perfect(), update=UpdateParameters(**update)
    )


def transfer(cls: type[Any], g_fast: float = 0.002, g_slow: float = 0.01, **fields: Any) -> Any:
    """Return a chain of two devices that transfers after every sample."""
    given = {"units_in_mbatch": False, "transfer_forward": perfect()} | fields
    return unit_cell(cls(unit_cell_devices=[device(g_fast), device(g_slow)], **given))


def one(make: Make, config: Any) -> Subject:
    """Return a tile of one crosspoint with a weight of zero."""
    tile = make(1, 1, config)
    tile.set_weights([[0.0]])
    return tile


def rest(tile: Subject, lr: float, rows: int = 1, columns: int = 1, batch: int = 1) -> None:
    """Do an update that has no pulses, so that only the cell itself acts."""
    tile.update(np.zeros((batch, columns)), np.zeros((batch, rows)), lr)


def digits(text: str) -> float:
    """Return half a unit of the last decimal of a number, and what sums may be off."""
    decimals = len(text.partition(".")[2])
    return 0.5 * 10.0**-decimals + SUMS


def trace(
    tile: Subject,
    steps: int,
    columns: dict[str, str],
    update: Callable[[], None],
    units: dict[str, float] | None = None,
) -> Iterator[Found]:
    """Do updates; after each, compare the named values with the columns of numbers."""
    expected = {name: text.split() for name, text in columns.items()}
    assert {len(numbers) for numbers in expected.values()} == {steps}
    for step in range(steps):
        update()
        for name, numbers in expected.items():
            value, written = tile.read(name), numbers[step]
            atol = (units or {}).get(name, digits(written))
            yield Found(f"{name} after update {step + 1}", value, float(written), atol)


# --- G1, G2: the buffer of the second version -----------------------------------------------------

H, C, W = "buffered_FP_weight_0", "hidden_weights_1", "weight"
EXACT = {H: SUMS, C: SUMS, W: SUMS}


@case
def g1_buffer_forgets(make: Make) -> Iterator[Found]:
    tile = one(make, transfer(BufferedTransferCompound))
    tile.set_device(0, [[A]])
    columns = {
        H: ".0043 .0086 .00129 .00559 .00989 .00142 .00572 .001 .0053 .0096",
        C: "0 0 .01 .01 .01 .02 .02 .03 .03 .03",
    }
    # The buffer is written in units of 1e-5 where it is scaled by the momentum.
    yield from trace(tile, 10, columns, lambda: rest(tile, 1.0), {H: 0.6e-5, C: SUMS})


@case
def g2_buffer_keeps(make: Make) -> Iterator[Found]:
    tile = one(make, transfer(BufferedTransferCompound, forget_buffer=False))
    tile.set_device(0, [[A]])
    columns = {
        H: ".0043 .0086 .0039 .0082 .0035 .0078 .0031 .0074 .0027 .0070",
        C: "0 0 .01 .01 .02 .02 .03 .03 .04 .04",
    }
    yield from trace(tile, 10, columns, lambda: rest(tile, 1.0), EXACT)


@case
def g2_clipped_to_one_pulse(make: Make) -> Iterator[Found]:
    tile = one(make, transfer(BufferedTransferCompound, forget_buffer=False))
    tile.set_device(0, [[0.025]])
    columns = {H: ".016 .032 .048 .064 .080 .096", C: ".01 .02 .03 .04 .05 .06"}
    yield from trace(tile, 6, columns, lambda: rest(tile, 1.0), EXACT)


# --- G3, G4: choppers -----------------------------------------------------------------------------


@case
def g3_chopped(make: Make) -> Iterator[Found]:
    config = transfer(ChoppedTransferCompound, in_chop_prob=0.25, in_chop_random=False)
    tile = one(make, config)
    tile.set_device(0, [[A]])
    columns = {
        H: ".43 .86 0 .43 0 -.43 -.86 0 .43 .86 0 .43",
        C: "0 0 .01 .01 .01 .01 .01 0 0 0 .01 .01",
        "in_chopper": "0 0 0 1 1 1 1 0 0 0 0 1",
    }
    yield from trace(tile, 12, columns, lambda: rest(tile, 0.2), {H: 100 * SUMS, C: SUMS})


@case
def g4_dynamic(make: Make) -> Iterator[Found]:
    config = transfer(DynamicTransferCompound, in_chop_prob=0.25, tail_weightening=2.0)
    tile = one(make, config)

    def update() -> None:
        # The fast device has settled at the value that its sign asks for.
        tile.set_device(0, [[-A if tile.read("in_chopper").item() else A]])
        rest(tile, 0.2)

    columns = {
        "buffered_FP_weight": (".43 .86 0 .43 0 .83313 0 .83313 0 .80793 0 .80793"),
        "running_mean_weight": (
            ".00215 .00323 .00376 .00403 -.00013 -.00222 -.00326 -.00378 .00026 .00228 .00329 .0038"
        ),
        "past_mean_weight": ("0 0 0 0 .00403 .00403 .00403 .00403 -.00378 -.00378 -.00378 -.00378"),
        C: "0 0 0 0 0 0 .01 .01 .02 .02 .03 .03",
    }
    units = {
        "buffered_FP_weight": 0.6e-5,
        "running_mean_weight": 0.6e-5,
        "past_mean_weight": 0.6e-5,
        C: SUMS,
    }
    yield from trace(tile, 12, columns, update, units)


# --- G5: mixed precision --------------------------------------------------------------------------


def mixed(dw_min: float = 0.01, update: UpdateParameters | None = None, **fields: Any) -> Any:
    """Return the configuration of a tile with a digital accumulator."""
    return DigitalRankUpdateRPUConfig(
        device=MixedPrecisionCompound(device=device(dw_min), **fields),
        forward=perfect(),
        backward=perfect(),
        update=update or UpdateParameters(),
    )


@case
def g5_mixed_precision(make: Make) -> Iterator[Found]:
    tile = one(make, mixed())
    columns = {
        "hidden_weights_chi": ".0137 .0074 .0011 .0048 .0085 .0022",
        W: "0 -.02 -.04 -.05 -.06 -.08",
    }

    def update() -> None:
        tile.update([[1.0]], [[0.137]], 0.1)

    yield from trace(tile, 6, columns, update, {"hidden_weights_chi": SUMS, W: SUMS})


@case
def mixed_precision_loses_what_a_train_cannot_hold(make: Make) -> Iterator[Found]:
    tile = one(make, mixed(update=UpdateParameters(desired_bl=3)))
    tile.update([[1.0]], [[1.0]], 0.2)
    rest(tile, 0.2)
    yield Found("chi", tile.read("hidden_weights_chi"), 0.0, SUMS)
    yield Found("weight", tile.read(W), -0.03, SUMS)


# --- G6: refresh of one-sided pairs ---------------------------------------------------------------


def one_sided(dw_min: float = 0.01, **fields: Any) -> UnitCellRPUConfig:
    """Return the configuration of a tile of one-sided pairs that are refreshed at every sample."""
    pair = [device(dw_min, w_min=0.0), device(dw_min, w_min=0.0)]
    given = {"refresh_every": 1, "units_in_mbatch": False, "refresh_forward": perfect()} | fields
    return unit_cell(OneSidedUnitCell(unit_cell_devices=pair, **given))


def refreshed(tile: Subject, plus: float, minus: float) -> tuple[float, float]:
    """Return a pair after one refresh."""
    tile.set_device(1, [[plus]])
    tile.set_device(0, [[minus]])
    rest(tile, 1.0)
    return tile.read("hidden_weights_1").item(), tile.read("hidden_weights_0").item()


@case
def g6_refresh(make: Make) -> Iterator[Found]:
    tile = one(make, one_sided())
    for before, after in (
        ((0.9, 0.2), (0.9, 0.2)),
        ((0.7, 0.6), (0.7, 0.6)),
        ((0.5, 0.9), (0.0, 0.31)),
        ((0.8, 0.8), (0.0, 0.0)),
        # The standard takes 31 slots with a probability of 0.97 here, for its single precision.
        ((0.8, 0.5), (0.3, 0.0)),
    ):
        yield Found(f"pair of {before}", refreshed(tile, *before), after, SUMS)
        yield Found("weight", tile.read(W), after[0] - after[1], SUMS)


@case
def refresh_writes_no_more_than_one_train(make: Make) -> Iterator[Found]:
    tile = one(make, one_sided(0.001))
    yield Found("pair", refreshed(tile, 0.9, 0.5), (0.031, 0.0), SUMS)


@case
def one_sided_weights_are_split(make: Make) -> Iterator[Found]:
    tile = make(1, 2, one_sided(refresh_every=0))
    tile.set_weights([[0.3, -0.2]])
    yield Found("plus", tile.read("hidden_weights_1"), [[0.3, 0.0]], SUMS)
    yield Found("minus", tile.read("hidden_weights_0"), [[0.0, 0.2]], SUMS)
    # Pulses only ever go up: of the device for increases and of that for decreases.
    tile.update([[1.0, 1.0]], [[-1.0]], 0.01)
    tile.update([[1.0, -1.0]], [[1.0]], 0.01)
    yield Found("plus", tile.read("hidden_weights_1"), [[0.31, 0.02]], SUMS)
    yield Found("minus", tile.read("hidden_weights_0"), [[0.01, 0.2]], SUMS)
    yield Found("weight", tile.read(W), [[0.3, -0.18]], SUMS)


# --- G7 and the rules of setting weights ----------------------------------------------------------


def joint(policy: Policy, n: int = 3, **fields: Any) -> UnitCellRPUConfig:
    """Return the configuration of a tile of devices that are read together."""
    devices = [device() for _ in range(n)]
    return unit_cell(VectorUnitCell(unit_cell_devices=devices, update_policy=policy, **fields))


def all_devices(tile: Subject, n: int = 3) -> list[float]:
    """Return the hidden weights of one crosspoint."""
    return [tile.read(f"hidden_weights_{k}").item() for k in range(n)]


def pulse_down(tile: Subject) -> None:
    """Do one pulse down of a crosspoint."""
    tile.update([[1.0]], [[1.0]], 0.01)


@case
def g7_all(make: Make) -> Iterator[Found]:
    tile = make(1, 1, joint(Policy.ALL))
    tile.set_weights([[0.3]])
    pulse_down(tile)
    yield Found("devices", all_devices(tile), [0.29] * 3, SUMS)
    yield Found("weight", tile.read(W), 0.29, SUMS)


@case
def g7_sequential(make: Make) -> Iterator[Found]:
    tile = make(1, 1, joint(Policy.SINGLE_SEQUENTIAL))
    tile.set_weights([[0.3]])
    expected = [0.3] * 3
    for k in (1, 2, 0, 1):
        pulse_down(tile)
        expected[k] -= 0.01
        yield Found(f"devices after device {k}", all_devices(tile), list(expected), SUMS)
        yield Found("weight", tile.read(W), sum(expected) / 3, SUMS)


@case
def g7_sequential_per_sample(make: Make) -> Iterator[Found]:
    tile = make(1, 1, joint(Policy.SINGLE_SEQUENTIAL))
    tile.set_weights([[0.3]])
    tile.update(np.ones((3, 1)), np.ones((3, 1)), 0.01)
    yield Found("devices", all_devices(tile), [0.29] * 3, SUMS)


@case
def g7_fixed(make: Make) -> Iterator[Found]:
    tile = make(1, 1, joint(Policy.SINGLE_FIXED))
    for k in range(3):
        tile.set_device(k, [[0.0]])
    tile.set_weights([[0.3]])
    yield Found("weight", tile.read(W), 0.1, SUMS)
    pulse_down(tile)
    yield Found("devices", all_devices(tile), [0.29, 0.0, 0.0], SUMS)
    yield Found("weight", tile.read(W), 0.29 / 3, SUMS)


@case
def vector_reads_back_the_sum_of_gamma(make: Make) -> Iterator[Found]:
    for gamma, expected in (([1.0, 0.5], 0.45), ([1.0, -1.0], 0.0)):
        tile = make(1, 1, joint(Policy.ALL, 2, gamma_vec=gamma))
        tile.set_weights([[0.3]])
        yield Found(f"weight for {gamma}", tile.read(W), expected, SUMS)


@case
def reference_never_moves(make: Make) -> Iterator[Found]:
    for number in (1, 2, 3):
        devices = [device() for _ in range(number)]
        tile = make(1, 1, unit_cell(ReferenceUnitCell(unit_cell_devices=devices)))
        tile.set_device(1, [[0.0]])
        tile.set_weights([[0.3]])
        tile.choose(1)
        tile.set_weights([[0.1]])
        tile.choose(0)
        yield Found("weight", tile.read(W), 0.2, SUMS)
        pulse_down(tile)
        yield Found("devices", all_devices(tile, 2), [0.29, 0.1], SUMS)
        tile.set_weights([[0.5]])
        yield Found("weight", tile.read(W), 0.4, SUMS)


# --- schedules of transfers -----------------------------------------------------------------------

LINES = [[0.1, 0.2, 0.3]]


def after_calls(
    make: Make, calls: int, batch: int, config: Any, start: Sequence[Sequence[float]] = tuple(LINES)
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
