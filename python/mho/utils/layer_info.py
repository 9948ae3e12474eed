"""Shapes and tiles of single layers, as the summary of a model prints them."""

import math
from typing import Any

from torch import nn

from mho.nn.modules.base import AnalogLayerBase
from mho.nn.modules.kernel_layer import KernelLayer
from mho.nn.modules.linear import AnalogLinear
from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.signatures import checked
from mho.simulator.tiles.module import TileModule
from mho.utils.hardware_cost.execution import tiles_of
from mho.utils.hardware_cost.geometry import largest_tile

COLUMN_DEFINITIONS = ["Layer Information", "Tile Information"]
"""Groups of columns of the summary."""

COLUMN_NAMES = {
    "name": (0, "Layer Name"),
    "isanalog": (0, "Is Analog"),
    "input_size": (0, "In Shape"),
    "output_size": (0, "Out Shape"),
    "kernel_size": (0, "Kernel Shape"),
    "num_tiles": (0, "# of Tiles"),
    "reuse_factor": (0, "Reuse Factor"),
    "log_shape": (1, "Log. tile shape"),
    "phy_shape": (1, "Phys. tile shape"),
    "utilization": (1, "utilization (%)"),
}
"""Group and title of each column."""

FORMATTING_WIDTH = 200
"""Width of the printed summary."""

COLUMN_WIDTH = 20
"""Width of a column."""

FLOAT_FORMAT = "{0:.2f}"
"""How shares are printed."""


class TileInfo:
    """Sizes of a tile."""

    log_in_size: int
    """Inputs of the tile, with one for an analog bias."""

    log_out_size: int
    """Outputs of the tile."""

    phy_in_size: int
    """Most inputs of a tile by its mapping; its own ones where there is no limit."""

    phy_out_size: int
    """Most outputs in the same way."""

    utilization: float
    """Used share of the physical tile, in per cent; 100 where the mapping has no limit."""

    @checked
    def __init__(self, tile: TileModule, is_mapped: bool) -> None:
        """Read the sizes.

        Args:
            tile: Tile.
            is_mapped: Whether the mapping limits its size.
        """
        self.log_in_size = tile.in_size + int(tile.analog_bias)
        self.log_out_size = tile.out_size
        rows, columns = largest_tile(tile.rpu_config)
        self.is_mapped = is_mapped
        self.phy_in_size = columns or self.log_in_size
        self.phy_out_size = rows or self.log_out_size
        room = self.phy_in_size * self.phy_out_size
        used = self.log_in_size * self.log_out_size
        self.utilization = 100.0 * used / room if is_mapped else 100.0

    def tile_summary_dict(self) -> dict[str, Any]:
        """Return the sizes by column."""
        physical = (self.phy_out_size, self.phy_in_size) if self.is_mapped else "N/A"
        return {
            "log_shape": str((self.log_out_size, self.log_in_size)),
            "phys_shape": str(physical),
            "utilization": self.utilization,
        }

    def __repr__(self) -> str:
        row = self.tile_summary_dict()
        row["utilization"] = FLOAT_FORMAT.format(self.utilization)
        return cells(row.values()) + "\n"


class LayerInfo:
    """Shapes and tiles of a layer."""

    module: nn.Module
    """The layer."""

    name: str
    """Name of its class."""

    isanalog: bool
    """Whether it is analog."""

    num_tiles: int
    """Number of its tiles."""

    tiles_info: list[TileInfo]
    """Its tiles."""

    input_size: Any
    """Shape of its input, None if it is not known."""

    output_size: Any
    """Shape of its output."""

    kernel_size: Any
    """Size of the kernel of convolutions and poolings, else None."""

    reuse_factor: int
    """Number of products for these shapes: vectors of a linear layer, output positions of a
    convolution, 0 of others."""

    @checked
    def __init__(
        self,
        module: nn.Module,
        rpu_config: RPUConfigBase | None = None,
        input_size: Any = None,
        output_size: Any = None,
    ) -> None:
        """Look at a layer.

        Args:
            module: The layer.
            rpu_config: Kept as an attribute; tiles have their own.
            input_size: Shape of its input.
            output_size: Shape of its output.
        """
        self.module = module
        self.name = type(module).__name__
        self.isanalog = isinstance(module, AnalogLayerBase)
        self.tiles_info = self.set_tiles_info()
        self.num_tiles = len(self.tiles_info)
        self.kernel_size = None
        self.reuse_factor = 0
        self.input_size, self.output_size = input_size, output_size
        self.rpu_config = rpu_config
        self.set_kernel_size()
        self.calculate_reuse_factor()

    def set_tiles_info(self) -> list[TileInfo]:
        """Return the sizes of the tiles of the layer."""
        tiles = [tile for _, tile in tiles_of(self.module)] if self.isanalog else []
        return [TileInfo(tile, all(largest_tile(tile.rpu_config))) for tile in tiles]

    def set_kernel_size(self) -> None:
        """Take the size of the kernel from the layer."""
        self.kernel_size = getattr(self.module, "kernel_size", None)

    def calculate_reuse_factor(self) -> None:
        """Compute the number of products from the shapes."""
        if isinstance(self.module, AnalogLinear) and self.input_size:
            self.reuse_factor = math.prod(self.input_size[:-1])
        elif isinstance(self.module, KernelLayer) and self.output_size:
            # A transposed convolution has a product for each position of its input.
            shape = self.input_size if self.module.transposed else self.output_size
            at = len(shape) - self.module.RANK - 1
            self.reuse_factor = math.prod(shape[:at]) * math.prod(shape[at + 1 :])

    def tiles_summary_dict(self) -> dict[str, Any]:
        """Return the sizes of the tiles by column; of several tiles those of the last one."""
        summary: dict[str, Any] = {}
        for tile in self.tiles_info:
            summary.update(tile.tile_summary_dict())
        return summary

    def layer_summary_dict(self) -> dict[str, Any]:
        """Return what the summary prints of the layer by column; tiles have lines of their own."""
        return {
            "name": self.name,
            "isanalog": "analog" if self.isanalog else "digital",
            "input_size": _text(self.input_size),
            "output_size": _text(self.output_size),
            "kernel_size": _text(self.kernel_size),
            "num_tiles": self.num_tiles,
            "reuse_factor": str(self.reuse_factor),
            "log_shape": "-",
            "phy_shape": "-",
            "utilization": "-",
        }

    def __repr__(self) -> str:
        indent = " " * COLUMN_WIDTH * sum(group == 0 for group, _ in COLUMN_NAMES.values())
        lines = [cells(self.layer_summary_dict().values()) + "\n"]
        return "".join([*lines, *(indent + repr(tile) for tile in self.tiles_info)])


def cells(values: Any) -> str:
    """Return values in columns.

    Args:
        values: One for each column.
    """
    return "".join(f"{value!s:<{COLUMN_WIDTH}}" for value in values)


def _text(value: Any) -> str:
    return "-" if value is None else str(value)
