//! Patches of images as rows: how a convolution sees its images, without a copy of all of them.
//!
//! An image is read line by line: what all patches of one line of positions have in common is copied
//! once, with its padding, to a buffer that stays in the first-level cache, and each patch out of it.

use std::ops::Range;

use super::rows::{MANY, RowsMut, for_each};
use crate::error::{Error, Result};
use crate::par::Par;
use crate::scratch;
use crate::simd::{self, Work};

/// Time to copy one element, in nanoseconds.
const ELEMENT_NS: f64 = 0.3;
/// Most positions that one buffer of lines serves.
const SEGMENT: usize = 64;
/// Axes of an image; those that it has not are of size 1.
const RANK: usize = 3;

/// Where the patches of a convolution lie in its images `[channels, sizes]`.
///
/// Patches follow each other as their positions do, in row-major order. In a patch the channel varies
/// slowest, then the position in the kernel, in row-major order. Beyond the image there are zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patches {
    channels: usize,
    axes: [Axis; RANK],
    /// Elements of an image.
    image_len: usize,
    /// Patches of an image.
    positions: usize,
}

/// One axis of the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// Size of the image.
    pub size: usize,
    /// Size of the kernel.
    pub kernel: usize,
    /// Steps between patches.
    pub stride: usize,
    /// Steps between the elements of a patch.
    pub dilation: usize,
    /// Zeros before the image.
    pub before: usize,
    /// Zeros behind the image.
    pub after: usize,
}

impl Axis {
    /// An axis that is not there.
    const NONE: Self = Self { size: 1, kernel: 1, stride: 1, dilation: 1, before: 0, after: 0 };

    /// Length of a patch, with the gaps of a dilation.
    fn extent(&self) -> usize {
        self.dilation * (self.kernel - 1) + 1
    }

    /// Number of patches.
    fn out(&self) -> usize {
        (self.size + self.before + self.after - self.extent()) / self.stride + 1
    }

    /// Elements from the first to the last one of neighbouring patches.
    fn reach(&self, patches: usize) -> usize {
        (patches - 1) * self.stride + self.extent()
    }

    /// Where an element of a patch lies in the image; None in the padding.
    fn inside(&self, position: usize, element: usize) -> Option<usize> {
        let padded = position * self.stride + element * self.dilation;
        padded.checked_sub(self.before).filter(|at| *at < self.size)
    }

    fn is_point(&self) -> bool {
        self.kernel == 1 && self.before == 0 && self.after == 0
    }

    fn check(&self) -> Result<()> {
        const LIMIT: usize = 1 << 31;
        let Self { size, kernel, stride, dilation, before, after } = *self;
        let positive = [size, kernel, stride, dilation].iter().all(|value| *value > 0);
        let all = [size, kernel, stride, dilation, before, after];
        let small = all.iter().all(|value| *value < LIMIT);
        if !positive || !small || dilation.saturating_mul(kernel - 1) >= size + before + after {
            let why = format!("no patch fits along an axis: {self:?}");
            return Err(Error::Argument { argument: "axes", why });
        }
        Ok(())
    }
}

impl Patches {
    /// Patches of images with these channels and at most three axes.
    ///
    /// # Errors
    /// [`Error::Argument`] when there are no channels, no or too many axes, or no patch fits.
    pub fn new(channels: usize, axes: &[Axis]) -> Result<Self> {
        let refused = |why: &str| Error::Argument { argument: "axes", why: why.to_owned() };
        if axes.is_empty() || axes.len() > RANK {
            return Err(refused("must be one, two or three"));
        }
        axes.iter().try_for_each(Axis::check)?;
        let mut all = [Axis::NONE; RANK];
        all[RANK - axes.len()..].copy_from_slice(axes);
        let mut sizes = all.iter().flat_map(|axis| [axis.size, axis.kernel, axis.out()]);
        let product = sizes.try_fold(channels, usize::checked_mul);
        if product.is_none_or(|product| product == 0) {
            return Err(refused("must have channels, and sizes whose product can be counted"));
        }
        let image_len = channels * all.iter().map(|axis| axis.size).product::<usize>();
        let positions = all.iter().map(Axis::out).product();
        Ok(Self { channels, axes: all, image_len, positions })
    }

    /// All channels of images with this many elements, one at a time.
    ///
    /// # Errors
    /// As for [`Patches::new`].
    pub fn of_points(channels: usize, points: usize) -> Result<Self> {
        Self::new(channels, &[Axis { size: points, ..Axis::NONE }])
    }

    /// Elements of an image.
    #[must_use]
    pub fn image_len(&self) -> usize {
        self.image_len
    }

    /// Patches of an image.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Elements of a patch.
    #[must_use]
    pub fn width(&self) -> usize {
        self.channels * self.axes.iter().map(|axis| axis.kernel).product::<usize>()
    }

    /// Patches of a line along the last axis.
    pub(super) fn line(&self) -> usize {
        self.last().out()
    }

    fn last(&self) -> &Axis {
        &self.axes[RANK - 1]
    }

    /// Whether each element of a patch is one of the image, and no other.
    fn are_points(&self) -> bool {
        self.axes.iter().all(Axis::is_point)
    }

    /// Calls `f` with each run among some, numbered from 0, and where its line lies in an image; None in
    /// the padding.
    #[inline(always)]
    fn each_line(
        &self,
        runs: Range<usize>,
        at: [usize; 2],
        mut f: impl FnMut(usize, Option<usize>),
    ) {
        let [depth, height, last] = &self.axes;
        let mut channel = runs.start / (depth.kernel * height.kernel);
        let [mut i, mut j] =
            [runs.start / height.kernel % depth.kernel, runs.start % height.kernel];
        for run in 0..runs.len() {
            let inside = depth.inside(at[0], i).zip(height.inside(at[1], j));
            let line = |(d, h)| ((channel * depth.size + d) * height.size + h) * last.size;
            f(run, inside.map(line));
            j += 1;
            if j == height.kernel {
                (i, j) = (i + 1, 0);
            }
            if i == depth.kernel {
                (channel, i) = (channel + 1, 0);
            }
        }
    }

    /// Writes the patches of images, some of their elements, as rows.
    ///
    /// # Errors
    /// [`Error::Shape`] when slices do not fit, [`Error::Memory`].
    pub fn unfold(
        &self,
        images: &[f32],
        first: usize,
        width: usize,
        rows: &mut [f32],
    ) -> Result<()> {
        let source = Images { data: images, patches: self, first, width };
        let samples = images.len() / self.image_len() * self.positions();
        source.check(samples)?;
        Error::check_len("rows", rows.len(), samples * width)?;
        if rows.is_empty() {
            return Ok(());
        }
        let par = Par::of(ELEMENT_NS * rows.len() as f64);
        let pieces = (0..samples, RowsMut::new(rows, width));
        for_each(par, MANY, pieces, &|(numbers, rows): (Range<usize>, RowsMut<'_, f32>)| {
            scratch::floats(source.buffer_len(), |buffer| {
                simd::run(ReadAll { source, buffer, first: numbers.start, rows });
                Ok(())
            })
        })
    }

    /// Floats that [`fold`](Self::fold) works with.
    pub(super) fn slab_len(&self) -> usize {
        let [depth, height, last] = &self.axes;
        self.channels * depth.kernel * height.reach(height.out()) * last.reach(last.out())
    }

    /// Adds rows of a whole image to it, in place of their patches: the gradient of reading them. Each
    /// element is summed along the last axis first, then along the one before, in ascending order of
    /// the patches. `rows` writes rows from a number on, whole lines each time.
    ///
    /// # Errors
    /// What `rows` returns.
    pub(super) fn fold(
        &self,
        image: &mut [f32],
        slab: &mut [f32],
        block: &mut [f32],
        mut rows: impl FnMut(usize, &mut [f32]) -> Result<()>,
    ) -> Result<()> {
        let (width, line) = (self.width(), self.line());
        let (lines, most) = (self.axes[1].out(), block.len() / (width * line));
        image.fill(0.0);
        for depth in 0..self.axes[0].out() {
            slab.fill(0.0);
            for number in (0..lines).step_by(most) {
                let block = &mut block[..most.min(lines - number) * width * line];
                rows((depth * lines + number) * line, block)?;
                simd::run(Collect { patches: self, height: number, rows: block, slab });
            }
            simd::run(Settle { patches: self, depth, slab, image });
        }
        Ok(())
    }
}

/// Images whose patches are rows, or some columns of these.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    /// The images, one after another.
    pub data: &'a [f32],
    /// Their patches.
    pub patches: &'a Patches,
    /// The first element of each patch that is taken.
    pub first: usize,
    /// How many are.
    pub width: usize,
}

impl Images<'_> {
    /// Checks that there are images for that many rows.
    pub(super) fn check(&self, samples: usize) -> Result<()> {
        let Self { data, patches, first, width } = self;
        let (len, positions) = (patches.image_len(), patches.positions());
        let is_within = first.checked_add(*width).is_some_and(|end| end <= patches.width());
        if is_within && samples.is_multiple_of(positions) && data.len() == samples / positions * len
        {
            return Ok(());
        }
        let expected = format!(
            "{samples} patches, {positions} of each image of {len}, elements {first} + {width}"
        );
        Err(Error::Shape { argument: "x", expected, got: format!("{} elements", data.len()) })
    }

    /// Runs along the last axis that have wanted elements.
    fn runs(&self) -> Range<usize> {
        let kernel = self.patches.last().kernel;
        self.first / kernel..(self.first + self.width).div_ceil(kernel)
    }

    /// Elements of one run in the buffer of lines.
    fn reach(&self) -> usize {
        let last = self.patches.last();
        last.reach(SEGMENT.min(last.out()))
    }

    /// Floats that a reader works with.
    pub(super) fn buffer_len(&self) -> usize {
        let (runs, kernel) = (self.runs().len(), self.patches.last().kernel);
        if self.patches.are_points() { self.width } else { runs * kernel + self.lines_len() }
    }

    /// Floats of the lines: one run more than there are, as all but the last one are read from an
    /// element on to the same of the next.
    fn lines_len(&self) -> usize {
        (self.runs().len() + 1) * self.reach()
    }
}

/// Reads rows one after another; those of one line share what is read.
pub(super) struct Reader<'a, 'b> {
    images: Images<'a>,
    /// Rows whose lines the buffer has.
    held: Range<usize>,
    lines: &'b mut [f32],
    row: &'b mut [f32],
}

impl<'a, 'b> Reader<'a, 'b> {
    /// Reads images with a buffer of [`Images::buffer_len`] floats.
    pub fn new(images: Images<'a>, buffer: &'b mut [f32]) -> Self {
        let lines = if images.patches.are_points() { 0 } else { images.lines_len() };
        let (lines, row) = buffer.split_at_mut(lines);
        lines.iter_mut().rev().take(images.reach()).for_each(|value| *value = 0.0);
        Self { images, held: 0..0, lines, row }
    }

    /// A row of some number.
    #[inline(always)]
    pub fn row(&mut self, number: usize) -> &[f32] {
        let Images { patches, first, width, .. } = self.images;
        if patches.are_points() {
            self.read_point(number);
            return &self.row[..width];
        }
        if !self.held.contains(&number) {
            self.hold(number);
        }
        let last = patches.last();
        self.take((number - self.held.start) * last.stride);
        &self.row[first % last.kernel..][..width]
    }

    #[inline(always)]
    fn read_point(&mut self, number: usize) {
        let Images { data, patches, first, width } = self.images;
        let (image, position) = (number / patches.positions, number % patches.positions);
        let data = &data[image * patches.image_len..][..patches.image_len];
        let [depth, height, last] = &patches.axes;
        let (line, w) = (position / last.out(), position % last.out());
        let (d, h) = (line / height.out() * depth.stride, line % height.out() * height.stride);
        let area = depth.size * height.size * last.size;
        let at = (d * height.size + h) * last.size + w * last.stride;
        let values = data[first * area + at..].iter().step_by(area);
        for (to, from) in self.row[..width].iter_mut().zip(values) {
            *to = *from;
        }
    }

    /// Copies all that the patches beside one have, with zeros where they have padding.
    #[inline(always)]
    fn hold(&mut self, number: usize) {
        let Images { data, patches, .. } = self.images;
        let (last, reach, runs) = (patches.last(), self.images.reach(), self.images.runs());
        let (image, position) = (number / patches.positions, number % patches.positions);
        let data = &data[image * patches.image_len..][..patches.image_len];
        let (line, at) = (position / last.out(), position % last.out());
        let (position, height) = (at / SEGMENT * SEGMENT, patches.axes[1].out());
        let first = number - (at - position);
        self.held = first..first + SEGMENT.min(last.out() - position);
        // The part of each line that is in the image.
        let from = position * last.stride;
        let before = last.before.saturating_sub(from).min(reach);
        let start = (from + before).saturating_sub(last.before).min(last.size);
        let inside = (reach - before).min(last.size - start);
        let lines = &mut *self.lines;
        patches.each_line(
            runs,
            [line / height, line % height],
            #[inline(always)]
            |run, source| {
                let to = &mut lines[run * reach..][..reach];
                let Some(source) = source else { return to.fill(0.0) };
                to[..before].fill(0.0);
                to[before..before + inside].copy_from_slice(&data[source + start..][..inside]);
                to[before + inside..].fill(0.0);
            },
        );
    }

    /// Copies one patch out of the lines, from an element of each.
    #[inline(always)]
    fn take(&mut self, at: usize) {
        let (last, reach) = (self.images.patches.last(), self.images.reach());
        match (last.kernel, last.dilation) {
            (1, _) => self.take_runs::<1>(at, reach),
            (2, 1) => self.take_runs::<2>(at, reach),
            (3, 1) if reach > 3 => self.take_threes(at, reach),
            (3, 1) => self.take_runs::<3>(at, reach),
            (5, 1) => self.take_runs::<5>(at, reach),
            (7, 1) => self.take_runs::<7>(at, reach),
            (kernel, dilation) => {
                let lines = self.lines.chunks_exact(reach);
                for (to, line) in self.row.chunks_exact_mut(kernel).zip(lines) {
                    let from = line[at..].iter().step_by(dilation);
                    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }

    #[inline(always)]
    fn take_runs<const KERNEL: usize>(&mut self, at: usize, reach: usize) {
        let (runs, _) = self.row.as_chunks_mut::<KERNEL>();
        for (to, line) in runs.iter_mut().zip(self.lines.chunks_exact(reach)) {
            if let Some(from) = line.get(at..at + KERNEL) {
                to.copy_from_slice(from);
            }
        }
    }

    /// As [`take_runs`](Self::take_runs) for runs of three, in stores of four: four runs at once.
    #[inline(always)]
    fn take_threes(&mut self, at: usize, reach: usize) {
        const RUNS: usize = 4;
        let (groups, rest) = self.row.as_chunks_mut::<{ 3 * RUNS }>();
        let mut lines = self.lines[at..].chunks_exact(reach);
        for to in groups {
            for run in 0..RUNS {
                let Some(from) = lines.next().and_then(|line| line.first_chunk::<4>()) else {
                    break;
                };
                if run + 1 < RUNS {
                    to[3 * run..3 * run + 4].copy_from_slice(from);
                } else {
                    to[3 * run..].copy_from_slice(&from[..3]);
                }
            }
        }
        let (rest, _) = rest.as_chunks_mut::<3>();
        for (to, line) in rest.iter_mut().zip(lines) {
            to.copy_from_slice(&line[..3]);
        }
    }
}

struct ReadAll<'a, 'b> {
    source: Images<'a>,
    buffer: &'b mut [f32],
    first: usize,
    rows: RowsMut<'b, f32>,
}

impl Work for ReadAll<'_, '_> {
    type Home = Self;

    #[inline(always)]
    fn run(self) {
        let Self { source, buffer, first, rows } = self;
        let mut reader = Reader::new(source, buffer);
        for (row, number) in rows.data.chunks_exact_mut(rows.width).zip(first..) {
            row.copy_from_slice(reader.row(number));
        }
    }
}

/// Adds rows of whole lines to a slab: sums along the last axis, then along the one before.
struct Collect<'a> {
    patches: &'a Patches,
    /// The first line.
    height: usize,
    rows: &'a [f32],
    /// `[channels, elements of the kernel along the first axis, reach of the second, reach of the last]`.
    slab: &'a mut [f32],
}

impl Work for Collect<'_> {
    type Home = Self;

    #[inline(always)]
    fn run(self) {
        let Self { patches, height: first, rows, slab } = self;
        let width = patches.width();
        let [depth, height, last] = &patches.axes;
        let (reach, lines) = (last.reach(last.out()), height.reach(height.out()));
        let mut sums = [0.0; MOST_SUMS];
        for (number, rows) in rows.chunks_exact(width * last.out()).enumerate() {
            for plane in 0..patches.channels * depth.kernel {
                for element in 0..height.kernel {
                    let line = (first + number) * height.stride + element * height.dilation;
                    let to = &mut slab[(plane * lines + line) * reach..][..reach];
                    let from = &rows[(plane * height.kernel + element) * last.kernel..];
                    match sums.get_mut(..reach) {
                        Some(sums) => {
                            sums.fill(0.0);
                            match (last.kernel, last.dilation) {
                                (3, 1) => collect::<3>(last, sums, from, width),
                                (5, 1) => collect::<5>(last, sums, from, width),
                                _ => collect_any(last, sums, from, width),
                            }
                            to.iter_mut().zip(sums.iter()).for_each(|(to, sum)| *to += *sum);
                        }
                        None => one_by_one(last, to, |at| &from[at * width..][..last.kernel]),
                    }
                }
            }
        }
    }
}

/// Adds the values of neighbouring patches along a line in place; `from` has those of one patch every
/// `width` elements.
#[inline(always)]
fn collect<const KERNEL: usize>(last: &Axis, sums: &mut [f32], from: &[f32], width: usize) {
    for at in 0..last.out() {
        let values = from[at * width..].first_chunk::<KERNEL>();
        let sums = sums[at * last.stride..].first_chunk_mut::<KERNEL>();
        if let (Some(values), Some(sums)) = (values, sums) {
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
    }
}

/// As [`collect`], for all kernels.
#[inline(always)]
fn collect_any(last: &Axis, sums: &mut [f32], from: &[f32], width: usize) {
    for at in 0..last.out() {
        let values = &from[at * width..][..last.kernel];
        let sums = sums[at * last.stride..].iter_mut().step_by(last.dilation);
        sums.zip(values).for_each(|(sum, value)| *sum += value);
    }
}

/// Longest line whose sums are collected at once.
const MOST_SUMS: usize = 512;

/// Adds the sums of a line to `to`, one element after another.
fn one_by_one<'a>(last: &Axis, to: &mut [f32], values: impl Fn(usize) -> &'a [f32]) {
    for (place, to) in to.iter_mut().enumerate() {
        let first = (place + last.stride).saturating_sub(last.extent()) / last.stride;
        let mut sum = 0.0;
        for at in first..=(place / last.stride).min(last.out() - 1) {
            let from = place - at * last.stride;
            if from.is_multiple_of(last.dilation) && from / last.dilation < last.kernel {
                sum += values(at)[from / last.dilation];
            }
        }
        *to += sum;
    }
}

/// Adds a slab to the image, without its padding: sums along the first axis.
struct Settle<'a> {
    patches: &'a Patches,
    /// Position along that axis.
    depth: usize,
    slab: &'a [f32],
    image: &'a mut [f32],
}

impl Work for Settle<'_> {
    type Home = Self;

    #[inline(always)]
    fn run(self) {
        let Self { patches, depth: position, slab, image } = self;
        let [depth, height, last] = &patches.axes;
        let (reach, lines) = (last.reach(last.out()), height.reach(height.out()));
        for (number, plane) in slab.chunks_exact(lines * reach).enumerate() {
            let (channel, element) = (number / depth.kernel, number % depth.kernel);
            let Some(d) = depth.inside(position, element) else { continue };
            let planes = &mut image[(channel * depth.size + d) * height.size * last.size..];
            // Lines and columns of the slab are those of the padded image.
            for (h, to) in planes.chunks_exact_mut(last.size).take(height.size).enumerate() {
                let Some(line) = plane.get((h + height.before) * reach..) else { break };
                let from = line[..reach.min(line.len())].iter().skip(last.before);
                to.iter_mut().zip(from).for_each(|(to, from)| *to += *from);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn axis() -> impl Strategy<Value = Axis> {
        (1usize..5, 1usize..4, 1usize..3, 0usize..3, 0usize..3, 0usize..6).prop_map(
            |(kernel, stride, dilation, before, after, extra)| {
                let extent = dilation * (kernel - 1) + 1;
                let size = (extent + extra).saturating_sub(before + after).max(1);
                Axis { size, kernel, stride, dilation, before, after }
            },
        )
    }

    fn patches() -> impl Strategy<Value = Patches> {
        (1usize..4, prop::collection::vec(axis(), 1..=3)).prop_map(|(channels, mut axes)| {
            // Long lines have several segments.
            if channels == 3 {
                axes.last_mut().unwrap().size += 150;
            }
            Patches::new(channels, &axes).unwrap()
        })
    }

    /// Where each element of a patch lies in its image.
    fn places(patches: &Patches, position: usize) -> Vec<Option<usize>> {
        let [depth, height, last] = &patches.axes;
        let (line, w) = (position / last.out(), position % last.out());
        let (d, h) = (line / height.out(), line % height.out());
        let mut all = Vec::new();
        for channel in 0..patches.channels {
            for i in 0..depth.kernel {
                for j in 0..height.kernel {
                    for k in 0..last.kernel {
                        let at = depth.inside(d, i).zip(height.inside(h, j));
                        all.push(at.zip(last.inside(w, k)).map(|((d, h), w)| {
                            ((channel * depth.size + d) * height.size + h) * last.size + w
                        }));
                    }
                }
            }
        }
        all
    }

    fn values(len: usize) -> Vec<f32> {
        (0..len).map(|at| (at as f32 * 0.7).sin()).collect()
    }

    proptest! {
        #[test]
        fn rows_are_those_of_the_definition(patches in patches(), from in 0.0..1.0, to in 0.0..1.0) {
            let images = values(2 * patches.image_len());
            let first = (from * patches.width() as f64) as usize;
            let width = 1 + (to * (patches.width() - first) as f64) as usize;
            let width = width.min(patches.width() - first);
            let mut rows = vec![9.0; 2 * patches.positions() * width];
            patches.unfold(&images, first, width, &mut rows).unwrap();
            let source = Images { data: &images, patches: &patches, first, width };
            let mut buffer = vec![7.0; source.buffer_len()];
            let mut reader = Reader::new(source, &mut buffer);
            // Backwards as well: a sample whose output clipped is read again.
            for number in (0..2 * patches.positions()).rev() {
                let image = &images[number / patches.positions() * patches.image_len()..];
                let places = places(&patches, number % patches.positions());
                let expected: Vec<f32> = places[first..first + width]
                    .iter()
                    .map(|place| place.map_or(0.0, |place| image[place]))
                    .collect();
                prop_assert_eq!(&rows[number * width..][..width], &expected[..]);
                prop_assert_eq!(reader.row(number), &expected[..]);
            }
        }

        #[test]
        fn folding_adds_up_in_the_order_of_axes(patches in patches(), lines in 1usize..4) {
            let rows = values(patches.width() * patches.positions());
            let [depth, height, last] = &patches.axes;
            // Sums of sums, by line, then by plane, then over planes; added to in ascending order.
            let mut expected = vec![0.0; patches.image_len()];
            for d in 0..depth.out() {
                let mut plane = vec![0.0; patches.image_len()];
                for h in 0..height.out() {
                    let mut line = vec![0.0; patches.image_len()];
                    for w in 0..last.out() {
                        let position = (d * height.out() + h) * last.out() + w;
                        let row = &rows[position * patches.width()..];
                        for (place, value) in places(&patches, position).into_iter().zip(row) {
                            place.into_iter().for_each(|place| line[place] += value);
                        }
                    }
                    plane.iter_mut().zip(line).for_each(|(sum, value)| *sum += value);
                }
                expected.iter_mut().zip(plane).for_each(|(sum, value)| *sum += value);
            }
            let mut image = vec![5.0; patches.image_len()];
            let mut slab = vec![6.0; patches.slab_len()];
            let mut block = vec![0.0; lines * patches.line() * patches.width()];
            patches
                .fold(&mut image, &mut slab, &mut block, |first, block| {
                    block.copy_from_slice(&rows[first * patches.width()..][..block.len()]);
                    Ok(())
                })
                .unwrap();
            prop_assert_eq!(image, expected);
        }
    }

    #[test]
    fn long_lines_are_added_up_one_by_one() {
        let axis = Axis { size: 700, kernel: 3, stride: 2, dilation: 2, before: 1, after: 2 };
        let patches = Patches::new(2, &[axis]).unwrap();
        assert!(axis.reach(axis.out()) > MOST_SUMS);
        let rows = values(patches.width() * patches.positions());
        let mut expected = vec![0.0; patches.image_len()];
        for (position, row) in rows.chunks(patches.width()).enumerate() {
            for (place, value) in places(&patches, position).into_iter().zip(row) {
                place.into_iter().for_each(|place| expected[place] += value);
            }
        }
        let (mut image, mut slab) = (vec![0.0; 1400], vec![0.0; patches.slab_len()]);
        let mut block = vec![0.0; rows.len()];
        let fill = |_, block: &mut [f32]| {
            block.copy_from_slice(&rows);
            Ok(())
        };
        patches.fold(&mut image, &mut slab, &mut block, fill).unwrap();
        assert_eq!(image, expected);
    }

    #[test]
    fn patches_that_do_not_fit_are_refused() {
        let axis = Axis { size: 3, kernel: 4, ..Axis::NONE };
        for (channels, axes) in [
            (1, vec![]),
            (1, vec![Axis::NONE; 4]),
            (0, vec![Axis::NONE]),
            (1, vec![axis]),
            (1, vec![Axis { kernel: 0, ..axis }]),
            (1, vec![Axis { stride: 0, kernel: 1, ..axis }]),
            (1, vec![Axis { size: usize::MAX, ..axis }]),
        ] {
            let error = Patches::new(channels, &axes).unwrap_err();
            assert!(matches!(error, Error::Argument { argument: "axes", .. }), "{error}");
        }
        let patches = Patches::new(2, &[Axis { before: 1, ..axis }]).unwrap();
        assert_eq!((patches.positions(), patches.width(), patches.image_len()), (1, 8, 6));
        let mut rows = [0.0; 8];
        assert!(patches.unfold(&[0.0; 7], 0, 8, &mut rows).is_err());
        assert!(patches.unfold(&[0.0; 6], 1, 8, &mut rows).is_err());
        assert!(patches.unfold(&[0.0; 6], 0, 8, &mut rows[1..]).is_err());
    }
}
