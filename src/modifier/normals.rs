//! Normal draws at half the price of those of `rng`, two from one word instead of from two.
//!
//! Box-Muller with 2^20 radii and 4096 directions, half a step off the axes. Equally spaced directions have
//! the moments of all of them up to the order of their number, so those of the draws are normal but for the
//! radii: variance to 1e-5. Draws end at 5.4 standard deviations, beyond which are 7e-8 of a normal
//! distribution: weights that are drawn anew in every step show nothing of it, and a step of training with
//! the dearer draws would take a tenth longer.

use crate::rng::{CHUNK, Draw, LANES, ln_1p};

/// Columns that one evaluation of each lane serves.
pub(super) const BLOCK: usize = 2 * CHUNK;
/// Columns of one word of each lane.
const PART: usize = 2 * LANES;

/// Fills `out[j]` with draws of columns `first + j`, as far as there are `len`; `first` is a multiple of
/// [`BLOCK`].
#[inline(always)]
pub(super) fn fill_normal(
    draw: &Draw,
    [first, len]: [usize; 2],
    row: u32,
    block: u32,
    out: &mut [f32; BLOCK],
) {
    let words = draw.lanes((first / BLOCK * LANES) as u32, row, block);
    let (parts, _) = out.as_chunks_mut::<PART>();
    for (part, words) in parts.iter_mut().zip(&words).take(len.div_ceil(PART)) {
        for lane in 0..LANES {
            let (a, b) = pair(words[lane]);
            part[lane] = a;
            part[LANES + lane] = b;
        }
    }
}

/// Two draws: the upper 20 bits give the radius, the others the direction.
#[inline(always)]
fn pair(word: u32) -> (f32, f32) {
    let radius = (-2.0 * ln_unit((word >> 12) as i32)).sqrt();
    let (sin, cos) = sin_cos((word & 0xfff) as i32);
    (radius * cos, radius * sin)
}

/// `ln((k + 1/2) / 2^20)`.
#[inline(always)]
fn ln_unit(k: i32) -> f32 {
    // Exact, so that there is no rounding at the upper end, where the logarithm is as small as 1 - u.
    let u = (k as f32 + 0.5) * (1.0 / 1_048_576.0);
    const SQRT_HALF: u32 = 0x3f35_04f3;
    let shifted = u.to_bits().wrapping_sub(SQRT_HALF);
    let exponent = ((shifted as i32) >> 23) as f32;
    let mantissa = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(SQRT_HALF)) - 1.0;
    exponent.mul_add(std::f32::consts::LN_2, ln_1p(mantissa))
}

/// Sine and cosine of direction `j` of 4096, half a step off the axes; absolute errors below 3e-6.
#[inline(always)]
fn sin_cos(j: i32) -> (f32, f32) {
    // Half of the angle, between -pi/2 and pi/2, where polynomials need no cases (Remez fits computed for
    // this crate); then the formulas for twice an angle.
    let x = (j as f32 - 2047.5) * (std::f32::consts::PI / 4096.0);
    let z = x * x;
    let sin = z.mul_add(-1.836_365_4e-4, 8.306_325e-3).mul_add(z, -0.166_648_28);
    let sin = sin.mul_add(z, 0.999_996_6) * x;
    let cos = z.mul_add(2.315_393_2e-5, -1.385_370_4e-3).mul_add(z, 4.166_358_5e-2);
    let cos = cos.mul_add(z, -0.499_999_05).mul_add(z, 1.0);
    (2.0 * sin * cos, (-2.0 * sin).mul_add(sin, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_match_double_precision() {
        for k in 0..1 << 20 {
            let exact = ((f64::from(k) + 0.5) / 1_048_576.0).ln();
            let error = (f64::from(ln_unit(k)) - exact).abs() / exact.abs();
            assert!(error < 3e-7, "ln at {k}: {error:e}");
        }
        for j in 0..4096 {
            let angle = (f64::from(j) - 2047.5) * std::f64::consts::TAU / 4096.0;
            let (sin, cos) = sin_cos(j);
            assert!((f64::from(sin) - angle.sin()).abs() < 3e-6, "sin of {j}");
            assert!((f64::from(cos) - angle.cos()).abs() < 3e-6, "cos of {j}");
        }
    }

    /// Moments over all words: directions and radii are independent.
    #[test]
    fn moments() {
        let mean = |of: &dyn Fn(i32) -> f64, count: i32| {
            (0..count).map(of).sum::<f64>() / f64::from(count)
        };
        for (order, expected) in [(1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0), (6, 15.0), (8, 105.0)] {
            let radius = |k| (-2.0 * f64::from(ln_unit(k))).sqrt().powi(order);
            let radii = mean(&radius, 1 << 20);
            for direction in [
                mean(&|j| f64::from(sin_cos(j).0).powi(order), 4096),
                mean(&|j| f64::from(sin_cos(j).1).powi(order), 4096),
            ] {
                let error = (radii * direction - expected).abs();
                // Errors of sine and cosine, and what the tail has of the sixth and eighth moment.
                let tail = [0.0, 1e-4, 3e-3][usize::from(order > 4) + usize::from(order > 6)];
                let limit = 3e-6 * f64::from(order) + tail;
                assert!(error < limit * f64::max(expected, 1.0), "{order}: {error:e}");
            }
        }
        assert!(pair(0).0.hypot(pair(0).1) > 5.39);
    }
}
