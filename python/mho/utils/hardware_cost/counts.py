"""Exact counts of the layers of a model."""

import math
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from mho.documented import documented
from mho.nn.modules.conv_transpose import _AnalogConvTransposeNd
from mho.simulator.tiles.cut import Cut
from mho.simulator.tiles.module import TileModule
from mho.utils.hardware_cost.digital_work import DigitalCounts
from mho.utils.hardware_cost.execution import LayerRun, is_analog_layer, tiles_of
from mho.utils.hardware_cost.geometry import (
    TileCounts,
    largest_tile,
    manages_noise,
    tile_counts,
)
from mho.utils.hardware_cost.table import HardwareTable


@documented
@dataclass(frozen=True)
class LayerCounts:
    """Counts of a layer in one pass; sums over its tiles, and over its calls if there are several.

    They need no hardware: without a table a tile is as large as the mapping of the layer allows.
    """

    name: str
    """Full name in the model."""

    layer_class: str
    """Name of its class."""

    is_analog: bool
    """Whether it has tiles."""

    calls: int
    """How often it ran; 0 is not executed."""

    input_shape: tuple[int, ...] | None
    """Shape of its first input."""

    output_shape: tuple[int, ...] | None
    """Shape of its first output."""

    tiles: tuple[TileCounts, ...] = ()
    """Counts of its tiles."""

    digital: DigitalCounts = field(default_factory=DigitalCounts)
    """Digital operations around the tiles, or of a digital layer."""

    notes: tuple[str, ...] = ()
    """What had to be assumed."""

    is_linear: bool = False
    """Whether it is a linear layer."""

    @property
    def physical_tiles(self) -> int:
        """Physical tiles."""
        return sum(tile.physical_tiles for tile in self.tiles)

    @property
    def mvms(self) -> int:
        """Products of vectors with all weights of the layer."""
        return max((tile.mvms for tile in self.tiles), default=0)

    @property
    def physical_mvms(self) -> int:
        """Products on physical tiles."""
        return sum(tile.mvms * tile.physical_tiles for tile in self.tiles)

    @property
    def macs(self) -> int:
        """Multiplications of a weight with an input in tiles, each with an addition."""
        return sum(tile.macs for tile in self.tiles)

    @property
    def dac_conversions(self) -> int:
        """Conversions of inputs."""
        return sum(tile.dac_conversions for tile in self.tiles)

    @property
    def adc_conversions(self) -> int:
        """Conversions of outputs."""
        return sum(tile.adc_conversions for tile in self.tiles)

    @property
    def cell_reads(self) -> int:
        """Reads of devices."""
        return sum(tile.cell_reads for tile in self.tiles)

    @property
    def weights(self) -> int:
        """Weights in tiles."""
        return sum(tile.in_size * tile.out_size for tile in self.tiles)

    @property
    def utilisation(self) -> float:
        """Share of the cells of the physical tiles that hold weights; 0 without tiles."""
        room = sum(t.physical_tiles * t.rows * t.cols for t in self.tiles)
        return sum(t.cells for t in self.tiles) / room if room else 0.0

    @property
    def bytes_moved(self) -> int:
        """Bytes into and out of the tiles, and of skip connections."""
        return sum(t.bytes_in + t.bytes_out for t in self.tiles) + self.digital.skip_bytes

    def to_dict(self) -> dict[str, Any]:
        """Return the counts by name, for tables and JSON."""
        digital = {f"digital_{k}": v for k, v in vars(self.digital).items()}
        names = (
            "name", "layer_class", "is_analog", "calls", "input_shape", "output_shape",
            "physical_tiles", "utilisation", "mvms", "physical_mvms", "macs", "dac_conversions",
            "adc_conversions", "cell_reads", "weights", "bytes_moved",
        )  # fmt: skip
        own = {name: getattr(self, name) for name in names}
        passes = sorted({tile.precision.passes for tile in self.tiles})
        return own | {"passes": passes[-1] if passes else 0} | digital


def layer_counts(run: LayerRun, table: HardwareTable | None) -> LayerCounts:
    """Return the counts of a layer.

    Args:
        run: What it did in a pass.
        table: Hardware; None counts on tiles as large as the mapping allows.
    """
    layer = run.module
    tiles = tiles_of(layer) if is_analog_layer(layer) else []
    counts = tuple(
        tile_counts(
            ".".join(part for part in (run.name, name) if part),
            tile.out_size,
            tile.in_size + int(tile.analog_bias),
            tile.rpu_config,
            run.vectors.get(name, 0),
            table,
        )
        for name, tile in tiles
    )
    digital = run.digital
    for (_, tile), count in zip(tiles, counts, strict=True):
        digital = digital + _around_tile(tile, count)
    if tiles:
        digital = digital + _around_array(run, max(count.mvms for count in counts))
    return LayerCounts(
        name=run.name,
        layer_class=type(layer).__name__,
        is_analog=bool(tiles),
        calls=run.calls,
        input_shape=None if run.input_shape is None else tuple(run.input_shape),
        output_shape=None if run.output_shape is None else tuple(run.output_shape),
        tiles=counts,
        digital=digital,
        notes=_notes(run, tiles, counts),
        is_linear=isinstance(layer, nn.Linear),
    )


def _notes(run: LayerRun, tiles: Any, counts: tuple[TileCounts, ...]) -> tuple[str, ...]:
    notes = dict.fromkeys(note for count in counts for note in count.precision.notes)
    if tiles and run.calls == 0:
        notes["not executed: the pass did not come here; area only"] = None
    sums = 0
    for (_, tile), count in zip(tiles, counts, strict=True):
        limits = largest_tile(tile.rpu_config)
        if limits[1] > count.rows or limits[0] > count.cols:
            sums += count.row_blocks - 1
    if sums:
        notes[f"mapping: its tiles are larger than those of the table; {sums} more sums"] = None
    return tuple(notes)


def _around_tile(tile: Any, count: TileCounts) -> DigitalCounts:
    """Return what is computed digitally at the inputs and outputs of a tile."""
    outputs = count.out_size * count.mvms
    factors = (
        tile.get_mapping_scales() is not None,
        tile.get_learned_out_scales() is not None,
        tile.programming.output_factor() is not None,
        tile.input_processing.is_on(),
    )
    managed = count.in_size * count.mvms if manages_noise(tile.rpu_config) else 0
    has_bias = tile._parameters.get("bias") is not None
    return DigitalCounts(
        additions=outputs * (count.row_blocks - 1 + int(has_bias)),
        multiplications=outputs * sum(factors) + managed,
        comparisons=managed,
    )


def _around_array(run: LayerRun, mvms: int) -> DigitalCounts:
    """Return the sums over tiles of a layer, and its own bias."""
    additions = 0
    inside: set[int] = set()
    for module in run.module.modules():
        if isinstance(module, TileModule):
            inside.update(id(part) for part in module.modules())
        if id(module) in inside:
            continue
        cut = vars(module).get("_cut")
        if isinstance(cut, Cut):
            additions += cut.out_size * (len(cut.in_sizes) - 1) * mvms
        if module._parameters.get("bias") is not None:
            additions += run.outputs
    if isinstance(run.module, _AnalogConvTransposeNd) and run.input_shape is not None:
        additions += _overlaps(run.module, run.input_shape, mvms)
    return DigitalCounts(additions=additions)


def _overlaps(layer: Any, shape: list[int], mvms: int) -> int:
    """Return the additions where the kernels of a transposed convolution overlap."""
    sizes = shape[-layer.RANK :]
    written = math.prod(sizes) * math.prod(layer.kernel_size)
    places = 1
    for size, kernel, stride, dilation in zip(
        sizes, layer.kernel_size, layer.stride, layer.dilation, strict=True
    ):
        places *= len({i * stride + k * dilation for i in range(size) for k in range(kernel)})
    return int(layer.out_channels * (written - places) * (mvms // math.prod(sizes)))
