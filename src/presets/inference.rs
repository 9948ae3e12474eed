//! Configurations for inference, and for an exact reference.
//!
//! Written by tools/make_presets.py from src/presets/table.json.

use super::parameters::preset_io_parameters;
use crate::config::{BoundManagement, IoParameters, NoiseManagement, WeightNoise};
use crate::inference::{GlobalDriftCompensation, InferenceConfig, PCMLikeNoiseModel};

/// Inference on chips of phase-change memory.
///
/// Products have 8-bit converters, PCM read noise and IR drop (Rasch et al., "Hardware-aware
/// training for large-scale and diverse deep learning inference workloads using in-memory
/// computing-based accelerators", Nat. Commun. 14:5282, 2023). Input range, scales and bias are
/// those of the layer around the tile.
#[must_use]
pub fn standard_hwa_training() -> InferenceConfig {
    let forward = IoParameters {
        inp_res: 254.0,
        out_res: 254.0,
        out_bound: 10.0,
        out_noise: 0.04,
        bound_management: BoundManagement::None,
        noise_management: NoiseManagement::Constant,
        nm_thres: 1.0,
        w_noise: 0.0175,
        w_noise_type: WeightNoise::PcmRead,
        ir_drop: 1.0,
        ..preset_io_parameters()
    };
    InferenceConfig {
        forward,
        noise_model: PCMLikeNoiseModel::default().into(),
        drift_compensation: Some(GlobalDriftCompensation::default().into()),
        ..InferenceConfig::default()
    }
}

/// Exact products, for comparison with analog ones.
#[must_use]
pub fn floating_point() -> InferenceConfig {
    let forward = IoParameters { is_perfect: true, ..IoParameters::default() };
    InferenceConfig { forward, ..InferenceConfig::default() }
}
