//! Noise of phase-change memory as measured on the Hermes chip.

use super::curve::Curve;
use super::draws::RowDraws;
use super::formulas::{Exponents, PowerLaw, Spread, check_finite, check_g_max, check_positive};
use super::model::NoiseModel;
use crate::config::{finite, params, require};
use crate::error::Result;
use crate::inference::converter::{
    ConductanceConverter, ConverterConfig, SinglePairConductanceConverter,
};

/// Fits for a number of devices per conductance.
struct Chip {
    /// Largest conductance, in µS.
    g_max: f64,
    t_0: f64,
    prog_coeff: [f64; 4],
    drift_spread: Curve,
    read_noise: Curve,
}

const ONE: Chip = Chip {
    g_max: 10.35,
    t_0: 200.0,
    prog_coeff: [0.157_818_17, 2.324_439_16, -2.163_108_39, 0.688_418_18],
    drift_spread: Curve::Fit {
        threshold: 0.3039,
        slope: -0.0120,
        offset: -0.0023,
        low: 0.0124,
        high: 0.04,
        coefficients: &[0.0104, 0.0116, -0.0165],
    },
    read_noise: Curve::Fit {
        threshold: 0.1591,
        slope: -0.0078,
        offset: 0.0038,
        low: 0.0179,
        high: 0.04,
        coefficients: &[0.0088, 0.0768, -0.1352, 0.0664],
    },
};

const TWO: Chip = Chip {
    g_max: 20.7,
    t_0: 300.0,
    prog_coeff: [0.166_032_22, 4.718_064_68, -8.481_012_52, 4.689_614_19],
    drift_spread: Curve::Fit {
        threshold: 0.3055,
        slope: -0.0117,
        offset: -0.0057,
        low: 0.0091,
        high: 0.04,
        coefficients: &[0.0073, 0.0093, -0.0118],
    },
    read_noise: Curve::Fit {
        threshold: 0.16,
        slope: -0.0117,
        offset: -0.0069,
        low: 0.015,
        high: 0.04,
        coefficients: &[0.0123, 0.0211, -0.0280, 0.0069],
    },
};

const DRIFT_MEAN: Curve = Curve::Fit {
    threshold: 0.0945,
    slope: -0.0387,
    offset: -0.0182,
    low: 0.072,
    high: 0.13,
    coefficients: &[0.0736, -0.0126, -0.0436],
};

params! {
    /// Programming error, drift and read noise of the phase-change memory of the Hermes chip (Le Gallo et
    /// al., Nat. Electron. 6:680, 2023).
    pub struct HermesNoiseModel {
        /// Conversion between weights and conductances.
        g_converter: ConverterConfig = pair(&TWO);
        /// Whether drift starts from the conductances that programming arrived at.
        keep_conductances: bool = false;
        /// Largest conductance of the converter, in µS.
        g_max: real = TWO.g_max;
        /// Devices in parallel per conductance, 1 or 2.
        num_devices: u32 = 2;
        /// Time between programming and the first moment with drift, in seconds.
        t_0: real = TWO.t_0;
        /// Largest conductance that `prog_coeff` holds for, in µS.
        prog_coeff_g_max_reference: real = TWO.g_max;
        /// Deviation of the programming error in µS over the relative conductance, constant term first.
        prog_coeff: Vec<f64> = TWO.prog_coeff.to_vec();
        /// Duration of a read, in seconds.
        t_read: real = 512e-9;
        /// Factor on the programming error.
        prog_noise_scale: real = 1.0;
        /// Factor on the read noise.
        read_noise_scale: real = 1.0;
        /// Factor on the drift exponents.
        drift_scale: real = 1.0;
    }
}

/// A pair of the devices of a chip.
fn pair(chip: &Chip) -> ConverterConfig {
    SinglePairConductanceConverter { g_max: chip.g_max, ..Default::default() }.into()
}

impl HermesNoiseModel {
    /// The model of a pair of conductances of one device each, up to 10.35 µS.
    #[must_use]
    pub fn one_device() -> Self {
        Self {
            g_converter: pair(&ONE),
            g_max: ONE.g_max,
            num_devices: 1,
            t_0: ONE.t_0,
            prog_coeff_g_max_reference: ONE.g_max,
            prog_coeff: ONE.prog_coeff.to_vec(),
            ..Self::default()
        }
    }

    /// The same model for the devices of another converter.
    #[must_use]
    pub fn with_converter(self, g_converter: impl Into<ConverterConfig>) -> Self {
        let g_converter = g_converter.into();
        Self { g_max: g_converter.g_max(), g_converter, ..self }
    }

    fn chip(&self) -> Chip {
        if self.num_devices == 1 { ONE } else { TWO }
    }
}

impl NoiseModel for HermesNoiseModel {
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
        let why = format!("must be 1 or 2, got {}", self.num_devices);
        require((1..=2).contains(&self.num_devices), path, "num_devices", why)?;
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
        let (mean, spread) = (DRIFT_MEAN, self.chip().drift_spread);
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
            strength: self.chip().read_noise,
            read_noise_scale: self.read_noise_scale,
            g_max: self.g_max,
        }
        .read(g_prog, drift_noise_param, t_inference, g_read, draws)
    }
}
