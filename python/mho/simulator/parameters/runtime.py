"""Options that change how a tile runs but not what it computes."""

from dataclasses import dataclass

from mho.simulator.parameters.config_base import ConfigBase
from mho.simulator.parameters.enums import RPUDataType
from mho.simulator.parameters.registry import register_config_class


@register_config_class
@dataclass
class RuntimeParameter(ConfigBase):
    """Data type, backend and memory options of a tile."""

    data_type: RPUDataType = RPUDataType.FLOAT
    """Floating-point type of the tile."""

    on_the_fly_bindings: bool = False
    """Kept for compatibility: changes of the configuration of a tile act at once in any case."""

    offload_input: bool = False
    """Keep the inputs that an update needs in host memory until then."""

    offload_gradient: bool = False
    """Keep the gradients that an update needs in host memory until then."""

    backend: str | None = None
    """`"cpu"` or `"wgpu"`; None takes what `mho.set_backend` chose when the tile is built."""
