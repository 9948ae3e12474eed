//! Pulse after pulse: what every kernel does where pulses cannot be added up.

use crate::pulse::trains::SIGN;
use crate::rng::LANES;
use crate::simd::select;

/// Pulses of [`LANES`] crosspoints, each in its order: as bits, or as numbers where all pulses of a
/// crosspoint go one way. Bits would do there as well, but cost 5 to 10 % more for one sample and
/// up to 70 % more for deterministic pulses (measured with AVX2, where a comparison of 64 bits has to
/// be narrowed to the 32 of a weight).
pub(crate) trait Queue {
    /// Whether a crosspoint has pulses from number `pulse` on.
    fn lasts(&self, pulse: u32) -> bool;
    /// Takes pulse number `pulse`: whether there is one, and whether it goes up.
    fn take(&mut self, lane: usize, pulse: u32) -> (bool, bool);
}

/// Pulses of both directions, as bits.
pub(crate) struct Bits {
    /// Bits that are 1 for pulses; the lowest is the earliest.
    pub(crate) open: [u64; LANES],
    /// Those of them that are 1 for pulses up.
    pub(crate) up: [u64; LANES],
}

impl Bits {
    /// Most pulses of a crosspoint.
    pub(crate) const SIZE: u32 = u64::BITS;

    /// The pulses of some slices, given by the words of the input lines and of the row: at most
    /// [`Bits::SIZE`] in the row.
    #[inline(always)]
    pub(crate) fn new<'a>(slices: impl Iterator<Item = (&'a [u32; LANES], u32)>) -> Self {
        let (mut queue, mut count) = (Self { open: [0; LANES], up: [0; LANES] }, [0; LANES]);
        for (x, d) in slices {
            for lane in 0..LANES {
                let n = (x[lane] & d & !SIGN).count_ones();
                let up = 0u64.wrapping_sub(u64::from((x[lane] ^ d) >> 31));
                // A slice has less than 32 pulses. A full queue takes no more; its size is no valid
                // shift.
                let bits = ((1u64 << n) - 1) << (count[lane] % Self::SIZE);
                queue.open[lane] |= bits;
                queue.up[lane] |= bits & up;
                count[lane] += n;
            }
        }
        queue
    }
}

impl Queue for Bits {
    #[inline(always)]
    fn lasts(&self, _: u32) -> bool {
        self.open.iter().fold(0, |any, open| any | open) != 0
    }

    #[inline(always)]
    fn take(&mut self, lane: usize, _: u32) -> (bool, bool) {
        let first = self.open[lane] & self.open[lane].wrapping_neg();
        self.open[lane] ^= first;
        (first != 0, self.up[lane] & first != 0)
    }
}

/// Pulses of one direction, as numbers.
pub(crate) struct Numbers {
    /// Their number.
    pub(crate) count: [u32; LANES],
    /// Words with [`SIGN`] set where they go up.
    pub(crate) up: [u32; LANES],
}

impl Numbers {
    /// The pulses of a slice, given by the words of the input lines and of the row.
    #[inline(always)]
    pub(crate) fn new(x: &[u32; LANES], d: u32) -> Self {
        let mut queue = Self { count: [0; LANES], up: [0; LANES] };
        for lane in 0..LANES {
            queue.count[lane] = (x[lane] & d & !SIGN).count_ones();
            // A negative product of input and error calls for a larger weight.
            queue.up[lane] = (x[lane] ^ d) & SIGN;
        }
        queue
    }
}

impl Queue for Numbers {
    #[inline(always)]
    fn lasts(&self, pulse: u32) -> bool {
        self.count.iter().fold(0, |most, n| most.max(*n)) > pulse
    }

    #[inline(always)]
    fn take(&mut self, lane: usize, pulse: u32) -> (bool, bool) {
        (pulse < self.count[lane], self.up[lane] != 0)
    }
}

/// Draws for four pulses of each crosspoint, from one evaluation of the generator each.
pub(crate) type Quad = [[f32; LANES]; 4];

/// Applies pulses to the weights `w`. `draw(k)` gives the numbers of the `k`-th four pulses of each
/// crosspoint, `step(lane, w, up, xi)` the weight after a pulse, within its bounds. Both must be
/// `#[inline(always)]`: by itself a closure has the instructions of the target only.
#[inline(always)]
pub(crate) fn walk(
    mut queue: impl Queue,
    w: &mut [f32; LANES],
    draw: impl Fn(usize) -> Quad,
    step: impl Fn(usize, f32, bool, f32) -> f32,
) {
    // A copy, of which the compiler knows that it overlaps with nothing.
    let mut at = *w;
    let mut pulse = 0;
    while queue.lasts(pulse) {
        for xi in &draw(pulse as usize / 4) {
            for lane in 0..LANES {
                let (fires, up) = queue.take(lane, pulse);
                let moved = step(lane, at[lane], up, xi[lane]);
                at[lane] = select(fires, moved, at[lane]);
            }
            pulse += 1;
        }
    }
    *w = at;
}
