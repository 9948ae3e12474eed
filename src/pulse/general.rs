//! One pulse after another, for any device.

use super::rows::{Kind, Planes, Positions, Rows, load, select};
use super::simd::Work;
use super::trains::SIGN;
use crate::devices::{Rule, WriteNoise};
use crate::rng::{Draw, Key, LANES, Stream, normal_lanes};

/// Pulses that each slice brings to each cell.
pub(super) trait Pulses: Copy + Sync {
    /// Number of slices.
    fn slices(&self) -> usize;
    /// Whether `row` has pulses in slice `at` at all.
    fn fires(&self, at: usize, row: usize) -> bool;
    /// For the cells of `row` in a block of columns: numbers of pulses, and words with [`SIGN`] set
    /// where they go up.
    fn count(&self, at: usize, row: usize, block: usize) -> ([u32; LANES], [u32; LANES]);
    /// Number of the first evaluation that serves the pulses of slice `at`.
    fn first_draw(&self, at: usize) -> usize;
}

/// Coincidences of stochastic trains.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coincidences<'a> {
    /// `[column block][slice][lane]`.
    pub(super) x: &'a [u32],
    /// `[row][slice]`.
    pub(super) d: &'a [u32],
    /// Number of slices.
    pub(super) slices: usize,
}

impl Pulses for Coincidences<'_> {
    fn slices(&self) -> usize {
        self.slices
    }

    #[inline(always)]
    fn fires(&self, at: usize, row: usize) -> bool {
        self.d[row * self.slices + at] & !SIGN != 0
    }

    #[inline(always)]
    fn count(&self, at: usize, row: usize, block: usize) -> ([u32; LANES], [u32; LANES]) {
        let d = self.d[row * self.slices + at];
        let first = (block * self.slices + at) * LANES;
        let x = &self.x[first..first + LANES];
        let (mut count, mut up) = ([0; LANES], [0; LANES]);
        for lane in 0..LANES {
            count[lane] = (x[lane] & d & !SIGN).count_ones();
            // A negative product of input and error calls for a larger weight.
            up[lane] = (x[lane] ^ d) & SIGN;
        }
        (count, up)
    }

    #[inline(always)]
    fn first_draw(&self, at: usize) -> usize {
        // A slice has at most 31 pulses, four per evaluation.
        at * 8
    }
}

/// Applies all slices of a chunk to a block of rows.
pub(super) struct General<'a, 'b, R, P> {
    pub(super) rows: &'a mut Rows<'b>,
    pub(super) planes: Planes<'a>,
    pub(super) pulses: P,
    pub(super) rule: R,
    pub(super) key: Key,
    pub(super) positions: Positions,
    pub(super) write_noise: Option<WriteNoise>,
}

impl<R: Rule, P: Pulses> Work for General<'_, '_, R, P> {
    #[inline(always)]
    fn run(self) {
        let columns = self.planes.x_size;
        let draw = self.key.stream(Stream::CycleToCycle);
        let mut touched = vec![false; columns];
        for local in 0..self.rows.state.len() / columns {
            touched.fill(false);
            self.rows.save(local);
            for block in 0..columns.div_ceil(LANES) {
                let walk = Walk {
                    planes: &self.planes,
                    pulses: &self.pulses,
                    rule: self.rule,
                    draw: &draw,
                    positions: self.positions,
                };
                walk.block(self.rows, local, block, &mut touched);
            }
            self.rows.refresh(local, &touched, self.write_noise, self.key);
        }
    }
}

struct Walk<'a, R, P> {
    planes: &'a Planes<'a>,
    pulses: &'a P,
    rule: R,
    draw: &'a Draw,
    positions: Positions,
}

impl<R: Rule, P: Pulses> Walk<'_, R, P> {
    #[inline(always)]
    fn block(&self, rows: &mut Rows<'_>, local: usize, block: usize, touched: &mut [bool]) {
        let (row, column) = (rows.first + local, block * LANES);
        let lanes = LANES.min(self.planes.x_size - column);
        let at = local * self.planes.x_size + column;
        let cells = self.planes.lanes(row, column).prepare(self.rule);
        let mut w = load(rows.state, at, lanes);
        let mut total = [[0u32; LANES]; 2];
        for slice in 0..self.pulses.slices() {
            if !self.pulses.fires(slice, row) {
                continue;
            }
            let (count, up) = self.pulses.count(slice, row, block);
            let most = count.iter().fold(0, |most, n| most.max(*n));
            for lane in 0..LANES {
                // All ones for pulses up.
                let mask = ((up[lane] as i32) >> 31) as u32;
                total[0][lane] += count[lane] & !mask;
                total[1][lane] += count[lane] & mask;
            }
            for quad in 0..most.div_ceil(4) {
                let index = self.pulses.first_draw(slice) + quad as usize;
                let normals = self.normals(row, column, index);
                for (k, xi) in normals.iter().enumerate() {
                    let pulse = quad * 4 + k as u32;
                    for lane in 0..LANES {
                        let moved =
                            self.rule.step(w[lane], up[lane] != 0, cells.cell(lane), xi[lane]);
                        let moved = cells.clip(lane, moved);
                        w[lane] = select(pulse < count[lane], moved, w[lane]);
                    }
                }
            }
        }
        rows.state[at..at + lanes].copy_from_slice(&w[..lanes]);
        for lane in 0..lanes {
            touched[column + lane] = total[0][lane] + total[1][lane] > 0;
        }
        if let Some(counts) = rows.counts.as_mut() {
            for (counts, total) in counts.iter_mut().zip(&total) {
                for lane in 0..lanes {
                    counts[at + lane] += i64::from(total[lane]);
                }
            }
        }
    }

    /// Four draws for each cell.
    #[inline(always)]
    fn normals(&self, row: usize, column: usize, index: usize) -> [[f32; LANES]; 4] {
        if self.rule.std() == 0.0 {
            return [[0.0; LANES]; 4];
        }
        let first = self.positions.column(Kind::Pulses, column);
        normal_lanes(&self.draw.lanes(first, row as u32, self.positions.block(index)))
    }
}
