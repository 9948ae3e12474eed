"""Parameters of the pulsed weight update."""

from dataclasses import dataclass

from mho.simulator.parameters.config_base import ConfigBase
from mho.simulator.parameters.enums import PulseType, UpdateMode
from mho.simulator.parameters.registry import register_config_class

MOST_PULSES = 65535
"""Largest `desired_bl`, the longest train of pulses that the core makes."""


@register_config_class
@dataclass
class UpdateParameters(ConfigBase):
    """How an outer-product update becomes pulses.

    See Gokmen and Vlasov, Front. Neurosci. 10:333, 2016.
    """

    desired_bl: int = 31
    """Length of the pulse trains; the largest one with `update_bl_management`."""

    fixed_bl: bool = True
    """Keep the length fixed and scale the probabilities when `update_bl_management` is off."""

    pulse_type: PulseType = PulseType.STOCHASTIC_COMPRESSED
    """How pulses are generated and applied."""

    res: float = 0
    """Step of the pulse probabilities, in the range 0 to 1; zero or less is continuous."""

    x_res_implicit: float = 0
    """Step of the inputs for `DETERMINISTIC_IMPLICIT`."""

    d_res_implicit: float = 0
    """Step of the errors for `DETERMINISTIC_IMPLICIT`."""

    d_sparsity: bool = False
    """Record the fraction of error lines without pulses, which some compounds use."""

    sto_round: bool = False
    """Round stochastically when probabilities are discretised."""

    update_bl_management: bool = True
    """Choose the length of the trains for each sample; implies `update_management`."""

    update_management: bool = True
    """Balance the probabilities between inputs and errors."""

    um_grad_scale: float = 1.0
    """Factor on the largest error in that balance."""

    exact_pulses: bool = False
    """Simulate each pulse of stochastic trains by itself: a reference, several times slower.

    Otherwise kernels add up pulses as long as mean, variance and skewness of the weights stay those
    of one pulse after another. Deterministic pulses are never added up.
    """

    update_mode: UpdateMode = UpdateMode.FLOW
    """How weights follow an update of devices without a step, `dw_min = 0`.

    There are no pulses then: besides this field only `pulse_type` acts, if it is `NONE` or
    `NONE_WITH_DEVICE`. `res` and `sto_round` round probabilities of pulses and are refused.
    """
