//! Noise that does not depend on the conductance.

use super::curve::Curve;
use super::draws::RowDraws;
use super::formulas::{Exponents, PowerLaw, Spread, check_finite, check_g_max, check_positive};
use super::model::NoiseModel;
use crate::config::{finite, params};
use crate::error::Result;
use crate::inference::converter::{ConductanceConverter, ConverterConfig};

params! {
    /// Programming error, drift and read noise of one strength for all conductances.
    pub struct StateIndependentNoiseModel {
        /// Conversion between weights and conductances.
        g_converter: ConverterConfig = ConverterConfig::default();
        /// Whether drift starts from the conductances that programming arrived at.
        keep_conductances: bool = false;
        /// Largest conductance of the converter, in µS.
        g_max: real = 25.0;
        /// Deviation of the programming error in µS over the relative conductance, constant term first.
        prog_coeff: Vec<f64> = vec![0.2, 0.0, 0.0];
        /// Factor on the programming error.
        prog_noise_scale: real = 1.0;
        /// Mean drift exponent.
        drift_nu_mean: real = 0.1;
        /// Spread of the drift exponent between devices.
        drift_nu_std: real = 0.05;
        /// Factor on the drift exponents.
        drift_scale: real = 1.0;
        /// Time between programming and the first moment with drift, in seconds.
        t_0: real = 20.0;
        /// Factor on the read noise.
        read_noise_scale: real = 1.0;
        /// Duration of a read, in seconds.
        t_read: real = 250e-9;
    }
}

impl StateIndependentNoiseModel {
    /// The model for the devices of a converter.
    #[must_use]
    pub fn new(g_converter: impl Into<ConverterConfig>) -> Self {
        let g_converter = g_converter.into();
        Self { g_max: g_converter.g_max(), g_converter, ..Self::default() }
    }
}

impl NoiseModel for StateIndependentNoiseModel {
    fn converter(&self) -> &dyn ConductanceConverter {
        &self.g_converter
    }

    fn keep_conductances(&self) -> bool {
        self.keep_conductances
    }

    fn has_drift_coefficients(&self) -> bool {
        true
    }

    fn validate(&self, path: &str) -> Result<()> {
        self.g_converter.validate(&format!("{path}.g_converter"))?;
        check_g_max(path, self.g_max, self.g_converter.g_max())?;
        check_positive(path, &[("t_0", self.t_0), ("t_read", self.t_read)])?;
        self.prog_coeff.iter().try_for_each(|c| finite(path, "prog_coeff", *c))?;
        check_finite(
            path,
            &[
                ("prog_noise_scale", self.prog_noise_scale),
                ("drift_nu_mean", self.drift_nu_mean),
                ("drift_nu_std", self.drift_nu_std),
                ("drift_scale", self.drift_scale),
                ("read_noise_scale", self.read_noise_scale),
            ],
        )
    }

    fn apply_programming_noise_to_conductance(
        &self,
        g_target: &[f32],
        g_prog: &mut [f32],
        draws: RowDraws,
    ) -> Result<()> {
        Spread {
            coefficients: &self.prog_coeff,
            scale: self.prog_noise_scale,
            unit: self.g_max,
            is_positive: true,
        }
        .program(g_target, g_prog, draws)
    }

    fn generate_drift_coefficients(
        &self,
        g_target: &[f32],
        coefficients: &mut [f32],
        draws: RowDraws,
    ) -> Result<()> {
        let [mean, spread] =
            [self.drift_nu_mean, self.drift_nu_std].map(|value| Curve::Constant(value as f32));
        Exponents { mean, spread, scale: self.drift_scale, g_max: self.g_max }.draw(
            g_target,
            coefficients,
            draws,
        );
        Ok(())
    }

    fn apply_drift_noise_to_conductance(
        &self,
        g_prog: &[f32],
        drift_noise_param: Option<&[f32]>,
        t_inference: f64,
        g_read: &mut [f32],
        draws: RowDraws,
    ) -> Result<()> {
        PowerLaw {
            t_0: self.t_0,
            t_read: self.t_read,
            strength: Curve::Constant((1.0 / self.g_max) as f32),
            read_noise_scale: self.read_noise_scale,
            g_max: self.g_max,
        }
        .read(g_prog, drift_noise_param, t_inference, g_read, draws)
    }
}
