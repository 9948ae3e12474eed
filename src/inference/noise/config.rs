//! Which noise model a configuration says.

use serde::{Deserialize, Serialize};

use super::draws::RowDraws;
use super::hermes::HermesNoiseModel;
use super::model::NoiseModel;
use super::pcm::{CustomDriftPCMLikeNoiseModel, PCMLikeNoiseModel};
use super::reram_cmo::ReRamCMONoiseModel;
use super::reram_wan::ReRamWan2022NoiseModel;
use super::state_independent::StateIndependentNoiseModel;
use crate::config::read_json;
use crate::error::{Error, Result};
use crate::inference::converter::ConductanceConverter;

macro_rules! models {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One of the noise models of this crate. In JSON as the Python package saves it, for example
        /// `{"type": "PCMLikeNoiseModel", "params": {"t_0": 20.0}}`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "type", content = "params", deny_unknown_fields)]
        #[non_exhaustive]
        #[allow(clippy::enum_variant_names, reason = "names of the Python classes")]
        pub enum NoiseModelConfig {
            $($(#[$doc])* $name(Box<$name>),)*
        }

        $(impl From<$name> for NoiseModelConfig {
            fn from(model: $name) -> Self {
                Self::$name(Box::new(model))
            }
        })*

        impl NoiseModelConfig {
            /// The model.
            #[must_use]
            pub fn model(&self) -> &dyn NoiseModel {
                match self {
                    $(Self::$name(model) => &**model,)*
                }
            }
        }
    };
}

models! {
    /// Phase-change memory.
    PCMLikeNoiseModel,
    /// Phase-change memory with exponents of one's own.
    CustomDriftPCMLikeNoiseModel,
    /// Phase-change memory of the Hermes chip.
    HermesNoiseModel,
    /// Resistive memory of the NeuRRAM chip.
    ReRamWan2022NoiseModel,
    /// CMO/HfOx resistive memory.
    ReRamCMONoiseModel,
    /// Noise of one strength.
    StateIndependentNoiseModel,
}

impl Default for NoiseModelConfig {
    fn default() -> Self {
        PCMLikeNoiseModel::default().into()
    }
}

impl NoiseModelConfig {
    /// Reads and checks a model.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn from_json(text: &str) -> Result<Self> {
        let config: Self = read_json(text)?;
        config.validate("noise_model")?;
        Ok(config)
    }

    /// Canonical JSON text.
    ///
    /// # Errors
    /// [`Error::Config`] when a value cannot be written.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::config("noise_model", error.to_string()))
    }
}

impl NoiseModel for NoiseModelConfig {
    fn converter(&self) -> &dyn ConductanceConverter {
        self.model().converter()
    }

    fn keep_conductances(&self) -> bool {
        self.model().keep_conductances()
    }

    fn has_drift_coefficients(&self) -> bool {
        self.model().has_drift_coefficients()
    }

    fn validate(&self, path: &str) -> Result<()> {
        self.model().validate(path)
    }

    fn check_time(&self, t_inference: f64) -> Result<()> {
        self.model().check_time(t_inference)
    }

    fn apply_programming_noise_to_conductance(
        &self,
        g_target: &[f32],
        g_prog: &mut [f32],
        draws: RowDraws,
    ) -> Result<()> {
        self.model().apply_programming_noise_to_conductance(g_target, g_prog, draws)
    }

    fn generate_drift_coefficients(
        &self,
        g_target: &[f32],
        coefficients: &mut [f32],
        draws: RowDraws,
    ) -> Result<()> {
        self.model().generate_drift_coefficients(g_target, coefficients, draws)
    }

    fn apply_drift_noise_to_conductance(
        &self,
        g_prog: &[f32],
        drift_noise_param: Option<&[f32]>,
        t_inference: f64,
        g_read: &mut [f32],
        draws: RowDraws,
    ) -> Result<()> {
        self.model().apply_drift_noise_to_conductance(
            g_prog,
            drift_noise_param,
            t_inference,
            g_read,
            draws,
        )
    }
}
