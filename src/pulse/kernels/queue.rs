//! Pulse after pulse: what every kernel does where pulses cannot be added up.

use crate::pulse::trains::SIGN;
use crate::rng::LANES;
use crate::simd::select;

/// Draws for four pulses of each of [`LANES`] crosspoints, from one evaluation of the generator each.
pub(crate) type Quad = [[f32; LANES]; 4];

/// Most pulses of a crosspoint that may be added to those that wait.
pub(crate) const MOST: u32 = 32;

/// Pulses of [`LANES`] crosspoints, all of a crosspoint in one direction.
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
        let mut pulses = Self { count: [0; LANES], up: [0; LANES] };
        for (lane, x) in x.iter().enumerate() {
            pulses.count[lane] = (x & d & !SIGN).count_ones();
            // A negative product of input and error calls for a larger weight.
            pulses.up[lane] = (x ^ d) & SIGN;
        }
        pulses
    }

    /// Applies them to the weights `w`. `draw(k)` gives the numbers of the `k`-th four pulses of each
    /// crosspoint, `step(lane, w, up, xi)` the weight after a pulse, within its bounds. Both must be
    /// `#[inline(always)]`: by itself a closure has the instructions of the target only.
    #[inline(always)]
    pub(crate) fn walk(
        &self,
        w: &mut [f32; LANES],
        draw: impl Fn(usize) -> Quad,
        step: impl Fn(usize, f32, bool, f32) -> f32,
    ) {
        // A copy, of which the compiler knows that it overlaps with nothing.
        let mut at = *w;
        let most = self.count.iter().fold(0, |most, n| most.max(*n));
        for quad in 0..most.div_ceil(4) {
            for (pulse, xi) in (4 * quad..).zip(&draw(quad as usize)) {
                for lane in 0..LANES {
                    let moved = step(lane, at[lane], self.up[lane] != 0, xi[lane]);
                    at[lane] = select(pulse < self.count[lane], moved, at[lane]);
                }
            }
        }
        *w = at;
    }
}

/// Weights of [`LANES`] crosspoints, and pulses that wait for draws, each in its order: four of every
/// crosspoint share an evaluation of the generator, wherever in the trains they are, so that few draws
/// are made for crosspoints that have no pulse just then.
///
/// Which draw serves a pulse thus depends on the pulses of the other lanes, but not on any draw.
pub(crate) struct Waiting<D, S> {
    w: [f32; LANES],
    /// 1 for pulses up; the lowest is the earliest.
    up: [u64; LANES],
    count: [u32; LANES],
    /// Number of the next evaluation.
    quad: usize,
    draw: D,
    step: S,
}

impl<D: Fn(usize) -> Quad, S: Fn(usize, f32, bool, f32) -> f32> Waiting<D, S> {
    /// The weights, without pulses; the first evaluation is number `first`. `draw` and `step` are those of
    /// [`Numbers::walk`].
    #[inline(always)]
    pub(crate) fn new(first: usize, w: &[f32; LANES], draw: D, step: S) -> Self {
        Self { w: *w, up: [0; LANES], count: [0; LANES], quad: first, draw, step }
    }

    /// The weights after all pulses, of which `next` gives some of each crosspoint, at most [`MOST`]: how
    /// many, and bits that are 1 for those that go up, 0 from their number on. There are at most eight
    /// evaluations for each time that it gives some.
    #[inline(always)]
    pub(crate) fn walk(
        mut self,
        mut next: impl FnMut() -> Option<([u32; LANES], [u32; LANES])>,
    ) -> [f32; LANES] {
        loop {
            let more = next();
            let left = if more.is_some() { MOST } else { 0 };
            if let Some((count, up)) = &more {
                self.add(count, up);
            }
            // One place for all, for the code of the draws and steps is long.
            while self.most() > left {
                self.apply();
            }
            if more.is_none() {
                return self.w;
            }
        }
    }

    #[inline(always)]
    fn add(&mut self, count: &[u32; LANES], up: &[u32; LANES]) {
        for lane in 0..LANES {
            // At most 32: a valid shift.
            let free = self.count[lane] % 64;
            self.up[lane] |= u64::from(up[lane]) << free;
            self.count[lane] += count[lane];
        }
    }

    #[inline(always)]
    fn most(&self) -> u32 {
        self.count.iter().fold(0, |most, n| most.max(*n))
    }

    /// Applies up to four pulses of each crosspoint.
    #[inline(always)]
    fn apply(&mut self) {
        // Copies, of which the compiler knows that they overlap with nothing.
        let (mut at, count, mut up) = (self.w, self.count, [0; LANES]);
        for lane in 0..LANES {
            up[lane] = self.up[lane] as u32;
            self.up[lane] >>= 4;
            self.count[lane] = count[lane].saturating_sub(4);
        }
        for (pulse, xi) in (0..).zip(&(self.draw)(self.quad)) {
            for lane in 0..LANES {
                let moved = (self.step)(lane, at[lane], up[lane] & (1 << pulse) != 0, xi[lane]);
                at[lane] = select(pulse < count[lane], moved, at[lane]);
            }
        }
        self.w = at;
        self.quad += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Half of the weight, and one more after a pulse up: tells all orders of pulses apart.
    fn step(_: usize, w: f32, up: bool, _: f32) -> f32 {
        w.mul_add(0.5, if up { 1.0 } else { 0.0 })
    }

    /// Some numbers, from none to as many as may be added.
    fn number(at: usize) -> u32 {
        [0, 1, 2, 0, 5, MOST, 0, 31, 3, 0, 0, 17, 4][at % 13] * u32::from(at % 7 != 3)
    }

    #[test]
    fn waiting_pulses_keep_their_order_and_their_draws() {
        for additions in [0, 1, 2, 9, 40] {
            let draws = RefCell::new(Vec::new());
            let draw = |quad| {
                draws.borrow_mut().push(quad);
                [[0.0; LANES]; 4]
            };
            let mut expected = [0.0; LANES];
            let waiting = Waiting::new(100, &expected, draw, step);
            let mut pulses = Vec::new();
            for addition in 0..additions {
                let (mut count, mut up) = ([0; LANES], [0; LANES]);
                for lane in 0..LANES {
                    count[lane] = number(addition * 5 + lane);
                    let some = 0x9E37_79B9u32.wrapping_mul((addition * LANES + lane) as u32 | 1);
                    up[lane] = (u64::from(some) & ((1 << count[lane]) - 1)) as u32;
                    for pulse in 0..count[lane] {
                        let is_up = up[lane] >> pulse & 1 == 1;
                        expected[lane] = step(lane, expected[lane], is_up, 0.0);
                    }
                }
                pulses.push((count, up));
            }
            let mut pulses = pulses.into_iter();
            assert_eq!(waiting.walk(|| pulses.next()), expected);
            let draws = draws.into_inner();
            assert!(draws.iter().copied().eq(100..100 + draws.len()));
            assert!(draws.len() <= 8 * additions);
        }
    }
}
