//! The response that all devices with steps linear in the weight share.

use super::common::Cell;
use super::math::{expm1, ratio};
use super::response::Response;
use super::rule::{Branch, CellRef, Rule, select};

/// One pulse of a device with steps linear in the weight: `w += dwmin_up + slope_up w`,
/// `w -= dwmin_down + slope_down w`, with noise on the whole step or on its constant part.
#[derive(Debug, Clone, Copy)]
pub struct LinearRule {
    std: f32,
    mult_noise: bool,
    /// Whether the first extra constant is the weight of a reference device, from which the slopes
    /// follow: the steps of the raw weight vanish at its bounds.
    reference: bool,
}

/// Twin of [`LinearRule`] but for `prepare`.
pub(super) const WGSL: &str = include_str!("linear.wgsl");

impl LinearRule {
    pub(super) fn new(std: f64, mult_noise: bool) -> Self {
        Self { std: std as f32, mult_noise, reference: false }
    }

    /// The rule of cells from whose weight that of a reference device is subtracted.
    pub(super) fn with_reference(self) -> Self {
        Self { reference: true, ..self }
    }

    /// The response whose `parts` are those of the functions, [`WGSL`] and a `prepare`.
    pub(super) fn response(self, parts: &'static [&'static str]) -> Response {
        Response::new(parts, self.std, &[f32::from(u8::from(self.mult_noise))]).with_flow()
    }
}

/// Positions in the extra constants. The last two are the parts of the steps with additive noise.
const SLOPE: [usize; 2] = [0, 1];
const NOISE: [usize; 2] = [2, 3];

impl Rule for LinearRule {
    const LINEAR: bool = true;

    #[inline(always)]
    fn prepare(self, mut cell: CellRef) -> CellRef {
        (cell.extra[NOISE[0]], cell.extra[NOISE[1]]) = (cell.up, cell.down);
        if self.reference {
            let reference = cell.extra[0];
            let (upper, lower) = (cell.max_bound + reference, cell.min_bound + reference);
            let slope_up = if upper > 0.0 { -cell.up / upper } else { 0.0 };
            let slope_down = if lower < 0.0 { -cell.down / lower } else { 0.0 };
            cell.up = slope_up.mul_add(reference, cell.up);
            cell.down = slope_down.mul_add(reference, cell.down);
            (cell.extra[SLOPE[0]], cell.extra[SLOPE[1]]) = (slope_up, slope_down);
        }
        cell
    }

    #[inline(always)]
    fn mean(self, w: f32, up: bool, cell: CellRef) -> f32 {
        let constant = select(up, cell.up, -cell.down);
        slope_of(up, cell).mul_add(w, constant)
    }

    #[inline(always)]
    fn noise(self, mean: f32, _w: f32, up: bool, cell: CellRef) -> f32 {
        let constant = select(up, cell.extra[NOISE[0]], cell.extra[NOISE[1]]);
        self.std * select(self.mult_noise, mean, constant)
    }

    #[inline(always)]
    fn branch(self, w: f32, up: bool, cell: CellRef) -> Branch {
        let (mean, slope) = (self.mean(w, up, cell), slope_of(up, cell));
        let noise = self.noise(mean, w, up, cell);
        let noise_slope = self.std * select(self.mult_noise, slope, 0.0);
        Branch { mean, slope, curvature: 0.0, noise, noise_slope }
    }

    #[inline(always)]
    fn std(self) -> f32 {
        self.std
    }

    /// `w + mean (e^(slope u) - 1) / slope`.
    #[inline(always)]
    fn flow(self, w: f32, up: bool, u: f32, cell: CellRef) -> f32 {
        let t = slope_of(up, cell) * u;
        (self.mean(w, up, cell) * u).mul_add(ratio(expm1(t), t), w)
    }
}

#[inline(always)]
fn slope_of(up: bool, cell: CellRef) -> f32 {
    select(up, cell.extra[SLOPE[0]], -cell.extra[SLOPE[1]])
}

/// Slopes that take the steps at weight 0, times `gamma`, to nothing at the weights `reach`, up and
/// down.
pub(super) fn slopes(gamma: [f64; 2], cell: &Cell, reach: [f64; 2]) -> [f64; 2] {
    let slope = |gamma: f64, step: f64, reach: f64| {
        if reach == 0.0 { 0.0 } else { -gamma * step / reach }
    };
    [slope(gamma[0], cell.up, reach[0]), slope(gamma[1], cell.down, reach[1])]
}
