//! All settings of a tile for inference.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compensation::CompensationConfig;
use super::noise::{NoiseModel, NoiseModelConfig};
use super::saved;
use crate::config::{IoParameters, ModifierParameters, read_json};
use crate::error::{Error, Result};

/// What an [`InferenceTile`](super::InferenceTile) needs to know.
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
}

impl Default for InferenceConfig {
    fn default() -> Self {
        Self {
            forward: IoParameters::default(),
            noise_model: NoiseModelConfig::default(),
            drift_compensation: Some(CompensationConfig::default()),
            modifier: ModifierParameters::default(),
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
    /// `rpu_config` in the entry `analog_tile_config` of a state. What concerns layers, such as mapping and
    /// input range, is not looked at.
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
        self.modifier.validate("modifier")
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

    fn refused(text: &str, name: &str) {
        for error in [InferenceConfig::from_json(text), InferenceConfig::from_saved(text)] {
            if let Err(error) = error {
                assert!(error.to_string().starts_with(name), "{error}");
                return;
            }
        }
        panic!("{text} was read");
    }

    #[test]
    fn what_is_not_built_is_refused_by_name() {
        refused(r#"{"crossbar": {"r_wire": 1.0}}"#, "crossbar is not supported");
        let saved = r#"{"type": "InferenceRPUConfig", "params": {"crossbar": {}}}"#;
        let error = InferenceConfig::from_saved(saved).unwrap_err().to_string();
        assert!(error.starts_with("crossbar is not supported"), "{error}");
        let saved = r#"{"type": "TorchInferenceRPUConfigIRDropT", "params":
            {"forward": {"type": "IOParametersIRDropT", "params": {}}}}"#;
        let error = InferenceConfig::from_saved(saved).unwrap_err().to_string();
        assert!(
            error.starts_with("forward.type = IOParametersIRDropT is not supported"),
            "{error}"
        );
    }

    #[test]
    fn fields_are_named() {
        refused(
            r#"{"noise_model": {"type": "PCMLikeNoiseModel", "params": {"t_1": 1}}}"#,
            "noise_model",
        );
        let negative = r#"{"noise_model": {"type": "PCMLikeNoiseModel", "params": {"t_0": -1}}}"#;
        refused(negative, "noise_model.t_0: must be positive");
        refused(r#"{"forward": {"inp_noise": 1e300}}"#, "forward.inp_noise");
    }

    #[test]
    fn texts_come_back() {
        let config = InferenceConfig { drift_compensation: None, ..InferenceConfig::default() };
        assert_eq!(InferenceConfig::from_json(&config.to_json().unwrap()).unwrap(), config);
        assert_eq!(InferenceConfig::from_json("{}").unwrap(), InferenceConfig::default());
    }
}
