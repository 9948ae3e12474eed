"""Parameters of how the weights of a layer are put on tiles."""

from dataclasses import dataclass, field, fields
from typing import Any

from mho.simulator.parameters.base import RPUConfigBase
from mho.simulator.parameters.config_base import ConfigBase
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.signatures import checked

_FREE_TO_DIFFER = {
    "weight_scaling_omega",
    "weight_scaling_columnwise",
    "weight_scaling_lr_compensation",
}


@register_config_class
@dataclass
class MappingParameter(ConfigBase):
    """How weights are scaled, split and biased on tiles."""

    digital_bias: bool = True
    """Add the bias digitally; otherwise it is the last column of the tile."""

    weight_scaling_omega: float = 0.0
    """Largest absolute tile weight after `set_weights`; zero or less is no scaling."""

    weight_scaling_columnwise: bool = False
    """One mapping scale per output instead of one per tile."""

    weight_scaling_lr_compensation: bool = False
    """Divide the learning rate by the mean mapping scale."""

    learn_out_scaling: bool = False
    """Add a trainable output scale."""

    out_scaling_columnwise: bool = False
    """One trainable scale per output instead of one per tile."""

    max_input_size: int = 512
    """Most inputs of a tile; zero or less is no limit."""

    max_output_size: int = 512
    """Most outputs of a tile; zero or less is no limit."""

    def compatible_with(self, mapping: Any) -> bool:
        """Return whether state saved with another mapping can be loaded with this one.

        Args:
            mapping: Mapping of the saved state; its weight scaling options may differ.
        """
        if not isinstance(mapping, MappingParameter):
            return False
        mine = {f.name for f in fields(self)}
        if mine != {f.name for f in fields(mapping)}:
            return False
        return all(getattr(self, name) == getattr(mapping, name) for name in mine - _FREE_TO_DIFFER)


@dataclass
class MappableRPU(RPUConfigBase):
    """Configuration whose layers may be split over several tiles."""

    tile_array_class: type | None = None
    """Class that holds the tiles of a layer that is split."""

    mapping: MappingParameter = field(default_factory=MappingParameter)
    """How weights are put on tiles."""

    @checked
    def get_default_tile_module_class(self, out_size: int = 0, in_size: int = 0) -> type:
        """Return the array class for layers beyond the limits of `mapping`, else the tile class.

        A single limit of zero counts as exceeded here although nothing is split in that direction:
        saved states carry the names that follow from it.

        Args:
            out_size: Number of outputs of the layer.
            in_size: Number of inputs of the layer.

        Raises:
            ConfigError: A value is invalid; the message names the field.
        """
        self.check()
        limit_in, limit_out = self.mapping.max_input_size, self.mapping.max_output_size
        if self.tile_array_class is None or (limit_in == 0 and limit_out == 0):
            return self.tile_class
        if limit_in < in_size or limit_out < out_size:
            return self.tile_array_class
        return self.tile_class
