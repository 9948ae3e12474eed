//! Two devices that take pulses up only, and what brings them back when both saturate.

use super::config::OneSidedUnitCell;
use crate::config::{UpdateParameters, finite, require};
use crate::error::{Error, Result};
use crate::mvm::{Direction, OneLine};

/// Member that takes the pulses down, and its weight in the sum.
pub(super) const MINUS: usize = 0;
/// Member that takes the pulses up.
pub(super) const PLUS: usize = 1;

/// The rule of [`OneSidedUnitCell`].
#[derive(Debug, Clone)]
pub(super) struct OneSided {
    every: i64,
    in_batches: bool,
    /// Thresholds of the larger and of the smaller device, relative to `w_max`.
    pub(super) thresholds: [f32; 2],
    /// Configured largest weights of the two devices.
    pub(super) w_max: [f32; 2],
    pub(super) read: OneLine,
    pub(super) write: UpdateParameters,
}

impl OneSided {
    /// The rule for devices with the configured bounds `w_max`; `path` is where the cell stands.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub(super) fn new(
        config: &OneSidedUnitCell,
        path: &str,
        w_max: [f64; 2],
        [d_size, x_size]: [usize; 2],
    ) -> Result<Self> {
        let every = config.refresh_every;
        require(every >= 0, path, "refresh_every", format!("must not be negative, got {every}"))?;
        finite(path, "refresh_upper_thres", config.refresh_upper_thres)?;
        finite(path, "refresh_lower_thres", config.refresh_lower_thres)?;
        config.refresh_forward.validate(&format!("{path}.refresh_forward"))?;
        config.refresh_update.validate(&format!("{path}.refresh_update"))?;
        if every > 0 && w_max.contains(&0.0) {
            let why = "a refresh compares weights with w_max of both devices, which must not be 0";
            return Err(Error::config(format!("{path}.refresh_every"), why));
        }
        Ok(Self {
            every,
            in_batches: config.units_in_mbatch,
            thresholds: [config.refresh_upper_thres as f32, config.refresh_lower_thres as f32],
            w_max: w_max.map(|w_max| w_max.abs() as f32),
            read: OneLine::new(&config.refresh_forward, Direction::Forward, d_size, x_size)?,
            write: config.refresh_update.clone(),
        })
    }

    /// Whether a refresh follows the vector update number `updates`, in a call with `batch` of them.
    pub(super) fn is_due(&self, updates: i64, batch: usize) -> bool {
        let every = self.every.saturating_mul(if self.in_batches { batch as i64 } else { 1 });
        every > 0 && updates % every == 0
    }

    /// What is to be written to the two devices of a crosspoint, minus first, that read as these; `None`
    /// if they are left alone.
    pub(super) fn refreshed(&self, minus: f32, plus: f32) -> Option<[f32; 2]> {
        let [upper, lower] = self.thresholds;
        let (b, a) = (minus / self.w_max[MINUS], plus / self.w_max[PLUS]);
        if plus > minus {
            (a > upper && b > lower).then_some([0.0, plus - minus])
        } else {
            (a > lower && b > upper).then_some([minus - plus, 0.0])
        }
    }
}
