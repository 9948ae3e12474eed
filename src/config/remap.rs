//! Parameters of the remapping of weights in training.

use serde::{Deserialize, Serialize};

use super::{params, require};
use crate::error::{Result, shown};

/// How weights and their scales are balanced again after an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WeightRemapType {
    /// Not at all.
    None,
    /// One factor for the whole matrix.
    LayerwiseSymmetric,
    /// One factor per output.
    ChannelwiseSymmetric,
}

params! {
    /// Rescaling of weights and output scales after each step of training; their product stays. The crate keeps
    /// these settings for those who train; none of its own layers remaps.
    pub struct WeightRemapParameter {
        /// Largest absolute weight after remapping, positive; one with `max_scale_range`.
        remapped_wmax: real = 1.0;
        /// Largest ratio of a scale to the smallest present one for `ChannelwiseSymmetric`; zero or less is
        /// unlimited.
        max_scale_range: real = 0.0;
        /// Lower limit of the smallest scale that `max_scale_range` refers to; zero is none.
        max_scale_ref: real = 0.0;
        /// Kind of the rescaling.
        #[serde(rename = "type")]
        kind: WeightRemapType = WeightRemapType::None;
    }
}

impl WeightRemapParameter {
    /// Checks every value; `path` is where the group stands.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the field.
    pub fn validate(&self, path: &str) -> Result<()> {
        for (field, value) in
            [("max_scale_range", self.max_scale_range), ("max_scale_ref", self.max_scale_ref)]
        {
            require(!value.is_nan(), path, field, "must not be NaN")?;
        }
        if self.kind == WeightRemapType::None {
            return Ok(());
        }
        let (wmax, is_channelwise) =
            (self.remapped_wmax, self.kind == WeightRemapType::ChannelwiseSymmetric);
        let why = format!("must be positive and finite, got {}", shown(wmax));
        require(wmax > 0.0 && wmax.is_finite(), path, "remapped_wmax", why)?;
        let is_limited = is_channelwise && self.max_scale_range > 0.0;
        let why = format!("must be 1 with max_scale_range, got {}", shown(wmax));
        require(!is_limited || wmax == 1.0, path, "remapped_wmax", why)
    }
}
