//! Steps that shrink linearly towards the bound.

use super::common::{Cell, PulsedParameters};
use super::rule::{
    CellRef, Kernel, MAX_EXTRA, PulsedDevice, Rule, WriteNoise, select, write_noise,
};
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
        /// Noise of the visible weight in units of `dw_min`; 0 is none.
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

/// One pulse of a device with steps linear in the weight.
#[derive(Debug, Clone, Copy)]
pub struct LinearRule {
    std: f32,
    mult_noise: bool,
}

impl LinearRule {
    pub(super) fn new(std: f64, mult_noise: bool) -> Self {
        Self { std: std as f32, mult_noise }
    }
}

impl Rule for LinearRule {
    #[inline(always)]
    fn step(self, w: f32, up: bool, cell: CellRef, xi: f32) -> f32 {
        let constant = select(up, cell.up, -cell.down);
        let slope = select(up, cell.extra[0], -cell.extra[1]);
        let mean = slope.mul_add(w, constant);
        let noisy = select(self.mult_noise, mean, constant);
        noisy.mul_add(self.std * xi, mean + w)
    }

    #[inline(always)]
    fn std(self) -> f32 {
        self.std
    }
}

impl PulsedDevice for SoftBounds {
    const NAME: &'static str = "SoftBounds";
    const EXTRA: &'static [&'static str] = &["slope_up", "slope_down"];
    type Rule = LinearRule;

    fn pulsed(&self) -> &PulsedParameters {
        &self.pulsed
    }

    fn validate(&self, path: &str) -> Result<()> {
        self.pulsed.validate(path)?;
        finite(path, "write_noise_std", self.write_noise_std)?;
        finite(path, "reverse_offset", self.reverse_offset)?;
        for (field, reversed) in
            [("reverse_up", self.reverse_up), ("reverse_down", self.reverse_down)]
        {
            require(!reversed || self.mult_noise, path, field, "needs mult_noise = True")?;
        }
        Ok(())
    }

    fn rule(&self) -> LinearRule {
        LinearRule::new(self.pulsed.dw_min_std, self.mult_noise)
    }

    fn kernel(&self) -> Kernel {
        let plain = self.mult_noise && !self.reverse_up && !self.reverse_down;
        if plain && self.write_noise().is_none() { Kernel::Affine } else { Kernel::General }
    }

    fn write_noise(&self) -> Option<WriteNoise> {
        write_noise(self.write_noise_std, self.apply_write_noise_on_set, self.pulsed.dw_min)
    }

    fn extra(&self, cell: &mut Cell, _normals: &[f64]) -> [f64; MAX_EXTRA] {
        let reach_up =
            if self.reverse_up { cell.min_bound - self.reverse_offset } else { cell.max_bound };
        let reach_down =
            if self.reverse_down { cell.max_bound + self.reverse_offset } else { cell.min_bound };
        [slope(cell.up, reach_up), slope(cell.down, reach_down), 0.0]
    }
}

/// Slope that takes `step` at weight 0 to nothing at weight `reach`.
pub(super) fn slope(step: f64, reach: f64) -> f64 {
    if reach == 0.0 { 0.0 } else { -step / reach }
}
