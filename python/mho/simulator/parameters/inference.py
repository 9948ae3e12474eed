"""Parameters that act on weights between updates: modification, clipping, remapping and drift."""

from dataclasses import dataclass, field

from mho.simulator.parameters.config_base import ConfigBase
from mho.simulator.parameters.enums import WeightClipType, WeightModifierType, WeightRemapType
from mho.simulator.parameters.registry import register_config_class

_POLYNOMIAL = (0.0105392, 0.0768, -0.046925)


@register_config_class
@dataclass
class WeightModifierParameter(ConfigBase):
    """What the passes of hardware-aware training see instead of the weights.

    The weights themselves stay: gradients are those of the modified weights and change the clean
    ones. Tiles of the core draw once after each optimizer step, for all passes until the next one;
    before the first step they use clean weights. Tiles that compute in torch draw in each pass. A
    weight is changed in this order: what `type` says, then `pdrop`, then the last column is put
    back. Strengths are relative to the largest absolute weight `wmax` of the tile.
    """

    std_dev: float = 0.0
    """Strength of the noise; at or below zero there is none. Of `PCM_NOISE`: factor of programming
    and read noise."""

    per_batch_sample: bool = False
    """Draw anew for every entry of the first batch axis; only tiles that compute in torch."""

    res: float = 0.0
    """Distance of two levels of types that round, at or below zero nothing is rounded: in units of
    `wmax`, in torch tiles of the range `2 wmax`; of `DOREFA` in weights. In torch tiles, and only
    there, a value above one is a number of levels."""

    sto_round: bool = False
    """Round up or down at random, in proportion to the distance."""

    dorefa_clip: float = 0.6
    """Largest weight that `DOREFA` gives."""

    pdrop: float = 0.0
    """Probability that a weight becomes zero; acts with every type but `NONE`."""

    enable_during_test: bool = False
    """Use modified weights in evaluation mode too: those of the last step, in torch tiles fresh
    ones."""

    rel_to_actual_wmax: bool = True
    """Take the largest absolute weight of the tile as `wmax`, one if all are zero."""

    assumed_wmax: float = 1.0
    """`wmax` otherwise, positive."""

    copy_last_column: bool = False
    """Leave the last column as it is, which is that of an analog bias if there is one, and leave it
    out of `wmax`."""

    coeffs: list[float] = field(
        default_factory=lambda: list(_POLYNOMIAL), metadata={"hide_if": list(_POLYNOMIAL)}
    )
    """Polynomial of the noise strength over `|w| / wmax`, constant term first: for `POLY` in units
    of `wmax`, as the default ones are, for `PROG_NOISE` in microsiemens."""

    type: WeightModifierType = field(
        default=WeightModifierType.NONE, metadata={"always_show": True}
    )
    """Kind of the change."""

    g_max: float = 25.0
    """Conductance of `wmax` in microsiemens, for `PROG_NOISE` and `PCM_NOISE`; positive."""

    pcm_zero_thres: float = 0.0
    """Conductances up to this multiple of the programming noise at zero, `std_dev 0.26348`
    microsiemens, become exactly zero."""

    pcm_t_inference: float = 0.0
    """Time after programming that `PCM_NOISE` assumes, in seconds."""

    pcm_prob_at_reset: float = 0.0
    """Probability that a device is stuck at zero conductance."""

    pcm_prob_at_gmax: float = 0.0
    """Probability that `g_max` is added or subtracted, one as likely as the other, for a device
    that is stuck at full conductance."""

    pcm_prob_at_random: float = 0.0
    """Probability that a device is stuck at a random conductance."""

    pcm_t0: float = 20.0
    """Time of the first read after programming, in seconds; positive."""


@register_config_class
@dataclass
class WeightClipParameter(ConfigBase):
    """Clipping of the weights after each optimizer step, before remapping.

    Limits are in units of raw weights: with `remap`, of those that the step before has left.
    """

    fixed_value: float = -1.0
    """Limit of `FIXED_VALUE`, zero makes all weights zero and a negative one does nothing; upper
    bound of the limit of the other types if positive."""

    sigma: float = 2.5
    """Limit of `LAYER_GAUSSIAN` in standard deviations of all weights of the tile around their
    mean; the limit itself is symmetric around zero."""

    type: WeightClipType = field(default=WeightClipType.NONE, metadata={"always_show": True})
    """Kind of the limit."""


@register_config_class
@dataclass
class WeightRemapParameter(ConfigBase):
    """Rescaling of weights and output scales after each optimizer step; their product stays.

    Learned output scales become part of the mapping scales and start again at one.
    """

    remapped_wmax: float = 1.0
    """Largest absolute weight after remapping, positive; one with `max_scale_range`."""

    max_scale_range: float = 0.0
    """Largest ratio of a scale to the smallest present one for `CHANNELWISE_SYMMETRIC`; zero or
    less is unlimited."""

    max_scale_ref: float = 0.0
    """Lower limit of the smallest scale that `max_scale_range` refers to; zero is none."""

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
