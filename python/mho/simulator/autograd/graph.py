"""Constants of a tile that compiled graphs carry."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mho.simulator.autograd.operators import RUNNING
from mho.simulator.raw_tiles.core.tile import CoreTile
from mho.simulator.state.names import AnalogTileStateNames as Names

if TYPE_CHECKING:
    from mho.simulator.tiles.periphery import TileWithPeriphery


@dataclass
class GraphConstants:
    """Plain values that do not change while the configuration of a tile does not."""

    config: str = ""
    """JSON text of the configuration for the core."""

    sizes: list[int] = field(default_factory=list)
    """Outputs, inputs, and one if there is an analog bias."""

    line_names: str = ""
    """Names of the frozen values of the product, separated by commas."""

    back_names: str = ""
    """Names of the frozen values of the transposed product."""

    range_config: str = ""
    """JSON text of the input range parameters, empty without one."""

    running: bool = False
    """Whether products update a running scale."""


def graph_constants(tile: "TileWithPeriphery") -> GraphConstants:
    """Return the constants of a tile.

    Args:
        tile: Tile; those that do not compute in the core have none.
    """
    raw = tile.tile
    if not isinstance(raw, CoreTile):
        return GraphConstants()
    lines, back = (
        [name for name, _ in tile.get_submodule(group).named_buffers()]
        for group in (Names.FORWARD_LINES, Names.BACKWARD_LINES)
    )
    params = tile._range_params()
    return GraphConstants(
        config=raw.config_text,
        sizes=[raw.out_size, raw.in_size, int(raw.analog_bias)],
        line_names=",".join(lines),
        back_names=",".join(back),
        range_config="" if params is None else params.to_json(),
        running=RUNNING in lines or RUNNING in back,
    )
