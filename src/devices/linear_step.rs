//! Steps that depend linearly on the weight.

use super::common::{Cell, PulsedParameters};
use super::linear::{self, LinearRule, slopes};
use super::math;
use super::response::Response;
use super::rule::{MAX_EXTRA, PulsedDevice, WriteNoise, write_noise};
use super::soft_bounds::{reach, validate_reverse};
use crate::config::{finite, params};
use crate::error::Result;

params! {
    /// Device whose step depends linearly on the weight (after Gokmen and Vlasov, Front. Neurosci.
    /// 10, 333, 2016, and the linear model of Agarwal et al., IJCNN 2016):
    /// `w += (dwmin_up + slope_up w) (1 + dw_min_std xi)` for an up pulse,
    /// `w -= (dwmin_down + slope_down w) (1 + dw_min_std xi)` for a down pulse, with
    /// `slope_up = -gamma_up dwmin_up / w_max` and `slope_down = -gamma_down dwmin_down / w_min`.
    /// Steps may change their sign where the weight exceeds the reference of its slope.
    pub struct LinearStep {
        /// Parameters shared by all pulsed devices.
        pulsed: PulsedParameters = PulsedParameters::default();
        /// Relative decrease of up steps at the upper bound.
        gamma_up: real = 0.0;
        /// Relative decrease of down steps at the lower bound.
        gamma_down: real = 0.0;
        /// Spread of `gamma_up`, absolute.
        gamma_up_dtod: real = 0.05;
        /// Spread of `gamma_down`, absolute.
        gamma_down_dtod: real = 0.05;
        /// Whether slopes keep a negative sign that their spread produces.
        allow_increasing: bool = false;
        /// Whether slopes refer to the mean bounds or to those of the cell.
        mean_bound_reference: bool = true;
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

impl PulsedDevice for LinearStep {
    const NAME: &'static str = "LinearStep";
    const EXTRA: &'static [&'static str] = &["slope_up", "slope_down"];
    const EXTRA_DRAWS: usize = 2;
    type Rule<'a> = LinearRule;

    fn pulsed(&self) -> &PulsedParameters {
        &self.pulsed
    }

    fn pulsed_mut(&mut self) -> &mut PulsedParameters {
        &mut self.pulsed
    }

    fn validate(&self, path: &str) -> Result<()> {
        self.pulsed.validate(path)?;
        for (field, value) in [
            ("gamma_up", self.gamma_up),
            ("gamma_down", self.gamma_down),
            ("gamma_up_dtod", self.gamma_up_dtod),
            ("gamma_down_dtod", self.gamma_down_dtod),
            ("write_noise_std", self.write_noise_std),
            ("reverse_offset", self.reverse_offset),
        ] {
            finite(path, field, value)?;
        }
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

    fn extra(&self, cell: &mut Cell, normals: &[f64]) -> [f64; MAX_EXTRA] {
        let gamma = [
            self.gamma_up + self.gamma_up_dtod * normals[0],
            self.gamma_down + self.gamma_down_dtod * normals[1],
        ];
        let gamma = if self.allow_increasing { gamma } else { gamma.map(f64::abs) };
        let bounds = if self.mean_bound_reference {
            [self.pulsed.w_max, self.pulsed.w_min]
        } else {
            [cell.max_bound, cell.min_bound]
        };
        let reverse = [self.reverse_up, self.reverse_down];
        let [up, down] = slopes(gamma, cell, reach(bounds, reverse, self.reverse_offset));
        [up, down, 0.0, 0.0]
    }

    fn extra_varies(&self) -> bool {
        self.gamma_up_dtod != 0.0 || self.gamma_down_dtod != 0.0
    }
}
