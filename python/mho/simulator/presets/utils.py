"""Parameters of products and updates that presets share.

Written by tools/make_presets.py from src/presets/table.json.
"""

from dataclasses import dataclass

from mho.simulator.parameters.enums import (
    BoundManagementType,
    NoiseManagementType,
    PulseType,
    WeightNoiseType,
)
from mho.simulator.parameters.io import IOParameters
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.training import UpdateParameters


@register_config_class
@dataclass
class PresetIOParameters(IOParameters):
    """Product with a 7-bit input and a 9-bit output converter, as the training presets use it."""

    bound_management: BoundManagementType = BoundManagementType.ITERATIVE
    noise_management: NoiseManagementType = NoiseManagementType.ABS_MAX
    inp_res: float = 1.0 / 126.0
    inp_sto_round: bool = False
    out_bound: float = 20.0
    out_noise: float = 0.1
    out_res: float = 1.0 / 510.0
    w_noise: float = 0.0
    w_noise_type: WeightNoiseType = WeightNoiseType.NONE


@register_config_class
@dataclass
class StandardIOParameters(IOParameters):
    """Product with 8-bit converters and little output noise."""

    bound_management: BoundManagementType = BoundManagementType.ITERATIVE
    noise_management: NoiseManagementType = NoiseManagementType.ABS_MAX
    inp_res: float = 1.0 / 254.0
    inp_sto_round: bool = False
    out_bound: float = 10.0
    out_noise: float = 0.04
    out_res: float = 1.0 / 254.0
    w_noise: float = 0.0
    w_noise_type: WeightNoiseType = WeightNoiseType.NONE


@register_config_class
@dataclass
class PresetUpdateParameters(UpdateParameters):
    """Update with pulse trains of managed length, as the training presets use it."""

    desired_bl: int = 31
    pulse_type: PulseType = PulseType.STOCHASTIC_COMPRESSED
    update_bl_management: bool = True
    update_management: bool = True
