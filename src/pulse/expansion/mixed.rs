//! Pulses of a segment at a crosspoint: those of both directions, in their order.

use super::limits::{
    KINK_MARGIN, MARGIN, MAX_BEND, MAX_CHANGE, MAX_DETOUR, MAX_ORDER, MAX_ORDER_OF_WAY, MAX_SPREAD,
    MAX_STEP, growth, log_ratio,
};
use crate::devices::{Branch, Rule};
use crate::pulse::cells::LaneCells;
use crate::pulse::trains::SIGN;
use crate::rng::LANES;
use crate::simd::{clip, larger, select, smaller};

/// Numbers of pulses of a segment at [`LANES`] crosspoints.
pub(crate) struct Pulses {
    pub(crate) up: [f32; LANES],
    pub(crate) down: [f32; LANES],
    /// Pairs of pulses of which that up comes first.
    pairs: [f32; LANES],
    /// Largest and smallest excess of pulses up over those down on the way.
    most: [f32; LANES],
    least: [f32; LANES],
}

impl Pulses {
    /// Counts the pulses of some slices, given by the words of the input lines and of the row.
    #[inline(always)]
    pub(crate) fn count<'a>(slices: impl Iterator<Item = (&'a [u32; LANES], u32)>) -> Self {
        let zero = [0.0; LANES];
        let mut pulses = Self { up: zero, down: zero, pairs: zero, most: zero, least: zero };
        for (x, d) in slices {
            for lane in 0..LANES {
                let n = (x[lane] & d & !SIGN).count_ones() as i32 as f32;
                // All ones for pulses up.
                let mask = ((x[lane] ^ d) as i32 >> 31) as u32;
                let up = f32::from_bits(n.to_bits() & mask);
                let down = f32::from_bits(n.to_bits() & !mask);
                pulses.pairs[lane] = pulses.up[lane].mul_add(down, pulses.pairs[lane]);
                pulses.up[lane] += up;
                pulses.down[lane] += down;
                let excess = pulses.up[lane] - pulses.down[lane];
                pulses.most[lane] = larger(pulses.most[lane], excess);
                pulses.least[lane] = smaller(pulses.least[lane], excess);
            }
        }
        pulses
    }

    /// 1 for crosspoints that have some.
    #[inline(always)]
    pub(crate) fn active(&self) -> [u32; LANES] {
        let mut active = [0; LANES];
        for lane in 0..LANES {
            active[lane] = u32::from(self.up[lane] + self.down[lane] > 0.0);
        }
        active
    }

    /// Draws the weights after the segment; gives 0 where the segment is too long, for which
    /// the weight is left alone, and all ones elsewhere.
    #[inline(always)]
    pub(crate) fn settle<R: Rule>(
        &self,
        rule: R,
        cells: &LaneCells,
        xi: &[f32; LANES],
        w: &mut [f32; LANES],
    ) -> [u32; LANES] {
        // Short loops over arrays of lanes: that is what the compiler vectorises.
        // Copies, of which the compiler knows that they do not overlap.
        let (cells, start) = (&{ *cells }, &{ *w });
        let up = Branches::new(rule, cells, start, true);
        let down = Branches::new(rule, cells, start, false);
        let (mut middle, mut straight) = ([0.0; LANES], [0.0; LANES]);
        for lane in 0..LANES {
            straight[lane] = self.down[lane] * down.mean[lane];
            straight[lane] = self.up[lane].mul_add(up.mean[lane], straight[lane]);
            middle[lane] = 0.5f32.mul_add(straight[lane], start[lane]);
            middle[lane] = clip(middle[lane], cells.min_bound[lane], cells.max_bound[lane]);
        }
        let (up, down) = if rule.shape().linear {
            (up.shifted(start, &middle), down.shifted(start, &middle))
        } else {
            (Branches::new(rule, cells, &middle, true), Branches::new(rule, cells, &middle, false))
        };
        let (mut mean, mut variance, mut noise) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for lane in 0..LANES {
            let path = self.path(lane, start, &middle, &up, &down);
            let change = path.change(self.pairs[lane]);
            // A single pulse starts at the weight itself.
            let single = self.up[lane] + self.down[lane] == 1.0;
            mean[lane] = select(single, straight[lane], change.mean);
            variance[lane] = change.variance;
        }
        for lane in 0..LANES {
            let path = self.path(lane, start, &middle, &up, &down);
            let curved = path.skew(variance[lane]) * xi[lane].mul_add(xi[lane], -1.0);
            noise[lane] = variance[lane].sqrt().mul_add(xi[lane], curved);
        }
        let mut fits = [0; LANES];
        for lane in 0..LANES {
            let path = self.path(lane, start, &middle, &up, &down);
            let at = if rule.shape().linear { start[lane] } else { middle[lane] };
            let smooth = rule.smooth(at, cells.cell(lane));
            let idle = self.up[lane] + self.down[lane] == 0.0;
            let fit = idle
                | path.fits(
                    start[lane] + mean[lane],
                    variance[lane].sqrt(),
                    smooth,
                    [cells.min_bound[lane], cells.max_bound[lane]],
                );
            fits[lane] = 0u32.wrapping_sub(u32::from(fit));
        }
        for lane in 0..LANES {
            let idle = self.up[lane] + self.down[lane] == 0.0;
            // The whole change is added at once, see `Rule::step`.
            let moved = start[lane] + (mean[lane] + noise[lane]);
            w[lane] = select((fits[lane] != 0) & !idle, moved, start[lane]);
        }
        fits
    }

    #[inline(always)]
    fn path(
        &self,
        lane: usize,
        w: &[f32; LANES],
        middle: &[f32; LANES],
        up: &Branches,
        down: &Branches,
    ) -> Path {
        Path {
            u: self.up[lane],
            d: self.down[lane],
            start: w[lane],
            middle: middle[lane],
            up: up.lane(lane),
            down: down.lane(lane),
            most: self.most[lane],
            least: self.least[lane],
        }
    }
}

/// [`Branch`] of [`LANES`] crosspoints.
struct Branches {
    mean: [f32; LANES],
    slope: [f32; LANES],
    curvature: [f32; LANES],
    noise: [f32; LANES],
    noise_slope: [f32; LANES],
}

impl Branches {
    #[inline(always)]
    fn new<R: Rule>(rule: R, cells: &LaneCells, w: &[f32; LANES], up: bool) -> Self {
        let zero = [0.0; LANES];
        let mut out =
            Self { mean: zero, slope: zero, curvature: zero, noise: zero, noise_slope: zero };
        for lane in 0..LANES {
            let branch = rule.branch(w[lane], up, cells.cell(lane));
            out.mean[lane] = branch.mean;
            out.slope[lane] = branch.slope;
            out.curvature[lane] = branch.curvature;
            out.noise[lane] = branch.noise;
            out.noise_slope[lane] = branch.noise_slope;
        }
        out
    }

    /// The same functions, linear in the weight, at other weights.
    #[inline(always)]
    fn shifted(mut self, from: &[f32; LANES], to: &[f32; LANES]) -> Self {
        for lane in 0..LANES {
            let distance = to[lane] - from[lane];
            self.mean[lane] = self.slope[lane].mul_add(distance, self.mean[lane]);
            self.noise[lane] = self.noise_slope[lane].mul_add(distance, self.noise[lane]);
        }
        self
    }

    #[inline(always)]
    fn lane(&self, lane: usize) -> Branch {
        Branch {
            mean: self.mean[lane],
            slope: self.slope[lane],
            curvature: self.curvature[lane],
            noise: self.noise[lane],
            noise_slope: self.noise_slope[lane],
        }
    }
}

/// The pulses of a segment at one crosspoint, and its steps in the middle of the path.
struct Path {
    u: f32,
    d: f32,
    start: f32,
    middle: f32,
    up: Branch,
    down: Branch,
    most: f32,
    least: f32,
}

/// What the pulses of a segment do to the weight.
struct Change {
    mean: f32,
    variance: f32,
}

impl Path {
    /// Mean and variance of the change over the segment.
    #[inline(always)]
    fn change(&self, pairs: f32) -> Change {
        let Self { u, d, up, down, .. } = self;
        let from = self.start - self.middle;
        let (u_log, d_log) = (u * log_ratio(up.slope), d * log_ratio(down.slope));
        let rate = u_log.mul_add(up.slope, d_log * down.slope);
        let commutator = self.commutator();
        let order = (u * d).mul_add(-0.5, pairs);
        let drive = u_log.mul_add(up.mean, d_log.mul_add(down.mean, order * commutator));
        let curved = (u * up.curvature)
            .mul_add(up.mean * up.mean, d * down.curvature * (down.mean * down.mean));
        let drive = curved.mul_add(1.0 / 12.0, drive);
        let growth = growth(rate);
        let change = rate.mul_add(from, drive) * growth;
        let (whole, to) = (rate.mul_add(growth, 1.0), from + change);
        // Where the path is after half of the time.
        let half = change.mul_add(1.0 / (1.0 + whole.sqrt()), from);
        let variance = self.variance(whole, [from, half, to], order);
        // Mean square of the distance to the middle; what curvature adds at the start grows until
        // the end.
        let ends = (whole * from).mul_add(from, to * to);
        let square = (4.0 * half).mul_add(half, ends) * (1.0 / 6.0);
        let bend = 0.5 * u.mul_add(up.curvature, d * down.curvature);
        let mean = bend.mul_add(0.5f32.mul_add(variance, square), change);
        Change { mean, variance }
    }

    /// `f_up f_down' - f_down f_up'`.
    #[inline(always)]
    fn commutator(&self) -> f32 {
        self.up.mean.mul_add(self.down.slope, -(self.down.mean * self.up.slope))
    }

    /// Variance after the segment, by Simpson's rule over three points of the path; `whole` is the
    /// factor by which the segment changes small distances, `order` the excess of pairs with the pulse
    /// up first over half of all.
    #[inline(always)]
    fn variance(&self, whole: f32, [from, half, to]: [f32; 3], order: f32) -> f32 {
        let first = (whole * whole) * self.noise(from);
        let second = (4.0 * whole) * self.noise(half);
        let sum = first + second + self.noise(to);
        // Pulses start where the previous one ends, not half a step further.
        let early = self.u.mul_add(early(&self.up), self.d * early(&self.down));
        let early = order.mul_add(-2.0 * self.noise_commutator(), early);
        larger(sum.mul_add(1.0 / 6.0, -(whole * early)), 0.0)
    }

    /// `g_up^2 f_down' - g_down^2 f_up' + g_down g_down' f_up - g_up g_up' f_down`: what a pair of pulses
    /// adds to half of the variance when that up comes first. The noise of the first one is carried on by
    /// the second, which starts where the first one has taken the weight.
    #[inline(always)]
    fn noise_commutator(&self) -> f32 {
        let Self { up, down, .. } = self;
        let first = up.noise.mul_add(down.slope, -(up.noise_slope * down.mean));
        let second = down.noise.mul_add(up.slope, -(down.noise_slope * up.mean));
        up.noise.mul_add(first, -(down.noise * second))
    }

    /// Sum of the variances of all pulses if they started at distance `at` from the middle.
    #[inline(always)]
    fn noise(&self, at: f32) -> f32 {
        let up = self.up.noise_slope.mul_add(at, self.up.noise);
        let down = self.down.noise_slope.mul_add(at, self.down.noise);
        (self.u * up).mul_add(up, self.d * down * down)
    }

    /// `t / (6 v)`, with `t` the third central moment and `v` the variance.
    #[inline(always)]
    fn skew(&self, variance: f32) -> f32 {
        let Self { u, d, up, down, .. } = self;
        let (of_up, of_down) = (up.noise * up.noise_slope, down.noise * down.noise_slope);
        let all = u.mul_add(of_up, d * of_down);
        let own = (u * of_up).mul_add(up.noise * up.noise, d * of_down * (down.noise * down.noise));
        0.5 * (all - own / larger(variance, f32::MIN_POSITIVE))
    }

    /// Whether the expansion holds along the whole path.
    #[inline(always)]
    fn fits(&self, mean: f32, sigma: f32, smooth: [f32; 2], bounds: [f32; 2]) -> bool {
        let Self { u, d, start, up, down, most, least, .. } = self;
        let (of_up, of_down) = ((u * up.slope).abs(), (d * down.slope).abs());
        let change = of_up + of_down;
        // Half of the difference of the steps goes to and fro, half of their sum one way.
        let (step, way) = (0.5 * (up.mean - down.mean), 0.5 * (u + d) * (up.mean + down.mean));
        let (rise, fall) = (larger(step * most, step * least), smaller(step * most, step * least));
        // The steps along the path exceed those in its middle by at most this factor.
        let excess = 1.0 + change;
        let highest = larger((rise + larger(way, 0.0)).mul_add(excess, *start), mean);
        let lowest = smaller((fall + smaller(way, 0.0)).mul_add(excess, *start), mean);
        let (margin, kink) = (MARGIN * sigma, KINK_MARGIN * sigma);
        let inside = (highest + margin <= bounds[1])
            & (lowest - margin >= bounds[0])
            & (highest + kink <= smooth[1])
            & (lowest - kink >= smooth[0]);
        let spread =
            (u * up.noise_slope).mul_add(up.noise_slope, d * down.noise_slope * down.noise_slope);
        let reach = 0.5f32.mul_add(highest - lowest, 2.0 * sigma);
        let straight = (mean - start).abs();
        let detour = larger(highest - lowest - straight, 0.0);
        let detour = detour * (detour + straight);
        let bends = |n: f32, branch: &Branch| {
            let (slope, curvature) = (branch.slope.abs(), branch.curvature.abs());
            let straight = reach.mul_add(curvature, -(MAX_BEND * slope));
            let detour = detour.mul_add(curvature, -(MAX_DETOUR * branch.mean.abs()));
            n * larger(straight, detour)
        };
        let bend = larger(bends(*u, up), bends(*d, down));
        let steps = larger(up.slope.abs(), down.slope.abs());
        let (ups, downs) = (u * up.mean.abs(), d * down.mean.abs());
        let third = (u * d * self.commutator()).abs() * change;
        let order = larger(MAX_ORDER * sigma, MAX_ORDER_OF_WAY * (ups + downs));
        inside
            & (steps <= MAX_STEP)
            & (change <= MAX_CHANGE)
            & (third <= order)
            & (spread <= MAX_SPREAD)
            & (bend <= 0.0)
    }
}

/// Excess of the variance of a pulse in the middle of its step over that at its start.
#[inline(always)]
fn early(branch: &Branch) -> f32 {
    let Branch { mean, slope, noise, noise_slope, .. } = *branch;
    noise * noise.mul_add(slope, noise_slope * mean)
}
