"""Devices fitted to measurements or taken from publications.

Each preset is the device it is based on with other defaults; every field may be given as usual. All
weights are normalised: one is half of the range of the device.

Written by tools/make_presets.py from src/presets/table.json.
"""

from dataclasses import dataclass

from mho.simulator.devices.constant_step import ConstantStepDevice
from mho.simulator.devices.exp_step import ExpStepDevice
from mho.simulator.devices.linear_step import LinearStepDevice
from mho.simulator.devices.soft_bounds_reference import SoftBoundsReferenceDevice
from mho.simulator.parameters.registry import register_config_class

__all__ = [
    "CapacitorPresetDevice",
    "EcRamMOPresetDevice",
    "EcRamPresetDevice",
    "GokmenVlasovPresetDevice",
    "IdealizedPresetDevice",
    "PCMPresetDevice",
    "ReRamArrayHfO2PresetDevice",
    "ReRamArrayOMPresetDevice",
    "ReRamESPresetDevice",
    "ReRamSBPresetDevice",
]


@register_config_class
@dataclass
class ReRamESPresetDevice(ExpStepDevice):
    """ReRAM with exponential steps, the closer of the two fits to one set of measurements.

    Measurements: Gong et al., "Signal and noise extraction from analog memory elements for
    neuromorphic computing", Nat. Commun. 9:2102, 2018.
    """

    dw_min: float = 0.00135
    dw_min_dtod: float = 0.2
    dw_min_std: float = 5.0
    up_down: float = 0.259359
    up_down_dtod: float = 0.05
    w_max: float = 1.0
    w_min: float = -1.0
    A_up: float = -1.18445
    A_down: float = -0.081404
    gamma_up: float = 5.0
    gamma_down: float = 5.0
    a: float = -0.5
    b: float = -0.5
    write_noise_std: float = 75.0


@register_config_class
@dataclass
class ReRamSBPresetDevice(SoftBoundsReferenceDevice):
    """ReRAM with soft bounds, a coarse fit to the same measurements as `ReRamESPresetDevice`.

    Steps up and down are equal at weight zero: a reference device is taken as already subtracted.
    Presets of the transfer algorithms set `subtract_symmetry_point` to remove what is left.

    Measurements: Gong et al., Nat. Commun. 9:2102, 2018.
    """

    dw_min: float = 0.002
    dw_min_std: float = 3.75
    w_max: float = 1.25
    # The spread is 0.3 in units of the weight for both bounds.
    w_max_dtod: float = 0.3 / 1.25
    w_min: float = -0.75
    w_min_dtod: float = 0.3 / 0.75
    write_noise_std: float = 56.0


@register_config_class
@dataclass
class CapacitorPresetDevice(LinearStepDevice):
    """Capacitor with leakage, a linear-step fit.

    The weight leaks once per mini-batch, so `lifetime` counts mini-batches: set it to the decay
    time of the capacitor over the time that a forward, backward and update pass takes.

    Measurements: Li et al., "Capacitor-based cross-point array for analog neural network with
    record symmetry and linearity", VLSI 2018.
    """

    dw_min: float = 0.005
    dw_min_dtod: float = 0.1
    lifetime: float = 1e6
    lifetime_dtod: float = 0.3
    up_down_dtod: float = 0.06
    w_max: float = 1.0
    w_max_dtod: float = 0.07
    w_min: float = -1.0
    w_min_dtod: float = 0.07
    gamma_up: float = 0.05
    gamma_down: float = 0.05
    gamma_up_dtod: float = 0.01
    gamma_down_dtod: float = 0.01
    mult_noise: bool = False


@register_config_class
@dataclass
class EcRamPresetDevice(LinearStepDevice):
    """Lithium ECRAM, a linear-step fit whose range is shifted until zero is the symmetry point.

    Measurements: Tang et al., "ECRAM as scalable synaptic cell for high-speed, low-power
    neuromorphic computing", IEDM 2018.
    """

    dw_min: float = 0.002
    dw_min_dtod: float = 0.1
    w_max: float = 1.1724
    w_max_dtod: float = 0.05
    w_min: float = -0.8276
    w_min_dtod: float = 0.05
    gamma_up: float = 0.1153
    gamma_down: float = 0.5085


@register_config_class
@dataclass
class EcRamMOPresetDevice(LinearStepDevice):
    """Metal-oxide ECRAM, a linear-step fit whose range is shifted as for `EcRamPresetDevice`.

    Measurements: Kim et al., "Metal-oxide based, CMOS-compatible ECRAM for deep learning
    accelerator", IEDM 2019.
    """

    dw_min: float = 2.8214e-4
    dw_min_dtod: float = 0.1
    dw_min_std: float = 2.0
    w_max: float = 1.1714
    w_max_dtod: float = 0.05
    w_min: float = -0.8286
    w_min_dtod: float = 0.05
    gamma_up: float = 0.4152
    gamma_down: float = 0.7342


@register_config_class
@dataclass
class IdealizedPresetDevice(ConstantStepDevice):
    """Device for comparison with 10 000 symmetric constant steps over its mean range.

    It is no fit to any hardware: steps vary by 30 % between devices and from pulse to pulse, and
    bounds by 30 % between devices, but up and down are equal everywhere.
    """

    dw_min: float = 0.0002
    up_down_dtod: float = 0.0
    w_max: float = 1.0
    w_min: float = -1.0


@register_config_class
@dataclass
class GokmenVlasovPresetDevice(ConstantStepDevice):
    """Specification of a device for training, scaled from a range of 0.6 to one of 1.

    Source: Gokmen and Vlasov, "Acceleration of deep neural network training with resistive
    cross-point devices", Front. Neurosci. 10:333, 2016.
    """

    # 1250 steps over the range; the source has 1200.
    dw_min: float = 0.0016
    w_max: float = 1.0
    w_min: float = -1.0


@register_config_class
@dataclass
class PCMPresetDevice(ExpStepDevice):
    """Phase-change memory of Ge2Sb2Te5, whose conductance pulses can only increase.

    For training it needs a pair with refresh,
    [`PCMPresetUnitCell`][mho.simulator.presets.compounds.PCMPresetUnitCell].

    Measurements: Nandakumar et al., "Mixed-precision deep learning based on computational memory",
    Front. Neurosci. 14:406, 2020.
    """

    dw_min: float = 0.01
    dw_min_dtod: float = 0.2
    dw_min_std: float = 0.6
    reset: float = 0.01
    reset_dtod: float = 0.02
    up_down_dtod: float = 0.05
    w_max: float = 2.0
    w_max_dtod: float = 0.1
    w_min: float = 0.0
    w_min_dtod: float = 0.0
    A_up: float = -27.235
    A_down: float = -2.235
    gamma_up: float = 2.5
    gamma_down: float = 2.5
    a: float = -1.0
    b: float = 0.0
    dw_min_std_add: float = 0.042
    dw_min_std_slope: float = 0.108


@register_config_class
@dataclass
class ReRamArrayOMPresetDevice(SoftBoundsReferenceDevice):
    """ReRAM array in 14 nm CMOS with optimised material, a fit with soft bounds.

    The symmetry point is subtracted with an error of `reference_std`. Stuck devices of the array
    are left out; `corrupt_devices_prob=0.135` adds the measured share.

    Measurements: Gong, Rasch et al., "Deep learning acceleration in 14nm CMOS compatible ReRAM
    array: device, material and algorithm co-optimization", IEDM 2022.
    """

    corrupt_devices_range: float = 0.01
    dw_min: float = 0.0949
    dw_min_dtod: float = 0.7829
    dw_min_dtod_log_normal: bool = True
    dw_min_std: float = 0.4158
    w_max: float = 1.0
    w_max_dtod: float = 0.3499
    w_min: float = -1.0
    w_min_dtod: float = 0.5695
    write_noise_std: float = 1.4113
    reference_std: float = 0.05
    subtract_symmetry_point: bool = True


@register_config_class
@dataclass
class ReRamArrayHfO2PresetDevice(SoftBoundsReferenceDevice):
    """ReRAM array in 14 nm CMOS with plain HfO2, otherwise as `ReRamArrayOMPresetDevice`.

    The measured share of stuck devices is 10 %.

    Measurements: Gong, Rasch et al., IEDM 2022.
    """

    corrupt_devices_range: float = 0.01
    dw_min: float = 0.4622
    dw_min_dtod: float = 0.7125
    dw_min_dtod_log_normal: bool = True
    dw_min_std: float = 0.2174
    w_max: float = 1.0
    w_max_dtod: float = 0.4295
    w_min: float = -1.0
    w_min_dtod: float = 0.599
    write_noise_std: float = 0.5841
    reference_std: float = 0.05
    subtract_symmetry_point: bool = True
