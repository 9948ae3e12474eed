//! Exponential and power functions that vectorise: polynomials of `f32`, without branches.
//!
//! Relative errors, tested over the range: [`exp2`] below 2e-7, [`exp`] below 2e-7 plus 6e-8 of the
//! argument, [`pow_unit`] below 2e-7 plus 1.2e-7 of `|gamma log2 x|`: for results above 1e-4 less
//! than 2e-6, which is 1e5 times below the usual noise of a pulse.

use crate::rng;
use crate::simd::select;

/// Twins of the functions here.
pub(super) const WGSL: &str = include_str!("math.wgsl");

/// Largest exponent of two that the functions return: from -126 to 126 the result is a normal number
/// whatever its mantissa, neither infinite nor subnormal, which some processors take hundreds of cycles
/// for and shaders may round to 0.
const LIMIT: f32 = 126.0;

/// `2^t`, with `t` limited to -126..=126.
#[inline(always)]
pub(crate) fn exp2(t: f32) -> f32 {
    let (x, p, scale) = reduced(t);
    p.mul_add(x, 1.0) * scale
}

/// `x`, `(e^x - 1) / x` and a power of two whose product with `e^x` is `2^t`, `t` limited.
#[inline(always)]
fn reduced(t: f32) -> (f32, f32, f32) {
    let t = limit(t);
    // Adding 1.5 x 2^23 rounds to the nearest integer, which then stands in the low bits.
    let shifted = t + 12_582_912.0;
    let whole = shifted - 12_582_912.0;
    let x = (t - whole) * std::f32::consts::LN_2;
    // Taylor series of exp on |x| <= ln(2) / 2; the first term left out is below 6e-9.
    let p = x.mul_add(1.0 / 5040.0, 1.0 / 720.0).mul_add(x, 1.0 / 120.0).mul_add(x, 1.0 / 24.0);
    let p = p.mul_add(x, 1.0 / 6.0).mul_add(x, 0.5).mul_add(x, 1.0);
    let scale = shifted.to_bits().wrapping_shl(23).wrapping_add(0x3f80_0000);
    (x, p, f32::from_bits(scale))
}

/// `e^t - 1`, between -1 and the largest value that [`exp2`] returns; small ones keep their digits.
#[inline(always)]
pub(crate) fn expm1(t: f32) -> f32 {
    exp_and_expm1(t)[1]
}

/// `e^t` and `e^t - 1`.
#[inline(always)]
pub(crate) fn exp_and_expm1(t: f32) -> [f32; 2] {
    let (x, p, scale) = reduced(t * std::f32::consts::LOG2_E);
    [p.mul_add(x, 1.0) * scale, (p * x).mul_add(scale, scale - 1.0)]
}

/// `ln(1 + x)` for `x > -1`; small ones keep their digits.
#[inline(always)]
pub(crate) fn ln_1p(x: f32) -> f32 {
    ln_near_1(1.0 + x, x)
}

/// `ln(y)` of a positive normal number, from `y - 1` where that is small, for it has more digits then.
#[inline(always)]
pub(crate) fn ln_near_1(y: f32, less_1: f32) -> f32 {
    let small = less_1.abs() < 0.25;
    let (mantissa, exponent) = split(y);
    let mantissa = select(small, less_1, mantissa);
    let exponent = select(small, 0.0, exponent);
    exponent.mul_add(std::f32::consts::LN_2, rng::ln_1p(mantissa))
}

/// `value / t` of a function that is `t` to first order: 1 where `t` is so small that the quotient has no
/// other digits.
#[inline(always)]
pub(crate) fn ratio(value: f32, t: f32) -> f32 {
    select(t.abs() < 1e-8, 1.0, value / t)
}

/// `e^t`.
#[inline(always)]
pub(crate) fn exp(t: f32) -> f32 {
    exp2(t * std::f32::consts::LOG2_E)
}

/// `x^gamma` for `0 <= x <= 1`. Of `x = 0` it is 0 for a positive exponent, 1 for `gamma = 0`, and
/// the largest value that [`exp2`] returns for a negative exponent.
#[inline(always)]
pub(crate) fn pow_unit(x: f32, gamma: f32) -> f32 {
    let positive = if x > f32::MIN_POSITIVE { x } else { f32::MIN_POSITIVE };
    let power = exp2(gamma * log2(positive));
    let vanishes = (x <= f32::MIN_POSITIVE) & (gamma > 0.0);
    if vanishes { 0.0 } else { power }
}

/// Base-2 logarithm of a positive normal number.
#[inline(always)]
pub(crate) fn log2(x: f32) -> f32 {
    let (mantissa, exponent) = split(x);
    rng::ln_1p(mantissa).mul_add(std::f32::consts::LOG2_E, exponent)
}

/// `m` and `e` with `x = (1 + m) 2^e`, for a positive normal number.
#[inline(always)]
fn split(x: f32) -> (f32, f32) {
    // Bits of the root of 1/2: the mantissa comes to lie around 1, where the logarithm keeps its
    // relative precision.
    const SQRT_HALF: u32 = 0x3f35_04f3;
    let shifted = x.to_bits().wrapping_sub(SQRT_HALF);
    let exponent = ((shifted as i32) >> 23) as f32;
    (f32::from_bits((shifted & 0x007f_ffff).wrapping_add(SQRT_HALF)) - 1.0, exponent)
}

#[inline(always)]
fn limit(t: f32) -> f32 {
    let t = if t > LIMIT { LIMIT } else { t };
    if t < -LIMIT { -LIMIT } else { t }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relative(value: f32, exact: f64) -> f64 {
        (f64::from(value) - exact).abs() / exact
    }

    #[test]
    fn exponentials_match_double_precision() {
        for i in -50_000..=50_000 {
            let t = i as f32 * 2.5e-3;
            let exact = f64::from(t).exp2();
            assert!(relative(exp2(t), exact) < 2e-7, "exp2({t})");
            let t = i as f32 * 1e-3;
            let bound = 2e-7 + 6e-8 * f64::from(t.abs()) * std::f64::consts::LOG2_E;
            assert!(relative(exp(t), f64::from(t).exp()) < bound, "exp({t})");
        }
        assert_eq!(exp2(0.0).to_bits(), 1.0f32.to_bits());
        assert!(exp2(1e9).is_finite() && exp2(-1e9) > 0.0);
    }

    #[test]
    fn small_numbers_keep_their_digits() {
        for i in -4000i32..=4000 {
            let size = 10f32.powf(-8.0 + 2.5e-3 * i.abs() as f32);
            let x = if i < 0 { -size } else { size };
            if x < 80.0 {
                let exact = f64::from(x).exp_m1();
                let rounding = 6e-8 * f64::from(x.abs()) * std::f64::consts::LOG2_E;
                assert!((f64::from(expm1(x)) / exact - 1.0).abs() < 4e-7 + rounding, "{x}");
            }
            if x > -1.0 {
                let exact = f64::from(x).ln_1p();
                assert!((f64::from(ln_1p(x)) / exact - 1.0).abs() < 4e-7, "{x}");
            }
        }
        assert_eq!([expm1(0.0), ln_1p(0.0), ratio(0.0, 0.0)], [0.0, 0.0, 1.0]);
        assert!(expm1(-1e9) == -1.0 && expm1(1e9).is_finite());
    }

    #[test]
    fn powers_match_double_precision() {
        for i in 1..=20_000 {
            let x = i as f32 / 20_000.0;
            for gamma in [-1.5f32, 0.0, 0.3, 0.9, 1.0, 1.1, 2.0, 3.7, 9.0] {
                let exact = f64::from(x).powf(f64::from(gamma));
                if exact < f64::from(LIMIT).exp2().recip() {
                    continue;
                }
                let size = (f64::from(gamma) * f64::from(x).log2()).abs();
                assert!(relative(pow_unit(x, gamma), exact) < 2e-7 + 1.2e-7 * size, "{x}^{gamma}");
            }
        }
        assert_eq!([pow_unit(0.0, 0.5), pow_unit(0.0, 0.0), pow_unit(1.0, 3.0)], [0.0, 1.0, 1.0]);
        assert!(pow_unit(0.0, -1.0).is_finite());
    }
}
