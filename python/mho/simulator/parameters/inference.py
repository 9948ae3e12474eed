"""Parameters that act on weights between updates: modification, clipping, remapping and drift."""

from dataclasses import dataclass, field

from mho.simulator.parameters.config_base import ConfigBase
from mho.simulator.parameters.enums import WeightClipType, WeightModifierType, WeightRemapType
from mho.simulator.parameters.registry import register_config_class

_POLYNOMIAL = (0.0105392, 0.0768, -0.046925)


@register_config_class
@dataclass
class WeightModifierParameter(ConfigBase):
    """Change of the weights during the forward pass of hardware-aware training, undone afterwards.

    Strengths are relative to the largest absolute weight `wmax` of the tile.
    """

    std_dev: float = 0.0
    """Standard deviation of the added noise."""

    per_batch_sample: bool = False
    """Draw anew for every sample of a batch; only tiles that compute in torch."""

    res: float = 0.0
    """Step of discretising types; a value above one is a number of steps."""

    sto_round: bool = False
    """Round stochastically."""

    dorefa_clip: float = 0.6
    """Range of `DOREFA`."""

    pdrop: float = 0.0
    """Probability that a weight is set to zero; acts with every type but `NONE`."""

    enable_during_test: bool = False
    """Modify the weights in evaluation mode too."""

    rel_to_actual_wmax: bool = True
    """Use the largest weight present as `wmax`."""

    assumed_wmax: float = 1.0
    """`wmax` when the largest weight present is not used."""

    copy_last_column: bool = False
    """Leave the last column, the analog bias, as it is."""

    coeffs: list[float] = field(
        default_factory=lambda: list(_POLYNOMIAL), metadata={"hide_if": list(_POLYNOMIAL)}
    )
    """Polynomial of the noise strength over the relative weight, constant term first."""

    type: WeightModifierType = field(
        default=WeightModifierType.NONE, metadata={"always_show": True}
    )
    """Kind of the change."""

    g_max: float = 25.0
    """Conductance of the largest weight, in microsiemens."""

    pcm_zero_thres: float = 0.0
    """Relative weight below which `PCM_NOISE` takes a device as reset."""

    pcm_t_inference: float = 0.0
    """Time after programming that `PCM_NOISE` assumes, in seconds."""

    pcm_prob_at_reset: float = 0.0
    """Probability that a device is stuck at zero conductance."""

    pcm_prob_at_gmax: float = 0.0
    """Probability that a device is stuck at the largest conductance."""

    pcm_prob_at_random: float = 0.0
    """Probability that a device is stuck at a random conductance."""

    pcm_t0: float = 20.0
    """Time of the first read after programming, in seconds."""


@register_config_class
@dataclass
class WeightClipParameter(ConfigBase):
    """Clipping of the weights after an update."""

    fixed_value: float = -1.0
    """Limit; upper bound of the limit for the other types if positive."""

    sigma: float = 2.5
    """Multiple of the standard deviation for `LAYER_GAUSSIAN`."""

    type: WeightClipType = field(default=WeightClipType.NONE, metadata={"always_show": True})
    """Kind of the limit."""


@register_config_class
@dataclass
class WeightRemapParameter(ConfigBase):
    """Rescaling of weights and output scales after an update; their product stays the same."""

    remapped_wmax: float = 1.0
    """Largest absolute weight after remapping."""

    max_scale_range: float = 0.0
    """Largest ratio of two scales for `CHANNELWISE_SYMMETRIC`; zero or less is unlimited."""

    max_scale_ref: float = 0.0
    """Lower limit of the smallest scale that `max_scale_range` refers to."""

    type: WeightRemapType = field(default=WeightRemapType.NONE, metadata={"always_show": True})
    """Kind of the rescaling."""


@register_config_class
@dataclass
class SimpleDriftParameter(ConfigBase):
    """Power-law drift of all weights with one exponent: `w(t) = w(t_0) * (t / t_0)**-nu`."""

    nu: float = 0.0
    """Drift exponent."""

    t_0: float = 1.0
    """Time between the write and the first moment with drift, in units of `delta_t`."""

    reset_tol: float = 1e-7
    """Smallest change of a weight that restarts its clock."""


@register_config_class
@dataclass
class DriftParameter(SimpleDriftParameter):
    """Power-law drift whose exponents vary between devices, calls and weights."""

    nu_dtod: float = 0.0
    """Relative spread of the exponent between devices."""

    nu_std: float = 0.0
    """Relative spread of the exponent from call to call."""

    wg_ratio: float = 1.0
    """Weight per conductance."""

    g_offset: float = 0.0
    """Conductance of a device of weight `w_offset`."""

    w_offset: float = 0.0
    """Weight at conductance `g_offset`."""

    nu_k: float = 0.0
    """Dependence of the exponent on the logarithm of the conductance."""

    log_g0: float = 0.0
    """Logarithm of the conductance at which `nu` holds."""

    w_noise_std: float = 0.0
    """Standard deviation of the noise added at each call, in units of the weights."""
