//! Whether numbers are finite.

use crate::error::{Error, Result};
use crate::par::Par;
use crate::simd::{self, Work};

/// Time of one value, in nanoseconds.
const VALUE_NS: f64 = 0.1;
/// Values that a thread takes at once.
const PIECE: usize = 1 << 16;
/// Accumulators of the test.
const LANES: usize = 32;

/// Whether no value is NaN or infinite.
#[must_use]
pub fn all_finite(values: &[f32]) -> bool {
    let par = Par::of(VALUE_NS * values.len() as f64);
    let found = par.for_each(values.chunks(PIECE), |piece| {
        let mut is_finite = false;
        simd::run(Test { values: piece, is_finite: &mut is_finite });
        // Which error it is does not matter: it ends the search.
        if is_finite { Ok(()) } else { Err(Error::Interrupted) }
    });
    found == Result::Ok(())
}

struct Test<'a> {
    values: &'a [f32],
    is_finite: &'a mut bool,
}

impl Work for Test<'_> {
    type Home = Self;

    #[inline(always)]
    fn run(self) {
        // The bits of the exponent are all set in NaN and in infinities, and only there.
        const EXPONENT: u32 = 0x7f80_0000;
        let mut lanes = [0u32; LANES];
        let (chunks, rest) = self.values.as_chunks::<LANES>();
        for chunk in chunks {
            for lane in 0..LANES {
                let is_bad = chunk[lane].to_bits() & EXPONENT == EXPONENT;
                lanes[lane] |= u32::from(is_bad);
            }
        }
        let is_rest_finite = rest.iter().all(|value| value.is_finite());
        *self.is_finite = is_rest_finite && lanes.iter().all(|lane| *lane == 0);
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
