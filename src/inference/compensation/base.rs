//! Interface of the digital correction of drift.

use std::fmt::Debug;

use crate::error::{Error, Result};
use crate::memory;

/// Smallest readout, so that nothing is divided by zero.
pub(super) const SMALLEST_READOUT: f32 = 1e-4;

/// Multiplies outputs by the ratio of a readout after programming to the same readout now.
///
/// A readout is the product of the bare array with one-hot inputs, one for each input line: no input
/// range, no scales, no bias.
pub trait DriftCompensation: Debug + Send + Sync {
    /// The number, or one number per output, that sums up `outputs`, `[batch, out_size]`.
    fn readout(&self, outputs: &[f32], out_size: usize) -> Vec<f32>;

    /// Whether the readout after programming is that of the weights before programming, read without any
    /// error, so that factors correct errors of programming as well.
    fn has_exact_reference(&self) -> bool {
        false
    }

    /// The factor that corrects outputs now, or one factor per output, from the readout after
    /// programming.
    ///
    /// # Errors
    /// [`Error::Shape`] for a `baseline` of another number of outputs.
    fn apply(&self, outputs: &[f32], out_size: usize, baseline: &[f32]) -> Result<Vec<f32>> {
        let now = self.readout(outputs, out_size);
        Error::check_len("baseline", baseline.len(), now.len())?;
        Ok(baseline.iter().zip(&now).map(|(before, now)| before / now).collect())
    }
}

/// One-hot inputs, `[in_size, in_size]`.
///
/// # Errors
/// [`Error::Memory`](crate::Error::Memory).
pub fn readout_inputs(in_size: usize) -> Result<Vec<f32>> {
    let mut inputs = memory::filled(0.0, in_size.saturating_mul(in_size))?;
    inputs.iter_mut().step_by(in_size.saturating_add(1)).for_each(|x| *x = 1.0);
    Ok(inputs)
}
