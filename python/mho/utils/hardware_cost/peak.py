"""What tiles of some hardware do when they are used in full, and how large they are."""

from dataclasses import dataclass

from mho.documented import documented
from mho.simulator.parameters.arguments import check_size
from mho.simulator.parameters.signatures import checked
from mho.utils.hardware_cost.energy import full_tile, tile_energy
from mho.utils.hardware_cost.quantity import Quantity, exactly, total
from mho.utils.hardware_cost.schedule import mode_times
from mho.utils.hardware_cost.table import HardwareTable


@documented
@dataclass(frozen=True)
class Peak:
    """What tiles do that are used in full, alone."""

    energy_per_mvm: Quantity | None
    """Energy of a product on a tile."""

    latency: Quantity | None
    """Time of a product."""

    tops: Quantity | None
    """Operations per second of all tiles, in units of 1e12; a MAC is two."""

    tops_per_watt: Quantity | None
    """Operations per energy, in units of 1e12 per joule."""

    area: Quantity | None
    """Area of all tiles and of what is beside them."""

    power: Quantity | None
    """Power of all tiles."""

    @property
    def tops_per_mm2(self) -> float | None:
        """Operations per second and area, in units of 1e12 per square millimetre."""
        if self.tops is None or self.area is None:
            return None
        return self.tops.value / (self.area.value * 1e6)


@checked
def peak(table: HardwareTable, tiles: int = 1, mode: str | None = None, passes: int = 1) -> Peak:
    """Return what full tiles do, one product after another.

    Args:
        table: Hardware.
        tiles: Number of tiles.
        mode: Name of a mode; None takes that of the table.
        passes: Passes of a product, for tables with the cost of one.

    Raises:
        ArgumentError: A number is not positive.
        ConfigError: The table has no such mode.
    """
    check_size("tiles", tiles)
    check_size("passes", passes)
    if mode is not None:
        table = table.replace(default_mode=mode)
    chosen = table.mode_for(table.tile.input_bits, table.tile.output_bits)[1]
    full = full_tile(table, chosen, passes)
    parts = tile_energy(full, table)
    energy = None if parts is None else total(list(parts.values()), "J")
    latency, interval = mode_times(chosen, passes)
    operations = 2.0 * full.macs
    is_timed = latency.value > 0.0
    tops = interval.under(operations * tiles * 1e-12, "") if is_timed else None
    power = None
    if energy is not None and is_timed:
        rate = interval.under(float(tiles), "Hz")
        power = Quantity(
            energy.value * rate.value, energy.low * rate.low, energy.high * rate.high, "W"
        )
    return Peak(
        energy,
        latency if is_timed else None,
        tops,
        None if energy is None else energy.under(operations * 1e-12, ""),
        tile_area(table, tiles),
        power,
    )


def tile_area(table: HardwareTable, tiles: int) -> Quantity | None:
    """Return the area of tiles and of what is beside them on the chip, None if it is not known.

    Args:
        table: Hardware.
        tiles: Number of tiles.
    """
    area = area_of_tile(table)
    if area is None:
        return None
    return area * tiles + (table.chip.area or exactly(0.0, "m2"))


def area_of_tile(table: HardwareTable) -> Quantity | None:
    """Return the area of a tile, `R a_dac + C a_adc / share + R C a_cell + a_rest` if not given.

    Args:
        table: Hardware.
    """
    part = table.tile
    if part.area is not None:
        return part.area
    if part.rows is None or part.cols is None or table.cell.area is None:
        return None
    sums = [table.cell.area * (part.rows * part.cols)]
    for converter, number in ((table.dac, part.rows), (table.adc, part.cols)):
        if converter.area is not None:
            sums.append(converter.area * (number / (converter.share or 1)))
    if part.rest_area is not None:
        sums.append(part.rest_area)
    return total(sums, "m2")


def has_costs(table: HardwareTable) -> bool:
    """Return whether a table says anything of what tiles cost.

    Args:
        table: Hardware.
    """
    return table.has_tile_energy() or table.has_latency() or area_of_tile(table) is not None
