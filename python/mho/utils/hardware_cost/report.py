"""Cost of a pass through a model."""

from dataclasses import dataclass
from typing import Any

from mho.documented import documented
from mho.utils.hardware_cost.counts import LayerCounts
from mho.utils.hardware_cost.energy import Parts, layer_energy, unpriced
from mho.utils.hardware_cost.peak import Peak, area_of_tile, peak, tile_area
from mho.utils.hardware_cost.quantity import Quantity, total
from mho.utils.hardware_cost.schedule import Schedule, Timing, timing
from mho.utils.hardware_cost.table import HardwareTable
from mho.utils.hardware_cost.text import report_text
from mho.utils.hardware_cost.training import TrainingCost


@documented
@dataclass(frozen=True)
class LayerCost:
    """Cost of a layer in one pass."""

    name: str
    """Full name in the model."""

    parts: Parts | None
    """Energy by what draws it; None if that of tiles is not known."""

    energy: Quantity | None
    """Sum of the parts."""

    latency: Quantity | None
    """From its first input to its last output."""

    area: Quantity | None
    """Area of its tiles; a layer that runs several times has them once."""

    tops_per_watt: Quantity | None
    """Operations of its tiles over its energy, in 1e12 per joule; None without tiles."""

    share: float
    """Share of the energy of all layers."""

    replicas: int = 1
    """Copies of it."""


@documented
@dataclass(frozen=True)
class CostReport:
    """Cost of one pass through a model; `str` of it is a table.

    Each number has a low and a high value. They are exact for extremes of the numbers of the table
    that have nothing to do with each other: a span, no confidence interval.
    """

    model: str
    """Name of the model."""

    table: HardwareTable
    """Hardware."""

    mode: str
    """Mode of the tiles."""

    schedule: Schedule
    """How layers share the hardware."""

    layers: tuple[LayerCost, ...]
    """Cost of the layers in the order in which they run."""

    counts: tuple[LayerCounts, ...]
    """Counts that the costs are made of."""

    batch: int
    """Samples of the pass."""

    energy: Quantity | None
    """Energy of all layers, of writing weights, and of what is drawn all the time."""

    latency: Quantity | None
    """Time of the pass."""

    interval: Quantity | None
    """Time between two passes."""

    area: Quantity | None
    """Area of all tiles, and of what is beside them."""

    tops_per_watt: Quantity | None
    """Effective efficiency: operations of the tiles over all energy, in 1e12 per joule."""

    tops: Quantity | None
    """Operations of the tiles per second, in units of 1e12."""

    peak: Peak
    """The same for full tiles alone."""

    timing: Timing | None
    """Times of all layers, rounds and reloads."""

    training: TrainingCost | None
    """Cost of a training step, if it was asked for."""

    notes: tuple[str, ...]
    """What is not included, and what had to be assumed."""

    @property
    def energy_per_sample(self) -> Quantity | None:
        """Energy of a pass over its samples."""
        return None if self.energy is None else self.energy * (1.0 / self.batch)

    def __str__(self) -> str:
        return report_text(self)

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers, for JSON."""
        return {
            "model": self.model,
            "table": self.table.name,
            "mode": self.mode,
            "schedule": self.schedule.kind,
            "batch": self.batch,
            **{n: _span(getattr(self, n)) for n in _TOTALS},
            "layers": [
                {
                    "name": layer.name,
                    "share": layer.share,
                    "replicas": layer.replicas,
                    **{n: _span(getattr(layer, n)) for n in LAYER_COSTS},
                    "parts": {n: _span(q) for n, q in (layer.parts or {}).items()},
                }
                for layer in self.layers
            ],
            "training": None
            if self.training is None
            else {n: _span(v) for n, v in vars(self.training).items() if n != "notes"},
            "notes": list(self.notes),
        }


LAYER_COSTS = ("energy", "latency", "area", "tops_per_watt")
"""Costs of a layer that are quantities."""

_TOTALS = ("energy", "latency", "interval", "area", "tops_per_watt", "tops")


def cost_report(
    model: str, layers: list[LayerCounts], table: HardwareTable, schedule: Schedule, batch: int
) -> CostReport:
    """Return the cost of a pass, without that of training.

    Args:
        model: Name of the model.
        layers: Counts of the layers in the order in which they run.
        table: Hardware.
        schedule: How they share it.
        batch: Samples of the pass.

    Raises:
        ArgumentError: The schedule copies a layer that does not exist.
        ConfigError: The schedule needs what the table does not say.
    """
    times = timing(layers, table, schedule)
    costs = _layer_costs(layers, table, times)
    energy = _with_extras(_sum_of(costs), layers, table, times)
    tiles = sum(
        layer.physical_tiles * cost.replicas for layer, cost in zip(layers, costs, strict=True)
    )
    if times is not None and times.rounds > 1:
        tiles = times.available
    operations = 2e-12 * sum(layer.macs for layer in layers)
    mode, passes = _mode_of(layers, table)
    has_interval = times is not None and times.interval.value > 0.0
    return CostReport(
        model=model,
        table=table,
        mode=mode,
        schedule=schedule,
        layers=costs,
        counts=tuple(layers),
        batch=batch,
        energy=energy,
        latency=None if times is None else times.latency,
        interval=None if times is None else times.interval,
        area=tile_area(table, tiles),
        tops_per_watt=None if energy is None else energy.under(operations, ""),
        tops=times.interval.under(operations, "") if times is not None and has_interval else None,
        peak=peak(table, max(1, tiles), mode or None, passes),
        timing=times,
        training=None,
        notes=tuple(_notes(layers, table, times)),
    )


def _layer_costs(
    layers: list[LayerCounts], table: HardwareTable, times: Timing | None
) -> tuple[LayerCost, ...]:
    parts = [layer_energy(layer, table) for layer in layers]
    energies = [None if p is None else total(list(p.values()), "J") for p in parts]
    everything = sum(energy.value for energy in energies if energy is not None)
    costs = []
    for i, (layer, energy) in enumerate(zip(layers, energies, strict=True)):
        time = None if times is None else times.layers[i]
        copies = 1 if time is None else time.replicas
        costs.append(
            LayerCost(
                name=layer.name,
                parts=parts[i],
                energy=energy,
                latency=None if time is None else time.latency,
                area=_area_of_layer(layer, table, copies),
                tops_per_watt=_efficiency(layer, energy),
                share=energy.value / everything if energy is not None and everything else 0.0,
                replicas=copies,
            )
        )
    return tuple(costs)


def _sum_of(costs: tuple[LayerCost, ...]) -> Quantity | None:
    """Return the energy of all layers, None if that of one is not known."""
    known = [cost.energy for cost in costs if cost.energy is not None]
    return total(known, "J") if len(known) == len(costs) else None


def _mode_of(layers: list[LayerCounts], table: HardwareTable) -> tuple[str, int]:
    """Return name of the mode and passes of the first tile."""
    for layer in layers:
        for tile in layer.tiles:
            precision = tile.precision
            name = table.mode_for(precision.asked_in, precision.asked_out)[0]
            return name, precision.passes
    return table.mode_for(None, None)[0], 1


def _area_of_layer(layer: LayerCounts, table: HardwareTable, copies: int) -> Quantity | None:
    area = area_of_tile(table)
    return None if area is None else area * (layer.physical_tiles * copies)


def _efficiency(layer: LayerCounts, energy: Quantity | None) -> Quantity | None:
    if energy is None or not layer.macs:
        return None
    return energy.under(2e-12 * layer.macs, "")


def _with_extras(
    energy: Quantity | None, layers: list[LayerCounts], table: HardwareTable, times: Timing | None
) -> Quantity | None:
    """Add what is drawn all the time, and the writing of weights."""
    if energy is None or times is None:
        return energy
    if table.chip.static_power is not None:
        energy = energy + table.chip.static_power.times(times.latency, "J")
    if times.reloads and table.write.energy is not None:
        energy = energy + table.write.energy * sum(layer.weights for layer in layers)
    return energy


def _notes(layers: list[LayerCounts], table: HardwareTable, times: Timing | None) -> list[str]:
    notes = [note for note, is_so in _gaps(table, times) if is_so]
    missing = dict.fromkeys(
        name
        for layer in layers
        if not (layer.tiles and table.digital.included)
        for name in unpriced(layer.digital, table)
    )
    if missing:
        notes.append(f"not included: energy of digital {', '.join(missing)}")
    if any(mode.energy is not None for mode in table.tile.mode.values()):
        notes.append('energy: from "fully gated" to "not gated"')
        if any(tile.precision.passes > 1 for layer in layers for tile in layer.tiles):
            notes.append("energy: that of whole products; passes of mv_type are not multiplied")
    own = [f"{layer.name or layer.layer_class}: {n}" for layer in layers for n in layer.notes]
    return _grouped([*notes, *own])


def _gaps(table: HardwareTable, times: Timing | None) -> list[tuple[str, bool]]:
    """Return what a table may lack, and whether it does."""
    has_rates = table.digital.rate is not None or table.memory.bandwidth is not None
    writes = times is not None and times.reloads > 0 and table.write.energy is not None
    return [
        ("not included: times, which the table does not have", times is None),
        ("latency: analog part only, the table has no digital rates", not has_rates),
        ("not included: static power", table.chip.static_power is None),
        (
            "not included: transfers between tiles",
            table.network.hop_byte is None and not table.digital.included,
        ),
        ("not included: programming", not writes),
    ]


def _grouped(notes: list[str]) -> list[str]:
    """Return notes with layers that have the same one put together."""
    groups: dict[str, list[str]] = {}
    for note in notes:
        head, _, rest = note.partition(": ")
        groups.setdefault(rest, []).append(head)
    return [
        f"{', '.join(heads) if len(heads) <= 4 else f'{len(heads)} layers'}: {rest}"
        for rest, heads in groups.items()
    ]


def _span(quantity: Any) -> Any:
    if not isinstance(quantity, Quantity):
        return None
    return {"low": quantity.low, "value": quantity.value, "high": quantity.high,
            "unit": quantity.unit}  # fmt: skip
