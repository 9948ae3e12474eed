"""Energy of products and of digital operations."""

from collections.abc import Mapping

from mho.utils.hardware_cost.counts import LayerCounts
from mho.utils.hardware_cost.digital_work import OPERATIONS_PER_ELEMENT, DigitalCounts
from mho.utils.hardware_cost.geometry import Precision, TileCounts
from mho.utils.hardware_cost.parts import DigitalPart, Mode
from mho.utils.hardware_cost.quantity import Quantity, exactly, total
from mho.utils.hardware_cost.table import HardwareTable

Parts = dict[str, Quantity]
"""Energies by what draws them."""

_FULL = exactly(1.0)


def layer_energy(layer: LayerCounts, table: HardwareTable) -> Parts | None:
    """Return the energy of a layer in one pass by what draws it, None if that of tiles is unknown.

    Args:
        layer: Its counts.
        table: Hardware.
    """
    parts: Parts = {}
    for tile in layer.tiles:
        found = tile_energy(tile, table)
        if found is None:
            return None
        add_parts(parts, found)
    if not (layer.tiles and table.digital.included):
        add_parts(parts, digital_energy(layer.digital, layer.bytes_moved, table))
    return parts


def tile_energy(tile: TileCounts, table: HardwareTable) -> Parts | None:
    """Return the energy of all products of one tile of a layer, None if it is unknown.

    A table with the energy of a whole product gives that of the used share of it,
    `E (g + (1 - g) used / all)`, where `g` is what is drawn whatever is used; low is `g = 0`, high
    `g = 1`. Others give the sum over converters and cells.

    Args:
        tile: Counts.
        table: Hardware.
    """
    if not table.has_tile_energy():
        return None
    asked = tile.precision.asked_in, tile.precision.asked_out
    mode = table.mode_for(*asked)[1]
    if mode.energy is not None:
        return {"array": _lumped(tile, mode, mode.energy)}
    passes = tile.precision.passes * tile.mvms
    samples = tile.out_size * tile.slices * passes * tile.row_blocks
    single = {
        "adc": (table.adc.energy_for(asked[1]), tile.adc_conversions),
        "dac": (table.dac.energy_for(asked[0]), tile.dac_conversions),
        "cells": (table.cell.energy, tile.cells * passes),
        "sample_hold": (table.sample.energy, samples),
    }
    parts = {name: energy * count for name, (energy, count) in single.items() if energy is not None}
    products = tile.mvms * tile.physical_tiles
    return parts | {name: energy * products for name, energy in table.fixed.items()}


def full_tile(table: HardwareTable, mode: Mode, passes: int) -> TileCounts:
    """Return the counts of one product that uses all of a tile.

    Args:
        table: Hardware; without a size its tile is 256 x 256.
        mode: Mode.
        passes: Passes of a product.
    """
    slices = 1
    if table.tile.weight_bits is not None and table.tile.cell_bits is not None:
        slices = -(-table.tile.weight_bits // table.tile.cell_bits)
    rows, cols = table.tile.rows or 256, table.tile.cols or 256
    bits = mode.input_bits or table.tile.input_bits, mode.output_bits or table.tile.output_bits
    precision = Precision(bits[0] or 8, bits[1] or 8, passes, *bits)
    devices = table.tile.devices_per_weight or 1
    return TileCounts("", cols // slices, rows, rows, cols, slices, devices, precision, 1)


def digital_energy(counts: DigitalCounts, bytes_moved: int, table: HardwareTable) -> Parts:
    """Return the energy of digital operations, of buffers and of transfers.

    What the table has no energy for is left out.

    Args:
        counts: Operations.
        bytes_moved: Bytes to and from buffers.
        table: Hardware.
    """
    digital = table.digital
    scale = 1.0 if digital.scale is None else 1.0 / digital.scale.value
    single = (
        (counts.macs, mac_energy(digital)),
        (counts.additions, digital.add_int32),
        (counts.multiplications, digital.mul_fp16 or digital.mul_int8),
        (counts.comparisons, digital.add_int8),
        (OPERATIONS_PER_ELEMENT * counts.elements, _addition_energy(digital)),
    )
    known = [energy * count for count, energy in single if count and energy is not None]
    parts: Parts = {}
    if known:
        parts["digital"] = total(known, "J") * scale
    if bytes_moved and table.memory.read_byte is not None:
        parts["memory"] = table.memory.read_byte * bytes_moved
    if bytes_moved and table.network.hop_byte is not None:
        hops = table.network.hops or exactly(1.0)
        parts["network"] = (table.network.hop_byte * bytes_moved).times(hops, "J")
    return parts


def mac_energy(digital: DigitalPart) -> Quantity | None:
    """Return the energy of a digital MAC: low in 8 bits, value in half, high in single precision.

    Args:
        digital: Digital units; what they have no energies for is left out.
    """
    kinds = (
        (digital.mul_int8, digital.add_int32),
        (digital.mul_fp16, digital.add_fp16),
        (digital.mul_fp32, digital.add_fp32),
    )
    return _spanned([a + b if a is not None and b is not None else None for a, b in kinds])


def unpriced(counts: DigitalCounts, table: HardwareTable) -> list[str]:
    """Return names of digital operations that the table has no energy for.

    Args:
        counts: Operations.
        table: Hardware.
    """
    digital = table.digital
    single = {
        "macs": (counts.macs, mac_energy(digital)),
        "additions": (counts.additions, digital.add_int32),
        "multiplications": (counts.multiplications, digital.mul_fp16 or digital.mul_int8),
        "comparisons": (counts.comparisons, digital.add_int8),
        "activations": (counts.elements, _addition_energy(digital)),
    }
    return [name for name, (count, energy) in single.items() if count and energy is None]


def backward_energy(tile: TileCounts, table: HardwareTable) -> Parts | None:
    """Return the energy of as many transposed products: outputs drive the columns, lines are read.

    Args:
        tile: Counts of the products.
        table: Hardware.
    """
    found = tile_energy(tile, table)
    if found is None or "array" in found:
        return found
    passes = tile.precision.passes * tile.mvms
    driven = tile.out_size * tile.slices * passes * (1 if tile.shared_dac else tile.row_blocks)
    read = (tile.rows * tile.row_blocks if tile.converts_all_columns else tile.in_size) * passes
    single = {
        "adc": (table.adc.energy_for(tile.precision.asked_in), read * tile.col_blocks),
        "dac": (table.dac.energy_for(tile.precision.asked_out), driven),
        "sample_hold": (table.sample.energy, tile.in_size * passes * tile.col_blocks),
    }
    swapped = {name: energy * n for name, (energy, n) in single.items() if energy is not None}
    return found | swapped


def add_parts(parts: Parts, more: Mapping[str, Quantity]) -> None:
    """Add energies by name, in place.

    Args:
        parts: Changed.
        more: What is added.
    """
    for name, energy in more.items():
        parts[name] = parts[name] + energy if name in parts else energy


def _lumped(tile: TileCounts, mode: Mode, energy: Quantity) -> Quantity:
    full = tile.physical_tiles * tile.mvms
    used = tile.cells / (tile.rows * tile.cols) * tile.mvms
    share = (mode.gating or _FULL).value
    return Quantity(
        energy.value * (share * full + (1.0 - share) * used),
        energy.low * min(used, full),
        energy.high * full,
        "J",
    )


def _addition_energy(digital: DigitalPart) -> Quantity | None:
    return _spanned([digital.add_int8, digital.add_fp16, digital.add_fp32])


def _spanned(kinds: list[Quantity | None]) -> Quantity | None:
    """Return a span from the first to the last known energy, with the one in the middle."""
    known = [kind for kind in kinds if kind is not None]
    if not known:
        return None
    middle = known[len(known) // 2]
    low, high = min(k.low for k in known), max(k.high for k in known)
    return Quantity(middle.value, low, high, "J")
