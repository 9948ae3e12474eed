//! The trains of both sides of a chunk, in the two layouts that kernels read.

use std::ops::Range;

use super::source::Source;
use super::trains::{self, Layout, Packed, SIGN, Slice, Sliced};
use crate::par;
use crate::rng::LANES;

/// Trains with one 32-bit word per slice, for kernels that look at every slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Coincidences<'a> {
    /// `[column block][slice][lane]`.
    pub(crate) x: &'a [u32],
    /// `[row][slice]`.
    pub(crate) d: &'a [u32],
    /// Number of slices.
    pub(crate) slices: usize,
}

impl<'a> Coincidences<'a> {
    /// Runs `f` with the trains of some slices.
    pub(crate) fn with<R>(
        source: &Source<'_>,
        slices: &[Slice],
        f: impl FnOnce(Coincidences<'_>) -> R,
    ) -> R {
        let layout = Sliced { slices: slices.len() };
        draw(source, slices, layout, |x, d| f(Coincidences { x, d, slices: slices.len() }))
    }

    /// Whether `row` has pulses in slice `at` at all.
    #[inline(always)]
    pub(crate) fn fires(&self, at: usize, row: usize) -> bool {
        self.d[row * self.slices + at] & !SIGN != 0
    }

    /// Columns from the first to the last line that fires, in whole multiples of `width`: a write to
    /// one column must not look at all others of the row.
    pub(crate) fn window(&self, width: usize) -> Range<usize> {
        let blocks = self.x.chunks_exact(self.slices * LANES);
        let fires = |words: &[u32]| words.iter().fold(0, |any, word| any | word) & !SIGN != 0;
        let mut firing = blocks.enumerate().filter(|(_, words)| fires(words)).map(|(at, _)| at);
        let Some(first) = firing.next() else { return 0..0 };
        let end = (firing.next_back().unwrap_or(first) + 1) * LANES;
        first * LANES / width * width..end.next_multiple_of(width)
    }

    /// Words of the input lines of a block of columns in slice `at`.
    #[inline(always)]
    pub(crate) fn words(&self, at: usize, block: usize) -> &'a [u32; LANES] {
        let (blocks, _) = self.x.as_chunks::<LANES>();
        &blocks[block * self.slices + at]
    }
}

/// Trains back to back in 64-bit words, for kernels that add up whole chunks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trains<'a> {
    /// `[column block][word][bits, signs][lane]`.
    pub(crate) x: &'a [u64],
    /// `[row][word][bits, signs]`.
    pub(crate) d: &'a [u64],
    /// Words of one train.
    pub(crate) words: usize,
}

impl Trains<'_> {
    /// Runs `f` with the trains of some slices.
    pub(crate) fn with<R>(
        source: &Source<'_>,
        slices: &[Slice],
        f: impl FnOnce(Trains<'_>) -> R,
    ) -> R {
        let slots = slices.last().map_or(0, |slice| slice.start + slice.slots);
        let words = slots.div_ceil(64) as usize;
        draw(source, slices, Packed { words }, |x, d| f(Trains { x, d, words }))
    }
}

/// Cost of drawing the trains of one block of lines for one slice.
const TRAIN_NS: f64 = 70.0;

/// Draws the trains of both sides.
fn draw<L: Layout, R>(
    source: &Source<'_>,
    slices: &[Slice],
    layout: L,
    f: impl FnOnce(&[L::Word], &[L::Word]) -> R,
) -> R {
    let [x, d] = source.sides();
    let blocks = [x, d].map(|side| side.count().div_ceil(LANES));
    let len = blocks.map(|blocks| blocks * layout.block_len());
    L::scratch(len[0] + len[1], |words| {
        let (x_words, d_words) = words.split_at_mut(len[0]);
        par::run(TRAIN_NS * ((blocks[0] + blocks[1]) * slices.len()) as f64, |par| {
            trains::draw(x, slices, source.key, layout, x_words, par);
            trains::draw(d, slices, source.key, layout, d_words, par);
        });
        f(x_words, d_words)
    })
}
