//! One pulse after another, for any device.

use std::ops::Range;

use super::queue::Numbers;
use crate::devices::{AnyRule, Rule, WriteNoise};
use crate::error::Result;
use crate::memory;
use crate::pulse::cells::{Planes, Target};
use crate::pulse::coincidences::Coincidences;
use crate::pulse::lanes::load;
use crate::pulse::positions::{Kind, Positions};
use crate::pulse::products::Products;
use crate::pulse::transaction::{Rows, for_each};
use crate::rng::{Draw, Key, LANES, Stream, normal_lanes};
use crate::simd::{self, Work};

/// Rows of one task.
const HEIGHT: usize = 8;

/// Pulses that each slice brings to each cell. A choice at run time, for the code of the walk, with every
/// device and instruction set, is long, and this takes one branch for [`LANES`] cells and a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pulses<'a> {
    /// Coincidences of trains.
    Trains(Coincidences<'a>),
    /// Rounded products, in one slice.
    Products(Products<'a>),
}

impl Pulses<'_> {
    /// Number of slices.
    fn slices(&self) -> usize {
        match self {
            Self::Trains(trains) => trains.slices,
            Self::Products(_) => 1,
        }
    }

    /// Whether `row` has pulses in slice `at` at all.
    #[inline(always)]
    fn fires(&self, at: usize, row: usize) -> bool {
        match self {
            Self::Trains(trains) => trains.fires(at, row),
            Self::Products(products) => products.d[row] != 0.0,
        }
    }

    /// Those of the cells of `row` in a block of columns.
    #[inline(always)]
    pub(crate) fn count(&self, at: usize, row: usize, block: usize) -> Numbers {
        match self {
            Self::Trains(trains) => {
                Numbers::new(trains.words(at, block), trains.d[row * trains.slices + at])
            }
            Self::Products(products) => products.count(row, block),
        }
    }

    /// Columns from the first to the last one that has pulses, in whole blocks.
    fn window(&self) -> Range<usize> {
        match self {
            Self::Trains(trains) => {
                let blocks = trains.window();
                blocks.start * LANES..blocks.end * LANES
            }
            Self::Products(products) => products.window(),
        }
    }

    /// Number of the first evaluation that serves the pulses of slice `at`.
    #[inline(always)]
    fn first_draw(at: usize) -> usize {
        // A slice of trains has at most 31 pulses, four per evaluation.
        at * 8
    }
}

/// Applies all pulses of a chunk.
pub(crate) fn apply<R: Rule>(
    target: &Target<'_>,
    state: &mut Rows<'_>,
    pulses: Pulses<'_>,
    rule: R,
    positions: Positions,
) -> Result<()> {
    let planes = Planes::new(target);
    let (key, write_noise) = (target.key, target.device.write_noise());
    let window = pulses.window();
    let block_ns = (HEIGHT * window.len() * pulses.slices()) as f64 * 1.5;
    let mut blocks = state.split(HEIGHT)?;
    for_each(&mut blocks, block_ns, |rows| {
        let touched = memory::filled(false, planes.x_size)?;
        let window = window.clone();
        simd::run(OneByOne {
            rows,
            planes,
            pulses,
            window,
            rule,
            key,
            positions,
            write_noise,
            touched,
        });
        Ok(())
    })
}

/// Applies all slices of a chunk to a block of rows.
struct OneByOne<'a, 'b, R> {
    rows: &'a mut Rows<'b>,
    planes: Planes<'a>,
    pulses: Pulses<'a>,
    /// Columns that may have pulses.
    window: Range<usize>,
    rule: R,
    key: Key,
    positions: Positions,
    write_noise: Option<WriteNoise>,
    /// One value per column.
    touched: Vec<bool>,
}

impl<R: Rule> Work for OneByOne<'_, '_, R> {
    type Home = R;
    const SHARED: bool = R::SHARED;

    #[inline(always)]
    fn run(mut self) {
        let columns = self.planes.x_size;
        let draw = self.key.stream(Stream::CycleToCycle);
        let mut touched = std::mem::take(&mut self.touched);
        let blocks = self.window.start / LANES..self.window.end.min(columns).div_ceil(LANES);
        for local in 0..self.rows.state.len() / columns {
            let row = self.rows.first + local;
            if !(0..self.pulses.slices()).any(|slice| self.pulses.fires(slice, row)) {
                continue;
            }
            touched.fill(false);
            self.rows.save(local);
            for block in blocks.clone() {
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

    fn run_shared(self) {
        let rule = AnyRule::new(&self.rule);
        simd::run(OneByOne {
            rule,
            rows: self.rows,
            planes: self.planes,
            pulses: self.pulses,
            window: self.window,
            key: self.key,
            positions: self.positions,
            write_noise: self.write_noise,
            touched: self.touched,
        });
    }
}

struct Walk<'a, R> {
    planes: &'a Planes<'a>,
    pulses: &'a Pulses<'a>,
    rule: R,
    draw: &'a Draw,
    positions: Positions,
}

impl<R: Rule> Walk<'_, R> {
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
            let pulses = self.pulses.count(slice, row, block);
            for lane in 0..LANES {
                // All ones for pulses up.
                let mask = ((pulses.up[lane] as i32) >> 31) as u32;
                total[0][lane] += pulses.count[lane] & !mask;
                total[1][lane] += pulses.count[lane] & mask;
            }
            let first = Pulses::first_draw(slice);
            pulses.walk(
                &mut w,
                #[inline(always)]
                |quad| self.normals(row, column, first + quad),
                #[inline(always)]
                |lane, w, up, xi| cells.clip(lane, w, self.rule.step(w, up, cells.cell(lane), xi)),
            );
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
