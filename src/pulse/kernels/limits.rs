//! What adding up constant steps has in common, near the bounds and away from them.

/// Words after which the mean path is looked at.
pub(crate) const SEGMENT: usize = 4;
/// Distance to the bounds in standard deviations.
pub(crate) const MARGIN: f32 = 6.0;
