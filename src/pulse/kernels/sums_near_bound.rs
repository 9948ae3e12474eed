//! Cells with constant steps that may touch a bound within a chunk.
//!
//! They are taken [`LANES`] at a time, wherever they are: those that rest at a bound pulse by pulse, each
//! with its own noise and clipping; the others part by part of the chunk. A part that stays off the bounds
//! is added up as in [`sums`](super::sums); otherwise its pulses act one by one as well.

use super::limits::{FEW, MARGIN, SEGMENT};
use super::queue::{MOST, Waiting};
use crate::error::Result;
use crate::memory;
use crate::pulse::cells::Planes;
use crate::pulse::coincidences::Trains;
use crate::pulse::positions::{Kind, Positions};
use crate::pulse::transaction::Rows;
use crate::rng::{Draw, Key, LANES, Lanes, Stream, UNUSED, box_muller, normal_lanes};
use crate::simd::{clip, gather_bits, select};

/// Pulses of a part of a chunk.
const PULSES: f64 = 32.0;

/// The cells of a block of rows that need care.
pub(crate) struct NearBound<'a> {
    planes: Planes<'a>,
    trains: Trains<'a>,
    draw: Draw,
    positions: Positions,
    std: f32,
    cells: Vec<Cell>,
    /// Whether there was memory for all of them.
    result: Result<()>,
}

/// Where a cell is, its weight and its constants.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// Position in the state of the block of rows.
    at: u32,
    row: u32,
    column: u32,
    w: f32,
    up: f32,
    down: f32,
    upper: f32,
    lower: f32,
}

/// [`LANES`] cells side by side.
struct Batch {
    columns: [u32; LANES],
    rows: [u32; LANES],
    w: [f32; LANES],
    up: [f32; LANES],
    down: [f32; LANES],
    upper: [f32; LANES],
    lower: [f32; LANES],
}

impl<'a> NearBound<'a> {
    pub(crate) fn new(
        planes: Planes<'a>,
        trains: Trains<'a>,
        key: Key,
        positions: Positions,
        std: f32,
    ) -> Self {
        let draw = key.stream(Stream::CycleToCycle);
        Self { planes, trains, draw, positions, std, cells: Vec::new(), result: Ok(()) }
    }

    /// Takes charge of a cell. Should there be no memory for it, [`settle`](Self::settle) says so.
    pub(crate) fn push(&mut self, rows: &Rows<'_>, local: usize, column: usize) {
        let at = local * self.planes.x_size + column;
        let row = rows.first + local;
        let cell = self.planes.cell(row, column);
        let cell = Cell {
            at: at as u32,
            row: row as u32,
            column: column as u32,
            w: rows.state[at],
            up: cell.up,
            down: cell.down,
            upper: cell.max_bound,
            lower: cell.min_bound,
        };
        if let Err(error) = memory::push(&mut self.cells, cell) {
            self.result = Err(error);
        }
    }

    /// Applies all pulses of the chunk to the cells.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory).
    #[inline(always)]
    pub(crate) fn settle(&mut self, rows: &mut Rows<'_>) -> Result<()> {
        std::mem::replace(&mut self.result, Ok(()))?;
        let mut cells = std::mem::take(&mut self.cells);
        // Neighbours share the cache lines of their trains.
        cells.sort_unstable_by_key(|cell| (!self.at_bound(cell), cell.column, cell.row));
        let mut touching = memory::room(cells.len())?;
        let resting = cells.partition_point(|cell| self.at_bound(cell));
        touching.extend(0..resting as u32);
        // What counts pulses looks at all trains, for nothing where no other cells are near.
        let all = self.trains.words;
        let length = if resting < cells.len() { self.part() } else { all.max(1) };
        // Those at rest take all parts at once, before the others take the first one.
        let parts = (0..all).step_by(length).map(|first| first..all.min(first + length));
        for (round, words) in std::iter::once(0..all).chain(parts).enumerate() {
            if round > 0 {
                touching.clear();
                for group in (resting..cells.len()).step_by(LANES) {
                    let end = cells.len().min(group + LANES);
                    self.add_up(words.clone(), group, &mut cells[group..end], &mut touching);
                }
            }
            for group in touching.chunks(LANES) {
                self.walk(words.clone(), group, &mut cells);
            }
        }
        for cell in &cells {
            rows.state[cell.at as usize] = cell.w;
        }
        Ok(())
    }

    /// Whether a few pulses may lead a cell to a bound: then hardly any part keeps off it.
    #[inline(always)]
    fn at_bound(&self, cell: &Cell) -> bool {
        let reach = FEW + MARGIN * self.std * FEW.sqrt();
        let (up, down) = (reach * cell.up.abs(), reach * cell.down.abs());
        (cell.w + up > cell.upper) | (cell.w - down < cell.lower)
    }

    /// Words of a part of the chunk: as many as have about [`PULSES`] pulses at a crosspoint. Of long parts
    /// few stay off the bounds, and of short ones the pulses fill few draws.
    #[inline(always)]
    fn part(&self) -> usize {
        let Trains { x, d, words } = self.trains;
        let ones = |trains: &[u64], width: usize| {
            let bits = trains.chunks_exact(2 * width).flat_map(|both| &both[..width]);
            let count: u64 = bits.map(|bits| u64::from(bits.count_ones())).sum();
            count as f64 / (trains.len() / (2 * width)).max(1) as f64 / width as f64
        };
        let each = ones(x, LANES) * ones(d, 1) / 64.0;
        // All words at most, one segment at least.
        let length = PULSES / each.max(PULSES / words.max(1) as f64);
        (length.ceil() as usize).next_multiple_of(SEGMENT)
    }

    /// Adds up a part where it stays off the bounds; the other cells go to `touching`.
    #[inline(always)]
    fn add_up(
        &self,
        words: std::ops::Range<usize>,
        first: usize,
        cells: &mut [Cell],
        touching: &mut Vec<u32>,
    ) {
        let batch = Batch::new(cells.iter());
        let (mut ups, mut downs) = ([0.0; LANES], [0.0; LANES]);
        for (lane, cell) in cells.iter().enumerate() {
            let (mut all, mut up) = (0, 0);
            for word in words.clone() {
                let (both, rise) = self.word(cell, word);
                all += both.count_ones();
                up += rise.count_ones();
            }
            (ups[lane], downs[lane]) = (up as f32, (all - up) as f32);
        }
        let zero = [0.0; LANES];
        let (mut change, mut deviation, mut inside) = (zero, zero, [0u32; LANES]);
        for lane in 0..LANES {
            let (up, down, w) = (batch.up[lane], batch.down[lane], batch.w[lane]);
            let (rise, fall) = (up * ups[lane], down * downs[lane]);
            let sigma = self.std * up.mul_add(rise, down * fall).sqrt();
            let margin = MARGIN * sigma;
            let fits = (w + rise + margin <= batch.upper[lane])
                & (w - fall - margin >= batch.lower[lane])
                & (up >= 0.0)
                & (down >= 0.0);
            let idle = ups[lane] + downs[lane] == 0.0;
            inside[lane] = u32::from(fits | idle);
            (change[lane], deviation[lane]) = (rise - fall, sigma);
        }
        if inside != [0; LANES] {
            let normals = self.normals(&batch, words.start / SEGMENT);
            for lane in 0..LANES {
                // The whole change is added at once, see `Rule::step`.
                change[lane] = deviation[lane].mul_add(normals[lane], change[lane]);
            }
        }
        for (lane, cell) in cells.iter_mut().enumerate() {
            if inside[lane] == 1 {
                cell.w += change[lane];
            } else {
                touching.push((first + lane) as u32);
            }
        }
    }

    /// Applies the pulses of a part one by one.
    #[inline(always)]
    fn walk(&self, words: std::ops::Range<usize>, group: &[u32], cells: &mut [Cell]) {
        let batch = Batch::new(group.iter().map(|at| &cells[*at as usize]));
        let waiting = Waiting::new(
            // Two halves of a word, each with evaluations of four pulses.
            words.start * 2 * (MOST as usize / 4),
            &batch.w,
            #[inline(always)]
            |quad| self.quad(&batch, quad),
            #[inline(always)]
            |lane, w, up, xi| {
                let step = select(up, batch.up[lane], -batch.down[lane]);
                let moved = step.mul_add(self.std.mul_add(xi, 1.0), w);
                clip(moved, batch.lower[lane], batch.upper[lane])
            },
        );
        let (mut count, mut up) = ([0; LANES], [0; LANES]);
        // First and further pulses of each word, for not all of them may be added at once.
        let mut halves = words.start * 2..words.end * 2;
        let w = waiting.walk(
            #[inline(always)]
            || {
                let half = halves.next()?;
                if half % 2 == 0 {
                    for (lane, at) in group.iter().enumerate() {
                        let (both, rise) = self.word(&cells[*at as usize], half / 2);
                        (count[lane], up[lane]) = (both.count_ones(), gather_bits(rise, both));
                    }
                }
                let (mut some, mut rise) = ([0; LANES], [0; LANES]);
                for lane in 0..LANES {
                    some[lane] = count[lane].min(MOST);
                    rise[lane] = up[lane] as u32;
                    count[lane] -= some[lane];
                    up[lane] >>= 32;
                }
                Some((some, rise))
            },
        );
        for (lane, at) in group.iter().enumerate() {
            cells[*at as usize].w = w[lane];
        }
    }

    /// Coincidences of a word, and those of them that go up.
    #[inline(always)]
    fn word(&self, cell: &Cell, word: usize) -> (u64, u64) {
        let words = self.trains.words;
        let (block, lane) = (cell.column as usize / LANES, cell.column as usize % LANES);
        let x = &self.trains.x[(block * words + word) * 2 * LANES..][..2 * LANES];
        let d = &self.trains.d[(cell.row as usize * words + word) * 2..][..2];
        let both = x[lane] & d[0];
        (both, both & (x[LANES + lane] ^ d[1]))
    }

    /// One draw for each cell.
    #[inline(always)]
    fn normals(&self, batch: &Batch, index: usize) -> [f32; LANES] {
        let mut out = [0.0; LANES];
        if self.std != 0.0 {
            let words = self.evaluate(batch, Kind::CellSums, index);
            for lane in 0..LANES {
                out[lane] = box_muller(words[0][lane], words[1][lane]).0;
            }
        }
        out
    }

    /// Four draws for each cell.
    #[inline(always)]
    fn quad(&self, batch: &Batch, index: usize) -> [[f32; LANES]; 4] {
        if self.std == 0.0 {
            return [[0.0; LANES]; 4];
        }
        normal_lanes(&self.evaluate(batch, Kind::Pulses, index))
    }

    #[inline(always)]
    fn evaluate(&self, batch: &Batch, kind: Kind, index: usize) -> Lanes {
        let above = self.positions.column(kind, 0);
        let mut columns = batch.columns;
        for column in &mut columns {
            *column |= above;
        }
        self.draw.lanes_at(columns, batch.rows, self.positions.block(index))
    }
}

impl Batch {
    #[inline(always)]
    fn new<'c>(cells: impl Iterator<Item = &'c Cell>) -> Self {
        let mut batch = Self {
            columns: [UNUSED; LANES],
            rows: [0; LANES],
            w: [0.0; LANES],
            up: [0.0; LANES],
            down: [0.0; LANES],
            upper: [0.0; LANES],
            lower: [0.0; LANES],
        };
        for (lane, cell) in cells.enumerate() {
            batch.columns[lane] = cell.column;
            batch.rows[lane] = cell.row;
            batch.w[lane] = cell.w;
            (batch.up[lane], batch.down[lane]) = (cell.up, cell.down);
            (batch.upper[lane], batch.lower[lane]) = (cell.upper, cell.lower);
        }
        batch
    }
}
