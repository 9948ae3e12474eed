//! What a pulsed device has to say about itself.

use std::fmt::Debug;

use super::common::{Cell, PulsedParameters};
use crate::error::Result;

/// Constants that a device may add to each cell, at most.
pub const MAX_EXTRA: usize = 3;

/// Constants of one cell as the pulse kernels see them.
#[derive(Debug, Clone, Copy, Default)]
pub struct CellRef {
    /// Upper bound of the weight.
    pub max_bound: f32,
    /// Lower bound of the weight.
    pub min_bound: f32,
    /// Magnitude of a step up.
    pub up: f32,
    /// Magnitude of a step down.
    pub down: f32,
    /// What the device added, in the order of [`PulsedDevice::EXTRA`].
    pub extra: [f32; MAX_EXTRA],
}

/// Response of one cell to one pulse. Kernels evaluate it for many cells at once, so it is best
/// written without branches.
pub trait Rule: Copy + Debug + Send + Sync {
    /// Weight after one pulse from weight `w`, before the bounds; `xi` is a standard normal draw.
    fn step(self, w: f32, up: bool, cell: CellRef, xi: f32) -> f32;

    /// Relative standard deviation of a step; 0 when the draw is not used.
    fn std(self) -> f32;
}

/// Which kernel applies trains of pulses to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Steps do not depend on the weight: pulses of many samples are added up.
    Constant,
    /// The step is an affine function of the weight and the noise is a factor on it; extra plane 0
    /// holds the slope for up pulses and plane 1 that for down pulses.
    Affine,
    /// One pulse after another.
    General,
}

/// Noise of the visible weight around the persistent one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WriteNoise {
    /// Standard deviation in weight units.
    pub std: f32,
    /// Whether weights that are set receive it.
    pub on_set: bool,
}

/// A device that moves by pulses.
pub trait PulsedDevice: Clone + Debug + Default + Send + Sync {
    /// Tag in the configuration: the Python class name without `Device`.
    const NAME: &'static str;
    /// Names of the hidden parameters that this device adds.
    const EXTRA: &'static [&'static str] = &[];
    /// Number of normal draws that [`PulsedDevice::extra`] takes.
    const EXTRA_DRAWS: usize = 0;
    /// Response to one pulse.
    type Rule: Rule;

    /// The shared parameters.
    fn pulsed(&self) -> &PulsedParameters;

    /// Checks every value; `path` is where the device stands.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) or [`Error::Unsupported`](crate::Error::Unsupported)
    /// naming the field.
    fn validate(&self, path: &str) -> Result<()>;

    /// Response to one pulse.
    fn rule(&self) -> Self::Rule;

    /// The kernel that applies trains of pulses.
    fn kernel(&self) -> Kernel {
        Kernel::General
    }

    /// Mean step of one pulse, on which the pulse probabilities are based.
    fn granularity(&self) -> f64 {
        self.pulsed().dw_min
    }

    /// Noise of the visible weight, or `None` when the visible weight is the persistent one.
    fn write_noise(&self) -> Option<WriteNoise> {
        None
    }

    /// Values of [`PulsedDevice::EXTRA`] for a cell, which may be adjusted; `normals` has
    /// [`PulsedDevice::EXTRA_DRAWS`] draws.
    fn extra(&self, _cell: &mut Cell, _normals: &[f64]) -> [f64; MAX_EXTRA] {
        [0.0; MAX_EXTRA]
    }
}

/// [`WriteNoise`] of the two fields that describe it.
pub(super) fn write_noise(std: f64, on_set: bool, dw_min: f64) -> Option<WriteNoise> {
    (std > 0.0).then_some(WriteNoise { std: (std * dw_min) as f32, on_set })
}

/// `a` if `first`, else `b`, by bits: of a choice between two loads the compiler would make a
/// gather, which takes many times longer than both loads.
#[inline(always)]
pub(crate) fn select(first: bool, a: f32, b: f32) -> f32 {
    let mask = 0u32.wrapping_sub(u32::from(first));
    f32::from_bits(b.to_bits() ^ ((a.to_bits() ^ b.to_bits()) & mask))
}
