//! Steps interpolated between given values.

use super::common::PulsedParameters;
use super::math::{self, expm1, ln_1p, ratio};
use super::nodes::{MAX_NODES, Nodes, piece};
use super::response::Response;
use super::rule::{Branch, CellRef, PulsedDevice, Reach, Rule, WriteNoise, select, write_noise};
use crate::config::{finite, params, require};
use crate::error::{Result, shown};

params! {
    /// Device whose step is interpolated linearly between nodes that divide the range of the cell
    /// evenly, the first at `min_bound`, the last at `max_bound`, for both directions:
    /// `w += dwmin_up f_up(w) (1 + dw_min_std xi)`, `w -= dwmin_down f_down(w) (1 + dw_min_std xi)`.
    pub struct PiecewiseStep {
        /// Parameters shared by all pulsed devices.
        pulsed: PulsedParameters = PulsedParameters::default();
        /// Up steps at the nodes, relative to `dw_min`.
        piecewise_up: Nodes = Nodes::from(vec![1.0]);
        /// Down steps at the nodes, relative to `dw_min`.
        piecewise_down: Nodes = Nodes::from(vec![1.0]);
        /// Noise of the visible weight in units of `dw_min`, or absolute if that is 0; 0 is none.
        write_noise_std: real = 0.0;
        /// Whether weights that are set receive write noise.
        apply_write_noise_on_set: bool = true;
    }
}

/// One pulse of [`PiecewiseStep`].
#[derive(Debug, Clone, Copy)]
pub struct PiecewiseRule<'a> {
    std: f32,
    up: &'a [f32; MAX_NODES],
    down: &'a [f32; MAX_NODES],
    /// Number of pieces.
    pieces: f32,
    /// How far behind a node the slope of a piece may be used, in pieces per relative step.
    slack: f32,
}

/// Positions in the prepared constants: pieces per unit of weight, and the length of a piece.
const SCALE: usize = 0;
const LENGTH: usize = 1;
/// Positions in the constants near a weight, where the steps are `mean + slope w`: slopes up and
/// down, and how far that holds.
const SLOPE: [usize; 2] = [0, 1];
const LOW: usize = 2;
const HIGH: usize = 3;

/// Largest relative error of a step from the slope of the neighbouring piece. Weights within this reach
/// of a node are few and their mean error is half of it, which keeps sums of pulses within the 1e-3 of
/// the way that they are tested for.
const TOLERANCE: f32 = 1.0 / 512.0;

/// 1.5 x 2^23: added to a small number, it leaves the nearest integer in the low bits.
const ROUND: f32 = 12_582_912.0;

impl PiecewiseRule<'_> {
    /// Number of the piece that `w` is in, and the position in units of pieces.
    #[inline(always)]
    fn locate(self, w: f32, cell: CellRef) -> (f32, f32) {
        let u = (w - cell.min_bound) * cell.extra[SCALE];
        let u = if u > 0.0 { u } else { 0.0 };
        let u = if u < self.pieces { u } else { self.pieces };
        // At a node either piece will do: the interpolation is continuous.
        let whole = (u - 0.5) + ROUND - ROUND;
        let last = self.pieces - 1.0;
        let whole = if whole < last { whole } else { last };
        (if whole > 0.0 { whole } else { 0.0 }, u)
    }

    /// Relative step.
    #[inline(always)]
    fn value(self, w: f32, up: bool, cell: CellRef) -> f32 {
        let (at, u) = self.locate(w, cell);
        let place = self.place(w, cell);
        let (low, rise) = piece(if up { self.up } else { self.down }, place);
        rise.mul_add(u - at, low)
    }

    /// Mean step at weight 0 of the line through the steps at the ends of a piece, its slope, and
    /// the smaller of the steps.
    #[inline(always)]
    fn line(self, size: f32, [low, high]: [f32; 2], start: f32, cell: CellRef) -> [f32; 3] {
        let slope = size * (high - low) * cell.extra[SCALE];
        let (first, last) = (low.abs(), high.abs());
        [slope.mul_add(-start, size * low), slope, if first < last { first } else { last }]
    }
}

impl Rule for PiecewiseRule<'_> {
    const LINEAR: bool = true;
    const LOCAL: bool = true;

    #[inline(always)]
    fn prepare(self, mut cell: CellRef) -> CellRef {
        let range = cell.max_bound - cell.min_bound;
        let divided = (range > 0.0) & (self.pieces > 0.0);
        cell.extra[SCALE] = select(divided, self.pieces / range, 0.0);
        cell.extra[LENGTH] = select(divided, range / self.pieces, range);
        cell
    }

    #[inline(always)]
    fn mean(self, w: f32, up: bool, cell: CellRef) -> f32 {
        select(up, cell.up, -cell.down) * self.value(w, up, cell)
    }

    #[inline(always)]
    fn noise(self, mean: f32, _w: f32, _up: bool, _cell: CellRef) -> f32 {
        self.std * mean
    }

    #[inline(always)]
    fn place(self, w: f32, cell: CellRef) -> u32 {
        // The number stands in the low bits; a conversion would not vectorise.
        (self.locate(w, cell).0 + ROUND).to_bits()
    }

    #[inline(always)]
    fn look_up(self, place: u32) -> [f32; 4] {
        let ((up, up_rise), (down, down_rise)) = (piece(self.up, place), piece(self.down, place));
        [up, up + up_rise, down, down + down_rise]
    }

    #[inline(always)]
    fn localize(self, w: f32, mut cell: CellRef, found: [f32; 4]) -> CellRef {
        let (low, length) = (self.locate(w, cell).0, cell.extra[LENGTH]);
        let low = low.mul_add(length, cell.min_bound);
        let up = self.line(cell.up, [found[0], found[1]], low, cell);
        let down = self.line(-cell.down, [found[2], found[3]], low, cell);
        (cell.up, cell.down) = (up[0], down[0]);
        (cell.extra[SLOPE[0]], cell.extra[SLOPE[1]]) = (up[1], down[1]);
        let slack = self.slack * if up[2] < down[2] { up[2] } else { down[2] };
        let slack = length * if slack < 1.0 { slack } else { 1.0 };
        let (low, high) = (low - slack, low + length + slack);
        cell.extra[LOW] = select(low > cell.min_bound, low, cell.min_bound);
        cell.extra[HIGH] = select(high < cell.max_bound, high, cell.max_bound);
        cell
    }

    #[inline(always)]
    fn branch(self, w: f32, up: bool, cell: CellRef) -> Branch {
        let slope = select(up, cell.extra[SLOPE[0]], cell.extra[SLOPE[1]]);
        let mean = slope.mul_add(w, select(up, cell.up, cell.down));
        Branch::multiplicative(mean, slope, 0.0, self.std)
    }

    #[inline(always)]
    fn smooth(self, _w: f32, cell: CellRef) -> [f32; 2] {
        [cell.extra[LOW], cell.extra[HIGH]]
    }

    #[inline(always)]
    fn std(self) -> f32 {
        self.std
    }

    fn flow(self, w: f32, up: bool, u: f32, cell: CellRef) -> f32 {
        let mut reach = Reach { w, left: u, place: self.place(w, cell) };
        while reach.left > 0.0 {
            reach = self.advance(reach, up, cell, self.look_up(reach.place));
        }
        reach.w
    }

    /// As far as the next node. Steps at both sides of it have one sign, so the way never turns; where they
    /// vanish on the way, the weight comes near to that point only.
    #[inline(always)]
    fn advance(self, from: Reach, up: bool, cell: CellRef, found: [f32; 4]) -> Reach {
        let Reach { w, left, place } = from;
        let (low, high) = (select(up, found[0], found[2]), select(up, found[1], found[3]));
        let size = select(up, cell.up, -cell.down);
        let (scale, length) = (cell.extra[SCALE], cell.extra[LENGTH]);
        // Of a signed number, for only its conversion vectorises; the number stands in the low bits.
        let at = (place & (MAX_NODES as u32 - 1)) as i32 as f32;
        let start = at.mul_add(length, cell.min_bound);
        let end = (at + 1.0).mul_add(length, cell.min_bound);
        let share = (w - start) * scale;
        let share = if share > 0.0 { share } else { 0.0 };
        let share = if share < 1.0 { share } else { 1.0 };
        let step = (high - low).mul_add(share, low);
        let (mean, slope) = (size * step, size * (high - low) * scale);
        let ahead = mean > 0.0;
        let (node, there) = (select(ahead, end, start), select(ahead, high, low));
        let growth = there / step - 1.0;
        let time = (node - w) / mean * ratio(ln_1p(growth), growth);
        let time = if time < 0.0 { 0.0 } else { time };
        let crosses = (there * step > 0.0) & (time < left);
        let last = select(ahead, self.pieces - 1.0, 0.0) == at;
        let bound = select(ahead, cell.max_bound, cell.min_bound);
        let t = slope * left;
        let inside = (mean * left).mul_add(ratio(expm1(t), t), w);
        let next = if ahead { place.wrapping_add(1) } else { place.wrapping_sub(1) };
        Reach {
            w: select(crosses, select(last, bound, node), inside),
            left: select(crosses & !last, left - time, 0.0),
            place: if crosses & !last { next } else { place },
        }
    }
}

impl PulsedDevice for PiecewiseStep {
    const NAME: &'static str = "PiecewiseStep";
    type Rule<'a> = PiecewiseRule<'a>;

    fn pulsed(&self) -> &PulsedParameters {
        &self.pulsed
    }

    fn pulsed_mut(&mut self) -> &mut PulsedParameters {
        &mut self.pulsed
    }

    fn validate(&self, path: &str) -> Result<()> {
        self.pulsed.validate(path)?;
        finite(path, "write_noise_std", self.write_noise_std)?;
        let [up, down] = [self.piecewise_up.values(), self.piecewise_down.values()];
        let sizes = [up.len(), down.len()];
        let why = format!(
            "has {} values and piecewise_down {}; both need the same number, at least one and at \
             most {MAX_NODES}",
            sizes[0], sizes[1]
        );
        let fits = (1..=MAX_NODES).contains(&sizes[0]) && sizes[0] == sizes[1];
        require(fits, path, "piecewise_up", why)?;
        for (field, values) in [("piecewise_up", up), ("piecewise_down", down)] {
            for value in values {
                finite(path, field, *value)?;
            }
        }
        let middle = up[up.len() / 2];
        let why = format!(
            "the middle value scales the pulses and must be positive, got {}",
            shown(middle)
        );
        require(middle > 0.0 || self.pulsed.flows(), path, "piecewise_up", why)
    }

    fn rule(&self) -> PiecewiseRule<'_> {
        let bend = self.piecewise_up.bend().max(self.piecewise_down.bend());
        PiecewiseRule {
            std: self.pulsed.dw_min_std as f32,
            slack: TOLERANCE / bend.max(f32::MIN_POSITIVE),
            up: self.piecewise_up.table(),
            down: self.piecewise_down.table(),
            pieces: (self.piecewise_up.values().len().max(1) - 1) as f32,
        }
    }

    fn response(&self) -> Response {
        let values = [self.piecewise_up.values(), self.piecewise_down.values()].concat();
        let rule = self.rule();
        let parts = &[math::WGSL, include_str!("piecewise_step.wgsl")];
        Response::new(parts, rule.std, &[rule.pieces])
            .with_flow()
            .with_table(values.into_iter().map(|value| value as f32).collect())
    }

    /// The up step at the middle node.
    fn granularity(&self) -> f64 {
        let values = self.piecewise_up.values();
        self.pulsed.dw_min * values.get(values.len() / 2).copied().unwrap_or(1.0)
    }

    fn write_noise(&self) -> Option<WriteNoise> {
        write_noise(self.write_noise_std, self.apply_write_noise_on_set, &self.pulsed)
    }
}
