//! Weights that were programmed, and how they are read later.

use serde::{Deserialize, Serialize};

use super::converter::{ConductanceConverter, Scale};
use super::noise::{NoiseModel, RowDraws};
use crate::config::check_sizes;
use crate::error::{Error, Result};
use crate::memory;
use crate::par::Par;
use crate::rng::Key;

/// Cells of one task, about: some microseconds of work.
const CELLS: usize = 1 << 13;
/// Nanoseconds per cell, of what draws once.
const CELL_NS: f64 = 2.0;

/// Weights as programming arrived at them, with what is needed to read them at any time.
///
/// Names are those of the entries of a saved state of the Python package; all matrices are `[out, in]`
/// row-major. Readings are independent: each starts from the programmed weights, with the drift
/// parameters that were drawn when they were programmed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgrammedWeights {
    columns: usize,
    reference_combined_weights: Vec<f32>,
    programmed_weights: Vec<f32>,
    drift_noise_parameters: Vec<Vec<f32>>,
    programmed_conductances: Vec<Vec<f32>>,
}

impl ProgrammedWeights {
    /// Programs `weights`, rows of `columns`.
    ///
    /// # Errors
    /// [`Error::Config`] naming a field of the model, [`Error::Shape`] and [`Error::Argument`] for weights
    /// that are no matrix or not finite, [`Error::Memory`], [`Error::Interrupted`].
    pub fn program(
        model: &dyn NoiseModel,
        weights: &[f32],
        columns: usize,
        key: Key,
    ) -> Result<Self> {
        Self::program_devices(model, weights, columns, key, model.keep_conductances())
    }

    fn program_devices(
        model: &dyn NoiseModel,
        weights: &[f32],
        columns: usize,
        key: Key,
        keep_conductances: bool,
    ) -> Result<Self> {
        model.validate("noise_model")?;
        check_matrix(weights, columns)?;
        Error::check_finite("weights", weights)?;
        let converter = model.converter();
        let targets = converter.convert_to_conductances(weights, columns)?;
        check_count(targets.values.len())?;
        let (mut conductances, mut parameters) = (Vec::new(), Vec::new());
        for (device, target) in targets.values.iter().enumerate() {
            let device = device as u8;
            conductances.push(each_row(target, columns, |row, target, out| {
                let draws = RowDraws::of_programming(key, device, row);
                model.apply_programming_noise_to_conductance(target, out, draws)
            })?);
            if model.has_drift_coefficients() {
                parameters.push(each_row(target, columns, |row, target, out| {
                    let draws = RowDraws::of_drift_parameters(key, device, row);
                    model.generate_drift_coefficients(target, out, draws)
                })?);
            }
        }
        let programmed = back(converter, &conductances, columns, &targets.params)?;
        Ok(Self {
            columns,
            reference_combined_weights: memory::copied(weights)?,
            programmed_weights: programmed,
            drift_noise_parameters: parameters,
            programmed_conductances: if keep_conductances { conductances } else { Vec::new() },
        })
    }

    /// What a saved state has: target and programmed weights `[out, in]`, one matrix of drift parameters
    /// per device of a weight (none where devices have none), and kept conductances in µS likewise.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] for matrices that do not fit, or that are not finite.
    pub fn from_state(
        columns: usize,
        reference_combined_weights: Vec<f32>,
        programmed_weights: Vec<f32>,
        drift_noise_parameters: Vec<Vec<f32>>,
        programmed_conductances: Vec<Vec<f32>>,
    ) -> Result<Self> {
        let state = Self {
            columns,
            reference_combined_weights,
            programmed_weights,
            drift_noise_parameters,
            programmed_conductances,
        };
        state.check()?;
        Ok(state)
    }

    /// Checks what was read from elsewhere.
    fn check(&self) -> Result<()> {
        let len = self.programmed_weights.len();
        check_matrix(&self.programmed_weights, self.columns)?;
        Error::check_finite("programmed_weights", &self.programmed_weights)?;
        let listed = [
            ("reference_combined_weights", std::slice::from_ref(&self.reference_combined_weights)),
            ("drift_noise_parameters", &self.drift_noise_parameters),
            ("programmed_conductances", &self.programmed_conductances),
        ];
        for (argument, matrices) in listed {
            for matrix in matrices {
                Error::check_len(argument, matrix.len(), len)?;
                Error::check_finite(argument, matrix)?;
            }
        }
        Ok(())
    }

    /// Number of columns (inputs).
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The weights as they were programmed.
    #[must_use]
    pub fn weights(&self) -> &[f32] {
        &self.programmed_weights
    }

    /// The weights that programming aimed at.
    #[must_use]
    pub fn reference_combined_weights(&self) -> &[f32] {
        &self.reference_combined_weights
    }

    /// Drift parameters, one matrix per device of a weight; none where devices have none.
    #[must_use]
    pub fn drift_noise_parameters(&self) -> &[Vec<f32>] {
        &self.drift_noise_parameters
    }

    /// Conductances in µS that programming arrived at, one matrix per device of a weight, where the model
    /// keeps them.
    #[must_use]
    pub fn programmed_conductances(&self) -> &[Vec<f32>] {
        &self.programmed_conductances
    }

    /// The weights as they are read `t_inference` seconds after programming.
    ///
    /// # Errors
    /// [`Error::Config`] naming a field of the model, [`Error::Argument`] for a time without readings,
    /// [`Error::State`] for a model with other devices than those that were programmed,
    /// [`Error::Memory`], [`Error::Interrupted`].
    pub fn drifted(&self, model: &dyn NoiseModel, t_inference: f64, key: Key) -> Result<Vec<f32>> {
        model.validate("noise_model")?;
        model.check_time(t_inference)?;
        self.check()?;
        let (converter, columns) = (model.converter(), self.columns);
        self.check_devices(model)?;
        let (conductances, params) = self.conductances(converter)?;
        check_count(conductances.len())?;
        let mut read = Vec::new();
        for (device, programmed) in conductances.iter().enumerate() {
            let parameters = self.drift_noise_parameters.get(device);
            read.push(each_row(programmed, columns, |row, programmed, out| {
                let draws = RowDraws::of_reads(key, device as u8, row);
                let first = row as usize * columns;
                let parameters = parameters.map(|all| &all[first..first + columns]);
                model.apply_drift_noise_to_conductance(
                    programmed,
                    parameters,
                    t_inference,
                    out,
                    draws,
                )
            })?);
        }
        back(converter, &read, columns, &params)
    }

    /// Conductances that drift starts from, and what brings them back.
    fn conductances(&self, converter: &dyn ConductanceConverter) -> Result<(Vec<Vec<f32>>, Scale)> {
        if self.programmed_conductances.is_empty() {
            let found =
                converter.convert_to_conductances(&self.programmed_weights, self.columns)?;
            return Ok((found.values, found.params));
        }
        let targets =
            converter.convert_to_conductances(&self.reference_combined_weights, self.columns)?;
        Ok((self.programmed_conductances.clone(), targets.params))
    }

    fn check_devices(&self, model: &dyn NoiseModel) -> Result<()> {
        let devices = model.converter().devices();
        let expected = [
            if model.has_drift_coefficients() { devices } else { 0 },
            if self.programmed_conductances.is_empty() { 0 } else { devices },
        ];
        let found = [self.drift_noise_parameters.len(), self.programmed_conductances.len()];
        if found == expected {
            return Ok(());
        }
        let why = format!(
            "drift_noise_parameters and programmed_conductances are of {found:?} devices, the noise \
             model has {expected:?}; program the weights with it"
        );
        Err(Error::State { why })
    }
}

/// Weights that were programmed and then read once, `t_inference` seconds later, without conversion in
/// between; at zero or less programming only.
///
/// # Errors
/// As [`ProgrammedWeights::program`] and [`ProgrammedWeights::drifted`].
pub fn apply_noise(
    model: &dyn NoiseModel,
    weights: &[f32],
    columns: usize,
    t_inference: f64,
    key: Key,
) -> Result<Vec<f32>> {
    if t_inference <= 0.0 {
        return Ok(ProgrammedWeights::program(model, weights, columns, key)?.programmed_weights);
    }
    model.check_time(t_inference)?;
    let programmed = ProgrammedWeights::program_devices(model, weights, columns, key, true)?;
    programmed.drifted(model, t_inference, key)
}

/// Applies a formula to all rows, in several threads.
fn each_row(
    input: &[f32],
    columns: usize,
    formula: impl Fn(u32, &[f32], &mut [f32]) -> Result<()> + Sync,
) -> Result<Vec<f32>> {
    let mut output = memory::filled(0.0, input.len())?;
    let height = CELLS.div_ceil(columns);
    let pieces = input.chunks(height * columns).zip(output.chunks_mut(height * columns));
    let par = Par::of(CELL_NS * input.len() as f64);
    par.for_each_in_rounds(pieces.enumerate(), |(at, (input, output))| {
        let rows = input.chunks_exact(columns).zip(output.chunks_exact_mut(columns));
        let first = at * height;
        rows.enumerate()
            .try_for_each(|(row, (input, output))| formula((first + row) as u32, input, output))
    })?;
    Ok(output)
}

/// Weights of conductances, if they are finite.
fn back(
    converter: &dyn ConductanceConverter,
    conductances: &[Vec<f32>],
    columns: usize,
    params: &Scale,
) -> Result<Vec<f32>> {
    let weights = converter.convert_back_to_weights(conductances, columns, params)?;
    Error::check_drawn("noise_model", "weights", &weights)?;
    Ok(weights)
}

/// Checks that each device of a weight has draws of its own.
fn check_count(devices: usize) -> Result<()> {
    const MOST: usize = 1 << u8::BITS;
    if devices <= MOST {
        return Ok(());
    }
    let why = format!("makes {devices} devices per weight, at most {MOST} have draws of their own");
    Err(Error::config("noise_model.g_converter", why))
}

/// Checks that weights are rows of `columns`.
fn check_matrix(weights: &[f32], columns: usize) -> Result<()> {
    let rows = weights.len() / columns.max(1);
    check_sizes(rows, columns)?;
    Error::check_len("weights", weights.len(), rows * columns)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::inference::noise::NoiseModelConfig;
    use crate::par;
    use crate::rng::record;

    /// Programming errors, drift parameters and reads of all devices and cells have draws of their own.
    #[test]
    fn no_draw_serves_two_purposes() {
        // What other threads draw is not recorded.
        par::set_num_threads(1).unwrap();
        for name in ["PCMLikeNoiseModel", "HermesNoiseModel", "ReRamCMONoiseModel"] {
            let text = format!(r#"{{"type": "{name}", "params": {{}}}}"#);
            let model = NoiseModelConfig::from_json(&text).unwrap();
            let weights: Vec<f32> = (0..3 * 70).map(|at| (at as f32).sin()).collect();
            let mut all = record::during(|| {
                let programmed =
                    ProgrammedWeights::program(&model, &weights, 70, Key::new(1, 1)).unwrap();
                programmed.drifted(&model, 1e4, Key::new(1, 1)).unwrap();
                programmed.drifted(&model, 1e4, Key::new(1, 2)).unwrap();
            });
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert!(
                count > 0 && all.len() == count,
                "{name}: {count} draws, {} of their own",
                all.len()
            );
        }
    }
}
