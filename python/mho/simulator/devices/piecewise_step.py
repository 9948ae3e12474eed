"""Device whose step is interpolated between given values."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from mho.exceptions import ConfigError
from mho.simulator.devices.pulsed import PulsedDevice
from mho.simulator.parameters.checking import join
from mho.simulator.parameters.registry import register_config_class


@register_config_class
@dataclass
class PiecewiseStepDevice(PulsedDevice):
    """Device whose mean step is interpolated linearly between nodes that divide the range evenly.

    The first node lies at the lower bound of the device, the last at its upper bound, for steps up
    as for steps down.
    """

    wire_type: ClassVar[str] = "PiecewiseStep"

    piecewise_up: list[float] = field(default_factory=lambda: [1])
    """Steps up at the nodes, relative to `dw_min`."""

    piecewise_down: list[float] = field(default_factory=lambda: [1])
    """Steps down at the nodes, relative to `dw_min`; as many as `piecewise_up`."""

    write_noise_std: float = 0.0
    """Noise of the visible weight around the stored one, relative to `dw_min`, absolute if that is
    zero; drawn at each change."""

    apply_write_noise_on_set: bool = True
    """Draw that noise when weights are set, too."""

    def calc_weight_granularity(self) -> float:
        """Return the step up at the middle node, in units of the weight."""
        return float(self.dw_min * self.piecewise_up[len(self.piecewise_up) // 2])

    def _wire_params(self, path: str) -> dict[str, Any]:
        if not self.piecewise_up or len(self.piecewise_up) != len(self.piecewise_down):
            raise ConfigError(
                f"{join(path, 'piecewise_up')}: has {len(self.piecewise_up)} values"
                f" and piecewise_down {len(self.piecewise_down)};"
                " both need the same number, at least one"
            )
        return super()._wire_params(path)
