"""Base of the configurations whose devices are cells with settings of their own."""

from dataclasses import dataclass, field

from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.tuning import TuningParameter
from mho.simulator.tiles.io_managed import IOManagedRPUConfig
from mho.simulator.tuning.rules import tuned


@dataclass
class TunableRPUConfig(IOManagedRPUConfig):
    """Base of configurations whose tiles can derive the settings of their algorithm."""

    tuning: TuningParameter | None = field(default=None, kw_only=True, metadata={"hide_if": None})
    """What a tile derives the settings of its algorithm from when it is built, None to leave them;
    the configuration of the tile then has the settings instead."""

    def for_tile(self, out_size: int, in_size: int) -> RPUConfigBase:
        """Return the configuration with the settings that follow from a size; see the base class.

        Args:
            out_size: Number of rows of the tile.
            in_size: Number of columns of the tile, that of an analog bias included.
        """
        if self.tuning is None:
            return self
        found = tuned(self, out_size, in_size, self.tuning)
        found.warn()
        own: RPUConfigBase = found.config
        return own
