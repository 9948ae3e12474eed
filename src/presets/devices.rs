//! Devices fitted to measurements or taken from publications.
//!
//! All weights are normalised: one is half of the range of the device.
//!
//! Written by tools/make_presets.py from src/presets/table.json.

use crate::devices::{
    ConstantStep, DeviceConfig, ExpStep, LinearStep, PulsedParameters, SoftBoundsReference,
};

/// ReRAM with exponential steps, the closer of the two fits to one set of measurements.
///
/// Measurements: Gong et al., "Signal and noise extraction from analog memory elements for
/// neuromorphic computing", Nat. Commun. 9:2102, 2018.
#[must_use]
pub fn re_ram_es_device() -> DeviceConfig {
    DeviceConfig::ExpStep(ExpStep {
        pulsed: PulsedParameters {
            dw_min: 0.00135,
            dw_min_dtod: 0.2,
            dw_min_std: 5.0,
            up_down: 0.259359,
            up_down_dtod: 0.05,
            w_max: 1.0,
            w_min: -1.0,
            ..PulsedParameters::default()
        },
        A_up: -1.18445,
        A_down: -0.081404,
        gamma_up: 5.0,
        gamma_down: 5.0,
        a: -0.5,
        b: -0.5,
        write_noise_std: 75.0,
        ..ExpStep::default()
    })
}

/// ReRAM with soft bounds, a coarse fit to the same measurements as
/// [`re_ram_es_device`](super::re_ram_es_device).
///
/// Steps up and down are equal at weight zero: a reference device is taken as already subtracted.
/// Presets of the transfer algorithms set `subtract_symmetry_point` to remove what is left.
///
/// Measurements: Gong et al., Nat. Commun. 9:2102, 2018.
#[must_use]
pub fn re_ram_sb_device() -> DeviceConfig {
    DeviceConfig::SoftBoundsReference(SoftBoundsReference {
        pulsed: PulsedParameters {
            dw_min: 0.002,
            dw_min_std: 3.75,
            w_max: 1.25,
            w_max_dtod: 0.3 / 1.25,
            w_min: -0.75,
            w_min_dtod: 0.3 / 0.75,
            ..PulsedParameters::default()
        },
        write_noise_std: 56.0,
        ..SoftBoundsReference::default()
    })
}

/// Capacitor with leakage, a linear-step fit.
///
/// The weight leaks once per mini-batch, so `lifetime` counts mini-batches: set it to the decay
/// time of the capacitor over the time that a forward, backward and update pass takes.
///
/// Measurements: Li et al., "Capacitor-based cross-point array for analog neural network with
/// record symmetry and linearity", VLSI 2018.
#[must_use]
pub fn capacitor_device() -> DeviceConfig {
    DeviceConfig::LinearStep(LinearStep {
        pulsed: PulsedParameters {
            dw_min: 0.005,
            dw_min_dtod: 0.1,
            lifetime: 1e6,
            lifetime_dtod: 0.3,
            up_down_dtod: 0.06,
            w_max: 1.0,
            w_max_dtod: 0.07,
            w_min: -1.0,
            w_min_dtod: 0.07,
            ..PulsedParameters::default()
        },
        gamma_up: 0.05,
        gamma_down: 0.05,
        gamma_up_dtod: 0.01,
        gamma_down_dtod: 0.01,
        mult_noise: false,
        ..LinearStep::default()
    })
}

/// Lithium ECRAM, a linear-step fit whose range is shifted until zero is the symmetry point.
///
/// Measurements: Tang et al., "ECRAM as scalable synaptic cell for high-speed, low-power
/// neuromorphic computing", IEDM 2018.
#[must_use]
pub fn ec_ram_device() -> DeviceConfig {
    DeviceConfig::LinearStep(LinearStep {
        pulsed: PulsedParameters {
            dw_min: 0.002,
            dw_min_dtod: 0.1,
            w_max: 1.1724,
            w_max_dtod: 0.05,
            w_min: -0.8276,
            w_min_dtod: 0.05,
            ..PulsedParameters::default()
        },
        gamma_up: 0.1153,
        gamma_down: 0.5085,
        ..LinearStep::default()
    })
}

/// Metal-oxide ECRAM, a linear-step fit whose range is shifted as for
/// [`ec_ram_device`](super::ec_ram_device).
///
/// Measurements: Kim et al., "Metal-oxide based, CMOS-compatible ECRAM for deep learning
/// accelerator", IEDM 2019.
#[must_use]
pub fn ec_ram_mo_device() -> DeviceConfig {
    DeviceConfig::LinearStep(LinearStep {
        pulsed: PulsedParameters {
            dw_min: 2.8214e-4,
            dw_min_dtod: 0.1,
            dw_min_std: 2.0,
            w_max: 1.1714,
            w_max_dtod: 0.05,
            w_min: -0.8286,
            w_min_dtod: 0.05,
            ..PulsedParameters::default()
        },
        gamma_up: 0.4152,
        gamma_down: 0.7342,
        ..LinearStep::default()
    })
}

/// Device for comparison with 10 000 symmetric constant steps over its mean range.
///
/// It is no fit to any hardware: steps vary by 30 % between devices and from pulse to pulse, and
/// bounds by 30 % between devices, but up and down are equal everywhere.
#[must_use]
pub fn idealized_device() -> DeviceConfig {
    DeviceConfig::ConstantStep(ConstantStep {
        pulsed: PulsedParameters {
            dw_min: 0.0002,
            up_down_dtod: 0.0,
            w_max: 1.0,
            w_min: -1.0,
            ..PulsedParameters::default()
        },
    })
}

/// Specification of a device for training, scaled from a range of 0.6 to one of 1.
///
/// Source: Gokmen and Vlasov, "Acceleration of deep neural network training with resistive
/// cross-point devices", Front. Neurosci. 10:333, 2016.
#[must_use]
pub fn gokmen_vlasov_device() -> DeviceConfig {
    DeviceConfig::ConstantStep(ConstantStep {
        pulsed: PulsedParameters {
            dw_min: 0.0016,
            w_max: 1.0,
            w_min: -1.0,
            ..PulsedParameters::default()
        },
    })
}

/// Phase-change memory of Ge2Sb2Te5, whose conductance pulses can only increase.
///
/// For training it needs a pair with refresh, [`pcm_unit_cell`](super::pcm_unit_cell).
///
/// Measurements: Nandakumar et al., "Mixed-precision deep learning based on computational memory",
/// Front. Neurosci. 14:406, 2020.
#[must_use]
pub fn pcm_device() -> DeviceConfig {
    DeviceConfig::ExpStep(ExpStep {
        pulsed: PulsedParameters {
            dw_min: 0.01,
            dw_min_dtod: 0.2,
            dw_min_std: 0.6,
            reset: 0.01,
            reset_dtod: 0.02,
            up_down_dtod: 0.05,
            w_max: 2.0,
            w_max_dtod: 0.1,
            w_min: 0.0,
            w_min_dtod: 0.0,
            ..PulsedParameters::default()
        },
        A_up: -27.235,
        A_down: -2.235,
        gamma_up: 2.5,
        gamma_down: 2.5,
        a: -1.0,
        b: 0.0,
        dw_min_std_add: 0.042,
        dw_min_std_slope: 0.108,
        ..ExpStep::default()
    })
}

/// ReRAM array in 14 nm CMOS with optimised material, a fit with soft bounds.
///
/// The symmetry point is subtracted with an error of `reference_std`. Stuck devices of the array
/// are left out; `corrupt_devices_prob=0.135` adds the measured share.
///
/// Measurements: Gong, Rasch et al., "Deep learning acceleration in 14nm CMOS compatible ReRAM
/// array: device, material and algorithm co-optimization", IEDM 2022.
#[must_use]
pub fn re_ram_array_om_device() -> DeviceConfig {
    DeviceConfig::SoftBoundsReference(SoftBoundsReference {
        pulsed: PulsedParameters {
            corrupt_devices_range: 0.01,
            dw_min: 0.0949,
            dw_min_dtod: 0.7829,
            dw_min_dtod_log_normal: true,
            dw_min_std: 0.4158,
            w_max: 1.0,
            w_max_dtod: 0.3499,
            w_min: -1.0,
            w_min_dtod: 0.5695,
            ..PulsedParameters::default()
        },
        write_noise_std: 1.4113,
        reference_std: 0.05,
        subtract_symmetry_point: true,
        ..SoftBoundsReference::default()
    })
}

/// ReRAM array in 14 nm CMOS with plain HfO2, otherwise as
/// [`re_ram_array_om_device`](super::re_ram_array_om_device).
///
/// The measured share of stuck devices is 10 %.
///
/// Measurements: Gong, Rasch et al., IEDM 2022.
#[must_use]
pub fn re_ram_array_hfo2_device() -> DeviceConfig {
    DeviceConfig::SoftBoundsReference(SoftBoundsReference {
        pulsed: PulsedParameters {
            corrupt_devices_range: 0.01,
            dw_min: 0.4622,
            dw_min_dtod: 0.7125,
            dw_min_dtod_log_normal: true,
            dw_min_std: 0.2174,
            w_max: 1.0,
            w_max_dtod: 0.4295,
            w_min: -1.0,
            w_min_dtod: 0.599,
            ..PulsedParameters::default()
        },
        write_noise_std: 0.5841,
        reference_std: 0.05,
        subtract_symmetry_point: true,
        ..SoftBoundsReference::default()
    })
}
