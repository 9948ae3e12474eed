//! Parameters of the analog matrix-vector product, one set per direction.

use serde::{Deserialize, Serialize};

use super::{finite, params, require};
use crate::error::{Error, Result, shown};

/// How the input is scaled before the DAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum NoiseManagement {
    /// No scaling.
    None,
    /// By the largest absolute input.
    AbsMax,
    /// By the largest absolute input, at least by what the worst-case output needs.
    AbsMaxNPSum,
    /// By the largest input.
    Max,
    /// By the constant `nm_thres`.
    Constant,
    /// By a running average of the largest absolute input.
    AverageAbsMax,
}

/// What happens when an output hits the ADC bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BoundManagement {
    /// Nothing: it clips.
    None,
    /// The product is repeated with half the input until nothing clips.
    Iterative,
    /// As `Iterative`, but the second pass uses the worst-case scale.
    IterativeWorstCase,
    /// A name without an implementation.
    Shift,
}

/// Output-referred weight noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WeightNoise {
    /// None.
    None,
    /// Equal on all weights.
    AdditiveConstant,
    /// Proportional to the square root of the conductance.
    #[serde(rename = "PCMRead")]
    PcmRead,
    /// Proportional to the weight.
    Relative,
}

/// How signed inputs reach the array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AnalogMvType {
    /// Ideal product.
    Ideal,
    /// Both signs in one pass.
    OnePass,
    /// One pass per sign, summed before the converter.
    PosNegSeparate,
    /// One pass per sign, each with its own conversion.
    PosNegSeparateDigitalSum,
    /// Split into high and low bits.
    SplitMode,
    /// One pass per bit.
    BitWise,
}

params! {
    /// Non-idealities of one direction of the product. Units: inputs and outputs of the array;
    /// a value at or below zero switches a bound, a resolution or a strength off.
    pub struct IoParameters {
        /// Ideal product; every other field but `out_scale` is ignored.
        is_perfect: bool = false;
        /// How signed inputs reach the array.
        mv_type: AnalogMvType = AnalogMvType::OnePass;
        /// DAC range.
        inp_bound: real = 1.0;
        /// Standard deviation of the noise on each input line.
        inp_noise: real = 0.0;
        /// DAC resolution: a fraction of the full range, or a number of steps if above 1.
        inp_res: real = 1.0 / 126.0;
        /// Stochastic rounding in the DAC.
        inp_sto_round: bool = false;
        /// Relative reduction of negative inputs.
        inp_asymmetry: real = 0.0;
        /// ADC range.
        out_bound: real = 12.0;
        /// Standard deviation of the noise on each output line before the ADC.
        out_noise: real = 0.06;
        /// Relative line-to-line spread of `out_noise`.
        out_noise_std: real = 0.0;
        /// ADC resolution, as `inp_res`.
        out_res: real = 1.0 / 510.0;
        /// Stochastic rounding in the ADC.
        out_sto_round: bool = false;
        /// Digital factor on the result.
        out_scale: real = 1.0;
        /// Relative reduction of negative outputs.
        out_asymmetry: real = 0.0;
        /// What happens when an output hits the ADC bound.
        bound_management: BoundManagement = BoundManagement::Iterative;
        /// How the input is scaled before the DAC.
        noise_management: NoiseManagement = NoiseManagement::AbsMax;
        /// Strength of output-referred weight noise.
        w_noise: real = 0.0;
        /// Kind of output-referred weight noise.
        w_noise_type: WeightNoise = WeightNoise::None;
        /// Scale of the static IR drop.
        ir_drop: real = 0.0;
        /// Wire conductance over largest device conductance.
        ir_drop_g_ratio: real = 1.0 / 0.35 / 5e-6;
        /// Strength of the S-shaped output compression.
        out_nonlinearity: real = 0.0;
        /// Relative line-to-line spread of `out_nonlinearity`.
        out_nonlinearity_std: real = 0.0;
        /// Fraction of `out_bound` at which the calibrated slope is 1.
        slope_calibration: real = 0.0;
        /// Standard deviation of the per-line voltage offset.
        v_offset_std: real = 0.0;
        /// Weight of the implicit reference device.
        v_offset_w_min: real = -1.0;
        /// Series resistance relative to the total output current.
        r_series: real = 0.0;
        /// Spread of the relative weight change seen by negative inputs.
        w_read_asymmetry_dtod: real = 0.0;
        /// Bound management stops after the first reduction above this.
        max_bm_factor: i64 = 1000;
        /// Bound management stops when the reduction exceeds this over the DAC step.
        max_bm_res: real = 0.25;
        /// Whether the negative bound counts as a violation.
        bm_test_negative_bound: bool = true;
        /// Constant scale, or upper limit of the scale.
        nm_thres: real = 0.0;
        /// Assumed largest weight of `AbsMaxNPSum`.
        nm_assumed_wmax: real = 0.6;
        /// Rate of the running average of `AverageAbsMax`.
        nm_decay: real = 1e-3;
    }
}

impl IoParameters {
    /// An ideal product.
    #[must_use]
    pub fn perfect() -> Self {
        Self { is_perfect: true, ..Self::default() }
    }

    /// Whether the product is ideal.
    #[must_use]
    pub fn ideal(&self) -> bool {
        self.is_perfect || self.mv_type == AnalogMvType::Ideal
    }

    /// Whether outputs have a bound.
    #[must_use]
    pub fn clips_outputs(&self) -> bool {
        !self.ideal() && self.out_bound > 0.0 && self.out_bound.is_finite()
    }

    /// Checks every value; `path` is where the group stands, for example `forward`.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self, path: &str) -> Result<()> {
        for (field, value) in [
            ("inp_noise", self.inp_noise),
            ("inp_res", self.inp_res),
            ("inp_asymmetry", self.inp_asymmetry),
            ("out_noise", self.out_noise),
            ("out_noise_std", self.out_noise_std),
            ("out_res", self.out_res),
            ("out_scale", self.out_scale),
            ("out_asymmetry", self.out_asymmetry),
            ("w_noise", self.w_noise),
            ("ir_drop", self.ir_drop),
            ("ir_drop_g_ratio", self.ir_drop_g_ratio),
            ("out_nonlinearity", self.out_nonlinearity),
            ("out_nonlinearity_std", self.out_nonlinearity_std),
            ("slope_calibration", self.slope_calibration),
            ("v_offset_std", self.v_offset_std),
            ("v_offset_w_min", self.v_offset_w_min),
            ("r_series", self.r_series),
            ("w_read_asymmetry_dtod", self.w_read_asymmetry_dtod),
            ("max_bm_res", self.max_bm_res),
            ("nm_assumed_wmax", self.nm_assumed_wmax),
            ("nm_decay", self.nm_decay),
        ] {
            finite(path, field, value)?;
        }
        require(!self.inp_bound.is_nan(), path, "inp_bound", "must be a number")?;
        require(!self.out_bound.is_nan(), path, "out_bound", "must be a number")?;
        require(!self.nm_thres.is_nan(), path, "nm_thres", "must be a number")?;
        if self.ideal() { Ok(()) } else { self.validate_options(path) }
    }

    /// Checks the choices of a product that is not ideal, and the values that depend on them.
    fn validate_options(&self, path: &str) -> Result<()> {
        let unknown_type = match self.mv_type {
            AnalogMvType::SplitMode => Some("SplitMode"),
            AnalogMvType::BitWise => Some("BitWise"),
            _ => None,
        };
        if let Some(name) = unknown_type {
            let why = format!(
                "{name} is not supported by this tile; use OnePass, PosNegSeparate or \
                 PosNegSeparateDigitalSum, or a tile with time-stepped IR drop"
            );
            return Err(Error::config(format!("{path}.mv_type"), why));
        }
        let bound = self.bound_management;
        let why = "Shift is not supported; use None, Iterative or IterativeWorstCase";
        require(bound != BoundManagement::Shift, path, "bound_management", why)?;
        let scaled = self.noise_management != NoiseManagement::None;
        let why = format!(
            "must be 1 with noise management, got {}; set it to 1 or noise_management to None",
            shown(self.inp_bound)
        );
        require(!scaled || self.inp_bound == 1.0, path, "inp_bound", why)?;
        let constant = self.noise_management == NoiseManagement::Constant;
        let why = "must be finite: it is the constant scale";
        require(!constant || self.nm_thres.is_finite(), path, "nm_thres", why)?;
        let why = "must be between 0 and 1";
        require((0.0..=1.0).contains(&self.nm_decay), path, "nm_decay", why)?;
        let why = "must be above 0 with ir_drop";
        require(self.ir_drop <= 0.0 || self.ir_drop_g_ratio > 0.0, path, "ir_drop_g_ratio", why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(io: &IoParameters, field: &str) {
        let text =
            io.validate("forward").map_or_else(|error| error.to_string(), |()| String::new());
        assert!(text.starts_with(&format!("forward.{field}: ")), "{text:?} does not name {field}");
    }

    #[test]
    fn options_without_an_implementation_are_refused() {
        let io = IoParameters::default();
        for mv_type in [AnalogMvType::SplitMode, AnalogMvType::BitWise] {
            refused(&IoParameters { mv_type, ..io.clone() }, "mv_type");
        }
        let bound_management = BoundManagement::Shift;
        refused(&IoParameters { bound_management, ..io.clone() }, "bound_management");
        assert!(IoParameters { bound_management, is_perfect: true, ..io }.validate("x").is_ok());
    }

    #[test]
    fn noise_management_wants_an_input_bound_of_one() {
        let io = IoParameters { inp_bound: 2.0, ..IoParameters::default() };
        refused(&io, "inp_bound");
        let noise_management = NoiseManagement::None;
        assert!(IoParameters { noise_management, ..io.clone() }.validate("forward").is_ok());
        assert!(IoParameters { mv_type: AnalogMvType::Ideal, ..io }.validate("forward").is_ok());
    }

    #[test]
    fn numbers_are_checked() {
        let io = IoParameters::default();
        refused(&IoParameters { out_noise: f64::INFINITY, ..io.clone() }, "out_noise");
        refused(&IoParameters { inp_noise: 1.1e15, ..io.clone() }, "inp_noise");
        assert!(IoParameters { inp_noise: 1e15, ..io.clone() }.validate("forward").is_ok());
        refused(&IoParameters { inp_bound: f64::NAN, ..io.clone() }, "inp_bound");
        refused(&IoParameters { nm_decay: 2.0, ..io.clone() }, "nm_decay");
        let noise_management = NoiseManagement::Constant;
        let endless = IoParameters { noise_management, nm_thres: f64::INFINITY, ..io.clone() };
        refused(&endless, "nm_thres");
        refused(&IoParameters { ir_drop: 1.0, ir_drop_g_ratio: 0.0, ..io }, "ir_drop_g_ratio");
    }

    #[test]
    fn unbounded_converters_are_allowed() {
        let io = IoParameters { out_bound: f64::INFINITY, ..IoParameters::default() };
        assert!(io.validate("forward").is_ok());
    }
}
