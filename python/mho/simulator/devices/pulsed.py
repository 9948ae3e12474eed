"""Fields that all pulsed devices share."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from mho.documented import documented
from mho.simulator.devices.crosspoint import CrosspointDevice
from mho.simulator.parameters.inference import DriftParameter
from mho.simulator.parameters.wire import fields_to_wire


@documented
@dataclass
class PulsedDevice(CrosspointDevice):
    """Device whose weight changes in small steps, one per pulse.

    Spreads with the ending `dtod` are between devices and drawn when the tile is built; those with
    the ending `std` are drawn anew for every event.
    """

    fits_in_cells: ClassVar[bool] = True

    construction_seed: int = 0
    """Seed of the spreads between devices; zero takes one from torch's generator."""

    corrupt_devices_prob: float = 0.0
    """Probability that a device is stuck at a random weight."""

    corrupt_devices_range: float = 0.1
    """Largest absolute weight of stuck devices."""

    diffusion: float = 0.0
    """Standard deviation of the diffusion of the weight per mini-batch."""

    diffusion_dtod: float = 0.0
    """Relative spread of `diffusion`."""

    drift: DriftParameter = field(
        default_factory=DriftParameter, metadata={"hide_if": DriftParameter()}
    )
    """Power-law drift; off while `nu` is zero."""

    dw_min: float = 0.001
    """Mean change of the weight by one pulse.

    Zero is the ideal limit of infinitely fine steps: there are no pulses, and of each sample the
    weight goes along the mean response of its device by the length `learning_rate |d x|`, in
    closed form, within its bounds. The hidden parameters `dwmin_up` and `dwmin_down` are factors
    around one then. `dw_min_dtod`, `dw_min_std` and all noise of pulses have no effect;
    `up_down_dtod` is a spread of the rates, and `write_noise_std` is absolute. See
    `UpdateParameters.update_mode`.
    """

    dw_min_dtod: float = 0.3
    """Relative spread of `dw_min`."""

    dw_min_dtod_log_normal: bool = False
    """Draw that spread from a log-normal instead of a normal distribution."""

    dw_min_std: float = 0.3
    """Relative noise of each single step."""

    enforce_consistency: bool = True
    """Keep steps positive and bounds on their side of zero, whatever the spreads."""

    lifetime: float = 0.0
    """Decay time of the weight, in mini-batches; zero is no decay."""

    lifetime_dtod: float = 0.0
    """Relative spread of `lifetime`."""

    perfect_bias: bool = False
    """Give the last column, the analog bias, ideal steps and practically no bounds."""

    reset: float = 0.0
    """Mean weight after a reset."""

    reset_dtod: float = 0.0
    """Spread of that weight, absolute."""

    reset_std: float = 0.01
    """Noise of each reset, absolute."""

    up_down: float = 0.0
    """Asymmetry of the steps; positive reduces steps down, negative steps up, relative to
    `dw_min`."""

    up_down_dtod: float = 0.01
    """Spread of the asymmetry, relative to `dw_min`."""

    w_max: float = 0.6
    """Mean upper bound of the weight."""

    w_max_dtod: float = 0.3
    """Relative spread of `w_max`."""

    w_min: float = -0.6
    """Mean lower bound of the weight."""

    w_min_dtod: float = 0.3
    """Relative spread of `w_min`."""

    count_pulses: bool = False
    """Count the pulses that each device receives; not with `dw_min = 0`, which has none."""

    def calc_weight_granularity(self) -> float:
        """Return the mean change of the weight by one pulse at weight zero."""
        return float(self.dw_min)

    def calc_num_states(self) -> float:
        """Return the number of steps between the mean bounds, infinity for `dw_min = 0`."""
        if self.flows():
            return math.inf
        return (self.w_max - self.w_min) / self.calc_weight_granularity()

    def flows(self) -> bool:
        """Return whether steps are infinitely fine: whether `dw_min` is zero."""
        return self.dw_min == 0.0

    def _wire_params(self, path: str) -> dict[str, Any]:
        shared = [f.name for f in fields(PulsedDevice)]
        own = [f.name for f in fields(self) if f.name not in shared]
        return {"pulsed": fields_to_wire(self, path, shared), **fields_to_wire(self, path, own)}
