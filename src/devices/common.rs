//! What all pulsed devices share: parameters, and the draw of bounds, steps and rates per cell.

use crate::config::{DriftParameters, finite, params, require};
use crate::error::{Result, shown};
use crate::rng::MAX_NORMAL;

params! {
    /// Parameters shared by all pulsed devices. Spreads named `dtod` are between devices, `std`
    /// within one device from event to event.
    pub struct PulsedParameters {
        /// Seed of the hidden parameters; 0 takes the tile's seed.
        construction_seed: i64 = 0;
        /// Probability that a device is stuck.
        corrupt_devices_prob: real = 0.0;
        /// Largest absolute weight of a stuck device.
        corrupt_devices_range: real = 0.1;
        /// Standard deviation of the weight diffusion per call, in weight units.
        diffusion: real = 0.0;
        /// Relative spread of `diffusion`.
        diffusion_dtod: real = 0.0;
        /// Power-law drift.
        drift: DriftParameters = DriftParameters::default();
        /// Mean step of one pulse, in weight units. 0 is the limit of infinitely fine steps: weights flow
        /// along their response. Steps are then factors around 1, without `dw_min_dtod` and `dw_min_std`, for
        /// there is no step that could vary.
        dw_min: real = 0.001;
        /// Relative spread of the step.
        dw_min_dtod: real = 0.3;
        /// Log-normal instead of normal spread of the step.
        dw_min_dtod_log_normal: bool = false;
        /// Relative noise of each pulse.
        dw_min_std: real = 0.3;
        /// Keep steps positive and bounds on their sides of zero.
        enforce_consistency: bool = true;
        /// Decay time in calls; 0 is no decay.
        lifetime: real = 0.0;
        /// Relative spread of `lifetime`.
        lifetime_dtod: real = 0.0;
        /// Make the devices of the analog bias ideal in step and practically unbounded.
        perfect_bias: bool = false;
        /// Mean weight after a reset.
        reset: real = 0.0;
        /// Spread of `reset`, in weight units.
        reset_dtod: real = 0.0;
        /// Noise of one reset, in weight units.
        reset_std: real = 0.01;
        /// Weakening of down pulses (positive) or up pulses (negative).
        up_down: real = 0.0;
        /// Spread of the asymmetry, relative to `dw_min`.
        up_down_dtod: real = 0.01;
        /// Mean upper bound of the weight.
        w_max: real = 0.6;
        /// Relative spread of `w_max`.
        w_max_dtod: real = 0.3;
        /// Mean lower bound of the weight.
        w_min: real = -0.6;
        /// Relative spread of `w_min`.
        w_min_dtod: real = 0.3;
        /// Count the coincidences of each crosspoint.
        count_pulses: bool = false;
    }
}

impl PulsedParameters {
    /// Checks every value; `path` is where the device stands, for example `device`.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the field,
    /// [`Error::Unsupported`](crate::Error::Unsupported) for drift.
    pub fn validate(&self, path: &str) -> Result<()> {
        for (field, value) in [
            ("corrupt_devices_range", self.corrupt_devices_range),
            ("diffusion", self.diffusion),
            ("diffusion_dtod", self.diffusion_dtod),
            ("dw_min", self.dw_min),
            ("dw_min_dtod", self.dw_min_dtod),
            ("dw_min_std", self.dw_min_std),
            ("lifetime", self.lifetime),
            ("lifetime_dtod", self.lifetime_dtod),
            ("reset", self.reset),
            ("reset_dtod", self.reset_dtod),
            ("reset_std", self.reset_std),
            ("up_down", self.up_down),
            ("up_down_dtod", self.up_down_dtod),
            ("w_max", self.w_max),
            ("w_max_dtod", self.w_max_dtod),
            ("w_min", self.w_min),
            ("w_min_dtod", self.w_min_dtod),
        ] {
            finite(path, field, value)?;
        }
        let probability = self.corrupt_devices_prob;
        require(
            (0.0..=1.0).contains(&probability),
            path,
            "corrupt_devices_prob",
            format!("must be between 0 and 1, got {}", shown(probability)),
        )?;
        let dw_min = self.dw_min;
        // The smallest normal f32: a smaller step would lose digits in the planes.
        let possible = dw_min == 0.0 || dw_min >= f64::from(f32::MIN_POSITIVE);
        let why =
            format!("must be positive, or 0 for infinitely fine steps, got {}", shown(dw_min));
        require(possible, path, "dw_min", why)?;
        let why = "with dw_min = 0 there are no pulses to count; set it to false";
        require(!self.flows() || !self.count_pulses, path, "count_pulses", why)?;
        require(self.dw_min_std >= 0.0, path, "dw_min_std", "must not be negative")?;
        require(self.w_max >= 0.0, path, "w_max", "must be 0 or more (w_min <= 0 <= w_max)")?;
        require(self.w_min <= 0.0, path, "w_min", "must be 0 or less (w_min <= 0 <= w_max)")?;
        self.drift.validate(&format!("{path}.drift"))
    }
}

/// Constants of one cell, drawn at construction.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cell {
    /// Upper bound of the weight.
    pub max_bound: f64,
    /// Lower bound of the weight.
    pub min_bound: f64,
    /// Magnitude of a step up.
    pub up: f64,
    /// Magnitude of a step down.
    pub down: f64,
    /// Factor on the deviation from `reset_bias` per decay call.
    pub decay_scale: f64,
    /// Standard deviation of one diffusion call.
    pub diffusion_rate: f64,
    /// Mean weight after a reset.
    pub reset_bias: f64,
    /// Drift exponent.
    pub drift_nu: f64,
}

/// Draws of one cell: standard normals and, for stuck devices, uniforms.
#[derive(Debug, Clone, Copy, Default)]
pub struct CellDraws {
    /// Normals of the upper and lower bound.
    pub bounds: [f64; 2],
    /// Normal of the step.
    pub gain: f64,
    /// Normal of the asymmetry.
    pub asymmetry: f64,
    /// Normal of the diffusion rate.
    pub diffusion: f64,
    /// Normal of the reset target.
    pub reset: f64,
    /// Normal of the lifetime.
    pub lifetime: f64,
    /// Normal of the drift exponent.
    pub drift_nu: f64,
    /// Uniforms: whether the device is stuck, and where.
    pub corrupt: Option<[f64; 2]>,
    /// Whether this is a cell of a perfect analog bias.
    pub perfect: bool,
}

impl PulsedParameters {
    /// Whether steps are infinitely fine.
    #[must_use]
    #[inline(always)]
    pub fn flows(&self) -> bool {
        self.dw_min == 0.0
    }

    /// Takes another mean step, which hidden parameters have shown; `path` is where the device stands.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) unless it is positive, or if steps are infinitely fine: they do
    /// not become pulses by their parameters.
    pub fn replace_step(&mut self, dw_min: f64, path: &str) -> Result<()> {
        let why = format!(
            "{} cannot take the place of {}: one of them is 0",
            shown(dw_min),
            shown(self.dw_min)
        );
        require(!self.flows() && dw_min != 0.0, path, "dw_min", why)?;
        self.dw_min = dw_min;
        Ok(())
    }

    /// Weight units that a step of a cell without spread and asymmetry has: `dw_min`, or 1 where steps are
    /// factors.
    #[must_use]
    #[inline(always)]
    pub fn unit(&self) -> f64 {
        if self.flows() { 1.0 } else { self.dw_min }
    }

    /// Relative spread of the steps.
    #[inline(always)]
    pub(super) fn step_spread(&self) -> f64 {
        if self.flows() { 0.0 } else { self.dw_min_dtod }
    }

    /// The constants of a cell that drew `draws`.
    ///
    /// With a log-normal spread the step has median `dw_min` and mean
    /// `dw_min exp(dw_min_dtod^2 / 2)`; `up_down` weakens one direction and strengthens none.
    #[must_use]
    #[inline(always)]
    pub fn cell(&self, draws: &CellDraws) -> Cell {
        let (mut max_bound, mut min_bound) = self.bounds(draws);
        let (mut up, mut down) = self.steps(draws);
        if let Some([is_stuck, position]) = draws.corrupt
            && is_stuck < self.corrupt_devices_prob
        {
            let range = self.corrupt_devices_range.abs();
            let (low, high) = (min_bound.max(-range), max_bound.min(range));
            max_bound = low + (high - low) * position;
            min_bound = max_bound;
            (up, down) = (0.0, 0.0);
        }
        if draws.perfect {
            (up, down) = (self.unit(), self.unit());
            // Finite, for planes are; no bias gets near.
            (min_bound, max_bound) = (100.0 * self.w_min, 100.0 * self.w_max);
        }
        Cell {
            max_bound,
            min_bound,
            up,
            down,
            decay_scale: self.decay_scale(draws.lifetime),
            diffusion_rate: (self.diffusion.max(0.0)
                * (1.0 + self.diffusion_dtod * draws.diffusion))
                .abs(),
            reset_bias: self.reset + self.reset_dtod.max(0.0) * draws.reset,
            drift_nu: self.drift.nu.max(0.0) * (1.0 + self.drift.nu_dtod * draws.drift_nu),
        }
    }

    #[inline(always)]
    fn bounds(&self, draws: &CellDraws) -> (f64, f64) {
        let max_bound = self.w_max * (1.0 + self.w_max_dtod * draws.bounds[0]);
        let min_bound = self.w_min * (1.0 + self.w_min_dtod * draws.bounds[1]);
        if self.enforce_consistency {
            return (max_bound.max(min_bound).abs(), -max_bound.min(min_bound).abs());
        }
        if min_bound > max_bound {
            let middle = 0.5 * (min_bound + max_bound);
            return (middle, middle);
        }
        (max_bound, min_bound)
    }

    #[inline(always)]
    fn steps(&self, draws: &CellDraws) -> (f64, f64) {
        let spread = self.step_spread() * draws.gain;
        let gain = if self.dw_min_dtod_log_normal { spread.exp() } else { 1.0 + spread };
        let asymmetry = self.up_down_dtod * draws.asymmetry;
        let up = (self.up_down.min(0.0) + gain + asymmetry) * self.unit();
        let down = (gain - asymmetry - self.up_down.max(0.0)) * self.unit();
        if self.enforce_consistency { (up.abs(), down.abs()) } else { (up, down) }
    }

    /// Factor on the deviation from the mean after a reset per call, for a lifetime that drew `draw`.
    #[inline(always)]
    pub(super) fn decay_scale(&self, draw: f64) -> f64 {
        if self.lifetime <= 0.0 {
            return 1.0;
        }
        let time = self.lifetime * (1.0 + self.lifetime_dtod * draw);
        // What lives shorter than a call, or drew a negative time, is gone after it.
        if time > 1.0 { 1.0 - 1.0 / time } else { 0.0 }
    }

    /// Whether bounds and steps can differ between devices for reasons that are common to both.
    pub(super) fn has_exceptions(&self, analog_bias: bool) -> bool {
        self.corrupt_devices_prob > 0.0 || (self.perfect_bias && analog_bias)
    }

    /// Whether the upper and the lower bound differ between cells: each by its own spread, and both
    /// where the draws of a cell can cross, for it then exchanges or averages them.
    pub(super) fn bounds_vary(&self) -> [bool; 2] {
        let reach = f64::from(MAX_NORMAL);
        let spreads = [self.w_max * self.w_max_dtod, self.w_min * self.w_min_dtod].map(f64::abs);
        let varies = spreads.map(|spread| spread != 0.0);
        let crosses = self.w_max - reach * spreads[0] < self.w_min + reach * spreads[1];
        varies.map(|own| own || (crosses && varies.contains(&true)))
    }

    pub(super) fn steps_vary(&self) -> bool {
        self.step_spread() != 0.0 || self.up_down_dtod != 0.0
    }
}
