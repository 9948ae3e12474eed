//! Parameters of products and updates that presets share.
//!
//! Written by tools/make_presets.py from src/presets/table.json.

use crate::config::{
    BoundManagement, IoParameters, NoiseManagement, PulseType, UpdateParameters, WeightNoise,
};

/// Product with a 7-bit input and a 9-bit output converter, as the training presets use it.
#[must_use]
pub fn preset_io_parameters() -> IoParameters {
    IoParameters {
        bound_management: BoundManagement::Iterative,
        noise_management: NoiseManagement::AbsMax,
        inp_res: 1.0 / 126.0,
        inp_sto_round: false,
        out_bound: 20.0,
        out_noise: 0.1,
        out_res: 1.0 / 510.0,
        w_noise: 0.0,
        w_noise_type: WeightNoise::None,
        ..IoParameters::default()
    }
}

/// Product with 8-bit converters and little output noise.
#[must_use]
pub fn standard_io_parameters() -> IoParameters {
    IoParameters {
        bound_management: BoundManagement::Iterative,
        noise_management: NoiseManagement::AbsMax,
        inp_res: 1.0 / 254.0,
        inp_sto_round: false,
        out_bound: 10.0,
        out_noise: 0.04,
        out_res: 1.0 / 254.0,
        w_noise: 0.0,
        w_noise_type: WeightNoise::None,
        ..IoParameters::default()
    }
}

/// Update with pulse trains of managed length, as the training presets use it.
#[must_use]
pub fn preset_update_parameters() -> UpdateParameters {
    UpdateParameters {
        desired_bl: 31,
        pulse_type: PulseType::StochasticCompressed,
        update_bl_management: true,
        update_management: true,
        ..UpdateParameters::default()
    }
}
