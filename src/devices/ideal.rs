//! Devices without pulses: exact floating-point updates.

use crate::config::{SimpleDriftParameters, finite, params};
use crate::error::Result;

params! {
    /// Device that follows the exact update, between analog forward and backward passes.
    pub struct Ideal {
        /// Not used: an ideal device has no hidden parameters.
        construction_seed: i64 = 0;
        /// Standard deviation of the weight diffusion per call, in weight units.
        diffusion: real = 0.0;
        /// Decay time in calls; 0 is no decay.
        lifetime: real = 0.0;
        /// Noise of one reset, in weight units.
        reset_std: real = 0.01;
    }
}

params! {
    /// Weights of a floating-point tile.
    pub struct FloatingPoint {
        /// Standard deviation of the weight diffusion per call, in weight units.
        diffusion: real = 0.0;
        /// Decay time in calls; 0 is no decay.
        lifetime: real = 0.0;
        /// Power-law drift.
        drift: SimpleDriftParameters = SimpleDriftParameters::default();
    }
}

impl Ideal {
    /// Checks every value; `path` is where the device stands.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the field.
    pub fn validate(&self, path: &str) -> Result<()> {
        finite(path, "diffusion", self.diffusion)?;
        finite(path, "lifetime", self.lifetime)?;
        finite(path, "reset_std", self.reset_std)
    }
}

impl FloatingPoint {
    /// Checks every value; `path` is where the device stands.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the field.
    pub fn validate(&self, path: &str) -> Result<()> {
        finite(path, "diffusion", self.diffusion)?;
        finite(path, "lifetime", self.lifetime)?;
        self.drift.validate(&format!("{path}.drift"))
    }
}
