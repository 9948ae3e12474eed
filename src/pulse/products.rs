//! Numbers of pulses that are rounded products of two lines.

use std::ops::Range;

use super::kernels::queue::Numbers;
use super::trains::SIGN;
use crate::rng::LANES;

/// `rint(d x)` pulses of one sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Products<'a> {
    /// With zeros up to a multiple of [`LANES`].
    pub(crate) x: &'a [f64],
    pub(crate) d: &'a [f64],
}

impl Products<'_> {
    /// Those of the cells of `row` in a block of columns.
    #[inline(always)]
    pub(crate) fn count(&self, row: usize, block: usize) -> Numbers {
        let (mut count, mut up) = ([0; LANES], [0; LANES]);
        for lane in 0..LANES {
            let product = self.d[row] * self.x[block * LANES + lane];
            count[lane] = nearest(product.abs()) as u32;
            up[lane] = if product < 0.0 { SIGN } else { 0 };
        }
        Numbers { count, up }
    }

    /// Columns from the first to the last one that has pulses, in whole blocks.
    pub(crate) fn window(&self) -> Range<usize> {
        let first = self.x.iter().position(|x| *x != 0.0).unwrap_or(self.x.len());
        let end = self.x.iter().rposition(|x| *x != 0.0).map_or(first, |last| last + 1);
        first / LANES * LANES..end.next_multiple_of(LANES)
    }
}

/// Nearest integer, halves to even. Inputs have the precision of `f32`: what is a half up to that
/// is rounded as the half.
#[inline(always)]
pub(crate) fn nearest(value: f64) -> f64 {
    let half = (value * 2.0).round_ties_even() * 0.5;
    let close = (value - half).abs() < 1e-6 * half;
    if close { half.round_ties_even() } else { value.round_ties_even() }
}
