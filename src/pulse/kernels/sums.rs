//! Steps that do not depend on the weight: pulses of a whole chunk are added up.
//!
//! While a cell stays off its bounds, `n_up` pulses up and `n_down` pulses down change it by
//! `up n_up - down n_down + std sqrt(up^2 n_up + down^2 n_down) xi` with one standard normal `xi`:
//! a sum of independent normals is normal, so this is exact in distribution. A cell stays off its
//! bounds if its mean path, followed word by word, keeps a distance of `MARGIN` standard deviations
//! of the whole sum: the noise is a random walk, which by Levy's inequality leaves the interval
//! with a probability below `4 Phi(-MARGIN) < 4e-9`. The other cells go to
//! [`sums_near_bound`](super::sums_near_bound).

use std::hint::black_box;
use std::ops::Range;

use super::limits::{MARGIN, SEGMENT};
use super::sums_near_bound::NearBound;
use crate::error::Result;
use crate::pulse::cells::{Planes, Target};
use crate::pulse::coincidences::Trains;
use crate::pulse::lanes::{copy, load, store};
use crate::pulse::positions::Positions;
use crate::pulse::transaction::{Rows, for_each};
use crate::rng::{Key, LANES, Stream};
use crate::simd::{self, Work, larger, select, smaller};

/// Rows of one task; the cells near bounds of all of them are taken together.
const TASK: usize = 32;
/// Rows that are scanned together, so that the trains of some columns stay in the nearest cache.
const HEIGHT: usize = 8;
/// Segments with pulses of the error line up to which a row is taken by itself: columns without a
/// coincidence then cost no more than that, which is most of them where gradients are small.
const SPARSE: usize = 2;
/// Blocks of columns whose draws come from one vector of evaluations.
const PARTS: usize = 4;
/// Their columns.
const WIDTH: usize = PARTS * LANES;

/// Applies all pulses of a chunk.
pub(crate) fn apply(
    target: &Target<'_>,
    state: &mut Rows<'_>,
    trains: Trains<'_>,
    std: f32,
    positions: Positions,
) -> Result<()> {
    let planes = Planes::new(target);
    let key = target.key;
    let window = trains.window();
    let window = window.start * LANES..planes.x_size.min(window.end * LANES);
    let block_ns = (TASK * window.len()) as f64 * (2.0 + 0.15 * trains.words as f64);
    let mut blocks = state.split(TASK)?;
    for_each(&mut blocks, block_ns, |rows| {
        let (window, mut done) = (window.clone(), Ok(()));
        let result = &mut done;
        simd::run(Constant { rows, planes, trains, window, key, positions, std, result });
        done
    })
}

struct Constant<'a, 'b, 'c> {
    rows: &'a mut Rows<'b>,
    planes: Planes<'a>,
    trains: Trains<'a>,
    /// Columns that may have pulses.
    window: Range<usize>,
    key: Key,
    positions: Positions,
    std: f32,
    result: &'c mut Result<()>,
}

/// Change of each cell of a block: mean and standard deviation, the latter negative where the cell
/// may touch a bound.
#[repr(align(64))]
struct Sums {
    mean: [[[f32; LANES]; PARTS]; HEIGHT],
    deviation: [[[f32; LANES]; PARTS]; HEIGHT],
}

/// Weights and constants of a part of the rows, copied row by row: if the scan read them where they
/// are, each [`LANES`] of them would be a cache miss of its own.
#[repr(align(64))]
struct Staged([[[f32; WIDTH]; 5]; HEIGHT]);

impl Staged {
    /// The five values of [`LANES`] cells: weight, upper and lower bound, steps up and down.
    #[inline(always)]
    fn lanes(&self, place: usize, part: usize) -> [[f32; LANES]; 5] {
        let mut out = [[0.0; LANES]; 5];
        for (out, values) in out.iter_mut().zip(&self.0[place]) {
            out.copy_from_slice(&values[part * LANES..(part + 1) * LANES]);
        }
        out
    }
}

impl Work for Constant<'_, '_, '_> {
    type Home = Self;

    #[inline(always)]
    fn run(mut self) {
        let height = self.rows.state.len() / self.planes.x_size;
        let zeros = [[[0.0; LANES]; PARTS]; HEIGHT];
        let mut sums = Sums { mean: zeros, deviation: zeros };
        let mut staged = Staged([[[0.0; WIDTH]; 5]; HEIGHT]);
        let mut near = NearBound::new(self.planes, self.trains, self.key, self.positions, self.std);
        let (mut dense, mut count) = ([0; TASK], 0);
        for local in 0..height {
            let busy = self.busy(local);
            if busy.count_ones() as usize > SPARSE {
                dense[count] = local;
                count += 1;
            } else if busy != 0 {
                self.row(local, busy, &mut near);
            }
        }
        for rows in dense[..count].chunks(HEIGHT) {
            self.band(rows, &mut staged, &mut sums, &mut near);
        }
        *self.result = near.settle(self.rows);
    }
}

impl Constant<'_, '_, '_> {
    /// The segments, as bits from the lowest on, in which a row has pulses: a chunk has 16 at most.
    #[inline(always)]
    fn busy(&self, local: usize) -> u32 {
        let d = &self.trains.d[(self.rows.first + local) * self.trains.words * 2..];
        let segments = d[..self.trains.words * 2].chunks(SEGMENT * 2);
        segments.enumerate().fold(0, |busy, (at, segment)| {
            let any = segment.iter().step_by(2).fold(0, |any, bits| any | bits);
            busy | u32::from(any != 0) << at
        })
    }

    /// Applies all pulses to a row that has some in the segments `busy`, at most [`SPARSE`].
    #[inline(always)]
    fn row(&mut self, local: usize, busy: u32, near: &mut NearBound<'_>) {
        let (row, columns) = (self.rows.first + local, self.planes.x_size);
        self.rows.save(local);
        for first in (self.window.start / WIDTH * WIDTH..self.window.end).step_by(WIDTH) {
            let (mut normals, mut drawn) = ([[0.0; LANES]; PARTS], false);
            for part in self.parts(first) {
                let column = first + part * LANES;
                let (mut pulses, mut any, mut rest) = ([([0; LANES], [0; LANES]); SPARSE], 0, busy);
                for pulses in &mut pulses {
                    if rest != 0 {
                        *pulses = self.coincidences(row, column, rest.trailing_zeros() as usize);
                        any |= pulses.0.iter().fold(0, |any, n| any | n);
                        rest &= rest - 1;
                    }
                }
                if any == 0 {
                    continue;
                }
                let lanes = LANES.min(columns - column);
                let at = local * columns + column;
                let w = load(self.rows.state, at, lanes);
                let cells = self.planes.lanes(row, column);
                let staged = [w, cells.max_bound, cells.min_bound, cells.up, cells.down];
                let mut path = Path::new(staged);
                for (all, up) in &pulses {
                    path.advance(all, up);
                }
                self.rows.count(at, lanes, [&path.down, &path.up]);
                let (mean, deviation) = path.sums(self.std);
                let (noisy, lost) = signs(&deviation);
                if noisy && !drawn {
                    (normals, drawn) = (self.normals(row, first), true);
                }
                let moved = moved(&w, &mean, &deviation, &normals[part]);
                store(&moved, &mut self.rows.state[at..at + lanes]);
                if lost {
                    for lane in (0..lanes).filter(|lane| deviation[*lane] < 0.0) {
                        near.push(self.rows, local, column + lane);
                    }
                }
            }
        }
    }

    /// The same for some other rows, block by block of columns, so that the trains of a block are read
    /// from the nearest cache.
    #[inline(always)]
    fn band(
        &mut self,
        rows: &[usize],
        staged: &mut Staged,
        sums: &mut Sums,
        near: &mut NearBound<'_>,
    ) {
        for local in rows {
            self.rows.save(*local);
        }
        for first in (self.window.start / WIDTH * WIDTH..self.window.end).step_by(WIDTH) {
            self.stage(rows, first, staged);
            for part in self.parts(first) {
                for (place, local) in rows.iter().enumerate() {
                    self.scan(*local, place, first, part, staged, sums);
                }
            }
            for (place, local) in rows.iter().enumerate() {
                self.settle(*local, place, first, sums, near);
            }
        }
    }

    /// Blocks of [`LANES`] columns, counted from column `first` on, that may have pulses.
    #[inline(always)]
    fn parts(&self, first: usize) -> Range<usize> {
        let end = self.window.end.min(first + WIDTH) - first;
        self.window.start.saturating_sub(first) / LANES..end.div_ceil(LANES)
    }

    #[inline(always)]
    fn stage(&self, rows: &[usize], first: usize, staged: &mut Staged) {
        let columns = self.planes.x_size;
        let count = WIDTH.min(columns - first);
        for (local, [w, constants @ ..]) in rows.iter().zip(&mut staged.0) {
            let at = local * columns + first;
            copy(&self.rows.state[at..at + count], w);
            self.planes.copy(self.rows.first + local, first, count, constants);
        }
    }

    #[inline(always)]
    fn scan(
        &mut self,
        local: usize,
        place: usize,
        first: usize,
        part: usize,
        staged: &Staged,
        sums: &mut Sums,
    ) {
        let column = first + part * LANES;
        let at = local * self.planes.x_size + column;
        let path = self.follow(self.rows.first + local, column, staged.lanes(place, part));
        let lanes = LANES.min(self.planes.x_size - column);
        self.rows.count(at, lanes, [&path.down, &path.up]);
        let (mean, deviation) = path.sums(self.std);
        sums.mean[place][part] = mean;
        sums.deviation[place][part] = deviation;
    }

    #[inline(always)]
    fn follow(&self, row: usize, column: usize, staged: [[f32; LANES]; 5]) -> Path {
        let mut path = Path::new(staged);
        for segment in 0..self.trains.words.div_ceil(SEGMENT) {
            let (all, up) = self.coincidences(row, column, segment);
            path.advance(&all, &up);
        }
        path
    }

    /// Numbers of coincidences of a row with [`LANES`] columns, all of them and those up.
    #[inline(always)]
    fn coincidences(
        &self,
        row: usize,
        column: usize,
        segment: usize,
    ) -> ([u32; LANES], [u32; LANES]) {
        let (words, block) = (self.trains.words, column / LANES);
        let part = segment * SEGMENT..words.min((segment + 1) * SEGMENT);
        let x = &self.trains.x[block * words * 2 * LANES..(block + 1) * words * 2 * LANES];
        let d = &self.trains.d[row * words * 2..(row + 1) * words * 2];
        coincidences(
            &x[part.start * 2 * LANES..part.end * 2 * LANES],
            &d[part.start * 2..part.end * 2],
        )
    }

    #[inline(always)]
    fn settle(
        &mut self,
        local: usize,
        place: usize,
        first: usize,
        sums: &Sums,
        near: &mut NearBound<'_>,
    ) {
        let (mean, deviation) = (&sums.mean[place], &sums.deviation[place]);
        let columns = self.planes.x_size;
        let parts = self.parts(first);
        let (mut noisy, mut lost) = (false, false);
        for part in &deviation[parts.clone()] {
            let signs = signs(part);
            (noisy, lost) = (noisy | signs.0, lost | signs.1);
        }
        let mut normals = [[0.0; LANES]; PARTS];
        if noisy {
            normals = self.normals(self.rows.first + local, first);
        }
        for part in parts {
            let column = first + part * LANES;
            let lanes = LANES.min(columns - column);
            let at = local * columns + column;
            let w = load(self.rows.state, at, lanes);
            let moved = moved(&w, &mean[part], &deviation[part], &normals[part]);
            store(&moved, &mut self.rows.state[at..at + lanes]);
            if lost {
                for lane in (0..lanes).filter(|lane| deviation[part][*lane] < 0.0) {
                    near.push(self.rows, local, column + lane);
                }
            }
        }
    }

    /// One draw for each of [`WIDTH`] columns.
    #[inline(always)]
    fn normals(&self, row: usize, first: usize) -> [[f32; LANES]; PARTS] {
        self.positions.sums(&self.key.stream(Stream::CycleToCycle), row, first, 0)
    }
}

/// Whether some values are positive, and whether some are negative.
#[inline(always)]
fn signs(values: &[f32; LANES]) -> (bool, bool) {
    let (mut positive, mut negative) = (false, false);
    for value in values {
        positive |= *value > 0.0;
        negative |= *value < 0.0;
    }
    (positive, negative)
}

/// Weights after the pulses; those that may touch a bound stay.
#[inline(always)]
fn moved(
    w: &[f32; LANES],
    mean: &[f32; LANES],
    deviation: &[f32; LANES],
    normals: &[f32; LANES],
) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    for lane in 0..LANES {
        let change = deviation[lane].mul_add(normals[lane], mean[lane]);
        out[lane] = w[lane] + select(deviation[lane] < 0.0, 0.0, change);
    }
    out
}

/// Mean path of [`LANES`] cells of a row.
struct Path {
    start: [f32; LANES],
    max_bound: [f32; LANES],
    min_bound: [f32; LANES],
    step_up: [f32; LANES],
    step_down: [f32; LANES],
    end: [f32; LANES],
    high: [f32; LANES],
    low: [f32; LANES],
    up: [f32; LANES],
    down: [f32; LANES],
}

impl Path {
    /// The path of cells without pulses: weight, upper and lower bound, steps up and down.
    #[inline(always)]
    fn new([start, max_bound, min_bound, step_up, step_down]: [[f32; LANES]; 5]) -> Self {
        Self {
            start,
            max_bound,
            min_bound,
            step_up,
            step_down,
            end: start,
            high: start,
            low: start,
            up: [0.0; LANES],
            down: [0.0; LANES],
        }
    }

    #[inline(always)]
    fn advance(&mut self, all: &[u32; LANES], up: &[u32; LANES]) {
        for lane in 0..LANES {
            let n_up = up[lane] as i32 as f32;
            let n_down = (all[lane] - up[lane]) as i32 as f32;
            let (rise, fall) = (self.step_up[lane] * n_up, self.step_down[lane] * n_down);
            self.high[lane] = larger(self.high[lane], self.end[lane] + rise);
            self.low[lane] = smaller(self.low[lane], self.end[lane] - fall);
            self.end[lane] += rise - fall;
            self.up[lane] += n_up;
            self.down[lane] += n_down;
        }
    }

    #[inline(always)]
    fn sums(&self, std: f32) -> ([f32; LANES], [f32; LANES]) {
        let (mut mean, mut deviation) = ([0.0; LANES], [0.0; LANES]);
        for lane in 0..LANES {
            let (up, down) = (self.step_up[lane], self.step_down[lane]);
            let variance = (up * up).mul_add(self.up[lane], down * down * self.down[lane]);
            let sigma = std * variance.sqrt();
            let margin = MARGIN * sigma;
            let inside = (self.high[lane] + margin <= self.max_bound[lane])
                & (self.low[lane] - margin >= self.min_bound[lane])
                & (up >= 0.0)
                & (down >= 0.0);
            let idle = self.up[lane] + self.down[lane] == 0.0;
            mean[lane] = self.end[lane] - self.start[lane];
            deviation[lane] = if inside | idle { sigma } else { -1.0 };
        }
        (mean, deviation)
    }
}

/// Numbers of coincidences of some words, all of them and those up.
#[inline(always)]
fn coincidences(x: &[u64], d: &[u64]) -> ([u32; LANES], [u32; LANES]) {
    let (mut all, mut up) = ([0u64; LANES], [0u64; LANES]);
    for (x, d) in x.chunks_exact(2 * LANES).zip(d.chunks_exact(2)) {
        let (Some(bits), Some(signs)) = (x.first_chunk::<LANES>(), x.last_chunk::<LANES>()) else {
            continue;
        };
        // Opaque, so that the compiler vectorises over lanes and not over words.
        let (d_bits, d_sign) = (black_box(d[0]), d[1]);
        if d_bits == 0 {
            continue;
        }
        let (mut both, mut rise) = ([0u64; LANES], [0u64; LANES]);
        for lane in 0..LANES {
            both[lane] = bits[lane] & d_bits;
        }
        for lane in 0..LANES {
            rise[lane] = both[lane] & (signs[lane] ^ d_sign);
        }
        for lane in 0..LANES {
            all[lane] += u64::from(both[lane].count_ones());
        }
        for lane in 0..LANES {
            up[lane] += u64::from(rise[lane].count_ones());
        }
    }
    // 32 bits, for of 64 bits only half of the lanes fit a register.
    let (mut narrow_all, mut narrow_up) = ([0u32; LANES], [0u32; LANES]);
    for lane in 0..LANES {
        narrow_all[lane] = all[lane] as u32;
    }
    for lane in 0..LANES {
        narrow_up[lane] = up[lane] as u32;
    }
    (narrow_all, narrow_up)
}
