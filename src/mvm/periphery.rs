//! What is done digitally with the inputs and outputs of an array: inputs are clipped to a range and
//! divided by it, outputs scaled and offset.
//!
//! A pass of its own over the rows, in the threads of the product: who calls for it needs no other
//! library for it, whose threads may not exist in a forked process.

use super::rows::{MANY, RowsMut, for_each};
use crate::error::{Error, Result};
use crate::par::Par;
use crate::simd::{self, Work};

/// Time of one element and one factor, in nanoseconds.
const ELEMENT_NS: f64 = 0.1;

/// Factors and offset of the outputs of a product.
#[derive(Debug, Default, Clone, Copy)]
pub struct Outputs<'a> {
    /// Factors, multiplied one after another: each one number, or one per output.
    pub factors: &'a [&'a [f32]],
    /// Added at last, one per output; empty for none.
    pub offset: &'a [f32],
}

impl Outputs<'_> {
    /// Checks the number of values.
    ///
    /// # Errors
    /// [`Error::Shape`] when they fit neither one nor all `width` outputs.
    pub fn check(&self, width: usize) -> Result<()> {
        for factor in self.factors.iter().filter(|factor| factor.len() != 1) {
            Error::check_len("factors", factor.len(), width)?;
        }
        if self.offset.is_empty() {
            Ok(())
        } else {
            Error::check_len("offset", self.offset.len(), width)
        }
    }

    /// Scales and offsets rows of `width` outputs; each element as single operations do it.
    ///
    /// # Errors
    /// As [`check`](Self::check), or when `y` has no whole rows.
    pub fn apply(&self, y: &mut [f32], width: usize) -> Result<()> {
        self.check(width)?;
        let passes = self.factors.len() + usize::from(!self.offset.is_empty());
        if passes == 0 || y.is_empty() {
            return Ok(());
        }
        let whole = y.len().checked_div(width).unwrap_or(0) * width;
        Error::check_len("y", y.len(), whole)?;
        let work = ELEMENT_NS * (passes * y.len()) as f64;
        for_each(Par::of(work), MANY, RowsMut::new(y, width), &|rows: RowsMut<'_, f32>| {
            simd::run(Leave { rows, outputs: *self });
            Ok(())
        })
    }
}

impl Outputs<'_> {
    /// Scales one row.
    #[inline(always)]
    pub(super) fn scale(&self, row: &mut [f32]) {
        for factor in self.factors {
            match factor {
                [factor] => row.iter_mut().for_each(|y| *y *= factor),
                factors => row.iter_mut().zip(*factors).for_each(|(y, factor)| *y *= factor),
            }
        }
    }
}

struct Leave<'a> {
    rows: RowsMut<'a, f32>,
    outputs: Outputs<'a>,
}

impl Work for Leave<'_> {
    type Home = Self;

    #[inline(always)]
    fn run(self) {
        for row in self.rows.data.chunks_exact_mut(self.rows.width) {
            self.outputs.scale(row);
            row.iter_mut().zip(self.outputs.offset).for_each(|(y, offset)| *y += offset);
        }
    }
}

/// Writes `x`, clipped to the range from `-r` to `r` and divided by `r`, into `out`; NaN stays.
///
/// # Errors
/// [`Error::Shape`] when the lengths differ.
pub fn enter(x: &[f32], r: f32, out: &mut [f32]) -> Result<()> {
    Error::check_len("out", out.len(), x.len())?;
    let elements = (RowsMut::new(out, 1), 0..x.len());
    let par = Par::of(ELEMENT_NS * x.len() as f64);
    for_each(par, MANY, elements, &|(out, at): (RowsMut<'_, f32>, std::ops::Range<usize>)| {
        simd::run(Enter { x: &x[at], r, out: out.data });
        Ok(())
    })
}

struct Enter<'a> {
    x: &'a [f32],
    r: f32,
    out: &'a mut [f32],
}

impl Work for Enter<'_> {
    type Home = Self;

    #[inline(always)]
    fn run(self) {
        for (out, x) in self.out.iter_mut().zip(self.x) {
            let above = if *x > self.r { self.r } else { *x };
            let inside = if above < -self.r { -self.r } else { above };
            *out = inside / self.r;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_scaled_and_offset_one_operation_after_another() {
        let mut y: Vec<f32> = (0..6).map(|i| i as f32 + 0.1).collect();
        let given = y.clone();
        let outputs = Outputs { factors: &[&[0.3], &[1.0, 2.0, 7.0]], offset: &[0.5, 0.25, -0.1] };
        outputs.apply(&mut y, 3).unwrap();
        for (at, (found, y)) in y.iter().zip(given).enumerate() {
            let column = at % 3;
            assert_eq!(*found, y * 0.3 * [1.0, 2.0, 7.0][column] + [0.5, 0.25, -0.1][column]);
        }
    }

    #[test]
    fn wrong_numbers_of_values_are_refused() {
        for (factors, offset) in [(&[0.0f32; 2][..], &[][..]), (&[1.0][..], &[0.0f32; 2][..])] {
            let mut y = [1.0; 6];
            assert!(Outputs { factors: &[factors], offset }.apply(&mut y, 3).is_err());
            assert_eq!(y, [1.0; 6]);
        }
        assert!(Outputs { factors: &[&[2.0]], offset: &[] }.apply(&mut [1.0; 5], 3).is_err());
        assert!(enter(&[1.0; 3], 1.0, &mut [0.0; 2]).is_err());
    }

    #[test]
    fn inputs_are_clipped_and_divided() {
        let x = [0.25, -0.25, 3.0, -3.0, f32::INFINITY, f32::NAN, -0.0];
        let mut out = [0.0; 7];
        enter(&x, 0.5, &mut out).unwrap();
        assert_eq!(out[..5], [0.5, -0.5, 1.0, -1.0, 1.0]);
        assert!(out[5].is_nan() && out[6] == 0.0 && out[6].is_sign_negative());
    }
}
