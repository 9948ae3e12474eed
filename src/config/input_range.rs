//! Parameters of the static input range of a tile.

use super::{IoParameters, finite, params, require};
use crate::config::{BoundManagement, NoiseManagement};
use crate::error::Result;

params! {
    /// Static input range of a tile, learned or initialised from data: inputs are clipped to the range `r`
    /// and divided by it, outputs multiplied by it.
    pub struct InputRangeParameter {
        /// Clip and scale inputs.
        enable: bool = false;
        /// Whether the range is trained.
        learn_input_range: bool = true;
        /// First value of the range.
        init_value: real = 3.0;
        /// Number of training batches that set the range from their standard deviation; zero is none.
        init_from_data: i64 = 100;
        /// Multiple of the standard deviation in that phase.
        init_std_alpha: real = 3.0;
        /// Strength of the pull towards smaller ranges.
        decay: real = 0.001;
        /// Shrink only if more than this fraction of inputs is not clipped.
        input_min_percentage: real = 0.95;
        /// Grow the range when outputs are clipped.
        manage_output_clipping: bool = false;
        /// Grow only if less than this fraction of outputs is not clipped.
        output_min_percentage: real = 0.95;
        /// Factor on the gradient from clipped inputs.
        gradient_scale: real = 1.0;
        /// Multiply that gradient by the range.
        gradient_relative: bool = true;
        /// Note left by calibration.
        calibration_info: Option<String> = None;
    }
}

impl InputRangeParameter {
    /// Checks every value; `path` is where the group stands.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the field.
    pub fn validate(&self, path: &str) -> Result<()> {
        for (field, value) in [
            ("init_value", self.init_value),
            ("init_std_alpha", self.init_std_alpha),
            ("decay", self.decay),
            ("input_min_percentage", self.input_min_percentage),
            ("output_min_percentage", self.output_min_percentage),
            ("gradient_scale", self.gradient_scale),
        ] {
            finite(path, field, value)?;
        }
        let why = "must not be zero: inputs outside of the range are clipped";
        require(!self.enable || self.init_value as f32 != 0.0, path, "init_value", why)
    }

    /// Checks that a product lets clipped outputs be observed where they are asked for.
    ///
    /// # Errors
    /// As [`InputRangeParameter::validate`].
    pub fn check_observed(&self, path: &str, forward: &IoParameters) -> Result<()> {
        let is_seen = !forward.is_perfect
            && forward.noise_management == NoiseManagement::None
            && forward.bound_management == BoundManagement::None;
        let is_fine = !self.enable || !self.manage_output_clipping || is_seen;
        let why = "needs a forward that is not perfect, with noise and bound management None";
        require(is_fine, path, "manage_output_clipping", why)
    }
}
