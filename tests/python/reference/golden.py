"""Golden traces: numbers of the standard's own simulator, where it is right."""

from collections.abc import Iterator

import numpy as np

from mho.simulator.configs import (
    BufferedTransferCompound,
    ChoppedTransferCompound,
    DynamicTransferCompound,
    ReferenceUnitCell,
    UpdateParameters,
)
from reference.cases import SUMS, Found, Make, case, one, rest, trace
from reference.configs import Policy, device, joint, mixed, one_sided, transfer, unit_cell
from reference.unit_cells import Subject

A = 0.0043
H, C, W = "buffered_FP_weight_0", "hidden_weights_1", "weight"
EXACT = {H: SUMS, C: SUMS, W: SUMS}

# --- the buffer of the second version -------------------------------------------------------------


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


# --- choppers -------------------------------------------------------------------------------------


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


# --- mixed precision ------------------------------------------------------------------------------


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


# --- one-sided pairs ------------------------------------------------------------------------------


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


# --- devices that are read together ---------------------------------------------------------------


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
