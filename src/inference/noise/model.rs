//! Interface of the noise of programmed weights.

use std::fmt::Debug;

use super::draws::RowDraws;
use crate::error::{Error, Result, shown};
use crate::inference::converter::ConductanceConverter;

/// Noise of programmed weights: an error when devices are written, drift and noise when they are read.
///
/// A model says what happens to the conductances of one row of devices, in microsiemens (µS);
/// [`ProgrammedWeights`](crate::inference::ProgrammedWeights) converts weights to conductances and back.
/// Methods have the names of those of the Python package.
///
/// ```
/// use mho_core::inference::{
///     ConductanceConverter, NoiseModel, ProgrammedWeights, RowDraws, SinglePairConductanceConverter,
/// };
/// use mho_core::{Key, Result};
///
/// /// Devices that miss their targets by 0.1 µS, and stay where they are.
/// #[derive(Debug, Default)]
/// struct Steady {
///     converter: SinglePairConductanceConverter,
/// }
///
/// impl NoiseModel for Steady {
///     fn converter(&self) -> &dyn ConductanceConverter {
///         &self.converter
///     }
///
///     fn apply_programming_noise_to_conductance(
///         &self, g_target: &[f32], g_prog: &mut [f32], draws: RowDraws,
///     ) -> Result<()> {
///         draws.fill_normal(0, g_prog);
///         for (g, target) in g_prog.iter_mut().zip(g_target) {
///             *g = (target + 0.1 * *g).max(0.0);
///         }
///         Ok(())
///     }
///
///     fn apply_drift_noise_to_conductance(
///         &self, g_prog: &[f32], _: Option<&[f32]>, _: f64, g_read: &mut [f32], _: RowDraws,
///     ) -> Result<()> {
///         g_read.copy_from_slice(g_prog);
///         Ok(())
///     }
/// }
///
/// let weights = [0.5, -0.25, 0.1, -1.0];
/// let programmed = ProgrammedWeights::program(&Steady::default(), &weights, 2, Key::new(1, 1))?;
/// assert!(programmed.weights().iter().zip(&weights).all(|(w, target)| (w - target).abs() < 0.05));
/// # Ok::<(), mho_core::Error>(())
/// ```
pub trait NoiseModel: Debug + Send + Sync {
    /// Conversion between weights and conductances.
    fn converter(&self) -> &dyn ConductanceConverter;

    /// Whether drift starts from the conductances that programming arrived at.
    ///
    /// Otherwise it starts from the programmed weights, converted anew: the error of the idle device of a
    /// pair moves to the other one, and the largest weight gets the largest conductance.
    fn keep_conductances(&self) -> bool {
        false
    }

    /// Whether each device has a parameter of its drift.
    fn has_drift_coefficients(&self) -> bool {
        false
    }

    /// Checks every value; `path` is where the model stands.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    fn validate(&self, path: &str) -> Result<()> {
        self.converter().validate(&format!("{path}.g_converter"))
    }

    /// Checks that there is a reading after `t_inference` seconds.
    ///
    /// # Errors
    /// [`Error::Argument`] naming the time.
    fn check_time(&self, t_inference: f64) -> Result<()> {
        if t_inference >= 0.0 && t_inference.is_finite() {
            return Ok(());
        }
        let got = shown(t_inference);
        let why = format!("expected seconds since programming, zero or more, got {got}");
        Err(Error::Argument { argument: "t_inference", why })
    }

    /// Writes the conductances that programming of one row arrives at.
    ///
    /// # Errors
    /// That a target is not possible.
    fn apply_programming_noise_to_conductance(
        &self,
        g_target: &[f32],
        g_prog: &mut [f32],
        draws: RowDraws,
    ) -> Result<()>;

    /// Writes what decides how each device of a row drifts after this programming; called only with
    /// [`has_drift_coefficients`](Self::has_drift_coefficients).
    ///
    /// # Errors
    /// That a target is not possible.
    fn generate_drift_coefficients(
        &self,
        _g_target: &[f32],
        coefficients: &mut [f32],
        _draws: RowDraws,
    ) -> Result<()> {
        coefficients.fill(0.0);
        Ok(())
    }

    /// Writes the conductances of one row as they are read `t_inference` seconds after programming.
    ///
    /// # Errors
    /// That there is no such reading.
    fn apply_drift_noise_to_conductance(
        &self,
        g_prog: &[f32],
        drift_noise_param: Option<&[f32]>,
        t_inference: f64,
        g_read: &mut [f32],
        draws: RowDraws,
    ) -> Result<()>;
}
