"""Energy and time of a training step: forward, backward and update."""

from dataclasses import dataclass, field, replace
from typing import Any

from mho.documented import documented
from mho.simulator.devices.cells.digital_rank_update import DigitalRankUpdateCell
from mho.simulator.devices.cells.transfer import TransferCompound
from mho.simulator.parameters.signatures import checked
from mho.utils.hardware_cost.counts import LayerCounts
from mho.utils.hardware_cost.digital_work import DigitalCounts
from mho.utils.hardware_cost.energy import backward_energy, digital_energy, tile_energy
from mho.utils.hardware_cost.geometry import TileCounts
from mho.utils.hardware_cost.quantity import Quantity, exactly, total
from mho.utils.hardware_cost.schedule import product_times
from mho.utils.hardware_cost.table import HardwareTable
from mho.utils.hardware_cost.updates import UpdateCounts, UpdateRecord, is_pulsed


@documented
@dataclass(frozen=True)
class UpdateCost:
    """Energy and time of updates by pulses."""

    energy: Quantity | None
    """Energy; None if the table does not say what a pulse or a line costs."""

    latency: Quantity | None
    """Time; None if the table does not say how long a slot is."""


@documented
@dataclass(frozen=True)
class TrainingCost:
    """Energy and time of one training step with the inputs of the pass."""

    forward: Quantity | None
    """Energy of the products, as in inference."""

    backward: Quantity | None
    """Energy of the transposed products of pulsed tiles."""

    update: Quantity | None
    """Energy of the pulses; None if their number or their energy is not known."""

    digital: Quantity
    """Energy of gradients that are digital, and of digital updates."""

    transfers: Quantity
    """Energy of reads between the devices of cells."""

    energy: Quantity | None
    """All of it."""

    latency_update: Quantity | None
    """Time of the updates."""

    latency: Quantity | None
    """Time of the step: forward, backward, update."""

    notes: tuple[str, ...]
    """What is not included."""


@checked
def update_cost(counts: UpdateCounts, table: HardwareTable) -> UpdateCost:
    """Return what pulses cost.

    The energy is that of coincidences, of driven lines, of half-selected devices and of slots; the
    time is that of all slots, one after another.

    Args:
        counts: Pulses.
        table: Hardware; what its `update` lacks of these is left out, but not both pulses and
            lines.
    """
    update = table.update
    pulse, half = update.pulse_energy(), update.half_energy()
    known = [
        energy * number
        for energy, number in (
            (pulse, counts.pulses),
            (update.line, counts.line_pulses),
            (half, counts.half_selected),
            (update.slot_energy, counts.slots),
        )
        if energy is not None
    ]
    is_known = pulse is not None or update.line is not None
    energy = total(known, "J") if is_known else None
    return UpdateCost(energy, None if update.slot is None else update.slot * counts.slots)


def training_cost(
    layers: list[LayerCounts],
    configs: dict[str, Any],
    table: HardwareTable,
    record: UpdateRecord,
    latency: Quantity | None,
    batch: int,
) -> TrainingCost:
    """Return the cost of a training step.

    Args:
        layers: Counts of the layers in one pass.
        configs: Configuration of each tile, by full name.
        table: Hardware.
        record: Pulses of updates; scaled to the vectors of the pass.
        latency: Time of the pass.
        batch: Samples of the pass.
    """
    step = _Step(table, record, batch)
    for layer in layers:
        step.add(layer, configs)
        if latency is not None:
            latency = latency + _backward_time(layer, configs, table)
    forward, backward, update = map(_total, (step.forward, step.backward, step.update))
    digital, transfers = (total(part, "J") for part in (step.digital, step.transfers))
    energy = _total([forward, backward, update, digital, transfers])
    time = _total(step.times, "s")
    whole = None if time is None or latency is None else latency + time
    return TrainingCost(
        forward, backward, update, digital, transfers, energy, time, whole, tuple(step.notes)
    )


@dataclass
class _Step:
    """Collects the energies of all tiles, and the times of the updates of all layers."""

    table: HardwareTable
    record: UpdateRecord
    batch: int
    forward: list[Quantity | None] = field(default_factory=list)
    backward: list[Quantity | None] = field(default_factory=list)
    update: list[Quantity | None] = field(default_factory=list)
    digital: list[Quantity] = field(default_factory=list)
    transfers: list[Quantity] = field(default_factory=list)
    times: list[Quantity | None] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)

    def add(self, layer: LayerCounts, configs: dict[str, Any]) -> None:
        """Add a layer, whose tiles are updated at once."""
        times: list[Quantity | None] = []
        for tile in layer.tiles:
            config = configs[tile.name]
            self.forward.append(_sum(tile_energy(tile, self.table)))
            if not is_pulsed(config):
                # Gradients of inputs and of weights.
                self.digital.append(_digital_macs(2 * tile.macs, self.table))
                continue
            self.backward.append(_sum(backward_energy(tile, self.table)))
            if tile.mvms:
                times.append(self._add_update(tile, config.device))
        self.times.append(None if None in times else _largest(times))

    def _add_update(self, tile: TileCounts, device: Any) -> Quantity | None:
        """Add the update of a tile; return its time."""
        if isinstance(device, DigitalRankUpdateCell):
            self.digital.append(_digital_macs(tile.macs, self.table))
            self.notes[f"pulses of {type(device).__name__}, which writes now and then"] = None
            return exactly(0.0, "s")
        self.transfers.append(_transfer_energy(tile, device, self.table, self.batch, self.notes))
        cost = _cost_of_tile(tile, self.table, self.record, self.notes)
        self.update.append(cost.energy)
        return cost.latency


def _backward_time(layer: LayerCounts, configs: dict[str, Any], table: HardwareTable) -> Quantity:
    """Return the time of the transposed products of a layer; all tiles work at once."""
    if not layer.mvms or not any(is_pulsed(configs[tile.name]) for tile in layer.tiles):
        return exactly(0.0, "s")
    latency, interval = product_times(layer, table)
    return latency + interval * (layer.mvms - 1)


def _largest(times: list[Any]) -> Quantity:
    return max(times, key=lambda time: time.value, default=exactly(0.0, "s"))


def _cost_of_tile(
    tile: TileCounts, table: HardwareTable, record: UpdateRecord, notes: dict[str, None]
) -> UpdateCost:
    """Return what the updates with the vectors of a pass cost."""
    if table.update.pulse_energy() is None and table.update.line is None:
        notes["energy of updates: the table has no update.pulse and update.line"] = None
    counts = record.tiles.get(tile.name)
    if counts is None or not counts.samples:
        notes[
            "pulses of updates: call loss.backward() before, or hand over what record_updates"
            " recorded; those of cells are not predicted"
        ] = None
        return UpdateCost(None, None)
    share = tile.mvms / counts.samples
    names = ("pulses", "line_pulses", "half_selected", "slots")
    scaled = {name: getattr(counts, name) * share for name in names}
    return update_cost(replace(counts, samples=tile.mvms, **scaled), table)


def _transfer_energy(
    tile: TileCounts, device: Any, table: HardwareTable, batch: int, notes: dict[str, None]
) -> Quantity:
    """Return the energy of the reads between devices: one line is driven, all others are read."""
    nothing = exactly(0.0, "J")
    if not isinstance(device, TransferCompound):
        return nothing
    notes["pulses of transfers between devices"] = None
    period = device.transfer_every
    if not period > 0.0:
        if period < 0.0:
            notes["reads of transfers whose period follows from the device"] = None
        return nothing
    reads = device.n_reads_per_transfer / period * tile.mvms
    reads = reads / batch if device.units_in_mbatch else reads
    if device.transfer_columns:
        found = tile_energy(replace(tile, in_size=1, mvms=1), table)
    else:
        found = backward_energy(replace(tile, out_size=1, mvms=1), table)
    return nothing if found is None else total(list(found.values()), "J") * reads


def _digital_macs(macs: int, table: HardwareTable) -> Quantity:
    return total(list(digital_energy(DigitalCounts(macs=macs), 0, table).values()), "J")


def _sum(parts: Any) -> Quantity | None:
    return None if parts is None else total(list(parts.values()), "J")


def _total(parts: list[Quantity | None], unit: str = "J") -> Quantity | None:
    known = [part for part in parts if part is not None]
    return total(known, unit) if len(known) == len(parts) else None
