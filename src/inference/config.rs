//! All settings of a tile for inference.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compensation::CompensationConfig;
use super::noise::{NoiseModel, NoiseModelConfig};
use super::saved;
use crate::config::{
    IoParameters, MappingParameter, ModifierParameters, PrePostProcessingParameter,
    WeightClipParameter, WeightRemapParameter, read_json,
};
use crate::error::{Error, Result};

/// What an [`InferenceTile`](super::InferenceTile) and the layer around it need to know.
///
/// A tile alone is the bare array: `mapping` and `pre_post` act where
/// [`Linear::for_inference`](crate::layer::Linear::for_inference) makes a layer of it. `modifier`, `clip` and `remap`
/// are settings of training, for which tiles for inference have
/// [`modify_weights`](super::InferenceTile::modify_weights) and
/// [`clip_weights`](super::InferenceTile::clip_weights).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct InferenceConfig {
    /// Non-idealities of the product.
    pub forward: IoParameters,
    /// Programming error, drift and read noise of the weights.
    pub noise_model: NoiseModelConfig,
    /// Digital correction of drift; `None` is none.
    pub drift_compensation: Option<CompensationConfig>,
    /// Change of the weights that training sees.
    pub modifier: ModifierParameters,
    /// How the weights of a layer are put on tiles.
    pub mapping: MappingParameter,
    /// Digital processing before and after a tile.
    pub pre_post: PrePostProcessingParameter,
    /// Clipping of the weights after each step of training.
    pub clip: WeightClipParameter,
    /// Rescaling of weights and scales after each step of training.
    pub remap: WeightRemapParameter,
}

impl Default for InferenceConfig {
    fn default() -> Self {
        Self {
            forward: IoParameters::default(),
            noise_model: NoiseModelConfig::default(),
            drift_compensation: Some(CompensationConfig::default()),
            modifier: ModifierParameters::default(),
            mapping: MappingParameter::default(),
            pre_post: PrePostProcessingParameter::default(),
            clip: WeightClipParameter::default(),
            remap: WeightRemapParameter::default(),
        }
    }
}

impl InferenceConfig {
    /// Reads and checks a configuration; what it leaves out has its default.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Unsupported`] naming the field.
    pub fn from_json(text: &str) -> Result<Self> {
        if let Ok(fields) = serde_json::from_str(text) {
            refuse_exact_ir_drop(&fields)?;
        }
        let config: Self = read_json(text)?;
        config.validate()?;
        Ok(config)
    }

    /// Reads and checks the configuration of an inference tile as the Python package saves it: the text under
    /// `rpu_config` in the entry `analog_tile_config` of a state. Where and with which update the package trains it
    /// is not looked at.
    ///
    /// ```
    /// use mho_core::inference::{InferenceConfig, NoiseModelConfig};
    ///
    /// let text = r#"{"type": "InferenceRPUConfig", "params": {
    ///     "forward": {"type": "IOParameters", "params": {
    ///         "out_noise": 0.04, "noise_management": {"enum": ["NoiseManagementType", "ABS_MAX"]}}},
    ///     "noise_model": {"type": "ReRamCMONoiseModel", "params": {"acceptance_range": 2.0}},
    ///     "drift_compensation": null}}"#;
    /// let config = InferenceConfig::from_saved(text)?;
    /// assert_eq!(config.forward.out_noise, 0.04);
    /// assert!(matches!(config.noise_model, NoiseModelConfig::ReRamCMONoiseModel(_)));
    /// # Ok::<(), mho_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Unsupported`] naming the field.
    pub fn from_saved(text: &str) -> Result<Self> {
        let params = saved::params(text)?;
        refuse_exact_ir_drop(&params)?;
        let config: Self = read_json(&saved::plain(params)?.to_string())?;
        config.validate()?;
        Ok(config)
    }

    /// Canonical JSON text.
    ///
    /// # Errors
    /// [`Error::Config`] when a value cannot be written.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::config("config", error.to_string()))
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Unsupported`] naming the field.
    pub fn validate(&self) -> Result<()> {
        self.forward.validate("forward")?;
        self.noise_model.validate("noise_model")?;
        self.modifier.validate("modifier")?;
        self.mapping.validate("mapping")?;
        let (input_range, path) = (&self.pre_post.input_range, "pre_post.input_range");
        input_range.validate(path)?;
        input_range.check_observed(path, &self.forward)?;
        self.clip.validate("clip")?;
        self.remap.validate("remap")
    }
}

/// Refuses the exact solution of the network of wires.
fn refuse_exact_ir_drop(fields: &Value) -> Result<()> {
    if fields.get("crossbar").is_none_or(Value::is_null) {
        return Ok(());
    }
    let why =
        "the crate has no exact IR drop; leave it out, or use forward.ir_drop, its first order";
    Err(Error::unsupported("crossbar", why))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: Result<InferenceConfig>, start: &str) {
        let error = found.unwrap_err().to_string();
        assert!(error.starts_with(start), "{error}");
    }

    #[test]
    fn what_is_not_built_is_refused_by_name() {
        let exact = r#"{"crossbar": {"r_wire": 1.0}}"#;
        check(InferenceConfig::from_json(exact), "crossbar is not supported");
        let saved = format!(r#"{{"type": "InferenceRPUConfig", "params": {exact}}}"#);
        check(InferenceConfig::from_saved(&saved), "crossbar is not supported");
        let saved = r#"{"type": "TorchInferenceRPUConfigIRDropT", "params":
            {"forward": {"type": "IOParametersIRDropT", "params": {}}}}"#;
        let start = "forward.type = IOParametersIRDropT is not supported";
        check(InferenceConfig::from_saved(saved), start);
        let saved = r#"{"type": "TorchInferenceRPUConfig", "params": {"modifier":
            {"type": "WeightModifierParameter", "params": {"per_batch_sample": true}}}}"#;
        check(InferenceConfig::from_saved(saved), "modifier.per_batch_sample is not supported");
        let saved = r#"{"type": "TorchInferenceRPUConfig", "params": {"pre_post":
            {"type": "PrePostProcessingParameterQuant", "params": {"periph_quant":
            {"type": "PeripheryQuantizationParameter", "params": {"n_bits": 8}}}}}}"#;
        let start = "pre_post.periph_quant.n_bits is not supported";
        check(InferenceConfig::from_saved(saved), start);
        let off = saved.replace('8', "0");
        assert_eq!(InferenceConfig::from_saved(&off).unwrap(), InferenceConfig::default());
    }

    #[test]
    fn fields_are_named() {
        let read = InferenceConfig::from_json;
        let model = |params: &str| {
            let config = format!(r#"{{"type": "PCMLikeNoiseModel", "params": {params}}}"#);
            read(&format!(r#"{{"noise_model": {config}}}"#))
        };
        check(model(r#"{"t_1": 1}"#), "noise_model");
        check(model(r#"{"t_0": -1}"#), "noise_model.t_0: must be positive");
        check(read(r#"{"forward": {"inp_noise": 1e300}}"#), "forward.inp_noise");
        check(read(r#"{"backwards": {}}"#), "backwards");
        check(read(r#"{"mapping": {"weight_scaling_omega": 1e300}}"#), "mapping.weight_scaling");
        let range = |fields: &str| {
            read(&format!(r#"{{"pre_post": {{"input_range": {{"enable": true, {fields}}}}}}}"#))
        };
        check(range(r#""init_value": 0"#), "pre_post.input_range.init_value");
        let start = "pre_post.input_range.manage_output_clipping";
        check(range(r#""manage_output_clipping": true"#), start);
        check(read(r#"{"clip": {"sigma": 1e300}}"#), "clip.sigma");
        check(read(r#"{"clip": {"type": "Fixed"}}"#), "clip.type");
        let remap = |fields: &str| {
            read(&format!(r#"{{"remap": {{"type": "ChannelwiseSymmetric", {fields}}}}}"#))
        };
        check(remap(r#""remapped_wmax": 0"#), "remap.remapped_wmax: must be positive");
        let limited = r#""remapped_wmax": 0.5, "max_scale_range": 2"#;
        check(remap(limited), "remap.remapped_wmax: must be 1");
        check(InferenceConfig::from_saved("[]"), "config: expected an object");
    }

    #[test]
    fn texts_come_back() {
        let config = InferenceConfig { drift_compensation: None, ..InferenceConfig::default() };
        assert_eq!(InferenceConfig::from_json(&config.to_json().unwrap()).unwrap(), config);
        assert_eq!(InferenceConfig::from_json("{}").unwrap(), InferenceConfig::default());
    }
}
