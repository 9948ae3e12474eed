"""When the layers of a model run, and how long one pass takes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mho.documented import documented
from mho.exceptions import ArgumentError, ConfigError
from mho.simulator.parameters.arguments import check_mapping, check_size
from mho.simulator.parameters.signatures import checked
from mho.utils.hardware_cost.counts import LayerCounts
from mho.utils.hardware_cost.parts import Mode
from mho.utils.hardware_cost.quantity import Quantity, exactly, total
from mho.utils.hardware_cost.table import HardwareTable

KINDS = ("resident", "pipelined", "time_shared")


@documented
@dataclass(frozen=True)
class Schedule:
    """How layers share the hardware."""

    kind: str = "resident"
    """`"resident"`: every tile of a layer has physical tiles of its own, one pass after another.
    `"pipelined"`: the same, layers work on several passes at once. `"time_shared"`: weights are
    written anew if the chip has too few tiles."""

    available_tiles: int | None = None
    """Physical tiles of the chip; by default those of the table."""

    replicas: Mapping[str, int] | str = field(default_factory=dict)
    """Copies of layers by name, whose products they share; `"balance"` makes the least number with
    which no layer takes longer than the slowest linear one, within the tiles that there are."""


@documented
@dataclass(frozen=True)
class LayerTime:
    """Times of a layer in one pass."""

    latency: Quantity
    """From its first input to its last output."""

    interval: Quantity
    """For how long it is occupied."""

    replicas: int = 1
    """Copies of it."""


@documented
@dataclass(frozen=True)
class Timing:
    """Times of one pass."""

    layers: tuple[LayerTime, ...]
    """Those of the layers, in their order."""

    latency: Quantity
    """From the inputs to the outputs of the model."""

    interval: Quantity
    """Between two passes."""

    rounds: int = 1
    """How often the tiles of the chip are filled for a pass."""

    reloads: int = 0
    """Tiles that are written anew in each pass."""

    available: int = 0
    """Tiles of the chip, if they are shared."""


def as_schedule(given: Any) -> Schedule:
    """Return a schedule.

    Args:
        given: Schedule, or its kind.

    Raises:
        ArgumentError: It is none.
    """
    schedule = Schedule(given) if isinstance(given, str) else given
    if not isinstance(schedule, Schedule) or schedule.kind not in KINDS:
        raise ArgumentError(f"schedule: expected a Schedule or one of {', '.join(KINDS)}")
    if schedule.available_tiles is not None:
        check_size("schedule.available_tiles", schedule.available_tiles)
    if isinstance(schedule.replicas, str):
        if schedule.replicas != "balance":
            raise ArgumentError(
                "schedule.replicas: expected numbers by name of the layer, or 'balance'"
            )
    else:
        for name, number in check_mapping("schedule.replicas", schedule.replicas).items():
            check_size(f"schedule.replicas[{name!r}]", number)
    return schedule


def timing(layers: list[LayerCounts], table: HardwareTable, schedule: Schedule) -> Timing | None:
    """Return the times of one pass, None if the table has no time of a product.

    Args:
        layers: Counts of the layers in the order in which they run.
        table: Hardware.
        schedule: How they share it.

    Raises:
        ArgumentError: A replicated layer does not exist.
        ConfigError: Tiles have to be shared or copied, and the table does not say how many there
            are, how long a weight is written, or how long a product takes.
    """
    if not table.has_latency():
        if schedule != Schedule():
            raise ConfigError(
                f"tile.mode: the table {table.name} has no time of a product, without which"
                " schedule can only be 'resident'"
            )
        return None
    copies = replicas_of(layers, table, schedule)
    times = tuple(_layer_time(layer, table, copies.get(layer.name, 1)) for layer in layers)
    latency = total([time.latency for time in times], "s")
    interval = latency
    if schedule.kind == "pipelined":
        interval = _largest([time.interval for time in times])
    if schedule.kind != "time_shared":
        return Timing(times, latency, interval)
    needed = sum(layer.physical_tiles * copies.get(layer.name, 1) for layer in layers)
    available = _available(table, schedule)
    rounds, reloads = rounds_and_reloads(needed, available)
    if rounds > 1:
        if table.write.time is None:
            raise ConfigError(
                f"write.time: a chip of {available} tiles is filled {rounds}"
                " times in each pass, and the table does not say how long a weight is written"
            )
        latency = latency + table.write.time * sum(layer.weights for layer in layers)
    return Timing(times, latency, latency, rounds, reloads, available)


@checked
def rounds_and_reloads(needed: int, available: int) -> tuple[int, int]:
    """Return how often a chip is filled, and how many tiles are written in each pass.

    Args:
        needed: Physical tiles of a model.
        available: Physical tiles of the chip.

    Raises:
        ArgumentError: One is no positive integer.
    """
    rounds = math.ceil(check_size("needed", needed) / check_size("available", available))
    return rounds, needed if rounds > 1 else 0


def replicas_of(
    layers: list[LayerCounts], table: HardwareTable, schedule: Schedule
) -> Mapping[str, int]:
    """Return the copies of the layers by name.

    Args:
        layers: Counts of the layers.
        table: Hardware.
        schedule: What is wanted.

    Raises:
        ArgumentError: A layer with a number of copies does not exist or has no tiles.
        ConfigError: To balance, the number of tiles has to be known.
    """
    analog = [layer for layer in layers if layer.tiles and layer.mvms]
    if schedule.replicas == "balance":
        return _balanced(analog, table, _available(table, schedule))
    chosen: Any = schedule.replicas
    unknown = [name for name in chosen if name not in {layer.name for layer in analog}]
    if unknown:
        raise ArgumentError(f"schedule.replicas: there is no executed analog layer {unknown[0]!r}")
    return dict(chosen)


def product_times(layer: LayerCounts, table: HardwareTable) -> tuple[Quantity, Quantity]:
    """Return latency and interval of one product of a layer.

    Args:
        layer: Counts of a layer with tiles.
        table: Hardware with the time of a product.
    """
    precision = layer.tiles[0].precision
    mode = table.mode_for(precision.asked_in, precision.asked_out)[1]
    return mode_times(mode, precision.passes)


def mode_times(mode: Mode, passes: int) -> tuple[Quantity, Quantity]:
    """Return latency and interval of one product.

    Args:
        mode: Mode of a table.
        passes: Passes of a product.
    """
    latency = mode.latency
    if latency is None:
        latency = exactly(0.0, "s") if mode.pass_latency is None else mode.pass_latency * passes
    return latency, mode.interval or latency


def digital_time(layer: LayerCounts, table: HardwareTable) -> Quantity:
    """Return the time of the digital operations and transfers of a layer; 0 without rates.

    Args:
        layer: Counts.
        table: Hardware.
    """
    time = exactly(0.0, "s")
    if table.digital.rate is not None:
        rate = table.digital.rate * (table.digital.units or 1)
        time = time + rate.under(layer.digital.operations, "s")
    if table.memory.bandwidth is not None:
        time = time + table.memory.bandwidth.under(layer.bytes_moved, "s")
    return time


def _layer_time(layer: LayerCounts, table: HardwareTable, copies: int) -> LayerTime:
    digital = digital_time(layer, table)
    if not layer.tiles or not layer.mvms:
        return LayerTime(digital, digital)
    latency, interval = product_times(layer, table)
    share = math.ceil(layer.mvms / copies)
    occupied = _largest([interval * share, digital])
    return LayerTime(latency + interval * (share - 1) + digital, occupied, copies)


def _balanced(layers: list[LayerCounts], table: HardwareTable, available: int) -> dict[str, int]:
    """Return the smallest numbers of copies with which no layer is the slowest by far."""
    work = {layer.name: layer.mvms * product_times(layer, table)[1].value for layer in layers}
    if not layers or not max(work.values()):
        return {}
    linear = [work[layer.name] for layer in layers if layer.is_linear]
    target = max(linear) if linear else min(work.values())
    # A longer interval needs fewer copies: intervals at which some layer needs one less.
    longer = sorted(
        {
            layer.mvms * product_times(layer, table)[1].value / k
            for layer in layers
            for k in range(1, _copies(layer, work, target) + 1)
        }
        | {target}
    )
    for interval in (value for value in longer if value >= target):
        copies = {layer.name: _copies(layer, work, interval) for layer in layers}
        if sum(layer.physical_tiles * copies[layer.name] for layer in layers) <= available:
            return copies
    return {}


def _copies(layer: LayerCounts, work: Mapping[str, float], interval: float) -> int:
    # Rounding must not ask for one more.
    return max(1, min(layer.mvms, math.ceil(work[layer.name] / interval * (1.0 - 1e-12))))


def _available(table: HardwareTable, schedule: Schedule) -> int:
    available = schedule.available_tiles or table.chip.tiles
    if available is None:
        raise ConfigError(
            "chip.tiles: the table does not say how many tiles there are; set"
            " Schedule(available_tiles=...)"
        )
    return available


def _largest(times: list[Quantity]) -> Quantity:
    if not times:
        return exactly(0.0, "s")
    value, low, high = (max(getattr(t, n) for t in times) for n in ("value", "low", "high"))
    return Quantity(value, low, high, "s")
