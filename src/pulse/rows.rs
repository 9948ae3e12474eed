//! Blocks of rows, the unit of parallel work, and the positions of their draws.

use rayon::prelude::*;

use super::Update;
pub(super) use crate::devices::select;
use crate::devices::{CellRef, Device, MAX_EXTRA, PlaneRef, Rule, WriteNoise, position};
use crate::error::{Error, Result};
use crate::par::{self, Par};
use crate::rng::{Draw, Key, LANES, Stream, normal_lanes};
use crate::scratch;

/// Copies of the rows that an update has changed, to put back if it fails.
///
/// A row is copied right before its first change, by the thread that changes it.
#[derive(Debug)]
pub(super) struct Saved<'a> {
    weights: &'a mut [f32],
    persistent: &'a mut [f32],
    /// 1 for rows that have been copied.
    begun: &'a mut [u32],
}

impl Saved<'_> {
    /// Runs `f` with nothing copied yet.
    pub(super) fn with<R>(
        update: &mut Update<'_>,
        f: impl FnOnce(&mut Update<'_>, &mut Saved<'_>) -> R,
    ) -> R {
        let cells = update.weights.len();
        let persistent = update.persistent.as_ref().map_or(0, |values| values.len());
        scratch::halves(update.device.d_size(), |begun| {
            begun.fill(0);
            scratch::floats(cells + persistent, |copies| {
                let (weights, persistent) = copies.split_at_mut(cells);
                f(update, &mut Saved { weights, persistent, begun })
            })
        })
    }

    /// Puts back what has been copied.
    pub(super) fn restore(&self, update: &mut Update<'_>) {
        let columns = update.device.x_size();
        let restore = |state: &mut [f32], saved: &[f32]| {
            let rows = state.chunks_mut(columns).zip(saved.chunks(columns)).zip(&*self.begun);
            for ((state, saved), _) in rows.filter(|(_, begun)| **begun == 1) {
                state.copy_from_slice(saved);
            }
        };
        restore(update.weights, self.weights);
        if let Some(values) = update.persistent.as_deref_mut() {
            restore(values, self.persistent);
        }
    }
}

/// The part of [`Saved`] that belongs to some rows.
#[derive(Debug)]
struct SavedRows<'a> {
    state: &'a mut [f32],
    visible: Option<&'a mut [f32]>,
    begun: &'a mut [u32],
}

/// Some rows of the state.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    /// Number of the first row.
    pub(super) first: usize,
    /// What pulses act on: the persistent weights where there are some, else the weights.
    pub(super) state: &'a mut [f32],
    /// Visible weights, where they differ from `state`.
    pub(super) visible: Option<&'a mut [f32]>,
    /// Coincidence counts, down and up.
    pub(super) counts: Option<[&'a mut [i64]; 2]>,
    saved: SavedRows<'a>,
}

impl Rows<'_> {
    /// Copies a row before its first change; every kernel calls this before it changes a row.
    pub(super) fn save(&mut self, local: usize) {
        let saved = &mut self.saved;
        let columns = self.state.len() / saved.begun.len();
        let row = local * columns..(local + 1) * columns;
        if std::mem::replace(&mut saved.begun[local], 1) == 0 {
            saved.state[row.clone()].copy_from_slice(&self.state[row.clone()]);
            if let (Some(copy), Some(visible)) = (&mut saved.visible, &self.visible) {
                copy[row.clone()].copy_from_slice(&visible[row]);
            }
        }
    }
}

impl Rows<'_> {
    /// Adds pulses down and up of the cells from `at` on to the counts, where there are some.
    #[inline(always)]
    pub(super) fn count(&mut self, at: usize, lanes: usize, pulses: [&[f32; LANES]; 2]) {
        if let Some(counts) = self.counts.as_mut() {
            for (counts, pulses) in counts.iter_mut().zip(pulses) {
                for lane in 0..lanes {
                    counts[at + lane] += pulses[lane] as i64;
                }
            }
        }
    }

    /// Redraws the noise of the visible weights of a row that `touched` marks, where there is some.
    pub(super) fn refresh(
        &mut self,
        local: usize,
        touched: &[bool],
        noise: Option<WriteNoise>,
        key: Key,
    ) {
        if let (Some(noise), Some(visible)) = (noise, self.visible.as_mut()) {
            let part = local * touched.len()..(local + 1) * touched.len();
            let row = self.first + local;
            let state = &self.state[part.clone()];
            refresh(&mut visible[part], state, touched, noise.std, key, row);
        }
    }
}

/// Cuts the state into blocks of `height` rows.
pub(super) fn split<'a>(
    update: &'a mut Update<'_>,
    saved: &'a mut Saved<'_>,
    height: usize,
) -> Vec<Rows<'a>> {
    let len = height * update.device.x_size();
    let (saved_weights, begun) = (saved.weights.chunks_mut(len), saved.begun.chunks_mut(height));
    let weights = update.weights.chunks_mut(len).zip(saved_weights);
    let mut counts: Vec<_> = match update.counts.as_deref_mut() {
        Some(all) => {
            let (down, up) = all.split_at_mut(all.len() / 2);
            down.chunks_mut(len).zip(up.chunks_mut(len)).map(|(d, u)| Some([d, u])).collect()
        }
        None => Vec::new(),
    };
    counts.resize_with(begun.len(), || None);
    let mut states: Vec<_> = match update.persistent.as_deref_mut() {
        Some(persistent) => {
            persistent.chunks_mut(len).zip(saved.persistent.chunks_mut(len)).map(Some).collect()
        }
        None => Vec::new(),
    };
    states.resize_with(begun.len(), || None);
    let parts = weights.zip(states).zip(counts).zip(begun).enumerate();
    let rows = parts.map(|(at, (((weights, persistent), counts), begun))| {
        let (state, visible) = match persistent {
            Some(persistent) => (persistent, Some(weights)),
            None => (weights, None),
        };
        let (visible, saved_visible) = visible.unzip();
        let saved = SavedRows { state: state.1, visible: saved_visible, begun };
        Rows { first: at * height, state: state.0, visible, counts, saved }
    });
    rows.collect()
}

/// Applies `f` to all blocks in parallel, with an interrupt check about every 100 ms.
pub(super) fn for_each(
    rows: &mut [Rows<'_>],
    block_ns: f64,
    f: impl Fn(&mut Rows<'_>) + Sync,
) -> Result<()> {
    for group in rows.chunks_mut(par::rows_per_check(block_ns / par::num_threads() as f64)) {
        par::check_interrupt()?;
        let f = |rows: &mut Rows<'_>| {
            f(rows);
            par::block_done();
        };
        par::run(block_ns * group.len() as f64, |par| match par {
            Par::Seq => group.iter_mut().for_each(f),
            Par::Rayon(_) => group.par_iter_mut().for_each(f),
        });
    }
    Ok(())
}

/// Draws for four blocks of columns.
pub(super) type Normals = [[f32; LANES]; 4];

/// Positions of the draws of one chunk of pulses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Positions {
    high: u32,
    block: u32,
}

/// What a cycle-to-cycle draw serves. The kind and the upper bits of the chunk stand above the
/// column, which has at most 20 bits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Sums of pulses of 64 neighbouring columns, 16 evaluations of four words.
    Sums = 0,
    /// Sums of pulses of one cell.
    CellSums = 1,
    /// Pulses of one cell, four per evaluation.
    Pulses = 2,
}

/// Bits of a block number that count within a chunk.
const INDEX_BITS: u32 = 15;
/// Bits of a block number that hold the lower part of the chunk.
const CHUNK_BITS: u32 = 9;

impl Positions {
    /// Positions of chunk number `chunk` of a call.
    ///
    /// # Errors
    /// [`Error::Argument`] when a call has more chunks than there are positions.
    pub(crate) fn new(chunk: usize) -> Result<Self> {
        if chunk >= 1 << (CHUNK_BITS + 10) {
            let why = "has too many samples for one update; split the batch".to_owned();
            return Err(Error::Argument { argument: "x", why });
        }
        let chunk = chunk as u32;
        let block = (chunk & ((1 << CHUNK_BITS) - 1)) << INDEX_BITS;
        Ok(Self { high: (chunk >> CHUNK_BITS) << 20, block })
    }

    /// Word that takes the place of the column.
    #[inline(always)]
    pub(crate) fn column(self, kind: Kind, column: usize) -> u32 {
        (kind as u32) << 30 | self.high | column as u32
    }

    /// Block of draw number `index` within the chunk.
    #[inline(always)]
    pub(crate) fn block(self, index: usize) -> u32 {
        debug_assert!(index < 1 << INDEX_BITS);
        self.block + index as u32
    }

    /// One draw for the sums of each of 64 columns from `first` on.
    #[inline(always)]
    pub(super) fn sums(self, draw: &Draw, row: usize, first: usize, index: usize) -> Normals {
        let column = self.column(Kind::Sums, first / 4);
        // Word `k` of evaluation `l` serves column `16 k + l` of the 64: no shuffling.
        normal_lanes(&draw.lanes(column, row as u32, self.block(index)))
    }
}

/// Constants of [`LANES`] neighbouring cells of one row; cells beyond the last column are stuck.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LaneCells {
    pub(super) max_bound: [f32; LANES],
    pub(super) min_bound: [f32; LANES],
    pub(super) up: [f32; LANES],
    pub(super) down: [f32; LANES],
    pub(super) extra: [[f32; LANES]; MAX_EXTRA],
}

impl LaneCells {
    #[inline(always)]
    pub(super) fn cell(&self, lane: usize) -> CellRef {
        CellRef {
            max_bound: self.max_bound[lane],
            min_bound: self.min_bound[lane],
            up: self.up[lane],
            down: self.down[lane],
            // Written out: the compiler vectorises no loop around `map`.
            extra: [
                self.extra[0][lane],
                self.extra[1][lane],
                self.extra[2][lane],
                self.extra[3][lane],
            ],
        }
    }

    #[inline(always)]
    pub(super) fn set(&mut self, lane: usize, cell: CellRef) {
        (self.max_bound[lane], self.min_bound[lane]) = (cell.max_bound, cell.min_bound);
        (self.up[lane], self.down[lane]) = (cell.up, cell.down);
        self.extra[0][lane] = cell.extra[0];
        self.extra[1][lane] = cell.extra[1];
        self.extra[2][lane] = cell.extra[2];
        self.extra[3][lane] = cell.extra[3];
    }

    /// The constants that `rule` reads.
    #[inline(always)]
    pub(super) fn prepare<R: Rule>(mut self, rule: R) -> Self {
        for lane in 0..LANES {
            self.set(lane, rule.prepare(self.cell(lane)));
        }
        self
    }

    /// The constants that `rule` reads near the weights `w`.
    #[inline(always)]
    pub(super) fn localize<R: Rule>(mut self, rule: R, w: &[f32; LANES]) -> Self {
        let (mut places, mut found) = ([0; LANES], [[0.0; LANES]; 4]);
        for lane in 0..LANES {
            places[lane] = rule.place(w[lane], self.cell(lane));
        }
        for lane in 0..LANES {
            let values = rule.look_up(places[lane]);
            found[0][lane] = values[0];
            found[1][lane] = values[1];
            found[2][lane] = values[2];
            found[3][lane] = values[3];
        }
        let from = self;
        for lane in 0..LANES {
            let values = [found[0][lane], found[1][lane], found[2][lane], found[3][lane]];
            self.set(lane, rule.localize(w[lane], from.cell(lane), values));
        }
        self
    }

    #[inline(always)]
    pub(super) fn clip(&self, lane: usize, w: f32) -> f32 {
        clip(w, self.min_bound[lane], self.max_bound[lane])
    }
}

/// What the kernels read of the devices.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planes<'a> {
    pub(super) x_size: usize,
    base: [PlaneRef<'a>; 4],
    extra: [PlaneRef<'a>; MAX_EXTRA],
    /// Weight of the reference device.
    reference: PlaneRef<'a>,
}

impl<'a> Planes<'a> {
    pub(super) fn new(device: &Device, planes: &[PlaneRef<'a>]) -> Self {
        let mut extra = [PlaneRef::Constant(0.0); MAX_EXTRA];
        for (slot, plane) in extra.iter_mut().zip(planes.iter().skip(device.first_extra())) {
            *slot = *plane;
        }
        let base = [position::MAX_BOUND, position::MIN_BOUND, position::UP, position::DOWN];
        let reference = device.reference().map_or(PlaneRef::Constant(0.0), |at| planes[at]);
        Self { x_size: device.x_size(), base: base.map(|at| planes[at]), extra, reference }
    }

    /// Constants of the cells from `column` on in `row`.
    #[inline(always)]
    pub(super) fn lanes(&self, row: usize, column: usize) -> LaneCells {
        let count = LANES.min(self.x_size - column);
        let at = row * self.x_size + column;
        let mut cells = LaneCells {
            max_bound: lanes_of(self.base[0], at, count),
            min_bound: lanes_of(self.base[1], at, count),
            up: lanes_of(self.base[2], at, count),
            down: lanes_of(self.base[3], at, count),
            extra: [[0.0; LANES]; MAX_EXTRA],
        };
        // A loop, for `map` would be a call.
        for (extra, plane) in cells.extra.iter_mut().zip(&self.extra) {
            *extra = lanes_of(*plane, at, count);
        }
        let reference = lanes_of(self.reference, at, count);
        for lane in 0..LANES {
            cells.max_bound[lane] -= reference[lane];
            cells.min_bound[lane] -= reference[lane];
        }
        cells
    }

    /// Copies the base constants of `count` cells from `column` on in `row`.
    #[inline(always)]
    pub(super) fn copy<const N: usize>(
        &self,
        row: usize,
        column: usize,
        count: usize,
        out: &mut [[f32; N]],
    ) {
        let at = row * self.x_size + column;
        for (out, plane) in out.iter_mut().zip(&self.base) {
            match plane {
                PlaneRef::Constant(value) => out.fill(*value),
                PlaneRef::Values(values) => copy(&values[at..at + count], out),
            }
        }
    }

    /// Constants of one cell.
    #[inline(always)]
    pub(super) fn cell(&self, row: usize, column: usize) -> CellRef {
        let at = row * self.x_size + column;
        let [max_bound, min_bound, up, down] = self.base.map(|plane| plane.at(at));
        let extra = self.extra.map(|plane| plane.at(at));
        let reference = self.reference.at(at);
        let (max_bound, min_bound) = (max_bound - reference, min_bound - reference);
        CellRef { max_bound, min_bound, up, down, extra }
    }
}

/// `w` within bounds. Comparisons, for `f32::max` and `f32::min` also look for NaN, which would be
/// two more instructions in the innermost loops.
#[inline(always)]
pub(super) fn clip(w: f32, lower: f32, upper: f32) -> f32 {
    smaller(larger(w, lower), upper)
}

/// The larger of two numbers.
#[inline(always)]
pub(super) fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The smaller of two numbers.
#[inline(always)]
pub(super) fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// Values of up to [`LANES`] cells from `at` on.
#[inline(always)]
fn lanes_of(plane: PlaneRef<'_>, at: usize, count: usize) -> [f32; LANES] {
    match plane {
        PlaneRef::Constant(value) => [value; LANES],
        PlaneRef::Values(values) => load(values, at, count),
    }
}

/// Loads `count` of [`LANES`] values from `at` on; the others are 0.
#[inline(always)]
pub(super) fn load(values: &[f32], at: usize, count: usize) -> [f32; LANES] {
    let values = &values[at..at + count];
    if let Some(all) = values.first_chunk::<LANES>() {
        return *all;
    }
    let mut out = [0.0; LANES];
    for (out, value) in out.iter_mut().zip(values) {
        *out = *value;
    }
    out
}

/// Copies up to `N` values; a fixed number takes no call.
#[inline(always)]
pub(super) fn copy<const N: usize>(values: &[f32], out: &mut [f32; N]) {
    match values.first_chunk() {
        Some(all) => *out = *all,
        None => out[..values.len()].copy_from_slice(values),
    }
}

/// Writes the values of up to [`LANES`] cells.
#[inline(always)]
pub(super) fn store(values: &[f32; LANES], out: &mut [f32]) {
    if let Some(all) = out.first_chunk_mut::<LANES>() {
        *all = *values;
        return;
    }
    // A loop, for a copy would be joined with that above to one of any length, which is a call.
    for (out, value) in out.iter_mut().zip(values) {
        *out = *value;
    }
}

/// Redraws the noise of the visible weights of cells that `touched` marks.
fn refresh(visible: &mut [f32], state: &[f32], touched: &[bool], std: f32, key: Key, row: usize) {
    let draw = key.stream(Stream::WriteNoise);
    for (column, ((w, p), touched)) in visible.iter_mut().zip(state).zip(touched).enumerate() {
        if *touched {
            *w = std.mul_add(draw.normal(column as u32, row as u32, 0), *p);
        }
    }
}
