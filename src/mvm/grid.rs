//! The product of a layer that is split over a grid of tiles: products of input parts are summed,
//! those of output parts stand side by side.
//!
//! Threads share the samples, and each goes with some of them through all tiles. So the threads meet
//! once per layer, and what a tile computes is still in the cache when it is added up. Every tile
//! does with a sample what it does alone: the bits are those of one tile after another.

use std::ops::Range;

use super::call::Call;
use super::columns::Columns;
use super::direction::Direction;
use super::lines::Lines;
use super::periphery::Outputs;
use super::request::{Sizes, check_rows, check_samples};
use super::rows::{RowsMut, for_each_in_rounds};
use super::spec::Mvm;
use crate::error::{Error, Result};
use crate::memory;
use crate::par::Par;
use crate::rng::Key;
use crate::scratch;
use crate::simd::{self, Work};

/// Rows that one thread takes at once: what a tile makes of them stays in the second-level cache,
/// and the weights, which each piece reads once, are worth reading.
const PIECE_ROWS: usize = 64;
/// The same for transposed products, which copy the weights to panels once for each piece.
const PIECE_ROWS_BACK: usize = 256;

/// One tile of a grid.
#[derive(Debug)]
pub struct GridTile<'a> {
    /// Its product in one direction, without an analog bias.
    pub mvm: &'a Mvm,
    /// Its inputs, one row per sample.
    pub x: Columns<'a>,
    /// As for [`Request`](super::Request).
    pub weights: &'a [f32],
    /// As for [`Request`](super::Request).
    pub key: Key,
    /// As for [`Request`](super::Request).
    pub lines: Lines<'a>,
    /// As for [`Request`](super::Request).
    pub running: Option<&'a mut f32>,
    /// As for [`Request`](super::Request), rows of the outputs of this tile.
    pub mask: Option<&'a mut [u8]>,
    /// What is done digitally with its outputs before they are summed.
    pub outputs: Outputs<'a>,
}

/// Arguments of [`Grid::run`].
#[derive(Debug)]
pub struct Grid<'a> {
    /// Tiles by input part. Those of one part have their outputs side by side, and the outputs of
    /// the parts are summed in their order.
    pub parts: Vec<Vec<GridTile<'a>>>,
    /// Number of samples.
    pub samples: usize,
    /// Whether running averages of noise management stay as they are.
    pub is_test: bool,
    /// Added to the outputs at last, one per output; empty for none.
    pub offset: &'a [f32],
    /// Outputs `[samples, outputs]`.
    pub y: &'a mut [f32],
}

impl Grid<'_> {
    /// Computes the product of a batch, with the bits of one tile after another.
    ///
    /// # Errors
    /// As for [`Mvm::run`]; running averages are then as before.
    pub fn run(self) -> Result<()> {
        let width = self.check()?;
        let Self { parts, samples, is_test, offset, y } = self;
        if samples == 0 || width == 0 {
            return Ok(());
        }
        let (mut tiles, mut masks, mut runnings) = (Vec::new(), Vec::new(), Vec::new());
        let last = parts.len() - 1;
        for (number, part) in parts.into_iter().enumerate() {
            let mut first = 0;
            for GridTile { mvm, x, weights, key, lines, running, mask, outputs } in part {
                let n_out = mvm.n_out();
                let offset = if number == last && !offset.is_empty() {
                    &offset[first..first + n_out]
                } else {
                    &[]
                };
                let place = Place { first, adds: number > 0, outputs, offset };
                tiles.push(Tile { mvm, x, weights, key, lines, place });
                masks.push(mask.map(|mask| RowsMut::new(mask, n_out)));
                runnings.push(running);
                first += n_out;
            }
        }
        let mut averages = Vec::new();
        for (tile, running) in tiles.iter().zip(&mut runnings) {
            averages.push(tile.averages(samples, running.as_deref().copied(), is_test)?);
        }
        let named = tiles.iter().zip(&averages);
        let jobs: Vec<Job<'_>> =
            named.map(|(tile, (averages, _))| tile.job(samples, averages)).collect();
        share(&jobs, samples, RowsMut::new(y, width), masks)?;
        for (running, (_, average)) in runnings.into_iter().zip(averages) {
            if let (Some(running), Some(average)) = (running, average) {
                *running = average;
            }
        }
        Ok(())
    }

    /// Checks all sizes and returns the number of outputs.
    fn check(&self) -> Result<usize> {
        let outputs = |part: &Vec<GridTile<'_>>| part.iter().map(|tile| tile.mvm.n_out()).sum();
        let width: usize = self.parts.first().map_or(0, outputs);
        check_samples(self.samples)?;
        check_rows("y", self.y.len(), self.samples, width)?;
        if !self.offset.is_empty() {
            Error::check_len("offset", self.offset.len(), width)?;
        }
        for part in &self.parts {
            Error::check_len("part", outputs(part), width)?;
            part.iter().try_for_each(|tile| tile.check(self.samples))?;
        }
        Ok(width)
    }
}

impl GridTile<'_> {
    fn check(&self, samples: usize) -> Result<()> {
        let (mvm, n_out) = (self.mvm, self.mvm.n_out());
        Error::check_len("weights", self.weights.len(), mvm.d_size * mvm.x_size)?;
        Error::check_len("x", self.x.width, mvm.n_in())?;
        if !self.x.fits(samples) {
            let Columns { data, stride, first, width } = self.x;
            let expected = format!("{samples} samples of {stride} with columns {first} + {width}");
            let got = format!("{} elements", data.len());
            return Err(Error::Shape { argument: "x", expected, got });
        }
        if let Some(mask) = &self.mask {
            check_rows("mask", mask.len(), samples, n_out)?;
        }
        self.outputs.check(n_out)?;
        mvm.check_lines(&self.lines, self.running.is_some())
    }
}

/// What threads share of a tile.
struct Tile<'a> {
    mvm: &'a Mvm,
    x: Columns<'a>,
    weights: &'a [f32],
    key: Key,
    lines: Lines<'a>,
    place: Place<'a>,
}

impl<'a> Tile<'a> {
    /// Scales of all samples by the running average, where that is used, and the average after them.
    fn averages(
        &self,
        samples: usize,
        running: Option<f32>,
        is_test: bool,
    ) -> Result<(Vec<f32>, Option<f32>)> {
        if self.mvm.perfect || !self.mvm.scale.averages() {
            return Ok((Vec::new(), None));
        }
        let mut scales = memory::filled(0.0, samples)?;
        let first = running.unwrap_or(-1.0);
        let average = self.mvm.average(&mut scales, self.x, None, first, is_test);
        Ok((scales, Some(average)))
    }

    fn job(&'a self, samples: usize, averages: &'a [f32]) -> Job<'a> {
        let Self { mvm, x, weights, key, lines, place } = self;
        let (n_in, n_out) = (mvm.n_in(), mvm.n_out());
        let sizes = Sizes { samples, given: n_in, n_in, n_out };
        let weights = mvm.matrix(weights, n_in, n_out);
        let call = Call {
            mvm,
            sizes,
            weights,
            lines: *lines,
            x: *x,
            bias: None,
            key: *key,
            averages,
            is_shared: true,
        };
        Job { call, place: *place }
    }
}

/// A tile at work.
struct Job<'a> {
    call: Call<'a>,
    place: Place<'a>,
}

/// What becomes of the outputs of a tile.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The first of their columns.
    first: usize,
    /// Whether they are added to what is there.
    adds: bool,
    outputs: Outputs<'a>,
    /// Added afterwards; empty for nothing.
    offset: &'a [f32],
}

/// Lets the threads take pieces of the rows until all tiles have seen all samples.
fn share(
    jobs: &[Job<'_>],
    samples: usize,
    y: RowsMut<'_, f32>,
    masks: Vec<Option<RowsMut<'_, u8>>>,
) -> Result<()> {
    let row_ns: f64 = jobs.iter().map(|job| job.call.mvm.estimate_ns(&job.call.sizes, 1)).sum();
    let par = Par::of(row_ns * samples as f64);
    let most = match jobs.first().map(|job| job.call.mvm.direction) {
        Some(Direction::Backward) => PIECE_ROWS_BACK,
        _ => PIECE_ROWS,
    };
    let height = most.min(samples.div_ceil(par.threads()));
    for_each_in_rounds(par, height, (0..samples, y, masks), &|(rows, y, masks)| {
        piece(jobs, rows, y, masks)
    })
}

/// All tiles with some of the samples, in one thread.
fn piece(
    jobs: &[Job<'_>],
    rows: Range<usize>,
    y: RowsMut<'_, f32>,
    masks: Vec<Option<RowsMut<'_, u8>>>,
) -> Result<()> {
    let widest = jobs.iter().map(|job| job.call.sizes.n_out).max().unwrap_or(0);
    scratch::floats(rows.len() * widest, |z| {
        for (job, mask) in jobs.iter().zip(masks) {
            let n_out = job.call.sizes.n_out;
            let z = &mut z[..rows.len() * n_out];
            job.call.rows(rows.start, z, mask.map(|mask| mask.data))?;
            simd::run(Put { z, n_out, y: &mut *y.data, width: y.width, place: job.place });
        }
        Ok(())
    })
}

/// Outputs of a tile on their way to their place, row by row.
struct Put<'a> {
    z: &'a mut [f32],
    n_out: usize,
    y: &'a mut [f32],
    width: usize,
    place: Place<'a>,
}

impl Work for Put<'_> {
    type Home = Self;

    #[inline(always)]
    fn run(self) {
        let Place { first, adds, outputs, offset } = self.place;
        let rows = self.y.chunks_exact_mut(self.width);
        for (z, y) in self.z.chunks_exact_mut(self.n_out).zip(rows) {
            let y = &mut y[first..][..z.len()];
            outputs.scale(z);
            if adds {
                y.iter_mut().zip(z.iter()).for_each(|(y, z)| *y += z);
            } else {
                y.copy_from_slice(z);
            }
            y.iter_mut().zip(offset).for_each(|(y, offset)| *y += offset);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::config::IoParameters;
    use crate::mvm::{Direction, Request};

    const SAMPLES: usize = 70;
    const INPUTS: [usize; 2] = [9, 7];
    const OUTPUTS: [usize; 3] = [5, 4, 4];

    fn values(len: usize, seed: u64) -> Vec<f32> {
        let mut out = vec![0.0; len];
        Key::new(seed, 0).stream(crate::rng::Stream::Weights).fill_normal(0, 0, &mut out);
        out
    }

    /// What tiles give one after another, and what they give together.
    fn both(io: &IoParameters, offset: &[f32]) -> [Vec<f32>; 2] {
        let (n_in, width): (usize, usize) = (INPUTS.iter().sum(), OUTPUTS.iter().sum());
        let x = values(SAMPLES * n_in, 1);
        let factors = [0.5, 3.0];
        let (mut alone, mut together) = (vec![0.0; SAMPLES * width], vec![9.0; SAMPLES * width]);
        let mut tiles = Vec::new();
        let mut column = 0;
        for inputs in INPUTS {
            for outputs in OUTPUTS {
                let mvm = Mvm::new(io, Direction::Forward, outputs, inputs).unwrap();
                tiles.push((mvm, column, values(inputs * outputs, tiles.len() as u64 + 2)));
            }
            column += inputs;
        }
        let factor_slices: [&[f32]; 2] = [&factors[..1], &factors[1..]];
        let outputs = Outputs { factors: &factor_slices, offset: &[] };
        for (number, (mvm, column, weights)) in tiles.iter().enumerate() {
            let part: Vec<f32> =
                x.chunks(n_in).flat_map(|row| row[*column..][..mvm.n_in()].to_vec()).collect();
            let mut y = vec![0.0; SAMPLES * mvm.n_out()];
            mvm.run(Request {
                x: &part,
                bias: None,
                drop_last: false,
                weights,
                y: &mut y,
                key: Key::new(number as u64, 1),
                is_test: true,
                lines: Lines::default(),
                running: None,
                mask: None,
            })
            .unwrap();
            outputs.apply(&mut y, mvm.n_out()).unwrap();
            let first: usize = OUTPUTS[..number % OUTPUTS.len()].iter().sum();
            for (row, y) in alone.chunks_mut(width).zip(y.chunks(mvm.n_out())) {
                row[first..].iter_mut().zip(y).for_each(|(sum, y)| *sum += y);
            }
        }
        for row in alone.chunks_mut(width) {
            row.iter_mut().zip(offset).for_each(|(y, offset)| *y += offset);
        }
        let mut grid = tiles.iter().enumerate().map(|(number, (mvm, column, weights))| GridTile {
            mvm,
            x: Columns { data: &x, stride: n_in, first: *column, width: mvm.n_in() },
            weights,
            key: Key::new(number as u64, 1),
            lines: Lines::default(),
            running: None,
            mask: None,
            outputs,
        });
        let parts =
            INPUTS.iter().map(|_| grid.by_ref().take(OUTPUTS.len()).collect::<Vec<_>>()).collect();
        let y = &mut together;
        Grid { parts, samples: SAMPLES, is_test: true, offset, y }.run().unwrap();
        [alone, together]
    }

    #[test]
    fn tiles_together_have_the_bits_of_tiles_one_after_another() {
        let exact = IoParameters { is_perfect: true, ..IoParameters::default() };
        let clipped = IoParameters { out_bound: 2.0, ..IoParameters::default() };
        for io in [exact, IoParameters::default(), clipped] {
            for offset in [vec![], values(OUTPUTS.iter().sum(), 30)] {
                let [alone, together] = both(&io, &offset);
                assert_eq!(alone, together);
            }
        }
    }

    #[test]
    fn columns_beyond_the_inputs_are_refused() {
        let mvm = Mvm::new(&IoParameters::default(), Direction::Forward, 2, 3).unwrap();
        let (x, weights) = ([1.0; 8], [0.1; 6]);
        let mut y = [0.0; 4];
        let tile = GridTile {
            mvm: &mvm,
            x: Columns { data: &x, stride: 4, first: 2, width: 3 },
            weights: &weights,
            key: Key::new(0, 1),
            lines: Lines::default(),
            running: None,
            mask: None,
            outputs: Outputs::default(),
        };
        let parts = vec![vec![tile]];
        let grid = Grid { parts, samples: 2, is_test: true, offset: &[], y: &mut y };
        assert!(matches!(grid.run(), Err(Error::Shape { argument: "x", .. })));
    }
}
