//! Steps that vary slowly with the weight: the pulses of a segment, a few samples, are added up in
//! their order.
//!
//! Each crosspoint takes a segment at once, drawn from its mean and variance as
//! [`expansion::mixed`](crate::pulse::expansion::mixed) has them; where it is too long for that, the crosspoint takes it in parts,
//! and where a part is still too long, pulse by pulse.

use super::queue::{Bits, walk};
use crate::devices::{Rule, WriteNoise};
use crate::error::Result;
use crate::memory;
use crate::pulse::cells::{LaneCells, Planes, Target};
use crate::pulse::coincidences::Coincidences;
use crate::pulse::expansion::mixed::Pulses;
use crate::pulse::lanes::{load, store};
use crate::pulse::positions::{Kind, Positions};
use crate::pulse::trains::SIGN;
use crate::pulse::transaction::{Rows, Tracked, for_each};
use crate::rng::{Draw, Key, LANES, Stream, UNUSED, normal_lanes};
use crate::simd::{self, Work};

/// Pulses of the error line after which a segment ends, so that few are too long: by relative steps of
/// 0.004 they reach [`MAX_CHANGE`](crate::pulse::expansion) where all of them meet one of the input
/// line. A segment takes one draw per crosspoint, however long it is.
const PULSES: u32 = 128;
/// Parts of a segment where the whole is too long.
const PARTS: usize = 4;
/// Most slices of a part: every slice of a segment has a pulse of the error line.
const PART_SLICES: usize = (PULSES as usize).div_ceil(PARTS);
/// Rows of one task.
const HEIGHT: usize = 16;
/// Blocks of columns whose draws come from one vector of evaluations.
const BLOCKS: usize = 4;

/// Applies all pulses of a chunk.
pub(crate) fn apply<R: Rule>(
    target: &Target<'_>,
    state: &mut Tracked<'_>,
    trains: Coincidences<'_>,
    rule: R,
    positions: Positions,
) -> Result<()> {
    let planes = Planes::new(target);
    let (key, write_noise) = (target.key, target.device.write_noise());
    let block_ns = (HEIGHT * planes.x_size) as f64 * (6.0 + 0.3 * trains.slices as f64);
    let mut blocks = state.split(HEIGHT)?;
    for_each(&mut blocks, block_ns, |rows| {
        let line = Line::new::<R>(planes.x_size)?;
        simd::run(Segments { rows, planes, trains, rule, key, positions, write_noise, line });
        Ok(())
    })
}

struct Segments<'a, 'b, R> {
    rows: &'a mut Rows<'b>,
    planes: Planes<'a>,
    trains: Coincidences<'a>,
    rule: R,
    key: Key,
    positions: Positions,
    write_noise: Option<WriteNoise>,
    line: Line,
}

/// A slice in which a row fires.
#[derive(Debug, Clone, Copy)]
struct Fired {
    slice: u32,
    d: u32,
    /// Whether it is the last of its segment.
    last: bool,
}

/// Weights and constants of a row.
#[derive(Default)]
struct Line {
    cells: Vec<LaneCells>,
    /// The constants near the weights, for rules that have such.
    local: Vec<LaneCells>,
    w: Vec<[f32; LANES]>,
    touched: Vec<bool>,
    /// Columns for which a segment is too long.
    careful: Vec<u32>,
    /// Those for which a part of it is too long.
    single: Vec<u32>,
}

impl Line {
    /// Memory for a row with `columns` cells.
    fn new<R: Rule>(columns: usize) -> Result<Self> {
        let blocks = columns.div_ceil(LANES);
        Ok(Self {
            cells: memory::filled(LaneCells::default(), blocks)?,
            local: memory::filled(LaneCells::default(), if R::LOCAL { blocks } else { 0 })?,
            w: memory::filled([0.0; LANES], blocks)?,
            touched: memory::filled(false, blocks * LANES)?,
            careful: memory::room(columns)?,
            single: memory::room(columns)?,
        })
    }

    /// The constants that hold near the weights.
    #[inline(always)]
    fn near<R: Rule>(&self) -> &[LaneCells] {
        if R::LOCAL { &self.local } else { &self.cells }
    }
}

impl<R: Rule> Work for Segments<'_, '_, R> {
    type Home = R;

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
                self.load(local, &mut line);
                self.row(local, &fired, &mut line);
                self.store(local, &line);
            }
        }
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

    #[inline(always)]
    fn load(&self, local: usize, line: &mut Line) {
        let columns = self.planes.x_size;
        for (block, (cells, w)) in line.cells.iter_mut().zip(&mut line.w).enumerate() {
            let column = block * LANES;
            let lanes = LANES.min(columns - column);
            *cells = self.planes.lanes(self.rows.first + local, column).prepare(self.rule);
            *w = load(self.rows.state, local * columns + column, lanes);
            if R::LOCAL {
                line.local[block] = cells.localize(self.rule, w);
            }
        }
        line.touched.fill(false);
    }

    #[inline(always)]
    fn store(&mut self, local: usize, line: &Line) {
        let columns = self.planes.x_size;
        let part = local * columns..(local + 1) * columns;
        let state = &mut self.rows.state[part.clone()];
        for (state, w) in state.chunks_mut(LANES).zip(&line.w) {
            store(w, state);
        }
        self.rows.refresh(local, &line.touched[..columns], self.write_noise, self.key);
    }

    #[inline(always)]
    fn row(&mut self, local: usize, fired: &[Fired], line: &mut Line) {
        let draw = self.key.stream(Stream::CycleToCycle);
        let row = (self.rows.first + local) as u32;
        for (index, segment) in fired.split_inclusive(|fired| fired.last).enumerate() {
            for first in (0..line.w.len()).step_by(BLOCKS) {
                let normals = self.normals(&draw, row, first, index);
                for block in first..line.w.len().min(first + BLOCKS) {
                    self.block(local, block, segment, &normals[block - first], line);
                }
            }
            if !line.careful.is_empty() {
                self.carefully(row, index, segment, line);
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

    /// Applies a segment to [`LANES`] columns.
    #[inline(always)]
    fn block(
        &mut self,
        local: usize,
        block: usize,
        segment: &[Fired],
        xi: &[f32; LANES],
        line: &mut Line,
    ) {
        let x = &self.trains.x[block * self.trains.slices * LANES..];
        let words = segment.iter().filter_map(|fired| {
            let x = x[fired.slice as usize * LANES..].first_chunk::<LANES>()?;
            Some((x, fired.d))
        });
        let pulses = Pulses::count(words);
        // Copies, of which the compiler knows that they do not overlap.
        let (cells, mut w) = (line.near::<R>()[block], line.w[block]);
        let fits = pulses.settle(self.rule, &cells, xi, &mut w);
        line.w[block] = w;
        let columns = self.planes.x_size;
        let lanes = LANES.min(columns - block * LANES);
        if fits != [u32::MAX; LANES] {
            let lost = (0..lanes).filter(|lane| fits[*lane] == 0);
            line.careful.extend(lost.map(|lane| (block * LANES + lane) as u32));
        }
        if self.write_noise.is_some() {
            for lane in 0..LANES {
                line.touched[block * LANES + lane] |= pulses.up[lane] + pulses.down[lane] > 0.0;
            }
        }
        let at = local * columns + block * LANES;
        self.rows.count(at, lanes, [&pulses.down, &pulses.up]);
    }

    /// Applies a segment part by part to the crosspoints for which it is too long as a whole, and
    /// where a part is too long as well, pulse after pulse.
    #[inline(always)]
    fn carefully(&self, row: u32, index: usize, segment: &[Fired], line: &mut Line) {
        let columns = std::mem::take(&mut line.careful);
        self.localize(&columns, line);
        let mut single = std::mem::take(&mut line.single);
        let length = segment.len().div_ceil(PARTS);
        for (part, fired) in segment.chunks(length).enumerate() {
            single.clear();
            for columns in columns.chunks(LANES) {
                self.part(row, index * PARTS + part, fired, columns, line, &mut single);
            }
            for columns in single.chunks(LANES) {
                self.one_by_one(row, fired, columns, line);
            }
            self.localize(&single, line);
        }
        (line.careful, line.single) = (columns, single);
        line.careful.clear();
    }

    /// Looks up the constants near the weights of some columns.
    #[inline(always)]
    fn localize(&self, columns: &[u32], line: &mut Line) {
        if !R::LOCAL {
            return;
        }
        for column in columns {
            let (block, lane) = place(*column);
            let (w, cell) = (line.w[block][lane], line.cells[block].cell(lane));
            let found = self.rule.look_up(self.rule.place(w, cell));
            line.local[block].set(lane, self.rule.localize(w, cell, found));
        }
    }

    /// Applies a part of a segment to some columns; those for which it is too long go to `single`.
    #[inline(always)]
    fn part(
        &self,
        row: u32,
        index: usize,
        fired: &[Fired],
        columns: &[u32],
        line: &mut Line,
        single: &mut Vec<u32>,
    ) {
        let mut group = Group::new(columns, line.near::<R>(), line);
        let mut x = [[0; LANES]; PART_SLICES];
        self.gather(fired, columns, &mut x);
        let mut xi = [0.0; LANES];
        if self.rule.std() > 0.0 {
            let block = self.positions.block(index);
            let draw = self.key.stream(Stream::CycleToCycle);
            let columns = self.columns(Kind::CellSums, columns);
            xi = normal_lanes(&draw.lanes_at(columns, [row; LANES], block))[0];
        }
        let pulses = Pulses::count(x.iter().zip(fired.iter().map(|fired| fired.d)));
        let fits = pulses.settle(self.rule, &group.cells, &xi, &mut group.w);
        group.store(columns, line);
        let lost = columns.iter().zip(fits).filter(|(_, fits)| *fits == 0);
        single.extend(lost.map(|(column, _)| column));
    }

    /// Words of the input lines of some columns.
    #[inline(always)]
    fn gather(&self, fired: &[Fired], columns: &[u32], x: &mut [[u32; LANES]]) {
        for (lane, column) in columns.iter().enumerate() {
            let (block, from) = place(*column);
            let trains = &self.trains.x[block * self.trains.slices * LANES..];
            for (x, fired) in x.iter_mut().zip(fired) {
                x[lane] = trains[fired.slice as usize * LANES + from];
            }
        }
    }

    /// Pulse after pulse for up to [`LANES`] columns.
    #[inline(always)]
    fn one_by_one(&self, row: u32, fired: &[Fired], columns: &[u32], line: &mut Line) {
        let mut group = Group::new(columns, &line.cells, line);
        let mut x = [[0; LANES]; PART_SLICES];
        self.gather(fired, columns, &mut x);
        let (mut from, mut pulses) = (0, 0);
        for to in 0..fired.len() {
            pulses += (fired[to].d & !SIGN).count_ones();
            let next = fired.get(to + 1).map_or(u32::MAX, |next| (next.d & !SIGN).count_ones());
            // As many slices as surely fit a queue.
            if next > Bits::SIZE - pulses {
                let slices = x[from..=to].iter().zip(fired[from..=to].iter().map(|fired| fired.d));
                self.walk(row, fired[from].slice, columns, Bits::new(slices), &mut group);
                (from, pulses) = (to + 1, 0);
            }
        }
        group.store(columns, line);
    }

    /// Applies the pulses of a queue whose first slice is `slice`.
    #[inline(always)]
    fn walk(&self, row: u32, slice: u32, columns: &[u32], queue: Bits, group: &mut Group) {
        let draw = self.key.stream(Stream::CycleToCycle);
        let columns = self.columns(Kind::Pulses, columns);
        let Group { cells, w } = group;
        walk(
            queue,
            w,
            #[inline(always)]
            |quad| {
                if self.rule.std() <= 0.0 {
                    return [[0.0; LANES]; 4];
                }
                // A slice has at most 31 pulses, four per evaluation.
                let block = self.positions.block(slice as usize * 8 + quad);
                normal_lanes(&draw.lanes_at(columns, [row; LANES], block))
            },
            #[inline(always)]
            |lane, w, up, xi| cells.clip(lane, w, self.rule.step(w, up, cells.cell(lane), xi)),
        );
    }

    #[inline(always)]
    fn columns(&self, kind: Kind, group: &[u32]) -> [u32; LANES] {
        let mut columns = [UNUSED; LANES];
        for (out, column) in columns.iter_mut().zip(group) {
            *out = self.positions.column(kind, *column as usize);
        }
        columns
    }
}

/// Block of columns and lane of a column.
#[inline(always)]
fn place(column: u32) -> (usize, usize) {
    (column as usize / LANES, column as usize % LANES)
}

/// Crosspoints of a row side by side, wherever they are.
struct Group {
    cells: LaneCells,
    w: [f32; LANES],
}

impl Group {
    #[inline(always)]
    fn new(columns: &[u32], cells: &[LaneCells], line: &Line) -> Self {
        let mut group = Self { cells: LaneCells::default(), w: [0.0; LANES] };
        for (lane, column) in columns.iter().enumerate() {
            let (block, from) = place(*column);
            group.w[lane] = line.w[block][from];
            group.cells.set(lane, cells[block].cell(from));
        }
        group
    }

    #[inline(always)]
    fn store(&self, columns: &[u32], line: &mut Line) {
        for (lane, column) in columns.iter().enumerate() {
            let (block, from) = place(*column);
            line.w[block][from] = self.w[lane];
        }
    }
}
