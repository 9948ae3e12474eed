//! Noise of phase-change memory.

use super::curve::Curve;
use super::draws::RowDraws;
use super::drift_table::DriftTable;
use super::formulas::{Exponents, PowerLaw, Spread, check_finite, check_g_max, check_positive};
use super::model::NoiseModel;
use crate::config::{finite, params};
use crate::error::Result;
use crate::inference::converter::{ConductanceConverter, ConverterConfig};

/// Deviation of the programming error over the relative conductance, and the conductance that it holds
/// for, in µS.
const PROG_COEFF: [f64; 3] = [0.263_48, 1.965, -1.1731];
const PROG_COEFF_G_MAX: f64 = 25.0;

/// A model with the parameters of phase-change memory, and some of its own.
macro_rules! pcm {
    ($(#[$doc:meta])* pub struct $name:ident { $($own:tt)* }) => {
        params! {
            $(#[$doc])*
            pub struct $name {
                /// Conversion between weights and conductances.
                g_converter: ConverterConfig = ConverterConfig::default();
                /// Whether drift starts from the conductances that programming arrived at.
                keep_conductances: bool = false;
                /// Largest conductance of the converter, in µS.
                g_max: real = PROG_COEFF_G_MAX;
                /// Largest conductance that `prog_coeff` holds for, in µS.
                prog_coeff_g_max_reference: real = PROG_COEFF_G_MAX;
                /// Deviation of the programming error in µS over the relative conductance, constant term
                /// first.
                prog_coeff: Vec<f64> = PROG_COEFF.to_vec();
                /// Time between programming and the first moment with drift, in seconds.
                t_0: real = 20.0;
                /// Duration of a read, in seconds.
                t_read: real = 250e-9;
                /// Factor on the programming error.
                prog_noise_scale: real = 1.0;
                /// Factor on the read noise.
                read_noise_scale: real = 1.0;
                /// Factor on the drift exponents.
                drift_scale: real = 1.0;
                $($own)*
            }
        }

        impl NoiseModel for $name {
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
                let reference = ("prog_coeff_g_max_reference", self.prog_coeff_g_max_reference);
                check_positive(path, &[reference, ("t_0", self.t_0), ("t_read", self.t_read)])?;
                self.prog_coeff.iter().try_for_each(|c| finite(path, "prog_coeff", *c))?;
                check_finite(
                    path,
                    &[
                        ("prog_noise_scale", self.prog_noise_scale),
                        ("read_noise_scale", self.read_noise_scale),
                        ("drift_scale", self.drift_scale),
                    ],
                )?;
                self.check_own(path)
            }

            fn apply_programming_noise_to_conductance(
                &self,
                g_target: &[f32],
                g_prog: &mut [f32],
                draws: RowDraws,
            ) -> Result<()> {
                Spread {
                    coefficients: &self.prog_coeff,
                    scale: self.prog_noise_scale * self.g_max / self.prog_coeff_g_max_reference,
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
                let [mean, spread] = self.exponents();
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
                    strength: Curve::Inverse { factor: 0.0088, power: 0.65, high: 0.2 },
                    read_noise_scale: self.read_noise_scale,
                    g_max: self.g_max,
                }
                .read(g_prog, drift_noise_param, t_inference, g_read, draws)
            }
        }
    };
}

pcm! {
    /// Programming error, drift and read noise of doped Ge2Sb2Te5 devices.
    ///
    /// With the relative conductance `rho = g / g_max` the programming error has the standard deviation
    /// `sum_i c_i rho^i`, conductances drift as `(t / t_0)^-nu` with exponents drawn from a normal
    /// distribution that depends on `rho`, and read noise grows with the logarithm of time (Nandakumar et
    /// al., ICECS 2019; Joshi et al., Nat. Commun. 11:2473, 2020).
    pub struct PCMLikeNoiseModel {}
}

pcm! {
    /// [`PCMLikeNoiseModel`] whose drift exponents are interpolated between given values.
    pub struct CustomDriftPCMLikeNoiseModel {
        /// Mean and spread of the exponents over the conductance.
        custom_drift_model: DriftTable = DriftTable::default();
    }
}

impl PCMLikeNoiseModel {
    /// The published model for the devices of a converter.
    #[must_use]
    pub fn new(g_converter: impl Into<ConverterConfig>) -> Self {
        let g_converter = g_converter.into();
        Self { g_max: g_converter.g_max(), g_converter, ..Self::default() }
    }

    fn exponents(&self) -> [Curve; 2] {
        [
            Curve::logarithm(-0.0155, 0.0244, [0.049, 0.1]),
            Curve::logarithm(-0.0125, -0.0059, [0.008, 0.045]),
        ]
    }

    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "the other model has checks")]
    fn check_own(&self, _path: &str) -> Result<()> {
        Ok(())
    }
}

impl CustomDriftPCMLikeNoiseModel {
    /// The published model with other exponents, for the devices of a converter.
    #[must_use]
    pub fn new(custom_drift_model: DriftTable, g_converter: impl Into<ConverterConfig>) -> Self {
        let g_converter = g_converter.into();
        Self { g_max: g_converter.g_max(), g_converter, custom_drift_model, ..Self::default() }
    }

    fn exponents(&self) -> [Curve; 2] {
        let DriftTable { g_lst, nu_mean_lst, nu_std_lst, .. } = &self.custom_drift_model;
        [Curve::table(g_lst, nu_mean_lst), Curve::table(g_lst, nu_std_lst)]
    }

    fn check_own(&self, path: &str) -> Result<()> {
        self.custom_drift_model.validate(path, [self.g_converter.g_min(), self.g_max])
    }
}
