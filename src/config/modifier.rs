//! Parameters of the change of the weights in hardware-aware training.

use serde::{Deserialize, Serialize};

use super::{finite, params, read_json, require};
use crate::error::{Result, shown};

/// How the weights are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ModifierType {
    /// Not at all, whatever the other fields say.
    None,
    /// Rounded to levels.
    Discretize,
    /// Normal noise in proportion to the weight.
    MultNormal,
    /// Normal noise of one strength.
    AddNormal,
    /// Rounded to levels, then normal noise of one strength.
    DiscretizeAddNormal,
    /// Levels of the hyperbolic tangent of the weight (Zhou et al., arXiv:1606.06160).
    #[serde(rename = "DoReFa")]
    Dorefa,
    /// Normal noise whose strength is a polynomial of the weight.
    Poly,
    /// Programming, drift and read noise of phase-change memory, with stuck devices.
    #[serde(rename = "PCMNoise")]
    PcmNoise,
    /// As `Poly`, in conductances that keep their sign.
    ProgNoise,
    /// Only what `pdrop` does.
    DropConnect,
    /// Only what `pdrop` does.
    Copy,
}

params! {
    /// Change of the weights that the passes of hardware-aware training see. `wmax` is the largest
    /// absolute weight, or `assumed_wmax`.
    pub struct ModifierParameters {
        /// Strength of the noise; at or below zero there is none.
        std_dev: real = 0.0;
        /// Distance of two levels in units of `wmax`, of `Dorefa` in those of the result; at or below zero
        /// nothing is rounded.
        res: real = 0.0;
        /// Stochastic rounding.
        sto_round: bool = false;
        /// Largest value of `Dorefa`.
        dorefa_clip: real = 0.6;
        /// Probability that a weight becomes zero, after everything else.
        pdrop: real = 0.0;
        /// Whether `wmax` is that of the weights.
        rel_to_actual_wmax: bool = true;
        /// `wmax` otherwise.
        assumed_wmax: real = 1.0;
        /// Whether the last column stays as it is, and does not count for `wmax`.
        copy_last_column: bool = false;
        /// Polynomial of the strength over `|w| / wmax`, constant term first.
        coeffs: Vec<f64> = vec![0.010_539_2, 0.0768, -0.046_925];
        /// How the weights are changed.
        #[serde(rename = "type")]
        kind: ModifierType = ModifierType::None;
        /// Conductance of `wmax` in microsiemens.
        g_max: real = 25.0;
        /// Conductances up to that many times the noise of a device at zero become zero.
        pcm_zero_thres: real = 0.0;
        /// Time since programming in seconds.
        pcm_t_inference: real = 0.0;
        /// Probability of a device that is stuck at zero.
        pcm_prob_at_reset: real = 0.0;
        /// Probability of a device that is stuck at `g_max`.
        pcm_prob_at_gmax: real = 0.0;
        /// Probability of a device that is stuck anywhere.
        pcm_prob_at_random: real = 0.0;
        /// Time of the first read in seconds.
        pcm_t0: real = 20.0;
    }
}

impl ModifierParameters {
    /// Reads parameters, whose values are not checked.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the field.
    pub fn from_json(text: &str) -> Result<Self> {
        read_json(text)
    }

    /// Checks every value; `path` is where the group stands.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the field.
    pub fn validate(&self, path: &str) -> Result<()> {
        for (field, value) in [
            ("std_dev", self.std_dev),
            ("res", self.res),
            ("dorefa_clip", self.dorefa_clip),
            ("assumed_wmax", self.assumed_wmax),
            ("g_max", self.g_max),
            ("pcm_zero_thres", self.pcm_zero_thres),
            ("pcm_t_inference", self.pcm_t_inference),
            ("pcm_t0", self.pcm_t0),
        ] {
            finite(path, field, value)?;
        }
        self.coeffs.iter().try_for_each(|value| finite(path, "coeffs", *value))?;
        for (field, value) in [
            ("pdrop", self.pdrop),
            ("pcm_prob_at_reset", self.pcm_prob_at_reset),
            ("pcm_prob_at_gmax", self.pcm_prob_at_gmax),
            ("pcm_prob_at_random", self.pcm_prob_at_random),
        ] {
            let why = format!("must be between 0 and 1, got {}", shown(value));
            require((0.0..=1.0).contains(&value), path, field, why)?;
        }
        let positive = |is_used: bool, field, value: f64| {
            let why = format!("must be positive, got {}", shown(value));
            require(!is_used || value > 0.0, path, field, why)
        };
        let is_pcm = self.kind == ModifierType::PcmNoise;
        positive(!self.rel_to_actual_wmax, "assumed_wmax", self.assumed_wmax)?;
        positive(is_pcm || self.kind == ModifierType::ProgNoise, "g_max", self.g_max)?;
        positive(is_pcm, "pcm_t0", self.pcm_t0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(parameters: &ModifierParameters, field: &str) {
        let text = parameters
            .validate("modifier")
            .map_or_else(|error| error.to_string(), |()| String::new());
        assert!(text.starts_with(&format!("modifier.{field}: ")), "{text:?} does not name {field}");
    }

    #[test]
    fn numbers_are_checked() {
        let base = ModifierParameters::default;
        assert!(base().validate("modifier").is_ok());
        refused(&ModifierParameters { std_dev: f64::INFINITY, ..base() }, "std_dev");
        refused(&ModifierParameters { coeffs: vec![0.1, f64::NAN], ..base() }, "coeffs");
        refused(&ModifierParameters { pdrop: 1.1, ..base() }, "pdrop");
        refused(&ModifierParameters { pcm_prob_at_gmax: f64::NAN, ..base() }, "pcm_prob_at_gmax");
    }

    #[test]
    fn divisors_that_are_used_are_positive() {
        let base = ModifierParameters::default;
        let zero = ModifierParameters { assumed_wmax: 0.0, g_max: 0.0, pcm_t0: 0.0, ..base() };
        assert!(zero.validate("modifier").is_ok());
        let assumed = ModifierParameters { rel_to_actual_wmax: false, ..zero.clone() };
        refused(&assumed, "assumed_wmax");
        let kind = ModifierType::ProgNoise;
        refused(&ModifierParameters { kind, ..zero.clone() }, "g_max");
        let kind = ModifierType::PcmNoise;
        refused(&ModifierParameters { kind, g_max: 25.0, ..zero }, "pcm_t0");
    }
}
