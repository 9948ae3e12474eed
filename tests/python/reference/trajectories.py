"""Whole trajectories in which no draw decides, to compare a tile with the transcription.

Inputs and errors are plus or minus one at random, the fast device gets exactly one pulse at every
crosspoint and sample, and writes are as many pulses as the buffer asks for. The rates of transfers
are no fractions of the steps, so that no buffer is ever at its threshold but for rounding; neither
is the accumulator of mixed precision, whose inputs and errors are any numbers.
"""

from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from mho.simulator.configs import (
    BufferedTransferCompound,
    ChoppedTransferCompound,
    DigitalRankUpdateRPUConfig,
    DynamicTransferCompound,
    PulseType,
    TransferCompound,
    UnitCellRPUConfig,
    UpdateParameters,
)
from reference.cases import Make
from reference.configs import mixed, transfer
from reference.pulses import Array

ROWS, COLUMNS, SAMPLES = 3, 4, 400
G_FAST, G_SLOW = 0.002, 0.01
WATCHED = ("weight", "hidden_weights_0", "hidden_weights_1")
BUFFERS = {
    BufferedTransferCompound: ("buffered_FP_weight_0",),
    ChoppedTransferCompound: ("buffered_FP_weight_0",),
    DynamicTransferCompound: ("buffered_FP_weight", "running_mean_weight", "past_mean_weight"),
}


@dataclass
class Trajectory:
    """A configuration with a learning rate and a number of samples per call."""

    config: UnitCellRPUConfig | DigitalRankUpdateRPUConfig
    lr: float
    watched: tuple[str, ...]
    batch: int = 1
    signs: bool = True
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        chosen = " ".join(f"{name}={value}" for name, value in self.options.items())
        return f"{type(self.config.device).__name__} {chosen}"

    def samples(self, number: int = SAMPLES) -> tuple[Array, Array]:
        """Return inputs ``[calls, batch, in]`` and errors ``[calls, batch, out]``."""
        rng, calls = np.random.default_rng(1), number // self.batch
        x, d = (
            rng.uniform(-1.0, 1.0, (calls, self.batch, size)).astype(np.float32)
            for size in (COLUMNS, ROWS)
        )
        return (np.sign(x), np.sign(d)) if self.signs else (x, d)

    def run(self, make: Make, number: int = SAMPLES) -> dict[str, Array]:
        """Return the watched planes after each call, shape ``[calls, out, in]``."""
        return self.follow(make, *self.samples(number))

    def follow(self, make: Make, x: Array, d: Array, lr: float | None = None) -> dict[str, Array]:
        """Return what ``run`` does for given samples and another learning rate."""
        rows, columns = d.shape[-1], x.shape[-1]
        tile = make(rows, columns, self.config)
        tile.set_weights(np.zeros((rows, columns)))
        found: dict[str, list[Array]] = {name: [] for name in self.watched}
        for x_call, d_call in zip(x, d, strict=True):
            tile.update(x_call, d_call, self.lr if lr is None else lr)
            for name, values in found.items():
                values.append(tile.read(name))
        return {name: np.stack(values) for name, values in found.items()}


def pulses_per_weight(case: Trajectory) -> float:
    """Return what one unit of the fast device adds to the buffer of a chopped cell."""
    cell = case.config.device
    assert isinstance(cell, ChoppedTransferCompound)
    lines = COLUMNS if cell.transfer_columns else ROWS
    threshold = cell.buffer_granularity * G_FAST
    if cell.auto_granularity:
        threshold *= cell.auto_granularity / (lines * cell.transfer_every)
    if cell.correct_gradient_magnitudes:
        threshold *= G_FAST * G_SLOW / G_FAST
    return case.lr * (case.options.get("gamma") or 1.0) / threshold


def exactly(longest: int) -> UpdateParameters:
    """Return parameters of writes that make exactly the wanted pulses, up to a number."""
    kind = PulseType.DETERMINISTIC_IMPLICIT
    return UpdateParameters(pulse_type=kind, desired_bl=longest, update_bl_management=True)


def chain(cls: type[Any], lr: float, longest: int, batch: int = 1, **options: Any) -> Trajectory:
    """Return the trajectory of a fast and a slow device."""
    fast = {"fast_lr": 1.0 if options.get("auto_scale") else G_FAST, "scale_fast_lr": False}
    config = transfer(cls, G_FAST, G_SLOW, **fast, transfer_update=exactly(longest), **options)
    config.update.desired_bl = 1
    watched = WATCHED + BUFFERS.get(cls, ())
    shown = {"N": longest, "batch": batch, **options}
    return Trajectory(config, lr, watched, batch, options=shown)


LONGEST = (1, 3, 5, 7)
SIDES = (True, False)


def plain() -> list[Trajectory]:
    """Return trajectories of the first two versions."""
    # The trains are longer than any write, which would otherwise be scaled to half pulses.
    direct = [
        chain(TransferCompound, 0.3313, 31, transfer_columns=columns, n_reads_per_transfer=reads)
        for columns, reads in product(SIDES, (1, 2))
    ]
    buffered = [
        chain(
            BufferedTransferCompound,
            0.1313,
            n,
            transfer_columns=columns,
            forget_buffer=forget,
            thres_scale=scale,
        )
        for columns, forget, scale, n in product(SIDES, SIDES, (1.0, 2.5), LONGEST)
    ]
    return direct + buffered


CHOPPED = {
    "transfer_columns": SIDES,
    "forget_buffer": SIDES,
    "auto_granularity": (0.0, 40.0),
    "no_buffer": SIDES,
    "correct_gradient_magnitudes": SIDES,
}
DYNAMIC = {
    "transfer_columns": SIDES,
    "forget_buffer": SIDES,
    "auto_granularity": (0.0, 40.0),
    "correct_gradient_magnitudes": SIDES,
    "buffer_cap": (0.0, 0.3),
}


def chopped(
    cls: type[Any], plain_lr: float, options: dict[str, tuple[Any, ...]], full: bool
) -> list[Trajectory]:
    """Return trajectories with choppers: of all lengths with all options, or of one with each."""
    result = []
    for i, values in enumerate(product(*options.values())):
        chosen = dict(zip(options, values, strict=True))
        # The corrected scale divides by the rate of the fast device and by the ratio of steps.
        lr = 0.00713 if chosen["correct_gradient_magnitudes"] else plain_lr
        rest = {
            "in_chop_prob": 0.2,
            "in_chop_random": False,
            "momentum": 0.3,
            "auto_scale": i % 3 == 0,
            "gamma": 0.5 if i % 5 == 0 else 0.0,
        }
        lengths = LONGEST if full else (LONGEST[i % 4],)
        result += [chain(cls, lr, n, (1, 5)[i % 2], **chosen, **rest) for n in lengths]
    return result


def mixed_precision() -> list[Trajectory]:
    """Return trajectories with a digital accumulator."""
    exact = UpdateParameters(pulse_type=PulseType.DETERMINISTIC_IMPLICIT)
    result = []
    for every, rows, batch in product((1, 2), (-1, 2), (1, 5)):
        config = mixed(G_SLOW, exact, transfer_every=every, n_rows_per_transfer=rows)
        watched = ("weight", "hidden_weights_chi")
        options = {"transfer_every": every, "n_rows_per_transfer": rows, "batch": batch}
        result.append(Trajectory(config, 0.00713, watched, batch, False, options))
    return result


def trajectories(full: bool = False) -> list[Trajectory]:
    """Return all of them."""
    return [
        *plain(),
        *chopped(ChoppedTransferCompound, 0.17191, CHOPPED, full),
        *chopped(DynamicTransferCompound, 0.1713, DYNAMIC, full),
        *mixed_precision(),
    ]
