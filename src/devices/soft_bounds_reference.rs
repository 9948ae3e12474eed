//! Soft-bounds device read against a reference device.

use super::common::{Cell, PulsedParameters};
use super::linear::{self, LinearRule};
use super::math;
use super::response::Response;
use super::rule::{MAX_EXTRA, PulsedDevice, WriteNoise, write_noise};
use crate::config::{finite, params};
use crate::error::Result;

params! {
    /// Soft-bounds device from which the weight of a fixed reference device is subtracted. With the
    /// raw weight `v = w + reference`, which the bounds of the cell limit:
    /// `v += dwmin_up (1 - v / max_bound)` for an up pulse, `v -= dwmin_down (1 - v / min_bound)` for
    /// a down pulse, with noise on the whole step or of the size of `dwmin_up` or `dwmin_down`.
    pub struct SoftBoundsReference {
        /// Parameters shared by all pulsed devices.
        pulsed: PulsedParameters = PulsedParameters::default();
        /// Whether the noise is a factor on the whole step or only on its constant part.
        mult_noise: bool = false;
        /// Noise of the visible weight in units of `dw_min`, or absolute if that is 0; 0 is none.
        write_noise_std: real = 0.0;
        /// Whether weights that are set receive write noise.
        apply_write_noise_on_set: bool = true;
        /// Relative spread of the slope of up steps.
        slope_up_dtod: real = 0.0;
        /// Relative spread of the slope of down steps.
        slope_down_dtod: real = 0.0;
        /// Mean of the reference, in weight units.
        reference_mean: real = 0.0;
        /// Spread of the reference, in weight units.
        reference_std: real = 0.0;
        /// Whether the symmetry point of the cell is added to its reference.
        subtract_symmetry_point: bool = false;
    }
}

impl PulsedDevice for SoftBoundsReference {
    const NAME: &'static str = "SoftBoundsReference";
    const EXTRA: &'static [&'static str] = &["reference"];
    const EXTRA_DRAWS: usize = 3;
    const REFERENCE: Option<usize> = Some(0);
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
            ("write_noise_std", self.write_noise_std),
            ("slope_up_dtod", self.slope_up_dtod),
            ("slope_down_dtod", self.slope_down_dtod),
            ("reference_mean", self.reference_mean),
            ("reference_std", self.reference_std),
        ] {
            finite(path, field, value)?;
        }
        Ok(())
    }

    fn rule(&self) -> LinearRule {
        LinearRule::new(self.pulsed.dw_min_std, self.mult_noise).with_reference()
    }

    fn response(&self) -> Response {
        self.rule().response(&[
            math::WGSL,
            linear::WGSL,
            include_str!("soft_bounds_reference.wgsl"),
        ])
    }

    fn write_noise(&self) -> Option<WriteNoise> {
        write_noise(self.write_noise_std, self.apply_write_noise_on_set, &self.pulsed)
    }

    fn extra(&self, cell: &mut Cell, normals: &[f64]) -> [f64; MAX_EXTRA] {
        let two_sided = cell.max_bound > 0.0 && cell.min_bound < 0.0;
        if two_sided {
            cell.min_bound /= (1.0 + self.slope_down_dtod * normals[0]).abs();
            cell.max_bound /= (1.0 + self.slope_up_dtod * normals[1]).abs();
        }
        let mut reference = self.reference_mean + self.reference_std * normals[2];
        if two_sided && self.subtract_symmetry_point {
            reference += symmetry_point(cell);
        }
        [reference, 0.0, 0.0, 0.0]
    }

    fn extra_varies(&self) -> bool {
        self.reference_std != 0.0 || self.adjusts_bounds()
    }

    fn adjusts_bounds(&self) -> bool {
        self.slope_up_dtod != 0.0 || self.slope_down_dtod != 0.0
    }
}

/// Raw weight at which mean up and down steps are equal; 0 for a cell without steps.
fn symmetry_point(cell: &Cell) -> f64 {
    let slope = cell.up / cell.max_bound - cell.down / cell.min_bound;
    if slope == 0.0 { 0.0 } else { (cell.up - cell.down) / slope }
}
