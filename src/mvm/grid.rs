//! The product of a layer that is split over a grid of tiles: products of input parts are summed,
//! those of output parts stand side by side, and so do those of groups.
//!
//! Threads share the samples, and each goes with some of them through all tiles. So the threads meet
//! once per layer, and what a tile computes is still in the cache when it is added up. Every tile
//! does with a sample what it does alone: the bits are those of one tile after another.

use std::ops::Range;

use super::call::Call;
use super::direction::Direction;
use super::inputs::Inputs;
use super::lines::Lines;
use super::patches::Patches;
use super::periphery::Outputs;
use super::request::{Sizes, check_rows, check_samples};
use super::rows::{Pieces, PlanesMut, RowsMut, for_each_in_rounds};
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
/// Inputs and outputs of a tile that one thread takes at once from images: of small tiles many rows, for
/// each call of a tile takes some time.
const PIECE_ELEMENTS: usize = 1 << 15;

/// One tile of a grid.
#[derive(Debug)]
pub struct GridTile<'a> {
    /// Its product in one direction, without an analog bias.
    pub mvm: &'a Mvm,
    /// Its inputs.
    pub x: Inputs<'a>,
    /// As for [`Request`](super::Request).
    pub weights: &'a [f32],
    /// As for [`Request`](super::Request).
    pub key: Key,
    /// As for [`Request`](super::Request).
    pub lines: Lines<'a>,
    /// As for [`Request`](super::Request).
    pub running: Option<&'a mut f32>,
    /// As for [`Request`](super::Request), of the outputs of this tile, in the layout of the outputs;
    /// not for folded ones.
    pub mask: Option<&'a mut [u8]>,
    /// What is done digitally with its outputs before they are summed.
    pub outputs: Outputs<'a>,
}

/// How the outputs of all samples lie in memory.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Layout<'a> {
    /// `[samples, outputs]`.
    Rows,
    /// `[images, outputs, positions]`: samples are so many positions of each image.
    Planes(usize),
    /// `[images, image]`: the outputs are patches, and elements of an image the sums of what all
    /// patches have in their place.
    Folded(&'a Patches),
}

/// Arguments of [`Grid::run`].
#[derive(Debug)]
pub struct Grid<'a> {
    /// Tiles by input part, those of the first group first. Those of one part have their outputs side by
    /// side, and the outputs of the parts of a group are summed in their order.
    pub parts: Vec<Vec<GridTile<'a>>>,
    /// Number of groups, whose outputs stand side by side.
    pub groups: usize,
    /// Number of samples.
    pub samples: usize,
    /// Whether running averages of noise management stay as they are.
    pub is_test: bool,
    /// Added to the outputs at last, one per output; empty for none.
    pub offset: &'a [f32],
    /// How the outputs lie in memory.
    pub layout: Layout<'a>,
    /// Outputs.
    pub y: &'a mut [f32],
}

impl Grid<'_> {
    /// Computes the product of a batch, with the bits of one tile after another.
    ///
    /// # Errors
    /// As for [`Mvm::run`]; running averages are then as before.
    pub fn run(self) -> Result<()> {
        let width = self.check()?;
        let Self { parts, groups, samples, is_test, offset, layout, y } = self;
        if samples == 0 || width == 0 {
            return Ok(());
        }
        let (mut tiles, mut masks, mut runnings) = (Vec::new(), Vec::new(), Vec::new());
        let count = parts.len() / groups;
        for (number, part) in parts.into_iter().enumerate() {
            let mut first = number / count * (width / groups);
            let (adds, is_last) = (number % count > 0, number % count == count - 1);
            for GridTile { mvm, x, weights, key, lines, running, mask, outputs } in part {
                let n_out = mvm.n_out();
                let offset =
                    if is_last && !offset.is_empty() { &offset[first..first + n_out] } else { &[] };
                let place = Place { first, adds, outputs, offset };
                tiles.push(Tile { mvm, x, weights, key, lines, place });
                masks.push(mask);
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
        Tiles { jobs, samples, width }.share(layout, y, masks)?;
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
        let each: usize = self.parts.first().map_or(0, outputs);
        let width = each * self.groups;
        if self.groups == 0 || !self.parts.len().is_multiple_of(self.groups) {
            let why = format!("{} cannot have {} parts", self.groups, self.parts.len());
            return Err(Error::Argument { argument: "groups", why });
        }
        check_samples(self.samples)?;
        self.check_layout(width)?;
        if !self.offset.is_empty() {
            Error::check_len("offset", self.offset.len(), width)?;
        }
        for part in &self.parts {
            Error::check_len("part", outputs(part), each)?;
            part.iter().try_for_each(|tile| tile.check(self.samples))?;
        }
        Ok(width)
    }

    fn check_layout(&self, width: usize) -> Result<()> {
        let positions = match self.layout {
            Layout::Rows => 1,
            Layout::Planes(positions) => positions,
            Layout::Folded(patches) => patches.positions(),
        };
        let images = self.samples.checked_div(positions).unwrap_or(0);
        if images * positions != self.samples {
            let (expected, got) = (format!("images of {positions}"), format!("{}", self.samples));
            return Err(Error::Shape { argument: "samples", expected, got });
        }
        let Layout::Folded(patches) = self.layout else {
            return check_rows("y", self.y.len(), self.samples, width);
        };
        Error::check_len("patches", patches.width(), width)?;
        if self.parts.iter().flatten().any(|tile| tile.mask.is_some()) || !self.offset.is_empty() {
            let why = "outputs that are added up have no mask and no offset".to_owned();
            return Err(Error::Argument { argument: "mask", why });
        }
        check_rows("y", self.y.len(), images, patches.image_len())
    }
}

impl GridTile<'_> {
    fn check(&self, samples: usize) -> Result<()> {
        let (mvm, n_out) = (self.mvm, self.mvm.n_out());
        Error::check_len("weights", self.weights.len(), mvm.d_size * mvm.x_size)?;
        Error::check_len("x", self.x.width(), mvm.n_in())?;
        self.x.check(samples)?;
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
    x: Inputs<'a>,
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
        let average = self.mvm.average(&mut scales, self.x, None, first, is_test)?;
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

/// All tiles at work.
struct Tiles<'a> {
    jobs: Vec<Job<'a>>,
    samples: usize,
    /// Outputs of all tiles.
    width: usize,
}

impl Tiles<'_> {
    /// Lets the threads take pieces of the samples until all tiles have seen all of them.
    fn share(
        &self,
        layout: Layout<'_>,
        y: &mut [f32],
        masks: Vec<Option<&mut [u8]>>,
    ) -> Result<()> {
        let estimate = |job: &Job<'_>| job.call.mvm.estimate_ns(&job.call.sizes, 1);
        let row_ns: f64 = self.jobs.iter().map(estimate).sum();
        let par = Par::of(row_ns * self.samples as f64);
        match layout {
            Layout::Rows => self.share_rows(par, y, masks),
            Layout::Planes(positions) => self.share_planes(par, positions, y, masks),
            Layout::Folded(patches) => self.share_images(par, patches, y),
        }
    }

    fn share_rows(&self, par: Par, y: &mut [f32], masks: Vec<Option<&mut [u8]>>) -> Result<()> {
        let height = self.rows_at_once().min(self.samples.div_ceil(par.threads()));
        let each = self.jobs.iter().zip(masks);
        let masks: Vec<_> = each
            .map(|(job, mask)| mask.map(|mask| RowsMut::new(mask, job.call.sizes.n_out)))
            .collect();
        let rows = (0..self.samples, RowsMut::new(y, self.width), masks);
        for_each_in_rounds(par, height, rows, &|(rows, y, masks)| self.rows(rows, y, masks))
    }

    fn share_planes(
        &self,
        par: Par,
        positions: usize,
        y: &mut [f32],
        masks: Vec<Option<&mut [u8]>>,
    ) -> Result<()> {
        let height = self.positions_at_once().min(self.samples.div_ceil(par.threads()));
        let line = self.jobs.first().map_or(1, |job| job.call.x.line());
        let height = if height < line { height } else { height / line * line };
        let each = self.jobs.iter().zip(masks);
        let mut masks: Vec<_> = each
            .map(|(job, mask)| {
                mask.map(|mask| mask.chunks_exact_mut(job.call.sizes.n_out * positions))
            })
            .collect();
        let images = y.chunks_exact_mut(self.width * positions).enumerate();
        let pieces = images.flat_map(move |(number, y)| {
            let masks: Vec<_> = masks
                .iter_mut()
                .map(|mask| mask.as_mut().and_then(Iterator::next))
                .map(|mask| mask.map(|mask| PlanesMut::new(mask, positions)))
                .collect();
            let samples = number * positions..(number + 1) * positions;
            Pieces::new((samples, PlanesMut::new(y, positions), masks), height)
        });
        par.for_each_in_rounds(pieces, |(rows, y, masks)| self.planes(rows, y, masks))
    }

    fn share_images(&self, par: Par, patches: &Patches, y: &mut [f32]) -> Result<()> {
        let (line, slab) = (patches.line(), patches.slab_len());
        let lines = self.positions_at_once().max(self.rows_at_once()) / line;
        let height = (lines * line).clamp(line, patches.positions());
        let images = y.chunks_exact_mut(patches.image_len()).enumerate();
        par.for_each_in_rounds(images, |(number, image)| {
            scratch::floats(slab + height * self.width, |buffer| {
                let (slab, block) = buffer.split_at_mut(slab);
                let first = number * patches.positions();
                patches.fold(image, slab, block, |from, block| {
                    let from = first + from;
                    let rows = from..from + block.len() / self.width;
                    self.rows(rows, RowsMut::new(block, self.width), Vec::new())
                })
            })
        })
    }

    /// Rows that a thread takes at once.
    fn rows_at_once(&self) -> usize {
        match self.jobs.first().map(|job| job.call.mvm.direction) {
            Some(Direction::Backward) => PIECE_ROWS_BACK,
            _ => PIECE_ROWS,
        }
    }

    /// Positions of an image that a thread takes at once.
    fn positions_at_once(&self) -> usize {
        let elements = |job: &Job<'_>| job.call.sizes.n_in + job.call.sizes.n_out;
        let most = self.jobs.iter().map(elements).max().unwrap_or(1);
        (PIECE_ELEMENTS / most).max(PIECE_ROWS)
    }

    /// The most outputs of a tile.
    fn widest(&self) -> usize {
        self.jobs.iter().map(|job| job.call.sizes.n_out).max().unwrap_or(0)
    }

    /// All tiles with some of the samples, in one thread.
    fn rows(
        &self,
        rows: Range<usize>,
        y: RowsMut<'_, f32>,
        mut masks: Vec<Option<RowsMut<'_, u8>>>,
    ) -> Result<()> {
        let width = y.width;
        masks.resize_with(self.jobs.len(), || None);
        if let [Job { call, place }] = &self.jobs[..] {
            let mask = masks.pop().flatten().map(|mask| mask.data);
            call.rows(rows.start, y.data, mask)?;
            simd::run(Leave { y: y.data, width, place: *place });
            return Ok(());
        }
        scratch::floats(rows.len() * self.widest(), |z| {
            for (Job { call, place }, mask) in self.jobs.iter().zip(masks) {
                let n_out = call.sizes.n_out;
                let z = &mut z[..rows.len() * n_out];
                call.rows(rows.start, z, mask.map(|mask| mask.data))?;
                simd::run(Put { z, n_out, y: &mut *y.data, width, place: *place });
            }
            Ok(())
        })
    }

    /// As [`rows`](Self::rows), for outputs in planes.
    fn planes(
        &self,
        rows: Range<usize>,
        mut y: PlanesMut<'_, f32>,
        masks: Vec<Option<PlanesMut<'_, u8>>>,
    ) -> Result<()> {
        let most = rows.len() * self.widest();
        let flags = if masks.iter().any(Option::is_some) { most } else { 0 };
        scratch::floats(most, |z| {
            scratch::bytes(flags, |flags| {
                for (Job { call, place }, mask) in self.jobs.iter().zip(masks) {
                    let n_out = call.sizes.n_out;
                    let z = &mut z[..rows.len() * n_out];
                    let flags = mask.is_some().then(|| &mut flags[..z.len()]);
                    let mut marked = mask.zip(flags);
                    let flags = marked.as_mut().map(|(_, flags)| &mut **flags);
                    call.rows(rows.start, z, flags)?;
                    let planes = &mut y.planes[place.first..][..n_out];
                    simd::run(PutPlanes { z, planes, place: *place });
                    if let Some((mut mask, flags)) = marked {
                        for (column, plane) in mask.planes.iter_mut().enumerate() {
                            let from = flags[column..].iter().step_by(n_out);
                            plane.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                        }
                    }
                }
                Ok(())
            })
        })
    }
}

/// Outputs of the only tile, where they are to be.
struct Leave<'a> {
    y: &'a mut [f32],
    width: usize,
    place: Place<'a>,
}

impl Work for Leave<'_> {
    type Home = Self;

    #[inline(always)]
    fn run(self) {
        let Place { outputs, offset, .. } = self.place;
        if outputs.factors.is_empty() && offset.is_empty() {
            return;
        }
        for y in self.y.chunks_exact_mut(self.width) {
            outputs.scale(y);
            y.iter_mut().zip(offset).for_each(|(y, offset)| *y += offset);
        }
    }
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

/// The same for outputs in planes, which are those of the tile.
struct PutPlanes<'a, 'b> {
    z: &'a mut [f32],
    planes: &'a mut [&'b mut [f32]],
    place: Place<'a>,
}

impl Work for PutPlanes<'_, '_> {
    type Home = Self;

    #[inline(always)]
    fn run(self) {
        let Self { z, planes, place } = self;
        let Place { adds, outputs, offset, .. } = place;
        let n_out = planes.len();
        if !outputs.factors.is_empty() {
            z.chunks_exact_mut(n_out).for_each(|z| outputs.scale(z));
        }
        for (column, plane) in planes.iter_mut().enumerate() {
            let values = z[column..].iter().step_by(n_out);
            let pairs = plane.iter_mut().zip(values);
            match (adds, offset.get(column)) {
                (false, None) => pairs.for_each(|(y, z)| *y = *z),
                (false, Some(offset)) => pairs.for_each(|(y, z)| *y = z + offset),
                (true, None) => pairs.for_each(|(y, z)| *y += z),
                (true, Some(offset)) => pairs.for_each(|(y, z)| *y = (*y + z) + offset),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::config::IoParameters;
    use crate::mvm::{Columns, Direction, Request};

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
            x: Inputs::Rows(Columns { data: &x, stride: n_in, first: *column, width: mvm.n_in() }),
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
        let (groups, layout) = (1, Layout::Rows);
        Grid { parts, groups, samples: SAMPLES, is_test: true, offset, layout, y }.run().unwrap();
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
            x: Inputs::Rows(Columns { data: &x, stride: 4, first: 2, width: 3 }),
            weights: &weights,
            key: Key::new(0, 1),
            lines: Lines::default(),
            running: None,
            mask: None,
            outputs: Outputs::default(),
        };
        let parts = vec![vec![tile]];
        let (groups, layout) = (1, Layout::Rows);
        let grid =
            Grid { parts, groups, samples: 2, is_test: true, offset: &[], layout, y: &mut y };
        assert!(matches!(grid.run(), Err(Error::Shape { argument: "x", .. })));
    }

    /// A convolution with 2 groups of 2 channels and 3 outputs each, in parts of 5 and 4 elements.
    fn convolution<'a>(
        mvms: &'a [Vec<Mvm>],
        weights: &'a [Vec<f32>],
        outputs: Outputs<'a>,
        x: impl Fn(usize, usize) -> Inputs<'a>,
    ) -> Vec<Vec<GridTile<'a>>> {
        let tiles = mvms.iter().flatten().enumerate();
        let mut tiles = tiles.map(|(number, mvm)| GridTile {
            mvm,
            x: x(number / 2, mvm.n_in()),
            weights: &weights[number],
            key: Key::new(number as u64, 1),
            lines: Lines::default(),
            running: None,
            mask: None,
            outputs,
        });
        mvms.iter().map(|part| tiles.by_ref().take(part.len()).collect()).collect()
    }

    /// Products of patches of images equal those of the rows that they are, in both directions, to
    /// the bit, whatever the number of threads.
    #[test]
    fn patches_have_the_bits_of_rows() {
        use crate::mvm::{Axis, Images, Patches};
        let axes = [
            Axis { size: 9, kernel: 3, stride: 1, dilation: 1, before: 1, after: 0 },
            Axis { size: 70, kernel: 3, stride: 2, dilation: 1, before: 2, after: 2 },
        ];
        let (patches, images) = (Patches::new(4, &axes).unwrap(), 3);
        let (positions, samples) = (patches.positions(), images * patches.positions());
        let data = values(images * patches.image_len(), 40);
        let mut rows = vec![0.0; samples * patches.width()];
        patches.unfold(&data, 0, patches.width(), &mut rows).unwrap();
        let columns = [0, 10, 18, 28];
        let weights: Vec<_> = (0..8).map(|number| values(30, number + 50)).collect();
        let offset = values(6, 41);
        let clipped = IoParameters { out_bound: 2.0, ..IoParameters::default() };
        let exact = IoParameters { is_perfect: true, ..IoParameters::default() };
        for io in [clipped, exact] {
            let mvms = |direction| -> Vec<Vec<Mvm>> {
                let mvm =
                    |rows: usize, columns: usize| Mvm::new(&io, direction, rows, columns).unwrap();
                let inputs = [10, 8, 10, 8].into_iter();
                inputs.map(|columns| vec![mvm(2, columns), mvm(1, columns)]).collect()
            };
            let weights: Vec<_> = mvms(Direction::Forward)
                .iter()
                .flatten()
                .zip(&weights)
                .map(|(mvm, weights)| weights[..mvm.d_size * mvm.x_size].to_vec())
                .collect();
            let (forward, groups, is_test) = (mvms(Direction::Forward), 2, true);
            let outputs = Outputs { factors: &[&[0.5]], offset: &[] };
            let mut expected = vec![0.0; samples * 6];
            let parts = convolution(&forward, &weights, outputs, |part, width| {
                let (stride, first) = (patches.width(), columns[part]);
                Inputs::Rows(Columns { data: &rows, stride, first, width })
            });
            let (layout, y) = (Layout::Rows, &mut expected[..]);
            Grid { parts, groups, samples, is_test, offset: &offset, layout, y }.run().unwrap();
            let mut found = vec![0.0; samples * 6];
            let mut masks: Vec<Vec<u8>> =
                forward.iter().flatten().map(|mvm| vec![9; samples * mvm.n_out()]).collect();
            let mut parts = convolution(&forward, &weights, outputs, |part, width| {
                let first = columns[part];
                Inputs::Patches(Images { data: &data, patches: &patches, first, width })
            });
            for (tile, mask) in parts.iter_mut().flatten().zip(&mut masks) {
                tile.mask = Some(mask);
            }
            let (layout, y) = (Layout::Planes(positions), &mut found[..]);
            Grid { parts, groups, samples, is_test, offset: &offset, layout, y }.run().unwrap();
            for (number, row) in expected.chunks(6).enumerate() {
                let (image, position) = (number / positions, number % positions);
                for (output, value) in row.iter().enumerate() {
                    assert_eq!(found[(image * 6 + output) * positions + position], *value);
                }
            }
            assert!(masks.iter().flatten().all(|mark| *mark <= 1));
            assert_eq!(masks.iter().flatten().any(|mark| *mark == 1), !io.is_perfect);

            let back = mvms(Direction::Backward);
            let points = Patches::of_points(6, positions).unwrap();
            // Parts are output parts here: the two tiles of each input part change places.
            let turned: Vec<Vec<Mvm>> = (0..2)
                .flat_map(|group| (0..2).map(move |out| (group, out)))
                .map(|(group, out)| (0..2).map(|i| back[2 * group + i][out].clone()).collect())
                .collect();
            let turned_weights: Vec<_> = (0..8)
                .map(|number| weights[number / 4 * 4 + number % 2 * 2 + number / 2 % 2].clone())
                .collect();
            let first = [0, 2, 3, 5];
            let mut expected_rows = vec![0.0; samples * patches.width()];
            let parts = convolution(&turned, &turned_weights, Outputs::default(), |part, width| {
                Inputs::Rows(Columns { data: &expected, stride: 6, first: first[part], width })
            });
            let (layout, y) = (Layout::Rows, &mut expected_rows[..]);
            Grid { parts, groups, samples, is_test, offset: &[], layout, y }.run().unwrap();
            let mut folded = vec![0.0; data.len()];
            let mut slab = vec![0.0; patches.slab_len()];
            for (number, image) in folded.chunks_mut(patches.image_len()).enumerate() {
                let from = &expected_rows[number * positions * patches.width()..];
                let mut block = vec![0.0; positions * patches.width()];
                let fill = |_, block: &mut [f32]| {
                    block.copy_from_slice(&from[..block.len()]);
                    Ok(())
                };
                patches.fold(image, &mut slab, &mut block, fill).unwrap();
            }
            let mut found_images = vec![0.0; data.len()];
            let parts = convolution(&turned, &turned_weights, Outputs::default(), |part, width| {
                let first = first[part];
                Inputs::Patches(Images { data: &found, patches: &points, first, width })
            });
            let (layout, y) = (Layout::Folded(&patches), &mut found_images[..]);
            Grid { parts, groups, samples, is_test, offset: &[], layout, y }.run().unwrap();
            assert_eq!(found_images, folded);
        }
    }
}
