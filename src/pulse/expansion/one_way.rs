//! What the pulses of one sample do to a weight on which the steps depend.
//!
//! All pulses of a sample at a crosspoint have one direction, so that nothing has to be said about
//! their order. Composed, `n` of them are the flow over time `n` of the field of one pulse; see
//! [`mixed`](super::mixed), of which this is the part with `n` pulses of one kind and none of the
//! other, and which has the limits. A single pulse is taken as it is, bounds included.

use super::limits::{
    KINK_MARGIN, MARGIN, MAX_BEND, MAX_CHANGE, MAX_SPREAD, MAX_STEP, growth, log_ratio,
};
use crate::devices::{Branch, Rule, Shape};
use crate::pulse::cells::LaneCells;
use crate::pulse::trains::SIGN;
use crate::rng::LANES;
use crate::simd::{clip, larger, select, smaller};

/// Pulses of a sample at [`LANES`] crosspoints.
pub(crate) struct OneWay {
    /// Their number.
    pub(crate) n: [f32; LANES],
    /// All ones where they go up.
    pub(crate) up: [u32; LANES],
}

impl OneWay {
    /// Counts the pulses of slices of one sample, given by the words of the input lines and of the
    /// row.
    #[inline(always)]
    pub(crate) fn count<'a>(slices: impl Iterator<Item = (&'a [u32; LANES], &'a u32)>) -> Self {
        let mut pulses = Self { n: [0.0; LANES], up: [0; LANES] };
        for (x, d) in slices {
            for lane in 0..LANES {
                pulses.n[lane] += (x[lane] & d & !SIGN).count_ones() as i32 as f32;
                pulses.up[lane] = ((x[lane] ^ d) as i32 >> 31) as u32;
            }
        }
        pulses
    }

    /// Numbers of pulses down and up.
    #[inline(always)]
    pub(crate) fn by_direction(&self) -> [[f32; LANES]; 2] {
        let (mut up, mut down) = ([0.0; LANES], [0.0; LANES]);
        for lane in 0..LANES {
            up[lane] = select(self.up[lane] != 0, self.n[lane], 0.0);
            down[lane] = self.n[lane] - up[lane];
        }
        [down, up]
    }

    /// Draws the weights after the pulses from `start`. Also gives 0 where they are too many for
    /// that, for which the weight is left alone, and all ones elsewhere.
    #[inline(always)]
    pub(crate) fn settle<R: Rule>(
        &self,
        rule: R,
        cells: &LaneCells,
        xi: &[f32; LANES],
        start: &[f32; LANES],
    ) -> ([f32; LANES], [u32; LANES]) {
        // Short loops over arrays of lanes, on copies of which the compiler knows that they do not
        // overlap: that is what it vectorises.
        let shape = rule.shape();
        let (cells, start, n, up) = (&{ *cells }, *start, self.n, self.up);
        let (mut mean, mut noise, mut slope) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for lane in 0..LANES {
            let branch = rule.branch(start[lane], up[lane] != 0, cells.cell(lane));
            (mean[lane], noise[lane], slope[lane]) = (branch.mean, branch.noise, branch.slope);
        }
        // Few pulses are mostly single ones.
        let mut several = false;
        for lane in 0..LANES {
            several |= n[lane] > 1.0;
        }
        if !shape.constant && !several {
            let mut moved = [0.0; LANES];
            for lane in 0..LANES {
                let one = noise[lane].mul_add(xi[lane], mean[lane]) + start[lane];
                let one = cells.clip(lane, start[lane], one);
                moved[lane] = select(n[lane] == 0.0, start[lane], one);
            }
            return (moved, [u32::MAX; LANES]);
        }
        // Linear steps are the same function wherever they are expanded.
        let mut middle = start;
        if !shape.linear {
            for lane in 0..LANES {
                let half = 0.5 * n[lane];
                let bent = (0.5 * half).mul_add(slope[lane], 1.0);
                let at = (half * mean[lane]).mul_add(bent, start[lane]);
                middle[lane] = clip(at, cells.min_bound[lane], cells.max_bound[lane]);
            }
        }
        let (mut moved, mut fits) = ([0.0; LANES], [0u32; LANES]);
        for lane in 0..LANES {
            let cell = cells.cell(lane);
            let branch = rule.branch(middle[lane], up[lane] != 0, cell);
            let bounds = [cell.min_bound, cell.max_bound];
            let run = Run { n: n[lane], start: start[lane], middle: middle[lane], branch };
            let (after, fit) = run.settle(shape, xi[lane], rule.smooth(middle[lane], cell), bounds);
            let one = noise[lane].mul_add(xi[lane], mean[lane]) + start[lane];
            let single = n[lane] == 1.0;
            let idle = n[lane] == 0.0;
            let after = select(single, cells.clip(lane, start[lane], one), after);
            moved[lane] = select(idle | !(fit | single), start[lane], after);
            fits[lane] = 0u32.wrapping_sub(u32::from(fit | single | idle));
        }
        (moved, fits)
    }
}

/// Pulses at one crosspoint, and their steps at a weight `middle`.
struct Run {
    n: f32,
    start: f32,
    middle: f32,
    branch: Branch,
}

impl Run {
    /// Weight after the pulses, and whether the expansion holds on the way there.
    #[inline(always)]
    fn settle(&self, shape: Shape, xi: f32, smooth: [f32; 2], bounds: [f32; 2]) -> (f32, bool) {
        let Self {
            n,
            start,
            middle,
            branch: Branch { mean, slope, curvature, noise, noise_slope },
        } = *self;
        if shape.constant {
            let (change, sigma) = (n * mean, n.sqrt() * noise.abs());
            let inside = inside(start, start + change, MARGIN * sigma, bounds);
            return (sigma.mul_add(xi, change) + start, inside);
        }
        let from = if shape.linear { 0.0 } else { start - middle };
        let log = n * log_ratio(slope);
        let rate = log * slope;
        let pull = if shape.linear {
            log * mean
        } else {
            let curved = n * curvature * (mean * mean);
            rate.mul_add(from, curved.mul_add(1.0 / 12.0, log * mean))
        };
        let growing = growth(rate);
        let change = pull * growing;
        let whole = rate.mul_add(growing, 1.0);
        let half = (0.5 * pull).mul_add(growth(0.5 * rate), from);
        let to = from + change;
        // Simpson's rule over three points of the way; pulses start where the previous one ends, not
        // half a step further.
        let noise_at = |at: f32| noise_slope.mul_add(at, noise);
        let square_at = |at: f32| noise_at(at) * noise_at(at);
        let rest = (4.0 * whole).mul_add(square_at(half), square_at(to));
        let sum = (whole * whole).mul_add(square_at(from), rest);
        let at_half = if shape.linear { half } else { 0.0 };
        let (mid_noise, mid_mean) = (noise_at(at_half), slope.mul_add(at_half, mean));
        let early = mid_noise * mid_noise.mul_add(slope, noise_slope * mid_mean);
        let variance = n * larger(sum.mul_add(1.0 / 6.0, -(whole * early)), 0.0);
        let sigma = variance.sqrt();
        let bent = if shape.linear {
            0.0
        } else {
            // What curvature adds at the start grows until the end.
            let ends = (whole * from).mul_add(from, to * to);
            let square = (4.0 * half).mul_add(half, ends) * (1.0 / 6.0);
            0.5 * n * curvature * 0.5f32.mul_add(variance, square)
        };
        // The whole change is added at once, see `Rule::step`.
        let change = change + bent;
        let end = start + change;
        let skew = 0.5 * (n - 1.0) * (mid_noise * noise_slope);
        let after = sigma.mul_add(xi, skew.mul_add(xi.mul_add(xi, -1.0), change)) + start;
        let inside = inside(start, end, MARGIN * sigma, bounds)
            & inside(start, end, KINK_MARGIN * sigma, smooth);
        let steps = slope.abs();
        let reach = 0.5f32.mul_add((end - start).abs(), 2.0 * sigma);
        let fits = inside
            & (steps <= MAX_STEP)
            & (n * steps <= MAX_CHANGE)
            & (n * noise_slope * noise_slope <= MAX_SPREAD)
            & (shape.linear | (reach * curvature.abs() <= MAX_BEND * steps));
        (after, fits)
    }
}

/// Whether the way between two weights keeps a distance of `margin` to the ends of an interval.
#[inline(always)]
fn inside(start: f32, end: f32, margin: f32, [lower, upper]: [f32; 2]) -> bool {
    (larger(start, end) + margin <= upper) & (smaller(start, end) - margin >= lower)
}
