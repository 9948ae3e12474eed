"""How many pulses the updates of a training step need."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from mho.documented import documented
from mho.exceptions import ConfigError, InputError, TileError
from mho.optim.context import Pair
from mho.optim.trace import rows_of
from mho.simulator.devices.cells.transfer import TransferCompound
from mho.simulator.devices.pulsed import PulsedDevice
from mho.simulator.parameters.arguments import check_not_negative
from mho.simulator.parameters.enums import PulseType
from mho.simulator.parameters.signatures import checked
from mho.simulator.parameters.training import UpdateParameters
from mho.simulator.raw_tiles.rows import check_tensor
from mho.utils.hardware_cost.execution import analog_layers, as_written, tiles_of

_STOCHASTIC = (PulseType.STOCHASTIC, PulseType.STOCHASTIC_COMPRESSED)
_TRAINS = (*_STOCHASTIC, PulseType.MEAN_COUNT, PulseType.DETERMINISTIC_IMPLICIT)


@documented
@dataclass(frozen=True)
class UpdateCounts:
    """Pulses of updates, summed over samples; expected values where pulses are random."""

    samples: int
    """Pairs of an input vector and an error vector."""

    pulses: float
    """Coincidences: pulses that a device gets."""

    line_pulses: float
    """Pulses on input and on output lines."""

    half_selected: float
    """Devices that get a pulse of one of their two lines only, summed over slots."""

    slots: float
    """Slots of the pulse trains."""

    is_counted: bool = False
    """Whether `pulses` were counted by the devices instead of expected."""

    def __add__(self, other: "UpdateCounts") -> "UpdateCounts":
        return UpdateCounts(
            self.samples + other.samples,
            self.pulses + other.pulses,
            self.line_pulses + other.line_pulses,
            self.half_selected + other.half_selected,
            self.slots + other.slots,
            self.is_counted and other.is_counted,
        )

    def counted(self, pulses: int) -> "UpdateCounts":
        """Return the same with counted coincidences; the lines stay what they are.

        Args:
            pulses: Coincidences.
        """
        half = self.half_selected + 2.0 * (self.pulses - pulses)
        return UpdateCounts(
            self.samples, float(pulses), self.line_pulses, max(0.0, half), self.slots, True
        )


@checked
def counts_of_probabilities(p: Tensor, q: Tensor, slots: Tensor | int) -> UpdateCounts:
    """Return the pulses that are expected of stochastic trains.

    A slot of an input line has a pulse with probability `p`, one of an output line with `q`, and a
    device gets a pulse where both have one. Half-selected are the devices of all other pulses on
    lines.

    Args:
        p: Probabilities of the inputs, shape `[samples, in]` or `[in]`; above one is always.
        q: Probabilities of the outputs, shape `[samples, out]` or `[out]`.
        slots: Slots of each sample.

    Raises:
        InputError: Numbers of samples differ, or there are no lines.
    """
    _check_lines(p=p, q=q)
    p, q = (v.reshape(-1, v.shape[-1]).double().clamp(0.0, 1.0) for v in (p, q))
    length = torch.as_tensor(slots, dtype=torch.float64, device=p.device).expand(len(p))
    columns, rows = length * p.sum(1), length * q.sum(1)
    pulses = length * p.sum(1) * q.sum(1)
    half = columns * q.shape[1] + rows * p.shape[1] - 2.0 * pulses
    sums = [float(v.sum()) for v in (pulses, columns + rows, half, length)]
    return UpdateCounts(len(p), sums[0], sums[1], sums[2], sums[3])


@checked
def counts_of_vectors(
    x: Tensor, d: Tensor, rate: float, granularity: float, update: UpdateParameters
) -> UpdateCounts | None:
    """Return the pulses of an update, None for updates without pulses.

    Args:
        x: Inputs as the array sees them, shape `[samples, in]`.
        d: Errors, shape `[samples, out]`.
        rate: Learning rate of the raw weights.
        granularity: Change of a weight by one pulse.
        update: How vectors become pulses.

    Raises:
        ArgumentError: A number is negative or not finite.
        InputError: Vectors are no matrices with as many samples each.
    """
    _check_lines(x=x, d=d)
    if x.dim() != 2 or d.dim() != 2:
        raise InputError(
            f"x, d: expected [samples, in] and [samples, out], got {[*x.shape]} and {[*d.shape]}"
        )
    check_not_negative("rate", rate)
    check_not_negative("granularity", granularity)
    if update.pulse_type not in _TRAINS or granularity <= 0.0:
        return None
    p, q, slots = probabilities(x, d, rate, granularity, update)
    if update.pulse_type in _STOCHASTIC:
        return counts_of_probabilities(_binned(p, update.res), _binned(q, update.res), slots)
    return _counts_without_chance(p, q, slots, update)


def _check_lines(**values: Tensor) -> None:
    """Refuse values of lines that do not belong to the same samples."""
    for name, value in values.items():
        check_tensor(value, name)
        if value.dim() not in (1, 2) or not value.shape[-1]:
            raise InputError(f"{name}: expected a vector or a matrix, got shape {[*value.shape]}")
    sizes = {name: value.reshape(-1, value.shape[-1]).shape[0] for name, value in values.items()}
    if len(set(sizes.values())) > 1:
        raise InputError(f"{', '.join(values)}: numbers of samples differ, got {sizes}")


def probabilities(
    x: Tensor, d: Tensor, rate: float, granularity: float, update: UpdateParameters
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the probabilities of pulses by Gokmen and Vlasov (2016), and the slots of each sample.

    With management of the length a sample has as many slots as the largest product asks for, at
    most `desired_bl`; with management of the update inputs and errors have equal largest
    probabilities.

    Args:
        x: Inputs, shape `[samples, in]`.
        d: Errors, shape `[samples, out]`.
        rate: Learning rate.
        granularity: Change of a weight by one pulse.
        update: How vectors become pulses.

    Returns:
        Shapes `[samples, in]`, `[samples, out]` and `[samples]`; not limited to one.
    """
    x, d = x.detach().double().abs(), d.detach().double().abs()
    most = float(update.desired_bl)
    largest_x, largest_d = x.amax(1), d.amax(1)
    slots, scale = _slots_and_scale(len(x), rate, granularity, update)
    slots, scale = slots.to(x.device), scale.to(x.device)
    if not (update.update_management or update.update_bl_management):
        return scale[:, None] * x, scale[:, None] * d, slots
    is_moving = (largest_x > 0.0) & (largest_d > 0.0) & (rate > 0.0)
    largest_x = torch.where(is_moving, largest_x, 1.0)
    error = update.um_grad_scale * torch.where(is_moving, largest_d, 1.0)
    wanted = rate * largest_x * error / granularity
    if update.update_bl_management:
        slots = torch.ceil(wanted * (1.0 - 1e-6)).clamp(1.0, most)
        scale = torch.sqrt(rate / (granularity * slots))
    error = torch.where(wanted > most, error * most / wanted, error)
    on_x, on_d = scale * torch.sqrt(error / largest_x), scale * torch.sqrt(largest_x / error)
    return on_x[:, None] * x, on_d[:, None] * d, torch.where(is_moving, slots, 0.0)


def _slots_and_scale(
    samples: int, rate: float, granularity: float, update: UpdateParameters
) -> tuple[Tensor, Tensor]:
    """Return slots and scale of a sample before management."""
    most = float(update.desired_bl)
    if update.fixed_bl or update.update_bl_management or granularity * most >= rate:
        slots, scale = most, (rate / (granularity * most)) ** 0.5
    else:
        slots, scale = max(1.0, float(torch.tensor(rate / granularity).ceil())), 1.0
    slots = slots if rate > 0.0 else 0.0
    return tuple(torch.full((samples,), v, dtype=torch.float64) for v in (slots, scale))  # type: ignore[return-value]


def _binned(values: Tensor, width: float) -> Tensor:
    if width <= 0.0:
        return values
    width = 1.0 / width if width > 1.0 else width
    return torch.round(values / width) * width


def _counts_without_chance(
    p: Tensor, q: Tensor, slots: Tensor, update: UpdateParameters
) -> UpdateCounts:
    """Return the pulses of trains that are numbers, not draws."""
    if update.pulse_type is PulseType.MEAN_COUNT:
        p, q = (
            torch.minimum(torch.round(slots[:, None] * _binned(v, update.res)), slots[:, None])
            / slots.clamp(min=1.0)[:, None]
            for v in (p, q)
        )
    else:
        p = _binned(p, update.x_res_implicit).clamp(0.0, 1.0)
        q = _binned(q, update.d_res_implicit).clamp(0.0, 1.0)
    pulses = sum(
        float(torch.round(n * torch.outer(b, a)).sum()) for a, b, n in zip(p, q, slots, strict=True)
    )
    columns, rows = (float((slots * v.sum(1)).sum()) for v in (p, q))
    half = columns * q.shape[1] + rows * p.shape[1] - 2.0 * pulses
    return UpdateCounts(len(p), pulses, columns + rows, max(0.0, half), float(slots.sum()))


@documented
@dataclass
class UpdateRecord:
    """Pulses of the updates of a model, by full name of the tile."""

    tiles: dict[str, UpdateCounts] = field(default_factory=dict)
    """Counts of tiles that were updated by pulses."""

    def add(self, name: str, counts: UpdateCounts) -> None:
        """Add the pulses of an update.

        Args:
            name: Full name of the tile.
            counts: Its pulses.
        """
        self.tiles[name] = self.tiles[name] + counts if name in self.tiles else counts


@checked
@contextmanager
def record_updates(model: nn.Module) -> Iterator[UpdateRecord]:
    """Record the pulses of all steps of optimizers in the block.

    Coincidences are those that devices with `count_pulses` have counted, and expected ones for
    others; pulses on lines are expected ones.

    Args:
        model: Model that is trained in the block.

    Raises:
        ArgumentError: It is no module.
    """
    record, tiles = UpdateRecord(), dict(_named_tiles(as_written(model)))
    before = {name: _counted(tile) for name, tile in tiles.items()}

    def look(optimizer: Any, args: Any, kwargs: Any) -> None:
        rates = {id(p): g.get("lr") for g in optimizer.param_groups for p in g["params"]}
        for name, tile in tiles.items():
            if id(tile.analog_ctx) in rates:
                found = pending_updates(tile, rates[id(tile.analog_ctx)])
                if found is not None:
                    record.add(name, found)

    handle = register_optimizer_step_pre_hook(look)
    try:
        yield record
    finally:
        handle.remove()
        for name, tile in tiles.items():
            start, end = before[name], _counted(tile)
            if start is not None and end is not None and name in record.tiles:
                record.tiles[name] = record.tiles[name].counted(end - start)


def pending_record(model: nn.Module) -> UpdateRecord:
    """Return the pulses of the step that the last backward passes have prepared.

    Args:
        model: Model after `loss.backward()`, before the step of its optimizer.
    """
    record = UpdateRecord()
    for name, tile in _named_tiles(model):
        found = pending_updates(tile, None)
        if found is not None:
            record.add(name, found)
    return record


def pending_updates(tile: Any, rate: float | None) -> UpdateCounts | None:
    """Return the pulses of the step that waits for a tile.

    Args:
        tile: Tile.
        rate: Learning rate of the step; None takes the present one of the tile.

    Returns:
        None if nothing waits, or if the update has no pulses or not those of a plain device.
    """
    update, pairs = getattr(tile.rpu_config, "update", None), tile.analog_ctx.pairs()
    if not isinstance(update, UpdateParameters) or not pairs or tile.analog_ctx.use_torch_update:
        return None
    present = tile.tile.get_learning_rate()
    raw = present if rate is None else float(rate) * tile.mapping_lr_scale
    device, raw = _pulsed(tile.rpu_config.device, raw)
    if device is None or raw is None:
        return None
    step = device.calc_weight_granularity()
    found = [counts_of_vectors(*_vectors(tile, pair), raw, step, update) for pair in pairs]
    known = [counts for counts in found if counts is not None]
    if not known:
        return None
    result = known[0]
    for counts in known[1:]:
        result = result + counts
    return result


def is_pulsed(config: Any) -> bool:
    """Return whether a configuration trains weights by pulses.

    Args:
        config: Configuration of a tile.
    """
    update = getattr(config, "update", None)
    return isinstance(update, UpdateParameters) and update.pulse_type in _TRAINS


def _pulsed(device: Any, rate: float | None) -> tuple[Any, float | None]:
    """Return the device that gets the pulses of an update, and its learning rate."""
    if isinstance(device, PulsedDevice):
        return device, rate
    if type(device) is TransferCompound:
        fast = device.unit_cell_devices[0]
        if device.fast_lr > 0.0 and rate is not None:
            rate = device.fast_lr * (rate if device.scale_fast_lr else 1.0)
        return (fast, rate) if isinstance(fast, PulsedDevice) else (None, None)
    return None, None


def _vectors(tile: Any, pair: Pair) -> tuple[Tensor, Tensor]:
    """Return inputs and errors of an update as the devices see them."""
    pair = pair.with_rows()
    x = rows_of(pair.x, tile.in_trans)
    if pair.bias is not None:
        x = torch.cat([x, x.new_full((x.shape[0], 1), pair.bias)], dim=1)
    return x, tile.scales.unscale(rows_of(pair.d, tile.out_trans), -1)


def _named_tiles(model: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, layer in analog_layers(model):
        for inner, tile in tiles_of(layer):
            yield ".".join(part for part in (name, inner) if part), tile


def _counted(tile: Any) -> int | None:
    """Return how many pulses the devices of a tile have counted, None if they do not count."""
    try:
        return int(tile.get_pulse_counters().sum())
    except (ConfigError, TileError):
        return None
