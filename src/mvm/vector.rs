//! Loops over one row that the compiler vectorises.
//!
//! Sums run over 16 accumulators whatever the width of a register, so every instruction set gives
//! the same bits.

use crate::simd::{larger, smaller};

/// Accumulators of every sum and maximum.
const LANES: usize = 16;

/// Folds the row with `step` on 16 accumulators and these with `join`.
#[inline(always)]
fn fold(
    row: &[f32],
    start: f32,
    step: impl Fn(f32, f32) -> f32,
    join: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut lanes = [start; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = step(lanes[lane], chunk[lane]);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane = step(*lane, *value);
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = join(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// Largest value; negative infinity for an empty row. NaN is skipped.
#[inline(always)]
pub(super) fn max(row: &[f32]) -> f32 {
    fold(row, f32::NEG_INFINITY, |m, v| larger(v, m), |a, b| larger(b, a))
}

/// Sum.
#[inline(always)]
pub(super) fn sum(row: &[f32]) -> f32 {
    fold(row, 0.0, |s, v| s + v, |a, b| a + b)
}

/// Sum of the positive values.
#[inline(always)]
pub(super) fn sum_positive(row: &[f32]) -> f32 {
    fold(row, 0.0, |s, v| s + larger(v, 0.0), |a, b| a + b)
}

/// Sum of the negative values, negated.
#[inline(always)]
pub(super) fn sum_negative(row: &[f32]) -> f32 {
    fold(row, 0.0, |s, v| s + larger(-v, 0.0), |a, b| a + b)
}

/// Sum of squares.
#[inline(always)]
pub(super) fn sum_squares(row: &[f32]) -> f32 {
    fold(row, 0.0, |s, v| v.mul_add(v, s), |a, b| a + b)
}

/// Clips to `[-bound, bound]`; NaN stays, which [`simd::clip`](crate::simd::clip) turns into a bound.
#[inline(always)]
pub(super) fn saturate(value: f32, bound: f32) -> f32 {
    larger(-bound, smaller(bound, value))
}

/// Multiplies negative values by `1 - asymmetry`.
#[inline(always)]
pub(super) fn scale_negative(row: &mut [f32], asymmetry: f32) {
    let factor = 1.0 - asymmetry;
    for value in row {
        *value = if *value < 0.0 { *value * factor } else { *value };
    }
}
