//! Steps that shrink linearly towards the bound.

use super::common::{Cell, PulsedParameters};
use super::linear::{self, LinearRule, slopes};
use super::math;
use super::response::Response;
use super::rule::{MAX_EXTRA, PulsedDevice, WriteNoise, write_noise};
use crate::config::{finite, params, require};
use crate::error::Result;

params! {
    /// Device whose step vanishes linearly at the bound (Fusi and Abbott, "Limits on the memory
    /// storage capacity of bounded synapses", 2007):
    /// `w += (dwmin_up + slope_up w) (1 + dw_min_std xi)` for an up pulse,
    /// `w -= (dwmin_down + slope_down w) (1 + dw_min_std xi)` for a down pulse, with
    /// `slope_up = -dwmin_up / max_bound` and `slope_down = -dwmin_down / min_bound`.
    pub struct SoftBounds {
        /// Parameters shared by all pulsed devices.
        pulsed: PulsedParameters = PulsedParameters::default();
        /// Whether the noise is a factor on the whole step or only on its constant part.
        mult_noise: bool = true;
        /// Noise of the visible weight in units of `dw_min`, or absolute if that is 0; 0 is none.
        write_noise_std: real = 0.0;
        /// Whether weights that are set receive write noise.
        apply_write_noise_on_set: bool = true;
        /// Whether up steps grow towards the upper bound (needs `mult_noise`).
        reverse_up: bool = false;
        /// Whether down steps grow towards the lower bound (needs `mult_noise`).
        reverse_down: bool = false;
        /// Distance of the zero-step point beyond the opposite bound, for reversed steps.
        reverse_offset: real = 0.01;
    }
}

impl PulsedDevice for SoftBounds {
    const NAME: &'static str = "SoftBounds";
    const EXTRA: &'static [&'static str] = &["slope_up", "slope_down"];
    type Rule<'a> = LinearRule;

    fn pulsed(&self) -> &PulsedParameters {
        &self.pulsed
    }

    fn pulsed_mut(&mut self) -> &mut PulsedParameters {
        &mut self.pulsed
    }

    fn validate(&self, path: &str) -> Result<()> {
        self.pulsed.validate(path)?;
        finite(path, "write_noise_std", self.write_noise_std)?;
        finite(path, "reverse_offset", self.reverse_offset)?;
        validate_reverse(path, [self.reverse_up, self.reverse_down], self.mult_noise)
    }

    fn rule(&self) -> LinearRule {
        LinearRule::new(self.pulsed.dw_min_std, self.mult_noise)
    }

    fn response(&self) -> Response {
        self.rule().response(&[math::WGSL, linear::WGSL, include_str!("soft_bounds.wgsl")])
    }

    fn write_noise(&self) -> Option<WriteNoise> {
        write_noise(self.write_noise_std, self.apply_write_noise_on_set, &self.pulsed)
    }

    fn extra(&self, cell: &mut Cell, _normals: &[f64]) -> [f64; MAX_EXTRA] {
        let bounds = [cell.max_bound, cell.min_bound];
        let reverse = [self.reverse_up, self.reverse_down];
        let [up, down] = slopes([1.0; 2], cell, reach(bounds, reverse, self.reverse_offset));
        [up, down, 0.0, 0.0]
    }
}

/// Weights at which the steps vanish: the bounds, or for reversed steps `offset` beyond the opposite
/// bound.
pub(super) fn reach([max, min]: [f64; 2], reverse: [bool; 2], offset: f64) -> [f64; 2] {
    [if reverse[0] { min - offset } else { max }, if reverse[1] { max + offset } else { min }]
}

/// Reversed steps exist with multiplicative noise only.
pub(super) fn validate_reverse(path: &str, reverse: [bool; 2], mult_noise: bool) -> Result<()> {
    for (field, reversed) in ["reverse_up", "reverse_down"].into_iter().zip(reverse) {
        require(!reversed || mult_noise, path, field, "needs mult_noise = True")?;
    }
    Ok(())
}
