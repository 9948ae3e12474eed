//! Steps that vary slowly with the weight: the pulses of a segment, a few samples, are added up in
//! their order.
//!
//! Each crosspoint takes a segment at once, drawn from its mean and variance as
//! [`expansion::mixed`](crate::pulse::expansion::mixed) has them; where it is too long for that, the crosspoint goes to
//! [`careful`](super::careful).

use std::ops::Range;

use super::careful::Careful;
use super::line::{Fired, Line, PULSES};
use crate::devices::{AnyRule, Rule, WriteNoise};
use crate::error::Result;
use crate::pulse::cells::{Planes, Target};
use crate::pulse::coincidences::Coincidences;
use crate::pulse::expansion::mixed::Pulses;
use crate::pulse::lanes::{load, store};
use crate::pulse::positions::Positions;
use crate::pulse::trains::SIGN;
use crate::pulse::transaction::{Rows, for_each};
use crate::rng::{Draw, Key, LANES, Stream};
use crate::simd::{self, Work};

/// Adding up takes as long for one crosspoint of a block as for all of it: few with pulses take them one
/// by one. What that takes grows with the slices that are looked through; in their units, the rest of it,
/// and the block. Found by trying some, with AVX2 and the gradients of a training step.
const SLICES_OF_REST: usize = 8;
const SLICES_OF_BLOCK: usize = 48;
/// Rows of one task.
const HEIGHT: usize = 16;
/// Blocks of columns whose draws come from one vector of evaluations.
const BLOCKS: usize = 4;

/// Applies all pulses of a chunk.
pub(crate) fn apply<R: Rule>(
    target: &Target<'_>,
    state: &mut Rows<'_>,
    trains: Coincidences<'_>,
    rule: R,
    positions: Positions,
) -> Result<()> {
    let planes = Planes::new(target);
    let (key, write_noise) = (target.key, target.device.write_noise());
    let window = trains.window();
    let block_ns = (HEIGHT * window.len() * LANES) as f64 * (6.0 + 0.3 * trains.slices as f64);
    let mut blocks = state.split(HEIGHT)?;
    for_each(&mut blocks, block_ns, |rows| {
        let line = Line::new(planes.x_size, rule.shape().local)?;
        let window = window.clone();
        simd::run(Segments {
            rows,
            planes,
            trains,
            window,
            rule,
            key,
            positions,
            write_noise,
            line,
        });
        Ok(())
    })
}

struct Segments<'a, 'b, R> {
    rows: &'a mut Rows<'b>,
    planes: Planes<'a>,
    trains: Coincidences<'a>,
    /// Blocks of columns that may have pulses.
    window: Range<usize>,
    rule: R,
    key: Key,
    positions: Positions,
    write_noise: Option<WriteNoise>,
    line: Line,
}

impl<R: Rule> Work for Segments<'_, '_, R> {
    type Home = R;
    const SHARED: bool = R::SHARED;

    #[inline(always)]
    fn run(mut self) {
        let columns = self.planes.x_size;
        // A chunk has a limited number of slices, whatever the sizes are.
        let mut fired = Vec::with_capacity(self.trains.slices);
        let mut line = std::mem::take(&mut self.line);
        for local in 0..self.rows.state.len() / columns {
            self.list(self.rows.first + local, &mut fired);
            if !fired.is_empty() {
                self.rows.save(local);
                self.row(local, &fired, &mut line);
                self.store(local, &mut line);
            }
        }
    }

    fn run_shared(self) {
        let Self { rows, planes, trains, window, rule, key, positions, write_noise, line } = self;
        let rule = AnyRule::new(&rule);
        simd::run(Segments {
            rows,
            planes,
            trains,
            window,
            rule,
            key,
            positions,
            write_noise,
            line,
        });
    }
}

impl<R: Rule> Segments<'_, '_, R> {
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

    /// Weights and constants of a block of columns, unless the row has them already.
    #[inline(always)]
    fn load(&self, local: usize, block: usize, line: &mut Line) {
        if std::mem::replace(&mut line.loaded[block], true) {
            return;
        }
        let (columns, column) = (self.planes.x_size, block * LANES);
        let lanes = LANES.min(columns - column);
        let cells = self.planes.lanes(self.rows.first + local, column).prepare(self.rule);
        let w = load(self.rows.state, local * columns + column, lanes);
        if self.rule.shape().local {
            line.local[block] = cells.localize(self.rule, &w);
        }
        (line.cells[block], line.w[block]) = (cells, w);
    }

    #[inline(always)]
    fn store(&mut self, local: usize, line: &mut Line) {
        let columns = self.planes.x_size;
        let state = &mut self.rows.state[local * columns..(local + 1) * columns];
        let blocks = state.chunks_mut(LANES).zip(&line.w).zip(&mut line.loaded);
        for ((state, w), loaded) in blocks.skip(self.window.start).take(self.window.len()) {
            if std::mem::take(loaded) {
                store(w, state);
            }
        }
        self.rows.refresh(local, &line.touched[..columns], self.write_noise, self.key);
        line.touched.fill(false);
    }

    #[inline(always)]
    fn row(&mut self, local: usize, fired: &[Fired], line: &mut Line) {
        let draw = self.key.stream(Stream::CycleToCycle);
        let row = (self.rows.first + local) as u32;
        for (index, segment) in fired.split_inclusive(|fired| fired.last).enumerate() {
            let Range { start, end } = self.window;
            for first in (start / BLOCKS * BLOCKS..end).step_by(BLOCKS) {
                let (mut normals, mut drawn) = ([[0.0; LANES]; BLOCKS], false);
                for block in start.max(first)..end.min(first + BLOCKS) {
                    let pulses = self.count(local, block, segment, line);
                    let active = pulses.active();
                    if active == [0; LANES] {
                        continue;
                    }
                    self.load(local, block, line);
                    let count = active.iter().sum::<u32>() as usize;
                    if count * (SLICES_OF_REST + segment.len()) < SLICES_OF_BLOCK {
                        let lanes = (0..LANES).filter(|lane| active[*lane] == 1);
                        line.single.extend(lanes.map(|lane| (block * LANES + lane) as u32));
                        continue;
                    }
                    if !drawn {
                        (normals, drawn) = (self.normals(&draw, row, first, index), true);
                    }
                    self.settle(block, &pulses, &normals[block - first], line);
                }
            }
            if !(line.careful.is_empty() && line.single.is_empty()) {
                let Self { trains, rule, positions, .. } = *self;
                simd::run(Careful { trains, rule, draw, positions, row, index, segment, line });
            }
        }
    }

    /// One draw for each column of [`BLOCKS`] blocks.
    #[inline(always)]
    fn normals(&self, draw: &Draw, row: u32, block: usize, index: usize) -> [[f32; LANES]; BLOCKS] {
        if self.rule.std() == 0.0 {
            return [[0.0; LANES]; BLOCKS];
        }
        self.positions.sums(draw, row as usize, block * LANES, index)
    }

    /// Pulses of a segment for [`LANES`] columns.
    #[inline(always)]
    fn count(&mut self, local: usize, block: usize, segment: &[Fired], line: &mut Line) -> Pulses {
        let x = &self.trains.x[block * self.trains.slices * LANES..];
        let words = segment.iter().filter_map(|fired| {
            let x = x[fired.slice as usize * LANES..].first_chunk::<LANES>()?;
            Some((x, fired.d))
        });
        let pulses = Pulses::count(words);
        if self.write_noise.is_some() {
            for lane in 0..LANES {
                line.touched[block * LANES + lane] |= pulses.up[lane] + pulses.down[lane] > 0.0;
            }
        }
        let columns = self.planes.x_size;
        let lanes = LANES.min(columns - block * LANES);
        let at = local * columns + block * LANES;
        self.rows.count(at, lanes, [&pulses.down, &pulses.up]);
        pulses
    }

    /// Applies a segment to [`LANES`] columns.
    #[inline(always)]
    fn settle(&self, block: usize, pulses: &Pulses, xi: &[f32; LANES], line: &mut Line) {
        // Copies, of which the compiler knows that they do not overlap.
        let (cells, mut w) = (line.near(self.rule.shape().local)[block], line.w[block]);
        let fits = pulses.settle(self.rule, &cells, xi, &mut w);
        line.w[block] = w;
        if fits != [u32::MAX; LANES] {
            let lanes = LANES.min(self.planes.x_size - block * LANES);
            let lost = (0..lanes).filter(|lane| fits[*lane] == 0);
            line.careful.extend(lost.map(|lane| (block * LANES + lane) as u32));
        }
    }
}
