//! Stochastic pulse trains of the input and error lines, as bits.
//!
//! A train is cut into slices of at most [`SLICE`] slots; the slices of a chunk of samples are
//! drawn together and stored packed (back to back in 64-bit words) or sliced (one 32-bit word
//! each), whichever the kernel reads.

use super::lanes::load;
use super::scale::{Scaling, discretize};
use crate::error::Result;
use crate::par::Par;
use crate::rng::{Draw, Key, LANES, Stream};
use crate::scratch;
use crate::simd::{self, Work};

/// Most slots of a slice; the 32nd bit of a sliced word is the sign of the line's value.
pub(crate) const SLICE: u32 = 31;
/// Sign bit of a sliced word.
pub(crate) const SIGN: u32 = 1 << 31;

/// Some slots of the trains of one sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice {
    /// Sample in the batch.
    pub(crate) sample: usize,
    /// Position among the slices of the sample.
    pub(crate) index: u32,
    /// Number of slots.
    pub(crate) slots: u32,
    /// Position of the first slot among those of the chunk.
    pub(crate) start: u32,
    /// Scales of the sample.
    pub(crate) scaling: Scaling,
}

impl Slice {
    /// The first one of a sample.
    fn first(sample: usize, scaling: Scaling) -> Self {
        Self { sample, index: 0, slots: SLICE.min(scaling.slots), start: 0, scaling }
    }

    /// The one that follows in the same sample.
    fn next(self) -> Option<Self> {
        let index = self.index + 1;
        let slots = SLICE.min(self.scaling.slots.saturating_sub(index * SLICE));
        (slots > 0).then_some(Self { index, slots, ..self })
    }

    /// Whether it has all slots of its sample.
    pub(crate) fn is_all(&self) -> bool {
        self.slots == self.scaling.slots
    }
}

/// Limits of one chunk; draw positions depend on them. The pulses of a slice take up to 8 evaluations
/// of the generator, so a chunk takes 2^13 of the 2^15 blocks that [`Positions`] has for it.
///
/// [`Positions`]: super::positions::Positions
const MAX_SLICES: usize = 1024;
/// Evaluations of the generator that the pulses of a slice take, four each.
pub(crate) const SLICE_BLOCKS: usize = 8;
const MAX_SLOTS: u32 = 4096;

/// The trains of some samples, cut into chunks of slices one after another: all at once would take
/// more memory than a large batch itself.
#[derive(Debug)]
pub(crate) struct Chunks<I> {
    scalings: I,
    /// What did not fit the last chunk.
    rest: Option<Slice>,
    chunk: Vec<Slice>,
    /// Most slices and slots of a chunk.
    most: (usize, u32),
}

impl<I: Iterator<Item = Result<(usize, Scaling)>>> Chunks<I> {
    /// Those of samples with these slots and scales; `doubled` where kernels get each slice twice, once
    /// for each sign of the inputs.
    pub(crate) fn new(scalings: I, doubled: bool) -> Self {
        let most = if doubled { (MAX_SLICES / 2, MAX_SLOTS / 2) } else { (MAX_SLICES, MAX_SLOTS) };
        Self { scalings, rest: None, chunk: Vec::new(), most }
    }

    /// The slices of the next chunk, of which there is at least one; `None` behind the last chunk.
    ///
    /// # Errors
    /// Those of the samples.
    pub(crate) fn advance(&mut self) -> Result<Option<&[Slice]>> {
        self.chunk.clear();
        let mut start = 0;
        while let Some(slice) = self.slice()? {
            if self.chunk.len() == self.most.0 || start + slice.slots > self.most.1 {
                self.rest = Some(slice);
                break;
            }
            self.chunk.push(Slice { start, ..slice });
            start += slice.slots;
            self.rest = slice.next();
        }
        Ok((!self.chunk.is_empty()).then_some(&*self.chunk))
    }

    /// The slice that comes next.
    fn slice(&mut self) -> Result<Option<Slice>> {
        if self.rest.is_some() {
            return Ok(self.rest.take());
        }
        let sample = self.scalings.next().transpose()?;
        Ok(sample.map(|(sample, scaling)| Slice::first(sample, scaling)))
    }
}

/// Values of the lines of one side and how their probabilities are rounded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side<'a> {
    /// `[samples, lines]` row-major, without the bias.
    pub(crate) values: &'a [f32],
    /// Number of lines with values.
    pub(crate) lines: usize,
    /// Value of one more line.
    pub(crate) bias: Option<f32>,
    /// Whether these are the error lines.
    pub(crate) is_d: bool,
    /// Whether the signs of all values count as their opposite.
    pub(crate) flipped: bool,
    /// Signs of the lines, by which their values are multiplied, 0 for those without pulses; empty for
    /// none.
    pub(crate) signs: &'a [i8],
    /// Bin width of the probabilities, 0 for none.
    pub(crate) res: f64,
    /// Stochastic rounding to the bins.
    pub(crate) sto_round: bool,
}

impl Side<'_> {
    pub(crate) fn count(&self) -> usize {
        self.lines + usize::from(self.bias.is_some())
    }

    /// Number of blocks of [`LANES`] lines.
    pub(crate) fn blocks(&self) -> usize {
        self.count().div_ceil(LANES)
    }

    #[inline(always)]
    fn load(&self, sample: usize, first: usize) -> [f32; LANES] {
        let start = first.min(self.lines);
        let count = LANES.min(self.lines - start);
        let mut out = load(self.values, sample * self.lines + start, count);
        if let Some(bias) = self.bias
            && (first..first + LANES).contains(&self.lines)
        {
            out[self.lines - first] = bias;
        }
        for (value, sign) in out.iter_mut().zip(self.signs.iter().skip(first)) {
            *value = if *sign == 0 { 0.0 } else { *value };
        }
        out
    }

    /// What changes the sign bits of the values of [`LANES`] lines from `first` on.
    #[inline(always)]
    fn flips(&self, first: usize) -> [u32; LANES] {
        let mut flips = [if self.flipped { SIGN } else { 0 }; LANES];
        for (flip, sign) in flips.iter_mut().zip(self.signs.iter().skip(first)) {
            *flip ^= if *sign < 0 { SIGN } else { 0 };
        }
        flips
    }

    /// Whether no line of a block gives pulses, whatever its values.
    fn is_silent(&self, block: usize) -> bool {
        let mut signs = self.signs.iter().skip(block * LANES).take(LANES).peekable();
        signs.peek().is_some() && signs.all(|sign| *sign == 0)
    }

    fn scale(&self, scaling: &Scaling) -> f64 {
        if self.is_d { scaling.d } else { scaling.x }
    }

    fn draw(&self, key: Key) -> Draw {
        key.stream(if self.is_d { Stream::PulseD } else { Stream::PulseX })
    }
}

/// How a block of [`LANES`] lines stores its slices, with the lane as last index.
pub(crate) trait Layout: Copy + Sync {
    /// Type of a stored word.
    type Word: Copy + Default + Send;
    /// Runs `f` with working memory.
    fn scratch<R>(len: usize, f: impl FnOnce(&mut [Self::Word]) -> Result<R>) -> Result<R>;
    /// Words that a block of lines takes.
    fn block_len(self) -> usize;
    /// Stores the bits of slice number `at` and which lines have a negative value.
    fn store(
        self,
        block: &mut [Self::Word],
        at: usize,
        slice: &Slice,
        bits: &[u32; LANES],
        negative: &[u32; LANES],
    );
}

/// Sliced: word `[slice][lane]`, the sign in the uppermost bit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sliced {
    /// Number of slices.
    pub(crate) slices: usize,
}

impl Layout for Sliced {
    type Word = u32;

    fn scratch<R>(len: usize, f: impl FnOnce(&mut [u32]) -> Result<R>) -> Result<R> {
        scratch::halves(len, f)
    }

    fn block_len(self) -> usize {
        self.slices * LANES
    }

    #[inline(always)]
    fn store(
        self,
        block: &mut [u32],
        at: usize,
        _: &Slice,
        bits: &[u32; LANES],
        negative: &[u32; LANES],
    ) {
        let out = &mut block[at * LANES..(at + 1) * LANES];
        for lane in 0..LANES {
            out[lane] = bits[lane] | (negative[lane] & SIGN);
        }
    }
}

/// Packed: for each 64-bit word, the bits of all lanes, then their signs, `[word][2][lane]`. Signs
/// are repeated for each slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packed {
    /// Number of words of one train.
    pub(crate) words: usize,
}

impl Packed {
    #[inline(always)]
    fn put(block: &mut [u64], word: usize, which: usize, shift: i32, from: &[u32; LANES]) {
        let first = (word * 2 + which) * LANES;
        let out = &mut block[first..first + LANES];
        for lane in 0..LANES {
            let value = u64::from(from[lane]);
            out[lane] |= if shift >= 0 { value << shift } else { value >> -shift };
        }
    }
}

impl Layout for Packed {
    type Word = u64;

    fn scratch<R>(len: usize, f: impl FnOnce(&mut [u64]) -> Result<R>) -> Result<R> {
        scratch::words(len, f)
    }

    fn block_len(self) -> usize {
        self.words * 2 * LANES
    }

    #[inline(always)]
    fn store(
        self,
        block: &mut [u64],
        _: usize,
        slice: &Slice,
        bits: &[u32; LANES],
        negative: &[u32; LANES],
    ) {
        let mask = (1u32 << slice.slots) - 1;
        let mut signs = [0; LANES];
        for lane in 0..LANES {
            signs[lane] = negative[lane] & mask;
        }
        let (word, offset) = ((slice.start / 64) as usize, slice.start % 64);
        Self::put(block, word, 0, offset as i32, bits);
        Self::put(block, word, 1, offset as i32, &signs);
        if offset + slice.slots > 64 {
            let shift = offset as i32 - 64;
            Self::put(block, word + 1, 0, shift, bits);
            Self::put(block, word + 1, 1, shift, &signs);
        }
    }
}

/// Draws trains of both sides, one block of [`LANES`] lines after another: block `first` is the first
/// one in `out`, and those of the error lines follow those of the input lines. Trains of error lines
/// are stored line by line.
///
/// # Errors
/// [`Error::Memory`](crate::Error::Memory).
pub(crate) fn draw<L: Layout>(
    sides: &[Side<'_>; 2],
    slices: &[Slice],
    key: Key,
    layout: L,
    first: usize,
    out: &mut [L::Word],
    par: Par,
) -> Result<()> {
    let x_blocks = sides[0].blocks();
    let draw_block = |(at, words): (usize, &mut [L::Word])| {
        let fill = |side: Side<'_>, block: usize, words: &mut [L::Word]| {
            words.fill(L::Word::default());
            if side.is_silent(block) {
                return;
            }
            simd::run(Block { side, slices, key, layout, first: block * LANES, words });
        };
        match (first + at).checked_sub(x_blocks) {
            None => {
                fill(sides[0], first + at, words);
                Ok(())
            }
            Some(block) => L::scratch(words.len(), |by_lane| {
                fill(sides[1], block, by_lane);
                transpose(by_lane, words);
                Ok(())
            }),
        }
    };
    par.for_each(out.chunks_exact_mut(layout.block_len()).enumerate(), draw_block)
}

/// Turns `[..][LANES]` into `[LANES][..]`.
fn transpose<T: Copy>(from: &[T], to: &mut [T]) {
    let count = to.len() / LANES;
    for (lane, to) in to.chunks_exact_mut(count).enumerate() {
        for (to, from) in to.iter_mut().zip(from.chunks_exact(LANES)) {
            *to = from[lane];
        }
    }
}

struct Block<'a, L: Layout> {
    side: Side<'a>,
    slices: &'a [Slice],
    key: Key,
    layout: L,
    first: usize,
    words: &'a mut [L::Word],
}

impl<L: Layout> Work for Block<'_, L> {
    type Home = Self;

    #[inline(always)]
    fn run(self) {
        let draw = self.side.draw(self.key);
        let mut shared = Shared { samples: u32::MAX, words: [[0; LANES]; 4] };
        let flips = self.side.flips(self.first);
        for (at, slice) in self.slices.iter().enumerate() {
            let values = self.side.load(slice.sample, self.first);
            if values == [0.0; LANES] {
                continue;
            }
            let thresholds = thresholds(&self.side, self.key, self.first, slice, &values);
            let first = self.first as u32;
            let bits = if slice.is_all() && slice.slots == 1 {
                let word = shared.word(&draw, first, slice.sample as u32);
                fires(word, &thresholds, 0)
            } else if slice.slots <= FEW {
                few(&draw, first, slice, &thresholds)
            } else {
                bernoulli(&draw, first, slice, &thresholds)
            };
            // The sign bit of an f32, spread over the word.
            let mut negative = [0; LANES];
            for lane in 0..LANES {
                negative[lane] = (((values[lane].to_bits() ^ flips[lane]) as i32) >> 31) as u32;
            }
            self.layout.store(self.words, at, slice, &bits, &negative);
        }
    }
}

/// Thresholds of [`LANES`] lines from `first` on with these values.
#[inline(always)]
fn thresholds(
    side: &Side<'_>,
    key: Key,
    first: usize,
    slice: &Slice,
    values: &[f32; LANES],
) -> [u64; LANES] {
    let scale = side.scale(&slice.scaling);
    let mut out = [0; LANES];
    if side.res <= 0.0 {
        for lane in 0..LANES {
            out[lane] = threshold(scale * f64::from(values[lane].abs()));
        }
        return out;
    }
    let draw = key.stream(Stream::PulseRound);
    for lane in 0..LANES {
        let dither = if side.sto_round {
            let column = (first + lane) as u32;
            f64::from(draw.uniform(column, slice.sample as u32, u32::from(side.is_d)))
        } else {
            0.5
        };
        let value = scale * f64::from(values[lane].abs());
        out[lane] = threshold(discretize(value, side.res, dither));
    }
    out
}

/// Thresholds of all lines in the sample of a slice, for a kernel that draws the trains elsewhere:
/// the probability in units of 2^-32; the sign of the value in bit 31 and certainty in bit 0.
#[cfg(feature = "wgpu")]
pub(crate) struct Thresholds<'a> {
    pub(crate) side: Side<'a>,
    pub(crate) key: Key,
    pub(crate) slice: &'a Slice,
    /// One pair per line.
    pub(crate) out: &'a mut [[u32; 2]],
}

#[cfg(feature = "wgpu")]
impl Work for Thresholds<'_> {
    type Home = Self;

    #[inline(always)]
    fn run(self) {
        for (block, out) in self.out.chunks_mut(LANES).enumerate() {
            let first = block * LANES;
            let values = self.side.load(self.slice.sample, first);
            let thresholds = thresholds(&self.side, self.key, first, self.slice, &values);
            let values = values.iter().zip(self.side.flips(first));
            for (out, ((value, flip), threshold)) in out.iter_mut().zip(values.zip(thresholds)) {
                let sign = (value.to_bits() ^ flip) & SIGN;
                *out = [threshold as u32, sign | (threshold >> 32) as u32];
            }
        }
    }
}

/// A probability in units of 2^-32; one and more is 2^32, which always fires.
#[inline(always)]
fn threshold(probability: f64) -> u64 {
    const UNIT: f64 = 4_294_967_296.0;
    // Added to a smaller number it leaves the nearest integer in the lower bits; a conversion would
    // look at every lane for values out of range.
    const SHIFT: f64 = 4_503_599_627_370_496.0;
    let units = probability * UNIT;
    let units = if units < UNIT { units } else { UNIT };
    (units + SHIFT).to_bits() ^ SHIFT.to_bits()
}

/// Slots up to which each of them compares a word of its own: one evaluation has four.
const FEW: u32 = 4;

/// For each lane, `slots` bits that are 1 with probability `threshold / 2^32`: a word for each.
#[inline(always)]
fn few(draw: &Draw, first: u32, slice: &Slice, thresholds: &[u64; LANES]) -> [u32; LANES] {
    let words = draw.lanes(first, slice.sample as u32, slice.index * 8);
    let mut bits = [0; LANES];
    for (slot, word) in words.iter().enumerate().take(slice.slots as usize) {
        let fired = fires(word, thresholds, slot as u32);
        for lane in 0..LANES {
            bits[lane] |= fired[lane];
        }
    }
    bits
}

/// Bit `slot` where the line fires.
#[inline(always)]
fn fires(word: &[u32; LANES], thresholds: &[u64; LANES], slot: u32) -> [u32; LANES] {
    let mut bits = [0; LANES];
    for lane in 0..LANES {
        let (digits, certain) = (thresholds[lane] as u32, (thresholds[lane] >> 32) as u32);
        bits[lane] = (u32::from(word[lane] < digits) | certain) << slot;
    }
    bits
}

/// Words of four neighbouring samples with a single slot, which share an evaluation.
struct Shared {
    samples: u32,
    words: [[u32; LANES]; 4],
}

/// Block of these evaluations, beyond those of longer trains.
pub(crate) const SHARED_BLOCK: u32 = (1 << 24) - 1;

impl Shared {
    #[inline(always)]
    fn word(&mut self, draw: &Draw, first: u32, sample: u32) -> &[u32; LANES] {
        let samples = sample / 4;
        if self.samples != samples {
            self.samples = samples;
            self.words = draw.lanes(first, samples, SHARED_BLOCK);
        }
        &self.words[(sample % 4) as usize]
    }
}

/// For each lane, `slots` bits that are 1 with probability `threshold / 2^32`.
///
/// A bit is `U < p` for a uniform `U` that is revealed binary digit by binary digit, for all slots
/// of all lanes together, until every comparison is decided: word `w` of the generator holds digit
/// `w` of the 32 slots of a lane. That takes about log2(slots x lanes) + 2 words per lane instead
/// of one word per slot.
#[inline(always)]
fn bernoulli(draw: &Draw, first: u32, slice: &Slice, thresholds: &[u64; LANES]) -> [u32; LANES] {
    let all = (1u32 << slice.slots) - 1;
    let (mut open, mut bits, mut digits) = ([0u32; LANES], [0u32; LANES], [0u32; LANES]);
    for lane in 0..LANES {
        let certain = thresholds[lane] >> 32 != 0;
        digits[lane] = thresholds[lane] as u32;
        bits[lane] = if certain { all } else { 0 };
        open[lane] = if digits[lane] == 0 { 0 } else { all };
    }
    for quad in 0..8 {
        if open.iter().fold(0, |any, word| any | word) == 0 {
            break;
        }
        let words = draw.lanes(first, slice.sample as u32, slice.index * 8 + quad);
        for word in words {
            for lane in 0..LANES {
                // All ones when the digit of p is 1.
                let digit = ((digits[lane] as i32) >> 31) as u32;
                bits[lane] |= open[lane] & digit & !word[lane];
                open[lane] &= !(word[lane] ^ digit);
                digits[lane] <<= 1;
            }
        }
    }
    bits
}
