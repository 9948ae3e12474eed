//! Parameters of the clipping of weights in training.

use serde::{Deserialize, Serialize};

use super::{finite, params, require};
use crate::error::Result;

/// How weights are clipped after an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WeightClipType {
    /// Not at all.
    None,
    /// At a constant.
    FixedValue,
    /// At a multiple of the standard deviation over the whole matrix.
    LayerGaussian,
    /// At the mean over rows of the largest absolute value in a row.
    AverageChannelMax,
}

params! {
    /// Clipping of the weights after each step of training, before remapping. Limits are in units of the weights
    /// of the tile.
    pub struct WeightClipParameter {
        /// Limit of `FixedValue`, where a negative one does nothing; upper bound of the other limits if positive.
        fixed_value: real = -1.0;
        /// Limit of `LayerGaussian` in standard deviations.
        sigma: real = 2.5;
        /// Kind of the limit.
        #[serde(rename = "type")]
        kind: WeightClipType = WeightClipType::None;
    }
}

impl WeightClipParameter {
    /// Checks every value; `path` is where the group stands.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the field.
    pub fn validate(&self, path: &str) -> Result<()> {
        require(!self.fixed_value.is_nan(), path, "fixed_value", "must not be NaN")?;
        finite(path, "sigma", self.sigma)
    }
}
