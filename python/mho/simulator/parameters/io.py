"""Parameters of an analog matrix-vector product: converters, noise and array non-idealities."""

from dataclasses import dataclass, fields
from typing import Any

from mho.simulator.parameters.config_base import ConfigBase
from mho.simulator.parameters.enums import (
    AnalogMVType,
    BoundManagementType,
    NoiseManagementType,
    WeightNoiseType,
)
from mho.simulator.parameters.registry import register_config_class
from mho.simulator.parameters.wire import fields_to_wire

LARGEST = 1e15
"""Largest absolute value of a number that multiplies others: of two of them, a draw and a sum over
all columns, the product stays within float32. The rule of the core (`src/config/checks.rs`)."""

BOUNDS = frozenset({"inp_bound", "out_bound", "nm_thres"})
"""Numbers that only limit others, and may be infinite."""


@register_config_class
@dataclass
class IOParameters(ConfigBase):
    """Non-idealities of one direction (forward or backward) of a tile.

    Inputs are in units of the converter range after noise management, outputs in the units of the
    product of scaled inputs and tile weights. A limit or resolution of zero or less switches its
    feature off.
    """

    is_perfect: bool = False
    """Exact product; only `out_scale` still acts."""

    mv_type: AnalogMVType = AnalogMVType.ONE_PASS
    """How the product is split into passes."""

    inp_bound: float = 1.0
    """Range of the input converter; must be 1 with noise management."""

    inp_noise: float = 0.0
    """Standard deviation of the noise on each input line, after quantisation."""

    inp_res: float = 1 / (2**7 - 2)
    """Step of the input converter relative to its full range; a value above one is a number of
    steps."""

    inp_sto_round: bool = False
    """Round stochastically in the input converter."""

    inp_asymmetry: float = 0.0
    """Relative loss of negative inputs."""

    out_bound: float = 12.0
    """Range of the output converter."""

    out_noise: float = 0.06
    """Standard deviation of the noise on each output line, before the converter."""

    out_noise_std: float = 0.0
    """Relative spread of `out_noise` between lines, fixed per tile."""

    out_res: float = 1 / (2**9 - 2)
    """Step of the output converter relative to its full range; a value above one is a number of
    steps."""

    out_sto_round: bool = False
    """Round stochastically in the output converter."""

    out_scale: float = 1.0
    """Digital factor on the result."""

    out_asymmetry: float = 0.0
    """Relative loss of negative outputs."""

    bound_management: BoundManagementType = BoundManagementType.ITERATIVE
    """Reaction to clipped outputs; forward only."""

    noise_management: NoiseManagementType = NoiseManagementType.ABS_MAX
    """How the input is scaled into the converter range."""

    w_noise: float = 0.0
    """Strength of the weight noise, in units of the tile weights."""

    w_noise_type: WeightNoiseType = WeightNoiseType.NONE
    """Kind of the weight noise."""

    ir_drop: float = 0.0
    """Factor on the static voltage loss along the lines."""

    ir_drop_g_ratio: float = 1.0 / 0.35 / 5e-6
    """Conductance of the wire between two cells relative to that of a fully conducting device."""

    out_nonlinearity: float = 0.0
    """Strength of the S-shaped compression of outputs."""

    out_nonlinearity_std: float = 0.0
    """Relative spread of `out_nonlinearity` between lines, fixed per tile."""

    slope_calibration: float = 0.0
    """Fraction of `out_bound` at which the compressed output has slope one."""

    v_offset_std: float = 0.0
    """Standard deviation of the voltage offset of each line, fixed per tile."""

    v_offset_w_min: float = -1.0
    """Weight of the reference device that voltage offset and series resistance assume."""

    r_series: float = 0.0
    """Series resistance relative to the total output current."""

    w_read_asymmetry_dtod: float = 0.0
    """Spread of the relative weight change that negative inputs see, fixed per device."""

    max_bm_factor: int = 1000
    """Bound management stops after the first pass that reduced the input by more than this."""

    max_bm_res: float = 0.25
    """Bound management stops when the input is reduced below this many converter steps."""

    bm_test_negative_bound: bool = True
    """The lower bound counts for bound management too."""

    nm_thres: float = 0.0
    """Scale for constant noise management, upper limit of the scale for the others."""

    nm_assumed_wmax: float = 0.6
    """Largest weight that `ABS_MAX_NP_SUM` assumes."""

    nm_decay: float = 1e-3
    """Weight of the newest value in the running average of `AVERAGE_ABS_MAX`."""

    def to_wire(self, path: str = "") -> dict[str, Any]:
        """Return the checked fields of `IOParameters`; those that a subclass adds stay behind.

        Args:
            path: Prefix of the field names in messages.

        Raises:
            ConfigError: A field is unknown, has the wrong type or cannot be expressed.
        """
        self.check(path)
        return fields_to_wire(self, path, [field.name for field in fields(IOParameters)])


@register_config_class
@dataclass
class IOParametersIRDropT(IOParameters):
    """Adds the time-dependent voltage loss along the lines, resolved in steps of the input pulse.

    Only tiles that compute in torch use the added fields.
    """

    ir_drop: float = 1.0
    """Factor on the wire resistance."""

    ir_drop_rs: float = 0.15
    """Wire resistance between two cells, in ohm."""

    ir_drop_segments: int = 8
    """Segments a column is lumped into; must divide the number of rows."""

    ir_drop_time_step_resolution_scale: float = 1.0
    """Factor on the number of time steps."""

    ir_drop_v_read: float = 0.4005
    """Read voltage of the converter, in volt."""

    apply_xdep_pcm_read_noise: bool = False
    """Add read noise on the weights that depends on the input."""

    xdep_pcm_read_noise_scale: float = 1.0
    """Factor on that read noise."""

    adc_quantization: bool = True
    """Quantise the collected charge by truncation."""

    adc_frequency: float = 6.24
    """Frequency of the output converter, in gigahertz."""

    ir_drop_integration_sum: bool = True
    """Integrate the current as a plain sum instead of the trapezoidal rule."""

    split_mode_bit_shift: int = 3
    """Bits in the less significant pass of `SPLIT_MODE`."""
