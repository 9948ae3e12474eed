//! The arguments of one update.

use crate::config::check_factor;
use crate::error::{Error, Result};

/// One mini-batch of vectors, applied one after another.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Inputs, `[samples, x_size]`, without the last column when `bias` is given.
    pub x: &'a [f32],
    /// Input of the last column, equal for all samples.
    pub bias: Option<f32>,
    /// Errors, `[samples, d_size]`.
    pub d: &'a [f32],
    /// Learning rate, from 0 to the largest f32; the target is `w -= learning_rate d x`.
    pub learning_rate: f64,
}

impl Batch<'_> {
    /// Number of vectors for cells of these sizes, checked.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`].
    pub(super) fn samples(&self, d_size: usize, x_size: usize) -> Result<usize> {
        let samples = self.d.len() / d_size;
        let inputs = x_size - usize::from(self.bias.is_some());
        Error::check_len("d", self.d.len(), samples * d_size)?;
        Error::check_len("x", self.x.len(), samples * inputs)?;
        Error::check_finite("x", self.x)?;
        Error::check_finite("d", self.d)?;
        if let Some(bias) = self.bias {
            Error::check_finite("bias", &[bias])?;
        }
        check_factor("learning_rate", self.learning_rate)?;
        if u32::try_from(samples).is_err() {
            let why = "has more than 2^32 - 1 samples; split the batch".to_owned();
            return Err(Error::Argument { argument: "x", why });
        }
        Ok(samples)
    }
}
