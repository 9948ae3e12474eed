//! Power-step device read against a reference device.

use super::common::{Cell, PulsedParameters};
use super::pow_step::{Exponents, PowRule};
use super::response::Response;
use super::rule::{MAX_EXTRA, PulsedDevice};
use crate::config::{finite, params, require};
use crate::error::Result;

params! {
    /// Power-step device from which the weight of a fixed reference device is subtracted: the raw
    /// weight `v = w + reference` moves as that of [`PowStep`](super::PowStep), and the bounds of
    /// the cell limit it.
    pub struct PowStepReference {
        /// Parameters shared by all pulsed devices.
        pulsed: PulsedParameters = PulsedParameters::default();
        /// Mean exponent.
        pow_gamma: real = 1.0;
        /// Relative spread of the exponent.
        pow_gamma_dtod: real = 0.1;
        /// Weakening of the exponent of down pulses (positive) or up pulses (negative).
        pow_up_down: real = 0.0;
        /// Spread of that asymmetry, relative to `pow_gamma`.
        pow_up_down_dtod: real = 0.0;
        /// Whether the symmetry point of the cell is added to its reference.
        subtract_symmetry_point: bool = false;
        /// Pairs of pulses that search for the symmetry point, at most 10^6; 0 or less solves for it.
        n_estimation_steps: i64 = -1;
        /// Mean of the reference, in weight units.
        reference_mean: real = 0.0;
        /// Spread of the reference, in weight units.
        reference_std: real = 0.0;
    }
}

/// Most pairs of pulses of a search: ten times as many as the smallest steps that keep a digit of a
/// weight in f32 need, and a twentieth of a second for each cell.
const MAX_ESTIMATION_STEPS: i64 = 1_000_000;
/// Time of one of them.
const ESTIMATION_NS: f64 = 60.0;

/// Halvings of the range that solve for the symmetry point to `f64` precision.
const HALVINGS: usize = 60;

impl PowStepReference {
    fn exponents(&self) -> Exponents {
        Exponents {
            gamma: self.pow_gamma,
            dtod: self.pow_gamma_dtod,
            up_down: self.pow_up_down,
            up_down_dtod: self.pow_up_down_dtod,
            enforce_consistency: self.pulsed.enforce_consistency,
        }
    }

    /// Raw weight at which mean up and down steps are equal, or what an alternating sequence of
    /// pulses from weight 0 reaches.
    fn symmetry_point(&self, cell: &Cell, [up, down]: [f64; 2]) -> f64 {
        let range = cell.max_bound - cell.min_bound;
        let change = |v: f64| {
            cell.up * ((cell.max_bound - v) / range).powf(up)
                - cell.down * ((v - cell.min_bound) / range).powf(down)
        };
        if self.n_estimation_steps > 0 {
            return (0..self.n_estimation_steps)
                .fold(0.0, |v, _| (v + change(v)).clamp(cell.min_bound, cell.max_bound));
        }
        let (mut low, mut high) = (cell.min_bound, cell.max_bound);
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            if change(middle) > 0.0 {
                low = middle;
            } else {
                high = middle;
            }
        }
        0.5 * (low + high)
    }
}

impl PulsedDevice for PowStepReference {
    const NAME: &'static str = "PowStepReference";
    const EXTRA: &'static [&'static str] = &["gamma_up", "gamma_down", "reference"];
    const EXTRA_DRAWS: usize = 3;
    const REFERENCE: Option<usize> = Some(2);
    type Rule<'a> = PowRule;

    fn pulsed(&self) -> &PulsedParameters {
        &self.pulsed
    }

    fn pulsed_mut(&mut self) -> &mut PulsedParameters {
        &mut self.pulsed
    }

    fn validate(&self, path: &str) -> Result<()> {
        self.pulsed.validate(path)?;
        self.exponents().validate(path)?;
        let pairs = self.n_estimation_steps;
        let why = format!("must be at most {MAX_ESTIMATION_STEPS}, got {pairs}; -1 solves for it");
        require(pairs <= MAX_ESTIMATION_STEPS, path, "n_estimation_steps", why)?;
        finite(path, "reference_mean", self.reference_mean)?;
        finite(path, "reference_std", self.reference_std)
    }

    fn rule(&self) -> PowRule {
        PowRule::new(self.pulsed.dw_min_std)
    }

    fn response(&self) -> Response {
        self.rule().response()
    }

    /// The step in the middle of the range.
    fn granularity(&self) -> f64 {
        self.pulsed.dw_min * 0.5f64.powf(self.pow_gamma)
    }

    fn extra(&self, cell: &mut Cell, normals: &[f64]) -> [f64; MAX_EXTRA] {
        let exponents = self.exponents().draw(normals);
        let mut reference = self.reference_mean + self.reference_std * normals[2];
        let moves = cell.max_bound > 0.0 && cell.min_bound < 0.0 && cell.up + cell.down > 0.0;
        if self.subtract_symmetry_point && moves {
            reference += self.symmetry_point(cell, exponents);
        }
        [exponents[0], exponents[1], reference, 0.0]
    }

    fn construction_ns(&self) -> f64 {
        let searches = self.subtract_symmetry_point && self.n_estimation_steps > 0;
        let pairs = if searches { self.n_estimation_steps } else { HALVINGS as i64 };
        pairs as f64 * ESTIMATION_NS
    }

    fn extra_varies(&self) -> bool {
        self.exponents().vary() || self.reference_std != 0.0
    }
}
