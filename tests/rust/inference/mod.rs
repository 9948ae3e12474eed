//! Inference with programmed weights: formulas against the Python package, and statistics.

mod formulas;
mod layer;
mod statistics;
mod tile;

use mho_core::inference::{NoiseModel, NoiseModelConfig, RowDraws};
use mho_core::{Key, Result};
use serde_json::Value;

/// What the formulas of the Python package give; `tests/python/data/make_inference_fixtures.py`
/// writes it.
pub fn fixtures(name: &str) -> Vec<Value> {
    let text = include_str!("fixtures.json");
    let all: Value = serde_json::from_str(text).unwrap();
    all[name].as_array().unwrap().clone()
}

/// A list of numbers.
pub fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

/// The noise model of a fixture.
pub fn model(fixture: &Value) -> NoiseModelConfig {
    NoiseModelConfig::from_json(&fixture["config"].to_string()).unwrap()
}

/// One row of devices, through all that happens to it.
pub struct Row {
    pub model: NoiseModelConfig,
    pub key: Key,
}

impl Row {
    pub fn program(&self, target: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; target.len()];
        let draws = RowDraws::of_programming(self.key, 0, 0);
        self.model.apply_programming_noise_to_conductance(target, &mut out, draws).unwrap();
        out
    }

    /// Drift parameters; none if devices have none.
    pub fn parameters(&self, target: &[f32]) -> Option<Vec<f32>> {
        let mut out = vec![0.0; target.len()];
        let draws = RowDraws::of_drift_parameters(self.key, 0, 0);
        self.model.generate_drift_coefficients(target, &mut out, draws).unwrap();
        self.model.has_drift_coefficients().then_some(out)
    }

    pub fn read(&self, g_prog: &[f32], parameters: Option<&[f32]>, t: f64) -> Result<Vec<f32>> {
        let mut out = vec![0.0; g_prog.len()];
        let draws = RowDraws::of_reads(self.key, 0, 0);
        self.model.apply_drift_noise_to_conductance(g_prog, parameters, t, &mut out, draws)?;
        Ok(out)
    }
}
