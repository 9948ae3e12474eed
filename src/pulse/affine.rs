//! Steps linear in the weight with noise as a factor on them: pulses of a few samples are added up.
//!
//! A pulse moves the distance `y = w - b` to the bound `b` in its direction to
//! `y (1 - a (1 + std xi))`, with `a` the relative step: `n` pulses of one sample multiply `y` by
//! `(1 - a)^n (1 + eps)`, where `eps` has mean 0 and variance `n c` with
//! `c = (a std / (1 - a))^2`. Followed over several samples in their order, this gives the mean `m`,
//! the variance `v` and the third central moment `t` of the weight:
//!
//! ```text
//! m <- b + y p          y = m - b,  p = (1 - a)^n
//! v <- p^2 (v + n c y^2)
//! t <- p^3 (t + 6 n c y v)
//! ```
//!
//! A draw `m + s (xi + t / (6 v s) (xi^2 - 1))`, `s^2 = v`, has these moments. With `e = a std` and
//! `N` pulses between two draws, what is left out is of relative size `e^2 N` in the variance and
//! `16 e^2 N` in the excess kurtosis; `e <= MAX_NOISE` and `N` about `PULSES` bound the latter by
//! 0.05 for the most extreme cell, and by 8e-4 for a cell with the default bound and step. Cells
//! with larger relative steps, and draws whose path comes within `MARGIN` standard deviations of a
//! bound, take their pulses one by one.

use super::Update;
use super::general::Coincidences;
use super::rows::{self, Kind, LaneCells, Planes, Positions, Rows, larger, load, select, smaller};
use super::simd::{self, Work};
use super::trains::SIGN;
use crate::devices::{CellRef, Rule};
use crate::error::Result;
use crate::rng::{Draw, LANES, Stream, normal_lanes};

/// Largest relative step; keeps the argument of [`exp_m1`] within 1/2.
const MAX_STEP: f32 = 1.0 / 64.0;
/// Largest relative noise of one pulse.
const MAX_NOISE: f32 = 1.0 / 256.0;
/// Pulses of the error line after which a draw is made.
const PULSES: u32 = 192;
/// Distance to the bounds in standard deviations, as for constant steps.
const MARGIN: f32 = 6.0;
/// Rows of one task; the cells with single pulses of all of them are taken together.
const HEIGHT: usize = 32;

/// Applies all pulses of a chunk.
pub(super) fn update<R: Rule>(
    update: &mut Update<'_>,
    trains: Coincidences<'_>,
    rule: R,
    positions: Positions,
) -> Result<()> {
    let planes = Planes::new(update.device, update.planes);
    let draw = update.key.stream(Stream::CycleToCycle);
    let block_ns = (HEIGHT * planes.x_size * trains.slices) as f64 * 0.5;
    let mut blocks = rows::split(update, HEIGHT);
    rows::for_each(&mut blocks, block_ns, |rows| {
        simd::run(Affine { rows, planes, trains, rule, draw, positions });
    })
}

struct Affine<'a, 'b, R> {
    rows: &'a mut Rows<'b>,
    planes: Planes<'a>,
    trains: Coincidences<'a>,
    rule: R,
    draw: Draw,
    positions: Positions,
}

/// A slice in which the row fires.
#[derive(Debug, Clone, Copy)]
struct Fired {
    slice: u32,
    d: u32,
    /// Whether a draw follows.
    last: bool,
}

impl<R: Rule> Work for Affine<'_, '_, R> {
    #[inline(always)]
    fn run(mut self) {
        let columns = self.planes.x_size;
        let mut fired = Vec::with_capacity(self.trains.slices);
        let mut single = Vec::new();
        for local in 0..self.rows.state.len() / columns {
            self.list(self.rows.first + local, &mut fired);
            if fired.is_empty() {
                continue;
            }
            for block in 0..columns.div_ceil(LANES) {
                self.block(local, block, &fired, &mut single);
            }
        }
        for group in single.chunks(LANES) {
            self.one_by_one(group);
        }
    }
}

impl<R: Rule> Affine<'_, '_, R> {
    /// Lists the slices in which a row fires.
    fn list(&self, row: usize, fired: &mut Vec<Fired>) {
        fired.clear();
        let mut pulses = 0;
        let slices = self.trains.slices;
        for (slice, d) in self.trains.d[row * slices..(row + 1) * slices].iter().enumerate() {
            if d & !SIGN != 0 {
                pulses += (d & !SIGN).count_ones();
                let last = pulses >= PULSES;
                pulses = if last { 0 } else { pulses };
                fired.push(Fired { slice: slice as u32, d: *d, last });
            }
        }
        if let Some(fired) = fired.last_mut() {
            fired.last = true;
        }
    }

    /// Applies the fired slices to [`LANES`] columns; cells that need single pulses throughout go to
    /// `single`.
    #[inline(always)]
    fn block(
        &mut self,
        local: usize,
        block: usize,
        fired: &[Fired],
        single: &mut Vec<(usize, usize)>,
    ) {
        let (row, column) = (self.rows.first + local, block * LANES);
        let lanes = LANES.min(self.planes.x_size - column);
        let at = local * self.planes.x_size + column;
        let cells = self.planes.lanes(row, column);
        let rates = Rates::new(&cells, self.rule.std());
        let start = load(self.rows.state, at, lanes);
        let mut w = start;
        let mut moments = Moments::new(&w);
        let x = &self.trains.x[block * self.trains.slices * LANES..];
        let (mut from, mut draws) = (0, 0);
        let mut normals = [[0.0; LANES]; 4];
        for (to, entry) in fired.iter().enumerate() {
            if let Some(x) = x[entry.slice as usize * LANES..].first_chunk::<LANES>() {
                moments.advance(x, entry.d, &rates);
            }
            if !entry.last {
                continue;
            }
            if draws % 4 == 0 && self.rule.std() > 0.0 {
                let first = self.positions.column(Kind::CellSums, column);
                let index = self.positions.block(draws / 4);
                normals = normal_lanes(&self.draw.lanes(first, row as u32, index));
            }
            let mut outside = moments.settle(&normals[draws % 4], &cells, &mut w);
            for lane in 0..LANES {
                outside[lane] &= rates.regular[lane];
            }
            if outside.iter().fold(0, |any, mask| any | mask) != 0 {
                let pulses = &fired[from..=to];
                self.replay(row, column, x, pulses, &cells, &outside, &mut w);
            }
            moments = Moments::new(&w);
            (from, draws) = (to + 1, draws + 1);
        }
        let end = &mut self.rows.state[at..at + lanes];
        for (lane, end) in end.iter_mut().enumerate() {
            if rates.regular[lane] != 0 {
                *end = w[lane];
            } else {
                single.push((local, column + lane));
            }
        }
        self.count(at, lanes, x, fired);
    }

    /// Adds up coincidences where they are wanted.
    #[inline(always)]
    fn count(&mut self, at: usize, lanes: usize, x: &[u32], fired: &[Fired]) {
        let Some([down, up]) = self.rows.counts.as_mut() else { return };
        for entry in fired {
            let x = &x[entry.slice as usize * LANES..][..lanes];
            for (lane, x) in x.iter().enumerate() {
                let count = i64::from((x & entry.d & !SIGN).count_ones());
                let counts = if (x ^ entry.d) & SIGN == 0 { &mut *down } else { &mut *up };
                counts[at + lane] += count;
            }
        }
    }

    /// Single pulses for the lanes that `mask` marks, from the weights `w` before `pulses`.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "one step of the block loop")]
    fn replay(
        &self,
        row: usize,
        column: usize,
        x: &[u32],
        pulses: &[Fired],
        cells: &LaneCells,
        mask: &[u32; LANES],
        w: &mut [f32; LANES],
    ) {
        let mut columns = [0; LANES];
        for (lane, word) in columns.iter_mut().enumerate() {
            *word = self.positions.column(Kind::Pulses, column + lane);
        }
        for entry in pulses {
            let mut bits = [0; LANES];
            for (lane, bits) in bits.iter_mut().enumerate() {
                *bits = x[entry.slice as usize * LANES + lane] & (mask[lane] | SIGN);
            }
            self.pulses(
                &columns,
                &[row as u32; LANES],
                entry.slice,
                &[entry.d; LANES],
                &bits,
                cells,
                w,
            );
        }
    }

    /// Single pulses of all slices for some cells, given by row of the task and column.
    #[inline(always)]
    fn one_by_one(&mut self, group: &[(usize, usize)]) {
        let (slices, x_size) = (self.trains.slices, self.planes.x_size);
        let (mut columns, mut numbers) = ([0; LANES], [0; LANES]);
        let mut w = [0.0; LANES];
        let mut cells = LaneCells::default();
        for (lane, (local, column)) in group.iter().enumerate() {
            columns[lane] = self.positions.column(Kind::Pulses, *column);
            numbers[lane] = (self.rows.first + local) as u32;
            w[lane] = self.rows.state[local * x_size + column];
            cells.set(lane, self.planes.cell(self.rows.first + local, *column));
        }
        for slice in 0..slices {
            let (mut x, mut d) = ([0; LANES], [0; LANES]);
            for (lane, (local, column)) in group.iter().enumerate() {
                d[lane] = self.trains.d[(self.rows.first + local) * slices + slice];
                x[lane] = self.trains.x[(column / LANES * slices + slice) * LANES + column % LANES];
            }
            self.pulses(&columns, &numbers, slice as u32, &d, &x, &cells, &mut w);
        }
        for (lane, (local, column)) in group.iter().enumerate() {
            self.rows.state[local * x_size + column] = w[lane];
        }
    }

    /// Single pulses of one slice.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "one step of the two functions above")]
    fn pulses(
        &self,
        columns: &[u32; LANES],
        numbers: &[u32; LANES],
        slice: u32,
        d: &[u32; LANES],
        x: &[u32; LANES],
        cells: &LaneCells,
        w: &mut [f32; LANES],
    ) {
        let mut count = [0; LANES];
        for lane in 0..LANES {
            count[lane] = (x[lane] & d[lane] & !SIGN).count_ones();
        }
        let most = count.iter().fold(0, |most, n| most.max(*n));
        for quad in 0..most.div_ceil(4) {
            let index = slice as usize * 8 + quad as usize;
            let block = self.positions.block(index);
            let normals = normal_lanes(&self.draw.lanes_at(*columns, *numbers, block));
            for (k, xi) in normals.iter().enumerate() {
                let pulse = quad * 4 + k as u32;
                for lane in 0..LANES {
                    let up = (x[lane] ^ d[lane]) & SIGN != 0;
                    let cell: CellRef = cells.cell(lane);
                    let moved = cells.clip(lane, self.rule.step(w[lane], up, cell, xi[lane]));
                    w[lane] = select(pulse < count[lane], moved, w[lane]);
                }
            }
        }
    }
}

/// Relative steps and noises of [`LANES`] cells.
struct Rates {
    down: Rate,
    /// Bits in which the rates of up pulses differ from those of down pulses.
    bound: [u32; LANES],
    decay: [u32; LANES],
    noise: [u32; LANES],
    /// All ones where pulses may be added up.
    regular: [u32; LANES],
}

/// Relative steps and noises of pulses of one direction.
struct Rate {
    /// Bound that they approach.
    bound: [f32; LANES],
    /// `ln(1 - a)`.
    decay: [f32; LANES],
    /// `(a std / (1 - a))^2`.
    noise: [f32; LANES],
}

impl Rates {
    #[inline(always)]
    fn new(cells: &LaneCells, std: f32) -> Self {
        let mut regular = [u32::MAX; LANES];
        let mut falling = cells.extra[0];
        for slope in &mut falling {
            *slope = -*slope;
        }
        let up = Rate::new(&falling, &cells.up, &cells.max_bound, -1.0, std, &mut regular);
        let rising = &cells.extra[1];
        let down = Rate::new(rising, &cells.down, &cells.min_bound, 1.0, std, &mut regular);
        let mut rates =
            Self { down, bound: [0; LANES], decay: [0; LANES], noise: [0; LANES], regular };
        for lane in 0..LANES {
            let differ = |a: f32, b: f32| a.to_bits() ^ b.to_bits();
            rates.bound[lane] = differ(up.bound[lane], rates.down.bound[lane]);
            rates.decay[lane] = differ(up.decay[lane], rates.down.decay[lane]);
            rates.noise[lane] = differ(up.noise[lane], rates.down.noise[lane]);
        }
        rates
    }
}

impl Rate {
    /// `relative` is the relative step `a`; `sign` makes the step at the bound `step + sign a bound`.
    #[inline(always)]
    fn new(
        relative: &[f32; LANES],
        step: &[f32; LANES],
        bound: &[f32; LANES],
        sign: f32,
        std: f32,
        regular: &mut [u32; LANES],
    ) -> Self {
        let (mut decay, mut noise) = ([0.0; LANES], [0.0; LANES]);
        for lane in 0..LANES {
            let a = relative[lane];
            let at_bound = (sign * a).mul_add(bound[lane], step[lane]);
            let fits = (a > 0.0)
                & (a <= MAX_STEP)
                & (a * std <= MAX_NOISE)
                & (at_bound.abs() <= 1e-5 * step[lane]);
            regular[lane] &= 0u32.wrapping_sub(u32::from(fits));
            decay[lane] = ln_1m(a);
            let deviation = a * std / (1.0 - a);
            noise[lane] = deviation * deviation;
        }
        Self { bound: *bound, decay, noise }
    }
}

/// `ln(1 - a)` for `0 <= a <= 1/64`; relative error below 1e-8.
#[inline(always)]
fn ln_1m(a: f32) -> f32 {
    let series = a.mul_add(0.2, 0.25).mul_add(a, 1.0 / 3.0).mul_add(a, 0.5).mul_add(a, 1.0);
    -a * series
}

/// `exp(t) - 1` for `-1/2 <= t <= 0`; error below 3e-8 of `t`.
#[inline(always)]
fn exp_m1(t: f32) -> f32 {
    let p = t.mul_add(1.0 / 5040.0, 1.0 / 720.0).mul_add(t, 1.0 / 120.0);
    let p = p.mul_add(t, 1.0 / 24.0).mul_add(t, 1.0 / 6.0).mul_add(t, 0.5);
    (p * t).mul_add(t, t)
}

/// `a` with the bits of `difference` changed.
#[inline(always)]
fn choose(a: f32, difference: u32) -> f32 {
    f32::from_bits(a.to_bits() ^ difference)
}

/// Mean, variance and a sixth of the third central moment of the weights since the last draw.
struct Moments {
    mean: [f32; LANES],
    variance: [f32; LANES],
    third: [f32; LANES],
    high: [f32; LANES],
    low: [f32; LANES],
}

impl Moments {
    #[inline(always)]
    fn new(w: &[f32; LANES]) -> Self {
        Self { mean: *w, variance: [0.0; LANES], third: [0.0; LANES], high: *w, low: *w }
    }

    #[inline(always)]
    fn advance(&mut self, x: &[u32; LANES], d: u32, rates: &Rates) {
        for lane in 0..LANES {
            let n = (x[lane] & d & !SIGN).count_ones() as i32 as f32;
            // All ones for pulses up.
            let up = (((x[lane] ^ d) as i32) >> 31) as u32;
            let bound = choose(rates.down.bound[lane], rates.bound[lane] & up);
            let decay = choose(rates.down.decay[lane], rates.decay[lane] & up);
            let noise = choose(rates.down.noise[lane], rates.noise[lane] & up);
            let y = self.mean[lane] - bound;
            let change = exp_m1(n * decay);
            let (p, q) = (change + 1.0, n * noise * y);
            let square = p * p;
            let third = self.variance[lane].mul_add(q, self.third[lane]);
            self.third[lane] = third * (square * p);
            self.variance[lane] = q.mul_add(y, self.variance[lane]) * square;
            self.mean[lane] = y.mul_add(change, self.mean[lane]);
            self.high[lane] = larger(self.high[lane], self.mean[lane]);
            self.low[lane] = smaller(self.low[lane], self.mean[lane]);
        }
    }

    /// Draws the weights; gives all ones where the path may have touched a bound, for which the
    /// weight is left alone.
    #[inline(always)]
    fn settle(&self, xi: &[f32; LANES], cells: &LaneCells, w: &mut [f32; LANES]) -> [u32; LANES] {
        let mut outside = [0; LANES];
        for lane in 0..LANES {
            let variance = self.variance[lane];
            let sigma = variance.sqrt();
            // A variance of 0 has no third moment either.
            let skew = self.third[lane] / larger(variance, f32::MIN_POSITIVE);
            let noise = sigma.mul_add(xi[lane], skew * xi[lane].mul_add(xi[lane], -1.0));
            let margin = MARGIN * sigma;
            let inside = (self.high[lane] + margin <= cells.max_bound[lane])
                & (self.low[lane] - margin >= cells.min_bound[lane]);
            w[lane] = select(inside, self.mean[lane] + noise, w[lane]);
            outside[lane] = if inside { 0 } else { u32::MAX };
        }
        outside
    }
}
