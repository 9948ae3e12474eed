//! What a pulsed device has to say about itself.

use std::fmt::Debug;

use super::common::{Cell, PulsedParameters};
use super::response::Response;
use crate::error::Result;
pub(crate) use crate::simd::{clip, select};

/// Constants that a device may add to each cell, at most: with bounds and steps these are eight, which
/// kernels can keep in half of the vector registers, and one `vec4` of a shader.
pub const MAX_EXTRA: usize = 4;

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
    /// What the device added, in the order of [`PulsedDevice::EXTRA`]; after [`Rule::prepare`]
    /// whatever that has put there.
    pub extra: [f32; MAX_EXTRA],
}

/// Change of a weight by one pulse of one direction as a function of the weight, near some weight.
#[derive(Debug, Clone, Copy, Default)]
pub struct Branch {
    /// Mean change, negative for pulses down.
    pub mean: f32,
    /// Derivative of the mean change.
    pub slope: f32,
    /// Second derivative of the mean change.
    pub curvature: f32,
    /// Standard deviation of the change, of any sign.
    pub noise: f32,
    /// Derivative of `noise`.
    pub noise_slope: f32,
}

impl Branch {
    /// Noise of `std` times the mean change.
    #[inline(always)]
    #[must_use]
    pub fn multiplicative(mean: f32, slope: f32, curvature: f32, std: f32) -> Self {
        Self { mean, slope, curvature, noise: std * mean, noise_slope: std * slope }
    }
}

/// Steps of [`Rule::flow`] without a closed form.
const STEPS: usize = 8;

#[inline(always)]
fn inside(w: f32, cell: CellRef) -> f32 {
    clip(w, cell.min_bound, cell.max_bound)
}

/// What kernels must know of a rule before they see cells.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// [`Rule::LINEAR`].
    pub linear: bool,
    /// [`Rule::CONSTANT`].
    pub constant: bool,
    /// [`Rule::LOCAL`].
    pub local: bool,
}

/// How far a weight has come on its flow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reach {
    /// Weight.
    pub w: f32,
    /// What is left of the update.
    pub left: f32,
    /// Where [`Rule::look_up`] shall look for what follows.
    pub place: u32,
}

/// Response of one cell to pulses. Kernels evaluate it for many cells at once, so it is best
/// written without branches.
pub trait Rule: Copy + Debug + Send + Sync {
    /// Whether mean and noise are linear in the weight between kinks.
    const LINEAR: bool = false;
    /// Whether they do not depend on the weight at all.
    const CONSTANT: bool = false;
    /// Whether pulses may be added up, by [`Rule::branch`] and [`Rule::smooth`]. Without, these two
    /// are not called.
    const SMOOTH: bool = true;
    /// Whether [`Rule::localize`] does something.
    const LOCAL: bool = false;
    /// Whether this stands for rules of other types; the constants above say nothing of those.
    #[doc(hidden)]
    const SHARED: bool = false;

    /// What the constants say, of a rule that may be known at run time only.
    #[doc(hidden)]
    #[inline(always)]
    fn shape(self) -> Shape {
        Shape { linear: Self::LINEAR, constant: Self::CONSTANT, local: Self::LOCAL }
    }

    /// Turns the hidden parameters of a cell into the constants that the other functions read; done
    /// once per cell and update. Bounds come with the reference already subtracted.
    #[inline(always)]
    fn prepare(self, cell: CellRef) -> CellRef {
        cell
    }

    /// Mean change of weight `w` by one pulse, before the bounds.
    fn mean(self, w: f32, up: bool, cell: CellRef) -> f32;

    /// Standard deviation of the change whose mean is `mean`, of any sign; 0 if [`Rule::std`] is.
    fn noise(self, mean: f32, w: f32, up: bool, cell: CellRef) -> f32;

    /// Where [`Rule::look_up`] shall look for `w`.
    #[inline(always)]
    fn place(self, _w: f32, _cell: CellRef) -> u32 {
        0
    }

    /// Values from tables. Looking up is apart from calculating, for only the latter vectorises.
    #[inline(always)]
    fn look_up(self, _place: u32) -> [f32; 4] {
        [0.0; 4]
    }

    /// The constants that [`Rule::branch`] and [`Rule::smooth`] read near `w`, with what has been
    /// looked up for it: once for weights between two kinks.
    #[inline(always)]
    fn localize(self, _w: f32, cell: CellRef, _found: [f32; 4]) -> CellRef {
        cell
    }

    /// The functions above and their derivatives at `w`.
    fn branch(self, w: f32, up: bool, cell: CellRef) -> Branch;

    /// Weights around `w` between which the functions have no kink; within the bounds.
    #[inline(always)]
    fn smooth(self, _w: f32, cell: CellRef) -> [f32; 2] {
        [cell.min_bound, cell.max_bound]
    }

    /// Noise of a pulse as the configuration has it; 0 when no draw is needed.
    fn std(self) -> f32;

    /// Weight after infinitely many pulses of one direction, each infinitely small: what `dw/du = mean(w)` makes
    /// of `w` over the length `u`, 0 to 1e18. Where the result is beyond the bounds, kernels take these.
    ///
    /// Without a closed form there are eight steps of the Runge-Kutta method of fourth order.
    #[inline(always)]
    fn flow(self, w: f32, up: bool, u: f32, cell: CellRef) -> f32 {
        let (h, mut w) = (u / STEPS as f32, w);
        for _ in 0..STEPS {
            let first = self.mean(w, up, cell);
            let second = self.mean(inside((0.5 * h).mul_add(first, w), cell), up, cell);
            let third = self.mean(inside((0.5 * h).mul_add(second, w), cell), up, cell);
            let fourth = self.mean(inside(h.mul_add(third, w), cell), up, cell);
            let mean = (second + third).mul_add(2.0, first + fourth) / 6.0;
            w = inside(h.mul_add(mean, w), cell);
        }
        w
    }

    /// [`Rule::flow`] as far as what was looked up holds; kernels come back while something is left.
    #[inline(always)]
    fn advance(self, from: Reach, up: bool, cell: CellRef, _found: [f32; 4]) -> Reach {
        Reach { w: self.flow(from.w, up, from.left, cell), left: 0.0, ..from }
    }

    /// Weight after one pulse from weight `w`, before the bounds; `xi` is a standard normal draw.
    ///
    /// The whole change is added at once: a mean of a few units in the last place of `w`, added by
    /// itself, would be rounded the same way at every pulse, which is a drift. With the noise in it
    /// the rounding has no preferred direction.
    #[inline(always)]
    fn step(self, w: f32, up: bool, cell: CellRef, xi: f32) -> f32 {
        let mean = self.mean(w, up, cell);
        self.noise(mean, w, up, cell).mul_add(xi, mean) + w
    }
}

/// Which kernel applies trains of pulses to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kernel {
    /// Steps do not depend on the weight: pulses of many samples are added up.
    Constant,
    /// Steps vary slowly with the weight: pulses of a few samples are added up in their order.
    Smooth,
    /// One pulse after another.
    General,
}

impl Kernel {
    /// The kernel that what the rule says of itself allows.
    #[must_use]
    pub const fn of<R: Rule>() -> Self {
        if !R::SMOOTH {
            Self::General
        } else if R::CONSTANT {
            Self::Constant
        } else {
            Self::Smooth
        }
    }
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
///
/// Built-in ones are variants of [`DeviceConfig`](super::DeviceConfig); one of another crate becomes such a
/// configuration by [`DeviceConfig::custom`](super::DeviceConfig::custom), and takes part in everything then.
pub trait PulsedDevice: Clone + Debug + Default + PartialEq + Send + Sync + 'static {
    /// Tag in the configuration: the Python class name without `Device`.
    const NAME: &'static str;
    /// Names of the hidden parameters that this device adds.
    const EXTRA: &'static [&'static str] = &[];
    /// Number of normal draws that [`PulsedDevice::extra`] takes, at most [`MAX_EXTRA`].
    const EXTRA_DRAWS: usize = 0;
    /// Which of [`PulsedDevice::EXTRA`] is the weight of a reference device, subtracted from that of
    /// the pulsed device: the bounds of the difference are those of the cell minus the reference.
    const REFERENCE: Option<usize> = None;
    /// Response to pulses.
    type Rule<'a>: Rule
    where
        Self: 'a;

    /// The shared parameters.
    fn pulsed(&self) -> &PulsedParameters;

    /// The shared parameters, to change them.
    fn pulsed_mut(&mut self) -> &mut PulsedParameters;

    /// Checks every value; `path` is where the device stands.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) or [`Error::Unsupported`](crate::Error::Unsupported)
    /// naming the field.
    fn validate(&self, path: &str) -> Result<()>;

    /// Response to pulses.
    fn rule(&self) -> Self::Rule<'_>;

    /// Response to pulses on graphics processors.
    fn response(&self) -> Response;

    /// Mean step of one pulse, on which the pulse probabilities are based; 0 if steps are infinitely fine.
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

    /// Time to draw the hidden parameters of a cell, roughly: it decides how often construction asks for
    /// an interruption.
    fn construction_ns(&self) -> f64 {
        200.0
    }

    /// Whether the draws of [`PulsedDevice::extra`] make its values differ between cells.
    fn extra_varies(&self) -> bool {
        false
    }

    /// Whether they make the bounds differ.
    fn adjusts_bounds(&self) -> bool {
        false
    }
}

/// [`WriteNoise`] of the two fields that describe it. It is relative to the step, and absolute where steps are
/// infinitely fine.
pub(super) fn write_noise(std: f64, on_set: bool, pulsed: &PulsedParameters) -> Option<WriteNoise> {
    (std > 0.0).then_some(WriteNoise { std: (std * pulsed.unit()) as f32, on_set })
}
