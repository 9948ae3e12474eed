//! The trains of both sides of a chunk, in the two layouts that kernels read.

use std::ops::Range;

use super::one_sided;
use super::source::{Source, Turn};
use super::trains::{self, Layout, Packed, SIGN, Slice, Sliced};
use crate::error::Result;
use crate::par::{self, Par};
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
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::Error::Interrupted), [`Error::Memory`](crate::Error::Memory), or
    /// what `f` returns.
    pub(crate) fn with<R>(
        source: &Source<'_>,
        slices: &[Slice],
        f: impl FnOnce(Coincidences<'_>) -> Result<R>,
    ) -> Result<R> {
        let layout = Sliced { slices: slices.len() };
        draw(source, slices, layout, |x, d| {
            let slices = slices.len();
            match source.turn {
                Turn::Both => f(Coincidences { x, d, slices }),
                turn => one_sided::sliced(x, d, turn, |x, d| {
                    f(Coincidences { x, d, slices: 2 * slices })
                }),
            }
        })
    }

    /// Whether `row` has pulses in slice `at` at all.
    #[inline(always)]
    pub(crate) fn fires(&self, at: usize, row: usize) -> bool {
        self.d[row * self.slices + at] & !SIGN != 0
    }

    /// Whether some of up to `height` rows from `first` on have pulses.
    pub(crate) fn any_fires(&self, first: usize, height: usize) -> bool {
        let end = self.d.len().min((first + height) * self.slices);
        self.d[first * self.slices..end].iter().any(|d| d & !SIGN != 0)
    }

    /// Blocks of columns from the first to the last line that fires: what is done with some columns must
    /// not look at all others of the row.
    pub(crate) fn window(&self) -> Range<usize> {
        let blocks = self.x.chunks_exact(self.slices * LANES);
        window(blocks.map(|words| words.iter().fold(0, |any, word| any | word) & !SIGN != 0))
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

/// Numbers from the first to the last `true`.
fn window(fires: impl DoubleEndedIterator<Item = bool> + ExactSizeIterator) -> Range<usize> {
    let mut firing = fires.enumerate().filter(|(_, fires)| *fires).map(|(at, _)| at);
    let Some(first) = firing.next() else { return 0..0 };
    first..firing.next_back().unwrap_or(first) + 1
}

impl Trains<'_> {
    /// Runs `f` with the trains of some slices.
    ///
    /// # Errors
    /// As for [`Coincidences::with`].
    pub(crate) fn with<R>(
        source: &Source<'_>,
        slices: &[Slice],
        f: impl FnOnce(Trains<'_>) -> Result<R>,
    ) -> Result<R> {
        let slots = slices.last().map_or(0, |slice| slice.start + slice.slots);
        let words = slots.div_ceil(64) as usize;
        draw(source, slices, Packed { words }, |x, d| match source.turn {
            Turn::Both => f(Trains { x, d, words }),
            turn => one_sided::packed(x, d, turn, |x, d| f(Trains { x, d, words: 2 * words })),
        })
    }

    /// As [`Coincidences::window`].
    pub(crate) fn window(&self) -> Range<usize> {
        let blocks = self.x.chunks_exact(self.words * 2 * LANES);
        window(blocks.map(|words| {
            let bits = words.chunks_exact(2 * LANES).flat_map(|word| &word[..LANES]);
            bits.fold(0, |any, word| any | word) != 0
        }))
    }
}

/// Cost of drawing the trains of one block of lines for one slice.
const TRAIN_NS: f64 = 70.0;

/// Draws the trains of both sides.
fn draw<L: Layout, R>(
    source: &Source<'_>,
    slices: &[Slice],
    layout: L,
    f: impl FnOnce(&[L::Word], &[L::Word]) -> Result<R>,
) -> Result<R> {
    let block_ns = TRAIN_NS * slices.len() as f64;
    let group = par::rows_per_check(block_ns / par::num_threads() as f64);
    draw_in_groups(source, slices, layout, group, f)
}

/// Draws `group` blocks of lines at a time, and asks for an interruption in between.
fn draw_in_groups<L: Layout, R>(
    source: &Source<'_>,
    slices: &[Slice],
    layout: L,
    group: usize,
    f: impl FnOnce(&[L::Word], &[L::Word]) -> Result<R>,
) -> Result<R> {
    let sides = source.sides();
    let [x, d] = sides.map(|side| side.blocks() * layout.block_len());
    let block_ns = TRAIN_NS * slices.len() as f64;
    L::scratch(x + d, |words| {
        for (at, words) in words.chunks_mut(group * layout.block_len()).enumerate() {
            // What uses the trains asks before it changes anything.
            if at > 0 {
                par::check_interrupt()?;
            }
            let blocks = words.len() / layout.block_len();
            let par = Par::of(block_ns * blocks as f64);
            trains::draw(&sides, slices, source.key, layout, at * group, words, par)?;
        }
        let (x, d) = words.split_at(x);
        f(x, d)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::apply::trouble::{self, ASKED, STOP};
    use super::*;
    use crate::config::UpdateParameters;
    use crate::error::Error;
    use crate::pulse::source::Turn;
    use crate::rng::Key;

    /// Trains of many lines take longer than a user waits for an answer to Ctrl-C. How they are grouped
    /// changes nothing.
    #[test]
    fn drawing_asks_for_interruptions() {
        trouble::watch();
        let lines = 70;
        let (x, d) = (vec![0.5; lines], [1.0; 40]);
        let parameters = UpdateParameters::default();
        let source = Source {
            x: &x,
            x_size: lines,
            bias: None,
            d: &d,
            d_size: d.len(),
            parameters: &parameters,
            granularity: 0.001,
            rate: 0.01,
            rates: &[],
            turn: Turn::Both,
            signs: [&[]; 2],
            key: Key::new(1, 2),
        };
        let mut chunks = source.chunks((0..1).into());
        let slices = chunks.advance().unwrap().unwrap();
        let draw = |group| {
            ASKED.set(0);
            let layout = Sliced { slices: slices.len() };
            draw_in_groups(&source, slices, layout, group, |x, d| Ok((x.to_vec(), d.to_vec())))
        };
        // Five blocks of columns and three of rows.
        let whole = draw(8).unwrap();
        for (group, asked) in [(8, 0), (7, 1), (3, 2), (1, 7)] {
            assert_eq!(draw(group).unwrap(), whole);
            assert_eq!(ASKED.get(), asked);
        }
        STOP.set(true);
        let result = draw(3);
        STOP.set(false);
        assert_eq!(result, Err(Error::Interrupted));
    }
}
