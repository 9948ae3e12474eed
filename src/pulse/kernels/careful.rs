//! The crosspoints of a row for which a segment is too long, those near bounds, kinks, or with coarse
//! steps, and those that are alone with their pulses.
//!
//! The former take it part by part, added up like the whole, and where a part is still too long, or would
//! be because a bound is near, pulse by pulse, as the latter do anyway. Apart from [`segments`](super::segments): compiled into one function
//! with them, they would take registers from what nearly all crosspoints go through.

use super::limits::FEW;
use super::line::{Fired, Line, PULSES, place};
use super::queue::{Numbers, Waiting};
use crate::devices::{AnyRule, Rule};
use crate::pulse::cells::LaneCells;
use crate::pulse::coincidences::Coincidences;
use crate::pulse::expansion::limits::MARGIN;
use crate::pulse::expansion::mixed::Pulses;
use crate::pulse::positions::{Kind, Positions};
use crate::pulse::trains::SLICE_BLOCKS;
use crate::rng::{Draw, LANES, UNUSED, normal_lanes};
use crate::simd::{self, Work};

/// Parts of a segment.
const PARTS: usize = 4;
/// Slices whose words are collected at a time: at most those of a part, for each has a pulse of the
/// error line.
const SLICES: usize = (PULSES as usize).div_ceil(PARTS);
/// Crosspoints of a block from which on the pulses of all are looked at in place: collecting the
/// words of 16 crosspoints takes as long as walking through a few more.
const CROWD: usize = 6;

/// A segment for the columns in [`Line::single`] and [`Line::careful`].
pub(super) struct Careful<'a, R> {
    pub(super) trains: Coincidences<'a>,
    pub(super) rule: R,
    pub(super) draw: Draw,
    pub(super) positions: Positions,
    pub(super) row: u32,
    /// Number of the segment.
    pub(super) index: usize,
    pub(super) segment: &'a [Fired],
    pub(super) line: &'a mut Line,
}

impl<R: Rule> Work for Careful<'_, R> {
    type Home = R;
    const SHARED: bool = R::SHARED;

    #[inline(always)]
    fn run(mut self) {
        let (index, segment) = (self.index, self.segment);
        let mut columns = std::mem::take(&mut self.line.careful);
        // Without a look at bounds: pulse by pulse is right everywhere.
        let mut single = std::mem::take(&mut self.line.single);
        self.sort_out(&mut columns, &mut single);
        self.localize(&columns);
        // All at once where no part would do, then part by part.
        let length = segment.len().div_ceil(PARTS);
        let parts = if columns.is_empty() { 0 } else { PARTS };
        let parts = segment.chunks(length).take(parts);
        for (part, fired) in std::iter::once(segment).chain(parts).enumerate() {
            if part > 0 {
                single.clear();
                for columns in columns.chunks(LANES) {
                    self.part(index * PARTS + part - 1, fired, columns, &mut single);
                }
            }
            self.one_by_one(fired, &single);
            self.localize(&single);
        }
        columns.clear();
        single.clear();
        (self.line.careful, self.line.single) = (columns, single);
    }

    fn run_shared(self) {
        let Self { trains, rule, draw, positions, row, index, segment, line } = self;
        let rule = AnyRule::new(&rule);
        simd::run(Careful { trains, rule, draw, positions, row, index, segment, line });
    }
}

impl<R: Rule> Careful<'_, R> {
    /// Moves those of `columns` to `single` that are so near a bound that no part of [`FEW`] pulses
    /// keeps off it.
    #[inline(always)]
    fn sort_out(&self, columns: &mut Vec<u32>, single: &mut Vec<u32>) {
        let mut kept = 0;
        for first in (0..columns.len()).step_by(LANES) {
            let mut group = [UNUSED; LANES];
            let lanes = LANES.min(columns.len() - first);
            group[..lanes].copy_from_slice(&columns[first..first + lanes]);
            let Group { cells, w } = Group::new(&group[..lanes], &self.line.cells, self.line);
            let mut near = [0u32; LANES];
            for lane in 0..LANES {
                let (w, cell) = (w[lane], cells.cell(lane));
                let reach = |up| {
                    let mean = self.rule.mean(w, up, cell);
                    // Deviation of the sum of as many pulses.
                    let noise = FEW.sqrt() * self.rule.noise(mean, w, up, cell).abs();
                    FEW.mul_add(mean.abs(), MARGIN * noise)
                };
                let (up, down) = (reach(true), reach(false));
                near[lane] = u32::from((w + up > cell.max_bound) | (w - down < cell.min_bound));
            }
            for (column, near) in group[..lanes].iter().zip(near) {
                if near == 1 {
                    single.push(*column);
                } else {
                    columns[kept] = *column;
                    kept += 1;
                }
            }
        }
        columns.truncate(kept);
    }

    /// Looks up the constants near the weights of some columns.
    #[inline(always)]
    fn localize(&mut self, columns: &[u32]) {
        if !self.rule.shape().local {
            return;
        }
        for column in columns {
            let (block, lane) = place(*column);
            let (w, cell) = (self.line.w[block][lane], self.line.cells[block].cell(lane));
            let found = self.rule.look_up(self.rule.place(w, cell));
            self.line.local[block].set(lane, self.rule.localize(w, cell, found));
        }
    }

    /// Applies part number `index` to some columns; those for which it is too long go to `single`.
    #[inline(always)]
    fn part(&mut self, index: usize, fired: &[Fired], columns: &[u32], single: &mut Vec<u32>) {
        let mut group = Group::new(columns, self.line.near(self.rule.shape().local), self.line);
        let mut x = [[0; LANES]; SLICES];
        self.gather(fired, columns, &mut x);
        let mut xi = [0.0; LANES];
        if self.rule.std() > 0.0 {
            let block = self.positions.block(index);
            let columns = self.positions_of(Kind::CellSums, columns);
            xi = normal_lanes(&self.draw.lanes_at(columns, [self.row; LANES], block))[0];
        }
        let pulses = Pulses::count(x.iter().zip(fired.iter().map(|fired| fired.d)));
        let fits = pulses.settle(self.rule, &group.cells, &xi, &mut group.w);
        group.store(columns, self.line);
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

    /// Pulse after pulse for some columns, in ascending order.
    #[inline(always)]
    fn one_by_one(&mut self, fired: &[Fired], columns: &[u32]) {
        let block = |columns: &[u32]| columns.first().map(|column| place(*column).0);
        let blocks = || columns.chunk_by(|a, b| place(*a).0 == place(*b).0);
        let mut scattered = std::mem::take(&mut self.line.scattered);
        blocks().filter(|few| few.len() < CROWD).for_each(|few| scattered.extend(few));
        let crowds = blocks().filter(|many| many.len() >= CROWD).map(|many| (many, block(many)));
        let mut gathered = [[0; LANES]; SLICES];
        // One place for both, for the code of the walk is long.
        for (columns, block) in crowds.chain(scattered.chunks(LANES).map(|some| (some, None))) {
            self.walk(fired, columns, block, &mut gathered);
        }
        scattered.clear();
        self.line.scattered = scattered;
    }

    /// Pulse after pulse for up to [`LANES`] columns, those of `block`, or wherever they are.
    #[inline(always)]
    fn walk(
        &mut self,
        fired: &[Fired],
        columns: &[u32],
        block: Option<usize>,
        gathered: &mut [[u32; LANES]; SLICES],
    ) {
        let mut all = [UNUSED; LANES];
        let mut group = if let Some(block) = block {
            columns.iter().for_each(|column| all[place(*column).1] = *column);
            Group { cells: self.line.cells[block], w: self.line.w[block] }
        } else {
            all[..columns.len()].copy_from_slice(columns);
            Group::new(columns, &self.line.cells, self.line)
        };
        let slices = if block.is_some() { fired.len() } else { SLICES };
        for fired in fired.chunks(slices) {
            if block.is_none() {
                self.gather(fired, columns, gathered);
            }
            let in_place = block.map(|block| &self.trains.x[block * self.trains.slices * LANES..]);
            group.w = self.pulses(fired, &all, in_place, gathered, &group);
        }
        match block {
            Some(block) => self.line.w[block] = group.w,
            None => group.store(columns, self.line),
        }
    }

    /// Weights after the pulses of some slices, one after another. The words of all slices of a block are
    /// `in_place`, or those of these slices `gathered`.
    #[inline(always)]
    fn pulses(
        &self,
        fired: &[Fired],
        columns: &[u32; LANES],
        in_place: Option<&[u32]>,
        gathered: &[[u32; LANES]; SLICES],
        group: &Group,
    ) -> [f32; LANES] {
        let used = columns.map(|column| if column == UNUSED { 0 } else { u32::MAX });
        let at = self.positions_of(Kind::Pulses, columns);
        let first = fired.first().map_or(0, |fired| fired.slice as usize * SLICE_BLOCKS);
        let Group { cells, w } = group;
        let waiting = Waiting::new(
            first,
            w,
            #[inline(always)]
            |quad| {
                if self.rule.std() <= 0.0 {
                    return [[0.0; LANES]; 4];
                }
                let block = self.positions.block(quad);
                normal_lanes(&self.draw.lanes_at(at, [self.row; LANES], block))
            },
            #[inline(always)]
            |lane, w, up, xi| cells.clip(lane, w, self.rule.step(w, up, cells.cell(lane), xi)),
        );
        let mut words = fired.iter().enumerate();
        waiting.walk(
            #[inline(always)]
            || {
                let (index, fired) = words.next()?;
                let x = match in_place {
                    Some(x) => x[fired.slice as usize * LANES..].first_chunk::<LANES>()?,
                    None => gathered.get(index)?,
                };
                let mut pulses = Numbers::new(x, fired.d);
                let mut up = [0; LANES];
                for lane in 0..LANES {
                    pulses.count[lane] &= used[lane];
                    // A slice has less than 32 pulses.
                    let all = (1 << (pulses.count[lane] % 32)) - 1;
                    up[lane] = if pulses.up[lane] != 0 { all } else { 0 };
                }
                Some((pulses.count, up))
            },
        )
    }

    #[inline(always)]
    fn positions_of(&self, kind: Kind, columns: &[u32]) -> [u32; LANES] {
        let mut out = [UNUSED; LANES];
        for (out, column) in out.iter_mut().zip(columns) {
            if *column != UNUSED {
                *out = self.positions.column(kind, *column as usize);
            }
        }
        out
    }
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
