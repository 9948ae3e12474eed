"""Rules that make the training algorithms learn, whatever the device.

Each of them follows from how fast the fast device forgets, see `Forgetting`. What is set by which
rule, and what it is worth, stands in docs/tuning.md.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mho.exceptions import ConfigError
from mho.simulator.devices.bounds import bounds
from mho.simulator.devices.cells.buffered_transfer import BufferedTransferCompound
from mho.simulator.devices.cells.chopped_transfer import ChoppedTransferCompound
from mho.simulator.devices.cells.custom import CustomCompound
from mho.simulator.devices.cells.dynamic_transfer import DynamicTransferCompound
from mho.simulator.devices.cells.mixed_precision import MixedPrecisionCompound
from mho.simulator.devices.cells.transfer import TransferCompound
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.devices.rules.residual import residual, weights_of_devices
from mho.simulator.parameters.training import MOST_PULSES
from mho.simulator.parameters.tuning import TuningParameter
from mho.simulator.tuning import gains
from mho.simulator.tuning.asymmetry import FLOOR, NO_PULL, Asymmetry, asymmetry
from mho.simulator.tuning.explanation import Explanation, read_noise
from mho.simulator.tuning.remarks import add_remarks

Buffered = BufferedTransferCompound | ChoppedTransferCompound

LONGEST_TRAIN = 31
"""Most pulses that a vector, or a transfer, asks for."""

LONGEST_WAIT = 16
"""Sweeps that the fast device is given to collect, even if it remembers more: a slow device that
follows sums over a longer past overshoots, and a reference over it starts too late."""

MEMORIES, FEWEST_MEMORIES, MEMORIES_TO_REFERENCE = 6.0, 2.0, 3.0
"""Memories of the fast device between two flips of a chopper: as many as that make the gain large,
the least with which signs do not cancel, and what a reference needs."""

SHORTEST_PERIOD = 4
"""Least sweeps between two flips, of a device that forgets within one."""

STATES_PER_PULSE = 40
"""States of the slow device for each pulse that a transfer may write."""

GAMMA, VISIBLE_STEP = 0.3, 0.01
"""Weight of the fast device of the first version, which answers at once to what the slow one, that
follows a long past, does too much; and the largest step of it that may be seen in the weight."""

VECTORS_PER_WRITE = 64
"""Vectors that mixed precision collects before it writes, at the rate of the learning rate."""

LEVELS, MOST_DEVICES = 256, 8
"""Values that the weight of residual learning is to have, as a byte does, and the most devices for
that: what is published has two to eight."""

RESIDUAL = {"period": 1, "base": 5, "rate": 0.1, "growth": 1.2}
"""Periods and rates of residual learning, coarse devices rarely. Published trainings, which are ten
times as long, transfer every fifth batch; in a short one that is too rare for a sweep."""

GRADIENT = 0.2
"""Largest input times largest error of a sample, before a loss is averaged over the samples."""


@dataclass(frozen=True)
class Forgetting:
    """How fast the fast device forgets."""

    step: float
    """Mean change by one pulse."""

    slope: Asymmetry
    """Asymmetry of its steps."""

    sweep: float
    """Vectors until every column, or row, was transferred once."""

    pulses: float
    """Pulses per vector at the crosspoint of the largest input and the largest error."""

    leak: float
    """Share of its weight that it forgets per sweep."""

    @property
    def kappa(self) -> float:
        """Asymmetry that counts."""
        return max(self.slope.kappa, FLOOR)

    @property
    def relaxes(self) -> bool:
        """Whether it forgets at all."""
        return self.slope.kappa >= NO_PULL


def forgetting(device: CrosspointDevice, sweep: float, rho: float) -> Forgetting:
    """Return how fast a fast device forgets at the largest number of pulses that leaves a sweep.

    Args:
        device: Fast device.
        sweep: Vectors until every column, or row, was transferred once.
        rho: Mean over largest product of input and error.
    """
    step, slope = device.calc_weight_granularity(), asymmetry(device)
    per_pulse = step * max(slope.kappa, FLOOR) * rho * sweep
    pulses = min(float(LONGEST_TRAIN), 1.0 / per_pulse)
    return Forgetting(step, slope, sweep, pulses, pulses * per_pulse)


def tuned(config: Any, out_size: int, in_size: int, parameters: TuningParameter) -> Explanation:
    """Return the settings of a tile, in a copy of its configuration, and what they follow from.

    Args:
        config: Configuration with one of the cells that there are rules for.
        out_size: Number of rows of the tile.
        in_size: Number of columns of the tile, that of an analog bias included.
        parameters: What else the settings follow from.

    Raises:
        ConfigError: The configuration is invalid, or there is no rule for its device; the message
            names the field.
    """
    parameters.check("tuning")
    device = getattr(config, "device", None)
    rule = next((RULES[cls] for cls in type(device).__mro__ if cls in RULES), None)
    if rule is None:
        known = ", ".join(cls.__name__ for cls in RULES)
        raise ConfigError(
            f"device: there are no settings to derive for {type(device).__name__}; use one of"
            f" {known}, or leave tuning off"
        )
    if isinstance(device, CustomCompound):
        device.check_for_tile()
    else:
        config.core_wire()
    own = copy.deepcopy(config)
    if "tuning" in vars(own):
        own.tuning = None
    table = rule(own, out_size, in_size, parameters)
    add_remarks(table, parameters)
    return table


def _transfer(
    config: Any, out_size: int, in_size: int, parameters: TuningParameter
) -> tuple[Forgetting, Explanation]:
    """Set what all transfers have in common: one slice after each vector, and pulses per vector."""
    cell: TransferCompound = config.device
    number = len(cell.unit_cell_devices)
    if number != 2:
        raise ConfigError(
            f"device.unit_cell_devices: the settings of two devices can be derived, got {number}"
        )
    cell.units_in_mbatch, cell.transfer_every, cell.transfer_every_vec = False, 1.0, []
    cell.scale_fast_lr, cell.scale_transfer_lr, cell.transfer_lr_vec = False, True, []
    slices = in_size if cell.transfer_columns else out_size
    fast, slow = cell.unit_cell_devices
    found = forgetting(fast, slices / cell.n_reads_per_transfer, parameters.rho)
    config.update.desired_bl = math.ceil(found.pulses)
    config.update.update_management = config.update.update_bl_management = True
    low, high = bounds(slow)
    step = slow.calc_weight_granularity()
    table = Explanation(
        config=config,
        rows=out_size,
        columns=in_size,
        rate=parameters.v,
        fast_step=found.step,
        slow_step=step,
        kappa=found.slope.kappa,
        symmetry_point=found.slope.symmetry_point,
        pulses=found.pulses,
        leak=found.leak,
        sweep=found.sweep,
        states=(high - low) / step,
        read_noise=read_noise(cell.transfer_forward),
        signal=math.sqrt(found.step / (2.0 * found.kappa)),
    )
    return found, table


def _tiki_taka(
    config: Any, out_size: int, in_size: int, parameters: TuningParameter
) -> Explanation:
    """First version, whose fast device is read at once with the slow one."""
    table = _scaled_by_hand(config, out_size, in_size, parameters)
    cell: TransferCompound = config.device
    if not cell.gamma_vec and cell.gamma == 0.0:
        cell.gamma = min(GAMMA, VISIBLE_STEP / (table.fast_step or VISIBLE_STEP))
    return table


def _buffered(config: Any, out_size: int, in_size: int, parameters: TuningParameter) -> Explanation:
    """Second version with the threshold in units of the weight."""
    table = _scaled_by_hand(config, out_size, in_size, parameters)
    cell: BufferedTransferCompound = config.device
    cell.transfer_lr /= _factor_of_gammas(cell)
    cell.thres_scale = 1.0
    _write_whole_pulses(cell, table)
    return table


def _scaled_by_hand(
    config: Any, out_size: int, in_size: int, parameters: TuningParameter
) -> Explanation:
    """Set rates where nothing measures the size of the gradients: it is assumed."""
    cell: TransferCompound = config.device
    found, table = _transfer(config, out_size, in_size, parameters)
    gain = _counted(gains.gain_without_chopper(found.leak), found, table)
    cell.fast_lr = found.pulses * found.step * parameters.batch / GRADIENT
    cell.transfer_lr = parameters.v / (gain * cell.fast_lr)
    return table


def _chopped(config: Any, out_size: int, in_size: int, parameters: TuningParameter) -> Explanation:
    """Second version, with choppers unless they were switched off."""
    cell: ChoppedTransferCompound = config.device
    found, table = _transfer(config, out_size, in_size, parameters)
    if cell.in_chop_prob > 0.0 and found.relaxes:
        period = _period(MEMORIES, FEWEST_MEMORIES, found, parameters)
        _flip_regularly(cell, period, table)
        gain = gains.gain_with_chopper(found.leak, period)
    else:
        # A device that keeps everything would add up nothing under changing signs; nor has it a
        # symmetry point that they were to cancel.
        if cell.in_chop_prob > 0.0:
            table.warnings.append(
                f"kappa is {found.slope.kappa:.2g}: the fast device does not relax, so choppers"
                " would cancel all that it collects and are switched off; agad needs no relaxation"
            )
        cell.in_chop_prob, cell.out_chop_prob = 0.0, 0.0
        gain = gains.gain_without_chopper(found.leak)
    _scale_by_gradients(cell, found, _counted(gain, found, table) / parameters.v)
    _write_whole_pulses(cell, table)
    return table


def _dynamic(config: Any, out_size: int, in_size: int, parameters: TuningParameter) -> Explanation:
    """Fourth version, whose reference is the end of the last chopper period."""
    cell: DynamicTransferCompound = config.device
    found, table = _transfer(config, out_size, in_size, parameters)
    period = min(_period(MEMORIES_TO_REFERENCE, 0.0, found, parameters), LONGEST_WAIT)
    _flip_regularly(cell, period, table)
    table.gain = gain = gains.gain_with_reference(found.leak, period, cell.tail_weightening)
    _scale_by_gradients(cell, found, gain / parameters.v)
    _write_whole_pulses(cell, table)
    return table


def _mixed_precision(
    config: Any, out_size: int, in_size: int, parameters: TuningParameter
) -> Explanation:
    """Fewer and longer writes: every pulse up and down pulls the weight to the symmetry point."""
    cell: MixedPrecisionCompound = config.device
    step, slope = cell.calc_weight_granularity(), asymmetry(cell.device)
    cell.transfer_every = math.ceil(VECTORS_PER_WRITE / (parameters.batch * parameters.v))
    cell.transfer_lr = parameters.v
    low, high = bounds(cell.device)
    states = (high - low) / step
    # Counts beyond the train are lost; no train is longer than its counts.
    config.update.desired_bl = math.ceil(min(max(states, LONGEST_TRAIN), MOST_PULSES))
    return Explanation(
        config=config,
        rows=out_size,
        columns=in_size,
        rate=parameters.v,
        slow_step=step,
        kappa=slope.kappa,
        symmetry_point=slope.symmetry_point,
        states=states,
        sweep=float(cell.transfer_every * parameters.batch),
    )


def _residual(config: Any, out_size: int, in_size: int, parameters: TuningParameter) -> Explanation:
    """As many devices as the weight needs, each a digit."""
    cell: CustomCompound = config.device
    if cell.rule is not residual:
        raise ConfigError(
            "device.rule: the settings of the rule `residual` can be derived; leave tuning off"
        )
    devices = cell.unit_cell_devices
    low, high = bounds(devices[0])
    step, slope = devices[0].calc_weight_granularity(), asymmetry(devices[0])
    states = (high - low) / step
    # Devices that somebody chose one by one stay.
    if all(device == devices[0] for device in devices):
        digits = math.ceil(math.log(LEVELS) / math.log(max(states, 2.0)))
        number = min(max(digits, 2), MOST_DEVICES)
        cell.unit_cell_devices = [copy.deepcopy(devices[0]) for _ in range(number)]
    cell.gamma_vec = weights_of_devices(states, len(cell.unit_cell_devices))
    cell.params = {**cell.params, **RESIDUAL, "fast": parameters.v}
    return Explanation(
        config=config,
        rows=out_size,
        columns=in_size,
        rate=parameters.v,
        slow_step=step,
        kappa=slope.kappa,
        symmetry_point=slope.symmetry_point,
        states=states,
        sweep=float(RESIDUAL["period"] * parameters.batch * in_size),
    )


def _counted(gain: float, found: Forgetting, table: Explanation) -> float:
    """Return the gain that the slow device follows, no more than it can wait for."""
    table.gain = counted = min(gain, float(LONGEST_WAIT))
    if found.relaxes:
        table.rate *= gain / counted
    return counted


def _period(most: float, least: float, found: Forgetting, parameters: TuningParameter) -> int:
    """Return the sweeps between two flips, that many memories if the training is long enough.

    Four periods have to fit into it.
    """
    memories = most / found.leak
    if parameters.vectors is not None:
        fitting = parameters.vectors / (4 * found.sweep)
        memories = min(memories, max(fitting, least / found.leak))
    return max(SHORTEST_PERIOD, math.ceil(memories))


def _flip_regularly(cell: ChoppedTransferCompound, period: int, table: Explanation) -> None:
    table.period = period
    cell.in_chop_prob, cell.in_chop_random = _frequency(period), False


def _frequency(period: int) -> float:
    """Return a frequency whose inverse, rounded up, is the period; that of 1/49 would be 50."""
    frequency = 1.0 / period
    return frequency if math.ceil(1.0 / frequency) == period else math.nextafter(frequency, 1.0)


def _scale_by_gradients(cell: ChoppedTransferCompound, found: Forgetting, buffer: float) -> None:
    """Divide what is collected by the size of the gradients, and by the size of the buffer."""
    cell.fast_lr, cell.auto_scale = found.pulses / math.ceil(found.pulses), True
    cell.correct_gradient_magnitudes, cell.auto_granularity = True, 0.0
    cell.transfer_lr, cell.no_buffer = 1.0, False
    cell.buffer_granularity = buffer * _factor_of_gammas(cell)


def _factor_of_gammas(cell: TransferCompound) -> float:
    """Return by what buffered transfers are multiplied if the fast device is read as well."""
    fast, slow = cell.gamma_vec or [cell.gamma, 1.0]
    return fast / slow if fast > 0.0 and slow > 0.0 else 1.0


def _write_whole_pulses(cell: Buffered, table: Explanation) -> None:
    """Let the buffer keep what was not written, and write as fast as the slow device allows."""
    cell.forget_buffer, cell.step, cell.momentum = False, 1.0, 0.0
    train = max(round(min(table.states / STATES_PER_PULSE, LONGEST_TRAIN)), 1)
    cell.transfer_update.desired_bl = table.writes = train
    cell.transfer_update.update_management = True
    cell.transfer_update.update_bl_management = True


Rule = Callable[[Any, int, int, TuningParameter], Explanation]

RULES: dict[type, Rule] = {
    TransferCompound: _tiki_taka,
    BufferedTransferCompound: _buffered,
    ChoppedTransferCompound: _chopped,
    DynamicTransferCompound: _dynamic,
    MixedPrecisionCompound: _mixed_precision,
    CustomCompound: _residual,
}
"""Rule by class of the cell; subclasses have that of the nearest one that is here."""
