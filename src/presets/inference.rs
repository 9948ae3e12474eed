//! Configurations for inference, and for an exact reference.
//!
//! Written by tools/make_presets.py from src/presets/table.json.

use super::parameters::preset_io_parameters;
use crate::config::{
    BoundManagement, InputRangeParameter, IoParameters, MappingParameter, NoiseManagement,
    PrePostProcessingParameter, WeightClipParameter, WeightClipType, WeightNoise,
    WeightRemapParameter, WeightRemapType,
};
use crate::inference::{GlobalDriftCompensation, InferenceConfig, PCMLikeNoiseModel};

/// Inference on chips of phase-change memory.
///
/// Products have 8-bit converters, input ranges, PCM read noise and IR drop, and each output has a
/// mapping scale (Rasch et al., "Hardware-aware training for large-scale and diverse deep learning
/// inference workloads using in-memory computing-based accelerators", Nat. Commun. 14:5282, 2023).
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
    let mapping = MappingParameter {
        weight_scaling_omega: 1.0,
        weight_scaling_columnwise: true,
        learn_out_scaling: true,
        out_scaling_columnwise: true,
        max_input_size: 512,
        max_output_size: 0,
        ..MappingParameter::default()
    };
    let pre_post = PrePostProcessingParameter {
        input_range: InputRangeParameter { enable: true, ..InputRangeParameter::default() },
    };
    let clip = WeightClipParameter {
        kind: WeightClipType::FixedValue,
        fixed_value: 1.0,
        ..WeightClipParameter::default()
    };
    let remap = WeightRemapParameter {
        kind: WeightRemapType::ChannelwiseSymmetric,
        ..WeightRemapParameter::default()
    };
    InferenceConfig {
        forward,
        noise_model: PCMLikeNoiseModel::default().into(),
        drift_compensation: Some(GlobalDriftCompensation::default().into()),
        mapping,
        pre_post,
        clip,
        remap,
        ..InferenceConfig::default()
    }
}

/// Exact products, for comparison with analog ones.
#[must_use]
pub fn floating_point() -> InferenceConfig {
    let forward = IoParameters { is_perfect: true, ..IoParameters::default() };
    let mapping =
        MappingParameter { max_input_size: 0, max_output_size: 0, ..MappingParameter::default() };
    InferenceConfig { forward, mapping, ..InferenceConfig::default() }
}
