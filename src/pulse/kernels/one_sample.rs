//! The update with a single sample, for steps that vary slowly with the weight or not at all.
//!
//! Each crosspoint takes its pulses at once, as [`expansion::one_way`](crate::pulse::expansion::one_way) has them; where they are
//! too many for that, one after another.

use std::ops::Range;

use super::queue::Numbers;
use crate::devices::{AnyRule, Rule, WriteNoise};
use crate::error::Result;
use crate::memory;
use crate::pulse::cells::{LaneCells, Planes, Target};
use crate::pulse::coincidences::Coincidences;
use crate::pulse::expansion::one_way::OneWay;
use crate::pulse::lanes::{load, store};
use crate::pulse::positions::{Kind, Positions};
use crate::pulse::trains::SIGN;
use crate::pulse::transaction::{Rows, for_each};
use crate::rng::{Draw, Key, LANES, Stream, UNUSED, normal_lanes};
use crate::simd::{self, Work};

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
    let block_ns = (HEIGHT * window.len() * LANES) as f64 * (1.5 + 0.3 * trains.slices as f64);
    let mut blocks = state.split(HEIGHT)?;
    // A write to one row is no work for several threads.
    blocks.retain(|rows| trains.any_fires(rows.first, HEIGHT));
    for_each(&mut blocks, block_ns, |rows| {
        let noisy = if write_noise.is_some() { planes.x_size } else { 0 };
        let touched = memory::filled(false, noisy)?;
        let careful = memory::room(planes.x_size)?;
        let draw = key.stream(Stream::CycleToCycle);
        let window = window.clone();
        simd::run(OneSample {
            rows,
            planes,
            trains,
            window,
            rule,
            key,
            draw,
            positions,
            write_noise,
            touched,
            careful,
        });
        Ok(())
    })
}

struct OneSample<'a, 'b, R> {
    rows: &'a mut Rows<'b>,
    planes: Planes<'a>,
    trains: Coincidences<'a>,
    /// Blocks of columns that may have pulses.
    window: Range<usize>,
    rule: R,
    key: Key,
    draw: Draw,
    positions: Positions,
    write_noise: Option<WriteNoise>,
    /// One value per column with write noise, otherwise none.
    touched: Vec<bool>,
    /// With room for all columns.
    careful: Vec<u32>,
}

impl<R: Rule> Work for OneSample<'_, '_, R> {
    type Home = R;
    const SHARED: bool = R::SHARED;

    #[inline(always)]
    fn run(mut self) {
        let columns = self.planes.x_size;
        let mut touched = std::mem::take(&mut self.touched);
        let mut careful = std::mem::take(&mut self.careful);
        for local in 0..self.rows.state.len() / columns {
            let row = self.rows.first + local;
            let slices = self.trains.slices;
            let d = &self.trains.d[row * slices..(row + 1) * slices];
            if d.iter().all(|d| d & !SIGN == 0) {
                continue;
            }
            self.rows.save(local);
            let Range { start, end } = self.window;
            for group in start / BLOCKS..end.div_ceil(BLOCKS) {
                let part = start.max(group * BLOCKS)..end.min((group + 1) * BLOCKS);
                self.blocks(local, part, d, &mut touched, &mut careful);
            }
            for group in careful.chunks(LANES) {
                self.one_by_one(local, d, group);
            }
            careful.clear();
            self.rows.refresh(local, &touched, self.write_noise, self.key);
        }
    }

    fn run_shared(self) {
        let rule = AnyRule::new(&self.rule);
        simd::run(OneSample {
            rule,
            rows: self.rows,
            planes: self.planes,
            trains: self.trains,
            window: self.window,
            key: self.key,
            draw: self.draw,
            positions: self.positions,
            write_noise: self.write_noise,
            touched: self.touched,
            careful: self.careful,
        });
    }
}

impl<'a, R: Rule> OneSample<'a, '_, R> {
    /// Applies the pulses of some blocks of columns that share their draws.
    #[inline(always)]
    fn blocks(
        &mut self,
        local: usize,
        blocks: Range<usize>,
        d: &[u32],
        touched: &mut [bool],
        careful: &mut Vec<u32>,
    ) {
        let columns = self.planes.x_size;
        let (mut normals, mut drawn) = ([[0.0; LANES]; BLOCKS], false);
        for block in blocks {
            let column = block * LANES;
            let pulses = OneWay::count(self.words(block).zip(d));
            let any = pulses.n.iter().fold(0, |any, n| any | n.to_bits()) != 0;
            if any && !drawn {
                normals = self.normals(self.rows.first + local, block / BLOCKS * BLOCKS * LANES);
                drawn = true;
            }
            if any {
                self.block(local, column, &pulses, &normals[block % BLOCKS], careful);
            }
            let lanes = LANES.min(columns - column);
            if let Some(touched) = touched.get_mut(column..column + lanes) {
                for (touched, n) in touched.iter_mut().zip(pulses.n) {
                    *touched = n > 0.0;
                }
            }
        }
    }

    /// Words of [`LANES`] input lines.
    #[inline(always)]
    fn words(&self, block: usize) -> impl Iterator<Item = &'a [u32; LANES]> {
        let len = self.trains.slices * LANES;
        self.trains.x[block * len..(block + 1) * len].as_chunks::<LANES>().0.iter()
    }

    /// One draw for each column of [`BLOCKS`] blocks.
    #[inline(always)]
    fn normals(&self, row: usize, first: usize) -> [[f32; LANES]; BLOCKS] {
        if self.rule.std() == 0.0 {
            return [[0.0; LANES]; BLOCKS];
        }
        self.positions.sums(&self.draw, row, first, 0)
    }

    /// Applies the pulses of [`LANES`] columns.
    #[inline(always)]
    fn block(
        &mut self,
        local: usize,
        column: usize,
        pulses: &OneWay,
        xi: &[f32; LANES],
        careful: &mut Vec<u32>,
    ) {
        let columns = self.planes.x_size;
        let lanes = LANES.min(columns - column);
        let at = local * columns + column;
        let cells = self.planes.lanes(self.rows.first + local, column).prepare(self.rule);
        let w = load(self.rows.state, at, lanes);
        let cells = if self.rule.shape().local { cells.localize(self.rule, &w) } else { cells };
        let (moved, fits) = pulses.settle(self.rule, &cells, xi, &w);
        store(&moved, &mut self.rows.state[at..at + lanes]);
        if fits != [u32::MAX; LANES] {
            let lost = (0..lanes).filter(|lane| fits[*lane] == 0);
            careful.extend(lost.map(|lane| (column + lane) as u32));
        }
        let [down, up] = pulses.by_direction();
        self.rows.count(at, lanes, [&down, &up]);
    }

    /// Pulse after pulse for up to [`LANES`] columns.
    #[inline(always)]
    fn one_by_one(&mut self, local: usize, d: &[u32], group: &[u32]) {
        let row = self.rows.first + local;
        let state = &mut self.rows.state[local * self.planes.x_size..];
        let (mut cells, mut w) = (LaneCells::default(), [0.0; LANES]);
        let mut columns = [UNUSED; LANES];
        for (lane, column) in group.iter().enumerate() {
            cells.set(lane, self.rule.prepare(self.planes.cell(row, *column as usize)));
            w[lane] = state[*column as usize];
            columns[lane] = self.positions.column(Kind::Pulses, *column as usize);
        }
        // All slices are of one sample: all pulses of a crosspoint have one direction.
        let mut pulses = Numbers { count: [0; LANES], up: [0; LANES] };
        for (slice, d) in d.iter().enumerate() {
            let mut x = [0; LANES];
            for (x, column) in x.iter_mut().zip(group) {
                let (block, lane) = (*column as usize / LANES, *column as usize % LANES);
                *x = self.trains.x[(block * self.trains.slices + slice) * LANES + lane];
            }
            let more = Numbers::new(&x, *d);
            for lane in 0..LANES {
                pulses.count[lane] += more.count[lane];
                pulses.up[lane] |= if more.count[lane] > 0 { more.up[lane] } else { 0 };
            }
        }
        pulses.walk(
            &mut w,
            #[inline(always)]
            |quad| {
                if self.rule.std() <= 0.0 {
                    return [[0.0; LANES]; 4];
                }
                let block = self.positions.block(quad);
                normal_lanes(&self.draw.lanes_at(columns, [row as u32; LANES], block))
            },
            #[inline(always)]
            |lane, w, up, xi| cells.clip(lane, w, self.rule.step(w, up, cells.cell(lane), xi)),
        );
        for (lane, column) in group.iter().enumerate() {
            state[*column as usize] = w[lane];
        }
    }
}
