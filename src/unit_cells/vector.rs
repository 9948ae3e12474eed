//! Which devices of a cell an update reaches.

use super::config::VectorUnitCellUpdatePolicy as Policy;
use crate::config::{finite, require};
use crate::error::{Error, Result};
use crate::rng::Draw;

/// The rule of [`VectorUnitCell`](super::VectorUnitCell).
#[derive(Debug, Clone)]
pub(super) struct Vector {
    policy: Policy,
    first: usize,
}

impl Vector {
    /// The rule for `count` devices, and the weights of these in the sum. `path` is where the cell stands.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub(super) fn new(
        path: &str,
        policy: Policy,
        first_update_idx: i64,
        gamma_vec: &[f64],
        count: usize,
    ) -> Result<(Self, Vec<f32>)> {
        let gamma = gamma(path, gamma_vec, count)?;
        let gamma = gamma.unwrap_or_else(|| vec![1.0 / count as f32; count]);
        let first = usize::try_from(first_update_idx).ok().filter(|first| *first < count);
        let Some(first) = first else {
            let why = format!("must be between 0 and {}, got {first_update_idx}", count - 1);
            return Err(Error::config(format!("{path}.first_update_idx"), why));
        };
        Ok((Self { policy, first }, gamma))
    }

    /// The device that single-device policies start from.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// Whether weights are set in the current device only.
    pub(super) fn sets_one(&self) -> bool {
        self.policy == Policy::SingleFixed
    }

    /// Whether every update reaches all devices.
    pub(super) fn reaches_all(&self) -> bool {
        self.policy == Policy::All
    }

    /// The current device of the next update of `count` devices; `column` is the position of its draw.
    pub(super) fn choose(&self, current: i64, count: usize, draw: Draw, column: u32) -> i64 {
        let count = count as i64;
        match self.policy {
            Policy::All | Policy::SingleFixed => current,
            Policy::SingleSequential => (current + 1) % count,
            Policy::SingleRandom => index(draw.uniform(column, 0, 0), count as usize) as i64,
        }
    }
}

/// The one of `count` that a uniform draw stands for.
pub(super) fn index(uniform: f32, count: usize) -> usize {
    ((f64::from(uniform) * count as f64) as usize).min(count - 1)
}

/// Weights of `count` devices in the sum, if they are given.
pub(super) fn gamma(path: &str, gamma_vec: &[f64], count: usize) -> Result<Option<Vec<f32>>> {
    for gamma in gamma_vec {
        finite(path, "gamma_vec", *gamma)?;
    }
    let len = gamma_vec.len();
    let why = format!("must be empty or have a value for each of the {count} devices, got {len}");
    require(len == 0 || len == count, path, "gamma_vec", why)?;
    Ok((len > 0).then(|| gamma_vec.iter().map(|gamma| *gamma as f32).collect()))
}
