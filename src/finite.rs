//! Whether numbers are finite.

use crate::error::{Error, Result};
use crate::par::Par;
use crate::simd::{self, Work};

/// Time of one value, in nanoseconds.
const VALUE_NS: f64 = 0.1;
/// Values that a thread takes at once.
const PIECE: usize = 1 << 16;

/// Whether no value is NaN or infinite.
#[must_use]
pub fn all_finite(values: &[f32]) -> bool {
    let par = Par::of(VALUE_NS * values.len() as f64);
    let found = par.for_each(values.chunks(PIECE), |piece| {
        // Which error it is does not matter: it ends the search.
        if largest(piece).is_finite() { Ok(()) } else { Err(Error::Interrupted) }
    });
    found == Result::Ok(())
}

/// Largest absolute value; 0 for none. NaN or infinite if a value is.
#[inline(always)]
pub(crate) fn max_abs(values: &[f32]) -> f32 {
    const MAGNITUDE: u32 = u32::MAX >> 1;
    // Magnitudes are ordered as their bits are, with infinity and then NaN at the top. Of integers the
    // compiler finds the lanes itself, and better ones.
    let largest = values.iter().fold(0, |largest: u32, v| largest.max(v.to_bits() & MAGNITUDE));
    f32::from_bits(largest)
}

/// [`max_abs`] with the vectors of this machine.
pub(crate) fn largest(values: &[f32]) -> f32 {
    let mut found = 0.0;
    simd::run(Largest { values, found: &mut found });
    found
}

struct Largest<'a> {
    values: &'a [f32],
    found: &'a mut f32,
}

impl Work for Largest<'_> {
    type Home = Self;

    #[inline(always)]
    fn run(self) {
        *self.found = max_abs(self.values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_tells_wherever_it_is() {
        for len in [1, 31, 32, 33, 3 * PIECE + 5] {
            let mut values = vec![f32::MAX; len];
            assert!(all_finite(&values));
            for at in [0, len / 2, len - 1] {
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    values[at] = bad;
                    assert!(!all_finite(&values), "{bad} at {at} of {len}");
                }
                values[at] = -f32::MAX;
            }
        }
        assert!(all_finite(&[]));
    }
}
