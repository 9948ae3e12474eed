//! Counter-based randomness: every draw is a pure function of where it is used.
//!
//! The generator is Threefry4x32 with 12 rounds (Salmon, Moraes, Dror, Shaw, "Parallel random
//! numbers: as easy as 1, 2, 3", SC 2011). The key holds the tile's seed, the upper half of the call
//! number and the part of the call; the counter holds (column block, row, stream and block, lower
//! half of the call), so that no draw depends on the number of threads, on the order of loops or on
//! other tiles.
//!
//! One evaluation gives four words. In a row they serve four columns of one chunk of 64: evaluation
//! `l` of chunk `c` serves columns `64 c + l + 16 k`, word by word, so that a vector of evaluations
//! is a vector of columns ([`position`]). Kernels fill whole rows with [`Draw::fill_words`], [`Draw::fill_uniform`] and
//! [`Draw::fill_normal`], or evaluate [`Lanes`] blocks in registers.

/// Key schedule parity of the 32-bit Threefry family (Skein).
const PARITY: u32 = 0x1BD1_1BDA;
/// Rounds used for all draws; the paper's smallest crush-resistant count is 12.
pub const ROUNDS: usize = 12;

/// What a draw is for. Append only: another order changes everybody's results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum Stream {
    /// Hidden parameters of devices at construction.
    Construct = 0,
    /// Frozen per-line values of the forward pass at construction.
    FrozenForward = 1,
    /// Frozen per-line values of the backward pass at construction.
    FrozenBackward = 2,
    /// Stochastic rounding in the DAC.
    InputRound = 3,
    /// Gaussian noise on the input lines.
    InputNoise = 4,
    /// Output-referred weight noise.
    WeightNoise = 5,
    /// Gaussian noise on the output lines.
    OutputNoise = 6,
    /// Stochastic rounding in the ADC.
    OutputRound = 7,
    /// Pulse trains of the input lines (columns).
    PulseX = 8,
    /// Pulse trains of the error lines (rows).
    PulseD = 9,
    /// Cycle-to-cycle noise of pulses.
    CycleToCycle = 10,
    /// Stochastic rounding of pulse probabilities.
    PulseRound = 11,
    /// Random initial weights.
    Weights = 12,
    /// Weight diffusion.
    Diffusion = 13,
    /// Reset noise.
    Reset = 14,
    /// Programming noise.
    Program = 15,
    /// Drift.
    Drift = 16,
    /// Read noise.
    Read = 17,
    /// Weight modifier.
    Modifier = 18,
    /// Write noise.
    WriteNoise = 19,
    /// Which device of a unit cell is pulsed, and which line is transferred.
    Select = 20,
    /// Flips of the signs of lines.
    Chop = 21,
    /// Stochastic rounding of the inputs and errors that a unit cell adds up digitally.
    Quantise = 22,
}

/// Number of bits of the counter's third word that hold the stream; the rest holds the block.
const STREAM_BITS: u32 = 8;
/// Offset between the streams of a forward pass and those of the backward pass of the same call.
pub const BACKWARD: u32 = 0x80;

/// Seeds of several tiles that belong together: the seed itself for number 0, others by the mixing function of
/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
pub(crate) fn derived(seed: u64, number: u64) -> u64 {
    if number == 0 {
        return seed;
    }
    let mut z = seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Seed of a tile, number of the call and part of it: everything that the draws of one device in one
/// event have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Seed of the tile.
    pub seed: u64,
    /// Number of the call.
    pub call: u64,
    /// Device in the upper 8 bits, event in the others.
    part: u32,
}

/// Bits of the part of a key that hold the event.
const EVENT_BITS: u32 = 24;

impl Key {
    /// Key of call number `call` of the tile seeded with `seed`.
    #[must_use]
    pub const fn new(seed: u64, call: u64) -> Self {
        Self { seed, call, part: 0 }
    }

    /// Key of one of several devices at each crosspoint, in one of the events that make up a call:
    /// draws of their own, while draws of part (0, 0), which is that of [`Key::new`], are common to
    /// all. `event` is below 2^24; its bits above are dropped.
    #[must_use]
    pub const fn part(self, device: u8, event: u32) -> Self {
        let event = event & ((1 << EVENT_BITS) - 1);
        Self { part: (device as u32) << EVENT_BITS | event, ..self }
    }

    /// The four words of the generator's key.
    pub(crate) const fn words(self) -> [u32; 4] {
        [self.seed as u32, (self.seed >> 32) as u32, (self.call >> 32) as u32, self.part]
    }

    /// Draws of one stream.
    #[must_use]
    pub const fn stream(self, stream: Stream) -> Draw {
        self.tagged(stream as u32)
    }

    /// Draws of one stream in the backward pass, which shares the call number of its forward pass.
    #[must_use]
    pub const fn backward(self, stream: Stream) -> Draw {
        self.tagged(stream as u32 | BACKWARD)
    }

    const fn tagged(self, tag: u32) -> Draw {
        Draw { key: self.words(), tag, call: self.call as u32 }
    }
}

/// Draws of one stream of one call; `row` and `block` select what is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    key: [u32; 4],
    tag: u32,
    call: u32,
}

/// Independent evaluations in one chunk.
pub const LANES: usize = 16;
/// Columns evaluated together by the vectorised fills: 16 evaluations of four words.
pub const CHUNK: usize = 4 * LANES;
/// Four words for each of [`LANES`] evaluations, word-major.
pub type Lanes = [[u32; LANES]; 4];

/// Column block of a lane whose words nobody reads; no draw has it.
pub(crate) const UNUSED: u32 = u32::MAX;

/// Evaluation (first counter word) and word that serve `column`.
#[must_use]
#[inline(always)]
pub const fn position(column: u32) -> (u32, usize) {
    let (chunk, within) = (column / CHUNK as u32, column as usize % CHUNK);
    (chunk * LANES as u32 + (within % LANES) as u32, within / LANES)
}

impl Draw {
    /// The four words of evaluation `column_block` in `row` and `block` (below 2^24).
    #[must_use]
    #[inline(always)]
    pub fn words(&self, column_block: u32, row: u32, block: u32) -> [u32; 4] {
        threefry4x32::<ROUNDS>(self.counter(column_block, row, block), self.key)
    }

    #[inline(always)]
    const fn counter(&self, column_block: u32, row: u32, block: u32) -> [u32; 4] {
        [column_block, row, self.tag | (block << STREAM_BITS), self.call]
    }

    /// Tells tests of words that are drawn.
    #[cfg(test)]
    fn record(&self, position: [u32; 3], words: std::ops::Range<usize>) {
        let [column_block, row, block] = position;
        record::add(self.key, self.counter(column_block, row, block), words);
    }

    /// [`LANES`] evaluations for column blocks `first ..`, vectorised by the compiler.
    #[must_use]
    #[inline(always)]
    pub fn lanes(&self, first: u32, row: u32, block: u32) -> Lanes {
        let mut out = [[0; LANES]; 4];
        // One loop with all rounds, which the compiler vectorises as a whole: of a loop per step it
        // unrolls each and puts vectors together again from pieces.
        for lane in 0..LANES {
            let words = self.words(first.wrapping_add(lane as u32), row, block);
            put(&mut out, lane, words);
            #[cfg(test)]
            self.record([first.wrapping_add(lane as u32), row, block], 0..4);
        }
        out
    }

    /// [`LANES`] evaluations with a column block and row of their own each; `UNUSED` for those that
    /// nobody reads.
    #[must_use]
    #[inline(always)]
    pub fn lanes_at(&self, column_block: [u32; LANES], row: [u32; LANES], block: u32) -> Lanes {
        let mut out = [[0; LANES]; 4];
        for lane in 0..LANES {
            put(&mut out, lane, self.words(column_block[lane], row[lane], block));
            #[cfg(test)]
            if column_block[lane] != UNUSED {
                self.record([column_block[lane], row[lane], block], 0..4);
            }
        }
        out
    }

    /// One word: that of `column` in `row` and `block`.
    #[must_use]
    #[inline(always)]
    pub fn word(&self, column: u32, row: u32, block: u32) -> u32 {
        let (evaluation, word) = position(column);
        #[cfg(test)]
        self.record([evaluation, row, block], word..word + 1);
        self.words(evaluation, row, block)[word]
    }

    /// One uniform draw in [0, 1).
    #[must_use]
    #[inline(always)]
    pub fn uniform(&self, column: u32, row: u32, block: u32) -> f32 {
        to_uniform(self.word(column, row, block))
    }

    /// One standard normal draw, equal to the element that [`Draw::fill_normal`] writes.
    #[must_use]
    #[inline(always)]
    pub fn normal(&self, column: u32, row: u32, block: u32) -> f32 {
        let (evaluation, word) = position(column);
        #[cfg(test)]
        self.record([evaluation, row, block], word..word + 1);
        let [a, b, c, d] = self.words(evaluation, row, block);
        let pair = if word < 2 { box_muller(a, b) } else { box_muller(c, d) };
        if word % 2 == 0 { pair.0 } else { pair.1 }
    }

    /// Fills `out[j]` with the words of columns `j`.
    #[inline(always)]
    pub fn fill_words(&self, row: u32, block: u32, out: &mut [u32]) {
        for (chunk, part) in out.chunks_mut(CHUNK).enumerate() {
            let lanes = self.lanes((chunk * LANES) as u32, row, block);
            spread(&lanes, part, |word| word);
        }
    }

    /// Fills `out[j]` with uniform draws in [0, 1) of columns `j`.
    #[inline(always)]
    pub fn fill_uniform(&self, row: u32, block: u32, out: &mut [f32]) {
        self.fill_uniform_from(0, row, block, out);
    }

    /// Fills `out[j]` with uniform draws of columns `first + j`; `first` is a multiple of [`CHUNK`].
    #[inline(always)]
    pub(crate) fn fill_uniform_from(&self, first: usize, row: u32, block: u32, out: &mut [f32]) {
        let first = first / CHUNK;
        for (chunk, part) in out.chunks_mut(CHUNK).enumerate() {
            let lanes = self.lanes(((first + chunk) * LANES) as u32, row, block);
            spread(&lanes, part, to_uniform);
        }
    }

    /// Fills `out[j]` with standard normal draws of columns `j`.
    #[inline(always)]
    pub fn fill_normal(&self, row: u32, block: u32, out: &mut [f32]) {
        self.fill_normal_from(0, row, block, out);
    }

    /// Fills `out[j]` with standard normal draws of columns `first + j`; `first` is a multiple of
    /// [`CHUNK`].
    #[inline(always)]
    pub(crate) fn fill_normal_from(&self, first: usize, row: u32, block: u32, out: &mut [f32]) {
        let first = first / CHUNK;
        for (chunk, part) in out.chunks_mut(CHUNK).enumerate() {
            let lanes = self.lanes(((first + chunk) * LANES) as u32, row, block);
            if part.len() > 2 * LANES {
                spread(&normal_lanes(&lanes), part, |value| value);
            } else {
                // Half of a chunk needs one of the two pairs of words.
                spread(&normal_pair(&lanes, 0), part, |value| value);
            }
        }
    }

    /// Fills rows of at most [`LANES`] columns with the standard normal draws of columns `0 ..`, as
    /// many rows of `width` as `rows` has: those that [`fill_normal`](Self::fill_normal) gives one by
    /// one, of which each would throw away most of its evaluations.
    #[inline(always)]
    pub(crate) fn fill_normal_rows(&self, rows: &[u32], block: u32, width: usize, out: &mut [f32]) {
        let together = LANES / width;
        for (rows, out) in rows.chunks(together).zip(out.chunks_mut(together * width)) {
            let (mut columns, mut numbers) = ([UNUSED; LANES], [0; LANES]);
            for (at, row) in rows.iter().enumerate() {
                for column in 0..width {
                    columns[at * width + column] = column as u32;
                    numbers[at * width + column] = *row;
                }
            }
            let [first, _] = normal_pair(&self.lanes_at(columns, numbers, block), 0);
            out.copy_from_slice(&first[..out.len()]);
        }
    }
}

#[inline(always)]
fn put(lanes: &mut Lanes, lane: usize, words: [u32; 4]) {
    lanes[0][lane] = words[0];
    lanes[1][lane] = words[1];
    lanes[2][lane] = words[2];
    lanes[3][lane] = words[3];
}

/// Writes word `k` of lane `l` to position `16 k + l`, through `map`.
#[inline(always)]
fn spread<T: Copy, U, const WORDS: usize>(
    lanes: &[[T; LANES]; WORDS],
    out: &mut [U],
    map: impl Fn(T) -> U,
) {
    for (values, part) in lanes.iter().zip(out.chunks_mut(LANES)) {
        if let Ok(part) = <&mut [U; LANES]>::try_from(&mut *part) {
            for lane in 0..LANES {
                part[lane] = map(values[lane]);
            }
        } else {
            for (slot, value) in part.iter_mut().zip(values) {
                *slot = map(*value);
            }
        }
    }
}

/// Uniform in [0, 1) with 24 bits: 0 can occur, 1 cannot.
#[must_use]
#[inline(always)]
pub fn to_uniform(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Standard normals of [`LANES`] evaluations: words (0, 1) and (2, 3) are Box-Muller pairs.
#[must_use]
#[inline(always)]
pub fn normal_lanes(words: &Lanes) -> [[f32; LANES]; 4] {
    let [[a, b], [c, d]] = [normal_pair(words, 0), normal_pair(words, 1)];
    [a, b, c, d]
}

/// The standard normals of one of the two pairs of words.
#[inline(always)]
fn normal_pair(words: &Lanes, pair: usize) -> [[f32; LANES]; 2] {
    let mut out = [[0.0f32; LANES]; 2];
    for lane in 0..LANES {
        let (a, b) = box_muller(words[2 * pair][lane], words[2 * pair + 1][lane]);
        out[0][lane] = a;
        out[1][lane] = b;
    }
    out
}

/// More than any normal draw: the radius of the smallest word is `sqrt(66 ln 2)`, below 6.764.
pub(crate) const MAX_NORMAL: f32 = 6.77;

/// Box-Muller transform of two words. The radius uses all 32 bits, so |z| reaches 6.66.
#[must_use]
#[inline(always)]
pub fn box_muller(radius: u32, angle: u32) -> (f32, f32) {
    let r = (-2.0 * ln_unit(radius)).sqrt();
    let (sin, cos) = sin_cos_turn(angle);
    (r * cos, r * sin)
}

/// `ln((word + 1/2) / 2^32)` for any word; relative error below 3e-7.
///
/// The argument is split as `m 2^e` with `m` in [sqrt(1/2), sqrt(2)); `ln m` is a Taylor-Chebyshev
/// polynomial in `m - 1` (a Remez fit on that interval, computed for this crate).
#[inline(always)]
fn ln_unit(word: u32) -> f32 {
    // Words near 2^32 need `1 - u` exactly: ln(1 - t) is evaluated from the integer distance t, for
    // f32 has no value between 1 - 2^-24 and 1. `upper` says which end the word is near.
    let upper = word >= 0xC000_0000;
    let from_end = if upper { !word } else { word };
    let u = (from_end as f32 + 0.5) * (1.0 / 4_294_967_296.0);
    let bits = u.to_bits();
    let shifted = bits.wrapping_sub(0x3f35_04f3);
    let exponent = ((shifted as i32) >> 23) as f32;
    let mantissa = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(0x3f35_04f3)) - 1.0;
    let m = if upper { -u } else { mantissa };
    let e = if upper { 0.0 } else { exponent };
    ln_1p(m) + e * std::f32::consts::LN_2
}

/// `ln(1 + m)` for m in [sqrt(1/2) - 1, sqrt(2) - 1].
#[inline(always)]
pub(crate) fn ln_1p(m: f32) -> f32 {
    const P: [f32; 8] = [
        0.333_333_3,
        -0.250_008_22,
        0.200_012_2,
        -0.166_233_27,
        0.142_018_83,
        -0.131_606_35,
        0.127_608_57,
        -0.076_322_76,
    ];
    let mut p = P[7];
    for c in [P[6], P[5], P[4], P[3], P[2], P[1], P[0]] {
        p = p.mul_add(m, c);
    }
    let square = m * m;
    (p * m).mul_add(square, square.mul_add(-0.5, m))
}

/// Sine and cosine of the angle `word / 2^32` of a full turn; absolute error below 1e-7.
#[inline(always)]
fn sin_cos_turn(word: u32) -> (f32, f32) {
    let quadrant = word.wrapping_add(1 << 29) >> 30;
    // Centred on the word's interval, so that the angle is symmetric around every axis.
    let rest = word.wrapping_sub(quadrant << 30) as i32;
    let x = (rest as f32 + 0.5) * (std::f32::consts::TAU / 4_294_967_296.0);
    let z = x * x;
    let s = z.mul_add(-0.000_195_17, 0.008_332_18).mul_add(z, -0.166_666_55);
    let sin = (s * z).mul_add(x, x);
    let c = z.mul_add(2.443_845_2e-5, -1.388_736_8e-3).mul_add(z, 4.166_664_7e-2);
    let cos = (c * z).mul_add(z, z.mul_add(-0.5, 1.0));
    let swap = quadrant & 1 == 1;
    let (a, b) = if swap { (cos, sin) } else { (sin, cos) };
    let sin_sign = (quadrant & 2) << 30;
    let cos_sign = (quadrant.wrapping_add(1) & 2) << 30;
    (f32::from_bits(a.to_bits() ^ sin_sign), f32::from_bits(b.to_bits() ^ cos_sign))
}

/// Threefry4x32 with `R` rounds, as published. Rounds are written out, for a loop over them would make
/// the rotations variable.
#[must_use]
#[inline(always)]
pub fn threefry4x32<const R: usize>(counter: [u32; 4], key: [u32; 4]) -> [u32; 4] {
    let parity = PARITY ^ key[0] ^ key[1] ^ key[2] ^ key[3];
    let schedule = [key[0], key[1], key[2], key[3], parity];
    let mut x = counter;
    inject(&mut x, &schedule, 0);
    eight_rounds::<R, 0>(&mut x, &schedule);
    eight_rounds::<R, 8>(&mut x, &schedule);
    eight_rounds::<R, 16>(&mut x, &schedule);
    x
}

/// Rounds `FIRST .. FIRST + 8` as far as there are `R`, each fourth followed by a key injection.
#[inline(always)]
fn eight_rounds<const R: usize, const FIRST: usize>(x: &mut [u32; 4], schedule: &[u32; 5]) {
    macro_rules! round {
        ($index:literal, $a:literal, $b:literal, $first:literal, $second:literal) => {
            if FIRST + $index < R {
                mix::<$first>(x, 0, $a);
                mix::<$second>(x, 2, $b);
            }
        };
    }
    round!(0, 1, 3, 10, 26);
    round!(1, 3, 1, 11, 21);
    round!(2, 1, 3, 13, 27);
    round!(3, 3, 1, 23, 5);
    if FIRST + 3 < R {
        inject(x, schedule, FIRST / 4 + 1);
    }
    round!(4, 1, 3, 6, 20);
    round!(5, 3, 1, 17, 11);
    round!(6, 1, 3, 25, 10);
    round!(7, 3, 1, 18, 20);
    if FIRST + 7 < R {
        inject(x, schedule, FIRST / 4 + 2);
    }
}

/// Key injection number `injection`.
#[inline(always)]
fn inject(x: &mut [u32; 4], schedule: &[u32; 5], injection: usize) {
    for (word, value) in x.iter_mut().enumerate() {
        let number = if word == 3 { injection as u32 } else { 0 };
        *value = value.wrapping_add(schedule[(injection + word) % 5].wrapping_add(number));
    }
}

/// One mix of the Threefish round function.
#[inline(always)]
fn mix<const ROTATION: u32>(x: &mut [u32; 4], to: usize, from: usize) {
    x[to] = x[to].wrapping_add(x[from]);
    x[from] = x[from].rotate_left(ROTATION) ^ x[to];
}

/// The positions of all draws of a thread, for tests that none is used twice.
#[cfg(test)]
pub(crate) mod record {
    use std::cell::RefCell;
    use std::ops::Range;

    use super::{STREAM_BITS, Stream};

    /// Key, counter and word.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) struct Position {
        key: [u32; 4],
        counter: [u32; 4],
        word: usize,
    }

    impl Position {
        /// Whether it belongs to a stream.
        pub(crate) fn is_of(&self, stream: Stream) -> bool {
            self.counter[2] & ((1 << STREAM_BITS) - 1) == stream as u32
        }

        /// Number of its block.
        pub(crate) fn block(&self) -> u32 {
            self.counter[2] >> STREAM_BITS
        }
    }

    thread_local! {
        static DRAWN: RefCell<Option<Vec<Position>>> = const { RefCell::new(None) };
    }

    /// What `f` draws in this thread.
    pub(crate) fn during(f: impl FnOnce()) -> Vec<Position> {
        DRAWN.set(Some(Vec::new()));
        f();
        DRAWN.take().unwrap_or_default()
    }

    pub(super) fn add(key: [u32; 4], counter: [u32; 4], words: Range<usize>) {
        DRAWN.with_borrow_mut(|drawn| {
            if let Some(drawn) = drawn {
                drawn.extend(words.map(|word| Position { key, counter, word }));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PI: [u32; 8] = [
        0x243f_6a88,
        0x85a3_08d3,
        0x1319_8a2e,
        0x0370_7344,
        0xa409_3822,
        0x299f_31d0,
        0x082e_fa98,
        0xec4e_6c89,
    ];

    /// Known-answer vectors published with the generator (20 and 13 rounds).
    #[test]
    fn known_answers() {
        let zero = ([0; 4], [0; 4]);
        let ones = ([u32::MAX; 4], [u32::MAX; 4]);
        let pi = ([PI[0], PI[1], PI[2], PI[3]], [PI[4], PI[5], PI[6], PI[7]]);
        let twenty = |(c, k)| threefry4x32::<20>(c, k);
        let thirteen = |(c, k)| threefry4x32::<13>(c, k);
        assert_eq!(twenty(zero), [0x9c6c_a96a, 0xe17e_ae66, 0xfc10_ecd4, 0x5256_a7d8]);
        assert_eq!(twenty(ones), [0x2a88_1696, 0x5701_2287, 0xf6c7_446e, 0xa16a_6732]);
        assert_eq!(twenty(pi), [0x59cd_1dbb, 0xb887_9579, 0x86b5_d00c, 0xac8b_6d84]);
        assert_eq!(thirteen(zero), [0x531c_7e4f, 0x3949_1ee5, 0x2c85_5a92, 0x3d6a_bf9a]);
        assert_eq!(thirteen(ones), [0xc418_9358, 0x1c9c_c83a, 0xd588_1c67, 0x6a0a_89e0]);
        assert_eq!(thirteen(pi), [0x4aa7_1d8f, 0x7347_38c2, 0x431f_c6a8, 0xae6d_ebf1]);
    }

    #[test]
    fn fills_agree_with_single_draws() {
        let draw = Key::new(0x1234_5678_9abc_def0, 1 << 40 | 7).stream(Stream::OutputNoise);
        let (mut words, mut uniform, mut normal) = ([0; 133], [0.0; 133], [0.0; 133]);
        draw.fill_words(5, 3, &mut words);
        draw.fill_uniform(5, 3, &mut uniform);
        draw.fill_normal(5, 3, &mut normal);
        for len in [1, 16, 31, 32, 33] {
            let mut short = vec![0.0; len];
            draw.fill_normal(5, 3, &mut short);
            assert_eq!(short, normal[..len]);
        }
        for j in 0..133 {
            assert_eq!(words[j as usize], draw.word(j, 5, 3));
            assert_eq!(uniform[j as usize], draw.uniform(j, 5, 3));
            assert_eq!(normal[j as usize], draw.normal(j, 5, 3));
        }
    }

    #[test]
    fn narrow_rows_agree_with_single_draws() {
        let draw = Key::new(7, 9).stream(Stream::OutputNoise);
        for width in 1..=LANES {
            for count in [1, 2, 15, 16, 17, 40] {
                let rows: Vec<u32> = (0..count).map(|at| 3 * at + 1).collect();
                let mut normals = vec![0.0; rows.len() * width];
                draw.fill_normal_rows(&rows, 5, width, &mut normals);
                for (row, normals) in rows.iter().zip(normals.chunks(width)) {
                    for (column, normal) in normals.iter().enumerate() {
                        assert_eq!(*normal, draw.normal(column as u32, *row, 5));
                    }
                }
            }
        }
    }

    #[test]
    fn every_part_of_the_position_matters() {
        let base = Key::new(1, 2).stream(Stream::PulseX).words(3, 4, 5);
        let others = [
            Key::new(2, 2).stream(Stream::PulseX).words(3, 4, 5),
            Key::new(1 | 1 << 32, 2).stream(Stream::PulseX).words(3, 4, 5),
            Key::new(1, 3).stream(Stream::PulseX).words(3, 4, 5),
            Key::new(1, 2 | 1 << 32).stream(Stream::PulseX).words(3, 4, 5),
            Key::new(1, 2).stream(Stream::PulseD).words(3, 4, 5),
            Key::new(1, 2).part(1, 0).stream(Stream::PulseX).words(3, 4, 5),
            Key::new(1, 2).part(0, 1).stream(Stream::PulseX).words(3, 4, 5),
            Key::new(1, 2).backward(Stream::PulseX).words(3, 4, 5),
            Key::new(1, 2).stream(Stream::PulseX).words(4, 4, 5),
            Key::new(1, 2).stream(Stream::PulseX).words(3, 5, 5),
            Key::new(1, 2).stream(Stream::PulseX).words(3, 4, 6),
        ];
        assert!(others.iter().all(|words| *words != base));
    }

    #[test]
    fn parts_of_a_key() {
        let key = Key::new(1, 2);
        assert_eq!(key.part(0, 0), key);
        assert_eq!(key.part(3, 5).words()[3], 3 << 24 | 5);
        assert_eq!(key.part(3, 5).part(0, 0), key);
        assert_eq!(key.part(255, u32::MAX).words()[3], u32::MAX);
    }

    /// The polynomials against f64 at both ends and across the whole range of words.
    #[test]
    fn polynomials_match_double_precision() {
        let edges = [
            0,
            1,
            2,
            1000,
            0x7fff_ffff,
            0x8000_0000,
            0xbfff_ffff,
            0xc000_0000,
            u32::MAX - 1,
            u32::MAX,
        ];
        let grid = (0..100_000u32).map(|i| i.wrapping_mul(42_949));
        for word in edges.into_iter().chain(grid) {
            let u = (f64::from(word) + 0.5) / 4_294_967_296.0;
            let exact = u.ln();
            let error = (f64::from(ln_unit(word)) - exact).abs() / exact.abs();
            assert!(error < 3e-7, "ln at {word}: {error:e}");
            let (sin, cos) = sin_cos_turn(word);
            let angle = u * std::f64::consts::TAU;
            assert!((f64::from(sin) - angle.sin()).abs() < 1.5e-7, "sin at {word}");
            assert!((f64::from(cos) - angle.cos()).abs() < 1.5e-7, "cos at {word}");
        }
        assert!((-2.0 * ln_unit(0)).sqrt() > 6.6);
    }
}
