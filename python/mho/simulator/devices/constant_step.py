"""Device whose step does not depend on the weight."""

from dataclasses import dataclass
from typing import ClassVar

from mho.simulator.devices.pulsed import PulsedDevice
from mho.simulator.parameters.registry import register_config_class


@register_config_class
@dataclass
class ConstantStepDevice(PulsedDevice):
    r"""Device with the same step at every weight between its bounds.

    One pulse changes the weight by $\pm\Delta w_\pm (1 + \sigma\xi)$ with $\sigma$ = `dw_min_std`,
    then the bounds clip it (Gokmen and Vlasov, Front. Neurosci. 10:333, 2016).
    """

    wire_type: ClassVar[str] = "ConstantStep"
