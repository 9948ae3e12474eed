"""What the products of one tile of a layer are on the tiles of some hardware: exact counts."""

import math
from dataclasses import dataclass
from typing import Any

import torch

from mho.documented import documented
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters.enums import AnalogMVType, NoiseManagementType
from mho.simulator.parameters.io import IOParameters
from mho.utils.hardware_cost.parts import TilePart
from mho.utils.hardware_cost.table import HardwareTable

_DEFAULT_BITS = 8
_TWO_PASSES = (
    AnalogMVType.POS_NEG_SEPARATE,
    AnalogMVType.POS_NEG_SEPARATE_DIGITAL_SUM,
    AnalogMVType.SPLIT_MODE,
)


@documented
@dataclass(frozen=True)
class Precision:
    """Converters and passes of a product."""

    bits_in: int
    """Bits of an input."""

    bits_out: int
    """Bits of an output."""

    passes: int
    """Passes through the array for one product."""

    asked_in: int | None
    """Bits of an input that the configuration asks for, None if it leaves them open."""

    asked_out: int | None
    """Bits of an output in the same way."""

    notes: tuple[str, ...] = ()
    """What had to be assumed."""


@documented
@dataclass(frozen=True)
class TileCounts:
    """Counts of one tile of a layer on physical tiles; no energies."""

    name: str
    """Full name of the tile in the model."""

    out_size: int
    """Outputs of the tile."""

    in_size: int
    """Inputs of the tile, with one for an analog bias."""

    rows: int
    """Input lines of a physical tile."""

    cols: int
    """Columns of a physical tile."""

    slices: int
    """Columns of a weight."""

    devices_per_weight: int
    """Devices of a weight, or of a slice of it."""

    precision: Precision
    """Converters and passes."""

    mvms: int
    """Products of vectors with the weights of the tile."""

    shared_dac: bool = False
    """Whether converted inputs serve all physical tiles side by side."""

    converts_all_columns: bool = False
    """Whether unused columns are converted as well."""

    @property
    def row_blocks(self) -> int:
        """Physical tiles that the inputs are spread over."""
        return _ceil(self.in_size, self.rows)

    @property
    def col_blocks(self) -> int:
        """Physical tiles that the outputs are spread over."""
        return _ceil(self.out_size * self.slices, self.cols)

    @property
    def physical_tiles(self) -> int:
        """Physical tiles; the last ones are partly filled."""
        return self.row_blocks * self.col_blocks

    @property
    def cells(self) -> int:
        """Cells of the weights, slices counted one by one."""
        return self.in_size * self.out_size * self.slices

    @property
    def macs(self) -> int:
        """Multiplications of a weight with an input, each with an addition."""
        return self.in_size * self.out_size * self.mvms

    @property
    def dac_conversions(self) -> int:
        """Conversions of inputs."""
        blocks = 1 if self.shared_dac else self.col_blocks
        return self.in_size * self.precision.passes * self.mvms * blocks

    @property
    def adc_conversions(self) -> int:
        """Conversions of outputs; each row block converts its own sums."""
        used = self.out_size * self.slices
        columns = self.cols * self.col_blocks if self.converts_all_columns else used
        return columns * self.precision.passes * self.mvms * self.row_blocks

    @property
    def cell_reads(self) -> int:
        """Reads of devices."""
        return self.cells * self.devices_per_weight * self.precision.passes * self.mvms

    @property
    def utilisation(self) -> float:
        """Share of the cells of the physical tiles that hold weights."""
        return self.cells / (self.physical_tiles * self.rows * self.cols)

    @property
    def bytes_in(self) -> int:
        """Bytes of inputs; each row block takes its own."""
        return self.in_size * _ceil(self.precision.bits_in, 8) * self.mvms

    @property
    def bytes_out(self) -> int:
        """Bytes of outputs; each row block sends sums for all of them."""
        return self.out_size * _ceil(self.precision.bits_out, 8) * self.mvms * self.row_blocks


def tile_counts(
    name: str, out_size: int, in_size: int, config: Any, mvms: int, table: HardwareTable | None
) -> TileCounts:
    """Return the counts of one tile of a layer.

    Args:
        name: Name of the tile.
        out_size: Number of outputs.
        in_size: Number of inputs, with one for an analog bias.
        config: Configuration of the tile.
        mvms: Number of products.
        table: Hardware; None is a tile as large as the mapping allows, without slices.
    """
    part = TilePart() if table is None else table.tile
    limits = largest_tile(config)
    slices = 1
    if part.weight_bits is not None and part.cell_bits is not None:
        slices = _ceil(part.weight_bits, part.cell_bits)
    return TileCounts(
        name=name,
        out_size=out_size,
        in_size=in_size,
        rows=part.rows or limits[1] or in_size,
        cols=part.cols or limits[0] or out_size * slices,
        slices=slices,
        devices_per_weight=part.devices_per_weight or devices_per_weight(config),
        precision=precision(config, table),
        mvms=mvms,
        shared_dac=part.shared_dac,
        converts_all_columns=part.converts_all_columns,
    )


def precision(config: Any, table: HardwareTable | None) -> Precision:
    """Return bits and passes of a product.

    Args:
        config: Configuration of a tile.
        table: Hardware, or None.
    """
    forward = getattr(config, "forward", None)
    io = forward if isinstance(forward, IOParameters) and not forward.is_perfect else None
    asked = (None, None) if io is None else (bits_of(io.inp_res), bits_of(io.out_res))
    part = TilePart() if table is None else table.tile
    mode = None if table is None else table.mode_for(*asked)[1]
    own = [
        getattr(mode, name, None) or getattr(part, name) for name in ("input_bits", "output_bits")
    ]
    notes, bits = [], []
    for side, wanted, given in zip(("input", "output"), asked, own, strict=True):
        bits.append(wanted or given or _DEFAULT_BITS)
        if wanted is None:
            source = "those of the table" if given else f"{_DEFAULT_BITS} are assumed"
            notes.append(f"{side} bits: the configuration has no {side} converter; {source}")
        elif given is not None and wanted > given:
            notes.append(
                f"{side} bits: {wanted} are more than the {given} of the table; its energy is not"
                " scaled"
            )
    passes = _passes(io, bits[0])
    if part.dac_bits is not None:
        passes *= _ceil(bits[0], part.dac_bits)
    if io is not None and io.bound_management.name != "NONE":
        notes.append("passes: repetitions of bound management are not counted")
    return Precision(bits[0], bits[1], passes, *asked, tuple(notes))


def bits_of(resolution: float) -> int | None:
    """Return the bits of a converter, None without one.

    Args:
        resolution: Step relative to the range, or a number of steps above 1; 254 steps are 8 bits.
    """
    if resolution <= 0.0:
        return None
    steps = resolution if resolution > 1.0 else 1.0 / resolution
    return max(1, round(math.log2(steps + 2.0)))


def largest_tile(config: Any) -> tuple[int, int]:
    """Return most outputs and inputs of a tile by the mapping, 0 where there is no limit.

    Args:
        config: Configuration of a tile.
    """
    mapping = getattr(config, "mapping", None)
    limits = (getattr(mapping, name, 0) for name in ("max_output_size", "max_input_size"))
    rows, columns = (max(0, int(limit)) for limit in limits)
    return rows, columns


def devices_per_weight(config: Any) -> int:
    """Return of how many devices a weight is made.

    Args:
        config: Configuration of a tile: the conductances of its noise model, the devices of its
            unit cell, or one device.
    """
    noise_model, device = (getattr(config, name, None) for name in ("noise_model", "device"))
    if noise_model is None and isinstance(device, CrosspointDevice):
        return max(1, len(device.single_devices()))
    return conductances_of(noise_model)


def conductances_of(noise_model: Any) -> int:
    """Return how many conductances a noise model makes of a weight, 1 without one.

    Args:
        noise_model: Noise model, or None.
    """
    converter = getattr(noise_model, "g_converter", None)
    if converter is None:
        return 1
    found, _ = converter.convert_to_conductances(torch.zeros(1, 1))
    return max(1, len(found))


def manages_noise(config: Any) -> bool:
    """Return whether the largest input of a vector is looked for.

    Args:
        config: Configuration of a tile.
    """
    forward = getattr(config, "forward", None)
    kinds = (NoiseManagementType.ABS_MAX, NoiseManagementType.MAX)
    return (
        isinstance(forward, IOParameters)
        and not forward.is_perfect
        and forward.noise_management in kinds
    )


def _passes(io: IOParameters | None, bits_in: int) -> int:
    if io is None:
        return 1
    if io.mv_type is AnalogMVType.BIT_WISE:
        return max(1, bits_in - 1)
    return 2 if io.mv_type in _TWO_PASSES else 1


def _ceil(number: int, divisor: int) -> int:
    return -(-number // divisor)
